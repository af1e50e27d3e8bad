"""The one gate: looks at what the caller passed. Every input error is raised here, before any work."""

import operator
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._numbers import real
from gradstep._solvers.textbook import Sgd, State, looked_at, rates, refuse_rates
from gradstep._table.terms import Rows
from gradstep.losses import DOMAINS, Loss
from gradstep.penalties import Penalty
from gradstep.schedules import Schedule

_BLOCK = 1 << 16  # rows checked at a time
_WEIGHTS_APART = 1e30
_TOLD_APART = 2.0**-26  # of a column's spread: half of float64's digits
_STEPS_LOOKED_AT = 1 << 22


def rows(X: object, y: object, sample_weight: object = None, loss: Loss | None = None) -> Rows:
    """Return the caller's table as the kernels read it; the caller's arrays are never written to."""
    table = predictors(X)
    n = len(table)
    response = _array("y", y)
    if response.ndim == 2 and response.shape[0] == 1 and n != 1:
        raise ValueError(f"y: shape {response.shape} came; ({n},) or ({n}, k) is needed: pass y.T or y.ravel().")
    if response.ndim not in {1, 2}:
        raise ValueError(f"y: {response.ndim} dimensions came, shape {response.shape}; (n,) or (n, k) is needed.")
    if len(response) != n:
        raise ValueError(f"y: {len(response)} rows came and X has {n}; as many as X has are needed.")
    if response.ndim == 2 and response.shape[1] == 0:
        raise ValueError(f"y: shape {response.shape} came, without a column; at least one output is needed.")
    response = _as(response, np.float64)
    _finite("y", response)
    if loss is not None:
        _within_domain(response, loss)
    return Rows(_readonly(table), _readonly(response), _weights(sample_weight, n))


def _within_domain(response: NDArray[np.float64], loss: Loss) -> None:
    domain = DOMAINS[loss.domain]
    outside = ~domain.contains(response)
    if outside.any():
        entry = response[np.unravel_index(int(outside.argmax()), outside.shape)]
        hint = ""
        labels = response[:_BLOCK].ravel()
        if loss.domain == "binary" and np.isin(response, (labels.min(), labels.max())).all():
            hint = f": pass (y == {labels.max():g})"
        raise ValueError(
            f"y: {entry} came at {_position(outside)}; {domain.words} is needed for the {loss.name} loss{hint}."
        )


def predictors(X: object, columns: int | None = None) -> NDArray[np.floating]:
    """Return X as a C-ordered float32 or float64 array, checked; of a given number of columns, if one is given."""
    table = _array("X", X)
    if table.ndim == 1:
        raise ValueError(
            f"X: 1 dimension came, shape {table.shape}; (n, d) is needed. "
            "For one column pass X[:, np.newaxis], for one row X[np.newaxis]."
        )
    if table.ndim != 2:
        raise ValueError(f"X: {table.ndim} dimensions came, shape {table.shape}; (n, d) is needed.")
    if table.shape[0] == 0:
        raise ValueError(f"X: no rows came, shape {table.shape}; at least one is needed.")
    if table.shape[1] == 0:
        raise ValueError(f"X: no columns came, shape {table.shape}; at least one is needed.")
    if columns is not None and table.shape[1] != columns:
        raise ValueError(f"X: {table.shape[1]} columns came; {columns} are needed, one for each coefficient.")
    # Whole numbers up to 64 bits go to float64, halves to float32, which holds them exactly.
    small = table.dtype.kind == "f" and table.dtype.itemsize <= 4
    rounded = _as(table, np.float32 if small else np.float64)
    if table.dtype.kind in "iu" and table.dtype.itemsize == 8:
        _told_apart(table)
    _finite("X", rounded)
    return rounded


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


def _weights(sample_weight: object, n: int) -> NDArray[np.float64]:
    if sample_weight is None:
        return _readonly(np.ones(1))
    weight = _array("sample_weight", sample_weight)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight: shape {weight.shape} came; ({n},) is needed, one weight a row of X.")
    weight = _as(weight, np.float64)
    _finite("sample_weight", weight)
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
    """Return value as a real numeric array, not yet converted."""
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


def _finite(name: str, array: NDArray[Any]) -> None:
    for first in range(0, len(array), _BLOCK):
        block = array[first : first + _BLOCK]
        # A sum is finite only if every entry is, and is faster than looking at each.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):
                continue
        bad = ~np.isfinite(block)
        if bad.any():
            i, *rest = np.unravel_index(int(bad.argmax()), block.shape)
            entry = block[(i, *rest)]
            where = (first + int(i), *map(int, rest))
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


