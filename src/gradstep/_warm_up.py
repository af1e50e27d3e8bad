"""Compiling before it is waited for."""

import numba
import numpy as np
from numpy.typing import DTypeLike

from gradstep import _input
from gradstep._fit import fit
from gradstep._kernels import plain
from gradstep._kernels.first_call import spent
from gradstep._kernels.sweep import TINY
from gradstep._numbers import stream, whole
from gradstep.losses import DOMAINS, Loss, squared

_MANY = TINY + 4


def warm_up(*, loss: Loss = squared(), dtype: DTypeLike = "float64", columns: int = _MANY) -> float:
    """Compile, or load from disk, the kernels of a fit without a step, so that the next one does not wait for them.

    Fits compile what they need by themselves, once, and keep it on disk: this only brings it forward, as in the start
    of a server or the building of an image. Each kernel that is compiled is a line of the logger ``gradstep.compile``.
    Fits that turn out to need more, as of several outputs, with a penalty, a step or another solver, compile that then.

    Parameters
    ----------
    loss : Loss, default squared()
        The loss that will be fitted.
    dtype : {"float64", "float32"}, default "float64"
        Type of the columns, or what NumPy takes for one.
    columns : int, default 20
        How many columns will be fitted: each number up to 16 has kernels of its own, all others share theirs.

    Returns
    -------
    float
        Seconds spent on compiling and loading: almost 0 where all of it was there, 0 with the JIT off.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used: the message names it, what came and what is needed.

    Examples
    --------
    >>> import gradstep as gs
    >>> seconds = gs.warm_up()
    >>> gs.warm_up() < 0.01  # it is all there
    True
    """
    loss = _input.loss(loss)
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind not in (np.float64, np.float32):
        raise ValueError(f"dtype: {dtype!r} came; float64 or float32 is needed.")
    width = min(whole("columns", columns, 1), _MANY)
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return 0.0
    before = spent()
    plain.enough()
    rng = stream("warm up", 0)
    X = rng.standard_normal((70_000, width)).astype(kind)  # more than any table that is solved as it is, or by NumPy
    y = DOMAINS[loss.domain].into(X.sum(axis=1) / (1 + width) ** 0.5 + rng.standard_normal(len(X)))
    for rows in (100, len(X) // 7, len(X)):
        fit(X[:rows], y[:rows], loss=loss).predict(X[:1])
    return spent() - before
