"""Arrays without a count of references, for the functions that a kernel is made of.

Numba counts references to arrays about each call of a function, and takes the counts off again where it sees through
the function: of loops within branches it does not, and each count costs as much as a row of ten columns. A kernel's
caller holds what it passes for as long as the call lasts; what a kernel makes for itself it has to hold by `keep`.
"""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload


def borrowed(a):
    """Return an array as it is, to be used while another variable holds it."""
    return a


def keep(a):
    """Hold an array up to here."""


@intrinsic
def _borrowed(context: Any, a: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()  # noqa: SLF001 - Numba's form

    return a(a), generate


@intrinsic
def _keep(context: Any, a: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return context.get_dummy_value()

    return types.void(a), generate


@overload(borrowed, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _of(a):  # noqa: ARG001
    return lambda a: _borrowed(a)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@overload(keep, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _up_to_here(a):  # noqa: ARG001
    return lambda a: _keep(a)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not
