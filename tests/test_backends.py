"""Every kernel on every device equals the slow twin to 1e-12."""

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED
from gradstep._kernels.formula import examples
from gradstep._solvers.textbook import Textbook
from gradstep._table.devices import table_on
from gradstep._table.order import row_order
from gradstep._table.terms import Rows, Settings
from gradstep.losses import DOMAINS, LOSSES
from gradstep.penalties import PENALTIES
from gradstep.schedules import SCHEDULES
from reference import sgd

# (n, d, k or None, batch, epochs): ragged last batch, batch 1, batch n, batch above n, n = 1, d = 1, one output in a
# column of its own, rows beyond one block of threads, rows that are read in fours.
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
    (50, 70, None, 7, 2),
    (37, 64, None, 37, 1),
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


def both(X, y, device, *, step=0.02, batch_size=8, epochs=2, options=None, seed=3, **arguments):
    """Fit on a device and by the slow twin, and compare."""
    options = options or {}
    fit = gs.fit(
        X, y, step=step, batch_size=batch_size, epochs=epochs, solver=gs.sgd(**options), seed=seed, device=device,
        check=False, **arguments,
    )  # fmt: skip
    rate = (lambda t: step.rate(float(t), step.params)) if isinstance(step, gs.Schedule) else (lambda t: step)
    orders = [row_order(len(X), seed, epoch, options.get("shuffle", True)) for epoch in range(epochs)]
    if "sample_weight" in arguments:
        arguments["weight"] = arguments.pop("sample_weight")
    steps = {name: options[name] for name in ("momentum", "nesterov", "average") if name in options}
    twin = sgd(
        X, y, rate=rate, batch_size=batch_size, epochs=epochs, orders=orders if len(orders[0]) else None,
        **{"loss": gs.squared()} | arguments | steps,
    )  # fmt: skip
    assert_equals_twin(fit, twin)


quiet = pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")


def skip_in_simulator(device, *options):
    """Skip every second combination of options there; in the others all options but one take all values together."""
    if device == "cuda" and SIMULATED and sum(map(bool, options)) % 2:
        pytest.skip("seconds in the simulator, where half of the combinations run")


