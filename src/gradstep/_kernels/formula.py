"""How a formula is marked so that every backend calls the same object.

A formula is a plain scalar Python function. Marking it leaves it a plain Python function and tells Numba that
compiled code may call it too; `@njit` and `@cuda.jit` kernels then compile the very function that tests and
documentation call. Four rules keep a formula usable everywhere:

* scalars and the tuple of parameters in, one scalar out;
* no explicit signature (one would forbid CUDA);
* a literal float turns a float32 expression into a double one on the GPU: write `type(z)(0.5)` or divide by an
  integer held in the data's type;
* it is compiled without fast-math, so that what is written is what is computed, `isnan` and compensation included.
"""

from collections.abc import Callable
from typing import TypeVar

from numba.extending import register_jitable

F = TypeVar("F", bound=Callable[..., object])

_MARK = "__gradstep_formula__"


def formula(function: F) -> F:
    """Mark a scalar function as a formula that plain Python, CPU kernels and CUDA kernels can call.

    Parameters
    ----------
    function : callable
        A scalar function such as ``value(z, y, p)``; ``p`` is the tuple of the formula's parameters.

    Returns
    -------
    callable
        The same function. Marking twice is harmless.

    Examples
    --------
    >>> import gradstep as gs
    >>> @gs.formula
    ... def cube(z, y, p):
    ...     return (z - y) * (z - y) * (z - y)
    >>> cube(3.0, 1.0, ())
    8.0
    """
    if not getattr(function, _MARK, False):
        # Neither an @njit dispatcher (kernels that close over one never hit Numba's disk cache) nor a copy per
        # backend: `register_jitable` hands this object itself to whichever target asks.
        register_jitable(fastmath=False)(function)
        setattr(function, _MARK, True)
    return function


def is_formula(function: object) -> bool:
    """Whether a function is marked."""
    return callable(function) and getattr(function, _MARK, False) is True
