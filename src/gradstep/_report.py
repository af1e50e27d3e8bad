"""What is printed of a fit: one screen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import config

from gradstep._solvers.textbook import Sgd
from gradstep.schedules import Schedule

if TYPE_CHECKING:
    from gradstep._certificate import Certificate
    from gradstep._result import Check, Fit, History

_SHOWN = 10  # epochs that a printed history shows at its beginning and at its end

AGREES_WITHIN = 0.01
"""Standard errors within which a fit and the closed form are said to agree."""

_EXACT = 1e-10  # of the fitted values, within which a closed form without noise is exact


def history(history: History) -> str:
    """Return a history as a table."""
    exact, bound = history.exact_objective.size > 0, history.bound.size > 0
    lines = [
        "epoch   passes   "
        + ("running objective" if not bound else "        objective")
        + ("     exact objective" if exact else "")
        + ("    bound, SE" if bound else "        step")
        + "   seconds"
    ]
    for i in range(len(history)):
        if _SHOWN <= i < len(history) - _SHOWN:
            lines += ["  ..."] if i == _SHOWN else []
            continue
        at_end = f"{history.exact_objective[i]:20.10g}" if exact else ""
        last = f"{history.bound[i]:13.4g}" if bound else f"{history.step[i]:12.4g}"
        lines.append(
            f"{history.epoch[i]:5d}{history.passes[i]:9.4g}{history.objective[i]:20.10g}{at_end}{last}"
            f"{history.seconds[i]:10.4f}"
        )
    return "\n".join(lines)


def fit(fit: Fit) -> str:
    """Return a fit on one screen."""
    d, outputs = len(fit.coef), fit.coef.shape[1:]
    penalty = "" if fit.penalty is None else f" + {fit.penalty!r}"
    lines = [
        f"gradstep fit: {_loss(fit)} loss{penalty}, {fit.rows} rows x {d} columns"
        + (f", {outputs[0]} {'levels' if len(fit.loss.params) == outputs[0] > 1 else 'outputs'}" if outputs else ""),
        f"  method       {_method(fit)}",
        f"  objective    {fit.objective:.10g} ({_shares(fit)})",
    ]
    if fit.cost:
        lines.append(f"  cost         {fit.cost}")
    if fit.certificate is not None:
        lines += _certificate(fit.certificate, d, ridged=fit.penalty is not None, sampled=fit.loss.name == "squared")
    if fit.penalty is not None and fit.penalty.name != "l2" and fit.certificate is not None:
        lines.append(f"  support      {np.count_nonzero(fit.coef)} of {fit.coef.size} coefficients are not zero")
    if fit.crossings:
        lines.append(f"  levels       cross in {fit.crossings} rows, before predict puts them in order")
    lines += _check(fit, d)
    if fit.concern:
        lines.append(f"  concern      {fit.concern}")
    lines += [f"  stop         {fit.stop}", f"  seconds      {fit.seconds:.3g}{_compiling(fit)}"]
    if not outputs:
        shown = ", ".join(f"{value:.6g}" for value in fit.coef[:8]) + (", ..." if d > 8 else "")
        lines += [f"  coef         {shown}", f"  intercept    {fit.intercept:.10g}"]
    return "\n".join(lines)


def _compiling(fit: Fit) -> str:
    """Say how much of the time a fit that comes after this one will not take, where it is much."""
    if fit.compile_seconds < max(0.05, 0.1 * fit.seconds):
        return ""
    return f", {fit.compile_seconds:.3g} of them to compile kernels or load them from disk"


def _loss(fit: Fit) -> str:
    """Return the loss's name, with its parameters where it has any."""
    return repr(fit.loss) if fit.loss.params else fit.loss.name


def _method(fit: Fit) -> str:
    if not isinstance(fit.solver, Sgd):
        batch = "one batch of all rows" if fit.batch_size == fit.rows else f"batch {fit.batch_size}"
        name = {"sgd": f"minibatch SGD, {batch}", "cg": "conjugate gradients"}.get(fit.solver, fit.solver)
        return f"{name}, seed {fit.seed}, on {_device(fit)}"
    return (
        f"minibatch SGD{_with_options(fit.solver)}, step {_step(fit.step)}, batch {fit.batch_size}, "
        f"{len(fit.history)} epochs, seed {fit.seed}, on {_device(fit)}"
    )


def _shares(fit: Fit) -> str:
    passes = f"{fit.passes:.4g}"
    parts = [f"{passes} pass{'' if passes == '1' else 'es'} over the rows, {fit.row_reads} row reads"]
    if isinstance(fit.solver, Sgd) and len(fit.history):
        parts.insert(0, f"last running objective {fit.history.objective[-1]:.6g}")
    r2 = np.ravel(fit.r2)
    if not np.isnan(r2).all():
        parts.insert(0, f"R2 {'' if r2.size == 1 else 'at least '}{np.nanmin(r2):.10g}")
    return ", ".join(parts)


