"""Minibatch SGD as the textbooks have it: a step size, a batch size, shuffled rows."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradstep._kernels.cpu import rates_kernel
from gradstep._kernels.first_call import first_call, interrupts_held
from gradstep._numbers import real
from gradstep._table.table import Table
from gradstep._table.terms import NO_ORDER, Path, Settings
from gradstep.losses import Loss
from gradstep.schedules import Schedule


class Sgd(NamedTuple):
    """Options of minibatch SGD, as `sgd` returns them.

    Parameters
    ----------
    shuffle : {True, False, "once", "blocks"}, default True
        In which order the rows are read.
    exact_objective : bool, default False
        Whether the objective of all rows is computed after each epoch.
    momentum : float, default 0
        Share of the last move that each step repeats.
    nesterov : bool, default False
        Whether gradients are taken where the momentum leads.
    average : bool, default False
        Whether the coefficients are the average of the path.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.sgd(shuffle=False).shuffle
    False
    """

    shuffle: bool | str = True
    exact_objective: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False


def sgd(
    *,
    shuffle: bool | str = True,
    exact_objective: bool = False,
    momentum: float = 0.0,
    nesterov: bool = False,
    average: bool = False,
) -> Sgd:
    """Minibatch stochastic gradient descent with options, for ``fit(..., step=..., solver=gs.sgd(...))``.

    Each step reads one batch ``B`` of rows and takes
    ``w <- prox(w - step * mean over B of weight_i * slope(x_i w + b, y_i) * x_i)``; an epoch reads every row once.

    Parameters
    ----------
    shuffle : {True, False, "once", "blocks"}, default True
        True draws a new order of the rows for each epoch, from the seed and the epoch's number alone. ``"once"`` keeps
        the first epoch's order. ``"blocks"`` draws a new order of blocks of 64 neighbouring rows, read as they stand
        within: for rows whose neighbours are no more alike than others. False reads the rows as they stand: the
        fastest, and right only when their order carries no meaning.
    exact_objective : bool, default False
        After each epoch, compute the objective of all rows at that epoch's coefficients, for
        ``fit.history.exact_objective``: one more read of the data an epoch. The running objective costs nothing.
    momentum : float, default 0
        Share ``m`` in [0, 1) of the last move that each step repeats: the heavy ball,
        ``w_next = prox(w - step * g(w) + m * (w - w_before))``. It acts like a step ``1 / (1 - m)`` times as large
        once it is under way: lower the step in turn.
    nesterov : bool, default False
        Take the gradient where the momentum leads, at ``v = w + m * (w - w_before)``:
        ``w_next = prox(v - step * g(v))``. It needs ``momentum``.
    average : bool, default False
        Return the average of the path, which sheds the noise of the batches that a step leaves (Polyak and Ruppert).
        The last part of the path counts: the ``t``-th step moves the average by ``4 / (t + 3)`` of its distance to the
        newest coefficients, so that 15/16 of the weight lies on the last half of the steps, however many there will be.
        It is not sparse where the coefficients are.

    Returns
    -------
    Sgd
        The options, to be passed as ``solver``.

    Raises
    ------
    TypeError, ValueError
        If an option is not of the kinds above.

    References
    ----------
    L. Bottou, F. E. Curtis and J. Nocedal, Optimization methods for large-scale machine learning, *SIAM Review* 60
    (2018) 223-311, sections 4 and 7. P. Ochs, Y. Chen, T. Brox and T. Pock, iPiano, *SIAM Journal on Imaging Sciences*
    7 (2014) 1388-1419, section 4, for the heavy ball with a proximal step; A. Beck and M. Teboulle, A fast iterative
    shrinkage-thresholding algorithm, *SIAM Journal on Imaging Sciences* 2 (2009) 183-202, section 4, for Nesterov's.
    B. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by averaging, *SIAM Journal on Control and
    Optimization* 30 (1992) 838-855; O. Shamir and T. Zhang, Stochastic gradient descent for non-smooth optimization,
    *ICML* 2013, section 4, for the weights of the average.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.sgd(momentum=0.9, shuffle="once")
    Sgd(shuffle='once', exact_objective=False, momentum=0.9, nesterov=False, average=False)
    """
    return looked_at(Sgd(shuffle, exact_objective, momentum, nesterov, average))


def looked_at(options: Sgd) -> Sgd:
    """Return options that can be used; raise TypeError or ValueError where they cannot."""
    shuffle = looked_at_shuffle("sgd: shuffle", options.shuffle)
    for name in ("exact_objective", "nesterov", "average"):
        if not isinstance(getattr(options, name), (bool, np.bool_)):
            raise TypeError(f"sgd: {name}: {getattr(options, name)!r} came; True or False is needed.")
    momentum = real("sgd: momentum", options.momentum, least=0.0, below=1.0)
    if options.nesterov and momentum == 0:
        raise ValueError("sgd: nesterov: True came with momentum 0; a momentum above 0 is needed, such as 0.9.")
    return Sgd(shuffle, bool(options.exact_objective), momentum, bool(options.nesterov), bool(options.average))


def looked_at_shuffle(name: str, value: object) -> bool | str:
    """Return an order of rows that there is; raise TypeError or ValueError for another."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str) and value in {"once", "blocks"}:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f'{name}: {value!r} came; True, False, "once" or "blocks" is needed.')


