"""`fit`, and the driver: the only loop, with its history, callbacks and Ctrl-C."""

import warnings
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _closed_form, _input
from gradstep._result import Check, ConvergenceWarning, Diverged, Fit, History, Interrupted, Progress, Stop
from gradstep._solvers.textbook import Sgd, State, Textbook, largest_stable_step
from gradstep._table.dense import Dense, Pass, Rows
from gradstep.losses import Loss, squared
from gradstep.penalties import Penalty

# The closed form costs 2 n d^2 operations and a float64 copy of X. Up to these it takes about a second at most, and
# `check="auto"` makes it.
CHECK_OPERATIONS = 4e9
CHECK_CELLS = 3e7

_SQUARED = squared()


def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    step: float,
    loss: Loss = _SQUARED,
    penalty: Penalty | None = None,
    solver: str | Sgd = "sgd",
    batch_size: int = 32,
    epochs: int = 10,
    sample_weight: ArrayLike | None = None,
    intercept: bool = True,
    seed: int = 0,
    device: str | None = None,
    check: bool | str = "auto",
    callbacks: Sequence[Callable[[Progress], object]] = (),
) -> Fit:
    """Fit a linear model by minibatch stochastic gradient descent, and check it against the closed form.

    Minimises ``sum_i weight_i loss(x_i w + b, y_i) / sum_i weight_i + penalty(w)`` from ``w = 0``, ``b = 0``, by steps
    of a fixed size along the gradient of one batch of rows at a time.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors, finite real numbers. float32 and float64 are read where they stand, in C order; anything else is
        copied: float16 to float32, other orders and types to C-ordered float64 (or float32). Sums and weights are
        float64 throughout. Columns of very different size need standardising: one step serves them all.
    y : array_like, (n,) or (n, k)
        Response, or ``k`` responses fitted in one read of X.
    step : float
        Step size (learning rate) in units of 1 over squared units of X, positive. There is no default: the largest
        stable one depends on the data, and `Diverged` names it when this one is above.
    loss : Loss, default squared()
        The loss; see `gradstep.losses`.
    penalty : Penalty, optional
        None, or `l2`: applied by its exact proximal step after each gradient step. The intercept is never penalised.
    solver : str or Sgd, default "sgd"
        ``"sgd"``, or ``gs.sgd(shuffle=..., exact_objective=...)``.
    batch_size : int, default 32
        Rows of a batch; above n it means one batch. The last batch of an epoch may be smaller. 32 keeps a step cheap
        and its noise moderate; a larger one gives less noise and fewer steps.
    epochs : int, default 10
        Reads of all the data, each with steps.
    sample_weight : array_like (n,), optional
        Analytic weights, not negative: doubling one equals repeating the row, at the optimum. None means equal
        weights.
    intercept : bool, default True
        Whether to fit an intercept.
    seed : int, default 0
        Seed of the order of rows, not negative. Same seed, same bits.
    device : {None, "cpu", "cuda"}, default None
        Where the rows are read. None means the CPU.
    check : {"auto", True, False}, default "auto"
        Whether to solve the squared loss in closed form too and report the distance. ``"auto"`` does so while
        ``2 n d**2 <= 4e9`` and ``n d <= 3e7``, about a second; the report says when it did not.
    callbacks : sequence of callable, default ()
        Each is called with a `Progress` after every 5 to 50 ms of work and at the end of each epoch; one that returns
        something true stops the fit.

    Returns
    -------
    Fit
        Coefficients, objective, history, check and why the fit ended. Print it for a report.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used: the message names it, what came and what is needed.
    Diverged
        If the objective became infinite, or ended worse than predicting the mean with a step above the largest stable
        one (for losses where that is not known: worse than at the start).
    Interrupted
        On Ctrl-C, within a fraction of a second, with the fit as it stood.
    RuntimeError
        If ``device="cuda"`` and there is no usable device.

    Warns
    -----
    ConvergenceWarning
        If the objective at the end is worse than that of predicting the mean.

    References
    ----------
    L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
    (2018) 223-311, section 4. A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge
    2023, section 3.1, has the example.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
    >>> fit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3)
    >>> fit.coef.round(1), round(fit.intercept, 1)
    (array([ 2. , -3.4]), 4.2)
    >>> fit.stop.name
    'EPOCHS'
    """
    began = perf_counter()
    # Numbers first: they are cheaper to look at than the data.
    step = _input.step(step)
    loss = _input.loss(loss)
    penalty = _input.penalty(penalty)
    options = _input.solver(solver)
    batch_size = _input.whole("batch_size", batch_size, 1)
    epochs = _input.whole("epochs", epochs, 1)
    intercept = _input.flag("intercept", intercept)
    seed = _input.whole("seed", seed, 0)
    device = _input.device(device)
    wanted = _input.check(check)
    functions = _input.callbacks(callbacks)
    if wanted and not _closed_form.exists(loss, penalty):
        raise ValueError("check: True came; only the squared loss with no penalty or l2 has a closed form to check by.")
    rows = _input.rows(X, y, sample_weight)

    # One output in a column of its own takes the kernel of one output.
    column = rows.y.shape[1:] == (1,)
    if column:
        rows = rows._replace(y=rows.y[:, 0])
    table = Dense(rows, loss, penalty, device)
    settings = Pass(min(batch_size, table.n), step, intercept)
    method = Textbook(options, settings, seed)
    state, stop, history = _drive(method, table, epochs, functions, began)

    objective, checked, note = np.nan, None, "not made: the fit was interrupted"
    if stop is Stop.DIVERGED:
        # The epoch that was running: `state.epoch` counts it already if it ended with this round.
        found = f"the objective became infinite in epoch {state.epoch + (state.row < table.n)}"
        raise _diverged(loss, settings, found, _largest_stable_step(rows, loss, settings))
    if stop is not Stop.INTERRUPTED:
        objective = table.objective(state.w)
        _guard(rows, loss, settings, objective)
        checked, note = _checked(rows, loss, penalty, wanted, settings, state.w, objective)

    w = state.w[:, np.newaxis] if column else state.w
    result = Fit(
        coef=_frozen(w[:-1]), intercept=_intercept(w), objective=objective, stop=stop, history=history,
        check=checked, check_note=note, loss=loss, penalty=penalty, step=step, batch_size=settings.batch, seed=seed,
        device=device, rows=table.n, row_reads=table.row_reads, seconds=perf_counter() - began,
    )  # fmt: skip
    if stop is Stop.INTERRUPTED:
        raise Interrupted(result)
    return result


