"""A whole fit on a GPU: the answer and certificate of the CPU; arrays that lie there, and what is refused."""

import numpy as np
import pytest

import gradstep as gs
from conftest import CUDA_MARKS, SIMULATED
from gradstep import _break_even, _cost, _device, _drawn, _guard
from gradstep._kernels import cuda
from gradstep._kernels.cuda import target
from gradstep._kernels.formula import examples
from gradstep._solvers import certified, sgd
from gradstep.losses import DOMAINS, LOSSES

on_a_gpu = [mark for mark in CUDA_MARKS if mark is not None]


def everywhere(function):
    """Mark a test that needs a GPU, or the simulator."""
    for mark in on_a_gpu:
        function = mark(function)
    return function


NUMBAS_OWN_TRANSPOSE = pytest.mark.filterwarnings("ignore:Grid size")  # of its `.T`, on a GPU
ROWS = 160 if SIMULATED else 300_000


@pytest.fixture
def small_sketches(monkeypatch):
    """In the simulator, few rows for a table that is sketched and sampled."""
    if SIMULATED:
        monkeypatch.setattr(certified, "SMALL", 10)
        monkeypatch.setattr(_drawn, "_SKETCH_ROWS", 64)
        monkeypatch.setattr(sgd, "_LEAST_BATCH", 16)


def ill_conditioned(n=ROWS, d=3, k=None, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0] * 10.0 ** np.arange(d) + 5.0
    w = rng.standard_normal((d,) if k is None else (d, k)) / 10.0 ** np.arange(d).reshape((d,) + (1,) * (k is not None))
    y = X @ w + 4 + 0.5 * rng.standard_normal((n,) if k is None else (n, k))
    return X.astype(dtype), y


def distance(one, other, X, y):
    """Return how far two fits are from each other, in standard errors of the second."""
    scores = X @ (one.coef - other.coef) + (one.intercept - other.intercept)
    degrees = len(X) - X.shape[1] - 1
    sigma = np.sqrt(np.square(y - X @ other.coef - other.intercept).sum(axis=0) / degrees)
    return float((np.sqrt(np.square(scores).sum(axis=0)) / sigma).max())


@everywhere
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"solver": "cg"},
        {"solver": "exact"},
        {"solver": "auto"},
        {"penalty": gs.l2(0.1)},
        {"intercept": False},
    ],
    ids=str,
)
def test_the_same_answer_and_a_certificate_that_holds(small_sketches, dtype, arguments):
    X, y = ill_conditioned(dtype=dtype)
    there, here = gs.fit(X, y, device="cuda", **arguments), gs.fit(X, y, solver="exact", **{
        name: value for name, value in arguments.items() if name != "solver"
    })  # fmt: skip
    assert (there.device, there.stop.name) == ("cuda", "CERTIFIED")
    assert there.certificate.bound <= 0.01
    assert distance(there, here, X.astype(float), y) <= there.certificate.bound + here.certificate.bound
    assert there.check.agrees
    np.testing.assert_allclose(there.objective, here.objective, rtol=1e-5)
    np.testing.assert_allclose(there.r2, here.r2, rtol=1e-5)
    assert there.passes <= 12


@everywhere
def test_weights_and_several_outputs(small_sketches):
    X, y = ill_conditioned(k=2)
    weight = np.random.default_rng(1).uniform(0, 2, len(X))
    weight[::5] = 0
    there = gs.fit(X, y, device="cuda", sample_weight=weight, tol=1e-5)
    here = gs.fit(X, y, solver="exact", sample_weight=weight)
    np.testing.assert_allclose(there.coef, here.coef, rtol=1e-5)
    np.testing.assert_allclose(there.r2, here.r2, rtol=1e-9)


