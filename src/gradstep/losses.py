"""Losses: what one score costs, each declared once as scalar formulas.

A loss is ``value(z, y, p)``, its derivative in the score ``slope(z, y, p)`` and its second derivative
``curvature(z, y, p)``, where ``z`` is the score ``x w + b``, ``y`` the response and ``p`` the tuple of parameters. CPU
kernels, CUDA kernels, tests and documentation all call these same functions. ``LOSSES``, the tuple of constructors at
the end, is the only list of losses there is. (A second form that reads a whole row of scores, as softmax needs, is
reserved.)
"""

from collections.abc import Callable
from typing import NamedTuple

from gradstep._kernels.formula import formula


class Loss(NamedTuple):
    """A loss: three scalar formulas and their parameters.

    Parameters
    ----------
    name : str
        The name that reports print.
    value : callable
        ``value(z, y, p)``, the loss of one score.
    slope : callable
        ``slope(z, y, p)``, the derivative of the value in ``z``.
    curvature : callable
        ``curvature(z, y, p)``, the second derivative in ``z`` (zero where there is none).
    params : tuple of float
        The parameters ``p``. They travel to the kernels as data, so one compilation serves every value.

    See Also
    --------
    squared : The loss of least squares.
    gradstep.check_gradient : Confirms a slope numerically.

    Examples
    --------
    >>> import gradstep as gs
    >>> loss = gs.squared()
    >>> loss.value(3.0, 1.0, loss.params), loss.slope(3.0, 1.0, loss.params)
    (2.0, 2.0)
    """

    name: str
    value: Callable[..., float]
    slope: Callable[..., float]
    curvature: Callable[..., float]
    params: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.params))})"


@formula
def _squared_value(z, y, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
    r = z - y
    return r * r / type(r)(2)


@formula
def _squared_slope(z, y, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return z - y


@formula
def _squared_curvature(z, y, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
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
    C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer 2006, section 3.1.1.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.squared().slope(5.0, 3.0, ())
    2.0
    """
    return Loss("squared", _squared_value, _squared_slope, _squared_curvature)


LOSSES = (squared,)
