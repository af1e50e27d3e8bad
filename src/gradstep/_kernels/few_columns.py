"""Gram matrices of up to `MOST` scaled columns: eight rows in a vector, columns side by side.

Tiles of a row's vectors, as longer rows have them, would be half empty here. With eight rows in a vector the products
of four columns with four others are sixteen for eight loads, and their sums stay in registers: a row of ten columns
takes 8 ns of one thread, where it took 14.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic, overload

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.bounds import check
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch_line
from gradstep._kernels.simd import (
    FOUR,
    VECTOR,
    WIDTH,
    aligned,
    all_of,
    call,
    eight,
    entries,
    fused,
    put,
    sum_of,
    turned,
)

MOST = 12
_ROWS = 64  # of a block, which stays in the nearest cache
_AHEAD = 128  # rows between asking for one and reading it
_PAIRS = FOUR * FOUR * WIDTH  # numbers of the sums of two fours of columns
_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


def _products(*, same: bool) -> Callable[..., None]:
    """Return what adds to sixteen vectors of sums, from `at` on, the products of four columns with four others.

    Of the `same` four the sums of a column and one before it are left as they are.
    """
    pairs = tuple((a, b) for a in range(FOUR) for b in range(a if same else 0, FOUR))  # no list: see `cache`

    def products(columns, first, second, sums, at):
        of = columns.reshape(-1, _ROWS // WIDTH, WIDTH)
        for a, b in pairs:
            begin = at + (FOUR * a + b) * WIDTH
            for x, y in zip(of[first + a], of[second + b], strict=True):
                sums[begin : begin + WIDTH] += x * y

    @intrinsic
    def compiled(context: Any, columns: Any, first: Any, second: Any, sums: Any, at: Any) -> Any:  # noqa: ARG001
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            made = [context.make_array(kinds[n])(context, builder, arguments[n]) for n in (0, 3)]
            number = arguments[1].type
            starts = [builder.mul(arguments[n], number(_ROWS)) for n in (1, 2)]
            for start in starts:
                of_four = builder.gep(made[0].data, [start])
                check(context, builder, kinds[0], made[0], of_four, ir.IntType(64)(FOUR * _ROWS))
            begin = builder.gep(made[1].data, [arguments[4]])
            check(context, builder, kinds[3], made[1], begin, ir.IntType(64)(_PAIRS))

            def vectors(start: Any, turn: Any) -> list[Any]:
                row = builder.add(start, builder.mul(turn, number(WIDTH)))
                places = [builder.gep(made[0].data, [builder.add(row, number(n * _ROWS))]) for n in range(FOUR)]
                return [builder.load(builder.bitcast(place, VECTOR.as_pointer()), align=8) for place in places]

            to = {(a, b): builder.gep(begin, [number((FOUR * a + b) * WIDTH)]) for a, b in pairs}
            to = {pair: builder.bitcast(place, VECTOR.as_pointer()) for pair, place in to.items()}
            held = {pair: cgutils.alloca_once(builder, VECTOR) for pair in pairs}  # registers, to LLVM
            for pair, place in to.items():
                builder.store(builder.load(place, align=8), held[pair])
            with cgutils.for_range(builder, number(_ROWS // WIDTH), intp=number) as loop:
                left = vectors(starts[0], loop.index)
                right = left if same else vectors(starts[1], loop.index)
                for a, b in pairs:
                    added = [left[a], right[b], builder.load(held[a, b])]
                    builder.store(call(builder, f"llvm.fma.v{WIDTH}f64", VECTOR, added), held[a, b])
            for pair, place in to.items():
                builder.store(builder.load(held[pair]), place, align=8)
            return context.get_dummy_value()

        return types.void(columns, first, second, sums, at), generate

    @overload(products, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
    def of_products(columns, first, second, sums, at):  # noqa: ARG001
        return lambda columns, first, second, sums, at: compiled(columns, first, second, sums, at)  # type: ignore[call-arg] # noqa: PLW0108

    return products


_of_same, _of_others = _products(same=True), _products(same=False)


@_inlined
def _cells(X, i, j, scale, minus, root):
    """Return eight scaled cells of a row; zeros of one of weight zero, which is no row, whatever stands in it."""
    return fused(entries(X, i, j), scale, minus) if root > 0.0 else all_of(0.0)


@_inlined
def _fill(X, first, scale, minus, roots, whole, out):
    """Write the scaled columns of rows from `first` on; of rows that are not `whole`, times the roots of weights."""
    one, rows, eights = uint64(1), uint64(_ROWS), uint64(WIDTH)
    for t in range(0, rows, eights):
        a, b, c, e = t, t + one, t + uint64(2), t + uint64(3)
        f, g, h, k = t + uint64(4), t + uint64(5), t + uint64(6), t + uint64(7)
        i, root = uint64(first), eight(roots, t)
        for j in range(0, uint64(X.shape[1]), eights):
            for n in range(eights):
                prefetch_line(X, i + t + n + uint64(_AHEAD), j)
            to, s, m = j * rows + t, eight(scale, j), eight(minus, j)
            if whole:
                columns = turned(
                    fused(entries(X, i + a, j), s, m), fused(entries(X, i + b, j), s, m),
                    fused(entries(X, i + c, j), s, m), fused(entries(X, i + e, j), s, m),
                    fused(entries(X, i + f, j), s, m), fused(entries(X, i + g, j), s, m),
                    fused(entries(X, i + h, j), s, m), fused(entries(X, i + k, j), s, m),
                )  # fmt: skip
                for column in columns:
                    put(out, to, column)
                    to += rows
            else:
                weighted = turned(
                    _cells(X, i + a, j, s, m, roots[a]), _cells(X, i + b, j, s, m, roots[b]),
                    _cells(X, i + c, j, s, m, roots[c]), _cells(X, i + e, j, s, m, roots[e]),
                    _cells(X, i + f, j, s, m, roots[f]), _cells(X, i + g, j, s, m, roots[g]),
                    _cells(X, i + h, j, s, m, roots[h]), _cells(X, i + k, j, s, m, roots[k]),
                )  # fmt: skip
                for column in weighted:
                    put(out, to, column * root)
                    to += rows


@_inlined
def _fill_rest(y, k, first, y_scale, y_centre, roots, whole, at, out):
    """Write the responses, of which `k` stand side by side, and the roots of the weights behind columns."""
    rows, eights = uint64(_ROWS), uint64(WIDTH)
    for c in range(k):
        if whole and k == 1:
            for t in range(0, rows, eights):
                put(out, at + t, eight(y, uint64(first) + t) * all_of(y_scale[c]) - all_of(y_centre[c]))
        else:
            for t in range(rows):
                row = (uint64(first) + t) * uint64(k) + uint64(c)
                out[at + t] = roots[t] * (y[row] * y_scale[c] - y_centre[c]) if roots[t] > 0.0 else 0.0
        at += rows
    for t in range(0, rows, eights):
        put(out, at + t, eight(roots, t))


@_inlined
def _times(of_X, d, T, r, out):
    """Write columns times T, panels of eight of its columns: column `r` of them."""
    rows = uint64(_ROWS)
    for t in range(0, _ROWS, WIDTH):
        total, at, of = all_of(0.0), uint64(t), uint64(r // WIDTH) * uint64(d * WIDTH) + uint64(r % WIDTH)
        for _ in range(d):
            total = fused(eight(of_X, at), all_of(T[of]), total)
            at += rows
            of += uint64(WIDTH)
        put(out, uint64(r) * rows + uint64(t), total)


@_inlined
def _set_apart(columns, used, first, limit, heavy, found):
    """Note the numbers of rows whose square is above a limit, take them out of the columns, and return how many."""
    for t in range(_ROWS):
        square, at = 0.0, uint64(t)
        for _ in range(used):
            square += columns[at] * columns[at]
            at += uint64(_ROWS)
        if found < heavy.size and square > limit:
            heavy[found] = first + t
            found += 1
            at = uint64(t)
            for _ in range(used):
                columns[at] = 0.0
                at += uint64(_ROWS)
    return found


@_inlined
def _square(columns, size):
    """Return the sum of the squares of all entries."""
    a, b, c, e = all_of(0.0), all_of(0.0), all_of(0.0), all_of(0.0)
    for at in range(0, size, 4 * WIDTH):
        j = uint64(at)
        p, q = eight(columns, j), eight(columns, j + uint64(WIDTH))
        r, s = eight(columns, j + uint64(2 * WIDTH)), eight(columns, j + uint64(3 * WIDTH))
        a, b, c, e = fused(p, p, a), fused(q, q, b), fused(r, r, c), fused(s, s, e)
    return (sum_of(a) + sum_of(b)) + (sum_of(c) + sum_of(e))


@_inlined
def _set_roots(weight, first, last, whole, roots):
    """Set the roots of the weights of a block's rows, zeros beyond the last; of `whole` rows they are ones."""
    if whole:
        roots[:] = 1.0
    else:
        for t in range(_ROWS):
            roots[t] = math.sqrt(weight[0 if weight.size == 1 else first + t]) if first + t < last else 0.0


