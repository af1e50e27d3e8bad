"""What a fit returns: the coefficients, why it stopped, how it went, and how far it is from the closed form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._solvers.textbook import Sgd, State
from gradstep.losses import Loss
from gradstep.penalties import Penalty
from gradstep.schedules import Schedule

AGREES_WITHIN = 0.01
"""Standard errors within which a fit and the closed form are said to agree."""

_SHOWN = 10  # epochs that a printed history shows at its beginning and at its end


class Stop(Enum):
    """Why a fit ended: each member is a sentence, with its remedy where one is needed.

    EPOCHS, CALLBACK and INTERRUPTED come in ``fit.stop``, DIVERGED in the exception `Diverged`.
    """

    EPOCHS = "all epochs were run"
    CALLBACK = "a callback asked to stop; the coefficients are those of that moment"
    INTERRUPTED = "interrupted from the keyboard; the coefficients are those of that moment"
    DIVERGED = "the objective grew instead of falling; lower step or standardise the columns"

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"


class Diverged(ArithmeticError):  # noqa: N818 - it reads as what happened
    """A step was too large for the data and the batch.

    Attributes
    ----------
    stop : Stop
        `Stop.DIVERGED`.
    step : float
        The step that was asked for; of a schedule the largest so far.
    largest_stable_step : float
        Minibatch SGD on these data with this batch is stable, in mean square and for rows in random order, with steps
        up to this one; NaN for other losses than squared and with momentum.
    """

    def __init__(self, message: str, step: float, largest_stable_step: float) -> None:
        super().__init__(message)
        self.stop = Stop.DIVERGED
        self.step = step
        self.largest_stable_step = largest_stable_step

    def __reduce__(self) -> tuple[type[Diverged], tuple[str, float, float]]:
        return Diverged, (str(self), self.step, self.largest_stable_step)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a fit. It stops a script as any `KeyboardInterrupt` does; `fit` holds what was reached.

    Attributes
    ----------
    fit : Fit
        The fit as it stood, with ``stop`` equal to `Stop.INTERRUPTED` and no check.
    """

    def __init__(self, fit: Fit) -> None:
        super().__init__("fit interrupted; what was reached is in the attribute `fit` of this exception")
        self.fit = fit


class ConvergenceWarning(UserWarning):
    """A fit that is worse than predicting the mean; for other losses than squared, than the best constant."""


@dataclass(frozen=True, eq=False)
class Progress:
    """What a callback is given, after each call of the kernel and at the end of each epoch.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    epochs : int
        Epochs asked for.
    epoch_ended : bool
        Whether this call closes an epoch.
    row_reads : int
        Rows read so far.
    objective : float
        Running objective of the present epoch so far.
    coef : ndarray, (d,) or (d, k)
        Coefficients at this moment, a copy.
    intercept : float or ndarray (k,)
        Intercept at this moment.
    seconds : float
        Seconds since the fit began.
    """

    epoch: int
    epochs: int
    epoch_ended: bool
    row_reads: int
    objective: float
    coef: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """How a fit went: one entry an epoch.

    Attributes
    ----------
    epoch : ndarray of int
        1, 2, ...
    objective : ndarray
        Running objective: the mean of the losses met in the epoch, each before its batch's step, plus the penalty at
        the epoch's end. It costs nothing and lags behind.
    exact_objective : ndarray
        Objective of all rows at the epoch's end where ``gs.sgd(exact_objective=True)`` asked for it, else empty; NaN
        for single epochs that did not.
    step : ndarray
        Size of the epoch's last step.
    seconds : ndarray
        Seconds since the fit began, at the epoch's end.
    """

    epoch: NDArray[np.int64]
    objective: NDArray[np.float64]
    exact_objective: NDArray[np.float64]
    step: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.epoch)

    def __str__(self) -> str:
        exact = self.exact_objective.size > 0
        lines = ["epoch   running objective" + ("     exact objective" if exact else "") + "        step   seconds"]
        for i in range(len(self)):
            if _SHOWN <= i < len(self) - _SHOWN:
                lines += ["  ..."] if i == _SHOWN else []
                continue
            at_end = f"{self.exact_objective[i]:20.10g}" if exact else ""
            lines.append(
                f"{self.epoch[i]:5d}{self.objective[i]:20.10g}{at_end}{self.step[i]:12.4g}{self.seconds[i]:10.4f}"
            )
        return "\n".join(lines)


