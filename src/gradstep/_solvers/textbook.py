"""Minibatch SGD as the textbooks have it: a step size, a batch size, shuffled rows."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.cpu import shuffle_in
from gradstep._kernels.interrupts import interrupts_held
from gradstep._table.dense import NO_ORDER, Dense, Pass


class Sgd(NamedTuple):
    """Options of minibatch SGD, as `sgd` returns them.

    Parameters
    ----------
    shuffle : bool, default True
        Whether each epoch has its own order of rows.
    exact_objective : bool, default False
        Whether the objective of all rows is computed after each epoch.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.sgd(shuffle=False).shuffle
    False
    """

    shuffle: bool = True
    exact_objective: bool = False


def sgd(*, shuffle: bool = True, exact_objective: bool = False) -> Sgd:
    """Minibatch stochastic gradient descent with options, for ``fit(..., solver=gs.sgd(...))``.

    Each step reads one batch ``B`` of rows and takes
    ``w <- prox(w - step * mean over B of weight_i * slope(x_i w + b, y_i) * x_i)``; an epoch reads every row once.

    Parameters
    ----------
    shuffle : bool, default True
        Draw a new order of the rows for each epoch, from the seed and the epoch's number alone. Without it the rows
        are read as they stand: faster, and right only when their order carries no meaning.
    exact_objective : bool, default False
        After each epoch, compute the objective of all rows at that epoch's weights, for
        ``fit.history.exact_objective``: one more read of the data an epoch. The running objective costs nothing.

    Returns
    -------
    Sgd
        The options, to be passed as ``solver``.

    Raises
    ------
    TypeError
        If an option is not a bool.

    References
    ----------
    L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
    (2018) 223-311, section 4.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.sgd(shuffle=False)
    Sgd(shuffle=False, exact_objective=False)
    """
    for name, option in (("shuffle", shuffle), ("exact_objective", exact_objective)):
        if not isinstance(option, (bool, np.bool_)):
            raise TypeError(f"sgd: {name} is {option!r}; True or False is needed.")
    return Sgd(bool(shuffle), bool(exact_objective))


# Rows put in order by one call: some 20 ms of work, so that Ctrl-C is served during a long table's shuffling too.
_SHUFFLED_PER_CALL = 1 << 19


def row_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of `n` rows in one epoch, a function of seed and epoch alone: any epoch can be redone."""
    rng = np.random.default_rng((seed, epoch))
    order = np.empty(n, dtype=np.int64)
    for start in range(0, n, _SHUFFLED_PER_CALL):
        with nullcontext() if start else interrupts_held():  # the first call may compile
            shuffle_in(order, start, rng.random(min(_SHUFFLED_PER_CALL, n - start)))
    return order


@dataclass
class State:
    """Where the method stands. The arrays are changed in place."""

    w: NDArray[np.float64]
    total: NDArray[np.float64]
    """Gradient summed over the running batch."""
    loss_sum: NDArray[np.float64]
    """An entry an output: the losses met in the running epoch, each before its batch's step."""
    order: NDArray[np.int64]
    epoch: int = 0
    """Epochs finished."""
    row: int = 0
    """Rows of the running epoch already read."""


class Textbook(NamedTuple):
    """Minibatch SGD on a table."""

    options: Sgd
    settings: Pass
    seed: int

    def start(self, table: Dense) -> State:
        """Return the state before the first step: all weights zero."""
        w = table.zeros()
        return State(w, np.zeros_like(w), table.no_losses(), NO_ORDER)

    def advance(self, table: Dense, state: State) -> State:
        """Take the steps of one round: one call of the kernel, at most one epoch."""
        if state.row in {0, table.n}:
            state.row = 0
            state.loss_sum[:] = 0.0
            if self.options.shuffle:
                state.order = row_order(table.n, self.seed, state.epoch)
        state.row = table.epoch(state.order, state.row, self.settings, state.w, state.total, state.loss_sum)
        if state.row == table.n:
            state.epoch += 1
        return state


_MOST_COLUMNS_OF_MOMENTS = 2000  # the matrices of moments cost n d^2 operations and two d x d arrays


def largest_stable_step(X: NDArray[np.floating], weight: NDArray[np.float64], batch: int, *, intercept: bool) -> float:
    """Return the step above which minibatch SGD on the squared loss diverges, in mean square and without a penalty.

    With ``u`` a row, a one appended for the intercept, times the root of its weight, ``H = E[u u']``, ``lambda`` its
    largest eigenvalue and ``R2`` the smallest number with ``E[|u|^2 u u'] <= R2 H``, it is
    ``2 b / (R2 + (b - 1) lambda)`` for rows drawn with replacement: Jain, Kakade, Kidambi, Netrapalli and Sidford,
    Parallelizing stochastic gradient descent for least squares regression, *JMLR* 18 (2018), section 3. A batch of
    all rows is gradient descent: ``2 / lambda``. Beyond 2,000 columns the largest row stands in for ``R2``, on the
    safe side. 0 means that the moments overflow.
    """
    n, d = X.shape
    size = d + intercept
    root = np.sqrt(np.broadcast_to(weight, (n,)) if weight.size == 1 else weight)[:, np.newaxis]
    block = max(1, (1 << 22) // size)

    def blocks() -> Iterator[NDArray[np.float64]]:
        for first in range(0, n, block):
            u = np.asarray(X[first : first + block], dtype=np.float64)
            if intercept:
                u = np.column_stack((u, np.ones(len(u))))
            yield u * root[first : first + block]

    with np.errstate(over="ignore", invalid="ignore"):
        top, r2 = _moments(blocks, n, size) if size <= _MOST_COLUMNS_OF_MOMENTS else _bounds(blocks, n, size)
    if not (np.isfinite(top) and np.isfinite(r2)):
        return 0.0
    if top <= 0.0:
        return np.inf
    return 2.0 / top if batch >= n else 2.0 * batch / (r2 + (batch - 1) * top)


Blocks = Callable[[], Iterator[NDArray[np.float64]]]


def _moments(blocks: Blocks, n: int, size: int) -> tuple[float, float]:
    """Return lambda and R2 from the matrices of second and fourth moments."""
    second, fourth = np.zeros((size, size)), np.zeros((size, size))
    for u in blocks():
        second += u.T @ u
        fourth += (u * np.einsum("ij,ij->i", u, u)[:, np.newaxis]).T @ u
    if not np.isfinite(fourth).all():
        return np.inf, np.inf
    values, vectors = np.linalg.eigh(second / n)
    kept = values > values[-1] * size * np.finfo(np.float64).eps
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    r2 = float(np.linalg.eigvalsh(whiten.T @ (fourth / n) @ whiten)[-1]) if kept.any() else 0.0
    return float(values[-1]), r2


def _bounds(blocks: Blocks, n: int, size: int) -> tuple[float, float]:
    """Return lambda by Lanczos's method, which forms no matrix, and the largest row for R2."""
    from scipy.sparse.linalg import LinearOperator, eigsh  # noqa: PLC0415 - for a failing fit only

    largest_row = max(float(np.einsum("ij,ij->i", u, u).max()) for u in blocks())
    if not np.isfinite(largest_row):
        return np.inf, np.inf

    def times(v: NDArray[np.float64]) -> NDArray[np.float64]:
        product = np.zeros(size)
        for u in blocks():
            product += u.T @ (u @ v.ravel())
        return product / n

    second = LinearOperator((size, size), matvec=times, dtype=np.float64)
    top = eigsh(second, k=1, which="LA", v0=np.ones(size), tol=1e-3, return_eigenvectors=False)[0]
    return float(top), largest_row
