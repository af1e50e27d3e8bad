"""Sums over the columns of four rows at once: what is read for one of them serves the others.

Columns are taken as they stand or, `centred`, as ``x * scale - centre``, formed in register, so that rows far from zero
keep the digits of what tells them apart; that takes four multiplications of vectors for each eight cells, where two do
otherwise: 0.29 and 0.20 ns a cell in the second cache. All vectors of columns are padded to eights, ``minus`` is
``-centre``. Of four rows a column's weight is loaded once in place of four times. In the assembly the loops are
`vfmadd` with their loads folded into them.
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

_AHEAD = 16384
TINY = 8
"""Columns up to which kernels are made for so many of them alone."""
_SHORT, _LONG = 100000, 200  # bytes of a row

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


class FourRows(NamedTuple):
    """What is summed over the columns of rows ``x``, or of ``x * scale - centre``."""

    scores: Callable[..., Any]
    """Of ``X, i, scale, minus, p``: ``x p`` of rows `i` to `i` + 3, a vector of four."""
    add: Callable[..., None]
    """Of ``X, i, scale, minus, r, total, ahead``: add ``r x`` of rows `i` to `i` + 3 to `total`, r a vector of four.

    The rows are in the cache by then and memory would have nothing to do: those `ahead` of them are asked for, none
    with 0."""
    score: Callable[..., float]
    """Of ``X, i, scale, minus, p``: ``x p`` of row `i`."""
    add_one: Callable[..., None]
    """Of ``X, i, scale, minus, r, total``: add ``r x`` of row `i` to `total`."""
    zeros: Callable[..., Any]
    """Of ``scale``: a total to add to."""
    joined: Callable[..., None]
    """Of ``total``: make it the sums of columns, in place."""


def four_rows(centred: bool, d: int) -> FourRows:
    """Return the sums over d columns as they stand, or centred: of up to `TINY` of so many alone, else of any number."""
    tiny = d if d <= TINY else 0
    return _of_cells(centred, tiny) if 0 < tiny <= FOUR else _of_vectors(centred, tiny)


@lru_cache(maxsize=2 * FOUR)
def _of_cells(centred: bool, d: int) -> FourRows:
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

    return FourRows(scores, add_four, score, add_one, zeros, joined)


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


@lru_cache(maxsize=2 * (TINY + 1))
def _of_vectors(centred: bool, tiny: int) -> FourRows:
    """Return the sums of rows of vectors of eight: of so many columns alone, or of any number."""

    @_inlined
    def columns(X):
        return tiny if tiny else X.shape[1]

    @_inlined
    def of(x, scale, minus):
        return fused(x, scale, minus) if centred else x

    @_inlined
    def side_by_side(X, i, scale, minus, p, ahead):
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
    def products(X, i, scale, minus, p, ahead):
        row, then = uint64(i), uint64(i + ahead)
        of_row = all_of(0.0)
        for first in range(0, columns(X), WIDTH):
            j = uint64(first)
            if ahead != 0:
                prefetch_line(X, then, j)
            of_row = fused(of(entries(X, row, j, tiny), eight(scale, j), eight(minus, j)), eight(p, j), of_row)
        return of_row

    @_inlined
    def score(X, i, scale, minus, p):
        return sum_of(products(X, i, scale, minus, p, 0))

    @_inlined
    def scores(X, i, scale, minus, p, ahead):
        # Processors foresee what is read in order: rows of some hundred bytes to a page take half the time one after
        # the other that they take all at once. Shorter ones come several at once, longer ones are asked for.
        if _SHORT <= columns(X) * X.itemsize < _LONG:
            a, b = products(X, i, scale, minus, p, ahead), products(X, i + 1, scale, minus, p, ahead)
            return sums_of(a, b, products(X, i + 2, scale, minus, p, 0), products(X, i + 3, scale, minus, p, 0))
        return side_by_side(X, i, scale, minus, p, ahead)

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

    @_inlined
    def zeros(scale):
        return aligned(scale.size)

    @_inlined
    def joined(total):
        pass

    return FourRows(scores, add, score, add_one, zeros, joined)


@_inlined
def rows_ahead(X):
    """Return how far ahead rows in order are to be asked for: 0 but for long ones, which are foreseen too late."""
    size = X.shape[1] * X.itemsize
    return max(4, -(-_AHEAD // size)) if size >= _LONG else 0