@_inlined
def _add_block(block, fours, sums):
    """Add the products of each four columns with themselves and those behind them."""
    to, four = uint64(0), uint64(FOUR)
    for a in range(uint64(fours)):
        _of_same(block, four * a, four * a, sums, to)
        to += uint64(_PAIRS)
        for b in range(a + uint64(1), uint64(fours)):
            _of_others(block, four * a, four * b, sums, to)
            to += uint64(_PAIRS)


@_inlined
def _add_sums(sums, fours, used, total, rest):
    """Add the sums over eight rows each to the total, and what rounding takes from it to the rest."""
    to = uint64(0)
    for a in range(fours):
        for b in range(a, fours):
            for pair in range(FOUR * FOUR):
                i, j = FOUR * a + pair // FOUR, FOUR * b + pair % FOUR
                if i <= j < used:
                    before, more = total[i, j], sum_of(eight(sums, to))
                    after = before + more
                    part = after - before
                    if rest.size > 0:
                        rest[i, j] += (before - (after - part)) + (more - part)
                    total[i, j] = after
                to += uint64(WIDTH)


@kernel
def add_gram_of_few(
    X, y, weight, start, stop, scale, minus, y_scale, y_centre, T, columns, limit, total, rest, heavy, found
):
    """Do what `gradstep._kernels.gram.add_gram` does, of up to `MOST` columns, responses and ones together."""
    d, k = X.shape[1], y.shape[1]
    used = columns + k + 1
    fours = (used + FOUR - 1) // FOUR
    held = (
        aligned(max(FOUR * fours, scale.size) * _ROWS), aligned(_ROWS), aligned(fours * (fours + 1) // 2 * _PAIRS),
        aligned(scale.size * _ROWS if T.size > 0 else 0), y.reshape(y.size),
    )  # fmt: skip
    block, roots, sums, of_X = borrowed(held[0]), borrowed(held[1]), borrowed(held[2]), borrowed(held[3])
    X, weight, y, scale, minus = borrowed(X), borrowed(weight), borrowed(held[4]), borrowed(scale), borrowed(minus)
    for first in range(start, stop, _ROWS):
        last = min(first + _ROWS, stop)
        whole = last - first == _ROWS and weight.size == 1 and weight[0] == 1.0
        _set_roots(weight, first, last, whole, roots)
        if T.size > 0:
            _fill(X, first, scale, minus, roots, whole, of_X)
            for r in range(columns):
                _times(of_X, d, T, r, block)
        else:
            _fill(X, first, scale, minus, roots, whole, block)
        _fill_rest(y, k, first, y_scale, y_centre, roots, whole, uint64(columns * _ROWS), block)
        if limit < np.inf and not _square(block, FOUR * fours * _ROWS) <= limit:
            found[0] = _set_apart(block, used, first, limit, heavy, found[0])
        _add_block(block, fours, sums)
    _add_sums(sums, fours, used, total, rest)
    keep(held)
