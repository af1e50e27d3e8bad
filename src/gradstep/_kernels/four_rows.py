"""Sums over the columns of four rows at once: what is read for one of them serves the others.

Columns are ``x * scale - centre``, formed in register, so that rows far from zero keep the digits of what tells them
apart. All vectors of columns are padded to eights, ``minus`` is ``-centre``. Of four rows a column's scale, centre and
weight are loaded once in place of four times: in the cache the loop then takes as long as its four multiplications for
each eight cells of a row, about 0.17 ns a cell. In the assembly they are `vfmadd` with their loads folded into them.
"""

from functools import partial

from numba import uint64

from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch
from gradstep._kernels.simd import WIDTH, all_of, eight, entries, fused, put, sum_of

_SHORT, _LONG = 200, 6000  # bytes of a row

_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


@_inlined
def products(X, i, scale, minus, p):
    """Return ``(x * scale - centre) p`` of rows `i` to `i` + 3."""
    a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
    of_a = all_of(0.0)
    of_b, of_c, of_e = of_a, of_a, of_a
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        s, m, q = eight(scale, j), eight(minus, j), eight(p, j)
        of_a = fused(fused(entries(X, a, j), s, m), q, of_a)
        of_b = fused(fused(entries(X, b, j), s, m), q, of_b)
        of_c = fused(fused(entries(X, c, j), s, m), q, of_c)
        of_e = fused(fused(entries(X, e, j), s, m), q, of_e)
    return sum_of(of_a), sum_of(of_b), sum_of(of_c), sum_of(of_e)


@_inlined
def add(X, i, scale, minus, ra, rb, rc, re, total):
    """Add ``r (x * scale - centre)`` of rows `i` to `i` + 3 to `total`."""
    a, b, c, e = uint64(i), uint64(i + 1), uint64(i + 2), uint64(i + 3)
    va, vb, vc, ve = all_of(ra), all_of(rb), all_of(rc), all_of(re)
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        s, m, t = eight(scale, j), eight(minus, j), eight(total, j)
        t = fused(fused(entries(X, a, j), s, m), va, t)
        t = fused(fused(entries(X, b, j), s, m), vb, t)
        t = fused(fused(entries(X, c, j), s, m), vc, t)
        put(total, j, fused(fused(entries(X, e, j), s, m), ve, t))


@_inlined
def product(X, i, scale, minus, p):
    """Return ``(x * scale - centre) p`` of row `i`."""
    row = uint64(i)
    of_row = all_of(0.0)
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        of_row = fused(fused(entries(X, row, j), eight(scale, j), eight(minus, j)), eight(p, j), of_row)
    return sum_of(of_row)


@_inlined
def add_one(X, i, scale, minus, r, total):
    """Add ``r (x * scale - centre)`` of row `i` to `total`."""
    row, v = uint64(i), all_of(r)
    for first in range(0, X.shape[1], WIDTH):
        j = uint64(first)
        put(total, j, fused(fused(entries(X, row, j), eight(scale, j), eight(minus, j)), v, eight(total, j)))


@_inlined
def scores(X, i, scale, minus, p):
    """Return what `products` does, in the order in which memory gives rows quickest.

    Processors foresee what is read in order: rows of some hundred bytes to a page take half the time one after the
    other that they take all at once. Shorter ones come several at once, longer ones are foreseen by themselves.
    """
    if _SHORT <= X.shape[1] * X.itemsize < _LONG:
        a, b = product(X, i, scale, minus, p), product(X, i + 1, scale, minus, p)
        c, e = product(X, i + 2, scale, minus, p), product(X, i + 3, scale, minus, p)
        return a, b, c, e
    return products(X, i, scale, minus, p)


@_inlined
def ask_for(X, i, last):
    """Ask for rows `i` to `i` + 3, or as far as `last`."""
    for row in range(i, i + 4):
        prefetch(X, uint64(min(row, last)))
