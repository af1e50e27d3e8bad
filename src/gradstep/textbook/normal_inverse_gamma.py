"""The laws of coefficients and noise variance that are normal-inverse-gamma, as `scipy.stats` gives them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._dense_algebra import norms
from gradstep._numbers import frozen, real, stream
from gradstep.textbook.frozen import Frozen
from gradstep.textbook.rows import with_ones

LOG_2_PI = math.log(2 * math.pi)
_EPS = float(np.finfo(np.float64).eps)


class Laws(Frozen):
    """What can be asked of the law of ``w | v ~ N(mean, v inv(R' R))`` with ``v ~ inverse gamma(shape, scale)``."""

    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    shape: float
    scale: float
    log_evidence: float

    def _set(
        self, factor: NDArray[np.float64], image: NDArray[np.float64], shape: float, scale: float, log_evidence: float,
        *, whole: bool, mean: NDArray[np.float64] | None = None,
    ) -> None:  # fmt: skip
        """Take R, ``R mean``, which holds where R is singular too, and the rest; `whole`: R is surely not singular."""
        self.factor, self.shape, self.scale, self.log_evidence = factor, shape, scale, log_evidence
        self._image = image
        diagonal, largest = np.abs(factor.diagonal()), np.abs(factor).max(axis=0)
        lengths = largest * norms(factor / np.where(largest > 0, largest, 1.0))
        least = 0.0 if whole else len(factor) * _EPS * lengths
        self._whole = bool((diagonal > least).all())
        if mean is None:
            mean = scipy.linalg.solve_triangular(factor, image) if self._whole else np.full(len(image), np.nan)
        self.mean = mean
        self._freeze()

    @property
    def precision(self) -> NDArray[np.float64]:
        """Inverse of the covariance of w in units of the noise variance, (p, p): ``R' R``."""
        return frozen(self.factor.T @ self.factor)

    def logpdf(self, w: ArrayLike, variance: float) -> float:
        """Return the logarithm of the joint density of w and the noise variance.

        Parameters
        ----------
        w : array_like, (p,)
            Coefficients.
        variance : float
            Noise variance, positive.

        Returns
        -------
        float
            ``log p(w, v)``.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> prior = gs.textbook.NormalInverseGamma([0.0], [[1.0]], shape=1.0, scale=1.0)
        >>> round(prior.logpdf([0.0], 1.0), 4)
        -1.9189
        """
        self._proper()
        v = real("variance", variance, above=0.0)
        away = self.factor @ (self._weights(w) - self.mean)
        p = len(self.mean)
        return float(
            log_root(self.factor) - p / 2 * (LOG_2_PI + math.log(v)) - away @ away / (2 * v)
            + self.shape * math.log(self.scale) - math.lgamma(self.shape) - (self.shape + 1) * math.log(v)
            - self.scale / v
        )  # fmt: skip

    def weights(self) -> Any:
        """Return the marginal law of w: multivariate t with ``2 shape`` degrees of freedom.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.multivariate_t``: ``loc`` the mean, ``shape`` the matrix ``scale/shape inv(precision)``.

        Raises
        ------
        ValueError
            If the prior is not proper, or columns are too far apart in units for SciPy.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.NormalInverseGamma([0.0], [[4.0]], shape=2.0, scale=2.0).weights().df
        4.0
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415 - `import gradstep` does not load it

        back = self._inverse()
        law: Any = stats.multivariate_t
        try:
            return law(self.mean, self.scale / self.shape * back @ back.T, df=2 * self.shape)
        except np.linalg.LinAlgError:
            raise ValueError(
                "posterior: its columns are of units too different, or too dependent, for scipy.stats.multivariate_t; "
                "scaled columns are needed, or `contrast`, which has no such limit."
            ) from None

    def variance(self) -> Any:
        """Return the marginal law of the noise variance: inverse gamma.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.invgamma(shape, scale=scale)``, in squared units of ``y``.

        Raises
        ------
        ValueError
            If the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> float(gs.textbook.NormalInverseGamma([0.0], [[1.0]], shape=2.0, scale=3.0).variance().mean())
        3.0
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415

        return stats.invgamma(self.shape, scale=self.scale)

    def weights_given(self, variance: float) -> Any:
        """Return the conditional law of w for a known noise variance: normal.

        Parameters
        ----------
        variance : float
            The noise variance, positive, in squared units of ``y``.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.multivariate_normal``.

        Raises
        ------
        TypeError, ValueError
            If the variance is not positive, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.NormalInverseGamma([0.0], [[4.0]], shape=2.0, scale=2.0).weights_given(2.0).cov
        array([[0.5]])
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415

        # By its triangular root, so that columns of any units do.
        triangle: NDArray[np.float64] = np.linalg.qr(self._inverse().T)[1]
        root = (triangle * np.sign(triangle.diagonal())[:, np.newaxis]).T
        root = root * math.sqrt(real("variance", variance, above=0.0))
        law: Any = stats.multivariate_normal
        return law(self.mean, stats.Covariance.from_cholesky(root))

    def variance_given(self, w: ArrayLike) -> Any:
        """Return the conditional law of the noise variance for known coefficients: inverse gamma.

        Parameters
        ----------
        w : array_like, (p,)
            The coefficients.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.invgamma``.

        Raises
        ------
        TypeError, ValueError
            If ``w`` cannot be used, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> float(gs.textbook.NormalInverseGamma([0.0], [[1.0]], 1.0, 1.0).variance_given([2.0]).mean())
        6.0
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415

        away = self.factor @ (self._weights(w) - self.mean)
        return stats.invgamma(self.shape + len(self.mean) / 2, scale=self.scale + away @ away / 2)

    def contrast(self, c: ArrayLike) -> Any:
        """Return the marginal law of a linear combination of the coefficients, ``c w``: Student's t.

        Parameters
        ----------
        c : array_like, (p,) or (m, p)
            What each coefficient is multiplied by, the intercept last; or m such rows.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.t``, of m combinations each by itself.

        Raises
        ------
        TypeError, ValueError
            If ``c`` cannot be used, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 100, noise=0.1)
        >>> posterior = gs.textbook.NormalInverseGamma.flat(3).update(X, y)
        >>> posterior.contrast([1.0, 1.0, 0.0]).mean().round(1)
        np.float64(-1.4)
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415

        several = _array("c", c).ndim == 2
        rows = matrix("c", c) if several else self._weights(c, "c")[np.newaxis]
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"c: shape {rows.shape} came; {('m', len(self.mean))} is needed.")
        if not rows.any(axis=1).all():
            raise ValueError("c: nothing but zeros came; a combination of at least one coefficient is needed.")
        loc, spread = self._scores(rows if several else rows[0])
        return stats.t(2 * self.shape, loc, math.sqrt(self.scale / self.shape) * spread)

    def predictive(self, X: ArrayLike, *, intercept: bool = True) -> Any:
        """Return the law of new responses, each by itself: Student's t about ``X w``, noise included.

        Parameters
        ----------
        X : array_like, (m, d)
            New rows.
        intercept : bool, default True
            Whether the last entry of w is an intercept.

        Returns
        -------
        scipy.stats frozen distribution
            ``scipy.stats.t`` of m responses; responses of different rows are not independent.

        Raises
        ------
        TypeError, ValueError
            If ``X`` cannot be used, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 100, noise=0.1)
        >>> posterior = gs.textbook.NormalInverseGamma.flat(3).update(X, y)
        >>> posterior.predictive([[1.0, 1.0]]).mean().round(1)
        array([2.8])
        """
        self._proper()
        from scipy import stats  # noqa: PLC0415

        rows = with_ones(_input.predictors(X), intercept=intercept)
        self._fits(rows.shape[1], "X")
        loc, spread = self._scores(rows)
        return stats.t(2 * self.shape, loc, math.sqrt(self.scale / self.shape) * np.hypot(1.0, spread))

    def sample(self, size: int, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return draws of the coefficients with their noise variances.

        Parameters
        ----------
        size : int
            Number of draws.
        seed : int, default 0
            Seed.

        Returns
        -------
        w : ndarray, (size, p)
            Coefficients.
        variance : ndarray, (size,)
            Noise variances.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used, or the prior is not proper.

        Examples
        --------
        >>> import gradstep as gs
        >>> w, variance = gs.textbook.NormalInverseGamma([0.0], [[1.0]], 3.0, 2.0).sample(5)
        >>> w.shape, variance.shape
        ((5, 1), (5,))
        """
        self._proper()
        size = _input.whole("size", size, 1)
        rng = stream("posterior", _input.whole("seed", seed, 0))
        variance = self.scale / rng.gamma(self.shape, size=size)
        normal = rng.standard_normal((size, len(self.mean)))
        return self.mean + np.sqrt(variance)[:, np.newaxis] * (normal @ self._inverse().T), variance

    def __repr__(self) -> str:
        return f"<NormalInverseGamma of {len(self.mean)} coefficients: shape {self.shape:g}, scale {self.scale:.6g}>"

    def _proper(self) -> None:
        if not self._whole:
            missing = "more rows, of columns that do not depend on each other,"
        elif self.shape <= 0:
            missing = "more rows than coefficients"
        elif self.scale <= 0:
            missing = "responses that the columns do not fit without a rest"
        else:
            return
        raise ValueError(
            f"posterior: that of {len(self.mean)} coefficients is not proper as yet; {missing} or a proper prior are "
            "needed."
        )

    def _fits(self, coefficients: int, name: str) -> None:
        if coefficients != len(self.mean):
            raise ValueError(
                f"{name}: {coefficients} coefficients came, the intercept counted where there is one; {len(self.mean)} "
                "are needed, as of the prior."
            )

    def _weights(self, w: ArrayLike, name: str = "w") -> NDArray[np.float64]:
        found = vector(name, w)
        if len(found) != len(self.mean):
            raise ValueError(f"{name}: shape {found.shape} came; {self.mean.shape} is needed.")
        return found

    def _scores(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ``x mean`` and ``norm(R^-T x)`` of a row or of several."""
        white: NDArray[np.float64] = scipy.linalg.solve_triangular(self.factor, rows.T, trans="T")
        return rows @ self.mean, norms(white) if white.ndim == 2 else norms(white[:, np.newaxis])[0]

    def _inverse(self) -> NDArray[np.float64]:
        inverse: NDArray[np.float64] = scipy.linalg.solve_triangular(self.factor, np.eye(len(self.mean)))
        return inverse


def log_root(factor: NDArray[np.float64]) -> float:
    """Return the logarithm of the root of the determinant of ``R' R``."""
    return float(np.log(np.abs(factor.diagonal())).sum())


def _array(name: str, value: ArrayLike) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: a masked array came; an array without masked entries is needed.")
    try:
        return np.array(value, dtype=object)
    except ValueError as error:
        raise ValueError(f"{name}: no array came ({error}); rows of equal length are needed.") from None


def vector(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return a vector (p,) of float64, a copy."""
    found = _array(name, value)
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"{name}: shape {found.shape} came; (p,) is needed.")
    return np.array([real(f"{name}[{i}]", entry) for i, entry in enumerate(found)])


def matrix(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Return a matrix of float64, a copy."""
    found = _array(name, value)
    if found.ndim != 2 or found.size == 0:
        raise ValueError(f"{name}: shape {found.shape} came; (p, p) is needed.")
    rows = ([real(f"{name}[{i}, {j}]", x) for j, x in enumerate(row)] for i, row in enumerate(found))
    return np.array(list(rows), dtype=np.float64).reshape(found.shape)
