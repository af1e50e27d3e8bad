"""A fit goes on where an earlier one stopped, as if it had never stopped."""

import contextlib
import dataclasses
import os
import pickle
import signal
import threading

import numpy as np
import pytest

import gradstep as gs
from conftest import needs_jit
from gradstep._kernels.formula import examples
from gradstep.losses import DOMAINS, LOSSES
from gradstep.schedules import SCHEDULES

N, D = 101, 3  # a last batch that is not full


def table(k=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D))
    shape = (N,) if k is None else (N, k)
    return X, (X @ rng.standard_normal((D, k or 1))).reshape(shape) + 0.3 * rng.standard_normal(shape)


def assert_same(fit, other):
    """Compare everything that is not time."""
    np.testing.assert_array_equal(fit.coef, other.coef)
    np.testing.assert_array_equal(fit.intercept, other.intercept)
    assert fit.objective == other.objective
    for name in ("epoch", "objective", "exact_objective", "step"):
        np.testing.assert_array_equal(getattr(fit.history, name), getattr(other.history, name))
    assert (fit.state.step, fit.state.epoch, fit.state.row) == (other.state.step, other.state.epoch, other.state.row)


OPTIONS = {
    "plain": {},
    "heavy_ball": {"momentum": 0.6},
    "nesterov": {"momentum": 0.6, "nesterov": True},
    "averaged": {"average": True},
    "averaged_nesterov": {"momentum": 0.6, "nesterov": True, "average": True},
    "once": {"shuffle": "once", "exact_objective": True},
    "blocks": {"shuffle": "blocks"},
    "as_they_stand": {"shuffle": False, "momentum": 0.3, "average": True},
}
options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@options
@pytest.mark.parametrize("step", [0.02, gs.power_decay(0.02, 0.01)], ids=["constant", "decaying"])
@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("penalty", [None, gs.l1(0.05)], ids=["none", "l1"])
def test_ten_and_ten_epochs_are_twenty(options, step, k, penalty, device):
    X, y = table(k)
    epochs = 10 if device == "cpu" else 2
    arguments = {"step": step, "batch_size": 8, "penalty": penalty, "solver": gs.sgd(**options), "device": device}
    twice = gs.fit(X, y, epochs=2 * epochs, **arguments)
    once = gs.fit(X, y, epochs=epochs, **arguments)
    kept = once.coef.copy()
    assert_same(gs.fit(X, y, epochs=epochs, start=once, **arguments), twice)
    np.testing.assert_array_equal(once.coef, kept)  # what was gone on from is as it was
    assert_same(gs.fit(X, y, epochs=epochs, start=pickle.loads(pickle.dumps(once)), **arguments), twice)


@pytest.mark.parametrize("schedule", examples(SCHEDULES), ids=repr)
def test_every_schedule_goes_on(schedule):
    X, y = table()
    arguments = {"step": schedule, "batch_size": 8, "check": False}
    once = gs.fit(X, y, epochs=3, **arguments)
    assert_same(gs.fit(X, y, epochs=2, start=once, **arguments), gs.fit(X, y, epochs=5, **arguments))


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("loss", [loss for loss in examples(LOSSES) if not loss.relative], ids=repr)
def test_every_loss_goes_on(loss):
    X, y = table()
    arguments = {"y": DOMAINS[loss.domain].into(y), "loss": loss, "step": 0.02, "solver": gs.sgd(momentum=0.5)}
    once = gs.fit(X, epochs=3, **arguments)
    assert_same(gs.fit(X, epochs=2, start=once, **arguments), gs.fit(X, epochs=5, **arguments))


@options
@pytest.mark.parametrize("stopped_after", [1, 4, 6, 9])
def test_stopped_within_an_epoch_and_resumed_is_undisturbed(options, stopped_after, monkeypatch):
    X, y = table()
    # Calls of 33 rows: they end in the middle of a batch.
    monkeypatch.setattr("gradstep._table.dense.Dense.stop", lambda self, start, batch: min(start + 33, self.n))
    arguments = {
        "step": gs.inverse_decay(0.02, 0.01),
        "batch_size": 8,
        "solver": gs.sgd(**options),
        "penalty": gs.l2(0.1),
    }
    heard = []
    stopped = gs.fit(
        X, y, epochs=4, callbacks=[lambda now: heard.append(now) or len(heard) == stopped_after], **arguments
    )
    assert stopped.stop is gs.Stop.CALLBACK
    assert stopped.state.row not in {0, N} or stopped_after == 4
    left = 4 - stopped.state.epoch
    resumed = gs.fit(X, y, epochs=left, start=stopped, **arguments)
    assert_same(resumed, gs.fit(X, y, epochs=4, **arguments))


def test_an_interrupted_fit_goes_on():
    X, y = table()

    def interrupt(now):
        if now.epoch == 2:
            raise KeyboardInterrupt

    arguments = {"step": 0.02, "solver": gs.sgd(momentum=0.5)}
    with pytest.raises(gs.Interrupted) as raised:
        gs.fit(X, y, epochs=5, callbacks=[interrupt], **arguments)
    assert_same(gs.fit(X, y, epochs=3, start=raised.value.fit, **arguments), gs.fit(X, y, epochs=5, **arguments))


