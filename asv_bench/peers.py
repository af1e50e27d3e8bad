"""Time gradstep beside its peers at equal accuracy: ``python asv_bench/peers.py [--quick] [--json FILE]``.

What counts is the least time at which coefficients come to 0.01 standard errors of the exact least-squares ones, at the
worst linear combination (their distance is that of ``Truth``, from 80-bit residuals). A peer with a tolerance or a step
is run through a ladder of them, cheapest first, and the first rung that is near enough counts, which the peer itself
could not have told. A peer of epochs is looked at after each. What a peer wants its rows as (a column of ones, tensors,
standardised columns) is made beforehand and costs it nothing; gradstep gets the raw rows. Rows of float32 that are not
enough for a peer are widened to float64, in its time. Our fits are called with ``check=False``: peers do not check.

Each contestant is a process of its own, warmed up on a few of the rows, which all of them map from one file: where
they lie in memory, which decides by half how long a read takes, is the same for all. gradstep, and whoever came
there in a few times the time of the quickest, are timed again in turns, and medians count; the rest are timed once.
Threads are as they come. Beside seconds stand multiples of one read of the rows: the time in which all threads sum
them, measured in the same turns.

Peers are optional, and what is not installed is left out with its reason:

    pip install scikit-learn scikit-learn-intelex statsmodels skglm torch

``lightning`` (sklearn-contrib-lightning) is built from source and wants NumPy 1 and a scikit-learn of its time, so that
it lives in an environment of its own, ``--python "lightning*=/path/to/bin/python"``:

    pip install "setuptools<60" wheel "cython<3" "numpy<2" "scipy<1.14" "scikit-learn<1.4"
    pip install --no-build-isolation sklearn-contrib-lightning

It takes about two hours and 15 GB, most of it the slowest peers': ``--limit`` bounds the seconds of each. ``--cases
"1e6x10 *"`` and ``--only auto,numpy*`` choose by patterns; ``--list`` prints the names. ``--update`` measures cases of
a file anew, or those that it lacks. ``--quick`` takes small tables, whose times prove nothing.
"""

import argparse
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np

NEAR, NEARER = 0.01, 1e-6  # standard errors
LIMIT = 60.0  # seconds of a peer's fits on a table
PATIENCE = 300.0  # and of what it makes of the rows beforehand
SLOW = 4  # times the quickest, beyond which nobody is timed again
ROUNDS, SECONDS = 9, 60  # of the turns: so many, or fewer where they take longer than that
PAUSE = 0.25  # in which threads that still spin go to sleep: OpenBLAS's take an eighth of a second
LONG = np.longdouble
PACKAGES = (
    "gradstep", "numpy", "scipy", "numba", "scikit-learn", "scikit-learn-intelex", "statsmodels", "torch", "skglm",
)  # fmt: skip


# ---- tables ----


class Case(NamedTuple):
    """A table to be fitted."""

    size: str
    kind: str
    n: int
    d: int

    @property
    def name(self):
        return f"{self.size} {self.kind}"


KINDS = ("clean", "scaled", "collinear", "spikes", "sorted")
CASES = [
    *(Case("1e6x10", kind, 1_000_000, 10) for kind in (*KINDS, "float32")),
    *(Case("1e6x100", kind, 1_000_000, 100) for kind in KINDS),
    Case("2e5x500", "clean", 200_000, 500),
    Case("1e5x1000", "clean", 100_000, 1000),
    Case("1e5x1000", "collinear", 100_000, 1000),
    Case("2e4x2000", "clean", 20_000, 2000),
]


