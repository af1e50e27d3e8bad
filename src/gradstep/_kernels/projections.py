"""Projections of rows: their squares, of random directions of a basis, are about the rows' leverages."""

from numba import uint64

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.simd import WIDTH, aligned, all_of, eight, entries, fused, put, sums_of_eight
from gradstep._kernels.tiles import add_pair

_COLUMNS = 256  # of eight rows at a time: they stay in the nearest cache, once they are scaled
_APART = _COLUMNS + WIDTH  # entries, not by a power of two
SIDE_BY_SIDE = 2 * WIDTH  # projections of a tile


@kernel
def squared_norms(X, weight, start, stop, scale, minus, V, wide, out):
    """Set ``out[start:stop]`` to ``v sum_a ((x * scale + minus) V_a)**2``, of the columns of V.

    Those are `wide`, a multiple of `SIDE_BY_SIDE`, the last of them zeros; V has its rows one after the other. `scale`
    and `minus` are padded.
    """
    last = stop - 1
    block, z = aligned(WIDTH * _APART), aligned(WIDTH * wide)
    none, one, eights, across, apart = uint64(0), uint64(1), uint64(WIDTH), uint64(wide), uint64(_APART)
    for first in range(start, stop, WIDTH):
        z[:] = 0.0
        for begin in range(0, X.shape[1], _COLUMNS):
            end = min(begin + _COLUMNS, X.shape[1])
            for t in range(WIDTH):
                row, to = uint64(min(first + t, last)), uint64(t * _APART)
                for j in range(uint64(begin), uint64(end), eights):
                    put(block, to, fused(entries(X, row, j), eight(scale, j), eight(minus, j)))
                    to += eights
            for c in range(0, wide, SIDE_BY_SIDE):
                to, of, count = uint64(c), uint64(begin) * across + uint64(c), uint64(end - begin)
                add_pair(block, V, z, (none, one, apart, of, across, eights, to, across, eights, count), None)
        put(
            block, none, sums_of_eight(
                _square(z, 0, wide), _square(z, 1, wide), _square(z, 2, wide), _square(z, 3, wide),
                _square(z, 4, wide), _square(z, 5, wide), _square(z, 6, wide), _square(z, 7, wide),
            )
        )  # fmt: skip
        for t in range(min(WIDTH, stop - first)):
            v = weight[0] if weight.size == 1 else weight[first + t]
            out[first + t] = v * block[t] if v > 0.0 else 0.0


def _square(z, t, wide):
    """Return eight sums, of the squares of a row's entries."""
    square = all_of(0.0)
    for c in range(0, wide, WIDTH):
        v = eight(z, uint64(t * wide + c))
        square = fused(v, v, square)
    return square


compilable(_square, fastmath=False, forceinline=True, error_model="numpy")
