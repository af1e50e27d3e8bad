"""The slow twin: minibatch SGD in obvious NumPy. Every kernel on every backend must equal it."""

import numpy as np


def sgd(X, y, *, step, batch_size, epochs, weight=None, intercept=True, alpha=0.0, orders=None):
    """Return coefficients, intercept, final objective and running objectives of squared-loss SGD with l2."""
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    n, d = X.shape
    Y = y.reshape(n, -1)
    v = np.ones(n) if weight is None else np.asarray(weight, dtype=float) / np.mean(weight)
    w, b = np.zeros((d, Y.shape[1])), np.zeros(Y.shape[1])
    running = []
    for epoch in range(epochs):
        order = np.arange(n) if orders is None else orders[epoch]
        met = 0.0
        for first in range(0, n, batch_size):
            rows = order[first : first + batch_size]
            residual = X[rows] @ w + b - Y[rows]
            met += np.sum(v[rows, None] * residual**2) / 2
            w = (w - step * X[rows].T @ (v[rows, None] * residual) / len(rows)) / (1 + step * alpha)
            if intercept:
                b = b - step * np.sum(v[rows, None] * residual, axis=0) / len(rows)
        running.append(met / n + alpha / 2 * np.sum(w**2))
    objective = np.sum(v[:, None] * (X @ w + b - Y) ** 2) / (2 * n) + alpha / 2 * np.sum(w**2)
    outputs = y.shape[1:]
    return w.reshape(d, *outputs), b.reshape(outputs), objective, np.array(running)
