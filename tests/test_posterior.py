"""The posterior of a line beside brute-force grids, scipy.stats and the classical formulas."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

import gradstep as gs
from gradstep.textbook import NormalInverseGamma, make_linear

PRECISION = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
PRIOR = NormalInverseGamma([1.0, -1.0, 0.5], PRECISION, shape=2.5, scale=3.0)


def table(n=40, seed=0, noise=1.5):
    X, y = make_linear([2.0, -3.4], 4.2, n, noise=noise, seed=seed)
    return X * [1.0, 3.0] + [0.0, 5.0], y


def with_ones(X):
    return np.column_stack((X, np.ones(len(X))))


def same(a, b, rtol=1e-11):
    np.testing.assert_allclose(a.mean, b.mean, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(a.factor.T @ a.factor, b.factor.T @ b.factor, rtol=rtol, atol=rtol)
    np.testing.assert_allclose([a.shape, a.scale], [b.shape, b.scale], rtol=rtol)
    np.testing.assert_allclose(a.log_evidence, b.log_evidence, rtol=rtol)


def test_the_update_is_the_formula():
    X, y = table()
    Z, m, a, b = with_ones(X), PRIOR.mean, PRIOR.shape, PRIOR.scale
    precision = PRECISION + Z.T @ Z
    mean = np.linalg.solve(precision, PRECISION @ m + Z.T @ y)
    scale = b + (y @ y + m @ PRECISION @ m - mean @ precision @ mean) / 2
    found = PRIOR.update(X, y)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(found.factor.T @ found.factor, precision, rtol=1e-12)
    np.testing.assert_allclose([found.shape, found.scale], [a + len(y) / 2, scale], rtol=1e-10)
    # The evidence is the density of a multivariate t.
    law = stats.multivariate_t(Z @ m, b / a * (np.eye(len(y)) + Z @ np.linalg.solve(PRECISION, Z.T)), df=2 * a)
    assert found.log_evidence == pytest.approx(law.logpdf(y), rel=1e-10)


@pytest.mark.parametrize("cut", [1, 2, 17, 39])
def test_a_block_after_another_is_both_at_once(cut):
    X, y = table()
    same(PRIOR.update(X[:cut], y[:cut]).update(X[cut:], y[cut:]), PRIOR.update(X, y))
    flat = NormalInverseGamma.flat(3)
    one, two = flat.update(X[:cut], y[:cut]).update(X[cut:], y[cut:]), flat.update(X, y)
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-10)
    np.testing.assert_allclose([one.shape, one.scale], [two.shape, two.scale], rtol=1e-10)


@pytest.mark.parametrize("n", [40, 900])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solver", ["sgd", "exact"])
def test_from_the_factor_of_a_fit(n, intercept, solver):
    X, y = table(n)
    prior = PRIOR if intercept else NormalInverseGamma([1.0, 0.0], PRECISION[:2, :2], 2.0, 1.0)
    fit = gs.fit(X, y, solver=solver, intercept=intercept)
    same(prior.update_from(fit), prior.update(X, y, intercept=intercept), rtol=1e-9)


def test_from_a_fit_of_columns_of_any_units():
    X, y = make_linear([2.0, -3.4], 4.2, 300, noise=0.5)
    units, offset = np.array([1e-7, 1e9]), np.array([1e-3, 1e12])
    fit = gs.fit(X * units + offset, y, solver="exact")
    posterior = NormalInverseGamma.flat(3).update_from(fit)
    exact = gs.closed_form(X, y)
    spread = [posterior.contrast(c).std() * math.sqrt(1 - 2 / exact.degrees_of_freedom) for c in np.eye(3)[:2]]
    np.testing.assert_allclose(posterior.mean[:2] * units, exact.coef, rtol=1e-6)
    np.testing.assert_allclose(spread * units, exact.standard_errors, rtol=1e-6)
    np.testing.assert_allclose(posterior.weights_given(1.0).cov.diagonal() > 0, True)
    with pytest.raises(ValueError, match="units too different"):
        posterior.weights()


def test_a_prior_of_any_size_beside_the_rows():
    rng = np.random.default_rng(2)
    X, y = 1e6 * rng.standard_normal((3, 5)), rng.standard_normal(3)
    for size in (1e-24, 1e-16, 1.0, 1e16):
        prior = NormalInverseGamma(np.zeros(5), size * np.eye(5), 2.0, 1.0)
        posterior = prior.update(X, y, intercept=False)
        # Through the dual: the covariance of w is that of the prior less what the rows tell.
        gain = np.linalg.solve(size * np.eye(3) + X @ X.T, X)
        spread = (np.eye(5) - X.T @ gain) / size
        free = np.linalg.svd(X)[2][3:]  # directions that no row sees
        for c in free:
            law = posterior.contrast(c)
            expected = math.sqrt(posterior.scale / posterior.shape * float(c @ c) / size)
            assert law.std() * math.sqrt(1 - 2 / law.args[0]) == pytest.approx(expected, rel=1e-6)
        assert spread.shape == (5, 5)
        units = NormalInverseGamma(np.zeros(2), np.diag([1e-300, 1e300]), 2.0, 1.0)
        assert np.isfinite(units.update([[1e150, 1e-150]], [1.0], intercept=False).mean).all()


def test_weights_of_zero_are_rows_left_out():
    X, y = table()
    weight = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    weight[:7] = 0.0
    some = gs.fit(X[7:], y[7:], sample_weight=weight[7:])
    same(PRIOR.update_from(gs.fit(X, y, sample_weight=weight)), PRIOR.update_from(some), rtol=1e-9)
    # The evidence of responses whose variances are v / weight_i, beside a multivariate t.
    share, Z = weight[7:] / weight[7:].mean(), with_ones(X[7:])
    spread = np.diag(1 / share) + Z @ np.linalg.solve(PRECISION, Z.T)
    law = stats.multivariate_t(Z @ PRIOR.mean, PRIOR.scale / PRIOR.shape * spread, df=2 * PRIOR.shape)
    assert PRIOR.update_from(some).log_evidence == pytest.approx(law.logpdf(y[7:]), rel=1e-10)
    # Rows times the roots of their weights, of mean 1.
    root = np.sqrt(weight[7:] / weight[7:].mean())
    rows = NormalInverseGamma.flat(3).update(with_ones(X[7:]) * root[:, np.newaxis], y[7:] * root, intercept=False)
    found = NormalInverseGamma.flat(3).update_from(some)
    np.testing.assert_allclose(found.mean, rows.mean, rtol=1e-10)
    np.testing.assert_allclose(found.scale, rows.scale, rtol=1e-10)


def test_the_flat_prior_gives_classical_intervals():
    X, y = table()
    exact, posterior = gs.closed_form(X, y), NormalInverseGamma.flat(3).update(X, y)
    for j in range(2):
        of_one = posterior.contrast(np.eye(3)[j])
        half = stats.t(exact.degrees_of_freedom).ppf(0.975) * exact.standard_errors[j]
        np.testing.assert_allclose(of_one.interval(0.95), exact.coef[j] + np.array([-half, half]), rtol=1e-10)
    new = np.array([[0.3, 4.0], [-5.0, 20.0]])
    Z, v = with_ones(X), exact.residual_sd**2
    spread = np.sqrt(v * (1 + np.einsum("ij,ij->i", with_ones(new) @ np.linalg.inv(Z.T @ Z), with_ones(new))))
    law = posterior.predictive(new)
    np.testing.assert_allclose(law.std() * np.sqrt(1 - 2 / exact.degrees_of_freedom), spread, rtol=1e-9)
    both = posterior.contrast(with_ones(new))
    np.testing.assert_allclose(both.std()[1], posterior.contrast(with_ones(new)[1]).std(), rtol=1e-14)
    np.testing.assert_allclose(both.mean(), law.mean(), rtol=1e-12)
    np.testing.assert_allclose(law.mean(), new @ exact.coef + exact.intercept, rtol=1e-9)


def test_beside_a_brute_force_grid():
    """One coefficient and the variance: prior times likelihood on a grid, normalised by sums."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(12)
    y = 0.7 * x + 0.4 * rng.standard_normal(12)
    prior = NormalInverseGamma([0.2], [[3.0]], shape=2.0, scale=0.5)
    posterior = prior.update(x[:, np.newaxis], y, intercept=False)
    # Equal steps in w and in the logarithm of the variance: the trapezium rule is then spectrally accurate.
    w = np.linspace(posterior.mean[0] - 4.0, posterior.mean[0] + 4.0, 1601)
    log_v = np.linspace(math.log(2e-3), math.log(2e3), 1601)
    W, V = np.meshgrid(w, np.exp(log_v), indexing="ij")
    log_prior = stats.norm.logpdf(W, 0.2, np.sqrt(V / 3.0)) + stats.invgamma.logpdf(V, 2.0, scale=0.5)
    residuals = y - W[..., np.newaxis] * x
    log_likelihood = -6 * np.log(2 * np.pi * V) - np.square(residuals).sum(axis=-1) / (2 * V)
    density = np.exp(log_prior + log_likelihood) * V  # in the logarithm of the variance
    cell = (w[1] - w[0]) * (log_v[1] - log_v[0])
    evidence = density.sum() * cell
    assert math.log(evidence) == pytest.approx(posterior.log_evidence, abs=1e-6)
    of_w = density.sum(axis=1) * (log_v[1] - log_v[0]) / evidence
    np.testing.assert_allclose(of_w, posterior.weights().pdf(w[:, np.newaxis]), atol=1e-6)
    np.testing.assert_allclose(of_w, posterior.contrast([1.0]).pdf(w), atol=1e-6)
    of_log_v = density.sum(axis=0) * (w[1] - w[0]) / evidence
    np.testing.assert_allclose(of_log_v, posterior.variance().pdf(np.exp(log_v)) * np.exp(log_v), atol=1e-6)
    joint = np.array([[posterior.logpdf([a], b) for b in (0.05, 0.2, 0.7)] for a in (0.1, 0.6, 1.2)])
    exact = [[stats.norm.logpdf(a, 0.2, math.sqrt(b / 3)) + stats.invgamma.logpdf(b, 2.0, scale=0.5)
              + stats.norm.logpdf(y, a * x, math.sqrt(b)).sum() - math.log(evidence)
              for b in (0.05, 0.2, 0.7)] for a in (0.1, 0.6, 1.2)]  # fmt: skip
    np.testing.assert_allclose(joint, exact, atol=1e-6)
    # A new response, its density integrated over coefficient and variance.
    for new in (-0.5, 0.9):
        of_new = (density * stats.norm.pdf(new, 1.5 * W, np.sqrt(V))).sum() * cell / evidence
        assert of_new == pytest.approx(posterior.predictive([[1.5]], intercept=False).pdf(new)[0], abs=1e-6)


