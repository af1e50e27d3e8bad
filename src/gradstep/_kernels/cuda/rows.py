"""What the kernels share that read rows: scores of a tile of rows, then its columns' sums.

A block of threads takes a tile of rows at a time. First some neighbouring threads take the score of a row together, so
that they read neighbouring entries, and one of them turns it into the factor that the row has in the sums; then each
thread takes a column, or a share of the tile's rows in it, and reads the tile a second time, from the cache. What a
tile comes to is added in doubles. Sums are cut by the shape of the table alone and nothing is added atomically: same
seed, same bits.

Device functions are closures over one kind of sums (`gradstep._kernels.cuda.sums`), over how an entry is taken, where a
row stands and what a score becomes.
"""

from typing import Any, NamedTuple

from numba import float64, uint64

from gradstep._kernels.cuda.sums import Sums, two_sum
from gradstep._kernels.cuda.target import SIMULATED, THREADS, WARP
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable


class Cut(NamedTuple):
    """How a block's work is cut: functions of the shape of the table alone."""

    width: int
    """Threads that take a score together, a power of two."""
    groups: int
    """Shares of a tile's rows that threads take in each column."""
    tile: int
    """Rows of a tile."""


_INFINITE = float("inf")
_ENTRIES_PER_THREAD = 4  # of a row, before more threads take it together
# 32 or 64 kB, which with the tiles of other blocks stay in the nearest cache.
_CELLS_PER_TILE = 1 << (5 if SIMULATED else 13)
_LEAST_TILE, _LARGEST_TILE = (4, 16) if SIMULATED else (16, 512)


