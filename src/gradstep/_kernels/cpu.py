"""The CPU kernel: a run of rows of one epoch of minibatch SGD, in one read of the rows."""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from gradstep._kernels.blocks import add_block, block_of, score_block, take_block, width_of
from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import Formula, compilable
from gradstep._kernels.prefetch import prefetch
from gradstep._kernels.products import add_four, add_one, both_of_four, dot_of_one
from gradstep._kernels.simd import FOUR, WIDTH, aligned

# Sums over the columns of a row may be reordered, which vectorises them. "ninf" and "nnan" stay out: with them a
# compiled `isnan` is always false.
SUMS = {"reassoc", "contract", "arcp", "nsz"}

# `forceinline` and the error model without exceptions take the cost of a batch from 75 to 25 ns at d = 2, and the
# unsigned row numbers (no check for a negative index, so the row loop keeps more loads in flight) take a shuffled
# epoch of ten columns from 1.4 to 1.1 times a bare loop's time: `asv_bench/figures.py` measures both.
_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")
_exact = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")

_AHEAD, _AHEAD_BYTES = 4, 8192  # rows between asking for one and reading it, and bytes of them, at least
LONG = 64
"""Columns from which rows of one output are read in fours."""
_LINE = 64  # bytes: shorter rows come with those before them
_HELD = 2 * FOUR  # rows in hand: those that are read and those before them

Kernel = Callable[..., None]

AVERAGING_POWER = 3.0
"""The average of the path weighs its steps by about this power of their number; see `gradstep.sgd`."""


def place(*arrays: NDArray[np.floating]) -> tuple[NDArray[np.floating], ...]:
    """Return the arrays where the kernels read them: here, as they are."""
    return arrays


@kernel
def shuffle_in(order, start, draws):
    """Put numbers `start`, `start` + 1, ... at random places among those before them in `order`, one for each draw.

    `draws` are uniform in [0, 1). From 0 to n in any number of calls it makes each order of n numbers equally likely:
    Knuth, *The Art of Computer Programming* 2, 3rd edition 1997, section 3.4.2, in its inside-out form.
    """
    for t in range(draws.size):
        i = start + t
        j = uint64(draws[t] * (i + 1))
        order[uint64(i)] = order[j]
        order[j] = i


@kernel
def blocks_in(order, first, rows):
    """Set `order` to blocks of so many neighbouring rows, which begin at `first`, without what is beyond the last."""
    n, t = order.size, 0
    for start in first:
        for i in range(start, min(start + rows, n)):
            order[t] = i
            t += 1


@lru_cache(maxsize=64)
def penalty_kernel(value: Formula) -> Callable[..., float]:
    """Return the compiled sum of a penalty over coefficients, called with them and the penalty's parameters."""

    @kernel
    def total(w, p):
        penalty = 0.0
        for coefficient in w:
            penalty += value(coefficient, p)
        return penalty

    return total


@lru_cache(maxsize=64)
def each_kernel(function: Formula, scalars: int) -> Callable[..., NDArray[np.floating]]:
    """Return a formula compiled by itself, called with an array for each of its scalars and its parameters.

    It answers with an array of the type that the formula gives.
    """

    @kernel
    def of_one(first, p):
        out = np.full(first.size, function(first[0], p))
        for i in range(1, first.size):
            out[i] = function(first[i], p)
        return out

    @kernel
    def of_two(first, second, p):
        out = np.full(first.size, function(first[0], second[0], p))
        for i in range(1, first.size):
            out[i] = function(first[i], second[i], p)
        return out

    return of_one if scalars == 1 else of_two


@lru_cache(maxsize=64)
def rates_kernel(rate: Formula) -> Kernel:
    """Return the compiled step sizes of a schedule, called with an array for them, the first `t` and the parameters."""

    @kernel
    def rates(out, first, p):
        for i in range(out.size):
            out[i] = rate(float(first + i), p)

    return rates