@everywhere
def test_rows_of_high_leverage_and_dependent_columns(small_sketches):
    X, y = ill_conditioned()
    X[3] *= 300
    there, here = gs.fit(X, y, device="cuda"), gs.fit(X, y, solver="exact")
    assert distance(there, here, X, y) <= there.certificate.bound <= 0.01
    X = np.column_stack((X, X[:, 0] + X[:, 1]))
    there, here = gs.fit(X, y, device="cuda", tol=1e-6), gs.fit(X, y, solver="exact")
    assert there.certificate.rank == here.certificate.rank == 3
    np.testing.assert_allclose(there.coef, here.coef, rtol=1e-4)


@everywhere
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_tables_have_the_last_digit_of_the_cpu(dtype):
    X, y = ill_conditioned(40, dtype=dtype)
    there, here = gs.fit(X, y, device="cuda"), gs.fit(X, y)
    np.testing.assert_allclose(there.coef, here.coef, rtol=1e-15)
    assert there.certificate.bound < 1e-9


@everywhere
@pytest.mark.parametrize("loss", [loss for loss in examples(LOSSES) if not loss.relative][:3], ids=repr)
def test_textbook_epochs_at_half_the_stable_step(loss):
    n, d = (60, 3) if SIMULATED else (100_000, 20)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = DOMAINS[loss.domain].into(X @ rng.standard_normal(d) + rng.standard_normal(n))
    batch = 16 if SIMULATED else 4096
    step = 0.5 * _guard.largest_stable_step(
        X, np.ones(1), batch, intercept=True
    )  # of the squared loss, the most curved
    arguments = {"loss": loss, "step": step, "batch_size": batch, "epochs": 3}
    there, here = (gs.fit(X, y, device=device, check=False, **arguments) for device in ("cuda", "cpu"))
    size = np.abs(here.coef).max()
    np.testing.assert_allclose(there.coef, here.coef, rtol=1e-10, atol=1e-10 * size)
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-10)


@everywhere
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.*encountered")  # in squares that are asked for with what else a read gives
@pytest.mark.parametrize("columns", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("unit", [1.0, 1e100, 1e-100])
def test_float32_rows_and_responses_of_units_beyond_the_range_of_floats(columns, unit):
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 50, noise=0.1, seed=1)
    X, y = (X * columns).astype(np.float32), y * unit
    arguments = {"step": 0.1 / columns**2, "batch_size": 10, "epochs": 3, "intercept": columns == 1}
    there, here = (gs.fit(X, y, device=device, **arguments) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there.coef, here.coef, rtol=1e-12)
    fit = gs.fit(X, y)
    rows = gs.to_device(X, "cuda")
    np.testing.assert_allclose(fit.predict(rows).copy_to_host(), fit.predict(X), rtol=1e-12)
    np.testing.assert_allclose(gs.fit(rows, y).coef, fit.coef, rtol=1e-12)
    np.testing.assert_allclose(there.objective, here.objective, rtol=1e-12)
    np.testing.assert_allclose(there.history.objective, here.history.objective, rtol=1e-12)


@everywhere
def test_stopped_and_resumed_there_and_here():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 50, noise=0.1, seed=1)
    arguments = {"step": 0.1, "batch_size": 8, "solver": gs.sgd(momentum=0.5, average=True), "check": False}
    whole = gs.fit(X, y, device="cuda", epochs=4, **arguments)
    half = gs.fit(X, y, device="cuda", epochs=2, **arguments)
    np.testing.assert_array_equal(gs.fit(X, y, device="cuda", epochs=2, start=half, **arguments).coef, whole.coef)
    np.testing.assert_allclose(gs.fit(X, y, epochs=2, start=half, **arguments).coef, whole.coef, rtol=1e-12)


