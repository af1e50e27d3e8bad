"""Sums over dense rows in memory that factors are made of: Gram matrices, sketches, mean squares."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gradstep._dense_algebra import exact_sum, gram, product
from gradstep._kernels import few_columns, threads
from gradstep._kernels.few_columns import add_gram_of_few
from gradstep._kernels.gram import add_gram, in_panels
from gradstep._kernels.rows import EPS, deviations, fill, fill_part, scatter
from gradstep._kernels.simd import WIDTH, padded
from gradstep._numbers import frozen, stream
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Rows, Units

ROW_COST = 32  # elements' worth of time that fetching a row costs however few columns it has

_CELLS_PER_BLOCK = 1 << 18  # of scaled rows: 2 MB, which a processor's cache holds
HEAVY = 1000.0  # times the expected square of a row
MOST_HEAVY = 4096  # rows, about: a table with more has other ways to be ill conditioned
_CELLS_PER_GRAM = 1 << 17  # whose products are summed before they are added to others with what rounding takes
_GRAMS, _GRAM_CELLS = 16, 1 << 21  # sums of them side by side, and entries of all
_CELLS_PER_PIECE = 1 << 19  # of a read that threads share: half a millisecond, and 4 MB that a cache holds
_PIECES, _LONGER = 128, 8  # of a large table, as each costs a thread microseconds; longer so many times, for Ctrl-C
STRIPES = 16  # of a sketch: each row goes to one bucket of each; of four, rows that meet in one stretch too much
_STRIPE_CELLS = 1 << 16  # of a stripe of a sketch that rows are added to at a time: 512 kB
_CELLS_PER_SKETCH = 1 << 18  # of rows that are added to each stripe in turn: 2 MB
_QUARTERS = 4
_PIECES_OF_SOME = 4  # of some rows, whose products are summed by themselves
_WORTH_COMPILING = 1 << 31  # multiplications: a tenth of a second, of which the kernel saves a third
_ROWS_OF_RESPONSES = 1 << 16
_ROWS_OVER_SUMS = 64  # of several outputs: entries of a piece over those of its sums


class Summed(Table):
    """Dense rows, and what is summed over them."""

    _host: Rows

    def response_squares(
        self, unit: NDArray[np.float64], *, intercept: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean squares (k,) of responses times `unit`, about their means with an intercept, and the means."""
        found = [
            self._response_squares(y, unit.flat[c % unit.size], intercept=intercept)
            for c, y in enumerate(self._host.y.T)
        ]
        squares, means = np.array(found).T
        return squares, means

    def _response_squares(self, y: NDArray[np.float64], unit: float, *, intercept: bool) -> tuple[float, float]:
        y, weight = frozen(np.ascontiguousarray(y)), self._host.weight
        if self.n <= _ROWS_OF_RESPONSES:  # of so few NumPy is as quick, and nothing has to be compiled
            return _squares_of_few(y, weight, unit, intercept=intercept)
        starts = range(0, self.n, _ROWS_OF_RESPONSES)
        parts = np.zeros((len(starts), 3))

        def part(piece: int) -> None:
            deviations(y, weight, starts[piece], min(starts[piece] + _ROWS_OF_RESPONSES, self.n), unit, parts[piece])

        self._ready(deviations, y, weight, 0, 0, unit, parts[0])
        threads.each(part, len(starts), alone=len(starts) < 3)
        # T. F. Chan, G. H. Golub and R. J. LeVeque, *American Statistician* 37 (1983) 242-247.
        total, mean, squares = parts.T
        first = mean[np.flatnonzero(total)[0]]
        level = first + float(total @ (mean - first)) / float(total.sum()) if intercept else 0.0
        return float(squares.sum() + total @ np.square(mean - level)) / self.n, level

    def lengths(self, units: Units, *, intercept: bool) -> NDArray[np.float64]:
        """Return the root-mean-squares (d,) of the scaled columns, about their means with an intercept, in one read."""
        sums, squares = np.zeros((2, self.d + 1))
        for start, stop in self._blocks():
            block = self.scaled(units, NO_ORDER, start, stop)[:, : 1 + self.d]
            squares += np.einsum("ij,ij->j", block, block)
            sums += block[:, 0] @ block
        about = squares[1:] - (sums[1:] * sums[1:] / sums[0] if intercept else 0.0)
        lengths: NDArray[np.float64] = np.sqrt(np.maximum(about, 0.0) / sums[0])
        return lengths

    def gram_of(self, units: Units, order: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``A' A`` of some rows, or of all, as `scaled` gives them, each times its share: block by block.

        The rows as a whole would take memory that nobody has touched, which costs more time than they do.
        """
        size = 1 + self.d + self.k
        count = len(order) or self.n
        cuts = [count * piece // _PIECES_OF_SOME for piece in range(_PIECES_OF_SOME + 1)]
        rows = max(_CELLS_PER_GRAM // size, 2 * size)  # of a block: its product outweighs the sum of products
        plain = share.size == 1 and share[0] == 1.0
        add, sums = self._to_sums(size, worth=count * size * size >= _WORTH_COMPILING)

        def part(piece: int) -> Iterator[None]:
            block = np.empty((rows, size))
            for start in range(cuts[piece], cuts[piece + 1], rows):
                stop = min(start + rows, cuts[piece + 1])
                filled = block[: stop - start]
                fill(*self._host, order, start, stop, *units, filled)
                with np.errstate(over="ignore", invalid="ignore"):  # a thread's own; what is not finite is seen
                    if not plain:
                        filled *= share[start:stop, np.newaxis] if share.size > 1 else share
                    add(filled, piece)
                yield

        self._ready(fill, *self._host, order, 0, 0, *units, np.empty((0, size)))
        threads.each(part, _PIECES_OF_SOME, alone=count * size < _CELLS_PER_BLOCK)
        self.count(order, count)
        upper = np.triu(np.add.reduce(sums)[:size, :size])
        whole: NDArray[np.float64] = upper + np.triu(upper, 1).T
        self.refuse_unless_finite(whole)
        return whole

    def _to_sums(
        self, size: int, *, worth: bool
    ) -> tuple[Callable[[NDArray[np.float64], int], None], NDArray[np.float64]]:
        """Return what adds ``A' A`` of a block A to the upper triangle of one of some sums, and those sums.

        NumPy's product does where the kernel is not worth its compilation.
        """
        if not worth:
            sums = np.zeros((_PIECES_OF_SOME, size, size))

            def multiply(block: NDArray[np.float64], piece: int) -> None:
                sums[piece] += np.matmul(block.T, block)

            return multiply, sums
        one, scale, minus = frozen(np.ones(1)), padded(np.ones(size)), padded(np.zeros(size))
        wide = padded(np.zeros(size + 1)).size  # the kernel puts ones behind the columns
        sums, nothing, no_errors = np.zeros((_PIECES_OF_SOME, wide, wide)), np.empty(0), np.empty((0, 0))

        def add(block: NDArray[np.float64], piece: int) -> None:
            block = frozen(block[:])  # read-only, as the rows of a table are, which share the compiled kernel then
            add_gram(
                block, block[:, :0], one, 0, len(block), scale, minus, nothing, nothing, nothing, size, np.inf,
                sums[piece], no_errors, NO_ORDER, NO_ORDER,
            )  # fmt: skip

        self._ready(add, np.empty((0, size)), 0, of=Summed.gram_of)
        return add, sums

    def _blocks_of_gram(self, size: int) -> Iterator[tuple[int, int]]:
        return self._blocks(_CELLS_PER_GRAM, 4 * size)

    @property
    def gram_rounding(self) -> float:  # type: ignore[override]
        """By how much an entry of `gram` may be off, over the norms of its columns: sums within a block are plain."""
        start, stop = next(iter(self._blocks_of_gram(1 + self.d + self.k)))
        return float((min(stop, self.n) - start + 8) * EPS / 2)

    def gram(
        self, units: Units, T: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``A' A`` of the weighted rows ``A = [1, Z T, y]``, Z scaled and centred; without T as it stands."""
        columns = self.d if T is None else T.shape[1]
        size = 1 + columns + self.k
        wide = padded(np.zeros(size)).size
        limit, number = HEAVY * size, min(_GRAMS, max(2, _GRAM_CELLS // (size * size)))
        scale, minus, basis = padded(units.scale), padded(-units.centre), np.empty(0) if T is None else in_panels(T)
        blocks = list(self._blocks_of_gram(size))
        sums, found = np.zeros((number, 2, wide, wide)), np.zeros((number, 1), dtype=np.int64)
        heavy = np.empty((number, MOST_HEAVY), dtype=np.int64)

        kernel = add_gram_of_few if size <= few_columns.MOST else add_gram

        def add(start: int, stop: int, lane: int) -> None:
            kernel(
                *self._host, start, stop, scale, minus, units.y_scale, units.y_centre, basis, columns, limit,
                *sums[lane], heavy[lane], found[lane],
            )  # fmt: skip

        def part(lane: int) -> Iterator[None]:
            for start, stop in blocks[lane::number]:
                add(start, stop, lane)
                yield

        self._ready(add, 0, 0, 0, of=kernel)
        threads.each(part, number, alone=self._few)
        self.row_reads += self.n
        order = np.r_[columns + self.k, : columns + self.k]  # the kernel has the ones last
        total, rest = np.zeros((2, wide, wide))
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the caller's to see
            for of_lane, rest_of_lane in sums:
                total, lost = exact_sum(total, of_lane)
                rest += lost + rest_of_lane
            upper = np.triu(total + rest)
            whole = (upper + np.triu(upper, 1).T)[np.ix_(order, order)]
            self.refuse_unless_finite(whole)
            apart = np.sort(np.concatenate([rows[:count] for rows, (count,) in zip(heavy, found, strict=True)]))
            rows = [self._times(units, T, apart[at : at + MOST_HEAVY]) for at in range(0, len(apart) or 1, MOST_HEAVY)]
            for further in rows[1:]:
                whole += gram(further)
        return whole, rows[0]

    def _times(self, units: Units, T: NDArray[np.float64] | None, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows ``[1, Z T, y]``, without T as they stand."""
        rows = self.scaled(units, order, 0, len(order))
        if T is None:
            return rows
        columns = product(np.ascontiguousarray(rows[:, 1 : 1 + self.d]), T)
        return np.hstack((rows[:, :1], columns, rows[:, 1 + self.d :]))

    def sketch(self, units: Units, rows: int, seed: int) -> NDArray[np.float64]:
        """Return a sketch of the weighted rows ``[1, Z, y]``: stacked sparse signs, about so many rows."""
        buckets = -(-rows // STRIPES)
        size = 1 + self.d + self.k
        # A stripe's buckets, of some columns, stay in a cache while many rows are added to them. Threads share the
        # columns; of few columns each part has a quarter of the rows.
        width = max(WIDTH, min(_STRIPE_CELLS // buckets // WIDTH, -(-size // WIDTH)) * WIDTH)
        groups = -(-size // width)
        quarters = 1 if groups >= _QUARTERS else _QUARTERS
        blocks = list(enumerate(self._blocks(_CELLS_PER_SKETCH, _CELLS_PER_SKETCH // width)))
        out = np.zeros((groups * quarters, STRIPES, buckets, width))

        def add(start: int, stop: int, drawn: NDArray[np.uint16], first: int, sums: NDArray[np.float64]) -> None:
            part = np.empty((stop - start, width))
            fill_part(*self._host, start, first, *units, part)
            for stripe, of_stripe in enumerate(sums):
                scatter(part, drawn[stripe], 1 / math.sqrt(STRIPES), of_stripe)

        def part(piece: int) -> Iterator[None]:
            group, quarter = divmod(piece, quarters)
            for number, (start, stop) in blocks[quarter::quarters]:
                drawn = stream("sketch", seed, number).integers(
                    0, 2 * buckets, (STRIPES, stop - start), dtype=np.uint16
                )
                add(start, stop, drawn, group * width, out[piece])
                yield

        self._ready(add, 0, 0, np.empty((STRIPES, 0), dtype=np.uint16), 0, out[0], of=scatter)
        threads.each(part, groups * quarters, alone=self._few)
        self.row_reads += self.n
        parts = np.add.reduce(out.reshape(groups, quarters, STRIPES * buckets, width), axis=1)
        whole: NDArray[np.float64] = np.hstack(tuple(parts))[:, :size]
        self.refuse_unless_finite(whole)
        return whole

    @property
    def _few(self) -> bool:
        """Whether there are too few cells for threads to be worth their handing over."""
        return self.n * (self.d + ROW_COST) < 2 * _CELLS_PER_PIECE

    def _longer(self, rows: int) -> int:
        """Return how many rows a piece of a large table has where those of others have so many."""
        return max(rows, min(-(-self.n // _PIECES), _LONGER * rows))

    def _pieces(self, per_row: int, *, longer: bool = False) -> Iterator[tuple[int, int]]:
        """Yield the pieces of a read that threads share, of a large table `longer` ones, cut by its shape alone."""
        # Of many outputs a piece's sums are to be small beside its rows.
        rows = max(64, _CELLS_PER_PIECE // per_row, _ROWS_OVER_SUMS * (self.d + 1) * self.k // (self.d + self.k))
        rows = self._longer(rows) if longer else rows
        for start in range(0, self.n, rows):
            yield start, min(start + rows, self.n)

    def _blocks(self, cells: int = _CELLS_PER_BLOCK, least: int = 64) -> Iterator[tuple[int, int]]:
        """Yield the blocks of rows, cut by the shape of the table alone."""
        rows = max(least, cells // (1 + self.d + self.k))
        for start in range(0, self.n, rows):
            yield start, min(start + rows, self.n)


def _squares_of_few(
    y: NDArray[np.float64], weight: NDArray[np.float64], unit: float, *, intercept: bool
) -> tuple[float, float]:
    v = np.broadcast_to(weight, len(y))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is the caller's to see
        about = y * unit
        level = about[0] if intercept else 0.0  # so that the mean of a constant is that constant
        for _ in range(2 if intercept else 0):  # the second time for what rounding left
            level += float((v * (about - level)).sum()) / float(v.sum())
        return float((v * np.square(about - level)).sum()) / len(y), float(level)
