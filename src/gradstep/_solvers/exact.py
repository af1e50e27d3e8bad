"""The exact solver: least squares in closed form from a streamed Gram matrix, then refined in doubled precision.

A sample of rows tells units and condition; one read forms the Gram matrix of the columns, times the inverse of the
sample's factor where they are ill conditioned, which leaves it as well conditioned as the sample is good; its Cholesky
factor gives solution and R. Each further read takes residual and gradient in double-double arithmetic, and the step
that they call for: A. J. Higgins, D. B. Szyld, E. G. Boman and I. Yamazaki, Analysis of randomized Householder-Cholesky
QR factorization with multisketching, 2023 (arXiv 2309.05868); I. C. F. Ipsen, Solution of least squares problems with
randomized preconditioned normal equations, 2025 (arXiv 2507.18466); J. Demmel, Y. Hida, E. J. Riedy and X. S. Li,
Extra-precise iterative refinement for overdetermined least squares problems, *ACM Transactions on Mathematical
Software* 35 (2009) 28.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from gradstep import _preconditioner
from gradstep._dense_algebra import norms, product, singular, symmetric, triangle
from gradstep._kernels.rows import EPS
from gradstep._preconditioner import Factor, Preconditioner
from gradstep._table.dense import NO_ORDER, Dense, Evidence, Units

SMALL = 20_000
"""Cells up to which a table is its own sample, and is solved to the last digit."""

_WELL_CONDITIONED = 1e5  # columns whose Gram matrix needs no preconditioning
_TRUSTED = 1e-12  # reciprocal condition of a Gram matrix, down to which its factor makes refinement converge
_BEYOND = 1e100  # of scaled entries: their squares and products would overflow
_GRAMS = 3  # reads that may go into it


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    preconditioner: Preconditioner
    scaled: NDArray[np.float64]
    """(d + 1, k) weights of scaled, uncentred rows, the intercept last."""
    evidence: Evidence | None = None
    """Taken at these weights."""
    epoch: int = 0
    """Rounds finished."""
    unchanged: bool = False
    """Whether the last step was too small to change a weight."""
    rate: float = math.nan
    ended: bool = True

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1, k) in the caller's units."""
        units = self.preconditioner.units
        if not np.isfinite(self.scaled).all():
            raise ValueError(
                "X, y, sample_weight: their entries are too far apart for float64; columns of other units, or weights "
                "nearer to each other, are needed."
            )
        w = in_callers_units(self.scaled, units)
        back = from_callers_units(w, units)
        # What float64 cannot hold shows on the way back, where it matters to the fitted values.
        lost = back != self.scaled
        if lost.any():
            share = np.append(self.preconditioner.length, 1.0)[:, np.newaxis]
            lost = ~(np.abs(back - self.scaled) * share <= _LOST)
        if lost.any():
            j, c = np.unravel_index(int(lost.argmax()), lost.shape)
            what = f"coefficient of column {j}" if j < len(w) - 1 else "intercept"
            size = math.log10(abs(self.scaled[j, c])) - math.log10(units.y_scale[c])
            size += math.log10(units.scale[j]) if j < len(w) - 1 else 0.0
            raise ValueError(
                f"X, y: the {what} is about 1e{size:+.0f}, which float64 cannot hold; other units of "
                f"{'X or ' if j < len(w) - 1 else ''}y are needed."
            )
        return w

    @property
    def scaled_losses(self) -> NDArray[np.float64]:
        """Weighted mean losses of the scaled responses, an entry an output."""
        assert self.evidence is not None  # noqa: S101 - a round has ended
        return self.evidence.squares / (2 * self.preconditioner.total)

    @property
    def running(self) -> float:
        """The objective."""
        p = self.preconditioner
        penalties = p.ridge @ np.square(self.scaled[:-1]) / (2 * p.total)
        with np.errstate(over="ignore", under="ignore"):  # of responses beyond 1e154 the squares are infinite
            return float(((self.scaled_losses + penalties) / p.units.y_scale / p.units.y_scale).sum())

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""


_FELT = 1e-3  # standard errors
_LOST = 1e-12  # of the spread of the response, in the fitted values


