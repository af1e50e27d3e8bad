"""Linear algebra of dense matrices, through SciPy's BLAS and LAPACK alone.

NumPy and SciPy each bring a BLAS with threads of its own, which go on spinning for a while after each call: a large
call of one after a large call of the other waits for them, 8 ms where 1 would do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

Matrix = NDArray[np.float64]


def product(A: Matrix, B: Matrix) -> Matrix:
    """Return ``A B``."""
    AB: Matrix = blas.dgemm(1.0, B.T, A.T).T  # of transposes, which need no copy where A and B are in C order
    return AB


def gram(A: Matrix) -> Matrix:
    """Return ``A' A``."""
    upper = blas.dsyrk(1.0, A.T)
    both: Matrix = np.triu(upper, 1).T + upper
    return both


def triangle(A: Matrix) -> Matrix:
    """Return R of a QR factorisation by Householder's method."""
    factored: Matrix = lapack.dgeqrf(A, lwork=64 * A.shape[1])[0]
    return np.triu(factored[: min(A.shape)])


def orthonormal(A: Matrix) -> Matrix:
    """Return an orthonormal basis of the space that independent columns span."""
    factored, tau, _, _ = lapack.dgeqrf(A, lwork=64 * A.shape[1])
    Q: Matrix = lapack.dorgqr(factored, tau, lwork=64 * A.shape[1])[0]
    return Q


def singular(A: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return left singular vectors as columns, singular values, largest first, and right ones as rows."""
    if A.size == 0:
        return np.zeros((A.shape[0], 0)), np.zeros(0), np.zeros((0, A.shape[1]))
    left, values, right, failed = lapack.dgesdd(A, full_matrices=0)
    if failed:  # rare, and the slower method does not
        left, values, right, _ = lapack.dgesvd(A, full_matrices=0)
    return left, values, right


def symmetric(A: Matrix) -> tuple[Matrix, Matrix]:
    """Return eigenvalues of a symmetric matrix, smallest first, and eigenvectors as columns."""
    values, vectors, _ = lapack.dsyevd(A)
    return values, vectors


def norms(A: Matrix) -> Matrix:
    """Return the norms of the columns."""
    sizes: Matrix = np.sqrt(np.einsum("ij,ij->j", A, A))
    return sizes


def exact_sum(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Return the sums of entries and what rounding took from them: Knuth (1969)."""
    after = a + b
    part = after - a
    return after, (a - (after - part)) + (b - part)
