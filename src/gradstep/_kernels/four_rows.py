"""Sums over the columns of rows, and over the rows, of what is made of scores in between.

Columns are taken as they stand or, `centred`, as ``x * scale - centre``, formed in register, so that rows far from zero
keep the digits of what tells them apart; that takes four multiplications of vectors for each eight cells of float64,
where two do otherwise: 0.29 and 0.20 ns a cell in the second cache. All vectors of columns are padded to eights,
``minus`` is ``-centre``. Of four rows at once a column's weight is loaded once in place of four times. Rows of a few
columns go through `gradstep._kernels.sweep`; here are the others, in blocks that the first cache holds, and the rest
of the few.
In the assembly the loops are `vfmadd` with their loads folded into them. Rows of float32 of 17 to 256 columns are
widened for their scores and kept for their sums: widening takes two instructions where a product takes one, and 100
columns 0.18 ns a cell where they are widened twice, 0.14 where once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from numba import uint64

from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch_line
from gradstep._kernels.simd import (
    FOUR,
    WIDTH,
    all_of,
    eight,
    entries,
    four,
    fused,
    one_of,
    put,
    put_four,
    sum_of,
    sums_of,
)
from gradstep._kernels.sweep import MOST, ROOM, TINY, Middle, sweep_of

_BLOCK = 16384  # bytes of rows whose scores are made at once
_KEPT = 256  # columns: of more the rows are no longer near when they are added
_SWEEP = 128  # rows at once where some may not count
_AHEAD = 16384  # bytes between asking for a row and reading it

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


def over_rows(centred: bool, d: int, middle: Middle) -> Callable[..., Any]:
    """Return the sum over rows of d columns as they stand, or centred: of up to `TINY`, for so many alone.

    It is called as ``block(X, weight, start, stop, scale, minus, p, total, z, ahead, given)``. Of rows `start` to
    `stop` it makes scores ``x p``, of these and of what is `given` what the rows count, ``r``, and adds ``r x`` to
    `total`; it returns the two sums of `middle`. ``z`` are `room_of` numbers to work with. Each row asks for the one
    that is `ahead` of it, if that is not 0.
    """
    return _over_rows(centred, d if d <= TINY else 0, middle)


@lru_cache(maxsize=256)
def _over_rows(centred: bool, tiny: int, middle: Middle) -> Callable[..., Any]:
    scores, add = _scores(centred), _add(centred)
    keeping, add_kept = (scores, add) if tiny else (_scores(centred, keeping=True), _add(centred, kept=True))
    of_some = middle.of_some
    sweep = sweep_of(centred, tiny, middle) if tiny else _nothing

    @_inlined
    def block(X, weight, start, stop, scale, minus, p, total, z, ahead, given):
        one, two, row, rows, keep = 0.0, 0.0, start, rows_at_once(X), not tiny and are_kept(X)
        while row < stop:
            if tiny:
                last = row + (stop - row if weight.size == 1 else min(_SWEEP, stop - row)) // WIDTH * WIDTH
                last = _swept(weight, row, last)
                if last - row >= min(MOST, (stop - row) // WIDTH * WIDTH) > 0:
                    of_rows = sweep(X, row, last, scale, minus, p, total, z, ahead, given)
                    one, two, row = one + of_rows[0], two + of_rows[1], last
                    if row == stop:
                        break
            count = min(rows, stop - row)  # of few columns where a sweep would soon end at a row that does not count
            if keep:
                keeping(X, row, count, scale, minus, p, z, ahead)
            else:
                scores(X, row, count, scale, minus, p, z, ahead)
            of_rows = of_some(z[:count], row, given)
            one, two = one + of_rows[0], two + of_rows[1]
            if keep:
                add_kept(X, weight, row, count, scale, minus, z, total, ahead)
            else:
                add(X, weight, row, count, scale, minus, z, total, ahead)
            row += count
        return one, two

    return block


@_inlined
def _swept(weight, first, stop):
    """Return where the first eight of some rows begin that do not all count, or where the rows end."""
    if not all_count(weight, first, stop - first):
        for i in range(first, stop, WIDTH):
            if not all_count(weight, i, WIDTH):
                return i
    return stop


@_inlined
def _nothing(X, first, stop, scale, minus, p, total, z, ahead, given):  # noqa: ARG001
    return 0.0, 0.0


@_inlined
def all_count(weight, first, count):
    """Whether all of some rows have a weight: one of weight zero is no row, whatever stands in it."""
    missing = 0
    if weight.size > 1:
        for t in range(count):
            missing += 1 if weight[uint64(first + t)] <= 0.0 else 0
    return missing == 0


@_inlined
def rows_at_once(X):
    """Return of how many rows scores are best made before any is added: they are still in the first cache."""
    itemsize = 8 if are_kept(X) else X.itemsize
    return max(FOUR, min(MOST, _BLOCK // max(1, X.shape[1] * itemsize)) // FOUR * FOUR)


@_inlined
def are_kept(X):
    """Whether rows of this length are kept as they were widened: to widen a vector takes as long as two products."""
    return X.itemsize < 8 and TINY < X.shape[1] <= _KEPT


@_inlined
def room_of(X):
    """Return how many numbers a block works with: scores, and rows that are kept."""
    return max(ROOM, MOST + rows_at_once(X) * (X.shape[1] + WIDTH) if are_kept(X) else 0)


@lru_cache(maxsize=2)
def _of(centred: bool) -> Callable[..., Any]:
    @_inlined
    def of(x, scale, minus):
        return fused(x, scale, minus) if centred else x

    return of


@lru_cache(maxsize=4)
def _scores(centred: bool, *, keeping: bool = False) -> Callable[..., None]:
    """Return what makes scores, and puts whole fours of rows behind them in `z` where they are kept."""
    of = _of(centred)

    @_inlined
    def of_four(X, i, scale, minus, p, ahead, z, at):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        of_a = all_of(0.0)
        of_b, of_c, of_e = of_a, of_a, of_a
        then = uint64(i + ahead)
        for first in range(0, X.shape[1], WIDTH):
            j = uint64(first)
            s, m, q = eight(scale, j), eight(minus, j), eight(p, j)
            if ahead != 0:
                prefetch_line(X, then, j)
                prefetch_line(X, then + uint64(1), j)
            xa, xb = of(entries(X, a, j), s, m), of(entries(X, b, j), s, m)
            xc, xe = of(entries(X, c, j), s, m), of(entries(X, e, j), s, m)
            if keeping:
                to = at + uint64(FOUR * first)
                put(z, to, xa)
                put(z, to + uint64(WIDTH), xb)
                put(z, to + uint64(2 * WIDTH), xc)
                put(z, to + uint64(3 * WIDTH), xe)
            of_a, of_b, of_c, of_e = fused(xa, q, of_a), fused(xb, q, of_b), fused(xc, q, of_c), fused(xe, q, of_e)
        return sums_of(of_a, of_b, of_c, of_e)

    @_inlined
    def scores(X, first, count, scale, minus, p, z, ahead):
        whole = count // FOUR * FOUR
        for t in range(0, whole, FOUR):
            put_four(z, t, of_four(X, first + t, scale, minus, p, ahead, z, uint64(MOST + t * scale.size)))
        for t in range(whole, count):
            row, of_row = uint64(first + t), all_of(0.0)
            for at in range(0, X.shape[1], WIDTH):
                j = uint64(at)
                of_row = fused(of(entries(X, row, j), eight(scale, j), eight(minus, j)), eight(p, j), of_row)
            z[uint64(t)] = sum_of(of_row)

    return scores


@lru_cache(maxsize=4)
def _add(centred: bool, *, kept: bool = False) -> Callable[..., None]:
    of = _of(centred)

    @_inlined
    def four_rows(X, i, scale, minus, r, total, ahead, z, at):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        then = uint64(i + ahead)
        va, vb = all_of(one_of(r, 0)), all_of(one_of(r, 1))
        vc, ve = all_of(one_of(r, 2)), all_of(one_of(r, 3))
        for first in range(0, X.shape[1], WIDTH):
            j = uint64(first)
            if ahead != 0:
                prefetch_line(X, then + uint64(2), j)
                prefetch_line(X, then + uint64(3), j)
            t = eight(total, j)
            if kept:
                here = at + uint64(FOUR * first)
                t = fused(eight(z, here), va, t)
                t = fused(eight(z, here + uint64(WIDTH)), vb, t)
                t = fused(eight(z, here + uint64(2 * WIDTH)), vc, t)
                put(total, j, fused(eight(z, here + uint64(3 * WIDTH)), ve, t))
            else:
                s, m = eight(scale, j), eight(minus, j)
                t = fused(of(entries(X, a, j), s, m), va, t)
                t = fused(of(entries(X, b, j), s, m), vb, t)
                t = fused(of(entries(X, c, j), s, m), vc, t)
                put(total, j, fused(of(entries(X, e, j), s, m), ve, t))

    @_inlined
    def one_row(X, i, scale, minus, r, total):
        row, v = uint64(i), all_of(r)
        for first in range(0, X.shape[1], WIDTH):
            j = uint64(first)
            put(total, j, fused(of(entries(X, row, j), eight(scale, j), eight(minus, j)), v, eight(total, j)))

    @_inlined
    def add(X, weight, first, count, scale, minus, r, total, ahead):
        every = all_count(weight, first, count)
        whole = count // FOUR * FOUR if every else 0
        for t in range(0, whole, FOUR):
            four_rows(X, first + t, scale, minus, four(r, t), total, ahead, r, uint64(MOST + t * scale.size))
        for t in range(whole, count):
            if every or weight[uint64(first + t)] > 0.0:
                one_row(X, first + t, scale, minus, r[uint64(t)], total)

    return add


@_inlined
def rows_ahead(X):
    """Return how far ahead rows in order are to be asked for."""
    return max(FOUR, -(-_AHEAD // max(1, X.shape[1] * X.itemsize)))
