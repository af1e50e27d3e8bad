"""Closed-form least squares through `scipy.linalg`: the check. It shares no code with the solvers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.linalg.blas
from numpy.typing import ArrayLike, NDArray

from gradstep import _blas, _input
from gradstep._report import AGREES_WITHIN, listed
from gradstep._result import Check
from gradstep.losses import Loss, squared
from gradstep.penalties import Penalty, l2

_SQUARED, _RIDGE = squared(), l2(0.0)
_EPS = float(np.finfo(np.float64).eps)
_NO_NOISE = 100 * _EPS  # residuals below this, relative to the fitted values, are rounding
_EXACT_WITHIN = 1e-10  # and there a fit agrees that is this near, relative to the fitted values


class _Factor(NamedTuple):
    """What is kept of the table: enough to measure a distance to the solution without reading the rows again."""

    centre: NDArray[np.float64]
    """(d,) weighted means of the columns, 0 without an intercept."""
    scale: NDArray[np.float64]
    """(d,) weighted root-mean-square of the centred columns, 1 for a column that is constant."""
    R: NDArray[np.floating]
    """(min(n, d), d) triangular factor of the centred, scaled columns, rows times the root of their weight."""
    rows: int
    """Rows of positive weight; their weights have mean 1."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """The closed-form solution of a least-squares problem, as `closed_form` returns it.

    Attributes
    ----------
    coef : ndarray, (d,) or (d, k)
        Coefficients in the caller's units.
    intercept : float or ndarray (k,)
        Intercept; 0 without one.
    rank : int
        Rank of the centred, scaled columns: singular values above ``max(n, d) * eps`` times the largest.
    condition : float
        Largest over smallest singular value of the centred, scaled columns; over those kept, if the rank is short.
    residual_sd : float or ndarray (k,)
        ``sqrt(sum weight_i residual_i**2 / degrees_of_freedom)``, in units of ``y``, the weights scaled to mean 1 over
        rows of positive weight; NaN where no degree is left.
    degrees_of_freedom : float
        Rows of positive weight less the intercept less the rank (with a penalty: less the effective rank, the sum of
        ``s**2 / (s**2 + alpha)`` with ``s`` the singular values of the centred, weighted columns in the caller's units
        over the root of the rows of positive weight).
    standard_errors : ndarray, (d,) or (d, k)
        Standard errors of ``coef``; NaN for coefficients that a short rank leaves undetermined. With a penalty they
        are those of the penalised estimate about its own expectation: its bias is not in them.
    intercept_standard_error : float or ndarray (k,)
        Standard error of the intercept; 0 without one.
    dependent : tuple of int
        Columns that are linear combinations of the columns before them (and of the intercept), empty at full rank.
    objective : float
        The objective at the solution: half the weighted mean squared residual, summed over outputs, plus penalty.
    """

    coef: NDArray[np.float64]
    intercept: float | NDArray[np.float64]
    rank: int
    condition: float
    residual_sd: float | NDArray[np.float64]
    degrees_of_freedom: float
    standard_errors: NDArray[np.float64]
    intercept_standard_error: float | NDArray[np.float64]
    dependent: tuple[int, ...]
    objective: float
    _factor: _Factor

    def __post_init__(self) -> None:
        for array in (self.coef, self.standard_errors, *self._factor[:3]):
            array.flags.writeable = False

    def __repr__(self) -> str:
        return f"<ClosedForm of {len(self.coef)} columns: rank {self.rank}, objective {self.objective:.6g}>"

    def __str__(self) -> str:
        d = self.coef.shape[0]
        lines = [
            f"Closed form by scipy.linalg: {d} columns, rank {self.rank}, condition {self.condition:.3g}",
            (
                f"  objective {self.objective:.6g}, residual standard deviation {_short(self.residual_sd)} "
                f"on {self.degrees_of_freedom:g} degrees of freedom"
            ),
        ]
        if self.dependent:
            lines.append(f"  columns {listed(self.dependent)} depend on the columns before them: minimum norm")
        if self.coef.ndim == 1:
            lines.append("  column        coefficient     standard error")
            shown = range(min(d, 20))
            lines += [f"  {j:6d} {self.coef[j]:18.10g} {self.standard_errors[j]:18.4g}" for j in shown]
            if d > len(shown):
                lines.append(f"  ... and {d - len(shown)} more")
            lines.append(f"  intercept {self.intercept:15.10g} {self.intercept_standard_error:18.4g}")
        return "\n".join(lines)

    def distance(self, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]) -> tuple[float, float]:
        """Return how far other coefficients are from these, in standard errors and relative.

        The worst of several outputs counts.

        Parameters
        ----------
        coef : ndarray, (d,) or (d, k)
            Coefficients in the caller's units.
        intercept : float or ndarray (k,)
            Their intercept.

        Returns
        -------
        errors : float
            ``norm(X (w - w*)) / residual_sd`` with weighted rows and the intercept among the columns: no linear
            combination of the coefficients that the data determine is further off than that many of its own standard
            errors (with a penalty: of those that it would have without). NaN where there is no noise, or no degree of
            freedom, to measure one by.
        relative : float
            The same norm over that of the solution's own fitted values about their mean (about 0 without an
            intercept).

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
        >>> exact = gs.closed_form(X, y)
        >>> exact.distance(exact.coef, exact.intercept)
        (0.0, 0.0)
        """
        errors, relative, _ = _distances(self, coef, intercept)
        return float(np.fmax.reduce(errors)), float(relative.max())


def closed_form(
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    penalty: Penalty | None = None,
    intercept: bool = True,
) -> ClosedForm:
    """Least squares solved directly through `scipy.linalg`, for checking a fit.

    Minimises ``sum_i weight_i (x_i w + b - y_i)**2 / (2 sum_i weight_i) + alpha/2 sum_j w_j**2``. The columns are
    centred (with an intercept) and divided by their weighted root-mean-square, in float64; one QR factorisation of
    columns and response leaves a triangular problem, whose singular values give solution, rank and condition.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors, any real dtype; computed in float64 on a copy.
    y : array_like, (n,) or (n, k)
        Response, or ``k`` responses.
    sample_weight : array_like (n,), optional
        Analytic weights, not negative: doubling one equals repeating the row, for the coefficients. None means equal
        weights.
    penalty : Penalty, optional
        None, or `l2`: other penalties have no closed form.
    intercept : bool, default True
        Whether an intercept is fitted. It is never penalised.

    Returns
    -------
    ClosedForm
        Coefficients in the caller's units with standard errors, rank, condition and dependent columns. When the rank
        is short the solution is the one of minimum norm *in columns divided by their root-mean-square*; that is not
        the one that `scipy.linalg.lstsq` gives on raw columns.

    Raises
    ------
    TypeError, ValueError
        For input that `fit` would refuse, and for a penalty other than `l2`.

    References
    ----------
    G. H. Golub and C. F. Van Loan, *Matrix Computations*, 4th edition, Johns Hopkins 2013, sections 5.3 and 5.5.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
    >>> exact = gs.closed_form(X, y)
    >>> exact.coef.round(2)
    array([ 2. , -3.4])
    >>> exact.rank, exact.dependent
    (2, ())
    """
    rows = _input.rows(X, y, sample_weight)
    penalty = _input.penalty(penalty)
    if not exists(squared(), penalty):
        raise ValueError(f"penalty: {penalty} has no closed form; None or gs.l2(alpha) is needed.")
    alpha = ridge_strength(penalty)
    intercept = _input.flag("intercept", intercept)
    return solve(rows.X, rows.y, rows.weight, alpha, intercept=intercept)


def exists(loss: Loss, penalty: Penalty | None) -> bool:
    """Whether the problem has a closed form: the squared loss with no penalty or `l2`."""
    return loss == _SQUARED and (penalty is None or (penalty.value, penalty.prox) == (_RIDGE.value, _RIDGE.prox))


def ridge_strength(penalty: Penalty | None) -> float:
    """Return alpha of an l2 penalty, 0 for none."""
    return penalty.params[0] if penalty is not None and penalty.params else 0.0


@_blas.at_most()
def solve(
    X: NDArray[np.floating], y: NDArray[np.float64], weight: NDArray[np.float64], alpha: float, *, intercept: bool
) -> ClosedForm:
    """Solve for input that has passed the gate."""
    if weight.size > 1 and not weight.all():  # a row of weight zero is no row, whatever stands in it
        present = weight > 0
        X, y, weight = X[present], y[present], weight[present]
    n, d = X.shape
    outputs = y.shape[1:]
    Y = y.reshape(n, -1)
    # Weights of mean 1, so that a unit of weight is a row in every number below.
    v = np.ones(n) if weight.size == 1 else weight / weight.mean()
    A, centre, unit = _standardised(X, Y, v / n, intercept=intercept)
    A *= np.sqrt(v)[:, np.newaxis]

    _, R = scipy.linalg.qr(A, mode="raw", overwrite_a=True, check_finite=False)
    left = min(n, d)
    triangle, rotated, rest = R[:left, :d], R[:left, d:], R[left:, d:]
    U, s, Vt = scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)
    cut = max(n, d) * _EPS * s[0]
    rank = int(np.count_nonzero(s > cut))
    if alpha > 0 and rank > 0:
        solver = _ridge_solver(triangle, Vt[:rank], unit[:d], np.sqrt(alpha * n))
    else:
        # Through SciPy's BLAS: a large call of NumPy's after one of SciPy's waits for threads that still spin.
        solver = scipy.linalg.blas.dgemm(1.0, Vt[:rank] / s[:rank, np.newaxis], U[:, :rank], trans_a=True, trans_b=True)
    u = solver @ rotated

    unit_y = unit[d:]
    coef = u / unit[:d, np.newaxis] * unit_y
    residual_sum = np.square(triangle @ u - rotated).sum(axis=0) + np.square(rest).sum(axis=0)  # in units of y
    degrees = n - int(intercept) - (float(np.sum((triangle @ solver).diagonal())) if alpha > 0 else rank)
    residual_sd = np.sqrt(residual_sum / degrees) * unit_y if degrees > 0 else np.full(Y.shape[1], np.nan)

    spread = np.sqrt(np.square(solver).sum(axis=1)) / unit[:d]
    if alpha == 0:
        # The part of each column's axis outside the row space: there the coefficient is the norm's choice.
        spread[1.0 - np.square(Vt[:rank]).sum(axis=0) > np.sqrt(_EPS)] = np.nan
    mean = centre[:d] / unit[:d]
    intercept_spread = np.sqrt(1.0 / n + np.square(mean @ solver).sum()) if intercept else 0.0
    offset = centre[d:] - centre[:d] @ coef if intercept else np.zeros(Y.shape[1])
    # In Python's floats, which overflow to infinity without a warning.
    objective = sum(r * (u * u) for r, u in zip(residual_sum.tolist(), unit_y.tolist(), strict=True)) / (2 * n)
    if alpha > 0:
        objective += alpha / 2 * sum(c * c for c in coef.ravel().tolist())

    return ClosedForm(
        coef=coef.reshape(d, *outputs),
        intercept=_number(offset, outputs),
        rank=rank,
        condition=float(s[0] / s[rank - 1]) if rank else 1.0,
        residual_sd=_number(residual_sd, outputs),
        degrees_of_freedom=degrees,
        standard_errors=(spread[:, np.newaxis] * residual_sd).reshape(d, *outputs),
        intercept_standard_error=_number(intercept_spread * residual_sd, outputs),
        dependent=_dependent_columns(triangle, rank, cut),
        objective=objective,
        _factor=_Factor(centre[:d], unit[:d], triangle, n),
    )


def _standardised(
    X: NDArray[np.floating], Y: NDArray[np.float64], share: NDArray[np.float64], shrink: float = 1.0, *,
    intercept: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Return columns and response side by side, centred and of unit weighted mean square; centres; units."""
    n, d = X.shape
    # In the order LAPACK wants, so that the factorisation makes no further copy.
    A = np.empty((n, d + Y.shape[1]), order="F")
    A[:, :d] = X
    A[:, d:] = Y
    A *= shrink
    centre = np.zeros(A.shape[1])
    if intercept:
        # Twice: what is left of a column's mean after the first time is rounding of the mean, not of the column.
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(2):
                mean = scipy.linalg.blas.dgemv(1.0, A, share, trans=1)
                A -= mean
                centre += mean
    # The largest entry goes first, so that squares neither overflow nor vanish.
    largest = np.maximum(A.max(axis=0), -A.min(axis=0))
    if shrink == 1.0 and not np.isfinite(largest).all():  # differences of entries at the end of float64 overflow
        with np.errstate(over="ignore"):
            A, centre, unit = _standardised(X, Y, share, 2.0**-20, intercept=intercept)
            return A, centre * 2.0**20, unit * 2.0**20
    constant = largest <= 4 * _EPS * np.abs(centre)
    A[:, constant] = 0.0
    A /= np.where(constant, 1.0, largest)
    scale: NDArray[np.float64] = np.sqrt(np.einsum("i,ij,ij->j", share, A, A))
    scale[constant] = 1.0
    A /= scale
    return A, centre, np.where(constant, 1.0, largest * scale)


