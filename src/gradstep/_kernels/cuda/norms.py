"""The norms of projections of rows that are held in registers: of each row, which is read once, many scores."""

from collections.abc import Callable
from typing import Any

from numba import float64, int64

from gradstep._kernels.cuda.held import Held, build_brought, build_kept, build_score
from gradstep._kernels.cuda.sums import Sums
from gradstep._kernels.cuda.target import inside as cuda


def build_norms(sums: Sums, entry: Any, held: Held) -> Callable[..., None]:
    """Return the kernel of the rows' norms: see `gradstep._kernels.cuda.reads.build_scores`."""
    width, share, depth = held
    own, span = max(1, depth // width), max(1, width // depth)
    number, of_rows, of_scores, of_units = sums.dtype, (depth, share), (2, depth), (2, share)
    of_columns = sums.parts, 1, share
    kept = build_kept(sums, held, scored=False)
    brought, score = build_brought(number, entry, held), build_score(sums.freely(), held, one=False)

    def norms(X, weight, stride, n, d, k, level, W, scale, centre, width_of_cut, tile, room, hold, out):  # noqa: ARG001
        table = X, scale, centre, d, k
        lane, groups = cuda.threadIdx.x % width, cuda.blockDim.x // width
        x = cuda.local.array(of_rows, number)
        units = cuda.local.array(of_units, number)
        weights = cuda.local.array(of_columns, number)
        at = cuda.local.array(depth, int64)
        totals = cuda.local.array(own, float64)
        scores = cuda.local.array(of_scores, float64)
        kept(table, W, 0, 0, lane, units, weights)
        for start in range(cuda.blockIdx.x * groups * depth, n, cuda.gridDim.x * groups * depth):
            mine = start + cuda.threadIdx.x // width
            for m in range(depth):
                at[m] = min(mine + m * groups, n - 1)
            brought(table, lane, at, units, x)
            for r in range(own):
                totals[r] = 0.0
            for c in range(k):
                score(x, W, c, 0, lane, d, number(0), weights, scores)
                for r in range(own):
                    z = scores[0, r] + level[c]
                    totals[r] += z * z
            for r in range(own):
                i = mine + (lane // span * own + r) * groups
                if lane % span == 0 and i < n:
                    v = weight[i * stride]
                    out[i, 0] = v * totals[r] if v > 0.0 else 0.0

    return norms
