"""BLAS kept to one thread: how its sums are cut depends on how many it has, and with them the last bits of a fit.

What there is to share is shared by threads of our own (`gradstep._kernels.threads`), by pieces that do not depend on
them. OpenBLAS, which the wheels of NumPy and SciPy bring, is told so; another BLAS stays as it is.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any

from gradstep._kernels import threads

# Each brings a copy of its own.
_MODULES = ("scipy.linalg._fblas", "numpy._core._multiarray_umath")
_NAMES = [f"{first}openblas_{{}}_num_threads{last}" for first in ("scipy_", "") for last in ("", "64_")]

_lock = threading.RLock()  # whoever forks inside, from a signal's handler, has it already
_limits: list[tuple[int, int]] = []  # the thread of Python that asked, and for how many
_before: list[int] = []


def _afresh() -> None:
    """Forget, in a child that was forked, what threads asked for that it does not have."""
    if _limits:
        _limits[:] = [limit for limit in _limits if limit[0] == threading.get_ident()]
        _put()
    _lock.release()


if hasattr(os, "register_at_fork"):
    # No fork while a thread is inside OpenBLAS's setting: its lock would be locked in the child for ever.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_afresh)


@contextmanager
def at_most(number: int | None = None) -> Iterator[None]:
    """Keep BLAS to so many threads until the block ends, and until those of other threads of Python have ended.

    None stands for those that `gradstep.set_threads` allows.
    """
    limit = threading.get_ident(), number or threads.count()
    with _lock:
        if not _limits:
            _before[:] = [get() for get, _ in _settings()]
        _limits.append(limit)
        _put()
    try:
        yield
    finally:
        with _lock:
            _limits.remove(limit)
            _put()


one_thread = partial(at_most, 1)


def _put() -> None:
    least = min((number for _, number in _limits), default=1 << 30)  # the setting is one of the process
    for (_, put), before in zip(_settings(), _before, strict=True):
        put(min(before, least))


@cache
def _settings() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """Return how to ask for the threads of each BLAS, and how to set them."""
    found = []
    for module in _MODULES:
        try:
            library = ctypes.CDLL(import_module(module).__file__)
        except (ImportError, OSError, TypeError):
            continue
        for name in _NAMES:
            get, put = (getattr(library, name.format(verb), None) for verb in ("get", "set"))
            if get is not None and put is not None:
                found.append((get, put))
                break
    return found
