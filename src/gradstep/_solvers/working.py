"""l1 of many columns: Newton's steps on those that may matter, and a proof that the others are zero.

A factor of d columns takes time as d cubed, and l1 leaves most of them at zero. So a working set of columns is fitted
as a table of its own, then one look at all columns tells which of the others would come in: those join, and their
likes. Where no column outside could enter at the working set's exact optimum either, which is no further from the fit
than its certificate says, the certificate is that of the whole fit. Before that the gap counts. M. Massias, A. Gramfort
and J. Salmon, Celer: a fast solver for the lasso with dual extrapolation, *ICML* 2018; O. Fercoq, A. Gramfort and J.
Salmon, Mind the duality gap, *ICML* 2015, for what is provably zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep import _preconditioner
from gradstep._certificate import Certificate, is_rounding
from gradstep._kernels.looks import peak_kernel
from gradstep._kernels.plain import about_means
from gradstep._kinks import has_one_hump
from gradstep._solvers import beginning, curved
from gradstep._solvers.certified import from_callers_units
from gradstep._solvers.metric import Metric
from gradstep._solvers.newton import Newton
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Look, Units

FEW = 1000
"""Columns up to which all of them are fitted at once."""

_FIRST = 256  # columns of the first working set
_LIKES = 16  # columns at least that join beside those that have to
_GROWTH = 3  # times those that are there: columns that join at most
_SETTLED = 1 / 3  # of the distance, left by a step where rounding is what is left

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    d: int
    units: Units
    """Of all columns."""
    members: NDArray[np.int64]
    """The working set."""
    entering: NDArray[np.int64]
    """Columns that join it next."""
    earlier: Array | None
    """(d + 1, 1) weights to begin with, in the caller's units."""
    inner: curved.State | None = None
    """Of the working set; None before the first round."""
    lengths: Array | None = None
    """(d,) norms of the columns, of a loss that curves alike everywhere."""
    certificate: Certificate | None = None
    epoch: int = 0
    over: bool = False
    """Whether further rounds would do no more."""
    unchanged: bool = False
    left: float = math.inf
    fixed: bool = False
    apart: None = None
    rate: float = math.nan
    ended: bool = True

    @cached_property
    def w(self) -> Array:
        """The weights (d + 1, 1) in the caller's units."""
        w = np.zeros((self.d + 1, 1))
        if self.inner is not None:
            w[np.append(self.members, self.d)] = self.inner.w
        elif self.earlier is not None:
            w[:] = self.earlier
        return w

    @property
    def params(self) -> tuple[float, ...]:
        """Parameters of the loss as they were last."""
        assert self.inner is not None  # noqa: S101 - a round has ended
        return self.inner.params

    @property
    def running(self) -> float:
        """The objective."""
        return math.nan if self.inner is None else self.inner.objective

    @property
    def losses(self) -> float:
        """Sum of the losses over rows, weighted."""
        return math.nan if self.inner is None else self.inner.losses

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""


