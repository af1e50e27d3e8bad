"""The seam: what solvers may ask of data, and the count of the rows that are read for it."""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import tall_gram
from gradstep._kernels import cpu
from gradstep._kernels.first_call import first_call, interrupts_held
from gradstep._table.terms import NO_ORDER, Deal, Evidence, Look, Model, Path, Rows, Settings, Units
from gradstep.losses import Loss
from gradstep.penalties import NO_PENALTY, Penalty

# Kernels that have run, with the types of data they ran on: what need not be compiled any more.
compiled_for: WeakKeyDictionary[Callable[..., object], set[np.dtype[np.floating]]] = WeakKeyDictionary()

Matrix = NDArray[np.float64]

_ON_THE_CPU = "losses without a closed form are looked at on the CPU alone: the gate refuses them elsewhere"


@dataclass
class Counts:
    """What was read so far."""

    rows: int = 0
    sampled: int = 0
    """Of them, those of samples."""


class Table(abc.ABC):
    """Rows somewhere: answers what solvers ask of data, and counts the rows that it reads for it.

    Weights `w` are host vectors (d + 1,) or (d + 1, k), the intercept last. What is asked in `Units` is for the squared
    loss, with the outputs always in columns of their own. What has an entry a row stays where the rows are.
    """

    device: str
    gram_rounding: float = math.inf
    """By how much an entry of `gram` without T may be off, over the norms of its two columns."""

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None) -> None:
        self.n, self.d = int(rows.X.shape[0]), int(rows.X.shape[1])
        self.outputs = tuple(rows.y.shape[1:])
        self.k = int(rows.y.shape[1]) if self.outputs else 1
        self._counts = Counts()
        self.weight: NDArray[np.float64] = rows.weight
        """Weights of the rows, (n,) with mean 1, or one for all."""
        self._loss, self._penalty = loss, penalty or NO_PENALTY
        self.numbers: NDArray[np.int64] | None = None
        """Of a part of a table, the numbers that its rows have there."""
        self._dtype = np.dtype(rows.X.dtype)
        self.unseen: Callable[[], None] | None = None
        """What refuses entries that are not finite, where nobody has looked: see `refuse_unless_finite`."""

    def refuse_unless_finite(self, *found: Matrix) -> None:
        """Refuse entries that are not finite, if what was found from them is not.

        That saves a read of the rows beforehand: sums over all rows are finite only if they are.
        """
        if self.unseen is not None and not (found and all(np.isfinite(array).all() for array in found)):
            self.unseen()
            self.unseen = None

    @abc.abstractmethod
    def stop(self, start: int, batch: int) -> int:
        """Return where a call of the kernel that starts at a row ends: a function of shape and batch alone."""

    def zeros(self) -> Matrix:
        """Return weights of zero."""
        return np.zeros((self.d + 1, *self.outputs))

    def path(self) -> Path:
        """Return a path that has not begun, at weights of zero."""
        w, last, average, total = (self.zeros() for _ in range(4))
        return Path(w, last, average, total, np.zeros(self.outputs or 1))

    @abc.abstractmethod
    def order(self, count: int, seed: int, epoch: int, shuffle: bool | str = True) -> Any:
        """Return the order of so many rows, or chunks of them, in one epoch, where the rows are: see `row_order`."""

    @abc.abstractmethod
    def epoch(
        self, order: Any, start: int, stop: int, settings: Settings, rates: Matrix, path: Path, averaged: int = 0
    ) -> None:
        """Step over rows `start` to `stop` of an epoch, in place.

        `order` is the epoch's whole order of rows, or `NO_ORDER` for the rows as they stand; `rates` holds the size of
        each step, or one for all; `averaged` counts the steps that the path's average holds already.
        """

    def gradient(self, w: Matrix) -> tuple[Matrix, Matrix]:
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

    def objective(self, w: Matrix) -> float:
        """Return the objective at `w`: weighted mean loss, summed over outputs, plus penalty."""
        return float(self.gradient(w)[0].sum()) + self.penalty(w)

    def penalty(self, w: Matrix) -> float:
        """Return the penalty at `w`, the intercept left out."""
        if self._penalty is NO_PENALTY:
            return 0.0
        total = cpu.penalty_kernel(self._penalty.value)
        with nullcontext() if getattr(total, "signatures", True) else first_call(self._penalty):
            return float(total(w[:-1].reshape(-1), self._penalty.params))

    @property
    def row_reads(self) -> int:
        """Rows read, those of samples included."""
        return self._counts.rows

    @row_reads.setter
    def row_reads(self, rows: int) -> None:
        self._counts.rows = rows

    @property
    def passes(self) -> float:
        """Reads of all rows: row reads over n, those of samples apart."""
        return (self._counts.rows - self._counts.sampled) / self.n

    def reweighted(self, weight: NDArray[np.float64]) -> Self:
        """Return a view of these rows with other weights, (n,) of mean 1 or one for all; its reads count in."""
        view = copy.copy(self)
        view.__dict__.pop("present", None)
        view.weight = weight
        return view

    @property
    def bytes_per_entry(self) -> int:
        """Bytes of an entry of X."""
        return int(self._dtype.itemsize)

    @cached_property
    def present(self) -> int:
        """Rows of positive weight."""
        return self.n if self.weight.size == 1 else int(np.count_nonzero(self.weight))

    @abc.abstractmethod
    def statistics(self, order: NDArray[np.int64], *, centred: bool, copied: bool = False) -> tuple[Matrix, Matrix]:
        """Return scale, centre, constancy and unit of the columns (4, d) and of the responses (4, k).

        See `statistics` of the kernels; over the rows in `order`, or all if it is empty. Of rows that are `copied` to
        be factored, which have to fit a cache, it is no further read.
        """

    @abc.abstractmethod
    def scaled(self, units: Units, order: NDArray[np.int64], start: int, stop: int) -> Matrix:
        """Return rows as linear algebra wants them: the root of the weight times one, columns and responses."""

    def gram_of(self, units: Units, order: NDArray[np.int64], share: Matrix) -> Matrix:
        """Return ``A' A`` of some rows, or of all, as `scaled` gives them, each times its share, (rows,) or one."""
        rows = self.scaled(units, order, 0, len(order) or self.n)
        rows *= share[:, np.newaxis]
        return tall_gram(rows)

    @abc.abstractmethod
    def squared_norms(self, units: Units, centre: Matrix, V: Matrix) -> Any:
        """Return the weighted squared norm of ``V z`` for each row z about `centre`, in one read; V is (vectors, d)."""

    @abc.abstractmethod
    def above(self, norms: Any, limit: float, share: float = 0.0) -> NDArray[np.int64]:
        """Return the numbers of the rows whose norm, and `share` times its weight, come to more than a limit."""

    @abc.abstractmethod
    def without(self, rows: NDArray[np.int64]) -> Any:
        """Return the weights, those of some rows set to zero."""

    @abc.abstractmethod
    def lengths(self, units: Units, *, intercept: bool) -> Matrix:
        """Return the root-mean-squares (d,) of the scaled columns, about their means with an intercept, in one read."""

    @abc.abstractmethod
    def gram(self, units: Units, T: Matrix | None = None) -> tuple[Matrix, Matrix]:
        """Return ``A' A`` of the weighted rows ``A = [1, Z T, y]``, Z scaled and centred; without T as it stands.

        Heavy rows, of more than a thousand times the expected square, are not in it and come beside it, (rows, 1 +
        columns + k): in a sum their rounding would hide the others. Sums of blocks are added with what rounding takes
        from them, so that the error is that of one block.
        """

    @abc.abstractmethod
    def sketch(self, units: Units, rows: int, seed: int) -> Matrix:
        """Return a sketch of the weighted rows ``[1, Z, y]``: stacked sparse signs, about so many rows.

        A quarter of each row of the table is added, with a random sign, to one random row of each of sixteen stripes: a
        sketch S with ``E[S' S] = 1``, made in one read.
        """

    @abc.abstractmethod
    def wide_gradient(
        self, units: Units, mean: Matrix, w: Matrix, *, intercept: bool, probes: Matrix | None = None
    ) -> tuple[Evidence, Any]:
        """Return gradient and residual squares at weights (d + 1, k) of scaled, uncentred rows, in one read.

        They are as good as in twice the precision. `mean` is what the centre misses of the columns' means. With probes
        (vectors, d) the squared norms of ``Z probes'`` come beside them, a number a row.
        """

    def plain_gradient(
        self, units: Units, mean: Matrix, w: Matrix, *, intercept: bool, probes: Matrix | None = None,
        centred: bool = True,  # noqa: ARG002 - to whom it makes no difference
    ) -> tuple[Evidence, Any]:  # fmt: skip
        """Return what `wide_gradient` does, in float64 where that takes less time: the evidence says how good it is.

        Columns are taken about their means where they are to be `centred`, else as they stand if that is quicker.
        """
        return self.wide_gradient(units, mean, w, intercept=intercept, probes=probes)

    def doubled_gradient(
        self, units: Units, mean: Matrix, w: Matrix, *, intercept: bool, probes: Matrix | None = None
    ) -> tuple[Evidence, Any]:
        """Return what `wide_gradient` does, its sums as good, of residuals in float64 where that takes less time."""
        return self.wide_gradient(units, mean, w, intercept=intercept, probes=probes)

    @abc.abstractmethod
    def curvature(self, units: Units, centre: Matrix, p: Matrix) -> Matrix:
        """Return ``sum_i v_i [z_i, 1] (z_i p + level)`` (d + 1, k) in one read, the columns about `centre`.

        ``p`` is (d + 1, k), the level last.
        """

    @abc.abstractmethod
    def lanes(self, units: Units, deal: Deal, model: Model, slope: Matrix, rate: float) -> Matrix:
        """Return where an epoch of minibatch steps from an anchor leads to, (r + 1, k) in coordinates of the basis.

        Each lane takes its steps beside the anchor, where the gradient is `slope`, by itself; where they lead is
        averaged in order.
        """

    @property
    def responses(self) -> Matrix:
        """The responses (n,) of one output."""
        raise NotImplementedError(_ON_THE_CPU)

    def of_loss(self, loss: Loss) -> Self:
        """Return a view of these rows with another loss; its reads count in."""
        view = copy.copy(self)
        view.__dict__["_loss"] = loss
        return view

    def few(self, order: NDArray[np.int64], drawn: float, share: Matrix) -> Table:
        """Return some rows as a table of their own, each with a share in it, one for all, beside its weight.

        Their responses are drawn to the mean by about the share `drawn`.
        """
        raise NotImplementedError(_ON_THE_CPU)

    def columns(self, some: NDArray[np.int64]) -> Table:
        """Return a copy of some columns as a table of their own, whose reads count apart."""
        raise NotImplementedError(_ON_THE_CPU)

    def each_row(self, kernel: Callable[..., object], score: Matrix, *rest: object) -> None:
        """Call a kernel with the responses, a number a row, and what else it takes."""
        raise NotImplementedError(_ON_THE_CPU)

    def summed_rows(
        self, kernel: Callable[..., object], vectors: tuple[Matrix, ...], numbers: tuple[object, ...],
        sums: tuple[Matrix, ...],
    ) -> None:  # fmt: skip
        """Set `sums` to what a kernel makes of responses, weights and further numbers of the rows, without a read."""
        raise NotImplementedError(_ON_THE_CPU)

    def alone(self) -> Self:
        """Return a view of these rows in which those of a positive weight weigh the same."""
        if self.weight.size == 1:
            return self
        return self.reweighted((self.weight > 0).astype(np.float64))

    def look(self, units: Units, w: Matrix, params: tuple[float, ...] | None = None) -> Look:
        """Return what one read says of the loss at weights (d + 1,) of scaled, uncentred rows; of one output.

        Parameters are the loss's own unless others are given.
        """
        raise NotImplementedError(_ON_THE_CPU)

    @abc.abstractmethod
    def response_squares(self, unit: Matrix, *, intercept: bool) -> tuple[Matrix, Matrix]:
        """Return mean squares (k,) of responses times `unit`, about their means with an intercept, and the means."""

    def count(self, order: NDArray[np.int64], rows: int) -> None:
        """Count rows that were read, in an order that is a sample's or all."""
        self.row_reads += rows
        self._counts.sampled += rows if order.size else 0

    def _run(self, kernel: Callable[..., object], *arguments: object) -> None:
        """Call a kernel; hold Ctrl-C back while it is compiled for a type of data that it has never run on."""
        if not self._ready(kernel, *arguments):
            kernel(*arguments)

    def _ready(self, work: Callable[..., object], *arguments: object, of: Callable[..., object] | None = None) -> bool:
        """Call what compiles a kernel, a call of no rows before threads share them; nothing where it is compiled."""
        ran = compiled_for.setdefault(of or work, set())
        if self._dtype in ran:
            return False
        with interrupts_held():
            work(*arguments)
        ran.add(self._dtype)
        return True
