"""Optima by SciPy, for checking a fit of any loss: Newton's method or a linear programme. No code of the solvers' here.

`solve` reads the rows many times and holds copies of them in float64: it is for tables that leave time for that, which
`cost` tells.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.linalg.blas
import scipy.optimize
from numpy.typing import NDArray

from gradstep._closed_form import _standardised
from gradstep._kernels.cpu import each_kernel
from gradstep.losses import Loss, epsilon_insensitive, huber, quantile
from gradstep.penalties import Penalty, is_known, strengths

Floats = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_HUGE = 1e300  # for what overflows: still a number, and so large that no step leads there
_QUANTILE, _TUBE = quantile(0.5).value, epsilon_insensitive(0.0).value
_HUBER = huber(1.0).value


class Outside(NamedTuple):
    """What SciPy found."""

    coef: Floats
    """(d,) coefficients in the caller's units."""
    intercept: float
    objective: float
    """The objective there, as the caller would compute it, but for rounding."""


def solve(
    X: NDArray[np.floating], y: Floats, weight: Floats, loss: Loss, penalty: Penalty | None, *, intercept: bool
) -> Outside:
    """Minimise ``sum_i weight_i loss(x_i w + b, y_i) / sum_i weight_i + penalty(w)`` for input that passed the gate.

    ``X`` is (n, d), ``y`` (n,) and ``weight`` (n,) or a single 1. Losses with curvature are minimised by a trust region
    and Newton's steps on whitened columns, with an l1 part by Newton's steps whose quadratic models are minimised
    exactly; `quantile` and `epsilon_insensitive` by a linear programme. Where there is no minimum, as of the logistic
    loss on classes that a plane separates, it returns the point where it gave up.

    Raises
    ------
    NotImplementedError
        For what `cost` calls infinitely dear.

    References
    ----------
    J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd edition, Springer 2006, chapters 4 and 16. H. Lee,
    A. Battle, R. Raina and A. Y. Ng, Efficient sparse coding algorithms, *NIPS* 2006 (the search over signs).
    R. Koenker and G. Bassett, Regression quantiles, *Econometrica* 46 (1978) 33-50.
    """
    if np.isinf(cost(X.shape[0], X.shape[1], loss, penalty)):
        raise NotImplementedError(f"{loss} with the penalty {penalty}: nothing in SciPy minimises it to rounding.")
    if weight.size > 1 and not weight.all():  # a row of weight zero is no row, whatever stands in it
        present = weight > 0
        X, y, weight = X[present], y[present], weight[present]
    share = np.full(len(y), 1.0 / len(y)) if weight.size == 1 else weight / weight.sum()
    rows = _Rows(loss, np.ascontiguousarray(y, dtype=np.float64), share)
    A, centre, unit = _standardised(X, np.empty((len(y), 0)), share, intercept=intercept)
    lasso, ridge = strengths(penalty)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        minimise = _newton if _is_smooth(loss) else _programme
        scaled, offset = minimise(rows, A, unit, lasso, ridge, intercept=intercept)
        objective = rows.mean(scipy.linalg.blas.dgemv(1.0, A, scaled) + offset)
        coef = scaled / unit
        objective += float(lasso * np.abs(coef).sum() + ridge / 2 * (coef * coef).sum())
    return Outside(coef, float(offset - centre @ coef) if intercept else 0.0, objective)


def cost(n: int, d: int, loss: Loss, penalty: Penalty | None) -> float:
    """Return about how many seconds `solve` takes on two cores, its compilation apart; infinity where it cannot."""
    if not is_known(penalty):
        return np.inf
    lasso, ridge = strengths(penalty)
    r = min(n, d)
    if _is_smooth(loss):
        # A dozen Hessians; of an l1 part, a factorisation for each coefficient that is freed.
        whole = 2e-3 + 12 * (n * (6e-8 + 4e-9 * d + 4e-11 * d * r) + 7e-10 * r**3)
        return whole + (1e-4 * r + 2.5e-10 * r**3 * d if lasso > 0 else 0.0)
    if ridge > 0 or loss.value not in {_QUANTILE, _TUBE}:
        return np.inf
    # The simplex method's turns grow with the rows, and so does what each of them costs.
    once = 5e-10 * n * n * (1 + 0.03 * d) + n * (d + 1) * (5e-7 + 1.5e-8 * d)
    return 5e-3 + once * (2.5 if loss.value is _TUBE else 1.0)