def _ridge_solver(
    triangle: NDArray[np.floating], row_space: NDArray[np.floating], unit: NDArray[np.float64], root: float
) -> NDArray[np.float64]:
    """Return the matrix that takes rotated responses to ridge coefficients of the scaled columns.

    Minimises ``norm(triangle u - c)**2 + root**2 norm(u / unit)**2``. The minimiser lies in the row space of the
    columns in the caller's units; where that is not all of space it is sought there alone, so that a penalty too small
    to be seen beside rounding still chooses the least norm. Householder's QR minds no columns of very different size.
    """
    d = triangle.shape[1]
    if len(row_space) == d:
        with np.errstate(over="ignore"):  # of a column in units of 1e-310, which such a penalty leaves at zero
            inside, ridge = np.eye(d), np.diag(np.minimum(root / unit, 1e300))
    else:
        basis = scipy.linalg.qr(unit[:, np.newaxis] * row_space.T, mode="economic", check_finite=False)[0]
        inside, ridge = unit[:, np.newaxis] * basis, root * np.eye(basis.shape[1])
    Q, R = scipy.linalg.qr(np.vstack((triangle @ inside, ridge)), mode="economic", check_finite=False)
    solver: NDArray[np.float64] = inside @ scipy.linalg.solve_triangular(R, Q[: len(triangle)].T, check_finite=False)
    return solver


