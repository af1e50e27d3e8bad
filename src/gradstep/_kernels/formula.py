"""How a formula is marked so that every backend calls the same object.

A formula is a plain scalar Python function. Marking it leaves it a plain Python function and tells Numba that
compiled code may call it too; `@njit` and `@cuda.jit` kernels then compile the very function that tests and
documentation call. Five rules keep a formula usable everywhere:

* scalars and the tuple of parameters in, one scalar out;
* no explicit signature (one would forbid CUDA);
* a literal float turns a float32 expression into a double one on the GPU: write `type(z)(0.5)` or divide by an
  integer held in the data's type;
* functions of `math`, not of NumPy, their result put back into the data's type: `type(z)(math.exp(z))`;
* it is compiled without fast-math, so that what is written is what is computed, `isnan` and compensation included.
"""

import inspect
import itertools
import os
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache
from numbers import Real
from types import FunctionType
from typing import Any, ClassVar, TypeVar

from numba.extending import overload

from gradstep import _numbers

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

Formula = Callable[..., float]

Registry = Mapping[Callable[..., T], tuple[tuple[float, ...], ...]]
"""Constructors, each with the arguments that tests, documentation and benchmarks try it with."""

_MARK = "__gradstep_formula__"
_PROCESS = secrets.token_hex(6)
_numbered = itertools.count()


def formula(function: F) -> F:
    """Mark a scalar function as a formula that plain Python, CPU kernels and CUDA kernels can call.

    Parameters
    ----------
    function : callable
        A scalar function such as ``value(z, y, p)``; ``p`` is the tuple of the formula's parameters. It may call other
        marked functions and the functions of `math`.

    Returns
    -------
    callable
        The same function. Marking twice is harmless.

    Raises
    ------
    TypeError
        If it is not a plain Python function, such as one that ``numba.njit`` returned.

    Examples
    --------
    >>> import gradstep as gs
    >>> @gs.formula
    ... def cube(z, y, p):
    ...     return (z - y) * (z - y) * (z - y)
    >>> cube(3.0, 1.0, ())
    8.0
    """
    if not isinstance(function, FunctionType):
        hint = ": pass the function itself, not what numba.njit made of it" if hasattr(function, "py_func") else ""
        raise TypeError(f"formula: {function!r} came; a plain Python function is needed{hint}.")
    if not is_formula(function):
        compilable(function, fastmath=False)
        setattr(function, _MARK, True)
    return function


def is_formula(function: object) -> bool:
    """Whether a function is marked."""
    return callable(function) and getattr(function, _MARK, False) is True


def compilable(function: F, **options: Any) -> F:
    """Tell Numba that compiled code may call a function, and compile it with these options; return it as it is.

    Neither an `@njit` dispatcher (kernels that close over one never hit a disk cache) nor a copy per backend: whichever
    target asks is handed the same code.
    """
    twin = named_apart(function)

    @overload(function, jit_options=options, strict=False)  # type: ignore[arg-type]
    def handed_over(*_):  # type: ignore[no-untyped-def]
        return twin

    return function


def named_apart(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function under a name that no other function of any process has.

    Machine code of several processes meets in one when it comes from the disk cache, and there functions of the same
    name are taken for one another: Numba tells them apart by a number that each process counts from 1.
    """
    assert isinstance(function, FunctionType)  # noqa: S101 - narrows the type
    twin = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    twin.__qualname__ = f"{function.__qualname__}_{_PROCESS}_{os.getpid()}_{next(_numbered)}"
    twin.__module__ = function.__module__
    return twin


def examples(registry: Registry[T]) -> list[T]:
    """Return one object for each constructor of a registry and each of its tried arguments."""
    return [constructor(*arguments) for constructor, tried in registry.items() for arguments in tried]


class Formulas:
    """What losses, penalties and schedules have in common: a name, marked formulas and their parameters."""

    name: str
    params: tuple[float, ...]
    ROLES: ClassVar[Mapping[str, tuple[tuple[str, float], ...]]] = {}
    """The formulas of the group, each with the scalars that it takes and where it is tried."""

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{p:g}' if float(f'{p:g}') == p else repr(p) for p in self.params)})"

    def __post_init__(self) -> None:
        """Refuse what cannot be a group of formulas."""
        kind = type(self).__name__
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"{kind}: name: {self.name!r} came; a name, as a text, is needed.")
        try:
            params = tuple(self.params)
        except TypeError:
            raise TypeError(
                f"{kind} {self.name}: params: {self.params!r} came; a tuple of numbers is needed."
            ) from None
        named = (_numbers.real(f"{kind} {self.name}: params[{i}]", p) for i, p in enumerate(params))
        object.__setattr__(self, "params", tuple(named))
        for role, scalars in self.ROLES.items():
            _look_at_formula(f"{kind} {self.name}: {role}", getattr(self, role), scalars, self.params)


@lru_cache(maxsize=512)  # losses are made anew in every fit, of the same functions
def _look_at_formula(
    what: str, function: object, scalars: tuple[tuple[str, float], ...], params: tuple[float, ...]
) -> None:
    if not isinstance(function, FunctionType) or not is_formula(function):
        raise TypeError(f"{what}: {function!r} came; a function marked with @gs.formula is needed.")
    expected = f"({', '.join(name for name, _ in scalars)}, p)"
    given = inspect.signature(function)
    kinds = {parameter.kind for parameter in given.parameters.values()}
    if len(given.parameters) != len(scalars) + 1 or kinds != {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        raise TypeError(f"{what}: {function.__name__}{given} came; a function of {expected} is needed.")
    values = tuple(value for _, value in scalars)
    call = f"{function.__name__}({', '.join(map(repr, (*values, params)))})"
    try:
        answer = function(*values, params)
    except (ArithmeticError, ValueError):  # a domain that this point is not in
        return
    except Exception as error:
        raise TypeError(f"{what}: {call} ended in {type(error).__name__}: {error}.") from error
    if isinstance(answer, bool) or not isinstance(answer, Real):
        shape = getattr(answer, "shape", None)
        came = f"an array of shape {shape}" if isinstance(shape, tuple) else f"{answer!r}"
        raise TypeError(f"{what}: {call} returned {came}; one number is needed.")