def _is_smooth(loss: Loss) -> bool:
    """Whether a loss has curvature anywhere, at scores of all sizes about responses that every domain holds."""
    for z in (0.0, *(sign * 2.0**k for k in range(-8, 6) for sign in (1.0, -1.0))):
        for y in (0.0, 1.0):
            try:
                if loss.curvature(z, y, loss.params) > 0:
                    return True
            except (ArithmeticError, ValueError):  # a loss that is not defined there
                continue
    return False


class _Rows:
    """The loss of all rows as a function of their scores."""

    def __init__(self, loss: Loss, y: Floats, share: Floats) -> None:
        self.loss, self.y, self.share = loss, y, share
        each = (each_kernel(formula, 2) for formula in (loss.value, loss.slope, loss.curvature))
        self._value, self._slope, self._curvature = each

    def mean(self, z: Floats) -> float:
        """Return the weighted mean of the losses, a huge number where it is none."""
        mean = float(np.sum(self.share * self._value(z, self.y, self.loss.params)))
        return mean if np.isfinite(mean) else _HUGE

    def slopes(self, z: Floats) -> Floats:
        """Return the slope of each row, by its share."""
        return np.nan_to_num(self.share * self._slope(z, self.y, self.loss.params), posinf=_HUGE, neginf=-_HUGE)

    def curvatures(self, z: Floats) -> Floats:
        """Return the curvature of each row, by its share."""
        return np.nan_to_num(self.share * self._curvature(z, self.y, self.loss.params), posinf=_HUGE)

    def best_constant(self) -> float:
        """Return the score that is best for all rows alike, or one far out where there is none."""

        def slope(b: float) -> float:
            return float(np.sum(self.slopes(np.full(len(self.y), b))))

        start = float(self.share @ self.y) if self.loss.domain == "real" else 0.0
        side = -float(np.sign(slope(start)))
        if side == 0.0:
            return start
        reach = max(1.0, float(np.abs(self.y - start).max())) if self.loss.domain == "real" else 1.0
        far = start + side * reach
        for _ in range(6):
            if slope(far) * side >= 0:
                return float(scipy.optimize.brentq(slope, start, far))
            reach *= 2
            far = start + side * reach
        return far


class _Problem:
    """The objective in coordinates `u` in which it is about as curved in every direction, where it starts.

    Columns over their weighted root-mean-square are scaled once more, so that those of the loss above those of the
    ridge have unit length; ``x`` are the coefficients of these, the intercept last; ``u = into x`` and ``x = back u``.
    Directions that only rounding fills are left out.
    """

    def __init__(self, rows: _Rows, A: Floats, unit: Floats, lasso: float, ridge: float, *, intercept: bool) -> None:
        n, d = A.shape
        self.rows = rows
        self.b = rows.best_constant() if intercept else 0.0
        typical = float(rows.curvatures(np.full(n, self.b)).sum())
        typical = typical if 0.0 < typical < np.inf else 1.0
        root = np.minimum(np.sqrt(ridge) / unit, 1e150)
        filled = A.any(axis=0)
        length = np.hypot(np.sqrt(typical) * filled, root)
        self.scale = np.where(length > 0, length, 1.0)
        W = A / self.scale
        # R of the roots of the rows' shares above the ridge, and its singular vectors.
        (R,) = scipy.linalg.qr(W * np.sqrt(typical * rows.share)[:, np.newaxis], mode="r", check_finite=False)
        R = R[: min(n, d)]
        if ridge > 0:
            (R,) = scipy.linalg.qr(np.vstack((R, np.diag(root / self.scale))), mode="r", check_finite=False)
            R = R[:d]
        _, s, Vt = scipy.linalg.svd(R, full_matrices=False, check_finite=False)
        rank = int(np.count_nonzero(s > max(n, d) * _EPS * s[0]))
        s, Vt = s[:rank, np.newaxis], Vt[:rank]
        more = int(intercept)
        self.into, self.back = np.zeros((rank + more, d + more)), np.zeros((d + more, rank + more))
        self.into[:rank, :d], self.back[:d, :rank] = s * Vt, (Vt / s).T
        self.W = np.empty((n, rank + more), order="F")
        self.W[:, :rank] = scipy.linalg.blas.dgemm(1.0, W, self.back[:d, :rank])
        if intercept:
            # In the units of the others: a unit of any changes the objective by about a half.
            self.into[-1, -1], self.back[-1, -1] = np.sqrt(typical), 1 / np.sqrt(typical)
            self.W[:, -1] = self.back[-1, -1]
        self.K = (root / self.scale)[:, np.newaxis] * self.back[:d]
        self.lam = np.append(np.minimum(lasso / (self.scale * unit), _HUGE), np.zeros(more))
        self.reach = np.sqrt(typical)
        if rows.loss.domain == "real":
            self.reach *= float(np.sqrt(rows.share @ np.square(rows.y - self.b))) or 1.0
        self.reach = min(self.reach, 1e100)

    def scores(self, u: Floats) -> Floats:
        return np.asarray(scipy.linalg.blas.dgemv(1.0, self.W, u))

    def smooth(self, u: Floats) -> tuple[float, Floats]:
        """Return the objective without its l1 part, and its gradient."""
        z, shrunk = self.scores(u), self.K @ u
        gradient = scipy.linalg.blas.dgemv(1.0, self.W, self.rows.slopes(z), trans=1) + self.K.T @ shrunk
        value = self.rows.mean(z) + float(shrunk @ shrunk) / 2
        return (value if np.isfinite(value) else _HUGE), np.nan_to_num(gradient, posinf=_HUGE, neginf=-_HUGE)

    def hessian(self, u: Floats) -> Floats:
        """Return the second derivatives of the same."""
        bent = self.W * np.sqrt(self.rows.curvatures(self.scores(u)))[:, np.newaxis]
        upper = scipy.linalg.blas.dsyrk(1.0, bent, trans=1)
        full = np.triu(upper) + np.triu(upper, 1).T + self.K.T @ self.K
        return np.asarray(np.clip(full, -_HUGE, _HUGE))


