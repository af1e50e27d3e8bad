"""Linear algebra of dense matrices: products by NumPy, whose BLAS lets go of Python's lock, the rest by SciPy.

SciPy's products keep the lock, so that threads of ours would take turns. Each of the two brings a BLAS of its own,
whose threads go on spinning after a call, while the other's wait: fits keep both to one thread (`gradstep._blas`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from gradstep._kernels import threads
from gradstep._kernels.wide import product_error

Matrix = NDArray[np.float64]


def product(A: Matrix, B: Matrix) -> Matrix:
    """Return ``A B``."""
    AB: Matrix = A @ B
    return AB


def gram(A: Matrix) -> Matrix:
    """Return ``A' A``."""
    AA: Matrix = A.T @ A  # which BLAS computes a triangle of
    return AA


def triangle(A: Matrix) -> Matrix:
    """Return R of a QR factorisation by Householder's method."""
    factored: Matrix = lapack.dgeqrf(A, lwork=64 * A.shape[1])[0]
    return np.triu(factored[: min(A.shape)])


_PIECES = 4
_MANY = 1000  # columns
_TALL = 1 << 18  # entries, of which a factorisation is worth sharing


def tall_triangle(A: Matrix) -> Matrix:
    """Return R as `triangle` does, of a tall matrix by pieces that threads share, whatever their number.

    J. Demmel, L. Grigori, M. Hoemmen and J. Langou, Communication-optimal parallel and sequential QR and LU
    factorizations, *SIAM Journal on Scientific Computing* 34 (2012) A206-A239.
    """
    if A.size < _TALL or len(A) < 2 * _PIECES * A.shape[1]:
        return triangle(A)
    parts: list[Matrix] = [A] * _PIECES

    def part(piece: int) -> None:
        parts[piece] = triangle(A[piece::_PIECES])

    threads.each(part, _PIECES)
    return triangle(np.vstack(parts))


