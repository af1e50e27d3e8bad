"""Dense rows in memory, on the CPU or on a CUDA device."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cached_property
from types import ModuleType
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import exact_sum, gram, product
from gradstep._kernels import cpu
from gradstep._kernels.first_call import first_call, interrupts_held
from gradstep._kernels.rows import fill, scatter, statistics
from gradstep._kernels.wide import about_means, wide_gradient
from gradstep.losses import Loss
from gradstep.penalties import NO_PENALTY, Penalty

# A call of the kernel reads about this many elements: 5 to 50 ms of work where it was measured, long enough to hide
# the 2 microseconds of the call and short enough to serve Ctrl-C and callbacks in between. It depends on the shape
# alone, never on the clock.
_ELEMENTS_PER_CALL = 1 << 25
_ROW_COST = 32  # elements' worth of time that fetching a row costs however few columns it has

NO_ORDER = np.empty(0, dtype=np.int64)
"""All rows, as they stand."""

_CELLS_PER_BLOCK = 1 << 18  # of scaled rows: 2 MB, which a processor's cache holds
_HEAVY = 1000.0  # times the expected square of a row
_MOST_HEAVY = 4096  # rows, about: a table with more has other ways to be ill conditioned
_WIDE_CELLS_PER_CALL = 1 << 24  # of double-double sums: some 20 ms
_STRIPES = 4  # of a sketch: each row goes to one bucket of each

# Kernels that have run, with the types of data they ran on: what need not be compiled any more.
_compiled: WeakKeyDictionary[Callable[..., object], set[np.dtype[np.floating]]] = WeakKeyDictionary()


class Rows(NamedTuple):
    """The rows of a table as the kernels read them."""

    X: NDArray[np.floating]
    """(n, d), float32 or float64, C order."""
    y: NDArray[np.float64]
    """(n,), or (n, k) for several outputs."""
    weight: NDArray[np.float64]
    """(n,) with mean 1, or a single 1 for all rows."""


class Settings(NamedTuple):
    """What the steps of a pass are taken with, their sizes apart."""

    batch: int
    intercept: bool
    momentum: float = 0.0
    nesterov: bool = False
    averaging: bool = False


class Path(NamedTuple):
    """Where the steps stand: arrays of the shape of the weights, changed in place."""

    w: NDArray[np.float64]
    """Where gradients are taken: the weights, or under Nesterov's momentum a point ahead of them."""
    last: NDArray[np.float64]
    """Under momentum, the weights before `w`; under Nesterov's, the weights."""
    average: NDArray[np.float64]
    total: NDArray[np.float64]
    """Gradient summed over the running batch."""
    loss_sum: NDArray[np.float64]
    """An entry an output: the losses met in the running epoch, each before its batch's step."""


class Units(NamedTuple):
    """The units of least squares: columns are ``x * scale - centre``, responses ``y * y_scale - y_centre``.

    Scales are powers of two, so that scaling rounds nothing.
    """

    scale: NDArray[np.float64]
    """(d,)"""
    centre: NDArray[np.float64]
    """(d,) near the means of the scaled columns, 0 without an intercept."""
    y_scale: NDArray[np.float64]
    """(k,)"""
    y_centre: NDArray[np.float64]
    """(k,)"""


class Evidence(NamedTuple):
    """What a read of the rows says of some weights, of half the weighted sum of squared residuals, in scaled units."""

    slopes: NDArray[np.float64]
    """(d, k): ``sum_i v_i r_i x_i`` of the columns about their means, the gradient downhill."""
    by_level: NDArray[np.float64]
    """(k,): ``sum_i v_i r_i``, by the level at the means; 0 without an intercept."""
    squares: NDArray[np.float64]
    """(k,): ``sum_i v_i r_i**2``."""