def lengthened(history: History | None, entries: list[tuple[int, float, float, float, float]]) -> History:
    """Return a history with more epochs: number, objective, exact objective or NaN, step and seconds of each."""
    columns = list(np.array(entries, dtype=float).reshape(-1, 5).T)
    if history is not None:
        exact = history.exact_objective if history.exact_objective.size else np.full(len(history), np.nan)
        before = history.epoch, history.objective, exact, history.step, history.seconds
        columns = [np.concatenate(pair) for pair in zip(before, columns, strict=True)]
    epoch, objective, exact, step, seconds = (column.copy() for column in columns)
    arrays = epoch.astype(np.int64), objective, exact[: 0 if np.isnan(exact).all() else None], step, seconds
    for array in arrays:
        array.flags.writeable = False
    return History(*arrays)


@dataclass(frozen=True)
class Check:
    """A fit beside `closed_form`.

    Attributes
    ----------
    distance : float
        ``norm(X (w - w*)) / sigma``, the intercept among the columns: no linear combination of the coefficients that
        the data determine is further from the exact one than that many of its own standard errors (with a penalty: of
        those that it would have without). The worst output counts. NaN where there is no noise, or no degree of
        freedom, to measure by.
    relative : float
        ``norm(X (w - w*))`` over the norm of the exact fitted values about their mean (about 0 without an intercept).
    rank : int
        Rank of the columns.
    condition : float
        Condition number of the centred, scaled columns.
    dependent : tuple of int
        Columns that depend on the columns before them.
    objective_gap : float
        Objective of the fit less that of the closed form, relative to the latter; NaN where there is no noise.
    agrees : bool
        Whether every output is within 0.01 standard errors, or within 1e-10 relative where it has no noise.
    """

    distance: float
    relative: float
    rank: int
    condition: float
    dependent: tuple[int, ...]
    objective_gap: float
    agrees: bool

    @property
    def verdict(self) -> str:
        """The check in a sentence."""
        if self.agrees:
            return f"The fit agrees with the closed form: {_distance(self)}."
        remedy = (
            "While the objective still falls, raise epochs or step; where it no longer does, lower step or raise "
            "batch_size: with a step that stays the same, the noise of small batches stays too."
        )
        if AGREES_WITHIN < self.distance <= 1:
            return f"The fit is close to the closed form but does not agree with it: {_distance(self)}. {remedy}"
        return f"The fit is NOT the least-squares answer: {_distance(self)}. {remedy}"


