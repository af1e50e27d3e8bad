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
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._certificate import Certificate, Curved, certify_curved
from gradstep._dense_algebra import product
from gradstep._kinks import has_one_hump, least_sum
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import beginning, certified, metric, proximal, separation, sgd
from gradstep._solvers.certified import from_callers_units, in_callers_units
from gradstep._solvers.cg import conjugate
from gradstep._solvers.curved import State
from gradstep._solvers.line import Line
from gradstep._solvers.metric import Metric
from gradstep._solvers.sampled import leverage_limit
from gradstep._solvers.sgd import Minibatch
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Evidence, Units
from gradstep.losses import Loss, squared

_SAMPLE_ROUNDS = 15
_ROUGH = 0.1  # standard errors of the sample, to which it is solved
_SAME_CURVATURE = 1.5  # times their mean that curvatures may come to before a factor of them is made anew
_SCALE_ROUNDS = 2  # of all rows, after which the scale of the residuals is as it is
_SAME_SCALE = 5e-3  # by which the scale of the residuals may change and stay: weights move by a like share of an SE
_FASTEST = 0.5  # of the curvature that steps allow for at most where there is more than the factor knows
_REACH = 1.5  # times what is left of the way: how far about the scores the curvature is bounded to begin with
_SLOW, _WELL_MIXED = 1 / 3, 1 / 30  # of the distance: left by slow steps, and by good ones at most
_AIM = 0.5  # of the distance asked for, where conjugate directions end
_NEARER, _EXACTLY = 0.05, 1e-3  # of the distance that there is: what they leave of it at most, and at least
_SHORT = 0.3  # of the fall at a step's beginning that is left at its end, from which on it is worth going further
_DECREASE = 1e-4  # of what the model promises
_ROUNDING = 1e-13  # of the objective
_FINER = 4


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
        whole = certified.is_whole(table, self.intercept)
        sampled = _preconditioner.SAMPLED_PER_COLUMN * (table.d + 1)
        order = NO_ORDER if whole else _preconditioner.sample(table, sampled, self.seed)
        if self.is_quadratic and earlier is None:
            return self._of_factor(table, whole=whole)
        units = beginning.units_of(table, order, self.l2, intercept=self.intercept)
        rows = None
        if whole:
            rows = table.scaled(units, NO_ORDER, 0, table.n)
        if whole or earlier is not None:
            scaled, params = self.constant(table)
        if earlier is not None:
            scaled = from_callers_units(earlier, units)
        elif not whole:
            w, params = self._of_sample(table)
            scaled = from_callers_units(w, units)
        state = replace(self._at(table, units, scaled, int(whole), params), rows=rows)
        if self.loss.relative and earlier is not None:  # the residuals' scale is that of the earlier fit
            params = beginning.in_units_of(
                table.responses - state.look.score, table.weight, self.loss, self._size(table)
            )
            state = replace(self._at(table, units, scaled, int(whole), params), rows=rows)
        if not whole:
            state = replace(state, run=sgd.chunk(table, self._epochs.batch(table)))
        return self._certified(table, state)

    @property
    def is_quadratic(self) -> bool:
        """Whether the loss is the squared one."""
        return self.loss == squared()

    def _of_factor(self, table: Table, *, whole: bool) -> State:
        """Return the state at the minimum of a factor's model of the squared loss, whose curvature is 1 everywhere."""
        p = metric.of_squares(table, self.seed, self.l2, intercept=self.intercept, whole=whole)
        found = Metric(p, 1.0, None, None, 1.0, None, trusted=True)
        scaled = proximal.solution(p, self._strength(table, found))
        state = self._at(table, p.units, scaled, 1, self.loss.params)
        return self._certified(table, replace(state, metric=found))

    def advance(self, table: Table, state: State, *, proven: bool = True) -> State:
        """Take a step and look where it leads, with a certificate unless nothing has to be proven."""
        state = self._measured(table, self._rescaled(table, state), bounded=proven)
        before = self._distance(table, state)
        by, promised = self._step(table, state)
        found = self._at(table, state.units, state.scaled + by, state.epoch + 1, state.params)
        slack = _ROUNDING * abs(state.objective) + 1e-300
        far = not found.objective <= state.objective - _DECREASE * promised + slack
        if far or self._is_short(state, found, by):
            share = self._line(table, state, found, by).best(state.objective)
            found = self._at(table, state.units, state.scaled + share * by, state.epoch + 1, state.params)
        if not found.objective <= state.objective + slack:
            again = not (state.slow or state.rows is not None or self.l1 > 0)  # by conjugate directions
            state = replace(state, epoch=state.epoch + 1, slow=True, unchanged=not again, left=1.0)
            return self._certified(table, state) if proven else state
        found = replace(
            found, metric=state.metric, fixed=state.fixed, run=state.run, rows=state.rows, refreshed=state.refreshed,
            overlap=state.overlap,
        )  # fmt: skip
        left = self._distance(table, found) / before if before > 0 else 1.0
        slow = state.slow or (left > _SLOW and not far and state.rows is None)
        run = max(1, state.run // _FINER) if left > _WELL_MIXED else state.run
        found = replace(found, left=left, slow=slow, run=run)
        if not proven:
            return found
        if self.l1 == 0 and self.l2 == 0:
            apart = separation.direction(
                table, self.loss, state.units, state.look, found.look, found.scaled, found.scaled - state.scaled,
                self.seed, intercept=self.intercept,
            )  # fmt: skip
            if apart is None and self.loss.domain == "binary" and not state.overlap:
                assert found.metric is not None  # noqa: S101 - a step was taken in it
                apart, overlap = separation.between(table, found.metric.p, found.look.score, intercept=self.intercept)
                found = replace(found, overlap=overlap)
            if apart is not None:
                return replace(found, apart=apart)
        return self._certified(table, found)

    def by_gap(self, table: Table, state: State, share: float) -> Certificate:
        """Return the certificate by l1 alone, the slopes of further columns being beyond theirs by a share at most."""
        found = state.metric
        assert found is not None  # noqa: S101 - it was measured
        _, (_, own) = self._evidence(table, state)
        _, alone = self._further(table, state, (0.0, max(own, share)))
        active = int(np.count_nonzero(state.scaled[:-1]))
        about = Curved(found.mean, 0.0, self.loss.dispersion, has_one_hump(self.loss), 0.0, active)
        return self._by_gap(table, state, about, alone)

    def _by_gap(self, table: Table, state: State, about: Curved, gap: float) -> Certificate:
        """Return the certificate of an objective whose sum over rows is so far above its least at most."""
        found = state.metric
        assert found is not None  # noqa: S101 - it was measured
        evidence = found.evidence(state.look, state.scaled)
        zero = evidence._replace(slopes=np.zeros_like(evidence.slopes), by_level=np.zeros(1))
        return certify_curved(found.p, zero, state.scaled, table, about._replace(missing=0.0, further=gap))

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes, at least."""
        steps = 1 if state.rows is not None or self.l1 > 0 else 2
        stale = state.metric is None or (state.metric.base is not None and state.left > _SLOW)
        return steps + 2 * (stale and state.rows is None)

    def batch(self, table: Table) -> int:
        """Return the rows of a batch."""
        return table.n if certified.is_whole(table, self.intercept) else self._epochs.batch(table)

    def away(self, table: Table, state: State) -> float:
        """Return about how many standard errors are left, where nothing may be proven of it."""
        found = state.metric
        if found is None:
            return math.inf
        degrees = max(1.0, table.present - self.intercept - found.p.degrees)
        present = table.present / table.n
        dispersion = (
            self.loss.dispersion / present
            if self.loss.dispersion is not None
            else state.look.squares / (found.mean * degrees)
        )
        return self._distance(table, state) / math.sqrt(dispersion / found.mean) if dispersion > 0 else math.inf

    def _is_short(self, state: State, found: State, by: NDArray[np.float64]) -> bool:
        """Whether the loss falls on beyond a step nearly as it did before, as exponentials far from their least do."""
        at = state.metric
        if self.l1 > 0 or at is None:
            return False
        before, after = (_fall(at.p, at.evidence(each.look, each.scaled), by) for each in (state, found))
        return before > 0 and after > _SHORT * before

    @property
    def _epochs(self) -> Minibatch:
        return Minibatch(self.l2, self.intercept, self.seed, self.tol, self.max_passes, self.batch_size)

    def constant(self, table: Table) -> tuple[NDArray[np.float64], tuple[float, ...]]:
        """Return weights of zero, with about the best intercept, and the loss's parameters there."""
        scaled = np.zeros((table.d + 1, 1))
        if self.loss.relative:
            scaled[-1] = beginning.median(table.responses, table.weight) if self.intercept else 0.0
            return scaled, beginning.in_units_of(
                table.responses - scaled[-1], table.weight, self.loss, self._size(table)
            )
        if self.intercept:
            scaled[-1] = beginning.best_constant(table, self.loss)
        return scaled, self.loss.params

    def _size(self, table: Table) -> float:
        """Return the typical size of responses."""
        return beginning.median(np.abs(table.responses), table.weight)

    def _rescaled(self, table: Table, state: State) -> State:
        """Return the state with the scale of its residuals for that of those before, until it stays."""
        if state.fixed:
            return state
        params = beginning.in_units_of(table.responses - state.look.score, table.weight, self.loss, self._size(table))
        late = state.epoch > (_SAMPLE_ROUNDS if state.rows is not None else _SCALE_ROUNDS)
        same = abs(params[0] / state.params[0] - 1) <= _SAME_SCALE
        if late or (same and state.left <= _SLOW):  # a fit that still has far to go may stand still for a round
            return replace(state, fixed=True)
        state = replace(state, params=params)
        return replace(state, objective=self._line(table, state, state, np.zeros_like(state.scaled)).objective(0.0))

    def _of_sample(self, table: Table) -> tuple[NDArray[np.float64], tuple[float, ...]]:
        """Return the optimum of a sample of rows, about, in the caller's units, and the loss's parameters there."""
        order, share = beginning.with_heavy(
            table, self.seed, intercept=self.intercept, events=self.loss.domain != "real"
        )
        # Labels and counts are drawn to their mean by a little, so that there is an optimum.
        drawn = (table.d + 1) / (4 * len(order)) if self.loss.domain in {"binary", "nonnegative"} else 0.0
        few = table.few(order, drawn, share)
        units = beginning.units_of(few, alpha=self.l2, intercept=self.intercept)
        rows = few.scaled(units, NO_ORDER, 0, few.n)
        scaled, params = self.constant(few)
        state = replace(self._at(few, units, scaled, 0, params), rows=rows)
        for _ in range(_SAMPLE_ROUNDS):
            state = self.advance(few, state, proven=False)
            if state.unchanged or (state.fixed and self.away(few, state) <= _ROUGH):
                break
        table.count(order, len(order))
        return in_callers_units(state.scaled, units), state.params

    def _at(
        self, table: Table, units: Units, scaled: NDArray[np.float64], epoch: int, params: tuple[float, ...]
    ) -> State:
        """Return the state at some weights, by a look at all rows."""
        if not self.intercept:
            scaled[-1] = 0.0
        look = table.look(units, scaled[:, 0], params)
        if look.bad >= 0:
            number = look.bad if table.numbers is None else table.numbers[look.bad]
            z, y = float(look.score[look.bad]), float(table.responses[look.bad])
            found = {role: getattr(self.loss, role)(z, y, params) for role in ("value", "slope", "curvature")}
            role = next((role for role, number_found in found.items() if math.isnan(number_found)), "curvature")
            needed = "number" if role != "curvature" else "number of at least 0"
            raise ValueError(
                f"loss: the {role} of {self.loss!r} is {found[role]:g} at row {number}, where the score is {z:g}; a "
                f"{needed} is needed."
            )
        objective = look.losses / table.n + self._penalty(units, scaled)
        return State(units, scaled, look, objective, epoch, params, fixed=not self.loss.relative)

    def _penalty(self, units: Units, scaled: NDArray[np.float64]) -> float:
        w = in_callers_units(scaled, units)[:-1]
        return float(self.l1 * np.abs(w).sum() + self.l2 / 2 * np.square(w).sum())

    def _line(self, table: Table, state: State, found: State, by: NDArray[np.float64]) -> Line:
        """Return the line from a state to another one that is `by` away."""
        line = found.look.score - state.look.score
        return Line(
            table, self.loss, state.params, state.look.score, line,
            lambda share: self._penalty(state.units, state.scaled + share * by),
        )  # fmt: skip

    def _evidence(self, table: Table, state: State) -> tuple[Evidence, tuple[float, float]]:
        """Return the gradient, with that of l1 nearest to it, and what l1 alone decides: see `proximal.left`."""
        found = state.metric
        assert found is not None  # noqa: S101 - it was measured
        evidence = found.evidence(state.look, state.scaled)
        if self.l1 == 0:
            return evidence, (0.0, math.inf)
        return proximal.left(found.p, state.scaled, evidence, self._strength(table, found))

    def _strength(self, table: Table, found: Metric) -> NDArray[np.float64]:
        """Return the l1 strengths (d,) of scaled coefficients, in units of the mean curvature."""
        strength: NDArray[np.float64] = self.l1 * table.n / found.mean * found.p.units.scale
        return strength

    def _distance(self, table: Table, state: State) -> float:
        """Return the norm of the whitened gradient, l1 in it."""
        assert state.metric is not None  # noqa: S101 - it was measured
        return float(state.metric.p.distance(self._evidence(table, state)[0])[0])

    def _further(self, table: Table, state: State, share: tuple[float, float]) -> tuple[float, float]:
        """Return what of the objective's sum over rows l1 decides, and how far it may be above its least by l1 alone.

        The strengths bound a slope that is left, times what the sizes of all coefficients come to at most, here and at
        the optimum, where the penalty is no more than what the loss may fall to.
        """
        if self.l1 == 0:
            return 0.0, math.inf
        found = state.metric
        least = least_sum(self.loss, table.responses, table.weight)
        if least == -math.inf and self.loss.domain == "real" and self.loss.slope(0.0, 0.0, state.params) == 0.0:
            # A convex loss of residuals is least at a residual of 0.
            line = Line(table, self.loss, state.params, table.responses, np.zeros(table.n), float)
            least = line.objective(0.0) * table.n
        assert found is not None  # noqa: S101 - it was measured
        sizes = float((self._strength(table, found) * np.abs(state.scaled[:-1, 0])).sum()) * found.mean
        most = sizes + state.objective * table.n - least
        level = abs(float(state.look.high[-1, 0])) * (1.0 + float(np.abs(state.look.score).max()))
        hidden, whole = share
        return (hidden * most if hidden > 0 else 0.0), whole * most + (level if self.intercept else 0.0)

    def _rank(self, table: Table, state: State) -> int:
        """Return the rank of the rows as they are, where that of the metric is short."""
        found = state.metric
        assert found is not None  # noqa: S101 - it was measured
        if found.p.rank == table.d or found.p.kind == "exact" or found.base is None or self.loss.domain == "real":
            return found.p.rank
        seen = _drawn.drawn_in(
            table.alone(), state.units, self.seed + 2, alpha=0.0, intercept=self.intercept, columns_alone=True
        )
        return seen.rank

    def _measured(self, table: Table, state: State, *, anew: bool = False, bounded: bool = True) -> State:
        """Return the state with a metric to step by: one that there is unless it is stale or has to be anew."""
        found = state.metric
        if found is not None:
            if found.look is state.look:
                return state
            if found.base is None:  # of a loss whose curvature is the same everywhere
                return state
            mean = float((state.look.curve * table.weight).mean())
            near = found.mean / _SAME_CURVATURE <= mean <= found.mean * _SAME_CURVATURE
            if state.rows is None and not anew and near and found.trusted and state.left <= _SLOW:
                return state
        seed = self.seed + (state.refreshed << 40)
        found = metric.measured(
            table, self.loss, state.params, state.look, state.units, state.rows, self.l2, seed, state.left,
            intercept=self.intercept, bounded=bounded, joined=self.l1 > 0,
        )  # fmt: skip
        units = beginning.plain(found.p.units)
        if not np.array_equal(units.scale, state.units.scale):
            scaled = from_callers_units(in_callers_units(state.scaled, state.units), units)
            moved = self._at(table, units, scaled, state.epoch, state.params)
            state = replace(state, scaled=moved.scaled, look=moved.look)
        found = found._replace(p=replace(found.p, units=units), look=state.look)
        return replace(state, metric=found, refreshed=state.refreshed + 1, units=units)

    def _step(self, table: Table, state: State) -> tuple[NDArray[np.float64], float]:
        """Return a step, and what the model promises of it."""
        found = state.metric
        assert found is not None  # noqa: S101 - it was measured
        p, evidence = found.p, found.evidence(state.look, state.scaled)
        if self.l1 > 0:
            by = proximal.step(p, state.scaled, evidence, self._strength(table, found))
        elif state.rows is not None:
            by = p.step(evidence)
        else:
            base = state.look.curve if found.trusted or found.base is None else found.base
            weight = base / found.mean
            seen = table.reweighted(weight if table.weight.size == 1 else weight * table.weight)
            if state.slow or self.directions:
                away = float(p.distance(evidence)[0])
                # Where that is near enough already, what is missing is the proof, of which nearer asks for less.
                goal = np.array([max(min(self._goal(state, found), _NEARER * away), _EXACTLY * away)])
                left = max(1.0, self.max_passes - table.passes - 1)
                by, _ = conjugate(seen, p, np.zeros_like(state.scaled), evidence, goal, left)
            else:
                by = self._epoch(table, seen, state, found, evidence)
        if not self.intercept:
            by[-1] = 0.0
        if self.l1 > 0:
            return by, 0.0
        return by, abs(_fall(p, evidence, by)) * found.mean / table.n

    def _goal(self, state: State, found: Metric) -> float:
        """Return the norm of the whitened gradient that is worth half of `tol` standard errors."""
        c = state.certificate
        sd = float(c.residual_sd) if c is not None and np.isfinite(c.residual_sd) else 0.0
        return _AIM * self.tol * sd / math.sqrt(found.mean) / (1 + found.p.stretch)

    def _epoch(self, table: Table, seen: Table, state: State, found: Metric, evidence: Evidence) -> NDArray[np.float64]:
        """Return where an epoch of minibatch steps leads, from here."""
        p, epochs = found.p, self._epochs
        assert found.leverage is not None  # noqa: S101 - of a loss that curves more here than there
        heavy = seen.above(found.leverage * seen.weight, leverage_limit(seen, p))
        model = sgd.model(seen, p, heavy)
        slope = -np.vstack((p.T.T @ evidence.slopes, evidence.by_level * model.level))
        _, more = found.change(table, self.loss, state.params, state.look, 0.0)
        rate = sgd.rate(p, epochs.batch(table)) / (1 + min(more, _FASTEST))
        q = seen.lanes(p.units, epochs.deal(table, state.run, state.epoch), model, slope, rate)
        by = np.empty_like(state.scaled)
        by[:-1] = product(p.T, q[:-1])
        by[-1] = model.level * q[-1] - p.centre @ by[:-1]
        return by

    def _certified(self, table: Table, state: State) -> State:
        """Return the state with its certificate, where it has a metric or may have one for the asking."""
        if state.rows is not None:
            state = self._measured(table, state)
        found = state.metric
        if found is None:
            return state
        p = found.p
        evidence, share = self._evidence(table, state)
        further, alone = self._further(table, state, share)
        U = (1 + p.stretch) * (1 + p.factor.error) * float(p.distance(evidence)[0])
        # How far the optimum may be where no curvature is missing; what is missing on the way makes it further.
        least = (U + math.sqrt(U * U + 4 * further / found.mean)) / 2
        reach, missing = _REACH, 1.0
        for _ in range(4):
            lost, _ = found.change(table, self.loss, state.params, state.look, reach * least)
            if lost < 1 and 1 / (1 - lost) <= reach:
                missing = lost
                break
            reach *= 2
        if p.rank < self._rank(table, state):  # a direction of the rows that has no curvature here
            missing = 1.0
        active = int(np.count_nonzero(state.scaled[:-1])) if self.l1 > 0 else None
        about = Curved(found.mean, missing, self.loss.dispersion, has_one_hump(self.loss), further, active)
        c = certify_curved(p, evidence, state.scaled, table, about)
        if alone < math.inf:
            c = min(c, self._by_gap(table, state, about, alone), key=lambda one: (one.bound, one.relative))
        # A state that would do, but for curvatures that have moved too far for the factor to show it.
        would_do = self.away(table, replace(state, certificate=c)) * _REACH * (1 + p.stretch) <= self.tol < c.bound
        anew = found.base is not None and found.look is not state.look and table.passes + 2 <= self.max_passes
        if would_do and anew:
            return self._certified(table, self._measured(table, state, anew=True))
        return replace(state, certificate=c)


def _fall(p: Preconditioner, evidence: Evidence, by: NDArray[np.float64]) -> float:
    """Return by how much the loss falls along a step at its beginning, in the metric's units."""
    return float((evidence.slopes * by[:-1]).sum() + evidence.by_level @ (by[-1] + p.centre @ by[:-1]))
