"""The one gate: looks at what the caller passed. Every input error is raised here, before any work."""

from collections.abc import Callable, Iterable
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._device import on_cuda
from gradstep._input import arrays
from gradstep._input.arrays import BLOCK
from gradstep._input.arrays import finite as finite
from gradstep._input.arrays import parameters as parameters
from gradstep._input.arrays import predictors as predictors
from gradstep._input.arrays import weights_together as weights_together
from gradstep._kinks import by_level, kinks
from gradstep._numbers import real
from gradstep._numbers import whole as whole
from gradstep._solvers.textbook import Sgd, State, looked_at, rates, refuse_rates
from gradstep._table.terms import Rows
from gradstep.losses import Loss
from gradstep.penalties import Penalty, is_known, strengths
from gradstep.schedules import Schedule

_STEPS_LOOKED_AT = 1 << 22


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
            for begin in range(first, min(t, first + _STEPS_LOOKED_AT), BLOCK):
                rates(schedule, begin, min(BLOCK, t - begin))
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


def without_closed_form(
    options: Sgd | str, device: str, wanted: bool | None, loss: Loss, penalty: Penalty | None
) -> tuple[Sgd | str, str]:
    """Return solver and device of a problem without a closed form; refuse what there is not for it."""
    problem = f"the {loss.name} loss" + (f" with {penalty!r}" if penalty else "")
    if isinstance(options, Sgd):
        if loss.relative:
            raise ValueError(
                f"loss: {loss!r} came with a step; a delta in units of y is needed: pass absolute=True, or no step."
            )
        if len(by_level(loss)) > 1:
            raise ValueError(f"loss: {loss!r} came with a step; one level is needed, or no step.")
        if wanted:
            raise ValueError(
                "check: True came; only the squared loss with no penalty or l2 has a closed form to check steps by."
            )
        return options, device
    if options == "exact":
        raise ValueError(f'solver: "exact" came with {problem}; the squared loss with no penalty or l2 is needed.')
    if not is_known(penalty) or (kinks(loss) and strengths(penalty)[1] > 0):
        raise ValueError(
            f"step: none came with {problem}; a step is needed, such as 0.03 or a Schedule: without one that penalty "
            f"is fitted {'with smooth losses; with this one gs.l1 is' if is_known(penalty) else 'with no loss'}."
        )
    if device == "cuda":
        raise ValueError(
            f'device: "cuda" came with {problem} and no step; on a GPU it needs one: pass a step, or "cpu".'
        )
    return "sgd" if options == "auto" else options, "cpu"


def has_an_optimum(rows: Rows, loss: Loss, *, intercept: bool) -> None:
    """Refuse responses of which it is plain that no finite intercept is best for them."""
    if len(by_level(loss)) > 1 and rows.y.ndim == 2 and rows.y.shape[1] > 1:
        raise ValueError(f"y: {rows.y.shape[1]} outputs came with {loss!r}; one is needed, whose levels are fitted.")
    if not intercept or loss.domain not in {"binary", "nonnegative"}:
        return
    present = slice(None) if rows.weight.size == 1 else rows.weight > 0
    for c, y in enumerate(rows.y.reshape(len(rows.y), -1)[present].T):
        where = f" in output {c}" if rows.y.ndim == 2 and rows.y.shape[1] > 1 else ""
        if loss.domain == "binary" and (y == y[0]).all():
            raise ValueError(f"y: the label {y[0]:g} alone came{where}; both 0 and 1 are needed: else no fit is best.")
        if loss.domain == "nonnegative" and not y.any():
            raise ValueError(f"y: zeros alone came{where}; a number above 0 is needed: else no fit is best.")


def log_weights(weight: NDArray[np.float64]) -> float:
    """Return the sum of the logarithms of the weights above 0, of mean 1 among themselves."""
    present = weight[weight > 0]
    return float(np.log(present / present.mean()).sum()) if weight.size > 1 else 0.0


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
    finite("start: coef", weights)
    return weights


def device(value: object, X: object = None, *, auto: bool = False) -> str:
    """Return the device's name; where none is named, that of the array."""
    if value is None:
        return "cuda" if on_cuda(X) else "cpu"
    if isinstance(value, str) and value in {"cpu", "cuda", *(["auto"] if auto else [])}:
        return value
    known = 'None, "cpu", "cuda" or "auto"' if auto else 'None, "cpu" or "cuda"'
    raise (ValueError if isinstance(value, str) else TypeError)(f"device: {value!r} came; {known} is needed.")


def rows(
    X: object, y: object, sample_weight: object = None, loss: Loss | None = None, device: str = "cpu", *,
    look: bool = True,
) -> Rows:  # fmt: skip
    """Return the caller's table as the kernels of a device read it; the caller's arrays are never written to.

    Without a `look` a large X is not searched for what is not finite: `Table.refuse_unless_finite` does so later.
    """
    if device != "cpu" and on_cuda(X):
        from gradstep._input import on_device  # noqa: PLC0415 - X lies on one

        return on_device.rows(X, y, sample_weight, loss)
    return arrays.rows(X, y, sample_weight, loss, look=look)


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
