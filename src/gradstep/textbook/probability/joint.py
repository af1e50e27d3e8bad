"""Several variables at once: their joint distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradstep.textbook.frozen import Frozen
from gradstep.textbook.probability.functions import parameters, values_of
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
    to_one,
)


class Joint(Frozen):
    """The joint distribution of named variables with finitely many outcomes, as a table.

    Parameters
    ----------
    variables : mapping
        The outcomes of each variable, in the order of the table's axes.
    table : array_like
        The probability of each combination, an axis for each variable; not negative, of sum 1 (floats to 1e-6).

    Attributes
    ----------
    table : ndarray
        The probabilities: of `fractions.Fraction` where all that came were rational, else of float64.

    Raises
    ------
    TypeError, ValueError
        If the table has another shape or is no distribution; the message gives the entry, or the sum.

    References
    ----------
    L. Wasserman, *All of Statistics*, Springer 2004, sections 2.5 to 2.8 and 3.1 to 3.3.

    Examples
    --------
    >>> from fractions import Fraction
    >>> import gradstep as gs
    >>> weather = gs.textbook.Joint(
    ...     {"sky": ["clear", "grey"], "rain": [0, 1]},
    ...     [[Fraction(5, 10), Fraction(1, 10)], [Fraction(2, 10), Fraction(2, 10)]],
    ... )
    >>> weather.probability(rain=1), weather.given(rain=1).probability(sky="grey")
    (Fraction(3, 10), Fraction(2, 3))
    """

    def __init__(self, variables: Mapping[str, Sequence[Outcome]], table: object) -> None:
        if not isinstance(variables, Mapping) or not variables:
            raise TypeError(f"variables: {variables!r} came; the outcomes of each variable by its name are needed.")
        for name in variables:
            if not isinstance(name, str):
                raise TypeError(f"variables: {name!r} came for a name; a text is needed.")
        outcomes = {name: each_once(f"variables[{name!r}]", values) for name, values in variables.items()}
        found = numbers("table", table)
        shape = tuple(map(len, outcomes.values()))
        if found.shape != shape:
            raise ValueError(
                f"table: shape {found.shape} came; {shape} is needed, an axis for each of {listed(outcomes)}."
            )
        for where, value in np.ndenumerate(found):
            if value < 0:
                at = ", ".join(f"{name}={of[i]!r}" for (name, of), i in zip(outcomes.items(), where, strict=True))
                raise ValueError(f"table: {shown(value)} came at {at}; probabilities are not negative.")
        self.table: NDArray[Any] = to_one("table", found)
        self._variables = outcomes
        self._freeze()

    @property
    def variables(self) -> Mapping[str, tuple[Outcome, ...]]:
        """The outcomes of each variable, in the order of the table's axes."""
        return MappingProxyType(self._variables)

    @classmethod
    def from_conditional(
        cls, names: tuple[str, str], prior: Mapping[Outcome, Any], conditional: Mapping[Outcome, Mapping[Outcome, Any]]
    ) -> Joint:
        """Return the joint distribution ``P(a, b) = P(a) P(b | a)`` of two variables.

        Parameters
        ----------
        names : tuple of str
            The names of the two variables.
        prior : mapping
            The distribution of the first.
        conditional : mapping
            For each outcome of the first the distribution of the second.

        Returns
        -------
        Joint
            Their joint distribution.

        Raises
        ------
        TypeError, ValueError
            If one of them is no distribution, an outcome has none, or the names are not two.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint.from_conditional(
        ...     ("disease", "test"),
        ...     {"ill": 0.01, "well": 0.99},
        ...     {"ill": {"+": 0.9, "-": 0.1}, "well": {"+": 0.1, "-": 0.9}},
        ... )
        >>> round(joint.given(test="+").probability(disease="ill"), 4)
        0.0833
        """
        if not isinstance(names, (tuple, list)) or [isinstance(name, str) for name in names] != [True, True]:
            raise TypeError(f"names: {names!r} came; a tuple of two texts is needed.")
        if names[0] == names[1]:
            raise ValueError(f"names: {names!r} came; two different names are needed.")
        first = distribution("prior", prior)
        if not isinstance(conditional, Mapping) or set(conditional) != set(first):
            raise ValueError(
                f"conditional: {conditional!r} came; a distribution for each of {listed(first)} is needed."
            )
        rows = [distribution(f"conditional[{a!r}]", conditional[a]) for a in first]
        seconds = tuple(dict.fromkeys(b for row in rows for b in row))
        table = [[first[a] * row.get(b, Fraction(0)) for b in seconds] for a, row in zip(first, rows, strict=True)]
        one, two = names
        return cls({one: tuple(first), two: seconds}, table)

    def marginal(self, *names: str) -> Joint:
        """Return the marginal distribution of some of the variables, the others summed out.

        Parameters
        ----------
        *names : str
            The variables to keep, in the order wanted.

        Returns
        -------
        Joint
            Their distribution.

        Raises
        ------
        ValueError
            If a variable is not of this table, or none is named.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.marginal("x").table
        array([0.75, 0.25])
        """
        axes = [self._axis(name) for name in names]
        if not axes or len(set(axes)) < len(axes):
            raise ValueError(f"names: {names!r} came; one or more of {listed(self.variables)}, each once, are needed.")
        kept = np.moveaxis(self.table, axes, range(len(axes)))
        shape = kept.shape[: len(axes)]
        sums = [added(np.asarray(kept[where], dtype=kept.dtype).flat) for where in np.ndindex(shape)]
        return Joint({name: self.variables[name] for name in names}, np.array(sums, dtype=kept.dtype).reshape(shape))

    def law(self, name: str) -> dict[Outcome, Number]:
        """Return the marginal distribution of one variable as a mapping, as `bayes` takes it.

        Parameters
        ----------
        name : str
            The variable.

        Returns
        -------
        dict
            The probability of each of its outcomes.

        Raises
        ------
        ValueError
            If the variable is not of this table.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": ["a", "b"], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.law("x")
        {'a': 0.75, 'b': 0.25}
        """
        marginal = self.marginal(name)
        return dict(zip(marginal.variables[name], marginal.table.tolist(), strict=True))

    def probability(self, /, **values: Outcome) -> Number:
        """Return the probability that variables have these values, ``P(x = ..., y = ...)``; of all others summed.

        Parameters
        ----------
        **values : outcome
            Variables and their values.

        Returns
        -------
        Fraction or float
            The probability.

        Raises
        ------
        ValueError
            If a variable or an outcome is not of this table.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.probability(x=0, y=1)
        0.25
        """
        part = np.asarray(self.table[self._where(values)], dtype=self.table.dtype)
        return added(part.flat)

    def given(self, /, **values: Outcome) -> Joint:
        """Return the conditional distribution of the others, ``P(rest | x = ...) = P(rest, x = ...) / P(x = ...)``.

        Parameters
        ----------
        **values : outcome
            Variables and the values that are known; at least one variable stays.

        Returns
        -------
        Joint
            The distribution of the variables that stay.

        Raises
        ------
        ValueError
            If what is known has probability 0, or is of another table.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.given(y=0).table.round(3)
        array([0.667, 0.333])
        """
        known = self.probability(**values)
        rest = {name: of for name, of in self.variables.items() if name not in values}
        if not rest:
            raise ValueError(f"values: all of {listed(self.variables)} came; a variable that is not known is needed.")
        if known == 0:
            said = ", ".join(f"{name}={value!r}" for name, value in values.items())
            raise ValueError(f"values: {said} has probability 0; a probability above 0 is needed to condition on.")
        part = self.table[self._where(values)] / known
        return Joint(rest, part)

    def expectation(self, of: str | Callable[..., Any]) -> Number:
        """Return the expectation ``E[f] = sum_x P(x) f(x)``.

        Parameters
        ----------
        of : str or callable
            A variable with numbers for outcomes, or a function of variables: its parameters are their names, those
            with defaults left out.

        Returns
        -------
        Fraction or float
            The expectation: exact where probabilities and values are rational.

        Raises
        ------
        TypeError, ValueError
            If a variable is not of this table, or a value is no number.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.expectation("x"), joint.expectation(lambda x, y: (x + y) ** 2)
        (0.25, 0.5)
        """
        law, values = self._values(of)
        return added(p * value for p, value in zip(law, values, strict=True))

    def variance(self, of: str | Callable[..., Any]) -> Number:
        """Return the variance ``E[(f - E[f])**2]``.

        Parameters
        ----------
        of : str or callable
            As for `expectation`.

        Returns
        -------
        Fraction or float
            The variance, in squared units of the value.

        Raises
        ------
        TypeError, ValueError
            As `expectation`.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1]}, [0.75, 0.25])
        >>> joint.variance("x")
        0.1875
        """
        return self.covariance(of, of)

    def standard_deviation(self, of: str | Callable[..., Any]) -> float:
        """Return the standard deviation, the root of the variance.

        Parameters
        ----------
        of : str or callable
            As for `expectation`.

        Returns
        -------
        float
            The standard deviation, in units of the value.

        Raises
        ------
        TypeError, ValueError
            As `expectation`.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1]}, [0.5, 0.5])
        >>> joint.standard_deviation("x")
        0.5
        """
        return math.sqrt(self.variance(of))

    def covariance(self, of: str | Callable[..., Any], other: str | Callable[..., Any]) -> Number:
        """Return the covariance ``E[(f - E[f]) (g - E[g])]``.

        Parameters
        ----------
        of, other : str or callable
            As for `expectation`.

        Returns
        -------
        Fraction or float
            The covariance, in units of the one value times those of the other.

        Raises
        ------
        TypeError, ValueError
            As `expectation`.

        Examples
        --------
        >>> import gradstep as gs
        >>> joint = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0.25], [0.25, 0.0]])
        >>> joint.covariance("x", "y")
        -0.0625
        """
        law, f = self._values(of)
        g = f if other is of else self._values(other)[1]
        f_mean: Any = added(p * value for p, value in zip(law, f, strict=True))
        g_mean: Any = added(p * value for p, value in zip(law, g, strict=True))
        return added(p * (a - f_mean) * (b - g_mean) for p, a, b in zip(law, f, g, strict=True))

    def independent(self, *names: str) -> bool:
        """Whether variables are independent: their joint distribution is the product of their marginals.

        Parameters
        ----------
        *names : str
            The variables; all of the table where none is named.

        Returns
        -------
        bool
            Whether they are, of floats to rounding.

        Raises
        ------
        ValueError
            If a variable is not of this table, or comes twice.

        Examples
        --------
        >>> import gradstep as gs
        >>> coins = gs.textbook.Joint({"x": [0, 1], "y": [0, 1]}, [[0.25, 0.25], [0.25, 0.25]])
        >>> coins.independent("x", "y")
        True
        """
        joint = self.marginal(*(names or self.variables))
        alone = [joint.marginal(name).table for name in joint.variables]
        return all(
            alike(p, math.prod(one[i] for one, i in zip(alone, where, strict=True)))
            for where, p in np.ndenumerate(joint.table)
        )

    def __repr__(self) -> str:
        return f"<Joint of {listed(f'{name} ({len(of)})' for name, of in self.variables.items())}>"

    def __str__(self) -> str:
        lines = [" ".join(f"{name:>12}" for name in (*self.variables, "probability"))]
        for where, p in np.ndenumerate(self.table):
            values = (of[i] for of, i in zip(self.variables.values(), where, strict=True))
            lines.append(" ".join(f"{value!s:>12}" for value in (*values, shown(p))))
        return "\n".join(lines)

    def _axis(self, name: object) -> int:
        if not isinstance(name, str) or name not in self.variables:
            raise ValueError(f"variable: {name!r} came; one of {listed(self.variables)} is needed.")
        return list(self.variables).index(str(name))

    def _where(self, values: Mapping[str, Outcome]) -> tuple[Any, ...]:
        where: list[Any] = [slice(None)] * len(self.variables)
        for name, value in values.items():
            axis, outcomes = self._axis(name), self.variables.get(name, ())
            if not isinstance(value, Hashable) or value not in outcomes:
                raise ValueError(f"{name}: {value!r} came; one of the outcomes {listed(outcomes)} is needed.")
            where[axis] = outcomes.index(value)
        return tuple(where)

    def _values(self, of: str | Callable[..., Any]) -> tuple[list[Any], NDArray[Any]]:
        """Return all probabilities, and the value of a variable or a function at each."""
        if callable(of):
            names, function = parameters(of), of
        else:
            names, function = [of], lambda value: value
        axes = [self._axis(name) for name in names]
        outcomes = [self.variables[name] for name in names]
        found = [
            function(*(of_one[where[axis]] for of_one, axis in zip(outcomes, axes, strict=True)))
            for where in np.ndindex(self.table.shape)
        ]
        return list(self.table.flat), values_of(of, found)
