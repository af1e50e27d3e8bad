"""Losses of kinks, quantiles and the epsilon-insensitive: smoothed and fitted by SGD, then solved exactly beside it.

A parabola in place of each kink makes a loss that curves, which Newton's steps by epochs of minibatch SGD fit to within
about a standard error. From there few rows are left whose sign of the residual is in doubt: those near the fit. All
others come in as one linear term, and what is left is a small linear programme, solved to its vertex. The next look at
the rows tells whether any other changed its sign; if so they are taken in too. In the end the signs of all rows are a
dual solution, and its gap proves the fit: S. Portnoy and R. Koenker, The Gaussian hare and the Laplacian tortoise,
*Statistical Science* 12 (1997) 279-300, section 5, whose first step is a sample's fit alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _drawn, _preconditioner
from gradstep._certificate import Certificate, certify_by_gap
from gradstep._dense_algebra import product
from gradstep._kernels.plain import about_means
from gradstep._kernels.rows import EPS
from gradstep._kinks import Kink, kinks, smoothed
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import beginning, certified, curved, vertex
from gradstep._solvers.certified import callers, from_callers_units, in_callers_units
from gradstep._solvers.metric import FlatError
from gradstep._solvers.newton import Newton
from gradstep._table.table import Table
from gradstep._table.terms import Look, Units
from gradstep.losses import Loss

_FEW = 8192  # rows of a table that is solved as it is
_POOR = 0.5  # of the distance left by a round, from which on no further one is worth it
_ROUNDS = 6  # of smoothed steps at most
_NEARLY = 1.0  # standard errors, to which the smoothed loss is fitted
_WIDTHS = 2.0  # times what a sample leaves in doubt of a score: the width of the parabolas
_DOUBT = 2.0  # standard errors a column that the smoothed fit may be off
_ROWS_PER_COLUMN = 50  # of the programme at least
_MOST = 300_000  # rows of it
_WIDER, _LEAST_REACH = 3.0, 1e-3  # times, and of the furthest row: where too few rows held the programme
_TIED = 1e-9  # of the largest residual, below which others are zero
_NO_LOSS = 1e-13  # of the responses: losses that are rounding
_WITHIN = 1e-9  # of a strength


class Basis(NamedTuple):
    """Coordinates in which rows are well conditioned: weights of scaled columns are ``T q``."""

    p: Preconditioner
    T: NDArray[np.float64]
    level: float

    def weights(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coordinates as weights (d + 1,) of scaled, uncentred rows."""
        w = self.T @ q[:-1]
        return np.append(w, self.level * q[-1] - self.p.centre @ w)


class _Answer(NamedTuple):
    """The solution of a programme."""

    q: NDArray[np.float64]
    """The step in coordinates of a basis."""
    dual: NDArray[np.float64]
    """Of its rows, kink by kink, and then of the penalty's."""
    infeasible: float
    """What the dual solution's rounding may come to in the gap."""


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    units: Units
    scaled: NDArray[np.float64]
    """(d + 1, 1) weights of scaled, uncentred rows, the intercept last."""
    objective: float
    epoch: int
    losses: float
    smooth: curved.State | None = None
    """Where the steps on the smoothed loss stand; None when they are over."""
    basis: Basis | None = None
    look: Look | None = None
    """At these weights, of the loss itself."""
    leverage: NDArray[np.float64] | None = None
    reach: float = math.inf
    """Rows whose residual is within so many roots of their leverage are in the programme."""
    crossed: tuple[NDArray[np.int64], ...] = ()
    """Rows, of each kink, that have changed the sign of their residual outside of the programme."""
    certificate: Certificate | None = None
    unchanged: bool = False
    ended_at_vertex: bool = False
    """Whether no row has crossed: the programme's solution is that of all rows."""
    left: float = math.inf
    rate: float = math.nan
    ended: bool = True
    apart = None

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1, 1) in the caller's units."""
        return callers(self.scaled, self.units, np.ones(len(self.scaled) - 1))

    @property
    def running(self) -> float:
        """The objective, of the smoothed loss until that is fitted."""
        return self.objective

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""


