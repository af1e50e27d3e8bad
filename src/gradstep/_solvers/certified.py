"""What solvers that certify their answer share: their state, the caller's units, and the last rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._dense_algebra import norms, triangle
from gradstep._numbers import frozen
from gradstep._preconditioner import Preconditioner
from gradstep._table.table import Table
from gradstep._table.terms import IN_FLOAT64, NO_ORDER, Evidence, Units

SMALL = 20_000
"""Cells up to which a table is its own sample, and is solved to the last digit."""


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    preconditioner: Preconditioner
    scaled: NDArray[np.float64]
    """(d + 1, k) weights of scaled, uncentred rows, the intercept last."""
    evidence: Evidence | None = None
    """Taken at these weights."""
    epoch: int = 0
    """Rounds finished."""
    unchanged: bool = False
    """Whether the last step was too small to change a weight."""
    settles: bool = True
    """Whether a round that gains little means that rounding lets no further one gain more."""
    rate: float = math.nan
    ended: bool = True

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1, k) in the caller's units."""
        return callers(self.scaled, self.preconditioner.units, self.preconditioner.length)

    @property
    def scaled_losses(self) -> NDArray[np.float64]:
        """Weighted mean losses of the scaled responses, an entry an output."""
        assert self.evidence is not None  # noqa: S101 - a round has ended
        return self.evidence.squares / (2 * self.preconditioner.total)

    @property
    def running(self) -> float:
        """The objective."""
        p = self.preconditioner
        penalties = p.ridge @ np.square(self.scaled[:-1]) / (2 * p.total)
        with np.errstate(over="ignore", under="ignore"):  # of responses beyond 1e154 the squares are infinite
            return float(((self.scaled_losses + penalties) / p.units.y_scale / p.units.y_scale).sum())

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""


_FELT = 1e-3  # standard errors
_LOOK = 1e-2  # standard errors
_ROUGH_STEPS = 2  # without twice the precision, before it is asked
_NO_STEP = 1e-2  # of the tolerance: nearer than that a step is not worth the read after it
_LOST = 1e-12  # of the spread of the response, in the fitted values


