"""The driver: budget, floor, guard, callbacks and Ctrl-C of a solver that certifies its rounds; what it refuses."""

import dataclasses
import pickle
import re

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF, needs_jit
from gradstep import _closed_form, _driver
from gradstep._preconditioner import Preconditioner
from gradstep._solvers import certified
from gradstep._solvers.exact import Exact

N = 900 if JIT_OFF else 9_000


@pytest.fixture(autouse=True)
def smaller_tables_where_python_is_slow(monkeypatch):
    if JIT_OFF:
        monkeypatch.setattr(certified, "SMALL", 2_000)


def table(n=N, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X @ np.arange(1.0, d + 1) + 2 + rng.standard_normal(n)


def test_passes_rounds_and_history():
    X, y = table()
    fit = gs.fit(X, y, solver="exact")
    assert (fit.stop, fit.passes, len(fit.history)) == (gs.Stop.CERTIFIED, 2, 1)
    assert fit.row_reads == 2 * N + 2 * 120  # the sample is read for its units and for its factor
    history = fit.history
    np.testing.assert_array_equal(history.passes, [2])
    np.testing.assert_array_equal(history.bound, [fit.certificate.bound])
    assert history.objective[-1] == fit.objective
    assert history.exact_objective.size == 0
    assert np.isnan(history.step).all()
    assert "bound, SE" in str(history)
    assert gs.fit(X[:100], y[:100], solver="exact").passes == 3
    steps = gs.fit(X, y, step=0.1, epochs=2)
    assert steps.certificate is None
    assert steps.history.bound.size == 0
    np.testing.assert_array_equal(steps.history.passes, [1, 2])
    assert steps.passes == 3


def test_tol_0_goes_to_the_floor():
    X, y = table()
    fit = gs.fit(X, y, solver="exact", tol=0)
    assert fit.stop is gs.Stop.FLOOR
    assert 3 <= fit.passes <= 6
    assert fit.certificate.bound <= fit.certificate.floor
    assert fit.concern == ""


def test_a_spent_budget_is_said_with_what_is_left_and_what_would_do(monkeypatch):
    X, y = table()
    step = Preconditioner.step
    # Steps of nine tenths come nearer by a factor of ten a pass; and no start at the answer.
    monkeypatch.setattr(Preconditioner, "step", lambda self, evidence: 0.9 * step(self, evidence))
    monkeypatch.setattr(Preconditioner, "solution", lambda self: np.zeros((6, 1)))
    with pytest.warns(gs.ConvergenceWarning, match=r"certified to within .* standard errors of the optimum after 6 pa"):
        fit = gs.fit(X, y, solver="exact", tol=1e-6, max_passes=6, check=False)
    assert fit.stop is gs.Stop.BUDGET
    c = fit.certificate
    assert c.bound > 1e-6
    assert f"column {c.worst_column} may be furthest" in fit.concern
    more = int(re.search(r"about (\d+) more would do: raise max_passes", fit.concern).group(1))
    assert "raise it" in str(fit)
    enough = gs.fit(X, y, solver="exact", tol=1e-6, max_passes=6 + more, check=False)
    assert (enough.stop, enough.concern) == (gs.Stop.CERTIFIED, "")
    assert enough.certificate.bound < 1e-6


def test_a_round_that_makes_things_worse_is_undone(monkeypatch):
    X, y = table()
    plain = gs.fit(X, y, solver="exact", tol=0)
    advance = Exact.advance

    def spoils_the_third(self, table, state):
        state = advance(self, table, state)
        if state.epoch < 3:
            return state
        worse = state.scaled * (1 + 1e-9)
        return dataclasses.replace(
            state, scaled=worse, evidence=state.preconditioner.evidence(table, worse), unchanged=False
        )

    monkeypatch.setattr(Exact, "advance", spoils_the_third)
    monkeypatch.setattr(_driver, "_SETTLED", np.inf)
    monkeypatch.setattr(_driver, "_NEGLIGIBLE", 0.0)
    fit = gs.fit(X, y, solver="exact", tol=0, max_passes=8)
    np.testing.assert_array_equal(fit.coef, plain.coef)
    assert fit.certificate.bound == pytest.approx(plain.certificate.bound)


def test_callbacks_hear_of_each_round_and_can_stop_it():
    X, y = table()
    heard = []
    fit = gs.fit(X, y, solver="exact", tol=0, callbacks=[heard.append])
    assert len(heard) >= len(fit.history) > 0  # a round that changes nothing is no entry
    assert heard[0].epoch_ended
    assert heard[0].epoch == 1
    assert heard[-1].bound == fit.history.bound[-1]
    np.testing.assert_allclose(heard[0].coef, fit.coef, rtol=1e-10)
    stopped = gs.fit(X, y, solver="exact", tol=0, callbacks=[lambda progress: True])
    assert stopped.stop is gs.Stop.CALLBACK
    assert len(stopped.history) == 1
    assert stopped.certificate.bound < 1e-6
    steps = []
    gs.fit(X, y, step=0.1, epochs=1, callbacks=[steps.append])
    assert np.isnan(steps[0].bound)


def test_ctrl_c_comes_with_what_was_reached(monkeypatch):
    X, y = table()

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(gs.Interrupted) as caught:
        gs.fit(X, y, solver="exact", tol=0, callbacks=[interrupt])
    fit = caught.value.fit
    assert fit.stop is gs.Stop.INTERRUPTED
    assert fit.certificate.bound < 1e-6
    assert fit.objective == fit.history.objective[-1]
    assert fit.check is None

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Exact, "start", interrupted)
    with pytest.raises(gs.Interrupted) as caught:
        gs.fit(X, y, solver="exact")
    np.testing.assert_array_equal(caught.value.fit.coef, 0)
    assert caught.value.fit.certificate is None
    assert "interrupted" in str(caught.value.fit)


