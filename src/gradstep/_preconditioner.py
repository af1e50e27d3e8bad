"""What removes conditioning: units of the columns, the triangular factor R, rank, leverage.

With ``X`` the weighted, scaled, centred rows and ``R' R = X' X`` (plus a ridge), a basis ``T`` of full column rank with
``T T' = (R' R)^+`` makes every problem well conditioned: ``X T`` has orthonormal columns, ``T T' g`` is the step from
any point to the minimum, and ``norm(T' g)`` the distance to it. Only where R comes from is different: all rows, a Gram
matrix, a sketch, or a sample of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import (
    inverse,
    norms,
    orthonormal,
    product,
    singular,
    tall_gram,
    tall_triangle,
    triangle,
    triangle_of_gram,
    well_conditioned,
)
from gradstep._dependence import all_but, dependent_columns
from gradstep._kernels.rows import EPS
from gradstep._kernels.squares import roundings
from gradstep._numbers import stream
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, WAYS, WIDE_SUM, Evidence, Units, Way

SAMPLED_PER_COLUMN = 20  # rows of a sample that tells units, and rank to begin with
PROJECTIONS = 16
_LARGEST_ROOT = 300  # exponent of the root of a ridge in scaled units, so that its squares do not overflow
_UNSEEN = 1e-13  # of squares, whose differences below that are rounding
_ROUNDED = 1 / 8  # of the tolerance that rounding of a gradient may take
_WELL_CONDITIONED = 3e6  # columns of unit length: a Gram matrix tells their condition to half a hundredth
_TRUSTED = 1e-10  # reciprocal condition of a Gram matrix, down to which its factor is good to a ten-thousandth
_ROUGHLY = 1e-14  # the same to a third, where a factor stretches by more in any case: that of a sample
_NO_NOISE = 100 * EPS  # residuals below this, relative to the fitted values, are rounding
_NOTHING = 1e-12  # of a unit vector
_TALL = 8  # times the columns: of fewer rows the sums of blocks would take more memory than the rows do
_LONG_WORK = 1 << 32  # products of a Gram matrix: half a second where Householder's method takes one and a half


class Factor(NamedTuple):
    """A factor of the weighted rows ``[1, Z, y]``: triangular or not, ``R' R`` is their Gram matrix."""

    R: NDArray[np.float64]
    """(p, d) of the columns, about their means if there is an intercept."""
    Q: NDArray[np.float64]
    """(p, k): what the responses are in the same coordinates."""
    mean: NDArray[np.float64]
    """(d,) means of the scaled, centred columns: 0 without an intercept, else what the centre missed."""
    y_mean: NDArray[np.float64]
    """(k,) the same of the responses."""
    error: float
    """Relative error of ``R' R`` in the direction that it knows least of."""
    noise: NDArray[np.float64]
    """(k,) norms of what the columns leave of the responses, about; 0 where that is near rounding."""


