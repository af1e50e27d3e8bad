"""Threads of our own over lanes and blocks of rows: what is computed never depends on how many there are.

Numba's `parallel=True` takes seconds to compile, its simplest layer aborts when two threads use it at once and another
one hangs a child after a fork. Kernels let go of Python's lock instead, and the pieces of a table are dealt to a few
threads, this one among them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count as count_from
from pathlib import Path
from threading import Lock, get_ident

from gradstep._numbers import whole

_chosen: int | None = None

_lock = Lock()
_at_work: set[int] = set()  # threads of Python that fit, and those that help them


def set_threads(n: int | None) -> Setting:
    """Set how many threads read the rows of a table on the CPU, for good or for a ``with`` block.

    The results do not depend on it, to the last bit.

    Parameters
    ----------
    n : int or None
        How many, at least 1. None goes back to the default: what ``OMP_NUM_THREADS`` says, else the processors that
        this process may use, as its affinity and the quota of its container have it.

    Returns
    -------
    context manager
        It need not be kept. At the head of a ``with`` block it makes the block end with the setting from
        before this call.

    Raises
    ------
    TypeError, ValueError
        If it is not None or a whole number of at least 1.

    Notes
    -----
    It is one setting for all threads of Python in the process, those that are fitting included: blocks of several
    threads that overlap in time undo each other's. They all share the number too. A thread that fits takes helpers only
    while fewer than ``n`` threads, fitting and helping, are at work, so that eight threads that fit at once on eight
    processors have no helpers. A process that is forked inherits the setting, another one does not: there set
    ``OMP_NUM_THREADS``, as joblib and Dask do for their workers. BLAS never has more threads meanwhile, where it is
    OpenBLAS.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
    >>> with gs.set_threads(1):
    ...     fit = gs.fit(X, y)
    >>> gs.set_threads(2)
    2 threads
    >>> default = gs.set_threads(None)
    """
    global _chosen
    wanted = None if n is None else whole("n", n, 1)
    before, _chosen = _chosen, wanted
    return Setting(before)


class Setting:
    """What `set_threads` returns: at the head of a block, what brings back the setting before."""

    def __init__(self, before: int | None) -> None:
        self._before = before
        self._now = count()

    def __enter__(self) -> None:
        """Leave the setting as it is."""

    def __exit__(self, *_: object) -> None:
        """Bring back the setting before."""
        global _chosen  # noqa: PLW0603
        _chosen = self._before

    def __repr__(self) -> str:
        return f"{self._now} thread{'s' * (self._now > 1)}"


def count() -> int:
    """Return how many threads read rows."""
    if _chosen is not None:
        return _chosen
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"].partition(",")[0]))
    except (KeyError, ValueError):
        return usable()


def usable() -> int:
    """Return how many processors this process may use at once."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, _quota(Path("/sys/fs/cgroup"))))


@cache
def _quota(root: Path) -> int:
    """Return how many processors' time a container may take, rounded up; more than there are without a limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (root / "cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))  # "max" is no number
    with suppress(OSError, ValueError, ZeroDivisionError):  # the first version of control groups
        quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            return math.ceil(int(quota) / int(period))
    return 1 << 30


@contextmanager
def at_work() -> Iterator[None]:
    """Count this thread among those at work until the block ends."""
    me = get_ident()
    if me in _at_work:
        yield
        return
    with _lock:
        _at_work.add(me)
    try:
        yield
    finally:
        with _lock:
            _at_work.discard(me)


def _joins() -> bool:
    """Count this thread, a helper, among those at work, if there is room for one more."""
    with _lock:
        room = len(_at_work) < count()
        if room:
            _at_work.add(get_ident())
        return room


def _afresh() -> None:
    """Begin anew in a child that was forked: of the threads that were at work it has the one that forked."""
    global _lock, _at_work
    _lock, _at_work = Lock(), _at_work & {get_ident()}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_afresh)


def each(work: Callable[[int], Iterable[object] | None], pieces: int, *, alone: bool = False) -> None:
    """Do `work` for each piece, numbered from 0, in this thread alone where that is all that it is worth.

    What it raises ends the rest, and so does Ctrl-C.
    Work that takes long may be a generator, which can be ended wherever it yields. The calling thread works too: where
    all others are taken it does everything.
    """
    if alone:
        _Deal(work, pieces).some()
        return
    with at_work():
        _shared(_Deal(work, pieces))


class _Deal:
    """Pieces of work, each done by whichever thread comes for it first."""

    def __init__(self, work: Callable[[int], Iterable[object] | None], pieces: int) -> None:
        self.work, self.pieces = work, pieces
        self.failed = False
        self._numbers = count_from()  # its `next` is one step of the interpreter: no two threads get the same number

    def some(self, stays: Callable[[], bool] = lambda: True) -> None:
        """Do pieces for as long as there are any, all is well and this thread is to stay."""
        try:
            while stays():
                piece = next(self._numbers)
                if piece >= self.pieces:
                    return
                for _ in self.work(piece) or ():
                    if self.failed:
                        return
                if self.failed:
                    return
        except BaseException:
            self.failed = True
            raise

    def help(self) -> None:
        """Do pieces while there are not too many threads at work."""
        if _joins():
            try:
                self.some(lambda: len(_at_work) <= count())
            finally:
                with _lock:
                    _at_work.discard(get_ident())


def _shared(deal: _Deal) -> None:
    threads = count()
    helpers = min(threads - len(_at_work), deal.pieces - 1)
    if helpers < 1:
        deal.some()
        return
    futures: list[Future[None]] = []
    try:
        with suppress(RuntimeError):  # at the interpreter's end there are no more threads to be had
            futures.extend(_pool(os.getpid(), threads - 1).submit(deal.help) for _ in range(helpers))
        deal.some()
    except BaseException:
        deal.failed = True
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
