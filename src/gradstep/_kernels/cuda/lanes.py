"""An epoch of the default method on the GPU: lanes of minibatch steps beside an anchor, in one launch.

A lane is a block, and nothing is waited for but the block's own barrier. Where there are fewer lanes than would keep a
GPU busy, of tables with many columns, all blocks share all lanes and meet at a barrier of the grid. The method is that
of `gradstep._kernels.lanes.lane`, whose names are used.
"""

from collections.abc import Callable

from gradstep._kernels.cuda.rows import build, centred_entry, summed
from gradstep._kernels.cuda.sums import ROUGH, sums
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable


def build_lanes(*, single: bool, together: bool) -> Callable[..., None]:  # noqa: C901 - one launch
    """Return the kernel as a plain Python function; ``together``: whether the grid shares the lanes."""
    arithmetic = sums(ROUGH, single)
    split = arithmetic.split

    def place(position, source):
        chunks, run, n = source
        row = chunks[position // run] * run + position % run
        return row if row < n else -1

    def link(high, low, i, t, c, F, data):  # noqa: ARG001
        weight, stride, level, lane = data
        v = weight[i * stride] if i >= 0 else 0.0
        split(F, t, c, v * (high + level[lane, c]) if v > 0.0 else 0.0, 0.0)

    if together:

        def barrier():
            cuda.cg.this_grid().sync()

    else:

        def barrier():
            cuda.syncthreads()

    _, add_rows = build(arithmetic, centred_entry, place, link)
    compilable(barrier, fastmath=False)

    def lanes(  # noqa: C901
        X, weight, stride, n, d, k, r, chunks, run, ends, batches, most, lanes, parts, T, T_columns, shift, offset,
        level, fixed, has_fixed, slope, rate, scale, centre, width, groups, tile, fold, at, F, totals, sums_of_parts,
        total, q, mean, W, at_level,
    ):  # fmt: skip
        table = X, scale, centre, d, k
        room = at, F, totals
        source = chunks, run, n
        block, blocks = cuda.blockIdx.x, cuda.gridDim.x
        # The lanes that this team of blocks takes, and which of its members this block is.
        first, mine, member, members = (0, lanes, block, blocks) if together else (block, 1, 0, 1)
        lane_of_team = cuda.threadIdx.x % fold
        teams = members * (cuda.blockDim.x // fold)
        team = member * (cuda.blockDim.x // fold) + cuda.threadIdx.x // fold
        coordinates = (r + 1) * k
        for item in range(member * cuda.blockDim.x + cuda.threadIdx.x, mine * coordinates, members * cuda.blockDim.x):
            lane = first + item // coordinates
            a, c = item % coordinates // k, item % k
            q[0, lane, a, c] = -slope[a, c]
            mean[lane, a, c] = 0.0
        barrier()
        for t in range(most + 1):
            now, then = t % 2, (t + 1) % 2
            # Coordinates as weights of the columns: the scores of a batch are taken with these.
            for turn in range((mine * (d + 1) * k + teams - 1) // teams):
                item = turn * teams + team
                here = item < mine * (d + 1) * k
                lane = first + (item // ((d + 1) * k) if here else 0)
                j, c = item % ((d + 1) * k) // k, item % k
                z = 0.0
                if here:
                    for a in range(lane_of_team, r, fold):
                        z += (T[j, a] if j < d else -shift[a]) * q[now, lane, a, c]
                z = summed(z, fold)
                if here and lane_of_team == 0:
                    if j < d:
                        split(W, lane * d + j, c, z, 0.0)
                    else:
                        at_level[lane, c] = level * q[now, lane, r, c] + z
            barrier()
            if t == most:
                break
            for piece in range(member, mine * parts, members):
                lane = first + piece // parts
                part = piece % parts
                if t < ends[lane + 1] - ends[lane] - 1:
                    begin = batches[ends[lane] + t] * run
                    rows = batches[ends[lane] + t + 1] * run - begin
                    low, high = begin + rows * part // parts, begin + rows * (part + 1) // parts
                    data = weight, stride, at_level, lane
                    add_rows(
                        table, W, lane * d, low, high, k, (width, groups, tile), room, source, data, sums_of_parts,
                        lane * parts + part,
                    )  # fmt: skip
            barrier()
            for item in range(
                member * cuda.blockDim.x + cuda.threadIdx.x, mine * (d + 1) * k, members * cuda.blockDim.x
            ):
                lane = first + item // ((d + 1) * k)
                e = item % ((d + 1) * k)
                u = 0.0
                for part in range(parts):
                    u += sums_of_parts[0, lane * parts + part, e] + sums_of_parts[1, lane * parts + part, e]
                total[lane, e] = u
            barrier()
            for turn in range((mine * coordinates + teams - 1) // teams):
                item = turn * teams + team
                here = item < mine * coordinates
                lane = first + (item // coordinates if here else 0)
                a, c = item % coordinates // k, item % k
                of_lane = ends[lane + 1] - ends[lane] - 1
                share = float(lanes * of_lane)
                step = 0.0
                if here:
                    at_mean = total[lane, d * k + c]
                    if a < r:
                        for j in range(lane_of_team, d, fold):
                            step += T_columns[a, j] * (total[lane, j * k + c] - offset[j] * at_mean) * share
                    if has_fixed:
                        for b in range(lane_of_team, r + 1, fold):
                            step += fixed[b, a] * q[now, lane, b, c]
                step = summed(step, fold)
                if here and lane_of_team == 0:
                    before = q[now, lane, a, c]
                    if t < of_lane:
                        step += slope[a, c]
                        if a == r:
                            step += level * total[lane, d * k + c] * share
                        mean[lane, a, c] += before
                        q[then, lane, a, c] = before - rate * step
                    else:
                        q[then, lane, a, c] = before
            barrier()
        for item in range(member * cuda.blockDim.x + cuda.threadIdx.x, mine * coordinates, members * cuda.blockDim.x):
            lane = first + item // coordinates
            a, c = item % coordinates // k, item % k
            of_lane = ends[lane + 1] - ends[lane] - 1
            mean[lane, a, c] = (mean[lane, a, c] + (q[most % 2, lane, a, c] + slope[a, c]) / rate) / of_lane

    return lanes
