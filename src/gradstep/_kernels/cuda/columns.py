"""Small kernels without barriers: columns' statistics, rows gathered or scaled, orders, products of a Gram matrix."""

import math
from collections.abc import Callable

from numba import float64, uint64

from gradstep._kernels.cuda.rows import centred_entry
from gradstep._kernels.cuda.sums import PLAIN, sums
from gradstep._kernels.cuda.target import SIMULATED
from gradstep._kernels.cuda.target import inside as cuda
from gradstep._kernels.formula import compilable
from gradstep._kernels.permute import halves, permuted

SIDE = 2 if SIMULATED else 16  # of a block of threads that shares a part of a Gram matrix
_TWICE = 2 * SIDE


def build_spread(*, single: bool) -> Callable[..., None]:
    """Return the kernel: sums of ``v z`` and ``v z**2``, and the largest ``|z|``, of each column in each piece.

    ``z = x * scale - centre``, over rows of positive weight; ``out`` is (pieces, 3, d). ``weight`` is of the data's
    type.
    """
    arithmetic = sums(PLAIN, single)
    zero, alone, add, joined = arithmetic.zero, arithmetic.alone, arithmetic.add, arithmetic.joined
    nothing = arithmetic.dtype(0)

    def spread(X, weight, stride, n, d, scale, centre, pieces, out):
        for item in range(_thread(), pieces * d, _threads()):
            piece, j = item // d, uint64(item % d)
            total, squares, largest = zero(), zero(), nothing
            for i in range(n * piece // pieces, n * (piece + 1) // pieces):
                v = weight[i * stride]
                if v > nothing:
                    z = centred_entry(X[uint64(i), j], scale[j], centre[j])
                    total = add(total, z, alone(v))
                    squares = add(squares, z, alone(v * z))
                    largest = max(largest, abs(z))
            high, low = joined(total)
            out[piece, 0, j] = high + low
            high, low = joined(squares)
            out[piece, 1, j] = high + low
            out[piece, 2, j] = largest

    return spread


def straight(A, n, d, out):
    """Copy an array of any strides, (n, d)."""
    for item in range(_thread(), n * d, _threads()):
        out[item // d, item % d] = A[item // d, item % d]


def straight_line(A, n, out):
    """Copy an array of any stride, (n,)."""
    for i in range(_thread(), n, _threads()):
        out[i] = A[i]


def take(X, rows, count, d, out):
    """Copy some rows."""
    for item in range(_thread(), count * d, _threads()):
        out[item // d, item % d] = X[rows[item // d], item % d]


def blank(A, rows, count, d):
    """Set some rows to zero."""
    for item in range(_thread(), count * d, _threads()):
        A[rows[item // d], item % d] = 0.0


def each_row(weight, stride, n, out):
    """Copy a weight for each row, of one for all or of one a row."""
    for i in range(_thread(), n, _threads()):
        out[i, 0] = weight[i * stride]


def order(out, count, n, key, step):
    """Set `out` to where rows go, as `gradstep._kernels.permute` says."""
    low, firsts = halves(n)
    for i in range(_thread(), count, _threads()):
        out[i] = permuted(i, n, low, firsts, key, step)


RUN = 256  # rows that a thread looks through


def count_above(norms, weight, stride, n, share, limit, counts):
    """Count in each run of rows those whose leverage, ``norms + weight share``, is above a limit."""
    for run in range(_thread(), (n + RUN - 1) // RUN, _threads()):
        found = 0
        for i in range(run * RUN, min((run + 1) * RUN, n)):
            if norms[i, 0] + weight[i * stride] * share > limit:
                found += 1
        counts[run] = found


def list_above(norms, weight, stride, n, share, limit, places, out):
    """Put the numbers of those rows into `out`, those of each run from its place on."""
    for run in range(_thread(), (n + RUN - 1) // RUN, _threads()):
        at = places[run]
        for i in range(run * RUN, min((run + 1) * RUN, n)):
            if norms[i, 0] + weight[i * stride] * share > limit:
                out[at] = i
                at += 1


def fill(X, y, weight, stride, start, count, d, k, scale, centre, y_scale, y_centre, out):
    """Write rows from `start` on as linear algebra wants them: see `gradstep._kernels.rows.fill`."""
    size = 1 + d + k
    for item in range(_thread(), count * size, _threads()):
        t, e = item // size, item % size
        v = weight[(start + t) * stride]
        x = 1.0
        if v > 0.0:
            if e > d:
                x = y[start + t, e - 1 - d] * y_scale[e - 1 - d] - y_centre[e - 1 - d]
            elif e > 0:
                x = X[start + t, e - 1] * scale[e - 1] - centre[e - 1]
            out[t, e] = math.sqrt(v) * x
        else:
            out[t, e] = 0.0


def row_squares(A, count, size, out):
    """Set `out` to the sums of the squares of rows."""
    for t in range(_thread(), count, _threads()):
        total = 0.0
        for e in range(size):
            total += A[t, e] * A[t, e]
        out[t] = total


def product(A, B, count, inner, size, out):
    """Set `out` to ``A B``."""
    for item in range(_thread(), count * size, _threads()):
        t, e = item // size, item % size
        total = 0.0
        for j in range(inner):
            total += A[t, j] * B[j, e]
        out[t, e] = total


def gram(A, count, size, pieces, out):
    """Set ``out[0]`` to the parts of ``A' A`` that each piece of the rows has, (pieces, size * size); ``out[1]`` to 0.

    A block takes a square of twice `SIDE` columns, of which each thread has two by two, and meets its threads where the
    next rows are brought.
    """
    left = cuda.shared.array((SIDE, _TWICE), float64)
    right = cuda.shared.array((SIDE, _TWICE), float64)  # a line each: the simulator tells them apart by it
    tiles = (size + _TWICE - 1) // _TWICE
    across, down = cuda.threadIdx.x % SIDE, cuda.threadIdx.x // SIDE
    for block in range(cuda.blockIdx.x, pieces * tiles * tiles, cuda.gridDim.x):
        piece, first, second = block // (tiles * tiles), block // tiles % tiles, block % tiles
        if first > second:
            continue
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        begin, end = count * piece // pieces, count * (piece + 1) // pieces
        for start in range(begin, end, SIDE):
            for half in range(2):
                e = half * SIDE + across
                i, j = first * _TWICE + e, second * _TWICE + e
                left[down, e] = A[start + down, i] if start + down < end and i < size else 0.0
                right[down, e] = A[start + down, j] if start + down < end and j < size else 0.0
            cuda.syncthreads()
            for t in range(SIDE):
                a += left[t, down] * right[t, across]
                b += left[t, down] * right[t, across + SIDE]
                c += left[t, down + SIDE] * right[t, across]
                d += left[t, down + SIDE] * right[t, across + SIDE]
            cuda.syncthreads()
        for quarter in range(4):
            i = first * _TWICE + down + quarter // 2 * SIDE
            j = second * _TWICE + across + quarter % 2 * SIDE
            if i < size and j < size:
                value = (a if quarter == 0 else b) if quarter < 2 else (c if quarter == 2 else d)
                out[0, piece, i * size + j] = value
                out[0, piece, j * size + i] = value
                out[1, piece, i * size + j] = 0.0
                out[1, piece, j * size + i] = 0.0


def _thread():
    return cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x


def _threads():
    return cuda.gridDim.x * cuda.blockDim.x


for _function in (_thread, _threads):
    compilable(_function, fastmath=False)


def of_one(function):
    """Return the kernel of a formula of one scalar by itself."""

    def each(first, out, p):
        for i in range(_thread(), out.size, _threads()):
            out[i] = function(first[i], p)

    return each


def of_two(function):
    """Return the kernel of a formula of two scalars by itself."""

    def each(first, second, out, p):
        for i in range(_thread(), out.size, _threads()):
            out[i] = function(first[i], second[i], p)

    return each
