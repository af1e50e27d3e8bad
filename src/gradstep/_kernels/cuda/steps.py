"""An epoch of the textbook method on the GPU: steps that follow one another, in one launch.

All blocks share a batch and meet at a barrier of the whole grid twice a step: once its sums are there, once the step is
taken. A small batch is one block's work, whose own barrier is ten times as fast. What blocks sum is cut by the batch
alone, so that the same bits come out of any number of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradstep._kernels.cpu import AVERAGING_POWER
from gradstep._kernels.cuda.rows import barrier_of, build, item_of, plain_entry, scaled_entry, summed, turns
from gradstep._kernels.cuda.sums import PLAIN, sums
from gradstep._kernels.cuda.target import SIMULATED
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import Formula, compilable

CELLS_PER_PIECE = 1 << (6 if SIMULATED else 14)  # of a batch, that one block reads
MOST_PIECES = 1024


def build_steps(value: Formula, slope: Formula, prox: Formula, *, single: bool, together: bool) -> Callable[..., None]:
    """Return the kernel as a plain Python function, for `cuda.jit` or for a compiler without a device.

    ``together``: whether the whole grid works on each batch, else one block does. ``unit`` is a power of two that
    brings responses, and with them scores and slopes, to about 1, and ``scale`` are those of the columns: beside
    float32 rows all of them are floats.
    """
    arithmetic = sums(PLAIN, single)
    split = arithmetic.split
    barrier = barrier_of(together=together)
    step = _step(prox, split)

    def place(position, source):
        order, start, shuffled = source
        return order[position - start] if shuffled else position

    def link(high, low, i, t, c, room, data):  # noqa: ARG001 - a sum of products comes in one number
        y, weight, stride, w, d, unit, p = data
        v = weight[i * stride]
        z = high / unit + w[d, c]
        split(room[1], t, c, v * slope(z, y[i, c], p) * unit, 0.0)
        room[2][t, c] = v * value(z, y[i, c], p)

    _, add_rows = build(arithmetic, scaled_entry if single else plain_entry, place, link)

    def steps(
        X, y, weight, stride, order, shuffled, n, d, k, start, stop, batch, pieces, intercept, momentum, nesterov,
        averaging, averaged, rates, many, path, loss_sum, unit, W, scale, width, groups, tile, fold, at, F, beside,
        totals, sums_of_pieces, p, q,
    ):  # fmt: skip
        w, total = path[0], path[3]
        table = X, scale, scale, d, k
        room = at, F, beside, totals
        data = y, weight, stride, w, d, unit, p
        settings = intercept, momentum, nesterov, averaging
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        lane = cuda.threadIdx.x % fold
        for item in range(block * cuda.blockDim.x + cuda.threadIdx.x, d * k, blocks * cuda.blockDim.x):
            split(W, item // k, item % k, w[item // k, item % k] * unit / np.float64(scale[item // k]), 0.0)
        barrier()
        row, taken = start, 0
        while row < stop:
            first = row - row % batch
            end_of_batch = min(first + batch, n)
            end = min(end_of_batch, stop)
            for piece in range(block, pieces, blocks):
                add_rows(
                    table, W, 0, row + (end - row) * piece // pieces, row + (end - row) * (piece + 1) // pieces, k,
                    (width, groups, tile), room, (order, start, shuffled), data, sums_of_pieces, piece,
                )  # fmt: skip
            barrier()
            rate = rates[taken] if many else rates[0]
            for turn in range(turns((d + 2) * k, blocks, fold)):
                entry = item_of(turn, block, blocks, fold)
                g = 0.0
                if entry < (d + 2) * k:
                    for piece in range(lane, pieces, fold):
                        g += sums_of_pieces[0, piece, entry] + sums_of_pieces[1, piece, entry]
                g = summed(g, fold)
                if entry < (d + 2) * k and lane == 0:
                    j, c = entry // k, entry % k
                    if j > d:
                        loss_sum[c] += g
                    else:
                        g /= unit * (np.float64(scale[j]) if j < d else 1.0)
                        g += 0.0 if row == first else total[j, c]
                        total[j, c] = g
                        if end == end_of_batch:
                            share = 1.0 / (end_of_batch - first)
                            step(path, W, j, c, d, g * share, rate, unit, scale, settings, averaged + taken + 1, q)
            barrier()
            taken += 1 if end == end_of_batch else 0
            row = end

    return steps


def _step(prox: Formula, split: Any) -> Any:
    """Return the function that takes one entry of a step, as `gradstep._kernels.cpu` does."""

    def step(path, W, j, c, d, g, rate, unit, scale, settings, number, q):
        intercept, momentum, nesterov, averaging = settings
        if j == d and not intercept:
            return
        w, last, average = path[0], path[1], path[2]
        new = w[j, c] - rate * g
        if momentum != 0.0 and not nesterov:
            new += momentum * (w[j, c] - last[j, c])
        if j < d:
            new = prox(new, rate, q)
        if averaging:
            average[j, c] += (new - average[j, c]) * ((AVERAGING_POWER + 1.0) / (number + AVERAGING_POWER))
        if nesterov:
            ahead = new + momentum * (new - last[j, c])
            last[j, c] = new
            new = ahead
        else:
            last[j, c] = w[j, c]
        w[j, c] = new
        if j < d:
            split(W, j, c, new * unit / np.float64(scale[j]), 0.0)

    return compilable(step, fastmath=False)