@everywhere
def test_same_seed_same_bits(small_sketches):
    X, y = ill_conditioned()
    first, again, other = (gs.fit(X, y, device="cuda", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coef, again.coef)
    assert first.certificate.bound == again.certificate.bound
    assert not np.array_equal(first.coef, other.coef)


@everywhere
def test_arrays_that_lie_there_are_used_in_place():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)
    there = gs.to_device(X, "cuda")
    expected = gs.fit(X, y, device="cuda")
    for responses in (gs.to_device(y, "cuda"), y, y.astype(np.float32).astype(float), gs.to_device(y[:, None], "cuda")):
        fit = gs.fit(there, responses, sample_weight=gs.to_device(np.ones(40), "cuda"))
        assert fit.device == "cuda"
        assert isinstance(fit.coef, np.ndarray)
    np.testing.assert_array_equal(gs.fit(there, y).coef, expected.coef)
    np.testing.assert_array_equal(gs.fit(there, y, device="auto").coef, expected.coef)
    np.testing.assert_array_equal(gs.fit(there, y, device="cpu").coef, gs.fit(X, y).coef)
    np.testing.assert_array_equal(there.copy_to_host(), X)
    # y of labels is looked at in host memory.
    labels = gs.to_device((y > 4.2).astype(float), "cuda")
    assert gs.fit(there, labels, loss=gs.logistic(), step=1.0, epochs=5).device == "cuda"


@everywhere
def test_worse_than_the_mean_and_diverged_are_said_of_rows_there():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)
    there = gs.to_device(X, "cuda")
    with pytest.warns(gs.ConvergenceWarning, match="worse|ended"):
        gs.fit(there, gs.to_device(y, "cuda"), step=1e-9, epochs=1)
    with pytest.raises(gs.Diverged, match="largest stable step"):
        gs.fit(there, gs.to_device(y, "cuda"), step=50.0, epochs=20)


def refused(X, y, match, error=ValueError, **arguments):
    with pytest.raises(error, match=match):
        gs.fit(X, y, **arguments)


@everywhere
@NUMBAS_OWN_TRANSPOSE
def test_what_lies_there_is_refused_in_a_sentence():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)

    def there(array):
        return gs.to_device(array, "cuda")

    refused(
        there(X.astype(np.int64)), y, "X: data of dtype int64 came on the GPU; float32 or float64 is needed", TypeError
    )
    refused(there(np.ones((3, 2), dtype=np.float16)), np.ones(3), "X: data of dtype float16 came on the GPU", TypeError)
    refused(there(X).T, np.ones(2), "X: an array of shape .2, 40. and strides .* came on the GPU; C order without gaps")
    refused(there(X)[:, :1], y, "C order without gaps")
    refused(there(X)[::2], y[::2], "C order without gaps")
    refused(there(X[:0]), y[:0], "X: no rows came")
    refused(there(X), y[:-1], "y: 39 rows came and X has 40")
    refused(there(X), there(y[:-1]), "y: 39 rows came and X has 40")
    refused(there(y), y, r"X: 1 dimension came, shape \(40,\)")
    for entry, words in ((np.nan, "nan"), (np.inf, "inf")):
        bad = X.copy()
        bad[33, 1] = entry
        refused(there(bad), y, f"X: {words} came at row 33, column 1; finite numbers are needed")
        wrong = y.copy()
        wrong[17] = entry
        refused(there(X), there(wrong), f"y: {words} came at position 17; finite numbers are needed")
    refused(there(X), there(y), "y: .* came at position 0; 0 or 1 is needed", loss=gs.logistic(), step=0.1)
    fit = gs.fit(X, y)
    with pytest.raises(ValueError, match="X: 1 columns came; 2 are needed"):
        fit.predict(there(X[:, :1].copy()))
    with pytest.raises(ValueError, match="X: no rows came"):
        fit.predict(there(X[:0]))


