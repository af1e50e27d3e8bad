"""Rows of a few columns in one sweep: cells of four stay in registers from their scores to the sums of columns.

The totals of columns are registers too, of up to 4 columns with a column's cells of four rows in each. Where totals
are in memory, rows wait for those that the rows before have stored: 3 columns take 1.4 ns a row there, not 0.64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from numba import uint64

from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch_cells
from gradstep._kernels.simd import (
    FOUR,
    WIDTH,
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

TINY = 2 * WIDTH
"""Columns up to which kernels are made for so many of them alone."""

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


class Middle(NamedTuple):
    """What is made of scores before rows are added up."""

    of_some: Callable[..., Any]
    """Of ``z, first, given``: make scores of some rows what these count, in place, and return two sums over them."""
    of_four: Callable[..., Any] | None = None
    """The same in vectors, of ``z, i, given, one, two``: what rows `i` to `i` + 3 count, all four, and running sums."""


class _Registers(NamedTuple):
    """Four rows as a tuple of vectors, and what is made of them."""

    loaded: Callable[..., Any]
    """Of a vector of columns: it as a tuple of vectors."""
    cells: Callable[..., Any]
    """Of ``X, i, scale, minus``: rows `i` to `i` + 3, ``x`` or ``x * scale + minus``."""
    scores: Callable[..., Any]
    """Of ``x, p``: ``x p`` of the four rows."""
    zeros: Callable[..., Any]
    """Totals to begin with."""
    added: Callable[..., Any]
    """Of ``x, r, totals``: the totals with ``r x``."""
    put: Callable[..., None]
    """Of ``total, totals``: add them to what is in memory."""


def sweep_of(centred: bool, d: int, middle: Middle) -> Callable[..., Any]:
    """Return the sweep over whole fours of rows of up to `TINY` columns, all of which count.

    It is called as ``sweep(X, first, stop, scale, minus, p, total, z, ahead, given)``, adds ``r x`` to `total` and
    returns the two sums: see `gradstep._kernels.four_rows.over_rows`.
    """
    registers = _registers(centred, d)
    return _sweep(d, registers, middle.of_four) if middle.of_four else _two_sweeps(d, registers, middle.of_some)


def _sweep(d: int, registers: _Registers, of_four: Callable[..., Any]) -> Callable[..., Any]:
    loaded, cells, scores, zeros, added, put_totals = registers

    @_inlined
    def sweep(X, first, stop, scale, minus, p, total, z, ahead, given):  # noqa: ARG001
        ps, ss, ms = loaded(p), loaded(scale), loaded(minus)
        totals = zeros()
        one, two = four_of(0.0), four_of(0.0)
        for i in range(first, stop, FOUR):
            if ahead != 0:
                prefetch_cells(X, uint64(i + ahead), FOUR * d)
            x = cells(X, i, ss, ms)
            r, one, two = of_four(scores(x, ps), i, given, one, two)
            totals = added(x, r, totals)
        put_totals(total, totals)
        return sum_of(one), sum_of(two)

    return sweep


def _two_sweeps(d: int, registers: _Registers, of_some: Callable[..., Any]) -> Callable[..., Any]:
    """Return the sweep for what LLVM makes of formulas, which it does in vectors for many rows, not for four."""
    loaded, cells, scores, zeros, added, put_totals = registers

    @_inlined
    def sweep(X, first, stop, scale, minus, p, total, z, ahead, given):
        ps, ss, ms = loaded(p), loaded(scale), loaded(minus)
        totals, one, two = zeros(), 0.0, 0.0
        for row in range(first, stop, z.size):
            count = min(z.size, stop - row)
            for t in range(0, count, FOUR):
                if ahead != 0:
                    prefetch_cells(X, uint64(row + t + ahead), FOUR * d)
                put_four(z, t, scores(cells(X, row + t, ss, ms), ps))
            of_rows = of_some(z[:count], row, given)
            one, two = one + of_rows[0], two + of_rows[1]
            for t in range(0, count, FOUR):
                totals = added(cells(X, row + t, ss, ms), four(z, t), totals)
        put_totals(total, totals)
        return one, two

    return sweep


@lru_cache(maxsize=2 * TINY)
def _registers(centred: bool, d: int) -> _Registers:
    return _of_cells(centred, d) if d <= FOUR else _of_one_vector(centred, d) if d <= WIDTH else _of_two(centred, d)


def _of_cells(centred: bool, d: int) -> _Registers:
    """Return them for so few columns that a vector has a column's cells of four rows."""
    registers = _first_column(centred, d)
    for j in range(1, d):
        registers = _with_column(centred, d, j, registers)
    return registers


