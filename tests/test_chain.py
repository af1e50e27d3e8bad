"""Constant-step SGD as a chain: the operator beside its definition, the stationary law beside simulation."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg

import gradstep as gs
from conftest import JIT_OFF, needs_jit
from gradstep.textbook import NormalInverseGamma, SGDChain
from gradstep.textbook.chain import _weighted_powers, sampling_step


def table(n=60, d=3, seed=0):
    """Return rows of several units with noise that depends on them: nothing of it is Gaussian."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.linspace(0.5, 2.0, d) + 0.3
    return X, X @ np.arange(1.0, d + 1) + 1 + rng.standard_normal(n) * (0.5 + np.abs(X[:, 0]))


def expected(X, y, step, b, S):
    """Return the second moments after a step from second moments S and mean 0: the mean over all batches of b rows."""
    Z = np.column_stack((X, np.ones(len(X))))
    residuals = y - Z @ np.linalg.lstsq(Z, y, rcond=None)[0]
    total, count = np.zeros_like(S), 0
    for batch in itertools.product(range(len(X)), repeat=b):
        x, r = Z[list(batch)], residuals[list(batch)]
        A = np.eye(len(S)) - step / b * x.T @ x
        g = step / b * x.T @ r
        total += A @ S @ A.T + np.outer(g, g)
        count += 1
    return total / count


@pytest.mark.parametrize(("n", "b"), [(7, 1), (7, 2), (6, 3)])
def test_the_fixed_point_is_one_over_all_batches(n, b):
    X, y = table(n, 2)
    chain = SGDChain(X, y, 0.05, b)
    np.testing.assert_allclose(expected(X, y, 0.05, b, chain.covariance), chain.covariance, rtol=1e-10)


@pytest.mark.parametrize(("d", "b", "step"), [(1, 1, 0.1), (3, 4, 0.05), (3, 1, 0.02), (6, 32, 0.1)])
def test_the_operator_is_its_formula(d, b, step):
    X, y = table(50, d)
    Z = np.column_stack((X, np.ones(50)))
    p, H, eye = d + 1, Z.T @ Z / 50, np.eye(d + 1)
    fourth = sum(np.kron(np.outer(z, z), np.outer(z, z)) for z in Z) / 50
    whole = (
        np.eye(p * p)
        - step * (np.kron(H, eye) + np.kron(eye, H))
        + step**2 * (np.kron(H, H) * (1 - 1 / b) + fourth / b)
    )
    chain = SGDChain(X, y, step, b)
    assert chain.spectral_radius == pytest.approx(np.abs(np.linalg.eigvals(whole)).max(), rel=1e-10)
    noise = step**2 * (Z * np.square(y - Z @ chain.mean)[:, np.newaxis]).T @ Z / 50 / b
    if chain.spectral_radius < 1:
        S = np.linalg.solve(np.eye(p * p) - whole, noise.ravel()).reshape(p, p)
        np.testing.assert_allclose(chain.covariance, S, rtol=1e-9)
        assert chain.mixing_time == pytest.approx(-1 / np.log(chain.spectral_radius))
    np.testing.assert_allclose(chain.operator, chain.operator.T, atol=1e-13)


@needs_jit
@pytest.mark.parametrize(("d", "b", "step"), [(1, 1, 0.1), (2, 1, 0.1), (3, 8, 0.2), (5, 32, 0.25), (10, 64, 0.2)])
def test_stationary_covariance_beside_simulation(d, b, step):
    rng = np.random.default_rng(d)
    X = rng.standard_normal((300, d))
    y = X @ np.ones(d) + rng.standard_normal(300)
    chain = SGDChain(X, y, step, b)
    assert chain.spectral_radius < 0.95
    mean, covariance = chain.simulate(1_500_000, seed=1)
    assert scipy.linalg.norm(covariance - chain.covariance) < 0.02 * scipy.linalg.norm(chain.covariance)
    assert np.abs((mean - chain.mean) / np.sqrt(chain.covariance.diagonal())).max() < 0.02


