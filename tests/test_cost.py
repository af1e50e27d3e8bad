"""The cost model: what it says, what "auto" takes, and that its measurement is kept and never in the way."""

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit
from gradstep import _cost, _input
from gradstep._break_even import Shape
from gradstep._kernels import cache
from gradstep._table.dense import Dense

pytestmark = [needs_jit, pytest.mark.skipif(SIMULATED, reason="on the CPU alone")]
SOUND = _cost.Machine(1e-11, 1e-11, 1e-11, 1e-11)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADSTEP_CACHE_DIR", str(tmp_path))
    _cost.measured.cache_clear()
    _cost.kept.cache_clear()
    yield
    _cost.measured.cache_clear()
    _cost.kept.cache_clear()


def table(n=20_000, d=10):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X, X.sum(axis=1) + rng.standard_normal(n)


def dense(n, d):
    return Dense(_input.rows(np.ones((n, d), dtype=np.float32), np.ones(n)), gs.squared(), None)


@pytest.mark.parametrize("cheapest", ["sgd", "cg", "exact"])
def test_auto_takes_the_cheapest_and_prints_all(cheapest, monkeypatch):
    costs = {name: 1.0 + (name != cheapest) for name in ("sgd", "cg", "exact")}
    monkeypatch.setattr(_cost, "predicted", lambda *arguments, **options: dict(costs))
    fit = gs.fit(*table(), solver="auto")
    assert fit.solver == cheapest
    assert all(f"{name} {value:.2g} s" in fit.cost for name, value in costs.items())
    assert fit.cost.endswith(f"{cheapest} is taken")
    assert fit.cost in str(fit)
    if cheapest == "exact":
        said = gs.fit(*table())
        assert said.cost.startswith('solver="exact" would have been cheaper: about 1 s where "sgd" takes about 2 s')
        assert gs.fit(*table(), solver="auto", start=said).solver in {"sgd", "cg"}
    else:
        assert gs.fit(*table()).cost == ""
    assert gs.fit(*table(), solver="cg").cost == ""


def test_costs_rise_with_what_is_done():
    few, many = (_cost.predicted(_cost.TYPICAL, Shape(400_000, d, 1, 8), 0.01, intercept=True) for d in (10, 800))
    assert all(many[name] > few[name] for name in few)
    assert few["exact"] < few["sgd"]
    assert many["exact"] > many["sgd"]
    near = _cost.predicted(_cost.TYPICAL, Shape(400_000, 800, 1, 8), 1e-6, intercept=True)
    assert near["sgd"] > many["sgd"]
    assert near["cg"] > many["cg"]
    for tol in (0.0, 1e300):
        assert all(value > 0 for value in _cost.predicted(SOUND, dense(5_000, 3), tol, intercept=False).values())


def test_small_tables_are_alike_to_all():
    fit = gs.fit(*table(100, 3), solver="auto")
    assert fit.cost == "so few rows stand for themselves: all solvers are alike"


def test_the_measurement_is_kept(monkeypatch, tmp_path):
    measured = _cost.measured()
    assert all(0 < value < 1e-6 for value in measured)
    _cost.measured.cache_clear()
    _cost.kept.cache_clear()
    monkeypatch.setattr(_cost, "_measure", lambda: pytest.fail("measured again"))
    assert _cost.measured() == measured == _cost.kept()
    assert len(list(tmp_path.rglob("machine-*.json"))) == 1


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"{}", b'{"byte": 0.1}', b'{"byte":-1,"gram":1,"factor":1,"values":1}']
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_is_not_as_it_should_be_is_measured_anew(content, whole, monkeypatch):
    path = _cost._path()
    if whole:
        cache.write(path, content)
    else:
        path.write_bytes(content)
    monkeypatch.setattr(_cost, "_measure", lambda: SOUND)
    assert _cost.kept() is None
    assert _cost.measured() == SOUND


def test_without_a_folder_it_is_measured_for_the_process(monkeypatch):
    monkeypatch.setenv("GRADSTEP_CACHE", "0")
    assert _cost.kept() is None
    fit = gs.fit(*table(), solver="auto")
    assert fit.check.agrees
    assert "by the cost model" in fit.cost
