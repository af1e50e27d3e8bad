"""Losses without a closed form: Newton's steps, each an epoch of minibatch SGD on the curvature at hand.

Where the loss curves by ``h_i`` at each row's score it is, nearby, least squares with the weights ``h_i``. So the
methods of the squared loss take the steps: a sketch of the rows weighted by their curvatures gives the factor R, an
epoch of minibatches in its coordinates leads to within a few hundredths of a Newton step, and the next look at the rows
tells gradient, curvatures and how far it is to the optimum. R is made anew only where the curvatures have moved so far
that it no longer bounds them. The scores of the rows are kept: a line is searched without reading X.

It begins at the optimum of a sample of rows: M. Derezinski, Stochastic variance-reduced Newton, 2022 (arXiv
2206.02702); Z. Frangella, P. Rathore, S. Zhao and M. Udell, SketchySGD, 2022 (arXiv 2211.08597), for curvatures that
are refreshed as the weights move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _preconditioner
from gradstep._certificate import Certificate, Curved, certify_curved
from gradstep._dense_algebra import orthonormal, product
from gradstep._kernels.looks import along_kernel, change_kernel, majoriser_kernel
from gradstep._kernels.wide import about_means
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import certified, lasso, sgd
from gradstep._solvers.cg import conjugate
from gradstep._solvers.certified import callers, from_callers_units, in_callers_units
from gradstep._solvers.sgd import Minibatch
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Evidence, Look, Rows, Units
from gradstep.losses import Loss, has_one_hump

_SAMPLE, _SAMPLE_PER_COLUMN, _LARGEST_SAMPLE = 4096, 40, 20_000
_SAMPLE_ROUNDS = 15
_HEAVY = 4.0  # times the mean leverage of a row in the sample
_ROUGH = 0.1  # standard errors of the sample, to which it is solved
_SHARES = np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0])
_SAME_CURVATURE = 1.5  # times their mean that curvatures may come to before a factor of them is made anew
_FASTEST = 0.5  # of the curvature that steps allow for at most where there is more than the factor knows
_REACH = 1.5  # times what is left of the way: how far about the scores the curvature is bounded to begin with
_UNSEEN = 8.0  # times a leverage by 16 projections, which is as much below it for one row in 1e5
_TWICE = 2.0  # for sums of them
_FEW = 0.25  # of a majoriser's, below which curvatures are too few to step by
_LITTLE = 1e-3  # of a majoriser that stands in for no curvature
_SAME_SCALE = 1e-4  # what the scale of the residuals may change by and be the same: it moves weights by that of an SE
_FURTHEST = 1024.0  # steps that a line is followed
_SHORT = 0.3  # of the fall at a step's beginning that is left at its end, from which on it is worth going further
_SLOW, _AIM = 1 / 3, 0.5
_DECREASE = 1e-4  # of what the model promises


class Metric(NamedTuple):
    """A factor of the rows weighted by their curvatures at some scores."""

    p: Preconditioner
    mean: float
    """Of the weights, which come to mean 1."""
    base: NDArray[np.float64]
    """(n,): the curvatures."""
    leverage: NDArray[np.float64]
    """(n,): ``x (A' A)^-1 x`` of each row, A the rows times the roots of their weights, the intercept among them."""
    sure: float
    """By how much a leverage may be above what is said, at most."""
    look: Look
    """Where the curvatures were taken."""
    trusted: bool
    """Whether they are the loss's own, and not those of a majoriser."""


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    units: Units
    scaled: NDArray[np.float64]
    """(d + 1, 1) weights of scaled, uncentred rows, the intercept last."""
    look: Look
    objective: float
    epoch: int
    params: tuple[float, ...]
    """Of the loss; of one in units of the residuals' scale, those of the scale as it was seen last."""
    fixed: bool = True
    """Whether they change no more."""
    metric: Metric | None = None
    certificate: Certificate | None = None
    run: int = 1
    slow: bool = False
    """Whether epochs have become slow, so that conjugate directions go on."""
    left: float = math.inf
    """Share of the distance that the last round left."""
    rows: NDArray[np.float64] | None = None
    """Of a table that stands for itself: its rows as linear algebra wants them."""
    refreshed: int = 0
    unchanged: bool = False
    apart: NDArray[np.float64] | None = None
    """A direction (d + 1,), in the caller's units, along which the loss falls for ever."""
    rate: float = math.nan
    ended: bool = True

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1, 1) in the caller's units."""
        d = len(self.scaled) - 1
        return callers(self.scaled, self.units, np.ones(d) if self.metric is None else self.metric.p.length)

    @property
    def running(self) -> float:
        """The objective."""
        return self.objective

    @property
    def losses(self) -> float:
        """Sum of the losses over rows, weighted."""
        return self.look.losses

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""


