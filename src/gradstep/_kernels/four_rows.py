"""Sums over the columns of four rows at once: what is read for one of them serves the others.

Columns are taken as they stand or, `centred`, as ``x * scale - centre``, formed in register, so that rows far from zero
keep the digits of what tells them apart; that takes four multiplications of vectors for each eight cells, where two do
otherwise: 0.29 and 0.20 ns a cell in the second cache. All vectors of columns are padded to eights, ``minus`` is
``-centre``. Of four rows a column's weight is loaded once in place of four times. In the assembly the loops are
`vfmadd` with their loads folded into them, and the cells of three columns of four rows come by blends and shuffles,
four or five a column.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from numba import uint64

from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch_line
from gradstep._kernels.simd import (
    FOUR,
    WIDTH,
    aligned,
    all_of,
    column_of_four,
    eight,
    entries,
    four,
    four_of,
    fused,
    one_of_four,
    put,
    put_four,
    sum_of,
    sums_of,
)

TINY = 16
"""Columns up to which kernels are made for so many of them alone."""
MOST = 32
"""Rows whose scores are made at once."""
_BYTES = 16384  # of such rows
_SHORT, _AHEAD = 200, 16384  # bytes of a row, and between asking for one and reading it

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


class _FourRows(NamedTuple):
    """What is summed over the columns of rows ``x``, or of ``x * scale - centre``."""

    scores: Callable[..., Any]
    """Of ``X, i, scale, minus, p, ahead``: ``x p`` of rows `i` to `i` + 3, a vector of four."""
    add: Callable[..., None]
    """Of ``X, i, scale, minus, r, total, ahead``: add ``r x`` of rows `i` to `i` + 3 to `total`, r a vector of four."""
    score: Callable[..., float]
    """Of ``X, i, scale, minus, p``: ``x p`` of row `i`."""
    add_one: Callable[..., None]
    """Of ``X, i, scale, minus, r, total``: add ``r x`` of row `i` to `total`."""
    zeros: Callable[..., Any]
    """Of ``scale``: a total to add to."""
    joined: Callable[..., None]
    """Of ``total``: make it the sums of columns, in place."""


class Sums(NamedTuple):
    """What is summed over the columns of some rows, at most `MOST`, and over the rows: see `rows_at_once`."""

    scores: Callable[..., None]
    """Of ``X, first, count, scale, minus, p, z, ahead``: set `z` to ``x p`` of so many rows."""
    add: Callable[..., None]
    """Of ``X, weight, first, count, scale, minus, r, total, ahead``: add ``r x`` of rows of weight to `total`."""
    zeros: Callable[..., Any]
    """Of ``scale``: a total to add to."""
    joined: Callable[..., None]
    """Of ``total``: make it the sums of columns, in place."""


@lru_cache(maxsize=2 * (TINY + 1))
def _sums(centred: bool, tiny: int) -> Sums:
    four_rows = _of_cells(centred, tiny) if 0 < tiny <= FOUR else _of_vectors(centred, tiny)
    scores_of_four, add_four, score, add_one, zeros, joined = four_rows

    @_inlined
    def scores(X, first, count, scale, minus, p, z, ahead):
        whole = count // FOUR * FOUR
        for t in range(0, whole, FOUR):
            put_four(z, t, scores_of_four(X, first + t, scale, minus, p, ahead))
        for t in range(whole, count):
            z[uint64(t)] = score(X, first + t, scale, minus, p)

    @_inlined
    def add(X, weight, first, count, scale, minus, r, total, ahead):
        every = all_count(weight, first, count)
        whole = count // FOUR * FOUR if every else 0
        for t in range(0, whole, FOUR):
            add_four(X, first + t, scale, minus, four(r, t), total, ahead)
        for t in range(whole, count):
            if every or weight[uint64(first + t)] > 0.0:
                add_one(X, first + t, scale, minus, r[uint64(t)], total)

    return Sums(scores, add, zeros, joined)


@_inlined
def all_count(weight, first, count):
    """Whether all of some rows have a weight: one of weight zero is no row, whatever stands in it."""
    if weight.size == 1:
        return True
    least = 1.0
    for t in range(count):
        least = min(least, weight[uint64(first + t)])
    return least > 0.0


def sums_of_rows(centred: bool, d: int) -> Sums:
    """Return the sums over d columns as they stand, or centred: kernels of up to `TINY` know of so many alone."""
    return _sums(centred, d if d <= TINY else 0)


@_inlined
def rows_at_once(X):
    """Return of how many rows scores are best made before any is added: they are still in the first cache."""
    return max(FOUR, min(MOST, _BYTES // max(1, X.shape[1] * X.itemsize)) // FOUR * FOUR)


@lru_cache(maxsize=2 * FOUR)
def _of_cells(centred: bool, d: int) -> _FourRows:
    """Return the sums of so few columns that a vector has a column's cells of four rows, and so do totals."""

    @_inlined
    def none(X, i, scale, minus, p, ahead):  # noqa: ARG001
        return four_of(0.0)

    @_inlined
    def nothing(X, i, scale, minus, r, total):
        pass

    scores, add = none, nothing
    for j in range(d):
        scores, add = _with_column(centred, d, j, scores, add)

    @_inlined
    def add_four(X, i, scale, minus, r, total, ahead):
        if ahead != 0:
            prefetch_line(X, uint64(i + ahead), uint64(0))
            prefetch_line(X, uint64(i + ahead + 2), uint64(0))
        add(X, i, scale, minus, r, total)

    @_inlined
    def score(X, i, scale, minus, p):
        z = 0.0
        for j in range(d):
            x = X[i, j] * scale[j] + minus[j] if centred else X[i, j]
            z += x * p[j]
        return z

    @_inlined
    def add_one(X, i, scale, minus, r, total):
        for j in range(d):
            x = X[i, j] * scale[j] + minus[j] if centred else X[i, j]
            total[FOUR * j] += r * x

    @_inlined
    def zeros(scale):  # noqa: ARG001
        return aligned(FOUR * d)

    @_inlined
    def joined(total):
        for j in range(d):
            total[j] = sum_of(four(total, FOUR * j))

    return _FourRows(scores, add_four, score, add_one, zeros, joined)


