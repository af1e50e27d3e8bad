"""Pictures of a fit. matplotlib is imported when a picture is asked for, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradstep._closed_form import ClosedForm
from gradstep._result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_MARKERS = 40  # beyond, a curve of dots hides itself


def learning_curve(fit: Fit, closed_form: ClosedForm | None = None, ax: Axes | None = None) -> Axes:
    """Draw the objective of a fit over its epochs, and the closed form's objective as the floor below it.

    Parameters
    ----------
    fit : Fit
        The fit.
    closed_form : ClosedForm, optional
        The closed form of the same problem; None leaves the floor out.
    ax : matplotlib Axes, optional
        Where to draw; None makes a new figure.

    Returns
    -------
    matplotlib Axes
        The axes drawn on.

    Raises
    ------
    ImportError
        If matplotlib is not installed: the extra ``plot`` brings it.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
    >>> ax = gs.plots.learning_curve(gs.fit(X, y, step=0.03), gs.closed_form(X, y))
    >>> ax.get_xlabel()
    'epoch'
    """
    if ax is None:
        from matplotlib.figure import Figure  # noqa: PLC0415

        ax = Figure(figsize=(6, 4), layout="constrained").add_subplot()
    history = fit.history
    exact = history.exact_objective.size > 0
    marker = "o" if len(history) <= _MOST_MARKERS else ""
    label, unit = ("running objective", "epoch") if fit.certificate is None else ("objective", "round")
    ax.plot(history.epoch, history.objective, label=label, color="tab:blue", marker=marker, markersize=4)
    if exact:
        ax.plot(
            history.epoch, history.exact_objective, label="objective", color="tab:orange", marker=marker, markersize=4
        )
    if closed_form is not None:
        ax.axhline(closed_form.objective, color="0.4", linestyle="--", label="closed form")
    if np.all(history.objective > 0):
        ax.set_yscale("log")
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel(unit)
    ax.set_ylabel("objective")
    ax.legend(frameon=False)
    return ax
