"""Losses that curve, and l1, without a step: right on raw tables, certified, and told where no fit is best."""

import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from hard_tables import HAS_LONG, LONG, tables

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")
extended = pytest.mark.skipif(not HAS_LONG, reason="there are no 80-bit numbers here to know the truth by")
N = 60 if JIT_OFF else 9_000


@gs.formula
def _cosh_value(z, y, p):
    r = abs(z - y)
    return r + math.log1p(math.exp(-2 * r)) - math.log(2)


@gs.formula
def _cosh_slope(z, y, p):
    return math.tanh(z - y)


@gs.formula
def _cosh_curvature(z, y, p):
    t = math.tanh(z - y)
    return 1 - t * t


OWN = gs.Loss("log-cosh", _cosh_value, _cosh_slope, _cosh_curvature)
HUBER = gs.huber(1.0, absolute=True)
SMOOTH = (gs.logistic(), gs.poisson(), HUBER, gs.huber(1.35), OWN)
PENALISED = (*SMOOTH, gs.squared())
losses = pytest.mark.parametrize("loss", SMOOTH, ids=str)


def _huber(r, delta):
    q = np.minimum(abs(r), delta)
    return q * (abs(r) - q / 2), np.clip(r, -delta, delta), (abs(r) < delta).astype(r.dtype)


def _logistic(z, y):
    q = np.exp(-np.logaddexp(LONG(0), -z))
    return np.logaddexp(LONG(0), z) - y * z, q - y, q * np.exp(-np.logaddexp(LONG(0), z))


# Value, slope and curvature once more, in any precision.
FORMULAS = {
    "logistic": lambda z, y, p: _logistic(z, y),
    "poisson": lambda z, y, p: (np.exp(z) - y * z, np.exp(z) - y, np.exp(z)),
    "huber": lambda z, y, p: _huber(z - y, p[0]),
    "squared": lambda z, y, p: ((z - y) ** 2 / 2, z - y, np.ones_like(z)),
    "log-cosh": lambda z, y, p: (
        np.logaddexp(z - y, y - z) - np.log(LONG(2)), np.tanh(z - y), 1 - np.tanh(z - y) ** 2,
    ),
}  # fmt: skip


