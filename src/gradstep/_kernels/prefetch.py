"""A row on its way into the cache before it is read: rows in random order come one after the other from memory.

No processor foresees which rows come next when they are shuffled, and some not even when short ones stand in order;
while a loss with an `exp` is computed they look less far ahead. Shuffled rows of 100 columns take 0.7 of the time with
it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

LINE = 64  # bytes of a cache line, on x86 and most ARM


def prefetch(X, i):
    """Ask for row `i` of a C-ordered array, which need not exist. In plain Python, as always, it changes nothing."""


def prefetch_line(X, i, j):
    """Ask for the cache line of entry (i, j), which need not exist: what is asked for beyond the end is not fetched."""


@cache
def prefetch_of(count: int) -> Callable[..., None]:
    """Return what asks for so many numbers of a C-ordered array, from row `i` on, which need not exist."""

    def prefetch_some(X, i):
        pass

    @overload(prefetch_some, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
    def of_some(X, i):  # noqa: ARG001
        return lambda X, i: ask_for_some(X, i)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not

    @intrinsic
    def ask_for_some(context: Any, X: Any, i: Any) -> Any:  # noqa: ARG001 - Numba's form
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # One after the other: LLVM leaves a loop over four lines a loop.
            kind, (array, row) = signature.args[0], arguments
            for entry in range(0, count, LINE // (X.dtype.bitwidth // 8)):
                at = row.type(entry)
                _ask(context, builder, kind, array, [builder.add(row, at)] if kind.ndim == 1 else [row, at])
            return context.get_dummy_value()

        return types.void(X, i), generate

    return prefetch_some


@overload(prefetch, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _rows(X, i):  # noqa: ARG001
    entries = LINE // (X.dtype.bitwidth // 8)  # a constant: what could fail would cost each row its checks

    def lines_of_a_row(X, i):
        j = 0
        while j < X.shape[1]:
            _ask_for(X, i, j)  # type: ignore[call-arg]
            j += entries

    return lines_of_a_row


@overload(prefetch_line, jit_options={"forceinline": True, "error_model": "numpy"}, strict=False)
def _line(X, i, j):  # noqa: ARG001
    return lambda X, i, j: _ask_for(X, i, j)  # type: ignore[call-arg] # noqa: PLW0108 - to Numba it is not


@intrinsic
def _ask_for(context: Any, X: Any, i: Any, j: Any) -> Any:  # noqa: ARG001 - Numba's form
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _ask(context, builder, signature.args[0], arguments[0], list(arguments[1:]))
        return context.get_dummy_value()

    return types.void(X, i, j), generate


def _ask(context: Any, builder: Any, kind: Any, X: Any, indices: list[Any]) -> None:
    array = context.make_array(kind)(context, builder, X)
    place = cgutils.get_item_pointer(context, builder, kind, array, indices, wraparound=False)
    ask_for_byte(builder, builder.bitcast(place, ir.IntType(8).as_pointer()))


def ask_for_byte(builder: Any, byte: Any) -> None:
    """Let compiled code ask for the cache line of a byte, by its address."""
    number = ir.IntType(32)
    form = ir.FunctionType(ir.VoidType(), [byte.type, number, number, number])
    fetch = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
    # To be read, as data, and kept near but not nearest: few lines can be on their way to there at once.
    builder.call(fetch, [byte, *(ir.Constant(number, v) for v in (0, 2, 1))])
