"""Where arrays lie, and moving them."""

import numpy as np
import pytest

import gradstep as gs
from gradstep._kernels import cuda


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.complex128])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
def test_there_and_back(device, dtype, shape):
    x = np.random.default_rng(0).normal(3.0, 2.0, shape).astype(dtype)
    there = gs.to_device(x, device)
    assert gs.device_of(there) == device
    assert there.shape == shape
    assert there.dtype == dtype
    assert gs.to_device(there, device) is there
    back = gs.to_device(there, "cpu")
    assert gs.device_of(back) == "cpu"
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, x)


def test_a_copy_on_a_device_is_apart(device):
    x = np.arange(12.0).reshape(3, 4)[:, ::2]
    there = gs.to_device(x, device)
    back = gs.to_device(there, "cpu")
    if device == "cuda":
        x[:] = -1.0
    np.testing.assert_array_equal(back, [[0, 2], [4, 6], [8, 10]])


def test_a_list_becomes_an_array_and_numpys_numbers_lie_on_the_cpu():
    assert isinstance(gs.to_device([1, 2], "cpu"), np.ndarray)
    assert gs.device_of(np.float64(1.0)) == "cpu"


def test_an_array_of_a_device_can_be_fitted(device):
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40)
    fit = gs.fit(gs.to_device(X, device), gs.to_device(y, device))
    np.testing.assert_array_equal(fit.coef, gs.fit(X, y).coef)


@pytest.mark.skipif(not cuda.state().startswith("no usable"), reason="there is a device")
def test_without_a_device_it_says_so():
    with pytest.raises(RuntimeError, match=r"there is no usable device.*NUMBA_ENABLE_CUDASIM=1"):
        gs.to_device([1.0], "cuda")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gs.device_of([1.0]), TypeError, "x: a list came; a NumPy array"),
        (
            lambda: gs.to_device([1.0], "gpu"),
            ValueError,
            'device: .gpu. came; "cpu" or "cuda" is needed',
        ),
        (lambda: gs.to_device([1.0], None), TypeError, 'device: None came; "cpu" or "cuda" is needed'),
        (lambda: gs.to_device([[1], [1, 2]], "cpu"), ValueError, "x: a list came that is no rectangular array"),
        (lambda: gs.to_device(np.ma.masked_array([1.0], [True]), "cpu"), TypeError, "x: a masked array came"),
        (lambda: gs.to_device(["a"], "cpu"), TypeError, "x: data of dtype <U1 came; numbers are needed"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
