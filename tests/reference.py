"""The slow twin: minibatch SGD in obvious NumPy. Every kernel on every backend must equal it."""

import numpy as np


def sgd(
    X, y, *, rate, batch_size, epochs, loss, penalty=None, weight=None, intercept=True, orders=None,
    momentum=0.0, nesterov=False, average=False,
):  # fmt: skip
    """Return coefficients, intercept, final objective and running objectives; `rate` is the step size after t steps."""
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    n, d = X.shape
    Y = y.reshape(n, -1)
    v = np.ones(n) if weight is None else np.asarray(weight, dtype=float) / np.mean(weight)
    A = np.column_stack((X, np.ones(n)))
    value, slope = (np.vectorize(lambda z, t, f=f: f(z, t, loss.params)) for f in (loss.value, loss.slope))

    def cost(w):
        return 0.0 if penalty is None else sum(penalty.value(c, penalty.params) for c in w[:d].flat)

    w = before = mean = np.zeros((d + 1, Y.shape[1]))
    running, t = [], 0
    for epoch in range(epochs):
        order = np.arange(n) if orders is None else orders[epoch]
        met = 0.0
        for first in range(0, n, batch_size):
            rows = order[first : first + batch_size]
            ahead = w + momentum * (w - before)
            at = ahead if nesterov else w
            met += np.sum(v[rows, None] * value(A[rows] @ at, Y[rows]))
            gradient = A[rows].T @ (v[rows, None] * slope(A[rows] @ at, Y[rows])) / len(rows)
            new = ahead - rate(t) * gradient
            if penalty is not None:
                new[:d] = np.vectorize(penalty.prox, excluded=[2])(new[:d], rate(t), penalty.params)
            if not intercept:
                new[d] = 0.0
            w, before, t = new, w, t + 1
            mean = mean + (w - mean) * 4 / (t + 3)
        answer = mean if average else w
        running.append(met / n + cost(answer))
    objective = np.sum(v[:, None] * value(A @ answer, Y)) / n + cost(answer)
    return answer[:d].reshape(d, *y.shape[1:]), answer[d].reshape(y.shape[1:]), objective, np.array(running)