def test_a_disagreement_gives_both_numbers_and_says_which_is_right(monkeypatch):
    X, y = table()
    solve = _closed_form.solve

    def wrong(X, y, *arguments, **options):
        return solve(X, y + 0.1 * X[:, 0], *arguments, **options)

    monkeypatch.setattr(_closed_form, "solve", wrong)
    for which in ("exact", "sgd", "cg"):
        with pytest.warns(gs.DisagreementWarning, match=r"it is .* standard errors from .* supports the fit\."):
            fit = gs.fit(X, y, solver=which)
        assert not fit.check.agrees
        assert fit.concern in str(fit)
        assert "NOT" not in str(fit)


def test_a_fit_that_is_wrong_knows_it(monkeypatch):
    X, y = table()
    advance = Exact.advance

    def wrong(self, table, state):
        state = advance(self, table, state)
        worse = state.scaled * 1.1
        return dataclasses.replace(state, scaled=worse, evidence=state.preconditioner.evidence(table, worse))

    monkeypatch.setattr(Exact, "advance", wrong)
    monkeypatch.setattr(certified, "rounded", lambda table, state: None)  # which would mend it
    with pytest.warns(gs.ConvergenceWarning, match="certified to within"):
        fit = gs.fit(X, y, solver="exact")
    assert fit.check.distance <= fit.certificate.bound
    assert "as near the closed form as its certificate says, and no nearer" in str(fit)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"step": 0.1}, ValueError, 'step: 0.1 came with solver="exact", which takes none: leave it out'),
        ({"batch_size": 10}, ValueError, 'batch_size: 10 came with solver="exact"'),
        ({"epochs": 10}, ValueError, 'epochs: 10 came with solver="exact"'),
        (
            {"loss": gs.huber(1.0)},
            ValueError,
            'solver: "exact" came with the huber loss; the squared loss with no penalty or l2',
        ),
        (
            {"penalty": gs.l1(1.0)},
            ValueError,
            r'solver: "exact" came with the squared loss with l1\(1\); the squared loss w',
        ),
        ({"tol": -1}, ValueError, "tol: -1 came; a finite number of at least 0 is needed"),
        ({"tol": "small"}, TypeError, "tol: 'small' came, a str; a number"),
        ({"max_passes": 0}, ValueError, "max_passes: 0 came; a whole number of at least 1 is needed"),
        ({"max_passes": 2.5}, TypeError, "max_passes: 2.5 came"),
        ({"solver": "lbfgs"}, ValueError, 'solver: \'lbfgs\' came; "sgd", "cg", "exact", "auto" or gs.sgd'),
    ],
)
def test_what_exact_refuses(arguments, error, message):
    X, y = table(50)
    with pytest.raises(error, match=message):
        gs.fit(X, y, **{"solver": "exact"} | arguments)


def test_fits_by_steps_go_on_from_fits_by_steps():
    X, y = table(50)
    exact, steps = gs.fit(X, y, solver="exact"), gs.fit(X, y, step=0.1)
    with pytest.raises(ValueError, match='start: a fit by solver="exact" without a step came; one by steps is needed'):
        gs.fit(X, y, step=0.1, start=exact)
    with pytest.raises(ValueError, match=r'start: .* came with solver="exact", which begins anew: leave it out'):
        gs.fit(X, y, solver="exact", start=steps)


def test_an_exact_fit_can_be_pickled_and_not_changed():
    X, y = table(50)
    fit = gs.fit(X, y, solver="exact")
    again = pickle.loads(pickle.dumps(fit))
    assert str(again) == str(fit)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.certificate.bound = 0.0
    for array in (fit.coef, fit.history.bound, fit.history.passes):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@needs_jit
@pytest.mark.parametrize("n", [100, N])
def test_the_report_is_one_screen(n):
    X, y = table(n)
    text = str(gs.fit(np.column_stack((X, X[:, 0])), y, solver="exact"))
    assert len(text.splitlines()) <= 15
    for words in (
        "exact", "passes", "row reads", "certificate", "proven", "check", "rank", "5 of 6", "columns 5", "condition",
        "stop", "CERTIFIED", "seconds", "R2",
    ):  # fmt: skip
        assert words in text
