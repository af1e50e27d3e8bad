"""Products of matrices by tiles of a result, which stay in registers while all their products are added.

Tiles of eight by 24 entries are 24 sums, with a load of 8 bytes for 3 of the products (K. Goto and R. A. van de Geijn,
Anatomy of high-performance matrix multiplication, *ACM Transactions on Mathematical Software* 34 (2008) 12). Meanwhile
a tile can ask for memory that is read later, a few bytes each turn: asked for all at once, as fast as it comes, memory
keeps the tiles waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types, uint64
from numba.core import cgutils
from numba.extending import intrinsic, overload

from gradstep._kernels import simd
from gradstep._kernels.bounds import check
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import ask_for_byte
from gradstep._kernels.simd import WIDTH

_called = partial(compilable, fastmath=False, error_model="numpy")


def _tile(height: int, width: int, wide: int = WIDTH) -> Callable[..., None]:
    """Return what adds products to a tile of `height` rows and `width` vectors of a matrix: ``C += A' B``.

    `places` is a tuple, in entries. Row t of A has its entries, `a_across` apart, at ``a + t
    a_step``; row t of B its vectors, `b_across` apart, at ``b + t b_step``; rows of C are `c_down` apart, its vectors
    `c_across`. Vectors are of `wide` numbers. `ask` is None, or (2,) the address of a byte to ask for at the first turn
    and by how many bytes it grows with each, and afterwards holds where the next tile goes on.
    """

    def tile(A, B, C, places, ask):
        a, a_step, a_across, b, b_step, b_across, c, c_down, c_across, count = places
        of_a = np.lib.stride_tricks.as_strided(A[a:], (count, height), (8 * a_step, 8 * a_across))
        of_b = np.lib.stride_tricks.as_strided(B[b:], (count, width, wide), (8 * b_step, 8 * b_across, 8))
        of_c = np.lib.stride_tricks.as_strided(C[c:], (height, width, wide), (8 * c_down, 8 * c_across, 8))
        for of_row, vectors in zip(of_a, of_b, strict=True):  # one after the other, as in the compiled code
            of_c += of_row[:, np.newaxis, np.newaxis] * vectors
        if ask is not None:
            ask[0] += int(count) * ask[1]

    @intrinsic
    def compiled(context: Any, A: Any, B: Any, C: Any, places: Any, ask: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            made = [context.make_array(kinds[n])(context, builder, arguments[n]) for n in range(3)]
            places, shape = cgutils.unpack_tuple(builder, arguments[3]), (height, width, wide)
            for n, (place, count) in enumerate(_ends(builder, made, places, shape)):
                check(context, builder, kinds[n], made[n], place, count)
            asks = kinds[4] != types.none
            ask = context.make_array(kinds[4])(context, builder, arguments[4]).data if asks else None
            _generate(builder, [array.data for array in made], places, shape, ask)
            return context.get_dummy_value()

        return types.void(A, B, C, places, ask), generate

    @overload(tile, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
    def of_tile(A, B, C, places, ask):  # noqa: ARG001
        return lambda A, B, C, places, ask: compiled(A, B, C, places, ask)  # type: ignore[call-arg] # noqa: PLW0108

    return tile


def _ends(builder: Any, arrays: list[Any], places: Any, shape: tuple[int, int, int]) -> list[tuple[Any, Any]]:
    """Return where the last entry of A and the last vectors of B and C lie, and how many numbers of each are used."""
    (height, width, wide), (a, a_step, a_across, b, b_step, b_across, c, c_down, c_across, count) = shape, places
    some = builder.icmp_signed(">", count, count.type(0))
    last = builder.select(some, builder.sub(count, count.type(1)), count.type(0))

    def end(array: Any, first: Any, down: Any, rows: Any, across: Any, vectors: int) -> Any:
        place = builder.add(builder.mul(down, rows), builder.mul(across, across.type(vectors)))
        return builder.gep(array.data, [builder.add(first, place)])

    def used(numbers: int) -> Any:
        return builder.select(some, count.type(numbers), count.type(0))

    return [
        (end(arrays[0], a, a_step, last, a_across, height - 1), used(1)),
        (end(arrays[1], b, b_step, last, b_across, width - 1), used(wide)),
        (end(arrays[2], c, c_down, count.type(height - 1), c_across, width - 1), count.type(wide)),
    ]


def _generate(builder: Any, arrays: list[Any], places: Any, shape: tuple[int, int, int], ask: Any) -> None:
    (A, B, C), (height, width, wide) = arrays, shape
    a, a_step, a_across, b, b_step, b_across, c, c_down, c_across, count = places

    def place(of: Any, first: Any, stride: Any, number: int) -> Any:
        return builder.gep(of, [builder.add(first, builder.mul(stride, stride.type(number)))])

    def factor(turn: Any, row: int) -> Any:
        return place(A, builder.add(a, builder.mul(turn, a_step)), a_across, row)

    def vector(turn: Any, v: int) -> Any:
        return place(B, builder.add(b, builder.mul(turn, b_step)), b_across, v)

    tile = {
        (row, v): place(C, builder.add(c, builder.mul(c_down, c.type(row))), c_across, v)
        for row in range(height)
        for v in range(width)
    }
    _add_products(builder, count, factor, vector, tile, wide, ask)


def _add_products(
    builder: Any, count: Any, factor: Callable[[Any, int], Any], vector: Callable[[Any, int], Any],
    tile: dict[tuple[int, int], Any], wide: int, ask: Any = None,
) -> None:  # fmt: skip
    """Add to each cell of a tile, `wide` numbers, the products of its row's factor and its vector, turn by turn."""
    kind = ir.VectorType(ir.DoubleType(), wide)

    def whole(place: Any) -> Any:
        return builder.bitcast(place, kind.as_pointer())

    sums = {cell: cgutils.alloca_once(builder, kind) for cell in tile}  # registers, to LLVM
    for cell, place in tile.items():
        builder.store(builder.load(whole(place), align=8), sums[cell])
    if ask is not None:
        bytes_a_turn = builder.load(builder.gep(ask, [count.type(1)]))
        first = builder.load(ask)
        builder.store(builder.add(first, builder.mul(count, bytes_a_turn)), ask)
    with cgutils.for_range(builder, count, intp=count.type) as loop:
        if ask is not None:
            address = builder.add(first, builder.mul(loop.index, bytes_a_turn))
            ask_for_byte(builder, builder.inttoptr(address, ir.IntType(8).as_pointer()))
        vectors = {v: builder.load(whole(vector(loop.index, v)), align=8) for v in sorted({v for _, v in tile})}
        for row in sorted({row for row, _ in tile}):
            spread = simd.spread(builder, builder.load(factor(loop.index, row)), wide)
            for v in (v for at, v in tile if at == row):
                added = [spread, vectors[v], builder.load(sums[row, v])]
                builder.store(simd.call(builder, f"llvm.fma.v{wide}f64", kind, added), sums[row, v])
    for cell, place in tile.items():
        builder.store(builder.load(sums[cell]), whole(place), align=8)


_half, _one, _two, _three = _tile(4, 1), _tile(8, 1), _tile(8, 2), _tile(8, 3)
add_narrow_tile, add_pair = _tile(8, 1, 4), _two
"""Add products to a tile of 8 rows and four numbers of a vector, or two vectors: see `_tile`."""


@_called
def add_tiles(A, B, C, places, vectors, ask):
    """Add products to tiles of 8 rows and so many vectors, see `_tile`; of none, to one of 4 rows and a vector."""
    a, a_step, a_across, b, b_step, b_across, c, c_down, c_across, count = places
    if vectors == 0:
        _half(A, B, C, places, ask)
    while vectors > 0:
        at = (a, a_step, a_across, b, b_step, b_across, c, c_down, c_across, count)
        if vectors == 1:
            _one(A, B, C, at, ask)
        elif vectors == 2:
            _two(A, B, C, at, ask)
        else:
            _three(A, B, C, at, ask)
        b, c = b + uint64(3) * b_across, c + uint64(3) * c_across
        vectors -= 3
