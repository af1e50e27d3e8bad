"""`fit`: from what the caller passes to a `Fit`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _blas, _break_even, _closed_form, _cost, _general, _guard, _input, _report
from gradstep._closed_form import ClosedForm
from gradstep._device import home, on_cuda
from gradstep._driver import Certifying, Limits, Run, drive, intercept_of
from gradstep._input import Steps
from gradstep._kernels.first_call import spent
from gradstep._numbers import frozen, real
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
from gradstep._solvers.cg import Cg
from gradstep._solvers.exact import CLOSELY, Exact
from gradstep._solvers.sgd import Minibatch
from gradstep._solvers.textbook import Sgd, State, Textbook
from gradstep._table.devices import table_on
from gradstep._table.table import Table
from gradstep._table.terms import Rows, Settings
from gradstep.losses import Loss, squared
from gradstep.penalties import Penalty
from gradstep.schedules import Schedule

# The closed form costs 2 n d (d + k) operations and a float64 copy of X and y. Up to these it takes about a second at
# most, and `check="auto"` makes it.
CHECK_OPERATIONS = 2e9
CHECK_CELLS = 2e7

_SQUARED = squared()
_EPS = float(np.finfo(np.float64).eps)


def fit(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: Loss = squared(),
    penalty: Penalty | None = None,
    solver: str | Sgd = "sgd",
    step: float | Schedule | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    tol: float | None = None,
    max_passes: int | None = None,
    sample_weight: ArrayLike | None = None,
    intercept: bool = True,
    start: Fit | None = None,
    seed: int = 0,
    device: str | None = None,
    check: bool | str = "auto",
    callbacks: Sequence[Callable[[Progress], object]] = (),
) -> Fit:
    """Fit a linear model by minibatch stochastic gradient descent, certify it, and check it by other code.

    Minimises ``sum_i weight_i loss(x_i w + b, y_i) / sum_i weight_i + penalty(w)``. There is nothing to choose: raw
    columns of any units, offsets and dependence go in, and the fit carries a certificate of how far it is from the
    exact coefficients. With a ``step`` the method is that of the textbooks: from ``w = 0``, ``b = 0``, steps along the
    gradient of one batch of rows at a time.

    Parameters
    ----------
    X : array_like or device array, (n, d)
        Predictors, finite real numbers. float32 and float64 are read where they stand, in C order; anything else is
        copied: float16 to float32, other orders and types to C-ordered float64 (or float32). Of a DataFrame the columns
        count by their position, their names and the index do not. Sums and weights are float64 throughout. For the
        textbook method columns of very different size need standardising: one step serves them all.
    y : array_like, (n,) or (n, k)
        Response, or ``k`` responses, in the domain of the loss: fitted in one read of X where the loss is squared.
    loss : Loss, default squared()
        The loss: `squared`, `huber`, `logistic`, `quantile`, `epsilon_insensitive`, `poisson`, or one of your own.
    penalty : Penalty, optional
        None, `l2`, `l1` or `elastic_net`, with `quantile` and `epsilon_insensitive` the first or third of them; with a
        ``step`` any, also one of your own. The intercept is never penalised.
    solver : {"sgd", "cg", "exact", "auto"} or Sgd, default "sgd"
        ``"sgd"`` without a ``step``: minibatch SGD in the coordinates of a sketch's triangular factor, with variance
        reduction and averaging: five passes over the rows of most tables, of any condition. ``"cg"``: conjugate
        gradients in the same coordinates, some ten passes of which most are cheaper. ``"exact"``: a streamed Gram
        matrix, refined in double-double arithmetic, to 1e-6 standard errors whatever ``tol`` allows, or as near as
        float64 can be (``certificate.floor``), in two or three passes; quick up to a hundred columns or so. ``"auto"``:
        the cheapest of the three by a cost model, which is printed, to ``tol``, which a Gram matrix of well-conditioned
        columns proves in its one pass; on a GPU ``"sgd"``. For losses without a closed form
        each round is a step of Newton's, taken by an epoch of such SGD, or by ``"cg"``, on the rows weighted by their
        curvatures, with l1 to the minimum of the sketch's model; kinks are smoothed, and the fit ends at the vertex of
        the linear programme of the rows near it; ``"auto"`` is then ``"sgd"``. Of columns that depend on each
        other all take the coefficients of least norm, in columns divided by their root-mean-square. With a ``step``,
        ``"sgd"`` or `sgd` with options is the textbook method: shuffling, momentum, averaging, exact objective.
    step : float or Schedule, optional
        Step size (learning rate) of the textbook method, which only it selects: in units of 1 over squared units of X,
        positive, or a schedule of them such as ``gs.inverse_decay(0.1, decay=0.01)``. The largest stable one depends on
        the data, and `Diverged` names it when this one is above.
    batch_size : int, optional
        Rows of a batch; above n it means one batch. By default sixteen a column and at least 1,024, so
        that a step's own work is small beside its batch; of a large table on the CPU up to as many as make chunks of
        16 KB, one a column and at least sixteen, so that memory is read in order: fewer where less than sixteen lanes
        were left. At most a sixteenth of the rows, so that an epoch has steps enough, but at least four a column. A
        table no larger than its sketch is one batch in any case. With a ``step`` 32, which keeps a step cheap and its
        noise moderate; the last batch of an epoch may be smaller.
    epochs : int, optional
        With a ``step``, reads of all the data, each with steps; 10 unless given. With ``start``, so many more.
    tol : float, optional
        Without a ``step``, how near the optimum the fit has to be certified, in standard errors: no linear combination
        of the coefficients further from the exact one than that many of its own. 0.01 unless given: then the mean
        squared error of none grows by more than 1e-4. With 0, and for at most 20,000 cells or n <= d in any case, as
        near as float64 can be, which may take a larger ``max_passes``.
    max_passes : int, optional
        Without a ``step``, passes over the rows: a round that would take it beyond is not begun. The first round is, in
        any case; it takes one to three passes, five of ``solver="exact"`` on ill-conditioned columns, up to six where a
        sample of rows misjudges the units or ``start`` is far away, and nine of quantiles. 20 unless given, 40 with
        l1, 60 for `quantile` and `epsilon_insensitive`, for each output or level of those, which are fitted one after
        the other.
    sample_weight : array_like (n,), optional
        Analytic weights, not negative: doubling one equals repeating the row, at the optimum. None means equal
        weights.
    intercept : bool, default True
        Whether to fit an intercept.
    start : Fit, optional
        An earlier fit of as many columns and outputs, by any solver, to begin at its coefficients: at the optimum two
        passes prove it. Not for ``"exact"``, which begins anew. With a ``step``, an earlier fit by steps, to go on from
        where it stopped: coefficients, momentum, average, steps and epochs counted, so that a schedule goes on too.
        With the other arguments as they were, 10 and 10 more epochs equal 20 bit for bit, also where it stopped in the
        middle of an epoch. They may differ, and count from here on, from ``start.coef``; an epoch half read is then
        begun anew where the number of rows, batch, seed, order or loss is another, and momentum and average where the
        solver's options for them are. Its history, passes and seconds count in; those of a fit without a step do not.
    seed : int, default 0
        Seed of the order of rows, of the sketch and of the rows sampled, not negative. Same seed, same bits, on one
        machine, for any number of threads; ``"auto"`` may take another solver with another number of them.
    device : {None, "cpu", "cuda", "auto"}, default None
        Where the rows are read. None goes where X lies: the CPU for host arrays, the GPU for those of CuPy, PyTorch,
        JAX or Numba on one, which are used in place if they are float32 or float64 in C order. ``"cuda"`` copies host
        arrays there first. ``"auto"`` takes the device on which the fit takes less time, by a model of both that the
        report prints. What comes back are NumPy arrays. Losses without a closed form run there with a ``step`` alone.
    check : {"auto", True, False}, default "auto"
        Whether to solve the squared loss in closed form too and report the distance. ``"auto"`` does so while
        ``2 n d (d + k) <= 2e9`` and ``n (d + k) <= 2e7``, about a second; the report says when it did not. Fits of
        other losses without a step are compared with SciPy's optimum, which takes about a second at most too.
    callbacks : sequence of callable, default ()
        Each is called with a `Progress` after each round, of which there are few, with the bound that it reached. With
        a ``step``, after every call of the kernel, some 5 to 50 ms of work, and at the end of each epoch. One that
        returns something true stops the fit; what one raises is the caller's.

    Returns
    -------
    Fit
        Coefficients, objective, certificate, history, check and why the fit ended. Print it for a report.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used: the message names it, what came and what is needed; a schedule that gives no
        positive size at some step is refused there, and a formula that Numba cannot compile when it is. Also if
        float64 cannot hold the exact coefficients.
    Diverged
        If the objective became infinite or ended well above where it started.
    Interrupted
        On Ctrl-C, with the fit as it stood: within 0.2 s between calls of the kernel (of several hundred columns
        longer); after it where a kernel is being compiled, a matrix factorised or the closed form solved, about a
        second, of a thousand columns and more up to several. While arguments are looked at, a `KeyboardInterrupt`.
    RuntimeError
        If ``device="cuda"`` and there is no usable device, or this process was forked after CUDA was started.
    MemoryError
        If the GPU has no room for the rows.

    Warns
    -----
    ConvergenceWarning
        If a fit is certified less closely than ``tol`` asks, and not for the rounding of float64. If one with a
        ``step`` is worse than predicting the mean, in any output; for other losses than squared, than the best
        constant.
    DisagreementWarning
        If a certified fit and the check are further apart than the certificate and rounding allow.

    Notes
    -----
    Labels and counts without an optimum end as `Stop.SEPARABLE`, with a ConvergenceWarning that names the direction.

    References
    ----------
    L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
    (2018) 223-311, section 4. A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge
    2023, section 3.1, has the example. A. J. Higgins, D. B. Szyld, E. G. Boman and I. Yamazaki, Analysis of randomized
    Householder-Cholesky QR factorization with multisketching, 2023 (arXiv 2309.05868), for the exact solver. R. Johnson
    and T. Zhang, Accelerating stochastic gradient descent using predictive variance reduction, *NIPS* 2013, and A.
    Gonen, F. Orabona and S. Shalev-Shwartz, Solving ridge regression using sketched preconditioned SVRG, *ICML* 2016,
    for the default. V. Rokhlin and M. Tygert, A fast randomized algorithm for overdetermined linear least-squares
    regression, *PNAS* 105 (2008) 13212-13217, for conjugate gradients.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
    >>> fit = gs.fit(X, y)
    >>> fit.coef.round(1), round(fit.intercept, 1)
    (array([ 2. , -3.4]), 4.2)
    >>> fit.stop.name, fit.certificate.bound < 1e-9
    ('CERTIFIED', True)
    >>> median = gs.fit(X, y, loss=gs.quantile(0.5))
    >>> median.coef.round(1), median.certificate.kind
    (array([ 2. , -3.4]), 'exact')
    >>> gs.fit(X, y, step=0.03, batch_size=10, epochs=3).stop.name
    'EPOCHS'
    """
    began, compiled = perf_counter(), spent()
    # Numbers first: they are cheaper to look at than the data.
    loss = _input.loss(loss)
    penalty = _input.penalty(penalty)
    options, steps = _input.steps(
        _input.solver(solver), step, batch_size, epochs, {"tol": tol, "max_passes": max_passes}
    )
    most = _general.most_passes(loss, penalty) if max_passes is None else _input.whole("max_passes", max_passes, 1)
    limits = Limits(steps.epochs, 0.01 if tol is None else real("tol", tol, least=0.0), min(most, 1 << 53))
    intercept = _input.flag("intercept", intercept)
    seed = _input.whole("seed", seed, 0)
    device = _input.device(device, X, auto=True)
    wanted = _input.check(check)
    functions = _input.callbacks(callbacks)
    general = not _closed_form.exists(loss, penalty)
    if general:
        options, device = _input.without_closed_form(options, device, wanted, loss, penalty)
    unseen = not general and isinstance(options, str) and device == "cpu" and sample_weight is None
    rows = _input.rows(X, y, sample_weight, loss, device, look=not unseen)
    device, where = _placed(device, rows, options, steps, limits.tol, intercept=intercept)
    earlier = _input.start(start, int(rows.X.shape[1]), tuple(rows.y.shape[1:]), options, intercept=intercept)
    if general and isinstance(options, str):
        assert not isinstance(earlier, State)  # noqa: S101 - which is of steps
        return _general.fitted(
            rows, loss, penalty, options, steps, limits, seed, earlier, functions, wanted, began, intercept=intercept
        )
    table = table_on(device, rows, loss, penalty)
    table.unseen = partial(_input.finite, "X", rows.X) if unseen else None
    options, cost = _cost.chosen(options, table, limits.tol, intercept=intercept, warm=start is not None)
    cost = "; ".join(filter(None, (where, cost)))
    method = _method(options, steps, table, loss, penalty, limits, seed, intercept=intercept, closely=solver != "auto")
    if start is not None and isinstance(method, Textbook):  # its steps go on
        began -= start.seconds
        compiled -= start.compile_seconds
        table.row_reads = start.row_reads
    with _blas.at_most(None if isinstance(method, Textbook) else 1), _looked_at_where_it_fails(table):
        run = drive(method, table, earlier, limits, functions, began)
    found, stop = _Judgement(), run.stop or Stop.INTERRUPTED
    try:
        if stop is not Stop.INTERRUPTED:
            found.judge(run, method, table, rows, loss, penalty, wanted)
        elif run.certificate is not None:
            found.objective = run.state.running
    except KeyboardInterrupt:
        stop = Stop.INTERRUPTED
    w = run.w
    before = start.history if start is not None and isinstance(method, Textbook) else None
    result = Fit(
        coef=frozen(w[:-1].copy()), intercept=intercept_of(w), objective=found.objective, r2=found.r2, stop=stop,
        history=lengthened(before, run.entries), certificate=run.certificate,
        check=found.check, check_note=found.check_note, loss=loss, penalty=penalty, solver=options, step=steps.step,
        batch_size=_batch(method, table), seed=seed, device=device, cost=cost,
        rows=table.n, passes=table.passes, row_reads=table.row_reads, concern=found.concern,
        seconds=perf_counter() - began, factor=run.factor, log_weights=_input.log_weights(rows.weight),
        state=run.state.kept() if run.state is not None else None, compile_seconds=spent() - compiled,
    )  # fmt: skip
    if stop is Stop.INTERRUPTED:
        raise Interrupted(result)
    return result


@contextmanager
def _looked_at_where_it_fails(table: Table) -> Iterator[None]:
    """Say that entries are not finite, where they are not, in place of what they lead to.

    Solvers that certify read all rows in any case, and what is not finite shows in what they find.
    """
    try:
        yield
    except Exception:
        table.refuse_unless_finite()
        raise


@dataclass
class _Judgement:
    """What is said of a fit when its solver has ended; as far as it came, where Ctrl-C ended it."""

    objective: float = np.nan
    r2: float | NDArray[np.float64] = np.nan
    check: Check | None = None
    check_note: str = "not made: the fit was interrupted"
    concern: str = ""

    def judge(
        self, run: Run, method: Textbook | Certifying, table: Table, rows: Rows, loss: Loss, penalty: Penalty | None,
        wanted: bool | None,
    ) -> None:  # fmt: skip
        """Look at objective, check and what a user has to be warned of; raise `Diverged` for a fit that did."""
        state, w = run.state, run.w
        if isinstance(method, Textbook):
            if run.stop is Stop.DIVERGED:
                # The epoch that was running: `state.epoch` counts it already if it ended with this round.
                found = f"the objective became infinite in epoch {state.epoch + (state.row < table.n)}"
                raise _guard.diverged(rows, loss, method.settings, state.largest_rate, found)
            intercept = method.settings.intercept
            losses = table.gradient(w)[0]
            self.objective = float(losses.sum()) + table.penalty(w)
            unit = np.ones(len(losses))
        else:
            intercept, self.objective = state.preconditioner.intercept, state.running
            losses, unit = state.scaled_losses, state.preconditioner.units.y_scale
        if loss == _SQUARED:
            self.r2 = _r2(table, losses, unit, intercept=intercept)
        exact, self.check_note = _closed_form_of(rows, loss, penalty, wanted, intercept=intercept)
        if exact is not None:
            self.check = _closed_form.compare(exact, w, self.objective)
        if isinstance(method, Textbook):
            concerns = [
                _guard.worse_than_mean(
                    rows, loss, method.settings, state.largest_rate, losses, self.objective, self.check
                )
            ]
        else:
            concerns = [run.shortfall(), _disagreement(run, self.check, exact)]
        self.concern = " ".join(filter(None, concerns))
        for concern, category in zip(concerns, (ConvergenceWarning, DisagreementWarning), strict=False):
            if concern:
                warnings.warn(f"fit: {concern}", category, stacklevel=3)


def _placed(
    device: str, rows: Rows, options: Sgd | str, steps: Steps, tol: float, *, intercept: bool
) -> tuple[str, str]:
    """Return the device that "auto" stands for, and why."""
    if device != "auto":
        return device, ""
    if on_cuda(rows.X):
        return "cuda", ""
    n, d = rows.X.shape
    shape = _break_even.Shape(n, d, rows.y.size // n, rows.X.dtype.itemsize)
    return _break_even.device_for(shape, options, steps.epochs, steps.batch_size or n, tol, intercept=intercept)


def _method(
    options: Sgd | str, steps: Steps, table: Table, loss: Loss, penalty: Penalty | None, limits: Limits, seed: int, *,
    intercept: bool, closely: bool,
) -> Textbook | Certifying:  # fmt: skip
    """Return the solver that options name, with what it is told; the exact one goes to 1e-6 where `closely`."""
    if isinstance(options, Sgd):
        assert steps.step is not None  # noqa: S101 - the gate has seen to both
        assert steps.batch_size is not None  # noqa: S101
        batch = min(steps.batch_size, table.n)
        settings = Settings(batch, intercept, options.momentum, options.nesterov, options.average)
        return Textbook(options, steps.step, settings, seed, loss)
    _input.weights_together(table.weight)
    alpha = _closed_form.ridge_strength(penalty)
    if options == "exact":
        return Exact(alpha, intercept, seed, min(limits.tol, CLOSELY) if closely else limits.tol, closely)
    if options == "cg":
        return Cg(alpha, intercept, seed, limits.tol, limits.max_passes)
    return Minibatch(alpha, intercept, seed, limits.tol, limits.max_passes, steps.batch_size)


def _batch(method: Textbook | Certifying, table: Table) -> int | None:
    if isinstance(method, Textbook):
        return method.settings.batch
    return method.batch(table) if isinstance(method, Minibatch) else None


def _closed_form_of(
    rows: Rows, loss: Loss, penalty: Penalty | None, wanted: bool | None, *, intercept: bool
) -> tuple[ClosedForm | None, str]:
    """Solve in closed form where that is asked for or cheap; say why not where it is neither."""
    if wanted is False:
        return None, "not asked for (check=False)"
    if not _closed_form.exists(loss, penalty):
        with_penalty = f" with the penalty {penalty.name}" if penalty else ""
        return None, f"not made: the {loss.name} loss{with_penalty} has no closed form"
    n, d = map(int, rows.X.shape)
    k = int(rows.y.shape[1]) if len(rows.y.shape) == 2 else 1
    for amount, limit, what in (
        (2.0 * n * d * (d + k), CHECK_OPERATIONS, "2 n d (d + k) = {:.2g} operations"),
        (1.0 * n * (d + k), CHECK_CELLS, "{:.2g} cells"),
    ):
        if wanted is None and amount > limit:
            return None, f'not made: {what.format(amount)}, where check="auto" goes to {limit:.0e}; check=True makes it'
    alpha = _closed_form.ridge_strength(penalty)
    return _closed_form.solve(home(rows.X), home(rows.y), rows.weight, alpha, intercept=intercept), ""


def _disagreement(run: Run, checked: Check | None, closed_form: ClosedForm | None) -> str:
    """Say that fit and check are further apart than both can be by rounding, and which of them is nearer the optimum.

    The certificate decides, taken at the coefficients of the closed form too.
    """
    ours = run.certificate
    if checked is None or closed_form is None or checked.agrees or ours is None:
        return ""
    measure, distance, known = _report.apart(checked, ours)
    unit = "standard errors" if measure == "bound" else "of the fitted values"
    apart = f"it is {distance:.2g} {unit} from the closed form, more than rounding explains."
    if ours.rank != checked.rank:
        return f"{apart} They cut the rank differently, at {ours.rank} and {checked.rank}: it is a matter of the cut."
    if distance <= known:  # the fit said itself that it may be so far
        return ""
    theirs = run.certificate_at(closed_form.coef, closed_form.intercept)
    mine, other = getattr(ours, measure), getattr(theirs, measure)
    supported = "the fit" if mine < other else "the closed form"
    return (
        f"{apart} The {ours.kind} certificate puts the fit within {mine:.2g} and the closed form within {other:.2g} of "
        f"the optimum: it supports {supported}."
    )


def _r2(
    table: Table, losses: NDArray[np.float64], unit: NDArray[np.float64], *, intercept: bool
) -> float | NDArray[np.float64]:
    """Return the share of the responses' squares, about their mean with an intercept, that the fit explains.

    `losses` are those of responses times `unit`.
    """
    whole, mean = table.response_squares(unit, intercept=intercept)
    varies = whole > np.square(4 * _EPS * mean)
    shares = 1 - np.divide(2 * losses, whole, out=np.full(len(losses), np.nan), where=varies)
    return frozen(shares) if table.outputs else float(shares[0])
