"""The gradient of any loss over many rows of one output, as they stand: no step is taken within them."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import Formula, compilable
from gradstep._kernels.four_rows import over_rows, room_of, rows_ahead
from gradstep._kernels.simd import aligned
from gradstep._kernels.sweep import Middle

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")


def kernel_of(value: Formula, slope: Formula, d: int) -> Callable[..., None]:
    """Return the compiled gradient of a loss of d columns, called as ``gradient(X, y, weight, w, total, losses, p)``.

    ``X`` is (n, d), ``y`` (n,), ``weight`` (n,) or one for all, ``w`` (d + 1,) with the intercept last; ``total``
    (d + 1,) is set to ``sum_i v_i slope(z_i, y_i) [x_i, 1]``, ``losses`` (1,) to the sum of the losses.
    """
    return _gradient_of(over_rows(centred=False, d=d, middle=_middle(value, slope)))


@lru_cache(maxsize=64)
def _gradient_of(block: Callable[..., Any]) -> Callable[..., None]:
    @kernel
    def gradient(X, y, weight, w, total, losses, p):
        n, d = X.shape
        held = aligned(d), aligned(room_of(X)), aligned(d)
        own, z, found = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
        own[:d] = w[:d]
        X, y, weight = borrowed(X), borrowed(y), borrowed(weight)
        losses[0], by_level = block(X, weight, 0, n, own, own, own, found, z, rows_ahead(X), (y, weight, w[d], p))
        total[:d], total[d] = found[:d], by_level
        keep(held)

    return gradient


@lru_cache(maxsize=64)
def _middle(value: Formula, slope: Formula) -> Middle:
    """Make of scores slopes; and the sums of losses and slopes."""

    @_sums
    def of_some(z, first, given):
        y, weight, level, p = given
        losses, by_level = 0.0, 0.0
        for t in range(z.size):
            v = weight[0] if weight.size == 1 else weight[uint64(first + t)]
            score, of_row = z[t] + level, y[uint64(first + t)]
            losses += v * value(score, of_row, p)
            s = v * slope(score, of_row, p)
            by_level += s
            z[t] = s
        return losses, by_level

    return Middle(of_some)
