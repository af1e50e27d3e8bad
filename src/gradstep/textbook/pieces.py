"""Data, minibatches, model, gradient, step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._numbers import real
from gradstep._solvers.textbook import looked_at_shuffle
from gradstep._table.dense import Dense
from gradstep._table.order import row_order
from gradstep.losses import Loss, squared

Parameters = tuple[NDArray[np.float64], float | NDArray[np.float64]]
"""Coefficients (d,) with a number, or (d, k) with (k,)."""


def make_linear(
    w: ArrayLike, b: ArrayLike = 0.0, n: int = 1000, *, noise: float = 0.01, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a table that follows a linear model, ``y = X w + b + noise * e``, with X and e standard normal.

    Parameters
    ----------
    w : array_like, (d,) or (d, k)
        Coefficients.
    b : float or array_like (k,), default 0
        Intercept.
    n : int, default 1000
        Rows.
    noise : float, default 0.01
        Standard deviation of the noise, in units of ``y``, not negative.
    seed : int, default 0
        Seed of the draw, not negative.

    Returns
    -------
    X : ndarray, (n, d)
        Predictors.
    y : ndarray, (n,) or (n, k)
        Response.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge 2023, section 3.3.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000)
    >>> X.shape, y.shape
    ((1000, 2), (1000,))
    """
    coef, intercept = _input.parameters(w, b)
    n = _input.whole("n", n, 1)
    scale = real("noise", noise, least=0.0)
    rng = np.random.default_rng(_input.whole("seed", seed, 0))
    X = rng.standard_normal((n, len(coef)))
    scores = X @ coef + intercept
    return X, scores + scale * rng.standard_normal(scores.shape)


def minibatches(
    X: ArrayLike, y: ArrayLike, batch_size: int, *, epoch: int = 0, shuffle: bool | str = True, seed: int = 0
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.float64]]]:
    """Yield the minibatches of one epoch, every row once, in the order in which `gradstep.fit` reads them.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors.
    y : array_like, (n,) or (n, k)
        Response.
    batch_size : int
        Rows of a batch; the last one holds what is left.
    epoch : int, default 0
        Number of the epoch, from 0: each has its own order.
    shuffle : {True, False, "once", "blocks"}, default True
        In which order the rows come, as `gradstep.sgd` describes it.
    seed : int, default 0
        Seed of the orders.

    Yields
    ------
    rows : ndarray, (batch, d)
        Rows of X, a copy.
    responses : ndarray, (batch,) or (batch, k)
        Their responses, a copy.

    Raises
    ------
    TypeError, ValueError
        At the call, before the first batch, if an argument cannot be used.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 25)
    >>> [len(responses) for rows, responses in gs.textbook.minibatches(X, y, 10)]
    [10, 10, 5]
    """
    table = _input.rows(X, y)
    batch = _input.whole("batch_size", batch_size, 1)
    number = _input.whole("epoch", epoch, 0)
    shuffle = looked_at_shuffle("shuffle", shuffle)
    seed = _input.whole("seed", seed, 0)
    n = len(table.X)
    # A generator of its own, so that bad arguments are refused at the call and not at the first batch.
    order = row_order(n, seed, number, shuffle) if shuffle else np.arange(n)
    return ((table.X[part], table.y[part]) for part in (order[i : i + batch] for i in range(0, n, batch)))


def linear(X: ArrayLike, w: ArrayLike, b: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Return the scores of the linear model, ``X w + b``.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors.
    w : array_like, (d,) or (d, k)
        Coefficients.
    b : float or array_like (k,), default 0
        Intercept.

    Returns
    -------
    ndarray, (n,) or (n, k)
        Scores in float64, in units of ``y``.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.textbook.linear([[1.0, 1.0]], [2.0, -3.4], 4.2).round(1)
    array([2.8])
    """
    coef, intercept = _input.parameters(w, b)
    scores: NDArray[np.float64] = _input.predictors(X, columns=len(coef)) @ coef + intercept
    return scores


def gradient(X: ArrayLike, y: ArrayLike, w: ArrayLike, b: ArrayLike = 0.0, loss: Loss = squared()) -> Parameters:
    """Return the gradient of the mean loss over the rows given, in the coefficients and the intercept.

    ``mean_i slope(x_i w + b, y_i) x_i`` and ``mean_i slope(x_i w + b, y_i)``, laid out as the parameters are
    (denominator layout).

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors: a minibatch, or all rows.
    y : array_like, (n,) or (n, k)
        Response.
    w : array_like, (d,) or (d, k)
        Coefficients.
    b : float or array_like (k,), default 0
        Intercept.
    loss : Loss, default squared()
        The loss.

    Returns
    -------
    dw : ndarray, (d,) or (d, k)
        Derivatives in the coefficients, in units of the loss over units of a coefficient.
    db : float or ndarray (k,)
        Derivatives in the intercept.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used.

    References
    ----------
    A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, Cambridge 2023, section 3.1.1.4.

    Examples
    --------
    >>> import gradstep as gs
    >>> dw, db = gs.textbook.gradient([[1.0, 2.0]], [3.0], [1.0, 1.0], 1.0)
    >>> dw, db
    (array([1., 2.]), 1.0)
    """
    loss = _input.loss(loss)
    rows = _input.rows(X, y, loss=loss)
    coef, intercept = _input.parameters(w, b, rows.X.shape[1], rows.y.shape[1:])
    _, total = Dense(rows, loss, None).gradient(np.concatenate((coef, intercept[np.newaxis])))
    return total[:-1], (total[-1] if rows.y.ndim == 2 else float(total[-1]))


def sgd_step(parameters: Parameters, gradients: Parameters, step: float) -> Parameters:
    """Return the parameters after one step down the gradient, ``(w - step * dw, b - step * db)``.

    Parameters
    ----------
    parameters : tuple
        ``(w, b)``: coefficients and intercept. They are not changed.
    gradients : tuple
        ``(dw, db)``, as `gradient` returns them.
    step : float
        Step size (learning rate), positive.

    Returns
    -------
    tuple
        The new ``(w, b)``.

    Raises
    ------
    TypeError, ValueError
        If ``step`` is not a positive finite number, or parameters and gradients differ in shape.

    References
    ----------
    H. Robbins and S. Monro, A stochastic approximation method, *Annals of Mathematical Statistics* 22 (1951) 400-407.

    Examples
    --------
    >>> import numpy as np
    >>> import gradstep as gs
    >>> gs.textbook.sgd_step((np.array([1.0, 1.0]), 1.0), (np.array([1.0, 2.0]), 1.0), 0.5)
    (array([0.5, 0. ]), 0.5)
    """
    (w, b), (dw, db), rate = parameters, gradients, _input.rate(step)
    for name, value, slope in (("w", w, dw), ("b", b, db)):
        if np.shape(value) != np.shape(slope):
            raise ValueError(
                f"gradients: d{name} of shape {np.shape(slope)} came for {name} of shape {np.shape(value)}; equal "
                "shapes are needed."
            )
    return np.asarray(w) - rate * np.asarray(dw), b - rate * db
