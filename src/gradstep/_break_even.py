"""Where a fit takes less time: on the CPU, or on a GPU that the rows have to be copied to first.

Reading a row takes a GPU a thirtieth of the time that it takes a CPU, but bringing it there takes as long as several
reads, kernels are compiled once a process and started some ten microseconds apart. What the GPU at hand takes is
measured once and kept; how many reads a fit is worth follows from its method.
"""

from __future__ import annotations

import logging
from functools import cache as remembered
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from gradstep import _cost
from gradstep._solvers.textbook import Sgd

_log = logging.getLogger("gradstep.cost")


class Shape(NamedTuple):
    """What costs depend on."""

    n: int
    d: int
    k: int
    bytes_per_entry: int


class Gpu(NamedTuple):
    """Seconds that a GPU takes."""

    byte: float
    """To read a byte of its memory."""
    copy: float
    """To copy a byte there."""
    launch: float
    """To start a kernel with what it is given, and to bring back what it found."""


# Reads' worth of time of what is bound by arithmetic on the GPU rather than by memory. From the operations that kernels
# take for an entry; `asv_bench/gpu.py` puts them beside the clock.
_SKETCH, _WIDE, _LANES = 12.0, 2.0, 1.5
_COMPILING = 8.0  # seconds, of all kernels of a fit
_LAUNCHES_A_ROUND = 8
_BYTES_A_ROW = 48  # of responses, weights, leverages and orders
_ROWS_MEASURED, _COLUMNS_MEASURED = 1 << 21, 32  # 256 MB
_STEP = 6e-6  # seconds between the steps of the textbook method, at the barriers of the grid


def device_for(
    shape: Shape, options: Sgd | str, epochs: int, batch: int, tol: float, *, intercept: bool
) -> tuple[str, str]:
    """Return the device that a fit of host arrays takes less time on, and what the model says of both."""
    from gradstep._kernels import cuda  # noqa: PLC0415 - a device has been asked for

    found = cuda.state()
    if found.startswith("no usable device"):
        return "cpu", f"on the CPU, as there is {found}"
    wanted, free = shape.n * (shape.d * shape.bytes_per_entry + _BYTES_A_ROW * shape.k), cuda.target.free()
    if wanted > free:
        return "cpu", f"on the CPU, as the rows need {wanted:,} bytes on the GPU and {free:,} are free"
    try:
        gpu = _gpu()
    except MemoryError as error:
        return "cpu", f"on the CPU, as the GPU has too little room to be measured ({error})"
    if gpu is None:
        return "cpu", "on the CPU, as a simulated GPU takes longer"
    on_cpu = _on_cpu(shape, options, epochs, tol, intercept=intercept)
    compiling = 0.0 if cuda.warm(single=shape.bytes_per_entry == 4) else _COMPILING
    there = shape.n * (shape.d * shape.bytes_per_entry + 8 * shape.k) * gpu.copy
    reading = _on_gpu(gpu, shape, options, epochs, batch, tol, intercept=intercept)
    on_gpu = compiling + there + reading
    device = "cuda" if on_gpu < on_cpu else "cpu"
    parts = f"{there:.2g} s to copy" + (f", {compiling:.2g} s to compile" if compiling else "")
    return device, (
        f"by the cost model {on_cpu:.2g} s on the CPU and {on_gpu:.2g} s on the GPU ({parts}): "
        f"{'the GPU' if device == 'cuda' else 'the CPU'} is taken"
    )


def _on_cpu(shape: Shape, options: Sgd | str, epochs: int, tol: float, *, intercept: bool) -> float:
    machine = _cost.measured()
    if not isinstance(options, str):
        return _cost.of_steps(machine, shape, epochs)
    seconds = _cost.predicted(machine, shape, tol, intercept=intercept)
    return min(seconds.values()) if options == "auto" else seconds[options]


def _on_gpu(
    gpu: Gpu, shape: Shape, options: Sgd | str, epochs: int, batch: int, tol: float, *, intercept: bool
) -> float:
    read = shape.n * shape.d * shape.k * shape.bytes_per_entry * gpu.byte
    if not isinstance(options, str):
        steps = epochs * -(-shape.n // batch)
        return (epochs + 1) * read + steps * _STEP + (epochs + 2) * _LAUNCHES_A_ROUND * gpu.launch
    # Those of the default, which stand for the others too: what they take there is not known.
    rounds = _cost.rounds(shape, tol, intercept=intercept)
    linear_algebra = _cost.of_factor(_cost.measured(), shape, intercept=intercept)
    reads = _SKETCH + 2 * _WIDE + rounds * (_LANES + _WIDE)
    return linear_algebra + reads * read + (rounds + 3) * _LAUNCHES_A_ROUND * gpu.launch


@remembered
def _gpu() -> Gpu | None:
    """Return what the GPU takes: kept from earlier processes, else measured in some tens of milliseconds and kept."""
    from gradstep._kernels import cuda  # noqa: PLC0415

    if cuda.SIMULATED:
        return None
    path = _cost.place_for("gpu", cuda.state())
    kept = _cost.kept_in(path, Gpu)
    if kept is not None:
        return kept
    found = measured(cuda)
    _log.info("measured %s", found)
    _cost.keep(path, found)
    return found


def measured(cuda: Any) -> Gpu:
    """Measure a GPU: a copy there, a read of what is there, a kernel of no work with what goes there and comes back."""
    table = np.zeros((_ROWS_MEASURED, _COLUMNS_MEASURED), dtype=np.float32)
    copy = min(_seconds(lambda: cuda.copied(table)) for _ in range(3)) / table.nbytes
    here, weight = cuda.copied(table), cuda.copied(np.ones(1, dtype=np.float32))
    few, ones, zeros = cuda.copied(table[:1]), np.ones(_COLUMNS_MEASURED), np.zeros(_COLUMNS_MEASURED)
    cuda.spread(few, weight, 0, ones, zeros)  # compiles it
    launch = min(_seconds(lambda: cuda.spread(few, weight, 0, ones, zeros)) for _ in range(5))
    read = min(_seconds(lambda: cuda.spread_there(here, weight, 0, ones, zeros)) for _ in range(5))
    nothing = min(_seconds(lambda: cuda.spread_there(few, weight, 0, ones, zeros)) for _ in range(5))
    return Gpu(max(read - nothing, 0.1 * read) / table.nbytes, copy, launch)


def _seconds(work: Any) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began
