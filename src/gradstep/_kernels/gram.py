"""Gram matrices of scaled rows, which never leave the cache: about as fast as memory up to some 20 columns.

Rows are scaled into a block of `ROWS` and eight columns a panel, one after the other, and the panels multiplied by
tiles of eight by 24 entries of the matrix, which stay in registers: 24 sums, a load of 8 bytes for 3 of the products
(K. Goto and R. A. van de Geijn, Anatomy of high-performance matrix multiplication, *ACM Transactions on Mathematical
Software* 34 (2008) 12). Matrices of up to twelve columns are one tile of vectors of four, from the diagonal on. While a
block is scaled the one after the next is asked for, so that memory does not wait for the tiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.lib.stride_tricks import as_strided

from gradstep._kernels import simd
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch, prefetch_line
from gradstep._kernels.simd import WIDTH, all_of, eight, entries, fused, put, sum_of

ROWS = 64  # of a block: it stays in the second cache up to 1000 columns, four panels of it in the first
_AHEAD = 2 * ROWS  # rows between asking for one and reading it
_SHORT = 64  # columns: a block's rows stay in the first cache while all of them are scaled, eight columns at a time
PANEL = (ROWS + 1) * WIDTH  # entries, by one row more than there is: panels 4096 bytes apart would share cache lines
_called = partial(compilable, fastmath=False, error_model="numpy")


def in_panels(T: Any) -> Any:
    """Return a matrix (d, r) as panels of eight columns, one after the other."""
    d, r = T.shape
    wide = np.zeros((d, -(-r // WIDTH) * WIDTH))
    wide[:, :r] = T
    return np.ascontiguousarray(wide.reshape(d, -1, WIDTH).transpose(1, 0, 2)).reshape(-1)


def _tile(height: int, width: int) -> Callable[..., None]:
    """Return what adds products to a tile of `height` rows and `width` vectors of a matrix: ``C += A' B``.

    Its last argument is a tuple of places, in entries. Row t of A has its entries, `a_across` apart, at ``a + t
    a_step``; row t of B its vectors, `b_across` apart, at ``b + 8 t``; rows of C are `c_down` apart, its vectors
    `c_across`.
    """

    def tile(A, B, C, places):
        a, a_step, a_across, b, b_across, c, c_down, c_across, count = places
        of_a = as_strided(A[a:], (count, height), (8 * a_step, 8 * a_across))
        of_b = as_strided(B[b:], (count, width, WIDTH), (8 * WIDTH, 8 * b_across, 8))
        of_c = as_strided(C[c:], (height, width, WIDTH), (8 * c_down, 8 * c_across, 8))
        of_c += np.tensordot(of_a, of_b, (0, 0))

    @intrinsic
    def compiled(context: Any, A: Any, B: Any, C: Any, places: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = zip(signature.args[:3], arguments[:3], strict=True)
            A, B, C = (context.make_array(kind)(context, builder, array).data for kind, array in arrays)
            _generate(builder, A, B, C, cgutils.unpack_tuple(builder, arguments[3]), height, width)
            return context.get_dummy_value()

        return types.void(A, B, C, places), generate

    @overload(tile, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
    def of_tile(A, B, C, places):  # noqa: ARG001
        return lambda A, B, C, places: compiled(A, B, C, places)  # type: ignore[call-arg] # noqa: PLW0108

    return tile


def _generate(builder: Any, A: Any, B: Any, C: Any, places: Any, height: int, width: int) -> None:
    a, a_step, a_across, b, b_across, c, c_down, c_across, count = places

    def place(of: Any, first: Any, stride: Any, number: int) -> Any:
        return builder.gep(of, [builder.add(first, builder.mul(stride, stride.type(number)))])

    def factor(turn: Any, row: int) -> Any:
        return place(A, builder.add(a, builder.mul(turn, a_step)), a_across, row)

    def vector(turn: Any, v: int) -> Any:
        return place(B, builder.add(b, builder.mul(turn, count.type(WIDTH))), b_across, v)

    tile = {
        (row, v): place(C, builder.add(c, builder.mul(c_down, c.type(row))), c_across, v)
        for row in range(height)
        for v in range(width)
    }
    _add_products(builder, count, factor, vector, tile, WIDTH)


def _add_products(
    builder: Any, count: Any, factor: Callable[[Any, int], Any], vector: Callable[[Any, int], Any],
    tile: dict[tuple[int, int], Any], wide: int,
) -> None:  # fmt: skip
    """Add to each cell of a tile, `wide` numbers, the products of its row's factor and its vector, turn by turn."""
    kind = ir.VectorType(ir.DoubleType(), wide)

    def whole(place: Any) -> Any:
        return builder.bitcast(place, kind.as_pointer())

    sums = {cell: cgutils.alloca_once(builder, kind) for cell in tile}  # registers, to LLVM
    for cell, place in tile.items():
        builder.store(builder.load(whole(place), align=8), sums[cell])
    with cgutils.for_range(builder, count, intp=count.type) as loop:
        vectors = {v: builder.load(whole(vector(loop.index, v)), align=8) for v in sorted({v for _, v in tile})}
        for row in sorted({row for row, _ in tile}):
            spread = simd.spread(builder, builder.load(factor(loop.index, row)), wide)
            for v in (v for at, v in tile if at == row):
                added = [spread, vectors[v], builder.load(sums[row, v])]
                builder.store(simd.call(builder, f"llvm.fma.v{wide}f64", kind, added), sums[row, v])
    for cell, place in tile.items():
        builder.store(builder.load(sums[cell]), whole(place), align=8)


