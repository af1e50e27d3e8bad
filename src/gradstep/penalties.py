"""Penalties: what large coefficients cost, each declared once as scalar formulas.

A penalty is ``value(w, p)``, summed over the coefficients, and its proximal step ``prox(w, t, p)``, the minimiser in
``v`` of ``t * value(v, p) + (v - w)**2 / 2``, exact for any step ``t``. The intercept is never penalised.
``PENALTIES``, at the end, is the only list. ``penalty=None`` stands for none.
"""

import sys
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

from gradstep._kernels.formula import formula


class Penalty(NamedTuple):
    """A penalty: two scalar formulas and their parameters.

    Parameters
    ----------
    name : str
        The name that reports print.
    value : callable
        ``value(w, p)``, the penalty of one coefficient.
    prox : callable
        ``prox(w, t, p)``, the minimiser in ``v`` of ``t * value(v, p) + (v - w)**2 / 2``.
    params : tuple of float
        The parameters ``p``.

    See Also
    --------
    l2 : The ridge penalty.

    Examples
    --------
    >>> import gradstep as gs
    >>> ridge = gs.l2(0.5)
    >>> ridge.value(2.0, ridge.params), ridge.prox(3.0, 1.0, ridge.params)
    (1.0, 2.0)
    """

    name: str
    value: Callable[..., float]
    prox: Callable[..., float]
    params: tuple[float, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.params))})"


@formula
def _no_value(w, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return w - w


@formula
def _no_prox(w, t, p):  # type: ignore[no-untyped-def]  # noqa: ARG001
    return w


@formula
def _l2_value(w, p):  # type: ignore[no-untyped-def]
    return p[0] * w * w / type(w)(2)


@formula
def _l2_prox(w, t, p):  # type: ignore[no-untyped-def]
    return w / (type(w)(1) + t * p[0])


NO_PENALTY = Penalty("none", _no_value, _no_prox)
"""What `penalty=None` means to the kernels."""


def l2(alpha: float) -> Penalty:
    """Ridge penalty, ``alpha / 2 * sum(w**2)`` on the coefficients in the caller's units.

    Its proximal step is ``w / (1 + t alpha)``: shrinkage that is stable for every step ``t``.

    Parameters
    ----------
    alpha : float
        Strength, finite and not negative, in units of the objective over squared units of a coefficient. The data
        term of the objective is a *mean* over rows, so ``alpha`` here is scikit-learn's ``Ridge(alpha)`` over n, or
        over the sum of the weights.

    Returns
    -------
    Penalty
        The penalty.

    Raises
    ------
    TypeError
        If ``alpha`` is not a real number.
    ValueError
        If ``alpha`` is negative, NaN or infinite.

    References
    ----------
    A. E. Hoerl and R. W. Kennard, Ridge regression, *Technometrics* 12 (1970) 55-67, section 2. N. Parikh and
    S. Boyd, Proximal algorithms, *Foundations and Trends in Optimization* 1 (2014), section 6.1.1.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.l2(0.1).params
    (0.1,)
    """
    if isinstance(alpha, bool) or not isinstance(alpha, Real):
        raise TypeError(f"l2: alpha is {alpha!r}; a real number of at least 0 is needed.")
    if not 0 <= alpha <= sys.float_info.max:
        raise ValueError(f"l2: alpha is {alpha!r}; a finite number of at least 0 is needed.")
    return Penalty("l2", _l2_value, _l2_prox, (float(alpha),))


PENALTIES = (l2,)
