"""Walks of Markov chains: of finitely many states, and of minibatch SGD with a constant step."""

import numpy as np

from gradstep._kernels.cache import kernel


@kernel
def alias_tables(transition, threshold, alias):
    """Set the tables by which `walk` draws the next state in one look: A. J. Walker's alias method.

    ``transition`` (states, states) has rows that sum to one. Column j of state i keeps its share up to
    ``threshold[i, j]`` of a column of height 1, and the rest of it is ``alias[i, j]``: M. D. Vose, A linear algorithm
    for generating random numbers with a given distribution, *IEEE Transactions on Software Engineering* 17 (1991)
    972-975.
    """
    states = transition.shape[1]
    small, large = np.empty(states, dtype=np.int64), np.empty(states, dtype=np.int64)
    for i in range(transition.shape[0]):
        smalls, larges = 0, 0
        height = transition[i] * (states / transition[i].sum())
        for j in range(states):
            threshold[i, j], alias[i, j] = 1.0, j
            if height[j] < 1.0:
                small[smalls] = j
                smalls += 1
            else:
                large[larges] = j
                larges += 1
        while smalls > 0 and larges > 0:
            smalls -= 1
            j, k = small[smalls], large[larges - 1]
            threshold[i, j], alias[i, j] = height[j], k
            height[k] -= 1.0 - height[j]
            if height[k] < 1.0:
                larges -= 1
                small[smalls] = k
                smalls += 1
        # What is left over by rounding has height 1, unless it can never be: it then goes to the most probable one.
        for t in range(smalls):
            j = small[t]
            if transition[i, j] == 0.0:
                threshold[i, j], alias[i, j] = 0.0, np.argmax(transition[i])


@kernel
def walk(threshold, alias, draws, state, out):
    """Walk a step for each of `draws`, uniform in [0, 1), from a state; the states met go to `out`."""
    states = threshold.shape[1]
    for t in range(draws.size):
        scaled = draws[t] * states
        j = min(int(scaled), states - 1)
        state = j if scaled - j < threshold[state, j] else alias[state, j]
        out[t] = state


@kernel
def sgd_walk(X, y, rows, step, w, centre, skip, mean, second):
    """Take steps of minibatch SGD on the squared loss, ``w <- w - step/b sum_i x_i (x_i w - y_i)``, in place.

    ``rows`` (steps, b) are the rows of each batch. After the first `skip` steps ``w - centre`` is added to ``mean`` and
    its outer product to ``second``.
    """
    steps, b = rows.shape
    d = w.size
    total, away = np.empty(d), np.empty(d)
    for t in range(steps):
        total[:] = 0.0
        for s in range(b):
            i = rows[t, s]
            residual = -y[i]
            for j in range(d):
                residual += X[i, j] * w[j]
            for j in range(d):
                total[j] += residual * X[i, j]
        for j in range(d):
            w[j] -= step / b * total[j]
            away[j] = w[j] - centre[j]
        if t >= skip:
            for j in range(d):
                mean[j] += away[j]
                for k in range(j + 1):
                    second[j, k] += away[j] * away[k]
