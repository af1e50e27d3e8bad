"""Rows held in registers: each entry is read once, for its row's score and for its column's sums.

Some neighbouring threads take a row together, each the same few columns of every row that it sees: those entries stay
in its registers while the score is summed and turned into the row's factor, and meet the columns' sums in its registers
too. A few rows are on their way at a time, so that memory is not waited for row by row. Registers have no numbers that
are found while a kernel runs: how many columns a thread takes, and how many rows, is compiled in. Rows of more columns
than fit, and several outputs, go through `gradstep._kernels.cuda.rows`.
"""

from typing import Any, NamedTuple

from numba import float64, int64, uint64

from gradstep._kernels.cuda.rows import Cut, build, cut, of_thread, partner, summed_from, summed_wide_from
from gradstep._kernels.cuda.sums import Sums, two_sum
from gradstep._kernels.cuda.target import SIMULATED, THREADS, WARP
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable


class Held(NamedTuple):
    """What is compiled in: functions of the number of columns alone."""

    width: int
    """Threads that take a row together, a power of two."""
    share: int
    """Columns that each of them takes."""
    depth: int
    """Rows that they take at a time, a power of two."""

    def of_wide(self) -> "Held":
        """Return the same for sums of more parts, which take registers too."""
        return self._replace(depth=min(self.depth, 2))


_FEW_WORDS = 3 if SIMULATED else 8  # of a row for a thread, before more of them share it
_MOST_COLUMNS = 5 if SIMULATED else 32  # for a thread, where as many of them as exchange numbers do
_WORDS = 56  # of all rows that a thread has on their way
_MOST_DEPTH = 4
_OF_A_HALF, _OF_A_THIRD = 128, 80  # registers for a thread, of which two blocks or three fit a processor


