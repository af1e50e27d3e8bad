"""The check of losses without a closed form beside scikit-learn's optima, and on tables that trip solvers up."""

import warnings

import numpy as np
import pytest

import gradstep as gs
from conftest import needs_jit
from gradstep import _outside

models = pytest.importorskip("sklearn.linear_model")

pytestmark = needs_jit

N, D = 600, 6
ONES = np.ones(1)


def table(condition, seed=0):
    """Return columns of that condition number in units of 1e-3 to 1e3, weights and scores of unit variance."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, D)) * np.logspace(0, -np.log10(condition), D)
    X = X @ np.linalg.qr(rng.standard_normal((D, D)))[0]
    scores = X @ rng.standard_normal(D)
    return X * np.logspace(-3, 3, D) + 1.0, rng.uniform(0.1, 3.0, N), scores / scores.std(), rng


def objective(X, y, weight, loss, penalty, coef, intercept):
    """Return the objective by the formulas in plain Python."""
    scores = (X @ coef + intercept).tolist()
    losses = [loss.value(z, t, loss.params) for z, t in zip(scores, y.tolist(), strict=True)]
    penalties = 0.0 if penalty is None else sum(penalty.value(float(c), penalty.params) for c in coef)
    return np.average(losses, weights=weight if weight.size > 1 else None) + penalties


def logistic(X, z, weight, rng, intercept):
    y = (rng.random(N) < 1 / (1 + np.exp(-z))).astype(float)
    model = models.LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, fit_intercept=intercept)
    return y, gs.logistic(), None, model


def ridge_logistic(X, z, weight, rng, intercept):
    y = (rng.random(N) < 1 / (1 + np.exp(-z))).astype(float)
    model = models.LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12, fit_intercept=intercept)
    return y, gs.logistic(), gs.l2(2.0 / weight.sum()), model


def poisson(X, z, weight, rng, intercept):
    model = models.PoissonRegressor(alpha=0.0, solver="newton-cholesky", tol=1e-12, fit_intercept=intercept)
    return rng.poisson(np.exp(z / 2 + 1)).astype(float), gs.poisson(), None, model


def huber(X, z, weight, rng, intercept):
    y = z + rng.standard_t(2, N)
    model = models.HuberRegressor(epsilon=1.5, alpha=0.0, max_iter=2000, tol=1e-10, fit_intercept=intercept)
    delta = 1.5 * quietly(model, X, y, weight).scale_
    return y, gs.huber(delta, absolute=True), None, model


def lasso(X, z, weight, rng, intercept):
    model = models.Lasso(alpha=0.01, tol=1e-14, max_iter=10_000, fit_intercept=intercept)
    return z + rng.standard_normal(N), gs.squared(), gs.l1(0.01), model


def elastic_net(X, z, weight, rng, intercept):
    model = models.ElasticNet(alpha=0.02, l1_ratio=0.3, tol=1e-14, max_iter=10_000, fit_intercept=intercept)
    return z + rng.standard_normal(N), gs.squared(), gs.elastic_net(0.02, 0.3), model


def quantile(X, z, weight, rng, intercept):
    model = models.QuantileRegressor(quantile=0.7, alpha=0.0, solver="highs", fit_intercept=intercept)
    return z + rng.standard_t(2, N), gs.quantile(0.7), None, model


def sparse_quantile(X, z, weight, rng, intercept):
    model = models.QuantileRegressor(quantile=0.7, alpha=0.01, solver="highs", fit_intercept=intercept)
    return z + rng.standard_t(2, N), gs.quantile(0.7), gs.l1(0.01), model


def quietly(model, X, y, weight):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it does not reach, which is what is seen here
        return model.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("condition", [1.0, 1e6])
@pytest.mark.parametrize(
    "make", [logistic, ridge_logistic, poisson, huber, lasso, elastic_net, quantile, sparse_quantile]
)
def test_it_is_never_above_scikit_learn(make, condition, intercept):
    X, weight, z, rng = table(condition)
    # Scores of a hundred million terms each a million in size are summed to ten digits: theirs stand in unit columns.
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y, loss, penalty, model = make(X, z, weight, rng, intercept)
    quietly(model, X, y, weight)
    theirs = objective(X, y, weight, loss, penalty, np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))
    found = _outside.solve(X, y, weight, loss, penalty, intercept=intercept)
    ours = objective(X, y, weight, loss, penalty, found.coef, found.intercept)
    assert ours <= theirs + 1e-10 * abs(theirs)
    assert found.objective == pytest.approx(ours, rel=1e-11)
    assert intercept or found.intercept == 0.0
    if condition == 1.0 and make is not logistic:  # where it falls short even there, with no penalty
        assert ours == pytest.approx(theirs, rel=1e-9)


SMOOTH = [gs.logistic(), gs.poisson(), gs.huber(1.0, absolute=True), gs.huber(1e-3, absolute=True), gs.squared()]


def response(loss, z, rng):
    return {
        "binary": lambda: (rng.random(N) < 1 / (1 + np.exp(-z))).astype(float),
        "nonnegative": lambda: rng.poisson(np.exp(z / 2)).astype(float),
    }.get(loss.domain, lambda: z + rng.standard_t(2, N))()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("penalty", [gs.l1(0.02), gs.elastic_net(0.05, 0.5), gs.l1(1e-7), gs.l2(0.1), None], ids=str)
@pytest.mark.parametrize("loss", SMOOTH, ids=str)
def test_the_optimality_conditions_hold(loss, penalty, intercept):
    X, weight, z, rng = table(1e2)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = response(loss, z, rng)
    found = _outside.solve(X, y, weight, loss, penalty, intercept=intercept)
    scores = (X @ found.coef + found.intercept).tolist()
    slopes = [loss.slope(s, t, loss.params) for s, t in zip(scores, y.tolist(), strict=True)]
    pull = -(weight * slopes) @ X / weight.sum()
    if intercept:
        assert abs((weight * slopes).sum()) < 1e-10 * weight.sum()
    strength, ridge = 0.0, 0.0
    if penalty is not None:
        strength = {"l1": penalty.params[0], "elastic_net": 0.025}.get(penalty.name, 0.0)
        ridge = {"l2": 0.1, "elastic_net": 0.025}.get(penalty.name, 0.0)
    pull -= ridge * found.coef
    zero = (found.coef == 0.0) & (strength > 0)
    assert np.abs(pull[zero]).max(initial=0.0) <= strength + 1e-10
    np.testing.assert_allclose(pull[~zero], strength * np.sign(found.coef[~zero]), atol=1e-10)


LOSSES = [*SMOOTH[:3], gs.squared(), gs.quantile(0.3), gs.epsilon_insensitive(0.2)]


@pytest.mark.parametrize("penalty", [None, gs.l1(1e-3)], ids=str)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_units_offsets_and_repeats_change_nothing(loss, penalty):
    X, _, z, rng = table(1e2)
    y = response(loss, z, rng)
    times = rng.integers(0, 4, N)
    found = _outside.solve(X, y, times / times[times > 0].mean(), loss, penalty, intercept=True)
    again = _outside.solve(np.repeat(X, times, axis=0), np.repeat(y, times), ONES, loss, penalty, intercept=True)
    assert again.objective == pytest.approx(found.objective, rel=1e-12)
    moved = _outside.solve(np.repeat(X + 1e4, times, axis=0), np.repeat(y, times), ONES, loss, penalty, intercept=True)
    assert moved.objective == pytest.approx(found.objective, rel=1e-9)
    if penalty is None:
        units = np.logspace(-150, 150, D)
        other = _outside.solve(X * units, y, np.asarray(times, dtype=float), loss, penalty, intercept=True)
        assert other.objective == pytest.approx(found.objective, rel=1e-11)
        copies = np.column_stack((X, X[:, 0] * 2, np.ones(N)))
        other = _outside.solve(copies, y, np.asarray(times, dtype=float), loss, penalty, intercept=True)
        assert other.objective == pytest.approx(found.objective, rel=1e-11)


@pytest.mark.parametrize("penalty", [None, gs.l1(1e-9)], ids=str)
def test_a_narrow_huber_loss_is_the_absolute_error(penalty):
    X, weight, z, rng = table(1.0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = 1e3 * (z + rng.standard_t(2, N))
    delta = 1e-4  # a ten-millionth of the noise
    scaled = None if penalty is None else gs.l1(penalty.params[0] * delta)
    narrow = _outside.solve(X, y, weight, gs.huber(delta, absolute=True), scaled, intercept=True)
    absolute = _outside.solve(X, y, weight, gs.epsilon_insensitive(0.0), penalty, intercept=True)
    assert -delta / 2 <= narrow.objective / delta - absolute.objective <= 1e-12 * absolute.objective


@pytest.mark.parametrize("strength", [0.3, 0.01])
def test_more_columns_than_rows(strength):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 100))
    y = 3 * X[:, 0] + rng.standard_normal(40)
    found = _outside.solve(X, y, ONES, gs.squared(), gs.l1(strength), intercept=True)
    model = models.Lasso(alpha=strength, tol=1e-13, max_iter=100_000).fit(X, y)
    theirs = objective(X, y, ONES, gs.squared(), gs.l1(strength), model.coef_, model.intercept_)
    assert found.objective == pytest.approx(theirs, rel=1e-10)
    assert np.count_nonzero(found.coef) == np.count_nonzero(model.coef_) <= 40


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_float32_is_taken_as_it_stands(loss):
    X, _, z, rng = table(1e2)
    y = response(loss, z, rng)
    X = X.astype(np.float32)
    narrow = _outside.solve(X, y, ONES, loss, None, intercept=True)
    assert narrow.objective == _outside.solve(X.astype(float), y, ONES, loss, None, intercept=True).objective


def test_what_has_no_minimum_is_followed_down():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((100, 3))
    assert _outside.solve(X, (X[:, 0] > 0).astype(float), ONES, gs.logistic(), None, intercept=True).objective < 1e-12
    assert _outside.solve(X, np.ones(100), ONES, gs.logistic(), None, intercept=True).objective < 1e-12
    assert _outside.solve(X, np.zeros(100), ONES, gs.poisson(), None, intercept=True).objective < 1e-12


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("penalty", [None, gs.l1(0.1)], ids=str)
def test_tables_with_nothing_in_them(loss, penalty):
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    for X in (np.zeros((5, 2)), np.ones((5, 2)), np.full((5, 1), 1e300)):
        for intercept in (True, False):
            found = _outside.solve(X, y, ONES, loss, penalty, intercept=intercept)
            assert np.isfinite([*found.coef, found.intercept, found.objective]).all()
    assert np.isfinite(_outside.solve(np.ones((1, 1)), y[:1], ONES, loss, penalty, intercept=True).objective)


def test_a_loss_of_the_user_s_own():
    @gs.formula
    def value(z, y, p):
        return (z - y) * (z - y) * (z - y) * (z - y)

    @gs.formula
    def slope(z, y, p):
        return type(z)(4) * (z - y) * (z - y) * (z - y)

    @gs.formula
    def curvature(z, y, p):
        return type(z)(12) * (z - y) * (z - y)

    loss = gs.Loss("fourth", value, slope, curvature)
    X, weight, z, rng = table(1e6)
    y = 1e3 * (z + rng.standard_normal(N))
    found = _outside.solve(X, y, weight, loss, None, intercept=True)
    A = np.column_stack(((X - X.mean(axis=0)) / X.std(axis=0), np.ones(N)))
    residual = X @ found.coef + found.intercept - y
    pull = (weight * residual**3) @ A
    assert np.abs(pull).max() < 1e-8 * np.abs(weight * residual**3).sum()


def test_what_it_costs_and_what_it_cannot():
    small = _outside.cost(1000, 10, gs.logistic(), None)
    assert 0 < small < 0.1 < _outside.cost(1_000_000, 30, gs.logistic(), None) < np.inf
    assert _outside.cost(1000, 10, gs.quantile(0.5), gs.l1(0.1)) < 1 < _outside.cost(10**6, 10, gs.quantile(0.5), None)
    own = gs.Penalty("own", gs.l1(0.1).value, gs.l1(0.1).prox, (0.1,))
    assert _outside.cost(1000, 10, gs.squared(), own) < 1
    for loss, penalty in ((gs.quantile(0.5), gs.l2(0.1)), (gs.epsilon_insensitive(0.1), gs.elastic_net(0.1))):
        assert _outside.cost(1000, 10, loss, penalty) == np.inf
        with pytest.raises(NotImplementedError, match=f"{loss.name}.*{penalty.name}"):
            _outside.solve(np.ones((3, 1)), np.arange(3.0), ONES, loss, penalty, intercept=True)
