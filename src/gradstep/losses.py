"""Losses: what one score costs, each declared once as scalar formulas.

A loss is ``value(z, y, p)``, its derivative in the score ``slope(z, y, p)`` and its second derivative
``curvature(z, y, p)``, where ``z`` is the score ``x w + b``, ``y`` the response and ``p`` the tuple of parameters. CPU
kernels, CUDA kernels, tests and documentation all call these same functions. ``LOSSES``, the registry at the end, is
the only list of losses there is. (A second form that reads a whole row of scores, as softmax needs, is reserved.)

At a kink the slope is the number of least magnitude between the slopes on its two sides, which is 0 for every loss
here, and the curvature is 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.formula import Formula, Formulas, Registry, formula
from gradstep._numbers import real


class Domain(NamedTuple):
    """The responses that a loss is defined for."""

    words: str
    contains: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
    into: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Responses of the domain made of any real numbers, for checks and pictures."""


DOMAINS = {
    "real": Domain("any real number", np.isfinite, np.asarray),
    "nonnegative": Domain("a number of at least 0", lambda y: y >= 0, lambda y: np.floor(np.abs(y))),
    "positive": Domain("a number above 0", lambda y: y > 0, lambda y: np.abs(y) + 0.1),
    "binary": Domain("0 or 1", lambda y: (y == 0) | (y == 1), lambda y: (y > 0).astype(np.float64)),
}


@dataclass(frozen=True, repr=False)
class Loss(Formulas):
    """A loss: three scalar formulas and their parameters.

    Parameters
    ----------
    name : str
        The name that reports print.
    value : callable
        ``value(z, y, p)``, the loss of one score; convex in ``z``.
    slope : callable
        ``slope(z, y, p)``, the derivative of the value in ``z``; at a kink, a number between those of its two sides.
    curvature : callable
        ``curvature(z, y, p)``, the second derivative in ``z``, 0 where there is none.
    params : tuple of float, default ()
        The parameters ``p``. They travel to the kernels as data, so one compilation serves every value; a global that a
        formula uses is read once, when it is first compiled. A fit can be pickled if they can be imported.
    domain : {"real", "nonnegative", "positive", "binary"}, default "real"
        The responses that the loss is defined for; `fit` refuses others. Binary ones are 0 and 1.
    dispersion : float, optional
        1 where the loss is the negative log-likelihood of the responses, for standard errors of maximum likelihood.
        None lets the slopes tell it: their mean square over the mean curvature.
    relative : bool, default False
        Whether the parameters are in units of a robust scale of the residuals, as that of `huber` may be.

    Raises
    ------
    TypeError
        If a formula is not marked with `formula`, takes other arguments, fails or returns no number at
        ``z = 0.5, y = 1``, or a parameter is no number.
    ValueError
        If a parameter is not finite or the domain is not one of the four.

    See Also
    --------
    gradstep.check_loss : Tries all the laws that a loss must obey.
    gradstep.check_gradient : Confirms a slope numerically on a table.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.squared()
    >>> loss.value(3.0, 1.0, loss.params), loss.slope(3.0, 1.0, loss.params)
    (2.0, 2.0)
    """

    name: str
    value: Formula
    slope: Formula
    curvature: Formula
    params: tuple[float, ...] = ()
    domain: str = "real"
    dispersion: float | None = None
    relative: bool = False

    ROLES = dict.fromkeys(("value", "slope", "curvature"), (("z", 0.5), ("y", 1.0)))

    def __repr__(self) -> str:
        name = super().__repr__()
        if self.value is _huber_value and not self.relative:
            return f"{name[:-1]}, absolute=True)"
        several = self.value is _quantile_value and len(self.params) > 1
        return f"{self.name}({name[len(self.name) :]})" if several else name

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dispersion is not None:
            real(f"Loss {self.name}: dispersion", self.dispersion, above=0.0)
        if not isinstance(self.relative, bool):
            raise TypeError(f"Loss {self.name}: relative: {self.relative!r} came; True or False is needed.")
        if self.domain not in DOMAINS:
            raise ValueError(f"Loss {self.name}: domain: {self.domain!r} came; one of {', '.join(DOMAINS)} is needed.")


