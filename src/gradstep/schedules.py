"""Schedules: how the step size changes, each declared once as a scalar formula.

A schedule is ``rate(t, p)``, the step size after ``t`` steps, ``t = 0, 1, 2, ...``, counted in steps and not in epochs:
an epoch of n rows in batches of b has ``ceil(n / b)``. ``SCHEDULES``, the registry at the end, is the only list. A
number as ``step`` stays the same.
"""

import math
from dataclasses import dataclass

from gradstep._kernels.formula import Formula, Formulas, Registry, formula
from gradstep._numbers import real


@dataclass(frozen=True, repr=False)
class Schedule(Formulas):
    """A schedule of step sizes: a scalar formula and its parameters.

    Parameters
    ----------
    name : str
        The name that reports print.
    rate : callable
        ``rate(t, p)``, the step size after ``t`` steps, positive.
    params : tuple of float, default ()
        The parameters ``p``.

    Raises
    ------
    TypeError
        If the formula is not marked with `formula`, takes other arguments, fails or returns no number at ``t = 0``, or
        a parameter is no number.
    ValueError
        If a parameter is not finite.

    See Also
    --------
    inverse_decay : The classical schedule of Robbins and Monro.
    power_decay : The slower decay that goes with averaging.

    Examples
    --------
    >>> import gradstep as gs
    >>> schedule = gs.inverse_decay(0.1, decay=0.01)
    >>> schedule.rate(0.0, schedule.params), schedule.rate(100.0, schedule.params)
    (0.1, 0.05)
    """

    name: str
    rate: Formula
    params: tuple[float, ...] = ()

    ROLES = {"rate": (("t", 0.0),)}


@formula
def _constant_rate(t, p):
    return p[0]


def constant(step: float) -> Schedule:
    """Step size that stays the same, ``step``: what a number as ``step`` means.

    Parameters
    ----------
    step : float
        Step size, above 0.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    TypeError, ValueError
        If ``step`` is not a finite number above 0.

    References
    ----------
    L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
    (2018) 223-311, theorem 4.6: with it SGD stops at a distance that the noise of the batches sets.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.constant(0.1).rate(50.0, (0.1,))
    0.1
    """
    return Schedule("constant", _constant_rate, (_step("constant", step),))


@formula
def _inverse_decay_rate(t, p):
    return p[0] / (type(t)(1) + p[1] * t)


def inverse_decay(step: float, decay: float) -> Schedule:
    """Step size that falls like one over the steps, ``step / (1 + decay * t)``.

    Parameters
    ----------
    step : float
        First step size, above 0.
    decay : float
        How fast it falls, at least 0: after ``1 / decay`` steps it has halved. There is no default: one over the
        number of steps in an epoch halves it in the first.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number in its range.

    References
    ----------
    H. Robbins and S. Monro, A stochastic approximation method, *Annals of Mathematical Statistics* 22 (1951) 400-407,
    section 4.

    Examples
    --------
    >>> import gradstep as gs
    >>> schedule = gs.inverse_decay(0.1, decay=0.01)
    >>> schedule.rate(300.0, schedule.params)
    0.025
    """
    params = _step("inverse_decay", step), real("inverse_decay: decay", decay, least=0.0)
    return Schedule("inverse_decay", _inverse_decay_rate, params)


@formula
def _power_decay_rate(t, p):
    return p[0] * (type(t)(1) + p[1] * t) ** (-p[2])


def power_decay(step: float, decay: float, power: float = 0.5) -> Schedule:
    """Step size that falls like a power of the steps, ``step * (1 + decay * t)**-power``.

    Parameters
    ----------
    step : float
        First step size, above 0.
    decay : float
        How soon the fall begins, at least 0, in units of one over steps.
    power : float, default 0.5
        How fast it falls, at least 0; 1 is `inverse_decay` and 0 `constant`. Powers between 0.5 and 1 go with averaging
        (``gs.sgd(average=True)``), which makes the answer insensitive to the first step size.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number in its range.

    References
    ----------
    B. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, *SIAM Journal on Control and
    Optimization* 30 (1992) 838-855. W. Xu, Towards optimal one pass large scale learning with averaged stochastic
    gradient descent, arXiv:1107.2490 (2011), section 3.

    Examples
    --------
    >>> import gradstep as gs
    >>> schedule = gs.power_decay(0.1, decay=0.01)
    >>> schedule.rate(300.0, schedule.params)
    0.05
    """
    params = (
        _step("power_decay", step),
        real("power_decay: decay", decay, least=0.0),
        real("power_decay: power", power, least=0.0),
    )
    return Schedule("power_decay", _power_decay_rate, params)


