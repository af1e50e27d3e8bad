"""The posterior of a linear model with Gaussian noise, in closed form: the normal-inverse-gamma distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._numbers import real
from gradstep.textbook.normal_inverse_gamma import LOG_2_PI, Laws, frozen, vector, with_ones

if TYPE_CHECKING:
    from gradstep._result import Fit

_SYMMETRIC = 1e-10  # relative


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
        center, matrix = vector("mean", mean), np.asarray(precision, dtype=np.float64)
        p = len(center)
        if matrix.shape != (p, p):
            raise ValueError(f"precision: shape {matrix.shape} came; {(p, p)} is needed, for mean as it is.")
        if not np.isfinite(matrix).all():
            raise ValueError("precision: entries came that are not finite; finite numbers are needed.")
        gap = np.abs(matrix - matrix.T)
        if gap.max() > _SYMMETRIC * np.abs(matrix).max():
            i, j = np.unravel_index(int(gap.argmax()), gap.shape)
            raise ValueError(
                f"precision: {matrix[i, j]:g} came at [{i}, {j}] and {matrix[j, i]:g} at [{j}, {i}]; a "
                "symmetric matrix is needed."
            )
        try:
            factor = scipy.linalg.cholesky((matrix + matrix.T) / 2)
        except np.linalg.LinAlgError:
            least = float(np.linalg.eigvalsh(matrix)[0])
            raise ValueError(
                f"precision: its least eigenvalue is {least:.3g}; a positive definite matrix is needed."
            ) from None
        self._set(factor, factor @ center, real("shape", shape, above=0.0), real("scale", scale, above=0.0), 0.0)
        self.mean = frozen(center)

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
        return cls._of(np.zeros((p, p)), np.zeros(p), -p / 2, 0.0, math.nan)

    def update(self, X: ArrayLike, y: ArrayLike, *, intercept: bool = True) -> NormalInverseGamma:
        """Return what is known after more rows; after block A and then block B, what is known after both at once.

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
        rows = _input.rows(X, y)
        if rows.y.ndim != 1:
            raise ValueError(f"y: shape {rows.y.shape} came; one response, (n,), is needed.")
        table = with_ones(rows.X, intercept=_input.flag("intercept", intercept))
        self._fits(table.shape[1], "X")
        return self._seen(table, rows.y, 0.0, len(table))

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
        ValueError
            If the fit holds no factor of all rows, has a penalty (the prior is that), several responses, or another
            number of coefficients.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.1)
        >>> posterior = gs.textbook.NormalInverseGamma.flat(3).update_from(gs.fit(X, y))
        >>> posterior.mean.round(1)
        array([ 2. , -3.4,  4.2])
        """
        factor = getattr(fit, "factor", None)
        if factor is None:
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
        certificate = fit.certificate
        assert certificate is not None  # noqa: S101 - the factor came with it
        present = round(certificate.degrees_of_freedom) + certificate.rank + (coefficients > len(fit.coef))
        return self._seen(factor, factor @ w, 2 * fit.objective * present, present)

    @classmethod
    def _of(
        cls, factor: NDArray[np.float64], image: NDArray[np.float64], shape: float, scale: float, log_evidence: float
    ) -> NormalInverseGamma:
        made = cls.__new__(cls)
        made._set(factor, image, shape, scale, log_evidence)  # noqa: SLF001 - of this class
        return made

    def _seen(
        self, rows: NDArray[np.float64], responses: NDArray[np.float64], rest: float, n: int
    ) -> NormalInverseGamma:
        """Return the posterior of n rows of which ``norm(rows w - responses)**2 + rest`` is the sum of squares."""
        p = len(self.mean)
        both = np.vstack((np.column_stack((self.factor, self._image)), np.column_stack((rows, responses))))
        triangle = np.zeros((p + 1, p + 1))
        found = scipy.linalg.qr(both, mode="r")[0][: p + 1]
        triangle[: len(found)] = found
        scale = self.scale + (float(triangle[p, p]) ** 2 + rest) / 2
        after = self._of(triangle[:p, :p].copy(), triangle[:p, p].copy(), self.shape + n / 2, scale, math.nan)
        if not math.isnan(self.log_evidence):
            after.log_evidence = self.log_evidence + (
                -n / 2 * LOG_2_PI + self._log_root() - after._log_root()  # noqa: SLF001 - of this class
                + self.shape * math.log(self.scale) - after.shape * math.log(after.scale)
                + math.lgamma(after.shape) - math.lgamma(self.shape)
            )  # fmt: skip
        return after
