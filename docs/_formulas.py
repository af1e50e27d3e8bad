"""The pages of the formulas, made from the registries when the documentation is built."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpydoc.docscrape import NumpyDocString

import gradstep as gs
from gradstep.losses import DOMAINS, LOSSES
from gradstep.penalties import PENALTIES
from gradstep.schedules import SCHEDULES

INK, SECOND, THIRD, RULE = "#1b4f72", "#b9770e", "#7d3c98", "#c8c8c8"


def write(folder: Path) -> None:
    """Write a page for each registry, with a picture for each of its constructors."""
    folder.mkdir(exist_ok=True)
    for title, lead, registry, draw in (
        ("Losses", LEAD_OF_LOSSES, LOSSES, draw_loss),
        ("Penalties", LEAD_OF_PENALTIES, PENALTIES, draw_penalty),
        ("Schedules", LEAD_OF_SCHEDULES, SCHEDULES, draw_schedule),
    ):
        parts = [f"# {title}\n\n{lead}"]
        for constructor, tried in registry.items():
            shown = [constructor(*arguments) for arguments in tried]
            figure = Figure(figsize=(7.2, 2.5), layout="constrained")
            draw(figure, shown)
            figure.savefig(folder / f"{constructor.__name__}.svg", metadata={"Date": None})
            parts.append(section(constructor, shown))
        (folder / f"{title.lower()}.md").write_text("\n".join(parts), encoding="utf-8")
    (folder / "index.md").write_text(INDEX, encoding="utf-8")


def section(constructor, shown) -> str:
    """Return what a constructor's docstring says, and its picture."""
    doc = NumpyDocString(inspect.getdoc(constructor))
    name = constructor.__name__
    formula = re.search(r"``(.*?)``", " ".join(doc["Summary"] + doc["Extended Summary"])).group(1)
    lines = [
        f"## {name}\n",
        f"```text\n{formula}\n```\n",
        f"{text(doc['Summary'])}\n",
        f"{text(doc['Extended Summary'])}\n",
    ]
    if hasattr(shown[0], "domain"):
        units = text([line for returned in doc["Returns"] for line in returned.desc]).partition("; ")[2]
        lines.append(f"**Responses:** {DOMAINS[shown[0].domain].words}; {units or 'see its docstring.'}\n")
    if doc["Parameters"]:
        lines.append("| parameter | |\n|---|---|")
        lines += [f"| `{p.name}`, {p.type} | {cell(p.desc)} |" for p in doc["Parameters"]]
        lines.append("")
    picture = f"{name} for {', '.join(map(repr, shown))}"
    lines.append(f"```{{image}} {name}.svg\n:alt: {picture}\n```\n")
    if doc["References"]:
        lines.append(f"*Source:* {text(doc['References'])}\n")
    if hasattr(gs, name):
        lines.append(f"*With an example:* {{py:obj}}`gradstep.{name}`.\n")
    return "\n".join(lines)


def text(lines) -> str:
    """Return lines of a docstring as one of MyST."""
    joined = " ".join(line.strip() for line in lines if line.strip())
    joined = re.sub(r"(?<!`)`(?!`)([\w.]+)`(?!`)", r"{py:obj}`\1 <gradstep.\1>`", joined)
    joined = joined.replace("<gradstep.gradstep.", "<gradstep.")
    return joined.replace("``", "`")


def cell(lines) -> str:
    """Return lines of a docstring as a cell of a table."""
    return text(lines).replace("|", r"\|")


