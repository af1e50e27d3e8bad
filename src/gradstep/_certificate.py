"""The certificate: a bound on how far a fit is from the optimum, in standard errors. The driver alone uses it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradstep._preconditioner import CHANCE, EPS, Preconditioner
from gradstep._table.dense import Dense, Gradient

_WIDE = 2.0**-64
"""Unit of rounding that is allowed to double-double sums of gradients: theirs is smaller, an 80-bit check's is this."""

_NO_NOISE = 100 * EPS  # residuals below this, relative to the fitted values, are rounding


@dataclass(frozen=True, eq=False)
class Certificate:
    """How far a fit is from the optimum at most, as its gradient and the factor R of the rows show.

    With ``U = (1 + rho) norm(R^-T X' r)``, the bound is ``U / sigma_low + phi``, where
    ``sigma_low**2 = (r' r - U**2) / (n - d)``: with ``w*`` the exact coefficients, ``norm(X (w - w*)) <= U``, and so no
    linear combination of the coefficients is further from the exact one than `bound` of its own standard errors. It
    holds for the float64 numbers in ``fit.coef`` and ``fit.intercept``: their gradient was taken.

    Attributes
    ----------
    bound : float
        Standard errors; infinite where there is no noise, or no degree of freedom, to measure one by. The worst output
        counts.
    relative : float
        The same distance over the norm of the fitted values about their mean (about 0 without an intercept).
    kind : {"exact", "probable", "estimate"}
        ``"exact"``: R is that of all rows, and the bound is a proof but for rounding, which is in it. ``"probable"``: R
        is a sketch's, and the bound holds for all but a share of seeds. ``"estimate"``: R is a sample's.
    failure_probability : float
        That share of seeds: 0 of an exact one, NaN of an estimate.
    floor : float
        Standard errors that the rounding of the coefficients to float64, and of a gradient in float64, may come to: a
        bound below is luck that was measured.
    objective_gap : float
        How far the objective is above its least value, at most.
    residual_sd : float or ndarray (k,)
        ``sigma``, the residual standard deviation in units of ``y``; NaN where no degree of freedom is left.
    degrees_of_freedom : float
        Rows of positive weight less the intercept less the rank (with a ridge, less the effective rank).
    rank : int
        Rank of the centred columns, each divided by its root-mean-square: singular values above ``max(n, d) eps`` times
        the largest.
    condition : float
        Largest over smallest of those singular values.
    dependent : tuple of int
        Columns that depend on those before them (and on the intercept).
    worst_column : int
        Column whose coefficient may be furthest from the exact one, in its own standard errors.
    measurable : bool
        Whether every output has noise to measure a standard error by: residuals that are not all rounding.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
    >>> certificate = gs.fit(X, y, solver="exact").certificate
    >>> certificate.kind, certificate.bound < 1e-9, certificate.rank
    ('exact', True, 2)
    """

    bound: float
    relative: float
    kind: str
    failure_probability: float
    floor: float
    objective_gap: float
    residual_sd: float | NDArray[np.float64]
    degrees_of_freedom: float
    rank: int
    condition: float
    dependent: tuple[int, ...]
    worst_column: int
    measurable: bool


def certify(preconditioner: Preconditioner, gradient: Gradient, w: NDArray[np.float64], table: Dense) -> Certificate:
    """Return the certificate of weights (d + 1, k) of scaled, uncentred rows, by the gradient taken at them."""
    p = preconditioner
    slopes, by_level = p.gradient(gradient, w)
    present = table.n if table.weight.size == 1 else int(np.count_nonzero(table.weight))
    degrees = present - p.intercept - p.degrees
    U = (1 + p.stretch) * (1 + p.factor.error) * p.distance(slopes, by_level)
    if p.ridge.any():  # its part of the gradient is taken in float64
        U += EPS * p.distance(np.abs(p.ridge[:, np.newaxis] * w[:-1]), np.zeros_like(by_level))
    size = np.sqrt(gradient.squares)
    # With a ridge the residual at the optimum need not be orthogonal to what moved.
    low = np.maximum(size - U, 0.0) ** 2 if p.ridge.any() else np.maximum(gradient.squares - U**2, 0.0)

    centre = p.units.centre + p.factor.mean
    columns = math.sqrt(p.total) * np.hypot(p.length, centre)  # norms of the scaled columns about zero
    spread = np.sqrt(np.square(p.T).sum(axis=1))
    in_gradient = (float(spread @ columns) + 1.0) * size
    in_weights = columns @ np.abs(w[:-1]) + math.sqrt(p.total) * np.abs(w[-1])
    fitted = np.sqrt(np.square(p.factor.R @ w[:-1]).sum(axis=0))
    level = math.sqrt(p.total) * np.abs(w[-1] + centre @ w[:-1])
    rounding = EPS / 2 * (in_gradient + in_weights)
    noisy = (degrees > 0) & (size > np.maximum(_NO_NOISE * np.hypot(fitted, level), rounding))
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma_low = np.sqrt(low / degrees) if degrees > 0 else np.zeros_like(low)
        moved = U + _WIDE * in_gradient
        bounds = np.where(sigma_low > 0, moved / sigma_low, np.inf)
        floors = rounding / (size / math.sqrt(degrees)) if degrees > 0 else np.full(len(U), np.inf)
        floors[np.isnan(floors)] = np.inf
        reference = np.where(fitted > 0, fitted, np.where(level > 0, level, size))
        relative = np.where(reference > 0, moved / reference, np.where(moved > 0, np.inf, 0.0))
        sd = np.sqrt(gradient.squares * (present / table.n) / degrees) if degrees > 0 else np.full(len(U), np.nan)
    worst = int(bounds.argmax())
    far = np.abs(p.step(slopes, by_level)[:-1, worst])
    sd = np.ldexp(sd, -(np.frexp(p.units.y_scale)[1] - 1))
    gap = U**2 / (2 * p.total) / p.units.y_scale**2
    return Certificate(
        bound=float(bounds[worst]),
        relative=float(relative.max()),
        kind=p.kind,
        failure_probability={"exact": 0.0, "probable": CHANCE}.get(p.kind, np.nan),
        floor=float(floors.max()),
        objective_gap=float(gap.sum()),
        residual_sd=sd if table.outputs else float(sd[0]),
        degrees_of_freedom=degrees,
        rank=p.rank,
        condition=p.condition,
        dependent=p.dependent,
        worst_column=int(np.argmax(np.divide(far, spread, out=np.zeros_like(far), where=spread > 0))),
        measurable=bool(noisy.all()),
    )  # fmt: skip