def step(value: object) -> float | Schedule:
    """Return a step size or a schedule."""
    if isinstance(value, Schedule):
        return value
    if callable(value):
        raise TypeError(
            f"step: {_named(value)} came; a number above 0 or a Schedule is needed, such as gs.constant(0.1)."
        )
    return rate(value)


def rate(value: object) -> float:
    """Return the size of one step."""
    return real("step", value, above=0.0, such_as=", such as 0.03,")


def ends(schedule: float | Schedule, first: int, last: int) -> None:
    """Refuse a schedule whose first or last step of a fit cannot be taken, before any work."""
    if not isinstance(schedule, Schedule):
        return
    for t in (first, last):
        size = _rate_in_python(schedule, t)
        if not size > 0 and t > first:  # the first step that is wrong, if it is not too far away
            for begin in range(first, min(t, first + _STEPS_LOOKED_AT), _BLOCK):
                rates(schedule, begin, min(_BLOCK, t - begin))
        refuse_rates(schedule, np.array([size]), t)


def _rate_in_python(schedule: Schedule, t: int) -> float:
    try:
        size = schedule.rate(float(t), schedule.params)
    except ArithmeticError:  # where a kernel goes on with an infinite number or NaN
        return np.nan
    except Exception as error:
        if isinstance(error, ValueError) and "math" in str(error):
            return np.nan
        raise ValueError(f"step: {schedule!r} ended in {type(error).__name__} at step {t}: {error}") from error
    if isinstance(size, complex):  # a root of a negative number, NaN in a kernel
        return np.nan
    if not isinstance(size, Real):
        raise TypeError(f"step: {schedule!r} gives {size!r} at step {t}; a number is needed.")
    return float(size)


