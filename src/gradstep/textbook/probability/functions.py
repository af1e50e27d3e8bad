"""Functions of variables, as a caller passes them: of which variables they are, and their values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep.textbook.probability.rational import numbers


def parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the variables that a function is of."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:  # a built-in one
        found = {}.values()
    named = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    if not named:
        raise TypeError(
            f"of: {function!r} came, a function without parameters that are names of variables; one with them is "
            "needed, such as lambda x, y: x * y."
        )
    return named


def values_of(of: str | Callable[..., Any], found: list[Any]) -> NDArray[Any]:
    """Return the values found of a variable or a function, a number for each combination."""
    what = f"the values of {of}" if isinstance(of, str) else "the values of the function"
    # What is true counts as 1, so that the expectation of a condition is its probability.
    values = numbers(what, [int(v) if isinstance(v, (bool, np.bool_)) else v for v in found])
    if values.ndim != 1:
        raise TypeError(f"{what}: several numbers came for one; a number for each outcome is needed.")
    return values