def test_conditionals_times_marginals_are_the_joint():
    X, y = table()
    posterior = PRIOR.update(X, y)
    rng = np.random.default_rng(1)
    for _ in range(5):
        w, v = posterior.mean + 0.2 * rng.standard_normal(3), rng.uniform(1.0, 4.0)
        joint = posterior.logpdf(w, v)
        one = posterior.variance().logpdf(v) + posterior.weights_given(v).logpdf(w)
        other = posterior.weights().logpdf(w) + posterior.variance_given(w).logpdf(v)
        np.testing.assert_allclose([one, other], joint, rtol=1e-10)


def test_the_joint_density_integrates_to_one():
    law = NormalInverseGamma([0.3], [[2.0]], shape=3.0, scale=2.0)
    total, _ = integrate.dblquad(lambda w, v: math.exp(law.logpdf([w], v)), 0.01, 60.0, -12.0, 12.0, epsabs=1e-7)
    assert total == pytest.approx(1.0, abs=1e-3)


def test_samples_follow_the_law():
    X, y = table()
    posterior = PRIOR.update(X, y)
    w, variance = posterior.sample(20_000, seed=4)
    c = np.array([1.0, -0.5, 2.0])
    assert stats.kstest(w @ c, posterior.contrast(c).cdf).pvalue > 1e-3
    assert stats.kstest(variance, posterior.variance().cdf).pvalue > 1e-3
    law = posterior.weights()
    np.testing.assert_allclose(np.cov(w.T), law.shape * law.df / (law.df - 2), rtol=0.1, atol=2e-3)
    again, _ = posterior.sample(20_000, seed=4)
    np.testing.assert_array_equal(again, w)