class Working(NamedTuple):
    """Newton's method on working sets of columns, under l1."""

    newton: Newton

    @property
    def intercept(self) -> bool:
        """Whether there is one."""
        return self.newton.intercept

    def start(self, table: Table, earlier: Array | None = None) -> State:
        """Return the state before the first round: which columns to begin with, by their slopes at a first look."""
        units, _ = _preconditioner.units_of(table, NO_ORDER, intercept=self.intercept)
        units = beginning.plain(units)
        if earlier is None:
            scaled, params = self.newton.constant(table)
        else:
            scaled, params = from_callers_units(earlier, units), self.newton.loss.params
        look = table.look(units, scaled[:, 0], params)
        strength, slopes = self._strength(table, units), np.abs(self._slopes(units, look))
        with np.errstate(divide="ignore", invalid="ignore"):
            nearness = np.where(slopes > 0, slopes / strength, 0.0)
        nearness[scaled[:-1, 0] != 0] = math.inf
        some = max(_FIRST, int(np.count_nonzero(np.isinf(nearness))))
        return State(table.d, units, NO_ORDER, _largest(nearness, some), earlier)

    def advance(self, table: Table, state: State) -> State:
        """Fit the working set with the columns that enter it, and look at all columns from there."""
        members = np.union1d(state.members, state.entering)
        some = table.columns(members)
        begins = not self.newton.is_quadratic and (state.inner is not None or state.earlier is not None)
        left = (self.newton.max_passes - table.passes) * table.d / len(members)
        inner, ended = self._fitted(some, state.w[np.append(members, table.d)] if begins else None, left)
        table.count(NO_ORDER, math.ceil(some.row_reads * len(members) / table.d))
        state = replace(
            state, members=members, entering=NO_ORDER, inner=inner, epoch=state.epoch + 1, fixed=inner.fixed
        )
        look = table.look(state.units, from_callers_units(state.w, state.units)[:, 0], inner.params)
        state = self._judged(table, some, state, look)
        return replace(state, over=ended and not len(state.entering))

    def reads(self, state: State) -> int:  # noqa: ARG002 - the driver asks all solvers alike
        """Return how many passes the next round takes, at least: to copy columns, to look, and for their norms."""
        return 3

    def batch(self, table: Table) -> int:
        """Return the rows of a batch."""
        return self.newton.batch(table)

    def _fitted(self, some: Table, earlier: Array | None, left: float) -> tuple[curved.State, bool]:
        """Return the fit of a working set, in so many passes at most, and whether more of them would do no more."""
        newton = self.newton._replace(max_passes=int(left))
        state = newton.start(some, earlier)
        while not self._is_done(state):
            if some.passes + newton.reads(state) > left:
                return state, False
            state = newton.advance(some, state)
        return state, True

    def _is_done(self, state: curved.State) -> bool:
        """Whether a working set's fit is as near as was asked, or as near as rounding lets it be."""
        c = state.certificate
        if c is None or not state.fixed:
            return False
        if state.unchanged or c.outputs.near(self.newton.tol).all() or c.bound <= c.floor < math.inf:
            return True
        return is_rounding(c) and c.kind == "exact" and _SETTLED < state.left < math.inf

    def _judged(self, table: Table, some: Table, state: State, look: Look) -> State:
        """Return the state with the columns that should join, and its certificate."""
        inner, members = state.inner, state.members
        assert inner is not None  # noqa: S101 - it was fitted
        known, found = inner.certificate, inner.metric
        if known is None or found is None:  # the passes are spent
            return replace(state, certificate=None)
        lengths = self._lengths(table, state, inner, found, float(known.outputs.distance[0]))
        if found.base is None:
            state = replace(state, lengths=lengths)
        others = np.setdiff1d(np.arange(table.d), members, assume_unique=True)
        strength, slopes = self._strength(table, state.units)[others], np.abs(self._slopes(state.units, look)[others])
        most = slopes + lengths[others] * math.sqrt(found.mean) * float(known.outputs.distance[0])
        within = most < strength
        if within.all():
            return replace(state, certificate=_numbered(known, members))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(slopes > strength, (slopes - strength) / strength, 0.0)
            nearness = np.where(within, most / strength, math.inf)
        gap = self.newton.by_gap(some, inner, float(share.max()))
        count = int(np.count_nonzero(~within)) + max(_LIKES, int(np.count_nonzero(share)))
        entering = others[_largest(nearness, min(count, _GROWTH * len(members)))]
        return replace(state, certificate=_numbered(gap, members), entering=entering)

    def _lengths(self, table: Table, state: State, inner: curved.State, found: Metric, far: float) -> Array:
        """Return norms of columns (d,): times how far the optimum is, they bound how a slope differs there.

        By Cauchy and Schwarz, and by the squares of the curvatures that there may be on the way over those that the
        factor was made of, since it is by these that it is known how far it is.
        """
        if found.base is None:
            return state.lengths if state.lengths is not None else self._norms(table, state.units)
        assert found.leverage is not None  # noqa: S101 - of a loss that curves more here than there
        weight = np.empty(table.n)
        by = far * (1 + found.p.stretch) * np.sqrt(found.sure * found.leverage)
        rows = inner.look.score, inner.look.curve, found.base, by
        table.each_row(peak_kernel(self.newton.loss.curvature), *rows, inner.params, weight)
        if not has_one_hump(self.newton.loss):  # of a loss of one's own it may be elsewhere
            weight *= 4.0
        if table.weight.size > 1:
            weight = np.where(table.weight > 0, weight * table.weight, 0.0)
        mean = float(weight.mean())
        if not 0 < mean < math.inf:
            return np.full(table.d, math.inf)
        return self._norms(table.reweighted(weight / mean), state.units) * math.sqrt(mean)

    @staticmethod
    def _norms(table: Table, units: Units) -> Array:
        lengths: Array = table.lengths(units, intercept=False) * math.sqrt(table.n)
        return lengths

    def _strength(self, table: Table, units: Units) -> Array:
        """Return the strengths (d,) of scaled coefficients, in a sum over rows."""
        strength: Array = self.newton.l1 * table.n * units.scale
        return strength

    def _slopes(self, units: Units, look: Look) -> Array:
        """Return the slopes (d,) downhill, of columns about their centres."""
        slopes, by_level = np.empty((len(units.scale), 1)), np.empty(1)
        about_means(look.high, look.low, units.centre, np.zeros_like(units.centre), self.intercept, slopes, by_level)
        return slopes[:, 0]


def _numbered(c: Certificate, members: NDArray[np.int64]) -> Certificate:
    """Return the certificate of a working set, its columns numbered as those of the table."""
    return replace(
        c, worst_column=int(members[c.worst_column]), dependent=tuple(int(members[j]) for j in c.dependent),
        columns=len(members),
    )  # fmt: skip


def _largest(numbers: Array, count: int) -> NDArray[np.int64]:
    """Return where the largest are, in order of their places."""
    if count >= len(numbers):
        return np.arange(len(numbers))
    return np.sort(np.argpartition(-numbers, count - 1)[:count])
