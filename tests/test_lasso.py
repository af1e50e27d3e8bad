"""The minimiser of the l1 model holds its conditions to rounding, whatever the columns are like."""

import numpy as np
import pytest

from conftest import JIT_OFF, needs_jit
from gradstep._solvers import lasso

EPS = np.finfo(np.float64).eps
extended = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no numbers wider than float64 here")
CONDITIONS = (1, 1e3, 1e6, 1e8, 1e10)


def problem(d, condition, seed, p=None, share=0.05):
    """Columns of norm 1 and about that condition, a third of which matters, and strengths of a share of the largest."""
    rng = np.random.default_rng(seed)
    p = p or d
    rank = min(p, d)
    left, right = (np.linalg.qr(rng.standard_normal((size, rank)))[0] for size in (p, d))
    R = (left * np.logspace(0, -np.log10(condition), rank)) @ right.T
    R /= np.linalg.norm(R, axis=0)
    if p >= d:
        R = np.triu(np.linalg.qr(R)[1])
    c = R @ np.where(rng.random(d) < 1 / 3, rng.standard_normal(d), 0.0) + 0.1 * rng.standard_normal(len(R)) / d**0.5
    return R, c, np.full(d, share * np.abs(R.T @ c).max())


class Wide:
    """What the conditions for a minimum come to in extended precision, by other code than the library's."""

    def __init__(self, R, c, strength, u):
        R, c, strength, u = (np.asarray(a, dtype=np.longdouble) for a in (R, c, strength, u))
        active = u != 0
        A, tilt = R[:, active], strength[active] * np.sign(u[active])
        Q, T = self.orthogonal(A)
        residual = c - R @ u
        self.scale = norm(np.abs(R) @ np.abs(u)) + norm(c)
        # How far R u is from that of the best u with these signs: the gradient in the metric of R.
        self.active = norm(self.forward(T, A.T @ residual - tilt))
        exact = residual - Q @ self.forward(T, A.T @ residual - tilt)
        for _ in range(3):
            exact -= Q @ self.forward(T, A.T @ exact - tilt)
        slope = np.abs(R.T @ exact)
        others = R - Q @ (Q.T @ R)
        others -= Q @ (Q.T @ others)
        distance = np.sqrt((others**2).sum(axis=0))
        independent = ~active & (distance > 1e-12)
        excess = np.maximum(slope - strength, 0)
        self.others = (excess[independent] / distance[independent]).max(initial=0)
        self.dependent = excess[~active & ~independent].max(initial=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(slope > strength, strength / slope, 1)[strength > 0].min(initial=1) * exact
        # Of any point and any residual that the strengths allow: all terms are at least zero.
        self.gap = ((residual - inside) ** 2).sum() / 2 + (strength * np.abs(u) - u * (R.T @ inside)).sum()
        self.objective = (residual**2).sum() / 2 + (strength * np.abs(u)).sum()

    @staticmethod
    def orthogonal(A):
        """Gram and Schmidt's method, each column twice."""
        Q, T = np.zeros_like(A), np.zeros((A.shape[1], A.shape[1]), dtype=A.dtype)
        for j in range(A.shape[1]):
            away = A[:, j].copy()
            for _ in range(2):
                along = Q[:, :j].T @ away
                away -= Q[:, :j] @ along
                T[:j, j] += along
            T[j, j] = norm(away)
            Q[:, j] = away / T[j, j]
        return Q, T

    @staticmethod
    def forward(T, b):
        x = np.zeros_like(b)
        for i in range(len(b)):
            x[i] = (b[i] - T[:i, i] @ x[:i]) / T[i, i]
        return x

    def hold(self):
        allowed = 4 * EPS * self.scale
        assert self.active <= allowed
        assert self.others <= allowed
        assert self.dependent <= allowed
        return True


def norm(a):
    return np.sqrt((a * a).sum())


def solved(R, c, strength, start=None):
    """The minimiser, after what holds of all of them: no input changes, the answer is its own fixed point."""
    start = np.zeros(R.shape[1]) if start is None else start
    before = [a.copy() for a in (R, c, strength, start)]
    u = lasso.minimum(R, c, strength, start)
    assert all(np.array_equal(a, b) for a, b in zip(before, (R, c, strength, start), strict=True))
    np.testing.assert_allclose(lasso.minimum(R, c, strength, u), u, rtol=1e-13, atol=1e-15 * np.abs(u).max(initial=0))
    return u


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("p", [12, 8, 16])
@extended
def test_conditions_hold_in_the_metric_of_the_columns(condition, p):
    d = 12
    for seed in range(5 if JIT_OFF else 20):
        R, c, strength = problem(d, condition, seed, p, share=(0.1, 0.01, 1e-3)[seed % 3])
        if seed % 4 == 1:
            strength[::5] = 0.0
        if seed % 4 == 2:
            strength *= np.random.default_rng(seed).random(d)
        u = solved(R, c, strength)
        wide = Wide(R, c, strength, u)
        assert wide.hold()
        # Half of the square is what the objective is off; the bound by duality is as good as its own rounding.
        assert wide.active**2 / 2 <= 1e-13 * wide.objective
        assert wide.gap <= 1e-12 * wide.objective


@needs_jit
@pytest.mark.parametrize("condition", CONDITIONS)
@extended
def test_a_warm_start_leads_to_the_same(condition):
    d = 40
    for seed in range(5):
        R, c, strength = problem(d, condition, seed, share=0.003)
        u = solved(R, c, strength)
        assert Wide(R, c, strength, u).hold()
        near = c * (1 + 1e-3 * np.random.default_rng(seed).standard_normal(d))
        again = solved(R, near, strength, u)
        assert Wide(R, near, strength, again).hold()
        cold = lasso.minimum(R, near, strength, np.zeros(d))
        np.testing.assert_allclose(R @ again, R @ cold, rtol=0, atol=1e-14 * np.linalg.norm(np.abs(R) @ np.abs(cold)))
        wild = lasso.minimum(R, near, strength, np.full(d, 1e300))
        np.testing.assert_allclose(R @ wild, R @ cold, rtol=0, atol=1e-14 * np.linalg.norm(np.abs(R) @ np.abs(cold)))


@needs_jit
def test_agrees_with_scikit_learn():
    model = pytest.importorskip("sklearn.linear_model").Lasso(fit_intercept=False, tol=1e-14, max_iter=100_000)
    for seed, p in enumerate((60, 100, 50)):
        R, c, strength = problem(50, 20, seed, p)
        model.set_params(alpha=strength[0] / len(R)).fit(R, c)
        u = solved(R, c, strength)
        np.testing.assert_allclose(u, model.coef_, rtol=0, atol=1e-7)
        assert np.array_equal(u != 0, model.coef_ != 0)


@pytest.mark.parametrize("condition", [1, 1e4, 1e8])
@extended
def test_columns_that_depend_on_each_other(condition):
    d = 8
    for seed in range(4 if JIT_OFF else 10):
        R, c, strength = problem(d, condition, seed, share=(0.1, 1e-3)[seed % 2])
        rng = np.random.default_rng(seed)
        alone = Wide(R, c, strength, solved(R, c, strength)).objective
        once, twice = strength, np.tile(strength, 2)
        cheaper = np.concatenate([once, once * rng.choice([0.5, 1.0, 2.0], d)])
        for more, strengths, start in (
            (R[:, ::-1], twice, None),
            (-R, twice, rng.standard_normal(2 * d)),
            (R, twice, np.full(2 * d, 100.0)),
            (R, cheaper, None),
            (R, np.where(np.arange(2 * d) % 3, twice, 0.0), None),
            (R / 2, np.concatenate([once, once / 2]), None),
        ):
            both = np.hstack((R, more))
            wide = Wide(both, c, strengths, solved(both, c, strengths, start))
            assert wide.hold()
            if strengths is twice:
                assert wide.objective == pytest.approx(alone, rel=1e-13)


@needs_jit
@extended
def test_few_dimensions_and_ties():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        R = rng.standard_normal((20, 4)) @ rng.standard_normal((4, 15))
        c, strength = rng.standard_normal(20), np.full(15, 0.1)
        u = solved(R, c, strength)
        assert np.count_nonzero(u) <= 4
        assert Wide(R, c, strength, u).hold()
        for strength in (np.zeros(15), np.where(np.arange(15) % 3, 0.1, 0.0)):
            u = solved(R, c, strength)
            residual = c - R @ u
            rounding = 8 * EPS * (norm(np.abs(R) @ np.abs(u)) + norm(c)) * np.sqrt((R**2).sum(axis=0))
            assert np.all(np.abs(R.T @ residual) <= strength + rounding)
            assert abs(strength @ np.abs(u) - u @ (R.T @ residual)) <= rounding @ np.abs(u)
        R, c = rng.integers(-1, 2, (10, 20)).astype(float), rng.integers(-3, 4, 10).astype(float)
        strength = np.full(20, float(rng.choice([0.5, 1.0])))
        assert Wide(R, c, strength, solved(R, c, strength)).hold()


def test_nothing_penalised_is_least_squares():
    R, c, _ = problem(10, 100, 0, 14)
    u = solved(R, c, np.zeros(10))
    np.testing.assert_allclose(u, np.linalg.lstsq(R, c, rcond=None)[0], rtol=1e-11)


def test_strength_enough_leaves_zeros():
    R, c, strength = problem(10, 1e6, 0)
    largest = np.abs(R.T @ c).max()
    assert not solved(R, c, np.full(10, largest * (1 + 1e-12))).any()
    assert np.count_nonzero(solved(R, c, np.full(10, largest * (1 - 1e-6)), np.ones(10))) == 1
    assert not solved(R, np.zeros(10), strength, np.ones(10)).any()
    u = solved(R, c, np.where(np.arange(10) < 5, np.inf, strength))
    assert not u[:5].any()
    np.testing.assert_array_equal(u[5:], lasso.minimum(R[:, 5:], c, strength[5:], np.zeros(5)))


@pytest.mark.parametrize(("c", "strength"), [(3, 2), (-3, 2), (1, 2), (-1, 3), (1, 2.0**-50), (3, 0)])
def test_one_column(c, strength):
    u = solved(np.array([[2.0]]), np.array([float(c)]), np.array([float(strength)]))
    assert u == pytest.approx(np.sign(c) * max(abs(2 * c) - strength, 0) / 4, rel=EPS)


def test_nothing_over_or_underflows():
    R, c, strength = problem(8, 100, 0)
    R[:, 3] = 0.0
    u = solved(R, c, strength)
    assert u[3] == 0
    for unit in (2.0**700, 2.0**-700):
        np.testing.assert_array_equal(lasso.minimum(R, c * unit, strength * unit, np.zeros(8)), u * unit)


@needs_jit
def test_many_columns():
    R, c, strength = problem(400, 3, 0, share=0.02)
    u = solved(R, c, strength)
    slope = R.T @ (c - R @ u)
    np.testing.assert_allclose(slope[u != 0], (strength * np.sign(u))[u != 0], rtol=0, atol=1e-14)
    assert np.all(np.abs(slope) <= strength + 1e-14)
    assert 100 < np.count_nonzero(u) < 200
