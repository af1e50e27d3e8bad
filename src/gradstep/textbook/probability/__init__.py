"""Finite probability: sample spaces with events, tables of several variables, Bayes' theorem, Markov chains.

Where every probability is a `fractions.Fraction` or a whole number, so is what comes out of them; otherwise it is
float64. For continuous laws there is `scipy.stats`.

>>> from fractions import Fraction
>>> import gradstep as gs
>>> die = gs.textbook.SampleSpace.uniform(range(1, 7))
>>> even, high = die.event(lambda face: face % 2 == 0), die.event({5, 6})
>>> (even | high).probability, even.given(high), even.independent_of(high)
(Fraction(2, 3), Fraction(1, 2), True)
"""

from gradstep.textbook.probability.events import Event as Event
from gradstep.textbook.probability.events import SampleSpace as SampleSpace
from gradstep.textbook.probability.events import bayes as bayes
from gradstep.textbook.probability.joint import Joint as Joint
from gradstep.textbook.probability.markov import MarkovChain as MarkovChain
from gradstep.textbook.probability.markov import StateClass as StateClass

__all__ = ["Event", "Joint", "MarkovChain", "SampleSpace", "StateClass", "bayes"]
