"""The gradient of the squared loss, its sums over rows as good as in twice the precision, of residuals in float64.

Rounding of residuals moves an answer by their own size at most, that of the sums by as much as the columns' condition
times more: where columns nearly depend on each other it is the sums that need more digits. Each begins at a number far
above whatever it may come to, so that it takes no more than a product's leading digits, and takes them exactly; what
that leaves of a product is summed beside it: S. M. Rump, T. Ogita and S. Oishi, Accurate floating-point summation part
I, *SIAM Journal on Scientific Computing* 31 (2008) 189-224, with fused multiply-adds. A cell takes
eleven operations, four of them in the sum, where double-double residuals and sums take twenty-three: of a hundred
columns 0.5 ns in the cache, in place of 1.
"""

import math
from functools import partial

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.four_rows import rows_ahead
from gradstep._kernels.prefetch import prefetch_line
from gradstep._kernels.simd import (
    FOUR,
    WIDTH,
    aligned,
    all_of,
    eight,
    entries,
    fused,
    inlined,
    put,
    put_four,
    roots_of,
    sum_of,
    sums_of,
)
from gradstep._kernels.squares import residuals
from gradstep._kernels.wide import errors_of

PAIR = 2 * WIDTH  # columns that are summed at once, of two halves of the rows: four sums, none waiting for another
_BLOCK = 24576  # bytes of scaled rows, about half of the nearest cache; eight rows at least
_MOST = 64  # rows of a block
_FURTHER = 4  # times as far ahead rows are asked for as where a row takes less arithmetic
_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


def _added(c, r, total, rest):
    """Return a sum and what it leaves out, a product added to both."""
    product = c * r
    after = total + product
    return after, rest + ((product - (after - total)) + errors_of(c, r, product))


@inlined(_added)
def _added_there(c, r, total, rest):  # noqa: ARG001
    def by_fused_multiply_add(c, r, total, rest):
        after = fused(c, r, total)
        return after, rest + fused(c, r, total - after)

    return by_fused_multiply_add


@_inlined
def _four_rows(X, i, scale, minus, p, block, to, sizes, v, t, ahead):
    """Write four scaled rows to the block, add their weighted squares to sizes, and return their scores.

    Of the four rows that are `ahead` the first two are asked for.
    """
    a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
    of_a = all_of(0.0)
    of_b, of_c, of_e = of_a, of_a, of_a
    va, vb, vc, ve = all_of(v[t]), all_of(v[t + uint64(1)]), all_of(v[t + uint64(2)]), all_of(v[t + uint64(3)])
    then, wide = uint64(i + ahead), uint64(scale.size)
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        s, m, q, size = eight(scale, j), eight(minus, j), eight(p, j), eight(sizes, j)
        prefetch_line(X, then, j)
        prefetch_line(X, then + uint64(1), j)
        xa, xb, xc, xe = entries(X, a, j) * s, entries(X, b, j) * s, entries(X, c, j) * s, entries(X, e, j) * s
        at = to + j
        put(block, at, xa)
        put(block, at + wide, xb)
        put(block, at + wide + wide, xc)
        put(block, at + wide + wide + wide, xe)
        size = fused(xb * vb, xb, fused(xa * va, xa, size))
        put(sizes, j, fused(xe * ve, xe, fused(xc * vc, xc, size)))
        of_a, of_b, of_c, of_e = (
            fused(xa + m, q, of_a),
            fused(xb + m, q, of_b),
            fused(xc + m, q, of_c),
            fused(xe + m, q, of_e),
        )
    return sums_of(of_a, of_b, of_c, of_e)


@_inlined
def _one_row(X, i, scale, minus, p, block, to, sizes, v):
    """Write a scaled row to the block, add its weighted squares to sizes, and return its score."""
    row, of_row = uint64(i), all_of(0.0)
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        x = entries(X, row, j) * eight(scale, j)
        put(block, to + j, x)
        put(sizes, j, fused(x * all_of(v), x, eight(sizes, j)))
        of_row = fused(x + eight(minus, j), eight(p, j), of_row)
    return sum_of(of_row)


@_inlined
def _into(high, low, j, part, rest):
    """Add two parts of a sum to those of totals."""
    before = eight(high, j)
    after = before + part
    grown = after - before
    put(low, j, eight(low, j) + (((before - (after - grown)) + (part - grown)) + rest))
    put(high, j, after)


