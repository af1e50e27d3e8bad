"""What each solver costs, by a simple model of the machine, which is measured once and kept.

A solver's time is that of its reads and of its linear algebra. How many reads it takes is known beforehand: the
sketch's own solution is ``sqrt(d n / m)`` standard errors away, an epoch leaves about ``c sqrt(d / n)`` of that, a
product of conjugate gradients ``sqrt(d / m)``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
from contextlib import suppress
from functools import cache as remembered
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from gradstep import _preconditioner
from gradstep._blas import one_thread
from gradstep._dense_algebra import gram, singular, tall_triangle
from gradstep._kernels import cache, threads
from gradstep._solvers.certified import is_whole
from gradstep._solvers.textbook import Sgd
from gradstep._table.table import Table

_log = logging.getLogger("gradstep.cost")


class Machine(NamedTuple):
    """Seconds that the machine takes, all threads at work."""

    byte: float
    """To read a byte of a table."""
    gram: float
    """For an operation of a product ``A' A``: n d**2 of them."""
    factor: float
    """For an operation of a QR factorisation: 2 n d (d + `_NARROW`) of them."""
    values: float
    """For a singular value decomposition, over ``d**2 (d + _NARROW)``."""


TYPICAL = Machine(byte=2.8e-11, gram=1.6e-11, factor=1.2e-11, values=2.1e-10)
"""Two cores of a server of 2024: what is said of costs before the machine at hand was measured."""

# Of kernels, nanoseconds a cell over those of a Gram operation where both were measured: they are bound by arithmetic,
# and a processor that is faster at one is at the other. asv_bench/default.py puts what follows beside the clock.
_WIDE, _PROBES, _CURVATURE, _SKETCH, _FILL = 30.0, 28.0, 15.0, 105.0, 30.0
_ROW = 12  # cells' worth of time of a row however few columns it has
_NARROW = 300  # columns' worth of time of factorisations however few columns they have
_FIXED = 5e-4  # seconds of a fit whatever the table
_LOOKS = 1.5e-8  # seconds a response
_SHARE = 0.3  # of sqrt(d / n), which an epoch leaves of the distance
_MARGIN = 1.25  # of a bound over the distance


def chosen(solver: Sgd | str, table: Table, tol: float, *, intercept: bool, warm: bool) -> tuple[Sgd | str, str]:
    """Return the solver that is meant, and what the model says: all three costs of "auto", and that "exact" is cheaper.

    With an earlier fit to go on from, "auto" leaves "exact" out, which begins anew.
    """
    if not isinstance(solver, str) or solver not in {"auto", "sgd"}:
        return solver, ""
    if is_whole(table, intercept):
        few = "so few rows stand for themselves: all solvers are alike"
        return ("sgd", few) if solver == "auto" else (solver, "")
    machine = measured() if solver == "auto" else kept() or TYPICAL
    seconds = predicted(machine, table, tol, intercept=intercept)
    if solver == "sgd":
        cheaper = seconds["exact"] < seconds["sgd"] and not warm
        said = f'solver="exact" would have been cheaper: about {seconds["exact"]:.2g} s where "sgd" takes about '
        return solver, said + f"{seconds['sgd']:.2g} s, by the cost model" if cheaper else ""
    if warm:
        del seconds["exact"]
    best = min(seconds, key=lambda name: seconds[name])
    model = ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items())
    return best, f"by the cost model {model}: {best} is taken"


def predicted(machine: Machine, table: Table, tol: float, *, intercept: bool) -> dict[str, float]:
    """Return the seconds that each solver will take, about."""
    n, d, k = table.n, table.d, table.k
    columns = d + intercept
    m = _preconditioner.sketch_rows(columns)
    decomposed = columns**2 * (columns + _NARROW) * machine.values
    read = n * d * table.bytes_per_entry * machine.byte

    def kernel(cost: float, outputs: int = k) -> float:
        return max(read, n * (d + _ROW) * outputs * cost * machine.gram)

    def factored(rows: int) -> float:
        return 2.0 * rows * columns * (columns + _NARROW) * machine.factor + decomposed

    far = math.sqrt(columns * n / m) * _MARGIN / max(tol, 1e-9)
    epochs = max(1, math.ceil(math.log(max(far, 2.0)) / -math.log(min(0.5, _SHARE * math.sqrt(columns / n)))))
    products = max(1, math.ceil(math.log(max(4 * far, 2.0)) / -math.log(math.sqrt(columns / m))))
    common = _FIXED + 3 * read + n * k * _LOOKS  # looks at what came, and at what is left of the response
    sketch = kernel(_SKETCH, 1) + factored(m)
    sample = factored(_preconditioner.SAMPLED_PER_COLUMN * columns)
    return {
        "sgd": common + sketch + kernel(_WIDE + _PROBES) + epochs * (kernel(_CURVATURE) + kernel(_WIDE)),
        "cg": common + sketch + 2 * kernel(_WIDE) + products * kernel(_CURVATURE),
        # Twice the time of a Gram matrix: where the condition is high its columns are made white first.
        "exact": common + sample + kernel(_FILL, 1) + 2 * n * d * d * machine.gram + 2 * kernel(_WIDE) + decomposed,
    }  # fmt: skip


@remembered
def measured() -> Machine:
    """Return what this machine takes: kept from earlier processes, else measured in some 50 to 100 ms and kept."""
    found = kept()
    if found is None:
        began = perf_counter()
        found = _measure()
        _log.info("measured %s in %.0f ms", found, 1e3 * (perf_counter() - began))
        path = _path()
        if path is not None:
            kept.cache_clear()
            with suppress(OSError):
                cache.write(path, json.dumps(found._asdict()).encode())
    return found


@remembered
def kept() -> Machine | None:
    """Return what an earlier process measured, if it did."""
    path = _path()
    if path is None:
        return None
    try:
        whole = cache.read(path)
        found = None if whole is None else Machine(**json.loads(whole))
    except (OSError, ValueError, TypeError) as error:
        _log.debug("no measurement of the machine: %s", error)
        return None
    sound = found is not None and all(isinstance(v, float) and 0 < v < 1 for v in found)
    return found if sound else None


def _path() -> Path | None:
    place, _ = cache.folder()
    facts = (platform.node(), platform.machine(), threads.count(), os.cpu_count(), np.__version__, 2)
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:40]
    return None if place is None else place / f"machine-{name}.json"


def _measure() -> Machine:
    rng = np.random.default_rng(0)
    table = rng.random((32, 1 << 17))
    rows = np.ascontiguousarray(table[:, :16384].reshape(-1, 128))

    def read(piece: int) -> None:
        table[piece].sum()

    with one_thread():
        factor, values = _seconds(lambda: tall_triangle(rows[:4096])), _seconds(lambda: singular(rows[:128]))
    return Machine(
        byte=_seconds(lambda: threads.each(read, len(table))) / table.nbytes,
        gram=_seconds(lambda: gram(rows)) / (len(rows) * 128**2),
        factor=factor / (2 * 4096 * 128 * (128 + _NARROW)),
        values=values / (128**2 * (128 + _NARROW)),
    )


def _seconds(work: object) -> float:
    """Return the least time of three."""
    times = []
    for _ in range(3):
        began = perf_counter()
        work()  # type: ignore[operator]
        times.append(perf_counter() - began)
    return min(times)
