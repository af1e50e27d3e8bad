"""Lanes of long rows, too few of them for threads to have one each: threads share every step instead.

How a step is cut depends on the shape of the table alone, and so do its bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels import threads
from gradstep._kernels.shared_lane import APART, cut
from gradstep._kernels.simd import WIDTH, padded
from gradstep._table.terms import Deal, Model

_FEW_LANES = 3
_LONG = 256  # columns: a step of fewer is over before threads have it
_PARTS = 8  # of a step
_CELLS_PER_CALL = 1 << 26  # twenty milliseconds, after which Ctrl-C is heard


def are_better(d: int, k: int, deal: Deal) -> bool:
    """Whether threads should share the steps of a table's lanes rather than have lanes each."""
    return k == 1 and len(deal.batches) <= _FEW_LANES and d >= _LONG


def taken(
    kernel: Callable[..., None], X: NDArray[np.floating], column_scale: NDArray[np.float64], deal: Deal,
    model: Model, slope: NDArray[np.float64], rate: float, ready: Callable[..., object],
) -> NDArray[np.float64]:  # fmt: skip
    """Return where lanes lead to, (r + 1, 1) in coordinates of the basis: see `gradstep._kernels.shared_lane`.

    `kernel` is what every thread calls. `ready` compiles what it is given, by calling it, where that is not compiled
    yet.
    """
    T = model.T
    d, r = T.shape
    scale, minus = padded(column_scale), padded(-model.centre)
    q, points, p = np.zeros((2, r + WIDTH)), np.empty(r + 1), np.zeros(scale.size)
    sums, counts, mean = np.zeros((_PARTS, scale.size + 1)), np.zeros(2 * APART, dtype=np.int64), np.zeros(r + 1)
    columns, coordinates = _cuts(d), _cuts(r)
    # Of a triangle, which most bases are, half need not be read.
    since = np.array([0 if T[first:last, :first].any() else first for first, last in pairwise(columns)])
    until = np.array([d if T[last:, first:last].any() else last for first, last in pairwise(coordinates)])
    at_once = max(1, round(_CELLS_PER_CALL / (X.size / len(deal.batches) / len(deal.batches[0]))))

    def steps(batches: NDArray[np.int64], first: int, last: int, _: int = 0) -> None:
        kernel(
            X, model.weight, deal.chunks, deal.run, batches, scale, minus, T, model.level, model.fixed, slope,
            len(deal.batches), rate, since, until, q, points, p, sums, counts, first, last,
        )  # fmt: skip

    ready(steps, deal.batches[0], 0, 0)
    # In plain Python nobody counts for two; where threads that wait cannot give way, they would keep others waiting.
    shared = hasattr(kernel, "overloads") and os.name == "posix"
    together = min(threads.count(), threads.usable(), _PARTS) if shared else 1  # one that waits has a processor
    for batches in deal.batches:
        q[0, : r + 1] = -slope[:, 0]
        points[:] = 0.0
        count = len(batches) - 1
        for first in range(0, count, at_once):
            last = min(first + at_once, count)
            counts[:] = 0
            threads.each(partial(steps, batches, first, last), together)
        mean += (points + (q[count % 2, : r + 1] + slope[:, 0]) / rate) / count
    return mean[:, np.newaxis] / len(deal.batches)


def _cuts(size: int) -> list[int]:
    return [cut(part, _PARTS, size) for part in range(_PARTS + 1)]