@dataclass(frozen=True)
class Preconditioner:
    """The basis T with what was learnt on the way to it."""

    units: Units
    intercept: bool
    total: float
    """Sum of the weights."""
    factor: Factor
    T: NDArray[np.float64]
    """(d, r)"""
    white: NDArray[np.float64]
    """(p, r) the factor times T, with orthonormal columns where there is no ridge."""
    length: NDArray[np.float64]
    """(d,) root-mean-square of the centred, scaled columns; 1 for a constant one."""
    rank: int
    condition: float
    dependent: tuple[int, ...]
    degrees: float
    """Degrees of freedom that the fit takes, the intercept's apart: the rank, less with a ridge."""
    ridge: NDArray[np.float64]
    """(d,) of ``1/2 sum ridge u**2``, in units of scaled coefficients; 0 without."""
    centre: NDArray[np.float64]
    """(d,) means of the scaled columns; 0 without an intercept."""
    ridged: bool
    stretch: float = 0.0
    """rho: by how much more than itself any ``norm(X u)`` may be in the factor; 0 of an exact one."""
    rows: int = 0
    """Rows of the sketch or sample; 0 of an exact one."""
    kind: str = "exact"
    failed: int = 0
    """How many of `WAYS`, from the first on, are too little, as one of them has shown."""

    @cached_property
    def columns(self) -> NDArray[np.float64]:
        """Norms of the scaled columns about zero, (d,)."""
        return math.sqrt(self.total) * np.hypot(self.length, self.centre)

    @cached_property
    def spread(self) -> NDArray[np.float64]:
        """Standard errors of the coefficients, over sigma, (d,)."""
        spread: NDArray[np.float64] = np.sqrt((self.T * self.T).sum(axis=1))
        return spread

    @cached_property
    def in_gradient(self) -> float:
        """What ``norm(R^-1) norm(|X|' |r|)`` is at most, over ``norm(r)``."""
        return float(self.spread @ self.columns) + 1.0

    def lost(self, evidence: Evidence, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances (k,) that the rounding of the arithmetic behind a gradient may come to."""
        size, root = np.sqrt(evidence.squares), math.sqrt(self.total)
        # In float64 columns and responses are taken about their means, or as they stand, and residuals are rounded too.
        centred = np.asarray(evidence.about_means)
        about_means = float(self.spread @ (root * self.length)) + 1.0
        in_scores = np.where(centred, root * (self.length @ np.abs(w[:-1])), self.in_weights(w)) + size
        # Sums of columns as they stand are then taken about the means, which rounds once more. Wide sums, of whatever
        # residuals, are of columns as they stand, and taken about the means without a loss.
        plain = (np.asarray(evidence.scores) > 0) & (np.asarray(evidence.sums) > WIDE_SUM)
        of_sums = np.where(plain, np.where(centred, about_means, 2 * self.in_gradient), self.in_gradient)
        return np.asarray(evidence.sums * of_sums * size + evidence.scores * in_scores)

    def in_weights(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sizes (k,) of the terms that fitted values are sums of."""
        sizes: NDArray[np.float64] = self.columns @ np.abs(w[:-1]) + math.sqrt(self.total) * np.abs(w[-1])
        return sizes

    def rounding(self, evidence: Evidence, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances (k,) that rounding of the weights and of a gradient in float64 may come to."""
        return EPS / 2 * (self.in_gradient * np.sqrt(evidence.squares) + self.in_weights(w))

    def fitted(self, w: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the norms (k,) of the fitted values about their means, by the factor, and those of the means."""
        return norms(self.factor.R @ w[:-1]), math.sqrt(self.total) * np.abs(w[-1] + self.centre @ w[:-1])

    def evidence(self, table: Table, w: NDArray[np.float64], tol: float = 0.0) -> Evidence:
        """Return the gradient at weights (d + 1, k) of scaled, uncentred rows: see `evidence_and_norms`."""
        return self.evidence_and_norms(table, w, tol, None)[0]

    def evidence_and_norms(
        self, table: Table, w: NDArray[np.float64], tol: float, probes: NDArray[np.float64] | None
    ) -> tuple[Evidence, Any]:
        """Return the gradient and, with probes, each row's leverage by them; the share of the intercept is not in it.

        It is as good as in twice the precision, or taken in float64 as long as its rounding is an eighth of `tol`
        standard errors at most.
        """
        where = table, w, tol, probes
        found, norms = self._plain(*where) if tol > 0 else (None, None)
        if found is None:
            found, norms = table.wide_gradient(self.units, self.factor.mean, w, intercept=self.intercept, probes=probes)
        if self.ridged:
            found.slopes[...] -= self.ridge[:, np.newaxis] * w[:-1]
        return found, norms

    def _plain(
        self, table: Table, w: NDArray[np.float64], tol: float, probes: NDArray[np.float64] | None
    ) -> tuple[Evidence | None, Any]:
        """Return a gradient taken in float64, but for its sums perhaps; None where that is too little."""
        for number, way in enumerate(WAYS):
            if number >= self.failed and self.foreseen(table, w, tol, way):
                take = table.doubled_gradient if way.doubled else partial(table.plain_gradient, centred=way.centred)
                found, norms = take(self.units, self.factor.mean, w, intercept=self.intercept, probes=probes)
                if self.suffices(found, w, tol, table.present) or not np.any(found.scores):
                    return found, norms
                # About the means it cannot be taken in another way, but for the sums.
                self.__dict__["failed"] = 2 if np.all(found.about_means) and not way.doubled else number + 1
        return None, None

    def foreseen(self, table: Table, w: NDArray[np.float64], tol: float, way: Way) -> bool:
        """Whether a gradient taken that way will suffice, as far as that can be told before anything is read."""
        noise, (of_sums, of_scores) = self.factor.noise, roundings(table.d, table.k)
        units = WIDE_SUM if way.doubled else of_sums, of_scores
        found = Evidence(np.zeros(0), np.zeros(1), np.square(noise), *units, way.centred)
        return bool(noise.all()) and self.suffices(found, w, tol, table.present)

    def suffices(self, evidence: Evidence, w: NDArray[np.float64], tol: float, rows: int) -> bool:
        """Whether a gradient is finite, and its rounding an eighth of `tol` standard errors at most."""
        small = self.lost(evidence, w) <= tol * _ROUNDED * np.sqrt(evidence.squares / rows)
        return bool(small.all() and np.isfinite(evidence.slopes).all())

    def distance(self, evidence: Evidence) -> NDArray[np.float64]:
        """Return ``norm(R^-T g)`` (k,), the distance to the minimum of each output."""
        white = self.T.T @ evidence.slopes
        lengths: NDArray[np.float64] = np.sqrt((white * white).sum(axis=0) + np.square(evidence.by_level) / self.total)
        return lengths

    def step(self, evidence: Evidence) -> NDArray[np.float64]:
        """Return the step (d + 1, k) to the minimum, in weights of scaled, uncentred rows."""
        by = np.empty((len(self.T) + 1, evidence.slopes.shape[1]))
        by[:-1] = self.T @ (self.T.T @ evidence.slopes)
        by[-1] = evidence.by_level / self.total - self.centre @ by[:-1]
        return by

    def solution(self) -> NDArray[np.float64]:
        """Return the weights (d + 1, k) that the factor itself gives."""
        w = np.empty((len(self.T) + 1, self.factor.Q.shape[1]))
        w[:-1] = self.T @ (self.white.T @ self.factor.Q)
        at_centre = self.factor.y_mean - self.factor.mean @ w[:-1] + self.units.y_centre
        w[-1] = at_centre - self.units.centre @ w[:-1] if self.intercept else 0.0
        return w

    def probes(self, seed: int) -> NDArray[np.float64]:
        """Return the projections (16, d) of the basis that leverages are estimated with."""
        rng = stream("leverage", seed)
        signs = rng.choice((-1.0, 1.0), (PROJECTIONS, self.T.shape[1]))
        return product(signs / math.sqrt(PROJECTIONS), self.T.T)

    def leverages(self, table: Table, seed: int) -> NDArray[np.float64]:
        """Return ``x (R' R)^-1 x`` of each row without its weight, by 16 random projections, in one read."""
        norms: NDArray[np.float64] = table.alone().squared_norms(self.units, self.centre, self.probes(seed))
        norms += self.intercept / self.total
        return norms

    def leverages_of(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same exactly of rows that are there, as `Table.scaled` returns them in these units."""
        d = len(self.T)
        white = product(rows[:, 1 : 1 + d] - rows[:, :1] * self.factor.mean, self.T)
        weight = np.square(rows[:, 0])
        norms: NDArray[np.float64] = np.square(white).sum(axis=1)
        np.divide(norms, weight, out=norms, where=weight > 0)
        norms += self.intercept / self.total
        return norms


def noisy(
    size: NDArray[np.float64], about: NDArray[np.float64], level: NDArray[np.float64], rounding: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which outputs (k,) have residuals of a size that is not all rounding, beside the sizes of `fitted`."""
    found: NDArray[np.bool_] = size > np.maximum(_NO_NOISE * np.hypot(about, level), rounding)
    return found


def units_of(
    table: Table, order: NDArray[np.int64], *, intercept: bool, alpha: float = 0.0, copied: bool = False
) -> tuple[Units, NDArray[np.bool_]]:
    """Return units from some rows, or from all if `order` is empty, and which columns are constant in them.

    With a ridge of strength alpha, columns of tiny units are scaled less than to 1: it is far above their squares.
    """
    of_columns, of_responses = table.statistics(order, centred=intercept, copied=copied)
    scale, centre = of_columns[0], of_columns[1]
    if alpha > 0:
        largest = 2.0 ** (_LARGEST_ROOT - math.ceil(math.log2(alpha * table.n) / 2))
        less = np.minimum(1.0, largest / scale)
        scale, centre = scale * less, centre * less
    return Units(scale, centre, of_responses[0], of_responses[1]), of_columns[2] > 0


def preconditioner(
    table: Table, units: Units, factor: Factor, alpha: float, *, intercept: bool,
    kind: str = "exact", length: NDArray[np.float64] | None = None,
) -> Preconditioner:  # fmt: skip
    """Return the preconditioner that a factor gives, with a ridge of strength alpha: rank, condition, basis.

    Rank is decided on columns of unit root-mean-square, by the cut ``max(n, d) eps`` of the largest singular value. The
    factor tells `length` only as nearly as it is that of all rows.
    """
    R = factor.R
    d = R.shape[1]
    total = table.n * (float(table.weight[0]) if table.weight.size == 1 else 1.0)
    of_factor = norms(R) / math.sqrt(total)
    empty = of_factor == 0.0
    length = np.where(empty, 1.0, of_factor if length is None else length)
    dependent: tuple[int, ...] = ()
    condition = well_conditioned(R / length, _WELL_CONDITIONED)
    if condition is not None:
        rank, basis, white = d, np.eye(d), np.eye(d)
        T = inverse(R / length) / length[:, np.newaxis]
    else:
        left, values, rows = singular(R / length)
        rank = int(np.count_nonzero(values > max(table.present, d) * EPS * values[0])) if values.size else 0
        basis = rows[:rank].T
        T = np.ascontiguousarray((basis / values[:rank]) / length[:, np.newaxis])
        condition = float(values[0] / values[rank - 1]) if rank else 1.0
        if rank < d:
            if len(rows) < d <= table.present:  # a factor without the rows that are rounding
                rows = singular(np.vstack((R / length, np.zeros((d - len(R), d)))))[2]
            dependent = dependent_columns(rows[rank:]) if len(rows) == d else all_but(R / length, rank)
        white = left[:, :rank]
    T[empty] = 0.0  # not the rounding of it
    ridge, degrees = np.zeros(d), float(rank)
    if alpha > 0 and rank:
        root = math.sqrt(alpha * total) * units.scale
        ridge = np.square(root)
        T = _ridged(R, length, basis, root)
        T[empty] = 0.0
        white = product(R, T)
        degrees = float(np.square(white).sum())
    error = factor.error + 64 * EPS * condition
    return Preconditioner(
        units, intercept, total, factor._replace(error=error), T, white, length, rank, condition, dependent, degrees,
        ridge, units.centre + factor.mean, alpha > 0, kind=kind,
    )  # fmt: skip


def _ridged(
    R: NDArray[np.float64], length: NDArray[np.float64], basis: NDArray[np.float64], root: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the basis of columns with a ridge below them; of a short rank within the space that its minimum lies in.

    Outside that space a ridge too small to be seen beside rounding would leave the least norm to chance. It is that of
    the rows in the caller's units, or all that is orthogonal there to what the columns do not tell apart: of columns
    in units of many sizes each is known as well as the smaller of the two.
    """
    d, rank = basis.shape
    if rank == d:
        return inverse(_sorted_triangle(R, np.diag(root)))
    weight = root / length
    weight = (weight / weight.max())[:, np.newaxis]
    if d - rank < rank:
        null = np.linalg.qr(basis, mode="complete")[0][:, rank:]
        null[np.abs(null) < _NOTHING] = 0.0  # an entry that is rounding would be felt in a column of tiny units
        outside = orthonormal(weight * null)
        inside = weight * basis
        inside = (inside - product(outside, product(outside.T, inside))) / weight
    else:
        inside = orthonormal(basis / weight) / weight
    inside = inside / length[:, np.newaxis]
    return product(inside, inverse(_sorted_triangle(product(R, inside), root[:, np.newaxis] * inside)))


def _sorted_triangle(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R of both, largest rows first: Householder's method then minds no rows of very different size."""
    both = np.vstack((above, below))
    return triangle(both[np.argsort(-np.abs(both).max(axis=1))])


def of_all_rows(
    table: Table, units: Units, constant: NDArray[np.bool_], *, intercept: bool, closely: bool = False
) -> Factor:
    """Return the factor of all rows of positive weight by Householder's QR, exact to rounding; it copies them.

    Where that takes long, and it need not be that `closely`, it is that of their Gram matrix if its condition allows
    for it: `Factor.error` says how far.
    """
    order = NO_ORDER if table.present == table.n else np.flatnonzero(table.weight)
    long = table.present * (table.d + 1.0) ** 2 > _LONG_WORK and table.present >= _TALL * (table.d + table.k + 1)
    if long and not closely and not constant.any():
        factor = _of_gram(table, units, order, np.ones(1), constant, intercept=intercept)
        if factor is not None:
            return factor
    rows = table.scaled(units, order, 0, table.present)
    return factor_of_rows(rows, constant, intercept=intercept, closely=True)


def factor_of_rows(
    A: NDArray[np.float64], constant: NDArray[np.bool_], *, intercept: bool, closely: bool = False
) -> Factor:
    """Return the factor of some rows; if it need not be that `closely`, by their Gram matrix where that is safe."""
    if not intercept:
        A = np.ascontiguousarray(A[:, 1:])
    found = None
    if not closely and len(A) >= 2 * A.shape[1] and not constant.any():
        with np.errstate(over="ignore", invalid="ignore"):
            found = triangle_of_gram(tall_gram(A), len(constant) + intercept, _TRUSTED)
    squares = np.square(norms(A[:, len(constant) + intercept :]))
    return _factor(*(found or (tall_triangle(A), math.inf)), squares, constant, intercept=intercept)


def factor_of_some(
    table: Table, units: Units, order: NDArray[np.int64], share: NDArray[np.float64], constant: NDArray[np.bool_],
    *, intercept: bool,
) -> Factor:  # fmt: skip
    """Return the factor of some rows of a table, each times its share, (rows,) or one for all: see `factor_of_rows`."""
    if not constant.any():
        factor = _of_gram(table, units, order, share, constant, intercept=intercept, trusted=_ROUGHLY)
        if factor is not None:
            return factor
    rows = table.scaled(units, order, 0, len(order))
    rows *= share[:, np.newaxis]
    return factor_of_rows(rows, constant, intercept=intercept, closely=True)


def _of_gram(
    table: Table, units: Units, order: NDArray[np.int64], share: NDArray[np.float64], constant: NDArray[np.bool_],
    *, intercept: bool, trusted: float = _TRUSTED,
) -> Factor | None:  # fmt: skip
    """Return the factor of some rows, or of all, by their Gram matrix; None where that is too ill conditioned."""
    if (len(order) or table.n) < 2 * (table.d + table.k + 1):
        return None
    first = 1 - int(intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        G = table.gram_of(units, order, share)[first:, first:]
        found = triangle_of_gram(G, table.d + intercept, trusted)
    if found is None:
        return None
    return _factor(*found, G.diagonal()[table.d + intercept :], constant, intercept=intercept)


def _factor(
    R: NDArray[np.float64], trust: float, squares: NDArray[np.float64], constant: NDArray[np.bool_], *, intercept: bool
) -> Factor:
    """Return the factor that a triangle of ones, columns and responses is, the squares (k,) being the responses'."""
    d, first = len(constant), int(intercept)
    mean, y_mean = np.zeros(d), np.zeros(R.shape[1] - d - first)
    if intercept and R[0, 0] != 0.0:
        mean, y_mean = R[0, 1 : 1 + d] / R[0, 0], R[0, 1 + d :] / R[0, 0]
    columns = R[first : first + d, first : first + d].copy()
    if intercept:  # what is left about the mean of rows that are alike is the rounding of it
        constant = constant | (norms(columns) <= 8 * EPS * np.abs(R[0, 1 : 1 + d]))
    columns[:, constant] = 0.0
    left = unexplained(squares, R[: first + d, first + d :])
    return Factor(columns, R[first : first + d, first + d :].copy(), mean, y_mean, rounding_of(trust), left)


def rounding_of(trust: float) -> float:
    """Return by how much a factor may stretch that is made of a Gram matrix of a reciprocal condition."""
    return (16 if trust >= _TRUSTED else 64) * EPS / max(trust, EPS)


def unexplained(squares: NDArray[np.float64], Q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norms (k,) of what is left of responses by their squares, Q being what they have in the columns."""
    left = squares - np.square(Q).sum(axis=0)
    return np.sqrt(np.where(left > _UNSEEN * squares, left, 0.0))


def sample(table: Table, m: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of m random rows of positive weight, or of all there are, in order."""
    rng = stream("sample", seed, m)
    m = min(m, table.present)
    if table.present == table.n:
        chosen = rng.choice(table.n, m, replace=False, shuffle=False)
    else:
        present = np.flatnonzero(table.weight)
        chosen = present[rng.choice(len(present), m, replace=False, shuffle=False)]
    return np.sort(chosen).astype(np.int64)


def flat(table: Table, units: Units, factor: Factor) -> NDArray[np.bool_]:
    """Return the columns whose entries differ by the rounding of their values at most."""
    size = np.sqrt(np.square(factor.R).sum(axis=0) / table.n)
    found: NDArray[np.bool_] = (size > 0) & (size <= 4 * EPS * np.abs(units.centre + factor.mean))
    if found.any():
        found &= units_of(table, NO_ORDER, intercept=True)[1]
    return found
