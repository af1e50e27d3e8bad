"""The public surface, the house rules and the first impressions."""

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit
from gradstep import __main__ as demo

ROOT = Path(gs.__file__).parent
MODULES = ["gradstep", *(m.name for m in pkgutil.walk_packages(gs.__path__, "gradstep."))]

PUBLIC = {
    "Certificate", "Check", "ClosedForm", "ConvergenceWarning", "DisagreementWarning", "Diverged", "Fit",
    "History", "Interrupted", "Loss", "Penalty",
    "Progress", "Schedule", "Sgd", "Stop", "check_gradient", "check_loss", "check_penalty", "closed_form", "constant",
    "cosine_decay", "datasets", "device_of",
    "elastic_net", "epsilon_insensitive", "exponential_decay", "fit", "formula", "huber",
    "inverse_decay", "l1", "l2", "load_diamonds", "logistic", "losses", "penalties", "plots", "poisson", "power_decay",
    "quantile", "schedules", "set_threads", "sgd", "show_versions", "squared", "textbook",
    "to_device", "warm_up",
}  # fmt: skip

FUNCTIONS = [
    *(getattr(gs, name) for name in sorted(PUBLIC) if inspect.isfunction(getattr(gs, name))),
    *(getattr(gs.textbook, name) for name in gs.textbook.__all__ if inspect.isfunction(getattr(gs.textbook, name))),
    gs.plots.learning_curve,
    gs.Fit.predict,
]


def test_public_names():
    assert {name for name in dir(gs) if not name.startswith("_")} == PUBLIC


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_docstrings_say_what_the_signature_says(function):
    doc = inspect.getdoc(function)
    section = re.search(r"Parameters\n-+\n(.*?)(\n\n[A-Z]\w+\n-+|\Z)", doc, re.DOTALL)
    documented = re.findall(r"^(\w+) :", section.group(1), re.MULTILINE) if section else []
    signature = [name for name in inspect.signature(function).parameters if name != "self"]
    assert documented == signature
    assert "Examples\n-" in doc


@pytest.mark.skipif(SIMULATED, reason="run in the other legs")
@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    if module in {"gradstep._fit", "gradstep._closed_form", "gradstep.textbook"}:
        assert result.attempted > 0


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.name)
def test_files_and_bodies_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            assert node.end_lineno - node.lineno - doc.count("\n") <= 80, node.name


def in_a_new_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_that_it_does_not_need():
    loaded = set(in_a_new_process("import sys, gradstep; print(*sys.modules, sep='\\n')").split())
    assert "gradstep._fit" in loaded
    for heavy in ("sklearn", "pandas", "matplotlib", "torch", "dask", "scipy.stats", "gradstep._kernels.cuda"):
        assert heavy not in loaded
    # Nothing of CUDA but what `import numba` itself brings.
    brought = set(in_a_new_process("import sys, numba, numba.extending; print(*sys.modules, sep='\\n')").split())
    assert not {name for name in loaded - brought if "cuda" in name}


def test_show_versions(capsys):
    gs.show_versions()
    text = capsys.readouterr().out
    for fact in ("gradstep", "numpy", "scipy", "numba", "python", "system", "cpu", "threads", "cache", "cuda"):
        assert re.search(rf"^{fact} +\S", text, re.MULTILINE), fact
    assert np.__version__ in text


@needs_jit
def test_the_main_job(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "PATIENT_EPOCHS", 30)
    picture = tmp_path / "demo.png"
    demo.main(["--picture", str(picture)])
    text = capsys.readouterr().out
    for words in ("w[0]", "3   loss", "53,940 diamonds", "epoch 20", "carat", "clarity=IF", "scipy.linalg", "seconds"):
        assert words in text
    assert text.count("standard errors away at") == 6
    assert "The fit agrees with the closed form" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    demo.main(["--picture", str(tmp_path / "no" / "such" / "folder.png")])
    assert "No picture" in capsys.readouterr().out


def test_the_main_job_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    demo.picture(tmp_path / "demo.png", [])
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_diamonds_are_the_published_table():
    X, y, names = gs.load_diamonds()
    assert X.shape == (53_940, 23)
    assert len(names) == len(set(names)) == 23
    column = dict(zip(names, X.T, strict=True))
    assert (y.min(), y.max(), y.sum()) == (326, 18_823, 212_135_217)
    assert column["carat"].max() == 5.01
    assert column["cut=Ideal"].sum() == 21_551
    assert column["color=G"].sum() == 11_292
    assert column["clarity=SI1"].sum() == 13_065
    for grading, worst in (("cut", 1_610), ("color", 2_808), ("clarity", 741)):
        graded = sum(values for name, values in column.items() if name.startswith(f"{grading}="))
        assert set(np.unique(graded)) == {0.0, 1.0}
        assert (graded == 0).sum() == worst
    packed = (ROOT / "data" / "diamonds.csv.gz").stat().st_size
    assert packed < 1_000_000


def test_learning_curve_draws_what_the_history_holds():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200)
    fit = gs.fit(X, y, step=0.03, epochs=4, solver=gs.sgd(exact_objective=True))
    exact = gs.closed_form(X, y)
    ax = gs.plots.learning_curve(fit, exact)
    running, objective, floor = ax.get_lines()
    np.testing.assert_array_equal(running.get_ydata(), fit.history.objective)
    np.testing.assert_array_equal(objective.get_ydata(), fit.history.exact_objective)
    assert floor.get_ydata()[0] == exact.objective
    assert gs.plots.learning_curve(fit, ax=ax) is ax
