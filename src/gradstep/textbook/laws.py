"""The laws that a loss and a penalty must obey, tried on many points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradstep import _input
from gradstep._kernels.first_call import first_call
from gradstep._kernels.formula import Formula, Formulas
from gradstep._table.devices import backend
from gradstep.losses import DOMAINS, Loss
from gradstep.penalties import Penalty

Floats = NDArray[np.floating]
Evaluate = Callable[..., Floats]
"""Called with a role of a group and as many arrays as its formula takes scalars."""

_H = 1e-5  # step of the central differences
_CHORDS = 1000
_LARGE = 1e3
_CLOSE = 1e-6


@dataclass(frozen=True)
class Law:
    """One law and whether it holds.

    Attributes
    ----------
    statement : str
        The law in words.
    holds : bool
        Whether it held at every point tried.
    worst : str
        Where it was broken worst; empty where it holds.
    """

    statement: str
    holds: bool
    worst: str

    def __str__(self) -> str:
        return f"  {'holds ' if self.holds else 'BROKEN'}  {self.statement}" + (f": {self.worst}" if self.worst else "")


@dataclass(frozen=True)
class LawCheck:
    """The laws of a loss or a penalty, as `check_loss` and `check_penalty` return them.

    Attributes
    ----------
    what : str
        The loss or penalty.
    laws : tuple of Law
        Each law and whether it holds.
    """

    what: str
    laws: tuple[Law, ...]

    @property
    def holds(self) -> bool:
        """Whether every law holds."""
        return all(law.holds for law in self.laws)

    def __str__(self) -> str:
        broken = sum(not law.holds for law in self.laws)
        verdict = "every law holds" if self.holds else f"{broken} of {len(self.laws)} laws BROKEN"
        return "\n".join([f"{self.what}: {verdict}", *map(str, self.laws)])


def check_loss(loss: Loss, *, device: str | None = None) -> LawCheck:
    """Try all the laws of a loss on many scores and responses of its domain.

    The slope is the derivative of the value, by central differences, and at a kink a number between the slopes of its
    sides; the curvature is the derivative of the slope and not negative; the value is convex, along 1,000 chords; all
    three are finite for scores up to 1,000 either way; float32 scalars give float32 numbers, which matters to the speed
    of a GPU alone, near those of float64; and compiled code computes what plain Python does. How many digits a formula
    keeps where scores are large, it cannot tell.

    Parameters
    ----------
    loss : Loss
        The loss, one of your own for instance.
    device : {None, "cpu", "cuda"}, default None
        Where the formulas are tried. None means the CPU.

    Returns
    -------
    LawCheck
        Each law and whether it holds; its ``str`` names the worst point of those that do not.

    Raises
    ------
    TypeError
        If ``loss`` is no Loss, or a formula cannot be compiled.
    RuntimeError
        If ``device="cuda"`` and there is no usable device.

    See Also
    --------
    gradstep.check_gradient : The slope on a table, through the kernel that fits.

    References
    ----------
    R. T. Rockafellar, *Convex Analysis*, Princeton 1970, sections 23 and 24.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.check_loss(gs.huber(1.5)).holds
    True
    """
    loss = _input.loss(loss)
    return LawCheck(repr(loss), tuple(_laws_of_loss(loss, *_evaluators(loss, _input.device(device)))))


def check_penalty(penalty: Penalty, *, device: str | None = None) -> LawCheck:
    """Try all the laws of a penalty on many coefficients and steps.

    ``prox(w, t, p)`` minimises ``t * value(v, p) + (v - w)**2 / 2``, against a grid of ``v``, leaves ``w`` as it is for
    ``t = 0`` and brings no two coefficients further apart; the value is convex, along 1,000 chords; float32 scalars
    give float32 numbers, near those of float64; and compiled code computes what plain Python does.

    Parameters
    ----------
    penalty : Penalty
        The penalty, one of your own for instance.
    device : {None, "cpu", "cuda"}, default None
        Where the formulas are tried. None means the CPU.

    Returns
    -------
    LawCheck
        Each law and whether it holds; its ``str`` names the worst point of those that do not.

    Raises
    ------
    TypeError
        If ``penalty`` is no Penalty, or a formula cannot be compiled.
    RuntimeError
        If ``device="cuda"`` and there is no usable device.

    References
    ----------
    N. Parikh and S. Boyd, Proximal algorithms, *Foundations and Trends in Optimization* 1 (2014), sections 1.1 and 2.3.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.check_penalty(gs.l1(0.1)).holds
    True
    """
    found = _input.penalty(penalty)
    if found is None:
        raise TypeError("penalty: None came; a Penalty is needed, such as gs.l2(0.1).")
    return LawCheck(repr(found), tuple(_laws_of_penalty(found, *_evaluators(found, _input.device(device)))))


def _evaluators(group: Formulas, device: str) -> tuple[Evaluate, Evaluate]:
    """Return the formulas of a group over arrays, compiled and in plain Python."""
    module = backend(device)

    def plain(role: str, *scalars: Floats) -> Floats:
        formula, params = getattr(group, role), tuple(map(scalars[0].dtype.type, group.params))
        # Python's own floats where they are float64: they raise where NumPy's warn.
        points = zip(*(scalar.tolist() if scalar.dtype == np.float64 else scalar for scalar in scalars), strict=True)
        answers = [_or_none(formula, *point, params) for point in points]
        kept = all(isinstance(answer, np.float32) for answer in answers if answer is not None)
        dtype = np.float32 if kept else np.float64
        return np.array([np.nan if answer is None else answer for answer in answers], dtype=dtype)

    def compiled(role: str, *scalars: Floats) -> Floats:
        params = tuple(map(scalars[0].dtype.type, group.params))
        try:
            with first_call(group), np.errstate(all="ignore"):
                answers: Floats = module.each_kernel(getattr(group, role), len(scalars))(*scalars, params)
        except (ArithmeticError, ValueError):  # raised by the formula: where plain Python finds out at which points
            return plain(role, *scalars)
        return answers

    return compiled, plain


def _or_none(formula: Formula, *arguments: object) -> float | None:
    try:
        with np.errstate(all="ignore"):
            return formula(*arguments)
    except (ArithmeticError, ValueError):
        return None


def _law(statement: str, excess: Floats, points: Mapping[str, Floats]) -> Law:
    """Return a law that holds where no excess, of what was found over what is allowed, is above 0."""
    excess = np.where(np.isnan(excess), np.inf, excess)
    if not (excess > 0).any():
        return Law(statement, holds=True, worst="")
    i = int(excess.argmax())
    at = ", ".join(f"{name} = {values[i]:.6g}" for name, values in points.items())
    return Law(statement, holds=False, worst=f"at {at}, by {excess[i]:.3g} too much")


def _laws_of_loss(loss: Loss, f: Evaluate, plain: Evaluate) -> Iterator[Law]:
    responses = np.unique(DOMAINS[loss.domain].into(np.array([-1.5, 0.0, 0.4, 2.0])))
    z, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-3.0, 3.0, 25) + 0.013, responses))
    value, slope, curvature = f("value", z, y), f("slope", z, y), f("curvature", z, y)
    points = {"z": z, "y": y}

    above, below = f("value", z + _H, y), f("value", z - _H, y)
    yield _law("the slope is the derivative of the value", _off(slope, below, value, above), points)
    above, below = f("slope", z + _H, y), f("slope", z - _H, y)
    yield _law("the curvature is the derivative of the slope", _off(curvature, below, slope, above), points)
    yield _law("the curvature is not negative", -curvature, points)

    # Kinks are where the score meets the response, or a parameter off it.
    offs = np.array([0.0, *loss.params, *(-p for p in loss.params)])
    kinks, at = (grid.ravel() for grid in np.meshgrid(offs, responses))
    kinks = kinks + at
    ends = np.concatenate((kinks + 0.5, kinks - 0.5, kinks + 1e-3, kinks - 1e-3))
    kinks, at = np.tile(kinks, 4), np.tile(at, 4)
    line = f("value", kinks, at) + f("slope", kinks, at) * (ends - kinks)
    reached = f("value", ends, at)
    room = 1e-12 * (1 + np.abs(reached) + np.abs(line))
    yield _law("the slope at a kink lies between those of its sides", line - reached - room, {"z": kinks, "y": at})

    rng = np.random.default_rng(0)
    a, b, y = rng.standard_normal((3, _CHORDS)) * 5
    y = DOMAINS[loss.domain].into(y)
    chord, middle = (f("value", a, y) + f("value", b, y)) / 2, f("value", (a + b) / 2, y)
    excess = middle - chord - 1e-12 * (np.abs(chord) + np.abs(y * a) + np.abs(y * b) + 1)
    yield _law("the value is convex", excess, {"z": (a + b) / 2, "y": y})

    z, y = (grid.ravel() for grid in np.meshgrid([-_LARGE, -30.0, 30.0, _LARGE], responses))
    for dtype in (np.float64, np.float32):
        numbers = [f(role, z.astype(dtype), y.astype(dtype)) for role in loss.ROLES]
        worst = np.where(np.isfinite(numbers).all(axis=0), -1.0, 1.0)
        yield _law(f"all are finite for scores up to 1,000, in {dtype.__name__}", worst, {"z": z, "y": y})
    yield from _laws_of_code(loss, f, plain, points)


def _laws_of_penalty(penalty: Penalty, f: Evaluate, plain: Evaluate) -> Iterator[Law]:
    grid = np.linspace(-5.0, 5.0, 20_001)
    costs = f("value", grid)
    w, t = (points.ravel() for points in np.meshgrid([-2.0, -0.05, 0.0, 0.7, 3.0], [0.0, 0.1, 2.0]))
    best = f("prox", w, t)
    cost = t * f("value", best) + np.square(best - w) / 2
    least = np.array([(step * costs + np.square(grid - at) / 2).min() for at, step in zip(w, t, strict=True)])
    yield _law("the proximal step minimises", cost - least * (1 + 1e-12) - 1e-15, {"w": w, "t": t})
    rng = np.random.default_rng(0)
    a, b, t = *(rng.standard_normal((2, _CHORDS)) * 3), rng.uniform(0.0, 3.0, _CHORDS)
    yield _law("the proximal step of 0 moves nothing", np.abs(f("prox", a, 0 * t) - a), {"w": a})
    apart = np.abs(f("prox", a, t) - f("prox", b, t)) - np.abs(a - b) * (1 + 1e-12)
    yield _law("the proximal step brings nothing further apart", apart, {"w": a, "t": t})
    chord, middle = (f("value", a) + f("value", b)) / 2, f("value", (a + b) / 2)
    yield _law("the value is convex", middle - chord - 1e-12 * np.abs(chord), {"w": (a + b) / 2})
    yield from _laws_of_code(penalty, f, plain, {"w": a[:100], "t": t[:100]})


def _laws_of_code(group: Formulas, f: Evaluate, plain: Evaluate, points: Mapping[str, Floats]) -> Iterator[Law]:
    scalars = list(points.values())
    for role, arguments in group.ROLES.items():
        double = scalars[: len(arguments)]
        single = [scalar.astype(np.float32) for scalar in double]
        named = dict(zip(points, double, strict=False))
        exact = plain(role, *(scalar.astype(np.float64) for scalar in single))
        room = 1e-5 * (1 + np.abs(exact) + sum(np.abs(scalar) for scalar in single))
        compiled, python = f(role, *single), plain(role, *single)
        kept = compiled.dtype == python.dtype == np.float32
        write = "a constant is type(z)(2), a function of math type(z)(math.exp(z))"
        yield Law(f"the {role} keeps float32", holds=kept, worst="" if kept else write)
        off = np.maximum(np.abs(compiled - exact), np.abs(python - exact)) - room
        yield _law(f"the {role} of float32 scalars is near that of float64", off, named)
        compiled, python = f(role, *double), plain(role, *double)
        apart = np.abs(compiled - python) - 1e-12 * (1 + np.abs(python))
        yield _law(f"the compiled {role} is that of plain Python", apart, named)


def _off(derivative: Floats, below: Floats, here: Floats, above: Floats) -> Floats:
    """Return how far derivatives are from central differences, or at a kink from lying between those of its sides."""
    left, right = (here - below) / _H, (above - here) / _H
    central = (above - below) / (2 * _H)
    # Differences of numbers of this size are rounded by this much.
    rounding = 1e-10 * (np.abs(here) + np.abs(above) + np.abs(below))
    smooth = np.abs(derivative - central) - _CLOSE * np.abs(central) - rounding - 1e-8
    low, high = np.minimum(left, right), np.maximum(left, right)
    between = np.maximum(derivative - high, low - derivative) - _CLOSE * (1 + np.abs(central))
    kink = np.abs(right - left) > 1e3 * _H * (1 + np.abs(central))
    return np.where(kink, between, smooth)
