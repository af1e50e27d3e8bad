"""The factor of rows weighted by their curvatures, and how far it bounds them elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._kernels.looks import change_kernel, majoriser_kernel
from gradstep._kernels.plain import about_means
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import beginning
from gradstep._solvers.exact import factor_by_gram
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Evidence, Look, Units
from gradstep.losses import Loss

_SHARES = np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0])
_UNSEEN = 8.0  # times a leverage by 16 projections, which is as much below it for one row in 1e5
_TWICE = 2.0  # for sums of them
_FEW = 0.25  # of a majoriser's, below which curvatures are too few to step by
_SETTLED = 0.1  # of the distance that a step left at most, where curvatures are the loss's however few there are
_LITTLE = 1e-3  # of a majoriser that stands in for no curvature
_FEW_COLUMNS = 256  # of which a Gram matrix takes less time than a sketch
_TINY = 1e-280


class FlatError(ValueError):
    """There is no curvature to weigh rows by."""


class Metric(NamedTuple):
    """A factor of the rows weighted by their curvatures at some scores."""

    p: Preconditioner
    mean: float
    """Of the weights, which come to mean 1."""
    base: NDArray[np.float64] | None
    """(n,): the curvatures; None where they are 1 everywhere."""
    leverage: NDArray[np.float64] | None
    """(n,): ``x (A' A)^-1 x`` of each row, A the rows times the roots of their weights, the intercept among them; None
    where nothing is asked of how the curvature changes."""
    sure: float
    """By how much a leverage may be above what is said, at most."""
    look: Look | None
    """Where the curvatures were taken."""
    trusted: bool
    """Whether they are the loss's own, and not those of a majoriser."""

    def evidence(self, look: Look, scaled: NDArray[np.float64]) -> Evidence:
        """Return the gradient at a look, downhill, a ridge in it, in units of the mean curvature."""
        p = self.p
        slopes, by_level = np.empty((len(scaled) - 1, 1)), np.empty(1)
        about_means(look.high, look.low, p.units.centre, p.factor.mean, p.intercept, slopes, by_level)
        slopes /= self.mean
        slopes -= p.ridge[:, np.newaxis] * scaled[:-1]
        return Evidence(slopes, by_level / self.mean, np.array([look.squares / self.mean**2]))

    def change(
        self, table: Table, loss: Loss, params: tuple[float, ...], look: Look, reach: float
    ) -> tuple[float, float]:
        """Return what share of the factor's curvature may be missing within a reach of a look's scores, and be beyond.

        With the rows that have less than ``1 - c`` of theirs by their leverages, ``(1 - c) A' A`` less their trace is
        below what there is: so the share is ``c`` and that trace, for the best of some ``c``.
        """
        if self.base is None or self.leverage is None:
            return 0.0, 0.0
        missing, more = np.empty(len(_SHARES)), np.empty(len(_SHARES))
        stretch = (1 + self.p.stretch) ** 2
        rows = look.score, look.curve, self.base, self.leverage
        numbers = reach * math.sqrt(stretch * self.sure), _SHARES, params
        table.summed_rows(change_kernel(loss.curvature), rows, numbers, (missing, more))
        twice = stretch * (_TWICE if self.sure > 1 else 1.0) / self.mean
        return float((_SHARES + twice * missing).min()), float((_SHARES + twice * more).min())


def measured(
    table: Table, loss: Loss, params: tuple[float, ...], look: Look, units: Units, rows: NDArray[np.float64] | None,
    alpha: float, seed: int, left: float, *, intercept: bool, bounded: bool = True, joined: bool = False,
) -> Metric:  # fmt: skip
    """Return the metric at a look: of `rows` as linear algebra wants them, or of a sketch, whose units may be others.

    `alpha` is the strength of a ridge, `left` what share of the distance the last step left. Not `bounded`, nothing
    will be asked of how the curvature changes. With l1 a ridge is `joined` to the factor's rows: its minimum need not
    lie in the space of the rows.
    """
    curve, trusted = _curvatures(table, loss, params, look, left)
    weight = curve if table.weight.size == 1 else curve * table.weight
    mean = float(weight.mean())
    if not _TINY < mean < 1 / _TINY:
        raise FlatError(
            f"loss: the curvatures of {loss!r} come to {mean:.3g} in the mean, which is no number to weigh rows by: "
            "scores are too far from where the loss curves, or y is in extreme units."
        )
    seen = table.reweighted(weight / mean)
    own = 0.0 if joined else alpha / mean
    if rows is None:
        p = _drawn.drawn_in(seen, units, seed, alpha=own, intercept=intercept, columns_alone=True)
    else:
        none = np.zeros(table.d, dtype=bool)
        factor = _preconditioner.factor_of_rows(rows * np.sqrt(curve / mean)[:, np.newaxis], none, intercept=intercept)
        p = _preconditioner.preconditioner(seen, units, factor, own, intercept=intercept)
    if joined and alpha > 0:
        p = with_ridge(seen, p, alpha / mean)
    leverage = None
    if bounded:
        leverage = p.leverages(table, seed) if rows is None else p.leverages_of(rows)
    return Metric(p, mean, curve, leverage, _UNSEEN if rows is None else 1.0, look, trusted)


def of_squares(table: Table, seed: int, alpha: float, *, intercept: bool, whole: bool) -> Preconditioner:
    """Return a preconditioner of the rows as they are, from their Gram matrix where that is cheaper than a sketch."""
    if whole:
        units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=intercept, copied=True)
        factor = _preconditioner.of_all_rows(table, units, constant, intercept=intercept)
        p = _preconditioner.preconditioner(table, units, factor, 0.0, intercept=intercept)
    elif table.d <= _FEW_COLUMNS:
        units, factor, _ = factor_by_gram(table, seed, 0.0, intercept=intercept)
        p = _preconditioner.preconditioner(table, units, factor, 0.0, intercept=intercept)
    else:
        p = _drawn.drawn(table, seed, alpha=0.0, intercept=intercept)
    if alpha > 0:
        p = with_ridge(table, p, alpha)
    unit = 1 / p.units.y_scale
    factor = p.factor._replace(Q=p.factor.Q * unit, y_mean=(p.factor.y_mean + p.units.y_centre) * unit)
    return replace(p, factor=factor, units=beginning.plain(p.units))