def _triangle(fours: int) -> Callable[..., None]:
    """Return what adds ``A' A`` of the first so many fours of columns of a block to C, from the diagonal on.

    C has rows of `size` entries.
    """

    def triangle(panels, C, size):
        wide = C.reshape(-1, size)
        at = [panels[first : first + ROWS * WIDTH].reshape(ROWS, WIDTH) for first in range(0, panels.size, PANEL)]
        rows = np.hstack(at)[:, : 4 * fours]
        wide[: 4 * fours, : 4 * fours] += rows.T @ rows

    @intrinsic
    def compiled(context: Any, panels: Any, C: Any, size: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pairs = zip(signature.args[:2], arguments[:2], strict=True)
            A, to = (context.make_array(kind)(context, builder, array).data for kind, array in pairs)
            size = arguments[2]

            def entry(turn: Any, column: int) -> Any:
                first = size.type(column // WIDTH * PANEL + column % WIDTH)
                return builder.gep(A, [builder.add(first, builder.mul(turn, size.type(WIDTH)))])

            tile = {
                (row, v): builder.gep(to, [builder.add(builder.mul(size, size.type(row)), size.type(4 * v))])
                for row in range(4 * fours)
                for v in range(row // 4, fours)
            }
            _add_products(builder, size.type(ROWS), entry, lambda turn, v: entry(turn, 4 * v), tile, 4)
            return context.get_dummy_value()

        return types.void(panels, C, size), generate

    @overload(triangle, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
    def of_triangle(panels, C, size):  # noqa: ARG001
        return lambda panels, C, size: compiled(panels, C, size)  # type: ignore[call-arg] # noqa: PLW0108

    return triangle


_four, _eight, _twelve = _triangle(1), _triangle(2), _triangle(3)
_half, _one, _two, _three = _tile(4, 1), _tile(8, 1), _tile(8, 2), _tile(8, 3)


@_called
def _tiles(A, B, C, places, vectors):
    """Add products to tiles of 8 rows and so many vectors; of none, to one of 4 rows and a vector."""
    a, a_step, a_across, b, b_across, c, c_down, c_across, count = places
    if vectors == 0:
        _half(A, B, C, places)
    while vectors > 0:
        at = (a, a_step, a_across, b, b_across, c, c_down, c_across, count)
        if vectors == 1:
            _one(A, B, C, at)
        elif vectors == 2:
            _two(A, B, C, at)
        else:
            _three(A, B, C, at)
        b, c = b + uint64(3) * b_across, c + uint64(3) * c_across
        vectors -= 3


@_called
def _fill(X, weight, first, last, scale, minus, out, down, across, roots):
    """Write scaled rows to a block: vectors of a row `across` entries apart, rows `down`; zeros beyond the last."""
    stride, d = uint64(0 if weight.size == 1 else 1), X.shape[1]
    if d <= _SHORT and first + ROWS <= last and weight.size == 1 and weight[0] == 1.0:
        for j in range(0, d, WIDTH):
            k, to = uint64(j), uint64(j // WIDTH) * across
            s, m = eight(scale, k), eight(minus, k)
            for row in range(uint64(first), uint64(last)):
                prefetch_line(X, row + uint64(_AHEAD), k)
                put(out, to, fused(entries(X, row, k), s, m))
                to += down
        roots[:] = 1.0
        return
    zero = all_of(0.0)
    v, root, roots_of = 0.0, 0.0, zero
    for t in range(ROWS):
        i = uint64(first) + uint64(t)
        prefetch(X, i + uint64(_AHEAD))
        to = uint64(t) * down
        own = weight[i * stride] if first + t < last else 0.0
        if own != v:  # most often it is that of the row before
            v, root = own, math.sqrt(own)
            roots_of = all_of(root)
        roots[t] = root
        if v > 0.0:
            for j in range(0, d, WIDTH):
                k = uint64(j)
                put(out, to, fused(roots_of, fused(entries(X, i, k), eight(scale, k), eight(minus, k)), zero))
                to += across
        else:
            for _ in range(0, d, WIDTH):
                put(out, to, zero)
                to += across


@_called
def _fill_rest(y, first, last, y_scale, y_centre, roots, columns, panels):
    """Write the responses and the roots of the weights behind so many columns of the panels."""
    for c in range(y.shape[1]):
        column = columns + c
        to, scale, centre = uint64((column // WIDTH) * PANEL + column % WIDTH), y_scale[c], y_centre[c]
        for row in range(uint64(first), uint64(last)):
            root = roots[row - uint64(first)]
            panels[to] = root * (y[row, uint64(c)] * scale - centre) if root > 0.0 else 0.0
            to += uint64(WIDTH)
        for _ in range(last - first, ROWS):
            panels[to] = 0.0
            to += uint64(WIDTH)
    column = columns + y.shape[1]
    to = uint64((column // WIDTH) * PANEL + column % WIDTH)
    for t in range(ROWS):
        panels[to] = roots[t]
        to += uint64(WIDTH)


@_called
def _heavy(panels, limit):
    """Whether the squares of all rows together are above a limit, or no numbers."""
    a = all_of(0.0)
    b, c, d = a, a, a
    for first in range(0, panels.size, PANEL):
        for at in range(first, first + ROWS * WIDTH, 4 * WIDTH):
            j = uint64(at)
            p, q = eight(panels, j), eight(panels, j + uint64(WIDTH))
            r, s = eight(panels, j + uint64(2 * WIDTH)), eight(panels, j + uint64(3 * WIDTH))
            a, b, c, d = fused(p, p, a), fused(q, q, b), fused(r, r, c), fused(s, s, d)
    return not (sum_of(a) + sum_of(b)) + (sum_of(c) + sum_of(d)) <= limit


@_called
def _set_apart(panels, first, limit, heavy, found):
    """Note the numbers of rows whose square is above a limit, take them out of the panels, and return how many."""
    zero = all_of(0.0)
    for t in range(ROWS):
        square = zero
        for at in range(t * WIDTH, panels.size, PANEL):
            v = eight(panels, uint64(at))
            square = fused(v, v, square)
        if found < heavy.size and sum_of(square) > limit:
            heavy[found] = first + t
            found += 1
            for at in range(t * WIDTH, panels.size, PANEL):
                put(panels, uint64(at), zero)
    return found


@kernel
def add_gram(X, y, weight, start, stop, scale, minus, y_scale, y_centre, T, columns, limit, total, rest, heavy, found):
    """Add ``A' A`` of rows `start` to `stop` to `total`, and what rounding takes from that sum to `rest`.

    A row of A is ``root(v) [x * scale + minus, y * y_scale - y_centre, 1]``, its columns times ``T`` if that is not
    empty: panels of eight of its `columns`, (d, 8) each, one after the other. All vectors are padded; `total` and
    `rest` (m, m) are so too, and hold entries from the diagonal on. The numbers of rows whose square is above `limit`
    are put into `heavy` behind the ``found[0]`` that are there, as long as there is room, and their products left out.
    """
    vectors, d, wide = total.shape[0] // WIDTH, uint64(X.shape[1]), uint64(scale.size)
    panel, size, one, eights = uint64(PANEL), uint64(total.shape[0]), uint64(1), uint64(WIDTH)
    used = columns + y.shape[1] + 1
    panels, sums, roots = np.zeros(vectors * PANEL), np.zeros(total.size), np.zeros(ROWS)
    before = np.zeros(ROWS * scale.size if T.size > 0 else 0)
    for first in range(start, stop, ROWS):
        last = min(first + ROWS, stop)
        if T.size > 0:
            _fill(X, weight, first, last, scale, minus, before, wide, eights, roots)
            panels[:] = 0.0
            for t in range(0, ROWS, WIDTH):
                row, to = uint64(t) * wide, uint64(t) * eights
                places = (row, one, wide, uint64(0), d * eights, to, eights, panel, d)
                _tiles(before, T, panels, places, (columns + WIDTH - 1) // WIDTH)
        else:
            _fill(X, weight, first, last, scale, minus, panels, eights, panel, roots)
        _fill_rest(y, first, last, y_scale, y_centre, roots, columns, panels)
        if _heavy(panels, limit):
            found[0] = _set_apart(panels, first, limit, heavy, found[0])
        if used <= 4:
            _four(panels, sums, size)
        elif used <= 8:
            _eight(panels, sums, size)
        elif used <= 12:
            _twelve(panels, sums, size)
        for a in range(vectors if used > 12 else 0):
            of, to = uint64(a) * panel, uint64(a) * eights * (size + one)
            places = (of, eights, one, of, panel, to, size, eights, uint64(ROWS))
            _tiles(panels, panels, sums, places, vectors - a if used - a * WIDTH > 4 else 0)
    to, errors = total.reshape(-1), rest.reshape(-1)
    for at in range(sums.size):
        after = to[at] + sums[at]
        part = after - to[at]
        errors[at] += (to[at] - (after - part)) + (sums[at] - part)
        to[at] = after
