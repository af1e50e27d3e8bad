"""The CUDA kernel: the same run of rows as on the CPU, from the same formulas, by one block of threads.

Steps follow one another, so the threads of one block meet at a barrier twice a batch: first a thread takes a score (its
row read in order), then a thread takes a weight, or an output's loss, and sums the batch's rows in order. Nothing is
added atomically: same seed, same bits. Sums and weights are float64 whatever the data. This module is imported when a
device is asked for.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import config, cuda
from numpy.typing import NDArray

from gradstep._kernels.cpu import AVERAGING_POWER
from gradstep._kernels.formula import Formula

Kernel = Callable[..., None]

SIMULATED = bool(config.ENABLE_CUDASIM)
# The simulator runs a Python thread for each: a small block meets every case of a ragged edge just as well.
THREADS = 16 if SIMULATED else 256
_SCRATCH_ROWS = 1 << 16


def state() -> str:
    """Say in a few words whether kernels can run here, and on what."""
    if SIMULATED:
        return "simulator (NUMBA_ENABLE_CUDASIM=1)"
    try:
        if not cuda.is_available():
            return "no usable device: no NVIDIA driver or no GPU was found"
        device = cuda.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
    except Exception as error:  # noqa: BLE001 - a driver fails in many ways, and each means that there is no device
        return f"no usable device: {error}".splitlines()[0]
    return f"{name}, compute capability {'.'.join(map(str, device.compute_capability))}"


def require() -> None:
    """Raise RuntimeError where there is no usable device."""
    found = state()
    if found.startswith("no usable device"):
        raise RuntimeError(
            f'device: "cuda" came, and there is {found}; pass device="cpu", or install an NVIDIA driver and numba-cuda '
            '(the extra "cuda"), or set NUMBA_ENABLE_CUDASIM=1 before Python starts for the simulator.'
        )


def place(*arrays: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    """Return copies of X, y and weights on the device, y with a column an output."""
    X, y, weight = arrays
    return tuple(cuda.to_device(array) for array in (X, y.reshape(len(X), -1), weight))


def copied(array: NDArray[Any]) -> Any:
    """Return a copy of an array of any shape on the device."""
    require()
    return cuda.to_device(np.asarray(array, order="C"))


def copied_to_host(array: Any) -> NDArray[Any]:
    """Return a copy of an array on the device, Numba's or another library's, in host memory."""
    of_numba = array if hasattr(array, "copy_to_host") else cuda.as_cuda_array(array)
    copy: NDArray[Any] = of_numba.copy_to_host()
    return copy


def build(value: Formula, slope: Formula, prox: Formula) -> Callable[..., None]:  # noqa: C901 - one launch
    """Return the kernel as a plain Python function, for `cuda.jit` or for a compiler without a device."""

    def epoch(  # noqa: C901
        X, y, weight, order, shuffled, start, stop, batch, intercept, momentum, nesterov, averaging, averaged, rates,
        w, last, average, total, loss_sum, scratch, p, q,
    ):  # fmt: skip
        thread = cuda.threadIdx.x
        threads = cuda.blockDim.x
        n, d = X.shape
        k = y.shape[1]
        stride = 0 if weight.size == 1 else 1
        row = start
        taken = 0
        while row < stop:
            first = row - row % batch
            end_of_batch = min(first + batch, n)
            end = min(end_of_batch, stop, row + scratch.shape[1])
            share = 1.0 / (end_of_batch - first)
            rate = rates[taken] if rates.size > 1 else rates[0]
            for score in range(thread, (end - row) * k, threads):
                t = score // k
                c = score % k
                i = order[row + t - start] if shuffled else row + t
                z = w[d, c]
                for j in range(d):
                    z += X[i, j] * w[j, c]
                v = weight[i * stride]
                scratch[0, t, c] = v * slope(z, y[i, c], p)
                scratch[1, t, c] = v * value(z, y[i, c], p)
            cuda.syncthreads()
            for entry in range(thread, (d + 2) * k, threads):
                j = entry // k
                c = entry % k
                if j > d:
                    for t in range(end - row):
                        loss_sum[c] += scratch[1, t, c]
                    continue
                g = 0.0 if row == first else total[j, c]
                for t in range(end - row):
                    x = 1.0
                    if j < d:
                        x = X[order[row + t - start] if shuffled else row + t, j]
                    g += scratch[0, t, c] * x
                total[j, c] = g
                if end == end_of_batch and (j < d or intercept):
                    new = w[j, c] - rate * (g * share)
                    if momentum != 0.0 and not nesterov:
                        new += momentum * (w[j, c] - last[j, c])
                    if j < d:
                        new = prox(new, rate, q)
                    if averaging:
                        share_of_new = (AVERAGING_POWER + 1.0) / (averaged + taken + 1 + AVERAGING_POWER)
                        average[j, c] += (new - average[j, c]) * share_of_new
                    if nesterov:
                        w[j, c] = new + momentum * (new - last[j, c])
                        last[j, c] = new
                    else:
                        last[j, c] = w[j, c]
                        w[j, c] = new
            cuda.syncthreads()
            if end == end_of_batch:
                taken += 1
            row = end

    return epoch


@lru_cache(maxsize=64)
def each_kernel(function: Formula, scalars: int) -> Callable[..., NDArray[np.floating]]:
    """Return a formula in a kernel by itself, called with an array for each of its scalars and its parameters.

    It answers with an array of the type of the scalars.
    """

    def of_one(first, out, p):
        for i in range(cuda.threadIdx.x, out.size, cuda.blockDim.x):
            out[i] = function(first[i], p)

    def of_two(first, second, out, p):
        for i in range(cuda.threadIdx.x, out.size, cuda.blockDim.x):
            out[i] = function(first[i], second[i], p)

    compiled = cuda.jit(of_one if scalars == 1 else of_two)

    def each(*arguments):
        *arrays, p = arguments
        out = np.empty_like(arrays[0])
        on_device = cuda.to_device(out)
        compiled[1, THREADS](*(cuda.to_device(np.ascontiguousarray(array)) for array in arrays), on_device, p)
        return on_device.copy_to_host()

    return each


@lru_cache(maxsize=64)
def epoch_kernel(value: Formula, slope: Formula, prox: Formula, several: bool) -> Kernel:  # noqa: ARG001
    """Return the epoch for the given formulas, called as `gradstep._kernels.cpu.epoch_kernel` says.

    Rows lie on the device (see `place`); order, weights and sums come from the host and go back to it.
    """
    kernel = cuda.jit(build(value, slope, prox))

    def epoch(
        X, y, weight, order, start, stop, batch, intercept, momentum, nesterov, averaging, averaged, rates,
        w, last, average, total, loss_sum, p, q,
    ):  # fmt: skip
        k = y.shape[1]
        shuffled = order.size > 0
        changed = w, last, average, total, loss_sum
        matrices = [np.ascontiguousarray(array.reshape(-1, k)) for array in changed[:-1]]
        on_device = [cuda.to_device(array) for array in (*matrices, loss_sum)]
        order = cuda.to_device(np.ascontiguousarray(order) if shuffled else np.zeros(1, dtype=np.int64))
        scratch = cuda.device_array((2, min(batch, stop - start, _SCRATCH_ROWS), k), dtype=np.float64)
        kernel[1, THREADS](
            X, y, weight, order, shuffled, start, stop, batch, intercept, momentum, nesterov, averaging,
            averaged, cuda.to_device(rates), *on_device, scratch, p, q,
        )  # fmt: skip
        for host, device in zip(changed, on_device, strict=True):
            host[...] = device.copy_to_host().reshape(host.shape)

    return epoch