def made(case):
    """Return the rows and responses of a case.

    Scaled columns have units from 1e-3 to 1e3, collinear ones condition 1e6, spikes are twenty rows ten thousand times
    as large, sorted rows rise by their responses, and float32 columns stand on offsets of 1e2 to 1e4.
    """
    n, d = case.n, case.d
    rng = np.random.default_rng((n, d))
    X, w = rng.standard_normal((n, d)), rng.standard_normal(d)
    if case.kind == "scaled":
        X *= np.logspace(-3, 3, d)
        w /= np.logspace(-3, 3, d)
    elif case.kind == "collinear":
        X = (X * np.logspace(0, -6, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0].T
    elif case.kind == "spikes":
        X[rng.choice(n, 20, replace=False)] *= 1e4
    elif case.kind == "float32":
        X = (X + np.logspace(2, 4, d)).astype(np.float32)
    y = X @ w + 3 + rng.standard_normal(n)
    if case.kind == "sorted":
        order = np.argsort(y)
        X, y = X[order], y[order]
    return X, y


class Truth(NamedTuple):
    """The exact coefficients of a table of full rank, in columns about their means and of unit variance."""

    w: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    R: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, X, y):
        """Solve by QR of blocks in float64, and refine with 80-bit residuals."""
        n, d = X.shape
        centre, scale = X.mean(axis=0, dtype=float), 1 / X.std(axis=0, dtype=float)

        def blocks(cells, dtype):
            size = max(1, cells // d)
            for i in range(0, n, size):
                yield partial(block, slice(i, i + size), dtype)

        def block(rows, dtype):
            A = np.ones((len(X[rows]), d + 1), dtype)
            A[:, :-1] = (X[rows].astype(dtype) - centre) * scale
            return A, y[rows].astype(dtype)

        R = np.zeros((0, d + 1))
        for make in blocks(max(4_000_000, 4 * d * d), np.float64):
            R = np.linalg.qr(np.concatenate((R, make()[0])), mode="r")

        w = np.zeros(d + 1, LONG)

        def gradient(make):
            A, b = make()
            residual = b - A @ w
            return residual @ A, residual @ residual

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # sums of 80 bits let go of Python's lock
            for _ in range(4):
                parts = list(pool.map(gradient, blocks(65_536, LONG)))
                g, squares = (sum(column) for column in zip(*parts, strict=True))
                size = np.abs(g).max() or LONG(1)
                w += np.linalg.solve(R, np.linalg.solve(R.T, (g / size).astype(float))).astype(LONG) * size
        return cls(w, centre, scale, R, np.sqrt(squares / (n - d - 1)))

    def distance(self, coef, intercept):
        """Return how far coefficients are from the exact ones, in standard errors of the worst contrast."""
        coef = np.asarray(coef).astype(LONG).ravel()
        moved = np.append(coef / self.scale, LONG(intercept) + self.centre @ coef) - self.w
        return float(np.linalg.norm(self.R @ moved.astype(float)) / self.sd)


def read_seconds(X):
    """Return the seconds in which all threads read an array once: they sum its slices."""
    from bare_loop import read

    read(X[:1])  # compiled
    began = perf_counter()
    read(X)
    return perf_counter() - began


# ---- contestants: each makes of X and y a function without arguments that returns (coef, intercept) ----


def ours(X, y, solver, tol=NEAR):
    import gradstep as gs

    def fit():
        found = gs.fit(X, y, solver=solver, tol=tol, check=False)
        return found.coef, found.intercept

    return fit


def of_estimator(estimator, X, y):
    def fit():
        found = estimator.fit(X, y)
        return found.coef_, found.intercept_

    return fit


def linear_regression(X, y, _):
    from sklearn.linear_model import LinearRegression

    return of_estimator(LinearRegression(), X, y)


def ridge(X, y, tol, solver):
    from sklearn.linear_model import Ridge

    return of_estimator(Ridge(alpha=0.0, solver=solver, tol=tol or 1e-4, max_iter=10_000), X, y)


def intel_linear_regression(X, y, _):
    from sklearnex.linear_model import LinearRegression

    return of_estimator(LinearRegression(), X, y)


def intel_ridge(X, y, _):
    from sklearnex.linear_model import Ridge

    return of_estimator(Ridge(alpha=0.0), X, y)


def with_ones(X):
    return np.column_stack((X, np.ones(len(X), X.dtype)))


def numpy_lstsq(X, y, _):
    A = with_ones(X)

    def fit():
        w = np.linalg.lstsq(A, y)[0]
        return w[:-1], w[-1]

    return fit


def scipy_lstsq(X, y, _, driver):
    import scipy.linalg

    A = with_ones(X)

    def fit():
        w = scipy.linalg.lstsq(A, y, lapack_driver=driver, check_finite=False)[0]
        return w[:-1], w[-1]

    return fit


def normal_equations(X, y, _, *, centred):
    """Solve by BLAS and Cholesky's factor; the mean is taken off the columns before, or off their products."""
    import scipy.linalg

    n = len(X)

    def fit():
        mean, level = X.mean(axis=0), y.mean()
        if centred:
            Z = X - mean
            G, g = Z.T @ Z, Z.T @ (y - level)
        else:
            G, g = X.T @ X - n * np.outer(mean, mean), y @ X - n * level * mean
        w = scipy.linalg.cho_solve(scipy.linalg.cho_factor(G, check_finite=False), g, check_finite=False)
        return w, level - mean @ w

    return fit


def of_statsmodels(X, y, _, method):
    from statsmodels.api import OLS

    A = with_ones(X)

    def fit():
        w = OLS(y, A).fit(method=method).params
        return w[:-1], w[-1]

    return fit


def torch_lstsq(X, y, driver):
    import torch

    A, b = torch.as_tensor(with_ones(X)), torch.as_tensor(y.astype(X.dtype)).reshape(-1, 1)

    def fit():
        w = torch.linalg.lstsq(A, b, driver=driver).solution.numpy().ravel()
        return w[:-1], w[-1]

    return fit


class Standardised(NamedTuple):
    """Columns and responses about their means, columns of unit variance, and the way back."""

    X: np.ndarray
    y: np.ndarray
    back: Callable[[np.ndarray], tuple[np.ndarray, float]]

    @classmethod
    def of(cls, X, y, order="C"):
        mean, spread, level = X.mean(axis=0, dtype=float), X.std(axis=0, dtype=float), y.mean()
        Z = np.empty(X.shape, X.dtype, order)
        np.divide(X - mean, spread, out=Z, casting="same_kind")

        def back(w):
            coef = np.asarray(w, float).ravel() / spread
            return coef, level - mean @ coef

        return cls(Z, y - level, back)


def of_skglm(X, y, tol):
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    rows = Standardised.of(X, y, "F")
    solver = AndersonCD(max_iter=1000, tol=tol, fit_intercept=False)
    estimator = GeneralizedLinearEstimator(Quadratic(), L1(0.0), solver)
    return lambda: rows.back(estimator.fit(rows.X, rows.y.astype(X.dtype)).coef_)


def sag(X, y, tol):
    from sklearn.linear_model import Ridge

    rows = Standardised.of(X, y)
    estimator = Ridge(alpha=0.0, solver="sag", tol=tol, max_iter=10_000, fit_intercept=False, random_state=0)
    return lambda: rows.back(estimator.fit(rows.X, rows.y).coef_)


def lightning(X, y, rung, inner=1.0):
    """Take the step in units of the largest that theory allows, and epochs of so many times the rows (its own: 1)."""
    from lightning.regression import SVRGRegressor

    rows, (step, number) = Standardised.of(X.astype(float), y), rung
    step /= np.square(rows.X).sum(axis=1).max()  # the largest curvature of a row
    estimator = SVRGRegressor(eta=step, alpha=0.0, max_iter=number, n_inner=inner, tol=0.0, random_state=0)
    return lambda: rows.back(estimator.fit(rows.X, rows.y).coef_)


def sgd_regressor(X, y, options):
    """Go on for an epoch at each call."""
    from sklearn.linear_model import SGDRegressor

    rows = Standardised.of(X, y)
    kind, step, average = options
    step = step / X.shape[1] if kind == "constant" else step
    estimator = SGDRegressor(
        penalty=None, learning_rate=kind, eta0=step, average=average, fit_intercept=False, random_state=0
    )
    return lambda: rows.back(estimator.partial_fit(rows.X, rows.y).coef_)


def torch_sgd(X, y, options):
    """Go on for an epoch at each call: plain steps over slices, averaged over the epochs from the second on."""
    import torch

    rows, (batch, step) = Standardised.of(X, y), options
    Z, r = torch.as_tensor(rows.X), torch.as_tensor(rows.y.astype(X.dtype))
    batches = list(zip(Z.split(batch), r.split(batch), strict=True))
    step = step / (1 + X.shape[1] / batch)
    w, total, epochs = torch.zeros(X.shape[1], dtype=Z.dtype), torch.zeros(X.shape[1], dtype=Z.dtype), 0

    @torch.no_grad()
    def epoch():
        nonlocal epochs
        for i in torch.randperm(len(batches)).tolist():
            some, responses = batches[i]
            w.addmv_(some.T, torch.addmv(responses, some, w, alpha=-1), alpha=step / len(some))
            if epochs:
                total.add_(w)
        epochs += 1
        return rows.back((total / (len(batches) * (epochs - 1)) if epochs > 1 else w).numpy())

    return epoch


class Peer(NamedTuple):
    """Who is timed: ``prepare(X, y, rung)`` returns a fit without arguments, or raises ImportError."""

    group: str
    """ours, direct, iterative or sgd"""
    prepare: Callable[[np.ndarray, np.ndarray, Any], Callable[[], tuple[np.ndarray, float]]]
    ladder: tuple = (None,)
    """What to try, cheapest first."""
    goes_on: bool = False
    """A call of the fit is one epoch more."""
    near: float = NEAR


TOLERANCES = tuple(10.0**-k for k in range(1, 13))
EPOCHS = (3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64, 128)
STEPS_AND_EPOCHS = tuple((step, number) for number in EPOCHS for step in (0.2, 0.05))
TUNED = "lightning SVRG, short epochs"
OURS = {
    **{name: Peer("ours", partial(lambda X, y, _, name: ours(X, y, name), name=name)) for name in
       ("auto", "sgd", "cg", "exact")},
    "exact to 1e-6": Peer("ours", lambda X, y, _: ours(X, y, "exact", NEARER), near=NEARER),
}  # fmt: skip
PEERS = {
    "scikit-learn LinearRegression": Peer("direct", linear_regression),
    "scikit-learn Ridge cholesky": Peer("direct", partial(ridge, solver="cholesky")),
    "scikit-learn Ridge lsqr": Peer("iterative", partial(ridge, solver="lsqr"), TOLERANCES),
    "scikit-learn Ridge svd": Peer("direct", partial(ridge, solver="svd")),
    "sklearnex LinearRegression": Peer("direct", intel_linear_regression),
    "sklearnex Ridge": Peer("direct", intel_ridge),
    "normal equations, centred columns": Peer("direct", partial(normal_equations, centred=True)),
    "normal equations, centred after": Peer("direct", partial(normal_equations, centred=False)),
    "numpy lstsq": Peer("direct", numpy_lstsq),
    "scipy lstsq gelsd": Peer("direct", partial(scipy_lstsq, driver="gelsd")),
    "scipy lstsq gelsy": Peer("direct", partial(scipy_lstsq, driver="gelsy")),
    "statsmodels OLS qr": Peer("direct", partial(of_statsmodels, method="qr")),
    "statsmodels OLS pinv": Peer("direct", partial(of_statsmodels, method="pinv")),
    "torch lstsq": Peer("direct", torch_lstsq, ("gels", "gelsy")),
    "skglm AndersonCD": Peer("iterative", of_skglm, TOLERANCES),
    "lightning SVRG": Peer("sgd", lightning, STEPS_AND_EPOCHS),
    TUNED: Peer("sgd", partial(lightning, inner=0.1), STEPS_AND_EPOCHS),
    "scikit-learn Ridge sag": Peer("sgd", sag, TOLERANCES),
    "scikit-learn SGDRegressor": Peer(
        "sgd",
        sgd_regressor,
        (("constant", 0.1, True), ("constant", 0.01, True), ("invscaling", 0.01, False)),
        goes_on=True,
    ),
    "torch SGD": Peer("sgd", torch_sgd, ((1024, 0.5), (1024, 0.1), (16_384, 0.5)), goes_on=True),
}
CONTESTANTS = OURS | PEERS


# ---- a contestant's process ----


def serve(name, folder, limit, channel):
    """Try a contestant on the rows that lie in a folder, and time it again whenever asked to.

    Sent are ("begin", rung, seconds left), ("rung", rung, seconds, distance), and at the end ("done", ""), or the
    reason why there is nothing to be timed.
    """
    warnings.simplefilter("ignore")
    X, y = mapped(folder)
    with np.load(folder / "truth.npz") as parts:
        truth = Truth(**parts)
    peer = CONTESTANTS[name]
    few = slice(0, max(6_000, 4 * X.shape[1]))
    try:
        peer.prepare(X[few], y[few], peer.ladder[0])()  # compiles, imports, starts threads
    except ImportError as error:
        channel.send(("reason", f"not installed: {words(error)}"))
        return
    except Exception:  # noqa: BLE001, S110 - it may be of these rows; all of them show
        pass
    try:
        again = (epochs if peer.goes_on else rungs)(peer, X, y, truth, limit, channel)
    except Exception as error:  # noqa: BLE001 - of anybody's code
        channel.send(("reason", f"raises {type(error).__name__}: {words(error)}"))
        return
    channel.send(("done", ""))
    while again is not None and channel.recv() == "again":
        seconds, (coef, intercept) = timed(again)
        channel.send((seconds, truth.distance(coef, intercept)))


def mapped(folder):
    """Return rows and responses in pages that processes share until they write to them."""
    return (np.asarray(np.load(folder / f"{part}.npy", mmap_mode="c")) for part in "Xy")


def words(error):
    """Return the first line of what an error says, without paths of this machine."""
    return re.sub(r" ?\(?/\S+", "", str(error).partition("\n")[0])[:120]


def timed(fit):
    began = perf_counter()
    found = fit()
    return perf_counter() - began, found


def rungs(peer, X, y, truth, limit, channel):
    """Climb the ladder until a fit is near enough, and return that fit."""
    left, raised, tried = limit, None, False
    kinds = (X.dtype,) if X.dtype == np.float64 or peer.group == "ours" else (X.dtype, np.dtype(float))
    for kind in kinds:
        for rung in peer.ladder:
            fit = prepared(peer, X, y, rung, kind)
            label = f"{'' if rung is None else rung}{' widened' if kind != X.dtype else ''}".strip()
            channel.send(("begin", label, left))
            began = perf_counter()
            try:
                coef, intercept = fit()
            except np.linalg.LinAlgError as error:  # of float32, perhaps, or of this driver
                raised, distance = error, np.inf
            else:
                distance = truth.distance(coef, intercept)
            seconds = perf_counter() - began
            if np.isfinite(distance):
                tried = True
                channel.send(("rung", label, seconds, distance))
            if distance <= peer.near:
                return fit
            left -= seconds
            if left <= 0:
                return None
    if raised is not None and not tried:
        raise raised
    return None


def prepared(peer, X, y, rung, kind):
    if kind == X.dtype:
        return peer.prepare(X, y, rung)
    fit = peer.prepare(X.astype(kind), y, rung)

    def widened():
        X.astype(kind)  # is part of its time; the fit has its own
        return fit()

    return widened


def epochs(peer, X, y, truth, limit, channel):
    """Run epochs with each setting for its share of the time, or until another one was quicker; nothing is left."""
    share = limit / len(peer.ladder)
    for rung in peer.ladder:
        fit = peer.prepare(X, y, rung)
        spent, best = 0.0, np.inf
        while spent < share:
            channel.send(("begin", str(rung), max(limit - spent, 1.0)))
            seconds, (coef, intercept) = timed(fit)
            spent += seconds
            distance = truth.distance(coef, intercept) if np.isfinite(coef).all() else np.inf
            best = min(best, distance)
            if best <= peer.near or not distance < 1e9:
                break
        if np.isfinite(best):
            label = f"{rung}{'' if distance < 1e9 else ', diverged'}"
            channel.send(("rung", label, spent, best))
        if best <= peer.near:
            share = min(share, spent)


# ---- the turns ----


class Outcome:
    """What came of a contestant on a table, and its process."""

    def __init__(self, name, folder, limit, python):
        self.name, self.group, self.near = name, CONTESTANTS[name].group, CONTESTANTS[name].near
        self.seconds = self.distance = self.setting = None
        self.reason, self.turns = "", []
        mine, its = socket.socketpair()
        command = [python, __file__, "--serve", name, "--folder", str(folder), "--limit", str(limit)]
        with its:
            command += ["--channel", str(its.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[its.fileno()], stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL)  # fmt: skip
        self.channel = Connection(mine.detach())
        self.try_it(limit)

    def try_it(self, limit):
        patience, tries = PATIENCE, []
        while True:
            message = self.heard(patience)
            if message is None:
                self.reason = self.reason or f"nothing more within {limit:g} s"
                self.end()
                break
            what, *facts = message
            patience = PATIENCE
            if what == "begin":
                patience = facts[-1] + 1
            elif what == "rung":
                tries.append(facts)
            else:
                self.reason = facts[0]
                break
        near = [of_try for of_try in tries if of_try[2] <= self.near]
        if near:
            self.setting, self.seconds, self.distance = min(near, key=lambda of_try: of_try[1])
            self.reason = ""
        elif tries:
            self.setting, spent, self.distance = min(tries, key=lambda of_try: of_try[2])
            self.reason = f"not near enough after {spent:.3g} s" + f"; {self.reason}" * bool(self.reason)

    def heard(self, patience):
        """Return what the process says, or None where it says nothing in time or is no more."""
        try:
            return self.channel.recv() if self.channel.poll(patience) else None
        except (EOFError, ConnectionError):
            self.reason = f"its process ended with {self.process.wait()}"
            return None

    def again(self):
        self.channel.send("again")
        message = self.heard(PATIENCE)
        if message is None:
            self.end()
            return
        self.turns.append(message[0])
        self.distance = max(self.distance, message[1])

    @property
    def alive(self):
        return self.process.poll() is None

    def end(self):
        self.process.kill()
        self.process.wait()


def contest(case, names, limit, rounds, pythons):
    """Return what came of everybody on a table."""
    X, y = made(case)
    print(f"\n### {case.name}: {case.n:,} x {case.d}, {X.dtype}\n", flush=True)
    outcomes, reads = [], []
    with tempfile.TemporaryDirectory() as folder:
        for part, values in (("X", X), ("y", y)):
            np.save(Path(folder, part), values)
        np.savez(Path(folder, "truth"), **Truth.of(X, y)._asdict())
        X, y = mapped(Path(folder))
        try:
            for name in names:
                python = next((path for pattern, path in pythons.items() if fnmatch(name, pattern)), sys.executable)
                outcome = Outcome(name, folder, limit, python)
                outcomes.append(outcome)
                quickest = min((other.seconds for other in outcomes if other.seconds), default=np.inf)
                for other in outcomes:  # early, for their memory
                    if other.group != "ours" and (other.seconds or np.inf) > SLOW * quickest:
                        other.end()
            runners = [one for one in outcomes if one.alive and one.seconds and not CONTESTANTS[one.name].goes_on]
            read_seconds(X)
            rng, began = np.random.default_rng(0), perf_counter()
            for turn in range(rounds):
                if turn >= 3 and perf_counter() - began > SECONDS:
                    break
                sleep(PAUSE)
                reads.append(read_seconds(X))
                for outcome in rng.permutation(runners):  # nobody always comes after the same
                    if outcome.alive:
                        sleep(PAUSE)
                        outcome.again()
        finally:
            for outcome in outcomes:
                outcome.end()
    read = float(np.median(reads))
    found = {"case": case.name, "size": case.size, "kind": case.kind, "n": case.n, "d": case.d, "dtype": str(X.dtype),
             "read_seconds": read, "gigabytes_per_second": X.nbytes / read / 1e9,
             "contestants": [as_record(outcome, read) for outcome in outcomes]}  # fmt: skip
    print(table_of(found), flush=True)
    return found


def as_record(outcome, read):
    seconds = float(np.median(outcome.turns)) if outcome.turns else outcome.seconds
    return {
        "name": outcome.name, "group": outcome.group, "seconds": seconds, "reads": seconds and seconds / read,
        "distance": outcome.distance, "setting": outcome.setting, "turns": outcome.turns, "reason": outcome.reason,
    }  # fmt: skip


def table_of(found):
    """Return the table of a case, quickest first, those that never came there last."""
    lines = ["| contestant | seconds | reads | distance, SE | |", "| --- | ---: | ---: | ---: | --- |"]
    for one in sorted(found["contestants"], key=lambda one: one["seconds"] or np.inf):
        distance = "" if one["distance"] is None else f"{one['distance']:.1g}"
        times = f"{one['seconds']:.3g} | {one['reads']:.3g}" if one["seconds"] else " | "
        said = [one["setting"] or "", one["reason"], "" if one["turns"] or not one["seconds"] else "timed once"]
        lines.append(f"| {one['name']} | {times} | {distance} | {'; '.join(filter(None, said))} |")
    return "\n".join(lines) + f"\n\nOne read: {found['read_seconds']:.3g} s, {found['gigabytes_per_second']:.3g} GB/s."


# ---- what was asked ----


def figures(cases, limit):
    """Put what was asked beside what was measured, for the cases that were."""
    found = []

    def judge(what, asked, measured, *, held):
        found.append({"what": what, "asked": asked, "measured": measured, "held": bool(held)})

    for case in cases:
        by_name = {one["name"]: one for one in case["contestants"]}
        key, size = case["case"], case["size"]
        asked_reads = [
            ("sgd", {"1e6x10": 20, "1e6x100": 13, "1e5x1000": 16}, ("clean", "collinear")),
            ("exact to 1e-6", {"1e6x10": 6, "1e6x100": 9}, KINDS),
            ("auto", {"1e6x10": 10}, ("float32",)),
            ("auto", {"2e5x500": 11, "1e5x1000": 18}, ("clean",)),
        ]
        for name, limits, kinds in asked_reads:
            if size in limits and case["kind"] in kinds and name in by_name:
                reads = by_name[name]["reads"]
                measured = f"{reads:.3g} reads" if reads else f"{by_name[name]['distance']} SE"
                to = "1e-6" if name.endswith("1e-6") else "0.01"
                judge(f"`{name.partition(' ')[0]}` to {to} SE, {key}", f"at most {limits[size]} reads", measured,
                      held=reads and reads <= limits[size])  # fmt: skip
        judge_peers(judge, case, by_name, limit)
    return found


def judge_peers(judge, case, by_name, limit):
    """Put `auto` beside the best of all peers, and `sgd` beside the best of those that take steps."""
    key = case["case"]
    rivals = [one for name, one in by_name.items() if name in PEERS and one["seconds"]]
    best = min(rivals, key=lambda one: one["seconds"], default=None)
    auto = by_name.get("auto")
    if auto and best:
        most = 1.2 if case["size"] == "2e4x2000" else 1.0
        ratio = auto["seconds"] / best["seconds"] if auto["seconds"] else np.inf
        judge(f"`auto` over the best peer, {key}", f"at most {most:g}", f"{ratio:.2f} ({best['name']})",
              held=ratio <= most)  # fmt: skip
    sgd = by_name.get("sgd")
    if not (sgd and sgd["seconds"] and case["kind"] == "clean" and case["size"] in {"1e6x10", "1e6x100"}):
        return
    for epochs_of, left_out in (("as they come", {TUNED}), ("short ones too", set())):
        steps = [one for one in by_name.values() if one["group"] == "sgd" and one["name"] not in left_out]
        steps = [one for one in steps if not one["reason"].startswith("not installed")]
        best = min((one for one in steps if one["seconds"]), key=lambda one: one["seconds"], default=None)
        ratio = (best["seconds"] if best else limit) / sgd["seconds"]
        measured = f"{ratio:.3g} ({best['name']})" if best else f"more than {ratio:.3g} (none came there)"
        if steps:
            judge(f"best SGD peer over `sgd`, {key}, epochs {epochs_of}", "at least 50", measured, held=ratio >= 50)


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def machine(arguments, seconds, pythons):
    """Return what the times depend on beside the code."""
    from gradstep._kernels import threads

    command = shlex.join(["python", "asv_bench/peers.py", *arguments])
    facts = {
        "cpu": cpu_name(),
        "threads": threads.count(),
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(UTC).date().isoformat(),
        "command": re.sub(r"=/\S*python\S*?(?='|$| )", "=PYTHON", command),
        "packages": {"python": platform.python_version()}
        | {name: number for name in PACKAGES if (number := installed(name))},
        "seconds": round(seconds),
    }
    for python in {sys.executable, *pythons.values()}:
        asks = "from importlib.metadata import version; print(version('sklearn-contrib-lightning'))"
        answer = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            facts["packages"]["sklearn-contrib-lightning"] = answer.stdout.strip()
    return facts


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def chosen(names, patterns):
    """Return the names that match one of the patterns, which stand apart by commas."""
    return [name for name in names if any(fnmatch(name, pattern.strip()) for pattern in patterns.split(","))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small tables, three rounds, five seconds a peer")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found there, after each case")
    parser.add_argument("--update", action="store_true", help="keep what the file has of other cases")
    parser.add_argument("--only", default="*", metavar="NAMES", help="contestants by patterns, apart by commas")
    parser.add_argument("--cases", default="*", metavar="NAMES", help="cases by patterns, apart by commas")
    parser.add_argument("--limit", type=float, help=f"seconds of a peer's fits on a table, {LIMIT:g} unless given")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON", help="of a contestant")
    parser.add_argument("--list", action="store_true", help="print the names of cases and contestants")
    for internal in ("--serve", "--folder", "--channel"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit = options.limit or (5.0 if options.quick else LIMIT)
    if options.serve:
        serve(options.serve, Path(options.folder), limit, Connection(int(options.channel)))
        return
    if options.list:
        print(*(case.name for case in CASES), "", *CONTESTANTS, sep="\n")
        return
    pythons = dict(pair.split("=", 1) for pair in options.python)
    wanted = chosen([case.name for case in CASES], options.cases)
    cases = [case for case in CASES if case.name in wanted]
    if options.quick:
        cases = [case._replace(n=max(case.n // 20, case.d), d=max(case.d // 5, 5)) for case in cases]
    before = json.loads(options.json.read_text(encoding="utf-8")) if options.update and options.json.exists() else {}
    kept = [case for case in before.get("cases", []) if case["case"] not in wanted]
    began, results = perf_counter(), []
    for case in cases:
        rounds = 3 if options.quick else options.rounds
        results.append(contest(case, chosen(CONTESTANTS, options.only), limit, rounds, pythons))
        order = [case.name for case in CASES]
        everything = sorted(kept + results, key=lambda found: order.index(found["case"]))
        judged = [] if options.quick else figures(everything, limit)
        if options.json:
            facts = machine(sys.argv[1:], perf_counter() - began, pythons)
            if before:
                facts["command"] = f"{before['machine']['command']}; {facts['command']}"
                facts["seconds"] += before["machine"]["seconds"]
            record = {"machine": facts, "figures": judged, "near": NEAR, "limit": limit, "cases": everything}
            options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if judged:
        print("\n| figure | asked | measured | |\n| --- | --- | --- | --- |")
        for line in judged:
            print(
                f"| {line['what']} | {line['asked']} | {line['measured']} | {'held' if line['held'] else 'NOT held'} |"
            )


if __name__ == "__main__":
    main()