def _distance(check: Check) -> str:
    # Of outputs of which one has no noise, it may be that one that is too far away.
    if np.isfinite(check.distance) and (check.agrees or check.distance > AGREES_WITHIN):
        return f"it is {check.distance:.2g} standard errors away at the worst linear combination"
    return f"it is {check.relative:.2g} away relative to the fitted values (no noise to measure a standard error by)"


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted linear model. It cannot be changed; its arrays are read-only.

    Attributes
    ----------
    coef : ndarray, (d,) or (d, k)
        Coefficients in the caller's units.
    intercept : float or ndarray (k,)
        Intercept; 0 without one.
    objective : float
        Objective of all rows at these coefficients: weighted mean loss, summed over outputs, plus penalty; NaN where
        the fit was interrupted before it was computed.
    stop : Stop
        Why the fit ended.
    history : History
        One entry an epoch.
    check : Check or None
        The fit beside the closed form, where that was made.
    check_note : str
        Why there is no check, where there is none.
    loss : Loss
        The loss.
    penalty : Penalty or None
        The penalty.
    solver : Sgd
        The solver's options.
    step : float or Schedule
        Step size.
    batch_size : int
        Rows of a batch: as asked for, at most n.
    seed : int
        Seed of the order of rows.
    device : str
        ``"cpu"`` or ``"cuda"``.
    rows : int
        Rows of the table, n.
    row_reads : int
        Rows read by the solver, the last look at the objective included; over ``rows`` it is the number of passes.
    concern : str
        In which output the fit is worse than predicting the mean, and why; empty where it is in none.
    seconds : float
        Wall time of the whole call, check and compilation included.
    state : object
        Where the method stands, for ``fit(..., start=...)``; its form may change between versions.

    With ``start``, history, row reads and seconds are those of the whole path.
    """

    coef: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    objective: float
    stop: Stop
    history: History
    check: Check | None
    check_note: str
    loss: Loss
    penalty: Penalty | None
    solver: Sgd
    step: float | Schedule
    batch_size: int
    seed: int
    device: str
    rows: int
    row_reads: int
    concern: str
    seconds: float
    state: State

    def __repr__(self) -> str:
        return f"<Fit of {self.rows} rows x {len(self.coef)} columns: objective {self.objective:.6g}, {self.stop.name}>"

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the scores ``X coef + intercept``: log-odds for the logistic loss, log means for Poisson's.

        Parameters
        ----------
        X : array_like, (n, d)
            Rows to predict, in the units of the fit and with its columns in their order.

        Returns
        -------
        ndarray, (n,) or (n, k)
            Scores in float64.

        Raises
        ------
        TypeError, ValueError
            For input that `fit` would refuse, or another number of columns than the fit has.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
        >>> gs.fit(X, y, step=0.03, batch_size=10, epochs=3).predict([[1.0, 1.0]]).round(1)
        array([2.8])
        """
        return _input.predictors(X, columns=len(self.coef)) @ self.coef + self.intercept

    def __str__(self) -> str:
        d, outputs = len(self.coef), self.coef.shape[1:]
        penalty = "" if self.penalty is None else f" + {self.penalty!r}"
        ended = f"last running objective {self.history.objective[-1]:.6g}, " if len(self.history) else ""
        lines = [
            f"gradstep fit: {self.loss.name} loss{penalty}, {self.rows} rows x {d} columns"
            + (f", {outputs[0]} outputs" if outputs else ""),
            (
                f"  method     minibatch SGD{_with_options(self.solver)}, step {_step(self.step)}, "
                f"batch {self.batch_size}, {len(self.history)} epochs, seed {self.seed}, on {self.device}"
            ),
            f"  objective  {self.objective:.10g} ({ended}{self.row_reads / self.rows:.4g} passes over the rows)",
            f"  check      {self.check_note if self.check is None else self.check.verdict}",
        ]
        if self.check is not None:
            c = self.check
            lines.append(
                f"             distance {c.distance:.3g} SE, relative {c.relative:.3g}, rank {c.rank} of {d}, "
                f"condition {c.condition:.3g}, objective {c.objective_gap:.3g} above the closed form's"
            )
            if c.dependent:
                lines.append(f"             columns {listed(c.dependent)} depend on the columns before them")
        if self.concern:
            lines.append(f"  concern    {self.concern}")
        lines += [f"  stop       {self.stop}", f"  seconds    {self.seconds:.3g}"]
        if not outputs:
            shown = ", ".join(f"{value:.6g}" for value in self.coef[:8]) + (", ..." if d > 8 else "")
            lines += [f"  coef       {shown}", f"  intercept  {self.intercept:.10g}"]
        return "\n".join(lines)


def _with_options(options: Sgd) -> str:
    if not options.momentum:
        momentum = ""
    else:
        momentum = f" with {'Nesterov ' if options.nesterov else ''}momentum {options.momentum:g}"
    orders = {False: ", rows as they stand", "once": ", rows shuffled once", "blocks": ", rows shuffled by blocks"}
    return momentum + (", averaged" if options.average else "") + orders.get(options.shuffle, "")


def _step(step: float | Schedule) -> str:
    return repr(step) if isinstance(step, Schedule) else f"{step:g}"


def listed(columns: tuple[int, ...], most: int = 12) -> str:
    """Return column numbers as text, the first few of many."""
    shown = ", ".join(map(str, columns[:most]))
    return shown if len(columns) <= most else f"{shown} and {len(columns) - most} more"
