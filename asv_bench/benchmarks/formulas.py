"""Each loss, penalty, schedule and option of the textbook method: an epoch of each, from the registries."""

import warnings

import numpy as np

import gradstep as gs
from gradstep.losses import DOMAINS

ROWS, COLUMNS = 30_000, 30  # fewer steps than the shortest schedule has


def by_name(registry, usable=lambda _: True):
    """Return an example of each constructor; what else its arguments may be takes the same kernel."""
    examples = (next(one for one in (make(*tried) for tried in of) if usable(one)) for make, of in registry.items())
    return {repr(one): one for one in examples}


LOSSES = by_name(gs.losses.LOSSES, lambda loss: not loss.relative)  # no step without units of y
PENALTIES, SCHEDULES = by_name(gs.penalties.PENALTIES), by_name(gs.schedules.SCHEDULES)
SOLVERS = {
    "plain": gs.sgd(),
    "order: once": gs.sgd(shuffle="once"),
    "order: blocks": gs.sgd(shuffle="blocks"),
    "order: as it stands": gs.sgd(shuffle=False),
    "heavy ball": gs.sgd(momentum=0.9),
    "nesterov": gs.sgd(momentum=0.9, nesterov=True),
    "averaged": gs.sgd(average=True),
}


class _Epoch:
    """One epoch without the check."""

    def prepare(self, loss, **options):
        X, y = gs.textbook.make_linear(np.full(COLUMNS, 0.1), 0.0, ROWS, noise=0.5)
        self.X, self.y = X, DOMAINS[loss.domain].into(y)
        self.options = {"step": 1e-4, "epochs": 1, "check": False, "loss": loss} | options
        warnings.simplefilter("ignore", gs.ConvergenceWarning)  # an epoch of small steps, to be timed
        self.time_fit()  # compiles

    def time_fit(self, *_):
        gs.fit(self.X, self.y, **self.options)


class Loss(_Epoch):
    """Each loss, squared first."""

    params = (list(LOSSES),)
    param_names = ("loss",)

    def setup(self, name):
        self.prepare(LOSSES[name])


class Penalty(_Epoch):
    """Each penalty on the squared loss."""

    params = (list(PENALTIES),)
    param_names = ("penalty",)

    def setup(self, name):
        self.prepare(gs.squared(), penalty=PENALTIES[name])


class Schedule(_Epoch):
    """Each schedule of step sizes."""

    params = (list(SCHEDULES),)
    param_names = ("schedule",)

    def setup(self, name):
        self.prepare(gs.squared(), step=SCHEDULES[name])


class Solver(_Epoch):
    """Orders of rows, momentum and averaging."""

    params = (list(SOLVERS),)
    param_names = ("solver",)

    def setup(self, name):
        self.prepare(gs.squared(), solver=SOLVERS[name])
