"""The squared loss's curvature along a direction, summed over rows; and a lane: an epoch of minibatch steps with it.

Columns are ``x * scale - centre``, formed in register, so that rows far from zero keep the digits of what tells them
apart. One output has kernels of its own: its sums run over the columns of a row, which vectorises them, those of
several over the outputs.
"""

from functools import partial

import numpy as np
from numba import uint64

from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import compilable
from gradstep._kernels.prefetch import prefetch

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")


@_sums
def _add(X, weight, first, last, ahead, scale, centre, p, level, total):
    """Add ``v (x p + level) [x, 1]`` of rows `first` to `last` to `total`.

    Each row asks for the one that is `ahead` of it.
    """
    n, d = X.shape
    stride = uint64(0 if weight.size == 1 else 1)
    for row in range(first, last):
        i = uint64(row)
        prefetch(X, uint64(min(row + ahead, n - 1)))
        v = weight[i * stride]
        if v > 0.0:
            z = level
            for j in range(d):
                z += (X[i, j] * scale[j] - centre[j]) * p[j]
            z *= v
            for j in range(d):
                total[j] += z * (X[i, j] * scale[j] - centre[j])
            total[d] += z


@_sums
def _add_of_several(X, weight, first, last, ahead, scale, centre, p, level, z, total):
    n, d = X.shape
    k = p.shape[1]
    stride = uint64(0 if weight.size == 1 else 1)
    for row in range(first, last):
        i = uint64(row)
        prefetch(X, uint64(min(row + ahead, n - 1)))
        v = weight[i * stride]
        if v > 0.0:
            for c in range(k):
                z[c] = level[c]
            for j in range(d):
                x = X[i, j] * scale[j] - centre[j]
                for c in range(k):
                    z[c] += x * p[j, c]
            for c in range(k):
                z[c] *= v
                total[d, c] += z[c]
            for j in range(d):
                x = X[i, j] * scale[j] - centre[j]
                for c in range(k):
                    total[j, c] += x * z[c]


@_sums
def _times(T, q, p):
    """Set p to ``T q``."""
    for j in range(T.shape[0]):
        z = 0.0
        for a in range(T.shape[1]):
            z += T[j, a] * q[a]
        p[j] = z


_NEXT = 4  # rows between asking for one and reading it, of rows in order


@kernel
def curvature(X, weight, start, stop, scale, centre, p, total):
    """Set ``total`` (d + 1, 1) to ``sum_i v_i [x_i, 1] (x_i p + level)`` of rows `start` to `stop`.

    ``p`` is (d + 1, 1), the level last.
    """
    d = X.shape[1]
    total[:] = 0.0
    coefs, sums = p.reshape(d + 1), total.reshape(d + 1)  # whose entries are known to be neighbours
    _add(X, weight, start, stop, _NEXT, scale, centre, coefs[:d], coefs[d], sums)


@kernel
def curvature_of_several(X, weight, start, stop, scale, centre, p, total):
    """Do what `curvature` does for k outputs: ``p`` and ``total`` are (d + 1, k)."""
    d = X.shape[1]
    total[:] = 0.0
    z = np.empty(p.shape[1])
    _add_of_several(X, weight, start, stop, _NEXT, scale, centre, p[:d], p[d], z, total)


