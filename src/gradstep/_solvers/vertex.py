"""The exact minimum of a sum of kinks and a linear term: an interior point, and the vertex that it is next to.

What is left of a quantile regression once the rows far from their kink have been summed: S. Portnoy and R. Koenker, The
Gaussian hare and the Laplacian tortoise: computability of squared-error versus absolute-error estimators, *Statistical
Science* 12 (1997) 279-300; the predictor and corrector are S. Mehrotra's, On the implementation of a primal-dual
interior point method, *SIAM Journal on Optimization* 2 (1992) 575-601; the exchanges of rows at a vertex are those of
I. Barrodale and F. D. K. Roberts, An improved algorithm for discrete l1 linear approximation, *SIAM Journal on
Numerical Analysis* 10 (1973) 839-848.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import blas, lapack

from gradstep._blas import one_thread
from gradstep._dense_algebra import singular, symmetric, tall_triangle
from gradstep._kernels.rows import EPS

Array = NDArray[np.float64]

_ROUNDS = 80  # of the interior point, which takes 10 to 25
_STALLED = 10  # rounds that bring little, after which no more is hoped for
_NEAR = 1e-4  # gap, of the objective, from which a vertex is looked for
_DONE = 1e-14  # gap, of the objective, at which an interior point has no more to say
_FURTHEST = 0.9995  # of the way to the bounds that a step goes
_TIE = 256 * EPS  # of the size of what a residual is the difference of: a residual that is zero
_UNBOUNDED = 1e-10  # of the sizes of its terms: a fall along a ray that is no rounding
_ENTRIES = 1 << 16  # of a block of rows, which stays in a cache


class Vertex(NamedTuple):
    """A minimum: weights, a dual solution within its bounds, and the difference of the two objectives.

    `exact` says that the weights interpolate as many rows as they are determined by, and that the dual solution, at
    the bound of its residual's sign in each row that is not interpolated, proves them optimal to rounding.
    """

    w: Array
    dual: Array
    gap: float
    exact: bool


class _Problem(NamedTuple):
    """Rows as columns, which are of full rank; norms are those of the rows."""

    AT: Array
    b: Array
    low: Array
    high: Array
    linear: Array
    norms: Array

    def times(self, w: Array) -> Array:
        """Return ``A w``."""
        product: Array = blas.dgemv(1.0, self.AT.T, w)
        return product

    def back(self, x: Array) -> Array:
        """Return ``A' x``."""
        product: Array = blas.dgemv(1.0, self.AT.T, x, trans=1)
        return product

    def sizes(self, w: Array) -> Array:
        """Return how large the terms are that residuals are differences of."""
        largest: Array = np.abs(self.b) + self.norms * float(np.sqrt(w @ w))
        return largest

    def missing(self, dual: Array) -> Array:
        """Return what a dual solution lacks to be feasible."""
        lack: Array = -(self.linear + self.back(dual))
        return lack

    def rounding(self) -> float:
        """Return a size of `missing` that is rounding."""
        total = blas.ddot(self.norms, np.maximum(np.abs(self.low), np.abs(self.high)))
        return float(8 * EPS * (total + np.abs(self.linear).max()))

    def gap(self, r: Array, dual: Array) -> float:
        """Return by how much the two objectives differ, as a sum of terms of which none is negative."""
        return float(np.maximum((self.high - dual) * r, (self.low - dual) * r).sum())

    def value(self, r: Array) -> float:
        """Return the objective but for its linear term."""
        return float(np.maximum(self.high * r, self.low * r).sum())

    def falls(self, w: Array, product: Array) -> bool:
        """Say whether the objective falls for ever along w, where `product` is ``A w``."""
        rise = np.maximum(-self.high * product, -self.low * product)
        along = self.linear * w
        return bool(rise.sum() - along.sum() < -_UNBOUNDED * (np.abs(rise).sum() + np.abs(along).sum()))


class _Point(NamedTuple):
    """An interior point: room to both bounds of the dual solution, and the prices of those, whose difference is r."""

    w: Array
    r: Array
    below: Array
    above: Array
    u: Array
    v: Array
    dual: Array
    lack: Array
    weights: Array

    @property
    def mu(self) -> float:
        """Return the mean product of room and price."""
        return float(blas.ddot(self.below, self.u) + blas.ddot(self.above, self.v)) / (2 * len(self.r))


