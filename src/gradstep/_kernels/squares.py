"""The gradient of the squared loss in one read, in float64: what rounds are judged by that need no more digits."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.four_rows import all_count, over_rows, room_of, rows_ahead
from gradstep._kernels.rows import EPS
from gradstep._kernels.simd import FOUR, aligned, all_of, eight, four, four_of, fused, put_four, sum_of
from gradstep._kernels.sweep import Middle

SHORT = 128
"""Rows whose sums are plain: between such blocks what rounding takes is kept."""

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


def roundings(d: int, k: int = 1) -> tuple[float, float]:
    """Return the units of rounding of its sums over rows, and of the residuals that they are made of.

    A sum of m terms is off by m units at most (N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
    edition 2002, section 4.2): of rows in a block, and of d columns in eight lanes and their own sum; those of
    several outputs are summed one column after the other.
    """
    return (SHORT + 8) * EPS / 2, ((d / 8 if k == 1 else d) + 16) * EPS / 2


def _of_vector(taken: Callable[..., Any], repeated: Callable[..., Any]) -> Callable[..., Any]:
    """Return what rows count, as many as a vector has, and the sums with them."""

    @_inlined
    def of_vector(z, i, given, one, two):
        y, weight, level, rest, y_scale = given
        r = (taken(y, i) * repeated(y_scale) - repeated(level)) - (repeated(rest) + z)
        of_row = r if weight.size == 1 else r * taken(weight, i)
        return of_row, one + of_row, fused(of_row, r, two)

    return of_vector


_of_four = _of_vector(four, four_of)


@_inlined
def residuals(z, first, given):
    y, weight, level, rest, y_scale = given
    one, two = four_of(0.0), four_of(0.0)
    by_level, squares = 0.0, 0.0
    whole = z.size // FOUR * FOUR if all_count(weight, first, z.size) else 0
    for t in range(0, whole, FOUR):
        of_row, one, two = _of_four(four(z, t), first + t, given, one, two)
        put_four(z, t, of_row)
    for t in range(whole, z.size):
        i, row = uint64(t), uint64(first + t)
        v = 1.0 if weight.size == 1 else weight[row]
        if v > 0.0:
            r = (float(y[row]) * y_scale - level) - (rest + z[i])
            by_level += v * r
            squares += v * r * r
            z[i] = v * r
    return by_level + sum_of(one), squares + sum_of(two)


_RESIDUALS = Middle(residuals, _of_vector(eight, all_of))
"""Make of scores ``v r``, and the sums of ``v r`` and ``v r**2``."""


def gradient_kernel(centred: bool, d: int) -> Callable[..., None]:
    """Return the gradient of d columns as they stand, or centred."""
    return _gradient_of(over_rows(centred, d, _RESIDUALS))


@lru_cache(maxsize=64)
def _gradient_of(block: Callable[..., Any]) -> Callable[..., None]:
    @kernel
    def gradient(X, y, weight, start, stop, scale, minus, p, level, rest, y_scale, high, low, sums):
        """Add to `high` and `low` the parts of ``X' v r`` of rows `start` to `stop`, to `sums` those of v r and v r**2.

        Columns are ``x``, or ``x * scale + minus``, residuals ``r = y * y_scale - level - rest - x p``, the level in
        two parts; vectors of columns are padded to eights. ``sums`` is the sum of ``v r``, what rounding took from it,
        and the sum of ``v r**2``.
        """
        held = aligned(scale.size), aligned(room_of(X))
        total, z, y = borrowed(held[0]), borrowed(held[1]), borrowed(y.reshape(y.size))
        X, weight, scale, minus, p = borrowed(X), borrowed(weight), borrowed(scale), borrowed(minus), borrowed(p)
        ahead, given = rows_ahead(X), (y, weight, level, rest, y_scale)
        for first in range(start, stop, SHORT):
            total[:] = 0.0
            last = min(first + SHORT, stop)
            by_level, squares = block(X, weight, first, last, scale, minus, p, total, z, ahead, given)
            for j in range(X.shape[1]):
                before = high[j]
                after = before + total[j]
                part = after - before
                low[j] += (before - (after - part)) + (total[j] - part)
                high[j] = after
            after = sums[0] + by_level
            part = after - sums[0]
            sums[1] += (sums[0] - (after - part)) + (by_level - part)
            sums[0] = after
            sums[2] += squares
        keep(held)

    return gradient
