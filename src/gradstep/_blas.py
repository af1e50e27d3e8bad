"""BLAS kept to one thread: how its sums are cut depends on how many it has, and with them the last bits of a fit.

What there is to share is shared by threads of our own (`gradstep._kernels.threads`), by pieces that do not depend on
them. OpenBLAS, which the wheels of NumPy and SciPy bring, is told so; another BLAS stays as it is.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

# Each brings a copy of its own.
_MODULES = ("scipy.linalg._fblas", "numpy._core._multiarray_umath")
_NAMES = [f"{first}openblas_{{}}_num_threads{last}" for first in ("scipy_", "") for last in ("", "64_")]

_lock = threading.RLock()  # whoever forks inside, from a signal's handler, has it already
_users = 0
_before: list[int] = []


def _afresh() -> None:
    """Begin anew in a child that was forked while threads, which it does not have, were in here."""
    global _users  # noqa: PLW0603
    if _users > 0:
        for (_, put), threads in zip(_settings(), _before, strict=False):
            put(threads)
    _users = 0
    _lock.release()


if hasattr(os, "register_at_fork"):
    # No fork while a thread is inside OpenBLAS's setting: its lock would be locked in the child for ever.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_afresh)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread until the block ends, and until those of other threads of Python have ended."""
    global _users  # noqa: PLW0603 - the setting is one of the process
    with _lock:
        _users += 1
        if _users == 1:
            _before[:] = [get() for get, _ in _settings()]
            for _, put in _settings():
                put(1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for (_, put), threads in zip(_settings(), _before, strict=True):
                    put(threads)


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