class Optimum:
    """The least objective, by Newton's steps in 80-bit numbers on whitened columns, from a fit's own coefficients.

    Of l1 the columns and signs are that fit's: that no other column wants to come in shows that they are right.
    """

    def __init__(self, X, y, fit, *, weight=None, intercept=True):
        self.penalty, self.params, self.formula = fit.penalty, fit.loss.params, FORMULAS[fit.loss.name]
        v = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        kept = v > 0
        self.v = (v[kept] / v[kept].mean()).astype(LONG)
        self.A = np.column_stack((X, np.full(len(X), float(intercept))))[kept].astype(LONG)
        self.y, self.n = y[kept].astype(LONG), int(kept.sum())
        alpha, ratio = 0.0, 0.0
        if fit.penalty is not None:
            alpha, ratio = fit.penalty.params[0], {"l1": 1.0, "l2": 0.0}.get(fit.penalty.name, fit.penalty.params[-1])
        self.l1, self.l2 = LONG(alpha * ratio), LONG(alpha * (1 - ratio))
        w = np.append(fit.coef, fit.intercept).astype(LONG)
        signs = np.sign(w[:-1]) * (self.l1 > 0)
        free = np.append((signs != 0) | (self.l1 == 0), intercept)
        self.linear, self.quadratic = np.append(self.l1 * signs, LONG(0)), np.append(np.full(len(signs), self.l2), 0)
        T = self._whitened(free)
        self.AT = self.A @ T
        last = np.inf
        for _ in range(60):
            gradient = self._gradient(w, T)
            size = float(np.abs(gradient).max())
            if size < 1e-17 or last / 2 < size < 1e-11:
                break
            last = size
            step = -T @ scipy.linalg.solve(self._hessian(w, T), gradient.astype(float), assume_a="pos").astype(LONG)
            share, least = LONG(1), self.smooth(w)
            while not self.smooth(w + share * step) <= least + 1e-15 * abs(least) and share > 1e-9:
                share /= 2
            w = w + share * step
        self.w, self.value = w, self.objective(w)
        self.pull = float(np.abs(self._gradient(w, T)).max())
        slopes, h = self.formula(self.A @ w, self.y, self.params)[1:]
        rest = np.abs((self.v * slopes) @ self.A / self.n)[:-1][~free[:-1]]
        self.excess = float((rest / self.l1).max(initial=0)) if self.l1 > 0 else 0.0
        self.kept_signs = bool(np.all(np.sign(w[:-1])[free[:-1]] == signs[free[:-1]])) or self.l1 == 0
        degrees = self.n - np.count_nonzero(free)
        known = fit.loss.dispersion
        self.dispersion = known or float((self.v * slopes**2).sum() / degrees / (self.v * h).mean())

    def _gradient(self, w, T):
        slopes = self.formula(self.A @ w, self.y, self.params)[1]
        return (self.v * slopes) @ self.AT / self.n + T.T @ (self.linear + self.quadratic * w)

    def _hessian(self, w, T):
        h = self.formula(self.A @ w, self.y, self.params)[2]
        B = self.AT.astype(float) * np.sqrt(self.v * h).astype(float)[:, np.newaxis]
        return B.T @ B / self.n + (T.T @ (self.quadratic[:, np.newaxis] * T)).astype(float)

    def _whitened(self, free):
        T = np.eye(len(free), dtype=LONG)
        if free[-1]:
            T[-1, :-1] = -(self.v @ self.A[:, :-1]) / self.v.sum()
        T = T[:, free]
        B = self.A @ T * np.sqrt(self.v)[:, np.newaxis]
        T = T / np.sqrt(np.square(B).mean(axis=0))
        B = (self.A @ T * np.sqrt(self.v)[:, np.newaxis]).astype(float) / np.sqrt(self.n)
        return T @ scipy.linalg.inv(np.linalg.qr(B, mode="r")).astype(LONG)

    def smooth(self, w):
        """Return the objective with the l1 part as it is linear about the fit."""
        losses = self.formula(self.A @ w, self.y, self.params)[0]
        return (self.v * losses).sum() / self.n + self.linear @ w + self.quadratic @ (w * w) / 2

    def objective(self, w):
        return self.smooth(w) - self.linear @ w + self.l1 * np.abs(w[:-1]).sum()

    def gap(self, fit):
        # By the differences of rows: what scores of large terms are rounded to is the same in both.
        w = np.append(fit.coef, fit.intercept).astype(LONG)
        z = self.A @ self.w
        now, least = (self.formula(score, self.y, self.params)[0] for score in (z + self.A @ (w - self.w), z))
        sizes = np.abs(w[:-1]) - np.abs(self.w[:-1])
        ridge = self.quadratic @ ((w - self.w) * (w + self.w)) / 2
        return max(float((self.v * (now - least)).sum() / self.n + self.l1 * sizes.sum() + ridge), 0.0)

    def distance(self, fit):
        """Return how far a fit is, in standard errors: of the objective's gap, and with no penalty of the worst one."""
        rounding = 1e-16 * abs(float(self.value))
        found = math.sqrt(2 * self.n * max(self.gap(fit) - rounding, 0.0) / self.dispersion)
        if self.l1 > 0 or self.l2 > 0:
            return found
        moved = self.A @ (np.append(fit.coef, fit.intercept).astype(LONG) - self.w)
        h = self.formula(self.A @ self.w, self.y, self.params)[2]
        moved = float(np.sqrt((self.v * h * moved**2).sum() / self.dispersion))
        return max(found, moved - 10 * self.pull * math.sqrt(self.n))  # less what this itself may be off

    def proves(self, fit):
        """Assert that it is the optimum, and that a fit is as near as it says."""
        assert self.pull < 1e-11
        assert self.kept_signs
        assert self.excess <= 1 + 1e-9
        c = fit.certificate
        assert fit.stop is gs.Stop.CERTIFIED
        assert self.distance(fit) <= c.bound <= 0.01
        assert self.gap(fit) <= c.objective_gap + 1e-16 * abs(float(self.value))
        assert fit.objective <= float(self.value) + 1e-8 * abs(float(self.value))
        assert fit.objective == pytest.approx(float(self.value), rel=1e-7)
        assert c.kind in (("estimate",) if fit.loss == OWN else ("exact", "probable"))


