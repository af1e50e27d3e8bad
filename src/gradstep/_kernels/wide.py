"""Sums in double-double arithmetic: residuals and gradients of the squared loss as good as in twice the precision.

A number is carried as an unevaluated sum of two float64, and the rounding error of each product and sum is computed and
kept: T. J. Dekker, A floating-point technique for extending the available precision, *Numerische Mathematik* 18 (1971)
224-242; T. Ogita, S. M. Rump and S. Oishi, Accurate sum and dot product, *SIAM Journal on Scientific Computing* 26
(2005) 1955-1988. Rows are taken in lanes, so that the dependent operations of one row's sum stand beside those of the
others, eight in a vector: rows come to the lanes by exchanging halves, quarters and entries of eight vectors. A cell
takes about a nanosecond of one thread; cell by cell, which LLVM made vectors of in part, it took two.
"""

import math
from functools import partial
from typing import Any

import numpy as np
from numba.extending import intrinsic, overload

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.simd import WIDTH, aligned, all_of, call, eight, entries, inlined, put, turned

LANES = 16  # rows side by side: fewer leave the processor waiting, more no longer fit its nearest cache
_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")
_SPLIT = 134217729.0  # 2**27 + 1


def product_error(a, b, product):
    """Return what rounding took from a product, exactly."""
    if isinstance(a, np.float32):  # a product of two floats is a double without rounding
        return np.float32(np.float64(a) * np.float64(b) - np.float64(product))
    # Dekker's product, for plain Python; compiled code has the processor's fused multiply-add.
    big = a * _SPLIT
    a_high = big - (big - a)
    a_low = a - a_high
    big = b * _SPLIT
    b_high = big - (big - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@overload(product_error, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _fused(a, b, product):  # noqa: ARG001
    def by_fused_multiply_add(a, b, product):
        return multiply_add(a, b, -product)  # type: ignore[call-arg]

    return by_fused_multiply_add


@intrinsic
def multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - Numba's form
    """Return ``a b + c`` rounded once, of three numbers of one type: in compiled code alone."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.fma(*arguments)

    return a(a, a, a), generate


def errors_of(a, b, products):
    """Return what rounding took from eight products, exactly."""
    return product_error(a, b, products)


@inlined(errors_of)
def _fused_eight(a, b, products):  # noqa: ARG001
    return lambda a, b, products: _errors_of(a, b, products)  # type: ignore[call-arg] # noqa: PLW0108


@intrinsic
def _errors_of(context: Any, a: Any, b: Any, products: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        a, b, products = arguments
        return call(builder, "llvm.fma.v8f64", products.type, [a, b, builder.fneg(products)])

    return products(a, b, products), generate


@_inlined
def _cells(X, i, j, scale, v):
    """Return eight scaled cells of a row; zeros of one of weight zero, which is no row, whatever stands in it."""
    return entries(X, i, j) * eight(scale, j) if v > 0.0 else all_of(0.0)


@_inlined
def _turn(X, first, half, j, scale, v, tile):
    """Write eight cells of eight rows to the tile, whose columns stand side by side."""
    i, at = first + half, j * LANES + half
    columns = turned(
        _cells(X, i, j, scale, v[half]), _cells(X, i + 1, j, scale, v[half + 1]),
        _cells(X, i + 2, j, scale, v[half + 2]), _cells(X, i + 3, j, scale, v[half + 3]),
        _cells(X, i + 4, j, scale, v[half + 4]), _cells(X, i + 5, j, scale, v[half + 5]),
        _cells(X, i + 6, j, scale, v[half + 6]), _cells(X, i + 7, j, scale, v[half + 7]),
    )  # fmt: skip
    for column in columns:
        put(tile, at, column)
        at += LANES


@_inlined
def _less(r, rest, column, factor):
    """Return residuals less a column's products, and what rounding left out of them so far."""
    product = column * factor
    after = r - product
    part = after - r
    return after, rest + (((r - (after - part)) - (product + part)) - errors_of(column, factor, product))


@_inlined
def _weighted(r, rest, v, squares, at):
    """Add ``v r**2`` to squares, and return ``v r`` in two parts."""
    total = r + rest
    error = rest - (total - r)
    put(squares, at, eight(squares, at) + v * total * total)
    product = total * v
    return product, errors_of(total, v, product) + error * v


@_inlined
def _add_products(column, r, rest, sums, errors, at):
    """Add a column's products with residuals to sums, and to errors what rounding takes from them."""
    product = column * r
    lost = errors_of(column, r, product) + column * rest
    before = eight(sums, at)
    after = before + product
    part = after - before
    put(errors, at, eight(errors, at) + (((before - (after - part)) + (product - part)) + lost))
    put(sums, at, after)


@kernel
def wide_gradient(X, y, weight, start, stop, scale, y_scale, w, high, low, squares):
    """Compute residuals ``r = y - X w - b`` of rows `start` to `stop`, and ``X' v r``, in double-double arithmetic.

    ``X`` (n, d) is multiplied by ``scale`` (d,) and ``y`` (n, k) by ``y_scale`` (k,), powers of two, so that both are
    what the caller passed, exactly. ``w`` is (d + 1, k), the intercept last. ``high`` and ``low``, both (d + 1, k), are
    set to the two parts of the gradient, the sum of ``v r`` last, and ``squares`` (k,) to the sum of ``v r**2``.
    """
    d = X.shape[1]
    k = y.shape[1]
    # A column of the tile is as long as `LANES`; the last that counts are ones, behind them is room for whole vectors.
    ones, size = d * LANES, (d + 1) * LANES
    tile, v, r, scales = aligned(ones + WIDTH * LANES), aligned(LANES), aligned(LANES), aligned(d)
    scales[:d] = scale
    of_columns, lost, of_squares = aligned(k * (d + 1) * LANES), aligned(k * (d + 1) * LANES), aligned(k * LANES)
    for first in range(start, stop, LANES):
        count = min(LANES, stop - first)
        for i in range(LANES):  # beyond the end is no row
            v[i] = (weight[0] if weight.size == 1 else weight[first + i]) if i < count else 0.0
        for j in range(0, d, WIDTH):
            _turn(X, first, 0, j, scales, v, tile)
            _turn(X, first, WIDTH, j, scales, v, tile)
        tile[ones : ones + LANES] = 1.0
        for c in range(k):
            for i in range(LANES):
                r[i] = y[first + i, c] * y_scale[c] if v[i] > 0.0 else 0.0
            near, far, rest, far_rest = eight(r, 0), eight(r, WIDTH), all_of(0.0), all_of(0.0)
            for j in range(d + 1):
                factor, at = all_of(w[j, c]), j * LANES
                near, rest = _less(near, rest, eight(tile, at), factor)
                far, far_rest = _less(far, far_rest, eight(tile, at + WIDTH), factor)
            at, to = c * LANES, c * size
            near, rest = _weighted(near, rest, eight(v, 0), of_squares, at)
            far, far_rest = _weighted(far, far_rest, eight(v, WIDTH), of_squares, at + WIDTH)
            for column in range(0, size, LANES):
                _add_products(eight(tile, column), near, rest, of_columns, lost, to + column)
                _add_products(eight(tile, column + WIDTH), far, far_rest, of_columns, lost, to + column + WIDTH)
    sums, errors = of_columns.reshape(k, d + 1, LANES), lost.reshape(k, d + 1, LANES)
    for c in range(k):
        squares[c] = 0.0
        for i in range(LANES):  # in this order in plain Python too: see `gradstep._kernels.plain`
            squares[c] += of_squares[c * LANES + i]
        for j in range(d + 1):
            total, error = 0.0, 0.0
            for i in range(LANES):
                after = total + sums[c, j, i]
                part = after - total
                error += ((total - (after - part)) + (sums[c, j, i] - part)) + errors[c, j, i]
                total = after
            high[j, c] = total + error
            low[j, c] = error - (high[j, c] - total)


@kernel
def about_means(high, low, centre, mean, intercept, slopes, by_level):
    """Set `slopes` (d, k) and `by_level` (k,) to the gradient by columns about ``centre + mean``, and by the level.

    Far from zero nearly everything cancels: it does so in double-double arithmetic. Without an intercept the columns
    are taken as they are.
    """
    d = slopes.shape[0]
    for c in range(slopes.shape[1]):
        level = high[d, c] + low[d, c] if intercept else 0.0
        by_level[c] = level
        for j in range(d):
            slope, rest = high[j, c], low[j, c]
            if intercept:
                product = centre[j] * high[d, c]
                lost = product_error(centre[j], high[d, c], product) + centre[j] * low[d, c]
                after = slope - product
                part = after - slope
                rest += ((slope - (after - part)) - (product + part)) - lost
                slope = after - mean[j] * level
            slopes[j, c] = slope + rest


@kernel
def wide_scores(X, coef, intercept, out):
    """Set `out` (n, k) to ``X coef + intercept`` as good as in twice the precision, then rounded.

    ``coef`` is (d, k), ``intercept`` (k,). Of columns far from zero or that nearly depend on each other the terms
    cancel, and plain sums would keep their rounding.
    """
    n, d = X.shape
    tile, score, rest = np.zeros((d, LANES)), np.empty(LANES), np.empty(LANES)
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        for i in range(count):
            for j in range(d):
                tile[j, i] = X[first + i, j]
        for c in range(out.shape[1]):
            for i in range(LANES):
                score[i], rest[i] = intercept[c], 0.0
            for j in range(d):
                factor, column = coef[j, c], tile[j]
                for i in range(LANES):
                    product = column[i] * factor
                    before = score[i]
                    after = before + product
                    part = after - before
                    lost = product_error(column[i], factor, product)
                    rest[i] += ((before - (after - part)) + (product - part)) + lost
                    score[i] = after
            for i in range(count):
                # Where a score is infinite, what rounding took from it is no number.
                out[first + i, c] = score[i] + rest[i] if math.isfinite(score[i]) else score[i]
