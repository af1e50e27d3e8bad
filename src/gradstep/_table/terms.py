"""What solvers and tables say to each other."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_ORDER = np.empty(0, dtype=np.int64)
"""All rows, as they stand."""


class Rows(NamedTuple):
    """The rows of a table as the kernels read them."""

    X: Any
    """(n, d), float32 or float64, C order: a NumPy array, or one on a device."""
    y: Any
    """(n,), or (n, k) for several outputs, float64: where X is, or in host memory."""
    weight: NDArray[np.float64]
    """(n,) with mean 1, or a single 1 for all rows; in host memory."""


class Settings(NamedTuple):
    """What the steps of a pass are taken with, their sizes apart."""

    batch: int
    intercept: bool
    momentum: float = 0.0
    nesterov: bool = False
    averaging: bool = False


class Path(NamedTuple):
    """Where the steps stand: arrays of the shape of the weights, changed in place."""

    w: NDArray[np.float64]
    """Where gradients are taken: the weights, or under Nesterov's momentum a point ahead of them."""
    last: NDArray[np.float64]
    """Under momentum, the weights before `w`; under Nesterov's, the weights."""
    average: NDArray[np.float64]
    total: NDArray[np.float64]
    """Gradient summed over the running batch."""
    loss_sum: NDArray[np.float64]
    """An entry an output: the losses met in the running epoch, each before its batch's step."""


class Units(NamedTuple):
    """The units of least squares: columns are ``x * scale - centre``, responses ``y * y_scale - y_centre``.

    Scales are powers of two, so that scaling rounds nothing.
    """

    scale: NDArray[np.float64]
    """(d,)"""
    centre: NDArray[np.float64]
    """(d,) near the means of the scaled columns, 0 without an intercept."""
    y_scale: NDArray[np.float64]
    """(k,)"""
    y_centre: NDArray[np.float64]
    """(k,)"""


WIDE_SUM = 2.0**-66
"""Unit of rounding that is allowed to doubled sums: theirs is far smaller, but who checks a bound in 80 bits has
one of 2**-64 and, as errors fall on both sides, about this one in sums."""


class Evidence(NamedTuple):
    """What a read of the rows says of some weights, of half the weighted sum of squared residuals, in scaled units."""

    slopes: NDArray[np.float64]
    """(d, k): ``sum_i v_i r_i x_i`` of the columns about their means, the gradient downhill."""
    by_level: NDArray[np.float64]
    """(k,): ``sum_i v_i r_i``, by the level at the means; 0 without an intercept."""
    squares: NDArray[np.float64]
    """(k,): ``sum_i v_i r_i**2``."""
    sums: Any = WIDE_SUM
    """Unit of rounding of the sums over rows, one or (k,)."""
    scores: Any = 0.0
    """Unit of rounding of the residuals in them: 0 where it is not felt, in double-double arithmetic."""
    about_means: Any = True
    """Whether their terms are of columns about their means, or as they stand."""


class Way(NamedTuple):
    """A way to take a gradient in less than twice the precision."""

    centred: bool
    """Of columns about their means, not as they stand."""
    doubled: bool = False
    """With sums as good as in twice the precision."""


IN_FLOAT64 = Way(centred=True)
WAYS = Way(centred=False), IN_FLOAT64, Way(centred=True, doubled=True)
"""Each takes longer than the one before, and is nearly always better."""


class Look(NamedTuple):
    """What a read of the rows says of a loss at some weights."""

    high: NDArray[np.float64]
    """(d + 1, 1): ``-sum_i v_i slope_i [x_i, 1]``, the gradient downhill by uncentred columns in scaled units."""
    low: NDArray[np.float64]
    """What float64 left out of it."""
    score: NDArray[np.float64]
    """(n,), 0 for a row of weight zero."""
    curve: NDArray[np.float64]
    """(n,): the curvature at each score, 0 for a row of weight zero."""
    losses: float
    """``sum_i v_i value_i``"""
    squares: float
    """``sum_i v_i slope_i**2``"""
    bad: int
    """First row whose curvature is negative or no number; -1 where there is none."""


class Deal(NamedTuple):
    """How the rows of an epoch are dealt to lanes."""

    chunks: Any
    """Where the rows lie: numbers of runs of neighbouring rows, in the order in which they are read."""
    run: int
    """Rows of a chunk."""
    batches: tuple[NDArray[np.int64], ...]
    """An entry a lane: where each of its batches begins among the chunks, and where the last ends."""


class Model(NamedTuple):
    """What steps with variance reduction are taken with, in coordinates of a basis, the level's last."""

    T: NDArray[np.float64]
    """(d, r), in C order: coordinates as weights of the scaled columns."""
    centre: NDArray[np.float64]
    """(d,) of the scaled columns, about which they are taken."""
    level: float
    """The level's coordinate as an intercept; 0 without one."""
    fixed: NDArray[np.float64]
    """(r + 1, r + 1): the curvature that every step has whole; or empty."""
    weight: Any
    """Weights of the rows that are sampled, (n,) or one for all, where the rows lie."""
    rows: int
    """How many of them there are."""
