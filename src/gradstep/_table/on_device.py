"""Dense rows on a CUDA device: the requests of `Table`, each a launch or two, with d numbers going there and back."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import exact_sum
from gradstep._kernels import cuda
from gradstep._kernels.cuda import columns, reads, steps
from gradstep._kernels.cuda.held import cut_for
from gradstep._kernels.cuda.rows import cut
from gradstep._kernels.cuda.sketch import stretch
from gradstep._kernels.cuda.sums import PLAIN, ROUGH, WIDE, sums
from gradstep._kernels.cuda.target import THREADS, WARP, processors
from gradstep._kernels.first_call import first_call
from gradstep._kernels.permute import keys
from gradstep._kernels.plain import about_means, fill, statistics
from gradstep._kernels.rows import EPS, LARGEST_EXPONENT
from gradstep._table.launching import Launching
from gradstep._table.order import LISTED, key_of, row_order
from gradstep._table.summed import HEAVY, MOST_HEAVY, STRIPES
from gradstep._table.table import Matrix
from gradstep._table.terms import NO_ORDER, Deal, Evidence, Model, Path, Settings, Units

# A call of the kernel takes 5 to 50 ms where reading is what takes the time: it serves Ctrl-C and callbacks.
_BYTES_PER_CALL = 1 << 37
_BYTES_PER_STEP = 1 << 24  # that could be read while the grid waits at its barriers
_MOST_SUMS = 1 << 23  # of all pieces of a read: 128 MB
_CELLS_PER_BLOCK = 1 << 24  # of scaled rows, for a Gram matrix: 128 MB
_ROWS_PER_PIECE = 1 << 12  # of a Gram matrix
_FEW_LANES = 2 if cuda.SIMULATED else 128  # of which each as a block would leave processors idle
_LARGEST_SINGLE = 126  # exponent of a float32 whose inverse is a normal number too


class OnDevice(Launching):
    """Dense rows on a CUDA device."""

    def stop(self, start: int, batch: int) -> int:
        """Return where a call of the kernel that starts at a row ends: a function of shape and batch alone."""
        batch = min(batch, self.n)
        of_batch = batch * (self.d + 8) * self.bytes_per_entry * self.k + _BYTES_PER_STEP
        batches = _BYTES_PER_CALL // of_batch
        if batches == 0:  # within a batch
            return min(start + max(1, batch * _BYTES_PER_CALL // of_batch), start - start % batch + batch, self.n)
        return min(start - start % batch + batches * batch, self.n)

    def order(self, count: int, seed: int, epoch: int, shuffle: bool | str = True) -> Any:
        """Return the order of so many rows, or chunks of them, in one epoch, on the device."""
        if shuffle is False:
            return NO_ORDER
        if shuffle == "blocks" or count <= LISTED:
            return cuda.copied(row_order(count, seed, epoch, shuffle))
        out = cuda.empty((count,), np.int64, "the order of rows")
        self._launch("order", cuda.blocks_for(count), out, count, count, *key_of(seed, epoch, shuffle))
        return out

    def epoch(
        self, order: Any, start: int, stop: int, settings: Settings, rates: Matrix, path: Path, averaged: int = 0
    ) -> None:
        """Step over rows `start` to `stop` of an epoch, in place."""
        d, k = self.d, self.k
        batch = min(settings.batch, self.n)
        entries = (d + 2) * k
        pieces = max(1, min(steps.pieces_of(batch, d, k), _MOST_SUMS // entries))
        cutting = cut_for(self._held, d, 2 * k, entries)
        fold = 1
        while fold < min(WARP, pieces):
            fold *= 2
        of_path = cuda.copied(np.stack([array.reshape(-1, k) for array in path[:-1]]))
        of_losses, of_rates = cuda.copied(path.loss_sum), cuda.copied(rates)
        compiled = cuda.steps_kernel(
            self._loss.value, self._loss.slope, self._penalty.prox, single=self._single, together=pieces > 1,
            held=self._held,
        )  # fmt: skip
        shuffled = order.size > 0
        numbers = sums(PLAIN, self._single)

        def arguments(blocks: int) -> tuple[Any, ...]:
            return (
                self._X, self._y, self._weight, self._stride, order[start:stop] if shuffled else self._none, shuffled,
                self.n, d, k, start, stop, batch, pieces, settings.intercept, settings.momentum, settings.nesterov,
                settings.averaging, averaged, of_rates, rates.size > 1, of_path, of_losses, self._unit_of_responses,
                self._room("W", (numbers.parts, k, d), self._dtype), self._unit_of_columns, *cutting, fold,
                *self._rooms(numbers.parts, blocks, cutting, k, k, entries),
                self._room("sums", (2, pieces, entries), np.float64), self._loss.params, self._penalty.params,
            )  # fmt: skip

        new = not getattr(compiled, "overloads", True)
        with first_call(self._loss, self._penalty) if new else nullcontext():
            blocks = 1
            if pieces > 1:
                rounds = -(-pieces // self._most_blocks(compiled, arguments))
                blocks = -(-pieces // rounds)
            cuda.launch(compiled, blocks, THREADS, *arguments(blocks))
        for array, found in zip(path[:-1], of_path.copy_to_host(), strict=True):
            array[...] = found.reshape(array.shape)
        path.loss_sum[...] = of_losses.copy_to_host()
        self.row_reads += stop - start

    @cached_property
    def _unit_of_responses(self) -> float:
        """The power of two that brings the largest response to about 1, where factors are floats."""
        if not self._single:
            return 1.0
        largest = self._spread(self._y, np.ones(self.k), np.zeros(self.k))[2].max()
        return float(cuda.units_of(largest, LARGEST_EXPONENT))

    @cached_property
    def _unit_of_columns(self) -> Any:
        """Powers of two that bring the largest entry of each column to about 1, where entries are floats."""
        if not self._single:
            return self._ones
        largest = self._spread(self._X, np.ones(self.d), np.zeros(self.d))[2]
        return cuda.copied(cuda.units_of(largest, _LARGEST_SINGLE).astype(self._dtype))

    def statistics(self, order: NDArray[np.int64], *, centred: bool, copied: bool = False) -> tuple[Matrix, Matrix]:
        """Return scale, centre, constancy and unit of the columns (4, d) and of the responses (4, k)."""
        if order.size:
            of_columns, of_responses = np.empty((4, self.d)), np.empty((4, self.k))
            X, y, weight = self._taken(order)
            self._run(statistics, X, weight, NO_ORDER, centred, of_columns)
            self._run(statistics, y, weight, NO_ORDER, centred, of_responses)
        else:
            of_columns = self._statistics(self._X, self._dtype, centred=centred)
            of_responses = self._statistics(self._y, np.dtype(np.float64), centred=centred)
        if self._single:  # what a float can hold
            for row in (0, 3):
                within = np.clip(of_columns[row], 2.0**-_LARGEST_SINGLE, 2.0**_LARGEST_SINGLE)
                if row == 0:
                    of_columns[1] *= within / of_columns[0]
                of_columns[row] = within
        if not copied:
            self.count(order, order.size or self.n)
        return of_columns, of_responses

    def _statistics(self, A: Any, dtype: np.dtype[Any], *, centred: bool) -> Matrix:
        """Do what `gradstep._kernels.rows.statistics` does, over all rows of X or y."""
        d = int(A.shape[1])
        out, zeros = np.zeros((4, d)), np.zeros(d)
        top = _LARGEST_SINGLE if dtype == np.float32 else LARGEST_EXPONENT
        first = np.array([0 if self.weight.size == 1 else int(np.flatnonzero(self.weight)[0])])
        reference = self._rows_of(A, first)[0].astype(np.float64)
        peak = self._spread(A, np.ones(d), zeros)[2]
        unit = cuda.units_of(peak, top)
        exponent = np.frexp(unit)[1] - 1
        mean = zeros
        if centred:
            reference = reference * unit
            sums_about, _, _ = self._spread(A, unit, reference)
            mean = reference + sums_about / self._total
        _, spread, peak = self._spread(A, unit, mean)
        constant = peak <= 4 * EPS * np.abs(mean)
        further = np.where((spread > 0) & ~constant, -np.frexp(np.sqrt(spread / self._total))[1], 0)
        further = np.clip(exponent + further, -top, top) - exponent
        out[0], out[1], out[2], out[3] = np.ldexp(unit, further), np.ldexp(mean, further), constant, unit
        return out

    def scaled(self, units: Units, order: NDArray[np.int64], start: int, stop: int) -> Matrix:
        """Return rows as linear algebra wants them: the root of the weight times one, columns and responses."""
        numbers = order[start:stop] if order.size else np.arange(start, stop)
        out = np.empty((stop - start, 1 + self.d + self.k))
        self._run(fill, *self._taken(numbers), NO_ORDER, 0, stop - start, *units, out)
        self.count(order, stop - start)
        return out

    def squared_norms(self, units: Units, centre: Matrix, V: Matrix) -> Any:
        """Return the weighted squared norm of ``V z`` for each row z about `centre`, in one read; V is (vectors, d)."""
        out = cuda.empty((self.n, 1), np.float64, "a number for each row")
        scale, about, offset = self._units(units.scale, centre)
        vectors = len(V)
        width, _, tile = cut(self.d, vectors, vectors)
        blocks = min(processors(), -(-self.n // (tile if self._held_for_one is None else THREADS)))
        numbers = sums(ROUGH, self._single)
        self._launch(
            reads.NORMS, blocks, self._X, self._weight, self._stride, self.n, self.d, vectors,
            cuda.copied(-(V @ offset)), cuda.copied(numbers.parts_of(V)), scale, about, width,
            tile, self._room("at", (blocks * tile,), np.int64),
            self._room("hold", (blocks * tile, vectors), np.float64), out, single=self._single, held=self._held_for_one,
        )  # fmt: skip
        self.row_reads += self.n
        return out

    def above(self, norms: Any, limit: float, share: float = 0.0) -> NDArray[np.int64]:
        """Return the numbers of the rows whose norm, and `share` times its weight, come to more than a limit."""
        runs = -(-self.n // columns.RUN)
        counts = cuda.empty((runs,), np.int64)
        look = norms, self._weight, self._stride, self.n, share, limit
        self._launch("count_above", cuda.blocks_for(runs), *look, counts)
        ends = np.cumsum(counts.copy_to_host())
        found = int(ends[-1])
        if not found:
            return np.zeros(0, dtype=np.int64)
        out = cuda.empty((found,), np.int64)
        self._launch("list_above", cuda.blocks_for(runs), *look, cuda.copied(np.concatenate(([0], ends[:-1]))), out)
        numbers: NDArray[np.int64] = out.copy_to_host()
        return numbers

    def without(self, rows: NDArray[np.int64]) -> Any:
        """Return the weights, those of some rows set to zero."""
        out = cuda.empty((self.n, 1), np.float64, "a weight for each row")
        self._launch("each_row", cuda.blocks_for(self.n), self._weight, self._stride, self.n, out)
        self._launch("blank", cuda.blocks_for(len(rows)), out, cuda.copied(rows), len(rows), 1)
        return out.reshape(self.n)

    def response_squares(self, unit: Matrix, *, intercept: bool) -> tuple[Matrix, Matrix]:
        """Return mean squares (k,) of responses times `unit`, about their means with an intercept, and the means."""
        mean = np.zeros(self.k)
        if intercept:
            mean = self._spread(self._y, unit, mean)[0] / self.n
        left, squares, _ = self._spread(self._y, unit, mean)
        return (squares - (left * left / self.n if intercept else 0.0)) / self.n, mean

    def lengths(self, units: Units, *, intercept: bool) -> Matrix:
        """Return the root-mean-squares (d,) of the scaled columns, about their means with an intercept, in one read."""
        left, squares, _ = self._spread(self._X, units.scale, units.centre)
        self.row_reads += self.n
        about = squares - (left * left / self._total if intercept else 0.0)
        lengths: Matrix = np.sqrt(np.maximum(about, 0.0) / self._total)
        return lengths

    def gram(self, units: Units, T: Matrix | None = None) -> tuple[Matrix, Matrix]:
        """Return ``A' A`` of the weighted rows ``A = [1, Z T, y]``, Z scaled and centred; without T as it stands."""
        d, k = self.d, self.k
        size = 1 + (d if T is None else T.shape[1]) + k
        whole = None
        if T is not None:
            blank = np.zeros((1 + d + k, size))
            blank[0, 0] = 1.0
            blank[1 : 1 + d, 1:-k] = T
            blank[1 + d :, -k:] = np.eye(k)
            whole = cuda.copied(blank)
        of_units = [cuda.copied(array) for array in units]
        most = min(self.n, max(64, _CELLS_PER_BLOCK // (1 + d + k)))
        total, rest = np.zeros((2, size, size))
        heavy = [np.zeros((0, size))]
        for start in range(0, self.n, most):
            count = min(most, self.n - start)
            block = self._room("block", (most, 1 + d + k), np.float64)
            self._launch(
                "fill", cuda.blocks_for(count * (1 + d + k)), self._X, self._y, self._weight, self._stride, start,
                count, d, k, *of_units, block,
            )  # fmt: skip
            if whole is not None:
                turned = self._room("turned", (most, size), np.float64)
                self._launch("product", cuda.blocks_for(count * size), block, whole, count, 1 + d + k, size, turned)
                block = turned
            squares = self._room("squares", (most,), np.float64)
            self._launch("row_squares", cuda.blocks_for(count), block, count, size, squares)
            of_rows = squares.copy_to_host()[:count]
            if of_rows.max() > HEAVY * size and sum(map(len, heavy)) < MOST_HEAVY:
                apart = np.flatnonzero(of_rows > HEAVY * size)
                heavy.append(self._rows_of(block, apart))
                self._launch("blank", cuda.blocks_for(len(apart) * size), block, cuda.copied(apart), len(apart), size)
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the caller's to see
                total, lost = exact_sum(total, self._squared(block, count, size))
                rest += lost
        self.row_reads += self.n
        with np.errstate(invalid="ignore"):
            return total + rest, np.concatenate(heavy)

    def _squared(self, block: Any, count: int, size: int) -> Matrix:
        """Return ``A' A`` of a block of rows."""
        cupy = cuda.cupy()
        if cupy is not None:
            with suppress(MemoryError), cupy.cuda.Stream.null:  # after what the kernels have been told to do
                rows = cupy.asarray(block)[:count]
                found: Matrix = cupy.asnumpy(rows.T @ rows)
                return found
        pieces = max(1, min(-(-count // _ROWS_PER_PIECE), _MOST_SUMS // (size * size)))
        parts = self._room("parts", (2, pieces, size * size), np.float64)
        tiles = -(-size // (2 * columns.SIDE))
        blocks = min(pieces * tiles * tiles, processors() * 8)
        cuda.launch(cuda.kernel("gram"), blocks, columns.SIDE**2, block, count, size, pieces, parts)
        whole: Matrix = self._folded(parts, pieces, size * size).sum(axis=0).reshape(size, size)
        return whole

    def sketch(self, units: Units, rows: int, seed: int) -> Matrix:
        """Return a sketch of the weighted rows ``[1, Z, y]``: stacked sparse signs, about so many rows."""
        d, k = self.d, self.k
        buckets = -(-rows // STRIPES)
        entries, cells = d + 1 + k, STRIPES * buckets
        scale, about, offset = self._units(units.scale, units.centre)
        if self._single:
            offset = units.centre  # the kernel takes entries as they are
        of_stretch = stretch(self.n, self.d * self.bytes_per_entry, buckets)
        cutting = cut_for(self._held, d, 1 + k, entries)
        blocks = min(cells, processors() * 2)
        numbers = sums(PLAIN, self._single)
        out = self._room("sketch", (2, cells, entries), np.float64)
        self._launch(
            "sketch", blocks, self._X, self._y, self._weight, self._stride, self.n, d, k, of_stretch, STRIPES, buckets,
            *keys(seed, int.from_bytes(b"sketch")), cuda.copied(units.y_scale), cuda.copied(units.y_centre),
            scale, about, cutting.groups, cutting.tile,
            *self._rooms(numbers.parts, blocks, cutting, 1, k, entries), out, single=self._single, held=self._held,
        )  # fmt: skip
        self.row_reads += self.n
        found = out.copy_to_host().sum(axis=0)
        level = found[:, d : d + 1]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.hstack((level, found[:, :d] - level * offset, found[:, d + 1 :]))

    def wide_gradient(
        self, units: Units, mean: Matrix, w: Matrix, *, intercept: bool, probes: Matrix | None = None
    ) -> tuple[Evidence, Any]:
        """Return gradient and residual squares at weights (d + 1, k) of scaled, uncentred rows, in one read.

        With probes it is a second read.
        """
        d, k = self.d, self.k
        W = sums(WIDE, self._single).parts_of(w[:-1].T)
        scale = cuda.copied(units.scale.astype(self._dtype))
        found = self._read(reads.EVIDENCE, W, w[-1], k, scale, self._ones, units.y_scale)
        high, low = exact_sum(*found[:, : (d + 1) * k].reshape(2, d + 1, k))
        slopes, by_level = np.empty((d, k)), np.empty(k)
        self._run(about_means, high, low, units.centre, mean, intercept, slopes, by_level)
        norms = None if probes is None else self.squared_norms(units, units.centre + mean, probes)
        return Evidence(slopes, by_level, found[:, (d + 1) * k :].sum(axis=0)), norms

    def curvature(self, units: Units, centre: Matrix, p: Matrix) -> Matrix:
        """Return ``sum_i v_i [z_i, 1] (z_i p + level)`` (d + 1, k) in one read, the columns about `centre`."""
        scale, about, offset = self._units(units.scale, centre)
        W = sums(ROUGH, self._single).parts_of(p[:-1].T)
        found = self._read(reads.CURVATURE, W, p[-1] - offset @ p[:-1], 0, scale, about, units.y_scale)
        total: Matrix = found.sum(axis=0).reshape(self.d + 1, self.k)
        total[:-1] -= offset[:, np.newaxis] * total[-1]
        return total

    def lanes(self, units: Units, deal: Deal, model: Model, slope: Matrix, rate: float) -> Matrix:
        """Return where an epoch of minibatch steps from an anchor leads to, (r + 1, k) in coordinates of the basis."""
        d, k, r = self.d, self.k, model.T.shape[1]
        lanes = len(deal.batches)
        together = lanes < _FEW_LANES
        scale, about, offset = self._units(units.scale, model.centre)
        lengths = [len(batches) for batches in deal.batches]
        most = max(lengths) - 1
        entries = (d + 1) * k
        rows = max(int(b[-1] - b[0]) // (len(b) - 1) for b in deal.batches) * deal.run
        parts = max(1, min(processors() // lanes, rows * (d + 1) * k // steps.CELLS_PER_PIECE)) if together else 1
        cutting = cut_for(self._held, d, k, entries)
        numbers = sums(ROUGH, self._single)
        weight = model.weight if hasattr(model.weight, "copy_to_host") else self._weight
        fixed = model.fixed if model.fixed.size else np.zeros((1, 1))
        given = (
            cuda.copied(np.concatenate(([0], np.cumsum(lengths)))), cuda.copied(np.concatenate(deal.batches)), most,
            lanes, parts, cuda.copied(model.T), cuda.copied(np.ascontiguousarray(model.T.T)),
            cuda.copied(offset @ model.T), cuda.copied(offset), model.level, cuda.copied(fixed), model.fixed.size > 0,
            cuda.copied(slope), rate, scale, about, *cutting, WARP,
        )  # fmt: skip
        mean = self._room("mean", (lanes, r + 1, k), np.float64)

        def arguments(blocks: int) -> tuple[Any, ...]:
            return (
                self._X, weight, 0 if weight.size == 1 else 1, self.n, d, k, r, deal.chunks, deal.run, *given,
                *self._rooms(numbers.parts, blocks, cutting, k, 0, entries),
                self._room("sums", (2, lanes * parts, entries), np.float64),
                self._room("total", (lanes, entries), np.float64),
                self._room("q", (2, lanes, r + 1, k), np.float64), mean,
                self._room("W", (numbers.parts, k, lanes * d), self._dtype),
                self._room("at_level", (lanes, k), np.float64),
            )  # fmt: skip

        compiled = cuda.kernel("lanes", single=self._single, together=together, held=self._held)
        blocks = min(lanes * parts, self._most_blocks(compiled, arguments)) if together else lanes
        cuda.launch(compiled, blocks, THREADS, *arguments(blocks))
        self.row_reads += model.rows
        found: Matrix = np.add.reduce(mean.copy_to_host()) / lanes
        return found

    def _read(self, name: str, W: Any, level: Matrix, further: int, scale: Any, centre: Any, y_scale: Matrix) -> Matrix:
        """Return the sums (2, entries) of a read of all rows, in two parts."""
        d, k = self.d, self.k
        entries = (d + 1) * k + further
        rows = self._held and self._held.of_wide() if name == reads.EVIDENCE else self._held
        cutting = cut_for(rows, d, k + further, entries)
        pieces = max(1, min(processors(), -(-self.n * d // steps.CELLS_PER_PIECE), _MOST_SUMS // entries))
        parts = self._room("sums", (2, pieces, entries), np.float64)
        self._launch(
            name, pieces, self._X, self._y, self._weight, self._stride, self.n, d, k, further, pieces,
            cuda.copied(y_scale), cuda.copied(level), cuda.copied(W), scale, centre, *cutting,
            *self._rooms(len(W), pieces, cutting, k, further, entries), parts, single=self._single, held=rows,
        )  # fmt: skip
        self.row_reads += self.n
        return self._folded(parts, pieces, entries)