def held(d: int, itemsize: int) -> Held | None:
    """Return how rows of d columns are held in registers, or None where they do not fit."""
    words = itemsize // 4
    width, depth = 1, _MOST_DEPTH
    while width < WARP and -(-d // width) * (1 if SIMULATED else words) > _FEW_WORDS:
        width *= 2
    share = -(-d // width)
    if share > _MOST_COLUMNS:
        return None
    while depth > 1 and depth * share * words > _WORDS:
        depth //= 2
    return Held(width, share, depth)


def options(held: Held | None, *, single: bool, name: str) -> dict[str, int]:
    """Return what a kernel is compiled with: so many registers a thread that more than one block fits a processor.

    A kernel of lanes has three there, so that all lanes of most tables are on their way at once.
    """
    if SIMULATED or held is None:
        return {}
    words = held.share * (1 if single else 2)
    if words > 2 * _FEW_WORDS and not (single and name in {"steps", "curvature", "lanes"}):
        return {}
    return {"max_registers": _OF_A_THIRD if name == "lanes" and single and words <= _FEW_WORDS else _OF_A_HALF}


def cut_for(held: Held | None, d: int, factors: int, entries: int) -> Cut:
    """Return how a block's work is cut: held rows need no room but for what each warp comes to."""
    return cut(d, factors, entries) if held is None else Cut(held.width, THREADS // WARP, 1)


def build_adder(
    sums: Sums, entry: Any, place: Any, fetch: Any, link: Any, held: Held | None, *, scored: bool = True,
    beside: bool = False, small: bool = False,
) -> Any:  # fmt: skip
    """Return the device function ``add_rows``: see `gradstep._kernels.cuda.rows.build`.

    ``fetch(i, c, data)`` returns the weight of row `i` and what is wanted of its response, and ``link(high, low, v,
    response, i, c, data)`` what the score ``high + low`` becomes: the row's factor as the sum of two doubles, and what
    else is to be summed once a row where there is something `beside`; zeros where ``v`` is 0, as it comes where there
    is no row. ``small``: no entry is larger than 1.
    """
    for function in (place, fetch, link):
        compilable(function, fastmath=False)
    if held is None:
        _, add_rows = build(sums, entry, place, _put(sums, fetch, link, scored=scored, beside=beside), scored=scored)
        return add_rows
    return _held_rows(sums if small else sums.freely(), entry, place, fetch, link, held, scored=scored)


def _put(sums: Sums, fetch: Any, link: Any, *, scored: bool, beside: bool) -> Any:
    """Return the function that puts what a score becomes where the columns' sums look for it."""
    split = sums.split

    def put(high, low, i, t, c, room, data):
        v, response = 0.0, 0.0
        if i >= 0:
            v, response = fetch(i, c, data)
        first, rest, further = link(high, low, v, response, i, c, data)
        if scored or c == 0:
            split(room[1], t, c, first, rest)
        if beside:
            room[2][t, c] = further

    return put


def _held_rows(sums: Sums, entry: Any, place: Any, fetch: Any, link: Any, held: Held, *, scored: bool) -> Any:
    number, zero, store, add, load = sums.dtype, sums.zero, sums.store, sums.add, sums.load
    width, share, depth = held
    own = max(1, depth // width)  # rows whose place, response and factor a thread finds for its neighbours too
    span = max(1, width // depth)  # neighbouring threads that find the same
    one, parts = number(1), sums.parts
    of_rows, of_columns, of_factors, of_own = (depth, share), (parts, 1, share), (parts, 1, depth), (parts, 1, own)
    of_scores, of_responses, of_units = (2, depth), (2, own), (2, share)
    brought = build_brought(number, entry, held)
    score = build_score(sums, held) if scored else _no_score(held)
    by_columns, bounded, handed_in = _by_columns(sums, held), _bound(sums, held), _handed_in(sums, held)
    kept, of_doubles = build_kept(sums, held, scored=scored), sums.number

    def add_rows(table, W, first, low, high, further, cut, room, source, data, out, row):  # noqa: ARG001
        thread = cuda.threadIdx.x
        lane, groups, d = thread % width, cuda.blockDim.x // width, table[3]
        x = cuda.local.array(of_rows, number)
        units = cuda.local.array(of_units, number)
        weights = cuda.local.array(of_columns, number)
        acc = cuda.local.array(of_columns, number)
        factors = cuda.local.array(of_factors, number)
        found = cuda.local.array(of_own, number)
        at = cuda.local.array(depth, int64)
        then = cuda.local.array(own, int64)
        rows = cuda.local.array(own, int64)
        responses = cuda.local.array(of_responses, float64)
        scores = cuda.local.array(of_scores, float64)
        for e in range(share):
            store(acc, 0, e, zero())
        ones, beside = zero(), 0.0
        kept(table, W, 0, first, lane, units, weights)
        bound = bounded(W, first, lane, d)
        mine = low + thread // width + lane // span * own * groups
        for r in range(own):
            position = mine + r * groups
            then[r] = place(position, source) if position < high else -1
        for start in range(low, high, groups * depth):  # as many turns for all threads: warps exchange numbers
            for m in range(depth):
                at[m] = of_thread(then[m % own], thread - lane + m // own * span)
            for r in range(own):
                rows[r] = then[r]
                v, responses[1, r] = fetch(max(then[r], 0), 0, data)
                responses[0, r] = v if then[r] >= 0 else 0.0
                position = start - low + mine + (depth + r) * groups
                then[r] = place(position, source) if position < high else -1
            brought(table, lane, at, units, x)
            score(x, W, 0, first, lane, d, bound, weights, scores)
            for r in range(own):
                f, f_rest, more = link(
                    scores[0, r], scores[1, r], responses[0, r], responses[1, r], rows[r], 0, data
                )  # fmt: skip
                factor = of_doubles(f, f_rest)
                store(found, 0, r, factor)
                ones = add(ones, one, factor)
                beside += more
            some = True
            for m in range(depth):
                for p in range(parts):
                    factors[p, 0, m] = of_thread(found[p, 0, m % own], thread - lane + m // own * span)
                some = some and load(factors, 0, m)[0] != 0
            if not some:  # there may be no row, or one of weight zero with anything in it
                for m in range(depth):
                    for e in range(share):
                        x[m, e] = x[m, e] if load(factors, 0, m)[0] != 0 else number(0)
            by_columns(x, factors, acc)
        if lane % span != 0:
            ones, beside = zero(), 0.0
        handed_in(acc, ones, beside, lane, d, further, room[3], out, row)

    return compilable(add_rows, fastmath=False)


def _no_score(held: Held) -> Any:
    """Return the function that says that rows have no score."""
    depth = held.depth

    def none(x, W, c, first, lane, d, bound, weights, scores):  # noqa: ARG001 - called as `score` is
        for m in range(depth):
            scores[0, m], scores[1, m] = 0.0, 0.0

    return compilable(none, fastmath=False)


def _column(held: Held) -> Any:
    """Return the function that says which column a thread takes, and whether there is one: the last is another's."""
    width, last = held.width, held.share - 1

    def column(e, lane, d):
        j = lane + e * width
        return (j, True) if e < last else (min(j, d - 1), j < d)

    return compilable(column, fastmath=False)


def build_brought(number: Any, entry: Any, held: Held) -> Any:
    """Return the function that brings the next rows: all that are on their way at a time are asked for first."""
    _, share, depth = held
    column = _column(held)

    def brought(table, lane, at, units, x):
        X, scale, centre, d, _ = table
        for e in range(share):
            j, there = column(e, lane, d)
            unit, about = of_units(units, scale, centre, e, j)
            for m in range(depth):
                found = entry(X[uint64(max(at[m], 0)), uint64(j)], unit, about)
                x[m, e] = found if there else number(0)

    def kept(units, scale, centre, e, j):  # noqa: ARG001
        return units[0, e], units[1, e]

    def looked_up(units, scale, centre, e, j):  # noqa: ARG001
        return scale[uint64(j)], centre[uint64(j)]

    of_units = compilable(kept if _keeps(number, held) else looked_up, fastmath=False)
    return compilable(brought, fastmath=False)


def _keeps(number: Any, held: Held) -> bool:
    """Whether what belongs to a thread's columns has registers too: a row's weights, scales and centres."""
    return bool(number(0).itemsize == 4 and held.share <= _FEW_WORDS)


def build_kept(sums: Sums, held: Held, *, scored: bool = True) -> Any:
    """Return the function that puts weights, scales and centres of a thread's columns into registers."""
    parts, share, column, keeps = sums.parts if scored else 0, held.share, _column(held), _keeps(sums.dtype, held)

    def kept(table, W, c, first, lane, units, weights):
        if keeps:
            for e in range(share):
                j, _ = column(e, lane, table[3])
                units[0, e], units[1, e] = table[1][uint64(j)], table[2][uint64(j)]
                for p in range(parts):
                    weights[p, 0, e] = W[p, c, uint64(first + j)]

    return compilable(kept, fastmath=False)


def _bound(sums: Sums, held: Held) -> Any:
    """Return the function that bounds a score's terms where no entry is larger than 1."""
    number, load, share = sums.dtype, sums.load, held.share
    column = _column(held)

    def bound(W, first, lane, d):
        total = number(0)
        for e in range(share):
            j, there = column(e, lane, d)
            total += abs(load(W, 0, uint64(first + j))[0]) if there else number(0)
        return total

    def none(W, first, lane, d):  # noqa: ARG001
        return number(0)

    return compilable(bound if sums.bounded else none, fastmath=False)


def build_score(sums: Sums, held: Held, *, one: bool = True) -> Any:
    """Return the function that takes the scores of the rows that are held; a thread finds those of its own rows.

    ``one``: whether there is one score a row, whose weights have been kept.
    """
    number, zero, load, store, loosely = sums.dtype, sums.zero, sums.load, sums.store, sums.loosely
    opened, within, closed = sums.opened, sums.within, sums.closed
    _, share, depth = held
    of_work = sums.parts, 1, depth
    wide = sums.parts > 1 + (number(0).itemsize == 4)
    column, exchanged = _column(held), _exchanged(held, wide=wide)

    def score(x, W, c, first, lane, d, bound, weights, scores):
        work = cuda.local.array(of_work, number)
        for m in range(depth):
            store(work, 0, m, opened(zero(), bound))
        for e in range(share):
            j, _ = column(e, lane, d)
            weight = weight_of(weights, W, c, e, first + j)
            for m in range(depth):
                store(work, 0, m, within(load(work, 0, m), x[m, e], weight))
        for m in range(depth):
            high, low = loosely(closed(zero(), load(work, 0, m), bound))
            if not wide:
                high, low = high + low, 0.0
            scores[0, m], scores[1, m] = high, low
        exchanged(scores, lane)

    def held_weight(weights, W, c, e, j):  # noqa: ARG001
        return load(weights, 0, e)

    def looked_up(weights, W, c, e, j):  # noqa: ARG001
        return load(W, c, uint64(j))

    weight_of = compilable(held_weight if _keeps(number, held) and one else looked_up, fastmath=False)
    return compilable(score, fastmath=False)


def _exchanged(held: Held, *, wide: bool) -> Any:
    """Return the function that sums scores over the threads of a row, each for its own rows alone in the end."""

    def exchanged(scores, lane):
        pass  # one thread a row has nothing to exchange

    compilable(exchanged, fastmath=False)
    step, rows = held.width // 2, held.depth
    while step > 0:
        rows //= 2  # 0 once a thread has one row alone
        exchanged = _and_then(exchanged, _exchange(step, rows, wide=wide))
        step //= 2
    return exchanged


def _and_then(first: Any, second: Any) -> Any:
    def both(scores, lane):
        first(scores, lane)
        second(scores, lane)

    return compilable(both, fastmath=False)


def _exchange(step: int, rows: int, *, wide: bool) -> Any:
    """Return the function that leaves a thread so many rows, the upper ones to those whose number has the bit `step`.

    Of one row that both have, each gets the sum.
    """

    def add(scores, m, high, low, other, rest):
        other = partner(other, step)
        if wide:
            total, lost = two_sum(high, other)
            scores[0, m], scores[1, m] = total, (low + partner(rest, step)) + lost
        else:
            scores[0, m], scores[1, m] = high + other, 0.0

    def halve(scores, lane):
        upper = lane & step != 0
        for m in range(rows):
            high, low, other, rest = scores[0, m], scores[1, m], scores[0, m + rows], scores[1, m + rows]
            if upper:
                high, low, other, rest = other, rest, high, low
            add(scores, m, high, low, other, rest)

    def share(scores, lane):  # noqa: ARG001
        add(scores, 0, scores[0, 0], scores[1, 0], scores[0, 0], scores[1, 0])

    compilable(add, fastmath=False)
    return compilable(halve if rows else share, fastmath=False)


def _by_columns(sums: Sums, held: Held) -> Any:
    """Return the function that adds the rows that are held, times their factors, to their columns' sums."""
    number, load, store = sums.dtype, sums.load, sums.store
    opened, within, closed = sums.opened, sums.within, sums.closed
    _, share, depth = held

    def by_columns(x, factors, acc):
        bound = number(0)
        for m in range(depth):
            bound += abs(load(factors, 0, m)[0])
        for e in range(share):
            before = load(acc, 0, e)
            work = opened(before, bound)
            for m in range(depth):
                work = within(work, x[m, e], load(factors, 0, m))
            store(acc, 0, e, closed(before, work, bound))

    return compilable(by_columns, fastmath=False)


def _handed_in(sums: Sums, held: Held) -> Any:
    """Return the function that sums what the threads of a block have come to: in each warp, then over warps."""
    load, joined = sums.load, sums.joined
    width, share, _ = held
    column = _column(held)

    wide = sums.parts > 1 + (sums.dtype(0).itemsize == 4)

    def put(high, low, totals, warp, e, here, width):
        if wide:
            high, low = summed_wide_from(high, low, width)
        else:
            high, low = summed_from(high + low, width), 0.0
        if here:
            totals[0, warp, e] = high
            totals[1, warp, e] = low

    compilable(put, fastmath=False)

    def handed_in(acc, ones, beside, lane, d, further, totals, out, row):
        thread, threads = cuda.threadIdx.x, cuda.blockDim.x
        warps = threads // WARP
        base = cuda.blockIdx.x * warps
        warp, here = base + thread // WARP, thread % WARP < width
        for e in range(share):
            high, low = joined(load(acc, 0, e))
            j, there = column(e, lane, d)
            put(high, low, totals, warp, j, here and there, width)
        high, low = joined(ones)
        put(high, low, totals, warp, d, thread % WARP == 0, 1)
        if further > 0:
            put(beside, 0.0, totals, warp, d + 1, thread % WARP == 0, 1)
        cuda.syncthreads()
        for e in range(thread, d + 1 + further, threads):
            total, rest = 0.0, 0.0
            for w in range(base, base + warps):
                total, lost = two_sum(total, totals[0, w, e])
                rest += totals[1, w, e] + lost
            out[0, row, e] = total
            out[1, row, e] = rest
        cuda.syncthreads()

    return compilable(handed_in, fastmath=False)
