"""l1 of many columns by working sets: the answer of all columns at once, and a proof for those left out."""

import warnings

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from gradstep._kernels.looks import peak_kernel
from gradstep._solvers import working

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")
LOSSES = (gs.squared(), gs.logistic(), gs.poisson(), gs.huber(1.0, absolute=True), gs.huber(1.35))
N, D = (60, 24) if JIT_OFF else (600, 60)


@pytest.fixture
def few(monkeypatch):
    """Small working sets, of small tables."""
    monkeypatch.setattr(working, "FEW", 10)
    monkeypatch.setattr(working, "_FIRST", 8)
    monkeypatch.setattr(working, "_LIKES", 4)


def table(loss, n=N, d=D, seed=0, kind="raw"):
    """Return columns, responses in the loss's domain and a strength that leaves some of the columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if kind == "factors":
        X += 2 * rng.standard_normal((n, 2)) @ rng.standard_normal((2, d))
    if kind == "twins":
        X[:, d // 2 :] = X[:, : d - d // 2]
    z = X[:, :: d // 8] @ rng.standard_normal(len(X[0, :: d // 8]))
    z = 2 * z / z.std()
    if kind == "raw":
        X = X * np.exp(rng.standard_normal(d)) + 5 * rng.standard_normal(d)
    y = z + rng.standard_t(3, n)
    if loss.domain == "binary":
        y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(float)
    if loss.domain == "nonnegative":
        y = rng.poisson(np.exp(z / 3)).astype(float)
    slopes = np.abs((X - X.mean(axis=0)).T @ (y - y.mean())) / n
    return X, y, 0.1 * slopes.max()


def same(fit, whole):
    """Whether two fits are the same optimum, as near as both say they are."""
    assert fit.stop is whole.stop is gs.Stop.CERTIFIED
    both = fit.certificate.objective_gap + whole.certificate.objective_gap
    assert abs(fit.objective - whole.objective) <= both + 1e-13 * abs(whole.objective)
    return True


@pytest.mark.parametrize("loss", LOSSES[:-1], ids=str)
@pytest.mark.parametrize("kind", ["raw", "factors", "twins"])
def test_what_all_columns_at_once_give(monkeypatch, loss, kind):
    for seed in range(1 if JIT_OFF else 4):
        X, y, alpha = table(loss, seed=seed, kind=kind)
        penalty = gs.elastic_net(alpha, 0.9) if seed % 2 else gs.l1(alpha)
        rng = np.random.default_rng(seed)
        weight = rng.random(N) * (rng.random(N) < 0.8) if seed % 4 > 1 else None
        arguments = {"loss": loss, "penalty": penalty, "sample_weight": weight, "intercept": seed != 1, "check": False}
        whole = gs.fit(X, y, **arguments)
        with monkeypatch.context() as small:
            small.setattr(working, "FEW", 10)
            small.setattr(working, "_FIRST", 8)
            small.setattr(working, "_LIKES", 4)
            fit = gs.fit(X, y, **arguments)
        assert same(fit, whole)
        felt = np.abs(whole.coef) * X.std(axis=0) > 1e-2
        assert (fit.coef[felt] != 0).all() or kind == "twins"
        assert np.count_nonzero(fit.coef) <= fit.certificate.columns <= D
        assert fit.certificate.bound <= 0.01


@needs_jit
def test_a_delta_in_units_of_the_residuals_is_that_of_the_whole_fit(few):
    X, y, alpha = table(gs.huber(1.35))
    fit = gs.fit(X, y, loss=gs.huber(1.35), penalty=gs.l1(alpha), check=False)
    scale = np.median(np.abs(y - fit.predict(X))) / 0.6744897501960817
    assert fit.loss.params[0] == pytest.approx(1.35 * scale, rel=0.02)
    again = gs.fit(X, y, loss=fit.loss, penalty=gs.l1(alpha), check=False)
    assert same(fit, again)


@pytest.mark.parametrize("loss", LOSSES[1:4], ids=str)
def test_no_curvature_within_reach_is_above_the_peak(loss):
    rng = np.random.default_rng(0)
    count = 40
    score, by = rng.uniform(-9, 9, count), 10.0 ** rng.uniform(-3, 1.3, count)
    y = rng.uniform(-5, 5, count) if loss.domain == "real" else rng.integers(0, 2, count).astype(float)
    h = [[loss.curvature(float(z), float(t), loss.params) for z in np.linspace(s - b, s + b, 401)] for s, t, b in
         zip(score, y, by, strict=True)]  # fmt: skip
    curve = np.array([loss.curvature(float(z), float(t), loss.params) for z, t in zip(score, y, strict=True)])
    out = np.empty(count)
    peak_kernel(loss.curvature)(y, score, curve, np.full(count, 0.5), by, loss.params, out)
    assert (out >= np.square(np.max(h, axis=1)) / 0.5 * (1 - 1e-12)).all()
    assert (out <= np.square(np.max(h, axis=1)) / 0.5 * 1.5 + 1e-12).all()


@needs_jit
@pytest.mark.parametrize("loss", LOSSES[:3], ids=str)
def test_thousands_of_columns_take_the_time_of_those_that_count(loss):
    X, y, alpha = table(loss, n=4000, d=2600, kind="factors")
    fit = gs.fit(X.astype(np.float32), y, loss=loss, penalty=gs.l1(alpha), check=False)
    c = fit.certificate
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.passes <= 40
    assert np.count_nonzero(fit.coef) <= c.columns < 1500
    assert f"rank         {c.rank} of {c.columns}" in str(fit)
    assert f"the other {2600 - c.columns} columns are left at zero" in str(fit)
    # The conditions for an optimum, by NumPy: slopes within alpha, and at it where a coefficient is not zero.
    X = X.astype(np.float32).astype(float)
    z = X @ fit.coef + fit.intercept
    mean = {"binary": lambda: 1 / (1 + np.exp(-z)), "nonnegative": lambda: np.exp(z), "real": lambda: z}[loss.domain]()
    slopes = X.T @ (y - mean) / len(y)
    spread = X.std(axis=0) / len(y) ** 0.5 * (1.0 if loss.domain != "real" else float(c.residual_sd))
    assert (np.abs(slopes) <= alpha + 0.05 * spread).all()
    active = fit.coef != 0
    assert np.allclose(slopes[active], alpha * np.sign(fit.coef[active]), rtol=0, atol=0.05 * spread[active].min())


@needs_jit
def test_scikit_learn_has_the_same_coefficients():
    models = pytest.importorskip("sklearn.linear_model")
    X, y, alpha = table(gs.squared(), n=1500, d=1200, kind="factors")
    fit = gs.fit(X, y, penalty=gs.l1(alpha), check=False)
    model = models.Lasso(alpha=alpha, tol=1e-12, max_iter=100_000).fit(X, y)
    assert fit.certificate.columns < 1200
    np.testing.assert_allclose(fit.coef, model.coef_, rtol=0, atol=1e-5 * np.abs(model.coef_).max())
    assert fit.intercept == pytest.approx(model.intercept_, abs=1e-5)


def test_a_strength_that_leaves_nothing_and_one_that_leaves_all(few):
    X, y, alpha = table(gs.squared())
    none = gs.fit(X, y, penalty=gs.l1(20 * alpha), check=False)
    assert not none.coef.any()
    assert none.intercept == pytest.approx(y.mean())
    assert none.certificate.columns == 8
    every = gs.fit(X, y, penalty=gs.l1(1e-9 * alpha), check=False)
    assert every.coef.all()
    assert every.certificate.columns == every.certificate.rank == D


def test_columns_keep_their_numbers(few):
    X, y, alpha = table(gs.squared())
    X[:, 3] = 1.0  # constant
    X[:, -1] = X[:, 0] * 2
    fit = gs.fit(X, y, penalty=gs.l1(alpha / 1000), check=False)
    assert fit.certificate.columns == D
    assert set(fit.certificate.dependent) == {3, D - 1}
    assert 0 <= fit.certificate.worst_column < D


def test_several_outputs_starts_and_callbacks(few):
    X, y, alpha = table(gs.logistic())
    heard = []
    fit = gs.fit(X, y, loss=gs.logistic(), penalty=gs.l1(alpha), check=False, callbacks=[heard.append])
    assert [at.epoch for at in heard] == list(range(1, len(fit.history) + 1))
    assert heard[-1].bound == fit.certificate.bound == fit.history.bound[-1]
    assert heard[-1].row_reads == fit.row_reads
    again = gs.fit(X, y, loss=gs.logistic(), penalty=gs.l1(alpha), check=False, start=fit)
    assert same(again, fit)
    assert again.certificate.columns <= fit.certificate.columns
    both = gs.fit(X, np.column_stack((y, 1 - y)), loss=gs.logistic(), penalty=gs.l1(alpha), check=False)
    assert both.objective == pytest.approx(2 * fit.objective, rel=1e-5)
    assert np.array_equal(both.coef[:, 0] != 0, fit.coef != 0)


def test_a_budget_too_small_is_told(few):
    X, y, alpha = table(gs.logistic(), kind="factors")
    with pytest.warns(gs.ConvergenceWarning, match="raise max_passes"):
        fit = gs.fit(X, y, loss=gs.logistic(), penalty=gs.l1(alpha / 10), check=False, max_passes=8)
    assert fit.stop is gs.Stop.BUDGET
    assert fit.certificate is None or fit.certificate.bound > 0.01
    assert fit.passes <= 8 + 3  # a round that was begun ends with its look


@needs_jit
def test_on_the_way_the_optimum_is_within_the_bound(few):
    for loss in LOSSES[:3]:
        X, y, alpha = table(loss, kind="factors")
        penalty = gs.l1(alpha / 5)
        best = gs.fit(X, y, loss=loss, penalty=penalty, check=False, tol=1e-6)
        for most in range(6, 16):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gs.ConvergenceWarning)
                fit = gs.fit(X, y, loss=loss, penalty=penalty, check=False, max_passes=most)
            if fit.certificate is not None:
                assert fit.objective - best.objective <= fit.certificate.objective_gap + 1e-12
