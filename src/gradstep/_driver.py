"""The driver: the only loop. It owns rounds, budget, certificate, guard, history, callbacks and Ctrl-C."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._certificate import EXACT_WITHIN, Certificate, certify, is_rounding
from gradstep._kernels import threads
from gradstep._numbers import frozen
from gradstep._result import Entry, Progress, Stop
from gradstep._solvers import certified, curved, kinked, working
from gradstep._solvers.kinked import Kinked
from gradstep._solvers.newton import Newton
from gradstep._solvers.textbook import Textbook
from gradstep._solvers.working import Working
from gradstep._table.table import Table

_SETTLED = 1 / 3
"""Where a round leaves more than this of the distance, further rounds are stopped by rounding."""

_NEGLIGIBLE = 1e-8
"""Of what rounding may come to: a coefficient that is 0 would else come nearer to it for ever."""


class Certifying(Protocol):
    """A solver whose rounds are certified."""

    def start(self, table: Table, earlier: Any) -> certified.State:
        """Return the state before the first round, or after a look at where it begins."""

    def advance(self, table: Table, state: Any) -> certified.State:
        """Return the state after one more round."""

    def reads(self, state: Any) -> int:
        """Return how many passes the next round takes, at least."""


_CURVED = (Newton, Working, Kinked)  # whose states come with their certificates

Method = Textbook | Newton | Working | Kinked | Certifying


class Limits(NamedTuple):
    """What ends a fit: its epochs of the textbook method, else the rest."""

    epochs: int
    tol: float
    max_passes: int


class Run:
    """One fit under way, and how it went.

    A solver has ``start(table, earlier) -> state`` and ``advance(table, state) -> state``, a round. A state has ``w``,
    the weights to return, ``epoch``, the rounds finished, ``ended``, ``running``, an objective, and ``rate``; those of
    certifying solvers are `certified.State`.
    """

    def __init__(self, method: Method, table: Table, limits: Limits, began: float) -> None:
        self.state: Any = None
        self.stop: Stop | None = None
        self.certificate: Certificate | None = None
        self.entries: list[Entry] = []
        self._method, self._table, self._limits, self._began = method, table, limits, began
        self._first = self._last = 0
        self._gained = math.nan
        self.moved = True

    @property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1,) or (d + 1, k) reached, the intercept last."""
        if self.state is None:
            return self._table.zeros()
        w: NDArray[np.float64] = self.state.w
        return w.reshape(self._table.d + 1, *self._table.outputs)

    @property
    def factor(self) -> NDArray[np.float64] | None:
        """R with ``R' R = [X 1]' [X 1]``, where a factor of all rows was made."""
        if self.certificate is None or isinstance(self._method, _CURVED):
            return None
        return certified.callers_factor(self._table, self.state.preconditioner)

    def begin(self, state: Any) -> None:
        """Take the state before the first round."""
        self.state = state
        if isinstance(self._method, _CURVED):
            if state.certificate is not None:
                self._look(state)
            return
        if not isinstance(self._method, Textbook):
            if state.evidence is not None:
                self._certify(state)
            return
        self._first = state.epoch
        self._last = state.epoch + self._limits.epochs
        steps = self._method.steps(self._table, state, self._limits.epochs)
        _input.ends(self._method.step, state.step, state.step + steps - 1)

    def take(self, state: Any) -> None:
        """Take the state after a round, and decide whether to go on."""
        if isinstance(self._method, _CURVED):
            self._look(state)
            return
        if not isinstance(self._method, Textbook):
            self._certify(state)
            return
        self.state = state
        if not (math.isfinite(state.running) and np.isfinite(state.w).all()):
            self.stop = Stop.DIVERGED
            return
        if state.ended:
            self.record(self._table.objective(state.w) if self._method.options.exact_objective else np.nan)
        if state.epoch >= self._last:
            self.stop = Stop.EPOCHS

    def record(self, at_end: float = np.nan) -> None:
        """Enter the epoch or round that has ended, once."""
        state = self.state
        if state is None or state.epoch - self._first <= len(self.entries):
            return
        bound = np.nan if self.certificate is None else self.certificate.bound
        running = state.running + (self._table.penalty(state.w) if self.certificate is None else 0.0)
        self.entries.append(Entry(state.epoch, running, at_end, state.rate, self._seconds(), self._table.passes, bound))

    def progress(self) -> Progress:
        """Return what callbacks are told."""
        state, w, certificate = self.state, self.w, self.certificate
        running = state.running + (self._table.penalty(state.w) if certificate is None else 0.0)
        return Progress(
            state.epoch, self._last, state.ended, self._table.row_reads, running, w[:-1].copy(), intercept_of(w),
            self._seconds(), np.nan if certificate is None else certificate.bound,
        )  # fmt: skip

    def certificate_at(self, coef: ArrayLike, intercept: ArrayLike) -> Certificate:
        """Return the certificate of other coefficients, by one more read of the rows."""
        preconditioner = self.state.preconditioner
        w = np.vstack((np.reshape(coef, (self._table.d, -1)), np.reshape(intercept, (1, -1))))
        scaled = certified.from_callers_units(w, preconditioner.units)
        return certify(preconditioner, preconditioner.evidence(self._table, scaled), scaled, self._table)

    def _after(self) -> str:
        passes = f"{self._table.passes:.3g}"
        return f"after {passes} pass{'' if passes == '1' else 'es'}"

    def shortfall(self) -> str:
        """Say how far short of what was asked a fit ended, and what would help; nothing where rounding ended it."""
        c, tol = self.certificate, self._limits.tol
        if c is None or self.stop is Stop.CALLBACK:
            if self.stop is not Stop.BUDGET:
                return ""
            return f"it is not certified: max_passes is spent {self._after()}; raise it."
        after = self._after()
        if math.isinf(c.bound) and c.measurable:
            remedy = "raise max_passes" if self.stop is Stop.BUDGET else "its curvature says too little there"
            return f"nothing could be proven of how far it is from the optimum {after}: {remedy}."
        if c.bound <= max(tol, c.floor) or (math.isinf(c.bound) and not c.measurable):
            if c.measurable or c.relative <= EXACT_WITHIN or (self.stop is Stop.FLOOR and is_rounding(c)):
                return ""
            budget = self.stop is Stop.BUDGET
            return (
                f"it is certified to within {c.relative:.2g} of the optimum, relative to the fitted values, {after}"
                + (": raise max_passes." if budget else ": entries or weights are too far apart for float64.")
            )
        remedy = "columns that depend on others so nearly can be dropped, or a penalty added"
        if self.stop is Stop.BUDGET:
            remedy = "raise max_passes"
            if self._gained < 1 and math.isfinite(c.bound):
                assert not isinstance(self._method, Textbook)  # noqa: S101 - which has no certificate
                rounds = max(1, math.ceil(math.log(max(tol, c.floor) / c.bound) / math.log(self._gained)))
                remedy = f"about {rounds * self._method.reads(self.state)} more would do: raise max_passes"
        return (
            f"it is certified to within {c.bound:.2g} standard errors of the optimum {after}, where tol={tol:g} asks "
            f"for less; column {c.worst_column} may be furthest: {remedy}."
        )

    def _certify(self, state: certified.State) -> None:
        """Take a round's state with its certificate, and stop where it is time."""
        assert not isinstance(self._method, Textbook)  # noqa: S101 - which certifies nothing
        assert state.evidence is not None  # noqa: S101 - a round ends with it
        self._table.refuse_unless_finite(state.evidence.slopes, state.evidence.squares)
        self.moved = not state.unchanged
        settled = self._keep(state) or state.unchanged
        self.record()
        assert self.certificate is not None  # noqa: S101 - the first is always taken
        spent = self._table.passes + self._method.reads(self.state) > self._limits.max_passes
        near = self._near()
        if not (settled or spent) and (not near or certified.is_small(self._table)):
            return
        if settled and self._table.passes + 1 <= self._limits.max_passes:
            last = certified.rounded(self._table, self.state)
            if last is not None:
                self._keep(last, by_rounding=False)
                self.record()
                near = self._near()
        settled = settled or self.certificate.bound <= self.certificate.floor < math.inf
        self.stop = Stop.CERTIFIED if near else Stop.FLOOR if settled else Stop.BUDGET

    def _look(self, state: curved.State | working.State | kinked.State) -> None:
        """Take a round's state of a loss without a closed form, and stop where it is time."""
        assert isinstance(self._method, _CURVED)  # noqa: S101 - whose state it is
        self.state, self.certificate = state, state.certificate
        self.moved = not state.unchanged
        self._gained = state.left
        self.record()
        if state.apart is not None:
            self.stop = Stop.SEPARABLE
            return
        c = self.certificate
        whole = isinstance(state, curved.State) and state.metric is not None and state.metric.p.kind == "exact"
        small = isinstance(state, curved.State) and certified.is_small(self._table)
        near = c is not None and self._near() and (isinstance(state, kinked.State) or state.fixed)
        # Of all rows Newton's steps gain more and more, until rounding is all that is left.
        over = isinstance(state, kinked.State) and state.ended_at_vertex
        over = over or (isinstance(state, working.State) and state.over)
        settled = state.unchanged or over or (c is not None and c.bound <= c.floor < math.inf)
        idle = whole and _SETTLED < state.left < math.inf  # of an exact factor: rounding is all that is left
        settled = settled or (idle and c is not None and (near or is_rounding(c)))
        reads: int = self._method.reads(state)  # type: ignore[arg-type]
        spent = self._table.passes + reads > self._limits.max_passes
        if not (settled or spent) and (not near or small):
            return
        self.stop = Stop.CERTIFIED if near else Stop.FLOOR if settled else Stop.BUDGET

    def _near(self) -> bool:
        """Whether every output is as near as `tol` asks, or exact where it has no noise and another one has some."""
        c = self.certificate
        assert c is not None  # noqa: S101 - the first is always taken
        return c.bound <= self._limits.tol and bool(c.outputs.near(self._limits.tol).all())

    def _keep(self, state: certified.State, *, by_rounding: bool = True) -> bool:
        """Keep a state, of outputs that are worse the one before; return whether no further one will be much better.

        One of all rows that is worse by rounding alone is kept: its weights are nearer to the exact ones, each by
        itself.
        """
        if self.certificate is not None and state.unchanged:
            return True
        assert state.evidence is not None  # noqa: S101 - a round ends with it
        p = state.preconditioner
        if self.certificate is not None and p.stretch > self.state.preconditioner.stretch:
            # The round has shown that the sketch stretches by more, which holds whatever comes of the round.
            self.state = replace(self.state, preconditioner=p)
            self.certificate = certify(p, self.state.evidence, self.state.scaled, self._table)
        before = self.certificate
        certificate = certify(p, state.evidence, state.scaled, self._table)
        if before is None or not state.settles:
            self.state, self.certificate = state, certificate
        else:
            now = certificate.outputs
            least = now.rounding if by_rounding and certificate.kind == "exact" else 0.0
            better = now.distance <= np.maximum(before.outputs.distance, least)
            if not better.all() and better.any():
                scaled, evidence = certified.mixed(better, state.scaled, state.evidence, self.state)
                state = replace(state, scaled=scaled, evidence=evidence)
                certificate = certify(p, evidence, scaled, self._table)
            if better.any():
                self.state, self.certificate = state, certificate
        return self._settled(before, certificate, by_gain=state.settles)

    def _settled(self, before: Certificate | None, certificate: Certificate, *, by_gain: bool) -> bool:
        """Return whether no further round will bring any output much nearer that has to come nearer."""
        outputs, small = certificate.outputs, certified.is_small(self._table)
        now, rounding = outputs.distance, outputs.rounding
        # Those that need not come nearer do not keep others going; small tables go to the last digit.
        done = outputs.near(self._limits.tol) & (
            outputs.measurable | ((now <= rounding) & (certificate.kind != "exact"))
        )
        ahead = (now > _NEGLIGIBLE * rounding) & (small | ~done)
        self._gained = math.nan
        if not ahead.any():
            return small or not self._near()
        if before is None:
            return False
        was = before.outputs.distance[ahead]
        gained = np.divide(now[ahead], was, out=np.ones(len(was)), where=was > 0)
        self._gained = float(gained.max())
        return by_gain and float(gained.min()) > _SETTLED

    def _seconds(self) -> float:
        return perf_counter() - self._began


