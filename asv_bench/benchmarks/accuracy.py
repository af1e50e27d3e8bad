"""Whether it is right: certificates beside 80-bit truth, and NIST's certified digits."""

import gradstep as gs

from . import _tables  # noqa: F401 - the path to what follows

import nist  # isort: skip
from hard_tables import Truth, tables  # isort: skip

ROWS, COLUMNS = 20_000, 6
KINDS = ["condition 1e+00", "condition 1e+08", "heavy tails", "spikes", "sorted dummies of three rows each",
         "means 1e6 away"]  # fmt: skip


class Certificate:
    """What is certified over how far the fit is: never below 1, or the certificate is wrong."""

    params = (["sgd", "cg", "exact"], KINDS)
    param_names = ("solver", "table")

    def setup(self, solver, name):
        self.X, self.y = next((X, y) for kind, X, y in tables(ROWS, COLUMNS, 0) if kind == name)
        self.fit = gs.fit(self.X, self.y, solver=solver, check=False)

    def track_over_truth(self, *_):
        return self.fit.certificate.bound / Truth(self.X, self.y).distance(self.fit.coef, self.fit.intercept)

    track_over_truth.unit = "bound over distance"


class Nist:
    """Digits of 16 that the worst coefficient of a set lacks: asv takes what grows for a regression."""

    params = (list(nist.ASKED),)
    param_names = ("set",)

    def track_digits_lost(self, name):
        problem = nist.problem(name)
        return nist.MOST - nist.digits(nist.by_gradstep(problem), problem.coef)

    track_digits_lost.unit = "digits"
