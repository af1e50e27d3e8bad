"""Penalties: what large coefficients cost, each declared once as scalar formulas.

A penalty is ``value(w, p)``, summed over the coefficients, and its proximal step ``prox(w, t, p)``, the minimiser in
``v`` of ``t * value(v, p) + (v - w)**2 / 2``, exact for any step ``t``. The intercept is never penalised.
``PENALTIES``, the registry at the end, is the only list. ``penalty=None`` stands for none.
"""

from dataclasses import dataclass

from gradstep._kernels.formula import Formula, Formulas, Registry, formula
from gradstep._numbers import real


@dataclass(frozen=True, repr=False)
class Penalty(Formulas):
    """A penalty: two scalar formulas and their parameters.

    Parameters
    ----------
    name : str
        The name that reports print.
    value : callable
        ``value(w, p)``, the penalty of one coefficient.
    prox : callable
        ``prox(w, t, p)``, the minimiser in ``v`` of ``t * value(v, p) + (v - w)**2 / 2``.
    params : tuple of float, default ()
        The parameters ``p``.

    Raises
    ------
    TypeError
        If a formula is not marked with `formula`, takes other arguments, fails or returns no number at
        ``w = 0.5, t = 1``, or a parameter is no number.
    ValueError
        If a parameter is not finite.

    See Also
    --------
    l2 : The ridge penalty.
    l1 : The lasso penalty.

    Examples
    --------
    >>> import gradstep as gs
    >>> ridge = gs.l2(0.5)
    >>> ridge.value(2.0, ridge.params), ridge.prox(3.0, 1.0, ridge.params)
    (1.0, 2.0)
    """

    name: str
    value: Formula
    prox: Formula
    params: tuple[float, ...] = ()

    ROLES = {"value": (("w", 0.5),), "prox": (("w", 0.5), ("t", 1.0))}


@formula
def _no_value(w, p):
    return w - w


@formula
def _no_prox(w, t, p):
    return w


NO_PENALTY = Penalty("none", _no_value, _no_prox)
"""What `penalty=None` means to the kernels."""


@formula
def _l2_value(w, p):
    return p[0] * w * w / type(w)(2)


@formula
def _l2_prox(w, t, p):
    return w / (type(w)(1) + t * p[0])


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
    TypeError, ValueError
        If ``alpha`` is not a finite number of at least 0.

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
    return Penalty("l2", _l2_value, _l2_prox, (real("l2: alpha", alpha, least=0.0),))


@formula
def _towards_zero(w, by):
    return w - by if w > by else (w + by if w < -by else type(w)(0))


@formula
def _l1_value(w, p):
    return p[0] * abs(w)


@formula
def _l1_prox(w, t, p):
    return _towards_zero(w, t * p[0])


def l1(alpha: float) -> Penalty:
    """Lasso penalty, ``alpha * sum(|w|)`` on the coefficients in the caller's units.

    Its proximal step takes ``t alpha`` off each coefficient's size and leaves an exact 0 where that is all of it.

    Parameters
    ----------
    alpha : float
        Strength, finite and not negative, in units of the objective over units of a coefficient. It is scikit-learn's
        ``Lasso(alpha)`` as it stands.

    Returns
    -------
    Penalty
        The penalty.

    Raises
    ------
    TypeError, ValueError
        If ``alpha`` is not a finite number of at least 0.

    References
    ----------
    R. Tibshirani, Regression shrinkage and selection via the lasso, *Journal of the Royal Statistical Society* B 58
    (1996) 267-288, section 2. N. Parikh and S. Boyd, Proximal algorithms, *Foundations and Trends in Optimization* 1
    (2014), section 6.5.2.

    Examples
    --------
    >>> import gradstep as gs
    >>> lasso = gs.l1(0.5)
    >>> lasso.prox(2.0, 1.0, lasso.params), lasso.prox(-0.3, 1.0, lasso.params)
    (1.5, 0.0)
    """
    return Penalty("l1", _l1_value, _l1_prox, (real("l1: alpha", alpha, least=0.0),))


@formula
def _elastic_net_value(w, p):
    one = type(w)(1)
    return p[0] * (p[1] * abs(w) + (one - p[1]) * w / type(w)(2) * w)


@formula
def _elastic_net_prox(w, t, p):
    one = type(w)(1)
    return _towards_zero(w, t * p[0] * p[1]) / (one + t * p[0] * (one - p[1]))


def elastic_net(alpha: float, ratio: float = 0.5) -> Penalty:
    """Elastic net, ``alpha * sum(ratio * |w| + (1 - ratio) / 2 * w**2)`` on the coefficients in the caller's units.

    Its proximal step is that of `l1` with ``ratio alpha``, then that of `l2` with ``(1 - ratio) alpha``.

    Parameters
    ----------
    alpha : float
        Strength, finite and not negative. It is scikit-learn's ``ElasticNet(alpha)`` as it stands.
    ratio : float, default 0.5
        Share of `l1`, in [0, 1]: 1 is `l1`, 0 is `l2`. scikit-learn calls it ``l1_ratio`` and has the same default.

    Returns
    -------
    Penalty
        The penalty.

    Raises
    ------
    TypeError, ValueError
        If ``alpha`` is not a finite number of at least 0, or ``ratio`` no number in [0, 1].

    References
    ----------
    H. Zou and T. Hastie, Regularization and variable selection via the elastic net, *Journal of the Royal Statistical
    Society* B 67 (2005) 301-320, section 2. N. Parikh and S. Boyd, Proximal algorithms, *Foundations and Trends in
    Optimization* 1 (2014), section 6.5.3.

    Examples
    --------
    >>> import gradstep as gs
    >>> net = gs.elastic_net(1.0, ratio=0.5)
    >>> net.value(2.0, net.params), net.prox(2.0, 1.0, net.params)
    (2.0, 1.0)
    """
    params = real("elastic_net: alpha", alpha, least=0.0), real("elastic_net: ratio", ratio, least=0.0, most=1.0)
    return Penalty("elastic_net", _elastic_net_value, _elastic_net_prox, params)


def strengths(penalty: Penalty | None) -> tuple[float, float]:
    """Return the strengths of l1 and of l2 that a penalty of the registry stands for: ``l1 |w| + l2/2 w**2``."""
    if penalty is None:
        return 0.0, 0.0
    if penalty.prox is _l2_prox:
        return 0.0, penalty.params[0]
    if penalty.prox is _l1_prox:
        return penalty.params[0], 0.0
    return penalty.params[0] * penalty.params[1], penalty.params[0] * (1.0 - penalty.params[1])


def is_known(penalty: Penalty | None) -> bool:
    """Whether a penalty is made of those here."""
    pairs = ((_l2_value, _l2_prox), (_l1_value, _l1_prox), (_elastic_net_value, _elastic_net_prox))
    return penalty is None or (penalty.value, penalty.prox) in pairs


PENALTIES: Registry[Penalty] = {
    l2: ((0.3,), (0.0,), (7.0,)),
    l1: ((0.3,), (0.0,), (2.0,)),
    elastic_net: ((0.3, 0.5), (0.3, 0.0), (0.3, 1.0), (0.0, 0.5)),
}