def _dependent_columns(R: NDArray[np.floating], rank: int, cut: float) -> tuple[int, ...]:
    """Name the columns of a factor that depend on those before them, by the cut of its rank."""
    d = R.shape[1]
    if rank == d:
        return ()
    kept: list[int] = []
    basis = np.zeros((R.shape[0], 0))
    for j in range(d):
        if len(kept) == rank:
            break
        rest = R[:, j]
        for _ in range(2):  # twice is enough to project out what the first pass's rounding leaves
            rest = rest - basis @ (basis.T @ rest)
        length = float(np.sqrt(rest @ rest))
        if length > cut:
            kept.append(j)
            basis = np.column_stack((basis, rest / length))
    return tuple(sorted(set(range(d)) - set(kept)))


def compare(exact: ClosedForm, w: NDArray[np.float64], objective: float) -> Check:
    """Put weights of a fit, the intercept last, and its objective beside the closed form."""
    errors, relative, fitted = _distances(exact, w[:-1], w[-1])
    floors, relative_floors = _floors(exact, fitted)
    near = np.maximum(_EXACT_WITHIN, relative_floors)
    within = np.where(np.isnan(errors), relative <= near, (errors <= np.maximum(AGREES_WITHIN, floors)))
    # Without noise both objectives are rounding.
    measurable = exact.objective > 0 and not np.isnan(errors).all()
    gap = (objective - exact.objective) / exact.objective if measurable else np.nan
    return Check(
        float(np.fmax.reduce(errors)), float(relative.max()), exact.rank, exact.condition, exact.dependent, gap,
        float(floors.max()), bool(within.all()),
    )  # fmt: skip