class Kinked(NamedTuple):
    """The method for a loss of kinks on a table of one output, with an l1 penalty of this strength."""

    loss: Loss
    l1: float
    intercept: bool
    seed: int
    tol: float
    max_passes: int
    batch_size: int | None = None
    directions: bool = False
    """Whether conjugate directions are taken in place of epochs."""

    def start(self, table: Table, earlier: NDArray[np.float64] | None = None) -> State:
        """Return the state before the first round: at the optimum of a sample, or an earlier fit."""
        if self._is_whole(table):
            units = beginning.units_of(table, intercept=self.intercept)
            scaled = np.zeros((table.d + 1, 1)) if earlier is None else from_callers_units(earlier, units)
            return self._of_all(table, units, scaled)
        w, width = self._of_sample(table) if earlier is None else (earlier, 0.0)
        if width > 0:
            method = self._smooth(width)
            state = method.start(table.of_loss(method.loss), w)
            return State(state.units, state.scaled, state.objective, 0, state.look.losses, state)
        units = beginning.units_of(table, beginning.sample_of(table, self.seed), intercept=self.intercept)
        return State(units, from_callers_units(w, units), math.nan, 0, math.nan)

    def advance(self, table: Table, state: State) -> State:
        """Take a step on the smoothed loss; or solve the programme, and look where its solution leads."""
        if state.smooth is None and state.look is None:
            state = self._looked(table, state)
        if state.smooth is None:
            return self._solved(table, state)
        method = self._smooth(state.smooth.params[0])
        try:
            smooth = method.advance(table.of_loss(method.loss), state.smooth)
        except FlatError:  # nothing curves here: the programme goes on from here
            return replace(state, smooth=None, epoch=state.epoch + 1)
        over = smooth.unchanged or smooth.left > _POOR or state.epoch + 1 >= _ROUNDS
        over = over or method.away(table, smooth) <= _NEARLY
        return replace(
            state, units=smooth.units, scaled=smooth.scaled, objective=smooth.objective, epoch=state.epoch + 1,
            losses=smooth.look.losses, smooth=None if over else smooth,  # what it holds is let go of
        )  # fmt: skip

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes, at least."""
        return 2 if state.smooth is not None else 1 if state.look is not None else 4

    def batch(self, table: Table) -> int:
        """Return the rows of a batch."""
        return table.n if self._is_whole(table) else self._smooth(1.0).batch(table)

    def _is_whole(self, table: Table) -> bool:
        return certified.is_whole(table, self.intercept) or table.n <= _FEW

    def _smooth(self, width: float) -> Newton:
        loss = smoothed(self.loss, width)
        return Newton(
            loss, self.l1, 0.0, self.intercept, self.seed, 0.0, self.max_passes, self.batch_size, self.directions
        )

    def _of_sample(self, table: Table) -> tuple[NDArray[np.float64], float]:
        """Return a sample's optimum, in the caller's units, and the width of parabolas that its scores' doubts ask for.

        The width is 0 where most residuals are alike, or none is beyond its kink: nothing would curve.
        """
        order, share = beginning.with_heavy(table, self.seed, intercept=self.intercept, events=False)
        few = table.few(order, 0.0, share)
        table.count(order, len(order))
        units = beginning.units_of(few, intercept=self.intercept)
        state = self._solved(few, self._of_all(few, units, np.zeros((table.d + 1, 1))))
        assert state.look is not None  # noqa: S101 - it was taken
        r = np.sort(np.min([np.abs(few.responses - k.shift - state.look.score) for k in kinks(self.loss)], axis=0))
        # The nearest rows tell the density at the kinks, hence the standard error of a score at most rows.
        count = max(10 * (table.d + 1), len(r) // 16)
        near = float(r[min(count, len(r) - 1)])
        least = float(r[min(len(r) - 1, 20 * (table.d + 1))])  # rows enough to tell a curvature by
        doubt = _WIDTHS * math.sqrt((table.d + 1) / len(order)) * near * len(r) / count
        flat = state.losses <= _NO_LOSS * float(np.abs(few.responses).sum()) or near <= _TIED * float(r[-1])
        return in_callers_units(state.scaled, state.units), 0.0 if flat else max(doubt, least)

    def _of_all(self, table: Table, units: Units, scaled: NDArray[np.float64]) -> State:
        """Return the state of a table that stands for itself, with a factor of all rows."""
        none = np.zeros(table.d, dtype=bool)
        factor = _preconditioner.of_all_rows(table, units, none, intercept=self.intercept)
        p = _preconditioner.preconditioner(table, units, factor, 0.0, intercept=self.intercept)
        look = _scores(table.look(units, scaled[:, 0]))
        basis = self._basis(p)
        return State(
            units, scaled, self._objective(table, units, scaled, look), 0, look.losses, None, basis, look,
            np.ones(table.n),
        )  # fmt: skip

    def _basis(self, p: Preconditioner) -> Basis:
        T = p.T
        if self.l1 > 0 and p.rank < len(T):  # of dependent columns l1 chooses, not the least norm
            T = np.diag(1 / (p.length * math.sqrt(p.total)))
        return Basis(p, T, 1 / math.sqrt(p.total) if self.intercept else 0.0)

    def _looked(self, table: Table, state: State) -> State:
        """Return the state after the smoothed steps, with a look at the loss itself and a basis of all rows alike.

        That of the smoothed loss lacks what rows alone know that are far from their kink.
        """
        p = _drawn.drawn_in(
            table.alone(), state.units, self.seed + 1, alpha=0.0, intercept=self.intercept, columns_alone=True
        )
        units = beginning.plain(p.units)
        scaled = from_callers_units(in_callers_units(state.scaled, state.units), units)
        look = _scores(table.look(units, scaled[:, 0]))
        total, jump = self._density(table, look)
        # A standard error in the metric of rows that weigh alike.
        error = math.sqrt(total) / jump if jump > 0 else 1.0
        return replace(
            state, units=units, scaled=scaled, smooth=None, basis=self._basis(replace(p, units=units)), look=look,
            leverage=p.leverages(table, self.seed), reach=_DOUBT * error * math.sqrt(table.d + 1),
            objective=self._objective(table, units, scaled, look), losses=look.losses, epoch=max(state.epoch, 1),
        )  # fmt: skip

    def _objective(self, table: Table, units: Units, scaled: NDArray[np.float64], look: Look) -> float:
        return look.losses / table.n + self.l1 * float(np.abs(in_callers_units(scaled, units)[:-1]).sum())

    def _solved(self, table: Table, state: State) -> State:
        """Return the state at the solution of the programme of the rows near the fit."""
        basis, look, leverage = state.basis, state.look, state.leverage
        assert basis is not None  # noqa: S101 - the smoothed steps are over
        assert look is not None  # noqa: S101
        assert leverage is not None  # noqa: S101
        pieces, reach = kinks(self.loss), state.reach
        residuals = [table.responses - kink.shift - look.score for kink in pieces]
        present = table.weight > 0 if table.weight.size > 1 else np.ones(table.n, dtype=bool)
        furthest = math.sqrt(max(float((np.square(r) / leverage)[present].max()) for r in residuals))
        while True:
            near = _nearest(residuals, leverage, present, reach, self._least(table))
            if state.crossed:
                near = [np.union1d(*both) for both in zip(near, state.crossed, strict=True)]
            answer = self._programme(table, state, basis, near, residuals)
            if answer is not None or reach >= furthest:
                break
            reach = min(_WIDER * max(reach, furthest * _LEAST_REACH), furthest)
        if answer is None:
            return replace(state, unchanged=True, epoch=state.epoch + 1)
        step = basis.weights(answer.q)
        scaled = state.scaled + step[:, np.newaxis]
        if self.l1 > 0:  # within its strength a dual solution says zero
            strength = self.l1 * table.n * state.units.scale
            scaled[:-1, 0][np.abs(answer.dual[len(answer.dual) - table.d :]) < strength * (1 - _WITHIN)] = 0.0
        if not self.intercept:
            scaled[-1] = 0.0
        after = _scores(table.look(state.units, scaled[:, 0]))
        gap, of_others, crossed = self._gap(table, pieces, residuals, after, near, answer)
        if self.l1 > 0:
            gap += self._gap_of_l1(table, state.units, scaled, answer)
        objective = self._objective(table, state.units, scaled, after)
        total, jump = self._density(table, after)
        dispersion = total / jump if jump > 0 else math.nan
        if jump > 0:  # what rounding of the basis leaves of the dual solution's feasibility, times about the distance
            lack = EPS / 2 * basis.p.in_gradient * math.sqrt(after.squares)
            gap += 2 * lack * math.sqrt(2 * max(gap, 0.0) / jump)
        if state.crossed:
            crossed = tuple(np.union1d(*both) for both in zip(crossed, state.crossed, strict=True))
        found = replace(state, epoch=state.epoch + 1, crossed=crossed, reach=reach)
        kept = objective > state.objective and of_others > 0.0
        if kept:  # too few rows were near: the next programme has those that crossed too
            gap += (state.objective - objective) * table.n
        certificate = certify_by_gap(
            basis.p, gap, min(objective, state.objective) * table.n, table, dispersion=dispersion, step=step,
            noise=min(after.losses, state.losses) if kept else after.losses,
            size=float((np.abs(table.responses) * table.weight)[present].sum()),
        )  # fmt: skip
        if kept:
            return replace(found, certificate=certificate, reach=_WIDER * reach)
        return replace(
            found, scaled=scaled, look=after, losses=after.losses, objective=objective, certificate=certificate,
            ended_at_vertex=of_others == 0.0,
        )  # fmt: skip

    def _least(self, table: Table) -> int:
        return min(table.n, _ROWS_PER_COLUMN * (table.d + 1))

    def _programme(
        self, table: Table, state: State, basis: Basis, near: list[NDArray[np.int64]],
        residuals: list[NDArray[np.float64]],
    ) -> _Answer | None:  # fmt: skip
        """Return the step in coordinates of the basis, with its dual solution; None if too few rows hold it."""
        look, p = state.look, basis.p
        assert look is not None  # noqa: S101 - it was taken
        d = table.d
        slopes, by_level = np.empty((d, 1)), np.empty(1)
        about_means(look.high, look.low, p.units.centre, p.factor.mean, self.intercept, slopes, by_level)
        linear = np.append(basis.T.T @ slopes[:, 0], by_level * basis.level)
        rows, right, low, high = [], [], [], []
        for kink, which, r in zip(kinks(self.loss), near, residuals, strict=True):
            if not len(which):
                continue
            weight = np.broadcast_to(table.weight, table.n)[which]
            columns = table.alone().scaled(state.units, which, 0, len(which))[:, 1 : 1 + d] - p.factor.mean
            A = np.column_stack((product(columns, basis.T), np.full(len(which), basis.level)))
            dual = weight * np.where(r[which] > 0, kink.high, np.where(r[which] < 0, kink.low, 0.0))
            linear -= A.T @ dual
            rows.append(A)
            right.append(r[which])
            low.append(kink.low * weight)
            high.append(kink.high * weight)
        if self.l1 > 0:
            strength = self.l1 * table.n * state.units.scale
            rows.append(np.column_stack((basis.T, np.zeros(d))))
            right.append(-state.scaled[:-1, 0])
            low.append(-strength)
            high.append(strength)
        A = np.vstack(rows)
        width = A.shape[1] - (not self.intercept)
        found = vertex.minimum(
            np.ascontiguousarray(A[:, :width]), np.concatenate(right), np.concatenate(low), np.concatenate(high),
            linear[:width], np.zeros(width),
        )  # fmt: skip
        if found is None:
            return None
        lack = linear[:width] + A[:, :width].T @ found.dual
        infeasible = float(np.sqrt(lack @ lack) * np.sqrt(found.w @ found.w))
        return _Answer(found.w if self.intercept else np.append(found.w, 0.0), found.dual, infeasible)

    def _gap(
        self, table: Table, pieces: tuple[Kink, ...], residuals: list[NDArray[np.float64]], after: Look,
        near: list[NDArray[np.int64]], answer: _Answer,
    ) -> tuple[float, float, tuple[NDArray[np.int64], ...]]:  # fmt: skip
        """Return the gap of all rows at a look, that of the rows out of the programme, and which of those have crossed.

        The dual solution is that of the programme, and for other rows the sign that their residuals had.
        """
        total, of_others, found, at = answer.infeasible, 0.0, [], 0
        for kink, before, which in zip(pieces, residuals, near, strict=True):
            now = table.responses - kink.shift - after.score
            crossed = (np.sign(before) != np.sign(now)) & (now != 0) & (table.weight > 0)
            crossed[which] = False
            outside = np.flatnonzero(crossed)
            dual = np.where(before[outside] > 0, kink.high, np.where(before[outside] < 0, kink.low, 0.0))
            weight = np.broadcast_to(table.weight, table.n)
            r = now[outside]
            of_others += float((weight[outside] * (np.maximum(kink.high * r, kink.low * r) - r * dual)).sum())
            r, dual = now[which], answer.dual[at : at + len(which)]
            total += float((weight[which] * np.maximum(kink.high * r, kink.low * r) - r * dual).sum())
            found.append(outside)
            at += len(which)
        return total + of_others, of_others, tuple(found)

    def _gap_of_l1(self, table: Table, units: Units, scaled: NDArray[np.float64], answer: _Answer) -> float:
        """Return the gap of the penalty: its dual solution is within the strengths too."""
        w = scaled[:-1, 0]
        strength = self.l1 * table.n * units.scale
        return float((strength * np.abs(w) + w * answer.dual[len(answer.dual) - len(w) :]).sum())

    def _density(self, table: Table, look: Look) -> tuple[float, float]:
        """Return the mean square of the slopes, and the density at the kinks times their jumps, by the nearest rows."""
        present = table.weight > 0 if table.weight.size > 1 else slice(None)
        n, jump = table.present, 0.0
        for kink in kinks(self.loss):
            r = np.abs(table.responses - kink.shift - look.score)[present]
            count = min(n, max(10 * (table.d + 1), math.ceil(n ** (2 / 3))))
            width = float(np.partition(r, count - 1)[count - 1])
            tied = _TIED * float(r.max())
            if width <= tied:  # of responses that are alike, the next one that is not
                further = r[r > tied]
                width = float(further.min()) if further.size else math.inf
                count = int(np.count_nonzero(r <= width))
            jump += (kink.high - kink.low) * count / (2 * n * width)
        return look.squares / max(n - self.intercept - table.d, 1), jump


def _scores(look: Look) -> Look:
    """Return a look without curvatures, which there are none of."""
    return look._replace(curve=np.empty(0))


def _nearest(
    residuals: list[NDArray[np.float64]], leverage: NDArray[np.float64], present: NDArray[np.bool_], reach: float,
    least: int,
) -> list[NDArray[np.int64]]:  # fmt: skip
    """Return for each kink the rows within a reach of it, at least so many and at most what is solved at once."""
    chosen = []
    for r in residuals:
        size = np.square(r)
        size /= leverage
        size[~present] = np.inf
        within = int(np.count_nonzero(size <= reach * reach))
        count = min(max(within, least), _MOST, int(present.sum()))
        if count >= len(size):
            chosen.append(np.arange(len(size)))
            continue
        cut = np.partition(size, count - 1)[count - 1]
        chosen.append(np.flatnonzero(size <= cut)[: 2 * _MOST].astype(np.int64))
    return chosen
