"""What each solver costs, by a simple model of the machine, which is measured once and kept.

A solver's time is that of its reads and of its linear algebra. How many reads it takes is known beforehand: the
solution of m rows is ``sqrt(d n / m)`` standard errors away, an epoch leaves about ``c sqrt(d / n)`` of that, a
product of conjugate gradients ``sqrt(d / m)``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache as remembered
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from gradstep import _drawn, _preconditioner
from gradstep._blas import one_thread
from gradstep._dense_algebra import gram, singular, tall_triangle
from gradstep._kernels import cache, threads
from gradstep._solvers.certified import is_whole
from gradstep._solvers.textbook import Sgd
from gradstep._table.table import Table

_log = logging.getLogger("gradstep.cost")


class Shaped(Protocol):
    """What costs depend on."""

    @property
    def n(self) -> int: ...
    @property
    def d(self) -> int: ...
    @property
    def k(self) -> int: ...
    @property
    def bytes_per_entry(self) -> int: ...


class Machine(NamedTuple):
    """Seconds that the machine takes, all threads at work."""

    byte: float
    """To read a byte of a table."""
    gram: float
    """For an operation of a product ``A' A``, n d**2 of them, one thread at work."""
    factor: float
    """For an operation of a QR factorisation: 2 n d (d + `_NARROW`) of them."""
    values: float
    """For a singular value decomposition, over ``d**2 (d + _NARROW)``."""


TYPICAL = Machine(byte=2.8e-11, gram=2.3e-11, factor=1.2e-11, values=2.7e-10)
"""Two cores of a server of 2024: what is said of costs before the machine at hand was measured."""

# Of kernels with two threads, nanoseconds a cell over those of a Gram operation with one, where both were measured:
# they are bound by arithmetic, and a processor that is faster at one is at the other. asv_bench/default.py puts what
# follows beside the clock.
_GRADIENT, _PROBES, _LANES, _CURVATURE, _SKETCH = 13.0, 30.0, 20.0, 16.0, 400.0
_GRAM, _GRAM_ROW = 0.5, 40  # of a Gram operation; columns' worth of time of a row's own
_VALUES = 0.4  # of a singular value decomposition: the values alone, of a triangle
_ROW = 12  # cells' worth of time of a row however few columns it has
_NARROW = 300  # columns' worth of time of factorisations however few columns they have
_FIXED = 5e-4  # seconds of a fit whatever the table
_LOOKS = 2e-9  # seconds a response
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
    if table.device == "cuda":
        alone = 'on a GPU "auto" is "sgd": what others take there is not known'
        return ("sgd", alone) if solver == "auto" else (solver, "")
    machine = measured() if solver == "auto" else kept() or TYPICAL
    seconds = predicted(machine, table, tol, intercept=intercept, closely=solver == "sgd")
    if solver == "sgd":
        cheaper = seconds["exact"] < seconds["sgd"] and not warm
        said = f'solver="exact" would have been cheaper: about {seconds["exact"]:.2g} s where "sgd" takes about '
        return solver, said + f"{seconds['sgd']:.2g} s, by the cost model" if cheaper else ""
    if warm:
        del seconds["exact"]
    best = min(seconds, key=lambda name: seconds[name])
    model = ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items())
    return best, f"by the cost model {model}: {best} is taken"


def predicted(
    machine: Machine, table: Shaped, tol: float, *, intercept: bool, closely: bool = True
) -> dict[str, float]:  # fmt: skip
    """Return the seconds that each solver will take, about; the exact one looks at its answer where `closely`."""
    n, d, k = table.n, table.d, table.k
    columns = d + intercept
    sampled = _drawn.has_a_sample(columns, n)
    m = _rows_of_factor(columns, n)
    share = 2 / threads.count()
    decomposed = _VALUES * columns**2 * (columns + _NARROW) * machine.values
    read = n * d * table.bytes_per_entry * machine.byte

    def kernel(cost: float, outputs: int = k) -> float:
        return max(read, n * (d + _ROW) * outputs * cost * machine.gram * share)

    def factored(rows: int) -> float:
        return rows * columns * (columns + _GRAM_ROW) * _GRAM * machine.gram * share + decomposed

    far = _far(m, columns, n, tol)
    epochs = rounds(table, tol, intercept=intercept)
    products = max(1, math.ceil(math.log(max(4 * far, 2.0)) / -math.log(math.sqrt(columns / m))))
    common = _FIXED + n * k * _LOOKS  # a look at what came
    begun = (0.0 if sampled else kernel(_SKETCH, 1)) + factored(m) + kernel(_GRADIENT + _PROBES)
    sample = factored(_preconditioner.SAMPLED_PER_COLUMN * columns)
    gram = n * d * (d + _GRAM_ROW) * _GRAM * machine.gram * share
    return {
        "sgd": common + begun + epochs * (kernel(_LANES) + kernel(_GRADIENT)),
        "cg": common + begun + products * kernel(_CURVATURE) + kernel(_GRADIENT),
        "exact": common + sample + max(read, gram) + closely * kernel(_GRADIENT) + decomposed,
    }  # fmt: skip


