"""Kernels that read all rows once: curvature, evidence, leverages, scores."""

from collections.abc import Callable

from gradstep._kernels.cuda.held import Held, build_adder
from gradstep._kernels.cuda.norms import build_norms
from gradstep._kernels.cuda.rows import build, centred_entry, item_of, scaled_entry, summed_wide, turns
from gradstep._kernels.cuda.sums import ROUGH, WIDE, finite_sum, sums, times, two_sum
from gradstep._kernels.cuda.target import WARP
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable
from gradstep._kernels.wide import product_error

# Which kernels there are, with what is asked of them.
CURVATURE, EVIDENCE = "curvature", "evidence"
NORMS, SCORES = "norms", "scores"


def as_they_stand(position, source):  # noqa: ARG001 - places of all kinds take the same arguments
    """Return the row at a position of rows in order."""
    return position


def build_read(name: str, *, single: bool, held: Held | None = None) -> Callable[..., None]:
    """Return the kernel that sums the rows' columns times their factors, a row of `out` a piece.

    Of the curvature a factor is ``v (z + level)``. Of the evidence it is the weighted residual ``v (y - z - level)``,
    in double-double arithmetic, and behind the gradient stand the sums of the weighted squares.
    """
    kind, entry, fetch, link = {
        CURVATURE: (ROUGH, centred_entry, _weight, _curvature),
        EVIDENCE: (WIDE, scaled_entry, _weight_and_response, _residual),
    }[name]
    add_rows = build_adder(sums(kind, single), entry, as_they_stand, fetch, link, held, beside=name == EVIDENCE)

    def read(
        X, y, weight, stride, n, d, k, further, pieces, y_scale, level, W, scale, centre, width, groups, tile, at, F,
        beside, totals, out,
    ):  # fmt: skip
        table = X, scale, centre, d, k
        data = y, weight, stride, y_scale, level
        room = at, F, beside, totals
        for piece in range(cuda.blockIdx.x, pieces, cuda.gridDim.x):
            low, high = n * piece // pieces, n * (piece + 1) // pieces
            add_rows(table, W, 0, low, high, further, (width, groups, tile), room, 0, data, out, piece)

    return read


def _weight(i, c, data):  # noqa: ARG001 - asked for as a response is
    return data[1][i * data[2]], 0.0


def _weight_and_response(i, c, data):
    return data[1][i * data[2]], data[0][i, c]


def _curvature(high, low, v, response, i, c, data):  # noqa: ARG001
    if v > 0.0:
        return v * (high + data[4][c]), 0.0, 0.0
    return 0.0, 0.0, 0.0


def _residual(high, low, v, response, i, c, data):  # noqa: ARG001
    _, _, _, y_scale, level = data
    if v > 0.0:
        r, rest = two_sum(response * y_scale[c], -high)
        r, further = two_sum(r, -level[c])
        rest = (rest + further) - low
        r, rest = two_sum(r, rest)
        weighted = times(r, v)
        return weighted, product_error(r, v, weighted) + rest * v, r * weighted
    return 0.0, 0.0, 0.0


def build_scores(name: str, *, single: bool, held: Held | None = None) -> Callable[..., None]:
    """Return the kernel that puts something for each row into `out`: scores, or squared norms of projections.

    Scores are ``out[i, c] = z / weight[c] + level``, with a unit of each output in place of the weights; the norms are
    ``out[i] = v sum_c (z + level)**2``, with `hold` as scratch, a place for each score of a tile.
    """
    norms = name == NORMS
    if norms and held is not None:
        return build_norms(sums(ROUGH, single), centred_entry, held)
    kind, entry, link = (ROUGH, centred_entry, _hold) if norms else (WIDE, scaled_entry, _score)
    scores, _ = build(sums(kind, single), entry, as_they_stand, link)

    def read(X, weight, stride, n, d, k, level, W, scale, centre, width, tile, at, hold, out):
        table = X, scale, centre, d, k
        room = at, hold
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        base = cuda.blockIdx.x * tile
        for start in range(base, n, cuda.gridDim.x * tile):
            count = min(tile, n - start)
            for t in range(thread, count, threads):
                at[base + t] = start + t
            cuda.syncthreads()
            scores(table, W, 0, base, count, width, room, (level, weight, out))
            cuda.syncthreads()
            if norms:
                for t in range(thread, count, threads):
                    v = weight[(start + t) * stride]
                    total = 0.0
                    for c in range(k):
                        total += hold[base + t, c] * hold[base + t, c]
                    out[start + t, 0] = v * total if v > 0.0 else 0.0
                cuda.syncthreads()

    return read


def _hold(high, low, i, t, c, room, data):  # noqa: ARG001
    level, _, _ = data
    room[1][t, c] = high + level[c]


def _score(high, low, i, t, c, room, data):  # noqa: ARG001
    level, unit, out = data
    z, rest = finite_sum(high / unit[c], level[c])
    out[i, c] = z + (rest + low / unit[c])


def fold(parts, rows, entries, out):
    """Sum the two parts of each entry over rows, in an order of their own, into the two parts of `out`."""
    lane = cuda.threadIdx.x % WARP
    for turn in range(turns(entries, cuda.gridDim.x, WARP)):
        e = item_of(turn, cuda.blockIdx.x, cuda.gridDim.x, WARP)
        total, rest = 0.0, 0.0
        if e < entries:
            for row in range(lane, rows, WARP):
                total, error = two_sum(total, parts[0, row, e])
                rest += parts[1, row, e] + error
        total, rest = summed_wide(total, rest, WARP)
        if e < entries and lane == 0:
            out[0, e] = total
            out[1, e] = rest


compilable(as_they_stand, fastmath=False)