@lru_cache(maxsize=64)
def epoch_kernel(
    value: Formula, slope: Formula, prox: Formula, several: bool, long: bool = False
) -> Kernel:  # fmt: skip
    """Return the compiled epoch for a loss's formulas and a penalty's, for one output or for several.

    Of one output, rows that are `long`, of `LONG` columns or more, are read in fours.

    The kernel is called as::

        epoch(X, y, weight, order, start, stop, batch, intercept, momentum, nesterov, averaging, averaged, rates,
              w, last, average, total, loss_sum, p, q)

    It reads rows ``start`` to ``stop`` of the epoch's order and takes a step each time a batch is full or the table
    ends, so that an epoch may be cut into calls anywhere without changing a bit.

    ``X`` is (n, d); ``y`` and ``w`` are (n,) and (d + 1,), or (n, k) and (d + 1, k) for several outputs, the
    intercept last in ``w``; ``weight`` has mean 1, or is one 1 for all rows; ``order`` holds the row numbers of
    ``start`` to ``stop``, or nothing for the rows as they stand; ``rates`` is the step size of each step of the call,
    or one for all; ``averaged`` is the number of steps that the average holds before the call.

    ``w`` is where gradients are taken, ``last`` the coefficients before it (under momentum, see `_steps`), ``average``
    the mean of the path; ``total``, shaped like them, is the gradient's sum over the running batch, and ``loss_sum``,
    an entry an output, the sum of the losses met, each before its batch's step.

    With one rate of 0 and ``batch`` n it is the full gradient and the loss in one read.
    """
    adds = _adds_rows_of_several_outputs if several else _adds_long_rows if long else _adds_rows
    add = adds(value, slope)
    plain_step, heavy_ball_step, nesterov_step = _steps(prox)

    @kernel
    def epoch(
        X, y, weight, order, start, stop, batch, intercept, momentum, nesterov, averaging, averaged, rates,
        w, last, average, total, loss_sum, p, q,
    ):  # fmt: skip
        n, d = X.shape
        k = w.size // (d + 1)
        wide = k if k == 1 else width_of(k)
        flat, flat_last, flat_total, flat_average = (
            _in_vectors(w, k, wide), _in_vectors(last, k, wide), _in_vectors(total, k, wide),
            _in_vectors(average, k, wide),
        )  # fmt: skip
        weights = flat_last if nesterov else flat
        coefs = d * wide
        size = coefs + wide if intercept else coefs
        full = 1.0 / batch
        row = start
        first = start - start % batch
        taken = 0
        rows, stride = block_of(X)
        at, numbers = np.zeros(_HELD, np.int64), aligned(2 * _HELD if k == 1 else rows * (stride + wide))
        while row < stop:
            end_of_batch = min(first + batch, n)
            end = min(end_of_batch, stop)
            if row == first:
                flat_total[:] = 0.0
            add(X, y, weight, order, start, row, end, flat, flat_total, loss_sum, p, at, numbers)
            if end == end_of_batch:
                share = full if end_of_batch - first == batch else 1.0 / (end_of_batch - first)
                rate = rates[taken] if rates.size > 1 else rates[0]
                if momentum == 0.0:
                    plain_step(flat, flat_total, share, rate, coefs, size, q)
                elif nesterov:
                    nesterov_step(flat, flat_last, flat_total, share, rate, momentum, coefs, size, q)
                else:
                    heavy_ball_step(flat, flat_last, flat_total, share, rate, momentum, coefs, size, q)
                taken += 1
                if averaging:
                    _average(flat_average, weights, averaged + taken, size)
                first = end_of_batch
            row = end
        if momentum != 0.0:
            _out_of_vectors(flat_last, wide, last, k)
        if averaging:
            _out_of_vectors(flat_average, wide, average, k)
        _out_of_vectors(flat_total, wide, total, k)
        _out_of_vectors(flat, wide, w, k)  # the last, as what is not used may be the same array

    return epoch


