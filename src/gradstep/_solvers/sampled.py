"""Where a fit of many rows begins: at the solution of a sample, whose factor is repaired in the read that looks there.

A sketch of all rows is the better factor, but costs as much as several reads; of rows enough a sample does, once the
rows of high leverage, which it may have missed, stand in it as they are. Their leverages are seen in the same read as
the gradient at the sample's own solution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._preconditioner import Preconditioner
from gradstep._solvers.certified import from_callers_units
from gradstep._table.table import Table
from gradstep._table.terms import Evidence

_HEAVY_PER_COLUMN = 4  # times the mean leverage: of sixteen projections 1e-7 of the rows are above by chance


class Beginning(NamedTuple):
    """A factor, weights to begin at, and what a read says of them."""

    preconditioner: Preconditioner
    scaled: NDArray[np.float64]
    evidence: Evidence
    heavy: NDArray[np.int64]
    """Rows of high leverage, which stay out of batches."""


def begin(
    table: Table, earlier: NDArray[np.float64] | None, seed: int, tol: float, *, alpha: float, intercept: bool
) -> Beginning:
    """Return where a solver begins: at an earlier fit's weights in the caller's units, or at a factor's solution."""
    if table.device == "cpu":
        found = _of_sample(table, earlier, seed, tol, alpha=alpha, intercept=intercept)
        if found is not None:
            return found
    p = _drawn.drawn(table, seed, alpha=alpha, intercept=intercept)
    scaled = p.solution() if earlier is None else from_callers_units(earlier, p.units)
    evidence, norms = p.evidence_and_norms(table, scaled, tol, p.probes(seed))
    return Beginning(p, scaled, evidence, heavy_by(table, p, norms))


def heavy_by(table: Table, p: Preconditioner, norms: Any) -> NDArray[np.int64]:
    """Return the rows that would upset a batch which draws them, by leverages without the intercept's share."""
    return table.above(norms, leverage_limit(table, p), p.intercept / p.total)


def leverage_limit(table: Table, p: Preconditioner) -> float:
    """Return the leverage, times the weight, beyond which a row would upset a batch which draws it."""
    return _HEAVY_PER_COLUMN * (p.degrees + p.intercept) / table.present


def _of_sample(
    table: Table, earlier: NDArray[np.float64] | None, seed: int, tol: float, *, alpha: float, intercept: bool
) -> Beginning | None:
    """Return the same by a sample; None where it is too large a share, or of a short rank."""
    d = table.d + intercept
    if not _drawn.has_a_sample(d, table.present):
        return None
    order = _preconditioner.sample(table, _drawn.sample_rows(d, table.present), seed)
    units, _ = _preconditioner.units_of(table, _drawn.few_of(order), intercept=intercept, alpha=alpha)
    none = np.zeros(table.d, dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        rough = _drawn.sampled(table, units, none, seed, alpha=alpha, intercept=intercept)
        seen = _drawn.seen_by(rough, seed, table.present)
        for scaled in [from_callers_units(w, units) for w in (earlier,) if w is not None] + [rough.solution()]:
            evidence, norms = rough.evidence_and_norms(table, scaled, tol, seen)
            if np.isfinite(evidence.slopes).all() and np.isfinite(norms).all():
                break
        else:
            return None  # entries beyond anything in the sample
        heavy = _drawn.heavy(table, rough, norms)
        p = _drawn.repaired(table, rough, seed, alpha, heavy)
    if p.rank < table.d and not p.ridged:  # what has the least norm depends on the lengths of all rows
        return None
    # The columns were taken about the sample's means.
    evidence.slopes[...] += (rough.centre - p.centre)[:, np.newaxis] * evidence.by_level
    return Beginning(p, scaled, evidence, heavy)
