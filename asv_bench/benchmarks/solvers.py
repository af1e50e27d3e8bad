"""Certified fits: least squares by each solver, and the other losses without a step on a small table.

Small tables are fitted to the last digit, long ones to 0.01 standard errors. asv runs each case in a process of its
own, so `setup` fits once before the clock starts: kernels come from the disk, where an earlier process has left them.
"""

import gradstep as gs
from gradstep.losses import DOMAINS

from ._tables import compile_for, only_if_large, table

SOLVERS = ["sgd", "cg", "exact", "auto"]
TABLES = {
    "100 x 5": (100, 5),
    "1,000 x 20": (1000, 20),
    "100,000 x 20": (100_000, 20),
    "100,000 x 20, float32": (100_000, 20, 1e0, "float32"),
    "100,000 x 20, condition 1e8": (100_000, 20, 1e8),
    "10,000 x 200": (10_000, 200),
}
LARGE_TABLES = {
    "2,000,000 x 50": (2_000_000, 50),
    "2,000,000 x 50, float32": (2_000_000, 50, 1e0, "float32"),
    "2,000,000 x 50, condition 1e8": (2_000_000, 50, 1e8),
    "100,000 x 1,000": (100_000, 1000),
}
LOSSES = {repr(loss): loss for loss in (make(*tried[0]) for make, tried in gs.losses.LOSSES.items())}


class Fit:
    """A fit without the check; the table's name says what differs from well conditioned float64 columns."""

    params = (SOLVERS, list(TABLES))
    param_names = ("solver", "table")
    tables = TABLES

    def setup(self, solver, name):
        self.solver = solver
        self.X, self.y = table(*self.tables[name])
        compile_for(self.X)
        self.fit()  # compiles the rest

    def fit(self):
        return gs.fit(self.X, self.y, solver=self.solver, check=False)

    def time_fit(self, *_):
        self.fit()


class Large(Fit):
    """Tables that need a gigabyte and seconds, with ASV_LARGE=1."""

    params = (["sgd", "auto"], list(LARGE_TABLES))
    tables = LARGE_TABLES
    timeout = 600

    def setup(self, solver, name):
        only_if_large()
        super().setup(solver, name)


class Cost:
    """What fits read and prove: where these change, the arithmetic has changed and not the speed."""

    params = (SOLVERS,)
    param_names = ("solver",)

    def setup(self, solver):
        self.fit = gs.fit(*table(*TABLES["100,000 x 20, condition 1e8"]), solver=solver, check=False)

    def track_passes(self, *_):
        return self.fit.passes

    track_passes.unit = "passes"

    def track_row_reads(self, *_):
        return self.fit.row_reads / self.fit.rows

    track_row_reads.unit = "rows read over rows"

    def track_bound(self, *_):
        return self.fit.certificate.bound

    track_bound.unit = "standard errors"


class Loss:
    """Each loss without a step, and the lasso, on 4,000 rows of 10 columns."""

    params = ([*LOSSES, "lasso"],)
    param_names = ("loss",)

    def setup(self, name):
        loss = LOSSES.get(name, gs.squared())
        self.X, y = table(4000, 10)
        self.y = DOMAINS[loss.domain].into(y)
        self.options = {"loss": loss, "penalty": gs.l1(0.1) if name == "lasso" else None, "check": False}
        self.passes = self.fit().passes

    def fit(self):
        return gs.fit(self.X, self.y, **self.options)

    def time_fit(self, *_):
        self.fit()

    def track_passes(self, *_):
        return self.passes

    track_passes.unit = "passes"


class Checked:
    """What the check adds."""

    def setup(self):
        self.X, self.y = table(100, 5)
        compile_for(self.X)
        gs.fit(self.X, self.y)

    def time_fit(self):
        gs.fit(self.X, self.y)


class Predict:
    """Scores in double-double arithmetic."""

    params = (["float64", "float32"],)
    param_names = ("dtype",)

    def setup(self, dtype):
        self.X, y = table(100_000, 50, dtype=dtype)
        self.fit = gs.fit(self.X, y, check=False)
        self.fit.predict(self.X)

    def time_predict(self, *_):
        self.fit.predict(self.X)