def nearest(
    preconditioner: Preconditioner, w: NDArray[np.float64], by: NDArray[np.float64], felt: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return ``w + by``, rounded so that the fitted values move little; of the outputs where that is felt.

    The weights are rounded one after the other, those whose last digit weighs most first, and each time the rest is
    fitted anew: L. Babai, On Lovasz' lattice reduction and the nearest lattice point problem, *Combinatorica* 6 (1986)
    1-13.
    """
    p = preconditioner
    root = math.sqrt(p.total)
    about = np.vstack((p.factor.R, np.diag(np.sqrt(p.ridge)))) if p.ridged else p.factor.R
    rows = np.vstack((np.append(p.centre, 1.0) * root, np.column_stack((about, np.zeros(len(about))))))
    weights = np.arange(len(w) if p.intercept else len(w) - 1)
    out = w + by
    for c in np.flatnonzero(felt):
        order = weights[np.argsort(np.spacing(np.abs(out[weights, c])) * norms(rows[:, weights]))]
        R = triangle(rows[:, order])
        moved = np.zeros(len(order))
        for i in range(len(order) - 1, -1, -1):
            j = order[i]
            goal = by[j, c]
            if R[i, i] != 0.0:
                goal -= R[i, i + 1 :] @ moved[i + 1 :] / R[i, i]
            out[j, c] = w[j, c] + goal
            moved[i] = (out[j, c] - w[j, c]) - by[j, c]
    return out


def in_callers_units(w: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return weights of scaled, uncentred rows as weights of the caller's: exact, but where float64 ends."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(w, _exponents(units))


def from_callers_units(w: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Return the weights of scaled, uncentred rows that are the caller's."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(w, -_exponents(units))


def _exponents(units: Units) -> NDArray[np.int32]:
    of_columns, of_responses = np.frexp(units.scale)[1], np.frexp(units.y_scale)[1]
    return np.append(of_columns, 1)[:, np.newaxis] - of_responses


class Exact(NamedTuple):
    """Exact least squares on a table, with a ridge of strength alpha."""

    alpha: float
    intercept: bool
    seed: int

    def start(self, table: Dense, earlier: None = None) -> State:  # noqa: ARG002 - no state to go on from
        """Return the solution that the factor gives: one read of the rows, beside those of the sample."""
        preconditioner = self.preconditioner(table)
        return State(preconditioner, preconditioner.solution())

    def advance(self, table: Dense, state: State) -> State:
        """Refine once: a read for the gradient where it is not known yet, a step, and a read at its end."""
        preconditioner = state.preconditioner
        evidence = state.evidence or preconditioner.evidence(table, state.scaled)
        scaled = state.scaled + preconditioner.step(evidence)
        if not self.intercept:
            scaled[-1] = 0.0
        if np.array_equal(scaled, state.scaled):
            return State(preconditioner, scaled, evidence, state.epoch + 1, unchanged=state.evidence is not None)
        return State(preconditioner, scaled, preconditioner.evidence(table, scaled), state.epoch + 1)

    def finish(self, table: Dense, state: State) -> State | None:
        """Return another state where rounding is felt in the fitted values: see `nearest`. One read of the rows.

        Otherwise each weight keeps its own digits: they are right to the last up to a condition of about 1e7, beyond
        which the rounding of one is felt in others.
        """
        preconditioner, evidence = state.preconditioner, state.evidence
        assert evidence is not None  # noqa: S101 - a round ends with it
        felt = preconditioner.distance(evidence) > _FELT * np.sqrt(evidence.squares / table.n)
        if not felt.any() or preconditioner.rank < table.d:
            return None
        scaled = nearest(preconditioner, state.scaled, preconditioner.step(evidence), felt)
        return State(preconditioner, scaled, preconditioner.evidence(table, scaled), state.epoch + 1)

    def preconditioner(self, table: Dense) -> Preconditioner:
        """Return the preconditioner of all rows: by QR of a small table, else from its Gram matrix."""
        intercept = self.intercept
        if is_small(table):
            units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=intercept, alpha=self.alpha)
            factor = _preconditioner.of_all_rows(table, units, constant, intercept=intercept)
        else:
            units, factor = factor_by_gram(table, self.seed, self.alpha, intercept=intercept)
        return _preconditioner.preconditioner(table, units, factor, self.alpha, intercept=intercept)


def is_small(table: Dense) -> bool:
    """Whether a table is solved to the last digit whatever is asked for."""
    return table.n * table.d <= SMALL or table.n <= table.d


class _Basis(NamedTuple):
    """Coordinates in which the columns are nearly white: ``Z T``, with ``T`` (d, r) and its left inverse (r, d)."""

    T: NDArray[np.float64]
    inverse: NDArray[np.float64]
    unknown: NDArray[np.bool_]
    """(r,): directions in which nothing is known to be, but rounding."""


def factor_by_gram(table: Dense, seed: int, alpha: float, *, intercept: bool) -> tuple[Units, Factor]:
    """Return the factor of all rows from their Gram matrix, of columns made nearly white where that is needed."""
    rows = _preconditioner.SAMPLED_PER_COLUMN * (table.d + 1)
    # Of half the rows a sample saves nothing.
    order = NO_ORDER if table.n <= 2 * rows else _preconditioner.sample(table, rows, seed)
    units, constant = _preconditioner.units_of(table, order, intercept=intercept, alpha=alpha)
    basis = None if order is NO_ORDER else _of_sample(table, units, order, intercept=intercept)
    for number in range(_GRAMS):
        gram, heavy = table.gram(units, None if basis is None else basis.T)
        if not np.isfinite(gram).all() or (len(heavy) and not np.abs(heavy).max() < _BEYOND):
            # An entry beyond anything in the sample: units of the largest of all rows, and no coordinates.
            units, basis = _of_largest(table, units), None
            gram, heavy = table.gram(units)
        factor, basis = _factor(gram, heavy, table, basis, intercept=intercept, last=number == _GRAMS - 1)
        if factor is not None:
            break
        if order is NO_ORDER:
            return units, _preconditioner.of_all_rows(table, units, constant, intercept=intercept)
    assert factor is not None  # noqa: S101 - the last is taken as it is
    flat = _flat(table, units, factor)
    factor.R[:, flat] = 0.0
    return units, factor


def _of_sample(table: Dense, units: Units, order: NDArray[np.int64], *, intercept: bool) -> _Basis | None:
    """Return coordinates in which a sample is white; None where its columns do as they are."""
    d, none = table.d, np.zeros(table.d, dtype=bool)
    rows = table.scaled(units, order, 0, len(order))
    R = _preconditioner.factor_of_rows(rows, none, intercept=intercept).R
    weight = float(np.square(rows[:, 0]).sum())
    length = norms(R) / math.sqrt(weight)
    known = np.flatnonzero(length)
    if len(known) == 0:
        return None
    _, values, vectors = singular(R[:, known] / (length[known] * math.sqrt(weight)))
    if values[-1] * _WELL_CONDITIONED > values[0]:
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
    gram: NDArray[np.float64], heavy: NDArray[np.float64], table: Dense, basis: _Basis | None, *, intercept: bool,
    last: bool,
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
        return Factor(np.zeros((0, table.d)), np.zeros((0, table.k)), np.zeros(table.d), mean[r:], 0.0), None
    U, failed = lapack.dpotrf(C, lower=0, clean=1)
    trust = 0.0 if failed else float(lapack.dpocon(U, np.abs(C).sum(axis=0).max())[0])
    if trust < _TRUSTED and len(heavy):
        none = heavy[:0]
        return _factor(gram + heavy.T @ heavy, none, table, basis, intercept=intercept, last=last)
    if trust >= _TRUSTED:
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
    R = U * size
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
    return Factor(R, Q, mean_of_columns, mean[r:], 16 * EPS / max(trust, EPS)), basis


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


def _of_largest(table: Dense, units: Units) -> Units:
    """Return units in which the largest entry of all rows is about 1."""
    of_columns, of_responses = table.statistics(NO_ORDER, centred=False)
    scale, y_scale = np.minimum(units.scale, of_columns[3]), np.minimum(units.y_scale, of_responses[3])
    return Units(scale, units.centre * (scale / units.scale), y_scale, units.y_centre * (y_scale / units.y_scale))


def _flat(table: Dense, units: Units, factor: Factor) -> NDArray[np.bool_]:
    """Return the columns whose entries differ by the rounding of their values at most."""
    size = np.sqrt(np.square(factor.R).sum(axis=0) / table.n)
    flat: NDArray[np.bool_] = (size > 0) & (size <= 4 * EPS * np.abs(units.centre + factor.mean))
    if flat.any():
        flat &= _preconditioner.units_of(table, NO_ORDER, intercept=True)[1]
    return flat
