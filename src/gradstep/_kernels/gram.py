"""Gram matrices of scaled rows, which never leave the cache.

Rows are scaled into a block of `ROWS` and eight columns a panel, one after the other, and the panels multiplied by
tiles of eight by 24 entries of the matrix, which stay in registers: 24 sums, a load of 8 bytes for 3 of the products
(K. Goto and R. A. van de Geijn, Anatomy of high-performance matrix multiplication, *ACM Transactions on Mathematical
Software* 34 (2008) 12). Meanwhile they ask for the next block, a few bytes each turn: asked for all at once, while
rows are scaled, it keeps the tiles waiting. Up to twelve columns have a kernel of their own, in `few_columns`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numba import uint64

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import LINE, prefetch, prefetch_line
from gradstep._kernels.simd import WIDTH, aligned, all_of, eight, entries, fused, put, sum_of
from gradstep._kernels.tiles import add_tiles

ROWS = 64  # of a block: it stays in the second cache up to 1000 columns, four panels of it in the first
_AHEAD = 2 * ROWS  # rows between asking for one and reading it
_SHORT = 64  # columns: a block's rows stay in the first cache while all of them are scaled, eight columns at a time
PANEL = (ROWS + 1) * WIDTH  # entries, by one row more than there is: panels 4096 bytes apart would share cache lines
_called = partial(compilable, fastmath=False, error_model="numpy")


def in_panels(T: Any) -> Any:
    """Return a matrix (d, r) as panels of eight columns, one after the other."""
    d, r = T.shape
    wide = np.zeros((d, -(-r // WIDTH) * WIDTH))
    wide[:, :r] = T
    return np.ascontiguousarray(wide.reshape(d, -1, WIDTH).transpose(1, 0, 2)).reshape(-1)


@_called
def _fill(X, weight, first, last, scale, minus, out, down, across, roots, asks):
    """Write scaled rows to a block: vectors of a row `across` entries apart, rows `down`; zeros beyond the last.

    With `asks` those of the block after the next are asked for.
    """
    stride, d = uint64(0 if weight.size == 1 else 1), X.shape[1]
    if d <= _SHORT and first + ROWS <= last and weight.size == 1 and weight[0] == 1.0:
        for j in range(0, d, WIDTH):
            k, to = uint64(j), uint64(j // WIDTH) * across
            s, m = eight(scale, k), eight(minus, k)
            for row in range(uint64(first), uint64(last)):
                if asks:
                    prefetch_line(X, row + uint64(_AHEAD), k)
                put(out, to, fused(entries(X, row, k), s, m))
                to += down
        roots[:] = 1.0
        return
    zero = all_of(0.0)
    v, root, roots_of = 0.0, 0.0, zero
    for t in range(ROWS):
        i = uint64(first) + uint64(t)
        if asks:
            prefetch(X, i + uint64(_AHEAD))
        to = uint64(t) * down
        own = weight[i * stride] if first + t < last else 0.0
        if own != v:  # most often it is that of the row before
            v, root = own, math.sqrt(own)
            roots_of = all_of(root)
        roots[t] = root
        if v == 1.0:
            for j in range(0, d, WIDTH):
                k = uint64(j)
                put(out, to, fused(entries(X, i, k), eight(scale, k), eight(minus, k)))
                to += across
        elif v > 0.0:
            for j in range(0, d, WIDTH):
                k = uint64(j)
                put(out, to, fused(roots_of, fused(entries(X, i, k), eight(scale, k), eight(minus, k)), zero))
                to += across
        else:
            for _ in range(0, d, WIDTH):
                put(out, to, zero)
                to += across


@_called
def _fill_rest(y, first, last, y_scale, y_centre, roots, columns, panels):
    """Write the responses and the roots of the weights behind so many columns of the panels."""
    for c in range(y.shape[1]):
        column = columns + c
        to, scale, centre = uint64((column // WIDTH) * PANEL + column % WIDTH), y_scale[c], y_centre[c]
        for row in range(uint64(first), uint64(last)):
            root = roots[row - uint64(first)]
            panels[to] = root * (y[row, uint64(c)] * scale - centre) if root > 0.0 else 0.0
            to += uint64(WIDTH)
        for _ in range(last - first, ROWS):
            panels[to] = 0.0
            to += uint64(WIDTH)
    column = columns + y.shape[1]
    to = uint64((column // WIDTH) * PANEL + column % WIDTH)
    for t in range(ROWS):
        panels[to] = roots[t]
        to += uint64(WIDTH)


@_called
def _heavy(panels, limit):
    """Whether the squares of all rows together are above a limit, or no numbers."""
    a = all_of(0.0)
    b, c, d = a, a, a
    for first in range(0, panels.size, PANEL):
        for at in range(first, first + ROWS * WIDTH, 4 * WIDTH):
            j = uint64(at)
            p, q = eight(panels, j), eight(panels, j + uint64(WIDTH))
            r, s = eight(panels, j + uint64(2 * WIDTH)), eight(panels, j + uint64(3 * WIDTH))
            a, b, c, d = fused(p, p, a), fused(q, q, b), fused(r, r, c), fused(s, s, d)
    return not (sum_of(a) + sum_of(b)) + (sum_of(c) + sum_of(d)) <= limit


@_called
def _set_apart(panels, first, limit, heavy, found):
    """Note the numbers of rows whose square is above a limit, take them out of the panels, and return how many."""
    zero = all_of(0.0)
    for t in range(ROWS):
        square = zero
        for at in range(t * WIDTH, panels.size, PANEL):
            v = eight(panels, uint64(at))
            square = fused(v, v, square)
        if found < heavy.size and sum_of(square) > limit:
            heavy[found] = first + t
            found += 1
            for at in range(t * WIDTH, panels.size, PANEL):
                put(panels, uint64(at), zero)
    return found


@kernel
def add_gram(X, y, weight, start, stop, scale, minus, y_scale, y_centre, T, columns, limit, total, rest, heavy, found):
    """Add ``A' A`` of rows `start` to `stop` to `total`, and what rounding takes from that sum to `rest`.

    A row of A is ``root(v) [x * scale + minus, y * y_scale - y_centre, 1]``, its columns times ``T`` if that is not
    empty: panels of eight of its `columns`, (d, 8) each, one after the other. All vectors are padded; `total` and
    `rest` (m, m) are so too, and hold entries from the diagonal on; an empty `rest` holds none. The numbers of rows
    whose square is above `limit` are put into `heavy` behind the ``found[0]`` that are there, as long as there is room,
    and their products left out.
    """
    vectors, d, wide = total.shape[0] // WIDTH, uint64(X.shape[1]), uint64(scale.size)
    panel, size, one, eights = uint64(PANEL), uint64(total.shape[0]), uint64(1), uint64(WIDTH)
    used = columns + y.shape[1] + 1
    panels, sums, roots = aligned(vectors * PANEL), aligned(total.size), aligned(ROWS)
    by_T = aligned(ROWS * scale.size if T.size > 0 else 0)  # rows that are to be multiplied by T
    row_bytes, turns = X.shape[1] * X.itemsize, 0
    for a in range(vectors):
        turns += (vectors - a + 2) // 3 * ROWS
    ask, bytes_a_turn = np.zeros(2, dtype=np.int64), ROWS * row_bytes // turns + 1
    # Of X far wider than T the tiles are too few to ask for each line.
    asks = bytes_a_turn > LINE
    for first in range(start, stop, ROWS):
        last = min(first + ROWS, stop)
        if T.size > 0:
            _fill(X, weight, first, last, scale, minus, by_T, wide, eights, roots, asks)
            panels[:] = 0.0
            for t in range(0, ROWS, WIDTH):
                row, to = uint64(t) * wide, uint64(t) * eights
                places = (row, one, wide, uint64(0), eights, d * eights, to, eights, panel, d)
                add_tiles(by_T, T, panels, places, (columns + WIDTH - 1) // WIDTH, None)
        else:
            _fill(X, weight, first, last, scale, minus, panels, eights, panel, roots, asks)
        _fill_rest(y, first, last, y_scale, y_centre, roots, columns, panels)
        if limit < np.inf and _heavy(panels, limit):
            found[0] = _set_apart(panels, first, limit, heavy, found[0])
        ask[0], ask[1] = X.ctypes.data + last * row_bytes, 0 if asks or last == stop else bytes_a_turn
        for a in range(vectors):
            of, to = uint64(a) * panel, uint64(a) * eights * (size + one)
            places = (of, eights, one, of, eights, panel, to, size, eights, uint64(ROWS))
            add_tiles(panels, panels, sums, places, vectors - a if used - a * WIDTH > 4 else 0, ask)
    to, errors, added = total.reshape(-1), rest.reshape(-1), sums.reshape(-1)
    for row in range(uint64(total.shape[0])):
        for at in range(row * size + row // eights * eights, row * size + size, eights):
            before, more = eight(to, at), eight(added, at)
            after = before + more
            part = after - before
            if rest.size > 0:
                put(errors, at, eight(errors, at) + ((before - (after - part)) + (more - part)))
            put(to, at, after)
