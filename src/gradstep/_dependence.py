"""Which columns depend on those before them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.rows import EPS

_NULL = math.sqrt(EPS)  # a column's share in a dependence, below which it is rounding


def dependent_columns(null: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the columns that depend on those before them, from all dependences there are: the rows, orthonormal.

    They are the last columns in which such vectors can end.
    """
    null = null.copy()
    found = []
    for j in range(null.shape[1] - 1, -1, -1):
        if len(null) == 0:
            break
        end = null[:, j]
        size = math.sqrt(float(end @ end))
        if size > _NULL or len(null) == j + 1:
            found.append(j)
            null = _reflected(null, end, size)[1:]  # so that one vector alone ends here, and let it go
    return tuple(reversed(found))


def all_but(R: NDArray[np.float64], rank: int) -> tuple[int, ...]:
    """Return the columns that depend on those before them, of more columns than rows."""
    R = R / math.sqrt(float(np.square(R).sum(axis=0).max()) or 1.0)
    kept: list[int] = []
    for j in range(R.shape[1]):
        if len(kept) == rank:
            break
        size = math.sqrt(float(R[:, j] @ R[:, j]))
        if size > _NULL:
            kept.append(j)
            R = _reflected(R, R[:, j], size)[1:]
    while len(kept) < rank:  # what is left of all of them is small, but not only rounding
        sizes = np.square(R).sum(axis=0)
        sizes[kept] = -1.0
        j = int(sizes.argmax())
        kept.append(j)
        R = _reflected(R, R[:, j], math.sqrt(float(R[:, j] @ R[:, j])))[1:]
    return tuple(sorted(set(range(R.shape[1])) - set(kept)))


def _reflected(A: NDArray[np.float64], column: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Return A turned so that a column of this size lies along the first axis: Householder's reflection."""
    if size == 0.0:
        return A
    v = column / size
    v[0] += math.copysign(1.0, v[0])
    turned: NDArray[np.float64] = A - np.outer(v * (2.0 / float(v @ v)), v @ A)
    return turned