def _distances(
    exact: ClosedForm, coef: NDArray[np.float64], intercept: float | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each output in standard errors, NaN for one without noise; relative; and to what."""
    f = exact._factor  # noqa: SLF001 - of this module
    d, k = len(exact.coef), exact.coef.size // len(exact.coef)
    # What moved and what it is measured by, side by side: scores about the centre and at the centre.
    scores = np.empty((d, 2 * k))
    scores[:, :k] = (coef - exact.coef).reshape(d, k)
    scores[:, k:] = exact.coef.reshape(d, k)
    at_centre = f.centre @ scores
    at_centre[:k] += np.subtract(intercept, exact.intercept)
    at_centre[k:] += exact.intercept
    at_centre = np.sqrt(f.rows) * np.abs(at_centre)
    scores = f.R @ (scores * f.scale[:, np.newaxis])
    # The largest goes first: squares of numbers of 1e-170 vanish.
    largest = np.abs(scores).max(axis=0)
    scores /= np.where(largest > 0, largest, 1.0)
    around = largest * np.sqrt(np.einsum("ij,ij->j", scores, scores))
    moved, whole = np.hypot(around, at_centre).reshape(2, k)
    sd = np.ravel(exact.residual_sd)
    # Residuals that are all rounding: a standard error would measure nothing.
    measurable = sd * np.sqrt(f.rows) > _NO_NOISE * whole
    errors = np.divide(moved, sd, out=np.full(k, np.nan), where=measurable)
    fitted = np.where(around[k:] > 0, around[k:], at_centre[k:])
    relative = np.divide(moved, fitted, out=np.where(moved > 0, np.inf, 0.0), where=fitted > 0)
    return errors, relative, fitted


def _floors(exact: ClosedForm, fitted: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what rounding may have moved the solution by, an entry an output: in standard errors and relative.

    Fitted values are moved by some ``eps (condition (norm(residual) + norm(fitted)) + norm(X) norm(w))``: Higham,
    *Accuracy and Stability of Numerical Algorithms*, 2nd edition 2002, section 20.1. Where the rank is short the space
    that the solution is sought in moves by ``eps condition``, and the last term with it. Standard errors are 0 without
    noise.
    """
    f = exact._factor  # noqa: SLF001 - of this module
    d = len(exact.coef)
    sd = np.ravel(exact.residual_sd)
    coef = exact.coef.reshape(d, -1)
    turn = exact.condition if exact.rank < d else 1.0
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        columns = np.sqrt(f.rows) * np.hypot(f.scale, f.centre)
        terms = columns @ np.abs(coef) + np.sqrt(f.rows) * np.abs(exact.intercept)
        moved = _EPS * np.sqrt(d) * (exact.condition * fitted + turn * terms)
        of_noise = _EPS * np.sqrt(d) * exact.condition * np.sqrt(f.rows)
        floors = of_noise + moved / sd
        relative = np.where(fitted > 0, moved / fitted, 0.0)
    return np.where(np.isfinite(floors), floors, 0.0), relative


def _number(values: NDArray[np.float64], outputs: tuple[int, ...]) -> float | NDArray[np.float64]:
    return values if outputs else float(values[0])


def _short(values: float | NDArray[np.float64]) -> str:
    return np.array2string(np.asarray(values), precision=6, threshold=6)
