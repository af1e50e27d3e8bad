"""Peers at equal accuracy, as `asv_bench/peers.py` defines them: the first rung of each that is near enough, timed.

What is not installed is skipped, and so are peers whose calls are epochs of one long fit. All have one thread.
"""

import warnings

from . import _tables  # noqa: F401 - the path to what follows

from peers import CONTESTANTS, Case, Truth, made  # isort: skip

TABLE = Case("2e4x20", "clean", 20_000, 20)


class Fit:
    """A fit to 0.01 standard errors of the worst contrast, ours first."""

    params = ([name for name, peer in CONTESTANTS.items() if not peer.goes_on],)
    param_names = ("peer",)

    def setup(self, name):
        warnings.simplefilter("ignore")  # of rungs that do not converge
        peer = CONTESTANTS[name]
        X, y = made(TABLE)
        truth = Truth.of(X, y)
        for rung in peer.ladder:
            try:
                self.fit = peer.prepare(X, y, rung)
                found = self.fit()
            except ImportError as error:
                raise NotImplementedError(f"not installed: {error}") from error
            if truth.distance(*found) <= peer.near:
                return
        raise NotImplementedError(f"never within {peer.near} standard errors")

    def time_fit(self, *_):
        self.fit()
