"""Labels and counts for which no finite coefficients are best: a direction along which the loss falls for ever.

A. Albert and J. A. Anderson, On the existence of maximum likelihood estimates in logistic regression models,
*Biometrika* 71 (1984) 1-10: there is none if a direction moves each label's score to its own side or leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._dense_algebra import product, singular
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import vertex
from gradstep._solvers.certified import in_callers_units
from gradstep._table.table import Table
from gradstep._table.terms import Look, Units
from gradstep.losses import Loss

_MOVED = 0.3  # of a score in a step, from which on it is a direction to be looked at
_STILL = 1e-2  # of the largest move: of rows that may have to stay
_ROUNDING = 1e-9  # of the largest move
_FEW = 10  # rows a column on the wrong side, up to which a programme is worth it
_NEAR = 100  # rows a column of least margin in it
_APART = 0.5  # of the margin asked for: what a row of a programme lacks, beyond which there is no way between
_TURNS = 4
_ROWS = 1 << 14  # that are looked at before the next
_SMALL, _ALIKE = 4096, 1e-9  # rows that are factored as they are; of a column's size


def direction(
    table: Table, loss: Loss, units: Units, before: Look, after: Look, scaled: NDArray[np.float64],
    step: NDArray[np.float64], seed: int, *, intercept: bool,
) -> NDArray[np.float64] | None:  # fmt: skip
    """Return a direction (d + 1,), in the caller's units, along which the loss falls for ever, or None.

    The weights themselves are one where they tell the labels apart without error; else the last step is, if what it
    leaves nearly as it was can stay so exactly: two reads tell.
    """
    if loss.domain == "real":
        return None
    y, present = table.responses, _present(table)
    binary = loss.domain == "binary"

    def up(by: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
        # Where the loss of a row falls; a count above zero has its own place and must stay.
        y_of = y[rows]
        found = (2.0 * y_of - 1.0) * by if binary else np.where(y_of > 0, -np.abs(by), -by)
        return np.where(present[rows], found, np.inf)

    if binary and _all_above(lambda rows: up(after.score[rows], rows), table.n, np.nextafter(0.0, 1.0)):
        return in_callers_units(scaled, units)[:, 0]

    def moves(rows: slice) -> NDArray[np.float64]:
        return np.where(present[rows], after.score[rows] - before.score[rows], 0.0)

    # In blocks: what is made of all rows at once costs more for its memory than for its numbers.
    largest = float(np.max([np.abs(moves(rows)).max() for rows in _blocks(table.n)]))
    if not (_MOVED < largest < np.inf and _all_above(lambda rows: up(moves(rows), rows), table.n, -_STILL * largest)):
        return None
    every = slice(0, table.n)
    still = present & (up(moves(every), every) <= _STILL * largest)
    exact = _leaving(table, units, still, step, seed, intercept=intercept)
    moved = np.where(present, table.look(units, exact[:, 0]).score, 0.0)
    largest = max(float(moved.max()), -float(moved.min()))
    if not (largest > 0 and _all_above(lambda rows: up(moved[rows], rows), table.n, -_ROUNDING * largest)):
        return None
    return in_callers_units(exact, units)[:, 0]


def between(
    table: Table, p: Preconditioner, score: NDArray[np.float64], *, intercept: bool
) -> tuple[NDArray[np.float64] | None, bool]:
    """Return weights (d + 1,), in the caller's units, that tell labels apart without error, and whether it is settled.

    A linear programme looks for them among the rows of least margin; none for some rows is none for all. Rows that its
    answer has on the wrong side come in next, a read each time.
    """
    y, present = table.responses, _present(table)
    most = _FEW * (table.d + 1)
    some = slice(0, _ROWS)
    if np.count_nonzero(((2.0 * y[some] - 1.0) * score[some] <= 0) & present[some]) > most:
        return None, False
    side = 2.0 * y - 1.0
    margin = np.where(present, side * score, np.inf)
    wrong = int(np.count_nonzero(margin <= 0))
    if not 0 < wrong <= most:
        return None, False
    level = 1 / math.sqrt(p.total) if intercept else 0.0
    near = np.argpartition(margin, min(_NEAR * (table.d + 1), table.n) - 1)[: _NEAR * (table.d + 1)]
    for _ in range(_TURNS):
        near = np.sort(near[np.isfinite(margin[near])])
        rows = table.alone().scaled(p.units, near, 0, len(near))[:, 1 : 1 + table.d] - p.factor.mean
        A = np.column_stack((product(rows, p.T), np.full(len(near), level)))[:, : p.T.shape[1] + intercept]
        A = A * side[near, np.newaxis] * math.sqrt(p.total)
        found = vertex.minimum(A, np.ones(len(A)), 0.0, 1.0, np.zeros(A.shape[1]))
        if found is None or float(np.maximum(1 - A @ found.w, 0.0).max()) > _APART:
            return None, True
        q = found.w if intercept else np.append(found.w, 0.0)
        scaled = np.append(p.T @ q[:-1], level * q[-1]) * math.sqrt(p.total)
        scaled[-1] -= p.centre @ scaled[:-1]
        margin = np.where(present, side * table.look(p.units, scaled).score, np.inf)
        if float(margin.min()) > 0:
            return in_callers_units(scaled[:, np.newaxis], p.units)[:, 0], True
        near = np.union1d(near, np.flatnonzero(margin <= 0)[: _NEAR * (table.d + 1)])
    return None, False


def _all_above(values: Callable[[slice], NDArray[np.float64]], n: int, bound: float) -> bool:
    """Whether no row's value is below a bound: of overlapping labels a look at a few rows tells."""
    return all(values(rows).min() >= bound for rows in _blocks(n))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(first, min(first + _ROWS, n)) for first in range(0, n, _ROWS))


def _present(table: Table) -> NDArray[np.bool_]:
    return np.ones(table.n, dtype=bool) if table.weight.size == 1 else table.weight > 0


def _leaving(
    table: Table, units: Units, still: NDArray[np.bool_], step: NDArray[np.float64], seed: int, *, intercept: bool
) -> NDArray[np.float64]:
    """Return the part of a step (d + 1, 1) that leaves the scores of some rows exactly as they are."""
    by = step.copy()
    count = int(np.count_nonzero(still))
    if count == 0:
        return by
    seen = table.reweighted(still.astype(np.float64) * (table.n / count))
    if count <= max(table.d, _SMALL):
        rows = seen.scaled(units, np.flatnonzero(still), 0, count)
        factor = _preconditioner.factor_of_rows(rows, np.zeros(table.d, dtype=bool), intercept=intercept)
        centre = units.centre + factor.mean
    else:
        p = _drawn.drawn_in(seen, units, seed + 1, alpha=0.0, intercept=intercept, columns_alone=True)
        factor, centre = p.factor, p.centre
    # Columns have about unit size over all rows: what is far below it among those that stay is rounding.
    _, values, directions = singular(factor.R)
    kept = directions[: len(values)][values > _ALIKE * math.sqrt(table.n)]
    by[:-1] -= kept.T @ (kept @ by[:-1])
    by[-1] = -centre @ by[:-1] if intercept else 0.0
    return by
