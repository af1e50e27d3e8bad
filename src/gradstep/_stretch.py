"""By how much a sketch may stretch a direction: what the certificates of sketches allow for."""

from __future__ import annotations

import math

from gradstep._table.summed import STRIPES

CHANCE = math.exp(-8.0)
"""Share of seeds for which a sketch may stretch some direction by more than is said here."""

_HEAVIEST = 1 / 8
"""What a row of a repaired sample weighs of a direction at most: twice what it should, for what leverages are off."""

ENOUGH = 64
"""Rows a column of a sample, of which that holds: of fewer, like rows that were drawn too often hide their weight."""


def of_signs(columns: float, rows: int) -> float:
    """Return rho of `rows` rows of sparse signs, ``norm(S X u) <= (1 + rho) norm(X u)``, for so many columns.

    It is the larger of two numbers. Of Gaussian sketches it is ``(sqrt(d) + 4) / sqrt(m)``, but for a share
    ``exp(-4**2 / 2)`` (K. R. Davidson and S. J. Szarek, *Handbook of the Geometry of Banach Spaces* 1, 2001, theorem
    2.13). Sparse signs are worst of rows that each have a direction to themselves: the fullest bucket, of L of them,
    stands out of the other buckets' spectrum as a spike of ``L / 16`` does (J. Baik, G. Ben Arous and S. Peche, *Annals
    of Probability* 33 (2005) 1643-1697): its square is ``c + 1 / (1 - gamma / c)``, ``c = L / 16``, ``gamma = d / m``.
    How many fall into a bucket is as good as a Poisson number. `asv_bench/stretch.py` tries it.
    """
    columns = max(columns, 1.0)
    gaussian = (math.sqrt(columns) + 4) / math.sqrt(rows)
    share = columns / rows
    load = 1
    while rows * _chance_of_more(load, STRIPES * share) > CHANCE:
        load += 1
    c = load / STRIPES
    if c <= math.sqrt(share) * (1 + math.sqrt(share)):  # hidden among the others
        return gaussian
    return max(gaussian, math.sqrt(c + 1 / (1 - share / c)) - 1)


def _chance_of_more(load: int, mean: float) -> float:
    """Return the chance that a Poisson number is above `load`."""
    return sum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(load + 1, load + 60))


def of_sample(columns: float, rows: int, share: float) -> float:
    """Return rho of a repaired sample, whose rows each weigh an eighth of any direction at most.

    Of fewer than 64 rows a column that cannot be relied on; but rows that stand for others, each times `share`, sum to
    ``share**2`` of what all rows do at most.

    J. A. Tropp, User-friendly tail bounds for sums of random matrices, *Foundations of Computational Mathematics* 12
    (2012) 389-434, theorem 1.1: ``(1 + x) log(1 + x) - x = (log(d) + 8) / 8`` for the square.
    """
    if rows < ENOUGH * columns:
        return max(share - 1.0, 0.0)
    asked = _HEAVIEST * (math.log(max(columns, 1.0)) - math.log(CHANCE))
    x = asked
    for _ in range(50):  # Newton's method on a convex function
        x -= ((1 + x) * math.log1p(x) - x - asked) / math.log1p(x)
    return math.sqrt(1 + x) - 1
