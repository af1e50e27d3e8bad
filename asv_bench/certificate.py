"""Look for a certificate below the truth: ``python asv_bench/certificate.py [--seeds N] [--rows N] [--columns D ...]``.

Every table of ``tests/hard_tables.py`` is fitted exactly, and the distance that the certificate allows is compared with
the distance from the truth in 80-bit numbers, or in decimals where those would condemn it. The same is done with what a
sketch and a repaired sample certify, of three iterates each: their bounds hold for all but a stated share of seeds.
``tests/test_certificate.py`` does it with a few seeds; here are as many as it takes to see a failure that is so rare.

All processors are busy with it: 10,000 seeds take two of them some hours, ``--seeds 40`` a minute.
"""

import argparse
import multiprocessing
import os
import sys
from collections import defaultdict
from decimal import Decimal, localcontext
from functools import partial
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import NamedTuple

# Before NumPy is imported: there is a process a core already.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from scipy import stats

import gradstep as gs
from gradstep import _drawn, _input, _preconditioner, _stretch
from gradstep._certificate import certify
from gradstep._solvers.certified import in_callers_units
from gradstep._table.dense import Dense
from gradstep._table.terms import NO_ORDER
from hard_tables import HAS_LONG, Truth, tables

CONFIDENCE = 0.999  # that no cell of the table is condemned by chance
ITERATES = 3
DECIMALS = 150  # of which a condition of 1e10 and scales of 1e-8 take some 60
SECONDS_BETWEEN_LINES = 20

decimals = np.vectorize(Decimal, otypes=[object])


class Check(NamedTuple):
    """What one table with one seed gave: pairs of the certified bound and the true distance, in standard errors."""

    kind: str
    columns: int
    seed: int
    exact: np.ndarray
    """(2,)"""
    probable: np.ndarray
    """(preconditioners, iterates, 2)"""


class Cell(NamedTuple):
    """A line of the report: all seeds of a kind of table with so many columns."""

    kind: str
    columns: int
    seeds: np.ndarray
    exact: np.ndarray
    probable: np.ndarray


def check_seed(seed, rows, columns):
    """Return the checks of a seed; they are all that its process sends back."""
    return [Check(kind, d, seed, *pairs(X, y, seed)) for d in columns for kind, X, y in tables(rows, d, seed)]


def pairs(X, y, seed):
    """Return the pair of the exact fit, and those of sketched and repaired preconditioners on the way to it."""
    truth = Truth(X, y)

    def pair(bound, coef, intercept):
        distance = truth.distance(coef, intercept)
        # 80 bits are rounded too, by some 1e-19 times the condition: what they condemn is heard again.
        return bound, distance if distance <= bound else distance_in_decimals(X, y, coef, intercept)

    fit = gs.fit(X, y, solver="exact", check=False, seed=seed)
    exact = np.array(pair(fit.certificate.bound, fit.coef, fit.intercept))
    table = Dense(_input.rows(X, y), gs.squared(), None)
    return exact, np.array([on_the_way(preconditioner, table, pair) for preconditioner in drawn(table, seed)])


def distance_in_decimals(X, y, coef, intercept):
    """Return the distance from the exact coefficients in standard errors, as `Truth` does, but beyond any rounding."""
    with localcontext(prec=DECIMALS):
        A, b, w = (decimals(part) for part in (np.column_stack((X, np.ones(len(X)))), y, np.append(coef, intercept)))
        residual = b - A @ w
        slopes = A.T @ residual
        moved = slopes @ solution(A.T @ A, slopes)  # the squared norm of what the fitted values are off by
        variance = (residual @ residual - moved) / (len(A) - len(w))
        return float((moved / variance).sqrt())


def solution(G, right):
    """Solve by Gauss and Jordan's elimination, which a positive definite matrix lets go without exchanges."""
    rows = np.column_stack((G, right))
    for j in range(len(G)):
        rows[j] /= rows[j, j]
        others = np.arange(len(G)) != j
        rows[others] -= np.outer(rows[others, j], rows[j])
    return rows[:, -1]


def drawn(table, seed):
    """Return the preconditioners that a seed draws and that certify something."""
    arguments = (table, *_preconditioner.units_of(table, NO_ORDER, intercept=True), seed)
    rough = _drawn.sampled(*arguments, alpha=0.0, intercept=True)
    return [
        _drawn.sketched(*arguments, alpha=0.0, intercept=True),
        _drawn.repaired(table, rough, seed, 0.0),
    ]


