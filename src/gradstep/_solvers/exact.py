"""The exact solver: least squares in closed form from a streamed Gram matrix, then refined in doubled precision.

A sample of rows tells units and condition; one read forms the Gram matrix of the columns, times the inverse of the
sample's factor where they are ill conditioned, which leaves it as well conditioned as the sample is good; its Cholesky
factor gives solution and R. Each further read takes residual and gradient, in double-double arithmetic where float64
does not do, and the step that they call for: A. J. Higgins, D. B. Szyld, E. G. Boman and I. Yamazaki, Analysis of
randomized Householder-Cholesky QR factorization with multisketching, 2023 (arXiv 2309.05868); I. C. F. Ipsen, Solution
of least squares problems with randomized preconditioned normal equations, 2025 (arXiv 2507.18466); J. Demmel, Y. Hida,
E. J. Riedy and X. S. Li, Extra-precise iterative refinement for overdetermined least squares problems, *ACM
Transactions on Mathematical Software* 35 (2009) 28.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from gradstep import _preconditioner
from gradstep._dense_algebra import exact_dot, norms, product, singular, symmetric, triangle, well_conditioned
from gradstep._kernels.rows import EPS
from gradstep._preconditioner import Factor, unexplained
from gradstep._solvers.certified import State, is_small, refined, whole
from gradstep._table.summed import MOST_HEAVY
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Evidence, Units

_BEYOND = 1e100  # of scaled entries: their squares and products would overflow
CLOSELY = 1e-6  # standard errors, for who asks for this solver by name
_CLEAR = 1e-6  # of the residuals' squares, which their rounding in a Gram matrix may come to
_GRAMS = 3  # reads that may go into it


class _Trusted(NamedTuple):
    """What a Gram matrix is trusted with."""

    condition: float
    """Of columns, as a sample has it, up to which they are taken as they are."""
    reciprocal: float
    """Condition of the matrix, down to which its factor makes refinement converge."""


# What a ridge shrinks is to be right to the last digit.
_PLAIN, _RIDGED = _Trusted(3e6, 1e-13), _Trusted(1e5, 1e-12)


class Exact(NamedTuple):
    """Exact least squares on a table, with a ridge of strength alpha."""

    alpha: float
    intercept: bool
    seed: int
    tol: float = 0.0
    closely: bool = True
    """Whether the answer is looked at by itself in any case; else the Gram matrix may say how good it is."""

    def start(self, table: Table, earlier: None = None) -> State:  # noqa: ARG002 - no state to go on from
        """Return the solution that the factor gives: one read of the rows, beside those of the sample."""
        if is_small(table):
            return whole(table, self.alpha, None, intercept=self.intercept)
        trusted = _RIDGED if self.alpha > 0 else _PLAIN
        units, factor, sums = factor_by_gram(table, self.seed, self.alpha, trusted, intercept=self.intercept)
        p = _preconditioner.preconditioner(table, units, factor, self.alpha, intercept=self.intercept)
        scaled = p.solution()
        if sums is not None and not (self.closely or p.ridged):
            evidence = _said_by(*sums, p, scaled, table.gram_rounding)
            if evidence is not None and p.suffices(evidence, scaled, self.tol, table.present):
                return State(p, scaled, evidence, 1)
        return State(p, scaled)

    def advance(self, table: Table, state: State) -> State:
        """Refine once: a read for the gradient where it is not known yet, a step, and a read at its end."""
        return refined(table, state, self.tol)

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes."""
        return 1 if state.evidence else 2


class _Basis(NamedTuple):
    """Coordinates in which the columns are nearly white: ``Z T``, with ``T`` (d, r) and its left inverse (r, d)."""

    T: NDArray[np.float64]
    inverse: NDArray[np.float64]
    unknown: NDArray[np.bool_]
    """(r,): directions in which nothing is known to be, but rounding."""


