"""Steps with l1 in the metric of the factor, and what is left of the gradient with it.

S. Becker and J. Fadili, A quasi-Newton proximal splitting method, *NIPS* 2012; J. Sun, Z. Frangella and M. Udell,
SAPPHIRE: preconditioned stochastic variance reduction for faster large-scale statistical learning, 2025 (arXiv
2501.15941), for proximal steps in the metric of a sketch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import orthonormal, product
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import lasso
from gradstep._table.terms import Evidence

Array = NDArray[np.float64]


def step(p: Preconditioner, scaled: Array, evidence: Evidence, strength: Array) -> Array:
    """Return the step (d + 1, 1) from scaled weights to the minimum of the factor's model with l1 strengths (d,)."""
    unit = p.length
    R = np.vstack((p.factor.R, np.diag(np.sqrt(p.ridge)))) if p.ridged else p.factor.R
    now = scaled[:-1, 0] * unit
    # The model is  norm(R (u - now))**2 / 2 - slopes (u - now), least squares with this right side.
    right = R @ scaled[:-1, 0] + product(R, p.T) @ (p.T.T @ evidence.slopes[:, 0])
    found = lasso.minimum(R / unit, right, strength / unit, now)
    by = np.empty_like(scaled)
    by[:-1, 0] = np.where(found == 0.0, 0.0, found / unit) - scaled[:-1, 0]
    by[-1] = evidence.by_level / p.total - p.centre @ by[:-1]
    return by


def solution(p: Preconditioner, strength: Array) -> Array:
    """Return the weights (d + 1, 1) that a factor of columns and responses itself gives, with l1 strengths (d,)."""
    unit, factor = p.length, p.factor
    R = np.vstack((factor.R, np.diag(np.sqrt(p.ridge)))) if p.ridged else factor.R
    right = np.concatenate((factor.Q[:, 0], np.zeros(len(R) - len(factor.R))))
    found = lasso.minimum(R / unit, right, strength / unit, np.zeros(len(unit)))
    w = np.empty((len(unit) + 1, 1))
    w[:-1, 0] = found / unit
    w[-1] = factor.y_mean - p.centre @ w[:-1] if p.intercept else 0.0
    return w


def left(p: Preconditioner, scaled: Array, evidence: Evidence, strength: Array) -> tuple[Evidence, tuple[float, float]]:
    """Return the gradient with that of l1 nearest to it, and its largest shares of the strengths.

    The first is of what the rows do not tell: of directions that they do not tell apart l1 alone decides, and what is
    left of the gradient along them is no distance. The second is of all that is left.
    """
    u, slopes = scaled[:-1, 0], evidence.slopes[:, 0]
    nearest = slopes - np.where(u == 0.0, np.clip(slopes, -strength, strength), strength * np.sign(u))
    whole = _largest(nearest, strength)
    rest = _moved(p, nearest, slopes, u, strength)
    evidence = evidence._replace(slopes=rest[:, np.newaxis])
    if p.ridged or p.rank == len(u):
        return evidence, (0.0, whole)
    if p.rank == 0:  # no row tells anything
        return evidence, (_largest(rest, strength), whole)
    basis = orthonormal(p.T * p.length[:, np.newaxis])
    hidden = rest - p.length * (basis @ (basis.T @ (rest / p.length)))
    return evidence, (_largest(hidden, strength), whole)


def _largest(slopes: Array, strength: Array) -> float:
    """Return the largest share of its strength that a slope has."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.abs(slopes) / strength
    return float(np.nan_to_num(shares, nan=0.0, posinf=np.inf).max())


def _moved(p: Preconditioner, rest: Array, slopes: Array, u: Array, strength: Array) -> Array:
    """Return what is left of the slopes with the subgradients of zeros chosen so that it is small in the metric.

    Of zeros any number within the strength is a subgradient: the nearest in each coordinate is not the best where
    columns depend on each other nearly. What is left of the others is projected off by those that are free.
    """
    free = (u == 0.0) & (np.abs(slopes) < strength)
    if not free.any() or free.all() or not rest.any():
        return rest
    by = -np.linalg.lstsq(p.T[free].T, p.T.T @ rest, rcond=None)[0]
    chosen = np.clip(slopes[free] - rest[free] - by, -strength[free], strength[free])
    out = rest.copy()
    out[free] = slopes[free] - chosen
    before, after = p.T.T @ rest, p.T.T @ out
    return out if after @ after < before @ before else rest
