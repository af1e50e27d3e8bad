"""Rows as linear algebra wants them: scaled, centred, weighted, with the response beside them; and their statistics."""

import math
from functools import partial

import numpy as np
from numba import uint64

from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import compilable
from gradstep._kernels.simd import WIDTH, all_of, eight, fused, put

LARGEST_EXPONENT = 1000  # of a power of two that serves as a unit: its inverse is a normal number too
_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")
EPS = float(np.finfo(np.float64).eps)


@kernel
def statistics(A, weight, order, centred, out):  # noqa: C901 - three loops over the rows
    """Compute what brings columns to one scale, over the rows in `order`, or all if it is empty.

    ``A`` is (n, d), ``weight`` (n,) or one for all. ``out`` (4, d) is set to: the scale, a power of two that brings the
    weighted root-mean-square deviation from the mean to between a half and 1; the mean times the scale (0 unless
    ``centred``); 1 for a column that is constant, else 0; and a power of two that brings the largest entry to about 1,
    which is the scale of a constant column.
    """
    n, d = A.shape
    m = order.size if order.size > 0 else n
    scale, mean, constant, unit = out[0], out[1], out[2], out[3]
    reference, peak, spread = np.zeros(d), np.zeros(d), np.zeros(d)
    out[:] = 0.0
    total = 0.0
    for t in range(m):
        i = order[t] if order.size > 0 else t
        v = weight[0] if weight.size == 1 else weight[i]
        if v > 0.0:
            for j in range(d):
                peak[j] = max(peak[j], abs(float(A[i, j])))
            if total == 0.0:
                for j in range(d):
                    reference[j] = A[i, j]
            total += v
    for j in range(d):
        exponent = -math.frexp(peak[j])[1] if peak[j] > 0.0 else 0
        unit[j] = math.ldexp(1.0, min(max(exponent, -LARGEST_EXPONENT), LARGEST_EXPONENT))
        # About one of the entries, so that the mean of a constant is that constant.
        reference[j] = reference[j] * unit[j] if centred else 0.0
        peak[j] = 0.0
    if centred:
        for t in range(m):
            i = order[t] if order.size > 0 else t
            v = weight[0] if weight.size == 1 else weight[i]
            if v > 0.0:
                for j in range(d):
                    mean[j] += v * (A[i, j] * unit[j] - reference[j])
        for j in range(d):
            mean[j] = reference[j] + mean[j] / total
    for t in range(m):
        i = order[t] if order.size > 0 else t
        v = weight[0] if weight.size == 1 else weight[i]
        if v > 0.0:
            for j in range(d):
                deviation = A[i, j] * unit[j] - mean[j]
                spread[j] += v * deviation * deviation
                peak[j] = max(peak[j], abs(deviation))
    for j in range(d):
        # What is left of a column about its mean may be the rounding of its entries.
        constant[j] = 1.0 if peak[j] <= 4 * EPS * abs(mean[j]) else 0.0
        exponent = math.frexp(unit[j])[1] - 1
        further = -math.frexp(math.sqrt(spread[j] / total))[1] if spread[j] > 0.0 and constant[j] == 0.0 else 0
        further = min(max(exponent + further, -LARGEST_EXPONENT), LARGEST_EXPONENT) - exponent
        scale[j], mean[j] = math.ldexp(unit[j], further), math.ldexp(mean[j], further)


@kernel
def fill(X, y, weight, order, start, stop, scale, centre, y_scale, y_centre, out):
    """Write rows `start` to `stop`, of `order` if it is not empty, to `out`, times the root of their weight.

    A row of ``out`` is a one, the columns ``x * scale - centre`` and the responses ``y * y_scale - y_centre``.
    """
    d, k = X.shape[1], y.shape[1]
    for t in range(start, stop):
        i = order[t] if order.size > 0 else t
        v = weight[0] if weight.size == 1 else weight[i]
        row = out[t - start]
        if v > 0.0:
            root = math.sqrt(v)
            row[0] = root
            for j in range(d):
                row[1 + j] = root * (X[i, j] * scale[j] - centre[j])
            for c in range(k):
                row[1 + d + c] = root * (y[i, c] * y_scale[c] - y_centre[c])
        else:
            row[:] = 0.0


@kernel
def fill_part(X, y, weight, start, first, scale, centre, y_scale, y_centre, out):
    """Write rows from `start` on as `fill` does, of their columns from `first` on what ``out`` (rows, columns) holds.

    Beyond the last response zeros are written.
    """
    d, k = X.shape[1], y.shape[1]
    last = first + out.shape[1]
    for t in range(out.shape[0]):
        i = start + t
        v = weight[0] if weight.size == 1 else weight[i]
        row = out[t]
        row[:] = 0.0
        if v > 0.0:
            root = math.sqrt(v)
            if first == 0:
                row[0] = root
            for j in range(max(first, 1) - 1, min(last, 1 + d) - 1):
                row[1 + j - first] = root * (X[i, j] * scale[j] - centre[j])
            for c in range(max(first, 1 + d) - 1 - d, min(last - 1 - d, k)):
                row[1 + d + c - first] = root * (y[i, c] * y_scale[c] - y_centre[c])


@kernel
def scatter(rows, drawn, share, out):
    """Add `share` of each row to the bucket that was drawn for it, half with a minus.

    `drawn` (rows,) is twice the number of a bucket, plus one for a minus; ``rows`` and ``out`` (buckets, columns) have
    a multiple of eight columns.
    """
    columns = rows.shape[1]
    cells, sums = rows.reshape(rows.size), out.reshape(out.size)
    for t in range(drawn.size):
        number = int(drawn[t])
        row, bucket = t * columns, (number >> 1) * columns
        signed = all_of(share if number & 1 == 0 else -share)
        for j in range(0, columns, WIDTH):
            at = uint64(bucket + j)
            put(sums, at, fused(signed, eight(cells, uint64(row + j)), eight(sums, at)))


@_sums
def _sum(y, weight, unit, about):
    total, weights = 0.0, 0.0
    for i in range(y.size):
        v = weight[i]
        total += v * (y[i] * unit - about)
        weights += v
    return total, weights


@_sums
def _sum_alike(y, unit, about):
    total = 0.0
    for i in range(y.size):
        total += y[i] * unit - about
    return total, float(y.size)


@_sums
def _squares(y, weight, unit, about):
    total = 0.0
    for i in range(y.size):
        total += weight[i] * (y[i] * unit - about) ** 2
    return total


@_sums
def _squares_alike(y, unit, about):
    total = 0.0
    for i in range(y.size):
        total += (y[i] * unit - about) ** 2
    return total


@kernel
def deviations(y, weight, start, stop, unit, out):
    """Set `out` to the weight of some responses (n,) times `unit`, their mean and the squares of what is about it.

    Weights that are one for all count as 1.
    """
    out[:] = 0.0
    if start >= stop:
        return
    y = y[start:stop]
    mean = y[0] * unit  # so that the mean of a constant is that constant
    alike = weight.size == 1
    weight = weight if alike else weight[start:stop]
    for _ in range(2):  # the second time for what rounding left
        rest, total = _sum_alike(y, unit, mean) if alike else _sum(y, weight, unit, mean)
        mean += rest / total if total > 0.0 else 0.0
    out[0], out[1] = total, mean
    out[2] = _squares_alike(y, unit, mean) if alike else _squares(y, weight, unit, mean)
