"""The gradient of any loss over many rows of one output, as they stand: no step is taken within them."""

from collections.abc import Callable
from functools import lru_cache, partial

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import Formula, compilable
from gradstep._kernels.four_rows import FourRows, four_rows, rows_ahead
from gradstep._kernels.simd import FOUR, aligned, four, four_of, put_four

SHORTER = 100000
"""Columns below which it is faster than an epoch without steps."""

_BLOCK, _BYTES = 32, 16384  # rows, which stay in the first cache

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")


def kernel_of(value: Formula, slope: Formula, d: int) -> Callable[..., None]:
    """Return the compiled gradient of a loss of d columns, called as ``gradient(X, y, weight, w, total, losses, p)``.

    ``X`` is (n, d), ``y`` (n,), ``weight`` (n,) or one for all, ``w`` (d + 1,) with the intercept last; ``total``
    (d + 1,) is set to ``sum_i v_i slope(z_i, y_i) [x_i, 1]``, ``losses`` (1,) to the sum of the losses.
    """
    return _of(value, slope, four_rows(False, d))


@lru_cache(maxsize=64)
def _of(value: Formula, slope: Formula, rows: FourRows) -> Callable[..., None]:
    scores, add, score, add_one, zeros, joined = rows

    @_sums
    def losses_of(z, y, weight, first, p):
        """Make scores of some rows their slopes, in place, and return the sums of losses and slopes."""
        loss, by_level = 0.0, 0.0
        for t in range(z.size):
            v = weight[0] if weight.size == 1 else weight[uint64(first + t)]
            of_row = y[uint64(first + t)]
            loss += v * value(z[t], of_row, p)
            s = v * slope(z[t], of_row, p)
            by_level += s
            z[t] = s
        return loss, by_level

    @kernel
    def gradient(X, y, weight, w, total, losses, p):
        n, d = X.shape
        weights = aligned(d)
        held = weights, aligned(_BLOCK), zeros(weights)
        own, z, sums = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
        own[:d] = w[:d]
        X, y, weight = borrowed(X), borrowed(y), borrowed(weight)
        levels, level = four_of(w[d]), w[d]
        losses[0], by_level = 0.0, 0.0
        ahead, rows = rows_ahead(X), max(FOUR, min(_BLOCK, _BYTES // (d * X.itemsize)) // FOUR * FOUR)
        for first in range(0, n, rows):
            count = min(rows, n - first)
            whole = count // FOUR * FOUR
            for t in range(0, whole, FOUR):
                put_four(z, t, scores(X, first + t, own, own, own, ahead) + levels)
            for t in range(whole, count):
                z[t] = score(X, first + t, own, own, own) + level
            loss, slopes = losses_of(z[:count], y, weight, first, p)
            losses[0] += loss
            by_level += slopes
            for t in range(0, whole, FOUR):
                add(X, first + t, own, own, four(z, t), sums, ahead)
            for t in range(whole, count):
                add_one(X, first + t, own, own, z[t], sums)
        joined(sums)
        total[:d], total[d] = sums[:d], by_level
        keep(held)

    return gradient