def _newton(
    rows: _Rows, A: Floats, unit: Floats, lasso: float, ridge: float, *, intercept: bool
) -> tuple[Floats, float]:
    """Return coefficients of the standardised columns, and the intercept, that minimise the objective."""
    problem = _Problem(rows, A, unit, lasso, ridge, intercept=intercept)
    d = A.shape[1]
    x = np.zeros(len(problem.lam))
    x[d:] = problem.b
    u = problem.into @ x
    wider = list(_wider(rows, problem.b)) if u.size else []
    for problem.rows in wider:
        u, x = _steps(problem, u, x)
    problem.rows = rows
    if u.size and lasso == 0.0 and not wider:
        size = float(np.linalg.norm(problem.smooth(u)[1]))
        options: Any = {
            "initial_trust_radius": problem.reach, "max_trust_radius": 1e6 * problem.reach, "gtol": 1e-6 * size,
            "maxiter": 60,
        }  # fmt: skip
        with contextlib.suppress(np.linalg.LinAlgError, ValueError):  # of numbers that overflow: the steps go on
            u = scipy.optimize.minimize(
                problem.smooth, u, jac=True, hess=problem.hessian, method="trust-exact", options=options
            ).x
            x = problem.back @ u
    if u.size:
        u, x = _steps(problem, u, x)
    return x[:d] / problem.scale, float(x[d]) if intercept else 0.0


def _wider(rows: _Rows, centre: float) -> Iterator[_Rows]:
    """Yield Huber's loss with a wide squared part, then narrower ones, where it is far narrower than the responses.

    Newton's steps do not find the few rows that are within it at the optimum; from the optimum of one ten times as wide
    they do. What is far away costs the same in all of them, so that a penalty weighs the same.
    """
    if rows.loss.value is not _HUBER:
        return
    (delta,) = rows.loss.params
    width = min(1e16 * delta, float(np.sqrt(rows.share @ np.square(rows.y - centre))))
    while width > 10 * delta:
        yield _Rows(replace(rows.loss, params=(width,)), rows.y, rows.share * (delta / width))
        width /= 10


