"""The call in which a kernel is compiled: it is said and timed, Ctrl-C waits, Numba's refusals are put in words."""

import linecache
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock as compiling

from gradstep._kernels.formula import Formulas, named_apart

if hasattr(os, "register_at_fork"):
    # No fork while a thread compiles: Numba's and LLVM's locks would be locked in the child for ever.
    os.register_at_fork(before=compiling.acquire, after_in_parent=compiling.release, after_in_child=compiling.release)


_log = logging.getLogger("gradstep.compile")


class _Clock(threading.local):
    """Of each thread by itself: fits of several threads count their own."""

    seconds = 0.0
    runs = False


_clock = _Clock()


def spent() -> float:
    """Return the seconds that this thread has spent in `timed`."""
    return _clock.seconds


@contextmanager
def timed() -> Iterator[None]:
    """Count what happens in the block as compiling, or as loading from disk."""
    if _clock.runs:
        yield
        return
    began, _clock.runs = perf_counter(), True
    try:
        yield
    finally:
        _clock.runs = False
        _clock.seconds += perf_counter() - began


def announce(kernel: str) -> None:
    """Say that a kernel is compiled, before the seconds that it takes."""
    _log.info("compiling %s ...", kernel)


@contextmanager
def first_call(*groups: Formulas) -> Iterator[None]:
    """Wrap the first call of a kernel that these groups of formulas are compiled into.

    Raises
    ------
    TypeError
        If a formula cannot be compiled: which one, the line and the reason.
    """
    with interrupts_held():
        try:
            yield
        except Exception as error:
            if not _is_numbas(error):
                raise
            raise TypeError(_in_words(error, groups)) from None


def _is_numbas(error: BaseException) -> bool:
    # By module: numba and numba-cuda each have classes of their own, without one that all of them share.
    return type(error).__module__.partition(".")[0] in {"numba", "numba_cuda"}


def _in_words(error: Exception, groups: tuple[Formulas, ...]) -> str:
    typeof: Any = numba.typeof
    for group in groups:
        for role, scalars in group.ROLES.items():
            function = getattr(group, role)
            try:
                numba.njit(named_apart(function)).compile((*(numba.float64 for _ in scalars), typeof(group.params)))
            except Exception as refusal:  # noqa: BLE001 - whatever is refused in the formula alone is the reason
                where, reason = _line_and_reason(str(refusal))
                return (
                    f"{type(group).__name__} {group.name}: {role}: Numba cannot compile {function.__name__}{where}: "
                    f"{reason}. A formula is made of numbers, functions of math and functions marked with @gs.formula."
                )
    return f"Numba cannot compile the kernel of {', '.join(map(repr, groups))}: {_line_and_reason(str(error))[1]}."


def _line_and_reason(message: str) -> tuple[str, str]:
    """Return the innermost place and reason of one of Numba's messages, which nest a refusal for each call."""
    innermost = re.split(r"Failed in \w+ mode pipeline \(.*?\)\s*", message)[-1]
    reason = next(
        (line.strip() for line in innermost.splitlines() if line.strip()), "for a reason that it does not say"
    )
    if reason.endswith("signature:"):
        reason = " ".join([reason, *re.findall(r">>> (.*)", innermost)[:1]])
    unmarked = r"Untyped global name '(\w+)'.*<class 'function'>"
    reason = re.sub(r"\.? (?:R|r)aised from .*", "", reason)
    reason = re.sub(unmarked, r"\1 is a function not marked with @gs.formula", reason).rstrip(".:")
    place = re.search(r'File "(.*?)", line (\d+)', innermost) or re.search(r" (?:at|from) (\S*) \((\d+)\)", innermost)
    if place is None:
        return "", reason
    file, line = place.group(1), int(place.group(2))
    source = linecache.getline(str(Path(file).resolve()), line).strip() or linecache.getline(file, line).strip()
    code = f" (`{source}`)" if source else ""
    return f", line {line} of {Path(file).name}{code}", reason


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends.

    LLVM calls back into Python while it compiles, and a `KeyboardInterrupt` that is raised in there is printed and
    lost. Signals are the main thread's; elsewhere there is nothing to hold.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])