@everywhere
@NUMBAS_OWN_TRANSPOSE
def test_arrays_there_of_any_strides_and_type_are_brought_home_where_that_is_asked():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)
    wide = gs.to_device(np.column_stack((X, y, np.arange(40.0) + 1)), "cuda")
    here = gs.fit(X, y, sample_weight=np.arange(40.0) + 1)
    for fit in (
        gs.fit(X, wide[:, 2], sample_weight=wide[:, 3]),
        gs.fit(wide[:, :2], wide[:, 2], sample_weight=wide[:, 3], device="cpu"),
    ):
        assert fit.device == "cpu"
        np.testing.assert_array_equal(fit.coef, here.coef)
    np.testing.assert_array_equal(
        gs.to_device(wide[::2, 1:], "cpu"), np.column_stack((X[:, 1], y, np.arange(40.0) + 1))[::2]
    )
    whole = gs.to_device(np.arange(6).reshape(2, 3), "cuda")
    np.testing.assert_array_equal(gs.fit(whole.T, [1.0, 2.0, 4.0], device="cpu").coef,
                                  gs.fit(np.arange(6).reshape(2, 3).T, [1.0, 2.0, 4.0]).coef)  # fmt: skip


class Elsewhere:
    """An array of another library, on a GPU of a number."""

    def __init__(self, array, number, **attributes):
        self.array, self.number = array, number
        self.shape, self.dtype = array.shape, array.dtype
        vars(self).update(attributes)

    def __dlpack_device__(self):
        return (2, self.number)


@everywhere
def test_arrays_on_two_devices_and_on_another_one():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)
    assert gs.device_of(Elsewhere(X, 0)) == "cuda"
    refused(
        Elsewhere(X, 0),
        Elsewhere(y, 1),
        "y: it lies on GPU 1 and X on GPU 0; both on one, or y in host memory, is needed",
    )
    refused(
        Elsewhere(X, 1), y, r"X: an array on GPU 1 came, and kernels run on GPU 0: call numba.cuda.select_device\(1\)"
    )
    refused(Elsewhere(X, 0), y, "X: a Elsewhere on a GPU came that cannot be read there", TypeError)
    refused(
        Elsewhere(X, 0, requires_grad=True), y, r"X: a tensor that records gradients came: pass X.detach\(\)", TypeError
    )


def test_arrays_of_other_libraries_are_known_by_either_protocol():
    class OnHost(Elsewhere):
        def __dlpack_device__(self):
            return (1, 0)

    class ByInterface:
        @property
        def __cuda_array_interface__(self):
            return {"version": 3}

    class OnAnother(Elsewhere):
        def __dlpack_device__(self):
            return (10, 0)

    class Broken:
        def __dlpack_device__(self):
            raise RuntimeError

        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("it requires grad")

    for call in (gs.device_of, lambda x: gs.to_device(x, "cpu"), lambda x: gs.fit(x, np.ones(2))):
        with pytest.raises(
            TypeError, match="a OnAnother on a device of DLPack's kind 10 came; host memory or a CUDA dev"
        ):
            call(OnAnother(np.ones(2), 0))
    assert gs.device_of(Broken()) == "cuda"
    assert gs.device_of(OnHost(np.ones(2), 0)) == "cpu"
    assert gs.device_of(ByInterface()) == "cuda"
    assert not _device.on_cuda(np.ones(2))
    assert not _device.on_cuda([1.0])


@pytest.mark.skipif(not cuda.state().startswith("no usable"), reason="there is a device")
def test_an_array_on_a_gpu_without_a_device_to_read_it():
    for device in (None, "cpu", "cuda", "auto"):
        refused(Elsewhere(np.ones((3, 1)), 0), np.ones(3), "X: an array on a GPU came, and there is no usable device",
                RuntimeError, device=device)  # fmt: skip
    refused(
        np.ones((3, 1)), Elsewhere(np.ones(3), 0), "y: an array on a GPU came, and there is no usable", RuntimeError
    )
    with pytest.raises(RuntimeError, match="x: an array on a GPU came, and there is no usable device"):
        gs.to_device(Elsewhere(np.ones(3), 0), "cuda")


@everywhere
def test_out_of_memory_says_how_much_is_wanted_and_free(monkeypatch):
    monkeypatch.setattr(target, "free", lambda: 700)
    monkeypatch.setattr(target, "_ALWAYS_ROOM", 10)
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 50)
    with pytest.raises(
        MemoryError, match=r"device: X needs 800 bytes on the GPU, and 700 are free; fewer rows, float32"
    ):
        gs.fit(X, y, device="cuda")


