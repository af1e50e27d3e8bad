"""The gradient of any loss over many rows of one output, as they stand: no step is taken within them."""

from collections.abc import Callable
from functools import lru_cache, partial

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import Formula, compilable
from gradstep._kernels.four_rows import MOST, Sums, rows_ahead, rows_at_once, sums_of_rows
from gradstep._kernels.simd import aligned

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")


def kernel_of(value: Formula, slope: Formula, d: int) -> Callable[..., None]:
    """Return the compiled gradient of a loss of d columns, called as ``gradient(X, y, weight, w, total, losses, p)``.

    ``X`` is (n, d), ``y`` (n,), ``weight`` (n,) or one for all, ``w`` (d + 1,) with the intercept last; ``total``
    (d + 1,) is set to ``sum_i v_i slope(z_i, y_i) [x_i, 1]``, ``losses`` (1,) to the sum of the losses.
    """
    return _of(value, slope, sums_of_rows(centred=False, d=d))


@lru_cache(maxsize=64)
def _of(value: Formula, slope: Formula, sums: Sums) -> Callable[..., None]:
    scores, add, zeros, joined = sums

    @_sums
    def losses_of(z, level, y, weight, first, p):
        """Make scores of some rows their slopes, in place, and return the sums of losses and slopes."""
        loss, by_level = 0.0, 0.0
        for t in range(z.size):
            v = weight[0] if weight.size == 1 else weight[uint64(first + t)]
            score, of_row = z[t] + level, y[uint64(first + t)]
            loss += v * value(score, of_row, p)
            s = v * slope(score, of_row, p)
            by_level += s
            z[t] = s
        return loss, by_level

    @kernel
    def gradient(X, y, weight, w, total, losses, p):
        n, d = X.shape
        weights = aligned(d)
        held = weights, aligned(MOST), zeros(weights)
        own, z, found = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
        own[:d] = w[:d]
        X, y, weight = borrowed(X), borrowed(y), borrowed(weight)
        losses[0], by_level = 0.0, 0.0
        ahead, rows = rows_ahead(X), rows_at_once(X)
        for first in range(0, n, rows):
            count = min(rows, n - first)
            scores(X, first, count, own, own, own, z, ahead)
            loss, slopes = losses_of(z[:count], w[d], y, weight, first, p)
            losses[0] += loss
            by_level += slopes
            add(X, weight, first, count, own, own, z, found, ahead)
        joined(found)
        total[:d], total[d] = found[:d], by_level
        keep(held)

    return gradient
