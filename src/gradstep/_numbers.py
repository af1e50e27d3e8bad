"""Numbers that a caller passes: one look at each, and one wording for what is wrong with it."""

import math
import operator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OURS = 0x67726164_73746570  # so that no stream is one that a caller draws a table from


def real(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    such_as: str = "",
) -> float:
    """Return a finite number within bounds, of which `least` and `most` are allowed themselves."""
    needed = _range(least, above, most, below) + such_as
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: {value!r} came, a {type(value).__name__}; a number{needed} is needed.")
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond float64
        found = math.inf
    if not (math.isfinite(found) and least <= found <= most and above < found < below):
        raise ValueError(f"{name}: {value!r} came; a finite number{needed} is needed.")
    return found


def whole(name: str, value: object, least: int) -> int:
    """Return a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {value!r} came; a whole number of at least {least} is needed.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{name}: {value!r} came, a {type(value).__name__}; a whole number of at least {least} is needed."
        ) from None
    if number < least:
        raise ValueError(f"{name}: {value!r} came; a whole number of at least {least} is needed.")
    return number


def stream(purpose: str, seed: int, *numbers: int) -> np.random.Generator:
    """Return random numbers of our own: of another purpose, seed or number they are others, and never a caller's.

    NumPy takes ``default_rng((seed, 0))`` for ``default_rng(seed)``, which may be what a table was drawn from.
    """
    return np.random.default_rng((_OURS, int.from_bytes(purpose.encode()), seed, *numbers, len(numbers)))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, read-only from now on."""
    array.flags.writeable = False
    return array


def _range(least: float, above: float, most: float, below: float) -> str:
    low, high = max(least, above), min(most, below)
    if math.isinf(high):
        return "" if math.isinf(low) else f" of at least {low:g}" if low == least else f" above {low:g}"
    opening, closing = "[" if low == least else "(", "]" if high == most else ")"
    return f" in {opening}{low:g}, {high:g}{closing}"