@kernel
def lane(X, weight, chunks, run, batches, scale, centre, T, level, fixed, slope, lanes, rate, out):
    """Take minibatch steps beside an anchor, with variance reduction, and set `out` (r + 1, 1) to where they lead.

    In coordinates ``q`` of the basis ``T`` (d, r), the level's last, in units of ``1 / level``, each step is::

        q <- q - rate (share B' B q + fixed q + slope)

    where ``B`` are the rows of a batch and `share` is how many batches there are in all `lanes`; `fixed` is the part of
    the curvature that every step has whole, ``slope`` the gradient at the anchor. ``chunks`` are numbers of runs of
    `run` rows, ``batches`` where each batch begins among them, and its end. Without an intercept `level` is 0.

    The first point is a whole step from the anchor, ``-slope``. As each row comes once, and with the same share, the
    steps sum to the gradient at the mean of the points that they were taken at: from that mean it is about as far to
    the optimum as their sum over their number and `rate`, which is taken too. So no steps need be left out of the mean
    for the way that they had to go.
    """
    n = X.shape[0]
    d, r = T.shape
    q, step, mean = -slope[:, 0], np.empty(r + 1), np.zeros(r + 1)
    p, total = np.empty(d), np.empty(d + 1)
    share = float(lanes * (batches.size - 1))
    for t in range(batches.size - 1):
        for a in range(r + 1):
            mean[a] += q[a]
        _times(T, q, p)
        total[:] = 0.0
        for s in range(batches[t], batches[t + 1]):
            first = chunks[s] * run
            ahead = chunks[min(s + 1, chunks.size - 1)] * run - first
            _add(X, weight, first, min(first + run, n), ahead, scale, centre, p, level * q[r], total)
        for a in range(r + 1):
            step[a] = slope[a, 0]
        for j in range(d):
            u = total[j] * share
            for a in range(r):
                step[a] += T[j, a] * u
        step[r] += level * total[d] * share
        if fixed.size > 0:
            for a in range(r + 1):
                for b in range(r + 1):
                    step[b] += fixed[a, b] * q[a]
        for a in range(r + 1):
            q[a] -= rate * step[a]
    for a in range(r + 1):
        out[a, 0] = (mean[a] + (q[a] + slope[a, 0]) / rate) / (batches.size - 1)


@kernel
def lane_of_several(  # noqa: C901 - loops over columns, coordinates and outputs
    X, weight, chunks, run, batches, scale, centre, T, level, fixed, slope, lanes, rate, out
):
    """Do what `lane` does for k outputs: ``slope`` and ``out`` are (r + 1, k)."""
    n = X.shape[0]
    d, r = T.shape
    k = slope.shape[1]
    q, step, mean = -slope, np.empty((r + 1, k)), np.zeros((r + 1, k))
    p, total, at_level, z = np.empty((d, k)), np.empty((d + 1, k)), np.empty(k), np.empty(k)
    share = float(lanes * (batches.size - 1))
    for t in range(batches.size - 1):
        mean += q
        p[:] = 0.0
        for j in range(d):
            for a in range(r):
                for c in range(k):
                    p[j, c] += T[j, a] * q[a, c]
        for c in range(k):
            at_level[c] = level * q[r, c]
        total[:] = 0.0
        for s in range(batches[t], batches[t + 1]):
            first = chunks[s] * run
            ahead = chunks[min(s + 1, chunks.size - 1)] * run - first
            _add_of_several(X, weight, first, min(first + run, n), ahead, scale, centre, p, at_level, z, total)
        step[:] = slope
        for j in range(d):
            for a in range(r):
                for c in range(k):
                    step[a, c] += T[j, a] * total[j, c] * share
        for c in range(k):
            step[r, c] += level * total[d, c] * share
        if fixed.size > 0:
            for a in range(r + 1):
                for b in range(r + 1):
                    for c in range(k):
                        step[b, c] += fixed[a, b] * q[a, c]
        q -= rate * step
    out[:] = (mean + (q + slope) / rate) / (batches.size - 1)


@_sums
def _four_products(row, V, a):
    """Return the sum of the squares of a row's products with four rows of V."""
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    for j in range(row.size):
        first += row[j] * V[a, j]
        second += row[j] * V[a + 1, j]
        third += row[j] * V[a + 2, j]
        fourth += row[j] * V[a + 3, j]
    return first * first + second * second + third * third + fourth * fourth


@kernel
def squared_norms(X, weight, start, stop, scale, centre, V, out):
    """Set ``out[start:stop]`` to ``v sum_a (x V_a)**2``: with random projections of a basis, leverages.

    ``V`` is (vectors, d), a multiple of four of them.
    """
    d = X.shape[1]
    row = np.empty(d)
    for i in range(start, stop):
        v = weight[0] if weight.size == 1 else weight[i]
        out[i] = 0.0
        if v > 0.0:
            for j in range(d):
                row[j] = X[i, j] * scale[j] - centre[j]
            for a in range(0, V.shape[0], 4):
                out[i] += v * _four_products(row, V, a)