def tall_gram(A: Matrix) -> Matrix:
    """Return ``A' A`` of a tall matrix by pieces that threads share, whatever their number."""
    if A.size < _TALL:
        return gram(A)
    starts = [len(A) * piece // _PIECES for piece in range(_PIECES + 1)]
    parts: list[Matrix] = [A] * _PIECES

    def part(piece: int) -> None:
        parts[piece] = gram(A[starts[piece] : starts[piece + 1]])

    threads.each(part, _PIECES)
    whole: Matrix = np.add.reduce(parts)
    return whole


def triangle_of_gram(G: Matrix, columns: int, trusted: float) -> tuple[Matrix, float] | None:
    """Return the first rows of `triangle`, as many as columns are factored, by Cholesky's method: a third of the time.

    ``G`` is ``A' A``. Beside them comes its reciprocal condition of these columns at unit length, estimated; none where
    it is less than `trusted`, or the matrix not finite.
    """
    size = np.sqrt(G.diagonal()[:columns])
    if not (np.isfinite(G).all() and size.all()):
        return None
    C = G[:columns, :columns] / size / size[:, np.newaxis]
    U, failed = lapack.dpotrf(C, lower=0, clean=1)
    trust = 0.0 if failed else float(lapack.dpocon(U, np.abs(C).sum(axis=0).max())[0])
    if trust < trusted:
        return None
    rest = lapack.dtrtrs(U, G[:columns, columns:] / size[:, np.newaxis], trans=1)[0]
    return np.hstack((U * size, rest)), trust


def orthonormal(A: Matrix) -> Matrix:
    """Return an orthonormal basis of the space that independent columns span.

    Rows of very different size keep their own digits: Householder's method does that with the largest rows first and
    columns exchanged (A. J. Cox and N. J. Higham, Stability of Householder QR factorization for weighted least squares
    problems, 1998).
    """
    order = np.argsort(-np.abs(A).max(axis=1))
    factored, _, tau, _, _ = lapack.dgeqp3(A[order], lwork=64 * A.shape[1] + 128)
    Q = np.empty_like(A)
    Q[order] = lapack.dorgqr(factored, tau, lwork=64 * A.shape[1])[0]
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


def inverse(R: Matrix) -> Matrix:
    """Return the inverse of an upper triangular matrix."""
    found: Matrix = np.ascontiguousarray(np.triu(lapack.dtrtri(R)[0]))
    return found


def well_conditioned(R: Matrix, most: float) -> float | None:
    """Return the condition of an upper triangular matrix by its Gram matrix, if it is not more than `most`.

    In half the time that singular vectors take; of a condition c it is right but for about ``c**2 eps``, and of a
    thousand columns or more, whose eigenvalues would take longer than all else, to a hundredth.
    """
    if R.shape[0] != R.shape[1] or not len(R) or np.tril(R, -1).any():
        return None
    if not lapack.dtrcon(R)[0] * len(R) * most > 1:  # which is of sums, and d times that of singular values at most
        return None
    if len(R) >= _MANY:
        R = np.asfortranarray(R)
        largest, least = _largest(lambda x: R.T @ (R @ x), len(R)), _largest(partial(_solved, R), len(R))
        if largest is not None and least is not None:
            condition = math.sqrt(largest * least)
            return condition if condition < most else None
    values = lapack.dsyevd(gram(R), compute_v=0)[0]
    return float(math.sqrt(values[-1] / values[0])) if values[0] * most * most > values[-1] else None


def _largest(times: Callable[[Matrix], Matrix], size: int) -> float | None:
    """Return the largest eigenvalue of a symmetric matrix by Lanczos's method, from a start that is always the same.

    None where it does not come to an end.
    """
    # Seldom needed, and slow to import.
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh  # noqa: PLC0415

    start = np.cos(np.arange(1.0, size + 1.0) ** 2)
    matrix = LinearOperator((size, size), matvec=times, dtype=np.float64)
    try:
        return float(eigsh(matrix, 1, v0=start, tol=1e-2, return_eigenvectors=False)[0])
    except ArpackNoConvergence:
        return None


def _solved(R: Matrix, x: Matrix) -> Matrix:
    """Return ``(R' R)^-1 x``."""
    found: Matrix = lapack.dtrtrs(R, lapack.dtrtrs(R, x, trans=1)[0])[0]
    return found


def norms(A: Matrix) -> Matrix:
    """Return the norms of the columns."""
    sizes: Matrix = np.sqrt(np.einsum("ij,ij->j", A, A))
    if not sizes.all() and len(A):  # the squares of 1e-170 vanish
        largest = np.abs(A).max(axis=0)
        tiny = (sizes == 0.0) & (largest > 0.0)
        if tiny.any():
            sizes[tiny] = largest[tiny] * norms(A[:, tiny] / largest[tiny])
    return sizes


def exact_sum(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Return the sums of entries and what rounding took from them: Knuth (1969)."""
    after = a + b
    part = after - a
    return after, (a - (after - part)) + (b - part)


def exact_total(highs: Matrix, lows: Matrix) -> tuple[Matrix, Matrix]:
    """Return the sums of numbers in two parts: the further half added to the nearer one until one is left."""
    while len(highs) > 1:
        half = (len(highs) + 1) // 2
        whole, rest = highs[:half].copy(), lows[:half].copy()
        beyond = len(highs) - half
        whole[:beyond], lost = exact_sum(highs[:beyond], highs[half:])
        rest[:beyond] += lost + lows[half:]
        highs, lows = whole, rest
    return highs[0], lows[0]


def exact_dot(a: Matrix, w: Matrix) -> tuple[Matrix, Matrix]:
    """Return ``a w + b`` (k,) in two parts, of weights (d + 1, k) with b last: what float64 holds, and the rest."""
    products = a[:, np.newaxis] * w[:-1]
    errors = product_error(a[:, np.newaxis], w[:-1], products)  # type: ignore[no-untyped-call]
    high, low = np.empty(w.shape[1]), np.empty(w.shape[1])
    for c in range(w.shape[1]):
        terms = [*products[:, c].tolist(), *errors[:, c].tolist(), float(w[-1, c])]
        high[c] = math.fsum(terms) if np.isfinite(terms).all() else math.nan
        low[c] = math.fsum([*terms, -high[c]]) if math.isfinite(high[c]) else math.nan
    return high, low
