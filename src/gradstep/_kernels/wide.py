"""Sums in double-double arithmetic: residuals and gradients of the squared loss as good as in twice the precision.

A number is carried as an unevaluated sum of two float64, and the rounding error of each product and sum is computed and
kept: T. J. Dekker, A floating-point technique for extending the available precision, *Numerische Mathematik* 18 (1971)
224-242; T. Ogita, S. M. Rump and S. Oishi, Accurate sum and dot product, *SIAM Journal on Scientific Computing* 26
(2005) 1955-1988. Rows are taken in lanes, so that the dependent operations of one row's sum stand beside those of the
others and a cell takes about a nanosecond: as long as it takes to read it from memory.
"""

import math
from typing import Any

import numpy as np
from numba.extending import intrinsic, overload

from gradstep._kernels.cache import kernel

LANES = 16  # rows side by side: fewer leave the processor waiting, more no longer fit its nearest cache
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


@kernel
def wide_gradient(X, y, weight, start, stop, scale, y_scale, w, high, low, squares):  # noqa: C901 - loops in lanes
    """Compute residuals ``r = y - X w - b`` of rows `start` to `stop`, and ``X' v r``, in double-double arithmetic.

    ``X`` (n, d) is multiplied by ``scale`` (d,) and ``y`` (n, k) by ``y_scale`` (k,), powers of two, so that both are
    what the caller passed, exactly. ``w`` is (d + 1, k), the intercept last. ``high`` and ``low``, both (d + 1, k), are
    set to the two parts of the gradient, the sum of ``v r`` last, and ``squares`` (k,) to the sum of ``v r**2``.
    """
    d = X.shape[1]
    k = y.shape[1]
    tile = np.empty((d + 1, LANES))
    tile[d, :] = 1.0
    v, r, rest = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    sums, errors = np.zeros((k, d + 1, LANES)), np.zeros((k, d + 1, LANES))
    square_sums = np.zeros((k, LANES))
    for first in range(start, stop, LANES):
        count = min(LANES, stop - first)
        for i in range(LANES):
            # A row of weight zero is no row, whatever stands in it; nor is one beyond the end.
            v[i] = (weight[0] if weight.size == 1 else weight[first + i]) if i < count else 0.0
            present = v[i] > 0.0
            for j in range(d):
                tile[j, i] = X[first + i, j] * scale[j] if present else 0.0
        for c in range(k):
            for i in range(LANES):
                r[i] = y[first + i, c] * y_scale[c] if v[i] > 0.0 else 0.0
                rest[i] = 0.0
            for j in range(d + 1):
                factor = w[j, c]
                column = tile[j]
                for i in range(LANES):
                    product = column[i] * factor
                    lost = product_error(column[i], factor, product)
                    before = r[i]
                    after = before - product
                    part = after - before
                    rest[i] += ((before - (after - part)) - (product + part)) - lost
                    r[i] = after
            square = square_sums[c]
            for i in range(LANES):
                total = r[i] + rest[i]
                error = rest[i] - (total - r[i])
                square[i] += v[i] * total * total if v[i] > 0.0 else 0.0
                weighted = total * v[i]
                rest[i] = product_error(total, v[i], weighted) + error * v[i] if v[i] > 0.0 else 0.0
                r[i] = weighted if v[i] > 0.0 else 0.0
            for j in range(d + 1):
                column, sums_of_column, errors_of_column = tile[j], sums[c, j], errors[c, j]
                for i in range(LANES):
                    product = column[i] * r[i]
                    lost = product_error(column[i], r[i], product) + column[i] * rest[i]
                    before = sums_of_column[i]
                    after = before + product
                    part = after - before
                    errors_of_column[i] += ((before - (after - part)) + (product - part)) + lost
                    sums_of_column[i] = after
    for c in range(k):
        squares[c] = 0.0
        for i in range(LANES):  # in this order in plain Python too: see `gradstep._kernels.plain`
            squares[c] += square_sums[c, i]
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