@threads.at_work()
def drive(
    method: Method, table: Table, earlier: Any, limits: Limits,
    callbacks: Sequence[Callable[[Progress], object]], began: float,
) -> Run:  # fmt: skip
    """Advance a solver until there is a reason to stop."""
    run = Run(method, table, limits, began)
    try:
        with _quiet(table):
            run.begin(method.start(table, earlier))
        told = run.certificate is not None  # a look at where it begins is a round
        while run.stop is None or told:
            if not told:
                with _quiet(table):
                    run.take(method.advance(table, run.state))
            told = False
            if callbacks and run.stop is not Stop.DIVERGED and run.moved:
                now = run.progress()
                answers = [callback(now) for callback in callbacks]  # each hears of each round
                if any(answers):
                    run.stop = Stop.CALLBACK
    except KeyboardInterrupt:
        run.stop = Stop.INTERRUPTED
        run.record()
    return run


def _quiet(table: Table) -> np.errstate | nullcontext[None]:
    """Warn of no arithmetic where entries may not be finite: they are named instead."""
    return nullcontext() if table.unseen is None else np.errstate(over="ignore", invalid="ignore")


def intercept_of(w: NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Return the intercept of weights: a number, or a read-only array of one for each output."""
    if w.ndim == 1:
        return float(w[-1])
    return frozen(w[-1].copy())
