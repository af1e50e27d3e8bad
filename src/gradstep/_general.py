"""Fits of losses without a closed form: output by output, each certified, then checked by SciPy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gradstep import _blas, _input, _outside
from gradstep._certificate import Certificate, Outputs
from gradstep._driver import Limits, Run, drive, intercept_of
from gradstep._input import Steps
from gradstep._kernels.first_call import spent
from gradstep._kinks import by_level, kinks
from gradstep._numbers import frozen
from gradstep._report import AGREES_WITHIN
from gradstep._result import (
    Check,
    ConvergenceWarning,
    DisagreementWarning,
    Fit,
    Interrupted,
    Progress,
    Stop,
    lengthened,
)
from gradstep._solvers import kinked, working
from gradstep._solvers.kinked import Kinked
from gradstep._solvers.newton import Newton
from gradstep._solvers.working import Working
from gradstep._table.devices import table_on
from gradstep._table.table import Table
from gradstep._table.terms import Rows
from gradstep.losses import Loss, squared
from gradstep.penalties import Penalty, is_known, strengths

CHECK_SECONDS = 1.0
"""What `check="auto"` lets SciPy take at most, about."""

_PASSES, _PASSES_WITH_L1, _PASSES_OF_KINKS = 20, 40, 60
_EPS = float(np.finfo(np.float64).eps)
_BELOW = 1e-8  # of the objective: SciPy's is no optimum that is so far above the fit's
_NO_LOSS = 1e-13  # of the responses: losses that are rounding
_TOLD = 3  # columns of a direction that are named


@dataclass
class _Solved:
    """The fit of one output, and what is said of it."""

    run: Run
    table: Table
    loss: Loss
    batch: int
    objective: float = math.nan
    check: Check | None = None
    check_note: str = "not made: the fit was interrupted"
    concern: str = ""
    disagreement: str = ""


def fitted(
    rows: Rows, loss: Loss, penalty: Penalty | None, solver: str, steps: Steps, limits: Limits, seed: int,
    earlier: NDArray[np.float64] | None, callbacks: Sequence[Callable[[Progress], object]], wanted: bool | None,
    began: float, *, intercept: bool,
) -> Fit:  # fmt: skip
    """Fit each output, or each level, and put them together."""
    _input.has_an_optimum(rows, loss, intercept=intercept)
    _input.weights_together(rows.weight)
    parts: list[_Solved] = []
    compiled, stopped = spent(), False
    for c, (of_output, of_loss) in enumerate(_outputs(rows, loss)):
        table = table_on("cpu", of_output, of_loss, penalty)
        method = _method(of_loss, penalty, solver, steps, limits, seed, table.d, intercept=intercept)
        start = None if earlier is None else earlier[:, c : c + 1]
        with _blas.one_thread(), np.errstate(over="ignore", invalid="ignore"):  # what is not finite is seen
            run = drive(method, table, start, limits, callbacks, began)
        part = _Solved(run, table, of_loss, method.batch(table))
        parts.append(part)
        if run.state is not None:
            part.objective = run.state.running
        try:
            if run.stop is not Stop.INTERRUPTED:
                _judge(part, of_output, penalty, wanted, method, of=_name(c, loss, rows))
        except KeyboardInterrupt:
            run.stop = Stop.INTERRUPTED
        stopped = run.stop in {Stop.INTERRUPTED, Stop.CALLBACK}
        if stopped:
            break
    result = _together(parts, rows, loss, penalty, solver, seed, began, compiled, intercept=intercept)
    for part in parts:
        for said, category in ((part.concern, ConvergenceWarning), (part.disagreement, DisagreementWarning)):
            if said:
                warnings.warn(f"fit: {said}", category, stacklevel=3)
    if result.stop is Stop.INTERRUPTED:
        raise Interrupted(result)
    return result


def most_passes(loss: Loss, penalty: Penalty | None) -> int:
    """Return the passes that a fit may take unless told otherwise."""
    if kinks(loss):
        return _PASSES_OF_KINKS
    return _PASSES_WITH_L1 if is_known(penalty) and strengths(penalty)[0] > 0 else _PASSES


def _outputs(rows: Rows, loss: Loss) -> list[tuple[Rows, Loss]]:
    """Return rows with one response each, and its loss."""
    responses = rows.y.reshape(len(rows.y), -1).T
    losses = by_level(loss)
    if len(losses) > 1:
        return [(rows._replace(y=responses[0]), one) for one in losses]
    return [(rows._replace(y=np.ascontiguousarray(y)), loss) for y in responses]


def _name(c: int, loss: Loss, rows: Rows) -> str:
    if len(loss.params) > 1 and len(by_level(loss)) > 1:
        return f"level {loss.params[c]:g}: "
    return f"output {c}: " if rows.y.ndim == 2 and rows.y.shape[1] > 1 else ""


def _method(
    loss: Loss, penalty: Penalty | None, solver: str, steps: Steps, limits: Limits, seed: int, columns: int,
    *, intercept: bool,
) -> Newton | Working | Kinked:  # fmt: skip
    l1, l2 = strengths(penalty)
    if kinks(loss):
        return Kinked(
            loss, l1, intercept, seed, limits.tol, limits.max_passes, steps.batch_size, directions=solver == "cg"
        )
    newton = Newton(
        loss, l1, l2, intercept, seed, limits.tol, limits.max_passes, steps.batch_size, directions=solver == "cg"
    )
    return Working(newton) if l1 > 0 and columns > working.FEW else newton


def _judge(
    part: _Solved, rows: Rows, penalty: Penalty | None, wanted: bool | None, method: Newton | Working | Kinked,
    *, of: str,
) -> None:  # fmt: skip
    """Look at whether the fit of an output is as near as was asked, and at whether SciPy says the same."""
    run = part.run
    if run.stop is Stop.SEPARABLE:
        part.concern = of + _separable(run, rows, part.loss)
        part.check_note = "not made: there is no optimum to compare with"
        return
    part.concern = run.shortfall()
    part.concern = part.concern and of + part.concern
    loss = part.loss
    if loss.relative:
        part.loss = loss = replace(loss, params=run.state.params, relative=False)
    n, d = rows.X.shape
    if wanted is False:
        part.check_note = "not asked for (check=False)"
        return
    seconds = _outside.cost(n, d, loss, penalty)
    if math.isinf(seconds) or (wanted is None and seconds > CHECK_SECONDS):
        cannot = f"nothing in SciPy solves the {loss.name} loss with {penalty!r}"
        dear = (
            f'SciPy would take about {seconds:.2g} s, where check="auto" goes to {CHECK_SECONDS:g}; check=True makes it'
        )
        part.check_note = f"not made: {cannot if math.isinf(seconds) else dear}"
        return
    outside = _outside.solve(rows.X, rows.y, rows.weight, loss, penalty, intercept=method.intercept)
    part.check = _compare(part, outside.objective)
    part.check_note = "" if part.check is not None else "of no use: SciPy ended above the fit's objective"
    said = "" if part.check is None or part.check.agrees else _disagreement(part)
    part.disagreement = said and of + said


def _compare(part: _Solved, least: float) -> Check | None:
    """Return the fit beside SciPy's, by their objectives; None where SciPy's is the higher one, and so no optimum."""
    c, n = part.run.certificate, part.table.present
    gap = part.objective - least
    # Where there is no noise both objectives are rounding.
    y = np.abs(part.table.responses)
    typical = float((y if kinks(part.loss) else y * y).mean()) if part.loss.domain == "real" else 1.0
    if gap < -_BELOW * max(abs(least), abs(part.objective)) - _NO_LOSS * typical:
        return None
    rounding = 1e-13 * max(abs(least), abs(part.objective))
    unit = c.residual_sd if c is not None and np.all(np.isfinite(c.residual_sd)) else math.nan
    distance = math.sqrt(2 * n * max(gap, 0.0)) / float(unit)
    floor = math.sqrt(2 * n * rounding) / float(unit)
    relative = max(gap, 0.0) / max(abs(least), _NO_LOSS * typical, 1e-300)
    exact = gap <= _NO_LOSS * typical
    return Check(
        distance=distance, relative=relative, rank=c.rank if c is not None else 0,
        condition=c.condition if c is not None else math.nan, dependent=c.dependent if c is not None else (),
        objective_gap=gap / abs(least) if least else gap, floor=floor,
        agrees=exact or (distance <= max(AGREES_WITHIN, floor) if math.isfinite(distance) else relative <= 1e-10),
        by="SciPy's optimum",
    )  # fmt: skip


def _disagreement(part: _Solved) -> str:
    """Say that a certified fit is further from SciPy's optimum than it says itself; nothing where it is not."""
    c, check = part.run.certificate, part.check
    if c is None or check is None or not check.distance > max(c.bound, c.floor) + check.floor:
        return ""
    return (
        f"it is {check.distance:.2g} standard errors above SciPy's optimum, where its {c.kind} certificate says "
        f"{c.bound:.2g} at most: one of the two is wrong."
    )