def _steps(problem: _Problem, u: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Take Newton's steps, shortened where the objective is not as its quadratic model says, down to rounding.

    The model has the l1 part as it is, and is minimised exactly.
    """
    lam = problem.lam
    value, gradient = problem.smooth(u)
    H = problem.hessian(u)
    total = value + float(lam @ np.abs(x))
    damping, last = 0.0, 0
    # What counts as curvature: where none is left, that which would hold the steps to the reach of the responses.
    bent = max(float(np.abs(H).max()), float(np.linalg.norm(gradient)) / problem.reach)
    identity = np.eye(len(u))
    for _ in range(200):
        try:
            new_u, new_x = _model_least(problem, H + damping * identity, gradient, u, x)
        except (np.linalg.LinAlgError, ValueError):  # no model that has a minimum
            damping = max(10 * damping, 1e-10 * bent)
            continue
        move = new_u - u
        promised = -float(gradient @ move + move @ H @ move / 2 + lam @ (np.abs(new_x) - np.abs(x)))
        new_value, new_gradient = problem.smooth(new_u)
        new_total = new_value + float(lam @ np.abs(new_x))
        rounding = 4 * _EPS * abs(total)
        gained = total - new_total
        # A promise below rounding cannot be measured: a few such steps are taken, as long as they do no harm.
        done = not promised > rounding
        if gained >= (-rounding if done else 1e-4 * promised):
            u, x, total, gradient = new_u, new_x, new_total, new_gradient
            H = problem.hessian(u)
            bent = max(float(np.abs(H).max()), float(np.linalg.norm(gradient)) / problem.reach)
            damping = damping / 10 if gained > 0.5 * promised or done else damping
            damping = damping if damping > 1e-12 * bent else 0.0
        elif done:
            break
        else:
            damping = max(4 * damping, 1e-3 * bent)
        last = last + 1 if done else 0
        if last == 3:
            break
    return u, x


def _model_least(problem: _Problem, H: Floats, gradient: Floats, u: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Return where the quadratic model of the objective about `u`, and the l1 part with it, is least."""
    L = scipy.linalg.cholesky(H, lower=True)
    down = scipy.linalg.solve_triangular(L, -gradient, lower=True)
    if not problem.lam.any():
        new_u = u + scipy.linalg.solve_triangular(L, down, lower=True, trans=1)
        return new_u, problem.back @ new_u
    B = L.T @ problem.into
    new_x = _least_with_l1(B, down + B @ x, problem.lam, x)
    return problem.into @ new_x, new_x


def _least_with_l1(B: Floats, c: Floats, lam: Floats, x: Floats) -> Floats:
    """Return the minimiser of ``norm(B x - c)**2 / 2 + sum(lam |x|)``, by a search over the signs of `x`.

    Each turn frees the coefficient that would gain most, then minimises over the free ones with their signs, putting
    back to zero those whose sign would change.
    """
    x = x.copy()
    never = lam == 0.0
    sign = np.where(never, 0.0, np.sign(x))
    free = never | (x != 0.0)
    refused = np.zeros(len(x), dtype=bool)
    length = np.sqrt(np.square(B).sum(axis=0))
    for _ in range(20 * len(x) + 100):
        while free.any():
            S = np.flatnonzero(free)
            towards, bounded = _towards(B[:, S], c, lam[S] * sign[S], x[S])
            after = x[S] + towards
            crossing = ~never[S] & (sign[S] * towards < 0) & ((sign[S] * after <= 0) | (not bounded))
            if not crossing.any():
                if bounded:
                    x[S] = after
                break
            part = np.where(crossing, -x[S] / np.where(crossing, towards, 1.0), np.inf)
            at = int(np.argmin(part))
            if part[at] > 0:
                x[S] += part[at] * towards
                refused[:] = False
            else:
                refused[S[at]] = True  # rounding had freed it
            x[S[at]], free[S[at]], sign[S[at]] = 0.0, False, 0.0
        pull = B.T @ (c - B @ x)
        excess = np.abs(pull) - lam * (1 + 4 * _EPS) - 16 * _EPS * length * float(np.linalg.norm(c))
        excess[free | refused] = -np.inf
        gain = np.divide(excess, length, out=np.full(len(x), -np.inf), where=length > 0)
        j = int(np.argmax(gain))
        if not gain[j] > 0:
            break
        free[j], sign[j] = True, np.sign(pull[j])
    return x


def _towards(B: Floats, c: Floats, linear: Floats, x: Floats) -> tuple[Floats, bool]:
    """Return the way from `x` to the minimiser of ``norm(B x - c)**2 / 2 + linear x``, and whether it ends there.

    Of dependent columns it is a way along which the first term stays, and the second does not grow.
    """
    k = B.shape[1]
    if k <= B.shape[0]:
        Q, R = scipy.linalg.qr(B, mode="economic", check_finite=False)
        diagonal = np.abs(R.diagonal())
        if diagonal.min() > k * _EPS * diagonal.max():
            rest = Q.T @ (c - B @ x) - scipy.linalg.solve_triangular(R, linear, trans=1, check_finite=False)
            towards: Floats = scipy.linalg.solve_triangular(R, rest, check_finite=False)
            return towards, True
    along = scipy.linalg.svd(B, check_finite=False)[2][-1]
    slope = float(linear @ along)
    return (-along if slope > 0 else along), False


def _programme(
    rows: _Rows, A: Floats, unit: Floats, lasso: float, _ridge: float, *, intercept: bool
) -> tuple[Floats, float]:
    """Return coefficients of the standardised columns, and the intercept, that minimise a loss of straight pieces.

    The dual programme has a variable a row, within bounds, and a constraint a column, whose multipliers are the
    coefficients. It reads: maximise ``sum_i t_i s_i``, ``|[A 1]' t| <= lam``, with ``s`` where the loss has its kink.
    """
    n, d = A.shape
    M = np.asfortranarray(np.column_stack((A, np.ones(n)))) if intercept else A
    lam = np.append(lasso / unit, np.zeros(int(intercept))) * n
    middle = float(np.median(rows.y)) if intercept else 0.0
    size = float(np.abs(rows.y - middle).mean()) or 1.0
    y = (rows.y - middle) / size
    share = rows.share * n
    if rows.loss.value is _QUANTILE:
        level = rows.loss.params[0]
        kinks, low, high = y[np.newaxis], (level - 1) * share, level * share
        wall = M.T
    else:
        tube = rows.loss.params[0] / size
        kinks = np.array((y - tube, y + tube))
        low, high = np.concatenate((np.zeros(n), -share)), np.concatenate((share, np.zeros(n)))
        wall = np.hstack((M.T, M.T))
    slack = np.flatnonzero(lam > 0)
    bounds: Any = np.column_stack((np.concatenate((low, -lam[slack])), np.concatenate((high, lam[slack]))))
    found = scipy.optimize.linprog(
        np.concatenate((-kinks.ravel(), np.zeros(len(slack)))),
        A_eq=np.hstack((wall, -np.eye(M.shape[1])[:, slack])), b_eq=np.zeros(M.shape[1]), bounds=bounds,
        method="highs",
        options={"presolve": False, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    w = np.zeros(M.shape[1])
    if found.eqlin is not None and found.eqlin.marginals is not None:
        w = -np.asarray(found.eqlin.marginals, dtype=np.float64)

    def objective(w: Floats) -> float:
        return float(rows.mean(scipy.linalg.blas.dgemv(size, M, w) + middle) + lam @ np.abs(w) * (size / n))

    w = size * min((w, _interpolated(M, kinks, w, lam)), key=objective)
    return w[:d], float(w[d]) + middle if intercept else 0.0


def _interpolated(M: Floats, kinks: Floats, w: Floats, lam: Floats) -> Floats:
    """Return the corner that `w` is near: as many rows exactly at a kink as there are coefficients other than zero."""
    z = scipy.linalg.blas.dgemv(1.0, M, w)
    size = float(np.abs(z).max()) or 1.0
    nonzero = np.flatnonzero((lam == 0) | (np.abs(w) > 1e-9 * float(np.abs(w).max())))
    off = kinks - z
    kink = np.argmin(np.abs(off), axis=0)
    off = np.abs(off[kink, np.arange(len(z))])
    near = np.argsort(off)[: 4 * len(nonzero) + 4]
    near = near[off[near] < 1e-6 * size]
    if len(near) < len(nonzero) or not len(nonzero):
        return w
    chosen = near[scipy.linalg.qr(M[np.ix_(near, nonzero)].T, mode="r", pivoting=True)[1][: len(nonzero)]]
    corner = np.zeros_like(w)
    with contextlib.suppress(np.linalg.LinAlgError):  # of dependent columns: then nothing is better than zero
        corner[nonzero] = scipy.linalg.solve(M[np.ix_(chosen, nonzero)], kinks[kink[chosen], chosen])
    return corner
