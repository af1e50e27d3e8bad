"""Blocks of rows, times weights of several outputs and into sums over the rows: two products of matrices by tiles.

Rows are brought to float64 once, into a block that stays in the second cache; then each is a product whose tiles of
eight by up to 24 entries stay in registers (`gradstep._kernels.tiles`). Matrices have rows of `width_of` outputs, zeros
behind the last; of up to four outputs half a vector is computed. In the assembly a tile is `vfmadd` with the row's cell
spread from memory.
"""

from functools import partial
from typing import Any

from numba import uint64

from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch
from gradstep._kernels.simd import FOUR, WIDTH, aligned, all_of, eight, entries, fused, put
from gradstep._kernels.tiles import add_narrow_tile, add_tiles

_ROWS, _CELLS = 64, 8192  # of a block at most: more would not stay in the cache beside the sums

_called = partial(compilable, fastmath=False, error_model="numpy")


@_called
def width_of(k: Any) -> Any:
    """Return how many numbers whole vectors have that hold k: a row of outputs, or of a block."""
    return -(-k // WIDTH) * WIDTH


def in_rows(A: Any) -> Any:
    """Return a matrix (rows, outputs) in rows of whole vectors, zeros behind, one row after the other."""
    out = aligned(len(A) * width_of(A.shape[1]))
    out.reshape(len(A), -1)[:, : A.shape[1]] = A
    return out


@_called
def block_of(X):
    """Return how many rows a block has, and how many entries apart they are: not by a power of two."""
    wide = width_of(X.shape[1])
    return max(WIDTH, min(_ROWS, _CELLS // max(1, wide) // WIDTH * WIDTH)), wide + WIDTH


@_called
def fill_block(X, weight, first, count, scale, minus, block, stride, ahead):
    """Write scaled rows to a block, zeros for those of weight zero and behind the last up to a multiple of eight."""
    d = X.shape[1]
    zero = all_of(0.0)
    for t in range(width_of(count)):
        i, to = uint64(first + t), uint64(t * stride)
        prefetch(X, uint64(first + t + ahead))
        real = t < count and (weight.size == 1 or weight[i] > 0.0)
        for j in range(0, d, WIDTH):
            at = uint64(j)
            put(block, to + at, fused(entries(X, i, at), eight(scale, at), eight(minus, at)) if real else zero)


@_called
def take_block(X, order, start, first, count, block, stride, ahead):
    """Write rows of an epoch's order from `start` on to a block as they stand, zeros up to a multiple of eight."""
    d = X.shape[1]
    for t in range(width_of(count)):
        i, to = uint64(first + t), uint64(t * stride)
        if order.size > 0 and t < count:
            i = uint64(order[uint64(first + t - start)])
            prefetch(X, uint64(order[uint64(min(first + t - start + ahead, order.size - 1))]))
        for j in range(0, d, WIDTH):
            at = uint64(j)
            put(block, to + at, entries(X, i, at) if t < count else all_of(0.0))


@_called
def _add_products(A, B, C, places, k):
    """Add products to a tile of eight rows and k outputs: see `gradstep._kernels.tiles`."""
    if k <= FOUR:
        add_narrow_tile(A, B, C, places, None)
    else:
        add_tiles(A, B, C, places, width_of(k) // WIDTH, None)


@_called
def score_block(block, stride, count, d, weights, k, level, z):
    """Set the rows of `z` to level and the products of the block with weights."""
    wide = width_of(k)
    for t in range(width_of(count)):
        for c in range(0, wide, WIDTH):
            put(z, uint64(t * wide + c), eight(level, uint64(c)))
    across, one, eights, none = uint64(wide), uint64(1), uint64(WIDTH), uint64(0)
    for t in range(0, count, WIDTH):
        places = (
            uint64(t * stride), one, uint64(stride), none, across, eights, uint64(t * wide), across, eights, uint64(d)
        )  # fmt: skip
        _add_products(block, weights, z, places, k)


@_called
def add_block(block, stride, count, d, z, k, total):
    """Add the columns of the block times the rows of `z` to `total`."""
    wide = width_of(k)
    across, one, eights, none = uint64(wide), uint64(1), uint64(WIDTH), uint64(0)
    for j in range(0, d, WIDTH):
        places = (
            uint64(j), uint64(stride), one, none, across, eights, uint64(j * wide), across, eights, uint64(count)
        )  # fmt: skip
        _add_products(block, z, total, places, k)
