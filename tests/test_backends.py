"""Every kernel on every device equals the slow twin to 1e-12."""

import numpy as np
import pytest

import gradstep as gs
from gradstep._kernels import cuda
from gradstep._solvers.textbook import row_order
from gradstep._table.dense import Dense, Rows, Settings
from reference import sgd

# (n, d, k or None, batch, epochs): ragged last batch, batch 1, batch n, batch above n, n = 1, d = 1, one output in a
# column of its own, rows beyond one block of threads.
SHAPES = [
    (40, 3, None, 7, 2),
    (11, 3, None, 1, 1),
    (24, 5, None, 24, 2),
    (24, 5, None, 1000, 2),
    (1, 3, None, 4, 2),
    (1, 1, None, 1, 1),
    (30, 1, None, 8, 2),
    (40, 3, 1, 7, 2),
    (40, 3, 2, 7, 2),
    (33, 19, 3, 8, 1),
    (50, 33, None, 32, 1),
]


def table(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n,) if k is None else (n, k)
    return rng.standard_normal((n, d)), rng.standard_normal(shape), rng.uniform(0.1, 2.0, n)


def assert_equals_twin(fit, twin):
    coef, intercept, objective, running = twin
    assert fit.coef.shape == coef.shape
    size = max(np.abs(coef).max(), np.abs(intercept).max())
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(fit.intercept, intercept, rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(fit.objective, objective, rtol=1e-12)
    np.testing.assert_allclose(fit.history.objective, running, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("penalty", [None, gs.l2(0.3)], ids=["none", "l2"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["as_they_stand", "shuffled"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no_intercept"])
def test_kernel_equals_the_slow_twin(device, shape, penalty, weighted, shuffle, intercept):
    n, d, k, batch, epochs = shape
    X, y, weight = table(n, d, k)
    weight = weight if weighted else None
    fit = gs.fit(
        X, y, step=0.02, batch_size=batch, epochs=epochs, penalty=penalty, sample_weight=weight, intercept=intercept,
        solver=gs.sgd(shuffle=shuffle), seed=3, device=device, check=False,
    )  # fmt: skip
    orders = [row_order(n, 3, epoch) for epoch in range(epochs)] if shuffle else None
    alpha = 0.0 if penalty is None else 0.3
    twin = sgd(
        X, y, step=0.02, batch_size=batch, epochs=epochs, weight=weight, intercept=intercept, alpha=alpha, orders=orders
    )
    assert_equals_twin(fit, twin)


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("k", [None, 2])
def test_float32_rows_are_summed_in_double(device, k):
    X, y, _ = table(60, 4, k)
    X = X.astype(np.float32)
    fit = gs.fit(X, y, step=0.02, batch_size=8, epochs=2, device=device, check=False)
    orders = [row_order(60, 0, epoch) for epoch in range(2)]
    # The twin on the same numbers, in float64: no digit may be lost on the way but by the order of sums.
    assert_equals_twin(fit, sgd(X, y, step=0.02, batch_size=8, epochs=2, orders=orders))


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("batch", [1, 7, 50])
def test_an_epoch_cut_into_calls_anywhere_has_the_same_bits(device, k, batch):
    X, y, weight = table(50, 4, k)
    rows = Rows(X, y, weight / weight.mean())
    ends = []
    for rows_per_call in (50, 13, 1):
        dense = Dense(rows, gs.squared(), gs.l2(0.1), device)
        dense.rows_per_call = lambda batch, rows=rows_per_call: rows
        w, row = dense.zeros(), 0
        total, loss_sum, order = np.zeros_like(w), np.zeros(k or 1), row_order(50, 0, 0)
        while row < 50:
            row = dense.epoch(order, row, Settings(batch, 0.05, True), w, total, loss_sum)
        assert dense.row_reads == 50
        ends.append((w.copy(), loss_sum))
    for w, loss_sum in ends[1:]:
        np.testing.assert_array_equal(w, ends[0][0])
        np.testing.assert_array_equal(loss_sum, ends[0][1])


def test_full_gradient(device):
    X, y, weight = table(50, 4, None)
    weight /= weight.mean()
    w = np.arange(1.0, 6.0)
    (loss,), gradient = Dense(Rows(X, y, weight), gs.squared(), None, device).gradient(w)
    residual = X @ w[:-1] + w[-1] - y
    assert loss == pytest.approx(np.mean(weight * residual**2) / 2, rel=1e-12)
    expected = np.append(X.T @ (weight * residual), weight @ residual) / 50
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
def test_batches_beyond_the_scratch_of_the_device(device, monkeypatch):
    monkeypatch.setattr(cuda, "_SCRATCH_ROWS", 5)
    X, y, _ = table(40, 3, 2)
    fit = gs.fit(X, y, step=0.02, batch_size=16, epochs=2, device=device, check=False, solver=gs.sgd(shuffle=False))
    assert_equals_twin(fit, sgd(X, y, step=0.02, batch_size=16, epochs=2))


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
def test_same_seed_same_bits(device):
    X, y, _ = table(40, 3, None)
    first, again, other = (gs.fit(X, y, step=0.02, seed=seed, batch_size=8, device=device) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coef, again.coef)
    assert first.objective == again.objective
    assert not np.array_equal(first.coef, other.coef)
