"""Minibatch SGD as the textbooks have it: `fit`, and the closed form it is checked against.

asv runs each case in a process of its own, so `setup` compiles the kernel by one fit before the clock starts.
"""

import warnings

import numpy as np

import gradstep as gs

ROWS = 100_000


def table(columns, dtype="float64"):
    X, y = gs.textbook.make_linear(np.ones(columns), 1.0, ROWS, noise=1.0)
    return X.astype(dtype), y


class Example:
    """The textbook example: 1,000 rows of 2 columns, 3 epochs in batches of 10, check included."""

    def setup(self):
        self.X, self.y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
        self.fit()

    def fit(self):
        return gs.fit(self.X, self.y, step=0.03, batch_size=10, epochs=3)

    def time_fit(self):
        self.fit()

    def track_distance(self):
        """Distance to the closed form: when it changes, the method has changed and not the speed."""
        return self.fit().check.distance

    track_distance.unit = "standard errors"


class Epoch:
    """One epoch without the check: shuffled float64 rows in batches of 32, and with one thing changed at a time."""

    params = ([10, 100], ["nothing", "dtype", "batch", "order"])
    param_names = ("columns", "changed")

    def setup(self, columns, changed):
        self.X, self.y = table(columns, "float32" if changed == "dtype" else "float64")
        self.batch_size = 256 if changed == "batch" else 32
        self.solver = gs.sgd(shuffle=changed != "order")
        warnings.simplefilter("ignore", gs.ConvergenceWarning)  # an epoch of small steps, to be timed
        self.time_fit()  # compiles

    def time_fit(self, *_):
        gs.fit(self.X, self.y, step=0.001, batch_size=self.batch_size, epochs=1, solver=self.solver, check=False)


class ClosedForm:
    """The check by itself."""

    params = ([10, 100],)
    param_names = ("columns",)

    def setup(self, columns):
        self.X, self.y = table(columns)

    def time_closed_form(self, *_):
        gs.closed_form(self.X, self.y)
