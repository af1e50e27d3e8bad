"""Rows of a few columns, eight at a time: their cells, as they lie side by side, dealt to a vector for each column."""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gradstep._kernels.simd import EIGHT, INTEGER, VECTOR, WIDTH, as_double, inlined, mixed, place_of


@cache
def columns_of_eight(d: int) -> Any:
    """Return what takes rows `i` to `i` + 7 of a C-ordered array of up to eight columns as d vectors, one for each.

    Their cells, which lie side by side, are loaded whole and dealt to half of the columns and the other half, those to
    half of them: a vector of entries out of two others is one instruction.
    """

    def columns(X, i):
        return tuple(X[i : i + WIDTH, j].astype(np.float64) for j in range(d))

    @intrinsic
    def compiled(context: Any, X: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            zero = arguments[1].type(0)
            cells_read = ir.IntType(64)(d * WIDTH)
            place = place_of(context, builder, kind, arguments[0], [arguments[1], zero], count=cells_read)
            cells: dict[tuple[int, int], tuple[Any, int]] = {}
            for number in range(d):
                part = builder.load(builder.gep(place, [INTEGER(number)]), align=kind.dtype.bitwidth // 8)
                vector = as_double(builder, part)
                cells |= {divmod(WIDTH * number + entry, d): (vector, entry) for entry in range(WIDTH)}
            return context.make_tuple(builder, signature.return_type, _dealt(builder, cells, list(range(d))))

        return types.UniTuple(EIGHT, d)(X, i), generate

    @inlined(columns)
    def of_columns(X, i):  # noqa: ARG001
        return lambda X, i: compiled(X, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not

    return columns


def _dealt(builder: Any, cells: dict[tuple[int, int], tuple[Any, int]], columns: list[int]) -> list[Any]:
    """Return vectors of some columns out of those that hold these, and perhaps others, of the eight rows."""
    wanted = [(row, column) for row in range(WIDTH) for column in columns]
    dealt: dict[tuple[int, int], tuple[Any, int]] = {}
    for first in range(0, len(wanted), WIDTH):
        some = wanted[first : first + WIDTH]
        vector = _gathered(builder, [cells[cell] for cell in some])
        dealt |= {cell: (vector, entry) for entry, cell in enumerate(some)}
    if len(columns) == 1:
        return [vector]
    half = (len(columns) + 1) // 2
    return [of for part in (columns[:half], columns[half:]) for of in _dealt(builder, dealt, part)]


def _gathered(builder: Any, entries: list[tuple[Any, int]]) -> Any:
    """Return the vector of some entries of others."""
    first, *others = dict.fromkeys(vector for vector, _ in entries)
    numbers = [entry if vector is first else 0 for vector, entry in entries]
    found = first
    for other in others:
        # Those found stay where they are; of the rest some are taken now, others later.
        taken = [WIDTH + entry if vector is other else number
                 for (vector, entry), number in zip(entries, numbers, strict=True)]  # fmt: skip
        found = mixed(builder, found, other, taken)
        numbers = list(range(WIDTH))
    return found if others or numbers == list(range(WIDTH)) else mixed(builder, found, found, numbers)


def put_each(a, j, vectors):
    """Set neighbours in an array of float64 to vectors, one behind the other."""
    for number, vector in enumerate(vectors):
        a[j + WIDTH * number : j + WIDTH * (number + 1)] = vector


@intrinsic
def _put_each(context: Any, a: Any, j: Any, vectors: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        all_vectors = cgutils.unpack_tuple(builder, arguments[2])
        count = ir.IntType(64)(len(all_vectors) * WIDTH)
        place = place_of(context, builder, signature.args[0], arguments[0], [arguments[1]], count=count)
        for number, vector in enumerate(all_vectors):
            builder.store(vector, builder.gep(place, [INTEGER(number)]), align=8)
        return context.get_dummy_value()

    return types.void(a, j, vectors), generate


@inlined(put_each)
def _put_each_there(a, j, vectors):  # noqa: ARG001
    return lambda a, j, vectors: _put_each(a, j, vectors)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@cache
def each_of(count: int) -> Any:
    """Return what takes so many vectors from where `put_each` has put them."""

    def each(a, j):
        return tuple(a[j + WIDTH * number : j + WIDTH * (number + 1)].copy() for number in range(count))

    @intrinsic
    def compiled(context: Any, a: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            entries = ir.IntType(64)(count * WIDTH)
            place = place_of(context, builder, signature.args[0], arguments[0], [arguments[1]], count=entries)
            vectors = [builder.load(builder.gep(place, [INTEGER(number)]), align=8) for number in range(count)]
            return context.make_tuple(builder, signature.return_type, vectors)

        return types.UniTuple(EIGHT, count)(a, j), generate

    @inlined(each)
    def of_each(a, j):  # noqa: ARG001
        return lambda a, j: compiled(a, j)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not

    return each


@cache
def shifted(by: int) -> Any:
    """Return what moves eight numbers so many entries to the front, or to the back, with zeros for what is missing."""

    def moved(v):
        out = np.zeros(WIDTH)
        first, last = max(0, -by), min(WIDTH, WIDTH - by)
        out[first:last] = v[first + by : last + by]
        return out

    @intrinsic
    def compiled(context: Any, v: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            zeros = ir.Constant(VECTOR, [ir.Constant(VECTOR.element, 0.0)] * WIDTH)
            numbers = [entry + by if 0 <= entry + by < WIDTH else WIDTH for entry in range(WIDTH)]
            return mixed(builder, arguments[0], zeros, numbers)

        return EIGHT(EIGHT), generate

    @inlined(moved)
    def of_vector(v):  # noqa: ARG001
        return lambda v: compiled(v)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not

    return moved