def factor_by_gram(
    table: Table, seed: int, alpha: float, trusted: _Trusted = _PLAIN, *, intercept: bool
) -> tuple[Units, Factor, tuple[NDArray[np.float64], NDArray[np.float64]] | None]:
    """Return the factor of all rows from their Gram matrix, of columns made nearly white where that is needed.

    Beside it comes the Gram matrix where it is that of the columns as they are, with the rows that are not in it.
    """
    rows = _preconditioner.SAMPLED_PER_COLUMN * (table.d + 1)
    # Of half the rows a sample saves nothing.
    order = NO_ORDER if table.n <= 2 * rows else _preconditioner.sample(table, rows, seed)
    units, constant = _preconditioner.units_of(table, order, intercept=intercept, alpha=alpha)
    basis = None if order is NO_ORDER else _of_sample(table, units, order, trusted.condition, intercept=intercept)
    for number in range(_GRAMS):
        gram, heavy = table.gram(units, None if basis is None else basis.T)
        if not np.isfinite(gram).all() or (len(heavy) and not np.abs(heavy).max() < _BEYOND):
            # An entry beyond anything in the sample: units of the largest of all rows, and no coordinates.
            units, basis = _of_largest(table, units), None
            gram, heavy = table.gram(units)
        last = number == _GRAMS - 1
        factor, basis = _factor(gram, heavy, table, basis, trusted.reciprocal, intercept=intercept, last=last)
        if factor is not None:
            break
        if order is NO_ORDER:
            factor = _preconditioner.of_all_rows(table, units, constant, intercept=intercept, closely=True)
            return units, factor, None
    assert factor is not None  # noqa: S101 - the last is taken as it is
    flat = _preconditioner.flat(table, units, factor)
    factor.R[:, flat] = 0.0
    # More heavy rows than are kept by themselves are summed in another way.
    said = basis is None and len(heavy) < MOST_HEAVY and not flat.any()
    return units, factor, (gram, heavy) if said else None


def _said_by(
    gram: NDArray[np.float64], heavy: NDArray[np.float64], p: _preconditioner.Preconditioner, w: NDArray[np.float64],
    rounding: float,
) -> Evidence | None:  # fmt: skip
    """Return what ``A' A`` of rows ``A = [1, z, y]``, and a few more rows, say of weights: residuals are products of A.

    None where their squares are not clear of rounding. An entry is off by `rounding`, and what the products here add,
    times the norms of its two columns; residuals of the few by units of what they are sums of.
    """
    d = len(w) - 1
    k = w.shape[1]
    far, rest = exact_dot(p.units.centre, w)  # far from zero the levels nearly cancel
    level = (far - p.units.y_centre) + rest
    by = np.vstack((-level, -w[:-1], np.eye(k)))
    found = gram @ by + heavy.T @ (heavy @ by)
    squares = np.maximum(np.einsum("ij,ij->j", by, found), 0.0)
    terms = np.sqrt(gram.diagonal()) @ np.abs(by), norms(np.abs(heavy) @ np.abs(by))
    # Twice, as columns are not quite about their means here.
    unit = 2 * (rounding + (d + k + 8) * EPS), 2 * (len(heavy) + d + k + 8) * EPS
    if not (squares * _CLEAR > unit[0] * np.square(terms[0]) + unit[1] * np.square(terms[1])).all():
        return None
    sums = (unit[0] * terms[0] + unit[1] * terms[1]) / np.sqrt(squares)
    by_level = found[0] * p.intercept
    slopes = found[1 : 1 + d] - p.factor.mean[:, np.newaxis] * by_level
    return Evidence(slopes, by_level, squares, sums, np.full(k, EPS))


def _of_sample(
    table: Table, units: Units, order: NDArray[np.int64], most: float, *, intercept: bool
) -> _Basis | None:  # fmt: skip
    """Return coordinates in which a sample is white; None where its columns do as they are, of `most` condition."""
    d, none = table.d, np.zeros(table.d, dtype=bool)
    rows = table.scaled(units, order, 0, len(order))
    R = _preconditioner.factor_of_rows(rows, none, intercept=intercept).R
    weight = float(np.square(rows[:, 0]).sum())
    length = norms(R) / math.sqrt(weight)
    known = np.flatnonzero(length)
    if len(known) == 0:
        return None
    unit = R[:, known] / (length[known] * math.sqrt(weight))
    if well_conditioned(unit, most) is not None:
        return None
    _, values, vectors = singular(unit)
    if values[-1] * most > values[0]:
        return None
    empty = values <= len(order) * EPS * values[0]
    values = np.where(empty, values[0], values)
    # A column that is constant in the sample stays as it is.
    T, inverse, unknown = np.eye(d), np.eye(d), np.zeros(d, dtype=bool)
    T[np.ix_(known, known)] = vectors.T / values / length[known, np.newaxis]
    inverse[np.ix_(known, known)] = values[:, np.newaxis] * vectors * length[known]
    unknown[known] = empty
    return _Basis(T, inverse, unknown)


