"""Sums of products on the GPU, as good as the CPU's, in the data's own type.

A GPU for games takes 64 times as long for a double as for a float. So where rows are float32, no double is touched for
an entry of them: a number is carried as an unevaluated sum of parts of the data's type, each what rounding took from
those before it, and only what comes once a row or once a column is put together in float64. Three kinds of sums share
the kernels:

========  ========================  ==========================  ==================================================
name      float64 rows              float32 rows                for
========  ========================  ==========================  ==================================================
`ROUGH`   float64                   float32                     leverages; steps beside an anchor, of which the next
                                                                evidence tells what they are worth
`PLAIN`   float64                   two floats, some 48 bits    gradients and steps of the textbook method, sketches
`WIDE`    two doubles, 106 bits     three floats, some 70 bits  the evidence for a certificate
========  ========================  ==========================  ==================================================

T. J. Dekker, A floating-point technique for extending the available precision, *Numerische Mathematik* 18 (1971)
224-242; T. Ogita, S. M. Rump and S. Oishi, Accurate sum and dot product, *SIAM Journal on Scientific Computing* 26
(2005) 1955-1988; Y. Hida, X. S. Li and D. H. Bailey, Algorithms for quad-double precision floating point arithmetic,
*ARITH-15* 2001, for three parts.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from gradstep._kernels.formula import compilable
from gradstep._kernels.wide import multiply_add, product_error

ROUGH, PLAIN, WIDE = "rough", "plain", "wide"


def times(a, b):
    """Return a product that no later sum is fused with: what rounding took from it is to be found."""
    return a * b


@overload(times, strict=False)
def _fused_with_zero(a, b):  # noqa: ARG001
    zero = np.float32(0) if a is types.float32 else np.float64(0)

    def by_fused_multiply_add(a, b):
        return multiply_add(a, b, zero)  # type: ignore[call-arg]

    return by_fused_multiply_add


def fused(a, b, c):
    """Return ``a b + c`` of floats, rounded once, or in plain Python nearly so."""
    return type(c)(np.float64(a) * np.float64(b) + np.float64(c))


@overload(fused, strict=False)
def _fused(a, b, c):  # noqa: ARG001
    def by_fused_multiply_add(a, b, c):
        return multiply_add(a, b, c)  # type: ignore[call-arg]

    return by_fused_multiply_add


def two_sum(a, b):
    """Return the sum of two numbers and what rounding took from it."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _add_one_part(acc, x, f):
    return (acc[0] + x * f[0],)


def _add_two_parts(acc, x, f):
    product = times(x, f[0])
    total, rest = two_sum(acc[0], product)
    return total, acc[1] + (rest + (product_error(x, f[0], product) + x * f[1]))


def _add_three_parts(acc, x, f):
    first, second = times(x, f[0]), times(x, f[1])
    total, rest = two_sum(acc[0], first)
    middle, a = two_sum(acc[1], rest)
    middle, b = two_sum(middle, product_error(x, f[0], first))
    middle, c = two_sum(middle, second)
    return total, middle, acc[2] + ((a + b) + (c + (product_error(x, f[1], second) + x * f[2])))


# Beside four times their bound terms are small, and so is what rounding takes from a sum of them: one difference finds
# what the sum has moved by, exactly, and one fused multiplication the rest of the product.


def _opened_two(acc, bound):
    twice = bound + bound
    return twice + twice, acc[1]


def _within_two(work, x, f):
    total = fused(x, f[0], work[0])
    return total, x * f[1] + (work[1] + fused(x, f[0], work[0] - total))


def _closed_two(acc, work, bound):
    twice = bound + bound
    total, rest = two_sum(acc[0], work[0] - (twice + twice))
    return total, work[1] + rest


def _opened(acc, bound):  # noqa: ARG001 - sums of other kinds are as cheap as they are
    return acc


def _closed(acc, work, bound):  # noqa: ARG001
    return work


def _joined_one(acc):
    return np.float64(acc[0]), 0.0


def _joined_two(acc):
    return finite_sum(np.float64(acc[0]), np.float64(acc[1]))


def _joined_three(acc):
    total, rest = finite_sum(np.float64(acc[0]), np.float64(acc[1]))
    return finite_sum(total, rest + np.float64(acc[2]))


def _loosely_two(acc):
    total = np.float64(acc[0])
    return total + np.float64(acc[1]) if abs(acc[0]) < _INFINITE else total, 0.0


def _loosely_two_doubles(acc):
    return acc[0], acc[1]


def _loosely_three(acc):
    total, rest = two_sum(np.float64(acc[0]), np.float64(acc[1]))
    return total, rest + np.float64(acc[2])


def finite_sum(a, b):
    """Return `two_sum`; or the first number alone where it is infinite, since of that the rest is no number."""
    total, rest = two_sum(a, b)
    return (total, rest) if abs(total) < _INFINITE else (a, 0.0)


_INFINITE = float("inf")


