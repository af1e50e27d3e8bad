"""Dense rows in memory, read by threads of the CPU."""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import exact_total
from gradstep._kernels import cpu, lanes, loss_gradient, outputs, threads
from gradstep._kernels.blocks import in_rows, width_of
from gradstep._kernels.first_call import first_call, interrupts_held
from gradstep._kernels.looks import look_kernel
from gradstep._kernels.plain import fill, statistics
from gradstep._kernels.simd import padded
from gradstep._numbers import frozen
from gradstep._table import shared_steps
from gradstep._table.gradients import Gradients, to_be_centred
from gradstep._table.order import row_order
from gradstep._table.summed import ROW_COST
from gradstep._table.table import Counts, Table, compiled_for
from gradstep._table.terms import Deal, Look, Model, Path, Rows, Settings, Units
from gradstep.losses import Loss
from gradstep.penalties import Penalty

# A call of the kernel reads about this many elements: 5 to 50 ms of work where it was measured, long enough to hide
# the 2 microseconds of the call and short enough to serve Ctrl-C and callbacks in between. It depends on the shape
# alone, never on the clock.
_ELEMENTS_PER_CALL = 1 << 25

_CELLS_PER_PART = 1 << 20  # of scaled rows that threads share: a millisecond
_CELLS_PER_CALL = 1 << 21  # of a gradient that threads share: a call from Python costs a twentieth of it
_APART = 16  # numbers: two cache lines
_ROWS_OF_NUMBERS = 1 << 12  # of a sum over numbers of the rows that threads share: some 50 microseconds


