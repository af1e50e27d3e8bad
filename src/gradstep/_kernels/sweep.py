"""Rows of a few columns in one sweep: cells of eight stay in registers from their scores to the sums of columns.

Of up to eight columns a vector has a column's cells of eight rows, of up to sixteen a row's cells; of more than eight a
row's last eight cells are the second vector, so that none is read under a mask, where a widened float32 costs one
instruction more. The totals of columns are registers too: where they are in memory, rows wait for those that the rows
before have stored. In the assembly eight rows of 4 columns of float32 are 27 instructions of vectors; four rows took 31
where a vector was of four, taken out of the cells before they were widened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from numba import uint64

from gradstep._kernels.eight_rows import columns_of_eight, each_of, put_each, shifted
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch_of
from gradstep._kernels.simd import (
    WIDTH,
    all_of,
    eight,
    entries,
    fused,
    one_of,
    put,
    sum_of,
    sums_of_eight,
)

TINY = 2 * WIDTH
"""Columns up to which kernels are made for so many of them alone."""
MOST = 32
"""Rows whose scores are made at once."""
ROOM = MOST * (1 + TINY)
"""Numbers to work with: scores of so many rows, and cells of those of few columns."""

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


class Middle(NamedTuple):
    """What is made of scores before rows are added up."""

    of_some: Callable[..., Any]
    """Of ``z, first, given``: make scores of some rows what these count, in place, and return two sums over them."""
    of_eight: Callable[..., Any] | None = None
    """The same in vectors, of ``z, i, given, one, two``: what all of rows `i` to `i` + 7 count, and running sums."""
    arrays: int = 2
    """How many of what is given, one or two, are arrays with a number for each row, or one for all."""


class _Registers(NamedTuple):
    """Eight rows as a tuple of vectors, and what is made of them."""

    loaded: Callable[..., Any]
    """Of a vector of columns: it as a tuple of vectors."""
    cells: Callable[..., Any]
    """Of ``X, i, scale, minus``: rows `i` to `i` + 7, ``x`` or ``x * scale + minus``."""
    scores: Callable[..., Any]
    """Of ``x, p``: ``x p`` of the eight rows."""
    zeros: Callable[..., Any]
    """Totals to begin with."""
    added: Callable[..., Any]
    """Of ``x, r, totals``: the totals with ``r x``."""
    put: Callable[..., None]
    """Of ``total, totals``: add them to what is in memory."""


def sweep_of(centred: bool, d: int, middle: Middle) -> Callable[..., Any]:
    """Return the sweep over whole eights of rows of up to `TINY` columns, all of which count.

    It is called as ``sweep(X, first, stop, scale, minus, p, total, z, ahead, given)``, adds ``r x`` to `total` and
    returns the two sums: see `gradstep._kernels.four_rows.over_rows`.
    """
    registers = _of_columns(centred, d) if d <= WIDTH else _of_rows(centred, d)
    ask_for = _ask_for(d, middle.arrays)
    if middle.of_eight:
        return _sweep(registers, middle.of_eight, ask_for)
    return _two_sweeps(d, registers, middle.of_some, ask_for)


@lru_cache(maxsize=2 * TINY)
def _ask_for(d: int, arrays: int) -> Callable[..., None]:
    """Return what asks for eight rows of d columns that come later, and for what one or two arrays have of them."""
    cells, numbers = prefetch_of(WIDTH * d), prefetch_of(WIDTH)

    @_inlined
    def ask_for(X, given, i):
        cells(X, uint64(i))
        if given[0].size > 1:
            numbers(given[0], uint64(i))

    @_inlined
    def ask_for_both(X, given, i):
        ask_for(X, given, i)
        if given[1].size > 1:
            numbers(given[1], uint64(i))

    return ask_for if arrays == 1 else ask_for_both


def _sweep(registers: _Registers, of_eight: Callable[..., Any], ask_for: Callable[..., Any]) -> Callable[..., Any]:
    loaded, cells, scores, zeros, added, put_totals = registers

    @_inlined
    def sweep(X, first, stop, scale, minus, p, total, z, ahead, given):  # noqa: ARG001
        ps, ss, ms = loaded(p), loaded(scale), loaded(minus)
        totals = zeros()
        one, two = all_of(0.0), all_of(0.0)
        for i in range(first, stop, WIDTH):
            if ahead != 0:
                ask_for(X, given, i + ahead)
            x = cells(X, i, ss, ms)
            r, one, two = of_eight(scores(x, ps), i, given, one, two)
            totals = added(x, r, totals)
        put_totals(total, totals)
        return sum_of(one), sum_of(two)

    return sweep


def _two_sweeps(
    d: int, registers: _Registers, of_some: Callable[..., Any], ask_for: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the sweep for what LLVM makes of formulas, which it does in vectors for many rows, not for eight.

    The second sweep is over the cells that the first has made, in `z` behind the scores.
    """
    loaded, cells, scores, zeros, added, put_totals = registers
    vectors = d if d <= WIDTH else 2 * WIDTH
    kept = each_of(vectors)

    @_inlined
    def sweep(X, first, stop, scale, minus, p, total, z, ahead, given):
        ps, ss, ms = loaded(p), loaded(scale), loaded(minus)
        totals, one, two = zeros(), 0.0, 0.0
        for row in range(first, stop, MOST):
            count = min(MOST, stop - row)
            for t in range(0, count, WIDTH):
                if ahead != 0:
                    ask_for(X, given, row + t + ahead)
                x = cells(X, row + t, ss, ms)
                put_each(z, uint64(MOST + t * vectors), x)
                put(z, uint64(t), scores(x, ps))
            of_rows = of_some(z[:count], row, given)
            one, two = one + of_rows[0], two + of_rows[1]
            for t in range(0, count, WIDTH):
                totals = added(kept(z, uint64(MOST + t * vectors)), eight(z, uint64(t)), totals)
        put_totals(total, totals)
        return one, two

    return sweep