@formula
def _squared_value(z, y, p):
    r = z - y
    return r * r / type(r)(2)


@formula
def _squared_slope(z, y, p):
    return z - y


@formula
def _squared_curvature(z, y, p):
    return type(z)(1)


def squared() -> Loss:
    """Squared loss, ``(z - y)**2 / 2``: the negative log-likelihood of normal noise, up to scale and constant.

    Its slope is ``z - y`` and its curvature 1. Its minimiser is the least-squares fit, which `gradstep.closed_form`
    computes directly.

    Returns
    -------
    Loss
        ``y`` may be any real number; the loss is in squared units of ``y``.

    References
    ----------
    C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 3.1.1, page 141.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.squared().slope(5.0, 3.0, ())
    2.0
    """
    return Loss("squared", _squared_value, _squared_slope, _squared_curvature)


@formula
def _huber_value(z, y, p):
    r = abs(z - y)
    q = min(r, p[0])
    return q * (r - q / type(q)(2))


@formula
def _huber_slope(z, y, p):
    return min(max(z - y, -p[0]), p[0])


@formula
def _huber_curvature(z, y, p):
    return type(z)(1) if abs(z - y) < p[0] else type(z)(0)


def huber(delta: float, absolute: bool = False) -> Loss:
    """Huber loss, ``q * (|z - y| - q/2)`` with ``q = min(|z - y|, delta)``: squared near, absolute far away.

    Up to ``delta`` it is ``(z - y)**2 / 2``, beyond ``delta * (|z - y| - delta / 2)``, so that an outlier pulls no
    harder than one ``delta`` away. Its slope is ``z - y`` clipped to ``[-delta, delta]``, its curvature 1 within and 0
    beyond.

    Parameters
    ----------
    delta : float
        Where the squared part ends, above 0. 1.345 keeps 95 % of the efficiency of least squares for normal noise.
    absolute : bool, default False
        Whether ``delta`` is in units of ``y``. Else it is in units of the residuals' median size over 0.6745, a robust
        standard deviation: `gradstep.fit` finds it with the fit, which holds the loss with ``delta`` in units of ``y``.
        A fit with a ``step`` needs an absolute one.

    Returns
    -------
    Loss
        ``y`` may be any real number; the loss is in squared units of ``y``.

    Raises
    ------
    TypeError, ValueError
        If ``delta`` is not a finite number above 0, or ``absolute`` not True or False.

    References
    ----------
    P. J. Huber, Robust estimation of a location parameter, *Annals of Mathematical Statistics* 35 (1964) 73-101.
    S. Boyd and L. Vandenberghe, *Convex Optimization*, Cambridge 2004, section 6.1.2, page 299.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.huber(1.5, absolute=True)
    >>> loss.value(1.0, 0.0, loss.params), loss.value(10.0, 0.0, loss.params), loss.slope(10.0, 0.0, loss.params)
    (0.5, 13.875, 1.5)
    """
    if not isinstance(absolute, bool):
        raise TypeError(f"huber: absolute: {absolute!r} came, a {type(absolute).__name__}; True or False is needed.")
    params = (real("huber: delta", delta, above=0.0),)
    return Loss("huber", _huber_value, _huber_slope, _huber_curvature, params, relative=not absolute)


@formula
def _exp(z):
    # In the type of z; of a whole number a float, which plain Python could be called with.
    return type(z / type(z)(1))(math.exp(z))


@formula
def _log1p(e):
    # Of e in [0, 1], as 2 atanh(s) = 2 (s + s**3 / 3 + ...) with s of at most 1/3: within three units of the last
    # digit. The library's branches on e, and a branch that no one can foresee stops the processor from reading ahead.
    one = type(e)(1)
    s = e / (one + one + e)
    square = s * s
    series = one / type(e)(31)
    for k in range(29, 0, -2):
        series = series * square + one / type(e)(k)
    return type(e)(2) * s * series