def _certificate(c: Certificate, d: int, *, ridged: bool, sampled: bool) -> list[str]:
    sure = {
        "exact": "proven but for rounding, which is in it",
        "probable": f"for all but {c.failure_probability:.1g} of the seeds",
        "estimate": "an estimate, " + ("from a sample of the rows" if sampled else "if its curvature has one hump"),
    }[c.kind]
    of_rank = "" if c.rank == c.columns else f" of rank {c.rank}"
    if math.isfinite(c.bound):
        how_far = (
            f"at most {c.bound:.2g} standard errors from the optimum{of_rank} in any direction "
            f"(float64 alone promises {c.floor:.2g})"
        )
        if not c.measurable:
            how_far += f"; outputs without noise at most {c.relative:.2g} of their fitted values"
    elif c.measurable:
        how_far = "nothing is proven of how far it is from the optimum"
    else:
        how_far = f"at most {c.relative:.2g} of the fitted values from the optimum{of_rank} (no noise to measure by)"
    lines = [
        f"  certificate  {how_far}",
        f"               {c.kind}: {sure}; objective at most {c.objective_gap:.2g} above its least"
        if math.isfinite(c.objective_gap)
        else "               raise max_passes, or see the concern",
        f"  rank         {c.rank} of {c.columns}, condition {c.condition:.3g}"
        + (f"; the other {d - c.columns} columns are left at zero" if c.columns < d else ""),
    ]
    if c.dependent:
        norm = "" if ridged else ": least norm"
        lines.append(f"               constant, or dependent on those before: columns {listed(c.dependent)}{norm}")
    return lines


def apart(check: Check, certificate: Certificate) -> tuple[str, float, float]:
    """Return what a fit and the closed form are compared by, their distance, and what they say themselves it may be."""
    if check.distance > AGREES_WITHIN and math.isfinite(certificate.bound):
        return "bound", check.distance, max(certificate.bound, certificate.floor) + check.floor
    return "relative", check.relative, certificate.relative + _EXACT


def _check(fit: Fit, d: int) -> list[str]:
    c = fit.check
    if c is None:
        return [f"  check        {fit.check_note}"]
    remedy, verdict = "", c.verdict
    ours = fit.certificate
    if not c.agrees and ours is not None:
        _, distance, known = apart(c, ours)
        if math.isinf(known):
            verdict = f"The fit is not certified. {c.verdict}"
        elif distance <= known:
            verdict = f"The fit is as near {c.by} as its certificate says, and no nearer."
        else:
            verdict = f"The fit and {c.by} disagree" + (": see the concern." if fit.concern else ".")
    elif not c.agrees:
        remedy = (
            " While the objective still falls, raise epochs or step; where it no longer does, lower step or raise "
            "batch_size: with a step that stays the same, the noise of small batches stays too."
        )
    lines = [
        f"  check        {verdict}{remedy}",
        (
            f"               distance {c.distance:.3g} SE, relative {c.relative:.3g}, rank {c.rank} of {d}, "
            f"condition {c.condition:.3g}, objective {c.objective_gap:.3g} (relative) above "
            + ("its least" if c.by != "the closed form" else "the closed form's")
        ),
    ]
    if c.dependent and fit.certificate is None:
        lines.append(f"               columns {listed(c.dependent)} depend on the columns before them")
    return lines


def _with_options(options: Sgd) -> str:
    if not options.momentum:
        momentum = ""
    else:
        momentum = f" with {'Nesterov ' if options.nesterov else ''}momentum {options.momentum:g}"
    orders = {False: ", rows as they stand", "once": ", rows shuffled once", "blocks": ", rows shuffled by blocks"}
    return momentum + (", averaged" if options.average else "") + orders.get(options.shuffle, "")


def _step(step: float | Schedule | None) -> str:
    return repr(step) if isinstance(step, Schedule) else f"{step:g}"


def listed(columns: tuple[int, ...], most: int = 12) -> str:
    """Return column numbers as text, the first few of many."""
    shown = ", ".join(map(str, columns[:most]))
    return shown if len(columns) <= most else f"{shown} and {len(columns) - most} more"


def _device(fit: Fit) -> str:
    """Return where a fit ran: a simulated GPU is none."""
    return (
        f"{fit.device} (simulated)" if fit.device == "cuda" and getattr(config, "ENABLE_CUDASIM", False) else fit.device
    )
