"""The CPU kernel: a run of rows of one epoch of minibatch SGD, in one read of the rows."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import njit, uint64
from numba.extending import register_jitable
from numpy.typing import NDArray

# Sums over the columns of a row may be reordered, which vectorises them. "ninf" and "nnan" stay out: with them a
# compiled `isnan` is always false.
_FAST = {"reassoc", "contract", "arcp", "nsz"}

# `forceinline` and the error model without exceptions take the cost of a batch from 75 to 25 ns at d = 2, and the
# unsigned row numbers (no check for a negative index, so the row loop keeps more loads in flight) take a shuffled
# epoch of ten columns from 1.4 to 1.1 times a bare loop's time: `asv_bench/figures.py` measures both.
_sums = register_jitable(fastmath=_FAST, forceinline=True, error_model="numpy")
_exact = register_jitable(fastmath=False, forceinline=True, error_model="numpy")

Formula = Callable[..., float]
Kernel = Callable[..., None]


def place(*arrays: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    """Return the arrays where the kernels read them: here, as they are."""
    return arrays


@njit(nogil=True, error_model="numpy")
def shuffle_in(order, start, draws):  # type: ignore[no-untyped-def]
    """Put numbers `start`, `start` + 1, ... at random places among those before them in `order`, one for each draw.

    `draws` are uniform in [0, 1). From 0 to n in any number of calls it makes each order of n numbers equally likely:
    Knuth, *The Art of Computer Programming* 2, 3rd edition 1997, section 3.4.2, in its inside-out form.
    """
    for t in range(draws.size):
        i = start + t
        j = uint64(draws[t] * (i + 1))
        order[uint64(i)] = order[j]
        order[j] = i


@lru_cache(maxsize=64)
def penalty_kernel(value: Formula) -> Callable[..., float]:
    """Return the compiled sum of a penalty over coefficients, called with them and the penalty's parameters."""

    @njit(nogil=True, error_model="numpy")
    def total(w, p):  # type: ignore[no-untyped-def]
        penalty = 0.0
        for coefficient in w:
            penalty += value(coefficient, p)
        return penalty

    return total


@lru_cache(maxsize=64)
def epoch_kernel(value: Formula, slope: Formula, prox: Formula, several: bool) -> Kernel:
    """Return the compiled epoch for a loss's formulas and a penalty's, for one output or for several.

    The kernel is called as::

        epoch(X, y, weight, order, start, stop, batch, rate, intercept, w, total, loss_sum, p, q)

    It reads rows ``start`` to ``stop`` of the epoch's order and takes a step each time a batch is full or the table
    ends, so that an epoch may be cut into calls anywhere without changing a bit.

    ``X`` is (n, d); ``y`` and ``w`` are (n,) and (d + 1,), or (n, k) and (d + 1, k) for several outputs, the
    intercept last in ``w``; ``weight`` has mean 1, or is one 1 for all rows; ``order`` holds the row numbers of
    ``start`` to ``stop``, or nothing for the rows as they stand; ``total``, shaped like ``w``, is the gradient's sum
    over the running batch, and ``loss_sum``, an entry an output, the sum of the losses met, each before its batch's
    step.

    With ``rate`` 0 and ``batch`` n it is the full gradient and the loss in one read.
    """
    add = _adds_rows_of_several_outputs(value, slope) if several else _adds_rows(value, slope)
    take_step = _takes_steps(prox)

    @njit(nogil=True, error_model="numpy")
    def epoch(X, y, weight, order, start, stop, batch, rate, intercept, w, total, loss_sum, p, q):  # type: ignore[no-untyped-def]
        n, d = X.shape
        flat = w.reshape(w.size)
        flat_total = total.reshape(total.size)
        coefs = d * (flat.size // (d + 1))
        size = flat.size if intercept else coefs
        full = 1.0 / batch
        row = start
        first = start - start % batch
        while row < stop:
            last = min(first + batch, n)
            end = min(last, stop)
            if row == first:
                flat_total[:] = 0.0
            add(X, y, weight, order, start, row, end, w, total, loss_sum, p)
            if end == last:
                share = full if last - first == batch else 1.0 / (last - first)
                take_step(flat, flat_total, share, rate, coefs, size, q)
                first = last
            row = end

    return epoch


def _adds_rows(value: Formula, slope: Formula) -> Kernel:
    @_sums
    def add_rows(X, y, weight, order, start, first, last, w, total, loss_sum, p):  # type: ignore[no-untyped-def]
        d = X.shape[1]
        stride = uint64(0 if weight.size == 1 else 1)
        shuffled = order.size > 0
        slopes = total[d]
        losses = loss_sum[0]
        for row in range(first, last):
            i = uint64(order[uint64(row - start)]) if shuffled else uint64(row)
            z = w[d]
            for j in range(d):
                z += X[i, j] * w[j]
            v = weight[i * stride]
            losses += v * value(z, y[i], p)
            r = v * slope(z, y[i], p)
            slopes += r
            for j in range(d):
                total[j] += r * X[i, j]
        total[d] = slopes
        loss_sum[0] = losses

    return add_rows


def _adds_rows_of_several_outputs(value: Formula, slope: Formula) -> Kernel:
    @_sums
    def add_rows(X, y, weight, order, start, first, last, w, total, loss_sum, p):  # type: ignore[no-untyped-def]
        d = X.shape[1]
        k = y.shape[1]
        stride = uint64(0 if weight.size == 1 else 1)
        shuffled = order.size > 0
        z = np.empty(k)
        for row in range(first, last):
            i = uint64(order[uint64(row - start)]) if shuffled else uint64(row)
            for c in range(k):
                z[c] = w[d, c]
            for j in range(d):
                x = X[i, j]
                for c in range(k):
                    z[c] += x * w[j, c]
            v = weight[i * stride]
            for c in range(k):
                loss_sum[c] += v * value(z[c], y[i, c], p)
                z[c] = v * slope(z[c], y[i, c], p)
                total[d, c] += z[c]
            for j in range(d):
                x = X[i, j]
                for c in range(k):
                    total[j, c] += x * z[c]

    return add_rows


def _takes_steps(prox: Formula) -> Kernel:
    # Not reordered: `textbook.sgd_step` computes the same two roundings in NumPy, so both give the same bits.
    @_exact
    def take_step(w, total, share, rate, coefs, size, q):  # type: ignore[no-untyped-def]
        for j in range(coefs):
            w[j] = prox(w[j] - rate * (total[j] * share), rate, q)
        for j in range(coefs, size):
            w[j] -= rate * (total[j] * share)

    return take_step
