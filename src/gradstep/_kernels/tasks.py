"""Counts that threads share while they are in a kernel: who takes which task, and what is done."""

import os
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload


def counted_up(counts, i):
    """Add one to a count and return what it was: no two threads get the same number. In plain Python there is one."""
    before = counts[i]
    counts[i] += 1
    return before


def seen(counts, i):
    """Return a count that others add to; what they wrote before they added to it is seen too."""
    return counts[i]


def given_way():
    """Let another thread have the processor, where the system has a call for that."""
    return 0


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = signature.args[0]
    made = context.make_array(kind)(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, kind, made, [arguments[1]], wraparound=False)


@intrinsic
def _counted_up(context: Any, counts: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _place(context, builder, signature, arguments), one, "acq_rel")

    return types.int64(counts, i), generate


@intrinsic
def _seen(context: Any, counts: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, arguments), "acquire", 8)

    return types.int64(counts, i), generate


@intrinsic
def _given_way(context: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        number = ir.IntType(32)
        if os.name != "posix":
            return number(0)
        form = ir.FunctionType(number, [])
        return builder.call(cgutils.get_or_insert_function(builder.module, form, "sched_yield"), [])

    return types.int32(), generate


@overload(given_way, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _way():
    return lambda: _given_way()  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@overload(counted_up, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _up(counts, i):  # noqa: ARG001
    return lambda counts, i: _counted_up(counts, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@overload(seen, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _read(counts, i):  # noqa: ARG001
    return lambda counts, i: _seen(counts, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not