def whole(name: str, value: object, least: int) -> int:
    """Return a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {value!r} came; a whole number of at least {least} is needed.")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{name}: {value!r} came, a {type(value).__name__}; a whole number of at least {least} is needed."
        ) from None
    if number < least:
        raise ValueError(f"{name}: {value!r} came; a whole number of at least {least} is needed.")
    return number


def flag(name: str, value: object) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: {value!r} came, a {type(value).__name__}; True or False is needed.")
    return bool(value)


def loss(value: object) -> Loss:
    """Return a loss."""
    if not isinstance(value, Loss):
        raise TypeError(f"loss: {_named(value)} came; a Loss is needed, such as gs.squared().")
    return value


def penalty(value: object) -> Penalty | None:
    """Return a penalty or None."""
    if value is not None and not isinstance(value, Penalty):
        raise TypeError(f"penalty: {_named(value)} came; None or a Penalty is needed, such as gs.l2(0.1).")
    return value


SOLVERS = ("sgd", "cg", "exact", "auto")
_KNOWN = ", ".join(f'"{name}"' for name in SOLVERS) + " or gs.sgd(...)"


def solver(value: object) -> Sgd | str:
    """Return the textbook method's options, or a solver's name."""
    if isinstance(value, Sgd):
        return looked_at(value)
    if isinstance(value, str):
        if value in SOLVERS:
            return value
        raise ValueError(f"solver: {value!r} came; {_KNOWN} is needed.")
    raise TypeError(f"solver: {_named(value)} came; {_KNOWN} is needed.")


class Steps(NamedTuple):
    """What the steps of a fit are taken with: of the textbook method all three, of the default the batch at most."""

    step: float | Schedule | None = None
    batch_size: int | None = None
    epochs: int = 0


def steps(
    options: Sgd | str, step_came: object, batch_size: object, epochs: object, limits: dict[str, object]
) -> tuple[Sgd | str, Steps]:
    """Return the solver that is meant, the textbook method if there is a step, with its steps; it takes no limits."""
    if step_came is not None and options == "sgd":
        options = Sgd()
    if isinstance(options, Sgd) and step_came is not None:
        for name, came in limits.items():
            if came is not None:
                raise ValueError(
                    f"{name}: {came!r} came with a step, which runs all its epochs: pass epochs, or leave it out."
                )
        batch = 32 if batch_size is None else whole("batch_size", batch_size, 1)
        return options, Steps(step(step_came), batch, 10 if epochs is None else whole("epochs", epochs, 1))
    if isinstance(options, Sgd):
        for name, value in options._asdict().items():
            if value != Sgd._field_defaults[name]:
                raise ValueError(
                    f"solver: gs.sgd({name}={value!r}) came without a step; it is an option of steps of a given size: "
                    "pass step, or leave it out."
                )
        options = "sgd"
    for name, came in (("step", step_came), ("epochs", epochs), ("batch_size", batch_size)):
        if came is None or (name, options) == ("batch_size", "sgd"):
            continue
        remedy = "pass max_passes, or a step" if (name, options) == ("epochs", "sgd") else "leave it out"
        without = " and no step" if options == "sgd" else ""
        raise ValueError(f'{name}: {came!r} came with solver="{options}"{without}, which takes none: {remedy}.')
    return options, Steps(batch_size=None if batch_size is None else whole("batch_size", batch_size, 1))


def needs_closed_form(options: Sgd | str, wanted: bool | None, loss: Loss, penalty: Penalty | None) -> None:
    """Refuse what there is only with a closed form, for a problem that has none."""
    problem = f"the {loss.name} loss" + (f" with {penalty!r}" if penalty else "")
    if options == "sgd":
        raise ValueError(
            f"step: none came with {problem}; a step is needed, such as 0.03 or a Schedule: without one, minibatch SGD "
            "fits the squared loss, with no penalty or l2."
        )
    if isinstance(options, str):
        raise ValueError(  # noqa: TRY004 - of the problem, not of the type
            f'solver: "{options}" came with {problem}; the squared loss with no penalty or l2 is needed.'
        )
    if wanted:
        raise ValueError("check: True came; only the squared loss with no penalty or l2 has a closed form to check by.")


def on_cpu(options: str, device: str) -> None:
    """Refuse a device that a solver does not read on."""
    if device != "cpu":
        without = " and no step" if options == "sgd" else ""
        raise ValueError(
            f'device: "{device}" came with solver="{options}"{without}, which reads on the CPU: leave it out.'
        )


def start(
    value: object, columns: int, outputs: tuple[int, ...], options: Sgd | str, *, intercept: bool
) -> State | NDArray[np.float64] | None:
    """Return where an earlier fit stopped, for a table of this shape: its steps, or weights (d + 1, k) to begin at."""
    if value is None:
        return None
    if options == "exact":
        raise ValueError(f'start: {_named(value)} came with solver="exact", which begins anew: leave it out.')
    coef, at_zero = getattr(value, "coef", None), getattr(value, "intercept", None)
    if not isinstance(coef, np.ndarray) or at_zero is None:
        raise TypeError(f"start: {_named(value)} came; None or a Fit is needed, as gs.fit returns it.")
    state = getattr(value, "state", None)
    if isinstance(options, Sgd) and not isinstance(state, State):
        raise ValueError(  # noqa: TRY004 - of how it was fitted, not of the type
            f'start: a fit by solver="{getattr(value, "solver", None)}" without a step came; one by steps is needed, '
            "which can go on: pass step to both, or to none."
        )
    if coef.shape != (columns, *outputs):
        raise ValueError(
            f"start: a fit with coef of shape {coef.shape} came; {(columns, *outputs)} is needed, for X and y as they "
            "are."
        )
    if not intercept and np.any(at_zero):
        raise ValueError("start: a fit with an intercept came; intercept=True, or a fit without one, is needed.")
    if isinstance(options, Sgd):
        return state
    weights = np.vstack((coef.reshape(columns, -1), np.reshape(at_zero, (1, -1))))
    _finite("start: coef", weights)
    return weights


def device(value: object) -> str:
    """Return the device's name."""
    if value is None:
        return "cpu"
    if not isinstance(value, str):
        raise TypeError(f'device: {value!r} came; None, "cpu" or "cuda" is needed.')
    if value not in {"cpu", "cuda"}:
        raise ValueError(f'device: {value!r} came; None, "cpu" or "cuda" is needed.')
    return value


def check(value: object) -> bool | None:
    """Return whether to check, None for where it is cheap."""
    if isinstance(value, str) and value == "auto":
        return None
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f'check: {value!r} came; "auto", True or False is needed.')
    return bool(value)


def callbacks(value: object) -> tuple[Callable[..., object], ...]:
    """Return the callbacks."""
    if callable(value) or not isinstance(value, Iterable):
        raise TypeError(f"callbacks: {_named(value)} came; a sequence of callables is needed: put it in brackets.")
    functions = tuple(value)
    for i, function in enumerate(functions):
        if not callable(function):
            raise TypeError(f"callbacks: entry {i} is {function!r}; a callable of one argument is needed.")
    return functions


def _named(value: object) -> str:
    name = getattr(value, "__name__", None)
    return f"the function {name}, not called," if callable(value) and name else f"{value!r}"


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
    _finite("w", coef)
    _finite("b", np.atleast_1d(intercept))
    return coef, np.broadcast_to(intercept, coef.shape[1:])
