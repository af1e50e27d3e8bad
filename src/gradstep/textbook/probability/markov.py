"""Finite Markov chains."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradstep import _input
from gradstep._kernels.chains import alias_tables, walk
from gradstep._kernels.first_call import interrupts_held
from gradstep._numbers import stream
from gradstep.textbook.frozen import Frozen
from gradstep.textbook.probability.rational import each_once, listed, numbers, shown, to_one

_DRAWS_AT_ONCE = 1 << 18  # of a walk: a few milliseconds, so that Ctrl-C is answered


class StateClass(NamedTuple):
    """A communicating class of a Markov chain: states that can all be reached from one another.

    Attributes
    ----------
    states : tuple
        Its states.
    closed : bool
        Whether the chain never leaves it.
    period : int
        Greatest common divisor of the lengths of all ways from a state back to it; 0 where there is none.
    """

    states: tuple[Hashable, ...]
    closed: bool
    period: int


class MarkovChain(Frozen):
    """A Markov chain of finitely many states: where it goes depends on where it is, not on how it came there.

    Parameters
    ----------
    transition : array_like, (states, states)
        ``transition[i, j]`` is the probability to go from state i to state j; each row sums to 1. Sums of floats that
        are at most 1e-6 off, such as of rounded decimals, are brought to 1.
    states : iterable, optional
        Their names, in the order of the rows; 0, 1, ... unless given.

    Attributes
    ----------
    transition : ndarray, (states, states)
        The transition matrix: of `fractions.Fraction` where all that came were rational, else of float64.
    states : tuple
        The names of the states.

    Raises
    ------
    TypeError, ValueError
        If a row is no distribution, or the matrix has another shape; the message gives the row and its sum.

    References
    ----------
    J. R. Norris, *Markov Chains*, Cambridge 1997, chapter 1.

    Examples
    --------
    >>> from fractions import Fraction
    >>> import gradstep as gs
    >>> half, third = Fraction(1, 2), Fraction(1, 3)
    >>> weather = gs.textbook.MarkovChain([[1 - third, third], [half, half]], ["sun", "rain"])
    >>> weather.stationary()
    array([Fraction(3, 5), Fraction(2, 5)], dtype=object)
    """

    def __init__(self, transition: ArrayLike, states: Iterable[Hashable] | None = None) -> None:
        P = numbers("transition", transition)
        if P.ndim != 2 or P.shape[0] != P.shape[1] or P.size == 0:
            raise ValueError(f"transition: shape {P.shape} came; (states, states) is needed.")
        names = each_once("states", range(len(P)) if states is None else states)
        if len(names) != len(P):
            raise ValueError(f"states: {len(names)} names came; {len(P)} are needed, one for each row of transition.")
        for name, row in zip(names, P, strict=True):
            if (row < 0).any():
                j = int(np.argmax(row < 0))
                raise ValueError(
                    f"transition, row {name!r}: {shown(row[j])} came for {names[j]!r}; probabilities are not negative."
                )
            row[...] = to_one(f"transition, row {name!r}", row)
        self.transition: NDArray[Any] = P
        self.states: tuple[Hashable, ...] = names
        self._freeze()

    def after(self, steps: int) -> NDArray[Any]:
        """Return the transition matrix of several steps, ``P**n``.

        Parameters
        ----------
        steps : int
            How many, n.

        Returns
        -------
        ndarray, (states, states)
            Entry (i, j) is the probability to be in j, n steps after i.

        Raises
        ------
        TypeError, ValueError
            If ``steps`` is no whole number of at least 0.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.MarkovChain([[0.5, 0.5], [0.25, 0.75]]).after(2)
        array([[0.375 , 0.625 ],
               [0.3125, 0.6875]])
        """
        power, square, left = self._identity(), np.array(self.transition), _input.whole("steps", steps, 0)
        while left:
            if left & 1:
                power = power @ square
            left >>= 1
            square = _squared(square) if left else square
        return power

    def law(self, start: object, steps: int) -> NDArray[Any]:
        """Return where the chain is after several steps, ``p P**n``.

        Parameters
        ----------
        start : state, mapping or array_like, (states,)
            Where it is at first: a state, the probability of some states by name, or that of each.
        steps : int
            How many steps, n.

        Returns
        -------
        ndarray, (states,)
            The probability of each state.

        Raises
        ------
        TypeError, ValueError
            If ``start`` is neither a state nor a distribution.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.MarkovChain([[0.5, 0.5], [0.25, 0.75]], ["a", "b"]).law("a", 2)
        array([0.375, 0.625])
        """
        law, step, n = self._law(start), self.transition, _input.whole("steps", steps, 0)
        if law.dtype != step.dtype:
            law, step = law.astype(np.float64), step.astype(np.float64)
        if n <= 2 * len(self.states) * n.bit_length():  # so many steps of one law are cheaper than a square of all
            for _ in range(n):
                law = law @ step
            return law
        while n:
            law = law @ step if n & 1 else law
            n >>= 1
            step = _squared(step) if n else step
        return law

    @property
    def classes(self) -> tuple[StateClass, ...]:
        """The communicating classes, in the order of their first states, each with its period."""
        from scipy.sparse import csgraph  # noqa: PLC0415 - `import gradstep` does not load it

        edges = self.transition > 0
        _, label = csgraph.connected_components(edges.astype(np.int8), directed=True, connection="strong")
        found = []
        for of_class in dict.fromkeys(label.tolist()):
            members = np.flatnonzero(label == of_class)
            closed = not edges[np.ix_(members, np.flatnonzero(label != of_class))].any()
            period = _period(edges[np.ix_(members, members)])
            found.append(StateClass(tuple(self.states[i] for i in members), closed, period))
        return tuple(found)

    @property
    def irreducible(self) -> bool:
        """Whether every state can be reached from every other."""
        return len(self.classes) == 1

    def stationary(self) -> NDArray[Any]:
        """Return the stationary law, ``p = p P``: the one that a step leaves as it is.

        On the only closed class states are left out one after the other, and come back in the end: without a
        subtraction, so that in floats each entry, however small, is right to rounding, and in fractions exact. States
        outside that class have probability 0. If the class is aperiodic, the law after n steps tends to it.

        Returns
        -------
        ndarray, (states,)
            The probability of each state.

        Raises
        ------
        ValueError
            If there is more than one closed class, and so more than one stationary law; the message names them.

        References
        ----------
        J. R. Norris, *Markov Chains*, Cambridge 1997, sections 1.7 and 1.8. W. K. Grassmann, M. I. Taksar and D. P.
        Heyman, Regenerative analysis and steady state distributions for Markov chains, *Operations Research* 33 (1985)
        1107-1116.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.MarkovChain([[0.5, 0.5], [0.25, 0.75]]).stationary().round(4)
        array([0.3333, 0.6667])
        """
        closed = [of_class for of_class in self.classes if of_class.closed]
        if len(closed) > 1:
            named = " and ".join(f"{{{listed(of_class.states, most=50)}}}" for of_class in closed[:50])
            named += " and others" if len(closed) > 50 else ""
            raise ValueError(
                f"transition: the chain has {len(closed)} closed classes, {named}, and so no unique stationary law; "
                "one closed class is needed: take one of them as a chain of its own."
            )
        at = [self.states.index(state) for state in closed[0].states]
        law: NDArray[Any] = self.transition[0] * 0
        law[at] = _stationary(self.transition[np.ix_(at, at)])
        return law

    def simulate(self, steps: int, start: object, *, seed: int = 0) -> NDArray[np.int64]:
        """Return a walk: the states that the chain is in, one after the other.

        Parameters
        ----------
        steps : int
            How many steps to take.
        start : state, mapping or array_like, (states,)
            Where to begin: a state, the probability of some states by name, or that of each.
        seed : int, default 0
            Seed of the walk; the same seed takes the same steps, of a longer walk the first ones.

        Returns
        -------
        ndarray of int, (steps + 1,)
            Positions in ``states``, the start first.

        Raises
        ------
        TypeError, ValueError
            If an argument cannot be used.

        References
        ----------
        A. J. Walker, An efficient method for generating discrete random variables with general distributions, *ACM
        Transactions on Mathematical Software* 3 (1977) 253-256.

        Examples
        --------
        >>> import gradstep as gs
        >>> chain = gs.textbook.MarkovChain([[0.0, 1.0], [1.0, 0.0]], ["tick", "tock"])
        >>> [chain.states[i] for i in chain.simulate(3, "tick")]
        ['tick', 'tock', 'tick', 'tock']
        """
        steps, seed = _input.whole("steps", steps, 0), _input.whole("seed", seed, 0)
        first = self._law(start).astype(np.float64)
        P = self.transition.astype(np.float64)
        threshold, alias = np.empty(P.shape), np.empty(P.shape, dtype=np.int64)
        out = np.empty(steps + 1, dtype=np.int64)
        rng = stream("walk", seed)
        out[0] = min(int(np.searchsorted(np.cumsum(first), rng.random(), side="right")), int(np.flatnonzero(first)[-1]))
        with interrupts_held():  # they may be compiled
            alias_tables(P, threshold, alias)
            walk(threshold, alias, np.empty(0), 0, out[:0])
        for begin in range(1, steps + 1, _DRAWS_AT_ONCE):
            part = out[begin : begin + _DRAWS_AT_ONCE]
            walk(threshold, alias, rng.random(len(part)), out[begin - 1], part)
        return out

    def __repr__(self) -> str:
        return f"<MarkovChain of {len(self.states)} states: {listed(self.states)}>"

    def _identity(self) -> NDArray[Any]:
        if self.transition.dtype != object:
            return np.eye(len(self.states))
        one = np.array([[Fraction(int(i == j)) for j in range(len(self.states))] for i in range(len(self.states))])
        return one.astype(object)

    def _law(self, start: object) -> NDArray[Any]:
        """Return a law, of one state or as it came."""
        kinds = {type(state) for state in self.states} | {str}
        if isinstance(start, Hashable) and (start in self.states or type(start) in kinds or isinstance(start, Real)):
            if start not in self.states:
                raise ValueError(f"start: {start!r} came; one of {listed(self.states)}, or a law, is needed.")
            law: NDArray[Any] = self._identity()[self.states.index(start)]
            return law
        if isinstance(start, Mapping):
            unknown = next((state for state in start if state not in self.states), None)
            if unknown is not None:
                raise ValueError(f"start: {unknown!r} came; states of {listed(self.states)} are needed.")
            start = [start.get(state, 0) for state in self.states]
        law = numbers("start", start)
        if law.shape != (len(self.states),):
            raise ValueError(f"start: shape {law.shape} came; {(len(self.states),)} is needed, a probability a state.")
        if (law < 0).any():
            i = int(np.argmax(law < 0))
            raise ValueError(f"start: {shown(law[i])} came for {self.states[i]!r}; probabilities are not negative.")
        return to_one("start", law)


def _period(edges: NDArray[np.bool_]) -> int:
    """Return the period of states that are all reached from one another: of level + 1 - level over all edges."""
    level, reached = {0: 0}, [0]
    found = 0
    for i in reached:
        for j in np.flatnonzero(edges[i]).tolist():
            if j not in level:
                level[j] = level[i] + 1
                reached.append(j)
            found = math.gcd(found, level[i] + 1 - level[j])
    return found


def _stationary(P: NDArray[Any]) -> NDArray[Any]:
    """Return the stationary law of an irreducible chain: states are left out from the last on, then brought back."""
    whole, states = P, len(P)
    P = P.copy()
    for k in range(states - 1, 0, -1):
        into, out = np.flatnonzero(P[:k, k]), np.flatnonzero(P[k, :k])
        if len(into) == 0 or len(out) == 0:  # a product of small probabilities was too small for float64
            return _stationary(_in_fractions(whole)).astype(np.float64)
        P[into, k] /= P[k, out].sum()
        P[np.ix_(into, out)] += P[into, k, np.newaxis] * P[k, out]
    if P.dtype == object:
        law = np.array([Fraction(1)] * states, dtype=object)
        for k in range(1, states):
            law[k] = law[:k] @ P[:k, k]
        exact: NDArray[Any] = law / law.sum()
        return exact
    # Each entry with an exponent of its own: the first may be beyond float64 beside the last.
    part, exponent = np.ones(states), np.zeros(states, dtype=np.int64)
    for k in range(1, states):
        into = np.flatnonzero(P[:k, k])
        terms, powers = np.frexp(part[into] * P[into, k])
        powers = powers + exponent[into]
        part[k], by = np.frexp(np.ldexp(terms, powers - powers.max()).sum())
        exponent[k] = powers.max() + by
    relative: NDArray[Any] = np.ldexp(part, exponent - exponent.max())
    relative /= relative.sum()
    return relative


def _in_fractions(P: NDArray[np.float64]) -> NDArray[Any]:
    """Return a matrix of floats as fractions, its rows brought to one."""
    exact = np.array([[Fraction(p) for p in row] for row in P.tolist()], dtype=object)
    rows: NDArray[Any] = exact / exact.sum(axis=1)[:, np.newaxis]
    return rows


def _squared(P: NDArray[Any]) -> NDArray[Any]:
    """Return the transition matrix of twice as many steps; of many steps rounding would add up."""
    twice: NDArray[Any] = P @ P
    return twice if twice.dtype == object else twice / twice.sum(axis=1, keepdims=True)