def with_ridge(table: Table, p: Preconditioner, alpha: float) -> Preconditioner:
    """Return a preconditioner of the rows and, below them, of a ridge of strength alpha."""
    root = math.sqrt(alpha * p.total) * p.units.scale
    R, Q = np.vstack((p.factor.R, np.diag(root))), np.vstack((p.factor.Q, np.zeros((len(root), p.factor.Q.shape[1]))))
    factor = p.factor._replace(R=R, Q=Q)
    both = _preconditioner.preconditioner(table, p.units, factor, 0.0, intercept=p.intercept, kind=p.kind)
    return replace(both, ridge=np.square(root), stretch=p.stretch, rows=p.rows, centre=p.centre)


def _curvatures(
    table: Table, loss: Loss, params: tuple[float, ...], look: Look, left: float
) -> tuple[NDArray[np.float64], bool]:
    """Return curvatures (n,), with a little of a majoriser where there are none, and whether they are the loss's.

    Where there are few in all, as of Huber's loss far from the optimum, they are the majoriser's.
    """
    curve = look.curve
    total = float(curve.sum())
    if loss.domain != "real":
        return (curve, True) if total > 0 else (np.ones(table.n) * (table.weight > 0), False)
    # A majoriser is of residuals: where the slope is 0 at a residual of 0.
    if loss.slope(0.0, 0.0, params) != 0.0:
        floor = np.full(table.n, _LITTLE * total / table.present if total > 0 else 1.0)
        if table.weight.size > 1:
            floor *= table.weight > 0
        return np.maximum(curve, floor, out=floor), total > 0
    over = np.empty(table.n)
    table.each_row(majoriser_kernel(loss.slope), look.score, params, over)
    if table.weight.size > 1:
        over *= table.weight > 0
    if total >= _FEW * over.sum() or left <= _SETTLED:
        over *= _LITTLE
        return np.maximum(curve, over, out=over), True
    return over, False
