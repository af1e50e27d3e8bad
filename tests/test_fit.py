"""The driver: it meets the closed form, says how it went, and lets nothing bad come back in silence."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF, needs_jit
from gradstep._guard import largest_stable_step
from gradstep._kernels.first_call import interrupts_held
from gradstep._kernels.formula import examples
from gradstep._table.order import LISTED, row_order
from gradstep.penalties import PENALTIES

# NumPy's scalars, which stand in for compiled code with the JIT off, say so when they overflow.
overflows = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")


def standardised(n=400, d=4, k=None, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    w = rng.standard_normal(d if k is None else (d, k)) * 3
    y = X @ w + 2.0
    return X, y + noise * rng.standard_normal(y.shape)


@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [None, gs.l2(0.2)], ids=["none", "l2"])
@pytest.mark.parametrize("intercept", [True, False])
def test_meets_the_closed_form(k, weighted, penalty, intercept):
    X, y = standardised(200, k=k)
    y = y if intercept else y - y.mean(axis=0)
    weight = np.random.default_rng(1).uniform(0.2, 2.0, 200) if weighted else None
    # Full batches, so that no noise of the batches keeps the method away.
    fit = gs.fit(X, y, step=0.5, batch_size=200, epochs=150, sample_weight=weight, penalty=penalty, intercept=intercept)
    assert fit.check.distance <= 1e-9
    assert fit.check.agrees
    assert abs(fit.check.objective_gap) <= 1e-12
    exact = gs.closed_form(X, y, weight, penalty, intercept)
    np.testing.assert_allclose(fit.coef, exact.coef, rtol=1e-9)
    np.testing.assert_allclose(fit.intercept, exact.intercept, rtol=1e-9, atol=1e-12)
    assert "agrees with the closed form" in fit.check.verdict


def test_minibatches_come_near_and_say_how_near():
    X, y = standardised()
    fit = gs.fit(X, y, step=0.01, batch_size=16, epochs=30)
    exact = gs.closed_form(X, y)
    assert (fit.check.distance, fit.check.relative) == exact.distance(fit.coef, fit.intercept)
    assert 0.01 < fit.check.distance < 3
    assert not fit.check.agrees
    assert 0 < fit.check.objective_gap < 0.02
    assert fit.check.rank == 4
    assert fit.stop is gs.Stop.EPOCHS


def test_the_check_says_no():
    X, y = standardised()
    fit = gs.fit(X, y, step=0.002, batch_size=16, epochs=2)
    assert fit.check.distance > 10
    assert not fit.check.agrees
    assert "NOT the least-squares answer" in str(fit)


def test_data_without_noise_are_judged_relative_to_the_fitted_values():
    X, y = standardised(noise=0.0)
    fit = gs.fit(X, y, step=0.5, batch_size=400, epochs=200)
    assert np.isnan(fit.check.distance)
    assert fit.check.relative <= 1e-12
    assert fit.check.agrees
    assert "no noise to measure a standard error by" in str(fit)
    short = gs.fit(X, y, step=0.5, batch_size=400, epochs=5)
    assert not short.check.agrees
    assert "NOT" in short.check.verdict


def test_a_large_offset_is_not_taken_for_a_lack_of_noise():
    X, y = standardised()
    fit = gs.fit(X, y + 1e9, step=0.5, batch_size=400, epochs=60)
    assert fit.check.relative < 1e-6
    assert fit.check.distance == pytest.approx(gs.closed_form(X, y + 1e9).distance(fit.coef, fit.intercept)[0])
    assert fit.check.agrees == (fit.check.distance <= 0.01)


def test_each_output_is_judged_by_its_own_noise():
    X, y = standardised(k=2)
    y[:, 0] = X @ np.ones(4)
    full = {"step": 0.5, "batch_size": 400}
    assert gs.fit(X, y, epochs=200, **full).check.agrees
    # The output without noise keeps a relative error of 1e-6 when the other one agrees already.
    assert not gs.fit(X, y, epochs=18, **full).check.agrees


def test_duplicated_and_constant_columns_meet_the_minimum_norm():
    X, y = standardised()
    X = np.column_stack((X, X[:, 0], np.zeros(len(X))))
    fit = gs.fit(X, y, step=0.3, batch_size=400, epochs=300)
    assert fit.check.dependent == (4, 5)
    assert fit.check.agrees
    np.testing.assert_allclose(fit.coef, gs.closed_form(X, y).coef, atol=1e-9)
    assert "columns 4, 5 depend on the columns before them" in str(fit)


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("shift", [-40, 3, 60])
def test_units_that_are_powers_of_two_change_no_bit(shift):
    X, y = standardised(60)
    fit = gs.fit(X, y, step=0.01, check=False)
    columns = gs.fit(np.ldexp(X, shift), y, step=np.ldexp(0.01, -2 * shift), check=False, intercept=False)
    bare = gs.fit(X, y, step=0.01, check=False, intercept=False)
    np.testing.assert_array_equal(np.ldexp(columns.coef, shift), bare.coef)
    responses = gs.fit(X, np.ldexp(y, shift), step=0.01, check=False)
    np.testing.assert_array_equal(np.ldexp(responses.coef, -shift), fit.coef)


def test_weights_act_as_repeated_rows_at_the_optimum():
    X, y = standardised(60)
    counts = np.arange(60) % 4
    weighted = gs.fit(X, y, step=0.3, batch_size=60, epochs=500, sample_weight=counts)
    repeated = gs.fit(np.repeat(X, counts, 0), np.repeat(y, counts), step=0.3, batch_size=999, epochs=500)
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-9)
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-9)


def test_outputs_are_independent():
    X, y = standardised(100, k=3)
    together = gs.fit(X, y, step=0.02, check=False)
    for c in range(3):
        alone = gs.fit(X, y[:, c], step=0.02, check=False)
        np.testing.assert_allclose(together.coef[:, c], alone.coef, rtol=1e-12)
        assert together.intercept[c] == pytest.approx(alone.intercept, rel=1e-12)


def test_a_response_in_a_column_keeps_its_shape():
    X, y = standardised(50)
    flat, column = gs.fit(X, y, step=0.02), gs.fit(X, y[:, None], step=0.02)
    assert column.coef.shape == (4, 1)
    assert column.intercept.shape == (1,)
    assert column.predict(X).shape == (50, 1)
    np.testing.assert_array_equal(column.coef[:, 0], flat.coef)


@pytest.mark.parametrize("n", [1, 2, 5, 1000, LISTED + 1])
def test_orders_are_permutations_of_seed_and_epoch_alone(n):
    order = row_order(n, 7, 3)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, row_order(n, 7, 3))
    if n >= 1000:
        assert not np.array_equal(order, row_order(n, 7, 4))
        assert not np.array_equal(order, row_order(n, 8, 3))


def test_orders_do_not_depend_on_how_they_are_cut(monkeypatch):
    whole = row_order(LISTED + 1, 0, 0)
    monkeypatch.setattr("gradstep._table.order._ROWS_PER_CALL", 10_000)
    np.testing.assert_array_equal(row_order(LISTED + 1, 0, 0), whole)


@needs_jit
def test_the_order_of_many_rows_is_as_good_as_random():
    n, draws = LISTED + 1001, 120
    orders = np.array([row_order(n, seed, 1) for seed in range(draws)])
    places = np.argsort(orders[:, :], axis=1)
    for row in (0, 1, n // 2, n - 1):  # each row is as likely anywhere
        counts = np.bincount(places[:, row] * 10 // n, minlength=10)
        assert np.sum((counts - draws / 10) ** 2 / (draws / 10)) < 29.6  # chi-square, 9 degrees, once in 2,000
    # Neither neighbours nor rows that differ in a bit keep together, nor do orders of neighbouring seeds or epochs.
    for step in (1, 2, 1 << 8, 1 << 14):
        together = np.mean([np.corrcoef(order[:-step], order[step:])[0, 1] for order in orders])
        assert abs(together) < 4 / np.sqrt(n * draws)
    assert abs(np.corrcoef(orders[:-1].ravel(), orders[1:].ravel())[0, 1]) < 4 / np.sqrt(n * draws)
    assert abs(np.corrcoef(row_order(n, 0, 0), row_order(n, 0, 1))[0, 1]) < 4 / np.sqrt(n)


def test_each_order_is_equally_likely():
    draws = 12_000
    seen = np.zeros(256, dtype=int)
    for seed in range(draws):
        seen[row_order(4, seed, 5) @ np.array([64, 16, 4, 1])] += 1
    counts = seen[seen > 0]
    assert len(counts) == 24
    # Chi-square with 23 degrees of freedom exceeds 49.7 once in a thousand.
    assert np.sum((counts - draws / 24) ** 2 / (draws / 24)) < 49.7


def test_history_has_a_row_an_epoch():
    X, y = standardised()
    fit = gs.fit(X, y, step=0.02, epochs=5, solver=gs.sgd(exact_objective=True))
    history = fit.history
    assert len(history) == 5
    np.testing.assert_array_equal(history.epoch, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(history.step, np.full(5, 0.02))
    assert np.all(np.diff(history.seconds) > 0)
    assert history.exact_objective[-1] == fit.objective
    # The running objective lags: it still holds the losses of the epoch's beginning.
    assert np.all(history.objective[:2] > history.exact_objective[:2])
    assert fit.row_reads == 11 * 400
    assert len(str(history).splitlines()) == 6
    long = str(gs.fit(X, y, step=0.02, epochs=300).history).splitlines()
    assert len(long) == 22
    assert (long[10].split()[0], long[11].strip(), long[12].split()[0]) == ("10", "...", "291")
    assert gs.fit(X, y, step=0.02, epochs=2).history.exact_objective.size == 0


def test_callbacks_hear_of_the_fit_and_can_stop_it():
    X, y = standardised()
    heard = []

    def stop_after_three(progress):
        heard.append(progress)
        return progress.epoch_ended and progress.epoch == 3

    fit = gs.fit(X, y, step=0.02, epochs=10, callbacks=[heard.append, stop_after_three])
    assert fit.stop is gs.Stop.CALLBACK
    assert len(fit.history) == 3
    assert [progress.epoch for progress in heard[1::2]] == [1, 2, 3]
    assert heard[-1].row_reads == 1200
    np.testing.assert_array_equal(heard[-1].coef, fit.coef)
    assert heard[-1].intercept == fit.intercept
    assert heard[-1].objective == fit.history.objective[-1]


def test_callbacks_are_served_within_an_epoch(monkeypatch):
    monkeypatch.setattr("gradstep._table.dense._ELEMENTS_PER_CALL", (4 * 34 / 32 + 33) * 90.5)
    X, y = standardised()
    heard = []
    fit = gs.fit(X, y, step=0.02, epochs=2, callbacks=[heard.append])
    assert [progress.row_reads for progress in heard] == [90, 180, 270, 360, 400, 490, 580, 670, 760, 800]
    assert [progress.epoch_ended for progress in heard].count(True) == 2
    monkeypatch.undo()
    np.testing.assert_array_equal(fit.coef, gs.fit(X, y, step=0.02, epochs=2).coef)


def test_an_error_in_a_callback_is_the_callers():
    X, y = standardised()
    with pytest.raises(KeyError, match="mine"):
        gs.fit(X, y, step=0.02, callbacks=[lambda progress: {}["mine"]])


@needs_jit
def test_ctrl_c_is_served_within_a_fifth_of_a_second():
    X, y = standardised(300_000, 10)
    gs.fit(X[:100], y[:100], step=0.01, epochs=1, check=False)
    # A second try, because a machine that others use may stall.
    assert any(max(answers_to_ctrl_c(X, y)) < 0.2 for _ in range(2))


def answers_to_ctrl_c(X, y):
    waits = []
    for after in (0.05, 0.21, 0.33):
        pressed = []

        def press(pressed=pressed):
            pressed.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(after, press).start()
        with pytest.raises(gs.Interrupted) as raised:
            gs.fit(X, y, step=0.001, epochs=10**6)
        waits.append(time.perf_counter() - pressed[0])
    fit = raised.value.fit
    assert isinstance(raised.value, KeyboardInterrupt)
    assert fit.stop is gs.Stop.INTERRUPTED
    assert fit.check is None
    assert np.isfinite(fit.coef).all()
    assert "interrupted" in str(fit)
    return waits


COMPILING = """
import os, signal, threading
import gradstep as gs
X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
threading.Timer({after}, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    gs.fit(X, y, step=1e-9, epochs=10**7, check=False)
except gs.Interrupted as interrupted:
    print(interrupted.fit.stop.name)
"""


@needs_jit
@pytest.mark.parametrize("after", [0.1, 0.3, 0.5])
def test_ctrl_c_while_the_kernel_is_compiled_is_not_lost(after):
    code = COMPILING.format(after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("INTERRUPTED", "")


def test_ctrl_c_during_the_check_keeps_the_fit(monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradstep._closed_form.solve", interrupted)
    X, y = standardised()
    with pytest.raises(gs.Interrupted) as raised:
        gs.fit(X, y, step=0.02)
    monkeypatch.undo()
    fit = raised.value.fit
    np.testing.assert_array_equal(fit.coef, gs.fit(X, y, step=0.02).coef)
    assert np.isfinite(fit.objective)
    assert fit.check is None


def test_holding_ctrl_c_back_leaves_the_handler_as_it_was():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler
    seen = []
    thread = threading.Thread(target=lambda: seen.append(gs.fit(*standardised(), step=0.02)))
    thread.start()
    thread.join()
    assert seen[0].stop is gs.Stop.EPOCHS


@pytest.mark.parametrize("batch", [1, 8, 400])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_largest_stable_step_is_that(batch, intercept):
    X, y = standardised(noise=0.1)
    X[:, 0] *= 3
    X += 1.0
    y = y - y.mean()
    largest = largest_stable_step(X, np.ones(1), batch, intercept=intercept)
    arguments = {"batch_size": batch, "epochs": 300 if batch == 400 else 30, "intercept": intercept, "check": False}
    assert largest_stable_step(1e-90 * X, np.ones(1), batch, intercept=False) == pytest.approx(
        1e180 * largest_stable_step(X, np.ones(1), batch, intercept=False), rel=1e-9
    )
    for seed in range(1 if JIT_OFF else 3):
        below = gs.fit(X, y, step=0.8 * largest, seed=seed, **arguments)
        assert below.objective < np.var(y) / 2
        with pytest.raises(gs.Diverged) as raised:
            gs.fit(X, y, step=1.6 * largest, seed=seed, **arguments)
    error = raised.value
    assert error.largest_stable_step == pytest.approx(largest)
    assert error.step == 1.6 * largest
    assert error.stop is gs.Stop.DIVERGED
    assert f"step {error.step:g} is too large" in str(error)
    assert f"batches of {batch} is {largest:.3g}" in str(error)


def test_a_small_last_batch_counts_in_the_largest_stable_step():
    X, y = standardised(101, 20)
    largest = largest_stable_step(X, np.ones(1), 100, intercept=True)
    assert largest == largest_stable_step(X, np.ones(1), 1, intercept=True)
    arguments = {"batch_size": 100, "epochs": 100, "check": False}
    assert gs.fit(X, y, step=0.8 * largest, **arguments).objective < np.var(y) / 2
    with pytest.raises(gs.Diverged):
        gs.fit(X, y, step=1.1, **arguments)  # less than a batch of all rows would bear


def test_batches_of_rows_alike_diverge_aloud():
    X, y = standardised(1024, 4)
    X[:32] = 30 * X[0]
    step = 0.5 * largest_stable_step(X, np.ones(1), 32, intercept=True)
    with pytest.raises(gs.Diverged, match="the batches that they stand in, are too uneven"):
        gs.fit(X, y, step=step, epochs=200, solver=gs.sgd(shuffle=False))


@overflows
def test_diverged_crosses_processes():
    X, y = standardised()
    with pytest.raises(gs.Diverged) as raised:
        gs.fit(X, y, step=100.0)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.step) == (str(raised.value), 100.0)
    assert again.largest_stable_step == raised.value.largest_stable_step


def test_the_largest_stable_step_counts_weights():
    X, _ = standardised()
    counts = 1 + np.arange(400) % 3
    weighted = largest_stable_step(X, counts / counts.mean(), 400, intercept=True)
    repeated = largest_stable_step(np.repeat(X, counts, 0), np.ones(1), 10**9, intercept=True)
    assert weighted == pytest.approx(repeated, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 8, 400])
def test_many_columns_take_a_bound_on_the_safe_side(monkeypatch, batch):
    X, _ = standardised(d=30)
    exact = largest_stable_step(X, np.ones(1), batch, intercept=True)
    monkeypatch.setattr("gradstep._guard._MOST_COLUMNS_OF_MOMENTS", 2)
    bound = largest_stable_step(X, np.ones(1), batch, intercept=True)
    if batch == 400:  # gradient descent needs no more than the largest eigenvalue
        assert bound == pytest.approx(exact, rel=2e-3)
    else:
        assert 0.4 * exact < bound < exact


@overflows
def test_responses_that_overflow_are_named():
    X, y = standardised(50)
    with pytest.raises(gs.Diverged, match="no step helps, because the squares of y overflow"):
        gs.fit(X, y * 1e200, step=0.1)


@overflows
def test_a_step_far_too_large_ends_at_once():
    X, y = standardised()
    with pytest.raises(gs.Diverged, match=r"the objective became infinite in epoch \d; the largest stable step"):
        gs.fit(X, y, step=1e6, epochs=10**9)


@overflows
def test_columns_that_overflow_have_no_stable_step():
    X, y = standardised(50)
    X[7, 2] = 1e300
    with pytest.raises(gs.Diverged, match="no step is stable, because the squares of X overflow"):
        gs.fit(X, y, step=0.01)


def test_worse_than_the_mean_warns():
    X, y = standardised()
    with pytest.warns(
        gs.ConvergenceWarning, match=r"predicting the mean gives .*: too few steps, a step too small"
    ) as w:
        gs.fit(X, y + 1000, step=1e-5, epochs=1)
    assert w[0].filename == __file__
    with pytest.warns(gs.ConvergenceWarning, match="; and no intercept is fitted") as w:
        fit = gs.fit(X, y + 1000, step=1e-4, intercept=False)
    assert fit.concern in str(w[0].message)
    assert fit.concern in str(fit)
    with pytest.raises(gs.Diverged, match="too uneven for this one: try a tenth of it, or fit an intercept"):
        gs.fit(X, y + 1000, step=0.83, batch_size=4, intercept=False)
    with pytest.warns(gs.ConvergenceWarning, match="no other coefficients do better without an intercept"):
        fit = gs.fit(X, y + 1000, step=0.5, batch_size=400, epochs=200, intercept=False)
    assert fit.check.agrees


@pytest.mark.parametrize("weighted", [False, True])
def test_an_offset_hides_nothing(weighted):
    X, y = standardised(noise=0.1)
    y += 1e6
    weight = np.ones(400)
    weight[200:] = 1e-3 if weighted else 1.0
    with pytest.warns(gs.ConvergenceWarning, match="predicting the mean gives"):
        gs.fit(X, y, step=0.05, epochs=8, sample_weight=weight, check=False)


def test_the_guard_looks_at_a_fit_that_a_callback_ended():
    X, y = standardised()
    with pytest.warns(gs.ConvergenceWarning, match="too few steps"):
        fit = gs.fit(X, y + 1000, step=0.01, callbacks=[lambda progress: True])
    assert fit.stop is gs.Stop.CALLBACK


def test_one_output_worse_than_the_mean_warns_beside_a_good_one():
    X, y = standardised()
    with pytest.warns(gs.ConvergenceWarning, match=r"the loss of output 1 ended at"):
        gs.fit(X, np.column_stack((1e4 * y, y + 1000)), step=0.02, epochs=1, batch_size=100)


def test_a_strong_penalty_with_a_step_that_only_it_makes_stable_is_no_divergence():
    X, y = standardised()
    arguments = {"step": 5.0, "batch_size": 400, "epochs": 300, "penalty": gs.l2(5.0), "intercept": False}
    with pytest.warns(gs.ConvergenceWarning, match="no other coefficients do better"):
        fit = gs.fit(X, y + 5, **arguments)
    assert fit.check.agrees


@overflows
def test_the_mean_of_a_loss_with_a_link_is_its_best_constant():
    @gs.formula
    def value(z, y, p):
        return np.exp(z) - y * z

    @gs.formula
    def slope(z, y, p):
        return np.exp(z) - y

    @gs.formula
    def curvature(z, y, p):
        return np.exp(z)

    X, _ = standardised()
    y = np.random.default_rng(0).poisson(30.0, 400)
    mean = y.mean()
    with pytest.warns(
        gs.ConvergenceWarning, match=f"predicting the best constant gives {mean - mean * np.log(mean):.6g}"
    ):
        gs.fit(X, y, loss=gs.Loss("poisson", value, slope, curvature), step=1e-4, epochs=1)


@needs_jit
def test_rare_labels_do_not_hide_a_bad_fit():
    X = np.random.default_rng(3).standard_normal((40_000, 2))
    y = np.zeros(len(X))
    y[1::400] = 1
    rate = 1 / 400
    least = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    with pytest.warns(gs.ConvergenceWarning, match=f"predicting the best constant gives {least:.6g}"):
        gs.fit(X, y, loss=gs.logistic(), step=8.0, batch_size=4)


def test_the_best_constant_of_several_outputs_and_of_weights():
    from gradstep._guard import _best_constants
    from gradstep._table.terms import Rows

    rng = np.random.default_rng(0)
    y = np.column_stack((rng.poisson(3.0, 5000), rng.poisson(0.1, 5000))).astype(float)
    weight = rng.uniform(0, 2, 5000)
    w = _best_constants(Rows(np.empty((5000, 0)), y, weight / weight.mean()), gs.poisson())
    np.testing.assert_allclose(w[0], np.log(np.average(y, axis=0, weights=weight)), rtol=1e-5)
    z = rng.standard_normal(5000)
    w = _best_constants(Rows(np.empty((5000, 0)), z, np.ones(1)), gs.quantile(0.9))
    assert w[0] == pytest.approx(np.quantile(z, 0.9), abs=0.15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_not_finite_where_a_fit_begins_says_so():
    @gs.formula
    def value(z, y, p):
        return y / z + z

    X, _ = standardised()
    mine = gs.Loss("mine", value, gs.squared().slope, gs.squared().curvature)
    with pytest.raises(gs.Diverged, match="the mine loss is not finite at scores of 0, where a fit begins"):
        gs.fit(X, np.ones(len(X)), loss=mine, step=1e-6, batch_size=400, epochs=1)


def test_a_good_fit_warns_of_nothing():
    X, y = standardised()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.fit(X, y, step=0.02)
        gs.fit(X, np.zeros(len(X)), step=0.02)


@overflows
def test_a_users_own_loss_needs_no_change_anywhere():
    @gs.formula
    def value(z, y, p):
        return p[0] * (np.exp((z - y) / p[0]) - 1) - (z - y)

    @gs.formula
    def slope(z, y, p):
        return np.exp((z - y) / p[0]) - 1

    loss = gs.Loss("linex", value, slope, slope, (4.0,))
    X, y = standardised(noise=0.1)
    fit = gs.fit(X, y, loss=loss, step=0.2, batch_size=100, epochs=200)
    residual = fit.predict(X) - y
    assert np.abs(np.exp(residual / 4) - 1).mean() < 0.1
    assert abs(np.mean(np.exp(residual / 4) - 1)) < 1e-3
    assert fit.check is None
    assert "the linex loss has no closed form" in str(fit)
    with pytest.raises(ValueError, match="check: True came; only the squared loss"):
        gs.fit(X, y, loss=loss, step=0.2, check=True)
    with pytest.raises(gs.Diverged, match="known for the squared loss alone, not for linex: try a tenth of it"):
        gs.fit(X, y, loss=loss, step=1e4)


def test_a_users_own_penalty_counts_in_the_objective():
    @gs.formula
    def value(w, p):
        return w * w / type(w)(2)

    @gs.formula
    def prox(w, t, p):
        return w / (1 + t)

    X, y = standardised()
    arguments = {"step": 0.3, "batch_size": 400, "epochs": 60, "solver": gs.sgd(exact_objective=True)}
    own = gs.fit(X, y, penalty=gs.Penalty("mine", value, prox), **arguments)
    ridge = gs.fit(X, y, penalty=gs.l2(1.0), **arguments)
    np.testing.assert_allclose(own.coef, ridge.coef, rtol=1e-12)
    np.testing.assert_allclose(own.history.exact_objective, ridge.history.exact_objective, rtol=1e-12)
    assert own.check is None
    assert ridge.check.agrees


@pytest.mark.parametrize("penalty", examples(PENALTIES), ids=repr)
def test_every_penalty_fits_with_the_check_as_it_is(penalty):
    X, y = standardised()
    fit = gs.fit(X, y, step=0.02, penalty=penalty)
    assert (fit.check is None) == (penalty.name != "l2")
    if penalty.name != "l2":
        assert f"the squared loss with the penalty {penalty.name} has no closed form" in str(fit)
        with pytest.raises(ValueError, match="check: True came; only the squared loss"):
            gs.fit(X, y, step=0.02, penalty=penalty, check=True)


def test_the_check_is_made_while_it_is_cheap(monkeypatch):
    X, y = standardised()
    monkeypatch.setattr("gradstep._fit.CHECK_OPERATIONS", 100.0)
    fit = gs.fit(X, y, step=0.02)
    assert fit.check is None
    assert '2 n d (d + k) = 1.6e+04 operations, where check="auto" goes to 1e+02; check=True makes it' in str(fit)
    assert gs.fit(X, y, step=0.02, check=True).check.rank == 4
    monkeypatch.undo()
    monkeypatch.setattr("gradstep._fit.CHECK_CELLS", 1999.0)
    assert '2e+03 cells, where check="auto" goes to 2e+03' in str(gs.fit(X, y, step=0.02))
    assert "not asked for" in str(gs.fit(X, y, step=0.02, check=False))


def test_a_fit_cannot_be_changed():
    X, y = standardised()
    fit = gs.fit(X, y, step=0.02)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.coef = np.zeros(4)
    arrays = [fit.coef, *(getattr(fit.history, field.name) for field in dataclasses.fields(fit.history))]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    both = gs.fit(X, np.column_stack((y, y)), step=0.02)
    for array in (both.coef, both.intercept):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_results_compare_by_identity():
    X, y = standardised()
    fit, other = (gs.fit(X, y, step=0.02) for _ in range(2))
    assert fit != other
    assert len({fit, fit, other, fit.history, gs.closed_form(X, y), gs.check_gradient()}) == 5


def test_a_fit_survives_pickling():
    X, y = standardised()
    fit = gs.fit(X, y, step=0.02)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.coef, fit.coef)
    assert again.stop is fit.stop
    assert again.loss == fit.loss
    assert str(again) == str(fit)


@pytest.mark.parametrize("k", [None, 2])
def test_predict(k):
    X, y = standardised(k=k)
    fit = gs.fit(X, y, step=0.02)
    exact = X.astype(np.longdouble) @ fit.coef.astype(np.longdouble) + fit.intercept
    np.testing.assert_allclose(fit.predict(X), exact.astype(float), rtol=1e-15)
    np.testing.assert_allclose(fit.predict(X.astype(np.float32)), fit.predict(X), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="X: 3 columns came; 4 are needed, one for each coefficient"):
        fit.predict(X[:, :3])


def test_the_report_is_one_screen():
    X, y = standardised(d=30)
    text = str(gs.fit(X, y, step=0.02))
    assert len(text.splitlines()) <= 10
    for word in ("squared loss", "step 0.02", "batch 32", "10 epochs", "seed 0", "cpu", "passes", "SE", "EPOCHS"):
        assert word in text
    assert "2 outputs" in str(gs.fit(X, np.column_stack((y, y)), step=0.02))
