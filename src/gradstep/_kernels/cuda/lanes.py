"""An epoch of the default method on the GPU: lanes of minibatch steps beside an anchor, in one launch.

A lane is a block, and nothing is waited for but the block's own barrier. Where there are fewer lanes than would keep a
GPU busy, of tables with many columns, all blocks share all lanes and meet at a barrier of the grid. The method is that
of `gradstep._kernels.lanes.lane`, whose names are used.
"""

from collections.abc import Callable
from typing import Any

from gradstep._kernels.cuda.held import Held, build_adder
from gradstep._kernels.cuda.rows import barrier_of, centred_entry, item_of, summed, turns
from gradstep._kernels.cuda.sums import ROUGH, sums
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable


def build_lanes(*, single: bool, together: bool, held: Held | None = None) -> Callable[..., None]:
    """Return the kernel as a plain Python function; ``together``: whether the grid shares the lanes.

    Arguments travel in tuples: ``basis = (T, T_columns, shift, offset, level)``, ``state = (q, mean, total)``, and
    ``team = (first, mine, member, members, fold)``: the lanes of a team of blocks, which of its members this block is,
    and how many threads take a product together.
    """
    arithmetic = sums(ROUGH, single)
    split = arithmetic.split
    barrier = barrier_of(together=together)
    as_weights = _as_weights(split)

    def place(position, source):
        chunks, run, n = source
        row = chunks[position // run] * run + position % run
        return row if row < n else -1

    def fetch(i, c, data):  # noqa: ARG001 - asked for as a response is
        return data[0][i * data[1]], 0.0

    def link(high, low, v, response, i, c, data):  # noqa: ARG001 - a sum of products comes in one number
        _, _, level, lane = data
        return v * (high + level[lane, c]) if v > 0.0 else 0.0, 0.0, 0.0

    add_rows = build_adder(arithmetic, centred_entry, place, fetch, link, held)

    def lanes(
        X, weight, stride, n, d, k, r, chunks, run, ends, batches, most, lanes, parts, T, T_columns, shift, offset,
        level, fixed, has_fixed, slope, rate, scale, centre, width, groups, tile, fold, at, F, beside, totals,
        sums_of_parts, total, q, mean, W, at_level,
    ):  # fmt: skip
        table = X, scale, centre, d, k
        room = at, F, beside, totals
        basis = T, T_columns, shift, offset, level
        state = q, mean, total
        team = (0, lanes, cuda.blockIdx.x, cuda.gridDim.x, fold) if together else (cuda.blockIdx.x, 1, 0, 1, fold)
        first, mine, member, members, _ = team
        thread, threads = member * cuda.blockDim.x + cuda.threadIdx.x, members * cuda.blockDim.x
        for item in range(thread, mine * (r + 1) * k, threads):
            lane, a, c = first + item // ((r + 1) * k), item % ((r + 1) * k) // k, item % k
            q[0, lane, a, c] = -slope[a, c]
            mean[lane, a, c] = 0.0
        barrier()
        for t in range(most):
            as_weights(basis, q, t % 2, d, k, r, team, W, at_level)
            barrier()
            for piece in range(member, mine * parts, members):
                lane, part = first + piece // parts, piece % parts
                if t < ends[lane + 1] - ends[lane] - 1:
                    begin = batches[ends[lane] + t] * run
                    rows = batches[ends[lane] + t + 1] * run - begin
                    add_rows(
                        table, W, lane * d, begin + rows * part // parts, begin + rows * (part + 1) // parts, 0,
                        (width, groups, tile), room, (chunks, run, n), (weight, stride, at_level, lane), sums_of_parts,
                        lane * parts + part,
                    )  # fmt: skip
            barrier()
            for item in range(thread, mine * (d + 1) * k, threads):
                lane, e = first + item // ((d + 1) * k), item % ((d + 1) * k)
                u = 0.0
                for part in range(parts):
                    u += sums_of_parts[0, lane * parts + part, e] + sums_of_parts[1, lane * parts + part, e]
                total[lane, e] = u
            barrier()
            step(basis, state, t, d, k, r, ends, lanes, fixed, has_fixed, slope, rate, team)
            barrier()
        for item in range(thread, mine * (r + 1) * k, threads):
            lane, a, c = first + item // ((r + 1) * k), item % ((r + 1) * k) // k, item % k
            of_lane = ends[lane + 1] - ends[lane] - 1
            mean[lane, a, c] = (mean[lane, a, c] + (q[most % 2, lane, a, c] + slope[a, c]) / rate) / of_lane

    return lanes


def _as_weights(split: Any) -> Any:
    """Return the function that takes coordinates as weights of the columns, which a batch's scores are taken with."""

    def as_weights(basis, q, now, d, k, r, team, W, at_level):
        T, _, shift, _, level = basis
        first, mine, member, members, fold = team
        lane_of_team = cuda.threadIdx.x % fold
        items = mine * (d + 1) * k
        for turn in range(turns(items, members, fold)):
            item = item_of(turn, member, members, fold)
            here = item < items
            lane = first + (item // ((d + 1) * k) if here else 0)
            j, c = item % ((d + 1) * k) // k, item % k
            z = 0.0
            if here:
                for a in range(lane_of_team, r, fold):
                    z += (T[j, a] if j < d else -shift[a]) * q[now, lane, a, c]
            z = summed(z, fold)
            if here and lane_of_team == 0:
                if j < d:
                    split(W, c, lane * d + j, z, 0.0)
                else:
                    at_level[lane, c] = level * q[now, lane, r, c] + z

    return compilable(as_weights, fastmath=False)


def step(basis, state, t, d, k, r, ends, lanes, fixed, has_fixed, slope, rate, team):
    """Take a step in each lane of a team: a coordinate's product is the work of some threads together."""
    _, T_columns, _, offset, level = basis
    q, mean, total = state
    first, mine, member, members, fold = team
    now, then = t % 2, (t + 1) % 2
    lane_of_team = cuda.threadIdx.x % fold
    items = mine * (r + 1) * k
    for turn in range(turns(items, members, fold)):
        item = item_of(turn, member, members, fold)
        here = item < items
        lane = first + (item // ((r + 1) * k) if here else 0)
        a, c = item % ((r + 1) * k) // k, item % k
        of_lane = ends[lane + 1] - ends[lane] - 1
        share = float(lanes * of_lane)
        by = 0.0
        if here:
            if a < r:
                for j in range(lane_of_team, d, fold):
                    by += T_columns[a, j] * (total[lane, j * k + c] - offset[j] * total[lane, d * k + c]) * share
            if has_fixed:
                for b in range(lane_of_team, r + 1, fold):
                    by += fixed[b, a] * q[now, lane, b, c]
        by = summed(by, fold)
        if here and lane_of_team == 0:
            before = q[now, lane, a, c]
            q[then, lane, a, c] = before
            if t < of_lane:
                if a == r:
                    by += level * total[lane, d * k + c] * share
                mean[lane, a, c] += before
                q[then, lane, a, c] = before - rate * (by + slope[a, c])


compilable(step, fastmath=False)