def on_the_way(preconditioner, table, pair):
    """Return the pairs of the iterates from the solution that a preconditioner gives."""
    scaled = preconditioner.solution()
    found = []
    for _ in range(ITERATES):
        evidence = preconditioner.evidence(table, scaled)
        w = in_callers_units(scaled, preconditioner.units)
        bound = certify(preconditioner, evidence, scaled, table).bound
        found.append(pair(bound, w[:-1, 0], w[-1, 0]))
        scaled = scaled + preconditioner.step(evidence)
    return found


def over_seeds(seeds, rows, columns):
    """Return the checks of all seeds, a process a core, and say on the way how far they are."""
    checks, began, said = [], monotonic(), monotonic()
    with multiprocessing.Pool() as pool:
        work = partial(check_seed, rows=rows, columns=columns)
        for done, found in enumerate(pool.imap_unordered(work, range(seeds)), start=1):
            checks += found
            if monotonic() - said > SECONDS_BETWEEN_LINES:
                said = monotonic()
                print(f"{done} of {seeds} seeds after {said - began:.0f} s", file=sys.stderr, flush=True)
    return checks


def cells_of(checks):
    """Return the checks by number of columns and kind of table, each in the order in which they were made."""
    by_cell = defaultdict(list)
    for check in sorted(checks, key=attrgetter("seed")):
        by_cell[check.columns, check.kind].append(check)
    return [
        Cell(
            kind, d, *(np.array([getattr(check, name) for check in of_cell]) for name in ("seed", "exact", "probable"))
        )
        for (d, kind), of_cell in by_cell.items()
    ]


def violated(of_pairs):
    bound, truth = of_pairs[..., 0], of_pairs[..., 1]
    return ~(truth <= bound)


def failed(cell):
    """Return which preconditioners have a bound that failed at any iterate: each is one draw, right or wrong."""
    return violated(cell.probable).any(axis=-1)


def allowed(cell, cells):
    """Return how many preconditioners may fail before it is more than their stated probability.

    Some line or other of many will be unlucky: each has its share of the doubt that is left.
    """
    return int(stats.binom.ppf(1 - (1 - CONFIDENCE) / cells, failed(cell).size, _stretch.CHANCE))


def looseness(of_pairs):
    """Return median and largest bound over truth. An infinite bound claims nothing, and a truth of 0 has no ratio."""
    bound, truth = of_pairs.reshape(-1, 2).T
    known = (truth > 0) & np.isfinite(bound)
    ratios = bound[known] / truth[known]
    return [f"{np.median(ratios):.3g}", f"{ratios.max():.3g}"] if len(ratios) else ["-", "-"]


def line(cell, cells):
    of_draws = failed(cell)
    return [
        cell.kind, cell.columns, len(cell.seeds), violated(cell.exact).sum(), *looseness(cell.exact),
        of_draws.size, of_draws.sum(), allowed(cell, cells), *looseness(cell.probable),
    ]  # fmt: skip


def markdown(cells):
    header = [
        "table", "d", "exact: checks", "violated", "median looseness", "largest",
        "probable: checks", "violated", "allowed", "median looseness", "largest",
    ]  # fmt: skip
    rule = ["---"] + ["---:"] * (len(header) - 1)
    lines = [header, rule, *(line(cell, len(cells)) for cell in cells)]
    return "\n".join(f"| {' | '.join(map(str, cells_of_line))} |" for cells_of_line in lines)


def verdict(cells):
    """Return what is wrong, a line each; nothing if nothing is."""
    wrong = [
        f"exact bound {bound:.6g} below the truth {truth:.6g}: {cell.kind}, d = {cell.columns}, seed {seed}"
        for cell in cells
        for seed, (bound, truth) in zip(cell.seeds, cell.exact, strict=True)
        if not truth <= bound
    ]
    for cell in cells:
        of_draws = failed(cell)
        if of_draws.sum() > allowed(cell, len(cells)):
            seeds = ", ".join(map(str, cell.seeds[of_draws.any(axis=1)]))
            wrong.append(f"probable bounds fail too often: {cell.kind}, d = {cell.columns}, seeds {seeds}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--columns", type=int, nargs="+", default=[1, 2, 5, 20, 50])
    options = parser.parse_args()
    if not HAS_LONG:
        sys.exit("there are no 80-bit numbers here to know the truth by")
    cells = cells_of(over_seeds(options.seeds, options.rows, options.columns))
    print(markdown(cells))
    wrong = verdict(cells)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
