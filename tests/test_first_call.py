"""The first call: few cells are computed in Python, to the same bits; what is compiled is said, timed and kept."""

import logging
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit
from gradstep._kernels import plain
from gradstep._kernels.formula import examples
from gradstep.losses import LOSSES

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")

KERNELS = [plain.statistics, plain.fill, plain.wide_gradient, plain.about_means, plain.wide_scores]


@pytest.fixture
def afresh(monkeypatch):
    """Return how to begin anew, as a process does that has compiled nothing and finds nothing on disk."""

    def begin(computed):
        monkeypatch.setattr(plain, "_computed", computed)
        monkeypatch.setattr(plain, "holds", lambda kernel, arguments: False)
        for kernel in KERNELS:
            monkeypatch.setattr(kernel, "_ready", set())
            monkeypatch.setattr(kernel, "_absent", set())

    return begin


def tables():
    rng = np.random.default_rng(0)

    def table(n=300, d=4, k=None, scale=1.0, offset=0.0):
        X = rng.standard_normal((n, d)) * scale + offset
        return X, X.sum(axis=1) + rng.standard_normal(n) if k is None else rng.standard_normal((n, k)) + X[:, :1]

    X, y = table()
    weight = rng.random(300) * (rng.random(300) > 0.2)
    yield "plain", (X, y), {}
    yield "float32", (X.astype(np.float32), y), {}
    yield "weights", (X, y), {"sample_weight": weight}
    yield "no intercept", (X, y), {"intercept": False}
    yield "ridge", (X, y), {"penalty": gs.l2(0.1)}
    yield "outputs", table(k=3), {}
    yield "exact", table(), {"solver": "exact"}
    yield "wide", table(n=20, d=40), {}
    yield "one row", table(n=1, d=2), {}
    yield "offset", table(offset=1e9), {}
    yield "scales", table(scale=np.logspace(-150, 150, 4)), {}
    yield "dependent", (np.column_stack((X, X[:, 0], np.ones(300), np.zeros(300))), y), {}
    yield "no noise", (X, X.sum(axis=1)), {}


@needs_jit
@pytest.mark.parametrize(("arguments", "options"), [pytest.param(*rest, id=name) for name, *rest in tables()])
def test_few_cells_are_computed_in_python_to_the_same_bits(arguments, options, afresh):
    fits, scores = [], []
    for computed in (0, plain._ENOUGH):
        afresh(computed)
        fits.append(gs.fit(*arguments, **options))
        assert any(kernel._ready for kernel in KERNELS) == bool(computed)
        scores.append(fits[-1].predict(arguments[0]))
    there, here = fits
    np.testing.assert_array_equal(there.coef, here.coef)
    np.testing.assert_array_equal(there.intercept, here.intercept)
    np.testing.assert_array_equal(*scores)
    assert there.certificate.bound == here.certificate.bound
    assert there.row_reads == here.row_reads


@needs_jit
def test_many_cells_are_compiled_for(afresh):
    X, y = gs.textbook.make_linear(np.ones(10), 0.0, 200, noise=1.0)
    afresh(0)
    few = gs.fit(X, y)
    assert few.compile_seconds == 0
    for _ in range(1000):
        if plain.wide_gradient._ready:
            break
        gs.fit(X, y)
    assert 0 < plain._computed <= plain._ENOUGH
    afresh(0)
    many = np.tile(X, (20, 1))
    gs.fit(many, np.tile(y, 20)).predict(many)
    assert plain.statistics._ready
    assert plain.wide_scores._ready


@needs_jit
def test_where_python_raises_compiled_code_goes_on(afresh):
    afresh(0)
    out = np.empty((4, 2))
    plain.statistics(np.array([[1.0, np.inf]]), np.ones(1), np.empty(0, dtype=np.int64), False, out)
    expected = np.empty((4, 2))
    plain.statistics.kernel(np.array([[1.0, np.inf]]), np.ones(1), np.empty(0, dtype=np.int64), False, expected)
    np.testing.assert_array_equal(out, expected)


FIRST = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import numpy as np
import gradstep as gs
X, y = gs.textbook.make_linear(np.ones(10), 0.0, 1_000, noise=1.0)
if {warm}:
    gs.warm_up()
