"""Optima on a real table against scikit-learn's, and the conversion of its penalty constants.

The objective here is a mean of losses plus a penalty: each case says what scikit-learn's constants are in those terms,
as the documentation does in `docs/scikit_learn.md`.
"""

from typing import NamedTuple

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit

sklearn_models = pytest.importorskip("sklearn.linear_model")

pytestmark = [needs_jit, pytest.mark.skipif(SIMULATED, reason="run in the other legs")]


def standardised(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


@pytest.fixture(scope="module")
def diamonds():
    """Return the columns, standardised, and the price in units of its standard deviation."""
    X, y, _ = gs.load_diamonds()
    return standardised(X), y / y.std()


class Case(NamedTuple):
    """A problem that both sides solve: what scikit-learn is asked, and what that is here."""

    Z: np.ndarray
    y: np.ndarray
    model: object
    loss: gs.Loss
    penalty: gs.Penalty | None
    step: gs.Schedule
    batch_size: int = 32
    epochs: int = 20
    smooth: bool = True


def ridge(Z, y):
    model = sklearn_models.Ridge(alpha=500.0)
    return Case(Z, y, model, gs.squared(), gs.l2(500.0 / len(Z)), gs.power_decay(0.02, 1e-3))


def lasso(Z, y):
    model = sklearn_models.Lasso(alpha=0.01, tol=1e-12, max_iter=10_000)
    return Case(Z, y, model, gs.squared(), gs.l1(0.01), gs.power_decay(0.02, 1e-3))


def elastic_net(Z, y):
    model = sklearn_models.ElasticNet(alpha=0.02, l1_ratio=0.3, tol=1e-12, max_iter=10_000)
    return Case(Z, y, model, gs.squared(), gs.elastic_net(0.02, 0.3), gs.power_decay(0.02, 1e-3))


def huber(Z, y):
    # It estimates the scale of the noise as well; at that scale its problem is this one.
    model = sklearn_models.HuberRegressor(epsilon=1.5, alpha=50.0, max_iter=2000, tol=1e-9).fit(Z, y)
    loss, penalty = gs.huber(1.5 * model.scale_, absolute=True), gs.l2(50.0 * model.scale_ / len(Z))
    return Case(Z, y, model, loss, penalty, gs.power_decay(0.2, 1e-3), epochs=40)


def logistic(Z, y):
    labels = (y > np.median(y)).astype(float)
    model = sklearn_models.LogisticRegression(C=0.02, solver="newton-cholesky", tol=1e-12)
    return Case(Z, labels, model, gs.logistic(), gs.l2(1 / (0.02 * len(Z))), gs.power_decay(0.5, 1e-3))


def poisson(Z, y):
    # A dozen rows hold impossible sizes, up to 46 standard deviations away, whose exponentials no step survives.
    possible = (np.abs(Z) < 9).all(axis=1)
    model = sklearn_models.PoissonRegressor(alpha=0.01, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    schedule = gs.power_decay(0.003, 1e-4)
    return Case(
        standardised(Z[possible]), np.round(4 * y[possible]), model, gs.poisson(), gs.l2(0.01), schedule,
        batch_size=64, epochs=60,
    )  # fmt: skip


def quantile(Z, y):
    rows = np.random.default_rng(0).permutation(len(Z))[:3000]  # its linear programme takes minutes on all of them
    model = sklearn_models.QuantileRegressor(quantile=0.8, alpha=0.001)
    schedule = gs.power_decay(0.1, 1e-3)
    return Case(Z[rows], y[rows], model, gs.quantile(0.8), gs.l1(0.001), schedule, epochs=300, smooth=False)


def objective(case, w, b):
    """Return the objective at a point, by the formulas in plain Python."""
    losses = [
        case.loss.value(z, t, case.loss.params) for z, t in zip((case.Z @ w + b).tolist(), case.y.tolist(), strict=True)
    ]
    return np.mean(losses) + sum(case.penalty.value(float(c), case.penalty.params) for c in w)


@pytest.mark.parametrize("make", [ridge, lasso, elastic_net, huber, logistic, poisson, quantile])
def test_the_textbook_method_comes_within_a_thousandth_of_scikit_learn(make, diamonds):
    case = make(*diamonds)
    model = case.model.fit(case.Z, case.y)
    w, b = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    least = objective(case, w, b)
    if case.smooth:
        # Their optimum is one here: a proximal step from it leads back to it. So the constants are converted right.
        dw, db = gs.textbook.gradient(case.Z, case.y, w, b, case.loss)
        back = [case.penalty.prox(float(c), 1.0, case.penalty.params) for c in w - dw]
        assert np.abs(np.append(back - w, db)).max() < 2e-6 * np.abs(w).max()

    fit = gs.fit(
        case.Z, case.y, loss=case.loss, penalty=case.penalty, step=case.step, batch_size=case.batch_size,
        epochs=case.epochs, solver=gs.sgd(average=True), check=False,
    )  # fmt: skip
    assert fit.objective == pytest.approx(objective(case, fit.coef, fit.intercept), rel=1e-12)
    gap = (fit.objective - least) / abs(least)
    print(f"{make.__name__}: objective {gap:.2g} (relative) above scikit-learn's")  # pytest -rP shows it
    assert -1e-6 < gap < 1e-3
    assert least == pytest.approx(fit.objective, rel=1e-3)


def test_ridge_by_weights_divides_by_their_sum(diamonds):
    Z, y = diamonds
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    model = sklearn_models.Ridge(alpha=500.0).fit(Z, y, sample_weight=weight)
    exact = gs.closed_form(Z, y, weight, gs.l2(500.0 / weight.sum()))
    np.testing.assert_allclose(exact.coef, model.coef_, rtol=1e-8)


def test_penalties_without_an_intercept_and_with_several_outputs(diamonds):
    Z, y = diamonds
    y = y - y.mean()
    Y = np.column_stack((y, -2 * y + Z[:, 0]))
    model = sklearn_models.Lasso(alpha=0.02, tol=1e-12, max_iter=10_000, fit_intercept=False).fit(Z, Y)
    fit = gs.fit(
        Z, Y, step=gs.power_decay(0.02, 1e-3), epochs=20, penalty=gs.l1(0.02), intercept=False, check=False,
        solver=gs.sgd(average=True),
    )  # fmt: skip

    def cost(w):
        return np.square(Z @ w - Y).sum() / (2 * len(Z)) + 0.02 * np.abs(w).sum()

    assert cost(fit.coef) == pytest.approx(cost(model.coef_.T), rel=1e-3)
    assert fit.objective == pytest.approx(cost(fit.coef), rel=1e-12)
