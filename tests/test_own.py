"""A user's own formulas, from wherever they come, and what is said of those that cannot be."""

import os
import subprocess
import sys

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit

OWN = """
import math
import numpy as np
import gradstep as gs

@gs.formula
def value(z, y, p):
    r = abs(z - y)
    return p[0] * p[0] * (type(z)(math.sqrt(1 + (r / p[0]) ** 2)) - 1)

@gs.formula
def slope(z, y, p):
    r = z - y
    return r / type(z)(math.sqrt(1 + (r / p[0]) ** 2))

@gs.formula
def curvature(z, y, p):
    return (1 + ((z - y) / p[0]) ** 2) ** -1.5

@gs.formula
def size(w, p):
    return p[0] * abs(w)

@gs.formula
def shrink(w, t, p):
    return max(w - t * p[0], 0.0) + min(w + t * p[0], 0.0)

@gs.formula
def rate(t, p):
    return p[0] / (10.0 + t)

loss = gs.Loss("pseudo_huber", value, slope, curvature, (2.0,))
penalty = gs.Penalty("mine", size, shrink, (0.01,))
schedule = gs.Schedule("harmonic", rate, (1.0,))
"""
FIT = """
X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 60, noise=0.1)
fit = gs.fit(X, y, loss=loss, penalty=penalty, step=schedule, batch_size=8, epochs=5, check=False)
print(repr(fit.coef.tolist()), fit.objective, gs.check_gradient(loss).agrees)
"""


def run(*arguments, folder):
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(SIMULATED, reason="the simulator runs Python")
def test_a_script_a_module_a_command_and_a_notebook_fit_alike(tmp_path):
    (tmp_path / "script.py").write_text(OWN + FIT)
    (tmp_path / "module.py").write_text(OWN)
    cells = [f"exec(compile({cell!r}, '<cell {i}>', 'exec'))" for i, cell in enumerate((OWN, FIT))]
    answers = [
        run("script.py", folder=tmp_path),
        run("-c", "from module import *" + FIT, folder=tmp_path),
        run("-c", OWN + FIT, folder=tmp_path),
        run("-c", "\n".join(cells), folder=tmp_path),
    ]
    assert len(set(answers)) == 1
    assert answers[0].endswith("True\n")


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
def test_it_equals_the_slow_twin(device):
    from reference import sgd

    names = {}
    exec(OWN, names)  # noqa: S102
    loss, penalty, schedule = names["loss"], names["penalty"], names["schedule"]
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 40, noise=0.1)
    fit = gs.fit(
        X, y, loss=loss, penalty=penalty, step=schedule, batch_size=8, epochs=2, device=device, check=False,
        solver=gs.sgd(shuffle=False),
    )  # fmt: skip
    coef, intercept, objective, _ = sgd(
        X, y, rate=lambda t: 1 / (10 + t), batch_size=8, epochs=2, loss=loss, penalty=penalty
    )
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-12)
    np.testing.assert_allclose([fit.intercept, fit.objective], [float(intercept), objective], rtol=1e-12)


def unmarked(z):
    return 2 * z


TABLE = {1: 2.0}


@gs.formula
def good(z, y, p):
    return z - y


@gs.formula
def calls_unmarked(z, y, p):
    r = z - y
    return r + 0 * unmarked(z)


@gs.formula
def calls_one_that_calls(z, y, p):
    return calls_unmarked(z, y, p)


@gs.formula
def looks_up(z, y, p):
    return z - y + 0 * TABLE.get(1, 0.0)


@gs.formula
def of_two_minds(z, y, p):
    return z - y if z > -100 else "far"


@gs.formula
def uses_numpy_of_no_use(z, y, p):
    return (z - y) * np.sum([z / z for _ in range(1)], where=True)


@gs.formula
def imports(z, y, p):
    import math

    return z - y + 0 * math.exp(z)


@gs.formula
def asks_for_help(z, y, p):
    with np.errstate(all="ignore"):
        return z - y


@needs_jit
@pytest.mark.skipif(SIMULATED, reason="the simulator runs Python")
@pytest.mark.parametrize(
    ("slope", "line"),
    [
        (calls_unmarked, r"return r + 0 * unmarked(z)"),
        (calls_one_that_calls, r"return r + 0 * unmarked(z)"),
        (looks_up, "return z - y + 0 * TABLE.get(1, 0.0)"),
        (of_two_minds, ""),
        (uses_numpy_of_no_use, "np.sum("),
        (asks_for_help, ""),
        (imports, ""),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_formula_that_numba_refuses_is_named_with_line_and_reason(slope, line):
    loss = gs.Loss("mine", good, slope, good)
    X, y = gs.textbook.make_linear([2.0], 0.0, 20)
    for attempt in (
        lambda: gs.fit(X, y, step=0.1, loss=loss),
        lambda: gs.fit(np.float32(X), y, step=0.1, loss=loss),
        lambda: gs.check_gradient(loss),
        lambda: gs.check_loss(loss),
        lambda: gs.textbook.gradient(X, y, [0.0], 0.0, loss),
    ):
        with pytest.raises(TypeError) as raised:
            attempt()
        said = str(raised.value)
        assert said.startswith(f"Loss mine: slope: Numba cannot compile {slope.__name__}, line ")
        assert f"of test_own.py (`{line}" in said or not line or line in said
        assert "marked with @gs.formula" in said
        assert "\n" not in said
        assert "nopython" not in said
        assert len(said) < 500
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__


@needs_jit
@pytest.mark.skipif(SIMULATED, reason="the simulator runs Python")
def test_a_penalty_and_a_schedule_that_numba_refuses_are_named():
    X, y = gs.textbook.make_linear([2.0], 0.0, 20)

    @gs.formula
    def prox(w, t, p):
        return w + 0 * unmarked(w)

    @gs.formula
    def value(w, p):
        return 0 * unmarked(w)

    @gs.formula
    def rate(t, p):
        return 0.1 + 0 * unmarked(t)

    l1 = gs.l1(0.1)
    with pytest.raises(TypeError, match=r"Penalty mine: prox: Numba cannot compile prox, line \d+ of test_own.py"):
        gs.fit(X, y, step=0.1, penalty=gs.Penalty("mine", l1.value, prox, (0.1,)))
    with pytest.raises(TypeError, match=r"Penalty mine: value: Numba cannot compile value, line \d+"):
        gs.fit(X, y, step=0.1, penalty=gs.Penalty("mine", value, l1.prox, (0.1,)))
    with pytest.raises(TypeError, match=r"Schedule mine: rate: Numba cannot compile rate, line \d+ .*unmarked"):
        gs.fit(X, y, step=gs.Schedule("mine", rate))


@needs_jit
@pytest.mark.skipif(SIMULATED, reason="the simulator runs Python")
def test_a_formula_typed_at_a_prompt_that_numba_refuses_is_named(tmp_path):
    code = OWN.replace("    r = z - y\n    return r / ", "    r = z - y + 0 * unknown(z)\n    return r / ") + FIT
    code = "def unknown(z): return z\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("TypeError: Loss pseudo_huber: slope: Numba cannot compile slope, line ")
    assert "unknown" in last
    assert done.stderr.count("Traceback") == 1
