"""Probabilities as a caller passes them: exact where all are fractions or whole numbers, else float64."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Number = Fraction | float
"""Exact where every number that it was computed from is."""

Outcome = Hashable

_SUMS_TO_ONE = 1e-6  # how far sums of floats may be from one: decimals that were rounded, and float32, are no error
_BY_ROUNDING = 1e-14  # how far they may be without being brought to one
_ALIKE = 1e-12  # relative, of products of such numbers


def numbers(what: str, values: object) -> NDArray[Any]:
    """Return real numbers as an array: of Fractions where all are rational, else of float64."""
    rows = values if isinstance(values, (list, tuple)) else ()
    if isinstance(values, np.ma.MaskedArray) or any(isinstance(row, np.ma.MaskedArray) for row in rows):
        raise TypeError(f"{what}: a masked array came; an array without masked entries is needed.")
    if isinstance(values, np.ndarray) and values.dtype.kind == "f" and np.isfinite(values).all():
        return np.array(values, dtype=np.float64)
    try:
        array = np.array(values, dtype=object)
    except ValueError as error:
        raise ValueError(f"{what}: no array came ({error}); rows of equal length are needed.") from None
    value: Any
    exact = True
    for where, value in np.ndenumerate(array):
        at = f"[{', '.join(map(str, where))}]" if where else ""
        if isinstance(value, (list, tuple)):
            raise ValueError(f"{what}{at}: {value!r} came; rows of equal length are needed.")  # noqa: TRY004
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            raise TypeError(f"{what}{at}: {value!r} came, a {type(value).__name__}; a number is needed.")
        if isinstance(value, Rational):
            continue
        exact = False
        if not math.isfinite(value):
            raise ValueError(f"{what}{at}: {value!r} came; a finite number is needed.")
    if not exact:
        try:
            return array.astype(np.float64)
        except OverflowError:
            raise ValueError(
                f"{what}: a whole number beyond float64 came beside floats; smaller ones are needed."
            ) from None
    fractions: NDArray[Any] = np.empty(array.shape, dtype=object)
    for where, value in np.ndenumerate(array):
        fractions[where] = Fraction(int(value.numerator), int(value.denominator))
    return fractions


def distribution(what: str, values: object) -> dict[Outcome, Number]:
    """Return the probability of each outcome of a mapping: not negative, of sum 1."""
    if not isinstance(values, Mapping) or not values:
        raise TypeError(f"{what}: {values!r} came; a mapping from outcomes to their probabilities is needed.")
    found: NDArray[Any] = numbers(what, list(values.values()))
    if found.ndim != 1:
        raise TypeError(f"{what}: arrays came for outcomes; a number for each is needed.")
    named: dict[Outcome, Any] = dict(zip(values, found.tolist(), strict=True))
    for outcome, value in named.items():
        if value < 0:
            raise ValueError(f"{what}: {shown(value)} came for {outcome!r}; probabilities are not negative.")
    return dict(zip(values, to_one(what, found).tolist(), strict=True))


def each_once(what: str, outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """Return outcomes, of which none may come twice."""
    try:
        each = tuple(outcomes)
        times = Counter(each)
    except TypeError as error:
        raise TypeError(f"{what}: {outcomes!r} came ({error}); several hashable outcomes are needed.") from None
    if not each:
        raise ValueError(f"{what}: none came; at least one outcome is needed.")
    twice = [outcome for outcome, count in times.items() if count > 1]
    if twice:
        raise ValueError(f"{what}: {twice[0]!r} came twice; each outcome once is needed.")
    return each


def listed(names: Iterable[object], most: int = 8) -> str:
    """Return names as messages give them, the first few of many."""
    each = [name if isinstance(name, str) else repr(name) for name in names]
    return ", ".join(each[:most]) + (", ..." if len(each) > most else "")


def to_one(what: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that sum to one: those that came, or where they were rounded decimals, brought to one."""
    total: Any = added(array.ravel())
    if abs(total - 1) > (0 if isinstance(total, Fraction) else _SUMS_TO_ONE):
        raise ValueError(f"{what}: the probabilities sum to {shown(total)}; a sum of 1 is needed.")
    return array / total if abs(total - 1) > _BY_ROUNDING else array


def added(values: Iterable[Any]) -> Number:
    """Return the sum of numbers: exact of Fractions, of floats rounded once."""
    terms = list(values)
    if all(isinstance(value, Fraction) for value in terms):
        return sum(terms, Fraction(0))
    return math.fsum(terms)


def alike(a: Any, b: Any) -> bool:
    """Whether two probabilities are the same: of Fractions exactly, of floats to rounding."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    return bool(abs(a - b) <= _ALIKE * max(a, b))


def shown(value: Number) -> str:
    """Return a number as messages give it."""
    return str(value) if isinstance(value, Fraction) else f"{value:.10g}"