@formula
def _logistic_value(z, y, p):
    return (max(z, type(z)(0)) - y * z) + _log1p(_exp(-abs(z)))


@formula
def _logistic_slope(z, y, p):
    # From the probability of the less likely label, so that nothing cancels where the likely one comes.
    one = type(z)(1)
    e = _exp(-abs(z))
    q = e / (one + e)
    return q - y if z < type(z)(0) else (one - y) - q


@formula
def _logistic_curvature(z, y, p):
    one = type(z)(1)
    e = _exp(-abs(z))
    return e / ((one + e) * (one + e))


def logistic() -> Loss:
    """Logistic loss, ``log(1 + exp(z)) - y z``: the negative log-likelihood of a label 0 or 1 with log-odds ``z``.

    Its slope is ``1 / (1 + exp(-z)) - y``, the probability less the label, and its curvature ``q (1 - q)`` with ``q``
    that probability. It is computed from ``exp(-|z|)``: no score overflows or loses digits.

    Returns
    -------
    Loss
        ``y`` is 0 or 1; scores are log-odds, and the loss is in nats.

    References
    ----------
    C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 4.3.2, page 206. S. Boyd and
    L. Vandenberghe, *Convex Optimization*, Cambridge 2004, section 7.1.1, page 354.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.logistic()
    >>> loss.slope(0.0, 1.0, ()), loss.value(-1000.0, 1.0, ()), loss.value(1000.0, 1.0, ())
    (-0.5, 1000.0, 0.0)
    """
    return Loss("logistic", _logistic_value, _logistic_slope, _logistic_curvature, domain="binary", dispersion=1.0)


@formula
def _quantile_value(z, y, p):
    r = y - z
    return max(p[0] * r, (p[0] - type(r)(1)) * r)


@formula
def _quantile_slope(z, y, p):
    return -p[0] if z < y else (type(z)(1) - p[0] if z > y else type(z)(0))


@formula
def _no_curvature(z, y, p):
    return type(z)(0)


def quantile(level: float | Sequence[float]) -> Loss:
    """Quantile (pinball) loss, ``level * (y - z)`` above the score and ``(1 - level) * (z - y)`` below it.

    Its minimiser among constants is the quantile of ``y`` at ``level``; at 0.5 the loss is half the absolute error. Its
    slope is ``-level`` where ``z < y``, ``1 - level`` where ``z > y`` and 0 at the kink; it has no curvature.

    Parameters
    ----------
    level : float or sequence of float
        The quantile's level, in (0, 1); 0.5 is the median. There is no default: the level is the question asked.
        Several in ascending order, as ``(0.1, 0.5, 0.9)``, are fitted together without a step: a column of coefficients
        each, and predictions that do not cross.

    Returns
    -------
    Loss
        ``y`` may be any real number; the loss is in units of ``y``.

    Raises
    ------
    TypeError, ValueError
        If ``level`` is not a number in (0, 1), or several are not in ascending order.

    References
    ----------
    R. Koenker and G. Bassett, Regression quantiles, *Econometrica* 46 (1978) 33-50, page 38. R. Koenker, *Quantile
    Regression*, Cambridge 2005, section 1.3, page 5.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.quantile(0.9)
    >>> loss.value(0.0, 10.0, loss.params), loss.slope(0.0, 10.0, loss.params), loss.slope(1.0, 1.0, loss.params)
    (9.0, -0.9, 0.0)
    """
    several = level if isinstance(level, Sequence | np.ndarray) and not isinstance(level, str) else (level,)
    levels = tuple(real("quantile: level", one, above=0.0, below=1.0) for one in several)
    if not levels or any(a >= b for a, b in pairwise(levels)):
        raise ValueError(f"quantile: level: {level!r} came; levels in ascending order, each once, are needed.")
    return Loss("quantile", _quantile_value, _quantile_slope, _no_curvature, levels)


