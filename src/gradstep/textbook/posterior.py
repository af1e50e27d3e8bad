"""The posterior of a linear model with Gaussian noise, in closed form: the normal-inverse-gamma distribution."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._numbers import real
from gradstep._result import Fit
from gradstep.textbook.normal_inverse_gamma import LOG_2_PI, Laws, log_root, matrix, vector
from gradstep.textbook.rows import one_response

_SYMMETRIC = 1e-10
_EPS = float(np.finfo(np.float64).eps)


class NormalInverseGamma(Laws):
    """What is known of the coefficients w and the noise variance v of ``y = X w + e``, e normal with variance v.

    ``w | v ~ N(mean, v inv(precision))`` and ``v ~ inverse gamma(shape, scale)``, of density proportional to
    ``v**-(shape + 1) exp(-scale / v)``. It is conjugate: what is known after more rows is of the same form. As a prior
    it says what is known before; its `update` is the posterior. An intercept is the last entry of w.

    Parameters
    ----------
    mean : array_like, (p,)
        Mean of w, also its mode.
    precision : array_like, (p, p)
        Inverse of the covariance of w in units of the noise variance, symmetric and positive definite: as if
        ``X' X = precision`` had been seen.
    shape : float
        Shape of the inverse gamma, positive: half as many degrees of freedom as are known of the noise.
    scale : float
        Scale of the inverse gamma, positive, in squared units of ``y``: half the sum of their squares.

    Attributes
    ----------
    mean : ndarray, (p,)
        Mean of w.
    factor : ndarray, (p, p)
        Triangular R with ``R' R = precision``.
    shape, scale : float
        Of the inverse gamma.
    log_evidence : float
        Logarithm of the density of all responses seen since the prior, ``log p(y | X)``; 0 of a prior, NaN of one that
        is not proper.

    Raises
    ------
    TypeError, ValueError
        If the precision is not positive definite, or a size or a number is wrong.

    References
    ----------
    A. Gelman, J. B. Carlin, H. S. Stern, D. B. Dunson, A. Vehtari and D. B. Rubin, *Bayesian Data Analysis*, 3rd
    edition, CRC 2013, chapter 14. A. O'Hagan and J. Forster, *Kendall's Advanced Theory of Statistics 2B: Bayesian
    Inference*, 2nd edition, Arnold 2004, chapter 11.

    Examples
    --------
    >>> import numpy as np
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 100, noise=0.1)
    >>> prior = gs.textbook.NormalInverseGamma(np.zeros(3), 0.01 * np.eye(3), shape=1.0, scale=0.01)
    >>> prior.update(X, y).mean.round(1)
    array([ 2. , -3.4,  4.2])
    """

    def __init__(self, mean: ArrayLike, precision: ArrayLike, shape: float, scale: float) -> None:
        center, about = vector("mean", mean), matrix("precision", precision)
        p = len(center)
        if about.shape != (p, p):
            raise ValueError(f"precision: shape {about.shape} came; {(p, p)} is needed, for mean as it is.")
        if not (about.diagonal() > 0).all():
            j = int(np.argmin(about.diagonal()))
            raise ValueError(
                f"precision: {about[j, j]:g} came at [{j}, {j}], on the diagonal; a positive definite matrix is needed."
            )
        # In columns brought to one scale, so that units do not matter to what is symmetric or definite.
        unit = np.sqrt(about.diagonal())
        with np.errstate(over="ignore"):
            scaled = about / unit / unit[:, np.newaxis]
        scaled = np.clip(scaled, -2.0, 2.0)  # beyond 1 it is not definite, however far
        gap = np.abs(scaled - scaled.T)
        if gap.max() > _SYMMETRIC:
            i, j = (int(where) for where in np.unravel_index(int(gap.argmax()), gap.shape))
            raise ValueError(
                f"precision: {about[i, j]:g} came at [{i}, {j}] and {about[j, i]:g} at [{j}, {i}]; a symmetric matrix "
                "is needed."
            )
        scaled = (scaled + scaled.T) / 2
        least = float(np.linalg.eigvalsh(scaled)[0])
        if least <= p * _EPS:
            raise ValueError(
                f"precision: with a diagonal brought to one, its least eigenvalue is {least:.3g}; a positive definite "
                "matrix is needed."
            )
        factor = scipy.linalg.cholesky(scaled) * unit
        self._set(
            factor, factor @ center, real("shape", shape, above=0.0), real("scale", scale, above=0.0), 0.0, whole=True,
            mean=center,
        )  # fmt: skip

    @classmethod
    def flat(cls, size: int) -> NormalInverseGamma:
        """Return the reference prior ``p(w, v)`` proportional to ``1 / v``, which is improper.

        With it the posterior's marginals are the t distributions of the classical standard errors. It has no law of its
        own: it has to be updated first, with more rows than coefficients.

        Parameters
        ----------
        size : int
            Number of coefficients p, an intercept included.

        Returns
        -------
        NormalInverseGamma
            The prior, of precision 0.

        Raises
        ------
        TypeError, ValueError
            If ``size`` is no whole number of at least 1.

        References
        ----------
        A. Gelman et al., *Bayesian Data Analysis*, 3rd edition, CRC 2013, section 14.2.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 100)
        >>> posterior = gs.textbook.NormalInverseGamma.flat(3).update(X, y)
        >>> spread = posterior.weights().shape.diagonal() ** 0.5
        >>> bool(abs(spread[0] / gs.closed_form(X, y).standard_errors[0] - 1) < 1e-10)
        True
        """
        p = _input.whole("size", size, 1)
        return cls._of(np.zeros((p, p)), np.zeros(p), -p / 2, 0.0, math.nan, whole=False)

    def update(self, X: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> NormalInverseGamma:
        """Return what is known after more rows; after block A and then block B, what is known after both at once.

        The rows are factored as they are: of columns far from zero, `update_from` a fit keeps more digits.

        Parameters
        ----------
        X : array_like, (n, d)
            Predictors.
        y : array_like, (n,)
            Response.
        intercept : bool, default True
            Whether the last entry of w is an intercept.

        Returns
        -------
        NormalInverseGamma
            The posterior.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used, or has another number of columns.

        Examples
        --------
        >>> import numpy as np
        >>> import gradstep as gs
        >>> prior = gs.textbook.NormalInverseGamma([0.0], [[1.0]], 1.0, 1.0)
        >>> prior.update([[1.0], [1.0]], [2.0, 4.0], intercept=False).mean
        array([2.])
        """
        rows, responses = one_response(X, y, intercept=intercept)
        self._fits(rows.shape[1], "X")
        return self._seen(rows, responses, 0.0, len(rows))

    def update_from(self, fit: Fit) -> NormalInverseGamma:
        """Return what is known after the rows of a fit, from the factor that it holds: no row is read again.

        Parameters
        ----------
        fit : Fit
            A fit of one response by the squared loss without a penalty, with a factor of all rows: of a small table,
            or by ``solver="exact"``. With weights the variance of row i is ``v / weight_i``, weights of mean 1.

        Returns
        -------
        NormalInverseGamma
            The posterior.

        Raises
        ------
        TypeError, ValueError
            If it is no Fit, holds no factor of all rows, has a penalty (the prior is that), several responses, or
            another number of coefficients.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.1)
        >>> posterior = gs.textbook.NormalInverseGamma.flat(3).update_from(gs.fit(X, y))
        >>> posterior.mean.round(1)
        array([ 2. , -3.4,  4.2])
        """
        if not isinstance(fit, Fit):
            raise TypeError(f"fit: {fit!r} came; a Fit is needed, as gs.fit returns it.")
        factor, certificate = fit.factor, fit.certificate
        if factor is None or certificate is None:
            raise ValueError(
                f'fit: {fit!r} came, which holds no factor of all rows; gs.fit(X, y, solver="exact"), or update(X, y), '
                "is needed."
            )
        if fit.penalty is not None or fit.coef.ndim != 1:
            what = f"with the penalty {fit.penalty!r}" if fit.penalty is not None else "of several responses"
            raise ValueError(f"fit: one {what} came; one of a single response without a penalty is needed.")
        coefficients = factor.shape[1]
        self._fits(coefficients, "fit")
        w = np.append(fit.coef, fit.intercept)[:coefficients]
        present = round(certificate.degrees_of_freedom) + certificate.rank + (coefficients > len(fit.coef))
        return self._seen(factor, factor @ w, 2 * fit.objective * present, present, fit.log_weights)

    @classmethod
    def _of(
        cls, factor: NDArray[np.float64], image: NDArray[np.float64], shape: float, scale: float, log_evidence: float,
        *, whole: bool,
    ) -> NormalInverseGamma:  # fmt: skip
        made = cls.__new__(cls)
        made._set(factor, image, shape, scale, log_evidence, whole=whole)  # noqa: SLF001 - of this class
        return made

    def _seen(
        self, rows: NDArray[np.float64], responses: NDArray[np.float64], rest: float, n: int, log_weights: float = 0.0
    ) -> NormalInverseGamma:
        """Return the posterior of n rows of which ``norm(rows w - responses)**2 + rest`` is the sum of squares."""
        p = len(self.mean)
        both = np.vstack((np.column_stack((self.factor, self._image)), np.column_stack((rows, responses))))
        # Largest rows first: Householder's method then minds no rows of very different size.
        both = both[np.argsort(-np.abs(both).max(axis=1), kind="stable")]
        triangle = np.zeros((p + 1, p + 1))
        found = scipy.linalg.qr(both, mode="r")[0][: p + 1]
        triangle[: len(found)] = found
        factor, shape = triangle[:p, :p].copy(), self.shape + n / 2
        with np.errstate(over="ignore"):
            scale = self.scale + float(np.square(triangle[p, p]) + rest) / 2
        if not math.isfinite(scale):
            raise ValueError("y: sums of the squares of its rests overflow float64; other units of y are needed.")
        log_evidence = math.nan
        if not math.isnan(self.log_evidence):
            log_evidence = self.log_evidence + (
                (log_weights - n * LOG_2_PI) / 2 + log_root(self.factor) - log_root(factor)
                + self.shape * math.log(self.scale) - shape * math.log(scale)
                + math.lgamma(shape) - math.lgamma(self.shape)
            )  # fmt: skip
        return self._of(factor, triangle[:p, p].copy(), shape, scale, log_evidence, whole=self._whole)
