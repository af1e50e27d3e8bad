"""The arrays that a caller passes: looked at, converted where need be, never written to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep import _device
from gradstep._kernels import threads
from gradstep._table.terms import Rows
from gradstep.losses import DOMAINS, Loss

BLOCK = 1 << 16  # rows checked at a time
_CELLS_LOOKED_AT = 1 << 18  # at a time, by threads that share the read
_WEIGHTS_APART = 1e30
_FEW_CELLS = 1 << 20  # which are looked at in any case, in a third of a millisecond
_MANY_ROWS = 64  # a column: of such tables alone sums over rows come before everything else
_TOLD_APART = 2.0**-26  # of a column's spread: half of float64's digits


def rows(
    X: object, y: object, sample_weight: object = None, loss: Loss | None = None, *, look: bool = True
) -> Rows:  # fmt: skip
    """Return the caller's table as the kernels read it; the caller's arrays are never written to.

    Without a `look` an X of many rows is not searched for what is not finite.
    """
    table = predictors(X, look=look)
    return Rows(_readonly(table), response(y, len(table), loss), weights(sample_weight, len(table)))


def response(y: object, n: int, loss: Loss | None) -> NDArray[np.float64]:
    """Return y in float64, checked, for a table of n rows."""
    found = _array("y", y)
    look_at_shape_of_response(found.shape, n)
    found = _as(found, np.float64)
    finite("y", found)
    if loss is not None:
        _within_domain(found, loss)
    return _readonly(found)


def look_at_shape_of_response(shape: tuple[int, ...], n: int) -> None:
    """Refuse a y of a shape that n rows cannot have."""
    if len(shape) == 2 and shape[0] == 1 and n != 1:
        raise ValueError(f"y: shape {shape} came; ({n},) or ({n}, k) is needed: pass y.T or y.ravel().")
    if len(shape) not in {1, 2}:
        raise ValueError(f"y: {len(shape)} dimensions came, shape {shape}; (n,) or (n, k) is needed.")
    if shape[0] != n:
        raise ValueError(f"y: {shape[0]} rows came and X has {n}; as many as X has are needed.")
    if len(shape) == 2 and shape[1] == 0:
        raise ValueError(f"y: shape {shape} came, without a column; at least one output is needed.")


def _within_domain(response: NDArray[np.float64], loss: Loss) -> None:
    if loss.domain == "real":  # finite it is
        return
    domain = DOMAINS[loss.domain]
    outside = ~domain.contains(response)
    if outside.any():
        entry = response[np.unravel_index(int(outside.argmax()), outside.shape)]
        hint = ""
        labels = response[:BLOCK].ravel()
        if loss.domain == "binary" and np.isin(response, (labels.min(), labels.max())).all():
            hint = f": pass (y == {labels.max():g})"
        raise ValueError(
            f"y: {entry} came at {_position(outside)}; {domain.words} is needed for the {loss.name} loss{hint}."
        )


def predictors(X: object, columns: int | None = None, *, look: bool = True) -> NDArray[np.floating]:
    """Return X as a C-ordered float32 or float64 array, checked; of a given number of columns, if one is given."""
    table = _array("X", X)
    look_at_shape_of_predictors(table.shape, columns)
    # Whole numbers up to 64 bits go to float64, halves to float32, which holds them exactly.
    small = table.dtype.kind == "f" and table.dtype.itemsize <= 4
    rounded = _as(table, np.float32 if small else np.float64)
    if table.dtype.kind in "iu" and table.dtype.itemsize == 8:
        _told_apart(table)
    if look or rounded.size <= _FEW_CELLS or len(rounded) < _MANY_ROWS * rounded.shape[1]:
        finite("X", rounded)
    return rounded


def look_at_shape_of_predictors(shape: tuple[int, ...], columns: int | None = None) -> None:
    """Refuse an X of a shape that no table has, or of another number of columns than is needed."""
    if len(shape) == 1:
        raise ValueError(
            f"X: 1 dimension came, shape {shape}; (n, d) is needed. "
            "For one column pass X[:, np.newaxis], for one row X[np.newaxis]."
        )
    if len(shape) != 2:
        raise ValueError(f"X: {len(shape)} dimensions came, shape {shape}; (n, d) is needed.")
    if shape[0] == 0:
        raise ValueError(f"X: no rows came, shape {shape}; at least one is needed.")
    if shape[1] == 0:
        raise ValueError(f"X: no columns came, shape {shape}; at least one is needed.")
    if columns is not None and shape[1] != columns:
        raise ValueError(f"X: {shape[1]} columns came; {columns} are needed, one for each coefficient.")


def _told_apart(whole: NDArray[Any]) -> None:
    """Refuse columns of whole numbers beyond 2**53 of which float64 would leave less than half the digits."""
    low, high = whole.min(axis=0), whole.max(axis=0)
    for j in range(whole.shape[1]):
        spread, largest = int(high[j]) - int(low[j]), max(abs(int(low[j])), abs(int(high[j])))
        rounding = float(np.spacing(float(largest)))
        if spread and rounding > max(1.0, _TOLD_APART * spread):
            raise ValueError(
                f"X: column {j} holds whole numbers of {low[j]} to {high[j]}, which float64 rounds to multiples of "
                f"{rounding:g}; numbers it can tell apart are needed: subtract {low[j]} first."
            )


def weights(sample_weight: object, n: int) -> NDArray[np.float64]:
    """Return the weights of n rows with mean 1, or one for all."""
    if sample_weight is None:
        return _readonly(np.ones(1))
    weight = _array("sample_weight", sample_weight)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight: shape {weight.shape} came; ({n},) is needed, one weight a row of X.")
    weight = _as(weight, np.float64)
    finite("sample_weight", weight)
    negative = weight < 0
    if negative.any():
        i = int(negative.argmax())
        raise ValueError(f"sample_weight: {weight[i]} came at position {i}; weights of at least 0 are needed.")
    largest = float(weight.max())
    if largest == 0:
        raise ValueError("sample_weight: all weights are zero; at least one positive weight is needed.")
    # To mean 1, over the largest first so that no sum overflows. One row needs no array: its weight is 1.
    share = weight / largest
    share /= share.mean()
    lost = (share == 0) & (weight > 0)
    if lost.any():
        i = int(lost.argmax())
        raise ValueError(
            f"sample_weight: {weight[i]} came at position {i}, which vanishes beside the largest, {largest}; 0, or "
            "weights nearer to each other, are needed."
        )
    return _readonly(share)


def weights_together(weight: NDArray[np.float64]) -> None:
    """Refuse weights of which the lighter would be lost beside the heavier."""
    least, largest = float(weight[weight > 0].min()), float(weight.max())
    if largest > _WEIGHTS_APART * least:
        raise ValueError(
            f"sample_weight: weights up to {largest / least:.0e} times the smallest positive one came; within "
            f"{_WEIGHTS_APART:.0e} is needed for a fit without a step."
        )


def _array(name: str, value: object) -> NDArray[Any]:
    """Return value as a real numeric array in host memory, not yet converted."""
    if _device.on_cuda(value):
        value = _device.home(_device.in_place(name, value))
    _device.refuse_elsewhere(name, value)
    if hasattr(value, "tocsr"):
        raise TypeError(
            f"{name}: a sparse {type(value).__name__} came; a dense array is needed: pass {name}.toarray()."
        )
    if isinstance(value, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(value)
        if masked.any():
            raise ValueError(
                f"{name}: {int(masked.sum())} masked entries came, the first at {_position(masked)}; "
                "an array without masked entries is needed: drop or fill them."
            )
        value = value.data
    if hasattr(value, "dtypes") and hasattr(value, "columns") and hasattr(value, "to_numpy"):
        value = _table_of_named_columns(name, value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name}: a {type(value).__name__} came that is no rectangular array ({error}); "
            "rows of equal length are needed."
        ) from error
    if array.dtype.kind not in "fiub":
        kinds = {"O": "object", "U": "string", "S": "bytes", "c": "complex", "M": "datetime", "m": "timedelta"}
        kind = kinds.get(array.dtype.kind, "structured")
        raise TypeError(f"{name}: {kind} data came (dtype {array.dtype}); real numbers are needed.")
    return array


def _table_of_named_columns(name: str, table: Any) -> object:
    """Return a DataFrame as numbers; truth values beside numbers would make an array of objects of it."""
    for column, dtype in zip(table.columns, table.dtypes, strict=True):
        if getattr(dtype, "kind", "f") not in "fiub":
            raise TypeError(
                f"{name}: column {column!r} holds {dtype}; real numbers are needed: turn categories into 0/1 columns, "
                "dates into days or seconds."
            )
    alike = len(set(map(str, table.dtypes))) == 1 and isinstance(next(iter(table.dtypes)), np.dtype)
    return table if alike else table.to_numpy(dtype=np.float64)


def finite(name: str, array: NDArray[Any], start: int = 0) -> None:
    """Refuse an array with an entry that is not finite; its rows are numbered from `start` on."""
    rows = max(1, _CELLS_LOOKED_AT * len(array) // max(array.size, 1))
    starts = range(0, len(array), rows)
    sums = np.zeros(len(starts))

    def look(piece: int) -> None:
        # A sum is finite only if every entry is, and is faster than looking at each.
        with np.errstate(over="ignore", invalid="ignore"):
            sums[piece] = array[starts[piece] : starts[piece] + rows].sum()

    threads.each(look, len(starts), alone=len(starts) < 3)
    for piece in np.flatnonzero(~np.isfinite(sums)):
        first = starts[piece]
        block = array[first : first + rows]
        bad = ~np.isfinite(block)
        if bad.any():
            i, *rest = np.unravel_index(int(bad.argmax()), block.shape)
            entry = block[(i, *rest)]
            where = (start + first + int(i), *map(int, rest))
            at = f"row {where[0]}, column {where[1]}" if len(where) == 2 else f"position {where[0]}"
            raise ValueError(f"{name}: {entry} came at {at}; finite numbers are needed.")


def _position(mask: NDArray[np.bool_]) -> str:
    where = [int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape)]
    return f"row {where[0]}, column {where[1]}" if len(where) == 2 else f"position {where[0]}"


def _as(array: NDArray[Any], dtype: type[np.floating]) -> NDArray[Any]:
    """Return the array in C order, aligned, of this dtype: itself where it is so already."""
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused for that
        return np.require(array, dtype=dtype, requirements=["C", "A"])


def _readonly(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written: the caller's data stay safe, and kernels meet one type of array."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def parameters(
    w: object, b: object, columns: int | None = None, outputs: tuple[int, ...] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients (d,) or (d, k) and intercept () or (k,) in float64, for a table's shape if one is given."""
    coef, intercept = (_as(_array(name, value), np.float64) for name, value in (("w", w), ("b", b)))
    if coef.ndim not in {1, 2} or coef.size == 0:
        raise ValueError(f"w: shape {coef.shape} came; (d,) or (d, k) is needed.")
    if columns is not None and outputs is not None and coef.shape != (columns, *outputs):
        raise ValueError(f"w: shape {coef.shape} came; {(columns, *outputs)} is needed, for X and y as they are.")
    if intercept.shape not in {(), coef.shape[1:]}:
        raise ValueError(f"b: shape {intercept.shape} came; {coef.shape[1:]} is needed, for w as it is.")
    finite("w", coef)
    finite("b", np.atleast_1d(intercept))
    return coef, np.broadcast_to(intercept, coef.shape[1:])
