"""A table as the laws of this folder take it: rows in float64 that end in a one, and one response."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input


def one_response(X: ArrayLike, y: ArrayLike, *, intercept: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows (n, p), with a one at the end of each where there is an intercept, and their responses (n,)."""
    rows = _input.rows(X, y)
    if rows.y.ndim != 1:
        raise ValueError(f"y: shape {rows.y.shape} came; one response, (n,), is needed.")
    return with_ones(rows.X, intercept=intercept), rows.y.astype(np.float64)


def with_ones(X: NDArray[np.floating], *, intercept: bool) -> NDArray[np.float64]:
    """Return rows in float64, a copy, with a one at the end of each where there is an intercept."""
    rows: NDArray[np.float64] = X.astype(np.float64)
    return np.column_stack((rows, np.ones(len(rows)))) if _input.flag("intercept", intercept) else rows
