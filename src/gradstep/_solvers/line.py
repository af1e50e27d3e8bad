"""A line between two looks at the rows, searched by the scores at its ends: no row is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.looks import along_kernel
from gradstep._table.table import Table
from gradstep.losses import Loss

_FURTHEST = 1024.0  # steps that a line is followed
_GOLDEN = (math.sqrt(5) - 1) / 2
_ENOUGH = 1e-2  # of the way, to which its best place is found


class Line(NamedTuple):
    """A line of scores, ``score + share by``, with the penalty along it as a function of the share."""

    table: Table
    loss: Loss
    params: tuple[float, ...]
    score: NDArray[np.float64]
    by: NDArray[np.float64]
    penalty: Callable[[float], float]

    def objective(self, share: float) -> float:
        """Return the objective at a share of the line."""
        return float(self._sums(share)[0] / self.table.n + self.penalty(share))

    def best(self, least: float) -> float:
        """Return about the best share; beyond the end if the objective there is below `least`, the beginning's."""
        low, high = 0.0, 1.0
        at_high = self.objective(high)
        while not math.isfinite(at_high) and high > 1e-12:
            high /= 16
            at_high = self.objective(high)
        if at_high < least:
            while high < _FURTHEST and (further := self.objective(2 * high)) < at_high:
                low, high, at_high = high / 2, 2 * high, further
            high *= 2
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_a, at_b = self.objective(a), self.objective(b)
        while high - low > _ENOUGH * high:
            if at_a <= at_b:
                high, b, at_b = b, a, at_a
                a = high - _GOLDEN * (high - low)
                at_a = self.objective(a)
            else:
                low, a, at_a = a, b, at_b
                b = low + _GOLDEN * (high - low)
                at_b = self.objective(b)
            if high < 1e-12:
                break
        return (low + high) / 2

    def _sums(self, share: float) -> NDArray[np.float64]:
        sums = np.empty(2)
        kernel = along_kernel(self.loss.value, self.loss.slope)
        self.table.summed_rows(kernel, (self.score, self.by), (share, self.params), (sums,))
        return sums