@formula
def _exponential_decay_rate(t, p):
    return p[0] * type(t)(2) ** (-t / p[1])


def exponential_decay(step: float, half_life: float) -> Schedule:
    """Step size that halves again and again, ``step * 2**(-t / half_life)``.

    It falls so fast that the steps have a finite sum: where they begin too far away they never arrive.

    Parameters
    ----------
    step : float
        First step size, above 0.
    half_life : float
        Steps in which it halves, above 0. After about 1,074 half-lives it is no longer above 0, which `fit` refuses.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number in its range.

    References
    ----------
    X. Li, Z. Zhuang and F. Orabona, A second look at exponential and cosine step sizes, *ICML* 2021, section 3.

    Examples
    --------
    >>> import gradstep as gs
    >>> schedule = gs.exponential_decay(0.1, half_life=100)
    >>> schedule.rate(200.0, schedule.params)
    0.025
    """
    params = _step("exponential_decay", step), real("exponential_decay: half_life", half_life, above=0.0)
    return Schedule("exponential_decay", _exponential_decay_rate, params)


@formula
def _cosine_decay_rate(t, p):
    step, steps, warmup, end = p
    one = type(t)(1)
    if t < warmup:
        return step * (t + one) / (warmup + one)
    if t >= steps:
        return end
    # cos(x/2)**2 in place of (1 + cos(x)) / 2, which loses its digits near the end.
    c = type(t)(math.cos(type(t)(math.pi / 2) * (t - warmup) / (steps - warmup)))
    return end + (step - end) * c * c


def cosine_decay(step: float, steps: float, warmup: float = 0, end: float = 0.0) -> Schedule:
    """Step size that rises in a line and falls along half a cosine.

    ``step * (t + 1) / (warmup + 1)`` for ``t < warmup``, then
    ``end + (step - end) * (1 + cos(pi * (t - warmup) / (steps - warmup))) / 2``, and ``end`` from ``steps`` on.

    Parameters
    ----------
    step : float
        Largest step size, above 0.
    steps : float
        Steps of the whole schedule, above ``warmup``: epochs times ``ceil(n / batch_size)``.
    warmup : float, default 0
        Steps of the rise, at least 0. A few hundred help where the first gradients are large.
    end : float, default 0
        Step size at the end, at least 0. With 0 the schedule serves exactly ``steps`` steps: a fit that goes on beyond
        them is refused.

    Returns
    -------
    Schedule
        The schedule.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a finite number in its range.

    References
    ----------
    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, *ICLR* 2017, section 3. P. Goyal
    et al., Accurate, large minibatch SGD, arXiv:1706.02677 (2017), section 2.2, for the warm-up.

    Examples
    --------
    >>> import gradstep as gs
    >>> schedule = gs.cosine_decay(0.1, steps=1000, warmup=9)
    >>> schedule.rate(4.0, schedule.params), schedule.rate(9.0, schedule.params)
    (0.05, 0.1)
    """
    first = real("cosine_decay: warmup", warmup, least=0.0)
    params = (
        _step("cosine_decay", step),
        real("cosine_decay: steps", steps, above=first),
        first,
        real("cosine_decay: end", end, least=0.0),
    )
    return Schedule("cosine_decay", _cosine_decay_rate, params)


def _step(name: str, step: float) -> float:
    return real(f"{name}: step", step, above=0.0)


SCHEDULES: Registry[Schedule] = {
    constant: ((0.1,),),
    inverse_decay: ((0.1, 0.01), (0.1, 0.0)),
    power_decay: ((0.1, 0.01), (0.1, 0.01, 1.0), (0.1, 0.01, 0.0)),
    exponential_decay: ((0.1, 100.0),),
    cosine_decay: ((0.1, 1000.0), (0.1, 1000.0, 50.0, 0.001)),
}
