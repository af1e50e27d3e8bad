"""Sample spaces with their events, and Bayes' theorem."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from gradstep.textbook.frozen import Frozen
from gradstep.textbook.probability.joint import Joint
from gradstep.textbook.probability.rational import (
    Number,
    Outcome,
    added,
    alike,
    distribution,
    each_once,
    listed,
    numbers,
    shown,
)


class SampleSpace(Frozen):
    """The outcomes of an experiment, each with its probability.

    Parameters
    ----------
    probabilities : mapping
        The probability of each outcome; not negative, of sum 1. A sum of floats that is at most 1e-6 off, such as of
        rounded decimals, is brought to 1.

    Attributes
    ----------
    outcomes : tuple
        The outcomes.

    Raises
    ------
    TypeError, ValueError
        If the probabilities are no such numbers; the message gives the outcome, or the sum.

    References
    ----------
    A. N. Kolmogorov, *Foundations of the Theory of Probability*, Chelsea 1956, chapter I.

    Examples
    --------
    >>> import gradstep as gs
    >>> coin = gs.textbook.SampleSpace({"heads": 0.5, "tails": 0.5})
    >>> coin.event({"heads"}).probability
    0.5
    """

    def __init__(self, probabilities: Mapping[Outcome, Any]) -> None:
        table = distribution("probabilities", probabilities)
        self.outcomes: tuple[Outcome, ...] = tuple(table)
        self._probability = table
        self._freeze()

    @classmethod
    def uniform(cls, outcomes: Iterable[Outcome]) -> SampleSpace:
        """Return the space in which each outcome is as likely as any other.

        Parameters
        ----------
        outcomes : iterable
            The outcomes, each once.

        Returns
        -------
        SampleSpace
            The space, of fractions.

        Raises
        ------
        TypeError, ValueError
            If there is none, one comes twice, or one is not hashable.

        Examples
        --------
        >>> import gradstep as gs
        >>> gs.textbook.SampleSpace.uniform("abc").event({"a"}).probability
        Fraction(1, 3)
        """
        each = each_once("outcomes", outcomes)
        return cls(dict.fromkeys(each, Fraction(1, len(each))))

    def event(self, which: Callable[[Any], object] | Iterable[Outcome]) -> Event:
        """Return an event: a set of outcomes.

        Parameters
        ----------
        which : callable or iterable
            A condition that is true of the outcomes in the event, or those outcomes; of texts, one alone will do.

        Returns
        -------
        Event
            The event.

        Raises
        ------
        TypeError, ValueError
            If an outcome is not of this space, or no set of outcomes came.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.event(lambda face: face > 4).outcomes == {5, 6}
        True
        """
        if callable(which):
            return Event(self, frozenset(outcome for outcome in self.outcomes if which(outcome)))
        if isinstance(which, str) and which in self._probability:
            return Event(self, frozenset({which}))
        try:
            return Event(self, frozenset(which))
        except TypeError as error:
            raise TypeError(f"which: {which!r} came ({error}); a condition, or several outcomes, are needed.") from None

    def law(self, of: Callable[[Any], Outcome]) -> dict[Outcome, Number]:
        """Return the law of a random variable: the probability of each of its values, ``P(f = v)``.

        Parameters
        ----------
        of : callable
            The random variable: a function of the outcome.

        Returns
        -------
        dict
            The probability of each value, in the order in which the outcomes take them.

        Raises
        ------
        TypeError
            If it is no function, or a value is not hashable.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.law(lambda face: face % 3)
        {1: Fraction(1, 3), 2: Fraction(1, 3), 0: Fraction(1, 3)}
        """
        if not callable(of):
            raise TypeError(f"of: {of!r} came; a function of the outcome is needed.")
        shares: dict[Outcome, list[Number]] = {}
        for outcome, probability in self._probability.items():
            value = of(outcome)
            if not isinstance(value, Hashable):
                raise TypeError(f"of: {value!r} came for {outcome!r}; a hashable value is needed, such as a tuple.")
            shares.setdefault(value, []).append(probability)
        return {value: added(each) for value, each in shares.items()}

    def joint(self, /, **variables: Callable[[Any], Outcome]) -> Joint:
        """Return the joint law of random variables, with their expectations, covariances and conditional laws.

        Parameters
        ----------
        **variables : callable
            Each random variable by its name: a function of the outcome.

        Returns
        -------
        Joint
            Their joint distribution.

        Raises
        ------
        TypeError, ValueError
            If there is none, or a value is not hashable.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.joint(face=lambda face: face, even=lambda face: face % 2 == 0).covariance("face", "even")
        Fraction(1, 4)
        """
        laws = {name: tuple(self.law(of)) for name, of in variables.items()}
        shares = self.law(lambda outcome: tuple(of(outcome) for of in variables.values()))
        table = np.array([0 * next(iter(self._probability.values()))], dtype=object).repeat(
            math.prod(map(len, laws.values()))
        )
        table = table.reshape([len(values) for values in laws.values()])
        for values, probability in shares.items():
            assert isinstance(values, tuple)  # noqa: S101 - of the function above
            table[tuple(of.index(value) for of, value in zip(laws.values(), values, strict=True))] = probability
        return Joint(laws, table)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SampleSpace) and self._probability == other._probability)

    def __hash__(self) -> int:
        return hash(self.outcomes)

    def __repr__(self) -> str:
        return f"<SampleSpace of {len(self.outcomes)} outcomes: {listed(self.outcomes)}>"


@dataclass(frozen=True, eq=False, repr=False)
class Event:
    """A set of outcomes of a sample space: ``a | b`` is a or b, ``a & b`` both, ``~a`` not a, ``a - b`` a without b.

    Attributes
    ----------
    space : SampleSpace
        The space.
    outcomes : frozenset
        The outcomes in the event.

    Raises
    ------
    ValueError
        If an outcome is not of the space.
    """

    space: SampleSpace
    outcomes: frozenset[Outcome]

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcomes", frozenset(self.outcomes))
        unknown = self.outcomes - self.space._probability.keys()  # noqa: SLF001 - of the same file
        if unknown:
            raise ValueError(f"which: {next(iter(unknown))!r} came, which is none of {listed(self.space.outcomes)}.")

    @property
    def probability(self) -> Number:
        """Probability of the event, ``P(A)``."""
        table = self.space._probability  # noqa: SLF001 - of the same file
        return added(p if outcome in self.outcomes else 0 * p for outcome, p in table.items())

    def given(self, condition: Event) -> Number:
        """Return the conditional probability ``P(A | B) = P(A and B) / P(B)``.

        Parameters
        ----------
        condition : Event
            What is known to have happened, of probability above 0.

        Returns
        -------
        Fraction or float
            The probability.

        Raises
        ------
        ValueError
            If the condition has probability 0, or is of another space.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.event({6}).given(die.event({2, 4, 6}))
        Fraction(1, 3)
        """
        both, of_condition = (self & condition).probability, condition.probability
        if of_condition == 0:
            raise ValueError(f"condition: {condition!r} has probability 0; one above 0 is needed to condition on.")
        return both / of_condition

    def excludes(self, other: Event) -> bool:
        """Whether the two are mutually exclusive: they share no outcome.

        Parameters
        ----------
        other : Event
            The other event, of the same space.

        Returns
        -------
        bool
            Whether no outcome is in both.

        Raises
        ------
        TypeError, ValueError
            If the other is no event, or of another space.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.event({1}).excludes(die.event({2, 4, 6}))
        True
        """
        return not (self & other).outcomes

    def independent_of(self, other: Event) -> bool:
        """Whether the two are independent: ``P(A and B) = P(A) P(B)``, of floats to rounding.

        Parameters
        ----------
        other : Event
            The other event, of the same space.

        Returns
        -------
        bool
            Whether one says nothing about the other.

        Raises
        ------
        TypeError, ValueError
            If the other is no event, or of another space.

        Examples
        --------
        >>> import gradstep as gs
        >>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
        >>> die.event({1}).independent_of(die.event({2, 4, 6}))
        False
        """
        both = (self & other).probability
        return alike(both, self.probability * other.probability)

    def __or__(self, other: Event) -> Event:
        return self._with(other, self.outcomes.union)

    def __and__(self, other: Event) -> Event:
        return self._with(other, self.outcomes.intersection)

    def __sub__(self, other: Event) -> Event:
        return self._with(other, self.outcomes.difference)

    def __invert__(self) -> Event:
        return Event(self.space, frozenset(self.space.outcomes) - self.outcomes)

    def __contains__(self, outcome: object) -> bool:
        return outcome in self.outcomes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.outcomes == other.outcomes and self.space == other.space

    def __hash__(self) -> int:
        return hash(self.outcomes)

    def __repr__(self) -> str:
        inside = (outcome for outcome in self.space.outcomes if outcome in self.outcomes)
        return f"<Event of {len(self.outcomes)} outcomes: {listed(inside)}>"

    def _with(self, other: object, operation: Callable[[Any], frozenset[Outcome]]) -> Event:
        if not isinstance(other, Event):
            raise TypeError(f"other: {other!r} came; an Event is needed.")
        if other.space != self.space:
            raise ValueError("other: an event of another sample space came; one of the same space is needed.")
        return Event(self.space, operation(other.outcomes))


def bayes(prior: Mapping[Outcome, Any], likelihood: Mapping[Outcome, Any]) -> dict[Outcome, Number]:
    """Return the posterior by Bayes' theorem, ``P(h | e) = P(h) P(e | h) / sum_h P(h) P(e | h)``.

    Parameters
    ----------
    prior : mapping
        The probability of each hypothesis h before the evidence; of sum 1.
    likelihood : mapping
        For each hypothesis how probable it makes the evidence, ``P(e | h)``, from 0 to 1. Densities may be above 1.

    Returns
    -------
    dict
        The probability of each hypothesis after the evidence: the prior of the next piece of evidence.

    Raises
    ------
    TypeError, ValueError
        If the prior is no distribution, a hypothesis has no likelihood or a negative one, or the evidence has
        probability 0.

    References
    ----------
    T. Bayes, An essay towards solving a problem in the doctrine of chances, *Philosophical Transactions* 53 (1763)
    370-418.

    Examples
    --------
    >>> from fractions import Fraction
    >>> import gradstep as gs
    >>> prior = {"ill": Fraction(1, 100), "well": Fraction(99, 100)}
    >>> positive = {"ill": Fraction(9, 10), "well": Fraction(1, 10)}  # how often a test is positive
    >>> gs.textbook.bayes(prior, positive)
    {'ill': Fraction(1, 12), 'well': Fraction(11, 12)}
    """
    before = distribution("prior", prior)
    if not isinstance(likelihood, Mapping) or set(likelihood) != set(before):
        raise ValueError(f"likelihood: {likelihood!r} came; one for each of {listed(before)} is needed.")
    found: list[Any] = numbers("likelihood", [likelihood[hypothesis] for hypothesis in before]).tolist()
    for hypothesis, value in zip(before, found, strict=True):
        if value < 0:
            raise ValueError(f"likelihood: {shown(value)} came for {hypothesis!r}; likelihoods are not negative.")
    both = [p * value for p, value in zip(before.values(), found, strict=True)]
    evidence = added(both)
    if evidence == 0:
        raise ValueError("likelihood: the evidence has probability 0 whatever is true; one above 0 is needed.")
    return {hypothesis: joint / evidence for hypothesis, joint in zip(before, both, strict=True)}