def test_the_small_step_is_the_limit():
    X, y = table()
    gaps = []
    for step in (0.02, 0.01, 0.005):
        chain = SGDChain(X, y, step, 4)
        S = chain.covariance
        gaps.append(scipy.linalg.norm(S - chain.small_step_covariance) / scipy.linalg.norm(S))
    assert gaps[0] > 1.8 * gaps[1] > 3.2 * gaps[2]
    assert gaps[2] < 0.02
    S, H = chain.small_step_covariance, chain._H
    np.testing.assert_allclose(H @ S + S @ H, 0.005 * chain._noise, rtol=1e-9)


def test_the_average_beside_its_sum():
    X, y = table()
    chain, steps = SGDChain(X, y, 0.05, 4), 40
    q = np.eye(4) - 0.05 * chain._H
    powers = [np.linalg.matrix_power(q, t) for t in range(steps)]
    total = sum(
        powers[i - j] @ chain.covariance if i >= j else chain.covariance @ powers[j - i].T
        for i in range(steps) for j in range(steps)
    )  # fmt: skip
    np.testing.assert_allclose(chain.covariance_of_average(steps), total / steps**2, rtol=1e-10)
    np.testing.assert_allclose(chain.covariance_of_average(1), chain.covariance, rtol=1e-12)
    # With tiny steps too: weights of powers near 1.
    tiny, T = SGDChain(X, y, 1e-9, 4), 11
    np.testing.assert_allclose(tiny.covariance_of_average(T), tiny.covariance, rtol=1e-6)
    for q in (-0.5, 0.0, 0.3, 1 - 1e-9):
        truth = sum((T - t) * Fraction(q) ** t for t in range(1, T))
        assert _weighted_powers(np.array([q]), T)[0] == pytest.approx(float(truth), rel=1e-13, abs=1e-14)
    # In the limit, the noise of a gradient at the stationary law between two inverses of H.
    Z, b, S = np.column_stack((X, np.ones(60))), 4, chain.covariance
    noise = chain._noise + (sum(np.outer(z, z) @ S @ np.outer(z, z) for z in Z) / 60 - chain._H @ S @ chain._H) / b
    limit = np.linalg.inv(chain._H) @ noise @ np.linalg.inv(chain._H)
    np.testing.assert_allclose(chain.covariance_of_average(10**7) * 10**7, limit, atol=1e-4 * np.abs(limit).max())


def test_tiny_steps_and_columns_far_from_zero():
    X, y = table()
    for step in (1e-6, 1e-9, 1e-12, 1e-200):
        chain = SGDChain(X, y, step, 4)
        np.testing.assert_allclose(chain.covariance, chain.small_step_covariance, rtol=100 * step + 1e-9)
        assert chain.mixing_time == pytest.approx(1 / (2 * step * np.linalg.eigvalsh(chain._H)[0]), rel=1e-4)
    far = SGDChain(X + 100, y, 1e-6, 4)
    assert far.covariance[-1, -1] / far.small_step_covariance[-1, -1] == pytest.approx(1.0, abs=0.2)
    units = np.array([1e-5, 1.0, 1e5])
    small, scaled = SGDChain(X, y, 1e-3, 4).mean, SGDChain(X * units, y, 1e-14, 4).mean
    np.testing.assert_allclose(scaled[:3] * units, small[:3], rtol=1e-8)


def test_paths_of_one_seed_are_one_path():
    X, y = table()
    chain = SGDChain(X, y, 0.05, 4)
    one, two = chain.simulate(300, burn_in=20, seed=3), chain.simulate(300, burn_in=20, seed=3)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (chain.simulate(300, burn_in=20, seed=4)[0] != one[0]).any()