for _function in (
    two_sum,
    finite_sum,
    _add_one_part,
    _add_two_parts,
    _add_three_parts,
    _opened_two,
    _within_two,
    _closed_two,
    _opened,
    _closed,
    _joined_one,
    _joined_two,
    _joined_three,
    _loosely_two,
    _loosely_two_doubles,
    _loosely_three,
):
    compilable(_function, fastmath=False)


class Sums(NamedTuple):
    """One kind of sums of products, as functions that kernels call."""

    parts: int
    dtype: type[np.floating]
    zero: Callable[..., Any]
    """``zero()``: a sum of nothing."""
    alone: Callable[..., Any]
    """``alone(x)``: an entry as a number in parts."""
    load: Callable[..., Any]
    """``load(A, i, j)``: the number whose parts are ``A[:, i, j]``."""
    split: Callable[..., Any]
    """``split(A, i, j, high, low)``: put there what is the sum of two doubles."""
    store: Callable[..., Any]
    """``store(A, i, j, acc)``: put the parts of a number there."""
    number: Callable[..., Any]
    """``number(high, low)``: the sum of two doubles as a number in parts."""
    add: Callable[..., Any]
    """``add(acc, x, f)``: a sum with ``x f`` in it, x an entry of the data and f a number in parts."""
    opened: Callable[..., Any]
    """``opened(acc, bound)``: what terms are added to, by ``within``, whose sizes come to at most `bound`."""
    within: Callable[..., Any]
    """``within(work, x, f)``: what is open with ``x f`` in it, with half of the operations of ``add``."""
    closed: Callable[..., Any]
    """``closed(acc, work, bound)``: the sum that was opened, with those terms in it."""
    joined: Callable[..., Any]
    """``joined(acc)``: a sum as the sum of two doubles."""
    loosely: Callable[..., Any]
    """``loosely(acc)``: the same where the two parts may overlap."""

    @property
    def bounded(self) -> bool:
        """Whether `within` relies on the bound."""
        return self.within is not self.add

    def freely(self) -> "Sums":
        """Return the sums with nothing asked of the terms."""
        return self._replace(opened=_opened, within=self.add, closed=_closed)

    def parts_of(self, numbers: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return the parts of numbers on the host, a leading axis for them."""
        out = np.empty((self.parts, *numbers.shape), dtype=self.dtype)
        rest = numbers
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for floats is so on the device
            for part in out:
                part[...] = rest
                rest = rest - part
        return out


@lru_cache
def sums(kind: str, single: bool) -> Sums:
    """Return sums of a kind for float32 rows or for float64 ones."""
    number = np.float32 if single else np.float64
    parts = {ROUGH: 1, PLAIN: 1 + single, WIDE: 2 + single}[kind]
    zero, alone, load, split, store, of_doubles = (_of_one, _of_two, _of_three)[parts - 1](number)
    add = (_add_one_part, _add_two_parts, _add_three_parts)[parts - 1]
    joined = (_joined_one, _joined_two, _joined_three)[parts - 1]
    open_ones = (_opened_two, _within_two, _closed_two) if (single, parts) == (True, 2) else (_opened, add, _closed)
    loosely = (_joined_one, _loosely_two if single else _loosely_two_doubles, _loosely_three)[parts - 1]
    for function in (zero, alone, load, split, store, of_doubles):
        compilable(function, fastmath=False)
    return Sums(parts, number, zero, alone, load, split, store, of_doubles, add, *open_ones, joined, loosely)


def _of_one(number: Any) -> Any:
    def zero():
        return (number(0),)

    def alone(x):
        return (x,)

    def load(A, i, j):
        return (A[0, i, j],)

    def store(A, i, j, acc):
        A[0, i, j] = acc[0]

    def of_doubles(high, low):  # noqa: ARG001 - in one part there is no room for it
        return (number(high),)

    def split(A, i, j, high, low):  # noqa: ARG001
        A[0, i, j] = number(high)

    return zero, alone, load, split, store, of_doubles


def _of_two(number: Any) -> Any:
    def zero():
        return number(0), number(0)

    def alone(x):
        return x, number(0)

    def load(A, i, j):
        return A[0, i, j], A[1, i, j]

    def store(A, i, j, acc):
        A[0, i, j] = acc[0]
        A[1, i, j] = acc[1]

    def of_doubles(high, low):
        first = number(high)
        return first, number((high - np.float64(first)) + low)

    def split(A, i, j, high, low):
        store(A, i, j, of_doubles(high, low))

    return zero, alone, load, split, store, of_doubles


def _of_three(number: Any) -> Any:
    def zero():
        return number(0), number(0), number(0)

    def alone(x):
        return x, number(0), number(0)

    def load(A, i, j):
        return A[0, i, j], A[1, i, j], A[2, i, j]

    def store(A, i, j, acc):
        A[0, i, j] = acc[0]
        A[1, i, j] = acc[1]
        A[2, i, j] = acc[2]

    def of_doubles(high, low):
        first = number(high)
        rest = (high - np.float64(first)) + low
        second = number(rest)
        return first, second, number(rest - np.float64(second))

    def split(A, i, j, high, low):
        store(A, i, j, of_doubles(high, low))

    return zero, alone, load, split, store, of_doubles