def axes(figure, number, titles):
    """Return axes beside each other, with little around them."""
    made = figure.subplots(1, number, squeeze=False)[0]
    for ax, title in zip(made, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.tick_params(labelsize=8, color=RULE)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_color(RULE)
    return made


def legend(ax, shown):
    """Say which line is which, where there are several."""
    if len(shown) > 1:
        ax.legend([repr(one) for one in shown], fontsize=7, frameon=False)


def draw_loss(figure, shown):
    """Draw value, slope and curvature over the score, for a response of 1."""
    drawn = [loss for loss in shown if max(loss.params, default=0.0) < 100]
    z = np.linspace(-3, 3, 601)
    roles = ("value", "slope", "curvature")
    for ax, role in zip(axes(figure, 3, [f"{role}, y = 1" for role in roles]), roles, strict=True):
        for loss, color in zip(drawn, (INK, SECOND, THIRD), strict=False):
            numbers = np.array([getattr(loss, role)(float(s), 1.0, loss.params) for s in z])
            numbers[np.abs(np.diff(numbers, append=numbers[-1])) > 0.2] = np.nan  # a jump is no line
            ax.plot(z, numbers, color=color, linewidth=1.5)
        ax.set_xlabel("score z", fontsize=8)
        ax.margins(y=0.08)
    legend(figure.axes[0], drawn)


def draw_penalty(figure, shown):
    """Draw the penalty of a coefficient and its proximal step of 1."""
    drawn = shown[:3] if len(shown) < 4 else [shown[i] for i in (0, 1, 2)]
    w = np.linspace(-3, 3, 601)
    value, prox = axes(figure, 2, ["value", "proximal step, t = 1"])
    for penalty, color in zip(drawn, (INK, SECOND, THIRD), strict=False):
        value.plot(w, [penalty.value(float(c), penalty.params) for c in w], color=color, linewidth=1.5)
        prox.plot(w, [penalty.prox(float(c), 1.0, penalty.params) for c in w], color=color, linewidth=1.5)
    prox.plot(w, w, color=RULE, linewidth=1, zorder=0)
    for ax in (value, prox):
        ax.set_xlabel("coefficient w", fontsize=8)
    legend(value, drawn)


def draw_schedule(figure, shown):
    """Draw the step size over the steps."""
    t = np.arange(0, 1000)
    (ax,) = axes(figure, 1, ["step size"])
    for schedule, color in zip(shown, (INK, SECOND, THIRD), strict=False):
        ax.plot(t, [schedule.rate(float(s), schedule.params) for s in t], color=color, linewidth=1.5)
    ax.set_xlabel("steps taken t", fontsize=8)
    ax.set_ylim(0, 0.11)
    legend(ax, shown)


INDEX = """\
# Formulas

Everything that is particular to a loss, a penalty or a schedule is a few scalar functions, declared once. Plain Python,
the CPU kernels, the CUDA kernels, the tests, the benchmarks and these pages all take them from there.

```{toctree}
:maxdepth: 2

losses
penalties
schedules
../add_a_loss
../scikit_learn
```
"""
LEAD_OF_LOSSES = """\
What one score `z = x w + b` costs, beside a response `y`. The objective is their weighted mean over the rows, plus the
penalty. At a kink the slope is 0, which lies between the slopes of its two sides, and the curvature is 0.

This page is made from the registry `gradstep.losses.LOSSES`, as the tests and the benchmarks are;
{doc}`../add_a_loss` shows how one more gets in, and {py:obj}`gradstep.Loss` makes one of your own.
{doc}`../scikit_learn` says which estimators there solve the same problems.
"""
LEAD_OF_PENALTIES = """\
What large coefficients cost: a sum over the coefficients in the caller's units, the intercept left out. Each acts by
its proximal step, the minimiser in `v` of `t * value(v) + (v - w)**2 / 2`, exact for any step size `t`.

This page is made from the registry `gradstep.penalties.PENALTIES`. {doc}`../scikit_learn` converts the constants of
scikit-learn's estimators, and {py:obj}`gradstep.Penalty` makes one of your own.
"""
LEAD_OF_SCHEDULES = """\
The size of a step after `t` steps, for `gs.fit(X, y, step=...)`. Steps are counted from 0, over all epochs: an epoch of
n rows in batches of b has `ceil(n / b)`. A size that is not a finite number above 0 ends the fit with a
{py:obj}`ValueError` that names the step; the first and the last step of a fit are looked at before any work.

This page is made from the registry `gradstep.schedules.SCHEDULES`, and {py:obj}`gradstep.Schedule` makes one of your
own.
"""
