"""`fit`, and the driver: the only loop, with its history, callbacks and Ctrl-C."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _closed_form, _guard, _input
from gradstep._result import Check, ConvergenceWarning, Fit, Interrupted, Progress, Stop, lengthened
from gradstep._solvers.textbook import Sgd, State, Textbook
from gradstep._table.dense import Dense, Rows, Settings
from gradstep.losses import Loss, squared
from gradstep.penalties import Penalty
from gradstep.schedules import Schedule

# The closed form costs 2 n d (d + k) operations and a float64 copy of X and y. Up to these it takes about a second at
# most, and `check="auto"` makes it.
CHECK_OPERATIONS = 2e9
CHECK_CELLS = 2e7


def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    step: float | Schedule,
    loss: Loss = squared(),
    penalty: Penalty | None = None,
    solver: str | Sgd = "sgd",
    batch_size: int = 32,
    epochs: int = 10,
    sample_weight: ArrayLike | None = None,
    intercept: bool = True,
    start: Fit | None = None,
    seed: int = 0,
    device: str | None = None,
    check: bool | str = "auto",
    callbacks: Sequence[Callable[[Progress], object]] = (),
) -> Fit:
    """Fit a linear model by minibatch stochastic gradient descent, and check it against the closed form.

    Minimises ``sum_i weight_i loss(x_i w + b, y_i) / sum_i weight_i + penalty(w)`` from ``w = 0``, ``b = 0``, by steps
    along the gradient of one batch of rows at a time.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors, finite real numbers. float32 and float64 are read where they stand, in C order; anything else is
        copied: float16 to float32, other orders and types to C-ordered float64 (or float32). Of a DataFrame the columns
        count by their position, their names and the index do not. Sums and weights are float64 throughout. Columns of
        very different size need standardising: one step serves them all.
    y : array_like, (n,) or (n, k)
        Response, or ``k`` responses fitted in one read of X, in the domain of the loss.
    step : float or Schedule
        Step size (learning rate) in units of 1 over squared units of X, positive, or a schedule of them such as
        ``gs.inverse_decay(0.1, decay=0.01)``. There is no default: the largest stable one depends on the data, and
        `Diverged` names it when this one is above.
    loss : Loss, default squared()
        The loss: `squared`, `huber`, `logistic`, `quantile`, `epsilon_insensitive`, `poisson`, or one of your own.
    penalty : Penalty, optional
        None, `l2`, `l1`, `elastic_net` or one of your own: applied by its exact proximal step after each gradient step.
        The intercept is never penalised.
    solver : str or Sgd, default "sgd"
        ``"sgd"``, or `sgd` with options: shuffling, momentum, averaging, exact objective.
    batch_size : int, default 32
        Rows of a batch; above n it means one batch. The last batch of an epoch may be smaller. 32 keeps a step cheap
        and its noise moderate; a larger one gives less noise and fewer steps.
    epochs : int, default 10
        Reads of all the data, each with steps. With ``start``, so many more.
    sample_weight : array_like (n,), optional
        Analytic weights, not negative: doubling one equals repeating the row, at the optimum. None means equal
        weights.
    intercept : bool, default True
        Whether to fit an intercept.
    start : Fit, optional
        An earlier fit of as many columns and outputs, to go on from where it stopped: coefficients, momentum, average,
        steps and epochs counted, so that a schedule goes on too. With the other arguments as they were, 10 and 10 more
        epochs equal 20 bit for bit, also where it stopped in the middle of an epoch. They may differ, and count from
        here on, from ``start.coef``; an epoch half read is then begun anew where the number of rows, batch, seed, order
        or loss is another, and momentum and average where the solver's options for them are.
        Its history, passes and seconds count in.
    seed : int, default 0
        Seed of the order of rows, not negative. Same seed, same bits, on one machine.
    device : {None, "cpu", "cuda"}, default None
        Where the rows are read. None means the CPU.
    check : {"auto", True, False}, default "auto"
        Whether to solve the squared loss in closed form too and report the distance. ``"auto"`` does so while
        ``2 n d (d + k) <= 2e9`` and ``n (d + k) <= 2e7``, about a second; the report says when it did not.
    callbacks : sequence of callable, default ()
        Each is called with a `Progress` after every call of the kernel, some 5 to 50 ms of work, and at the end of
        each epoch; one that returns something true stops the fit.

    Returns
    -------
    Fit
        Coefficients, objective, history, check and why the fit ended. Print it for a report.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used: the message names it, what came and what is needed; a schedule that gives no
        positive size at some step is refused there, and a formula that Numba cannot compile when it is.
    Diverged
        If the objective became infinite or ended well above where it started.
    Interrupted
        On Ctrl-C, with the fit as it stood: within 0.2 s between calls of the kernel; after it where a kernel is being
        compiled or the closed form solved, about a second.
    RuntimeError
        If ``device="cuda"`` and there is no usable device.

    Warns
    -----
    ConvergenceWarning
        If the fit is worse than predicting the mean, in any output; for other losses than squared, than the best
        constant.

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
    rows = _input.rows(X, y, sample_weight, loss)
    earlier = _input.start(start, rows.X.shape[1], rows.y.shape[1:], intercept=intercept)
    table = Dense(rows, loss, penalty, device)
    if start is not None:
        began -= start.seconds
        table.row_reads = start.row_reads
    settings = Settings(min(batch_size, table.n), intercept, options.momentum, options.nesterov, options.average)
    method = Textbook(options, step, settings, seed, loss)
    state = method.start(table, earlier)
    _input.ends(step, state.step, state.step + method.steps(table, state, epochs) - 1)
    state, stop, entries = _drive(method, state, table, epochs, functions, began)
    w = state.w

    objective, checked, note, concern = np.nan, None, "", ""
    try:
        if stop is Stop.DIVERGED:
            # The epoch that was running: `state.epoch` counts it already if it ended with this round.
            found = f"the objective became infinite in epoch {state.epoch + (state.row < table.n)}"
            raise _guard.diverged(rows, loss, settings, state.largest_rate, found)
        if stop is not Stop.INTERRUPTED:
            losses = table.gradient(w)[0]
            objective = float(losses.sum()) + table.penalty(w)
            checked, note = _checked(rows, loss, penalty, wanted, settings, w, objective)
            concern = _guard.worse_than_mean(rows, loss, settings, state.largest_rate, losses, objective, checked)
            if concern:
                warnings.warn(f"fit: {concern}", ConvergenceWarning, stacklevel=2)
    except KeyboardInterrupt:
        stop = Stop.INTERRUPTED
    result = Fit(
        coef=_frozen(w[:-1].copy()), intercept=_intercept(w), objective=objective, stop=stop,
        history=lengthened(start.history if start else None, entries),
        check=checked, check_note=note or ("" if checked else "not made: the fit was interrupted"), loss=loss,
        penalty=penalty, solver=options, step=step, batch_size=settings.batch, seed=seed, device=device, rows=table.n,
        row_reads=table.row_reads, concern=concern, seconds=perf_counter() - began, state=state.kept(),
    )  # fmt: skip
    if stop is Stop.INTERRUPTED:
        raise Interrupted(result)
    return result


