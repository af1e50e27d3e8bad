"""Gram matrices of scaled rows, which never leave the cache: about as fast as memory up to some 20 columns.

Rows are scaled into a block of `ROWS` and eight columns a panel, one after the other, and the panels multiplied by
tiles of eight by 24 entries of the matrix, which stay in registers: 24 sums, a load of 8 bytes for 3 of the products
(K. Goto and R. A. van de Geijn, Anatomy of high-performance matrix multiplication, *ACM Transactions on Mathematical
Software* 34 (2008) 12). A BLAS takes four times as long for 12 columns, and a quarter more for 100.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.lib.stride_tricks import as_strided

from gradstep._kernels import simd
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.simd import WIDTH, all_of, eight, entries, fused, put, sum_of

ROWS = 64  # of a block: it stays in the second cache up to 1000 columns, four panels of it in the first
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

    def vector(place: Any) -> Any:
        return builder.bitcast(place, simd.VECTOR.as_pointer())

    cells = [(row, v) for row in range(height) for v in range(width)]
    tile = [vector(place(C, builder.add(c, builder.mul(c_down, c.type(row))), c_across, v)) for row, v in cells]
    sums = [cgutils.alloca_once(builder, simd.VECTOR) for _ in cells]  # registers, to LLVM
    for where, total in zip(tile, sums, strict=True):
        builder.store(builder.load(where, align=8), total)
    with cgutils.for_range(builder, count, intp=count.type) as loop:
        row_of_a = builder.add(a, builder.mul(loop.index, a_step))
        row_of_b = builder.add(b, builder.mul(loop.index, count.type(WIDTH)))
        of_b = [builder.load(vector(place(B, row_of_b, b_across, v)), align=8) for v in range(width)]
        for row in range(height):
            factor = simd.spread(builder, builder.load(place(A, row_of_a, a_across, row)))
            for v in range(width):
                total = sums[row * width + v]
                added = [factor, of_b[v], builder.load(total)]
                builder.store(simd.call(builder, f"llvm.fma.v{WIDTH}f64", simd.VECTOR, added), total)
    for where, total in zip(tile, sums, strict=True):
        builder.store(builder.load(total), where, align=8)


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
    zero = all_of(0.0)
    v, root, roots_of = 0.0, 0.0, zero
    for t in range(ROWS):
        i = uint64(first) + uint64(t)
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
def _fill_rest(y, first, y_scale, y_centre, roots, columns, panels):
    """Write the responses and the roots of the weights behind so many columns of the panels."""
    for c in range(y.shape[1] + 1):
        column = columns + c
        to = uint64((column // WIDTH) * PANEL + column % WIDTH)
        for t in range(ROWS):
            entry = roots[t]
            if c < y.shape[1] and entry > 0.0:
                entry *= y[uint64(first + t), uint64(c)] * y_scale[c] - y_centre[c]
            panels[to + uint64(t * WIDTH)] = entry


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
        _fill_rest(y, first, y_scale, y_centre, roots, columns, panels)
        if _heavy(panels, limit):
            found[0] = _set_apart(panels, first, limit, heavy, found[0])
        for a in range(vectors):
            of, to = uint64(a) * panel, uint64(a) * eights * (size + one)
            places = (of, eights, one, of, panel, to, size, eights, uint64(ROWS))
            _tiles(panels, panels, sums, places, vectors - a if used - a * WIDTH > 4 else 0)
    to, errors = total.reshape(-1), rest.reshape(-1)
    for at in range(sums.size):
        after = to[at] + sums[at]
        part = after - to[at]
        errors[at] += (to[at] - (after - part)) + (sums[at] - part)
        to[at] = after
