"""An epoch of the textbook method on the GPU: steps that follow one another, in one launch.

All blocks share a batch and meet at a barrier of the whole grid twice a step: once its sums are there, once the step is
taken. A small batch is one block's work, whose own barrier is ten times as fast. What blocks sum is cut by the batch
alone, so that the same bits come out of any number of them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradstep._kernels.cpu import AVERAGING_POWER
from gradstep._kernels.cuda.held import Held, build_adder
from gradstep._kernels.cuda.rows import barrier_of, item_of, plain_entry, scaled_entry, summed, turns
from gradstep._kernels.cuda.sums import PLAIN, sums
from gradstep._kernels.cuda.target import SIMULATED
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import Formula, compilable

CELLS_PER_PIECE = 1 << (6 if SIMULATED else 12)  # of a batch, that one block reads
_OF_ONE_BLOCK = 1 << (6 if SIMULATED else 14)  # cells of a batch: its own barrier is ten times as fast as the grid's
_PIECES = 132, 264  # of large batches: of as many processors each has as many as any other


def pieces_of(batch: int, d: int, k: int) -> int:
    """Return into how many pieces a batch is cut: a function of its shape alone."""
    cells = batch * (d + 1) * k
    pieces = max(1, -(-cells // CELLS_PER_PIECE)) if cells > _OF_ONE_BLOCK else 1
    return max((most for most in _PIECES if most <= pieces), default=pieces)


def build_steps(
    value: Formula, slope: Formula, prox: Formula, *, single: bool, together: bool, held: Held | None = None
) -> Callable[..., None]:
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

    def fetch(i, c, data):
        return data[1][i * data[2]], data[0][i, c]

    def link(high, low, v, response, i, c, data):  # noqa: ARG001 - a sum of products comes in one number
        _, _, _, w, d, unit, inverse, p = data
        if v > 0.0:
            z = high * inverse + w[d, c]
            return v * slope(z, response, p) * unit, 0.0, v * value(z, response, p)
        return 0.0, 0.0, 0.0

    entry = scaled_entry if single else plain_entry
    add_rows = build_adder(arithmetic, entry, place, fetch, link, held, beside=True, small=True)

    def steps(
        X, y, weight, stride, order, shuffled, n, d, k, start, stop, batch, pieces, intercept, momentum, nesterov,
        averaging, averaged, rates, many, path, loss_sum, unit, W, scale, width, groups, tile, fold, at, F, beside,
        totals, sums_of_pieces, p, q,
    ):  # fmt: skip
        w, total = path[0], path[3]
        table = X, scale, scale, d, k
        room = at, F, beside, totals
        data = y, weight, stride, w, d, unit, 1.0 / unit, p
        settings = intercept, momentum, nesterov, averaging
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        lane = cuda.threadIdx.x % fold
        for item in range(block * cuda.blockDim.x + cuda.threadIdx.x, d * k, blocks * cuda.blockDim.x):
            split(W, item % k, item // k, w[item // k, item % k] * unit / np.float64(scale[item // k]), 0.0)
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
                    g = _of_pieces(sums_of_pieces, entry, lane, pieces, fold)
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


def _of_pieces(sums_of_pieces, entry, lane, pieces, fold):
    """Return the sum over each `fold`-th piece: of four at a time, so that memory is not waited for one by one."""
    a, b, c, e = 0.0, 0.0, 0.0, 0.0
    piece = lane
    while piece + 3 * fold < pieces:
        a += sums_of_pieces[0, piece, entry] + sums_of_pieces[1, piece, entry]
        b += sums_of_pieces[0, piece + fold, entry] + sums_of_pieces[1, piece + fold, entry]
        c += sums_of_pieces[0, piece + 2 * fold, entry] + sums_of_pieces[1, piece + 2 * fold, entry]
        e += sums_of_pieces[0, piece + 3 * fold, entry] + sums_of_pieces[1, piece + 3 * fold, entry]
        piece += 4 * fold
    while piece < pieces:
        a += sums_of_pieces[0, piece, entry] + sums_of_pieces[1, piece, entry]
        piece += fold
    return (a + b) + (c + e)


compilable(_of_pieces, fastmath=False)


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
            split(W, c, j, new * unit / np.float64(scale[j]), 0.0)

    return compilable(step, fastmath=False)