def _with_column(centred: bool, d: int, j: int, scores: Any, add: Any) -> tuple[Any, Any]:
    """Return scores and sums of one column more."""
    column = column_of_four(d, j)

    @_inlined
    def cells(X, i, scale, minus):
        x = column(X, i)
        return fused(x, four_of(scale[j]), four_of(minus[j])) if centred else x

    @_inlined
    def more_scores(X, i, scale, minus, p, ahead):
        return fused(cells(X, i, scale, minus), four_of(p[j]), scores(X, i, scale, minus, p, ahead))

    @_inlined
    def more_sums(X, i, scale, minus, r, total):
        add(X, i, scale, minus, r, total)
        put_four(total, FOUR * j, fused(cells(X, i, scale, minus), r, four(total, FOUR * j)))

    return more_scores, more_sums


@_inlined
def _zeros(scale):
    return aligned(scale.size)


@_inlined
def _as_they_are(total):
    pass


@lru_cache(maxsize=2 * (TINY + 1))
def _of_vectors(centred: bool, tiny: int) -> _FourRows:
    """Return the sums of rows of vectors of eight: of so many columns alone, or of any number."""

    @_inlined
    def columns(X):
        return tiny or X.shape[1]

    @_inlined
    def of(x, scale, minus):
        return fused(x, scale, minus) if centred else x

    @_inlined
    def scores(X, i, scale, minus, p, ahead):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        of_a = all_of(0.0)
        of_b, of_c, of_e = of_a, of_a, of_a
        then = uint64(i + ahead)
        for first in range(0, columns(X), WIDTH):
            j = uint64(first)
            s, m, q = eight(scale, j), eight(minus, j), eight(p, j)
            if ahead != 0:
                prefetch_line(X, then, j)
                prefetch_line(X, then + uint64(1), j)
            of_a = fused(of(entries(X, a, j, tiny), s, m), q, of_a)
            of_b = fused(of(entries(X, b, j, tiny), s, m), q, of_b)
            of_c = fused(of(entries(X, c, j, tiny), s, m), q, of_c)
            of_e = fused(of(entries(X, e, j, tiny), s, m), q, of_e)
        return sums_of(of_a, of_b, of_c, of_e)

    @_inlined
    def score(X, i, scale, minus, p):
        row = uint64(i)
        of_row = all_of(0.0)
        for first in range(0, columns(X), WIDTH):
            j = uint64(first)
            of_row = fused(of(entries(X, row, j, tiny), eight(scale, j), eight(minus, j)), eight(p, j), of_row)
        return sum_of(of_row)

    @_inlined
    def add(X, i, scale, minus, r, total, ahead):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        then = uint64(i + ahead)
        va, vb = all_of(one_of_four(r, 0)), all_of(one_of_four(r, 1))
        vc, ve = all_of(one_of_four(r, 2)), all_of(one_of_four(r, 3))
        for first in range(0, columns(X), WIDTH):
            j = uint64(first)
            if ahead != 0:
                prefetch_line(X, then + uint64(2), j)
                prefetch_line(X, then + uint64(3), j)
            s, m, t = eight(scale, j), eight(minus, j), eight(total, j)
            t = fused(of(entries(X, a, j, tiny), s, m), va, t)
            t = fused(of(entries(X, b, j, tiny), s, m), vb, t)
            t = fused(of(entries(X, c, j, tiny), s, m), vc, t)
            put(total, j, fused(of(entries(X, e, j, tiny), s, m), ve, t))

    @_inlined
    def add_one(X, i, scale, minus, r, total):
        row, v = uint64(i), all_of(r)
        for first in range(0, columns(X), WIDTH):
            j = uint64(first)
            put(total, j, fused(of(entries(X, row, j, tiny), eight(scale, j), eight(minus, j)), v, eight(total, j)))

    return _FourRows(scores, add, score, add_one, _zeros, _as_they_are)


@_inlined
def rows_ahead(X):
    """Return how far ahead rows in order are to be asked for: 0 for short ones, which the processor foresees."""
    size = X.shape[1] * X.itemsize
    return max(FOUR, -(-_AHEAD // size)) if size >= _SHORT else 0