@lru_cache(maxsize=2 * WIDTH)
def _of_columns(centred: bool, d: int) -> _Registers:
    """Return them for so few columns that a vector has a column's cells of eight rows."""
    taken, about = columns_of_eight(d), _about_first
    for j in range(1, d):
        about = _about_next(j, about)

    @_inlined
    def cells(X, i, scale, minus):
        return about(taken(X, i), scale, minus) if centred else taken(X, i)

    registers = _first_column(cells)
    for j in range(1, d):
        registers = _with_column(j, registers)
    return registers


@_inlined
def _about_first(x, scale, minus):
    return (fused(x[0], scale[0], minus[0]),)


def _about_next(j: int, before: Callable[..., Any]) -> Callable[..., Any]:
    @_inlined
    def about(x, scale, minus):
        return before(x, scale, minus) + (fused(x[j], scale[j], minus[j]),)  # noqa: RUF005 - Numba knows no star

    return about


def _first_column(cells: Callable[..., Any]) -> _Registers:
    @_inlined
    def loaded(p):
        return (all_of(p[0]),)

    @_inlined
    def scores(x, p):
        return x[0] * p[0]

    @_inlined
    def zeros():
        return (all_of(0.0),)

    @_inlined
    def added(x, r, totals):
        return (fused(x[0], r, totals[0]),)

    @_inlined
    def put_totals(total, totals):
        total[0] += sum_of(totals[0])

    return _Registers(loaded, cells, scores, zeros, added, put_totals)


def _with_column(j: int, before: _Registers) -> _Registers:
    loaded_before, _, scores_before, zeros_before, added_before, put_before = before

    @_inlined
    def loaded(p):
        return loaded_before(p) + (all_of(p[j]),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def scores(x, p):
        return fused(x[j], p[j], scores_before(x, p))

    @_inlined
    def zeros():
        return zeros_before() + (all_of(0.0),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def added(x, r, totals):
        return added_before(x, r, totals) + (fused(x[j], r, totals[j]),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def put_totals(total, totals):
        put_before(total, totals)
        total[j] += sum_of(totals[j])

    return _Registers(loaded, before.cells, scores, zeros, added, put_totals)


@lru_cache(maxsize=2 * WIDTH)
def _of_rows(centred: bool, d: int) -> _Registers:
    """Return them for 9 to 16 columns: the first eight vectors are each row's first cells, the others its last eight.

    Of fewer than sixteen columns some are in both: what they are multiplied by is zero in the second, and so is what
    they came to.
    """
    later, back = shifted(d - 2 * WIDTH), shifted(2 * WIDTH - d)

    @_inlined
    def taken(X, i, at):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        f, g, h, k = uint64(i + 4), uint64(i + 5), uint64(i + 6), uint64(i + 7)
        return (
            entries(X, a, at, d), entries(X, b, at, d), entries(X, c, at, d), entries(X, e, at, d),
            entries(X, f, at, d), entries(X, g, at, d), entries(X, h, at, d), entries(X, k, at, d),
        )  # fmt: skip

    @_inlined
    def about(x, scale, minus):
        return (
            fused(x[0], scale, minus), fused(x[1], scale, minus), fused(x[2], scale, minus), fused(x[3], scale, minus),
            fused(x[4], scale, minus), fused(x[5], scale, minus), fused(x[6], scale, minus), fused(x[7], scale, minus),
        )  # fmt: skip

    @_inlined
    def cells(X, i, scale, minus):
        low, high = taken(X, i, uint64(0)), taken(X, i, uint64(d - WIDTH))
        return about(low, scale[0], minus[0]) + about(high, scale[1], minus[1]) if centred else low + high

    @_inlined
    def loaded(p):
        return eight(p, uint64(0)), later(eight(p, uint64(WIDTH)))

    @_inlined
    def scores(x, p):
        low, high = p
        return sums_of_eight(
            fused(x[8], high, x[0] * low), fused(x[9], high, x[1] * low),
            fused(x[10], high, x[2] * low), fused(x[11], high, x[3] * low),
            fused(x[12], high, x[4] * low), fused(x[13], high, x[5] * low),
            fused(x[14], high, x[6] * low), fused(x[15], high, x[7] * low),
        )  # fmt: skip

    @_inlined
    def zeros():
        return all_of(0.0), all_of(0.0), all_of(0.0), all_of(0.0)

    @_inlined
    def added(x, r, totals):
        a, b = all_of(one_of(r, 0)), all_of(one_of(r, 1))
        c, e = all_of(one_of(r, 2)), all_of(one_of(r, 3))
        f, g = all_of(one_of(r, 4)), all_of(one_of(r, 5))
        h, k = all_of(one_of(r, 6)), all_of(one_of(r, 7))
        return (  # two totals for each column: one would wait for itself
            fused(x[6], h, fused(x[4], f, fused(x[2], c, fused(x[0], a, totals[0])))),
            fused(x[7], k, fused(x[5], g, fused(x[3], e, fused(x[1], b, totals[1])))),
            fused(x[14], h, fused(x[12], f, fused(x[10], c, fused(x[8], a, totals[2])))),
            fused(x[15], k, fused(x[13], g, fused(x[11], e, fused(x[9], b, totals[3])))),
        )

    @_inlined
    def put_totals(total, totals):
        put(total, uint64(0), eight(total, uint64(0)) + (totals[0] + totals[1]))
        put(total, uint64(WIDTH), eight(total, uint64(WIDTH)) + back(totals[2] + totals[3]))

    return _Registers(loaded, cells, scores, zeros, added, put_totals)
