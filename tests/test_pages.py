"""What the README and the front page show is what happens."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

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
        assert NUMBER.sub("#", said) == NUMBER.sub("#", got)
        if not said.strip().startswith("seconds"):
            np.testing.assert_allclose(
                [float(x) for x in NUMBER.findall(got)], [float(x) for x in NUMBER.findall(said)], rtol=0.05
            )


def test_the_readme_runs_and_its_training_by_hand_is_the_fit():
    first, by_hand, own = blocks("README.md", "python")
    text, names = printed(first)
    assert "gradstep fit: squared loss, 53940 rows x 23 columns" in text
    assert names["fit"].check.distance < 30
    _, names = printed(by_hand + "\nimport gradstep as gs\nfit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3)\n")
    np.testing.assert_array_equal(names["w"], names["fit"].coef)
    assert names["b"] == names["fit"].intercept
    text, names = printed(f"{by_hand}\nimport gradstep as gs\n{own}")
    assert "The derivatives agree" in text
    np.testing.assert_allclose(names["fit"].coef, [2.0, -3.4], atol=0.01)