def test_a_fork_after_cuda_was_started_is_refused(monkeypatch):
    monkeypatch.setattr(target, "SIMULATED", False)
    monkeypatch.setattr(target, "_first_used_in", [0])
    with pytest.raises(RuntimeError, match=r"CUDA was started before this process was forked.*get_context\(.spawn.\)"):
        gs.fit(np.ones((5, 1)), np.arange(5.0), device="cuda")


def test_auto_takes_the_cpu_where_there_is_no_gpu_worth_it():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 50)
    fit = gs.fit(X, y, device="auto")
    assert fit.device == "cpu"
    assert "on the CPU" in fit.cost
    assert "on the CPU" in str(fit)


@pytest.mark.parametrize("options", ["sgd", "cg", "exact", "auto", gs.sgd()])
def test_auto_weighs_copy_compilation_and_reads(monkeypatch, options):
    monkeypatch.setattr(_break_even, "_gpu", lambda: _break_even.Gpu(byte=2.5e-13, copy=1e-10, launch=3e-5))
    monkeypatch.setattr(target, "free", lambda: 1 << 40)
    # A machine whose CPU is as it is said to be, whatever else runs on this one.
    monkeypatch.setattr(_cost, "measured", lambda: _cost.TYPICAL)
    monkeypatch.setattr(cuda, "state", lambda: "a GPU")
    monkeypatch.setattr(cuda, "warm", lambda *, single: not single)

    def chosen(n, d, bytes_per_entry, epochs=10):
        shape = _break_even.Shape(n, d, 1, bytes_per_entry)
        return _break_even.device_for(shape, options, epochs, 4096, 0.01, intercept=True)

    assert chosen(200, 5, 8)[0] == "cpu"
    device, said = chosen(100_000_000, 100, 8)
    assert device == "cuda"
    assert "s on the CPU and" in said
    assert said.endswith("the GPU is taken")
    assert "s to compile" not in said
    assert "s to compile" in chosen(100_000_000, 100, 4)[1]
    monkeypatch.setattr(target, "free", lambda: 1 << 30)
    device, said = chosen(100_000_000, 100, 8)
    assert (device, "bytes on the GPU and 1,073,741,824 are free" in said) == ("cpu", True)


@everywhere
def test_the_gpu_is_measured(monkeypatch):
    monkeypatch.setattr(_break_even, "_ROWS_MEASURED", 64 if SIMULATED else _break_even._ROWS_MEASURED)
    found = _break_even.measured(cuda)
    assert all(0 < seconds < 1 for seconds in found)


@pytest.mark.gpu
@pytest.mark.skipif(SIMULATED or not on_a_gpu or cuda.state().startswith("no usable"), reason="on a GPU alone")
def test_arrays_of_cupy_are_used_in_place():
    cupy = pytest.importorskip("cupy")
    X, y = ill_conditioned()
    fit = gs.fit(cupy.asarray(X), cupy.asarray(y))
    np.testing.assert_array_equal(fit.coef, gs.fit(X, y, device="cuda").coef)
    np.testing.assert_allclose(cupy.asnumpy(cupy.asarray(fit.predict(cupy.asarray(X)))), fit.predict(X), rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(SIMULATED or not on_a_gpu or cuda.state().startswith("no usable"), reason="on a GPU alone")
def test_tensors_of_pytorch_are_used_in_place_whatever_stream_they_come_from():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no CUDA")
    X, y = ill_conditioned(dtype=np.float32)
    expected = gs.fit(X, y, device="cuda").coef
    with torch.cuda.stream(torch.cuda.Stream()):
        rows = torch.as_tensor(X, device="cuda")
        for _ in range(200):
            rows = rows * 1
        np.testing.assert_array_equal(gs.fit(rows, torch.as_tensor(y, device="cuda")).coef, expected)
    with pytest.raises(TypeError, match=r"X: a tensor that records gradients came: pass X.detach\(\)"):
        gs.fit(rows.requires_grad_(), y)
