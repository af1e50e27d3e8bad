"""The CUDA target: the one file that names the package behind it, and what is asked of the machine.

Numba's own target has moved to the package numba-cuda, which takes its name over; a successor would be put in here.
"""

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numba import config, cuda

from gradstep._kernels.first_call import announce, interrupts_held, timed

SIMULATED = bool(config.ENABLE_CUDASIM)


class _Inside:
    """The simulator's stand-in for the target, as a kernel that runs sees it, wherever its functions are written.

    The simulator itself puts it in place of the name `cuda` in the file of the kernel alone.
    """

    def __getattr__(self, name: str) -> Any:
        from numba.cuda.simulator.kernel import _get_kernel_context  # noqa: PLC0415

        context = _get_kernel_context()
        return _Shared(context) if name == "shared" else getattr(context, name)


class _Shared:
    """Shared arrays in the simulator, one for each line that asks; its own may give each of two threads another."""

    _lock = threading.Lock()

    def __init__(self, context: Any) -> None:
        self._arrays = context.__dict__.setdefault("_arrays_of_lines", {})

    def array(self, shape: Any, dtype: Any) -> Any:
        """Return the array of the line that asks."""
        caller = sys._getframe(1)  # noqa: SLF001 - as the simulator's own does
        with self._lock:
            return self._arrays.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype=str(dtype)))


inside = _Inside() if SIMULATED else cuda
"""What functions on the device call: their own thread, barriers, exchanges."""

# The simulator runs a Python thread for each: a small block meets every case of a ragged edge just as well.
THREADS = 8 if SIMULATED else 256
WARP = 4 if SIMULATED else 32
"""Threads that exchange numbers without a barrier, or in the simulator as if they did."""

_first_used_in: list[int] = []
_FORKED = "no usable device: CUDA was started before this process was forked, and does not survive that"


def state() -> str:
    """Say in a few words whether kernels can run here, and on what."""
    if SIMULATED:
        return "simulator (NUMBA_ENABLE_CUDASIM=1)"
    if _first_used_in and _first_used_in[0] != os.getpid():
        return _FORKED
    try:
        if not cuda.is_available():
            return "no usable device: no NVIDIA driver or no GPU was found, or CUDA was started before a fork"
        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
    except Exception as error:  # noqa: BLE001 - a driver fails in many ways, and each means that there is no device
        return f"no usable device: {error}".splitlines()[0]
    return f"{name}, compute capability {'.'.join(map(str, device.compute_capability))}"


def require() -> None:
    """Raise RuntimeError where there is no usable device."""
    found = state()
    if found.startswith("no usable device"):
        remedy = (
            'start processes with multiprocessing.get_context("spawn")'
            if found.startswith(_FORKED)
            else 'pass device="cpu", or install an NVIDIA driver and numba-cuda (the extra "cuda"), or set '
            "NUMBA_ENABLE_CUDASIM=1 before Python starts for the simulator"
        )
        raise RuntimeError(f'device: "cuda" came, and there is {found}; {remedy}.')
    if not _first_used_in:
        _first_used_in.append(os.getpid())


def number() -> int:
    """Return the number of the device that kernels run on."""
    return 0 if SIMULATED else int(cuda.get_current_device().id)


def processors() -> int:
    """Return how many blocks are worth having for a read of all rows."""
    return 2 if SIMULATED else 1056


def launch(kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
    """Run a kernel; where it is compiled first, say so, count the time and hold Ctrl-C back."""
    configured = _configured(kernel, max(1, blocks), threads)
    if getattr(kernel, "overloads", True):
        configured(*arguments)
        return
    announce(kernel.py_func.__name__)
    with timed(), interrupts_held():
        configured(*arguments)


@lru_cache(maxsize=256)
def _configured(kernel: Any, blocks: int, threads: int) -> Any:
    with warnings.catch_warnings():
        # numba-cuda warns of few blocks, which of few rows there are, by a class that is not Numba's.
        warnings.simplefilter("ignore")
        return kernel[blocks, threads]


_ALWAYS_ROOM = 1 << 20  # bytes for which the driver is not asked


@contextmanager
def roomy(wanted: int, what: str) -> Iterator[None]:
    """Raise MemoryError where so many bytes are more than the device has free, or an array in the block is refused."""
    if wanted > _ALWAYS_ROOM and wanted > free():
        raise MemoryError(_no_room(wanted, what))
    try:
        yield
    except Exception as error:  # the driver's, whose class is another with each of its bindings
        if "OUT_OF_MEMORY" in str(error):
            raise MemoryError(_no_room(wanted, what)) from error
        raise


def _no_room(wanted: int, what: str) -> str:
    return (
        f"device: {what} needs {wanted:,} bytes on the GPU, and {free():,} are free; fewer rows, float32, or "
        'device="cpu" are needed.'
    )


def free() -> int:
    """Return the bytes that are free on the device."""
    context = cuda.current_context()
    with suppress(AttributeError):  # what was let go of waits in a queue, unless memory is managed by another library
        context.memory_manager.deallocations.clear()
    found = context.get_memory_info().free
    return 1 << 62 if found == float("inf") else int(found)


def view(array: Any) -> Any:
    """Return an array of another library on the device as Numba's, without a copy: by either of two protocols."""
    if SIMULATED:
        raise TypeError("the simulator reads arrays of gradstep.to_device alone")
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is not None and ("stream" in interface or not hasattr(array, "__dlpack__")):
        return cuda.as_cuda_array(array)  # waits for the stream that it names
    from cuda.core.utils import StridedMemoryView  # noqa: PLC0415 - comes with numba-cuda

    # The library has its own stream wait for: kernels run on the first one, the legacy default stream.
    return cuda.as_cuda_array(_Seen(StridedMemoryView.from_dlpack(array, stream_ptr=1)))


class _Seen:
    """What another library lends by DLPack, with the interface that Numba reads; it keeps the loan."""

    def __init__(self, lent: Any) -> None:
        strides = lent.strides and tuple(step * lent.dtype.itemsize for step in lent.strides)
        self._lent = lent
        self.__cuda_array_interface__ = {
            "shape": tuple(lent.shape), "typestr": lent.dtype.str, "data": (lent.ptr, lent.readonly),
            "strides": strides, "version": 3,
        }  # fmt: skip
