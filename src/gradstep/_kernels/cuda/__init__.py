"""The CUDA backend: kernels built from the same formulas as the CPU's, compiled when first asked for.

`target` names the package behind it, `sums` says how products are summed in the data's own type, `rows` how a block of
threads reads rows, and the kernels stand in `steps`, `reads`, `lanes`, `sketch` and `columns`. This package is imported
when a device is asked for.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.cuda import columns, reads, target
from gradstep._kernels.cuda.held import Held, options
from gradstep._kernels.cuda.lanes import build_lanes
from gradstep._kernels.cuda.rows import cut
from gradstep._kernels.cuda.sketch import build_sketch
from gradstep._kernels.cuda.steps import build_steps
from gradstep._kernels.cuda.sums import WIDE, sums
from gradstep._kernels.cuda.target import SIMULATED, THREADS, cuda, launch, processors, require, roomy, state, view
from gradstep._kernels.first_call import interrupts_held
from gradstep._kernels.formula import Formula

__all__ = ["SIMULATED", "launch", "require", "state", "target", "view"]  # what is taken through here

Kernel = Callable[..., None]


def _as_it_stands(function: Kernel) -> Kernel:
    return function


_BUILDERS: dict[str, Callable[..., Any]] = {
    **{name: partial(reads.build_read, name) for name in (reads.CURVATURE, reads.EVIDENCE)},
    **{name: partial(reads.build_scores, name) for name in (reads.NORMS, reads.SCORES)},
    "lanes": build_lanes,
    "sketch": build_sketch,
    "spread": columns.build_spread,
    **{
        function.__name__: partial(_as_it_stands, function)
        for function in (
            columns.straight, columns.straight_line, columns.take, columns.blank, columns.each_row, columns.order,
            columns.count_above, columns.list_above, columns.fill, columns.row_squares, columns.product, columns.gram,
            reads.fold,
        )
    },
}  # fmt: skip
KERNELS = tuple(_BUILDERS)
"""Names of the kernels, those of the textbook method apart."""


def builder(name: str, **how: Any) -> Callable[..., None]:
    """Return a kernel as a plain Python function, for a compiler without a device."""
    function: Callable[..., None] = _BUILDERS[name](**how)
    return function


@lru_cache(maxsize=128)
def kernel(name: str, **how: Any) -> Any:
    """Return a kernel, called as ``kernel[blocks, threads](...)``."""
    return cuda.jit(builder(name, **how), **options(how.get("held"), single=how.get("single", False), name=name))


@lru_cache(maxsize=64)
def steps_kernel(
    value: Formula, slope: Formula, prox: Formula, *, single: bool, together: bool, held: Held | None
) -> Any:
    """Return the kernel of the textbook method for a loss's formulas and a penalty's."""
    built = build_steps(value, slope, prox, single=single, together=together, held=held)
    return cuda.jit(built, **options(held, single=single, name="steps"))


@lru_cache(maxsize=64)
def each_kernel(function: Formula, scalars: int) -> Callable[..., NDArray[np.floating]]:
    """Return a formula in a kernel by itself, called with an array for each of its scalars and its parameters.

    It answers with an array of the type of the scalars.
    """
    compiled = cuda.jit(columns.of_one(function) if scalars == 1 else columns.of_two(function))

    def each(*arguments: Any) -> NDArray[np.floating]:
        *arrays, p = arguments
        out = np.empty_like(arrays[0])
        on_device = cuda.to_device(out)
        there = (cuda.to_device(np.ascontiguousarray(array)) for array in arrays)
        launch(compiled, 1, THREADS, *there, on_device, p)
        found: NDArray[np.floating] = on_device.copy_to_host()
        return found

    return each


def copied(array: NDArray[Any], what: str = "an array") -> Any:
    """Return a copy of an array of any shape on the device."""
    require()
    array = np.asarray(array, order="C")
    with roomy(array.nbytes, what):
        return cuda.to_device(array)


def empty(shape: tuple[int, ...], dtype: Any, what: str = "work space") -> Any:
    """Return an array on the device that nothing has been written to."""
    with roomy(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, what):
        return cuda.device_array(shape, dtype=dtype)


def copied_to_host(array: Any) -> NDArray[Any]:
    """Return a copy of an array on the device, in C order or not, in host memory."""
    if not in_order(array):
        straight = empty(tuple(array.shape), array.dtype, "a copy in C order")
        name, shape = ("straight", array.shape) if len(array.shape) == 2 else ("straight_line", array.shape)
        launch(kernel(name), blocks_for(straight.size), THREADS, array, *map(int, shape), straight)
        array = straight
    copy: NDArray[Any] = array.copy_to_host()
    return copy


def in_order(array: Any) -> bool:
    """Whether an array is in C order without gaps."""
    step = array.dtype.itemsize
    if 0 in array.shape:
        return True
    for size, stride in zip(reversed(tuple(array.shape)), reversed(tuple(array.strides)), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return True


_SUMS_OF_SPREAD = 1 << 18


def blocks_for(items: int) -> int:
    """Return how many blocks of threads so many items are worth."""
    return max(1, min(-(-items // THREADS), 4 * processors()))


def spread(A: Any, weight: Any, stride: int, scale: NDArray[Any], centre: NDArray[Any]) -> NDArray[np.float64]:
    """Return sums of ``v z``, of ``v z**2`` and the largest ``|z|`` of columns about a centre, (pieces, 3, d)."""
    found: NDArray[np.float64] = spread_there(A, weight, stride, scale, centre).copy_to_host()
    return found


def spread_there(A: Any, weight: Any, stride: int, scale: NDArray[Any], centre: NDArray[Any]) -> Any:
    """Return what `spread` does, on the device, when it is done."""
    n, d = map(int, A.shape)
    pieces = max(1, min(n // 64, _SUMS_OF_SPREAD // d))
    out = empty((pieces, 3, d), np.float64)
    launch(
        kernel("spread", single=A.dtype == np.float32), blocks_for(pieces * d), THREADS, A, weight, stride, n, d,
        copied(scale.astype(A.dtype)), copied(centre.astype(A.dtype)), pieces, out,
    )  # fmt: skip
    cuda.synchronize()
    return out


def suspicious(A: Any) -> Iterator[tuple[int, int]]:
    """Yield the first rows of pieces, and their ends, whose sums are not finite."""
    n, d = map(int, A.shape)
    totals = spread(A, copied(np.ones(1, dtype=A.dtype)), 0, np.ones(d), np.zeros(d))[:, 0].sum(axis=1)
    for piece in np.flatnonzero(~np.isfinite(totals)).tolist():
        yield n * piece // len(totals), n * (piece + 1) // len(totals)


def units_of(largest: Any, top: int) -> Any:
    """Return powers of two that bring numbers to about 1, 1 for 0, with exponents of at most so much."""
    return np.ldexp(1.0, np.clip(np.where(largest > 0, -np.frexp(largest)[1], 0), -top, top))


def scores(X: Any, coef: NDArray[np.float64], intercept: NDArray[np.float64]) -> Any:
    """Return ``X coef + intercept`` (n, k) on the device, as good as in twice the precision, then rounded."""
    (n, d), k = map(int, X.shape), coef.shape[1]
    single = X.dtype == np.float32
    width, _, tile = cut(d, k, k)
    blocks = max(1, min(processors(), -(-n // tile)))
    scale, unit = np.ones(d), np.ones(k)
    if single:  # entries and coefficients are floats there: in units in which they are about 1
        one = copied(np.ones(1, dtype=np.float32))
        scale = units_of(spread(X, one, 0, scale, np.zeros(d))[:, 2].max(axis=0), 126)
        with np.errstate(over="ignore"):
            unit = units_of(np.abs(coef / scale[:, np.newaxis]).max(axis=0), 1000)
    with np.errstate(over="ignore", under="ignore"):
        W = sums(WIDE, single).parts_of((coef / scale[:, np.newaxis] * unit).T)
    there = copied(scale.astype(X.dtype))
    out = empty((n, k), np.float64, "a score for each row")
    launch(
        kernel(reads.SCORES, single=single), blocks, THREADS, X, copied(unit), 0, n, d, k, copied(intercept), copied(W),
        there, there, width, tile, empty((blocks * tile,), np.int64), empty((1, 1), np.float64), out,
    )  # fmt: skip
    return out


def warm(*, single: bool) -> bool:
    """Whether kernels of rows of a type have run in this process."""
    return bool(getattr(kernel("spread", single=single), "overloads", None))


def cupy() -> Any:
    """Return CuPy where it is installed, else None: its matrix products are those of NVIDIA's own library."""
    if SIMULATED or find_spec("cupy") is None:
        return None
    try:
        return import_module("cupy")
    except Exception:  # noqa: BLE001 - a broken one is none: there is a kernel of our own
        return None


_most: dict[tuple[Any, int, tuple[Any, ...]], int] = {}


def most_blocks(compiled: Any, arguments: tuple[Any, ...]) -> int:
    """Return how many blocks of a kernel can wait for each other at a barrier of the grid."""
    if SIMULATED:
        return 1
    key = compiled, target.number(), tuple(compiled.typeof_pyval(argument) for argument in arguments)
    if key not in _most:
        with interrupts_held():
            _most[key] = max(1, int(compiled.compile(key[2]).max_cooperative_grid_blocks(THREADS)))
    return _most[key]