fits = [gs.fit(X, y) for _ in range({fits})]
print(fits[0].compile_seconds > 0, any(fit.compile_seconds > 0 for fit in fits))
print({{fit.coef.tobytes().hex() for fit in fits}})
"""


def first(folder, *, fits, warm=False):
    """Return what a process says of its first fits, and their coefficients."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST.format(fits=fits, warm=warm)], capture_output=True, text=True,
        check=True, env=os.environ | {"GRADSTEP_CACHE_DIR": str(folder)}, timeout=240,
    )  # fmt: skip
    *said, coefs = done.stdout.splitlines()
    return said, coefs


@needs_jit
def test_first_fits_of_processes(tmp_path):
    said, coefs = first(tmp_path, fits=1)
    assert said == ["False False"]  # a table of 1,000 x 10 is not worth compiling for
    assert not list((tmp_path / "kernels").glob("*.kernel"))
    said, again = first(tmp_path, fits=1, warm=True)
    for name in ("statistics", "fill", "wide_gradient", "about_means", "lane", "wide_scores"):
        assert said.count(f"compiling {name} ...") == 1
    assert said[-1] == "False False"  # it was all there
    assert again == coefs
    assert first(tmp_path, fits=1) == (["False False"], coefs)  # nor is it worth loading for
    assert first(tmp_path, fits=3) == (["False True"], coefs)  # three of them are
    assert first(tmp_path, fits=1, warm=True) == (["False False"], coefs)


@needs_jit
def test_compiling_is_said_timed_and_counted_in(caplog):
    @gs.formula
    def value(z, y, p):
        return (z - y) * (z - y)

    @gs.formula
    def slope(z, y, p):
        return 2 * (z - y)

    @gs.formula
    def curvature(z, y, p):
        return type(z)(2)

    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200, noise=0.1)
    loss = gs.Loss("twice", value, slope, curvature)
    with caplog.at_level(logging.INFO, "gradstep.compile"):
        fit = gs.fit(X, y, loss=loss, step=0.03, batch_size=10)
    assert "compiling epoch ..." in caplog.text
    assert 0.05 < fit.compile_seconds < fit.seconds
    assert f"{fit.compile_seconds:.3g} of them to compile kernels" in str(fit)
    again = gs.fit(X, y, loss=loss, step=0.03, batch_size=10)
    assert again.compile_seconds == 0
    assert "compile" not in str(again)
    more = gs.fit(X, y, loss=loss, step=0.03, batch_size=10, start=fit)
    assert more.compile_seconds == pytest.approx(fit.compile_seconds)
    general = gs.fit(X, y, loss=loss)
    assert 0.05 < general.compile_seconds < general.seconds


@needs_jit
@pytest.mark.parametrize("loss", examples(LOSSES), ids=repr)
def test_after_a_warm_up_nothing_is_compiled(loss, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.warm_up(loss=loss, columns=3)
        gs.warm_up(loss=loss)
    rng = np.random.default_rng(1)
    with caplog.at_level(logging.INFO, "gradstep.compile"):
        for n, d in ((50, 2), (9_000, 3), (12_000, 30), (70_000, 3)):
            X = rng.standard_normal((n, d))
            y = gs.losses.DOMAINS[loss.domain].into(X.sum(axis=1) / 4 + rng.standard_normal(n))
            gs.fit(X, y, loss=loss).predict(X)
    assert caplog.text == ""


def test_a_warm_up_returns_its_seconds():
    assert gs.warm_up() >= 0
    assert gs.warm_up() == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "int"}, ValueError, r"^dtype: 'int' came; float64 or float32 is needed\.$"),
        ({"dtype": "nonsense"}, ValueError, r"^dtype: 'nonsense' came; float64 or float32 is needed\.$"),
        ({"loss": "squared"}, TypeError, r"^loss: "),
        ({"columns": 0}, ValueError, r"^columns: 0 came; a whole number of at least 1 is needed\.$"),
    ],
)
def test_a_warm_up_refuses_what_there_is_not(options, error, message):
    with pytest.raises(error, match=message):
        gs.warm_up(**options)
