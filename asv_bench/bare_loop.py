"""Yardsticks: a read of memory, and an epoch of minibatch SGD as one writes it by hand for one data set.

No weights, no loss met on the way, no penalty, no choice of order, no stopping in the middle: what is left is the
arithmetic and the reading of the rows, which nothing general can be expected to beat.
"""

import numpy as np
from numba import njit, uint64

from gradstep._kernels import threads
from gradstep._kernels.prefetch import prefetch
from gradstep._kernels.simd import WIDTH, all_of, eight, entries, sum_of

_PIECES, _AT_ONCE = 64, 4 * WIDTH


def read(*arrays):
    """Add up the bytes of arrays, by all threads: what memory takes without any arithmetic to speak of.

    NumPy's own sums, of floats or of integers, take up to 1.4 times as long. What is left of the last 256 bytes is not
    read.
    """
    flat = [array.reshape(-1).view(np.uint8) for array in arrays]
    whole = [numbers[: numbers.size // 8 * 8].view(np.float64) for numbers in flat]

    def piece(number):
        for numbers in whole:
            turns = numbers.size // _AT_ONCE
            _added(numbers, *(_AT_ONCE * (at * turns // _PIECES) for at in (number, number + 1)))

    threads.each(piece, _PIECES)


def apart(pieces=8, times=20_000):
    """Add up 8 kB again and again, in pieces that share nothing, not even memory: what more threads can gain at all."""
    near = [np.zeros(1024) for _ in range(pieces)]

    def piece(number):
        _added_again(near[number], times)

    threads.each(piece, pieces)


@njit(error_model="numpy", nogil=True)
def _added_again(numbers, times):
    total = 0.0
    for _ in range(times):
        total += _added(numbers, 0, numbers.size)
    return total


@njit(error_model="numpy", nogil=True)
def _added(numbers, start, stop):
    a = all_of(0.0)
    b, c, e = a, a, a
    for first in range(start, stop, _AT_ONCE):
        i = uint64(first)
        a, b = a + eight(numbers, i), b + eight(numbers, i + uint64(WIDTH))
        c, e = c + eight(numbers, i + uint64(2 * WIDTH)), e + eight(numbers, i + uint64(3 * WIDTH))
    return sum_of((a + b) + (c + e))


@njit(fastmath=True)
def in_order(X, y, w, b, batch, step):
    """One epoch over the rows as they stand, `w` changed in place; returns the intercept."""
    n, d = X.shape
    g = np.empty(d)
    for start in range(0, n, batch):
        stop = min(start + batch, n)
        g[:] = 0.0
        g_b = 0.0
        for i in range(start, stop):
            residual = b - y[i]
            for j in range(d):
                residual += X[i, j] * w[j]
            for j in range(d):
                g[j] += residual * X[i, j]
            g_b += residual
        rate = step / (stop - start)
        for j in range(d):
            w[j] -= rate * g[j]
        b -= rate * g_b
    return b


@njit(fastmath=True)
def by_index(X, y, order, w, b, batch, step):
    """One epoch over the rows in the order given, `w` changed in place; returns the intercept."""
    n, d = X.shape
    g = np.empty(d)
    for start in range(0, n, batch):
        stop = min(start + batch, n)
        g[:] = 0.0
        g_b = 0.0
        for i in order[start:stop]:
            residual = b - y[i]
            for j in range(d):
                residual += X[i, j] * w[j]
            for j in range(d):
                g[j] += residual * X[i, j]
            g_b += residual
        rate = step / (stop - start)
        for j in range(d):
            w[j] -= rate * g[j]
        b -= rate * g_b
    return b


@njit(error_model="numpy")
def added_up(X, order, ahead):
    """Return the sum of rows in the order given, each of which asks for the one so many further on."""
    total = all_of(0.0)
    for t in range(order.size):
        prefetch(X, uint64(order[min(t + ahead, order.size - 1)]))
        i = uint64(order[t])
        for j in range(0, X.shape[1], WIDTH):
            total = total + entries(X, i, uint64(j))
    return sum_of(total)
