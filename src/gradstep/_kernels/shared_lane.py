"""A lane of long rows whose steps threads take together: each step is cut into the same parts, whoever does them.

A step is three kinds of tasks: weights of columns from the coordinates, sums over rows, and coordinates from the sums.
A thread takes the next task that nobody has, and waits, awake, until all of the kinds before are done, which takes the
others less than a task's time; where it takes longer the processor is needed elsewhere, and the thread gives way. So a
thread alone does everything, one may come at any time, and the bits are those of the parts. Handed over step by step,
from Python, an epoch of 320 columns takes 1.6 times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import compilable
from gradstep._kernels.four_rows import room_of
from gradstep._kernels.simd import FOUR, WIDTH, aligned, all_of, eight, entries, fused, put, sum_of
from gradstep._kernels.tasks import counted_up, given_way, seen

APART = 16
"""Numbers between two counts: cache lines of their own."""
_KINDS = 3
_PATIENT = 2000  # looks: some microseconds

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")
_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


@_sums
def cut(part: int, parts: int, size: int) -> int:
    """Return where a part of so many begins."""
    return part * size // parts


@_inlined
def some_weights(T, first, last, since, q, p):
    """Set p to ``T q`` from `first` to `last`, where nothing stands before column `since`.

    Behind its r coordinates q has finite numbers up to the next eight. Four rows at a time: one by one, as LLVM has it,
    a triangle of 1,000 columns takes 0.45 ms in place of 0.18.
    """
    for j in range(first, last, FOUR):
        a, b = uint64(j), uint64(min(j + 1, last - 1))
        c, e = uint64(min(j + 2, last - 1)), uint64(min(j + 3, last - 1))
        of_a = all_of(0.0)
        of_b, of_c, of_e = of_a, of_a, of_a
        for at in range(since // WIDTH * WIDTH, T.shape[1], WIDTH):
            i = uint64(at)
            v = eight(q, i)
            of_a, of_b = fused(entries(T, a, i), v, of_a), fused(entries(T, b, i), v, of_b)
            of_c, of_e = fused(entries(T, c, i), v, of_c), fused(entries(T, e, i), v, of_e)
        p[a], p[b], p[c], p[e] = sum_of(of_a), sum_of(of_b), sum_of(of_c), sum_of(of_e)


@_inlined
def some_coordinates(T, first, last, until, u, share, step):
    """Add ``T' u share`` to `step` from `first` to `last`, where nothing stands from row `until` on.

    What lies behind `last`, up to seven numbers that `step` must have, is overwritten: whole vectors are. Four of them
    stay in registers for all rows, which takes 0.18 ms where adding row after row to memory took 0.47.
    """
    end, times = T.shape[1], all_of(share)
    for begin in range(first, last, 4 * WIDTH):
        at, second = uint64(begin), uint64(min(begin + WIDTH, end))
        third, fourth = uint64(min(begin + 2 * WIDTH, end)), uint64(min(begin + 3 * WIDTH, end))
        a = all_of(0.0)
        b, c, e = a, a, a
        for row in range(until):
            j = uint64(row)
            v = all_of(u[j])
            a, b = fused(entries(T, j, at), v, a), fused(entries(T, j, second), v, b)
            c, e = fused(entries(T, j, third), v, c), fused(entries(T, j, fourth), v, e)
        put(step, at, fused(a, times, eight(step, at)))
        if second < last:
            put(step, second, fused(b, times, eight(step, second)))
        if third < last:
            put(step, third, fused(c, times, eight(step, third)))
        if fourth < last:
            put(step, fourth, fused(e, times, eight(step, fourth)))


@_sums
def _added_up(sums, u):
    """Set u to the sum of the parts' sums."""
    u[:] = 0.0
    for part in range(sums.shape[0]):
        for j in range(u.size):
            u[j] += sums[part, j]


@_sums
def _moved(fixed, first, last, q, rate, step, then):
    """Set `then` to ``q - rate (step + fixed q)`` from `first` to `last`."""
    if fixed.size > 0:
        for b in range(fixed.shape[0]):
            for a in range(first, last):
                step[a] += fixed[b, a] * q[b]
    for a in range(first, last):
        then[a] = q[a] - rate * step[a]


@lru_cache(maxsize=64)
def shared_kernel(
    into_rows: Callable[..., float], add_chunks: Callable[..., Any], from_rows: Callable[..., None]
) -> Any:
    """Return the kernel that every thread calls, of what `gradstep._kernels.lanes` makes for one kind of rows."""

    @kernel
    def shared(
        X, weight, chunks, run, batches, scale, minus, T, level, fixed, slope, lanes, rate,
        since, until, q, points, p, sums, counts, first, stop,
    ):  # fmt: skip
        """Take steps `first` to `stop` of a lane, see `gradstep._kernels.lanes.lane`, with whoever else calls this.

        ``q`` (2, r + 8) are the r + 1 coordinates of even and odd steps and zeros, ``points`` (r + 1,) their sum,
        ``p`` (columns,) and ``sums`` (parts, columns + 1) what steps are made of; vectors of columns are padded to
        eights. ``since`` and ``until`` (parts,) are where T is zero for sure. ``counts`` are how many tasks were taken
        and, `APART` from it, done: zeros in the first call.
        """
        d, r = T.shape
        parts = sums.shape[0]
        held = aligned(scale.size), aligned(scale.size), aligned(room_of(X)), aligned(sums.shape[1]), aligned(r + WIDTH)
        own, total, z = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
        u, step = borrowed(held[3]), borrowed(held[4])
        X, weight, chunks, T, scale, minus = (
            borrowed(X), borrowed(weight), borrowed(chunks), borrowed(T), borrowed(scale), borrowed(minus),
        )  # fmt: skip
        share = float(lanes * (batches.size - 1))
        number = counted_up(counts, 0)
        while number < (stop - first) * _KINDS * parts:
            task, part = number // parts, number % parts
            t, kind = first + task // _KINDS, task % _KINDS
            turns = 0
            while seen(counts, APART) < task * parts:
                turns += 1
                if turns > _PATIENT:
                    given_way()  # whoever has the task may wait for this processor
            now = borrowed(q[t % 2])
            if kind == 0:
                some_weights(T, cut(part, parts, d), cut(part + 1, parts, d), since[part], now, p)
            elif kind == 1:
                own[:] = p
                total[:] = 0.0
                at = into_rows(scale, minus, own, level * now[r])
                begin, size = batches[t], batches[t + 1] - batches[t]
                low, high = begin + cut(part, parts, size), begin + cut(part + 1, parts, size)
                by_level = add_chunks(X, weight, chunks, run, low, high, scale, minus, own, at, z, total)
                from_rows(scale, minus, total, by_level)
                sums[part, : total.size], sums[part, total.size] = total, by_level
            else:
                low, high = cut(part, parts, r), cut(part + 1, parts, r)
                _added_up(sums, u[: sums.shape[1]])
                last = part == parts - 1  # which has the level too
                for a in range(low, high):
                    step[a] = slope[a, 0]
                for a in range(low, high + last):
                    points[a] += now[a]
                some_coordinates(T, low, high, until[part], u, share, step)
                if last:
                    step[r] = slope[r, 0] + level * u[scale.size] * share
                _moved(fixed, low, high + last, now, rate, step, q[(t + 1) % 2])
            counted_up(counts, APART)
            number = counted_up(counts, 0)
        keep(held)

    return shared
