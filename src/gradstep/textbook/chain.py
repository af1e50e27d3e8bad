"""Minibatch SGD with a constant step as a Markov chain: where it settles, in closed form and simulated."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._closed_form import closed_form
from gradstep._kernels.chains import sgd_walk
from gradstep._kernels.first_call import interrupts_held
from gradstep._numbers import frozen, stream
from gradstep.textbook.frozen import Frozen
from gradstep.textbook.rows import one_response

_MOST_COLUMNS = 30  # whose covariances have about 500 entries each
_ROWS_PER_BLOCK = 1 << 12
_LONGEST_BURN_IN = 10**9
_LARGEST_BATCH = 1 << 24
_LONGEST_AVERAGE = 10**15
_TOLD_APART = 1e-13  # relative, of eigenvalues: below it lies rounding
_DRAWS_AT_ONCE = 1 << 18  # rows: a few milliseconds of steps, so that Ctrl-C is answered


class SGDChain(Frozen):
    """Constant-step minibatch SGD on the squared loss, each batch drawn anew, as a Markov chain of the coefficients.

    ``w <- w - step / b sum_i x_i (x_i w - y_i)`` over b rows drawn with replacement. With e the distance from the
    least-squares coefficients, ``H = X' X / n`` and r their residuals, the mean of e shrinks by ``1 - step H`` a step,
    and its second moments S obey, exactly and for any step,

    ``S <- S - step (H S + S H) + step**2 (H S H + (E[x x' S x x'] - H S H) / b + E[r**2 x x'] / b)``

    once the mean is gone. Where that operator on S has a spectral radius below 1 the chain forgets its start and
    settles in a law with mean the least-squares coefficients and covariance the fixed point.

    Parameters
    ----------
    X : array_like, (n, d)
        Predictors, d at most 30.
    y : array_like, (n,)
        Response.
    step : float
        Step size, positive.
    batch_size : int, default 1
        Rows of a batch, b.
    intercept : bool, default True
        Whether the last coefficient is an intercept.

    Attributes
    ----------
    mean : ndarray, (p,)
        Mean of the stationary law: the least-squares coefficients, the intercept last.
    step : float
        The step size.
    batch_size : int
        Rows of a batch.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used, columns depend on each other, or there are more than 30.

    References
    ----------
    A. Dieuleveut, A. Durmus and F. Bach, Bridging the gap between constant step size stochastic gradient descent and
    Markov chains, *Annals of Statistics* 48 (2020) 1348-1382. S. Mandt, M. D. Hoffman and D. M. Blei, Stochastic
    gradient descent as approximate Bayesian inference, *Journal of Machine Learning Research* 18 (2017) 134, for the
    small step.

    Examples
    --------
    >>> import gradstep as gs
    >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200, noise=0.1)
    >>> chain = gs.textbook.SGDChain(X, y, step=0.1, batch_size=10)
    >>> chain.mean.round(1), chain.spectral_radius < 1
    (array([ 2. , -3.4,  4.2]), True)
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, step: float, batch_size: int = 1, *, intercept: bool = True) -> None:
        table, responses = one_response(X, y, intercept=intercept)
        n, p = table.shape
        d = p - intercept
        if d > _MOST_COLUMNS:
            raise ValueError(
                f"X: {d} columns came; at most {_MOST_COLUMNS} are needed: the operator on covariances "
                f"has {p * (p + 1) // 2} rows and columns."
            )
        self.step, self.batch_size = _input.rate(step), _input.whole("batch_size", batch_size, 1)
        if self.batch_size > _LARGEST_BATCH:
            raise ValueError(f"batch_size: {batch_size} came; at most {_LARGEST_BATCH} is needed.")
        exact = closed_form(table[:, :d], responses, intercept=intercept)
        if exact.dependent:
            named = ", ".join(map(str, exact.dependent))
            raise ValueError(f"X: column {named} came, which depends on those before; columns that do not are needed.")
        mean = np.append(exact.coef, exact.intercept)[:p]
        self.mean: NDArray[np.float64] = mean
        self._X, self._y = table, responses
        self._H = table.T @ table / n
        residuals = self._y - table @ mean
        with np.errstate(over="ignore", invalid="ignore"):
            self._noise = (table * np.square(residuals)[:, np.newaxis]).T @ table / n / self.batch_size
            largest = np.abs(table).max() ** 4 * max(1.0, self.step)
        if not (np.isfinite(largest) and np.isfinite(self._noise).all()):
            raise ValueError("X, y, step: fourth powers of them overflow float64; other units are needed.")
        self._freeze()

    @cached_property
    def operator(self) -> NDArray[np.float64]:
        """The operator on second moments as a symmetric matrix, (q, q) with ``q = p (p + 1) / 2``.

        It acts on the entries of S on and below the diagonal, those below it times the root of 2: so the product of two
        such vectors is the trace of the product of the matrices.
        """
        return frozen(np.eye(len(self._loss)) - self.step * self._loss)

    @cached_property
    def _loss(self) -> NDArray[np.float64]:
        """One less the operator, over the step, by itself: of small steps little is left of the difference."""
        p = len(self.mean)
        rows, columns, factor = _half(p)
        fourth = np.zeros((len(rows), len(rows)))
        for begin in range(0, len(self._X), _ROWS_PER_BLOCK):
            x = self._X[begin : begin + _ROWS_PER_BLOCK]
            outer = x[:, rows] * x[:, columns] * factor
            fourth += outer.T @ outer
        fourth /= len(self._X)
        # What S -> A S B + B S A is on such vectors, for A = H and B = 1 or H.
        linear, square = (_both_sides(self._H, B, rows, columns, factor) for B in (np.eye(p), self._H))
        b, step = self.batch_size, self.step
        found = linear - step * (square / 2 * (1 - 1 / b) + fourth / b)
        return frozen(np.asarray(found, dtype=np.float64))

    @cached_property
    def _losses(self) -> NDArray[np.float64]:
        """Eigenvalues of one less the operator, ascending."""
        values: Any = self.step * scipy.linalg.eigvalsh(self._loss)
        return np.asarray(values, dtype=np.float64)

    @cached_property
    def spectral_radius(self) -> float:
        """Largest modulus of the operator's eigenvalues: what second moments keep of their distance in a step.

        Their distance from the stationary values, once the mean is gone; the mean, and distances of the coefficients
        themselves, may keep its root.
        """
        return float(max(abs(1 - self._losses[0]), abs(1 - self._losses[-1])))

    @property
    def mixing_time(self) -> float:
        """Steps in which the second moments come nearer to their stationary values by a factor e; infinite if never."""
        lost = float(min(self._losses[0], 2 - self._losses[-1]))
        return math.inf if lost <= 0 else -1 / math.log1p(-lost) if lost < 1 else 0.0

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the stationary law, (p, p), in units of the coefficients.

        Raises
        ------
        ValueError
            If the step is too large for there to be one, or columns are too different for float64 to tell.
        """
        least, most = float(self._losses[0]), float(self._losses[-1])
        if abs(least) <= _TOLD_APART * most:
            raise ValueError(
                "X: its columns are of sizes too different, or too far from zero, for their second moments; "
                "standardised columns are needed."
            )
        if least < 0 or most >= 2:
            raise ValueError(
                f"step: {self.step:g} came, at which second moments grow by {self.spectral_radius:.4g} a step; a "
                "smaller one is needed for a stationary law with a covariance."
            )
        rows, columns, factor = _half(len(self.mean))
        noise = self.step * self._noise[rows, columns] * factor
        found = scipy.linalg.solve(self._loss, noise, assume_a="sym") / factor
        S = np.empty_like(self._H)
        S[rows, columns] = S[columns, rows] = found
        return frozen(S)

    @cached_property
    def small_step_covariance(self) -> NDArray[np.float64]:
        """Limit of the covariance for small steps, (p, p), by Lyapunov's ``H S + S H = step E[r**2 x x'] / b``."""
        S: NDArray[np.float64] = scipy.linalg.solve_continuous_lyapunov(self._H, self.step * self._noise)
        return frozen((S + S.T) / 2)

    def covariance_of_average(self, steps: int) -> NDArray[np.float64]:
        """Return the covariance of the average of the coefficients over so many steps of the stationary chain.

        Coefficients t steps apart have covariance ``(1 - step H)**t S``, so that the average forgets the noise of
        single steps: with many steps it tends to ``inv(H) E[r**2 x x'] inv(H) / (b steps)``, times one plus what
        vanishes with the step size.

        Parameters
        ----------
        steps : int
            Steps averaged over.

        Returns
        -------
        ndarray, (p, p)
            The covariance.

        Raises
        ------
        TypeError, ValueError
            If ``steps`` is no whole number of at least 1, or there is no stationary law.

        References
        ----------
        B. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, *SIAM Journal on Control
        and Optimization* 30 (1992) 838-855.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200, noise=0.1)
        >>> chain = gs.textbook.SGDChain(X, y, step=0.1, batch_size=10)
        >>> bool(chain.covariance_of_average(1000)[0, 0] < chain.covariance[0, 0] / 50)
        True
        """
        T, covariance = _input.whole("steps", steps, 1), self.covariance
        if T > _LONGEST_AVERAGE:
            raise ValueError(f"steps: {steps} came; at most {_LONGEST_AVERAGE} is needed.")
        values, vectors = scipy.linalg.eigh(self._H)
        ahead = (vectors * _weighted_powers(1 - self.step * values, T)) @ vectors.T @ covariance
        found: NDArray[np.float64] = (T * covariance + ahead + ahead.T) / T**2
        return found

    def simulate(
        self, steps: int, *, burn_in: int | None = None, seed: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and covariance of the coefficients over a simulated path.

        They tend to those of the stationary law, the covariance slowly where steps are large or batches small: the law
        then has heavy tails, of which some moment beyond the second is infinite.

        Parameters
        ----------
        steps : int
            Steps to average over.
        burn_in : int, optional
            Steps before those, from the least-squares coefficients on; ten mixing times unless given.
        seed : int, default 0
            Seed of the batches.

        Returns
        -------
        mean : ndarray, (p,)
            Mean over the path.
        covariance : ndarray, (p, p)
            Second moments about ``self.mean``.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used; or no ``burn_in`` is given and there is no stationary covariance, or it takes
            more than 1e9 steps to settle.

        Examples
        --------
        >>> import gradstep as gs
        >>> X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200, noise=0.1)
        >>> chain = gs.textbook.SGDChain(X, y, step=0.1, batch_size=10)
        >>> mean, covariance = chain.simulate(200_000)
        >>> bool(abs(covariance[0, 0] / chain.covariance[0, 0] - 1) < 0.1)
        True
        """
        steps = _input.whole("steps", steps, 1)
        seed = _input.whole("seed", seed, 0)
        if burn_in is None:
            self.covariance  # noqa: B018 - which raises where there is none
            burn_in = math.ceil(10 * self.mixing_time)
            if burn_in > _LONGEST_BURN_IN:
                raise ValueError(
                    f"step: {self.step:g} came, with which it takes {burn_in:.1g} steps to settle; a larger one, or "
                    "burn_in, is needed."
                )
        skip = _input.whole("burn_in", burn_in, 0)
        rng, (n, p), b = stream("sgd chain", seed), self._X.shape, self.batch_size
        w, mean, second = self.mean.copy(), np.zeros(p), np.zeros((p, p))
        total, at_once = skip + steps, max(1, _DRAWS_AT_ONCE // b)
        with interrupts_held():  # it may be compiled
            sgd_walk(self._X, self._y, np.empty((0, b), dtype=np.int64), self.step, w, self.mean, 0, mean, second)
        for begin in range(0, total, at_once):
            batches = rng.integers(0, n, (min(at_once, total - begin), b))
            with np.errstate(over="ignore", invalid="ignore"):
                sgd_walk(self._X, self._y, batches, self.step, w, self.mean, max(skip - begin, 0), mean, second)
        if not np.isfinite(second).all():
            raise ValueError(
                f"step: {self.step:g} came, with which the path grew without end; a smaller one is needed."
            )
        lower = np.tril(second, -1)
        return self.mean + mean / steps, (np.tril(second) + lower.T) / steps

    def __repr__(self) -> str:
        return f"<SGDChain of {len(self.mean)} coefficients: step {self.step:g}, batches of {self.batch_size}>"


def sampling_step(n: int, p: int, batch_size: int) -> float:
    """Return the step at which SGD in whitened coordinates samples the posterior, ``2 b / (n + b + p + 1)``.

    With columns such that ``X' X / n = 1``, Gaussian rows and a residual variance v, the stationary covariance is
    ``step v / (2 b - step (b + p + 1))`` in every direction; at this step it is ``v / n``, that of the posterior under
    a flat prior.

    Parameters
    ----------
    n : int
        Rows.
    p : int
        Coefficients, the intercept counted.
    batch_size : int
        Rows of a batch, b.

    Returns
    -------
    float
        The step size.

    Raises
    ------
    TypeError, ValueError
        If an argument is no whole number of at least 1.

    References
    ----------
    S. Mandt, M. D. Hoffman and D. M. Blei, Stochastic gradient descent as approximate Bayesian inference, *Journal of
    Machine Learning Research* 18 (2017) 134, section 4, for small steps; this one is exact for Gaussian rows.

    Examples
    --------
    >>> import gradstep as gs
    >>> round(gs.textbook.sampling_step(1000, 3, 10), 5)
    0.01972
    """
    n, p, b = (_input.whole(name, value, 1) for name, value in (("n", n), ("p", p), ("batch_size", batch_size)))
    return 2 * b / (n + b + p + 1)


def _weighted_powers(q: NDArray[np.float64], T: int) -> NDArray[np.float64]:
    """Return ``sum_t (T - t) q**t`` over t from 1 to T - 1, by doubling: the closed form cancels where q is near 1."""
    n, power, powers, weighted = 0, np.ones_like(q), np.zeros_like(q), np.zeros_like(q)
    for bit in f"{T:b}":  # of the sums over the first n powers, q**0 among them, those over 2 n and over 2 n + 1
        weighted = weighted * (1 + power) + n * powers
        powers = powers * (1 + power)
        n, power = 2 * n, power * power
        if bit == "1":
            powers, n, power = powers + power, n + 1, power * q
            weighted = weighted + powers
    return weighted - T


def _half(p: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return the places on and below the diagonal, and what the entries there are multiplied by."""
    rows, columns = np.tril_indices(p)
    return rows, columns, np.where(rows == columns, 1.0, math.sqrt(2.0))


def _both_sides(
    A: NDArray[np.float64], B: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp],
    factor: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Return ``S -> A S B + B S A`` of symmetric A, B and S as a matrix."""
    r, c = (index[:, np.newaxis] for index in (rows, columns))
    # Entry (r, c) of the image of the symmetric S that is 1 at (rows, columns) and (columns, rows).
    image = A[r, rows] * B[columns, c] + A[r, columns] * B[rows, c] + B[r, rows] * A[columns, c]
    image = image + B[r, columns] * A[rows, c]
    weight = np.where(rows == columns, 0.5, 1.0)  # a place on the diagonal was counted twice
    result: NDArray[np.float64] = image * weight * factor[:, np.newaxis] / factor
    return result
