"""The certificate: a bound on how far a fit is from the optimum, in standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.rows import EPS
from gradstep._preconditioner import Preconditioner, noisy
from gradstep._stretch import CHANCE
from gradstep._table.table import Table
from gradstep._table.terms import WIDE_SUM, Evidence

EXACT_WITHIN = 1e-10
"""Of the fitted values: where there is no noise to measure by, a fit is exact within this."""

_WIDE_WEIGHT = 2.0**-62
"""Unit of rounding that is allowed to weights, as `WIDE_SUM` to sums: who checks a bound in 80 bits has 2**-64."""


_ROOT_OF_ROUNDING = 1e-6  # of the fitted values, about: what a gap of 1e-12 of the objective counts as
_NO_LOSS = 1e-13  # of the responses: losses that are rounding


class Outputs(NamedTuple):
    """What a certificate says of each output, (k,) arrays; distances are of scaled responses."""

    distance: NDArray[np.float64]
    """From the optimum, in the fitted values, at most."""
    rounding: NDArray[np.float64]
    """What float64 may come to of it."""
    bound: NDArray[np.float64]
    relative: NDArray[np.float64]
    floor: NDArray[np.float64]
    measurable: NDArray[np.bool_]

    def near(self, tol: float) -> NDArray[np.bool_]:
        """Return which are as near as `tol` asks, or exact where there is no noise to measure by."""
        near: NDArray[np.bool_] = np.where(self.measurable, self.bound <= tol, self.relative <= EXACT_WITHIN)
        return near


@dataclass(frozen=True, eq=False)
class Certificate:
    """How far a fit is from the optimum at most, as its gradient and the factor R of the rows show.

    With ``U = (1 + rho) norm(R^-T X' r)``, the bound is ``U / sigma_low + phi``, where
    ``sigma_low**2 = (r' r - U**2) / degrees_of_freedom``: with ``w*`` the exact coefficients,
    ``norm(X (w - w*)) <= U``, and so no linear combination of the coefficients is further from the exact one than
    ``bound`` of its own standard errors. It holds for the float64 numbers in ``fit.coef`` and ``fit.intercept``: their
    gradient was taken.

    For losses without a closed form X are the rows times the roots of their curvatures, U is divided by the share of
    the curvature that there is everywhere between the fit and the optimum, and sigma is the root of the dispersion: 1
    of log-likelihoods, else the mean square of the slopes over the mean curvature. Of quantiles and the
    epsilon-insensitive loss a dual solution bounds the gap g of the objective's sum over rows, and the bound is
    ``sqrt(2 g) / sigma``.

    Attributes
    ----------
    bound : float
        Standard errors; infinite where there is no noise, or no degree of freedom, to measure one by. The worst output
        that has noise counts.
    relative : float
        The same distance over the norm of this fit's fitted values about their mean (about 0 without an intercept), of
        the worst output; of the worst without noise where there is one.
    kind : {"exact", "probable", "estimate"}
        ``"exact"``: R is that of all rows, and the bound is a proof but for rounding, which is in it. ``"probable"``: R
        is a sketch's, and the bound holds for all but a share of seeds. ``"estimate"``: R is a sample's, or the loss is
        the caller's own, whose curvature is taken to rise to somewhere and fall beyond.
    failure_probability : float
        That share of seeds: 0 of an exact one, NaN of an estimate.
    floor : float
        Standard errors that the rounding of the coefficients to float64, and of a gradient in float64, may come to: a
        bound below is luck that was measured.
    objective_gap : float
        How far the objective is above its least value, at most.
    residual_sd : float or ndarray (k,)
        ``sigma``, the residual standard deviation in units of ``y``, of a row of mean weight; NaN where no degree of
        freedom is left.
    degrees_of_freedom : float
        Rows of positive weight less the intercept less the rank (with a ridge, less the effective rank).
    rank : int
        Rank of the centred columns, each divided by its root-mean-square: singular values above ``max(n, d) eps`` times
        the largest, n the rows of positive weight. Where it is short, the exact coefficients that everything here is
        measured from are those of that rank: of directions below the cut nothing is claimed.
    columns : int
        Columns that rank, condition and dependence are of: all; under l1, of more than a thousand, those that were
        fitted at once, where all others were left at zero.
    condition : float
        Largest over smallest of those singular values; of a sketch's R, as it shows them.
    dependent : tuple of int
        Columns that depend on those before them (and on the intercept).
    worst_column : int
        Column whose coefficient may be furthest from the exact one, in its own standard errors.
    measurable : bool
        Whether every output has noise to measure a standard error by: residuals that are not all rounding.
    outputs : tuple of ndarray (k,)
        Distances by output, in the units of the computation; their form may change between versions.

    References
    ----------
    K. R. Davidson and S. J. Szarek, Local operator theory, random matrices and Banach spaces, *Handbook of the Geometry
    of Banach Spaces* 1 (2001), theorem 2.13, for rho of a sketch. T. Ogita, S. M. Rump and S. Oishi, Accurate sum and
    dot product, *SIAM Journal on Scientific Computing* 26 (2005) 1955-1988, for the arithmetic of the gradient.

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
    columns: int
    condition: float
    dependent: tuple[int, ...]
    worst_column: int
    measurable: bool
    outputs: Outputs = field(repr=False)


def is_rounding(c: Certificate) -> bool:
    """Whether there is no noise to measure by, and what is left is the root of a gap that is rounding."""
    return not c.measurable and c.relative <= _ROOT_OF_ROUNDING


def certify(preconditioner: Preconditioner, evidence: Evidence, w: NDArray[np.float64], table: Table) -> Certificate:
    """Return the certificate of weights (d + 1, k) of scaled, uncentred rows, by the gradient taken at them."""
    p = preconditioner
    present = table.present
    degrees = present - p.intercept - p.degrees
    U = (1 + p.stretch) * (1 + p.factor.error) * p.distance(evidence)
    size = np.sqrt(evidence.squares)
    if p.ridged:  # its part of the gradient is taken in float64
        U += EPS * p.distance(Evidence(p.ridge[:, np.newaxis] * np.abs(w[:-1]), np.zeros_like(size), size))
    fitted, level = p.fitted(w)
    # Weights were brought to mean 1 by two divisions, which moves the optimum by their rounding.
    moved = U + p.lost(evidence, w) + _WIDE_WEIGHT * p.in_weights(w) + (table.weight.size > 1) * EPS * size
    rounding = p.rounding(evidence, w)
    by_output = (U, moved, size, fitted, level, rounding, noisy(size, fitted, level, rounding))
    numbers = zip(*(a.tolist() for a in by_output), strict=True)
    outputs = [_output(degrees, *of_one, ridged=p.ridged) for of_one in numbers]
    known = [c for c, output in enumerate(outputs) if output.measurable]
    worst = max(known or range(len(outputs)), key=lambda c: outputs[c].bound)
    far = np.abs(p.step(evidence)[:-1, worst])
    sd = size * math.sqrt(present / table.n / degrees) if degrees > 0 else np.full(len(size), np.nan)
    sd = np.ldexp(sd, 1 - np.frexp(p.units.y_scale)[1])
    with np.errstate(over="ignore", under="ignore"):
        gap = moved / p.units.y_scale * (moved / p.units.y_scale) / (2 * p.total)
    return Certificate(
        bound=outputs[worst].bound,
        relative=max(o.relative for o in outputs if not o.measurable or len(known) == len(outputs)),
        kind=p.kind,
        failure_probability={"exact": 0.0, "probable": CHANCE}.get(p.kind, math.nan),
        floor=outputs[worst].floor if len(known) < 2 else max(outputs[c].floor for c in known),
        objective_gap=float(gap.sum()),
        residual_sd=sd if table.outputs else float(sd[0]),
        degrees_of_freedom=degrees,
        rank=p.rank,
        columns=len(p.T),
        condition=p.condition,
        dependent=p.dependent,
        worst_column=int(np.divide(far, p.spread, out=np.zeros_like(far), where=p.spread > 0).argmax()),
        measurable=len(known) == len(outputs),
        outputs=Outputs(moved, rounding, *(np.array(column) for column in zip(*outputs, strict=True))),
    )


class _Output(NamedTuple):
    bound: float
    relative: float
    floor: float
    measurable: bool


def _output(
    degrees: float, U: float, moved: float, size: float, fitted: float, level: float, rounding: float, noisy: bool,
    *, ridged: bool,
) -> _Output:  # fmt: skip
    """Return the bound of one output, from distances and the norms of residuals, fitted values and their terms."""
    # With a ridge residuals are not orthogonal to what moved.
    low = max(size - U, 0.0) if ridged else math.sqrt(max(size * size - U * U, 0.0))
    freedom = math.sqrt(degrees) if degrees > 0 else 0.0
    measurable = freedom > 0 and noisy
    reference = fitted or level or size
    return _Output(
        bound=moved * freedom / low if low > 0 and measurable else math.inf,
        relative=moved / reference if reference > 0 else 0.0,
        floor=rounding * freedom / size if measurable else math.inf,
        measurable=measurable,
    )


def _alone(distance: float, rounding: float, bound: float, relative: float, floor: float, measurable: bool) -> Outputs:
    """Return what is said of one output."""
    numbers = (np.array([number]) for number in (distance, rounding, bound, relative, floor))
    return Outputs(*numbers, np.array([measurable]))  # type: ignore[call-arg]


class Curved(NamedTuple):
    """What else a certificate of a loss without a closed form rests on."""

    mean: float
    """Mean of the curvatures that the factor was made of, whose weights have mean 1."""
    missing: float
    """Share of the factor's curvature that may be missing on the way to the optimum: see `certify_curved`."""
    dispersion: float | None
    """Known dispersion of the responses; None where the slopes tell it."""
    proven: bool
    """Whether `missing` bounds the curvature: it has one hump."""
    further: float = 0.0
    """What the objective may be above its least besides, in sums over rows."""
    active: int | None = None
    """Columns that are not zero, under l1; None without."""


def certify_curved(
    preconditioner: Preconditioner, evidence: Evidence, w: NDArray[np.float64], table: Table, about: Curved
) -> Certificate:
    """Return the certificate of one output of a loss by its curvature, at weights (d + 1, 1) of scaled rows.

    `evidence` is in units of the mean curvature, its squares those of the slopes. With ``U`` as for the squared loss
    and ``e`` the share of the curvature that may be missing wherever ``norm(A (w - w*)) <= U / (1 - e)``, A the rows
    times the roots of the curvatures that R was made of, convexity leaves the optimum nowhere else: on the rim of that
    region the loss rises. There it is at most ``U**2 / (2 (1 - e))`` above its least.
    """
    p = preconditioner
    # Under l1 the fit takes as many degrees of freedom as there are columns in it, in the mean: H. Zou, T. Hastie and
    # R. Tibshirani, *Annals of Statistics* 35 (2007) 2173-2192.
    degrees = table.present - p.intercept - (p.degrees if about.active is None else min(p.degrees, about.active))
    size = math.sqrt(float(evidence.squares[0]))
    fitted, level = (float(part[0]) for part in p.fitted(w))
    U = (1 + p.stretch) * (1 + p.factor.error) * float(p.distance(evidence)[0])
    if p.ridged:
        of_ridge = Evidence(p.ridge[:, np.newaxis] * np.abs(w[:-1]), np.zeros(1), evidence.squares)
        U += EPS * float(p.distance(of_ridge)[0])
    in_weights = float(p.in_weights(w)[0])
    # Each slope is rounded, and so is the score that it is taken at.
    of_rows = EPS * (4 * size + math.hypot(fitted, level))
    moved = U + WIDE_SUM * p.in_gradient * size + _WIDE_WEIGHT * in_weights + of_rows
    rounding = EPS / 2 * (p.in_gradient * size + in_weights) + of_rows
    rest = 1.0 - about.missing
    further = about.further / about.mean
    far = (moved + math.sqrt(moved * moved + 4 * rest * further)) / (2 * rest) if rest > 0 else math.inf
    present = table.present / table.n  # weights have mean 1 over rows of weight zero too
    # What a standard error is in these units, by slopes that are orthogonal to nothing.
    low = max(size - far, 0.0) / math.sqrt(degrees) if degrees > 0 else 0.0
    measurable = size > rounding and size > 0
    if about.dispersion is not None:
        low, measurable = math.sqrt(about.dispersion / present / about.mean), True
    typical = low if about.dispersion is not None else size / math.sqrt(degrees) if degrees > 0 else 0.0
    measurable = measurable and typical > 0
    bound = far / low if low > 0 and measurable else math.inf
    reference = fitted or level or 1.0
    relative = far / reference
    floor = rounding / typical if measurable else math.inf
    away = np.abs(p.step(evidence)[:-1, 0])
    kind = p.kind if about.proven else "estimate"
    gap = (moved * moved / (2 * rest) * about.mean + about.further) / p.total if rest > 0 else math.inf
    output = _alone(far, rounding, bound, relative, floor, measurable)
    return Certificate(
        bound=bound,
        relative=relative,
        kind=kind,
        failure_probability={"exact": 0.0, "probable": CHANCE}.get(kind, math.nan),
        floor=floor,
        objective_gap=gap,
        residual_sd=typical * math.sqrt(about.mean * present) if measurable else math.nan,
        degrees_of_freedom=degrees,
        rank=p.rank,
        columns=len(p.T),
        condition=p.condition,
        dependent=p.dependent,
        worst_column=int(np.divide(away, p.spread, out=np.zeros_like(away), where=p.spread > 0).argmax()),
        measurable=measurable,
        outputs=output,
    )


def certify_by_gap(
    preconditioner: Preconditioner, gap: float, least: float, table: Table, *, noise: float, size: float,
    dispersion: float, step: NDArray[np.float64],
) -> Certificate:  # fmt: skip
    """Return the certificate of a fit whose losses are `gap` above their least at most, in a sum over rows.

    A dual solution has shown that, which is a proof but for rounding: `least` is the objective's sum over rows, `noise`
    that of the losses in it, and `size` that of what their residuals are differences of. A gap g counts as ``sqrt(2 g /
    dispersion)`` standard errors.
    """
    p = preconditioner
    floor = EPS * (4 * least + size / math.sqrt(table.present))
    known = dispersion > 0 and math.isfinite(dispersion) and noise > _NO_LOSS * size
    far, rounding = math.sqrt(2 * (max(gap, 0.0) + floor)), 2 * math.sqrt(floor)
    unit = math.sqrt(dispersion) if known else 1.0
    relative = max(gap, 0.0) / ((least if known else size) or 1.0)
    numbers = (far, rounding, far / unit if known else math.inf, relative, rounding / unit if known else math.inf)
    away = np.abs(step[:-1])
    return Certificate(
        bound=numbers[2],
        relative=relative,
        kind="exact",
        failure_probability=0.0,
        floor=numbers[4],
        objective_gap=(max(gap, 0.0) + floor) / table.n,
        residual_sd=unit * math.sqrt(table.present / table.n) if known else math.nan,
        degrees_of_freedom=table.present - p.intercept - p.degrees,
        rank=p.rank,
        columns=len(p.T),
        condition=p.condition,
        dependent=p.dependent,
        worst_column=int(np.divide(away, p.spread, out=np.zeros_like(away), where=p.spread > 0).argmax()),
        measurable=known,
        outputs=_alone(*numbers, known),
    )