def responses(loss, z, seed):
    """Return responses in the loss's domain for scores of unit variance."""
    rng = np.random.default_rng((seed, 7))
    if loss.domain == "binary":
        return (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(float)
    if loss.domain == "nonnegative":
        return rng.poisson(np.exp(np.clip(z, -4, 4) / 2)).astype(float)
    return z + rng.standard_t(2, len(z))


def table(n=N, d=5, seed=0, condition=1.0, offset=10.0):
    """Return raw columns of that condition and scores of unit variance."""
    rng = np.random.default_rng(seed)
    X = (
        rng.standard_normal((n, d))
        * np.logspace(0, -np.log10(condition), d)
        @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    )
    z = rng.standard_normal((n, d)) * 0 + X
    z = z @ np.linalg.lstsq(X, X / np.linalg.norm(X, axis=0), rcond=None)[0] @ rng.standard_normal(d)
    units = 10.0 ** rng.integers(-3, 4, d) if condition == 1 else np.ones(d)
    return X * units + offset * units, (z - z.mean()) / z.std()


@needs_jit
@extended
@pytest.mark.parametrize("seeds", np.array_split(np.arange(20), 4), ids=str)
def test_few_passes_on_any_table_and_the_truth_within_the_bound(seeds):
    for seed in seeds:
        named = [(f"condition {c:g}", *table(seed=seed, condition=c)) for c in (1e0, 1e3, 1e6, 1e8)]
        rare = [(name, X, (y - y.mean()) / y.std()) for name, X, y in tables(N, 4, seed) if "dummies" not in name]
        for i, loss in enumerate(SMOOTH):
            some = [named[(seed + i) % 4], rare[(seed + 2 * i) % len(rare)]]
            for name, X, z in some:
                y = responses(loss, z, seed)
                fit = gs.fit(X, y, loss=loss, seed=int(seed), check=False)
                assert fit.passes <= 20, (name, loss)
                Optimum(X, y, fit).proves(fit)


@needs_jit
@extended
@pytest.mark.parametrize("loss", SMOOTH[:3], ids=str)
def test_on_the_way_the_truth_is_within_the_bound_too(loss):
    for seed in range(1):
        for n in (N, 1_500):
            X, z = table(n, seed=seed, condition=1e3)
            y = responses(loss, z, seed)
            end = gs.fit(X, y, loss=loss, seed=seed, tol=1e-6, max_passes=40, check=False)
            truth = Optimum(X, y, end)
            heard = []
            gs.fit(X, y, loss=end.loss, tol=1e-6, seed=seed, max_passes=40, check=False, callbacks=[heard.append])
            for at in heard:
                if np.isfinite(at.bound):
                    assert truth.distance(at) <= at.bound


@needs_jit
@extended
@pytest.mark.parametrize("penalty", [None, gs.l1(1e-3)], ids=str)
def test_the_bundled_table_as_it_stands(penalty):
    X, price, _ = gs.load_diamonds()
    for loss in PENALISED:
        if loss == OWN or (loss == gs.squared() and penalty is None):
            continue
        y = (price > np.median(price)).astype(float) if loss.domain == "binary" else price / 1000
        fit = gs.fit(X, y, loss=loss, penalty=penalty, check=False)
        assert fit.passes <= (20 if penalty is None else 40)
        Optimum(X, y, fit).proves(fit)
        if loss.relative:
            sizes = np.abs(y - X @ fit.coef - fit.intercept)
            assert fit.loss.params[0] == pytest.approx(1.35 * np.median(sizes) / 0.67449, rel=2e-2)


@needs_jit
@extended
@pytest.mark.parametrize("loss", PENALISED, ids=str)
@pytest.mark.parametrize("n", [N, 600])
def test_l1_and_the_elastic_net_leave_the_right_zeros(loss, n):
    for seed, condition in ((0, 1.0), (1, 1e3)):
        if True:
            X, z = table(n, 12, seed, condition, offset=1.0)
            X = (X - X.mean(axis=0)) / X.std(axis=0) + 1
            y = responses(loss, z, seed)
            for penalty in (gs.l1(0.02), gs.elastic_net(0.05, 0.4), gs.l1(1e-5), gs.l1(10.0)):
                fit = gs.fit(X, y, loss=loss, penalty=penalty, seed=seed, check=False)
                assert fit.passes <= 40
                Optimum(X, y, fit).proves(fit)
                assert (penalty.params[0] < 10) == bool(np.any(fit.coef))


@needs_jit
def test_scikit_learn_has_the_same_coefficients():
    models = pytest.importorskip("sklearn.linear_model")
    X, z = table(2_000, 6, offset=1.0)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    for loss, penalty, model in (
        (gs.squared(), gs.l1(0.05), models.Lasso(0.05, tol=1e-12)),
        (gs.squared(), gs.elastic_net(0.05, 0.3), models.ElasticNet(0.05, l1_ratio=0.3, tol=1e-12)),
        (gs.poisson(), gs.l2(0.1), models.PoissonRegressor(alpha=0.1, tol=1e-12, solver="newton-cholesky")),
        (gs.logistic(), gs.l2(1 / 2_000), models.LogisticRegression(C=1.0, tol=1e-10, solver="newton-cholesky")),
    ):
        y = responses(loss, z, 1)
        np.testing.assert_allclose(
            gs.fit(X, y, loss=loss, penalty=penalty).coef, np.ravel(model.fit(X, y).coef_), rtol=1e-5, atol=1e-7
        )


@needs_jit
@pytest.mark.parametrize("penalty", [None, gs.l2(0.01), gs.l1(0.01), gs.elastic_net(0.02)], ids=str)
@pytest.mark.parametrize("n", [300, N])
def test_scipy_agrees(penalty, n):
    for loss in PENALISED:
        if loss == gs.squared() and (penalty is None or penalty.name == "l2"):
            continue
        X, z = table(n, condition=1e3, offset=1.0)
        y = responses(loss, z, 0)
        fit = gs.fit(X, y, loss=loss, penalty=penalty, check=True)
        assert (fit.check.by, fit.check.agrees, fit.concern) == ("SciPy's optimum", True, "")
        assert fit.check.distance <= fit.certificate.bound + fit.check.floor
        assert "agrees with SciPy's optimum" in str(fit)


@losses
def test_a_small_table_goes_to_the_floor_and_its_report_is_one_screen(loss):
    X, z = table(60, 2, offset=1.0)
    y = responses(loss, z, 1)
    fit = gs.fit(X, y, loss=loss, tol=1e-9, max_passes=60)
    assert fit.stop in {gs.Stop.CERTIFIED, gs.Stop.FLOOR}
    assert fit.check.agrees
    assert len(str(fit).splitlines()) <= 15
    for word in ("passes", "row reads", "certificate", "check", "condition", "stop", loss.name):
        assert word in str(fit)
    assert len(str(fit.history).splitlines()) == 1 + len(fit.history)
    assert fit.history.bound[-1] == fit.certificate.bound
    assert (np.diff(fit.history.passes) > 0).all()


def direction_of(fit, X, y, *, weight=None, concern="no finite coefficients are best"):
    """Assert that a fit ended for a direction along which its loss falls for ever, exactly so; return it."""
    assert fit.stop is gs.Stop.SEPARABLE
    assert concern in fit.concern
    assert np.abs(fit.direction).max() == pytest.approx(1)
    moved = X @ fit.direction
    if fit.loss.name == "logistic":
        low, high = moved[y == 1].min(), moved[y == 0].max()
    else:  # what has a count stays where it is, and the others go down
        low, high = moved[y > 0].min(), moved.max()
        assert np.ptp(moved[y > 0]) <= 1e-8 * np.ptp(moved)
    assert low >= high - 1e-8 * np.ptp(moved)
    assert moved.max() > moved.min()
    return fit.direction


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("n", [50, 3_000, N])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_labels_that_a_plane_tells_apart_are_said_to_be(n, dtype):
    for seed in range(2 if n == N else 5):
        X = np.random.default_rng(seed).standard_normal((n, 3)).astype(dtype)
        complete = (X[:, 1] - X[:, 2] > 0.1).astype(float)
        fit = gs.fit(X, complete, loss=gs.logistic(), seed=seed)
        along = direction_of(fit, X, complete)
        assert "column 1" in fit.concern
        assert "column 2" in fit.concern
        assert along[1] > 0 > along[2]
        # A column with one label where it is not zero, and no plane between the others.
        quasi = (np.random.default_rng(seed).random(n) < 0.5).astype(float)
        X[:, 2] = 0
        X[: n // 10, 2] = np.abs(X[: n // 10, 0]) + 1
        quasi[: n // 10] = 1
        fit = gs.fit(X, quasi, loss=gs.logistic(), seed=seed)
        direction_of(fit, X, quasi)
        assert "column 2" in fit.concern
        assert fit.check is None
        assert "SEPARABLE" in str(fit)
        for penalty in (gs.l2(1e-3), gs.l1(1e-3), gs.elastic_net(1e-3)):
            for y in (complete, quasi):
                finite = gs.fit(X, y, loss=gs.logistic(), penalty=penalty)
                assert finite.stop is gs.Stop.CERTIFIED
                assert np.isfinite(finite.coef).all()
                assert finite.direction is None


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("n", [60, 3_000, N])
def test_counts_that_are_zero_wherever_a_column_is_not_are_said_to_be(n):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, 3))
        y = rng.poisson(3, n).astype(float)
        X[:, 2] = 0
        X[: n // 10, 2] = 1
        y[: n // 10] = 0
        for intercept in (True, False):
            fit = gs.fit(X, y, loss=gs.poisson(), seed=seed, intercept=intercept)
            direction_of(fit, X, y)
            assert "column 2" in fit.concern
        assert gs.fit(X, y, loss=gs.poisson(), penalty=gs.l2(1e-3)).stop is gs.Stop.CERTIFIED
        y[0] = 1
        assert gs.fit(X, y, loss=gs.poisson(), seed=seed).stop is gs.Stop.CERTIFIED


def plane_between(X, y, intercept=True):
    """Whether a linear programme finds a direction that leaves no row on the wrong side and moves some."""
    side = np.where(y == 1, 1.0, -1.0)[:, np.newaxis]
    A = side * (np.column_stack((X, np.ones(len(X)))) if intercept else X)
    found = scipy.optimize.linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=(-1, 1), method="highs")
    return -found.fun > 1e-7


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("intercept", [True, False])
def test_no_alarm_is_false_and_none_is_missed_beside_a_linear_programme(intercept):
    said = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(12, 60))
        X = rng.standard_normal((n, int(rng.integers(1, n // 2)))) * 10.0 ** rng.integers(-2, 3)
        if seed % 3 == 0:
            X = np.round(X / np.abs(X).max() * 3)  # ties: quasi-complete at times
        y = (rng.random(n) < 0.5).astype(float)
        if seed % 2:
            y = (X[:, 0] + 0.2 * np.abs(X[:, 0]).mean() * rng.standard_normal(n) > 0).astype(float)
        if np.ptp(y) == 0:
            continue
        fit = gs.fit(X, y, loss=gs.logistic(), intercept=intercept, max_passes=100, check=False)
        apart = plane_between(X, y, intercept)
        assert (fit.stop is gs.Stop.SEPARABLE) == apart, seed
        assert apart or fit.stop is gs.Stop.CERTIFIED, seed
        said.append(apart)
    assert 0.2 < np.mean(said) < 0.8


@needs_jit
@extended
@pytest.mark.parametrize("n", [1_000, N])
def test_labels_that_are_nearly_apart_are_not_said_to_be(n):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n, 1))
        order = np.argsort(X[:, 0])
        y = np.zeros(n)
        y[order[n // 2 :]] = 1
        y[order[n // 2 - 2 : n // 2 + 2]] = (1, 0, 1, 0)  # two rows each on the wrong side, next to the plane
        fit = gs.fit(X, y, loss=gs.logistic(), max_passes=100, check=False)
        assert fit.stop is gs.Stop.CERTIFIED, fit.concern
        Optimum(X, y, fit).proves(fit)
        assert abs(fit.coef[0]) > 20
        far = (rng.random(n) < 1 / (1 + np.exp(-8 * X[:, 0]))).astype(float)
        far[[0, 1]] = X[:2, 0] < 0
        fit = gs.fit(X, far, loss=gs.logistic(), check=False)
        Optimum(X, far, fit).proves(fit)


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
def test_rare_columns_of_both_labels_are_no_plane_and_those_of_one_are():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = np.column_stack((rng.standard_normal((N, 2)), np.zeros((N, 3))))
        y = (rng.random(N) < 0.5).astype(float)
        for j in range(3):
            X[4 * j : 4 * j + 4, 2 + j] = 1
            y[4 * j : 4 * j + 4] = (0, 1, 1, 1)
        fit = gs.fit(X, y, loss=gs.logistic(), seed=seed)
        assert fit.stop is gs.Stop.CERTIFIED
        assert fit.check.agrees
        np.testing.assert_allclose(fit.predict(X[:4]).mean(), np.log(3) + (X[:4, :2] @ fit.coef[:2]).std(), atol=0.3)
        y[0] = 1
        assert "column 2" in gs.fit(X, y, loss=gs.logistic(), seed=seed).concern


CURVATURE = "the curvature of .* is .* at row {}, where the score is .*; a number of at least 0 is needed"


@gs.formula
def _bent_down(z, y, p):
    return -1.0 if y > p[0] else 1.0


@gs.formula
def _none(z, y, p):
    return math.nan if y > p[0] else 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": gs.logistic()}, "y: 2.5 came at position 1; 0 or 1 is needed for the logistic loss"),
        ({"loss": gs.poisson(), "y": -1}, "y: -1.0 came at position 0; a number of at least 0 is needed"),
        ({"loss": gs.logistic(), "y": 1}, "y: the label 1 alone came; both 0 and 1 are needed"),
        ({"loss": gs.logistic(), "y": 0}, "y: the label 0 alone came; both 0 and 1 are needed"),
        ({"loss": gs.poisson(), "y": 0}, "y: zeros alone came; a number above 0 is needed"),
        ({"loss": gs.logistic(), "y": np.eye(60)[:, :2] * 0}, "y: the label 0 alone came in output 0"),
        ({"loss": gs.huber(1.35), "step": 0.1}, "a delta in units of y is needed: pass absolute=True, or no step"),
        ({"loss": HUBER, "solver": "exact"}, 'solver: "exact" came with the huber loss; the squared loss with no'),
        ({"penalty": gs.Penalty("own", gs.l1(1).value, gs.l2(1).prox, (1.0,))}, "step: none came .* with no loss"),
        ({"loss": HUBER, "device": "cuda"}, 'device: "cuda" came with the huber loss and no step; on a GPU it needs'),
        ({"loss": HUBER, "step": 0.1, "check": True}, "check: True came"),
        ({"loss": HUBER, "epochs": 3}, 'epochs: 3 came with solver="sgd" and no step, which takes none'),
        ({"loss": HUBER, "tol": -1.0}, "tol: -1.0 came"),
        ({"loss": gs.huber(1.35), "y": 3}, "half of the residuals are zero or rounding: pass absolute=True"),
        ({"loss": gs.Loss("own", HUBER.value, HUBER.slope, _bent_down, (3.4,))}, CURVATURE.format(31)),
        ({"loss": gs.Loss("own", HUBER.value, HUBER.slope, _none, (3.4,))}, CURVATURE.format(31)),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, message):
    X, _ = table(60, 2)
    y = np.tile([0.0, 2.5], 30)
    y[31] = 3.5
    y = np.broadcast_to(np.asarray(arguments.get("y", y), dtype=float), np.shape(arguments.get("y")) or 60).copy()
    before = X.copy(), y.copy()
    named = {name: value for name, value in arguments.items() if name != "y"}
    with pytest.raises(ValueError, match=message):
        gs.fit(X, y, **named)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@needs_jit
def test_a_curvature_that_is_none_is_told_by_its_row_in_the_whole_table():
    X, z = table(40_000, 5)
    y = responses(HUBER, z, 0)
    for row in (123, 39_998):
        y[:] = np.minimum(y, 99.0)
        y[row] = 1e3
        with pytest.raises(ValueError, match=CURVATURE.format(row)):
            gs.fit(X, y, loss=gs.Loss("own", HUBER.value, HUBER.slope, _none, (100.0,)))


def same(one, other):
    # The scale of a relative loss is settled to 1e-4.
    rtol = 5e-3 if gs.huber(1.35).value is other.loss.value else 1e-6
    np.testing.assert_allclose(one.coef, other.coef, rtol=rtol, atol=rtol * 1e-3 * np.abs(other.coef).max())
    assert one.objective == pytest.approx(other.objective, rel=rtol)


@needs_jit
@pytest.mark.parametrize("n", [500, N])
@pytest.mark.parametrize("loss", PENALISED, ids=str)
def test_whole_weights_are_repeated_rows_and_zeros_none(loss, n):
    X, z = table(n, offset=1.0)
    y = responses(loss, z, 3)
    times = np.random.default_rng(4).integers(0, 4, n)
    for penalty in (None, gs.l1(1e-3)) if loss != gs.squared() else (gs.l1(1e-3),):
        settings = {"loss": loss, "penalty": penalty, "tol": 1e-7, "max_passes": 80, "check": False}
        weighted = gs.fit(X, y, sample_weight=times, **settings)
        same(weighted, gs.fit(np.repeat(X, times, axis=0), np.repeat(y, times), **settings))
        kept = times > 0
        spoilt = np.where(kept[:, np.newaxis], X, 1e300)
        without = gs.fit(X[kept], y[kept], sample_weight=times[kept], **settings)
        zeroed = gs.fit(spoilt, y, sample_weight=times, **settings)
        same(zeroed, without)
        # Rows that are none are none to the standard error either.
        assert zeroed.certificate.degrees_of_freedom == without.certificate.degrees_of_freedom
        assert zeroed.certificate.residual_sd == pytest.approx(without.certificate.residual_sd, rel=1e-3)
        assert zeroed.certificate.floor == pytest.approx(without.certificate.floor, rel=0.1)


@needs_jit
@losses
def test_what_changes_nothing_changes_nothing(loss):
    X, z = table(condition=10.0)
    y = responses(loss, z, 2)
    plain = gs.fit(X, y, loss=loss, check=False)
    powers = np.random.default_rng(1).integers(-60, 60, X.shape[1])
    scaled = gs.fit(np.ldexp(X, powers), y, loss=loss, check=False)
    np.testing.assert_array_equal(np.ldexp(scaled.coef, powers), plain.coef)
    assert scaled.certificate.bound == plain.certificate.bound
    narrow = X.astype(np.float32)
    same(gs.fit(narrow, y, loss=loss), gs.fit(narrow.astype(float), y, loss=loss))
    far = gs.fit((X - X.mean(axis=0)) + 1e6, y, loss=loss)
    assert far.stop is gs.Stop.CERTIFIED
    assert far.check.agrees
    np.testing.assert_allclose(far.coef, plain.coef, atol=0.02 * np.abs(plain.coef).max())
    if loss == OWN or loss.domain != "real":
        return
    factor = 2.0**20
    other = gs.huber(loss.params[0] * (1 if loss.relative else factor), absolute=not loss.relative)
    np.testing.assert_allclose(gs.fit(X, y * factor, loss=other).coef, plain.coef * factor, rtol=1e-3)


@needs_jit
@pytest.mark.parametrize("loss", PENALISED, ids=str)
@pytest.mark.parametrize("n", [400, N])
def test_several_outputs_are_each_alone(loss, n):
    X, z = table(n)
    Y = np.column_stack([responses(loss, sign * z, 5) for sign in (1, -1, 0)])
    penalty = gs.l1(1e-3) if loss == gs.squared() else None
    both = gs.fit(X, Y, loss=loss, penalty=penalty, check=False)
    assert both.coef.shape == (5, 3)
    assert np.shape(both.certificate.residual_sd) == (3,)
    alone = [gs.fit(X, y, loss=loss, penalty=penalty, check=False) for y in Y.T]
    for c, one in enumerate(alone):
        np.testing.assert_array_equal(both.coef[:, c], one.coef)
        assert both.intercept[c] == one.intercept
    assert both.objective == pytest.approx(sum(one.objective for one in alone))
    assert both.certificate.bound == max(one.certificate.bound for one in alone)
    assert "3 outputs" in str(both)
    np.testing.assert_array_equal(gs.fit(X, Y[:, :1], loss=loss, penalty=penalty, check=False).coef[:, 0],
                                  alone[0].coef)  # fmt: skip


@needs_jit
@losses
@pytest.mark.parametrize("n", [400, N])
def test_columns_that_depend_on_others_are_named_and_predictions_right(loss, n):
    X, z = table(n)
    y = responses(loss, z, 6)
    plain = gs.fit(X, y, loss=loss, tol=1e-6, max_passes=60)
    twice = np.column_stack((X, X[:, 1], np.full(n, 7.3), X[:, 0] - 2 * X[:, 2]))
    fit = gs.fit(twice, y, loss=loss, tol=1e-6, max_passes=60)
    assert (fit.certificate.rank, fit.certificate.dependent) == (5, (5, 6, 7))
    assert fit.check.agrees
    np.testing.assert_allclose(fit.predict(twice), plain.predict(X), atol=1e-3 if loss.relative else 1e-5)
    lasso = gs.fit(twice, y, loss=loss, penalty=gs.l1(1e-4))
    assert lasso.stop is gs.Stop.CERTIFIED
    assert lasso.check.agrees


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("loss", [gs.squared(), gs.logistic()], ids=str)
def test_under_l1_constant_columns_are_zero(loss, value):
    y = np.arange(50.0) % 7 if loss == gs.squared() else np.arange(50.0) % 2
    fit = gs.fit(np.full((50, 3), value), y, loss=loss, penalty=gs.l1(0.1), check=False)
    assert fit.stop is gs.Stop.CERTIFIED
    assert not fit.coef.any()
    assert fit.intercept == pytest.approx(y.mean() if loss == gs.squared() else 0.0, abs=1e-9)


@needs_jit
def test_a_delta_in_units_of_residuals_waits_for_the_fit():
    for seed, penalty in ((29, None), (98, gs.l1(0.05))):  # which stand still for a round on their way
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(60, 400)), int(rng.integers(2, 12))
        X = rng.standard_t(3, (n, d))
        y = X @ rng.standard_normal(d) + rng.standard_t(2, n)
        fit = gs.fit(X, y, loss=gs.huber(1.35), penalty=penalty, check=False)
        scale = np.median(np.abs(y - fit.predict(X))) / 0.6744897501960817
        assert fit.loss.params[0] == pytest.approx(1.35 * scale, rel=0.02)


@needs_jit
def test_more_columns_than_rows():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 100))
    for loss in PENALISED:
        y = responses(loss, 2 * X[:, 0], 1)
        for penalty in (gs.l2(0.1), gs.l1(0.1), gs.elastic_net(0.1)):
            if loss == gs.squared() and penalty.name == "l2":
                continue
            fit = gs.fit(X, y, loss=loss, penalty=penalty, check=True)
            assert fit.stop in {gs.Stop.CERTIFIED, gs.Stop.FLOOR}, (loss, penalty)
            assert fit.check.agrees, (loss, penalty)
            assert fit.check.relative <= 1e-8
    with pytest.warns(gs.ConvergenceWarning, match="are told apart without error"):
        gs.fit(X, (rng.random(40) < 0.5).astype(float), loss=gs.logistic())


@needs_jit
@losses
def test_solvers_starts_and_tolerances(loss):
    X, z = table(d=10, condition=1e4)
    y = responses(loss, z, 8)
    plain = gs.fit(X, y, loss=loss)
    for settings in ({"solver": "cg"}, {"solver": "auto"}, {"batch_size": 300}, {"intercept": False}):
        fit = gs.fit(X, y, loss=loss, **settings)
        assert fit.stop is gs.Stop.CERTIFIED, settings
        assert fit.check.agrees, settings
        assert fit.passes <= 20, settings
    assert fit.intercept == 0.0
    warm = gs.fit(X, y, loss=loss, start=plain, seed=1)
    assert warm.stop is gs.Stop.CERTIFIED
    assert warm.passes <= 5 + 3 * loss.relative
    other = gs.fit(X[: N // 2], y[: N // 2], loss=gs.squared())
    assert gs.fit(X, y, loss=loss, start=other).check.agrees
    floor = gs.fit(X, y, loss=loss, tol=0, max_passes=200)
    assert floor.stop is gs.Stop.FLOOR
    assert floor.concern == ""
    assert floor.certificate.bound <= 10 * floor.certificate.floor
    assert floor.passes <= 100
    for most in (1, 4, 7):
        with pytest.warns(gs.ConvergenceWarning, match="raise"):
            short = gs.fit(X, y, loss=loss, tol=1e-9, max_passes=most)
        assert short.stop is gs.Stop.BUDGET
        assert short.passes <= max(most, 6)
        assert np.isfinite(short.coef).all()


@needs_jit
@losses
def test_callbacks_hear_of_each_round_and_ctrl_c_leaves_what_was_reached(loss):
    X, z = table()
    y = responses(loss, z, 9)
    heard = []
    settings = {"loss": loss, "tol": 1e-8, "max_passes": 60, "check": False}
    fit = gs.fit(X, y, callbacks=[heard.append], **settings)
    assert len(heard) >= 2
    np.testing.assert_array_equal([at.bound for at in heard], fit.history.bound)
    np.testing.assert_array_equal(heard[-1].coef, fit.coef)
    first = gs.fit(X, y, callbacks=[lambda at: True], **settings)
    assert first.stop is gs.Stop.CALLBACK
    assert len(first.history) == 1
    told = []

    def press(at):
        told.append(at)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(gs.Interrupted) as caught:
        gs.fit(X, y, callbacks=[press], **settings)
    reached = caught.value.fit
    assert (reached.stop, reached.check) == (gs.Stop.INTERRUPTED, None)
    np.testing.assert_array_equal(reached.coef, heard[1].coef)
    assert "interrupted" in str(reached)
    told.clear()
    with pytest.raises(gs.Interrupted) as caught:
        gs.fit(X, np.column_stack((y, y)), callbacks=[press], **settings)
    np.testing.assert_array_equal(caught.value.fit.coef[:, 0], heard[1].coef)
    assert [at.epoch for at in heard] == list(fit.history.epoch)


@needs_jit
def test_bits_do_not_depend_on_the_number_of_threads():
    X, z = table(20_000, 20)
    for loss in PENALISED:
        y = responses(loss, z, 10)
        for penalty in (None, gs.l1(1e-3)) if loss != gs.squared() else (gs.l1(1e-3),):
            fits = []
            for count in (1, 2, 5):
                with gs.set_threads(count):
                    fits.append(gs.fit(X, y, loss=loss, penalty=penalty, check=False))
            for other in fits[1:]:
                np.testing.assert_array_equal(other.coef, fits[0].coef)
                assert other.certificate.bound == fits[0].certificate.bound


@needs_jit
def test_extreme_units_end_in_words_or_in_a_fit():
    X, z = table(2_000, 3)
    for loss in SMOOTH:
        y = responses(loss, z, 11)
        for factor in (1e-150, 1e150):
            assert gs.fit(X * factor, y, loss=loss).check.agrees
        for entry in (1e8, 1e100):
            freak = X.copy()
            freak[7, 1] = entry
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gs.ConvergenceWarning)
                fit = gs.fit(freak, y, loss=loss, max_passes=60)
            assert fit.stop is gs.Stop.CERTIFIED or fit.concern
            assert np.isfinite(fit.coef).all()