@one_thread()
@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def minimum(
    A: ArrayLike, b: ArrayLike, low: ArrayLike, high: ArrayLike, linear: ArrayLike, start: ArrayLike | None = None
) -> Vertex | None:
    """Minimise ``sum_i max(high_i r_i, low_i r_i) - linear @ w`` over w, where ``r = b - A w`` and ``low_i < high_i``.

    The dual solution maximises ``b @ dual`` where ``A' dual + linear = 0`` and ``low <= dual <= high``. There is none,
    and the objective falls without end, or rounding hides it, where the answer is None. Where columns of A depend on
    each other, the weights are in the space that its rows span. `start` is a guess of them.
    """
    A, b, linear = (np.asarray(a, dtype=np.float64) for a in (A, b, linear))
    low, high = (np.array(np.broadcast_to(np.asarray(a, np.float64), b.shape)) for a in (low, high))
    AT = np.ascontiguousarray(A.T)
    w = None if start is None else np.array(start, dtype=np.float64)
    span = _span(A, AT)
    if span is not None:
        across = linear - span @ (span.T @ linear)
        size = np.abs(A).T @ np.maximum(np.abs(low), np.abs(high)) + np.abs(linear)
        if np.abs(across).max() > _UNBOUNDED * size.max():
            return None
        AT, linear = np.ascontiguousarray(span.T @ AT), span.T @ linear
        w = None if w is None else span.T @ w
    norms = np.sqrt(np.einsum("ij,ij->j", AT, AT))
    if not len(AT):  # no weight moves anything
        return Vertex(np.zeros(A.shape[1]), np.where(b > 0, high, low), 0.0, exact=True)
    found = _minimum(_Problem(AT, b, low, high, linear, norms), w)
    return found if found is None or span is None else found._replace(w=span @ found.w)


def _span(A: Array, AT: Array) -> Array | None:
    """Return an orthonormal basis of the space that rows span, or None where that is all there is."""
    values = symmetric(_gram(AT, np.ones(len(A))))[0]
    if values[0] > 1e-9 * values[-1]:
        return None
    _, values, right = singular(tall_triangle(A))
    rank = int((values > max(A.shape) * EPS * values[0]).sum())
    return None if rank == len(AT) else right[:rank].T


def _minimum(problem: _Problem, start: Array | None) -> Vertex | None:
    """Return a vertex as soon as the interior points show one, or else the best there is."""
    point = basis = None
    for point in _interior(problem, start):
        if point is None:
            return None
        size = problem.value(point.r)
        gap = 2 * len(point.r) * point.mu
        if gap > _NEAR * size and gap > EPS * blas.ddot(problem.high - problem.low, problem.sizes(point.w)):
            continue
        basis = _basis(problem, point, 1e-12)
        if basis is not None:
            vertex = _proven(problem, basis, point.dual)
            if vertex is not None:
                return vertex
        if gap < _DONE * size:
            break
    assert point is not None  # noqa: S101 - there is a first one
    if basis is None:
        basis = _basis(problem, point, 1e-3)
    if basis is not None:
        unbounded, vertex = _exchanged(problem, basis)
        if unbounded or vertex is not None:
            return vertex
    dual = _repaired(problem, np.arange(len(point.r)), point.dual)
    return None if dual is None else Vertex(point.w, dual, problem.gap(point.r, dual), exact=False)


# The interior point


def _interior(problem: _Problem, start: Array | None) -> Iterator[_Point | None]:
    """Yield points, each nearer to the minimum, until they come no nearer; None where there is no minimum."""
    point: _Point | None = _first(problem, start)
    slight, stalled = problem.rounding(), 0
    for _ in range(_ROUNDS):
        yield point
        if point is None or stalled == _STALLED:
            return
        factor = _cholesky(_gram(problem.AT, point.weights))
        if factor is None:
            return
        dw, product, step = _step(problem, point, factor)
        if not all(np.isfinite(part).all() for part in step):
            return
        mu, far = point.mu, float(np.abs(point.lack).max())
        if far > slight and (problem.falls(dw, product) or problem.falls(point.w, problem.b - point.r)):
            point = None
        else:
            point = _point(problem, *step)
            nearer = point.mu < 0.9 * mu or float(np.abs(point.lack).max()) < 0.9 * far
            stalled = 0 if nearer else stalled + 1


