"""Where a fit of a loss without a closed form stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gradstep._certificate import Certificate
from gradstep._solvers.certified import callers
from gradstep._solvers.metric import Metric
from gradstep._table.terms import Look, Units


@dataclass(frozen=True)
class State:
    """Where the solver stands after a round."""

    units: Units
    scaled: NDArray[np.float64]
    """(d + 1, 1) weights of scaled, uncentred rows, the intercept last."""
    look: Look
    objective: float
    epoch: int
    params: tuple[float, ...]
    """Of the loss; of one in units of the residuals' scale, those of the scale as it was seen last."""
    fixed: bool = True
    """Whether they change no more."""
    metric: Metric | None = None
    certificate: Certificate | None = None
    run: int = 1
    slow: bool = False
    """Whether epochs have become slow, so that conjugate directions go on."""
    left: float = math.inf
    """Share of the distance that the last round left."""
    rows: NDArray[np.float64] | None = None
    """Of a table that stands for itself: its rows as linear algebra wants them."""
    refreshed: int = 0
    unchanged: bool = False
    overlap: bool = False
    """Whether it is known that no plane tells labels apart without error."""
    apart: NDArray[np.float64] | None = None
    """A direction (d + 1,), in the caller's units, along which the loss falls for ever."""
    rate: float = math.nan
    ended: bool = True

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """The weights (d + 1, 1) in the caller's units."""
        d = len(self.scaled) - 1
        return callers(self.scaled, self.units, np.ones(d) if self.metric is None else self.metric.p.length)

    @property
    def running(self) -> float:
        """The objective."""
        return self.objective

    @property
    def losses(self) -> float:
        """Sum of the losses over rows, weighted."""
        return self.look.losses

    def kept(self) -> None:
        """Return what a further fit could go on from: nothing."""