def test_a_simulated_path_is_the_loop():
    X, y = table(30, 2)
    chain = SGDChain(X, y, 0.05, 3)
    steps, skip = (400, 50) if JIT_OFF else (3000, 500)
    from gradstep._numbers import stream

    rows = stream("sgd chain", 9).integers(0, 30, (steps + skip, 3))
    Z, w, path = np.column_stack((X, np.ones(30))), chain.mean.copy(), []
    for batch in rows:
        w = w - 0.05 / 3 * Z[batch].T @ (Z[batch] @ w - y[batch])
        path.append(w)
    away = np.array(path[skip:]) - chain.mean
    mean, covariance = chain.simulate(steps, burn_in=skip, seed=9)
    np.testing.assert_allclose(mean, chain.mean + away.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(covariance, away.T @ away / steps, rtol=1e-9)


def test_the_step_that_samples_the_posterior():
    rng = np.random.default_rng(0)
    n, d, b = 4000, 4, 16
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    y = X @ np.ones(d) + rng.standard_normal(n)
    white = np.linalg.qr(X)[0] * np.sqrt(n)
    chain = SGDChain(white, y, sampling_step(n, d, b), b, intercept=False)
    flat = NormalInverseGamma.flat(d).update(white, y, intercept=False)
    posterior = flat.weights_given(gs.closed_form(white, y, intercept=False).residual_sd ** 2).cov
    assert scipy.linalg.norm(chain.covariance - posterior) < 0.1 * scipy.linalg.norm(posterior)
    # Its formula, for moments of Gaussian rows.
    step, v = sampling_step(n, d, b), 2.5
    assert step * v / (2 * b - step * (b + d + 1)) == pytest.approx(v / n, rel=1e-12)


def test_thirty_columns():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 30))
    chain = SGDChain(X, X @ np.ones(30) + rng.standard_normal(500), 0.02, 10)
    assert chain.covariance.shape == (31, 31)
    assert np.linalg.eigvalsh(chain.covariance)[0] > 0


X, Y = table()
REFUSED = [
    (lambda: SGDChain(X, Y, 0.0), ValueError, "step: 0.0 came"),
    (lambda: SGDChain(X, Y, 0.1, 0), ValueError, "batch_size: 0 came"),
    (lambda: SGDChain(X, np.column_stack((Y, Y)), 0.1), ValueError, r"y: shape \(60, 2\) came; one response"),
    (lambda: SGDChain(np.ones((60, 31)), Y, 0.1), ValueError, "X: 31 columns came; at most 30 are needed"),
    (lambda: SGDChain(X[:, [0, 0]], Y, 0.1), ValueError, "X: column 1 came, which depends on those before"),
    (lambda: SGDChain(X, Y, 5.0).covariance, ValueError, "step: 5 came, at which second moments grow by"),
    (lambda: SGDChain(X, Y, 5.0).simulate(10), ValueError, "step: 5 came, at which"),
    (lambda: SGDChain(X, Y, 1e-9).simulate(10), ValueError, r"step: 1e-09 came, with which it takes \d"),
    (lambda: SGDChain(X, Y, 5.0).simulate(5000, burn_in=0), ValueError, "step: 5 came, with which the path grew"),
    (lambda: SGDChain(X, Y, 0.05, 10**12).simulate(10), ValueError, "batch_size: 1000000000000 came; at most"),
    (lambda: SGDChain(X + 1e9, Y, 1e-20).covariance, ValueError, "X: its columns are of sizes too different"),
    (lambda: setattr(SGDChain(X, Y, 0.05), "step", 0.1), AttributeError, "step: a SGDChain cannot be changed"),
    (lambda: SGDChain(X, Y, 0.05).simulate(0), ValueError, "steps: 0 came"),
    (lambda: SGDChain(X, Y, 0.05).covariance_of_average(10**200), ValueError, "steps: 1.* came; at most"),
    (lambda: SGDChain(X * 1e80, Y, 0.05), ValueError, "X, y, step: fourth powers"),
    (lambda: SGDChain(X, Y * 1e200, 0.05), ValueError, "X, y, step: fourth powers|y"),
    (lambda: SGDChain(X, Y, 0.05).covariance_of_average(0), ValueError, "steps: 0 came"),
    (lambda: sampling_step(10, 0, 1), ValueError, "p: 0 came"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
