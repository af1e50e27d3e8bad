"""The model of a proximal Newton step with l1: least squares of d columns plus absolute values, as exact as numbers go.

Coordinate descent comes near the answer (J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized
linear models via coordinate descent, *Journal of Statistical Software* 33 (2010) 1), and an active-set method ends at
it: H. Lee, A. Battle, R. Raina and A. Y. Ng, Efficient sparse coding algorithms, *NIPS* 19 (2006) 801-808. With the
signs known it is least squares with a linear term, which is solved through a QR factorisation and refined in
double-double arithmetic: A. Bjorck, Iterative refinement of linear least squares solutions, *BIT* 7 (1967) 257-278. So
it hardly matters how nearly columns depend on each other, down to the rounding of the columns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack, qr_delete

from gradstep._blas import one_thread
from gradstep._dense_algebra import exact_sum, norms, product
from gradstep._kernels.cache import kernel
from gradstep._kernels.rows import EPS
from gradstep._kernels.wide import product_error

Array = NDArray[np.float64]

_SWEEPS = 300  # over the columns, beyond which descent by coordinates is not worth its time
_SETTLED = 1e-14  # of the objective: a sweep that gains no more has come near enough
_CORRECTIONS = 12  # of one solution: each takes as many digits as the condition leaves, so five are many
_SETTLED_CORRECTION = 1e-20  # of what is summed: the next one would vanish in double-double arithmetic
_EARLY = 0.1  # of the way to zero, that a target lies beyond it
_AT_ONCE = 8  # columns whose distance from the active ones is taken together


class _Problem(NamedTuple):
    """``norm(R u - c)**2 / 2 + sum_j strength_j |u_j|``, with R by rows and by columns."""

    by_row: Array
    by_column: Array
    c: Array
    strength: Array
    norms: Array
    cut: float  # of the size of columns, within which they depend on each other


class _Solution(NamedTuple):
    """The least squares of the active columns for given signs, its residual in two parts, and the last correction.

    ``scale`` is the size of what is summed to the residual: its rounding is a share of that. A solution that is not the
    last was left after one correction, because the way to it ends earlier.
    """

    high: Array
    residual: Array
    residual_rest: Array
    scale: float
    error: float
    is_last: bool


def minimum(R: Array, c: Array, strength: Array, start: Array) -> Array:
    """Return the minimiser u (d,) of ``norm(R u - c)**2 / 2 + sum_j strength_j |u_j|``, with exact zeros.

    ``R`` is (p, d), ``c`` (p,), ``strength`` (d,), zero or more, and ``start`` (d,) a guess. Where there are several
    minimisers it is one whose columns do not depend on each other.
    """
    if not np.any(c):
        return np.zeros(R.shape[1])
    # One power of two for c, the strengths and the answer, so that no square overflows or vanishes.
    exponent = -math.frexp(float(np.abs(c).max()))[1]
    by_column = np.ascontiguousarray(R.T)
    problem = _Problem(
        np.ascontiguousarray(R), by_column, np.ldexp(c, exponent), np.ldexp(strength, exponent), norms(by_column.T),
        EPS * max(R.shape),
    )  # fmt: skip
    with one_thread():
        u = _from(problem, np.ldexp(start, exponent))
        _descend(by_column, problem.norms**2, problem.c, problem.strength, u, _SWEEPS, _SETTLED)
        u = _search(problem, u)
    return np.ldexp(u, -exponent)


def _from(problem: _Problem, start: Array) -> Array:
    """Return a guess, or zeros where these are better."""
    u = np.where(problem.norms > 0, start, 0.0)
    some = u != 0
    with np.errstate(all="ignore"):  # a wild guess may overflow
        residual = problem.c - problem.by_row @ u
        objective = residual @ residual / 2 + problem.strength[some] @ np.abs(u[some])
    return u if objective <= problem.c @ problem.c / 2 else np.zeros(len(u))


def _search(problem: _Problem, u: Array) -> Array:
    """Return the minimiser, from a point nearby."""
    active = _Active(problem, u)
    d = len(u)
    best, least, idle = u, math.inf, 0
    refused: set[int] = set()  # columns that came in and would not move, until another one does
    for _ in range(5 * d + 100):
        target = active.solution(u)
        u, moved, dropped = _toward(active, u, target.high)
        if moved:
            refused.clear()
        elif dropped:
            refused.update(active.members[i] for i in dropped)
        objective = active.objective(u)
        # Gains may be far below the rounding of the objective and still count where columns nearly depend.
        if objective <= least * (1 + 8 * EPS):
            best = u
        idle = 0 if objective < least else idle + 1
        least = min(least, objective)
        if idle > 2 * d + 20:
            break
        if dropped:
            active.remove(dropped)
        elif not _admit(active, u, target, refused):
            break
    return best


def _toward(active: _Active, u: Array, target: Array) -> tuple[Array, bool, list[int]]:
    """Return where the way from u to the target leads downhill, whether it led anywhere, and who became zero there.

    The way ends at the target or where a coefficient changes sign: the last such place before which the objective
    still fell. The signs of those that changed before it are changed.
    """
    members, signs = active.members, active.signs
    here = u[members]
    by = target - here
    after = u.copy()
    crosses = np.flatnonzero((signs * target <= 0) & (active.strength > 0))
    if not len(crosses):
        after[members] = target
        return after, True, []
    at = here[crosses] / -by[crosses]
    order = np.argsort(at, kind="stable")
    crosses, at = crosses[order], at[order]
    through = active.columns.T @ by
    curvature = float(through @ through)
    # The slope at t is curvature * (t - 1) up to the first change of sign, and each adds to it.
    added = 2 * np.cumsum(active.strength[crosses] * np.abs(by[crosses]))
    falls = curvature * (at[1:] - 1) + added[:-1] < 0
    last = len(falls) if falls.all() else int(np.argmin(falls))
    signs[crosses[:last]] *= -1
    values = here + at[last] * by
    values[crosses[last]] = 0.0
    gone = np.flatnonzero((signs * values <= 0) & (active.strength > 0))
    values[gone] = 0.0
    after[members] = values
    return after, bool(at[last] > 0), [int(i) for i in gone]


def _admit(active: _Active, u: Array, target: _Solution, refused: set[int]) -> bool:
    """Let the column in that gains most, if there is one that gains more than rounding; u is changed where one leaves.

    What a column gains is its excess of slope over its strength, in units of its distance from the space of the active
    columns: half of the square of that.
    """
    problem = active.problem
    high, low = np.zeros(len(u)), np.zeros(len(u))
    _subtract_products(problem.by_row, target.residual, target.residual_rest, high, low)
    slope = high + low
    excess = (np.abs(high) - problem.strength) + np.sign(high) * low
    excess[active.members] = 0.0
    excess[list(refused)] = 0.0
    rounding = EPS * target.scale + target.error
    candidates = np.flatnonzero(excess > 0)
    candidates = candidates[np.argsort(-excess[candidates] / problem.norms[candidates], kind="stable")]
    for first in range(0, len(candidates), _AT_ONCE):
        some = candidates[first : first + _AT_ONCE]
        distance, dependent = active.distances(some)
        gain = excess[some] / np.where(dependent, problem.norms[some], distance)
        for i in np.argsort(-gain, kind="stable"):
            if not gain[i] > rounding:
                break
            j, sign = int(some[i]), -math.copysign(1.0, slope[some[i]])
            if active.exchange(j, sign, u) if dependent[i] else active.insert(j, sign):
                return True
            refused.add(j)
    return False


class _Active:
    """The active columns, by rows in ``columns``, their factorisation ``Q T``, their strengths and signs."""

    def __init__(self, problem: _Problem, u: Array) -> None:
        self.problem = problem
        free = problem.strength == 0
        members = np.flatnonzero((free | (u != 0)) & (problem.norms > 0))
        members = members[np.lexsort((-np.abs(u[members]) * problem.norms[members], ~free[members]))]
        self._take(members, np.sign(u[members]))
        if len(self.members) < len(members):
            for j in members[len(self.members) :]:
                self.insert(int(j), float(np.sign(u[j])))
            left = np.ones(len(u), dtype=bool)
            left[self.members] = False
            u[left] = 0.0

    def _take(self, members: NDArray[np.int64], signs: Array) -> None:
        """Begin with columns, up to the first that depends on those before it."""
        self._begin([int(j) for j in members[: len(self.problem.c)]], signs)
        if not self.members:
            return
        T = self.T.copy(order="F")
        np.fill_diagonal(T, np.where(np.diagonal(T) == 0.0, 1e-100, np.diagonal(T)))
        reach = self.problem.norms[self.members] @ np.abs(lapack.dtrtri(T)[0])
        dependent = np.flatnonzero(~(self.problem.cut * reach < 1))
        if len(dependent):
            self._begin(self.members[: dependent[0]], signs)

    def _begin(self, members: list[int], signs: Array) -> None:
        self.members = members
        self.signs = signs[: len(members)] * (self.problem.strength[members] > 0)
        self.strength = self.problem.strength[members]
        self.factor()

    def factor(self) -> None:
        """Factor the active columns anew."""
        self.columns = self.problem.by_column[self.members]
        self.changes = 0
        k = len(self.members)
        if k == 0:
            self.Q, self.T = np.zeros((len(self.problem.c), 0)), np.zeros((0, 0))
            return
        factored, tau, _, _ = lapack.dgeqrf(self.columns.T, lwork=64 * k)
        self.T = np.asfortranarray(np.triu(factored[:k]))
        self.Q = lapack.dorgqr(factored, tau, lwork=64 * k)[0]

    def distances(self, others: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
        """Return how far other columns are from the space of the active ones, and which of them depend on these.

        A column depends on others that combine to it, but for what a change of the last digits of them all would do.
        """
        away, size = self.problem.by_column[others], self.problem.norms[others]
        if self.members:
            along = product(self.Q.T, away.T)
            away = away - product(along.T, self.Q.T)
            size = size + self.problem.norms[self.members] @ np.abs(lapack.dtrtrs(self.T, along)[0])
        distance = norms(away.T)
        full = len(self.members) == len(self.problem.c)
        return distance, full | (distance <= self.problem.cut * size)

    def insert(self, j: int, sign: float) -> bool:
        """Let a column in, if it does not depend on the others."""
        if self.distances(np.array([j]))[1][0]:
            return False
        column = self.problem.by_column[j]
        along = self.Q.T @ column
        away = column - self.Q @ along
        again = self.Q.T @ away  # what one projection leaves of the space is no longer small beside what is left
        away -= self.Q @ again
        distance = norms(away[:, np.newaxis])
        k = len(self.members)
        T = np.zeros((k + 1, k + 1), order="F")
        T[:k, :k] = self.T
        T[:k, k] = along + again
        T[k, k] = distance[0]
        self.T = T
        self.Q = np.asfortranarray(np.hstack((self.Q, away[:, np.newaxis] / distance)))
        self.members.append(j)
        self.signs = np.append(self.signs, sign if self.problem.strength[j] > 0 else 0.0)
        self.strength = self.problem.strength[self.members]
        self.columns = self.problem.by_column[self.members]
        self.changes += 1
        return True

    def exchange(self, j: int, sign: float, u: Array) -> bool:
        """Let a column in that depends on the others, in place of the one that becomes zero first; u is changed."""
        along = lapack.dtrtrs(self.T, self.Q.T @ self.problem.by_column[j])[0] if self.members else np.zeros(0)
        by = -sign * along
        here = u[self.members]
        leaves = (self.strength > 0) & (by * self.signs < -EPS * np.abs(by).max(initial=0.0))
        if not leaves.any():
            return False
        at = np.full(len(by), math.inf)
        at[leaves] = -here[leaves] / by[leaves]
        first = int(np.argmin(at))
        values = here + at[first] * by
        gone = (self.signs * values <= 0) & (self.strength > 0)
        gone[first] = True
        values[gone] = 0.0
        u[self.members] = values
        u[j] = sign * at[first]
        self.remove([int(i) for i in np.flatnonzero(gone)])
        if not self.insert(j, sign):
            u[j] = 0.0
            return False
        return True

    def remove(self, places: list[int]) -> None:
        """Take columns out, by their places among the active ones."""
        if 8 * len(places) > len(self.members):
            self.members = [j for i, j in enumerate(self.members) if i not in set(places)]
            self.factor()
        else:
            for i in sorted(places, reverse=True):
                del self.members[i]
                k = len(self.members)
                Q, T = qr_delete(self.Q, self.T, i, which="col", check_finite=False)
                self.Q, self.T = np.asfortranarray(Q[:, :k]), np.asfortranarray(T[:k])
            self.changes += len(places)
            self.columns = self.problem.by_column[self.members]
        self.signs = np.delete(self.signs, places)
        self.strength = np.delete(self.strength, places)

    def objective(self, u: Array) -> float:
        """Return the objective at u, which is zero elsewhere."""
        active = u[self.members]
        residual = self.problem.c - self.columns.T @ active
        return float(residual @ residual / 2 + self.strength @ np.abs(active))

    def solution(self, u: Array) -> _Solution:
        """Return the solution for these signs, from u; with a new factorisation where an updated one served badly."""
        solution = self._refined(u)
        if solution.is_last and solution.error > EPS * solution.scale and self.changes:
            self.factor()
            solution = self._refined(u)
        return solution

    def _refined(self, u: Array) -> _Solution:
        problem, columns = self.problem, self.columns
        by_row = np.ascontiguousarray(columns.T)
        tilt = self.strength * self.signs
        high, low = u[self.members], np.zeros(len(self.members))
        residual, residual_rest = _less_products(columns, high, low, problem.c, np.zeros(len(problem.c)))
        scale = float(np.linalg.norm(problem.c))
        before = math.inf
        for _ in range(_CORRECTIONS):
            slope, rest = _less_products(by_row, residual, residual_rest, tilt, np.zeros(len(tilt)))
            apart, apart_rest = exact_sum(problem.c, -residual)
            apart, apart_rest = _less_products(columns, high, low, apart, apart_rest - residual_rest)
            apart += apart_rest
            step = self.Q.T @ apart
            if len(step):
                step -= lapack.dtrtrs(self.T, slope + rest, trans=1)[0]
            away = apart - self.Q @ step
            by = lapack.dtrtrs(self.T, step)[0] if len(step) else step
            size = float(np.linalg.norm(away) + np.linalg.norm(step))
            if not size < before:
                break
            high, low = _sum(high, low, by)
            residual, residual_rest = _sum(residual, residual_rest, away)
            first, before = before == math.inf, size
            if first and self._turns_early(u[self.members], high):
                return _Solution(high, residual, residual_rest, scale, size, is_last=False)
            if size <= _SETTLED_CORRECTION * scale:
                break
        scale += float(np.linalg.norm(np.abs(by_row) @ np.abs(high)))
        return _Solution(high, residual, residual_rest, scale, before if before < math.inf else 0.0, is_last=True)

    def _turns_early(self, here: Array, target: Array) -> bool:
        """Tell whether a sign changes well before the target, which then need not be known any better."""
        return bool(((self.strength > 0) & (target * self.signs < -_EARLY * np.abs(here))).any())


def _sum(high: Array, low: Array, by: Array) -> tuple[Array, Array]:
    high, lost = exact_sum(high, by)
    return exact_sum(high, low + lost)


def _less_products(M: Array, high: Array, low: Array, out: Array, out_rest: Array) -> tuple[Array, Array]:
    """Return ``out - M' x`` in two parts, of x and out in two parts."""
    out, out_rest = out.copy(), out_rest.copy()
    _subtract_products(M, high, low, out, out_rest)
    return exact_sum(out, out_rest)