def _drive(
    method: Textbook, table: Dense, epochs: int, callbacks: Sequence[Callable[[Progress], object]], began: float
) -> tuple[State, Stop, History]:
    """Run rounds until the epochs are done, a callback or Ctrl-C ends them, or the numbers leave the finite ones."""
    state, stop = method.start(table), Stop.EPOCHS
    exact = method.options.exact_objective
    entries: list[tuple[int, float, float, float, float]] = []
    try:
        while state.epoch < epochs:
            state = method.advance(table, state)
            running = float(state.loss_sum[0]) / state.row + table.penalty(state.w)
            if not (np.isfinite(running) and np.isfinite(state.w).all()):
                stop = Stop.DIVERGED
                break
            ended = state.row == table.n
            if ended:
                at_end = table.objective(state.w) if exact else np.nan
                entries.append((state.epoch, running, at_end, method.settings.rate, perf_counter() - began))
            if callbacks:
                now = Progress(
                    state.epoch, epochs, ended, table.row_reads, running, state.w[:-1].copy(), _intercept(state.w),
                    perf_counter() - began,
                )  # fmt: skip
                answers = [callback(now) for callback in callbacks]  # each hears of each round
                if any(answers):
                    stop = Stop.CALLBACK
                    break
    except KeyboardInterrupt:
        stop = Stop.INTERRUPTED
    epoch, *numbers = np.array(entries, dtype=float).reshape(-1, 5).T.copy()
    numbers[1] = numbers[1][: len(epoch) if exact else 0]
    for array in (epoch := epoch.astype(np.int64), *numbers):
        array.flags.writeable = False
    return state, stop, History(epoch, *numbers)


