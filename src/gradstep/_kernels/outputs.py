"""Sums over rows of several outputs: a block of rows times weights, and what that leads to times the rows, by tiles.

They are those of one output, `gradstep._kernels.squares` and `gradstep._kernels.lanes`, on matrices.
"""

from functools import partial

from numba import uint64

from gradstep._kernels.blocks import add_block, block_of, fill_block, score_block, width_of
from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.simd import WIDTH, aligned, all_of, eight, entries, fused, put
from gradstep._kernels.squares import SHORT

_AHEAD = 16384  # bytes between asking for a row and reading it

_called = partial(compilable, fastmath=False, error_model="numpy")


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
    rows, stride = block_of(X)
    wide = width_of(k)
    held = aligned(rows * stride), aligned(rows * wide), aligned(high.size), aligned(3 * wide)
    block, z, total = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
    none, by_level = borrowed(held[3][:wide]), borrowed(held[3][wide : 2 * wide])
    squares = borrowed(held[3][2 * wide :])
    X, y, weight, w, scale, minus = (
        borrowed(X), borrowed(y), borrowed(weight), borrowed(w), borrowed(scale), borrowed(minus)
    )  # fmt: skip
    level, rest, y_scale = borrowed(level), borrowed(rest), borrowed(y_scale)
    ahead = _AHEAD // max(1, d * X.itemsize) + 1
    for begin in range(start, stop, SHORT):
        end = min(begin + SHORT, stop)
        total[:] = 0.0
        by_level[:] = 0.0
        squares[:] = 0.0
        for first in range(begin, end, rows):
            count = min(rows, end - first)
            fill_block(X, weight, first, count, scale, minus, block, stride, ahead)
            score_block(block, stride, count, d, w, k, none, z)
            _residuals(y, weight, first, count, level, rest, y_scale, z, by_level, squares)
            add_block(block, stride, count, d, z, k, total)
        _lost(high, low, total)
        _lost(sums[0], sums[1], by_level)
        for c in range(wide):
            sums[2, c] += squares[c]
    keep(held)


@_called
def _add_rows(X, weight, start, stop, ahead, scale, minus, p, level, k, block, z, total, by_level):
    """Add ``v (x p + level) x`` of rows `start` to `stop` to `total`, ``v (x p + level)`` to `by_level`."""
    d, wide = X.shape[1], width_of(k)
    rows, stride = block_of(X)
    for first in range(start, stop, rows):
        count = min(rows, stop - first)
        fill_block(X, weight, first, count, scale, minus, block, stride, ahead)
        score_block(block, stride, count, d, p, k, level, z)
        for t in range(count):
            v = weight[0] if weight.size == 1 else weight[uint64(first + t)]
            for c in range(0, wide, WIDTH):
                at, j = uint64(t * wide + c), uint64(c)
                of_row = eight(z, at) * all_of(v)
                put(z, at, of_row)
                put(by_level, j, eight(by_level, j) + of_row)
        add_block(block, stride, count, d, z, k, total)


@kernel
def curvature(X, weight, start, stop, scale, minus, p, level, k, total, by_level):
    """Set ``total`` and ``by_level``, rows of k, to ``sum_i v_i [x_i, 1] (x_i p + level)`` of some rows."""
    rows, stride = block_of(X)
    held = aligned(rows * stride), aligned(rows * width_of(k))
    block, z = borrowed(held[0]), borrowed(held[1])
    X, weight, scale, minus, p, level = (
        borrowed(X), borrowed(weight), borrowed(scale), borrowed(minus), borrowed(p), borrowed(level)
    )  # fmt: skip
    total, by_level = borrowed(total), borrowed(by_level)
    total[:] = 0.0
    by_level[:] = 0.0
    ahead = _AHEAD // max(1, X.shape[1] * X.itemsize) + 1
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
    rows, stride = block_of(X)
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
