"""Gradients of the squared loss over dense rows in memory, and what a read gives beside them."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import exact_dot, exact_total
from gradstep._kernels import doubled, lanes, outputs, squares, threads
from gradstep._kernels.blocks import in_rows, width_of
from gradstep._kernels.plain import about_means, wide_gradient
from gradstep._kernels.projections import SIDE_BY_SIDE, squared_norms
from gradstep._kernels.simd import padded
from gradstep._kernels.squares import roundings
from gradstep._table.summed import ROW_COST, Summed
from gradstep._table.terms import WIDE_SUM, Evidence, Units

_CELLS_NEAR = 1 << 16  # of rows that are read twice: 512 kB, which a processor's own cache holds
_FAR = 1000.0  # of a mean, over the spread of its column
_MODERATE = 300  # of the exponent of a scale


class Gradients(Summed):
    """Dense rows, and gradients over them."""

    def squared_norms(self, units: Units, centre: NDArray[np.float64], V: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted squared norm of ``V z`` for each row z about `centre`, in one read; V is (vectors, d)."""
        blocks, norms = list(self._pieces(self.d + ROW_COST)), np.empty(self.n)
        project = self._projection(padded(units.scale), padded(-centre), V, norms)
        threads.each(lambda piece: project(*blocks[piece]), len(blocks), alone=self._few)
        self.row_reads += self.n
        return norms

    def _projection(
        self, scale: NDArray[np.float64], minus: NDArray[np.float64], V: NDArray[np.float64], norms: NDArray[np.float64]
    ) -> Callable[[int, int], None]:
        """Return what sets the squared norms of rows from one number to another."""
        wide = -(-len(V) // SIDE_BY_SIDE) * SIDE_BY_SIDE
        columns = np.zeros((self.d, wide))
        columns[:, : len(V)] = V.T

        def project(start: int, stop: int) -> None:
            squared_norms(self._host.X, self._host.weight, start, stop, scale, minus, columns.reshape(-1), wide, norms)

        self._ready(project, 0, 0, of=squared_norms)
        return project

    def _beside(
        self, scale: NDArray[np.float64], minus: NDArray[np.float64], probes: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], Callable[[int, int], None] | None]:
        """Return the squared norms to come beside a gradient, and what sets them; none without probes."""
        norms = np.empty(self.n if probes is not None else 0)
        return norms, None if probes is None else self._projection(scale, minus, probes, norms)

    def wide_gradient(
        self,
        units: Units,
        mean: NDArray[np.float64],
        w: NDArray[np.float64],
        *,
        intercept: bool,
        probes: NDArray[np.float64] | None = None,
    ) -> tuple[Evidence, NDArray[np.float64]]:
        """Return gradient and residual squares at weights (d + 1, k) of scaled, uncentred rows, in one read."""
        blocks = list(self._pieces(self.d * self.k + self.d + ROW_COST))
        highs, lows = np.empty((2, len(blocks), self.d + 1, self.k))
        of_squares = np.empty((len(blocks), self.k))
        centre = units.centre + mean
        norms, project = self._beside(padded(units.scale), padded(-centre), probes)

        def part(piece: int) -> None:
            start, stop = blocks[piece]
            wide_gradient(
                *self._host, start, stop, units.scale, units.y_scale, w, highs[piece], lows[piece], of_squares[piece]
            )
            if project is not None:
                project(start, stop)

        self._ready(wide_gradient, *self._host, 0, 0, units.scale, units.y_scale, w, highs[0], lows[0], of_squares[0])
        threads.each(part, len(blocks), alone=self._few)
        high, low = exact_total(highs, lows)
        self.row_reads += self.n
        slopes, by_level = np.empty((self.d, self.k)), np.empty(self.k)
        self._run(about_means, high, low, units.centre, mean, intercept, slopes, by_level)
        return Evidence(slopes, by_level, of_squares.sum(axis=0)), norms

    def plain_gradient(
        self,
        units: Units,
        mean: NDArray[np.float64],
        w: NDArray[np.float64],
        *,
        intercept: bool,
        probes: NDArray[np.float64] | None = None,
        centred: bool = True,
    ) -> tuple[Evidence, NDArray[np.float64]]:
        """Return gradient and residual squares in float64, columns about their means or not; see `wide_gradient`."""
        centre = units.centre + mean
        centred = centred or self.k > 1 or not _moderate(units.scale)
        level, rest = exact_dot(centre, w) if centred else (w[-1], np.zeros(1))
        blocks = self._pieces_of_sums()
        scale, minus, unit = padded(units.scale), padded(-centre), np.broadcast_to(units.y_scale, self.k)
        if self.k == 1:
            gradient, width = squares.gradient_kernel(centred, self.d), 1
            coefs = padded(w[:-1, 0] if centred else units.scale * w[:-1, 0])
            numbers: tuple[object, ...] = float(level[0]), float(rest[0]), float(unit[0])
        else:
            gradient, width = outputs.gradient, width_of(self.k)
            coefs, numbers = in_rows(w[:-1]), (padded(level), padded(rest), padded(unit))
        highs, lows = np.zeros((2, len(blocks), scale.size * width))
        sums = np.zeros((len(blocks), 3, width))
        norms, project = self._beside(scale, minus, probes)

        def part(start: int, stop: int, piece: int) -> None:
            for first, last in self._parts(start, stop, twice=project is not None):
                of_piece = sums[piece, :, 0] if width == 1 else sums[piece]
                gradient(*self._host, first, last, scale, minus, coefs, *numbers, highs[piece], lows[piece], of_piece)
                if project is not None:
                    project(first, last)

        self._ready(part, 0, 1, 0, of=gradient)
        highs[0], lows[0], sums[0] = 0.0, 0.0, 0.0
        threads.each(lambda piece: part(*blocks[piece], piece), len(blocks), alone=self._few)
        high, low = exact_total(highs, lows)
        self.row_reads += self.n
        slopes = (high + low).reshape(-1, width)[: self.d, : self.k]
        by_level = np.array([_sum_of_parts(sums[:, :2, c]) for c in range(self.k)])
        if not centred:
            slopes = units.scale[:, np.newaxis] * slopes - centre[:, np.newaxis] * by_level
        size = sums[:, 2].sum(axis=0)[: self.k]
        return Evidence(slopes, by_level * intercept, size, *roundings(self.d, self.k), centred), norms

    def doubled_gradient(
        self,
        units: Units,
        mean: NDArray[np.float64],
        w: NDArray[np.float64],
        *,
        intercept: bool,
        probes: NDArray[np.float64] | None = None,
    ) -> tuple[Evidence, NDArray[np.float64]]:
        """Return gradient and residual squares, of residuals in float64, its sums better; see `wide_gradient`."""
        if self.k > 1:
            return self.wide_gradient(units, mean, w, intercept=intercept, probes=probes)
        centre, blocks = units.centre + mean, self._pieces_of_sums()
        wide = -(-self.d // doubled.PAIR) * doubled.PAIR
        scale, minus, coefs = np.zeros((3, wide))
        scale[: self.d], minus[: self.d], coefs[: self.d] = units.scale, -centre, w[:-1, 0]
        level, rest = exact_dot(centre, w)
        numbers = float(level[0]), float(rest[0]), float(np.ravel(units.y_scale)[0])
        highs, lows = np.zeros((2, len(blocks), wide))
        by_level, of_squares = np.zeros((len(blocks), doubled.PAIR)), np.zeros((len(blocks), 1))
        norms, project = self._beside(padded(units.scale), padded(-centre), probes)

        def part(start: int, stop: int, piece: int) -> None:
            for first, last in self._parts(start, stop, twice=project is not None):
                doubled.doubled_gradient(
                    *self._host, first, last, scale, minus, coefs, *numbers,
                    highs[piece], lows[piece], by_level[piece], of_squares[piece],
                )  # fmt: skip
                if project is not None:
                    project(first, last)

        self._ready(part, 0, 1, 0, of=doubled.doubled_gradient)
        highs[0], lows[0], by_level[0], of_squares[0] = 0.0, 0.0, 0.0, 0.0
        threads.each(lambda piece: part(*blocks[piece], piece), len(blocks), alone=self._few)
        high, low = (np.append(of[: self.d], 0.0)[:, np.newaxis] for of in exact_total(highs, lows))
        self.row_reads += self.n
        high[-1] = _sum_of_parts(by_level)
        low[-1] = _sum_of_parts(np.append(by_level, -high[-1]))
        slopes, of_level = np.empty((self.d, 1)), np.empty(1)
        self._run(about_means, high, low, units.centre, mean, intercept, slopes, of_level)
        return Evidence(slopes, of_level, of_squares.sum(axis=0), WIDE_SUM, roundings(self.d)[1]), norms

    def _parts(self, start: int, stop: int, *, twice: bool) -> Iterator[tuple[int, int]]:
        """Yield the parts of a piece: of rows that are read twice, such as a processor's own cache holds."""
        near = max(squares.SHORT, _CELLS_NEAR // (self.d + 1) // squares.SHORT * squares.SHORT)
        rows = near if twice else stop - start
        for first in range(start, stop, rows):
            yield first, min(first + rows, stop)

    def _pieces_of_sums(self) -> list[tuple[int, int]]:
        """Return the pieces of a gradient or a direction, two sums over the cells of a row."""
        per_row = (self.d + ROW_COST) // 2 if self.k == 1 else self.d * self.k
        return list(self._pieces(per_row, longer=True))

    def curvature(self, units: Units, centre: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``sum_i v_i [z_i, 1] (z_i p + level)`` (d + 1, k) in one read, the columns about `centre`."""
        blocks = self._pieces_of_sums()
        scale, minus = padded(units.scale), padded(-centre)
        if self.k == 1:
            curvature, width = lanes.kernels(to_be_centred(units.scale, centre), self.d).curvature, 1
            direction: tuple[object, ...] = padded(p[:-1, 0]), float(p[-1, 0])
        else:
            curvature, width = outputs.curvature, width_of(self.k)
            direction = in_rows(p[:-1]), padded(p[-1]), self.k
        totals, by_level = np.empty((len(blocks), scale.size * width)), np.empty((len(blocks), width))

        def part(start: int, stop: int, piece: int) -> None:
            curvature(
                self._host.X, self._host.weight, start, stop, scale, minus, *direction, totals[piece], by_level[piece]
            )  # fmt: skip

        self._ready(part, 0, 0, 0, of=curvature)
        threads.each(lambda piece: part(*blocks[piece], piece), len(blocks), alone=self._few)
        self.row_reads += self.n
        total: NDArray[np.float64] = np.vstack(
            (np.add.reduce(totals).reshape(-1, width)[: self.d], np.add.reduce(by_level))
        )
        return total[:, : self.k]


def _sum_of_parts(parts: NDArray[np.float64]) -> float:
    return math.fsum(parts.reshape(-1)) if np.isfinite(parts).all() else math.nan


def _moderate(scale: NDArray[np.float64]) -> bool:
    """Whether entries can be multiplied and summed without it."""
    return bool((np.abs(np.frexp(scale)[1]) <= _MODERATE).all())


def to_be_centred(scale: NDArray[np.float64], centre: NDArray[np.float64]) -> bool:
    """Whether columns are to be centred before anything else: as they stand, sums would lose too many of their digits.

    Of steps and directions three digits fewer are enough: where they lead is looked at anew.
    """
    return bool(np.abs(centre).max(initial=0.0) > _FAR) or not _moderate(scale)
