"""Dense rows in memory, on the CPU or on a CUDA device."""

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels import cpu
from gradstep._kernels.first_call import first_call
from gradstep.losses import Loss
from gradstep.penalties import NO_PENALTY, Penalty

# A call of the kernel reads about this many elements: 5 to 50 ms of work where it was measured, long enough to hide
# the 2 microseconds of the call and short enough to serve Ctrl-C and callbacks in between. It depends on the shape
# alone, never on the clock.
_ELEMENTS_PER_CALL = 1 << 25
_ROW_COST = 32  # elements' worth of time that fetching a row costs however few columns it has

NO_ORDER = np.empty(0, dtype=np.int64)

# Kernels that have run, with the types of data they ran on: what need not be compiled any more.
_compiled: WeakKeyDictionary[Callable[..., None], set[np.dtype[np.floating]]] = WeakKeyDictionary()


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


class Dense:
    """Dense rows on one device: serves epochs of steps and full gradients, and counts the rows it reads.

    Weights `w` are host vectors (d + 1,) or (d + 1, k), the intercept last.
    """

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None, device: str = "cpu") -> None:
        self.n, self.d = int(rows.X.shape[0]), int(rows.X.shape[1])
        self.outputs = rows.y.shape[1:]
        self.row_reads = 0
        self._loss, self._penalty = loss, penalty or NO_PENALTY
        # One output in a column of its own takes the kernel of one output.
        k = rows.y.shape[1] if self.outputs else 1
        self._shape = (self.d + 1, *(self.outputs if k > 1 else ()))
        kernels = backend(device)
        self._rows = kernels.place(*rows._replace(y=rows.y if k > 1 else rows.y.reshape(-1)))
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


def backend(device: str) -> ModuleType:
    """Return the module of a device's kernels."""
    if device == "cpu":
        return cpu
    # Imported on demand: `import gradstep` never touches CUDA.
    from gradstep._kernels import cuda  # noqa: PLC0415

    cuda.require()
    return cuda
