"""Count NIST's certified digits that come out right: ``python asv_bench/nist.py [--write FILE]``.

Eleven of the Statistical Reference Datasets for linear least squares, each solved by several methods as they come, from
the design matrix with its powers as float64 holds them: what is lost there is lost to all of them.

scikit-learn and statsmodels are optional: ``pip install scikit-learn statsmodels``.
"""

import argparse
import json
import os
import platform
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# Before NumPy is imported: the last digit depends on the order of sums, and that on threads.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import scipy.linalg

import gradstep as gs

DATA = Path(__file__).parents[1] / "tests" / "data"

ASKED = {
    "Norris": 13.9, "Pontius": 13.3, "NoInt1": 14.5, "NoInt2": 14.5, "Longley": 14.4, "Wampler1": 13, "Wampler2": 13,
    "Wampler3": 13, "Wampler4": 11.5, "Wampler5": 9.3, "Filip": 7.4,
}  # fmt: skip
"""Correct digits of gradstep's worst coefficient, at least."""

MOST = 16.0  # digits that a float64 can have right
COMMAND = "python asv_bench/nist.py --write docs/nist.md"


class Problem(NamedTuple):
    """A set of NIST's with what is certified of it."""

    name: str
    X: np.ndarray
    y: np.ndarray
    intercept: bool
    coef: np.ndarray
    """The intercept first, if there is one."""
    residual_sd: float
    r2: float


class Method(NamedTuple):
    """A way to solve them, and the module without which there is none."""

    name: str
    module: str
    coefficients: Callable[[Problem], np.ndarray]


def problem(name):
    data = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    X = np.array(data["X"], dtype=float)
    if data["polynomial_degree"]:
        X = X ** np.arange(1, data["polynomial_degree"] + 1)
    return Problem(
        name, X, np.array(data["y"], dtype=float), data["intercept"], np.array(data["certified_coef"]),
        data["certified_resid_sd"], data["certified_r2"],
    )  # fmt: skip


def design(p):
    """Return the columns for a method that has no intercept of its own."""
    return np.column_stack((np.ones(len(p.X)), p.X)) if p.intercept else p.X


def fitted(p):
    return gs.fit(p.X, p.y, intercept=p.intercept)


def by_gradstep(p):
    fit = fitted(p)
    return np.append(fit.intercept, fit.coef) if p.intercept else fit.coef


def by_numpy(p):
    return np.linalg.lstsq(design(p), p.y, rcond=None)[0]


def by_gelsd(p):
    return scipy.linalg.lstsq(design(p), p.y, lapack_driver="gelsd")[0]


def by_gelsy(p):
    return scipy.linalg.lstsq(design(p), p.y, lapack_driver="gelsy")[0]


def by_linear_regression(p):
    from sklearn.linear_model import LinearRegression

    return of_estimator(LinearRegression(fit_intercept=p.intercept), p)


def by_sgd_regressor(p):
    from sklearn.linear_model import SGDRegressor

    return of_estimator(SGDRegressor(fit_intercept=p.intercept, random_state=0), p)


def of_estimator(estimator, p):
    estimator.fit(p.X, p.y)
    return np.append(estimator.intercept_, estimator.coef_) if p.intercept else estimator.coef_


def by_statsmodels(p):
    from statsmodels.regression.linear_model import OLS

    return OLS(p.y, design(p)).fit().params


METHODS = (
    Method("gradstep", "gradstep", by_gradstep),
    Method("numpy lstsq", "numpy", by_numpy),
    Method("scipy lstsq, gelsd", "scipy", by_gelsd),
    Method("scipy lstsq, gelsy", "scipy", by_gelsy),
    Method("scikit-learn LinearRegression", "sklearn", by_linear_regression),
    Method("scikit-learn SGDRegressor", "sklearn", by_sgd_regressor),
    Method("statsmodels OLS", "statsmodels", by_statsmodels),
)


def digits(found, certified):
    """Return the correct digits of the worst of some numbers: 0 for what is no number, or wrong from the first on."""
    error = float(np.max(np.abs(np.divide(found, certified) - 1)))
    if not error < 1:
        return 0.0
    return MOST if error == 0 else min(MOST, -np.log10(error))


def digits_of(method, p):
    """Return the correct digits of a method's worst coefficient, 0 where it fails; None where it is not installed."""
    if find_spec(method.module) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return digits(method.coefficients(p), p.coef)
    except (ArithmeticError, ValueError):
        return 0.0


def markdown(header, lines):
    """Return a table whose first column is text and whose others are numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *lines))


def table_of_digits(problems, found):
    lines = [
        [p.name, f"{ASKED[p.name]:.1f}", *("-" if value is None else f"{value:.1f}" for value in found[p.name])]
        for p in problems
    ]
    return markdown(["set", "asked", *(method.name for method in METHODS)], lines)


def table_of_gradstep(problems):
    header = [
        "set", "residual sd, certified", "found", "digits", "R2, certified", "found", "digits",
        "bound, in standard errors",
    ]  # fmt: skip
    return markdown(header, [[p.name, *cells_of_gradstep(p)] for p in problems])


def cells_of_gradstep(p):
    fit = fitted(p)
    found = ((p.residual_sd, fit.certificate.residual_sd), (p.r2, fit.r2))
    cells = [
        cell for certified, value in found for cell in (f"{certified:.15g}", f"{value:.15g}", near(value, certified))
    ]
    return [*cells, f"{fit.certificate.bound:.2g}"]


def near(value, certified):
    """Return the correct digits, or the absolute difference from 0, which has none."""
    return f"{digits(value, certified):.1f}" if certified else f"off by {abs(value):.1g}"


def versions():
    names = ("gradstep", "numpy", "scipy", "scikit-learn", "statsmodels")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {installed(name)}" for name in names)])


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def page(of_digits, of_gradstep):
    return f"""# NIST's certified digits

The US National Institute of Standards and Technology has certified the answers to eleven problems of linear least
squares. The first table counts the digits that come out right in the worst coefficient of each, from the design matrix
with its powers as float64 holds them: `asked` is what gradstep promises, the next column what it gave, and the others
what other methods gave with their defaults, 0 where the first digit is wrong or there is no answer. Filip's ten powers
are rounded there: the exact solution has 7.7 of its digits, and more is luck.

{of_digits}

The second table has what else is certified beside what gradstep found, and its certificate: no linear combination of
the coefficients is further from the exact solution for these float64 numbers than the bound, in its own standard
errors. Wampler1 and Wampler2 have no noise: their residuals are rounding, and so are their standard errors.

{of_gradstep}

Made by `{COMMAND}` with
{versions()}.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the page of the documentation there")
    options = parser.parse_args()

    problems = [problem(name) for name in ASKED]
    found = {p.name: [digits_of(method, p) for method in METHODS] for p in problems}
    of_digits, of_gradstep = table_of_digits(problems, found), table_of_gradstep(problems)
    print(f"{of_digits}\n\n{of_gradstep}")
    if options.write:
        options.write.write_text(page(of_digits, of_gradstep), encoding="utf-8")
    missed = [name for name, asked in ASKED.items() if found[name][0] < asked]
    if missed:
        sys.exit(f"fewer digits than asked: {', '.join(f'{name} {found[name][0]:.2f}' for name in missed)}")


if __name__ == "__main__":
    main()
