"""Where fits of losses without a closed form begin: constants, scales of residuals, and samples of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradstep import _preconditioner
from gradstep._kernels.looks import along_kernel
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Units
from gradstep.losses import Loss

_SAMPLE, _SAMPLE_PER_COLUMN, _LARGEST_SAMPLE = 4096, 40, 20_000
_HEAVY = 4.0  # times the mean leverage of a row in the sample
_EVENTS_PER_COLUMN = 20  # rows of the rarer label that a sample has to have
_NO_SCALE = 1e-13  # of the responses: residuals that are rounding
_NORMAL = 0.6744897501960817  # of a standard deviation: the median size of a normal number
_FURTHEST_SCORE = 40.0  # of a constant for labels and counts


def units_of(table: Table, order: NDArray[np.int64] = NO_ORDER, alpha: float = 0.0, *, intercept: bool) -> Units:
    """Return units of the columns; responses are taken as they are, since a loss is of them."""
    units, _ = _preconditioner.units_of(table, order, intercept=intercept, alpha=alpha, copied=True)
    return plain(units)


def plain(units: Units) -> Units:
    """Return units with the responses as they are."""
    return units._replace(y_scale=np.ones(1), y_centre=np.zeros(1))


def best_constant(table: Table, loss: Loss) -> float:
    """Return about the best score for all rows: where the slopes sum to nothing."""
    kernel = along_kernel(loss.value, loss.slope)
    zero, one = np.zeros(table.n), np.ones(table.n)
    y = table.responses if table.weight.size == 1 else table.responses[table.weight > 0]
    low, high = (float(y.min()), float(y.max())) if loss.domain == "real" else (-_FURTHEST_SCORE, _FURTHEST_SCORE)
    sums = np.empty(2)
    for _ in range(60):
        middle = low / 2 + high / 2
        table.summed_rows(kernel, (zero, one), (middle, loss.params), (sums,))
        if sums[1] > 0:
            high = middle
        else:
            low = middle
        if high - low <= 1e-6 * max(abs(low), abs(high)):
            break
    return low / 2 + high / 2


def median(numbers: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Return the weighted median."""
    if weight.size == 1:
        return float(np.median(numbers))
    order = np.argsort(numbers)
    shares = np.cumsum(weight[order])
    return float(numbers[order[np.searchsorted(shares, shares[-1] / 2)]])


def in_units_of(
    residuals: NDArray[np.float64], weight: NDArray[np.float64], loss: Loss, size: float
) -> tuple[float, ...]:
    """Return the parameters of a loss in units of the residuals' scale: the median size over that of normal ones.

    Beside responses of some `size` there has to be one.
    """
    scale = median(np.abs(residuals), weight) / _NORMAL
    if not scale > _NO_SCALE * size:
        raise ValueError(
            f"loss: {loss!r} came, in units of the residuals' scale, and half of the residuals are zero or rounding: "
            "pass absolute=True with a delta in units of y."
        )
    return tuple(p * scale for p in loss.params)


def sample_of(table: Table, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows whose optimum is a beginning."""
    m = max(_SAMPLE, _SAMPLE_PER_COLUMN * (table.d + 1), min(table.n // 4, _LARGEST_SAMPLE))
    return _preconditioner.sample(table, max(1, min(m, table.present // 2)), seed + 1)


def _rare(table: Table, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of the rarer label, or of counts above zero, if a sample has too few of them; else none."""
    y = table.responses
    share = float((y[order] > 0).mean())
    if min(share, 1 - share) * len(order) > _EVENTS_PER_COLUMN * (table.d + 1):
        return NO_ORDER
    return np.flatnonzero((y > 0) == (share < 1 / 2))


def with_heavy(
    table: Table, seed: int, *, intercept: bool, events: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a sample with the rows that it does not stand for but that a fit turns about, and the share of each.

    Those come in as they are, found in one read by their leverage in the sample, and as `events` the rows of the rarer
    label; without any the share is one for all.
    """
    order = sample_of(table, seed)
    few = table.few(order, 0.0, np.ones(1))
    table.count(order, len(order))
    units, none = units_of(few, intercept=intercept), np.zeros(table.d, dtype=bool)
    factor = _preconditioner.of_all_rows(few, units, none, intercept=intercept)
    p = _preconditioner.preconditioner(few, units, factor, 0.0, intercept=intercept)
    leverage = p.leverages(table, seed)
    if events:
        leverage[_rare(table, order)] = np.inf
    heavy = np.flatnonzero(leverage > _HEAVY * (table.d + 1) / len(order))
    if table.weight.size > 1:
        heavy = heavy[table.weight[heavy] > 0]
    if len(heavy) == 0:
        return order, np.ones(1)
    if len(heavy) > len(order):
        heavy = heavy[np.argpartition(leverage[heavy], -len(order))[-len(order) :]]
    light = np.setdiff1d(order, heavy, assume_unique=True)
    of_light = (table.present - len(heavy)) / max(len(light), 1)
    return np.concatenate((light, heavy)), np.repeat((of_light, 1.0), (len(light), len(heavy)))
