"""The method in its own small pieces: train a linear model by hand in five lines.

>>> import numpy as np
>>> from gradstep.textbook import gradient, make_linear, minibatches, sgd_step
>>> X, y = make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
>>> w, b = np.zeros(2), 0.0
>>> for epoch in range(3):
...     for rows, responses in minibatches(X, y, 10, epoch=epoch):
...         w, b = sgd_step((w, b), gradient(rows, responses, w, b), 0.03)
>>> w.round(1), round(b, 1)
(array([ 2. , -3.4]), 4.2)

`gradient` runs the kernel that `gradstep.fit` runs, so these lines equal ``gradstep.fit(X, y, step=0.03,
batch_size=10, epochs=3)`` bit for bit.
"""

from gradstep.textbook import chain as chain
from gradstep.textbook import posterior as posterior
from gradstep.textbook import probability as probability
from gradstep.textbook.chain import SGDChain as SGDChain
from gradstep.textbook.chain import sampling_step as sampling_step
from gradstep.textbook.check import GradientCheck as GradientCheck
from gradstep.textbook.check import check_gradient as check_gradient
from gradstep.textbook.laws import Law as Law
from gradstep.textbook.laws import LawCheck as LawCheck
from gradstep.textbook.laws import check_loss as check_loss
from gradstep.textbook.laws import check_penalty as check_penalty
from gradstep.textbook.pieces import gradient as gradient
from gradstep.textbook.pieces import linear as linear
from gradstep.textbook.pieces import make_linear as make_linear
from gradstep.textbook.pieces import minibatches as minibatches
from gradstep.textbook.pieces import sgd_step as sgd_step
from gradstep.textbook.posterior import NormalInverseGamma as NormalInverseGamma
from gradstep.textbook.probability import Event as Event
from gradstep.textbook.probability import Joint as Joint
from gradstep.textbook.probability import MarkovChain as MarkovChain
from gradstep.textbook.probability import SampleSpace as SampleSpace
from gradstep.textbook.probability import StateClass as StateClass
from gradstep.textbook.probability import bayes as bayes

__all__ = [
    "Event", "GradientCheck", "Joint", "Law", "LawCheck", "MarkovChain", "NormalInverseGamma", "SGDChain",
    "SampleSpace", "StateClass", "bayes", "chain", "check_gradient", "check_loss", "check_penalty", "gradient",
    "linear", "make_linear", "minibatches", "posterior", "probability", "sampling_step", "sgd_step",
]  # fmt: skip