def cut(d: int, factors: int, entries: int) -> Cut:
    """Return how to cut work on rows of d entries and of so many factors, into so many sums."""
    width = 1
    while 2 * width <= min(WARP, max(1, d // _ENTRIES_PER_THREAD)):
        width *= 2
    tile = min(max(_CELLS_PER_TILE // max(d, 4 * factors, 1), _LEAST_TILE), _LARGEST_TILE)
    return Cut(width, min(max(1, THREADS // entries), tile), tile)


if SIMULATED:

    def partner(value, step):
        """Return the value of the thread whose number differs in the bit `step`; all threads of a block ask."""
        box = cuda.shared.array(THREADS, float64)
        box[cuda.threadIdx.x] = value
        cuda.syncthreads()
        other = box[cuda.threadIdx.x ^ step]
        cuda.syncthreads()
        return other

    def of_thread(value, thread):
        """Return the value of a thread of the same warp, by its number in the block; all threads of a block ask."""
        box = cuda.shared.array(THREADS, float64)
        box[cuda.threadIdx.x] = value
        cuda.syncthreads()
        other = type(value)(box[thread])
        cuda.syncthreads()
        return other

else:

    def partner(value, step):
        """Return the value of the thread whose number differs in the bit `step`; all threads of a warp ask."""
        return cuda.shfl_xor_sync(0xFFFFFFFF, value, step)

    def of_thread(value, thread):
        """Return the value of a thread of the same warp, by its number in the block; all threads of a warp ask."""
        return cuda.shfl_sync(0xFFFFFFFF, value, thread)


def summed(value, width):
    """Return the sum over `width` neighbouring threads, the same in each."""
    step = width // 2
    while step > 0:
        value += partner(value, step)
        step //= 2
    return value


def summed_wide(high, low, width):
    """Return the sum over `width` neighbouring threads of what each has as the sum of two doubles."""
    step = width // 2
    while step > 0:
        other, rest = partner(high, step), partner(low, step)
        total, lost = two_sum(high, other)
        low = (low + rest) + lost if abs(total) < _INFINITE else 0.0
        high = total
        step //= 2
    return high, low


def summed_from(value, width):
    """Return the sum over those threads of a warp whose places in a group of `width` are the same."""
    step = width
    while step < WARP:
        value += partner(value, step)
        step *= 2
    return value


def summed_wide_from(high, low, width):
    """Return what `summed_from` does, of what each thread has as the sum of two doubles."""
    step = width
    while step < WARP:
        other, rest = partner(high, step), partner(low, step)
        total, lost = two_sum(high, other)
        low = (low + rest) + lost if abs(total) < _INFINITE else 0.0
        high = total
        step *= 2
    return high, low


def turns(items, members, width):
    """Return how many turns blocks take with so many items, `width` threads an item: as many for all threads."""
    at_once = members * (cuda.blockDim.x // width)
    return (items + at_once - 1) // at_once


def item_of(turn, member, members, width):
    """Return the item of this thread, and of its neighbours, in a turn of the blocks that share the items."""
    return (turn * members + member) * (cuda.blockDim.x // width) + cuda.threadIdx.x // width


for _function in (partner, of_thread, summed, summed_wide, summed_from, summed_wide_from, turns, item_of):
    compilable(_function, fastmath=False)


def barrier_of(*, together: bool) -> Any:
    """Return the barrier of the whole grid, or of a block."""
    if together:

        def barrier():
            cuda.cg.this_grid().sync()

    else:

        def barrier():
            cuda.syncthreads()

    return compilable(barrier, fastmath=False)


def plain_entry(x, scale, centre):  # noqa: ARG001 - entries of all kinds take the same arguments
    """Return an entry as it stands."""
    return x


def scaled_entry(x, scale, centre):  # noqa: ARG001
    """Return an entry in units of its column: exact, as scales are powers of two."""
    return x * scale


def centred_entry(x, scale, centre):
    """Return an entry in units of its column, about the centre."""
    return x * scale - centre


for _entry in (plain_entry, scaled_entry, centred_entry):
    compilable(_entry, fastmath=False)


def build(sums: Sums, entry: Any, place: Any, put: Any, *, scored: bool = True) -> tuple[Any, Any]:
    """Return device functions ``scores`` and ``add_rows``.

    ``place(position, source)`` tells which row stands at a position, or a number below 0 where there is none;
    ``put(high, low, i, at, c, room, data)`` puts into ``F[:, at, c]`` what the score ``high + low`` of row `i` for
    output `c` becomes, and into ``beside[at]`` what else is to be summed once a row, in doubles. Not `scored`, it is
    asked once a row, and a score of 0 comes.

    Arguments travel in tuples: ``table = (X, scale, centre, d, k)``, and ``room = (at, F, beside, totals)``, scratch of
    all blocks.
    """
    scores = _scores(sums, entry, put) if scored else _unscored(put)
    columns = _columns(sums, entry)

    def add_rows(table, W, first, low, high, further, cut, room, source, data, out, row):
        """Sum the rows at positions `low` to `high` into ``out[:, row]``, the two parts of each sum."""
        at, _, _, totals = room
        width, groups, tile = cut
        d, k = table[3], table[4]
        entries = (d + 1) * k + further
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        base, mine = cuda.blockIdx.x * tile, cuda.blockIdx.x * groups
        for slot in range(thread, entries * groups, threads):
            totals[0, mine + slot // entries, slot % entries] = 0.0
            totals[1, mine + slot // entries, slot % entries] = 0.0
        cuda.syncthreads()  # of no rows, other threads read them next
        start = low
        while start < high:
            count = min(tile, high - start)
            for t in range(thread, count, threads):
                at[base + t] = place(start + t, source)
            cuda.syncthreads()
            scores(table, W, first, base, count, width, room, data)
            cuda.syncthreads()
            columns(table, base, count, further, groups, room, mine)
            cuda.syncthreads()
            start += tile
        for e in range(thread, entries, threads):
            total, rest = 0.0, 0.0
            for g in range(groups):
                total, lost = two_sum(total, totals[0, mine + g, e])
                rest += totals[1, mine + g, e] + lost
            out[0, row, e] = total
            out[1, row, e] = rest
        cuda.syncthreads()

    for function in (add_rows, place, put):
        compilable(function, fastmath=False)
    return scores, add_rows


def _scores(sums: Sums, entry: Any, put: Any) -> Any:
    """Return the function that takes the scores of a tile's rows, some threads a row, and links them to factors."""
    zero, load, add, joined = sums.zero, sums.load, sums.add, sums.joined
    wide = sums.parts > 1 + (sums.dtype(0).itemsize == 4)

    def scores(table, W, first, base, count, width, room, data):
        X, scale, centre, d, k = table
        at = room[0]
        lane = cuda.threadIdx.x % width
        groups = cuda.blockDim.x // width
        item = cuda.threadIdx.x // width
        end, step = uint64(d), uint64(width)
        # As many turns for all threads: what they exchange all of a warp take part in.
        for _ in range((count * k + groups - 1) // groups):
            acc = zero()
            here = item < count * k
            t = base + (item // k if here else 0)
            c = item % k
            i = at[t]
            if here:
                row = uint64(max(i, 0))
                j = uint64(lane)
                while j < end:
                    acc = add(acc, entry(X[row, j], scale[j], centre[j]), load(W, c, uint64(first) + j))
                    j += step
            high, low = joined(acc)
            if wide:
                high, low = summed_wide(high, low, width)
            else:
                high, low = summed(high + low, width), 0.0
            if here and lane == 0:
                put(high, low, i, t, c, room, data)
            item += groups

    return compilable(scores, fastmath=False)


def _unscored(put: Any) -> Any:
    """Return the function that asks for the factors of a tile's rows without scores."""

    def unscored(table, W, first, base, count, width, room, data):  # noqa: ARG001 - called as `scores` is
        at = room[0]
        for t in range(base + cuda.threadIdx.x, base + count, cuda.blockDim.x):
            for c in range(room[2].shape[1]):
                put(0.0, 0.0, at[t], t, c, room, data)

    return compilable(unscored, fastmath=False)


def _columns(sums: Sums, entry: Any) -> Any:
    """Return the function that adds a tile's rows, times their factors, to the totals of a block."""
    zero, load, add, joined = sums.zero, sums.load, sums.add, sums.joined
    one = sums.dtype(1)

    def columns(table, base, count, further, groups, room, first):
        X, scale, centre, d, k = table
        at, F, beside, totals = room
        entries = (d + 1) * k + further
        slot = cuda.threadIdx.x
        while slot < entries * groups:
            g = slot // entries
            e = slot % entries
            acc = zero()
            alone = 0.0
            if e < d * k:
                j = uint64(e // k)
                c = e % k
                for t in range(base + g, base + count, groups):
                    f = load(F, t, c)
                    if f[0] != 0:  # else there may be no row, or one of weight zero with anything in it
                        acc = add(acc, entry(X[uint64(at[t]), j], scale[j], centre[j]), f)
            elif e < (d + 1) * k:
                for t in range(base + g, base + count, groups):
                    acc = add(acc, one, load(F, t, e - d * k))
            else:
                for t in range(base + g, base + count, groups):
                    alone += beside[t, e - (d + 1) * k]
            high, low = joined(acc)
            total, lost = two_sum(totals[0, first + g, e], high + alone)
            totals[0, first + g, e] = total
            totals[1, first + g, e] += low + lost
            slot += cuda.blockDim.x

    return compilable(columns, fastmath=False)