def _first_column(centred: bool, d: int) -> _Registers:
    column = column_of_four(d, 0)

    @_inlined
    def loaded(p):
        return (four_of(p[0]),)

    @_inlined
    def cells(X, i, scale, minus):
        return (fused(column(X, i), scale[0], minus[0]) if centred else column(X, i),)

    @_inlined
    def scores(x, p):
        return x[0] * p[0]

    @_inlined
    def zeros():
        return (four_of(0.0),)

    @_inlined
    def added(x, r, totals):
        return (fused(x[0], r, totals[0]),)

    @_inlined
    def put_totals(total, totals):
        total[0] += sum_of(totals[0])

    return _Registers(loaded, cells, scores, zeros, added, put_totals)


def _with_column(centred: bool, d: int, j: int, before: _Registers) -> _Registers:
    column = column_of_four(d, j)
    loaded_before, cells_before, scores_before, zeros_before, added_before, put_before = before

    @_inlined
    def loaded(p):
        return loaded_before(p) + (four_of(p[j]),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def cells(X, i, scale, minus):
        x = fused(column(X, i), scale[j], minus[j]) if centred else column(X, i)
        return cells_before(X, i, scale, minus) + (x,)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def scores(x, p):
        return fused(x[j], p[j], scores_before(x, p))

    @_inlined
    def zeros():
        return zeros_before() + (four_of(0.0),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def added(x, r, totals):
        return added_before(x, r, totals) + (fused(x[j], r, totals[j]),)  # noqa: RUF005 - Numba knows no star

    @_inlined
    def put_totals(total, totals):
        put_before(total, totals)
        total[j] += sum_of(totals[j])

    return _Registers(loaded, cells, scores, zeros, added, put_totals)


def _vectors_of_four(centred: bool, d: int, j: int) -> Callable[..., Any]:
    """Return what takes a vector of each of four rows, from column ``8 j`` on."""

    @_inlined
    def of(x, scale, minus):
        return fused(x, scale[j], minus[j]) if centred else x

    @_inlined
    def taken(X, i, scale, minus):
        a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
        at = uint64(WIDTH * j)
        return (
            of(entries(X, a, at, d), scale, minus), of(entries(X, b, at, d), scale, minus),
            of(entries(X, c, at, d), scale, minus), of(entries(X, e, at, d), scale, minus),
        )  # fmt: skip

    return taken


@_inlined
def _times_rows(r, a, b, c, e, first, second):
    """Add four vectors, each times its row's number, to two totals: one would wait for itself."""
    first = fused(b, all_of(one_of_four(r, 1)), fused(a, all_of(one_of_four(r, 0)), first))
    second = fused(e, all_of(one_of_four(r, 3)), fused(c, all_of(one_of_four(r, 2)), second))
    return first, second


def _of_one_vector(centred: bool, d: int) -> _Registers:
    taken = _vectors_of_four(centred, d, 0)

    @_inlined
    def loaded(p):
        return (eight(p, uint64(0)),)

    @_inlined
    def scores(x, p):
        return sums_of(x[0] * p[0], x[1] * p[0], x[2] * p[0], x[3] * p[0])

    @_inlined
    def zeros():
        return all_of(0.0), all_of(0.0)

    @_inlined
    def added(x, r, totals):
        return _times_rows(r, x[0], x[1], x[2], x[3], totals[0], totals[1])

    @_inlined
    def put_totals(total, totals):
        put(total, uint64(0), eight(total, uint64(0)) + (totals[0] + totals[1]))

    return _Registers(loaded, taken, scores, zeros, added, put_totals)


def _of_two(centred: bool, d: int) -> _Registers:
    taken, then = _vectors_of_four(centred, d, 0), _vectors_of_four(centred, d, 1)

    @_inlined
    def loaded(p):
        return eight(p, uint64(0)), eight(p, uint64(WIDTH))

    @_inlined
    def cells(X, i, scale, minus):
        return taken(X, i, scale, minus) + then(X, i, scale, minus)

    @_inlined
    def scores(x, p):
        return sums_of(
            fused(x[4], p[1], x[0] * p[0]), fused(x[5], p[1], x[1] * p[0]),
            fused(x[6], p[1], x[2] * p[0]), fused(x[7], p[1], x[3] * p[0]),
        )  # fmt: skip

    @_inlined
    def zeros():
        return all_of(0.0), all_of(0.0), all_of(0.0), all_of(0.0)

    @_inlined
    def added(x, r, totals):
        low = _times_rows(r, x[0], x[1], x[2], x[3], totals[0], totals[1])
        return low + _times_rows(r, x[4], x[5], x[6], x[7], totals[2], totals[3])

    @_inlined
    def put_totals(total, totals):
        put(total, uint64(0), eight(total, uint64(0)) + (totals[0] + totals[1]))
        put(total, uint64(WIDTH), eight(total, uint64(WIDTH)) + (totals[2] + totals[3]))

    return _Registers(loaded, cells, scores, zeros, added, put_totals)
