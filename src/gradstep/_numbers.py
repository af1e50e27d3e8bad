"""Numbers that a caller passes: one look at each, and one wording for what is wrong with it."""

import math
from numbers import Real


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


def _range(least: float, above: float, most: float, below: float) -> str:
    low, high = max(least, above), min(most, below)
    if math.isinf(high):
        return "" if math.isinf(low) else f" of at least {low:g}" if low == least else f" above {low:g}"
    opening, closing = "[" if low == least else "(", "]" if high == most else ")"
    return f" in {opening}{low:g}, {high:g}{closing}"
