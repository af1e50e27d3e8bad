"""Bounds of what is read and written in vectors: it goes by addresses, which Numba does not check."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, config

ADDRESS = ir.IntType(64)


def check(context: Any, builder: Any, kind: Any, made: Any, place: Any, count: Any) -> None:
    """Refuse so many entries that are not all of a contiguous array, where Numba checks bounds: it sees no vector."""
    if not config.BOUNDSCHECK or kind.layout != "C":  # type: ignore[attr-defined] # made of the environment
        return
    first, start = builder.ptrtoint(made.data, ADDRESS), builder.ptrtoint(place, ADDRESS)
    size = ADDRESS(kind.dtype.bitwidth // 8)
    end = builder.add(first, builder.mul(made.nitems, size))
    wrong = builder.or_(
        builder.icmp_unsigned("<", start, first),
        builder.icmp_unsigned(">", builder.add(start, builder.mul(count, size)), end),
    )
    with cgutils.if_unlikely(builder, wrong):
        context.call_conv.return_user_exc(builder, IndexError, ("a vector is out of bounds",))
