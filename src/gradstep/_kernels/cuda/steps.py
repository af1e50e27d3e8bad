"""An epoch of the textbook method on the GPU: steps that follow one another, in one launch.

All blocks share a batch and meet at a barrier of the whole grid twice a step: once its sums are there, once the step is
taken. A small batch is one block's work, whose own barrier is ten times as fast. What blocks sum is cut by the batch
alone, so that the same bits come out of any number of them.
"""

from collections.abc import Callable

from gradstep._kernels.cpu import AVERAGING_POWER
from gradstep._kernels.cuda.rows import build, plain_entry, summed
from gradstep._kernels.cuda.sums import PLAIN, sums
from gradstep._kernels.cuda.target import SIMULATED
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import Formula, compilable

CELLS_PER_PIECE = 1 << (6 if SIMULATED else 14)  # of a batch, that one block reads
MOST_PIECES = 1024


def build_steps(  # noqa: C901 - one launch
    value: Formula, slope: Formula, prox: Formula, *, single: bool, together: bool
) -> Callable[..., None]:
    """Return the kernel as a plain Python function, for `cuda.jit` or for a compiler without a device.

    ``together``: whether the whole grid works on each batch, else one block does.
    """
    arithmetic = sums(PLAIN, single)
    split = arithmetic.split

    def place(position, source):
        order, start, shuffled = source
        return order[position - start] if shuffled else position

    def link(high, low, i, t, c, F, data):  # noqa: ARG001 - a sum of products comes in two parts
        y, weight, stride, w, d, k, p = data
        v = weight[i * stride]
        z = high + w[d, c]
        split(F, t, c, v * slope(z, y[i, c], p), 0.0)
        split(F, t, k + c, v * value(z, y[i, c], p), 0.0)

    if together:

        def barrier():
            cuda.cg.this_grid().sync()

    else:

        def barrier():
            cuda.syncthreads()

    _, add_rows = build(arithmetic, plain_entry, place, link)
    compilable(barrier, fastmath=False)

    def steps(  # noqa: C901
        X, y, weight, stride, order, shuffled, n, d, k, start, stop, batch, pieces, intercept, momentum, nesterov,
        averaging, averaged, rates, many, path, loss_sum, W, units, width, groups, tile, fold, at, F, totals,
        sums_of_pieces, p, q,
    ):  # fmt: skip
        w, last, average, total = path[0], path[1], path[2], path[3]
        table = X, units, units, d, k
        room = at, F, totals
        source = order, start, shuffled
        data = y, weight, stride, w, d, k, p
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        lane = cuda.threadIdx.x % fold
        teams = blocks * (cuda.blockDim.x // fold)
        team = block * (cuda.blockDim.x // fold) + cuda.threadIdx.x // fold
        for item in range(block * cuda.blockDim.x + cuda.threadIdx.x, d * k, blocks * cuda.blockDim.x):
            split(W, item // k, item % k, w[item // k, item % k], 0.0)
        barrier()
        row = start
        taken = 0
        while row < stop:
            first = row - row % batch
            end_of_batch = min(first + batch, n)
            end = min(end_of_batch, stop)
            for piece in range(block, pieces, blocks):
                low = row + (end - row) * piece // pieces
                high = row + (end - row) * (piece + 1) // pieces
                add_rows(
                    table, W, 0, low, high, 2 * k, (width, groups, tile), room, source, data, sums_of_pieces, piece
                )
            barrier()
            rate = rates[taken] if many else rates[0]
            share = 1.0 / (end_of_batch - first)
            for turn in range(((d + 2) * k + teams - 1) // teams):
                entry = turn * teams + team
                g = 0.0
                if entry < (d + 2) * k:
                    for piece in range(lane, pieces, fold):
                        g += sums_of_pieces[0, piece, entry] + sums_of_pieces[1, piece, entry]
                g = summed(g, fold)
                if entry >= (d + 2) * k or lane > 0:
                    continue
                j, c = entry // k, entry % k
                if j > d:
                    loss_sum[c] += g
                    continue
                g += 0.0 if row == first else total[j, c]
                total[j, c] = g
                if end == end_of_batch and (j < d or intercept):
                    new = w[j, c] - rate * (g * share)
                    if momentum != 0.0 and not nesterov:
                        new += momentum * (w[j, c] - last[j, c])
                    if j < d:
                        new = prox(new, rate, q)
                    if averaging:
                        share_of_new = (AVERAGING_POWER + 1.0) / (averaged + taken + 1 + AVERAGING_POWER)
                        average[j, c] += (new - average[j, c]) * share_of_new
                    if nesterov:
                        ahead = new + momentum * (new - last[j, c])
                        last[j, c] = new
                        new = ahead
                    else:
                        last[j, c] = w[j, c]
                    w[j, c] = new
                    if j < d:
                        split(W, j, c, new, 0.0)
            barrier()
            if end == end_of_batch:
                taken += 1
            row = end

    return steps