class Newton(NamedTuple):
    """Newton's method on a table of one output, with an l1 penalty and a ridge of these strengths."""

    loss: Loss
    l1: float
    l2: float
    intercept: bool
    seed: int
    tol: float
    max_passes: int
    batch_size: int | None = None
    directions: bool = False
    """Whether conjugate directions are taken in place of epochs."""

    def start(self, table: Table, earlier: NDArray[np.float64] | None = None) -> State:
        """Return the state after a first look at the rows: at the optimum of a sample of them, or at an earlier fit."""
        sampled = _preconditioner.SAMPLED_PER_COLUMN * (table.d + 1)
        order = NO_ORDER if self._is_whole(table) else _preconditioner.sample(table, sampled, self.seed)
        units, _ = _preconditioner.units_of(table, order, intercept=self.intercept, alpha=self.l2, copied=True)
        units = units._replace(y_scale=np.ones(1), y_centre=np.zeros(1))
        constant, params = self._constant(table)
        if earlier is not None:
            scaled = from_callers_units(earlier, units)
        elif self._is_whole(table):
            scaled = constant
        else:
            w, params = self._of_sample(table)
            scaled = from_callers_units(w, units)
        rows = table.scaled(units, NO_ORDER, 0, table.n) if self._is_whole(table) else None
        state = self._at(table, units, scaled, 0, params)
        if not self._is_whole(table):
            state = replace(state, run=sgd.chunk(table, self._epochs.batch(table)))
        return self._certified(table, replace(state, rows=rows, epoch=1))

    def advance(self, table: Table, state: State) -> State:
        """Take a step and look where it leads."""
        state = self._rescaled(table, state)
        state = self._refreshed(table, state)
        metric = state.metric
        assert metric is not None  # noqa: S101 - it was just made
        evidence = self._evidence(state, metric)
        before = self._distance(table, state, metric)
        by, promised, state = self._step(table, state, metric, evidence)
        found = self._at(table, state.units, state.scaled + by, state.epoch + 1, state.params)
        slack = 1e-13 * abs(state.objective) + 1e-300
        share = 1.0
        if not found.objective <= state.objective - _DECREASE * promised + slack or self._is_short(table, state, by, found):
            share, found = self._along(table, state, by, found)
        if not found.objective <= state.objective + slack:
            again = not (state.slow or state.rows is not None or self.l1 > 0)  # by conjugate directions
            state = replace(state, epoch=state.epoch + 1, slow=True, unchanged=not again, left=1.0)
            return self._certified(table, state)
        after = self._distance(table, found, metric)
        left = after / before if before > 0 else 1.0
        slow = state.slow or (left > _SLOW and share == 1.0 and state.rows is None)
        found = replace(
            found, metric=metric, fixed=state.fixed, run=state.run, slow=slow, left=left, rows=state.rows, refreshed=state.refreshed,
        )  # fmt: skip
        if left > 1 / 30:
            found = replace(found, run=max(1, state.run // 4))
        return self._certified(table, replace(found, apart=self._apart(table, state, found)))

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes, at least."""
        if state.rows is not None or self.l1 > 0:
            return 1 + 2 * (state.metric is None and state.rows is None)
        return 2

    def batch(self, table: Table) -> int:
        """Return the rows of a batch."""
        return table.n if self._is_whole(table) else self._epochs.batch(table)

    def _is_whole(self, table: Table) -> bool:
        return certified.is_whole(table, self.intercept)

    @property
    def _epochs(self) -> Minibatch:
        return Minibatch(0.0, self.intercept, self.seed, self.tol, self.max_passes, self.batch_size)

    def _constant(self, table: Table) -> tuple[NDArray[np.float64], tuple[float, ...]]:
        """Return weights of zero, with about the best intercept, and the loss's parameters there."""
        scaled = np.zeros((table.d + 1, 1))
        if self.loss.relative:
            centre = scale_of(table.responses, table.weight, about=True)[0] if self.intercept else 0.0
            scaled[-1] = centre
            return scaled, self._in_units_of(table, table.responses - centre)
        if self.intercept:
            scaled[-1] = self._best_constant(table)
        return scaled, self.loss.params

    def _in_units_of(self, table: Table, residuals: NDArray[np.float64]) -> tuple[float, ...]:
        """Return the parameters of a loss in units of the residuals' scale."""
        scale = scale_of(residuals, table.weight)[1]
        if not scale > 0:
            raise ValueError(
                f"loss: {self.loss!r} came, in units of the residuals' scale, and half of the residuals are zero: pass "
                "absolute=True with a delta in units of y."
            )
        return tuple(p * scale for p in self.loss.params)

    def _rescaled(self, table: Table, state: State) -> State:
        """Return the state with the scale of its residuals for that of those before, until it stays."""
        if state.fixed:
            return state
        params = self._in_units_of(table, table.responses - state.look.score)
        fixed = math.isfinite(state.left) and abs(params[0] / state.params[0] - 1) <= _SAME_SCALE
        kernel = along_kernel(self.loss.value, self.loss.slope, self.loss.curvature)
        sums = np.empty(3)
        table.summed_rows(kernel, (state.look.score, np.zeros(table.n)), (0.0, params), (sums,))
        if fixed:
            return replace(state, fixed=True)
        objective = float(sums[0]) / table.n + self._penalty(state.units, state.scaled)
        return replace(state, params=params, objective=objective, fixed=False)

    def _best_constant(self, table: Table) -> float:
        """Return about the best score for all rows: where the slopes sum to nothing."""
        kernel = along_kernel(self.loss.value, self.loss.slope, self.loss.curvature)
        zero, one, y = np.zeros(table.n), np.ones(table.n), table.responses

        def slopes(score: float) -> float:
            sums = np.empty(3)
            table.summed_rows(kernel, (zero, one), (score, self.loss.params), (sums,))
            return float(sums[1])

        low, high = (float(y.min()), float(y.max())) if self.loss.domain == "real" else (-40.0, 40.0)
        for _ in range(60):
            middle = (low + high) / 2
            if slopes(middle) > 0:
                high = middle
            else:
                low = middle
            if high - low <= 1e-6 * max(abs(low), abs(high)):
                break
        return (low + high) / 2

    def _of_sample(self, table: Table) -> tuple[NDArray[np.float64], tuple[float, ...]]:
        """Return the optimum of a sample of rows, about, in the caller's units, and the loss's parameters there."""
        order = sample_of(table, self.seed)
        w, params, p = self._of_rows(table, order, np.ones(1))
        leverage, _ = self._leverages(table, p, self.seed, whole=False)
        both, share = with_heavy(table, order, leverage)
        if share.size > 1:
            w, params, _ = self._of_rows(table, both, share)
        return w, params

    def _of_rows(
        self, table: Table, order: NDArray[np.int64], share: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], tuple[float, ...], Preconditioner]:
        """Return the optimum of some rows, about, in the caller's units, the loss's parameters there and a factor."""
        few = table.few(order, self._drawn(table, order), share)
        scale = math.sqrt(table.present / len(order))
        method = self._replace(tol=_ROUGH * scale, max_passes=_SAMPLE_ROUNDS)
        units, _ = _preconditioner.units_of(few, NO_ORDER, intercept=self.intercept, alpha=self.l2, copied=True)
        units = units._replace(y_scale=np.ones(1), y_centre=np.zeros(1))
        rows = few.scaled(units, NO_ORDER, 0, few.n)
        scaled, params = method._constant(few)
        state = method._certified(few, replace(method._at(few, units, scaled, 0, params), rows=rows, epoch=1))
        for _ in range(_SAMPLE_ROUNDS):
            state = method.advance(few, state)
            c = state.certificate
            if state.unchanged or (c is not None and c.bound <= _ROUGH and state.fixed):
                break
        table.count(order, len(order))
        metric = state.metric
        assert metric is not None  # noqa: S101 - of all rows there is one
        return in_callers_units(state.scaled, units), state.params, metric.p

    def _drawn(self, table: Table, order: NDArray[np.int64]) -> float:
        """Return by how much labels and counts of a sample are drawn to their mean, so that it has an optimum."""
        return (table.d + 1) / (4 * len(order)) if self.loss.domain in {"binary", "nonnegative"} else 0.0

    def _at(
        self, table: Table, units: Units, scaled: NDArray[np.float64], epoch: int, params: tuple[float, ...]
    ) -> State:
        """Return the state at some weights, by a look at all rows."""
        if not self.intercept:
            scaled[-1] = 0.0
        look = table.look(units, scaled[:, 0], params)
        if look.bad >= 0:
            number = look.bad if table.numbers is None else table.numbers[look.bad]
            raise ValueError(
                f"loss: the curvature of {self.loss!r} is {look.curve[look.bad]:g} at row {number}, where the score "
                f"is {look.score[look.bad]:g}; a number of at least 0 is needed."
            )
        objective = look.losses / table.n + self._penalty(units, scaled)
        return State(units, scaled, look, objective, epoch, params, fixed=not self.loss.relative)

    def _penalty(self, units: Units, scaled: NDArray[np.float64]) -> float:
        w = in_callers_units(scaled, units)[:-1]
        return float(self.l1 * np.abs(w).sum() + self.l2 / 2 * np.square(w).sum())

    def _evidence(self, state: State, metric: Metric) -> Evidence:
        """Return the gradient of all but l1, downhill, in units of the mean curvature."""
        p, look = metric.p, state.look
        d = len(state.scaled) - 1
        slopes, by_level = np.empty((d, 1)), np.empty(1)
        about_means(look.high, look.low, p.units.centre, p.factor.mean, self.intercept, slopes, by_level)
        slopes /= metric.mean
        slopes -= p.ridge[:, np.newaxis] * state.scaled[:-1]
        return Evidence(slopes, by_level / metric.mean, np.array([look.squares / metric.mean**2]))

    def _distance(self, table: Table, state: State, metric: Metric) -> float:
        """Return the norm of the whitened gradient, l1 in it."""
        evidence = self._evidence(state, metric)
        if self.l1 > 0:
            evidence, _ = self._with_subgradient(table, state, metric, evidence)
        return float(metric.p.distance(evidence)[0])

    def _strength(self, table: Table, metric: Metric) -> NDArray[np.float64]:
        """Return the l1 strengths (d,) of scaled coefficients, in units of the mean curvature."""
        return self.l1 * table.n / metric.mean * metric.p.units.scale

    # The metric.

    def _is_stale(self, table: Table, state: State, metric: Metric) -> bool:
        """Whether a factor is no longer one to step by: as it shows, where steps leave much of the way."""
        mean = float((state.look.curve * table.weight).mean())
        near = metric.mean / _SAME_CURVATURE <= mean <= metric.mean * _SAME_CURVATURE
        return not (near and metric.trusted and state.left <= _SLOW)

    def _refreshed(self, table: Table, state: State, *, anew: bool = False) -> State:
        """Return the state with a factor of the curvatures at its scores, or about them unless it has to be anew."""
        metric = state.metric
        if metric is not None:
            if metric.look is state.look:
                return state
            if state.rows is None and not (anew or self._is_stale(table, state, metric)):
                return state
        curve, trusted = self._curvatures(table, state)
        weight = curve if table.weight.size == 1 else curve * table.weight
        mean = float(weight.mean())
        if not _TINY < mean < 1 / _TINY:
            raise ValueError(
                f"loss: the curvatures of {self.loss!r} come to {mean:.3g} in the mean, which is no number to weigh rows "
                "by: scores are too far from where the loss curves, or y is in extreme units."
            )
        seen = table.reweighted(weight / mean)
        seed = self.seed + (state.refreshed << 40)
        units, alpha = state.units, self.l2 / mean
        if state.rows is not None:
            root = np.sqrt(curve / mean)[:, np.newaxis]
            none = np.zeros(table.d, dtype=bool)
            factor = _preconditioner.factor_of_rows(state.rows * root, none, intercept=self.intercept)
            p = _preconditioner.preconditioner(seen, units, factor, alpha, intercept=self.intercept)
        else:
            found = _preconditioner.drawn_in(seen, units, seed, alpha=alpha, intercept=self.intercept)
            if not np.array_equal(found.units.scale, units.scale):
                w = in_callers_units(state.scaled, units)
                units = found.units._replace(y_scale=np.ones(1), y_centre=np.zeros(1))
                moved = self._at(table, units, from_callers_units(w, units), state.epoch, state.params)
                state = replace(state, units=units, scaled=moved.scaled, look=moved.look)
            p = replace(found, units=units)
        leverage, sure = self._leverages(table, p, seed, whole=state.rows is not None)
        metric = Metric(p, mean, curve, leverage, sure, state.look, trusted)
        return replace(state, metric=metric, refreshed=state.refreshed + 1, units=units)

    @property
    def _is_of_residuals(self) -> bool:
        """Whether the slope is 0 at a residual of 0, so that there may be a majoriser."""
        return self.loss.domain == "real" and self.loss.slope(0.0, 0.0, self.loss.params) == 0.0

    def _curvatures(self, table: Table, state: State) -> tuple[NDArray[np.float64], bool]:
        """Return curvatures (n,), with a little of a majoriser where there are none, and whether they are the loss's.

        Where there are few in all, as of Huber's loss far from the optimum, they are the majoriser's.
        """
        curve = state.look.curve
        present = np.ones(table.n) if table.weight.size == 1 else (table.weight > 0).astype(np.float64)
        if not self._is_of_residuals:
            return (curve, True) if curve.sum() > 0 else (present, False)
        over = np.empty(table.n)
        table.each_row(majoriser_kernel(self.loss.slope), state.look.score, state.params, over)
        over *= present
        if curve.sum() >= _FEW * over.sum() or state.left <= 0.1:
            return np.maximum(curve, _LITTLE * over), True
        return over, False

    def _leverages(self, table: Table, p: Preconditioner, seed: int, *, whole: bool) -> tuple[NDArray[np.float64], float]:
        """Return the leverage of each row, without its weight."""
        V = p.probes(seed)
        if whole:
            V = np.zeros((-(-p.T.shape[1] // 4) * 4, table.d))
            V[: p.T.shape[1]] = p.T.T
        norms = table.alone().squared_norms(p.units, p.centre, V)
        if whole:
            table.row_reads -= table.n  # of a copy that is there
        norms += p.intercept / p.total
        return norms, (1.0 if whole else _UNSEEN)

    def _change(self, table: Table, state: State, metric: Metric, reach: float) -> tuple[float, float]:
        """Return what shares of the factor's curvature are missing at most within a reach of the scores, and beyond it."""
        missing, more = np.empty(len(_SHARES)), np.empty(len(_SHARES))
        stretch = (1 + metric.p.stretch) ** 2
        rows = state.look.score, state.look.curve, metric.base, metric.leverage
        numbers = reach * math.sqrt(stretch * metric.sure), _SHARES, state.params
        table.summed_rows(change_kernel(self.loss.curvature), rows, numbers, (missing, more))
        twice = stretch * (_TWICE if metric.sure > 1 else 1.0) / metric.mean
        return float((_SHARES + twice * missing).min()), float((_SHARES + twice * more).min())

    # Steps.

    def _step(
        self, table: Table, state: State, metric: Metric, evidence: Evidence
    ) -> tuple[NDArray[np.float64], float, State]:
        """Return a step, what the model promises of it, and the state with what was learnt on the way."""
        p = metric.p
        if self.l1 > 0:
            by = self._proximal(table, state, metric, evidence)
        elif state.rows is not None:
            by = p.step(evidence)
        else:
            weight = (state.look.curve if metric.trusted else metric.base) / metric.mean
            seen = table.reweighted(weight if table.weight.size == 1 else weight * table.weight)
            if state.slow or self.directions:
                goal = np.maximum(self._goal(table, state, metric), 1e-3 * p.distance(evidence))
                by, _ = conjugate(seen, p, np.zeros_like(state.scaled), evidence, goal, self._left(table))
            else:
                by = self._epoch(table, seen, state, metric, evidence)
        if not self.intercept:
            by[-1] = 0.0
        down = float((evidence.slopes * by[:-1]).sum() + evidence.by_level @ (by[-1] + p.centre @ by[:-1]))
        return by, abs(down) * metric.mean / table.n if self.l1 == 0 else 0.0, state

    def _left(self, table: Table) -> float:
        return max(1.0, self.max_passes - table.passes - 1)

    def _goal(self, table: Table, state: State, metric: Metric) -> NDArray[np.float64]:
        """Return the norm of the whitened gradient that is worth half of `tol` standard errors."""
        c = state.certificate
        sd = c.residual_sd if c is not None and np.isfinite(c.residual_sd) else 0.0
        return np.array([_AIM * self.tol * sd / math.sqrt(metric.mean) / (1 + metric.p.stretch)])

    def _epoch(
        self, table: Table, seen: Table, state: State, metric: Metric, evidence: Evidence
    ) -> NDArray[np.float64]:
        """Return where an epoch of minibatch steps leads, from here."""
        p, epochs = metric.p, self._epochs._replace(alpha=self.l2)
        model = sgd.model(seen, p, (metric.leverage - p.intercept / p.total) * seen.weight)
        slope = -np.vstack((p.T.T @ evidence.slopes, evidence.by_level * model.level))
        _, more = self._change(table, state, metric, 0.0)
        rate = sgd.rate(p, epochs.batch(table)) / (1 + min(more, _FASTEST))
        q = seen.lanes(p.units, epochs.deal(table, state.run, state.epoch), model, slope, rate)
        by = np.empty_like(state.scaled)
        by[:-1] = product(p.T, q[:-1])
        by[-1] = model.level * q[-1] - p.centre @ by[:-1]
        return by

    def _proximal(self, table: Table, state: State, metric: Metric, evidence: Evidence) -> NDArray[np.float64]:
        """Return the step to the minimum of the factor's model with l1."""
        p = metric.p
        unit = p.length
        R = np.vstack((p.factor.R, np.diag(np.sqrt(p.ridge)))) if p.ridged else p.factor.R
        R = R / unit
        now = state.scaled[:-1, 0] * unit
        # The model is  norm(R (u - now))**2 / 2 - slopes (u - now): its own least squares has this right side.
        white = product(R * unit, p.T)
        c = R @ now + white @ (p.T.T @ evidence.slopes[:, 0])
        found = lasso.minimum(R, c, self._strength(table, metric) / unit, now)
        by = np.empty_like(state.scaled)
        by[:-1, 0] = found / unit - state.scaled[:-1, 0]
        by[:-1, 0][found == 0.0] = -state.scaled[:-1, 0][found == 0.0]
        by[-1] = evidence.by_level / p.total - p.centre @ by[:-1]
        return by

    def _is_short(self, table: Table, state: State, by: NDArray[np.float64], found: State) -> bool:
        """Whether the loss falls on beyond a step nearly as it did before, as of exponentials far above their least."""
        kernel = along_kernel(self.loss.value, self.loss.slope, self.loss.curvature)
        line, sums = found.look.score - state.look.score, np.empty((2, 3))
        if self.l1 > 0:
            return False
        for share, of in zip((0.0, 1.0), sums, strict=True):
            table.summed_rows(kernel, (state.look.score, line), (share, state.params), (of,))
        w, step = (in_callers_units(part, state.units)[:-1] for part in (state.scaled, by))
        slopes = [of[1] / table.n + self.l2 * float((step * (w + t * step)).sum()) for t, of in enumerate(sums)]
        return bool(slopes[0] < 0 and slopes[1] < _SHORT * slopes[0])

    def _along(self, table: Table, state: State, by: NDArray[np.float64], found: State) -> tuple[float, State]:
        """Return the best share of a step that leads too far, by the scores at its ends, and the state there."""
        p = state.params
        line = found.look.score - state.look.score
        kernel = along_kernel(self.loss.value, self.loss.slope, self.loss.curvature)

        def objective(share: float) -> float:
            sums = np.empty(3)
            table.summed_rows(kernel, (state.look.score, line), (share, p), (sums,))
            return float(sums[0] / table.n + self._penalty(state.units, state.scaled + share * by))

        low, high = 0.0, 1.0
        best = objective(high)
        while not math.isfinite(best) and high > 1e-12:
            high /= 16
            best = objective(high)
        if best < state.objective:
            while high < _FURTHEST and (further := objective(2 * high)) < best:
                low, high, best = high / 2, 2 * high, further
            high *= 2
        golden = (math.sqrt(5) - 1) / 2
        a, b = high - golden * (high - low), low + golden * (high - low)
        at_a, at_b = objective(a), objective(b)
        for _ in range(60):
            if at_a <= at_b:
                high, b, at_b = b, a, at_a
                a = high - golden * (high - low)
                at_a = objective(a)
            else:
                low, a, at_a = a, b, at_b
                b = low + golden * (high - low)
                at_b = objective(b)
            if high - low <= 1e-2 * high:
                break
        share = (low + high) / 2
        return share, self._at(table, state.units, state.scaled + share * by, state.epoch + 1, p)

    # What is said of a state.

    def _certified(self, table: Table, state: State) -> State:
        """Return the state with its certificate."""
        if state.metric is None:
            if state.rows is None:
                return state
            state = self._refreshed(table, state)
        elif state.rows is not None:  # its factor is there for the asking
            state = self._refreshed(table, state)
        metric = state.metric
        assert metric is not None  # noqa: S101 - it is there
        p = metric.p
        evidence, further = self._evidence(state, metric), 0.0
        if self.l1 > 0:
            evidence, further = self._with_subgradient(table, state, metric, evidence)
        U = (1 + p.stretch) * (1 + p.factor.error) * float(p.distance(evidence)[0])
        reach = _REACH
        for _ in range(4):
            missing, _ = self._change(table, state, metric, reach * U)
            if missing < 1 and 1 / (1 - missing) <= reach:
                break
            reach *= 2
        else:
            missing = 1.0
        active = int(np.count_nonzero(state.scaled[:-1])) if self.l1 > 0 else None
        about = Curved(metric.mean, missing, self.loss.dispersion, has_one_hump(self.loss), further, active)
        c = certify_curved(p, evidence, state.scaled, table, about)
        state = replace(state, certificate=c)
        # A step that would do, but for curvatures that have moved too far for the factor to show it.
        away = 1.5 * U * math.sqrt(metric.mean) / c.residual_sd if c.residual_sd > 0 else math.inf
        if away <= self.tol < c.bound and metric.look is not state.look and table.passes + 2 <= self.max_passes:
            return self._certified(table, self._refreshed(table, state, anew=True))
        return state

    def away(self, table: Table, state: State) -> float:
        """Return about how many standard errors are left, where nothing may be proven of it."""
        c, metric = state.certificate, state.metric
        if c is None or metric is None or not c.residual_sd > 0:
            return math.inf
        return self._distance(table, state, metric) * math.sqrt(metric.mean) / c.residual_sd

    def _with_subgradient(
        self, table: Table, state: State, metric: Metric, evidence: Evidence
    ) -> tuple[Evidence, float]:
        """Return the gradient with that of l1 nearest to it, and what directions that the rows do not tell may hide."""
        p, strength = metric.p, self._strength(table, metric)
        u, slopes = state.scaled[:-1, 0], evidence.slopes[:, 0]
        nearest = np.clip(slopes, -strength, strength)
        left = slopes - np.where(u == 0.0, nearest, strength * np.sign(u))
        left = _within(p, left, slopes, u, strength)
        evidence = evidence._replace(slopes=left[:, np.newaxis])
        if p.ridged or p.rank == table.d:
            return evidence, 0.0
        basis = orthonormal(p.T * p.length[:, np.newaxis])
        hidden = np.abs(left - p.length * (basis @ (basis.T @ (left / p.length))))
        share = float((hidden / np.where(strength > 0, strength, 1.0)).max())
        most = float((strength * np.abs(u)).sum()) + state.objective * table.n / metric.mean
        return evidence, share * most * metric.mean

    def _apart(self, table: Table, state: State, found: State) -> NDArray[np.float64] | None:
        """Return a direction along which the loss falls for ever, where the last step shows one."""
        if self.l1 > 0 or self.l2 > 0 or self.loss.domain == "real":
            return None
        by = found.look.score - state.look.score
        largest = float(np.abs(by).max())
        y = table.responses
        present = np.ones(table.n, dtype=bool) if table.weight.size == 1 else table.weight > 0
        moved = found.w[:, 0] - state.w[:, 0]
        if self.loss.domain == "binary":
            side = 2.0 * y - 1.0
            if bool((side * found.look.score)[present].min() > 0):
                return found.w[:, 0]
            up = side * by
            return moved if largest > _MOVED and bool(up[present].min() >= -_STILL * largest) else None
        up = np.where(y > 0, -np.abs(by), -by)
        return moved if largest > _MOVED and bool(up[present].min() >= -_STILL * largest) else None


def sample_of(table: Table, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows whose optimum is a start."""
    m = max(_SAMPLE, _SAMPLE_PER_COLUMN * (table.d + 1), min(table.n // 4, _LARGEST_SAMPLE))
    return _preconditioner.sample(table, min(m, table.present // 2), seed + 1)


def with_heavy(
    table: Table, order: NDArray[np.int64], leverage: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a sample with the rows that it does not stand for but that a fit turns about, and the share of each.

    Those come in as they are, found by their leverage in the sample; without any the share is one for all.
    """
    heavy = np.flatnonzero(leverage > _HEAVY * (table.d + 1) / len(order))
    if len(heavy) == 0:
        return order, np.ones(1)
    if len(heavy) > len(order):
        heavy = heavy[np.argpartition(leverage[heavy], -len(order))[-len(order) :]]
    light = np.setdiff1d(order, heavy, assume_unique=True)
    of_light = (table.present - len(heavy)) / max(len(light), 1)
    return np.concatenate((light, heavy)), np.repeat((of_light, 1.0), (len(light), len(heavy)))


def scale_of(
    residuals: NDArray[np.float64], weight: NDArray[np.float64], *, about: bool = False
) -> tuple[float, float]:
    """Return the median, if asked for, and the median size of residuals over that of normal ones, a robust scale."""
    centre = _median(residuals, weight) if about else 0.0
    return centre, _median(np.abs(residuals - centre), weight) / _NORMAL


def _median(numbers: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    if weight.size == 1:
        return float(np.median(numbers))
    order = np.argsort(numbers)
    shares = np.cumsum(weight[order])
    return float(numbers[order[np.searchsorted(shares, shares[-1] / 2)]])


_NORMAL = 0.6744897501960817  # of a standard deviation: the median size of a normal number
_TINY = 1e-280
_MOVED, _STILL = 0.3, 1e-3


def _within(
    p: Preconditioner, left: NDArray[np.float64], slopes: NDArray[np.float64], u: NDArray[np.float64],
    strength: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return what is left of the slopes, with the subgradient of zeros chosen so that it is small in the metric.

    Of zeros any number within the strength is a subgradient: the nearest in each coordinate is not the best where
    columns depend on each other nearly. What is left of the others is projected off by those that are free.
    """
    free = (u == 0.0) & (np.abs(slopes) < strength)
    if not free.any() or free.all() or not left.any():
        return left
    # norm(T'(left + move)) least over moves of the free coordinates.
    move = -np.linalg.lstsq(p.T[free].T, p.T.T @ left, rcond=None)[0]
    room = strength[free]
    now = slopes[free] - left[free]  # the subgradients chosen
    moved = np.clip(now - move, -room, room)
    out = left.copy()
    out[free] = slopes[free] - moved
    before, after = p.T.T @ left, p.T.T @ out
    return out if after @ after < before @ before else left