def nearest(
    preconditioner: Preconditioner, w: NDArray[np.float64], by: NDArray[np.float64], felt: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return ``w + by``, rounded so that the fitted values move little; of the outputs where that is felt.

    The weights are rounded one after the other, those whose last digit weighs most first, and each time the rest is
    fitted anew: L. Babai, On Lovasz' lattice reduction and the nearest lattice point problem, *Combinatorica* 6 (1986)
    1-13.
    """
    p = preconditioner
    root = math.sqrt(p.total)
    about = np.vstack((p.factor.R, np.diag(np.sqrt(p.ridge)))) if p.ridged else p.factor.R
    rows = np.vstack((np.append(p.centre, 1.0) * root, np.column_stack((about, np.zeros(len(about))))))
    weights = np.arange(len(w) if p.intercept else len(w) - 1)
    out = w + by
    for c in np.flatnonzero(felt):
        order = weights[np.argsort(np.spacing(np.abs(out[weights, c])) * norms(rows[:, weights]))]
        R = triangle(rows[:, order])
        moved = np.zeros(len(order))
        for i in range(len(order) - 1, -1, -1):
            j = order[i]
            goal = by[j, c]
            if R[i, i] != 0.0:
                goal -= R[i, i + 1 :] @ moved[i + 1 :] / R[i, i]
            out[j, c] = w[j, c] + goal
            moved[i] = (out[j, c] - w[j, c]) - by[j, c]
    return out


def in_callers_units(w: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return weights of scaled, uncentred rows as weights of the caller's: exact, but where float64 ends."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(w, _exponents(units))


def callers(scaled: NDArray[np.float64], units: Units, length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights (d + 1, k) of scaled rows as the caller's; refuse those that float64 cannot hold."""
    if not np.isfinite(scaled).all():
        raise ValueError(
            "X, y, sample_weight: their entries are too far apart for float64; columns of other units, or weights "
            "nearer to each other, are needed."
        )
    w = in_callers_units(scaled, units)
    back = from_callers_units(w, units)
    # What float64 cannot hold shows on the way back, where it matters to the fitted values.
    lost = back != scaled
    if lost.any():
        share = np.append(length, 1.0)[:, np.newaxis]
        lost = ~(np.abs(back - scaled) * share <= _LOST)
    if lost.any():
        j, c = np.unravel_index(int(lost.argmax()), lost.shape)
        what = f"coefficient of column {j}" if j < len(w) - 1 else "intercept"
        size = math.log10(abs(scaled[j, c])) - math.log10(units.y_scale[c])
        size += math.log10(units.scale[j]) if j < len(w) - 1 else 0.0
        raise ValueError(
            f"X, y: the {what} is about 1e{size:+.0f}, which float64 cannot hold; other units of "
            f"{'X or ' if j < len(w) - 1 else ''}y are needed."
        )
    return w


def from_callers_units(w: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return the weights of scaled, uncentred rows that are the caller's."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(w, -_exponents(units))


def _exponents(units: Units) -> NDArray[np.int32]:
    of_columns, of_responses = np.frexp(units.scale)[1], np.frexp(units.y_scale)[1]
    return np.append(of_columns, 1)[:, np.newaxis] - of_responses


def callers_factor(table: Table, preconditioner: Preconditioner) -> NDArray[np.float64] | None:
    """Return R with ``R' R = [X 1]' [X 1]`` of the weighted rows in the caller's units, of a factor of all rows.

    Weights have mean 1 over the rows of positive weight, as if the others were not there.
    """
    p = preconditioner
    if p.kind != "exact":
        return None
    rows = p.factor.R
    if p.intercept:
        of_mean = math.sqrt(p.total) * np.append(p.centre, 1.0)
        rows = np.vstack((np.column_stack((rows, np.zeros(len(rows)))), of_mean))
    exponents = np.frexp(p.units.scale)[1] - 1
    with np.errstate(over="ignore", under="ignore"):
        factor: NDArray[np.float64] = np.ldexp(rows, -np.append(exponents, np.zeros(int(p.intercept), dtype=np.int32)))
    return frozen(factor * math.sqrt(table.present / table.n))


def rounded(table: Table, state: State) -> State | None:
    """Return another state where rounding is felt in the fitted values: see `nearest`. One read of the rows.

    Otherwise each weight keeps its own digits: they are right to the last up to a condition of about 1e7, beyond
    which the rounding of one is felt in others.
    """
    preconditioner, evidence = state.preconditioner, state.evidence
    assert evidence is not None  # noqa: S101 - a round ends with it
    felt = preconditioner.distance(evidence) > _FELT * np.sqrt(evidence.squares / table.n)
    if not felt.any() or preconditioner.rank < table.d:
        return None
    scaled = nearest(preconditioner, state.scaled, preconditioner.step(evidence), felt)
    return replace(state, scaled=scaled, evidence=preconditioner.evidence(table, scaled), epoch=state.epoch + 1)


def is_small(table: Table) -> bool:
    """Whether a table is solved to the last digit whatever is asked for."""
    return table.present * table.d <= SMALL or table.present <= table.d


def refined(table: Table, state: State, tol: float) -> State:
    """Return the state after one full step with a factor of all rows; or as it is, where a first look finds no need.

    Gradients are as good as `tol` standard errors need: of small tables, and with a ridge, as good as can be.
    """
    preconditioner = state.preconditioner
    if is_small(table) or preconditioner.ridged:
        tol = 0.0  # what a ridge shrinks is far smaller than its standard error, which a tolerance is in units of
    look = tol
    if tol > 0 and not preconditioner.foreseen(table, state.scaled, tol, IN_FLOAT64):
        # What would take twice the precision is first looked at without: for a step that is close enough.
        look = max(tol, _LOOK)
    evidence = state.evidence or preconditioner.evidence(table, state.scaled, look)
    if state.evidence is None and tol > 0:
        far = preconditioner.distance(evidence)
        if (far <= _NO_STEP * tol * np.sqrt(evidence.squares / table.present)).all():
            if not preconditioner.suffices(evidence, state.scaled, tol, table.present):
                evidence = preconditioner.evidence(table, state.scaled, tol)
            return State(preconditioner, state.scaled, evidence, state.epoch + 1)
    scaled = _stepped(preconditioner, state.scaled, evidence)
    far, left = preconditioner.distance(evidence), preconditioner.factor.error
    for _ in range(_ROUGH_STEPS if look > tol and state.evidence is None else 0):  # of a first round, in any case
        # A step leaves what the factor is off by, at most: where that is too much, a further one without.
        if (left * far <= tol * np.sqrt(evidence.squares / table.present)).all():
            break
        before, evidence = far, preconditioner.evidence(table, scaled, look)
        far = preconditioner.distance(evidence)
        gained = np.divide(far, before, out=np.zeros_like(far), where=before > 0)
        scaled, left = _stepped(preconditioner, scaled, evidence), min(left, float(gained.max()))
    if np.array_equal(scaled, state.scaled):
        return State(preconditioner, scaled, evidence, state.epoch + 1, unchanged=state.evidence is not None)
    return State(preconditioner, scaled, preconditioner.evidence(table, scaled, tol), state.epoch + 1)


def settled(table: Table, state: State, tol: float) -> State:
    """Return `refined` of a table that is its own sample: to `tol` where float64 can tell it, else as near as can be.

    Its factor is that of Householder, or nearly as good: rough steps have nothing to gain.
    """
    told = state.preconditioner.foreseen(table, state.scaled, tol, IN_FLOAT64)
    return refined(table, state, tol if told else 0.0)


def _stepped(p: Preconditioner, scaled: NDArray[np.float64], evidence: Evidence) -> NDArray[np.float64]:
    by = scaled + p.step(evidence)
    if not p.intercept:
        by[-1] = 0.0
    return by


def is_whole(table: Table, intercept: bool) -> bool:
    """Whether a sketch would be no smaller than the table, so that the table stands for itself."""
    return is_small(table) or table.present <= _drawn.sketch_rows(table.d + intercept)


def whole(table: Table, alpha: float, earlier: NDArray[np.float64] | None, *, intercept: bool) -> State:
    """Return the state before the first round, with a factor of all rows by Householder's QR."""
    units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=intercept, alpha=alpha, copied=True)
    factor = _preconditioner.of_all_rows(table, units, constant, intercept=intercept)
    preconditioner = _preconditioner.preconditioner(table, units, factor, alpha, intercept=intercept)
    if earlier is None:
        return State(preconditioner, preconditioner.solution())
    scaled = from_callers_units(earlier, units)
    return begun(table, State(preconditioner, scaled, preconditioner.evidence(table, scaled), 1))


def begun(table: Table, state: State, tol: float = 0.0) -> State:
    """Return the state to begin in: at an earlier fit, as seen, or at the factor's own solution where that is nearer.

    A sketch's own solution is ``sqrt(d / m) norm(r)`` away, which `stretch` is above; that of all rows is better than a
    step from further than the noise.
    """
    p, evidence = state.preconditioner, state.evidence
    assert evidence is not None  # noqa: S101 - it was looked at
    with np.errstate(over="ignore", invalid="ignore"):
        distance = p.distance(evidence)
        rest = np.sqrt(np.maximum(evidence.squares - distance * distance, 0.0))
        near = distance <= (p.stretch or 1.0) * rest
    if near.all():
        return state
    scaled = np.where(near, state.scaled, p.solution())
    return replace(state, scaled=scaled, evidence=p.evidence(table, scaled, tol))


def mixed(
    better: NDArray[np.bool_], scaled: NDArray[np.float64], found: Evidence, before: State
) -> tuple[NDArray[np.float64], Evidence]:
    """Return the weights and evidence of those outputs that are better, and for others those of the state before."""
    assert before.evidence is not None  # noqa: S101 - a round ends with it
    if better.all():
        return scaled, found
    pairs = zip(found, before.evidence, strict=True)
    return np.where(better, scaled, before.scaled), Evidence(*(np.where(better, *pair) for pair in pairs))
