"""Which table reads rows on which device, and which module has its kernels."""

from __future__ import annotations

from types import ModuleType

from gradstep._kernels import cpu
from gradstep._table.dense import Dense
from gradstep._table.table import Table
from gradstep._table.terms import Rows
from gradstep.losses import Loss
from gradstep.penalties import Penalty


def table_on(device: str, rows: Rows, loss: Loss, penalty: Penalty | None) -> Table:
    """Return the table of rows that are read on a device; they are copied there where they are not there yet."""
    if device == "cpu":
        return Dense(rows, loss, penalty)
    backend(device)
    from gradstep._table.on_device import OnDevice  # noqa: PLC0415 - a device has been asked for

    return OnDevice(rows, loss, penalty)


def backend(device: str) -> ModuleType:
    """Return the module of a device's kernels."""
    if device == "cpu":
        return cpu
    # Imported on demand: `import gradstep` never touches CUDA.
    from gradstep._kernels import cuda  # noqa: PLC0415

    cuda.require()
    return cuda
