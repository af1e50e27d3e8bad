"""The CUDA kernels compile to real PTX for compute capability 9.0, without a driver."""

import re

import pytest

from conftest import JIT_OFF, SIMULATED

pytest.importorskip("numba_cuda", reason='numba-cuda is not installed: pip install -e ".[gputest]" brings it')
if SIMULATED or JIT_OFF:
    pytest.skip("the simulator and the JIT switched off compile nothing", allow_module_level=True)

from numba import boolean, cuda, float32, float64, int64, types
from numba.cuda import dispatcher

from gradstep._kernels.cuda import build
from gradstep.losses import LOSSES
from gradstep.penalties import NO_PENALTY, PENALTIES
from gradstep.schedules import SCHEDULES, Schedule

TARGET = (9, 0)


def kinds(registry):
    """Return one object of each constructor: parameters are data, and compile to nothing of their own."""
    return [constructor(*tried[0]) for constructor, tried in registry.items()]


losses = pytest.mark.parametrize("loss", kinds(LOSSES), ids=lambda loss: loss.name)
penalties = pytest.mark.parametrize("penalty", [NO_PENALTY, *kinds(PENALTIES)], ids=lambda penalty: penalty.name)


@pytest.fixture(autouse=True)
def compile_for_the_target(monkeypatch):
    # Device functions are compiled for the current device, of which there is none. The name is private to numba-cuda,
    # whose version the extra pins.
    class Target:
        compute_capability = TARGET

    if not hasattr(dispatcher, "get_current_device"):
        pytest.skip("this numba-cuda has no numba.cuda.dispatcher.get_current_device to stand in for")
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: Target)


def array(dtype, ndim):
    return types.Array(dtype, ndim, "C")


def parameters(params, dtype):
    return types.UniTuple(dtype, len(params))


def ptx_of(function, signature):
    ptx, _ = cuda.compile_ptx(function, signature, cc=TARGET)
    assert ".target sm_90" in ptx
    return ptx


@losses
@penalties
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_the_epoch_compiles(loss, penalty, dtype):
    kernel = build(loss.value, loss.slope, penalty.prox)
    weights, numbers = array(float64, 2), array(float64, 1)
    p, q = parameters(loss.params, float64), parameters(penalty.params, float64)
    rows = array(dtype, 2), weights, numbers, array(int64, 1), boolean
    settings = int64, int64, int64, boolean, float64, boolean, boolean, int64, numbers
    path = weights, weights, weights, weights, numbers
    ptx = ptx_of(kernel, (*rows, *settings, *path, array(float64, 3), p, q))
    assert ".visible .entry" in ptx
    # Two barriers a batch; each row of float32 data is loaded as such.
    assert len(re.findall(r"bar\.sync|barrier\.sync", ptx)) >= 2
    assert ("ld.global.f32" in ptx or "ld.global.b32" in ptx or "ld.f32" in ptx) == (dtype is float32)
    assert not re.search(r"^\s*(@\S+\s+)?(atom|red)\.", ptx, re.MULTILINE)


def of_one(function):
    def kernel(first, out, p):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = function(first[i], p)

    return kernel


def of_two(function):
    def kernel(first, second, out, p):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = function(first[i], second[i], p)

    return kernel


groups = pytest.mark.parametrize(
    "group", [*kinds(LOSSES), NO_PENALTY, *kinds(PENALTIES), *kinds(SCHEDULES)], ids=lambda group: group.name
)


@groups
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_formulas_compile(group, dtype):
    numbers = array(dtype, 1)
    for role, scalars in group.ROLES.items():
        kernel = (of_one if len(scalars) == 1 else of_two)(getattr(group, role))
        ptx = ptx_of(kernel, (*(numbers for _ in scalars), numbers, parameters(group.params, dtype)))
        # A schedule is read once a step, on the host; the library's powers and cosines of float32 use some double.
        if dtype is float32 and not isinstance(group, Schedule):
            assert ptx.count("f64") == 0, role