def _point(problem: _Problem, w: Array, below: Array, above: Array, u: Array, v: Array) -> _Point:
    """Return a point with what follows from it: the dual solution counted from the bound that it is nearer to."""
    dual = np.where(below < above, problem.low + below, problem.high - above)
    dual = np.minimum(np.maximum(dual, problem.low), problem.high)
    weights = 1.0 / (u / below + v / above)
    return _Point(w, problem.b - problem.times(w), below, above, u, v, dual, problem.missing(dual), weights)


def _first(problem: _Problem, start: Array | None) -> _Point:
    """Return the point on the central path of a guess, by least squares where there is none.

    Prices that differ by r and rooms that add up to the width, with all products equal, solve a quadratic equation.
    """
    if start is None:
        factor = _cholesky(_gram(problem.AT, np.ones(len(problem.b))))
        start = np.zeros(len(problem.AT)) if factor is None else lapack.dpotrs(factor, problem.back(problem.b))[0]
    width = problem.high - problem.low
    r = problem.b - problem.times(start)
    mu = max(float((width * np.abs(r)).mean()), 1e-9 * float((width * problem.sizes(start)).mean()), 1e-300)
    root = np.hypot(2 * mu, width * r)
    larger = (2 * mu + width * np.abs(r) + root) / (2 * width)
    smaller = mu * larger / (width * larger - mu)
    u, v = np.where(r > 0, smaller, larger), np.where(r > 0, larger, smaller)
    return _point(problem, start, mu / u, mu / v, u, v)


