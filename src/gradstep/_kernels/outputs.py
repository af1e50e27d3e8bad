"""Sums over rows of several outputs: a block of rows times weights, and what that leads to times the rows, by tiles.

Rows are brought to float64 once, scaled and centred, into a block that stays in the second cache; then each is a
product of matrices whose tiles of eight by up to 24 entries stay in registers (`gradstep._kernels.tiles`). Matrices
have rows of `width_of` outputs, zeros behind the last; of up to four outputs half a vector is computed.
"""

from functools import partial
from typing import Any

from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch
from gradstep._kernels.simd import FOUR, WIDTH, aligned, all_of, eight, entries, fused, put
from gradstep._kernels.squares import SHORT
from gradstep._kernels.tiles import add_narrow_tile, add_tiles

_ROWS, _CELLS = 64, 8192  # of a block at most: more would not stay in the cache beside the sums
_AHEAD = 16384  # bytes between asking for a row and reading it

_called = partial(compilable, fastmath=False, error_model="numpy")


@_called
def width_of(k):
    """Return how many numbers a row of k outputs has: whole vectors."""
    return -(-k // WIDTH) * WIDTH


def in_rows(A: Any) -> Any:
    """Return a matrix (rows, outputs) in rows of whole vectors, zeros behind, one row after the other."""
    out = aligned(len(A) * width_of(A.shape[1]))
    out.reshape(len(A), -1)[:, : A.shape[1]] = A
    return out


@_called
def _block_of(X):
    """Return how many rows a block has, and how many entries apart they are: not by a power of two."""
    wide = -(-X.shape[1] // WIDTH) * WIDTH
    return max(WIDTH, min(_ROWS, _CELLS // wide // WIDTH * WIDTH)), wide + WIDTH


@_called
def _fill(X, weight, first, count, scale, minus, block, stride, ahead):
    """Write scaled rows to a block, zeros for those of weight zero and behind the last up to a multiple of eight."""
    d = X.shape[1]
    zero = all_of(0.0)
    for t in range(-(-count // WIDTH) * WIDTH):
        i, to = uint64(first + t), uint64(t * stride)
        prefetch(X, uint64(first + t + ahead))
        real = t < count and (weight.size == 1 or weight[i] > 0.0)
        for j in range(0, d, WIDTH):
            at = uint64(j)
            put(block, to + at, fused(entries(X, i, at), eight(scale, at), eight(minus, at)) if real else zero)


@_called
def _score(block, stride, count, d, weights, k, level, z):
    """Set the rows of `z` to level and the products of the block with weights."""
    wide = width_of(k)
    for t in range(-(-count // WIDTH) * WIDTH):
        for c in range(0, wide, WIDTH):
            put(z, uint64(t * wide + c), eight(level, uint64(c)))
    across, one, eights, none = uint64(wide), uint64(1), uint64(WIDTH), uint64(0)
    for t in range(0, count, WIDTH):
        places = (
            uint64(t * stride), one, uint64(stride), none, across, eights, uint64(t * wide), across, eights, uint64(d)
        )  # fmt: skip
        if k <= FOUR:
            add_narrow_tile(block, weights, z, places)
        else:
            add_tiles(block, weights, z, places, wide // WIDTH)


@_called
def _add(block, stride, count, d, z, k, total):
    """Add the columns of the block times the rows of `z` to `total`."""
    wide = width_of(k)
    across, one, eights, none = uint64(wide), uint64(1), uint64(WIDTH), uint64(0)
    for j in range(0, d, WIDTH):
        places = (
            uint64(j), uint64(stride), one, none, across, eights, uint64(j * wide), across, eights, uint64(count)
        )  # fmt: skip
        if k <= FOUR:
            add_narrow_tile(block, z, total, places)
        else:
            add_tiles(block, z, total, places, wide // WIDTH)


@_called
def _residuals(y, weight, first, count, level, rest, y_scale, z, by_level, squares):
    """Make scores ``v r``, in place, and add the sums of ``v r`` and ``v r**2``."""
    wide = width_of(y.shape[1])
    for t in range(count):
        i = uint64(first + t)
        v = 1.0 if weight.size == 1 else weight[i]
        for c in range(0, wide, WIDTH):
            at, j = uint64(t * wide + c), uint64(c)
            if v > 0.0:
                r = (entries(y, i, j) * eight(y_scale, j) - eight(level, j)) - (eight(rest, j) + eight(z, at))
                of_row = r * all_of(v)
                put(z, at, of_row)
                put(by_level, j, eight(by_level, j) + of_row)
                put(squares, j, fused(of_row, r, eight(squares, j)))
            else:  # a row of weight zero is no row, whatever stands in it
                put(z, at, all_of(0.0))


@_called
def _lost(high, low, part):
    """Add `part` to `high`, and what rounding takes from it to `low`."""
    for at in range(0, part.size, WIDTH):
        a = uint64(at)
        before, more = eight(high, a), eight(part, a)
        after = before + more
        of_part = after - before
        put(low, a, eight(low, a) + ((before - (after - of_part)) + (more - of_part)))
        put(high, a, after)


@kernel
def gradient(X, y, weight, start, stop, scale, minus, w, level, rest, y_scale, high, low, sums):
    """Do what `gradstep._kernels.squares.gradient_kernel` does, of several outputs.

    ``w``, ``high`` and ``low`` are rows of outputs, a row a column; ``level``, ``rest`` and ``y_scale`` one such row,
    ``sums`` three.
    """
    d, k = X.shape[1], y.shape[1]
    rows, stride = _block_of(X)
    wide = width_of(k)
    held = aligned(rows * stride), aligned(rows * wide), aligned(high.size), aligned(3 * wide)
    block, z, total = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
    none, by_level = borrowed(held[3][:wide]), borrowed(held[3][wide : 2 * wide])
    squares = borrowed(held[3][2 * wide :])
    X, y, weight, w, scale, minus = (
        borrowed(X), borrowed(y), borrowed(weight), borrowed(w), borrowed(scale), borrowed(minus)
    )  # fmt: skip
    level, rest, y_scale = borrowed(level), borrowed(rest), borrowed(y_scale)
    ahead = _AHEAD // (d * X.itemsize) + 1
    for begin in range(start, stop, SHORT):
        end = min(begin + SHORT, stop)
        total[:] = 0.0
        by_level[:] = 0.0
        squares[:] = 0.0
        for first in range(begin, end, rows):
            count = min(rows, end - first)
            _fill(X, weight, first, count, scale, minus, block, stride, ahead)
            _score(block, stride, count, d, w, k, none, z)
            _residuals(y, weight, first, count, level, rest, y_scale, z, by_level, squares)
            _add(block, stride, count, d, z, k, total)
        _lost(high, low, total)
        _lost(sums[0], sums[1], by_level)
        for c in range(wide):
            sums[2, c] += squares[c]
    keep(held)


@_called
def _add_rows(X, weight, start, stop, ahead, scale, minus, p, level, k, block, z, total, by_level):
    """Add ``v (x p + level) x`` of rows `start` to `stop` to `total`, ``v (x p + level)`` to `by_level`."""
    d, wide = X.shape[1], width_of(k)
    rows, stride = _block_of(X)
    for first in range(start, stop, rows):
        count = min(rows, stop - first)
        _fill(X, weight, first, count, scale, minus, block, stride, ahead)
        _score(block, stride, count, d, p, k, level, z)
        for t in range(count):
            v = weight[0] if weight.size == 1 else weight[uint64(first + t)]
            for c in range(0, wide, WIDTH):
                at, j = uint64(t * wide + c), uint64(c)
                of_row = eight(z, at) * all_of(v)
                put(z, at, of_row)
                put(by_level, j, eight(by_level, j) + of_row)
        _add(block, stride, count, d, z, k, total)


@kernel
def curvature(X, weight, start, stop, scale, minus, p, level, k, total, by_level):
    """Set ``total`` and ``by_level``, rows of k, to ``sum_i v_i [x_i, 1] (x_i p + level)`` of some rows."""
    rows, stride = _block_of(X)
    held = aligned(rows * stride), aligned(rows * width_of(k))
    block, z = borrowed(held[0]), borrowed(held[1])
    X, weight, scale, minus, p, level = (
        borrowed(X), borrowed(weight), borrowed(scale), borrowed(minus), borrowed(p), borrowed(level)
    )  # fmt: skip
    total, by_level = borrowed(total), borrowed(by_level)
    total[:] = 0.0
    by_level[:] = 0.0
    ahead = _AHEAD // (X.shape[1] * X.itemsize) + 1
    _add_rows(X, weight, start, stop, ahead, scale, minus, p, level, k, block, z, total, by_level)
    keep(held)


@_called
def _times(T, q, wide, p):
    """Set the rows of p to ``T q``."""
    d, r = T.shape
    for j in range(d):
        for c in range(0, wide, WIDTH):
            found = all_of(0.0)
            for a in range(r):
                found = fused(all_of(T[uint64(j), uint64(a)]), eight(q, uint64(a * wide + c)), found)
            put(p, uint64(j * wide + c), found)


@_called
def _times_back(T, u, share, wide, q):
    """Add ``share T' u`` to the rows of q."""
    d, r = T.shape
    for j in range(d):
        for c in range(0, wide, WIDTH):
            of_column = eight(u, uint64(j * wide + c)) * all_of(share)
            for a in range(r):
                at = uint64(a * wide + c)
                put(q, at, fused(all_of(T[uint64(j), uint64(a)]), of_column, eight(q, at)))


@kernel
def lane(X, weight, chunks, run, batches, scale, minus, T, level, fixed, slope, lanes, rate, k, out):
    """Do what `gradstep._kernels.lanes.lane` does for k outputs: ``slope`` and ``out`` are r + 1 rows of outputs."""
    n, d = X.shape
    r, wide = T.shape[1], width_of(k)
    rows, stride = _block_of(X)
    held = aligned(rows * stride), aligned(rows * wide), aligned(d * wide), aligned(stride * wide), aligned(2 * wide)
    block, z, p, total = borrowed(held[0]), borrowed(held[1]), borrowed(held[2]), borrowed(held[3])
    by_level, at_level = borrowed(held[4][:wide]), borrowed(held[4][wide:])
    X, weight, T, chunks, scale, minus = (
        borrowed(X), borrowed(weight), borrowed(T), borrowed(chunks), borrowed(scale), borrowed(minus)
    )  # fmt: skip
    points = -slope, aligned(slope.size), aligned(slope.size)
    q, step, mean = borrowed(points[0]), borrowed(points[1]), borrowed(points[2])
    share, last = float(lanes * (batches.size - 1)), r * wide
    for t in range(batches.size - 1):
        for a in range(q.size):
            mean[a] += q[a]
            step[a] = slope[a]
        _times(T, q, wide, p)
        for c in range(wide):
            at_level[c] = level * q[last + c]
        total[:] = 0.0
        by_level[:] = 0.0
        for s in range(batches[t], batches[t + 1]):
            first = chunks[s] * run
            ahead = chunks[min(s + 1, chunks.size - 1)] * run - first
            _add_rows(
                X, weight, first, min(first + run, n), ahead, scale, minus, p, at_level, k, block, z, total, by_level
            )
        _times_back(T, total, share, wide, step)
        for c in range(wide):
            step[last + c] += level * by_level[c] * share
        if fixed.size > 0:
            for a in range(r + 1):
                for b in range(r + 1):
                    for c in range(wide):
                        step[b * wide + c] += fixed[a, b] * q[a * wide + c]
        for a in range(q.size):
            q[a] -= rate * step[a]
    for a in range(q.size):
        out[a] = (mean[a] + (q[a] + slope[a]) / rate) / (batches.size - 1)
    keep(held)
    keep(points)
