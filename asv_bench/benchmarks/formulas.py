"""Every loss, penalty, schedule and option of the textbook method: an epoch of each, from the registries."""

import warnings

import numpy as np

import gradstep as gs
from gradstep._kernels.formula import examples
from gradstep.losses import DOMAINS

ROWS, COLUMNS = 30_000, 30  # fewer steps than the shortest schedule has


def by_name(registry):
    return {repr(one): one for one in examples(registry)}


LOSSES, PENALTIES, SCHEDULES = (
    by_name(registry) for registry in (gs.losses.LOSSES, gs.penalties.PENALTIES, gs.schedules.SCHEDULES)
)
LOSSES = {name: loss for name, loss in LOSSES.items() if not loss.relative}  # no step without units of y
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
    """One epoch without the check; a few rows compile what all of them run."""

    def prepare(self, loss, **options):
        X, y = gs.textbook.make_linear(np.full(COLUMNS, 0.1), 0.0, ROWS, noise=0.5)
        self.X, self.y = X, DOMAINS[loss.domain].into(y)
        self.options = {"step": 1e-4, "epochs": 1, "check": False, "loss": loss} | options
        warnings.simplefilter("ignore", gs.ConvergenceWarning)  # an epoch of small steps, to be timed
        gs.fit(self.X[:100], self.y[:100], **self.options)

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
