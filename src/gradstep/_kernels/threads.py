"""Threads of our own over lanes and blocks of rows: what is computed never depends on how many there are.

Numba's `parallel=True` takes seconds to compile, its simplest layer aborts when two threads use it at once and another
one hangs a child after a fork. Kernels let go of Python's lock instead, and the pieces of a table are dealt to a few
threads, this one among them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count as count_from

_limit: int | None = None


def count() -> int:
    """Return how many threads read rows: the processors that this process may use, or ``OMP_NUM_THREADS``."""
    if _limit is not None:
        return _limit
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"].partition(",")[0]))
    except (KeyError, ValueError):
        pass
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Use so many threads until the block ends."""
    global _limit  # noqa: PLW0603 - one setting a process
    before, _limit = _limit, threads
    try:
        yield
    finally:
        _limit = before


def each(work: Callable[[int], Iterable[object] | None], pieces: int, *, alone: bool = False) -> None:
    """Do `work` for each piece, numbered from 0, in this thread alone where that is all that it is worth.

    What it raises ends the rest, and so does Ctrl-C.
    Work that takes long may be a generator, which can be ended wherever it yields. The calling thread works too: where
    all others are taken it does everything.
    """
    numbers = count_from()  # its `next` is one step of the interpreter: no two threads get the same number
    failed = False

    def some() -> None:
        nonlocal failed
        try:
            for piece in numbers:
                if piece >= pieces:
                    return
                for _ in work(piece) or ():
                    if failed:
                        return
                if failed:
                    return
        except BaseException:
            failed = True
            raise

    helpers = min(count(), pieces) - 1
    if alone or helpers < 1:
        some()
        return
    futures: list[Future[None]] = []
    try:
        with suppress(RuntimeError):  # at the interpreter's end there are no more threads to be had
            futures.extend(_pool(os.getpid(), count() - 1).submit(some) for _ in range(helpers))
        some()
    except BaseException:
        failed = True
        raise
    finally:
        running = [future for future in futures if not future.cancel()]
        for future in running:
            future.exception()  # waits
    for future in running:
        future.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a child begins with a pool of its own
    return ThreadPoolExecutor(threads, thread_name_prefix="gradstep")
