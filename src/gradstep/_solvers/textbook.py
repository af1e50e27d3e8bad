"""Minibatch SGD as the textbooks have it: a step size, a batch size, shuffled rows."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.cpu import shuffle_in
from gradstep._kernels.interrupts import interrupts_held
from gradstep._table.dense import NO_ORDER, Dense, Settings


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
    compiled = getattr(shuffle_in, "overloads", True)  # with the JIT off there is nothing to compile
    for start in range(0, n, _SHUFFLED_PER_CALL):
        with nullcontext() if compiled else interrupts_held():
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
    settings: Settings
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
