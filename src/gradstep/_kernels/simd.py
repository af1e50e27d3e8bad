"""Eight float64 numbers at once, the width of the largest registers, and four: what loops over rows are made of.

LLVM makes vectors of plain loops by itself, but unrolls them so far that rows of ten columns never come to the fast
part, and checks before each loop that no array overlaps another. Here loops are written in eights: of more than sixteen
columns the last ``d % 8`` are read under a mask. Processors with smaller registers take two or four for each. Vectors
of four hold a number of each of four rows.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

from gradstep._kernels.bounds import ADDRESS, check
from gradstep._kernels.formula import compilable

WIDTH = 8
FOUR = 4
VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_FOUR = ir.VectorType(ir.DoubleType(), FOUR)
INTEGER = ir.IntType(32)
_INTEGERS = ir.VectorType(INTEGER, WIDTH)


class _Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"gradstep.vector{width}")
        self.width = width


EIGHT, _four = _Vector(WIDTH), _Vector(FOUR)


@register_model(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.DoubleType(), kind.width))


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


def entries(X, i, j, columns=0):  # noqa: ARG001 - a constant where it is known
    """Return the entries of row `i` of a C-ordered array from column `j` on, zeros beyond its end."""
    out = np.zeros(WIDTH)
    some = X[i, j : j + WIDTH]
    out[: some.size] = some
    return out


def eight(a, j):
    """Return eight neighbours in a vector of any floats that has them, as a `padded` one has."""
    return a[j : j + WIDTH].astype(np.float64)


def put(a, j, v):
    """Set eight entries of a padded vector."""
    a[j : j + WIDTH] = v


def fused(a, b, c):
    """Return ``a b + c``, rounded once where the processor can."""
    return a * b + c


def all_of(x):
    """Return eight times one number."""
    return np.full(WIDTH, x)


def four_of(x):
    """Return four times one number."""
    return np.full(FOUR, x)


def four(a, i):
    """Return four neighbours in a vector of any floats."""
    return a[i : i + FOUR].astype(np.float64)


def put_four(a, i, v):
    """Set four neighbours in a vector of float64."""
    a[i : i + FOUR] = v


def one_of(v, i):
    """Return one number of a vector; `i` is constant once loops are unrolled."""
    return v[i]


def roots_of(v):
    """Return the square roots of a vector."""
    return np.sqrt(v)


def sum_of(v):
    """Return the sum of a vector."""
    return v.sum()


def sums_of(a, b, c, e):
    """Return the sums of four vectors of eight."""
    return np.array([a.sum(), b.sum(), c.sum(), e.sum()])


def sums_of_eight(a, b, c, d, e, f, g, h):
    """Return the sums of eight vectors of eight."""
    return np.array([v.sum() for v in (a, b, c, d, e, f, g, h)])


def turned(a, b, c, d, e, f, g, h):
    """Return the columns of eight vectors, as vectors."""
    return tuple(np.array((a, b, c, d, e, f, g, h)).T.copy())


def inlined(function: Any) -> Callable[[Any], Any]:
    return overload(function, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)


def call(builder: Any, name: str, result: Any, arguments: list[Any], **flags: Any) -> Any:
    form = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, form, name), arguments, **flags)


def place_of(
    context: Any, builder: Any, kind: Any, array: Any, indices: list[Any], width: int = WIDTH, count: Any = None
) -> Any:
    """Return the address of an entry, as that of a vector of such, of which `count` are read or written."""
    made = context.make_array(kind)(context, builder, array)
    place = cgutils.get_item_pointer(context, builder, kind, made, indices, wraparound=False)
    check(context, builder, kind, made, place, ADDRESS(width) if count is None else count)
    return builder.bitcast(place, ir.VectorType(context.get_value_type(kind.dtype), width).as_pointer())


def spread(builder: Any, number: Any, width: int = WIDTH) -> Any:
    kind = ir.VectorType(number.type, width)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(INTEGER, 0))
    zeros = ir.Constant(ir.VectorType(INTEGER, width), [ir.Constant(INTEGER, 0)] * width)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


def as_double(builder: Any, vector: Any) -> Any:
    double = ir.VectorType(ir.DoubleType(), vector.type.count)
    return vector if vector.type == double else builder.fpext(vector, double)


def mixed(builder: Any, x: Any, y: Any, numbers: list[int]) -> Any:
    """Return the vector of some entries of x and y, one behind the other."""
    kind = ir.VectorType(INTEGER, len(numbers))
    return builder.shuffle_vector(x, y, ir.Constant(kind, [ir.Constant(INTEGER, n) for n in numbers]))


@intrinsic
def _whole(context: Any, X: Any, i: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        place = place_of(context, builder, kind, arguments[0], list(arguments[1:]))
        return as_double(builder, builder.load(place, align=kind.dtype.bitwidth // 8))

    return EIGHT(X, i, j), generate


@intrinsic
def _some(context: Any, X: Any, i: Any, j: Any, count: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        bits = kind.dtype.bitwidth
        place = place_of(context, builder, kind, arguments[0], list(arguments[1:3]), count=arguments[3])
        numbers = ir.Constant(_INTEGERS, [ir.Constant(INTEGER, number) for number in range(WIDTH)])
        mask = builder.icmp_signed("<", numbers, spread(builder, builder.trunc(arguments[3], INTEGER)))
        vector = place.type.pointee
        zero = ir.Constant(vector, [ir.Constant(vector.element, 0.0)] * WIDTH)
        rest = [place, ir.Constant(INTEGER, bits // 8), mask, zero]
        return as_double(builder, call(builder, f"llvm.masked.load.v{WIDTH}f{bits}.p0", vector, rest))

    return EIGHT(X, i, j, count), generate


@intrinsic
def _at(context: Any, a: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = place_of(context, builder, signature.args[0], arguments[0], [arguments[1]])
        return as_double(builder, builder.load(place, align=signature.args[0].dtype.bitwidth // 8))

    return EIGHT(a, j), generate


@intrinsic
def _put(context: Any, a: Any, j: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(
            arguments[2], place_of(context, builder, signature.args[0], arguments[0], [arguments[1]]), align=8
        )
        return context.get_dummy_value()

    return types.void(a, j, v), generate


@intrinsic
def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return call(builder, f"llvm.fma.v{a.width}f64", arguments[0].type, list(arguments))

    return a(a, b, c), generate


@intrinsic
def _all_of(context: Any, x: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return spread(builder, arguments[0])

    return EIGHT(types.float64), generate


@intrinsic
def _roots_of(context: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return call(builder, f"llvm.sqrt.v{v.width}f64", arguments[0].type, list(arguments))

    return v(v), generate


@intrinsic
def _sum_of(context: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        zero = ir.Constant(ir.DoubleType(), 0.0)
        # In pairs, not one after the other: the order is the same everywhere, and so are the bits.
        return call(
            builder,
            f"llvm.vector.reduce.fadd.v{v.width}f64",
            ir.DoubleType(),
            [zero, arguments[0]],
            fastmath=("reassoc",),
        )

    return types.float64(v), generate


@intrinsic
def _sums_of(context: Any, a: Any, b: Any, c: Any, e: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        def added(x: Any, y: Any, firsts: list[int], seconds: list[int]) -> Any:
            return builder.fadd(mixed(builder, x, y, firsts), mixed(builder, x, y, seconds))

        # Halves of two vectors side by side, then quarters of four, then what is left of each.
        halves = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
        ac, be = added(arguments[0], arguments[2], *halves), added(arguments[1], arguments[3], *halves)
        quarters = added(ac, be, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
        return added(quarters, quarters, [0, 2, 4, 6], [1, 3, 5, 7])

    return _four(a, b, c, e), generate


@intrinsic
def _sums_of_eight(context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        # Of two vectors, halves that stand where they are to stay and those that do not; then quarters, then entries.
        vectors = [arguments[number] for number in (0, 4, 2, 6, 1, 5, 3, 7)]
        for size in (4, 2, 1):
            stay = [entry if entry // size % 2 == 0 else WIDTH + entry for entry in range(WIDTH)]
            come = [entry + size if entry // size % 2 == 0 else WIDTH + entry - size for entry in range(WIDTH)]
            vectors = [
                builder.fadd(mixed(builder, x, y, stay), mixed(builder, x, y, come))
                for x, y in zip(vectors[::2], vectors[1::2], strict=True)
            ]
        return vectors[0]

    return EIGHT(a, b, c, d, e, f, g, h), generate


@intrinsic
def _turned(context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:  # noqa: ARG001
    columns = types.UniTuple(EIGHT, WIDTH)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        vectors = list(arguments)
        for size in (4, 2, 1):  # halves of two vectors change places, then quarters, then entries
            stay = [entry if entry // size % 2 == 0 else WIDTH + entry - size for entry in range(WIDTH)]
            come = [entry + size if entry // size % 2 == 0 else WIDTH + entry for entry in range(WIDTH)]
            for first in (row for row in range(WIDTH) if row // size % 2 == 0):
                x, y = vectors[first], vectors[first + size]
                vectors[first], vectors[first + size] = mixed(builder, x, y, stay), mixed(builder, x, y, come)
        return context.make_tuple(builder, columns, vectors)

    return columns(a, b, c, d, e, f, g, h), generate


@intrinsic
def _four_of(context: Any, x: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return spread(builder, arguments[0], FOUR)

    return _four(types.float64), generate


@intrinsic
def _four_at(context: Any, a: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = place_of(context, builder, signature.args[0], arguments[0], [arguments[1]], FOUR)
        return as_double(builder, builder.load(place, align=signature.args[0].dtype.bitwidth // 8))

    return _four(a, i), generate


@intrinsic
def _put_four(context: Any, a: Any, i: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = place_of(context, builder, signature.args[0], arguments[0], [arguments[1]], FOUR)
        builder.store(arguments[2], place, align=8)
        return context.get_dummy_value()

    return types.void(a, i, v), generate


@intrinsic
def _one_of(context: Any, v: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.extract_element(arguments[0], builder.trunc(arguments[1], INTEGER))

    return types.float64(v, types.int64), generate


def _operator(instruction: str, function: Any) -> None:
    """Let compiled code write ``a + b`` and the like of two vectors."""

    @intrinsic
    def of_vectors(context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            return getattr(builder, instruction)(*arguments)

        return a(a, b), generate

    @inlined(function)
    def of_two(a, b):
        if isinstance(a, _Vector) and isinstance(b, _Vector) and a.width == b.width:
            return lambda a, b: of_vectors(a, b)  # type: ignore[call-arg] # noqa: PLW0108
        return None


for _instruction, _function in (("fadd", operator.add), ("fsub", operator.sub), ("fmul", operator.mul)):
    _operator(_instruction, _function)


@inlined(entries)
def _entries(X, i, j, columns=0):  # noqa: ARG001
    def whole_or_some(X, i, j, columns=0):
        left = (columns if columns > 0 else X.shape[1]) - j
        return _whole(X, i, j) if left >= WIDTH else _some(X, i, j, left)  # type: ignore[call-arg]

    return whole_or_some


@inlined(eight)
def _eight_of(a, j):  # noqa: ARG001
    return lambda a, j: _at(a, j)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(put)
def _put_there(a, j, v):  # noqa: ARG001
    return lambda a, j, v: _put(a, j, v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(fused)
def _fused_of(a, b, c):  # noqa: ARG001
    return lambda a, b, c: _fused(a, b, c)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(all_of)
def _all(x):  # noqa: ARG001
    return lambda x: _all_of(x)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(roots_of)
def _roots(v):  # noqa: ARG001
    return lambda v: _roots_of(v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(sum_of)
def _sum(v):  # noqa: ARG001
    return lambda v: _sum_of(v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(four_of)
def _four_times(x):  # noqa: ARG001
    return lambda x: _four_of(x)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(four)
def _four_of_vector(a, i):  # noqa: ARG001
    return lambda a, i: _four_at(a, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(put_four)
def _put_four_there(a, i, v):  # noqa: ARG001
    return lambda a, i, v: _put_four(a, i, v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(one_of)
def _one(v, i):  # noqa: ARG001
    return lambda v, i: _one_of(v, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(sums_of)
def _sums(a, b, c, e):  # noqa: ARG001
    return lambda a, b, c, e: _sums_of(a, b, c, e)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@inlined(turned)
def _to_columns(a, b, c, d, e, f, g, h):  # noqa: ARG001
    return lambda a, b, c, d, e, f, g, h: _turned(a, b, c, d, e, f, g, h)  # type: ignore[call-arg] # noqa: PLW0108


@inlined(sums_of_eight)
def _sums_eight(a, b, c, d, e, f, g, h):  # noqa: ARG001
    return lambda a, b, c, d, e, f, g, h: _sums_of_eight(a, b, c, d, e, f, g, h)  # type: ignore[call-arg] # noqa: PLW0108
