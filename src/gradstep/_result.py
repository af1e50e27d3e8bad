"""What a fit returns: the coefficients, why it stopped, how it went, and how far it is from the closed form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input, _report
from gradstep._certificate import Certificate
from gradstep._device import on_cuda, to_device
from gradstep._kernels.first_call import interrupts_held
from gradstep._kernels.plain import wide_scores
from gradstep._kinks import by_level
from gradstep._report import AGREES_WITHIN
from gradstep._solvers.textbook import Sgd, State
from gradstep.losses import Loss
from gradstep.penalties import Penalty
from gradstep.schedules import Schedule


class Stop(Enum):
    """Why a fit ended: each member is a sentence, with its remedy where one is needed.

    DIVERGED comes in the exception `Diverged`, the others in ``fit.stop``: EPOCHS of the textbook method, CERTIFIED,
    FLOOR and BUDGET of solvers that certify their answer, SEPARABLE of labels and counts without an optimum.
    """

    CERTIFIED = "the fit is certified to be as near the optimum as tol asks"
    FLOOR = "rounding lets no further pass come nearer; if that is too far, centre columns or drop dependent ones"
    BUDGET = "max_passes is spent; raise it"
    EPOCHS = "all epochs were run"
    CALLBACK = "a callback asked to stop; the coefficients are those of that moment"
    SEPARABLE = "no finite coefficients are best: the loss falls for ever along a direction; add a penalty, such as l2"
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
    """A fit that ended short of what was asked, or that is worse than predicting the mean (the best constant)."""


class DisagreementWarning(UserWarning):
    """A certified fit and its check are further apart than rounding explains; the message gives both distances."""


@dataclass(frozen=True, eq=False)
class Progress:
    """What a callback is given: after each round, or with a step after each call of the kernel and each epoch.

    Attributes
    ----------
    epoch : int
        Epochs or rounds finished.
    epochs : int
        Epochs asked for; 0 without a step.
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
    bound : float
        Standard errors from the optimum at most, of a solver that certifies its rounds; else NaN.
    """

    epoch: int
    epochs: int
    epoch_ended: bool
    row_reads: int
    objective: float
    coef: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    seconds: float
    bound: float


class Entry(NamedTuple):
    """A line of a history."""

    epoch: int
    objective: float
    exact_objective: float
    step: float
    seconds: float
    passes: float
    bound: float


@dataclass(frozen=True, eq=False)
class History:
    """How a fit went: one entry a round, or an epoch of the textbook method.

    The first round of ``"sgd"`` and ``"cg"`` is the sketch and a look at its solution; each further one an epoch of
    steps, or conjugate directions, and a look at where they lead.

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
        Size of the epoch's last step; NaN where there are none.
    seconds : ndarray
        Seconds since the fit began, at the epoch's end.
    passes : ndarray
        Reads of all rows so far, at the epoch's end.
    bound : ndarray
        Standard errors from the optimum at most, at the epoch's end, as certified; empty where nothing was.
    """

    epoch: NDArray[np.int64]
    objective: NDArray[np.float64]
    exact_objective: NDArray[np.float64]
    step: NDArray[np.float64]
    seconds: NDArray[np.float64]
    passes: NDArray[np.float64]
    bound: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.epoch)

    def __str__(self) -> str:
        return _report.history(self)


def lengthened(history: History | None, entries: list[Entry]) -> History:
    """Return a history with more epochs."""
    columns = list(np.array(entries, dtype=float).reshape(-1, len(Entry._fields)).T)
    if history is not None:
        # A column that is empty was never asked for.
        before = [getattr(history, name) for name in Entry._fields]
        before = [column if column.size else np.full(len(history), np.nan) for column in before]
        columns = [np.concatenate(pair) for pair in zip(before, columns, strict=True)]
    named = dict(zip(Entry._fields, (column.copy() for column in columns), strict=True))
    for name in ("exact_objective", "bound"):
        if np.isnan(named[name]).all():
            named[name] = named[name][:0]
    arrays = named | {"epoch": named["epoch"].astype(np.int64)}
    for array in arrays.values():
        array.flags.writeable = False
    return History(**arrays)


@dataclass(frozen=True)
class Check:
    """A fit beside `closed_form`, or for other losses than the squared one beside SciPy's optimum.

    Beside SciPy's optimum the two are compared by their objectives: ``distance`` is ``sqrt(2 gap / dispersion)`` of the
    gap between their sums over rows, 0 where the fit's is the lower one, ``relative`` the gap over the objective; rank,
    condition and dependent columns are those of the certificate.

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
    floor : float
        Standard errors that rounding may have moved the closed form's own coefficients by.
    agrees : bool
        Whether every output is within 0.01 standard errors or that floor, or within 1e-10 relative where it has no
        noise.
    by : str
        What the fit stands beside, as sentences say it.
    """

    distance: float
    relative: float
    rank: int
    condition: float
    dependent: tuple[int, ...]
    objective_gap: float
    floor: float
    agrees: bool
    by: str = "the closed form"

    @property
    def verdict(self) -> str:
        """The check in a sentence."""
        if self.agrees:
            return f"The fit agrees with {self.by}: {_distance(self)}."
        if AGREES_WITHIN < self.distance <= 1:
            return f"The fit is close to {self.by} but does not agree with it: {_distance(self)}."
        if self.by != "the closed form":
            return f"The fit is NOT {self.by}: {_distance(self)}."
        return f"The fit is NOT the least-squares answer: {_distance(self)}."


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
    r2 : float or ndarray (k,)
        Share of the responses' squares that the fit explains, about their mean with an intercept, about zero without;
        NaN for a constant response, and for other losses than squared.
    stop : Stop
        Why the fit ended.
    history : History
        One entry an epoch or a round.
    certificate : Certificate or None
        How far the coefficients are from the exact ones at most; None of the textbook method, where there is no
        optimum, and of a quantile fit whose budget ended before there was one.
    check : Check or None
        The fit beside the closed form, where that was made.
    check_note : str
        Why there is no check, where there is none.
    loss : Loss
        The loss; of one that came in units of the residuals' scale, with its parameters in units of ``y``, but for
        several outputs, each of which has a scale of its own.
    penalty : Penalty or None
        The penalty.
    solver : Sgd or str
        The solver's options, or its name: of ``"auto"``, that of the one it took.
    step : float, Schedule or None
        Step size; None where no steps are taken.
    batch_size : int or None
        Rows of a batch, at most n; None of solvers without batches.
    seed : int
        Seed of the order of rows, of the sketch and of the rows sampled.
    device : str
        ``"cpu"`` or ``"cuda"``.
    rows : int
        Rows of the table, n.
    passes : float
        Reads of all rows by the solver, the last look at the objective included.
    row_reads : int
        Rows read, those of samples included.
    concern : str
        How far short of ``tol`` the fit ended, and why; in which output it is worse than predicting the mean; or how it
        disagrees with the check. Empty where there is no such concern.
    cost : str
        What the cost model says: of ``device="auto"`` the seconds of both devices, of ``solver="auto"`` on the CPU all
        costs, of ``"sgd"`` there that ``"exact"`` would have been cheaper; else empty.
    seconds : float
        Wall time of the whole call, check and compilation included.
    compile_seconds : float
        Of these, what was spent on compiling kernels or loading them from disk, as in the first fit of a process.
    factor : ndarray or None
        R, (p, d + 1), not always triangular, with ``R' R = [X 1]' [X 1]`` in the caller's units, rows times the roots
        of their weights (of mean 1 over those above 0), without the ones where there is no intercept;
        `gradstep.textbook.NormalInverseGamma` goes on from it. It is there where all rows were factored, as of small
        tables and by ``solver="exact"``; else None.
    log_weights : float
        Sum of the logarithms of the weights above 0, of mean 1 among themselves; 0 without weights.
    state : object
        Where the textbook method stands, for ``fit(..., start=...)``; its form may change between versions. None of
        other solvers.

    direction : ndarray (d,) or None
        Where the fit ended as `Stop.SEPARABLE`, the coefficients along which the loss falls for ever, of largest 1.
    crossings : int
        Of several quantile levels: rows of the table in which a higher one is below a lower one, before `predict` puts
        them in order.

    With a step and ``start``, history, row reads and both seconds are those of the whole path.
    """

    coef: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    objective: float
    r2: float | NDArray[np.float64]
    stop: Stop
    history: History
    certificate: Certificate | None
    check: Check | None
    check_note: str
    loss: Loss
    penalty: Penalty | None
    solver: Sgd | str
    step: float | Schedule | None
    batch_size: int | None
    seed: int
    device: str
    rows: int
    passes: float
    row_reads: int
    concern: str
    cost: str
    seconds: float
    factor: NDArray[np.float64] | None
    log_weights: float
    state: State | None
    direction: NDArray[np.float64] | None = None
    crossings: int = 0
    compile_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<Fit of {self.rows} rows x {len(self.coef)} columns: objective {self.objective:.6g}, {self.stop.name}>"

    def predict(self, X: ArrayLike) -> Any:
        """Return the scores ``X coef + intercept``: log-odds for the logistic loss, log means for Poisson's.

        They are summed in double-double arithmetic: of columns far from zero, or that nearly depend on each other, the
        terms cancel. Those of several quantile levels are put in order in each row, so that they never cross.

        Parameters
        ----------
        X : array_like, (n, d)
            Rows to predict, in the units of the fit and with its columns in their order. Of an array on a GPU, in
            float32 or float64 and C order, the scores are taken there and stay there, wherever the fit was made.

        Returns
        -------
        ndarray, (n,) or (n, k)
            Scores in float64; for an array on a GPU one of Numba's arrays there, which other libraries take without a
            copy, as ``cupy.asarray(...)`` or ``torch.as_tensor(...)``.

        Raises
        ------
        TypeError, ValueError
            For input that `fit` would refuse, or another number of columns than the fit has.
        RuntimeError, MemoryError
            For rows on a GPU that cannot be used, or that has no room for the scores.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
        >>> gs.fit(X, y, step=0.03, batch_size=10, epochs=3).predict([[1.0, 1.0]]).round(1)
        array([2.8])
        """
        if on_cuda(X):
            return self._predict_there(X)
        table = _input.predictors(X, columns=len(self.coef))
        scores = np.empty((len(table), *self.coef.shape[1:]))
        k = self.coef.size // len(self.coef)
        wide_scores(table, self.coef.reshape(-1, k), np.reshape(self.intercept, k), scores.reshape(-1, k))
        if len(by_level(self.loss)) > 1:
            scores.sort(axis=1)
        return scores

    def _predict_there(self, X: Any) -> Any:
        from gradstep._input import on_device  # noqa: PLC0415 - X lies on one
        from gradstep._kernels import cuda  # noqa: PLC0415

        k = self.coef.size // len(self.coef)
        table = on_device.predictors(X, columns=len(self.coef))
        with interrupts_held():  # it may be compiled
            scores = cuda.scores(table, self.coef.reshape(-1, k), np.reshape(self.intercept, k))
        if len(by_level(self.loss)) > 1:
            return to_device(np.sort(scores.copy_to_host(), axis=1), "cuda")
        return scores if self.coef.ndim == 2 else scores.reshape(scores.shape[0])

    def __str__(self) -> str:
        return _report.fit(self)