class Dense(Gradients):
    """Dense rows in memory, read by threads of the CPU."""

    device = "cpu"

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None) -> None:
        # Kernels are compiled for one kind of array: whoever made it, it cannot be written.
        rows = Rows(*(frozen(array.view()) for array in rows))
        super().__init__(rows, loss, penalty)
        k = self.k
        # One output in a column of its own takes the kernel of one output.
        self._shape = (self.d + 1, *(self.outputs if k > 1 else ()))
        self._rows = rows._replace(y=rows.y if k > 1 else rows.y.reshape(-1))
        self._host = rows._replace(y=rows.y.reshape(self.n, -1))
        long = k == 1 and self.d >= cpu.LONG
        self._kernel = cpu.epoch_kernel(loss.value, loss.slope, self._penalty.prox, k > 1, long)
        self._elements_per_row = self.d * k

    def stop(self, start: int, batch: int) -> int:
        """Return where a call of the kernel that starts at a row ends: a function of shape and batch alone."""
        # A step touches each weight a few times, and costs about what fetching a row does besides.
        per_row = self._elements_per_row * (1 + 2 / batch) + ROW_COST * (1 + 1 / batch)
        return min(start + max(1, int(_ELEMENTS_PER_CALL / per_row)), self.n)

    def order(self, count: int, seed: int, epoch: int, shuffle: bool | str = True) -> NDArray[np.int64]:
        """Return the order of so many rows, or chunks of them, in one epoch."""
        return row_order(count, seed, epoch, shuffle)

    def epoch(
        self,
        order: NDArray[np.int64],
        start: int,
        stop: int,
        settings: Settings,
        rates: NDArray[np.float64],
        path: Path,
        averaged: int = 0,
    ) -> None:
        """Step over rows `start` to `stop` of an epoch, in place."""
        compiled = compiled_for.setdefault(self._kernel, set())
        first = self._dtype not in compiled
        with first_call(self._loss, self._penalty) if first else nullcontext():
            self._kernel(
                *self._rows, order[start:stop], start, stop, *settings, averaged, rates,
                *(array.reshape(self._shape) for array in path[:-1]), path.loss_sum,
                self._loss.params, self._penalty.params,
            )  # fmt: skip
        compiled.add(self._dtype)
        self.row_reads += stop - start

    def gradient(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weighted mean losses at `w` and their gradient: of a large table, from pieces that threads share."""
        rows = max(64, _CELLS_PER_CALL // (self._elements_per_row + ROW_COST))
        if self.n < 2 * rows:
            return super().gradient(w)
        rows = self._longer(rows)
        starts = range(0, self.n, rows)
        alone = self.k == 1
        kernel = loss_gradient.kernel_of(self._loss.value, self._loss.slope, self.d) if alone else self._kernel
        losses, sums = np.empty((len(starts), self.k)), np.empty((len(starts), *w.shape))

        def part(piece: int) -> None:
            some = self._some_rows(starts[piece], starts[piece] + starts.step)
            if alone:
                kernel(*some, w.reshape(-1), sums[piece].reshape(-1), losses[piece], self._loss.params)
            else:
                table = self._alone(some)
                losses[piece], sums[piece] = (of * table.n for of in Table.gradient(table, w))

        compiled = compiled_for.setdefault(kernel, set())
        if self._dtype not in compiled:
            with first_call(self._loss):
                part(0)
            compiled.add(self._dtype)
        threads.each(part, len(starts))
        self.row_reads += self.n
        return np.add.reduce(losses) / self.n, np.add.reduce(sums) / self.n

    def _some_rows(self, start: int, stop: int) -> Rows:
        X, y, weight = self._rows
        return Rows(X[start:stop], y[start:stop], weight if weight.size == 1 else weight[start:stop])

    def _alone(self, rows: Rows) -> Self:
        """Return some of the rows as a table whose reads count apart."""
        view = copy.copy(self)
        view.__dict__.update(_rows=rows, n=len(rows.X), _counts=Counts())
        return view

    def statistics(
        self, order: NDArray[np.int64], *, centred: bool, copied: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale, centre, constancy and unit of the columns (4, d) and of the responses (4, k)."""
        of_columns, of_responses = np.empty((4, self.d)), np.empty((4, self.k))
        self._run(statistics, self._host.X, self._host.weight, order, centred, of_columns)
        self._run(statistics, self._host.y, self._host.weight, order, centred, of_responses)
        if not copied:
            self.count(order, order.size or self.n)
        return of_columns, of_responses

    def scaled(self, units: Units, order: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
        """Return rows as linear algebra wants them: the root of the weight times one, columns and responses."""
        out = np.empty((stop - start, 1 + self.d + self.k))
        cuts = np.linspace(start, stop, 2 + out.size // _CELLS_PER_PART).astype(int).tolist()

        def part(piece: int) -> None:
            first, last = cuts[piece], cuts[piece + 1]
            fill(*self._host, order, first, last, *units, out[first - start : last - start])

        self._ready(fill, *self._host, order, start, start, *units, out)
        threads.each(part, len(cuts) - 1, alone=len(cuts) == 2)
        self.count(order, stop - start)
        self.refuse_unless_finite(out)
        return out

    @property
    def _slices(self) -> list[slice]:
        """The rows in blocks: what is made of all at once costs more for its memory than for its numbers."""
        return [slice(start, min(start + _ROWS_OF_NUMBERS, self.n)) for start in range(0, self.n, _ROWS_OF_NUMBERS)]

    def above(self, norms: NDArray[np.float64], limit: float, share: float = 0.0) -> NDArray[np.int64]:
        """Return the numbers of the rows whose norm, and `share` times its weight, come to more than a limit."""

        def of(rows: slice) -> NDArray[np.int64]:
            weight = self.weight if self.weight.size == 1 else self.weight[rows]
            return np.flatnonzero((norms[rows] + weight * share if share else norms[rows]) > limit)

        return np.concatenate([rows.start + of(rows) for rows in self._slices])

    def without(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weights, those of some rows set to zero."""
        weight = np.broadcast_to(self.weight, self.n).copy()
        weight[rows] = 0.0
        return frozen(weight)

    def reweighted(self, weight: NDArray[np.float64]) -> Self:
        """Return a view of these rows with other weights, (n,) of mean 1 or one for all; its reads count in."""
        weight = frozen(weight.view())
        view = super().reweighted(weight)
        view.__dict__.update(_rows=self._rows._replace(weight=weight), _host=self._host._replace(weight=weight))
        return view

    @property
    def responses(self) -> NDArray[np.float64]:
        """The responses (n,) of one output."""
        responses: NDArray[np.float64] = self._host.y.reshape(-1)
        return responses

    def few(self, order: NDArray[np.int64], drawn: float, share: NDArray[np.float64]) -> Table:
        """Return some rows as a table of their own, each with a share in it, one for all, beside its weight."""
        y, weight = self.responses[order], self.weight
        if weight.size > 1 or share.size > 1:
            weight = (weight[order] if weight.size > 1 else weight) * share
            weight = weight / weight.mean()
        if drawn > 0:
            mean = (y * weight).mean()
            y = (y + drawn * mean) / (1 + drawn)
        some = Dense(Rows(self._host.X[order], y, weight), self._loss, self._penalty)
        some.numbers = order
        return some

    def columns(self, some: NDArray[np.int64]) -> Table:
        """Return a copy of some columns as a table of their own, whose reads count apart."""
        self.row_reads += self.n
        return Dense(Rows(np.take(self._host.X, some, axis=1), self.responses, self.weight), self._loss, self._penalty)

    def each_row(self, kernel: Callable[..., object], score: NDArray[np.float64], *rest: object) -> None:
        """Call a kernel with the responses, a number a row, and what else it takes."""
        with interrupts_held():
            kernel(self.responses, score, *rest)

    def summed_rows(
        self, kernel: Callable[..., object], vectors: tuple[NDArray[np.float64], ...], numbers: tuple[object, ...],
        sums: tuple[NDArray[np.float64], ...],
    ) -> None:  # fmt: skip
        """Set `sums` to what a kernel makes of responses, weights and further numbers of the rows, without a read."""
        blocks = self._slices
        # A thread's sums in cache lines of their own: kernels add to them row by row.
        parts = [np.empty((len(blocks), len(of) + _APART))[:, : len(of)] for of in sums]
        y, weight = self.responses, self.weight

        def of(rows: slice, piece: int) -> None:
            shares = weight if weight.size == 1 else weight[rows]
            kernel(y[rows], shares, *(vector[rows] for vector in vectors), *numbers, *(part[piece] for part in parts))

        self._ready(of, slice(0, 0), 0, of=kernel)
        threads.each(lambda piece: of(blocks[piece], piece), len(blocks), alone=len(blocks) < 3)
        for total, part in zip(sums, parts, strict=True):
            total[:] = np.add.reduce(part)

    def look(self, units: Units, w: NDArray[np.float64], params: tuple[float, ...] | None = None) -> Look:
        """Return what one read says of the loss at weights (d + 1,) of scaled, uncentred rows; of one output."""
        loss, X, y, weight = self._loss, self._host.X, self._host.y.reshape(-1), self._host.weight
        p = loss.params if params is None else params
        kernel = look_kernel(loss.value, loss.slope, loss.curvature)
        blocks = list(self._pieces(2 * self.d + 4 * ROW_COST))
        highs, lows = np.empty((2, len(blocks), self.d + 1))
        sums, score, curve = np.empty((len(blocks), 3)), np.empty(self.n), np.empty(self.n)

        def of(start: int, stop: int, piece: int) -> None:
            kernel(
                X, y, weight, start, stop, units.scale, w, p, highs[piece], lows[piece], score, curve,
                sums[piece],
            )  # fmt: skip

        first = self._dtype not in compiled_for.get(kernel, ())
        with first_call(loss) if first else nullcontext():
            self._ready(of, 0, 0, 0, of=kernel)
        threads.each(lambda piece: of(*blocks[piece], piece), len(blocks), alone=self._few)
        high, low = exact_total(highs, lows)
        self.row_reads += self.n
        bad = sums[:, 2][sums[:, 2] >= 0]
        losses = float(sums[:, 0].sum())
        with suppress(OverflowError):
            losses = math.fsum(sums[:, 0]) if math.isfinite(losses) else losses
        return Look(
            high[:, np.newaxis], low[:, np.newaxis], score, curve, losses, float(sums[:, 1].sum()),
            int(bad.min()) if bad.size else -1,
        )  # fmt: skip

    def lanes(
        self, units: Units, deal: Deal, model: Model, slope: NDArray[np.float64], rate: float
    ) -> NDArray[np.float64]:
        """Return where an epoch of minibatch steps from an anchor leads to, (r + 1, k) in coordinates of the basis."""
        kernel, width, of_slope = outputs.lane, width_of(self.k), in_rows(slope)
        more: tuple[int, ...] = (self.k,)
        if self.k == 1:
            of_one = lanes.kernels(to_be_centred(units.scale, model.centre), self.d)
            if shared_steps.are_better(self.d, self.k, deal):
                self.row_reads += model.rows
                work = of_one.shared_lane
                ready = partial(self._ready, of=work)
                return shared_steps.taken(work, self._host.X, units.scale, deal, model, slope, rate, ready)
            kernel, width, of_slope, more = of_one.lane, 1, slope, ()
        scale, minus = padded(units.scale), padded(-model.centre)
        ends = np.zeros((len(deal.batches), len(slope) * width))

        def run(chunks: NDArray[np.int64], batches: NDArray[np.int64], end: NDArray[np.float64]) -> None:
            kernel(
                self._host.X, model.weight, chunks, deal.run, batches, scale, minus, model.T, model.level, model.fixed,
                of_slope, len(ends), rate, *more, end,
            )  # fmt: skip

        def part(lane: int) -> None:
            run(deal.chunks, deal.batches[lane], ends[lane])

        self._ready(run, deal.chunks, np.zeros(2, dtype=np.int64), ends[0], of=kernel)
        threads.each(part, len(ends), alone=self._few)
        self.row_reads += model.rows
        mean: NDArray[np.float64] = np.add.reduce(ends).reshape(-1, width)[:, : self.k] / len(ends)
        return mean
