"""Conjugate gradients with the factor R of a sketch: one fused product a pass, restarted from the true residual.

V. Rokhlin and M. Tygert, A fast randomized algorithm for overdetermined linear least-squares regression, *PNAS* 105
(2008) 13212-13217; E. N. Epperly, M. Meier and Y. Nakatsukasa, Fast randomized least-squares solvers can be just as
accurate and stable as classical direct solvers, 2024 (arXiv 2406.03468), for the restart.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._certificate import EXACT_WITHIN
from gradstep._dense_algebra import symmetric
from gradstep._kernels.rows import EPS
from gradstep._preconditioner import Preconditioner, noisy
from gradstep._solvers.certified import State, begun, is_whole, settled, whole
from gradstep._solvers.sampled import begin
from gradstep._table.table import Table
from gradstep._table.terms import Evidence

_FURTHEST = 1e-10  # of a residual: what rounding lets a recursion come down to, beyond which it is taken anew
_AIM = 0.5  # of the distance asked for: the recursion's residual is not quite the true one
_LEAST = 1e-4  # of what rounding may come to: the luckiest was a few times that
_HOPELESS = 30  # products, after which a recursion is taken anew


class Cg(NamedTuple):
    """Conjugate gradients on a table, with a ridge of strength alpha."""

    alpha: float
    intercept: bool
    seed: int
    tol: float
    max_passes: int

    def start(self, table: Table, earlier: NDArray[np.float64] | None = None) -> State:
        """Return the state after the sketch and a look at the solution that it gives, or at an earlier one."""
        if is_whole(table, self.intercept):
            return whole(table, self.alpha, earlier, intercept=self.intercept)
        p, scaled, evidence, _ = begin(table, earlier, self.seed, self.tol, alpha=self.alpha, intercept=self.intercept)
        return begun(table, State(p, scaled, evidence, 1), self.tol)

    def advance(self, table: Table, state: State) -> State:
        """Take products until the recursion is where it should be, or the passes are spent; then look."""
        if state.preconditioner.kind == "exact":
            return settled(table, state, self.tol)
        left = self.max_passes - table.passes - 1
        return directions(table, state, self.tol, left)

    def reads(self, state: State) -> int:
        """Return how many passes the next round takes at least."""
        if state.preconditioner.kind == "exact":
            return 1 if state.evidence else 2
        return 2


def directions(table: Table, state: State, tol: float, most: float) -> State:
    """Return the state after conjugate gradients from the residual of a state, and a look at where they lead.

    They end where the residual promises half of `tol` standard errors, after `most` products, or at rounding. A Ritz
    value may show that the sketch stretches a direction by more than it should: then what the certificate allows for is
    widened.
    """
    p, evidence = state.preconditioner, state.evidence
    assert evidence is not None  # noqa: S101 - a round ends with it
    scaled, ritz = conjugate(table, p, state.scaled, evidence, goal(table, state, tol), most)
    if ritz < (1 + p.stretch) ** -2 * (1 - 1e-6):
        p = replace(p, stretch=ritz**-0.5 * (1 + p.stretch) - 1)
    if not p.intercept:
        scaled[-1] = 0.0
    return replace(
        state, preconditioner=p, scaled=scaled, evidence=p.evidence(table, scaled, tol), epoch=state.epoch + 1,
        settles=True,
    )  # fmt: skip


def goal(table: Table, state: State, tol: float) -> NDArray[np.float64]:
    """Return the norm of the whitened gradient, of each output, that is worth half of `tol` standard errors.

    Without noise it is worth half of what rounding may come to, or of what counts as exact if that is less; and never
    is it less than any rounding of weights has been seen to leave.
    """
    p, evidence = state.preconditioner, state.evidence
    assert evidence is not None  # noqa: S101 - a round ends with it
    degrees = table.present - p.intercept - p.degrees
    far = (1 + p.stretch) * p.distance(evidence)
    squares = np.maximum(evidence.squares - far * far, 0.0)
    aim = tol * np.sqrt(squares / max(degrees, 1.0))
    rounding = p.rounding(evidence, state.scaled)
    about, level = p.fitted(state.scaled)
    exact = np.minimum(rounding, EXACT_WITHIN * about)
    aim = np.where(noisy(np.sqrt(evidence.squares), about, level, rounding), aim, exact)
    return _AIM * np.maximum(aim, _LEAST * rounding) / (1 + p.stretch)


def conjugate(
    table: Table, p: Preconditioner, scaled: NDArray[np.float64], evidence: Evidence, goal: NDArray[np.float64],
    most: float,
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Return the weights that the recursion ends at, and the least Ritz value met, by outputs side by side."""
    T, centre = p.T, p.centre
    level = 1.0 / math.sqrt(p.total) if p.intercept else 0.0
    s = np.vstack((T.T @ evidence.slopes, evidence.by_level * level))
    q, z, rho = s.copy(), np.zeros_like(s), (s * s).sum(axis=0)
    first, lengths, shares = rho.copy(), [], []
    alive = rho > np.square(np.maximum(goal, _FURTHEST * np.sqrt(first)))
    for _ in range(max(1, min(_HOPELESS, math.floor(most)))):
        if not alive.any():
            break
        direction = np.vstack((T @ q[:-1], level * q[-1]))
        product = table.curvature(p.units, centre, direction)
        product[:-1] += p.ridge[:, np.newaxis] * direction[:-1]
        product = np.vstack((T.T @ product[:-1], level * product[-1]))
        curvature = (q * product).sum(axis=0)
        length = np.divide(rho, curvature, out=np.zeros_like(rho), where=alive & (curvature > 0))
        z += length * q
        s -= length * product
        after = (s * s).sum(axis=0)
        share = np.divide(after, rho, out=np.zeros_like(rho), where=alive & (rho > 0))
        q = s + share * q
        lengths.append(length)
        shares.append(share)
        rho = after
        alive &= (rho > np.square(np.maximum(goal, _FURTHEST * np.sqrt(first)))) & (length > 0)
    by = np.empty_like(scaled)
    by[:-1] = T @ z[:-1]
    by[-1] = level * z[-1] - centre @ by[:-1]
    return scaled + by, _least_ritz(np.array(lengths), np.array(shares))


def _least_ritz(lengths: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    """Return the least eigenvalue of the tridiagonal matrices that recursions stand for: C. Lanczos (1952)."""
    least = math.inf
    for length, share in zip(lengths.T, shares.T, strict=True):
        taken = np.count_nonzero(length)
        if taken == 0:
            continue
        diagonal = 1 / length[:taken]
        diagonal[1:] += share[: taken - 1] / length[: taken - 1]
        beside = np.sqrt(share[: taken - 1]) / length[: taken - 1]
        least = min(least, float(symmetric(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[0][0]))
    return least * (1 + 64 * EPS) if math.isfinite(least) else math.inf