@_exact
def _in_vectors(a, k, wide):
    """Return rows of k numbers as rows of whole vectors, to be added to in eights of rows."""
    out, flat, rows = aligned((a.size // k + WIDTH) * wide), a.reshape(a.size), a.size // k
    for j in range(rows):
        for c in range(k):
            out[j * wide + c] = flat[j * k + c]
    return out


@_exact
def _out_of_vectors(rows, wide, a, k):
    """Set `a` to what `_in_vectors` made of it."""
    flat = a.reshape(a.size)
    for j in range(a.size // k):
        for c in range(k):
            flat[j * k + c] = rows[j * wide + c]


def _adds_rows(value: Formula, slope: Formula) -> Kernel:
    @_sums
    def add_rows(X, y, weight, order, start, first, last, w, total, loss_sum, p, at, numbers):  # noqa: ARG001
        d = X.shape[1]
        stride = uint64(0 if weight.size == 1 else 1)
        shuffled = order.size > 0
        ahead = max(_AHEAD, _AHEAD_BYTES // max(1, d * X.itemsize))
        long = d * X.itemsize >= _LINE
        slopes = total[d]
        losses = loss_sum[0]
        for row in range(first, last):
            i = uint64(row)
            if shuffled:
                i = uint64(order[uint64(row - start)])
                prefetch(X, uint64(order[uint64(min(row - start + ahead, order.size - 1))]))
            elif long:
                prefetch(X, uint64(row + ahead))
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


def _adds_long_rows(value: Formula, slope: Formula) -> Kernel:
    # Not reordered: a row's sums are the same whether it is read with three others or, at the end of a call, alone.
    @_exact
    def add_rows(X, y, weight, order, start, first, last, w, total, loss_sum, p, at, numbers):
        d = X.shape[1]
        stride = uint64(0 if weight.size == 1 else 1)
        in_order = order.size == 0
        ahead = max(_AHEAD, _AHEAD_BYTES // max(1, d * X.itemsize))
        far = ahead > _AHEAD
        slopes = total[d]
        losses = loss_sum[0]
        new, old = 0, FOUR
        for i in range(FOUR):  # four of no weight before the first: at[FOUR:] are numbers of rows, whichever
            numbers[_HELD + FOUR + i] = 0.0
        for row in range(first, last, FOUR):
            count = min(FOUR, last - row)
            for i in range(count):
                number = row + i
                if not in_order:
                    number = order[uint64(number - start)]
                    then = order[uint64(min(row + i + ahead - start, order.size - 1))]
                    if far or then != number + ahead:  # long rows that follow in order are asked for as such
                        prefetch(X, uint64(then))
                at[uint64(new + i)] = number
            if count == FOUR:
                straight = in_order or (not far and at[new + FOUR - 1] - at[new] == FOUR - 1)
                both_of_four(X, at, new, old, w, numbers, total, straight)
            else:
                add_four(X, at, new, old, w, numbers, total, in_order)
                for i in range(new, new + count):
                    dot_of_one(X, at, i, i, w, numbers, total, in_order)
            for s in range(new, new + count):
                k = uint64(s)
                i = uint64(at[k])
                z, v = numbers[k] + w[d], weight[i * stride]
                losses += v * value(z, y[i], p)
                r = v * slope(z, y[i], p)
                slopes += r
                numbers[k + uint64(_HELD)] = r
            if count < FOUR:
                for i in range(new, new + count):
                    add_one(X, at, i, i, w, numbers, total, in_order)
            new, old = old, new
        if (last - first) % FOUR == 0:
            add_four(X, at, new, old, w, numbers, total, in_order)
        total[d] = slopes
        loss_sum[0] = losses

    return add_rows


def _adds_rows_of_several_outputs(value: Formula, slope: Formula) -> Kernel:
    @_exact
    def add_rows(X, y, weight, order, start, first, last, w, total, loss_sum, p, at, numbers):  # noqa: ARG001
        d, k = X.shape[1], y.shape[1]
        rows, stride = block_of(X)
        wide = width_of(k)
        block, z, level = numbers[: rows * stride], numbers[rows * stride :], w[d * wide :]
        stride_of_weights = uint64(0 if weight.size == 1 else 1)
        ahead = max(_AHEAD, _AHEAD_BYTES // max(1, d * X.itemsize))
        for begin in range(first, last, rows):
            count = min(rows, last - begin)
            take_block(X, order, start, begin, count, block, stride, ahead)
            score_block(block, stride, count, d, w, k, level, z)
            for t in range(count):
                i = uint64(begin + t)
                if order.size > 0:
                    i = uint64(order[uint64(begin + t - start)])
                v = weight[i * stride_of_weights]
                for c in range(k):
                    j = uint64(t * wide + c)
                    loss_sum[c] += v * value(z[j], y[i, c], p)
                    z[j] = v * slope(z[j], y[i, c], p)
                    total[d * wide + c] += z[j]
            add_block(block, stride, count, d, z, k, total)

    return add_rows


def _steps(prox: Formula) -> tuple[Kernel, Kernel, Kernel]:
    """Return the step that ends a batch: plain, with heavy-ball momentum, and with Nesterov's.

    Heavy ball keeps the coefficients in `w` and those before them in `last`. Nesterov's takes gradients ahead of the
    coefficients: those are in `last` and the point ahead in `w`. Both move by differences of coefficients, not by sums
    of gradients, so that with a penalty they come to rest where the plain step does.

    They are three because Numba takes counts of references off small functions alone.
    """

    # Not reordered: `textbook.sgd_step` computes the same two roundings in NumPy, so both give the same bits.
    @_exact
    def plain(w, total, share, rate, coefs, size, q):
        for j in range(coefs):
            w[j] = prox(w[j] - rate * (total[j] * share), rate, q)
        for j in range(coefs, size):
            w[j] -= rate * (total[j] * share)

    @_exact
    def heavy_ball(w, last, total, share, rate, momentum, coefs, size, q):
        for j in range(size):
            new = w[j] - rate * (total[j] * share) + momentum * (w[j] - last[j])
            last[j] = w[j]
            w[j] = prox(new, rate, q) if j < coefs else new

    @_exact
    def nesterov(w, last, total, share, rate, momentum, coefs, size, q):
        for j in range(size):
            new = w[j] - rate * (total[j] * share)
            new = prox(new, rate, q) if j < coefs else new
            w[j] = new + momentum * (new - last[j])
            last[j] = new

    return plain, heavy_ball, nesterov


@_exact
def _average(average, w, steps, size):
    # The first step becomes the average, whatever was there before.
    share = (AVERAGING_POWER + 1.0) / (steps + AVERAGING_POWER)
    for j in range(size):
        average[j] += (w[j] - average[j]) * share
