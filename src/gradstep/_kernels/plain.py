"""Kernels that few cells are computed by as they stand in Python: compiling them would take seconds.

What compiles here is without fast-math: additions and products in the order in which they are written. So plain Python
computes the same bits (products below 1e-290 or so excepted, whose rounding errors float64 cannot hold), and nobody can
tell which of the two it was. Once enough has been computed to repay it, kernels are loaded from disk or compiled; those
that may reorder their sums are in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradstep._kernels import rows, wide
from gradstep._kernels.cache import holds
from gradstep._kernels.first_call import interrupts_held

_MOST = 1 << 15  # cells of a table: a tenth of a second
# Of all calls of a process: a quarter of a second, where loading takes more; half a one, where compiling takes three.
_WORTH_LOADING, _ENOUGH = 1 << 17, 1 << 18

_computed = 0


def enough() -> None:
    """Compile from now on whatever comes."""
    global _computed  # noqa: PLW0603 - one count a process
    _computed = _ENOUGH


class PlainAtFirst:
    """A kernel, run as plain Python while that is quicker than compiling it."""

    def __init__(self, kernel: Any, cells: Callable[..., int]) -> None:
        self.kernel, self._cells = kernel, cells
        self._compiles = hasattr(kernel, "overloads")  # not with the JIT off
        self._ready: set[Any] = set()  # types of data that it was compiled for
        self._absent: set[Any] = set()  # those that it is not on disk for

    def __call__(self, *arguments: Any) -> None:
        """Run it."""
        kind = arguments[0].dtype
        if kind in self._ready or not self._compiles:
            self.kernel(*arguments)
        elif not (self._is_small(kind, arguments) and self._in_python(arguments)):
            with interrupts_held():
                self.kernel(*arguments)
            self._ready.add(kind)

    def _is_small(self, kind: Any, arguments: tuple[Any, ...]) -> bool:
        """Whether so few cells, and so few so far, are worth neither compiling nor loading."""
        global _computed  # noqa: PLW0603
        cells = self._cells(*arguments)
        so_far = _computed + cells
        few = so_far <= _WORTH_LOADING or (so_far <= _ENOUGH and self._is_absent(kind, arguments))
        if cells > _MOST or not few:
            return False
        _computed = so_far
        return True

    def _is_absent(self, kind: Any, arguments: tuple[Any, ...]) -> bool:
        """Whether no earlier process compiled it."""
        if kind not in self._absent and not holds(self.kernel, arguments):
            self._absent.add(kind)
        return kind in self._absent

    def _in_python(self, arguments: tuple[Any, ...]) -> bool:
        """Run it as it stands, and say whether it came to an end: where compiled code goes on, Python may raise."""
        try:
            with np.errstate(all="ignore"):
                self.kernel.py_func(*arguments)
        except (ArithmeticError, ValueError):
            return False
        return True


# Of a large table even a sample is worth compiling for: what else it takes is compiled anyway.
statistics = PlainAtFirst(rows.statistics, lambda A, *_: A.size)
fill = PlainAtFirst(rows.fill, lambda X, *_: X.size)
wide_gradient = PlainAtFirst(wide.wide_gradient, lambda X, y, *_: X.size * y.shape[1])
about_means = PlainAtFirst(wide.about_means, lambda high, *_: high.size)
wide_scores = PlainAtFirst(wide.wide_scores, lambda X, coef, *_: len(X) * coef.size)
