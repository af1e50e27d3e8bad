"""The order of rows in one epoch: a function of their number, seed and epoch alone, so that any can be redone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.cpu import blocks_in, shuffle_in
from gradstep._kernels.first_call import interrupts_held
from gradstep._kernels.permute import keys, permute
from gradstep._table.terms import NO_ORDER

_BLOCK = 64  # rows kept together when blocks are shuffled
LISTED = 1 << 17
"""Rows up to which each order is as likely as any other: a list that a cache holds. More are permuted under a key,
wherever they lie."""

# Rows put in order by one call: some 20 ms of work, so that Ctrl-C is served during a long table's shuffling too.
_ROWS_PER_CALL = 1 << 21


def row_order(n: int, seed: int, epoch: int, shuffle: bool | str = True) -> NDArray[np.int64]:
    """Return the order of `n` rows in one epoch."""
    if shuffle is False:
        return NO_ORDER
    if shuffle == "blocks":
        first = row_order(-(-n // _BLOCK), seed, epoch) * _BLOCK
        rows = np.empty(n, dtype=np.int64)
        with _held(blocks_in):
            blocks_in(rows, first, _BLOCK)
        return rows
    order = np.empty(n, dtype=np.int64)
    if n > LISTED:
        key, step = key_of(seed, epoch, shuffle)
        for start in range(0, n, _ROWS_PER_CALL):
            with _held(permute):
                permute(order[start : start + _ROWS_PER_CALL], start, n, key, step)
        return order
    rng = np.random.default_rng((seed, 0 if shuffle == "once" else epoch))
    with _held(shuffle_in):
        shuffle_in(order, 0, rng.random(n))
    return order


def key_of(seed: int, epoch: int, shuffle: bool | str) -> tuple[int, int]:
    """Return the key of an epoch's order."""
    return keys(seed, 0 if shuffle == "once" else epoch)


def _held(kernel: object) -> AbstractContextManager[None]:
    """Hold Ctrl-C back while a kernel is compiled; with the JIT off there is nothing to compile."""
    return nullcontext() if getattr(kernel, "overloads", True) else interrupts_held()