def _factor(
    gram: NDArray[np.float64], heavy: NDArray[np.float64], table: Table, basis: _Basis | None, trusted: float, *,
    intercept: bool, last: bool,
) -> tuple[Factor | None, _Basis | None]:  # fmt: skip
    """Return the factor of a Gram matrix; or None, and coordinates in which the next one is better conditioned."""
    r, total = gram.shape[0] - 1 - table.k, float(gram[0, 0])
    mean = gram[0, 1:] / total if intercept else np.zeros(r + table.k)
    G = gram[1:, 1:] - total * np.outer(mean, mean)
    size = np.sqrt(np.maximum(G.diagonal()[:r], 0.0))
    live = size > 0.0
    if basis is not None:
        # Where a sample has nothing the table may have nothing either: what is left then is rounding.
        rounding = max(table.present, table.d) * EPS * math.sqrt(total) * norms(basis.T)
        live &= ~(basis.unknown & (size <= rounding))
    at = np.flatnonzero(live)
    size = size[at]
    C, c = G[np.ix_(at, at)] / size / size[:, np.newaxis], G[at, r:] / size[:, np.newaxis]
    if len(at) == 0 and len(heavy) == 0:
        none = np.zeros((0, table.k))
        left = unexplained(G.diagonal()[r:], none)
        return Factor(np.zeros((0, table.d)), none, np.zeros(table.d), mean[r:], 0.0, left), None
    U, failed = lapack.dpotrf(C, lower=0, clean=1)
    trust = 0.0 if failed else float(lapack.dpocon(U, np.abs(C).sum(axis=0).max())[0])
    if trust < trusted and len(heavy):
        none = heavy[:0]
        return _factor(gram + heavy.T @ heavy, none, table, basis, trusted, intercept=intercept, last=last)
    if trust >= trusted:
        Q = lapack.dtrtrs(U, c, trans=1)[0]
    else:
        values, vectors = symmetric(C)
        least = len(at) * EPS * values[-1]
        unknown, values = values < least, np.maximum(values, least)
        if not last:
            root = np.sqrt(values / total)
            T, inverse = vectors / root / size[:, np.newaxis], root[:, np.newaxis] * vectors.T * size
            T, inverse = _within(T, inverse, at, table.d, basis)
            return None, _Basis(T, inverse, unknown)
        U = np.sqrt(values)[:, np.newaxis] * vectors.T
        Q = product(vectors.T, c) / np.sqrt(values)[:, np.newaxis]
    R, left = U * size, unexplained(G.diagonal()[r:], Q)
    if len(heavy):
        R, Q, mean, at = _with_rows(R, Q, mean, at, math.sqrt(total), heavy, intercept=intercept)
        if basis is not None:
            R[:, basis.unknown & (norms(R) <= rounding)] = 0.0
    mean_of_columns = np.zeros(table.d)
    if basis is None:
        whole = np.zeros((len(R), table.d))
        whole[:, at] = R
        R, mean_of_columns = whole, mean[:r]
    else:
        R, mean_of_columns = product(R, basis.inverse[at]), basis.inverse.T @ mean[:r]
    return Factor(R, Q, mean_of_columns, mean[r:], _preconditioner.rounding_of(trust), left), basis


def _with_rows(
    R: NDArray[np.float64], Q: NDArray[np.float64], mean: NDArray[np.float64], at: NDArray[np.intp], root: float,
    rows: NDArray[np.float64], *, intercept: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:  # fmt: skip
    """Return a factor, of all coordinates, with more rows ``[1, Z T, y]`` in it, and the means."""
    k, r = Q.shape[1], len(mean) - Q.shape[1]
    above = np.zeros((1 + len(R), 1 + r + k))
    above[0, 0], above[0, 1:] = root, root * mean
    above[1:, 1 + at], above[1:, 1 + r :] = R, Q
    first = 0 if intercept else 1
    both = triangle(np.vstack((above, rows))[first:, first:])
    if intercept:
        mean = both[0, 1:] / both[0, 0]
    columns = slice(1 - first, 1 - first + r)
    return both[columns, columns].copy(), both[columns, 1 - first + r :].copy(), mean, np.arange(r)


def _within(
    T: NDArray[np.float64], inverse: NDArray[np.float64], at: NDArray[np.intp], d: int, basis: _Basis | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates of some of the coordinates of a basis as coordinates of the columns."""
    if basis is not None:
        return product(basis.T[:, at], T), product(inverse, basis.inverse[at])
    whole, back = np.zeros((d, T.shape[1])), np.zeros((T.shape[1], d))
    whole[at], back[:, at] = T, inverse
    return whole, back


def _of_largest(table: Table, units: Units) -> Units:
    """Return units in which the largest entry of all rows is about 1."""
    of_columns, of_responses = table.statistics(NO_ORDER, centred=False)
    scale, y_scale = np.minimum(units.scale, of_columns[3]), np.minimum(units.y_scale, of_responses[3])
    return Units(scale, units.centre * (scale / units.scale), y_scale, units.y_centre * (y_scale / units.y_scale))
