"""Analytical against numerical derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._numbers import real
from gradstep._table.dense import Dense
from gradstep.losses import DOMAINS, Loss, squared
from gradstep.textbook.pieces import make_linear


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """Analytical beside numerical derivatives, as `check_gradient` returns them.

    Attributes
    ----------
    analytical : ndarray
        Derivatives by the loss's own slope, through the compiled kernel.
    numerical : ndarray
        Derivatives by central differences of the loss's value.
    worst : tuple of int
        Index of the entry where the two differ most.
    error : float
        That difference, over the largest mean of ``|slope_i x_ij|``: the terms that a derivative sums, which do not
        vanish where it does.
    tolerance : float
        What the error may be.
    layout : str
        ``"denominator"`` or ``"numerator"``.
    """

    analytical: NDArray[np.float64]
    numerical: NDArray[np.float64]
    worst: tuple[int, ...]
    error: float
    tolerance: float
    layout: str
    _names: str

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        at = ", ".join(map(str, self.worst))
        return (
            f"{'The derivatives agree' if self.agrees else 'The derivatives DISAGREE'} ({self.layout} layout, shape "
            f"{self.analytical.shape}): the worst entry is [{at}], {self._names}, analytical "
            f"{self.analytical[self.worst]:.10g}, numerical {self.numerical[self.worst]:.10g}; relative error "
            f"{self.error:.2g}, allowed {self.tolerance:g}."
        )


def check_gradient(
    loss: Loss = squared(),
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    w: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    layout: str = "denominator",
    tolerance: float = 1e-6,
) -> GradientCheck:
    """Compare the analytical gradient of a loss with numerical differentiation.

    The mean loss over the rows, ``J(w, b)``, is differentiated in every coefficient and in the intercept, analytically
    through the kernel that `gradstep.fit` runs and numerically by the central difference
    ``(J(w + h) - J(w - h)) / (2 h)`` with ``h`` a cube root of the rounding of a score, in units of
    ``max(1, |w|, rms(X w + b - y) / rms(x))``, ``x`` the column.

    Parameters
    ----------
    loss : Loss, default squared()
        The loss to check, a user's own included.
    X : array_like, (n, d), optional
        Predictors; None draws 20 rows of 3 columns, with responses in the domain of the loss.
    y : array_like, (n,) or (n, k), optional
        Response; needed with ``X``. Where ``X`` is None too, 2 outputs are drawn.
    w : array_like, (d,) or (d, k), optional
        Where to differentiate; None draws a point.
    b : float or array_like (k,), optional
        The intercept there; None draws one.
    layout : {"denominator", "numerator"}, default "denominator"
        Denominator layout shapes the derivative as the parameters: (d + 1,) or (d + 1, k), the intercept last.
        Numerator layout is its transpose: (1, d + 1) or (k, d + 1).
    tolerance : float, default 1e-6
        Largest error allowed. Central differences in float64 reach about 1e-9 away from kinks.

    Returns
    -------
    GradientCheck
        Both gradients, the worst entry and whether they agree; its ``str`` is a sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.

    References
    ----------
    J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd edition, Springer 2006, section 8.1. K. B. Petersen and
    M. S. Pedersen, *The Matrix Cookbook*, 2012, section 2, for the layouts.

    Examples
    --------
    >>> import gradstep as gs
    >>> report = gs.check_gradient(gs.squared())
    >>> report.agrees, report.analytical.shape
    (True, (4, 2))
    >>> gs.check_gradient(gs.squared(), layout="numerator").analytical.shape
    (2, 4)
    """
    loss = _input.loss(loss)
    if layout not in {"denominator", "numerator"}:
        raise ValueError(f'layout: {layout!r} came; "denominator" or "numerator" is needed.')
    tolerance = real("tolerance", tolerance, least=0.0)
    if (X is None) != (y is None):
        raise ValueError(f"{'y' if X is None else 'X'}: came without {'X' if X is None else 'y'}; both or none needed.")
    if X is None or y is None:
        X, y = make_linear(np.array([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.25]]), [1.0, -1.0], 20, noise=1.0)
        y = DOMAINS[loss.domain].into(y)
    rows = _input.rows(X, y, loss=loss)
    d, outputs = rows.X.shape[1], rows.y.shape[1:]
    drawn = np.random.default_rng(0).standard_normal((d + 1, *outputs))
    coef, intercept = _input.parameters(drawn[:-1] if w is None else w, drawn[-1] if b is None else b, d, outputs)
    point = np.concatenate((coef, intercept[np.newaxis]))

    table = Dense(rows, loss, None)
    analytical = table.gradient(point)[1]
    numerical = np.empty_like(point)
    columns = np.column_stack((rows.X, np.ones(len(rows.X))))
    scores = columns @ point
    size = np.sqrt(np.mean(np.square(columns), axis=0))
    away = np.sqrt(np.mean(np.square(scores - rows.y)))
    # Scores far from zero beside how far they are from the responses are rounded as much more.
    rounding = np.finfo(np.float64).eps * max(1.0, float(np.abs(scores).max()) / away if away > 0 else 1.0)
    for entry in np.ndindex(point.shape):
        natural = away / size[entry[0]] if size[entry[0]] > 0 else 0.0
        h = np.cbrt(min(rounding, 1e-6)) * max(1.0, abs(point[entry]), natural)
        above, below = point.copy(), point.copy()
        above[entry] += h
        below[entry] -= h
        # The step as it was really taken, after rounding.
        numerical[entry] = (table.gradient(above)[0] - table.gradient(below)[0]).sum() / (above[entry] - below[entry])

    gap = np.abs(analytical - numerical)
    gap[np.isnan(gap)] = np.inf
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    slopes = np.array([loss.slope(z, t, loss.params) for z, t in zip(scores.flat, rows.y.flat, strict=True)])
    terms = float((np.abs(columns).T @ np.abs(slopes.reshape(scores.shape))).max()) / len(columns)
    error = float(gap[worst]) / terms if terms > 0 and np.isfinite(gap[worst]) else float(gap[worst])
    name = "the intercept" if worst[0] == d else f"the coefficient of column {worst[0]}"
    name += f" of output {worst[1]}" if outputs else ""
    if layout == "numerator":
        worst = worst[::-1] if outputs else (0, *worst)
        analytical, numerical = (a.T if outputs else a[np.newaxis] for a in (analytical, numerical))
    return GradientCheck(analytical, numerical, worst, error, tolerance, layout, name)
