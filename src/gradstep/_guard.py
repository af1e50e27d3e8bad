"""What lets no bad fit come back in silence: divergence told from noise, and the largest stable step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from gradstep._device import home
from gradstep._result import Check, Diverged
from gradstep._table.dense import Dense
from gradstep._table.terms import Rows, Settings
from gradstep.losses import Loss, squared


def worse_than_mean(
    rows: Rows, loss: Loss, settings: Settings, rate: float, losses: NDArray[np.float64], objective: float,
    checked: Check | None,
) -> str:  # fmt: skip
    """Say in which output a fit is worse than predicting the mean and why; nothing where it is in none.

    A fit that ended above where it started is raised as `Diverged`, if its step is above the largest stable one or its
    objective has doubled.
    """
    responses = _without_columns(rows)
    constant = Dense(responses, loss, None)
    from_mean = constant.gradient(_best_constants(responses, loss))[0]
    if np.all(losses <= from_mean):
        return ""
    from_zero = constant.gradient(constant.zeros())[0]
    excess = losses - from_mean
    # Rounding: of the losses, and of the squares of a response far from zero.
    if np.all(excess <= 1e-9 * np.abs(from_mean) + 1e-24 * np.abs(from_zero)):
        return ""
    c = int(excess.argmax())
    output = f" of output {c}" if len(losses) > 1 else ""
    constant_is = "the mean" if loss == squared() else "the best constant"
    found = f"the loss{output} ended at {losses[c]:.6g}, where predicting {constant_is} gives {from_mean[c]:.6g}"
    largest = _largest_stable_step(rows, loss, settings)
    # Where the best answer is hardly better than zero, the noise of stable steps ends above it as well.
    above = objective - float(from_zero.sum())
    if above > 0 and (rate > largest or above > abs(from_zero.sum())):
        raise diverged(rows, loss, settings, rate, found)
    if checked is not None and checked.agrees:
        reason = "it agrees with the closed form, so that no other coefficients do better"
        reason += "" if settings.intercept else " without an intercept"
    elif rate > largest:
        reason = f"step {rate:g} is above {largest:.3g}, the largest stable one"
    else:
        reason = "too few steps, a step too small or too large, or columns in need of standardising"
        reason += "" if settings.intercept else "; and no intercept is fitted"
    return f"{found}: {reason}."


def _without_columns(rows: Rows) -> Rows:
    """Return the table without its columns, on the host: predicting a constant reads no X."""
    return rows._replace(X=np.empty((int(rows.X.shape[0]), 0)), y=home(rows.y))


def _best_constants(rows: Rows, loss: Loss) -> NDArray[np.float64]:
    """Return the weights of a table without columns that predict best: of the squared loss, the mean."""
    mean = np.average(rows.y, axis=0, weights=rows.weight) if rows.weight.size > 1 else rows.y.mean(axis=0)
    w = np.array([mean])
    if loss == squared():
        return w
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - slow to import, and not for the squared loss

    for c, response in enumerate(rows.y.reshape(len(rows.y), -1).T):
        few = Dense(_few_rows(response, rows.weight), loss, None)

        def cost(score: float, few: Dense = few) -> float:
            return float(few.gradient(np.array([score]))[0][0])

        with np.errstate(over="ignore", invalid="ignore"), suppress(RuntimeError):  # where there is no least cost
            best = minimize_scalar(cost)
            if best.fun < cost(w.flat[c]):
                w.flat[c] = best.x
    return w


_FEW_ROWS = 1000


def _few_rows(response: NDArray[np.float64], weight: NDArray[np.float64]) -> Rows:
    """Return a table without columns, as good as all rows for a constant: each label once, else a random thousand."""
    v = np.broadcast_to(weight, response.shape)
    whole = np.abs(response[:_FEW_ROWS]).max() < _FEW_ROWS and np.all(response == np.floor(response))
    if whole and response.min() >= 0 and response.max() < _FEW_ROWS:
        total = np.bincount(response.astype(np.int64), v)
        values = np.flatnonzero(total).astype(np.float64)
        response, v = values, total[total != 0]
    elif len(response) > _FEW_ROWS:
        some = np.random.default_rng(0).integers(0, len(response), _FEW_ROWS)
        response, v = response[some], v[some]
    v = v / v.mean() if v.any() else np.ones(1)
    return Rows(np.empty((len(response), 0)), response, np.ascontiguousarray(v))


def diverged(rows: Rows, loss: Loss, settings: Settings, rate: float, found: str) -> Diverged:
    """Return the exception of a step too large: what was found, and the largest stable step."""
    largest = _largest_stable_step(rows, loss, settings)
    responses = _without_columns(rows)
    with np.errstate(over="ignore"):
        too_large = not np.isfinite(np.square(responses.y).sum())
    at_zero = Dense(responses, loss, None)
    if not np.isfinite(at_zero.gradient(at_zero.zeros())[0]).all() and not too_large:
        remedy = f"the {loss.name} loss is not finite at scores of 0, where a fit begins: no step helps"
    elif np.isnan(largest):
        known_for = "the squared loss alone, not for" if loss != squared() else "steps without momentum alone, not for"
        other = loss.name if loss != squared() else f"momentum {settings.momentum:g}"
        remedy = f"the largest stable step is known for {known_for} {other}: try a tenth of it"
    elif largest == 0:
        remedy = "no step is stable, because the squares of X overflow: standardise the columns"
    elif too_large:
        remedy = "no step helps, because the squares of y overflow: divide y by its standard deviation"
    elif rate <= largest:
        remedy = (
            f"steps to {largest:.3g} are stable in mean square for rows in random order, but these rows, or the "
            "batches that they stand in, are too uneven for this one: try a tenth of it"
        )
        remedy += "" if settings.intercept else ", or fit an intercept"
    else:
        remedy = (
            f"the largest stable step for these data and batches of {settings.batch} is {largest:.3g}: "
            "go below it, or standardise the columns"
        )
    return Diverged(f"step {rate:g} is too large: {found}; {remedy}.", rate, largest)


def _largest_stable_step(rows: Rows, loss: Loss, settings: Settings) -> float:
    if loss != squared() or settings.momentum > 0:
        return np.nan
    return largest_stable_step(home(rows.X), rows.weight, settings.batch, intercept=settings.intercept)


_MOST_COLUMNS_OF_MOMENTS = 2000  # the matrices of moments cost n d^2 operations and two d x d arrays


def largest_stable_step(X: NDArray[np.floating], weight: NDArray[np.float64], batch: int, *, intercept: bool) -> float:
    """Return the largest step with which minibatch SGD on the squared loss is stable, in mean square.

    With ``u`` a row, a one appended for the intercept, times the root of its weight, ``H = E[u u']``, ``lambda`` its
    largest eigenvalue and ``R2`` the smallest number with ``E[|u|^2 u u'] <= R2 H``, it is
    ``2 b / (R2 + (b - 1) lambda)`` for rows drawn with replacement: Jain, Kakade, Kidambi, Netrapalli and Sidford,
    Parallelizing stochastic gradient descent for least squares regression, *JMLR* 18 (2018), section 3. Where the last
    batch of an epoch is smaller, it counts. A batch of all rows is gradient descent: ``2 / lambda``. Steps somewhat
    above can do too, where rows are few or a penalty helps. Beyond 2,000 columns the largest row stands in for ``R2``,
    on the safe side. 0 means that the moments overflow.
    """
    n, d = X.shape
    size = d + intercept
    root = np.sqrt(np.broadcast_to(weight, (n,)) if weight.size == 1 else weight)[:, np.newaxis]
    block = max(1, (1 << 22) // size)
    # A power of two, so that fourth powers of small and large units neither vanish nor overflow.
    largest = max(float(X.max()), -float(X.min()), float(intercept))
    unit = 2.0 ** -np.clip(np.round(np.log2(largest)), -1000, 1000) if largest > 0 else 1.0

    def blocks() -> Iterator[NDArray[np.float64]]:
        for first in range(0, n, block):
            u = np.asarray(X[first : first + block], dtype=np.float64)
            if intercept:
                u = np.column_stack((u, np.ones(len(u))))
            yield u * unit * root[first : first + block]

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        top, r2 = _moments(blocks, n, size) if size <= _MOST_COLUMNS_OF_MOMENTS else _bounds(blocks, n, size)
        if top <= 0.0:
            return np.inf
        batches = {batch, n % batch} - {0} if batch < n else set()
        stable = min((2.0 * b / (r2 + (b - 1) * top) for b in batches), default=2.0 / top) * unit * unit
    return float(stable) if np.isfinite(stable) else 0.0


Blocks = Callable[[], Iterator[NDArray[np.float64]]]


def _moments(blocks: Blocks, n: int, size: int) -> tuple[float, float]:
    """Return lambda and R2 from the matrices of second and fourth moments."""
    second, fourth = np.zeros((size, size)), np.zeros((size, size))
    for u in blocks():
        second += u.T @ u
        fourth += (u * np.einsum("ij,ij->i", u, u)[:, np.newaxis]).T @ u
    if not np.isfinite(fourth).all():
        return np.inf, np.inf
    values, vectors = np.linalg.eigh(second / n)
    kept = values > values[-1] * size * np.finfo(np.float64).eps
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    r2 = float(np.linalg.eigvalsh(whiten.T @ (fourth / n) @ whiten)[-1]) if kept.any() else 0.0
    return float(values[-1]), r2


def _bounds(blocks: Blocks, n: int, size: int) -> tuple[float, float]:
    """Return lambda by Lanczos's method, which forms no matrix, and the largest row for R2."""
    from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: PLC0415 - for a failing fit only

    largest_row = max(float(np.einsum("ij,ij->i", u, u).max()) for u in blocks())
    if not np.isfinite(largest_row):
        return np.inf, np.inf

    def times(v: NDArray[np.float64]) -> NDArray[np.float64]:
        product = np.zeros(size)
        for u in blocks():
            product += u.T @ (u @ v.ravel())
        return product / n

    second = LinearOperator((size, size), matvec=times, dtype=np.float64)
    top = eigsh(second, k=1, which="LA", v0=np.ones(size), tol=1e-3, return_eigenvectors=False)[0]
    return float(top), largest_row
