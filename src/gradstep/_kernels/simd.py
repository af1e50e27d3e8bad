"""Eight float64 numbers at once, the width of the largest registers: what loops over the columns of rows are made of.

LLVM makes vectors of plain loops by itself, but unrolls them so far that rows of ten columns never come to the fast
part, and checks before each loop that no array overlaps another. Here loops are written in eights: of d columns the
last ``d % 8`` are read under a mask. Processors with smaller registers take two or four for each.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

from gradstep._kernels.formula import compilable

WIDTH = 8
VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_INTEGER = ir.IntType(32)
_INTEGERS = ir.VectorType(_INTEGER, WIDTH)


class _Eight(types.Type):
    """Numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="gradstep.eight")


_eight = _Eight()


@register_model(_Eight)
class _EightModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


def aligned(size: Any) -> Any:
    """Return zeros where vectors of eight are loaded fastest: from a multiple of 64 bytes on, and up to one."""
    whole = -(-size // WIDTH) * WIDTH
    numbers = np.zeros(whole + WIDTH)
    first = (-(numbers.ctypes.data >> 3)) & (WIDTH - 1)
    return numbers[first : first + whole]


compilable(aligned, fastmath=False, forceinline=True, error_model="numpy")


def padded(numbers: Any) -> Any:
    """Return numbers (d,) and zeros behind them up to a multiple of eight: what is read and written without a mask."""
    out = aligned(numbers.size)
    out[: numbers.size] = numbers
    return out


# In plain Python, with the JIT off, a vector is an array.


def entries(X, i, j):
    """Return the entries of row `i` of a C-ordered array from column `j` on, zeros beyond its end."""
    out = np.zeros(WIDTH)
    some = X[i, j : j + WIDTH]
    out[: some.size] = some
    return out


def eight(a, j):
    """Return eight entries of a `padded` vector of float64."""
    return a[j : j + WIDTH].copy()


def put(a, j, v):
    """Set eight entries of a padded vector."""
    a[j : j + WIDTH] = v


def fused(a, b, c):
    """Return ``a b + c``, rounded once where the processor can."""
    return a * b + c


def all_of(x):
    """Return a vector of one number."""
    return np.full(WIDTH, x)


def sum_of(v):
    """Return the sum of a vector."""
    return v.sum()


def _inlined(function: Any) -> Callable[[Any], Any]:
    return overload(function, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)


def call(builder: Any, name: str, result: Any, arguments: list[Any], **flags: Any) -> Any:
    form = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, form, name), arguments, **flags)


def _place(context: Any, builder: Any, kind: Any, array: Any, indices: list[Any]) -> Any:
    """Return the address of an entry, as that of a vector of such."""
    made = context.make_array(kind)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, kind, made, indices, wraparound=False)
    return builder.bitcast(place, ir.VectorType(context.get_value_type(kind.dtype), WIDTH).as_pointer())


def spread(builder: Any, number: Any, width: int = WIDTH) -> Any:
    kind = ir.VectorType(number.type, width)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_INTEGER, 0))
    zeros = ir.Constant(ir.VectorType(_INTEGER, width), [ir.Constant(_INTEGER, 0)] * width)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def _as_double(builder: Any, vector: Any) -> Any:
    return vector if vector.type == VECTOR else builder.fpext(vector, VECTOR)


@intrinsic
def _whole(context: Any, X: Any, i: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        place = _place(context, builder, kind, arguments[0], list(arguments[1:]))
        return _as_double(builder, builder.load(place, align=kind.dtype.bitwidth // 8))

    return _eight(X, i, j), generate


@intrinsic
def _some(context: Any, X: Any, i: Any, j: Any, count: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        bits = kind.dtype.bitwidth
        place = _place(context, builder, kind, arguments[0], list(arguments[1:3]))
        numbers = ir.Constant(_INTEGERS, [ir.Constant(_INTEGER, number) for number in range(WIDTH)])
        mask = builder.icmp_signed("<", numbers, spread(builder, builder.trunc(arguments[3], _INTEGER)))
        vector = place.type.pointee
        zero = ir.Constant(vector, [ir.Constant(vector.element, 0.0)] * WIDTH)
        rest = [place, ir.Constant(_INTEGER, bits // 8), mask, zero]
        return _as_double(builder, call(builder, f"llvm.masked.load.v{WIDTH}f{bits}.p0", vector, rest))

    return _eight(X, i, j, count), generate


@intrinsic
def _at(context: Any, a: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], arguments[0], [arguments[1]]), align=8)

    return _eight(a, j), generate


@intrinsic
def _put(context: Any, a: Any, j: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _place(context, builder, signature.args[0], arguments[0], [arguments[1]]), align=8)
        return context.get_dummy_value()

    return types.void(a, j, v), generate


@intrinsic
def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return call(builder, f"llvm.fma.v{WIDTH}f64", VECTOR, list(arguments))

    return _eight(a, b, c), generate


@intrinsic
def _all_of(context: Any, x: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return spread(builder, arguments[0])

    return _eight(types.float64), generate


@intrinsic
def _sum_of(context: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        zero = ir.Constant(ir.DoubleType(), 0.0)
        # In pairs, not one after the other: the order is the same everywhere, and so are the bits.
        return call(
            builder,
            f"llvm.vector.reduce.fadd.v{WIDTH}f64",
            ir.DoubleType(),
            [zero, arguments[0]],
            fastmath=("reassoc",),
        )

    return types.float64(v), generate


@_inlined(entries)
def _entries(X, i, j):  # noqa: ARG001
    def whole_or_some(X, i, j):
        left = X.shape[1] - j
        return _whole(X, i, j) if left >= WIDTH else _some(X, i, j, left)  # type: ignore[call-arg]

    return whole_or_some


@_inlined(eight)
def _eight_of(a, j):  # noqa: ARG001
    return lambda a, j: _at(a, j)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@_inlined(put)
def _put_there(a, j, v):  # noqa: ARG001
    return lambda a, j, v: _put(a, j, v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@_inlined(fused)
def _fused_of(a, b, c):  # noqa: ARG001
    return lambda a, b, c: _fused(a, b, c)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@_inlined(all_of)
def _all(x):  # noqa: ARG001
    return lambda x: _all_of(x)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@_inlined(sum_of)
def _sum(v):  # noqa: ARG001
    return lambda v: _sum_of(v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not