@kernel
def _subtract_products(M: Array, high: Array, low: Array, out: Array, out_rest: Array) -> None:
    """Subtract ``M' x`` from what is there, in double-double arithmetic."""
    for i in range(M.shape[0]):
        row, factor, rest = M[i], high[i], low[i]
        for j in range(M.shape[1]):
            term = row[j] * factor
            lost = product_error(row[j], factor, term) + row[j] * rest  # type: ignore[no-untyped-call]
            before = out[j]
            after = before - term
            part = after - before
            out_rest[j] += ((before - (after - part)) - (term + part)) - lost
            out[j] = after


@kernel
def _descend(columns: Array, squares: Array, c: Array, strength: Array, u: Array, sweeps: int, settled: float) -> None:
    """Minimise by one coordinate after the other, until a sweep gains nothing to speak of; u (d,) is changed.

    ``columns`` is (d, p), ``squares`` (d,) their squared norms. After a sweep over all of them the nonzero ones are
    swept until they have settled.
    """
    residual = c.copy()
    for j in range(u.size):
        if u[j] != 0.0:
            residual -= u[j] * columns[j]
    enough = settled * (c * c).sum()
    everyone = True
    for _ in range(sweeps):
        gain = 0.0
        for j in range(u.size):
            before = u[j]
            if squares[j] == 0.0 or (before == 0.0 and not everyone):
                continue
            pull = np.dot(columns[j], residual)
            aim = pull + squares[j] * before
            after = 0.0
            if abs(aim) > strength[j]:
                after = (aim - math.copysign(strength[j], aim)) / squares[j]
            by = after - before
            if by != 0.0:
                gain += by * (pull - 0.5 * squares[j] * by) - strength[j] * (abs(after) - abs(before))
                residual -= by * columns[j]
                u[j] = after
        if gain <= enough:
            if everyone:
                break
            everyone = True
        else:
            everyone = False