def rates(step: float | Schedule, first: int, count: int) -> NDArray[np.float64]:
    """Return the sizes of `count` steps from step number `first` on, one for all if they are alike."""
    if not isinstance(step, Schedule):
        return np.array([step])
    sizes = np.empty(count)
    kernel = rates_kernel(step.rate)
    with nullcontext() if getattr(kernel, "overloads", True) else first_call(step):
        kernel(sizes, first, step.params)
    refuse_rates(step, sizes, first)
    return sizes


def refuse_rates(step: Schedule, sizes: NDArray[np.float64], first: int) -> None:
    """Raise ValueError for the first size that is no finite number above 0."""
    bad = ~(np.isfinite(sizes) & (sizes > 0))
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(
            f"step: {step!r} gives {sizes[i]} at step {first + i}; a finite number above 0 is needed at every step, "
            "counted from 0 over all epochs, those of start included."
        )


@dataclass
class State:
    """Where the method stands."""

    path: Path
    options: Sgd
    order: Any
    """The running epoch's order of rows, where the rows lie."""
    within: tuple[object, ...]
    """What a position within an epoch depends on: rows, batch, seed, order and loss."""
    epoch: int = 0
    """Epochs finished."""
    row: int = 0
    """Rows of the running epoch already read."""
    step: int = 0
    """Steps taken."""
    averaged: int = 0
    """Steps that the average holds."""
    rate: float = 0.0
    """Size of the newest step."""
    largest_rate: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether an epoch has just ended."""
        return self.row == self.within[0]

    @property
    def w(self) -> NDArray[np.float64]:
        """The weights: what a fit returns."""
        if self.options.average and self.averaged:
            return self.path.average
        return self.path.last if self.options.nesterov else self.path.w

    @property
    def running(self) -> float:
        """Mean of the losses met in the running epoch, each before its batch's step."""
        return float(self.path.loss_sum.sum()) / self.row

    def kept(self) -> State:
        """Return a copy that nothing changes, without the order of rows, which seed and epoch give again."""
        path = Path(*(array.copy() for array in self.path))
        for array in path:
            array.flags.writeable = False
        return replace(self, path=path, order=NO_ORDER)


class Textbook(NamedTuple):
    """Minibatch SGD on a table."""

    options: Sgd
    step: float | Schedule
    settings: Settings
    seed: int
    loss: Loss

    def start(self, table: Table, earlier: State | None = None) -> State:
        """Return the state before the first step: all weights zero, or where an earlier fit stopped."""
        within = table.n, self.settings.batch, self.seed, self.options.shuffle, self.loss
        if earlier is None:
            return State(table.path(), self.options, NO_ORDER, within)
        state = replace(earlier, path=Path(*(array.copy() for array in earlier.path)), order=NO_ORDER)
        path, before, now = state.path, earlier.options, self.options
        # Momentum and average go on where they act as before, and begin anew at the coefficients elsewhere.
        if (before.nesterov, before.momentum > 0, before.average) != (now.nesterov, now.momentum > 0, now.average):
            path.w[...] = path.last[...] = earlier.w
            path.average[...] = 0.0
            state.averaged = 0
        state.options, state.within, state.largest_rate = now, within, 0.0
        if within != earlier.within:
            state.row = 0  # of other batches, or other rows, none has been read
        elif state.row not in {0, table.n}:
            state.order = table.order(table.n, self.seed, state.epoch, now.shuffle)
        return state

    def steps(self, table: Table, state: State, epochs: int) -> int:
        """Return how many steps so many epochs more have."""
        batches = -(-table.n // self.settings.batch)
        return batches * epochs - (state.row % table.n) // self.settings.batch

    def advance(self, table: Table, state: State) -> State:
        """Take the steps of one round: one call of the kernel, at most one epoch."""
        batch = self.settings.batch
        if state.row in {0, table.n}:
            state.row = 0
            state.path.loss_sum[:] = 0.0
            if self.options.shuffle != "once" or state.order is NO_ORDER:
                state.order = table.order(table.n, self.seed, state.epoch, self.options.shuffle)
        stop = table.stop(state.row, batch)
        first_batch = state.row // batch
        sizes = rates(self.step, state.step, -(-stop // batch) - first_batch)
        # Ctrl-C comes before the steps or after they are counted: else a fit that goes on would take them twice.
        with interrupts_held():
            table.epoch(state.order, state.row, stop, self.settings, sizes, state.path, state.averaged)
            taken = (-(-stop // batch) if stop == table.n else stop // batch) - first_batch
            state.row = stop
            state.step += taken
            state.averaged += taken if self.options.average else 0
            state.rate = float(sizes[taken - 1 if sizes.size > 1 else 0])
            state.largest_rate = max(state.largest_rate, state.rate if sizes.size == 1 else float(sizes.max()))
            state.epoch += state.row == table.n
        return state