def _separable(run: Run, rows: Rows, loss: Loss) -> str:
    """Say along which columns the loss falls for ever."""
    direction = run.state.apart[:-1] / np.abs(run.state.apart[:-1]).max()
    sizes = np.abs(direction) * _spread(rows.X)
    order = np.argsort(-sizes)[:_TOLD]
    order = order[sizes[order] > 0.05 * sizes.max()]
    named = " and ".join(f"{direction[j]:.3g} times column {j}" for j in order)
    if loss.domain != "binary":
        what = f"counts of zero alone go down with {named}"
    elif _is_complete(run, rows):
        what = f"the labels are told apart without error, mainly by {named}"
    else:
        what = f"some rows are told apart from all others, with one label alone, by {named}"
    return f"{what}: no finite coefficients are best. Add a penalty, such as gs.l2(1e-3)."


def _is_complete(run: Run, rows: Rows) -> bool:
    """Whether the direction tells every label apart."""
    w = run.state.apart
    margins = np.where(rows.y > 0, 1.0, -1.0) * (rows.X @ w[:-1].astype(rows.X.dtype) + w[-1])
    return bool((margins if rows.weight.size == 1 else margins[rows.weight > 0]).min() > 0)


def _spread(X: NDArray[np.floating]) -> NDArray[np.float64]:
    some = np.asarray(X[:: max(1, len(X) // 4096)], dtype=np.float64)
    largest = np.abs(some).max(axis=0)
    spread: NDArray[np.float64] = largest * np.std(some / np.where(largest > 0, largest, 1.0), axis=0) + 1e-12 * largest
    return spread


_WORST = (Stop.INTERRUPTED, Stop.CALLBACK, Stop.SEPARABLE, Stop.BUDGET, Stop.FLOOR, Stop.CERTIFIED)


def _together(
    parts: list[_Solved], rows: Rows, loss: Loss, penalty: Penalty | None, solver: str, seed: int, began: float,
    compiled: float, *, intercept: bool,
) -> Fit:  # fmt: skip
    """Return the fit of all outputs: the worst decides."""
    levels = len(by_level(loss))
    several = rows.y.ndim == 2 or levels > 1
    k = levels if levels > 1 else int(rows.y.shape[1]) if rows.y.ndim == 2 else 1
    d = int(rows.X.shape[1])
    w = np.zeros((d + 1, k))
    for c, part in enumerate(parts):
        w[:, c] = part.run.w
    stop = min((part.run.stop or Stop.INTERRUPTED for part in parts), key=_WORST.index)
    entries = [entry for part in parts for entry in part.run.entries]
    entries = [entry._replace(epoch=number) for number, entry in enumerate(entries, 1)]
    checks = [part.check for part in parts if part.check is not None]
    check = max(checks, key=lambda one: one.distance) if len(checks) == k else None
    table = parts[0].table
    apart = [part.run.state.apart for part in parts if part.run.state is not None and part.run.state.apart is not None]
    weights = w if several else w[:, 0]
    is_squared = loss == squared()
    return Fit(
        coef=frozen(weights[:-1].copy()), intercept=intercept_of(weights),
        objective=float(sum(part.objective for part in parts)), r2=_r2(parts, several=several, intercept=intercept)
        if is_squared else math.nan, stop=stop, history=lengthened(None, entries),
        certificate=_worst([part.run.certificate for part in parts], k, several=several), check=check,
        check_note="" if check is not None
        else next((p.check_note for p in parts if p.check_note), "not made: not all outputs were fitted"),
        loss=parts[0].loss if k == 1 else loss, penalty=penalty, solver=solver, step=None, batch_size=parts[0].batch,
        seed=seed, device="cpu", cost="", rows=table.n, passes=sum(part.table.passes for part in parts),
        row_reads=sum(part.table.row_reads for part in parts),
        concern=" ".join(filter(None, (said for part in parts for said in (part.concern, part.disagreement)))),
        seconds=perf_counter() - began, factor=None, log_weights=_input.log_weights(rows.weight), state=None,
        direction=frozen(apart[0][:-1] / np.abs(apart[0][:-1]).max()) if apart else None,
        crossings=_crossings(parts, levels), compile_seconds=spent() - compiled,
    )  # fmt: skip


def _worst(certificates: list[Certificate | None], k: int, *, several: bool) -> Certificate | None:
    """Return one certificate of all outputs."""
    there = [c for c in certificates if c is not None]
    if len(there) < k:
        return None
    worst = max(there, key=lambda c: (c.bound, c.relative))
    if k == 1 and not several:
        return worst
    kinds = [kind for kind in ("estimate", "probable", "exact") if any(c.kind == kind for c in there)]
    return replace(
        worst, kind=kinds[0], objective_gap=sum(c.objective_gap for c in there), floor=max(c.floor for c in there),
        failure_probability=max(c.failure_probability for c in there), measurable=all(c.measurable for c in there),
        relative=max(c.relative for c in there), residual_sd=np.array([c.residual_sd for c in there]),
        outputs=Outputs(*(np.concatenate(of) for of in zip(*(c.outputs for c in there), strict=True))),
    )  # fmt: skip


def _r2(parts: list[_Solved], *, several: bool, intercept: bool) -> float | NDArray[np.float64]:
    shares = []
    for part in parts:
        whole, mean = part.table.response_squares(np.ones(1), intercept=intercept)
        varies = whole[0] > (4 * _EPS * mean[0]) ** 2 and part.run.state is not None
        shares.append(1 - 2 * part.run.state.losses / part.table.n / float(whole[0]) if varies else math.nan)
    return frozen(np.array(shares)) if several else shares[0]


def _crossings(parts: list[_Solved], levels: int) -> int:
    """Return in how many rows a higher level is below a lower one."""
    states = [part.run.state for part in parts]
    if levels < 2 or len(parts) < levels or not all(isinstance(s, kinked.State) and s.look is not None for s in states):
        return 0
    crossed = np.zeros(parts[0].table.n, dtype=bool)
    for below, above in pairwise(states):
        crossed |= below.look.score > above.look.score
    return int(np.count_nonzero(crossed))
