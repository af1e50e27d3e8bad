"""Certified least squares by each solver: small tables to the last digit, long ones to 0.01 standard errors."""

import numpy as np

import gradstep as gs


def table(rows, columns, condition):
    """Return columns of this condition and a response."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    X = (rng.standard_normal((rows, columns)) * np.logspace(0, -np.log10(condition), columns)) @ turn.T
    return X, X @ rng.standard_normal(columns) + rng.standard_normal(rows)


class Fit:
    """A fit without the check, of columns that are well conditioned and not."""

    params = (["sgd", "cg", "exact"], ["100 x 5", "1000 x 20", "100000 x 10", "100000 x 50"], [1e0, 1e8])
    param_names = ("solver", "table", "condition")

    def setup(self, solver, size, condition):
        self.solver = solver
        self.X, self.y = table(*map(int, size.split(" x ")), condition)
        self.fit()

    def fit(self):
        return gs.fit(self.X, self.y, solver=self.solver, check=False)

    def time_fit(self, *_):
        self.fit()

    def track_bound(self, *_):
        """Watch what is certified: when it changes, the arithmetic has changed and not the speed."""
        return self.fit().certificate.bound

    track_bound.unit = "standard errors"

    def track_passes(self, *_):
        return self.fit().passes

    track_passes.unit = "passes"


class Checked:
    """What the check adds."""

    def setup(self):
        self.X, self.y = table(100, 5, 1e0)
        gs.fit(self.X, self.y)

    def time_fit(self):
        gs.fit(self.X, self.y)


class Predict:
    """Scores in double-double arithmetic."""

    def setup(self):
        self.X, y = table(100_000, 50, 1e0)
        self.fit = gs.fit(self.X, y, check=False)
        self.fit.predict(self.X)

    def time_predict(self):
        self.fit.predict(self.X)
