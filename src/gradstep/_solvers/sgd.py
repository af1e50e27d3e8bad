"""The default: minibatch SGD that needs no tuning, preconditioned, with variance reduction, averaged, in lanes.

A sketch gives the factor R, and in its coordinates every direction curves alike, whatever the units, offsets and
dependence of the columns: the step follows from the number of columns, the batch and the sketch alone. Gradients of
batches are taken as differences to an anchor whose gradient is known, which leaves no noise at the optimum, and the
mean of an epoch without replacement is nearer to it than its last step by about ``sqrt(d / n)``: R. Johnson and T.
Zhang, Accelerating stochastic gradient descent using predictive variance reduction, *NIPS* 2013; A. Gonen, F. Orabona
and S. Shalev-Shwartz, Solving ridge regression using sketched preconditioned SVRG, *ICML* 2016; M. Derezinski,
Stochastic variance-reduced Newton, 2022 (arXiv 2206.02702). Each lane takes its steps beside the anchor over rows of
its own, and the means of lanes are averaged: B. Woodworth et al., Is local SGD better than minibatch SGD?, *ICML* 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import gram, product
from gradstep._preconditioner import Preconditioner
from gradstep._solvers.certified import State, begun, is_whole, mixed, settled, whole
from gradstep._solvers.cg import directions, goal
from gradstep._solvers.sampled import begin
from gradstep._table.table import Table
from gradstep._table.terms import Deal, Model

_BATCH_PER_COLUMN = 16  # a step's own work is then a sixteenth of reading its batch
_LEAST_BATCH = 1024
_STEPS = 16  # of a lane at least, and of an epoch
_LANES = 16  # that larger chunks leave
_CHUNK, _CHUNK_BYTES = 16, 16384  # rows that are read in order at least, and bytes: less waits for memory
_CACHED_BYTES, _FEW = 1 << 23, 8  # of a table up to which a cache holds it; rows, where nothing waits for memory
_CHUNKS_A_BATCH = 16
_WELL_MIXED = 1 / 30  # of the distance that a good epoch leaves at most
_SLOW = 1 / 3  # from which on conjugate directions are better
_FINER = 4


@dataclass(frozen=True)
class Lanes(State):
    """Where the method stands."""

    model: Model | None = None
    run: int = _CHUNK
    """Rows of a chunk in the next epoch."""
    eta: float = 0.0
    """Step in the coordinates of R, in which the curvature is about 1."""
    slow: bool = False
    """Whether epochs have become slow, so that conjugate directions go on."""


class Minibatch(NamedTuple):
    """The default method on a table, with a ridge of strength alpha."""

    alpha: float
    intercept: bool
    seed: int
    tol: float
    max_passes: int
    batch_size: int | None = None

    def start(self, table: Table, earlier: NDArray[np.float64] | None = None) -> State:
        """Return the state after the sketch and a look at the solution that it gives, or at an earlier one."""
        if is_whole(table, self.intercept):
            return whole(table, self.alpha, earlier, intercept=self.intercept)
        p, scaled, evidence, heavy = begin(
            table, earlier, self.seed, self.tol, alpha=self.alpha, intercept=self.intercept
        )
        batch = self.batch(table)
        found = model(table, p, heavy)
        state = Lanes(p, scaled, evidence, 1, settles=False, model=found, run=chunk(table, batch), eta=rate(p, batch))
        return begun(table, state, self.tol)

    def advance(self, table: Table, state: State) -> State:
        """Take an epoch and look where it leads; a worse place is left again, for an epoch of smaller steps."""
        if not isinstance(state, Lanes):
            return settled(table, state, self.tol)
        if state.slow:
            return directions(table, state, self.tol, self.max_passes - table.passes - 1)
        p, evidence, model = state.preconditioner, state.evidence, state.model
        assert evidence is not None  # noqa: S101 - a round ends with it
        assert model is not None  # noqa: S101 - and the first begins with that
        slope = -np.vstack((p.T.T @ evidence.slopes, evidence.by_level * model.level))
        deal = self.deal(table, state.run, state.epoch)
        with np.errstate(over="ignore", invalid="ignore"):  # a place that is worse is left again
            q = table.lanes(p.units, deal, model, slope, state.eta)
            by = np.empty_like(state.scaled)
            by[:-1] = product(p.T, q[:-1])
            by[-1] = model.level * q[-1] - p.centre @ by[:-1]
            scaled = state.scaled + by
        if not p.intercept:
            scaled[-1] = 0.0
        before = p.distance(evidence)
        found, after = evidence, np.full_like(before, np.inf)
        if np.isfinite(scaled).all() and np.isfinite(np.square(q)).all():
            found = p.evidence(table, scaled, self.tol)
            after = p.distance(found)
        better = after < before
        # Outputs that are near enough do not set the pace.
        far = before > 2 * goal(table, state, self.tol)
        left = float((after[far] / before[far]).max(initial=0.0))
        run = max(1, state.run // _FINER) if left > _WELL_MIXED else state.run
        scaled, found = mixed(better, scaled, found, state)
        if left < 1.0:
            slow = left > _SLOW or not far.any()
            return replace(state, scaled=scaled, evidence=found, epoch=state.epoch + 1, run=run, slow=slow)
        slow = state.run == 1
        return replace(
            state, scaled=scaled, evidence=found, epoch=state.epoch + 1, run=run, slow=slow, eta=state.eta / 2
        )

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes."""
        if not isinstance(state, Lanes):
            return 1 if state.evidence else 2
        return 2

    def batch(self, table: Table) -> int:
        """Return the rows of a batch: sixteen a column, of short rows more, fewer where an epoch had too few steps."""
        if is_whole(table, self.intercept):
            return table.n
        if self.batch_size is not None:
            return min(self.batch_size, table.n)
        # Of so many rows that a batch may be made of chunks that are worth fetching; a GPU fetches rows side by side.
        # Lanes are threads' work: there should be some of them all the same.
        fetched = min(chunks(table) * neighbours(table), table.n // (_LANES * _STEPS)) if table.device == "cpu" else 0
        rows = max(_BATCH_PER_COLUMN * (table.d + 1), _LEAST_BATCH, fetched)
        return max(4 * (table.d + 1), min(rows, table.n // _STEPS))

    def deal(self, table: Table, run: int, epoch: int) -> Deal:
        """Return how the rows of the next epoch are dealt: a function of n, batch, run and seed alone."""
        n = table.n
        batch = self.batch(table)
        count = -(-n // run)
        lanes = max(1, n // (batch * _STEPS))
        ends = np.arange(lanes + 1) * count // lanes
        batches = []
        for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            steps = max(1, min(round((last - first) * run / batch), last - first))
            batches.append(first + np.arange(steps + 1) * (last - first) // steps)
        return Deal(table.order(count, self.seed, epoch), run, tuple(batches))


def neighbours(table: Table) -> int:
    """Return how many rows are best read in order before others are."""
    row_bytes = table.d * table.bytes_per_entry
    return _FEW if table.n * row_bytes <= _CACHED_BYTES else max(_CHUNK, _CHUNK_BYTES // row_bytes)


def chunks(table: Table) -> int:
    """Return how many chunks a batch has at least.

    As many as columns: where the rows of one are alike, a batch of fewer has no curvature in some direction.
    """
    return max(_CHUNKS_A_BATCH, table.d + 1)


def chunk(table: Table, batch: int) -> int:
    """Return the rows of a chunk to begin with: few enough that a batch has chunks from all over the table."""
    run = neighbours(table)
    rows = max(1, min(batch // chunks(table), run))
    at_once = 8 if rows >= 8 else 4  # rows are summed in eights, or fours
    return rows // at_once * at_once if rows > at_once else rows


def rate(p: Preconditioner, batch: int) -> float:
    """Return the step: half of the largest stable one of rows that are Gaussian, and of what a sketch may shrink.

    With ``E z z' = 1`` a batch of b rows has ``E (1 - eta H)^2 = 1 - 2 eta + eta^2 (1 + (d + 1) / b)``.
    """
    free = p.degrees + p.intercept
    shrunk = 1 - math.sqrt(free / p.rows)
    return 1 / (1 / shrunk**2 + (free + 1) / batch)


def model(table: Table, p: Preconditioner, heavy: NDArray[np.int64]) -> Model:
    """Return what steps are taken with: rows of high leverage stay out of the sample, their curvature in every step."""
    level = 1 / math.sqrt(p.total) if p.intercept else 0.0
    weight, fixed = table.weight, np.zeros((0, 0))
    if len(heavy):
        rows = table.scaled(p.units, heavy, 0, len(heavy))
        ones, columns = rows[:, :1], rows[:, 1 : 1 + table.d]
        white = np.hstack((product(columns - ones * p.factor.mean, p.T), level * ones))
        fixed = gram(white)
        weight = table.without(heavy)
    if p.ridged:
        ridge = np.zeros((p.T.shape[1] + 1, p.T.shape[1] + 1))
        ridge[:-1, :-1] = gram(np.sqrt(p.ridge)[:, np.newaxis] * p.T)
        fixed = ridge + fixed if fixed.size else ridge
    return Model(np.ascontiguousarray(p.T), p.centre, level, fixed, weight, table.present - len(heavy))