def _step(problem: _Problem, point: _Point, factor: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    """Return the direction of the weights and what A makes of it, and the next point's parts."""
    below, above, u, v = point.below, point.above, point.u, point.v
    zero = np.zeros_like(u)
    _, _, change, du, dv = _direction(problem, point, factor, zero, zero)
    reach = _reach(below, change, above, -change)
    price = _reach(u, du, v, dv)
    mu = point.mu
    hoped = blas.ddot(below + reach * change, u + price * du) + blas.ddot(above - reach * change, v + price * dv)
    aim = mu * min(1.0, max(0.0, hoped / (2 * len(u) * mu))) ** 3
    dw, product, change, du, dv = _direction(
        problem, point, factor, (aim - change * du) / below, (aim + change * dv) / above
    )
    reach = min(1.0, _FURTHEST * _reach(below, change, above, -change))
    price = min(1.0, _FURTHEST * _reach(u, du, v, dv))
    return dw, product, (
        point.w + price * dw, below + reach * change, above - reach * change, u + price * du, v + price * dv,
    )  # fmt: skip


def _direction(
    problem: _Problem, point: _Point, factor: Array, first: Array, second: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return Newton's direction: of the weights, what A makes of it, of the dual solution and of the prices."""
    force = point.r + first - second
    dw = lapack.dpotrs(factor, problem.back(point.weights * force) - point.lack)[0]
    product = problem.times(dw)
    change = point.weights * (force - product)
    du = first - point.u - point.u / point.below * change
    dv = second - point.v + point.v / point.above * change
    return dw, product, change, du, dv


def _reach(a: Array, da: Array, b: Array, db: Array) -> float:
    """Return how far two arrays can go along their directions before an entry is zero: a little over 1 at most."""
    fastest = max(float((-da / a).max()), float((-db / b).max()))
    return min(1.0 / _FURTHEST, 1.0 / fastest) if fastest > 0 else 1.0 / _FURTHEST


def _gram(AT: Array, weights: Array) -> Array:
    """Return the upper triangle of ``A' diag(weights) A``, by blocks of rows."""
    d, m = AT.shape
    rows = max(_ENTRIES // d, 2 * d)
    total: Array = np.zeros((d, d), order="F")
    root = np.sqrt(weights)
    for begin in range(0, m, rows):
        block = AT[:, begin : begin + rows] * root[begin : begin + rows]
        total = blas.dsyrk(1.0, block.T, beta=1.0, c=total, trans=1, overwrite_c=1)
    return np.triu(total) + np.triu(total, 1).T


def _cholesky(G: Array) -> Array | None:
    """Return the factor of a Gram matrix, with as much added to its diagonal as rounding makes necessary."""
    scale = np.sqrt(np.diagonal(G))
    if not np.isfinite(scale).all() or not scale.all():
        return None
    equal = G / np.outer(scale, scale)
    for more in (0.0, 1e-15, 1e-14, 1e-13, 1e-12, 1e-10):
        factor, failed = lapack.dpotrf(equal + more * np.eye(len(G)))
        if not failed:
            whole: Array = factor * scale
            return whole
    return None


# The vertex


def _basis(problem: _Problem, point: _Point, least: float) -> NDArray[np.intp] | None:
    """Return as many independent rows as there are columns, those first whose dual solution is furthest inside.

    A row counts for no less than `least` of the first.
    """
    d, m = problem.AT.shape
    for many in (min(m, 4 * d + 64), min(m, 64 * d + 1024), m):
        likely = np.argpartition(-point.weights, many - 1)[:many] if many < m else np.arange(m)
        scale = np.sqrt(point.weights[likely])
        scale = np.maximum(scale / scale.max(), least)
        pivots = lapack.dgeqp3(problem.AT[:, likely] * scale, lwork=64 * many + 128)[1]
        rows: NDArray[np.intp] = likely[pivots[:d] - 1]
        square = problem.AT[:, rows]
        factors, _, failed = lapack.dgetrf(square)
        if not failed and lapack.dgecon(factors, np.abs(square).sum(axis=0).max())[0] > 1e-12:
            return rows
    return None


def _interpolated(square: Array, right: Array) -> Array:
    """Return the solution of a square system, refined once."""
    factors, pivots, _ = lapack.dgetrf(square)
    x = lapack.dgetrs(factors, pivots, right)[0]
    refined: Array = x + lapack.dgetrs(factors, pivots, right - (square * x).sum(axis=1))[0]
    return refined


def _residuals(problem: _Problem, b: Array, basis: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Return the weights that interpolate a basis, the residuals, and what of them is no more than rounding."""
    w = _interpolated(problem.AT[:, basis].T, b[basis])
    r = b - problem.times(w)
    r[basis] = 0.0
    sizes = problem.sizes(w)
    return w, r, _TIE * (sizes + sizes[basis].max())


def _proven(problem: _Problem, basis: NDArray[np.intp], dual: Array) -> Vertex | None:
    """Return the vertex of a basis if a dual solution can be made that proves it optimal, from one that is near."""
    w, r, tie = _residuals(problem, problem.b, basis)
    side = np.where(r > 0, problem.high, problem.low)
    zero = np.abs(r) <= tie
    found = _repaired(problem, np.flatnonzero(zero), np.where(zero, dual, side))
    return None if found is None else _judged(problem, w, found, basis)


def _judged(problem: _Problem, w: Array, dual: Array, basis: NDArray[np.intp]) -> Vertex | None:
    """Return a vertex if its gap is rounding: of the objective, and of the rows that it interpolates."""
    r, sizes = problem.b - problem.times(w), problem.sizes(w)
    zero = np.abs(r) <= _TIE * (sizes + sizes[basis].max())
    allowed = 1e-13 * problem.value(r) + 16 * EPS * float(((problem.high - problem.low) * sizes)[zero].sum())
    gap = problem.gap(r, dual)
    return Vertex(w, dual, gap, exact=True) if gap <= allowed else None


def _repaired(problem: _Problem, free: NDArray[np.intp], dual: Array) -> Array | None:
    """Return a dual solution that is feasible to rounding, with changes to `free` entries alone; None if that fails.

    Each changes in proportion to the square of its room, so that few meet a bound; those that do stay there.
    """
    low, high, rows = problem.low[free], problem.high[free], problem.AT[:, free]
    dual, slight = dual.copy(), problem.rounding()
    lack = problem.missing(dual)
    for turn in range(6):
        if len(free) == len(rows) and turn == 0:
            change = _interpolated(rows, lack)
        else:
            room = np.square(np.minimum(dual[free] - low, high - dual[free]))
            factor = _cholesky(_gram(rows, room))
            if factor is None:
                return None
            change = room * blas.dgemv(1.0, rows.T, lapack.dpotrs(factor, lack)[0])
        dual[free] = np.minimum(np.maximum(dual[free] + change, low), high)
        lack = problem.missing(dual)
        if np.abs(lack).max() <= slight:
            return dual
    return None


# Exchanges of rows


def _exchanged(problem: _Problem, basis: NDArray[np.intp]) -> tuple[bool, Vertex | None]:
    """Say whether the objective falls without end, and return the vertex that exchanges of rows lead to, if any.

    First with a little added to b, without which rows that meet in one point could be exchanged for ever.
    """
    side = np.zeros(len(problem.b), dtype=bool)
    w, _, tie = _residuals(problem, problem.b, basis)
    moved = problem.b + 64 * tie * np.random.default_rng(0).uniform(-1.0, 1.0, len(tie))
    basis = basis.copy()
    for b, share in ((moved, 0.0), (problem.b, 1.0)):
        for _ in range(100 + 4 * len(basis)):
            w, r, tie = _residuals(problem, b, basis)
            side = np.where(np.abs(r) > share * tie, r > 0, side)
            dual = np.where(side, problem.high, problem.low)
            dual[basis] = 0.0
            inner = _interpolated(problem.AT[:, basis], problem.missing(dual))
            dual[basis] = np.minimum(np.maximum(inner, problem.low[basis]), problem.high[basis])
            leaving, up, direction = _edge(problem, basis, inner)
            if leaving < 0:
                break
            product = problem.times(direction)
            if problem.falls(direction, product):
                return True, None
            row = basis[leaving]
            entering, passed = _entering(problem, basis, r, side, product, -abs(inner[leaving] - dual[row]))
            if entering < 0:
                return False, None
            side[passed] = ~side[passed]
            side[row] = up
            basis[leaving] = entering
        else:
            return False, None
    if np.abs(problem.missing(dual)).max() > problem.rounding():
        return False, None
    return False, _judged(problem, w, dual, basis)


def _edge(problem: _Problem, basis: NDArray[np.intp], inner: Array) -> tuple[int, bool, Array]:
    """Return which row to leave a basis, whether its residual shall be positive, and the edge; -1 at the minimum."""
    inverse = lapack.dgetrs(*lapack.dgetrf(problem.AT[:, basis].T)[:2], np.eye(len(basis)))[0]
    over, under = inner - problem.high[basis], problem.low[basis] - inner
    allowed = 1e-12 * (problem.high - problem.low)[basis] + problem.rounding() * np.abs(inverse).max(axis=0)
    excess = np.maximum(over, under)
    steep = np.where(excess > allowed, excess / np.sqrt((inverse * inverse).sum(axis=0)), 0.0)
    leaving = int(steep.argmax())
    if steep[leaving] <= 0:
        return -1, False, inner
    up = bool(over[leaving] > 0)
    return leaving, up, -inverse[:, leaving] if up else inverse[:, leaving]


def _entering(
    problem: _Problem, basis: NDArray[np.intp], r: Array, side: NDArray[np.bool_], product: Array, slope: float
) -> tuple[int, NDArray[np.intp]]:
    """Return the row at whose kink an edge stops falling, and the rows whose kinks it passes before."""
    inside = np.ones(len(r), dtype=bool)
    inside[basis] = False
    meets = np.flatnonzero(inside & (np.abs(product) > 1e-11 * problem.norms) & (side == (product > 0)))
    when = np.maximum(r[meets] / product[meets], 0.0)
    order = np.argsort(when, kind="stable")
    meets = meets[order]
    slopes = slope + np.cumsum((problem.high - problem.low)[meets] * np.abs(product[meets]))
    stop = min(int(np.searchsorted(slopes, 0.0)), len(meets) - 1)  # past the last it is level, but for rounding
    return (int(meets[stop]), meets[:stop]) if stop >= 0 else (-1, meets)
