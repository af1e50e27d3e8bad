"""What the README and the front page show is what happens."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

import gradstep as gs
from conftest import SIMULATED, needs_jit

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")

pytestmark = [needs_jit, pytest.mark.skipif(SIMULATED, reason="run in the other legs")]


def blocks(page, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def printed(code):
    out = io.StringIO()
    names = {}
    with contextlib.redirect_stdout(out):
        exec(code, names)  # noqa: S102 - our own pages
    return out.getvalue(), names


def test_the_front_page_prints_what_it_says():
    (code,), (shown,) = blocks("docs/index.md", "python"), blocks("docs/index.md", "text")
    found, _ = printed(code)
    for said, got in zip(shown.strip().splitlines(), found.strip().splitlines(), strict=True):
        if said.strip().startswith("seconds"):  # what compiling took is said where it took long
            assert got.strip().startswith("seconds")
        else:
            assert NUMBER.sub("#", said) == NUMBER.sub("#", got)
            np.testing.assert_allclose(
                [float(x) for x in NUMBER.findall(got)],
                [float(x) for x in NUMBER.findall(said)],
                rtol=0.05,
                atol=1e-10,  # rounding
            )


def test_the_readme_runs_and_its_training_by_hand_is_the_fit():
    exact, first, by_hand, labels, own = blocks("README.md", "python")
    text, names = printed(exact)
    assert "gradstep fit: squared loss, 53940 rows x 23 columns" in text
    assert names["fit"].certificate.bound <= 0.01
    assert names["fit"].check.agrees
    text, names = printed(f"{exact}\n{first}")
    assert "minibatch SGD, step 0.01, batch 64, 20 epochs" in text
    assert names["fit"].check.distance < 30
    _, names = printed(by_hand + "\nimport gradstep as gs\nfit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3)\n")
    np.testing.assert_array_equal(names["w"], names["fit"].coef)
    assert names["b"] == names["fit"].intercept
    _, names = printed(f"{by_hand}\nimport gradstep as gs\n{labels}")
    assert np.mean((names["log_odds"] > 0) == (names["y"] > 2401)) > 0.97
    text, names = printed(f"{by_hand}\nimport gradstep as gs\n{own}")
    assert "robust(1.5): every law holds" in text
    np.testing.assert_allclose(names["fit"].coef, [2.0, -3.4], atol=0.01)


TRIED = """
import sys
import numpy as np
import gradstep as gs
from gradstep._kernels.formula import examples

added = [loss for loss in examples(gs.losses.LOSSES) if loss.name == "log_cosh"]
assert [loss.params for loss in added] == [(1.0,), (0.2,)]
for loss in added:
    report = gs.check_loss(loss)
    assert report.holds, str(report)
    assert gs.check_gradient(loss).agrees
    # Beside the definition, at many points.
    for r in np.linspace(-3, 3, 50):
        value = loss.params[0] ** 2 * np.log(np.cosh(r / loss.params[0]))
        np.testing.assert_allclose(loss.value(r, 0.0, loss.params), value, rtol=1e-12, atol=1e-15)

X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.1)
fit = gs.fit(X, y, loss=gs.losses.log_cosh(1.0), step=0.03, batch_size=10)
np.testing.assert_allclose([*fit.coef, fit.intercept], [2.0, -3.4, 4.2], atol=0.05)
print(fit.loss, gs.__file__)
"""


MADE = """
import pathlib, sys
sys.path.insert(0, "docs")
import _formulas
_formulas.write(pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def run_with_the_loss(tmp_path):
    """Return what runs Python with a copy of the package that the page's loss was added to."""
    code, entry = blocks("docs/add_a_loss.md", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    assert len(entry.strip().splitlines()) == 1
    package = tmp_path / "gradstep"
    shutil.copytree(ROOT / "src" / "gradstep", package, ignore=shutil.ignore_patterns("__pycache__"))
    losses = package / "losses.py"
    before, registry, after = losses.read_text(encoding="utf-8").partition("\nLOSSES: ")
    head, closing, rest = after.partition("\n}\n")
    losses.write_text(f"{before}{code}\n\n{registry}{head}\n{entry.rstrip()}{closing}{rest}", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=240,
            cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_page_that_adds_a_loss_adds_it(run_with_the_loss, tmp_path):
    tried = run_with_the_loss("-W", "error", "-c", TRIED)
    assert tried.split() == ["log_cosh(1)", str(tmp_path / "gradstep" / "__init__.py")]
    # The tests loop over the registry and take it from there.
    tested = run_with_the_loss(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "log_cosh", "tests/test_formulas.py",
        "tests/test_backends.py", "tests/test_start.py",
    )  # fmt: skip
    assert int(re.search(r"(\d+) passed", tested).group(1)) >= 14


@pytest.mark.skipif(find_spec("numpydoc") is None, reason="what builds the documentation is not installed")
def test_the_documentation_takes_the_loss_from_there(run_with_the_loss, tmp_path):
    run_with_the_loss("-c", MADE, str(tmp_path / "pages"))
    page = (tmp_path / "pages" / "losses.md").read_text(encoding="utf-8")
    assert "## log_cosh" in page
    assert "scale**2 * log(cosh((z - y) / scale))" in page
    assert (tmp_path / "pages" / "log_cosh.svg").exists()


def test_the_page_beside_scikit_learn_runs():
    (code,) = blocks("docs/scikit_learn.md", "python")
    _, names = printed(code)
    assert names["fit"].stop.name == "EPOCHS"
    assert np.sum(np.abs(names["fit"].coef) > 1e-3) < 23


def test_every_constructor_has_its_place_in_the_documentation():
    pages = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    for registry in (gs.losses.LOSSES, gs.penalties.PENALTIES, gs.schedules.SCHEDULES):
        shown = [constructor for constructor in registry if hasattr(gs, constructor.__name__)]
        assert len(shown) >= 3
        for constructor in shown:
            assert re.search(rf"^   {constructor.__name__}$", pages, re.MULTILINE)
            assert getattr(gs, constructor.__name__) is constructor


def test_what_was_measured_on_gpus_is_shown_with_machine_date_and_command(tmp_path):
    spec = spec_from_file_location("_gpu", ROOT / "docs" / "_gpu.py")
    page_of = module_from_spec(spec)
    spec.loader.exec_module(page_of)
    page_of.write(tmp_path)
    assert "No GPU has been measured yet" in (tmp_path / "page.md").read_text(encoding="utf-8")
    result = {
        "machine": {"gpu": "A GPU", "cpu": "a CPU", "date": "2026-01-02", "command": "python gpu.py", "seconds": 9,
                    "packages": {"numba-cuda": "0.30.4"}},
        "figures": [{"what": "gradient", "asked": "85%", "measured": "80%", "held": False}],
        "measurements": [{"what": "epoch, seconds", "value": 0.00123456, "batch": 65536}],
    }  # fmt: skip
    (tmp_path / "gpu-a.json").write_text(json.dumps(result), encoding="utf-8")
    page_of.write(tmp_path)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    for text in (
        "### A GPU",
        "2026-01-02",
        "`python gpu.py`",
        "| gradient | 85% | 80% | not held |",
        "0.001235",
        "65,536",
    ):
        assert text in page
