"""Arrays that lie on a GPU: looked at there, used in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradstep import _device
from gradstep._input import arrays
from gradstep._kernels import cuda
from gradstep._table.terms import Rows
from gradstep.losses import Loss


def rows(X: Any, y: Any, sample_weight: Any, loss: Loss | None) -> Rows:
    """Return a table whose X lies on a GPU; a y of float64 that lies there too is used in place, else y is moved."""
    if cuda.state().startswith("no usable device"):
        _device.in_place("X", X)  # which says so
    _look_at_devices(X=X, y=y, sample_weight=sample_weight)
    table = predictors(X)
    n = int(table.shape[0])
    weights = arrays.weights(sample_weight, n)
    real = loss is None or loss.domain == "real"
    if not (_device.on_cuda(y) and real and str(y.dtype).removeprefix("torch.") == "float64"):
        return Rows(table, arrays.response(y, n, loss), weights)
    response = _looked_at("y", y)
    arrays.look_at_shape_of_response(response.shape, n)
    _finite("y", response)
    return Rows(table, response, weights)


def predictors(X: Any, columns: int | None = None) -> Any:
    """Return X as Numba's array, without a copy, checked; of a given number of columns, if one is given."""
    table = _looked_at("X", X)
    arrays.look_at_shape_of_predictors(tuple(map(int, table.shape)), columns)
    _finite("X", table)
    return table


def _look_at_devices(**given: Any) -> None:
    there = {name: _device.gpu_of(array) for name, array in given.items() if _device.on_cuda(array)}
    for name, number in there.items():
        if number != there["X"]:
            raise ValueError(
                f"{name}: it lies on GPU {number} and X on GPU {there['X']}; both on one, or {name} in host memory, is "
                "needed."
            )


def _looked_at(name: str, array: Any) -> Any:
    """Return an array that kernels can read where it is."""
    found = _device.in_place(name, array)
    if found.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        raise TypeError(f"{name}: data of dtype {found.dtype} came on the GPU; float32 or float64 is needed there.")
    if not cuda.in_order(found):
        raise ValueError(
            f"{name}: an array of shape {tuple(found.shape)} and strides {tuple(found.strides)} came on the GPU; C "
            "order without gaps is needed there: ascontiguousarray(...) or .contiguous() makes such a copy."
        )
    return found


def _finite(name: str, array: Any) -> None:
    """Refuse entries that are not finite. Pieces whose sums are not are brought home to be looked at."""
    matrix = array if len(array.shape) == 2 else array.reshape(array.shape[0], 1)
    for start, stop in cuda.suspicious(matrix):
        arrays.finite(name, cuda.copied_to_host(array[start:stop]), start)