@quiet
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("penalty", [None, gs.l2(0.3)], ids=["none", "l2"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["as_they_stand", "shuffled"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no_intercept"])
def test_kernel_equals_the_slow_twin(device, shape, penalty, weighted, shuffle, intercept):
    skip_in_simulator(device, penalty, weighted, shuffle, intercept)
    n, d, k, batch, epochs = shape
    X, y, weight = table(n, d, k)
    both(
        X, y, device, batch_size=batch, epochs=epochs, penalty=penalty, sample_weight=weight if weighted else None,
        intercept=intercept, options={"shuffle": shuffle},
    )  # fmt: skip


@quiet
@pytest.mark.parametrize("loss", [loss for loss in examples(LOSSES) if not loss.relative], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [None, 2])
def test_every_loss_equals_the_slow_twin(device, loss, dtype, k):
    X, y, weight = table(33, 3, k)
    y += 2 * X[:, 0] if k is None else 2 * X[:, :k]
    X, y = X.astype(dtype), DOMAINS[loss.domain].into(y)
    both(X, y, device, loss=loss, sample_weight=weight, penalty=gs.elastic_net(0.1, 0.5))


@quiet
@pytest.mark.parametrize("penalty", examples(PENALTIES), ids=repr)
@pytest.mark.parametrize("k", [None, 2])
def test_every_penalty_equals_the_slow_twin(device, penalty, k):
    X, y, _ = table(33, 3, k)
    both(X, y, device, penalty=penalty, step=0.1)


@quiet
@pytest.mark.parametrize("schedule", examples(SCHEDULES), ids=repr)
def test_every_schedule_equals_the_slow_twin(device, schedule):
    X, y, _ = table(33, 3, None)
    both(X, y, device, step=schedule)


@quiet
@pytest.mark.parametrize("shuffle", [True, "once", "blocks", False])
def test_every_order_equals_the_slow_twin(device, shuffle):
    X, y, _ = table(150, 2, None)
    both(X, y, device, options={"shuffle": shuffle}, epochs=3)


@quiet
@pytest.mark.parametrize("k", [None, 2])
def test_float32_rows_are_summed_in_double(device, k):
    X, y, _ = table(60, 4, k)
    # The twin has the same numbers, in float64: no digit may be lost on the way but by the order of sums.
    both(X.astype(np.float32), y, device)


OPTIONS = {
    "plain": {},
    "heavy_ball": {"momentum": 0.7},
    "nesterov": {"momentum": 0.7, "nesterov": True},
    "averaged": {"average": True},
    "averaged_nesterov": {"momentum": 0.5, "nesterov": True, "average": True},
}
options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def kernel_options(options):
    return {
        "momentum": options.get("momentum", 0.0),
        "nesterov": options.get("nesterov", False),
        "averaging": options.get("average", False),
    }


@quiet
@options
@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("penalty", [None, gs.l1(0.1)], ids=["none", "l1"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no_intercept"])
def test_momentum_and_averaging_equal_the_slow_twin(device, options, k, penalty, intercept):
    X, y, weight = table(40, 3, k)
    both(
        X, y, device, step=gs.power_decay(0.05, 0.1), batch_size=7, options=options, penalty=penalty,
        sample_weight=weight, intercept=intercept,
    )  # fmt: skip


@pytest.mark.parametrize(("k", "d"), [(None, 4), (3, 4), (None, 70)])
@pytest.mark.parametrize("batch", [1, 7, 50])
@pytest.mark.parametrize("step", [0.005, gs.inverse_decay(0.005, 0.1)], ids=["constant", "decaying"])
@options
def test_an_epoch_cut_into_calls_anywhere_has_the_same_bits(device, k, d, batch, step, options):
    skip_in_simulator(device, options, step == 0.005, batch == 7)
    n = 50 if device == "cpu" else 12  # the simulator takes a twentieth of a second a call
    X, y, weight = table(n, d, k)
    rows = Rows(X, y, weight / weight.mean())
    ends = []
    for rows_per_call in (n, 5, 1):
        dense = table_on(device, rows, gs.squared(), gs.l2(0.1))
        # On a GPU a batch is one call's work, cut among blocks by itself.
        whole = 1 if device == "cpu" else min(batch, n)
        dense.stop = lambda row, _, rows=rows_per_call, whole=whole: min(row + -(-rows // whole) * whole, n)
        method = Textbook(
            gs.sgd(**options), step, Settings(min(batch, n), True, **kernel_options(options)), 0, gs.squared()
        )
        state = method.start(dense)
        while state.epoch < 2:
            state = method.advance(dense, state)
        assert dense.row_reads == 2 * n
        ends.append(state)
    for state in ends[1:]:
        for array, expected in zip(state.path, ends[0].path, strict=True):
            np.testing.assert_array_equal(array, expected)
        assert (state.step, state.averaged, state.rate) == (ends[0].step, ends[0].averaged, ends[0].rate)


def test_full_gradient(device):
    X, y, weight = table(50, 4, None)
    weight /= weight.mean()
    w = np.arange(1.0, 6.0)
    (loss,), gradient = table_on(device, Rows(X, y, weight), gs.squared(), None).gradient(w)
    residual = X @ w[:-1] + w[-1] - y
    assert loss == pytest.approx(np.mean(weight * residual**2) / 2, rel=1e-12)
    expected = np.append(X.T @ (weight * residual), weight @ residual) / 50
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


@quiet
def test_same_seed_same_bits(device):
    X, y, _ = table(40, 3, None)
    first, again, other = (gs.fit(X, y, step=0.02, seed=seed, batch_size=8, device=device) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coef, again.coef)
    assert first.objective == again.objective
    assert not np.array_equal(first.coef, other.coef)
