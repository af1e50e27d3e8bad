"""Linear models by minibatch stochastic gradient descent that proves its answer."""

from importlib.metadata import version as _version

from gradstep import datasets as datasets
from gradstep import losses as losses
from gradstep import penalties as penalties
from gradstep import plots as plots
from gradstep import schedules as schedules
from gradstep import textbook as textbook
from gradstep._certificate import Certificate as Certificate
from gradstep._closed_form import ClosedForm as ClosedForm
from gradstep._closed_form import closed_form as closed_form
from gradstep._device import device_of as device_of
from gradstep._device import to_device as to_device
from gradstep._fit import fit as fit
from gradstep._kernels.formula import formula as formula
from gradstep._kernels.threads import set_threads as set_threads
from gradstep._result import Check as Check
from gradstep._result import ConvergenceWarning as ConvergenceWarning
from gradstep._result import DisagreementWarning as DisagreementWarning
from gradstep._result import Diverged as Diverged
from gradstep._result import Fit as Fit
from gradstep._result import History as History
from gradstep._result import Interrupted as Interrupted
from gradstep._result import Progress as Progress
from gradstep._result import Stop as Stop
from gradstep._solvers.textbook import Sgd as Sgd
from gradstep._solvers.textbook import sgd as sgd
from gradstep._versions import show_versions as show_versions
from gradstep._warm_up import warm_up as warm_up
from gradstep.datasets import load_diamonds as load_diamonds
from gradstep.losses import Loss as Loss
from gradstep.losses import epsilon_insensitive as epsilon_insensitive
from gradstep.losses import huber as huber
from gradstep.losses import logistic as logistic
from gradstep.losses import poisson as poisson
from gradstep.losses import quantile as quantile
from gradstep.losses import squared as squared
from gradstep.penalties import Penalty as Penalty
from gradstep.penalties import elastic_net as elastic_net
from gradstep.penalties import l1 as l1
from gradstep.penalties import l2 as l2
from gradstep.schedules import Schedule as Schedule
from gradstep.schedules import constant as constant
from gradstep.schedules import cosine_decay as cosine_decay
from gradstep.schedules import exponential_decay as exponential_decay
from gradstep.schedules import inverse_decay as inverse_decay
from gradstep.schedules import power_decay as power_decay
from gradstep.textbook import check_gradient as check_gradient
from gradstep.textbook import check_loss as check_loss
from gradstep.textbook import check_penalty as check_penalty

__version__ = _version("gradstep")
