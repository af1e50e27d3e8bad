"""Lanes of long rows, too few of them for threads to have one each: threads share every step instead.

How a step is cut depends on the shape of the table alone, and so do its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels import threads
from gradstep._kernels.simd import padded
from gradstep._table.terms import Deal, Model

_FEW_LANES = 3
_LONG = 256  # columns: a step of fewer is over before threads have it
_PARTS = 4  # of a step
_FEW_CELLS = 1 << 18  # of a basis: its product is made before threads have it


def are_better(d: int, k: int, deal: Deal) -> bool:
    """Whether threads should share the steps of a table's lanes rather than have lanes each."""
    return k == 1 and len(deal.batches) <= _FEW_LANES and d >= _LONG


def taken(
    part_of_batch: Callable[..., object], X: NDArray[np.floating], column_scale: NDArray[np.float64], deal: Deal,
    model: Model, slope: NDArray[np.float64], rate: float, ready: Callable[..., object],
) -> NDArray[np.float64]:  # fmt: skip
    """Return where lanes lead to, (r + 1, 1) in coordinates of the basis: see `gradstep._kernels.lanes.lane`.

    `part_of_batch` is the kernel that reads rows. `ready` compiles what it is given, by calling it, where that is not
    compiled yet.
    """
    T, level = model.T, model.level
    d, r = T.shape
    few = T.size < _FEW_CELLS
    scale, minus = padded(column_scale), padded(-model.centre)
    p, sums = np.zeros(scale.size), np.zeros((_PARTS, scale.size + 1))
    q, step, mean = np.empty(r + 1), np.empty(r + 1), np.zeros(r + 1)
    columns, coordinates = _cuts(0, d), _cuts(0, r)
    chunks = _cuts(0, 0)
    # Of a triangle, which most bases are, half need not be read.
    since = [0 if T[first:last, :first].any() else first for first, last in pairwise(columns)]
    until = [d if T[last:, first:last].any() else last for first, last in pairwise(coordinates)]

    def weights(piece: int) -> None:
        some, rest = slice(columns[piece], columns[piece + 1]), slice(since[piece], r)
        np.dot(T[some, rest], q[rest], out=p[some])

    def rows(piece: int) -> None:
        first, last = chunks[piece], chunks[piece + 1]
        part_of_batch(X, model.weight, deal.chunks, deal.run, first, last, scale, minus, p, level * q[r], sums[piece])

    def back(piece: int) -> None:
        some = slice(coordinates[piece], coordinates[piece + 1])
        step[some] = sums[0, : until[piece]] @ T[: until[piece], some]

    ready(rows, 0)
    for batches in deal.batches:
        q[:] = -slope[:, 0]
        points = np.zeros(r + 1)
        for first, last in pairwise(batches.tolist()):
            points += q
            chunks = _cuts(first, last)
            threads.each(weights, _PARTS, alone=few)
            threads.each(rows, _PARTS)
            sums[0] = np.add.reduce(sums) * (len(deal.batches) * (len(batches) - 1.0))
            threads.each(back, _PARTS, alone=few)
            step[r] = level * sums[0, -1]
            step += slope[:, 0]
            if model.fixed.size:
                step += q @ model.fixed
            q -= rate * step
        mean += (points + (q + slope[:, 0]) / rate) / (len(batches) - 1)
    return mean[:, np.newaxis] / len(deal.batches)


def _cuts(first: int, last: int) -> NDArray[np.int64]:
    """Return where the parts of a range begin, and its end."""
    return first + np.arange(_PARTS + 1) * (last - first) // _PARTS
