"""The gradient of the squared loss in one read, in float64: what rounds are judged by that need no more digits."""

from collections.abc import Callable
from functools import lru_cache, partial

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.four_rows import FourRows, four_rows, rows_ahead
from gradstep._kernels.rows import EPS
from gradstep._kernels.simd import four, four_of, fused, least_of, sum_of

SHORT = 128
"""Rows whose sums are plain: between such blocks what rounding takes is kept."""

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


def roundings(d: int) -> tuple[float, float]:
    """Return the units of rounding of its sums over rows, and of the residuals that they are made of.

    A sum of m terms is off by m units at most (N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
    edition 2002, section 4.2): of rows in a block, and of d columns in eight lanes and their own sum.
    """
    return (SHORT + 8) * EPS / 2, (d / 8 + 16) * EPS / 2


def gradient_kernel(centred: bool, d: int) -> Callable[..., None]:
    """Return the gradient of d columns as they stand, or centred."""
    return _gradient_of(four_rows(centred, d))


@lru_cache(maxsize=64)
def _gradient_of(sums_of_rows: FourRows) -> Callable[..., None]:
    scores, add, score, add_one, zeros, joined = sums_of_rows

    @_inlined
    def block(X, y, weight, first, last, scale, minus, p, level, rest, y_scale, total):
        """Add ``v r x`` of some rows to `total`, and return the sums of ``v r`` and ``v r**2``."""
        alone = weight.size == 1
        by_level, squares = 0.0, 0.0
        by_levels, of_squares = four_of(0.0), four_of(0.0)
        units, levels, rests = four_of(y_scale), four_of(level), four_of(rest)
        ahead = rows_ahead(X)
        row = first
        while row < last:
            if row + 4 <= last and (alone or least_of(four(weight, row)) > 0.0):
                r = (four(y, row) * units - levels) - (rests + scores(X, row, scale, minus, p, ahead))
                of_row = r if alone else r * four(weight, row)
                by_levels = by_levels + of_row
                of_squares = fused(of_row, r, of_squares)
                add(X, row, scale, minus, of_row, total, ahead)
                row += 4
            else:
                v = 1.0 if alone else weight[row]
                if v > 0.0:  # a row of weight zero is no row, whatever stands in it
                    r = (y[row] * y_scale - level) - (rest + score(X, row, scale, minus, p))
                    by_level += v * r
                    squares += v * r * r
                    add_one(X, row, scale, minus, v * r, total)
                row += 1
        return by_level + sum_of(by_levels), squares + sum_of(of_squares)

    @kernel
    def gradient(X, y, weight, start, stop, scale, minus, p, level, rest, y_scale, high, low, sums):
        """Add to `high` and `low` the parts of ``X' v r`` of rows `start` to `stop`, to `sums` those of v r and v r**2.

        Columns are ``x``, or ``x * scale + minus``, residuals ``r = y * y_scale - level - rest - x p``, the level in
        two parts; vectors of columns are padded to eights. ``sums`` is the sum of ``v r``, what rounding took from it,
        and the sum of ``v r**2``.
        """
        own = zeros(scale)
        total, y = borrowed(own), borrowed(y.reshape(y.size))
        X, weight, scale, minus, p = borrowed(X), borrowed(weight), borrowed(scale), borrowed(minus), borrowed(p)
        for first in range(start, stop, SHORT):
            total[:] = 0.0
            by_level, squares = block(
                X, y, weight, first, min(first + SHORT, stop), scale, minus, p, level, rest, y_scale, total
            )
            joined(total)
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
        keep(own)

    return gradient