def _guard(rows: Rows, loss: Loss, settings: Pass, objective: float) -> None:
    """Let no fit that is worse than predicting the mean come back in silence."""
    # The table without its columns: predicting a constant reads no X.
    constant = Dense(rows._replace(X=rows.X[:, :0]), loss, None)
    w = constant.zeros()
    w[0] = np.average(rows.y, axis=0, weights=rows.weight) if rows.weight.size > 1 else rows.y.mean(axis=0)
    from_mean = constant.objective(w)
    if objective <= from_mean:
        return
    from_zero = constant.objective(constant.zeros())
    if objective - from_mean <= 1e-9 * from_zero:  # of a response that is constant, say
        return
    found = f"the objective ended at {objective:.6g}, where predicting the mean gives {from_mean:.6g}"
    largest = _largest_stable_step(rows, loss, settings)
    if settings.rate > largest or (np.isnan(largest) and objective > from_zero):
        raise _diverged(loss, settings, found, largest)
    warnings.warn(
        f"fit: {found}: too few steps, a step too small or too large"
        f"{'' if settings.intercept else ', an intercept missing'}, or columns in need of standardising.",
        ConvergenceWarning,
        stacklevel=3,
    )


def _diverged(loss: Loss, settings: Pass, found: str, largest: float) -> Diverged:
    if np.isnan(largest):
        remedy = f"the {loss.name} loss knows no largest stable step: try a tenth of this one"
    elif largest == 0:
        remedy = "no step is stable, because the squares of X overflow: standardise the columns"
    elif settings.rate <= largest:
        remedy = f"steps to {largest:.3g} are stable in mean square, but these rows are too uneven: try a tenth of it"
    else:
        remedy = (
            f"the largest stable step for these data and batches of {settings.batch} is {largest:.3g}: "
            "go below it, or standardise the columns"
        )
    return Diverged(f"step {settings.rate:g} is too large: {found}; {remedy}.", settings.rate, largest)


def _largest_stable_step(rows: Rows, loss: Loss, settings: Pass) -> float:
    if loss != _SQUARED:
        return np.nan
    return largest_stable_step(rows.X, rows.weight, settings.batch, intercept=settings.intercept)


def _checked(
    rows: Rows, loss: Loss, penalty: Penalty | None, wanted: bool | None, settings: Pass, w: NDArray[np.float64],
    objective: float,
) -> tuple[Check | None, str]:  # fmt: skip
    """Solve in closed form where that is asked for or cheap; say why not where it is neither."""
    if wanted is False:
        return None, "not asked for (check=False)"
    if not _closed_form.exists(loss, penalty):
        return None, f"not made: the {loss.name} loss with this penalty has no closed form"
    n, d = rows.X.shape
    for amount, limit, what in (
        (2.0 * n * d * d, CHECK_OPERATIONS, "2 n d^2 = {:.2g} operations"),
        (1.0 * n * d, CHECK_CELLS, "{:.2g} cells"),
    ):
        if wanted is None and amount > limit:
            return None, f'not made: {what.format(amount)}, where check="auto" goes to {limit:.0e}; check=True makes it'
    exact = _closed_form.solve(
        rows.X, rows.y, rows.weight, _closed_form.ridge_strength(penalty), intercept=settings.intercept
    )
    return _closed_form.compare(exact, w, objective), ""


def _intercept(w: NDArray[np.float64]) -> float | NDArray[np.float64]:
    return float(w[-1]) if w.ndim == 1 else _frozen(w[-1].copy())


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array.flags.writeable = False
    return array
