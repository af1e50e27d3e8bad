"""What solvers know of losses: the kinks that some are sums of, with parabolas for them; levels; humps of curvature."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.formula import formula
from gradstep.losses import Loss, epsilon_insensitive, huber, logistic, poisson, quantile, squared

_POISSON = poisson().curvature
_QUANTILE, _TUBE = quantile(0.5).value, epsilon_insensitive(0.0).value


class Kink(NamedTuple):
    """A kink of a loss that is a sum of such: ``max(high * r, low * r)`` of the residual ``r = y - shift - z``."""

    shift: float
    low: float
    high: float


def kinks(loss: Loss) -> tuple[Kink, ...]:
    """Return the kinks that a loss is the sum of; none of one that is no such sum."""
    if loss.value is _QUANTILE:
        return (Kink(0.0, loss.params[0] - 1.0, loss.params[0]),)
    if loss.value is _TUBE:
        return Kink(loss.params[0], 0.0, 1.0), Kink(-loss.params[0], -1.0, 0.0)
    return ()


@formula
def _smooth_value(z, y, p):
    # Of each kink a parabola within a width of it: p holds the width, then shift, low and high of each kink.
    total = z - z
    for k in range(1, len(p), 3):
        r = y - p[k] - z
        low, high = p[k + 1], p[k + 2]
        if r >= p[0]:
            total += high * r
        elif r <= -p[0]:
            total += low * r
        else:
            above, below = p[0] + r, p[0] - r
            total += (high * above * above + -low * below * below) / (type(r)(4) * p[0])
    return total


@formula
def _smooth_slope(z, y, p):
    total = z - z
    for k in range(1, len(p), 3):
        share = min(max((y - p[k] - z) / p[0], -type(z)(1)), type(z)(1))
        total -= (p[k + 2] * (type(z)(1) + share) + p[k + 1] * (type(z)(1) - share)) / type(z)(2)
    return total


@formula
def _smooth_curvature(z, y, p):
    total = z - z
    for k in range(1, len(p), 3):
        if abs(y - p[k] - z) < p[0]:
            total += (p[k + 2] - p[k + 1]) / (type(z)(2) * p[0])
    return total


def smoothed(loss: Loss, width: float) -> Loss:
    """Return a loss of kinks with each rounded to a parabola within a width of it; nowhere below the loss."""
    params = (number for kink in kinks(loss) for number in kink)
    return Loss(f"smoothed {loss.name}", _smooth_value, _smooth_slope, _smooth_curvature, (width, *params))


def by_level(loss: Loss) -> tuple[Loss, ...]:
    """Return the losses of the levels of a quantile loss; of another the loss alone."""
    if loss.value is not _QUANTILE or len(loss.params) == 1:
        return (loss,)
    return tuple(replace(loss, params=(level,)) for level in loss.params)


_OURS = {(loss.value, loss.slope, loss.curvature) for loss in (squared(), huber(1.0), logistic(), poisson())}


def has_one_hump(loss: Loss) -> bool:
    """Whether a loss's curvature is known to rise to somewhere and fall beyond: its least in between is at an end."""
    return (loss.value, loss.slope, loss.curvature) in _OURS


def least_sum(loss: Loss, y: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return a number that the weighted sum of a loss is never below, whatever the scores; -inf where none is known."""
    if has_one_hump(loss) and loss.curvature == _POISSON:
        return float((weight * (y - np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0)), 0.0))).sum())
    return 0.0 if has_one_hump(loss) else -math.inf
