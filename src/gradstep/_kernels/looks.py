"""What one read of the rows says of a loss at some weights, and what its scores alone say along a direction.

Scores and gradient are summed in double-double arithmetic, as those of the squared loss are (`gradstep._kernels.wide`),
so that what is left of a gradient near the optimum is not its rounding. The scores and curvatures of the rows are kept:
a line is then searched, and a change of the curvature bounded, without a further read.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from gradstep._kernels.cache import kernel
from gradstep._kernels.formula import Formula, compilable
from gradstep._kernels.wide import LANES, product_error

_exact = partial(compilable, fastmath=False, forceinline=True, error_model="numpy")


@_exact
def _scores(tile, w, r, rest):
    """Set ``r + rest`` to the products of the lanes of a tile (d + 1, lanes) with weights."""
    r[:] = 0.0
    rest[:] = 0.0
    for j in range(tile.shape[0]):
        factor, column = w[j], tile[j]
        for i in range(LANES):
            product = column[i] * factor
            lost = product_error(column[i], factor, product)
            before = r[i]
            after = before + product
            part = after - before
            rest[i] += ((before - (after - part)) + (product - part)) + lost
            r[i] = after


@_exact
def _add(tile, r, rest, totals, errors):
    """Add the lanes of a tile, times ``r + rest``, to sums and what is lost of them."""
    for j in range(tile.shape[0]):
        column, total, error = tile[j], totals[j], errors[j]
        for i in range(LANES):
            product = column[i] * r[i]
            lost = product_error(column[i], r[i], product) + column[i] * rest[i]
            before = total[i]
            after = before + product
            part = after - before
            error[i] += ((before - (after - part)) + (product - part)) + lost
            total[i] = after


@_exact
def _join(totals, errors, high, low):
    """Set `high` and `low` to the sums over lanes."""
    for j in range(totals.shape[0]):
        total, error = 0.0, 0.0
        for i in range(LANES):
            after = total + totals[j, i]
            part = after - total
            error += ((total - (after - part)) + (totals[j, i] - part)) + errors[j, i]
            total = after
        high[j] = total + error
        low[j] = error - (high[j] - total)


@lru_cache(maxsize=64)
def look_kernel(value: Formula, slope: Formula, curvature: Formula) -> Callable[..., None]:
    """Return the compiled look at rows `start` to `stop` for a loss's formulas, called as::

        look(X, y, weight, start, stop, scale, w, p, high, low, score, curve, sums)

    ``X`` (n, d) is multiplied by ``scale`` (d,), powers of two; ``y`` is (n,); ``w`` (d + 1,) has the intercept last.
    ``high`` and ``low`` (d + 1,) are set to the two parts of the gradient downhill, ``-sum v slope [x, 1]``; ``score``
    and ``curve`` (n,) to each row's score and curvature, 0 for a row of weight zero; ``sums`` (3,) to the sum of ``v
    value``, that of ``v slope**2``, and the first row with a value or slope that is no number, or a curvature below 0;
    -1 if there is none.
    """  # noqa: D400 - the call belongs to the sentence

    @kernel
    def look(X, y, weight, start, stop, scale, w, p, high, low, score, curve, sums):
        d = X.shape[1]
        tile = np.empty((d + 1, LANES))
        tile[d, :] = 1.0
        v, r, rest = np.empty(LANES), np.empty(LANES), np.empty(LANES)
        totals, errors = np.zeros((d + 1, LANES)), np.zeros((d + 1, LANES))
        losses, lost_of_losses, squares, bad = 0.0, 0.0, 0.0, -1.0
        for first in range(start, stop, LANES):
            count = min(LANES, stop - first)
            for i in range(LANES):
                # A row of weight zero is no row, whatever stands in it; nor is one beyond the end.
                v[i] = (weight[0] if weight.size == 1 else weight[first + i]) if i < count else 0.0
                for j in range(d):
                    tile[j, i] = X[first + i, j] * scale[j] if v[i] > 0.0 else 0.0
            _scores(tile, w, r, rest)
            for i in range(count):
                at = first + i
                if v[i] > 0.0:
                    z = r[i] + rest[i] if math.isfinite(r[i]) else r[i]
                    s = slope(z, y[at], p)
                    h = curvature(z, y[at], p)
                    score[at] = z
                    curve[at] = h
                    if (not h >= 0.0 or math.isnan(s)) and bad < 0.0:
                        bad = float(at)
                    loss = v[i] * value(z, y[at], p)
                    if math.isnan(loss) and bad < 0.0:
                        bad = float(at)
                    after = losses + loss
                    part = after - losses
                    lost_of_losses += (losses - (after - part)) + (loss - part)
                    losses = after
                    weighted = -s * v[i]
                    squares -= weighted * s
                    rest[i] = product_error(-s, v[i], weighted)
                    r[i] = weighted
                else:
                    score[at] = 0.0
                    curve[at] = 0.0
                    r[i] = 0.0
                    rest[i] = 0.0
            for i in range(count, LANES):
                r[i] = 0.0
                rest[i] = 0.0
            _add(tile, r, rest, totals, errors)
        _join(totals, errors, high, low)
        sums[0] = losses + lost_of_losses if math.isfinite(losses) else losses
        sums[1] = squares
        sums[2] = bad

    return look


@lru_cache(maxsize=64)
def along_kernel(value: Formula, slope: Formula) -> Callable[..., None]:
    """Return the compiled sums of a loss along a line, called as ``along(y, weight, score, by, t, p, sums)``.

    ``sums`` (2,) is set to the sums of ``v value`` and ``v slope by`` at scores ``score + t by``.
    """

    @kernel
    def along(y, weight, score, by, t, p, sums):
        losses, slopes = 0.0, 0.0
        for i in range(score.size):
            v = weight[0] if weight.size == 1 else weight[i]
            if v > 0.0:
                z = score[i] + t * by[i]
                losses += v * value(z, y[i], p)
                slopes += v * slope(z, y[i], p) * by[i]
        sums[0], sums[1] = losses, slopes

    return along


@lru_cache(maxsize=64)
def change_kernel(curvature: Formula) -> Callable[..., None]:
    """Return the compiled bound on how the curvature changes about some scores, called as::

        change(y, weight, score, curve, base, leverage, reach, shares, p, missing, more)

    ``base`` are the curvatures that a factor was made of. For each of the ``shares``, ``missing`` is set to what is
    missing at worst of a base less that share, within ``reach sqrt(leverage)`` of the scores, and ``more`` to what
    ``curve`` has beyond a base with that share on top; both summed over rows, times weight and leverage: traces in the
    coordinates of the factor. The least of a curvature that has one hump is at one end of an interval; the middle of
    each side is looked at too, where it has more.
    """  # noqa: D400 - the call belongs to the sentence

    @kernel
    def change(y, weight, score, curve, base, leverage, reach, shares, p, missing, more):
        missing[:] = 0.0
        more[:] = 0.0
        for i in range(score.size):
            v = weight[0] if weight.size == 1 else weight[i]
            if v > 0.0:
                by = reach * math.sqrt(leverage[i])
                z = score[i]
                least = min(curve[i], curvature(z - by, y[i], p), curvature(z + by, y[i], p))
                half = by / 2.0
                least = min(least, curvature(z - half, y[i], p), curvature(z + half, y[i], p))
                if not least >= 0.0:
                    least = 0.0
                share = v * leverage[i]
                for c in range(shares.size):
                    missing[c] += share * max(base[i] * (1.0 - shares[c]) - least, 0.0)
                    more[c] += share * max(curve[i] - base[i] * (1.0 + shares[c]), 0.0)

    return change


@lru_cache(maxsize=64)
def peak_kernel(curvature: Formula) -> Callable[..., None]:
    """Return the compiled bound on the curvature about some scores, as ``peak(y, score, curve, base, by, p, out)``.

    ``out`` is set to the square of the most that the curvature may be within ``by`` of a score, over ``base``. One that
    has one hump is most at one end of an interval, or at the hump if that lies within: at a score of 0, as of labels,
    or at the response, as of residuals.
    """

    @kernel
    def peak(y, score, curve, base, by, p, out):
        for i in range(score.size):
            low, high = score[i] - by[i], score[i] + by[i]
            most = max(curve[i], curvature(low, y[i], p), curvature(high, y[i], p))
            most = max(most, curvature(min(max(0.0, low), high), y[i], p))
            most = max(most, curvature(min(max(y[i], low), high), y[i], p))
            out[i] = most * most / base[i] if most > 0.0 else 0.0

    return peak


@lru_cache(maxsize=64)
def majoriser_kernel(slope: Formula) -> Callable[..., None]:
    """Return the compiled weights ``slope / (z - y)`` of rows, as ``majoriser(y, score, p, out)``.

    The squared loss of such weights touches a loss of residuals at the scores and is nowhere below it, where its slope
    grows ever less: P. J. Huber, *Robust Statistics*, Wiley 1981, section 7.8.
    """

    @kernel
    def majoriser(y, score, p, out):
        for i in range(score.size):
            r = score[i] - y[i]
            # At a residual of zero the limit, about: from as near as float64 tells scores apart.
            if abs(r) < 1e-150:
                r = 1e-150
            ratio = slope(y[i] + r, y[i], p) / r
            out[i] = ratio if ratio > 0.0 and math.isfinite(ratio) else 0.0

    return majoriser
