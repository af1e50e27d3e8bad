"""Every page of the course runs, without a warning, and its exercises have the right answers."""

import re
import runpy
from pathlib import Path

import pytest

import lesson_answers
from conftest import SIMULATED, needs_jit

LESSONS = sorted((Path(__file__).parents[1] / "docs" / "lessons").glob("[0-9]_*.py"))

pytestmark = [needs_jit, pytest.mark.skipif(SIMULATED, reason="run in the other legs")]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson(path, monkeypatch, capsys):
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    monkeypatch.chdir(path.parent)
    with mpl.rc_context():
        mpl.use("agg")
        names = runpy.run_path(str(path))
        assert plt.get_fignums()
        plt.close("all")
    assert "Traceback" not in capsys.readouterr().out
    number = path.stem[0]
    getattr(lesson_answers, f"answers_{number}")(names)

    # As many exercises as answers, each of them looked at.
    text = path.read_text(encoding="utf-8")
    posed = re.findall(r"^# (\d)\. ", text.partition("# Exercises\n")[2].partition("# Answers\n")[0], re.MULTILINE)
    answered = re.findall(r"^# \*\*Exercise (\d)\.\*\*", text, re.MULTILINE)
    computed = sorted(name.removeprefix("answer_") for name in names if name.startswith("answer_"))
    looked_at = Path(lesson_answers.__file__).read_text(encoding="utf-8")
    looked_at = looked_at.partition(f"def answers_{number}(")[2].partition("\ndef answers_")[0]
    assert len(posed) >= 4
    assert posed == answered == computed == sorted(set(re.findall(r'"answer_(\d)"', looked_at)))


def test_the_course_is_six_pages():
    assert [path.stem[:2] for path in LESSONS] == [f"{i}_" for i in range(1, 7)]
