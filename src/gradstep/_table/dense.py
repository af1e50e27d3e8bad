"""Dense rows in memory, on the CPU or on a CUDA device."""

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels import cpu
from gradstep._kernels.interrupts import interrupts_held
from gradstep.losses import Loss
from gradstep.penalties import NO_PENALTY, Penalty

# A call of the kernel reads about this many elements: 5 to 50 ms of work where it was measured, long enough to hide
# the 2 microseconds of the call and short enough to serve Ctrl-C and callbacks in between. It depends on the shape
# alone, never on the clock.
_ELEMENTS_PER_CALL = 1 << 25
_ROW_COST = 32  # elements' worth of time that fetching a row costs however few columns it has

NO_ORDER = np.empty(0, dtype=np.int64)

# Kernels that have run, with the types of data they ran on: what need not be compiled any more. Weakly held, so that
# kernels of a user's own formulas go when they are done with.
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
    """What the steps of a pass are taken with."""

    batch: int
    rate: float
    intercept: bool


class Dense:
    """Dense rows on one device: serves epochs of steps and full gradients, and counts the rows it reads.

    Weights `w` are host vectors (d + 1,) or (d + 1, k), the intercept last.
    """

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None, device: str = "cpu") -> None:
        self.n, self.d = int(rows.X.shape[0]), int(rows.X.shape[1])
        self.outputs = rows.y.shape[1:]
        self.row_reads = 0
        self._loss_params = loss.params
        self._penalty = penalty or NO_PENALTY
        # One output in a column of its own takes the kernel of one output.
        k = rows.y.shape[1] if self.outputs else 1
        self._shape = (self.d + 1, *(self.outputs if k > 1 else ()))
        backend: ModuleType = cpu if device == "cpu" else _cuda()
        self._rows = backend.place(*rows._replace(y=rows.y if k > 1 else rows.y.reshape(-1)))
        self._kernel = backend.epoch_kernel(loss.value, loss.slope, self._penalty.prox, k > 1)
        self._dtype = rows.X.dtype
        self._elements_per_row = self.d * k

    def rows_per_call(self, batch: int) -> int:
        """Return how many rows one call of the kernel reads: a function of the shape and the batch alone."""
        # A step touches each weight a few times, and costs about what fetching a row does besides.
        per_row = self._elements_per_row * (1 + 2 / batch) + _ROW_COST * (1 + 1 / batch)
        return max(1, int(_ELEMENTS_PER_CALL / per_row))

    def zeros(self) -> NDArray[np.float64]:
        """Return weights of zero."""
        return np.zeros((self.d + 1, *self.outputs))

    def no_losses(self) -> NDArray[np.float64]:
        """Return sums of losses, an entry an output, at zero."""
        return np.zeros(self.outputs or 1)

    def epoch(
        self,
        order: NDArray[np.int64],
        start: int,
        settings: Settings,
        w: NDArray[np.float64],
        total: NDArray[np.float64],
        loss_sum: NDArray[np.float64],
    ) -> int:
        """Step over the next rows of an epoch from position `start`, in place; return the position reached.

        `order` is the epoch's whole order of rows, or `NO_ORDER` for the rows as they stand.
        """
        stop = min(start + self.rows_per_call(settings.batch), self.n)
        compiled = _compiled.setdefault(self._kernel, set())
        with nullcontext() if self._dtype in compiled else interrupts_held():
            self._kernel(
                *self._rows, order[start:stop], start, stop, *settings, w.reshape(self._shape),
                total.reshape(self._shape), loss_sum, self._loss_params, self._penalty.params,
            )  # fmt: skip
        compiled.add(self._dtype)
        self.row_reads += stop - start
        return stop

    def gradient(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weighted mean losses at `w`, an entry an output, and their gradient, in one read; no penalty in it."""
        # The epoch itself with one batch and a step of 0: the same machine code whoever asks, hence the same bits.
        settings = Settings(batch=self.n, rate=0.0, intercept=True)
        scratch, total, loss_sum, row = w.copy(), np.empty_like(w), self.no_losses(), 0
        while row < self.n:
            row = self.epoch(NO_ORDER, row, settings, scratch, total, loss_sum)
        return loss_sum / self.n, total * (1.0 / self.n)

    def objective(self, w: NDArray[np.float64]) -> float:
        """Return the objective at `w`: weighted mean loss, summed over outputs, plus penalty."""
        return float(self.gradient(w)[0].sum()) + self.penalty(w)

    def penalty(self, w: NDArray[np.float64]) -> float:
        """Return the penalty at `w`, the intercept left out."""
        if self._penalty is NO_PENALTY:
            return 0.0
        return float(cpu.penalty_kernel(self._penalty.value)(w[:-1].reshape(-1), self._penalty.params))


def _cuda() -> ModuleType:
    # Imported on demand: `import gradstep` never touches CUDA.
    from gradstep._kernels import cuda  # noqa: PLC0415

    return cuda
