"""The squared loss's curvature along a direction, summed over rows; and a lane: an epoch of minibatch steps with it.

Columns are ``x * scale - centre``: of rows far from zero formed in register, so that they keep the digits of what tells
them apart, of others by what the weights and sums of ``x`` come to. One output has kernels of its own: its sums run
over the columns of a row, which vectorises them, those of several are in `gradstep._kernels.outputs`.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numba import uint64

from gradstep._kernels.borrowed import borrowed, keep
from gradstep._kernels.cache import kernel
from gradstep._kernels.cpu import SUMS
from gradstep._kernels.formula import compilable
from gradstep._kernels.four_rows import over_rows, room_of, rows_ahead
from gradstep._kernels.shared_lane import shared_kernel, some_coordinates, some_weights
from gradstep._kernels.simd import WIDTH, aligned, all_of, eight
from gradstep._kernels.sweep import Middle

_sums = partial(compilable, fastmath=SUMS, forceinline=True, error_model="numpy")
_inlined = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


class _Parts(NamedTuple):
    """What kernels of one output are made of: into the terms of the rows, sums over some, over chunks, and back."""

    into_rows: Callable[..., float]
    add_rows: Callable[..., Any]
    add_chunks: Callable[..., float]
    from_rows: Callable[..., None]


@lru_cache(maxsize=64)
def _parts(centred: bool, add_rows: Callable[..., Any]) -> _Parts:
    """Return them for columns as they stand, or centred in register."""

    @_inlined
    def into_rows(scale, minus, p, level):
        """Make p the weights of rows as they are read, in place, and return their level."""
        if not centred:
            for j in range(p.size):
                level += minus[j] * p[j]
                p[j] *= scale[j]
        return level

    @_inlined
    def from_rows(scale, minus, total, by_level):
        """Make total the sums of columns about their centres, in place."""
        if not centred:
            for j in range(scale.size):
                total[j] = total[j] * scale[j] + minus[j] * by_level

    @_inlined
    def add_chunks(X, weight, chunks, run, first, last, scale, minus, p, level, z, total):
        """Add ``v (x p + level) x`` of the rows of some chunks to `total`, and return the sum without ``x``."""
        n = X.shape[0]
        by_level = 0.0
        for s in range(first, last):
            row = chunks[s] * run
            ahead = chunks[min(s + 1, chunks.size - 1)] * run - row
            end = min(row + run, n)
            by_level += add_rows(X, weight, row, end, scale, minus, p, total, z, ahead, (weight, level))[0]
        return by_level

    return _Parts(into_rows, add_rows, add_chunks, from_rows)


@_inlined
def _of_eight(z, i, given, one, two):
    weight, level = given
    of_row = (all_of(weight[0]) if weight.size == 1 else eight(weight, i)) * (z + all_of(level))
    return of_row, one + of_row, two


@_sums
def _of_some(z, first, given):
    weight, level = given
    by_level = 0.0
    if weight.size == 1:
        v = weight[0]
        for t in range(z.size):
            z[t] = v * (z[t] + level)
            by_level += z[t]
    else:
        for t in range(z.size):
            v = weight[uint64(first + t)]
            z[t] = v * (z[t] + level) if v > 0.0 else 0.0  # a row of weight zero is no row, whatever stands in it
            by_level += z[t]
    return by_level, 0.0


_PRODUCTS = Middle(_of_some, _of_eight, arrays=1)
"""Make of scores ``v (z + level)``, and their sum."""


class Kernels(NamedTuple):
    """What reads the rows of one output."""

    curvature: Callable[..., None]
    lane: Callable[..., None]
    shared_lane: Callable[..., None]


def kernels(centred: bool, d: int) -> Kernels:
    """Return the kernels of one output for d columns as they stand, or centred in register.

    Either way what they are told and what they say is of columns ``x * scale + minus``.
    """
    parts = _parts(centred, over_rows(centred, d, _PRODUCTS))
    into_rows, _, add_chunks, from_rows = parts
    return Kernels(_curvature(parts), _lane(parts), shared_kernel(into_rows, add_chunks, from_rows))


@lru_cache(maxsize=64)
def _curvature(parts: _Parts) -> Callable[..., None]:
    into_rows, add_rows, _, from_rows = parts

    @kernel
    def curvature(X, weight, start, stop, scale, minus, p, level, total, by_level):
        """Set ``total`` and ``by_level`` (1,) to ``sum_i v_i [x_i, 1] (x_i p + level)`` of rows `start` to `stop`.

        Vectors of columns are padded to eights, ``minus`` is ``-centre``.
        """
        held = aligned(p.size), aligned(scale.size), aligned(room_of(X))
        own, found, z = borrowed(held[0]), borrowed(held[1]), borrowed(held[2])
        X, weight, scale, minus = borrowed(X), borrowed(weight), borrowed(scale), borrowed(minus)
        own[:] = p
        level = into_rows(scale, minus, own, level)
        given = weight, level
        by_level[0] = add_rows(X, weight, start, stop, scale, minus, own, found, z, rows_ahead(X), given)[0]
        from_rows(scale, minus, found, by_level[0])
        total[:] = found[: total.size]
        keep(held)

    return curvature


@lru_cache(maxsize=64)
def _lane(parts: _Parts) -> Callable[..., None]:
    into_rows, _, add_chunks, from_rows = parts

    @kernel
    def lane(X, weight, chunks, run, batches, scale, minus, T, level, fixed, slope, lanes, rate, out):
        """Take minibatch steps beside an anchor, with variance reduction, and set `out` (r + 1,) to where they lead.

        In coordinates ``q`` of the basis ``T`` (d, r), the level's last, in units of ``1 / level``, each step is::

            q <- q - rate (share B' B q + fixed q + slope)

        where ``B`` are the rows of a batch and `share` is how many batches there are in all `lanes`; `fixed` is the
        part of the curvature that every step has whole, ``slope`` the gradient at the anchor. ``chunks`` are numbers of
        runs of `run` rows, ``batches`` where each batch begins among them, and its end. Without an intercept `level`
        is 0.

        The first point is a whole step from the anchor, ``-slope``. As each row comes once, and with the same share,
        the steps sum to the gradient at the mean of the points that they were taken at: from that mean it is about as
        far to the optimum as their sum over their number and `rate`, which is taken too. So no steps need be left out
        of the mean for the way that they had to go.
        """
        d, r = T.shape
        mean = np.zeros(r + 1)
        held = aligned(scale.size), aligned(scale.size), aligned(room_of(X)), aligned(r + 1), aligned(r + WIDTH)
        p, total, z, q, step = (
            borrowed(held[0]), borrowed(held[1]), borrowed(held[2]), borrowed(held[3]), borrowed(held[4]),
        )  # fmt: skip
        for a in range(r + 1):
            q[a] = -slope[a, 0]
        X, weight, chunks, T = borrowed(X), borrowed(weight), borrowed(chunks), borrowed(T)
        scale, minus = borrowed(scale), borrowed(minus)
        share = float(lanes * (batches.size - 1))
        for t in range(batches.size - 1):
            for a in range(r + 1):
                mean[a] += q[a]
            some_weights(T, 0, d, 0, q, p)
            total[:] = 0.0
            at = into_rows(scale, minus, p, level * q[r])
            by_level = add_chunks(X, weight, chunks, run, batches[t], batches[t + 1], scale, minus, p, at, z, total)
            from_rows(scale, minus, total, by_level)
            for a in range(r):
                step[a] = slope[a, 0]
            some_coordinates(T, 0, r, d, total, share, step)
            step[r] = slope[r, 0] + level * by_level * share
            if fixed.size > 0:
                for a in range(r + 1):
                    for b in range(r + 1):
                        step[b] += fixed[a, b] * q[a]
            for a in range(r + 1):
                q[a] -= rate * step[a]
        for a in range(r + 1):
            out[a] = (mean[a] + (q[a] + slope[a, 0]) / rate) / (batches.size - 1)
        keep(held)

    return lane