def of_steps(machine: Machine, table: Shaped, epochs: int) -> float:
    """Return the seconds that epochs of the textbook method take, and a last read for the objective."""
    n, d, k = table.n, table.d, table.k
    read = n * d * table.bytes_per_entry * machine.byte
    return _FIXED + (epochs + 1) * max(read, n * (d + _ROW) * k * _CURVATURE * machine.gram * 2)


def of_factor(machine: Machine, table: Shaped, *, intercept: bool) -> float:
    """Return the seconds that factorising a sketch takes."""
    columns = table.d + intercept
    rows = _drawn.sketch_rows(columns)
    decomposed = columns**2 * (columns + _NARROW) * machine.values
    return 2.0 * rows * columns * (columns + _NARROW) * machine.factor + decomposed


def rounds(table: Shaped, tol: float, *, intercept: bool) -> int:
    """Return the epochs that the default method takes from a sample's or sketch's own solution."""
    columns = table.d + intercept
    left = min(0.5, _SHARE * math.sqrt(columns / table.n))
    far = _far(_rows_of_factor(columns, table.n), columns, table.n, tol)
    return max(1, math.ceil(math.log(max(far, 2.0)) / -math.log(left)))


def _rows_of_factor(columns: int, n: int) -> int:
    return _drawn.sample_rows(columns, n) if _drawn.has_a_sample(columns, n) else _drawn.sketch_rows(columns)


def _far(m: int, columns: int, n: int, tol: float) -> float:
    return math.sqrt(columns * n / m) * _MARGIN / max(tol, 1e-9)


@remembered
def measured() -> Machine:
    """Return what this machine takes: kept from earlier processes, else measured in some 50 to 100 ms and kept."""
    found = kept()
    if found is None:
        began = perf_counter()
        found = _measure()
        _log.info("measured %s in %.0f ms", found, 1e3 * (perf_counter() - began))
        kept.cache_clear()
        keep(_path(), found)
    return found


@remembered
def kept() -> Machine | None:
    """Return what an earlier process measured, if it did."""
    return kept_in(_path(), Machine)


Measured = TypeVar("Measured", bound=tuple[float, ...])


def kept_in(path: Path | None, kind: Callable[..., Measured]) -> Measured | None:
    """Return what an earlier process measured and kept in a file, if it is sound."""
    if path is None:
        return None
    try:
        whole = cache.read(path)
        found = None if whole is None else kind(**json.loads(whole))
    except (OSError, ValueError, TypeError) as error:
        _log.debug("no measurement of the machine: %s", error)
        return None
    sound = found is not None and all(isinstance(v, float) and 0 < v < 1 for v in found)
    return found if sound else None


def keep(path: Path | None, found: Any) -> None:
    """Keep what was measured, where that is possible."""
    if path is not None:
        with suppress(OSError):
            cache.write(path, json.dumps(found._asdict()).encode())


def place_for(what: str, *facts: object) -> Path | None:
    """Return the file of a measurement that depends on some facts, beside the machine's name."""
    place, _ = cache.folder()
    name = hashlib.sha256(repr((platform.node(), platform.machine(), *facts)).encode()).hexdigest()[:40]
    return None if place is None else place / f"{what}-{name}.json"


def _path() -> Path | None:
    return place_for("machine", threads.count(), os.cpu_count(), np.__version__, 3)


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