@_inlined
def _add(block, z, half, size, sizes, high, low, X, then):
    """Add the block's products with `z` to `high` and `low`: z of `size`, the columns of `sizes`, their squares' sums.

    Meanwhile of each four rows of X from `then` on the last two are asked for.
    """
    wide = uint64(sizes.size)
    to_second, rows = uint64(half) * wide, uint64(half)
    for first in range(0, sizes.size, PAIR):
        j = uint64(first)
        k = j + uint64(WIDTH)
        # No sum of products is above the product of the sizes (Cauchy-Schwarz): four times that is far above them all.
        near, far = all_of(4 * size) * roots_of(eight(sizes, j)), all_of(4 * size) * roots_of(eight(sizes, k))
        a, b, c, e = near, near, far, far
        of_a, of_b, of_c, of_e = all_of(0.0), all_of(0.0), all_of(0.0), all_of(0.0)
        at, second = j, j + to_second
        for t in range(rows):
            r, s = all_of(z[t]), all_of(z[rows + t])
            a, of_a = _added(eight(block, at), r, a, of_a)
            b, of_b = _added(eight(block, second), s, b, of_b)
            c, of_c = _added(eight(block, at + uint64(WIDTH)), r, c, of_c)
            e, of_e = _added(eight(block, second + uint64(WIDTH)), s, e, of_e)
            at += wide
            second += wide
            row = then + t + t // uint64(2) * uint64(2) + uint64(2)
            prefetch_line(X, row, j)
            prefetch_line(X, row, k)
        _into(high, low, j, (a - near) + (b - near), of_a + of_b)
        _into(high, low, k, (c - far) + (e - far), of_c + of_e)


@_inlined
def _add_each(z, rows, begin, level):
    """Add `z` to the two halves of `level`, eight sums in two parts; none of them comes to half of `begin`."""
    near, rest = all_of(begin), all_of(0.0)
    total = near
    for first in range(0, rows, WIDTH):
        r = eight(z, uint64(first))
        after = total + r
        total, rest = after, rest + (r - (after - total))
    before, part = eight(level, uint64(0)), total - near
    after = before + part
    grown = after - before
    lost = (before - (after - grown)) + (part - grown)
    put(level, uint64(WIDTH), eight(level, uint64(WIDTH)) + (lost + rest))
    put(level, uint64(0), after)


@kernel
def doubled_gradient(X, y, weight, start, stop, scale, minus, p, level, rest, y_scale, high, low, by_level, squares):
    """Add to `high` and `low` the parts of ``X' v r`` of rows `start` to `stop`, to `squares` (1,) the sum of v r**2.

    Residuals are ``r = y * y_scale - level - rest - (x * scale + minus) p``, in float64, the level in two parts;
    columns are ``x * scale``, by powers of two. Vectors of columns are as long as `PAIR` divides. ``v r`` is added to
    `by_level` (16,), eight sums in two parts.
    """
    wide = scale.size
    most = max(WIDTH, min(_MOST, _BLOCK // (8 * wide)) // WIDTH * WIDTH)
    held = aligned(most * wide), aligned(most), aligned(most), aligned(wide), y.reshape(y.size)
    block, z, v, sizes = borrowed(held[0]), borrowed(held[1]), borrowed(held[2]), borrowed(held[3])
    X, y, weight = borrowed(X), borrowed(held[4]), borrowed(weight)
    scale, minus, p = borrowed(scale), borrowed(minus), borrowed(p)
    high, low, by_level = borrowed(high), borrowed(low), borrowed(by_level)
    ahead, given, v[:] = _FURTHER * rows_ahead(X), (y, weight, level, rest, y_scale), 1.0
    for first in range(start, stop, most):
        count, total = min(most, stop - first), float(most)
        every = weight.size == 1 and count == most
        if not every:
            total = 0.0
            for t in range(most):
                v[t] = 0.0 if t >= count else 1.0 if weight.size == 1 else max(weight[first + t], 0.0)
                total += v[t]
        sizes[:] = 0.0
        for t in range(0, most, FOUR):
            at, to = uint64(t), uint64(t) * uint64(wide)
            if every or min(v[at], v[at + uint64(1)], v[at + uint64(2)], v[at + uint64(3)]) > 0.0:
                put_four(z, at, _four_rows(X, first + t, scale, minus, p, block, to, sizes, v, at, ahead))
            else:
                for i in range(at, at + uint64(FOUR)):
                    to = i * uint64(wide)
                    block[to : to + uint64(wide)] = 0.0
                    z[i] = _one_row(X, first + i, scale, minus, p, block, to, sizes, v[i]) if v[i] > 0.0 else 0.0
        _, of_squares = residuals(z[:count], first, given)
        squares[0] += of_squares
        size = math.sqrt(of_squares)
        _add(block, z, most // 2, size, sizes, high, low, X, uint64(first + ahead))
        _add_each(z, most, 4 * size * math.sqrt(total), by_level)
    keep(held)