@formula
def _epsilon_insensitive_value(z, y, p):
    return max(abs(z - y) - p[0], type(z)(0))


@formula
def _epsilon_insensitive_slope(z, y, p):
    one = type(z)(1)
    r = z - y
    return one if r > p[0] else (-one if r < -p[0] else type(z)(0))


def epsilon_insensitive(eps: float) -> Loss:
    """Epsilon-insensitive loss, ``max(|z - y| - eps, 0)``: the absolute error beyond a tube that costs nothing.

    Its slope is the sign of ``z - y`` outside the tube and 0 inside and on its edge; it has no curvature.

    Parameters
    ----------
    eps : float
        Half the width of the tube, at least 0, in units of ``y``; 0 makes the absolute error. There is no default: it
        is the error that does not matter.

    Returns
    -------
    Loss
        ``y`` may be any real number; the loss is in units of ``y``.

    Raises
    ------
    TypeError, ValueError
        If ``eps`` is not a finite number of at least 0.

    References
    ----------
    V. N. Vapnik, *The Nature of Statistical Learning Theory*, Springer 1995, chapter 6. S. Boyd and L. Vandenberghe,
    *Convex Optimization*, Cambridge 2004, section 6.1.2, page 295 (the deadzone-linear penalty).

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.epsilon_insensitive(0.5)
    >>> loss.value(2.0, 0.0, loss.params), loss.slope(2.0, 0.0, loss.params), loss.slope(0.5, 0.0, loss.params)
    (1.5, 1.0, 0.0)
    """
    eps = real("epsilon_insensitive: eps", eps, least=0.0)
    return Loss("epsilon_insensitive", _epsilon_insensitive_value, _epsilon_insensitive_slope, _no_curvature, (eps,))


@formula
def _top(z):
    # The score up to which exp is taken, with room for the tangent at 1e3: float32 has no number below 1e-60 but 0.
    x = z / type(z)(1)
    return type(x)(700) if type(x)(1e-60) > type(x)(0) else type(x)(80)


@formula
def _poisson_value(z, y, p):
    top = _top(z)
    e = _exp(min(z, top))
    return e + e * max(z - top, type(z)(0)) - y * z


@formula
def _poisson_slope(z, y, p):
    return _exp(min(z, _top(z))) - y


@formula
def _poisson_curvature(z, y, p):
    top = _top(z)
    return _exp(z) if z < top else type(top)(0)


def poisson() -> Loss:
    """Poisson loss with the log link, ``exp(z) - y z``: the negative log-likelihood of a count with mean ``exp(z)``.

    The term ``log(y!)``, which no coefficient changes, is left out. Its slope is ``exp(z) - y``, the mean less the
    count, and its curvature ``exp(z)``. Beyond a score of 700 (in float32: 80), where ``exp`` would soon overflow, the
    loss goes on along its tangent, convex and finite, with curvature 0.

    Returns
    -------
    Loss
        ``y`` is a number of at least 0, a count or a rate; scores are logarithms of means, and the loss is in nats.

    References
    ----------
    P. McCullagh and J. A. Nelder, *Generalized Linear Models*, 2nd edition, Chapman and Hall 1989, chapter 6. S. Boyd
    and L. Vandenberghe, *Convex Optimization*, Cambridge 2004, section 7.1.1, page 353.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.poisson()
    >>> loss.value(0.0, 3.0, ()), loss.slope(0.0, 3.0, ()), loss.value(-1000.0, 3.0, ())
    (1.0, -2.0, 3000.0)
    """
    return Loss("poisson", _poisson_value, _poisson_slope, _poisson_curvature, domain="nonnegative", dispersion=1.0)


LOSSES: Registry[Loss] = {
    squared: ((),),
    huber: ((1.35,), (1.35, True), (0.3, True), (1e3, True)),
    logistic: ((),),
    quantile: ((0.5,), (0.1,), (0.9,)),
    epsilon_insensitive: ((0.5,), (0.0,)),
    poisson: ((),),
}
