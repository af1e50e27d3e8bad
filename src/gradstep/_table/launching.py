"""What requests on a device are made with: the arrays there, launches, scratch, rows brought home."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels import cuda
from gradstep._kernels.cuda.held import held
from gradstep._kernels.cuda.rows import Cut
from gradstep._kernels.cuda.target import THREADS, WARP
from gradstep._numbers import frozen
from gradstep._table.table import Matrix, Table
from gradstep._table.terms import Rows
from gradstep.losses import Loss
from gradstep.penalties import Penalty


class Launching(Table):
    """A table whose rows lie on a CUDA device. Arrays that lie there already are used in place."""

    device = "cuda"

    def __init__(self, rows: Rows, loss: Loss, penalty: Penalty | None) -> None:
        super().__init__(rows, loss, penalty)
        self._single = self._dtype == np.float32
        self._held_for_one = held(self.d, self.bytes_per_entry)
        self._held = self._held_for_one if self.k == 1 else None
        self._scratch: dict[str, Any] = {}
        self._shaped: dict[tuple[str, tuple[int, ...]], Any] = {}
        self._most: dict[Any, int] = {}
        # Numba reshapes no array on a device whose strides are those of an axis that was put in.
        y = rows.y if self.outputs else rows.y.reshape(self.n, 1)
        self._X, self._y = _there(rows.X, "X"), _there(y, "y")
        self._weight = cuda.copied(rows.weight, "sample_weight")
        self._stride = 0 if rows.weight.size == 1 else 1
        self._total = float(rows.weight.sum()) if self._stride else float(self.n)
        self._none = cuda.copied(np.zeros(1, dtype=np.int64))
        self._ones = cuda.copied(np.ones(self.d, dtype=self._dtype))

    @staticmethod
    def _launch(name: str, blocks: int, *arguments: Any, **how: Any) -> None:
        """Run a kernel."""
        cuda.launch(cuda.kernel(name, **how), blocks, THREADS, *arguments)

    def _folded(self, parts: Any, rows: int, entries: int) -> Matrix:
        """Return the sums over rows of what stands there in two parts, in two parts."""
        out = self._room("folded", (2, entries), np.float64)
        self._launch("fold", cuda.blocks_for(entries * WARP), parts, rows, entries, out)
        found: Matrix = out.copy_to_host()
        return found

    def _spread(self, A: Any, scale: Matrix, centre: Matrix) -> Matrix:
        """Return sums of ``v z`` and ``v z**2`` and the largest ``|z|`` of columns about a centre, (3, d)."""
        dtype = np.dtype(A.dtype)
        offset = centre - centre.astype(dtype)
        parts = cuda.spread(A, self._weights_as(dtype), self._stride, scale, centre)
        with np.errstate(over="ignore", invalid="ignore"):
            left, squares, largest = parts[:, 0].sum(axis=0), parts[:, 1].sum(axis=0), parts[:, 2].max(axis=0)
            squares = squares - 2 * offset * left + offset * offset * self._total
            return np.stack((left - offset * self._total, squares, largest))

    def _weights_as(self, dtype: np.dtype[Any]) -> Any:
        """Return the weights in a type."""
        if dtype == np.float64:
            return self._weight
        if "weights" not in self._scratch:
            self._scratch["weights"] = cuda.copied(self.weight.astype(dtype))
        return self._scratch["weights"]

    def _taken(self, numbers: NDArray[np.int64]) -> Rows:
        """Return some rows, on the host."""
        weight = self.weight if self.weight.size == 1 else self.weight[numbers]
        # Read-only, as the kernels of the CPU are compiled for.
        return Rows(*map(frozen, (self._rows_of(self._X, numbers), self._rows_of(self._y, numbers), weight)))

    def _rows_of(self, A: Any, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows of an array on the device, on the host."""
        count, d = len(numbers), int(A.shape[1])
        out = cuda.empty((count, d), A.dtype)
        self._launch("take", cuda.blocks_for(count * d), A, cuda.copied(numbers.astype(np.int64)), count, d, out)
        found: NDArray[Any] = out.copy_to_host()
        return found

    def _units(self, scale: Matrix, centre: Matrix) -> tuple[Any, Any, Matrix]:
        """Return scale and centre in the data's type, on the device, and what the centre has lost by that."""
        about = centre.astype(self._dtype)
        return cuda.copied(scale.astype(self._dtype)), cuda.copied(about), centre - about

    def _room(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return scratch of a shape: of what there is under this name, or of more."""
        size = math.prod(shape)
        found = self._scratch.get(name)
        if found is None or found.size < size or found.dtype != dtype:
            self._scratch[name] = None  # let go of it first
            self._shaped = {key: shaped for key, shaped in self._shaped.items() if key[0] != name}
            self._scratch[name] = found = cuda.empty((size,), dtype)
        if (name, shape) not in self._shaped:  # to shape it takes 50 microseconds
            self._shaped[name, shape] = found[:size].reshape(shape)
        return self._shaped[name, shape]

    def _most_blocks(self, compiled: Any, arguments: Callable[[int], tuple[Any, ...]]) -> int:
        """Return how many blocks of a kernel of this table can wait for each other at a barrier of the grid."""
        if compiled not in self._most:
            self._most[compiled] = cuda.most_blocks(compiled, arguments(1))
        return self._most[compiled]

    def _rooms(self, parts: int, blocks: int, cut: Cut, factors: int, further: int, entries: int) -> tuple[Any, ...]:
        """Return what blocks work in: rows of a tile, their factors, what is summed beside, each thread's share."""
        return (
            self._room("at", (blocks * cut.tile,), np.int64),
            self._room("F", (parts, blocks * cut.tile, factors), self._dtype),
            self._room("beside", (blocks * cut.tile, max(1, further)), np.float64),
            self._room("totals", (2, blocks * cut.groups, entries), np.float64),
        )


def _there(array: Any, what: str) -> Any:
    """Return an array on the device: itself where it lies there."""
    return cuda.copied(array, what) if isinstance(array, np.ndarray) else array
