"""Tables on which least squares goes wrong, and how far any coefficients are from the exact ones, in 80-bit numbers."""

import numpy as np
import scipy.linalg

LONG = np.longdouble
HAS_LONG = np.finfo(LONG).eps < 2e-19


def tables(n, d, seed):
    """Yield the name, columns and response of each kind of table."""
    rng = np.random.default_rng((n, d, seed))
    normal = rng.standard_normal((n, d))
    for condition in (1e0, 1e2, 1e4, 1e6, 1e8, 1e10) if d > 1 else (1e0,):
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        X = (normal * np.logspace(0, -np.log10(condition), d)) @ turn.T
        yield f"condition {condition:.0e}", X, _response(X, rng)
    X = normal * np.logspace(0, -8, d)
    yield "scales to 1e-8", X, _response(X / np.logspace(0, -8, d), rng)
    X = rng.standard_t(2, (n, d))
    yield "heavy tails", X, _response(X, rng)
    X = normal.copy()
    X[:20] *= 1e4
    X[20:, 0] *= 1e-3
    yield "spikes", X, _response(X / np.abs(X).max(axis=0), rng)
    X = normal.copy()
    rare = max(1, d // 2)
    X[:, :rare] = 0
    for j in range(rare):
        X[3 * j : 3 * j + 3, j] = 1
    yield "sorted dummies of three rows each", X, _response(X, rng)
    X = normal + 1e6
    yield "means 1e6 away", X, _response(normal, rng)
    yield "hardly any noise", normal, _response(normal, rng, 1e-9)


def ordered_tables(n, d, seed):
    """Yield tables whose neighbouring rows are alike."""
    rng = np.random.default_rng((n, d, seed, 1))
    X = rng.standard_normal((n, d))
    y = _response(X, rng)
    order = np.argsort(y)
    yield "sorted by the response", X[order], y[order]
    cluster = np.repeat(np.arange(20), -(-n // 20))[:n]
    for spreads in (3, 30):
        X = rng.standard_normal((n, d)) + spreads * rng.standard_normal((20, d))[cluster]
        yield f"clusters in order, {spreads} spreads apart", X, _response(X, rng)


def _response(X, rng, noise=1.0):
    return X @ rng.standard_normal(X.shape[1]) + 3 + noise * rng.standard_normal(len(X))


class Truth:
    """The exact coefficients of a table of full rank, refined with 80-bit residuals."""

    def __init__(self, X, y, *, intercept=True, weight=None):
        self.A = np.column_stack((X, np.ones(len(X)))).astype(LONG) if intercept else X.astype(LONG)
        self.intercept = intercept
        self.root = np.ones(len(X), LONG) if weight is None else np.sqrt(weight.astype(LONG))
        self.b = self.root * y.astype(LONG)
        self.A = self.A * self.root[:, np.newaxis]
        # Columns about their means, for a factor as well conditioned as may be; the truth does not depend on it.
        T = np.eye(self.A.shape[1], dtype=LONG)
        if intercept:
            T[-1, :-1] = -(self.A[:, -1] @ self.A[:, :-1]) / (self.A[:, -1] @ self.A[:, -1])
        T = T / np.sqrt(np.square(self.A @ T).sum(axis=0))
        R = np.linalg.qr((self.A @ T).astype(float), mode="r")
        self.w = np.zeros(self.A.shape[1], LONG)
        for _ in range(8):
            g = T.T @ (self.A.T @ (self.b - self.A @ self.w))
            size = np.abs(g).max()
            if size == 0:
                break
            half = scipy.linalg.solve_triangular(R, (g / size).astype(float), trans="T")
            self.w = self.w + T @ (scipy.linalg.solve_triangular(R, half).astype(LONG) * size)
        residual = self.b - self.A @ self.w
        self.sd = np.sqrt(residual @ residual / (np.count_nonzero(self.root) - self.A.shape[1]))

    def distance(self, coef, intercept):
        """Return how far coefficients are from the exact ones, in standard errors of the worst contrast."""
        w = np.append(coef, intercept) if self.intercept else np.asarray(coef)
        moved = self.A @ (w.astype(LONG) - self.w)
        return float(np.sqrt(moved @ moved) / self.sd)