def _drive(
    method: Textbook, state: State, table: Dense, epochs: int, callbacks: Sequence[Callable[[Progress], object]],
    began: float,
) -> tuple[State, Stop, list[tuple[int, float, float, float, float]]]:  # fmt: skip
    """Run rounds until the epochs are done, a callback or Ctrl-C ends them, or the numbers leave the finite ones."""
    stop, before, epochs = Stop.EPOCHS, state.epoch, state.epoch + epochs
    entries: list[tuple[int, float, float, float, float]] = []

    def record(at_end: float) -> None:
        """Enter the epoch that has ended, once."""
        if state.epoch - before > len(entries):
            running = state.running + table.penalty(state.w)
            entries.append((state.epoch, running, at_end, state.rate, perf_counter() - began))

    try:
        while state.epoch < epochs:
            state = method.advance(table, state)
            ended = state.row == table.n
            running = state.running
            if ended or callbacks:
                running += table.penalty(state.w)
            if not (math.isfinite(running) and np.isfinite(state.w).all()):
                stop = Stop.DIVERGED
                break
            if ended:
                record(table.objective(state.w) if method.options.exact_objective else np.nan)
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
        record(np.nan)
    return state, stop, entries


def _checked(
    rows: Rows, loss: Loss, penalty: Penalty | None, wanted: bool | None, settings: Settings, w: NDArray[np.float64],
    objective: float,
) -> tuple[Check | None, str]:  # fmt: skip
    """Solve in closed form where that is asked for or cheap; say why not where it is neither."""
    if wanted is False:
        return None, "not asked for (check=False)"
    if not _closed_form.exists(loss, penalty):
        with_penalty = f" with the penalty {penalty.name}" if penalty else ""
        return None, f"not made: the {loss.name} loss{with_penalty} has no closed form"
    n, d = rows.X.shape
    k = rows.y.size // n
    for amount, limit, what in (
        (2.0 * n * d * (d + k), CHECK_OPERATIONS, "2 n d (d + k) = {:.2g} operations"),
        (1.0 * n * (d + k), CHECK_CELLS, "{:.2g} cells"),
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