class Dense:
    """Dense rows on one device: answers what solvers ask of data, and counts the rows it reads for it.

    Weights `w` are host vectors (d + 1,) or (d + 1, k), the intercept last. What is asked in `Units` is for the squared
    loss, of rows on the CPU, with the outputs always in columns of their own.
    """

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None, device: str = "cpu") -> None:
        self.n, self.d = int(rows.X.shape[0]), int(rows.X.shape[1])
        self.outputs = rows.y.shape[1:]
        self.row_reads = 0
        self._sampled = 0
        self._loss, self._penalty = loss, penalty or NO_PENALTY
        # One output in a column of its own takes the kernel of one output.
        k = rows.y.shape[1] if self.outputs else 1
        self._shape = (self.d + 1, *(self.outputs if k > 1 else ()))
        kernels = backend(device)
        self._rows = kernels.place(*rows._replace(y=rows.y if k > 1 else rows.y.reshape(-1)))
        self._host = rows._replace(y=rows.y.reshape(self.n, -1))
        self.k = k
        self._kernel = kernels.epoch_kernel(loss.value, loss.slope, self._penalty.prox, k > 1)
        self._dtype = rows.X.dtype
        self._elements_per_row = self.d * k

    def stop(self, start: int, batch: int) -> int:
        """Return where a call of the kernel that starts at a row ends: a function of shape and batch alone."""
        # A step touches each weight a few times, and costs about what fetching a row does besides.
        per_row = self._elements_per_row * (1 + 2 / batch) + _ROW_COST * (1 + 1 / batch)
        return min(start + max(1, int(_ELEMENTS_PER_CALL / per_row)), self.n)

    def zeros(self) -> NDArray[np.float64]:
        """Return weights of zero."""
        return np.zeros((self.d + 1, *self.outputs))

    def path(self) -> Path:
        """Return a path that has not begun, at weights of zero."""
        w, last, average, total = (self.zeros() for _ in range(4))
        return Path(w, last, average, total, np.zeros(self.outputs or 1))

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
        """Step over rows `start` to `stop` of an epoch, in place.

        `order` is the epoch's whole order of rows, or `NO_ORDER` for the rows as they stand; `rates` holds the size of
        each step, or one for all; `averaged` counts the steps that the path's average holds already.
        """
        compiled = _compiled.setdefault(self._kernel, set())
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
        """Return weighted mean losses at `w`, an entry an output, and their gradient, in one read; no penalty in it."""
        # The epoch itself with one batch and a step of 0: the same machine code whoever asks, hence the same bits.
        settings, rates, row = Settings(batch=self.n, intercept=True), np.zeros(1), 0
        point = w.copy()
        path = Path(point, point, point, np.empty_like(point), np.zeros(self.outputs or 1))
        while row < self.n:
            stop = self.stop(row, self.n)
            self.epoch(NO_ORDER, row, stop, settings, rates, path)
            row = stop
        return path.loss_sum / self.n, path.total * (1.0 / self.n)

    def objective(self, w: NDArray[np.float64]) -> float:
        """Return the objective at `w`: weighted mean loss, summed over outputs, plus penalty."""
        return float(self.gradient(w)[0].sum()) + self.penalty(w)

    def penalty(self, w: NDArray[np.float64]) -> float:
        """Return the penalty at `w`, the intercept left out."""
        if self._penalty is NO_PENALTY:
            return 0.0
        total = cpu.penalty_kernel(self._penalty.value)
        with nullcontext() if getattr(total, "signatures", True) else first_call(self._penalty):
            return float(total(w[:-1].reshape(-1), self._penalty.params))

    @property
    def passes(self) -> float:
        """Reads of all rows: row reads over n, those of samples apart."""
        return (self.row_reads - self._sampled) / self.n

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weights of the rows, (n,) with mean 1, or one for all."""
        return self._host.weight

    @cached_property
    def present(self) -> int:
        """Rows of positive weight."""
        weight = self._host.weight
        return self.n if weight.size == 1 else int(np.count_nonzero(weight))

    def statistics(self, order: NDArray[np.int64], *, centred: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale, centre, constancy and unit of the columns (4, d) and of the responses (4, k).

        See `statistics` of the kernels; over the rows in `order`, or all if it is empty.
        """
        of_columns, of_responses = np.empty((4, self.d)), np.empty((4, self.k))
        self._run(statistics, self._host.X, self._host.weight, order, centred, of_columns)
        self._run(statistics, self._host.y, self._host.weight, order, centred, of_responses)
        self._count(order, order.size or self.n)
        return of_columns, of_responses

    def scaled(self, units: Units, order: NDArray[np.int64], start: int, stop: int) -> NDArray[np.float64]:
        """Return rows as linear algebra wants them: the root of the weight times one, columns and responses."""
        out = np.empty((stop - start, 1 + self.d + self.k))
        self._run(fill, *self._host, order, start, stop, *units, out)
        self._count(order, stop - start)
        return out

    def product(self, units: Units, V: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted, scaled and centred rows, a one before them, times a matrix (1 + d, columns)."""
        out = np.empty((self.n, V.shape[1]))
        for start, stop in self._blocks():
            out[start:stop] = product(self.scaled(units, NO_ORDER, start, stop)[:, : 1 + self.d], V)
        return out

    def gram(
        self, units: Units, T: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``A' A`` of the weighted rows ``A = [1, Z T, y]``, Z scaled and centred; without T as it stands.

        Heavy rows, of more than a thousand times the expected square, are not in it and come beside it, (rows, 1 +
        columns + k): in a sum their rounding would hide the others. Sums of blocks are added with what rounding takes
        from them, so that the error is that of one block.
        """
        columns = self.d if T is None else T.shape[1]
        size = 1 + columns + self.k
        whole = None
        if T is not None:
            whole = np.zeros((1 + self.d + self.k, size))
            whole[0, 0] = 1.0
            whole[1 : 1 + self.d, 1 : 1 + columns] = T
            whole[1 + self.d :, 1 + columns :] = np.eye(self.k)
        total, rest = np.zeros((2, size, size))
        heavy = [np.zeros((0, size))]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the caller's to see
            for start, stop in self._blocks():
                block = self.scaled(units, NO_ORDER, start, stop)
                block = block if whole is None else product(block, whole)
                squares = np.einsum("ij,ij->i", block, block)
                if squares.max() > _HEAVY * size and sum(map(len, heavy)) < _MOST_HEAVY:
                    apart = squares > _HEAVY * size
                    heavy.append(block[apart])
                    block[apart] = 0.0
                total, lost = exact_sum(total, gram(block))
                rest += lost
        return total + rest, np.concatenate(heavy)

    def sketch(self, units: Units, rows: int, seed: int) -> NDArray[np.float64]:
        """Return a sketch of the weighted rows ``[1, Z, y]``: stacked sparse signs, about so many rows.

        Each row of the table is added, with a random sign, to one random row of each of four stripes, halved: a sketch
        S with ``E[S' S] = 1``, made in one read.
        """
        buckets = -(-rows // _STRIPES)
        out = np.zeros((_STRIPES, buckets, 1 + self.d + self.k))
        for number, (start, stop) in enumerate(self._blocks()):
            block = self.scaled(units, NO_ORDER, start, stop)
            drawn = np.random.default_rng((seed, number)).integers(0, 2 * buckets, (stop - start, _STRIPES))
            self._run(scatter, block, drawn >> 1, (drawn & 1) - 0.5, out)
        return out.reshape(-1, out.shape[2])

    def wide_gradient(
        self, units: Units, mean: NDArray[np.float64], w: NDArray[np.float64], *, intercept: bool
    ) -> Evidence:
        """Return gradient and residual squares at weights (d + 1, k) of scaled, uncentred rows, in one read.

        They are as good as in twice the precision. `mean` is what the centre misses of the columns' means.
        """
        high, low = np.zeros((2, self.d + 1, self.k))
        squares, part_squares = np.zeros((2, self.k))
        part_high, part_low = np.empty((2, self.d + 1, self.k))
        rows = max(1, _WIDE_CELLS_PER_CALL // (self.d * self.k + self.d + _ROW_COST))
        for start in range(0, self.n, rows):
            stop = min(start + rows, self.n)
            self._run(
                wide_gradient, *self._host, start, stop, units.scale, units.y_scale, w, part_high, part_low,
                part_squares,
            )  # fmt: skip
            high, lost = exact_sum(high, part_high)
            low += lost + part_low
            squares += part_squares
        self.row_reads += self.n
        slopes, by_level = np.empty((self.d, self.k)), np.empty(self.k)
        self._run(about_means, high, low, units.centre, mean, intercept, slopes, by_level)
        return Evidence(slopes, by_level, squares)

    def _count(self, order: NDArray[np.int64], rows: int) -> None:
        self.row_reads += rows
        self._sampled += rows if order.size else 0

    def _run(self, kernel: Callable[..., object], *arguments: object) -> None:
        """Call a kernel; hold Ctrl-C back while it is compiled for a type of data that it has never run on."""
        ran = _compiled.setdefault(kernel, set())
        if self._dtype in ran:
            kernel(*arguments)
            return
        with interrupts_held():
            kernel(*arguments)
        ran.add(self._dtype)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the blocks of rows, cut by the shape of the table alone."""
        rows = max(64, _CELLS_PER_BLOCK // (1 + self.d + self.k))
        for start in range(0, self.n, rows):
            yield start, min(start + rows, self.n)


def backend(device: str) -> ModuleType:
    """Return the module of a device's kernels."""
    if device == "cpu":
        return cpu
    # Imported on demand: `import gradstep` never touches CUDA.
    from gradstep._kernels import cuda  # noqa: PLC0415

    cuda.require()
    return cuda