def test_ridge_is_the_mode():
    X, y = table()
    X, y = X - X.mean(axis=0), y - y.mean()
    prior = NormalInverseGamma(np.zeros(2), 0.3 * len(y) * np.eye(2), 1.0, 1.0)
    ridge = gs.closed_form(X, y, penalty=gs.l2(0.3), intercept=False)
    np.testing.assert_allclose(prior.update(X, y, intercept=False).mean, ridge.coef, rtol=1e-10)


def large():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 3))
    return gs.fit(X, X @ np.ones(3) + rng.standard_normal(30_000), check=False)


X, Y = table(20)
SHORT = np.random.default_rng(0).standard_normal((3, 2))
REFUSED = [
    (lambda: NormalInverseGamma([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], 1, 1), ValueError, "least eigenvalue is -1; a"),
    (lambda: NormalInverseGamma([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], 1, 1), ValueError, r"0\.5 came at \[0, 1\]"),
    (lambda: NormalInverseGamma([0.0, 0.0], np.eye(3), 1, 1), ValueError, r"precision: shape \(3, 3\) came; \(2, 2\)"),
    (lambda: NormalInverseGamma([0.0], [[0.0]], 1, 1), ValueError, r"0 came at \[0, 0\], on the diagonal"),
    (lambda: NormalInverseGamma(np.zeros(3), SHORT @ SHORT.T, 1, 1), ValueError, "a positive definite matrix"),
    (lambda: NormalInverseGamma([0.0, 0.0], [[1e9, 0.0], [9.0, 1.0]], 1, 1), ValueError, "a symmetric"),
    (lambda: NormalInverseGamma([0.0], [["a"]], 1, 1), TypeError, r"precision\[0, 0\]: .a. came, a str"),
    (lambda: NormalInverseGamma([0.0, 0.0], [[1.0], [0.0, 1.0]], 1, 1), ValueError, "precision: "),
    (lambda: PRIOR.update_from(PRIOR), TypeError, "fit: .* a Fit is needed"),
    (lambda: PRIOR.update(X, 1e200 * Y), ValueError, "y: sums of the squares of its rests overflow"),
    (lambda: NormalInverseGamma.flat(3).update(X, 0 * Y).variance(), ValueError, "do not fit without a rest"),
    (lambda: setattr(PRIOR, "scale", 2.0), AttributeError, "scale: a NormalInverseGamma cannot be changed"),
    (lambda: NormalInverseGamma([0.0], [[math.inf]], 1, 1), ValueError, r"precision\[0, 0\]: inf came"),
    (lambda: NormalInverseGamma([math.nan], [[1.0]], 1, 1), ValueError, r"mean\[0\]: nan came"),
    (lambda: NormalInverseGamma([[0.0]], [[1.0]], 1, 1), ValueError, r"mean: shape \(1, 1\) came; \(p,\)"),
    (lambda: NormalInverseGamma([0.0], [[1.0]], 0, 1), ValueError, "shape: 0 came"),
    (lambda: NormalInverseGamma([0.0], [[1.0]], 1, -2.0), ValueError, r"scale: -2\.0 came"),
    (lambda: NormalInverseGamma.flat(0), ValueError, "size: 0 came"),
    (lambda: NormalInverseGamma.flat(3).weights(), ValueError, "not proper as yet; more rows, of columns"),
    (lambda: NormalInverseGamma.flat(3).update(X[:3], Y[:3]).variance(), ValueError, "not proper as yet"),
    (lambda: NormalInverseGamma.flat(4).update(X, Y), ValueError, "X: 3 coefficients came, .*; 4 are needed"),
    (lambda: PRIOR.update(X, np.column_stack((Y, Y))), ValueError, r"y: shape \(20, 2\) came; one response"),
    (lambda: PRIOR.update_from(gs.fit(X, np.column_stack((Y, Y)))), ValueError, "fit: one of several responses came"),
    (lambda: PRIOR.update_from(gs.fit(X, Y, penalty=gs.l2(1.0))), ValueError, r"with the penalty l2\(1\) came"),
    (lambda: PRIOR.update_from(gs.fit(X, Y, intercept=False)), ValueError, "fit: 2 coefficients came"),
    (lambda: PRIOR.update_from(gs.fit(X, Y, step=0.01, epochs=1)), ValueError, "fit: .* holds no factor of all rows"),
    (lambda: NormalInverseGamma.flat(4).update_from(large()), ValueError, 'gs.fit.X, y, solver="exact".'),
    (lambda: PRIOR.predictive(X[:, :1]), ValueError, "X: 2 coefficients came"),
    (lambda: PRIOR.contrast([1.0, 0.0]), ValueError, r"c: shape \(2,\) came; \(3,\) is needed"),
    (lambda: PRIOR.contrast([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), ValueError, "c: nothing but zeros came"),
    (lambda: PRIOR.contrast([[1, 2], [3]]), (TypeError, ValueError), "c.*: "),
    (lambda: PRIOR.contrast(np.empty((0, 3))), ValueError, r"c: shape \(0, 3\) came"),
    (lambda: PRIOR.contrast(np.ma.masked_array([1.0, 0.0, 0.0])), TypeError, "c: a masked array came"),
    (lambda: NormalInverseGamma([0, 0], [[1e-300, 1e300], [1e300, 1e-300]], 1, 1), ValueError, "positive definite"),
    (lambda: PRIOR.logpdf([1.0, 0.0, 0.0], 0.0), ValueError, "variance: 0.0 came"),
    (lambda: PRIOR.weights_given(-1), ValueError, "variance: -1 came"),
    (lambda: PRIOR.sample(0), ValueError, "size: 0 came"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
