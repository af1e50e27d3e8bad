"""Where the factor R of many rows comes from: a sketch of all of them, or a sample that is repaired."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep import _stretch
from gradstep._dense_algebra import gram, orthonormal, product, symmetric
from gradstep._kernels.rows import EPS
from gradstep._numbers import stream
from gradstep._preconditioner import (
    PROJECTIONS,
    SAMPLED_PER_COLUMN,
    Preconditioner,
    factor_of_rows,
    factor_of_some,
    preconditioner,
    sample,
    units_of,
)
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Units

_SKETCH_ROWS, _SKETCH_PER_COLUMN = 2048, 16
_LARGEST_SKETCH = 1 << 27  # entries, 1 GB
_FAR = 2.0**24  # units from the mean, beyond which a row hides what shares its bucket of a sketch
_MANY_COLUMNS = 128  # of fewer the least sketch is enough, whatever a ridge leaves of them
_UNITS = 4096
_LEAST_PER_COLUMN = 20  # rows of a sample
_MANY = 256  # columns, of which a smaller sample serves: the Gram matrix of the larger takes longer than all else
_ONE_OF = 6  # rows at least of which a smaller sample has one: see `_stretch.of_sample`
_SHARE = 1 / 4  # of the rows that a sample is at most: beyond, factorising it twice takes longer than a sketch
_HEAVY_PER_COLUMN = 4  # times the mean leverage


def sample_rows(columns: int, present: int) -> int:
    """Return the rows of a sample that is to be repaired; more than a share of the rows if a sketch is cheaper."""
    long = _stretch.ENOUGH * columns
    if columns < _MANY or long <= _SHARE * present:
        return long
    return min(long, max(_LEAST_PER_COLUMN * columns, -(-present // _ONE_OF)))


def has_a_sample(columns: int, present: int) -> bool:
    """Whether a repaired sample is cheaper than a sketch."""
    rows = sample_rows(columns, present)
    return rows <= _SHARE * present and rows * columns <= _LARGEST_SKETCH


def sketch_rows(columns: int) -> int:
    """Return the rows of a sketch of so many columns, the intercept among them."""
    return max(_SKETCH_PER_COLUMN * columns, _SKETCH_ROWS)


def drawn(table: Table, seed: int, *, alpha: float, intercept: bool) -> Preconditioner:
    """Return a preconditioner of a sketch in the units of a few rows, or of all where those are too far from others."""
    order = sample(table, SAMPLED_PER_COLUMN * (table.d + 1), seed)
    units, _ = units_of(table, few_of(order), intercept=intercept, alpha=alpha)
    effective = _effective(table, units, order, alpha, intercept=intercept) if alpha > 0 else math.inf
    return drawn_in(table, units, seed, alpha=alpha, intercept=intercept, effective=effective)


def few_of(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return some thousand of a sample's rows, which tell units as well."""
    return order[:: -(-len(order) // _UNITS)]


def drawn_in(
    table: Table, units: Units, seed: int, *, alpha: float, intercept: bool, effective: float = math.inf,
    columns_alone: bool = False,
) -> Preconditioner:  # fmt: skip
    """Return a preconditioner of a sketch in these units, or in those of all rows; with the responses zero if asked."""
    silent = {"y_scale": np.zeros(table.k), "y_centre": np.zeros(table.k)} if columns_alone else {}
    none = np.zeros(table.d, dtype=bool)
    for far in (_FAR, math.inf):
        units = units._replace(**silent)
        found = sketched(table, units, none, seed, alpha=alpha, intercept=intercept, far=far, effective=effective)
        if found is not None:
            return found
        units, none = units_of(table, NO_ORDER, intercept=intercept, alpha=alpha)
    raise AssertionError  # nothing is too far


def sketched(
    table: Table, units: Units, constant: NDArray[np.bool_], seed: int, *, alpha: float, intercept: bool,
    far: float = math.inf, effective: float = math.inf,
) -> Preconditioner | None:  # fmt: skip
    """Return a preconditioner in one read: of stacked sparse signs, or beyond 1 GB of those of repaired rows.

    It has ``m = max(16 d, 2048)`` rows. With a ridge, which is not stretched, d may be the effective dimension: S.
    Chevet's inequality, as in R. Vershynin, *High-Dimensional Probability*, 2018, section 8.7. None if a row is further
    away than `far`.
    """
    d = table.d + intercept
    m = sketch_rows(d)
    if effective < d:
        m = min(m, max(sketch_rows(math.ceil(effective)), 2 * d))
    if m * (d + table.k) > _LARGEST_SKETCH:
        return repaired(table, sampled(table, units, constant, seed, alpha=alpha, intercept=intercept), seed, alpha)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = table.sketch(units, m, seed)
        if far < math.inf and not max(rows.max(), -rows.min()) < far:
            return None
    factor = factor_of_rows(rows, constant, intercept=intercept)
    found = preconditioner(table, units, factor, alpha, intercept=intercept, kind="probable")
    if found.rank < table.d and not found.ridged:  # what has the least norm depends on the lengths of all rows
        length = table.lengths(units, intercept=intercept)
        found = preconditioner(table, units, factor, alpha, intercept=intercept, kind="probable", length=length)
    return replace(found, stretch=_stretch.of_signs(found.degrees + intercept, m), rows=m)


def _effective(table: Table, units: Units, order: NDArray[np.int64], alpha: float, *, intercept: bool) -> float:
    """Return twice the directions that a ridge leaves free as seen in some rows; infinite if they cannot tell."""
    if table.d <= _MANY_COLUMNS:
        return math.inf
    few = order[:: -(-len(order) // _SKETCH_ROWS)]
    rows = table.scaled(units, few, 0, len(few))
    with np.errstate(over="ignore", invalid="ignore"):
        columns = rows[:, 1 : 1 + table.d] / (math.sqrt(alpha) * units.scale)
        if intercept:
            columns -= columns.mean(axis=0)
        squares = gram(np.ascontiguousarray(columns.T)) / len(few)
    if not np.isfinite(squares).all():
        return math.inf
    values = np.maximum(symmetric(squares)[0], 0.0)
    free = float((values / (values + 1.0)).sum())
    return 2 * free if 4 * free < len(few) else math.inf  # else too few of them to tell


def sampled(
    table: Table, units: Units, constant: NDArray[np.bool_], seed: int, *, alpha: float, intercept: bool
) -> Preconditioner:
    """Return a preconditioner of random rows; it may miss directions: its certificate is an estimate."""
    d = table.d + intercept
    order = sample(table, sample_rows(d, table.present), seed)
    share = np.array([math.sqrt(table.present / len(order))])
    factor = factor_of_some(table, units, order, share, constant, intercept=intercept)
    found = preconditioner(table, units, factor, alpha, intercept=intercept, kind="estimate")
    return replace(found, stretch=_stretch.of_sample(d, len(order), float(share[0])), rows=len(order))


def seen_by(rough: Preconditioner, seed: int, present: int) -> NDArray[np.float64]:
    """Return what tells how much rows weigh beside a sample: projections (vectors, d) of its basis.

    Rows that have any of a direction that the sample does not know at all are heavy: it is projected too.
    """
    probes = rough.probes(seed)
    d = len(rough.T)
    if rough.rank == d:
        return probes
    signs = stream("outside", seed).choice((-1.0, 1.0), (PROJECTIONS, d))
    return np.vstack((probes, product(signs / math.sqrt(PROJECTIONS * EPS * present), _outside(rough).T)))


def heavy(table: Table, rough: Preconditioner, leverage: Any) -> NDArray[np.int64]:
    """Return the rows that in a sample would weigh four times what they do in the mean, or more, of a direction."""
    limit = _HEAVY_PER_COLUMN * (table.d + rough.intercept) / table.present
    return table.above(leverage, limit, rough.intercept / rough.total)


def repaired(
    table: Table, rough: Preconditioner, seed: int, alpha: float, at: NDArray[np.int64] | None = None
) -> Preconditioner:
    """Return a sampled preconditioner whose heavy rows stand in it as they are, found by their leverage in one read.

    M. B. Cohen, Y. T. Lee, C. Musco, C. Musco, R. Peng and A. Sidford, Uniform sampling for matrix approximation,
    *ITCS* 2015. See `heavy`.
    """
    d = table.d + rough.intercept
    order = sample(table, rough.rows, seed)
    m, present = len(order), table.present
    if at is None:
        at = heavy(table, rough, table.squared_norms(rough.units, rough.centre, seen_by(rough, seed, present)))
    if len(at) == 0:  # the sample is what it would be again
        return replace(rough, kind="probable")
    light = np.setdiff1d(order, at, assume_unique=True)
    share = math.sqrt((present - len(at)) / max(len(light), 1))
    shares, none = np.repeat((share, 1.0), (len(light), len(at))), np.zeros(table.d, dtype=bool)
    factor = factor_of_some(table, rough.units, np.concatenate((light, at)), shares, none, intercept=rough.intercept)
    found = preconditioner(table, rough.units, factor, alpha, intercept=rough.intercept, kind="probable")
    return replace(found, stretch=_stretch.of_sample(d, m, share), rows=m)


def _outside(rough: Preconditioner) -> NDArray[np.float64]:
    """Return the projection (d, d) on the directions of unit columns that a basis leaves out."""
    unit = orthonormal(rough.length[:, np.newaxis] * rough.T) if rough.rank else np.zeros((len(rough.T), 0))
    projection: NDArray[np.float64] = (np.eye(len(unit)) - unit @ unit.T) / rough.length[:, np.newaxis]
    return projection