@needs_jit
@pytest.mark.parametrize("options", [{}, {"momentum": 0.5, "average": True}], ids=["plain", "averaged"])
def test_however_often_it_is_interrupted_it_ends_undisturbed(options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 10))
    y = X.sum(axis=1) + rng.standard_normal(len(X))
    arguments = {"step": gs.inverse_decay(0.01, 1e-4), "solver": gs.sgd(**options), "check": False}
    undisturbed = gs.fit(X, y, epochs=300, **arguments)
    fit, presses = None, 0
    while fit is None or fit.state.epoch < 300:
        timer = threading.Timer(rng.uniform(0.005, 0.05), os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            left = 300 - (fit.state.epoch if fit else 0)
            fit = gs.fit(X, y, epochs=left, start=fit, **arguments)
        except gs.Interrupted as interrupted:
            presses += 1
            fit = interrupted.fit
        except KeyboardInterrupt:
            presses += 1  # before the first step: nothing was lost
        finally:
            timer.cancel()
            with contextlib.suppress(KeyboardInterrupt):
                timer.join()
    assert presses >= 3
    assert np.isfinite(fit.history.objective).all()
    if np.isnan(fit.objective):  # interrupted after the last step
        fit = dataclasses.replace(fit, objective=undisturbed.objective)
    assert_same(fit, undisturbed)


def test_what_a_path_cost_adds_up():
    X, y = table()
    once = gs.fit(X, y, step=0.02, epochs=3)
    on = gs.fit(X, y, step=0.02, epochs=2, start=once)
    assert once.row_reads == 4 * N
    assert on.row_reads == 7 * N
    assert on.seconds > once.seconds
    assert np.all(np.diff(on.history.seconds) > 0)
    assert on.history.seconds[3] > once.seconds
    assert "5 epochs" in str(on)


def test_epochs_that_asked_for_no_objective_have_none():
    X, y = table()
    once = gs.fit(X, y, step=0.02, epochs=2)
    on = gs.fit(X, y, step=0.02, epochs=1, start=once, solver=gs.sgd(exact_objective=True))
    np.testing.assert_array_equal(np.isnan(on.history.exact_objective), [True, True, False])
    assert on.history.exact_objective[2] == on.objective
    assert "nan" in str(on.history)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 5},
        {"seed": 3},
        {"solver": gs.sgd(shuffle=False)},
        {"rows": 60},
        {"loss": gs.huber(1.0, absolute=True)},
    ],
    ids=["batch", "seed", "order", "rows", "loss"],
)
def test_with_other_batches_it_begins_the_epoch_anew(changed, monkeypatch):
    X, y = table()
    monkeypatch.setattr("gradstep._table.dense.Dense.stop", lambda self, start, batch: min(start + 33, self.n))
    stopped = gs.fit(X, y, step=0.02, batch_size=8, callbacks=[lambda now: True])
    assert (stopped.state.row, stopped.state.step) == (33, 4)
    rows = changed.pop("rows", N)
    fit = gs.fit(X[:rows], y[:rows], **{"step": 0.02, "batch_size": 8, "epochs": 1, "start": stopped} | changed)
    batch = changed.get("batch_size", 8)
    assert fit.state.step == 4 + -(-rows // batch)
    assert fit.state.epoch == 1


@pytest.mark.parametrize("before", [{}, {"momentum": 0.6, "nesterov": True}, {"momentum": 0.6}, {"average": True}])
@pytest.mark.parametrize("now", [{}, {"momentum": 0.6, "nesterov": True}, {"momentum": 0.6}, {"average": True}])
def test_options_that_change_begin_at_the_coefficients(before, now):
    X, y = table()
    once = gs.fit(X, y, step=0.02, epochs=2, solver=gs.sgd(**before))
    on = gs.fit(X, y, step=0.02, epochs=1, batch_size=N, start=once, solver=gs.sgd(**now))
    if before == now and now:
        return
    w = np.append(once.coef, once.intercept)
    dw, db = gs.textbook.gradient(X, y, w[:-1], w[-1])
    expected = w - 0.02 * np.append(dw, db)
    np.testing.assert_allclose(np.append(on.coef, on.intercept), expected, rtol=1e-12)


def test_an_earlier_step_is_not_blamed():
    X, y = table()
    once = gs.fit(X, 100 * y, step=0.3, batch_size=N)
    with pytest.warns(gs.ConvergenceWarning, match="too few steps") as warned:
        gs.fit(X, 100 * y + 1e6, step=1e-6, epochs=1, start=once)
    assert "0.3" not in str(warned[0].message)


def test_another_loss_and_penalty_may_go_on():
    X, y = table()
    once = gs.fit(X, y, step=0.05)
    on = gs.fit(X, y, step=0.05, start=once, loss=gs.huber(1.0, absolute=True), penalty=gs.l2(0.1))
    assert np.linalg.norm(on.coef - once.coef) < 1
    assert (on.loss, on.penalty) == (gs.huber(1.0, absolute=True), gs.l2(0.1))


def test_from_the_optimum_the_average_stays_there():
    X, y = table()
    there = gs.fit(X, y, step=0.3, batch_size=N, epochs=300)
    assert there.check.agrees
    on = gs.fit(X, y, step=0.01, epochs=30, start=there, solver=gs.sgd(average=True))
    assert on.check.distance < 0.5


def test_a_fit_without_an_intercept_goes_on_without():
    X, y = table()
    once = gs.fit(X, y, step=0.02, intercept=False)
    on = gs.fit(X, y, step=0.02, intercept=False, start=once)
    assert on.intercept == 0
    with pytest.raises(ValueError, match="start: a fit with an intercept came; intercept=True"):
        gs.fit(X, y, step=0.02, intercept=False, start=gs.fit(X, y, step=0.02))


def test_a_state_is_the_fits_own():
    X, y = table()
    once = gs.fit(X, y, step=0.02, solver=gs.sgd(average=True))
    assert not np.shares_memory(once.coef, once.state.path.average)
    with pytest.raises(ValueError, match="read-only"):
        once.state.path.w[:] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        once.state = None
