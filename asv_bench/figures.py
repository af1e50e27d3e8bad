"""Measure what gradstep promises of its speed: ``python asv_bench/figures.py [--quick] [--json FILE]``.

Every figure is a ratio or a difference of things timed in turns (A B A B ...) in one run on one thread, and what is
printed is the median over the rounds with its quartiles: the machine's mood falls on both sides alike. Times by
themselves, over the history of the project, are asv's business.

It takes a minute or two and 1 GB of memory. PyTorch is optional: ``pip install torch``.
"""

import argparse
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

# Before NumPy is imported. PyTorch has its own setting.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import bare_loop
import numpy as np
import scipy.linalg

import gradstep as gs
from gradstep import _input
from gradstep._solvers.textbook import Textbook
from gradstep._table.dense import Dense
from gradstep._table.terms import NO_ORDER, Settings
from hard_tables import Truth

STEP = 0.001  # far below the largest stable one for every table here; the time does not depend on it
EXAMPLE_BATCH, EXAMPLE_STEP, EXAMPLE_EPOCHS = 10, 0.03, 3


class Size(NamedTuple):
    """How much is measured."""

    rows: int
    rounds: int


FULL = Size(rows=1_000_000, rounds=21)
QUICK = Size(rows=100_000, rounds=3)


class Figure(NamedTuple):
    """One line of the table; what was not measured has no numbers."""

    what: str
    asked: str
    measured: str
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    held: bool | None = None


def in_turns(rounds, *works):
    """Return the seconds of each work in each round, (works, rounds), after a round that does not count.

    A work is a function, or a pair of a function and how many calls of it make up one time.
    """
    pairs = [work if isinstance(work, tuple) else (work, 1) for work in works]
    times = np.array([[seconds(*pair) for pair in pairs] for _ in range(rounds + 1)])
    return times[1:].T


def seconds(work, calls):
    began = perf_counter()
    for _ in range(calls):
        work()
    return (perf_counter() - began) / calls


def at_most(limit, what, values, unit=""):
    return figure(what, f"at most {limit:g}{unit}", values, unit, lambda median: median <= limit)


def at_least(limit, what, values, unit=""):
    return figure(what, f"at least {limit:g}{unit}", values, unit, lambda median: median >= limit)


def figure(what, asked, values, unit, holds):
    low, median, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    measured = f"{median:.3g}{unit} ({low:.3g} to {high:.3g})"
    return Figure(what, asked, measured, median, (low, high), holds(median))


def table(rows, columns):
    return gs.textbook.make_linear(np.ones(columns), 1.0, rows, noise=1.0)


def our_epoch(X, y, batch, order=NO_ORDER, loss=None):
    """Return a function that runs one epoch through gradstep's table, as its solver does."""
    rows = Dense(_input.rows(X, y), loss or gs.squared(), None)
    settings, path, rates = Settings(batch, intercept=True), rows.path(), np.array([STEP])

    def epoch():
        row = 0
        while row < rows.n:
            stop = rows.stop(row, batch)
            rows.epoch(order, row, stop, settings, rates, path)
            row = stop

    return epoch


def bare_epoch(X, y, batch, order=None):
    """Return a function that runs the same epoch by the hand-written loop."""
    w = np.zeros(X.shape[1])
    if order is None:
        return lambda: bare_loop.in_order(X, y, w, 0.0, batch, STEP)
    return lambda: bare_loop.by_index(X, y, order, w, 0.0, batch, STEP)


def epochs(size):
    """Time an epoch beside the bare loop, rows as they stand and shuffled."""
    for columns in (100, 10):
        X, y = table(size.rows, columns)
        orders = {"as they stand": (), "shuffled": (np.random.default_rng(0).permutation(size.rows),)}
        for name, order in orders.items():
            for batch in (32, 256):
                ours, bare = in_turns(size.rounds, our_epoch(X, y, batch, *order), bare_epoch(X, y, batch, *order))
                what = f"Epoch of {size.rows:,} x {columns}, rows {name}, batch {batch}, over a bare loop's"
                yield at_most(1.1, what, ours / bare)


def losses(size):
    """Time an epoch of each smooth loss beside the squared loss's, on the same rows and responses."""
    X, y = table(size.rows, 100)
    labels = (y > 0).astype(float)  # in the domain of every loss
    chosen = {constructor: constructor(*tried[0]) for constructor, tried in gs.losses.LOSSES.items()}
    smooth = [loss for loss in chosen.values() if loss.curvature(0.0, 0.0, loss.params) > 0]
    shuffled = np.random.default_rng(0).permutation(size.rows)
    orders = {"shuffled": shuffled, "as they stand": NO_ORDER}
    for name, batch in itertools.product(orders, (32, 256)):
        plain, *others = in_turns(size.rounds, *(our_epoch(X, labels, batch, orders[name], loss) for loss in smooth))
        for loss, seconds_of_loss in zip(smooth[1:], others, strict=True):
            what = f"Epoch of {size.rows:,} x 100, rows {name}, batch {batch}, {loss.name} loss over squared"
            yield at_most(1.3, what, seconds_of_loss / plain)


def exact(size):
    """Time exact fits of small tables, and put one of a long ill-conditioned table beside Householder's QR."""
    for rows, columns, check, limit in ((100, 5, "auto", 0.5), (4_000, 5, False, 1.0), (200, 100, False, 1.0)):
        X, y = table(rows, columns)
        (times,) = in_turns(size.rounds, (partial(gs.fit, X, y, solver="exact", check=check), 50))
        with_check = "check included" if check else "check apart"
        yield at_most(limit, f"Exact fit of {rows:,} x {columns}, {with_check}", times * 1e3, " ms")
    rng = np.random.default_rng(0)
    rows, columns = size.rows // 10, 50
    turn = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    X = (rng.standard_normal((rows, columns)) * np.logspace(0, -8, columns)) @ turn.T
    y = X @ rng.standard_normal(columns) + rng.standard_normal(rows)
    fit = gs.fit(X, y, solver="exact", check=False)
    truth = Truth(X, y)
    R, Qy = scipy.linalg.qr_multiply(np.column_stack((X, np.ones(rows))), y, mode="right")[::-1]
    w = scipy.linalg.solve_triangular(R, Qy)
    errors = truth.distance(fit.coef, fit.intercept), truth.distance(w[:-1], w[-1])
    what = f"{rows:,} x {columns}, condition 1e8: distance from the exact coefficients"
    yield at_most(1.0, f"{what}, over Householder QR's", [errors[0] / errors[1]])
    yield at_most(0.01, f"{what}", [errors[0]], " SE")
    yield at_most(3.0, f"{rows:,} x {columns}, condition 1e8: passes", [fit.passes])
    seconds_of = in_turns(
        size.rounds, partial(gs.fit, X, y, solver="exact", check=False), partial(scipy.linalg.lstsq, X, y)
    )
    yield at_most(1.0, f"{rows:,} x {columns}: exact fit over scipy.linalg.lstsq", seconds_of[0] / seconds_of[1])


FIRST_FIT = """
from time import perf_counter
import gradstep as gs
X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
began = perf_counter()
gs.fit(X, y, step=0.03, batch_size=10, epochs=3)
print(perf_counter() - began)
"""


def first_fits(size):
    """Time the first fit of new processes that find its kernels on disk."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GRADSTEP_CACHE_DIR": folder}

        def first():
            command = [sys.executable, "-c", FIRST_FIT]
            return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

        cold = first()
        warm = [first() for _ in range(size.rounds)]
    yield at_most(0.6, f"First fit of a process, kernels from the disk cache (without: {cold:.3g} s)", warm, " s")


def batches(size):
    """Time what a batch costs beside its rows: many small batches against few large ones."""
    small, large = 10, 1000
    X, y = table(size.rows, 2)
    works = [(make(X, y, batch), 5) for make in (our_epoch, bare_epoch) for batch in (small, large)]
    ours_small, ours_large, bare_small, bare_large = in_turns(size.rounds, *works)
    extra = (size.rows // small - size.rows // large) * 1e-9
    bare = np.median((bare_small - bare_large) / extra)
    what = f"A batch beside its rows, {size.rows:,} x 2 (bare loop: {bare:.3g} ns)"
    yield at_most(50, what, (ours_small - ours_large) / extra, " ns")


def example(size):
    """Time the textbook example beside PyTorch, the whole call and the steps alone."""
    whats = (
        (100, "Textbook example, PyTorch's DataLoader loop over fit(), check included"),
        (500, "Textbook example, PyTorch's DataLoader loop over our step loop alone"),
    )
    try:
        import torch
        import torch_loop
    except ImportError:
        for limit, what in whats:
            yield Figure(what, f"at least {limit:g}", "PyTorch is not installed")
        return

    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01, seed=1)
    tensors = torch_loop.tensors(X, y)
    rows = Dense(_input.rows(X, y), gs.squared(), None)
    method = Textbook(gs.sgd(), EXAMPLE_STEP, Settings(EXAMPLE_BATCH, intercept=True), 0, gs.squared())

    def fit():
        gs.fit(X, y, step=EXAMPLE_STEP, batch_size=EXAMPLE_BATCH, epochs=EXAMPLE_EPOCHS)

    def steps():
        state = method.start(rows)
        while state.epoch < EXAMPLE_EPOCHS:
            state = method.advance(rows, state)

    def train_on(threads):
        def train():
            torch.set_num_threads(threads)
            torch_loop.train(*tensors, EXAMPLE_BATCH, EXAMPLE_STEP, EXAMPLE_EPOCHS)

        return train

    many = torch.get_num_threads()
    one, default, whole, alone = in_turns(size.rounds, train_on(1), train_on(many), (fit, 30), (steps, 30))
    theirs, threads = (one, 1) if np.median(one) <= np.median(default) else (default, many)
    for (limit, what), ours in zip(whats, (whole, alone), strict=True):
        times = f"{np.median(theirs) * 1e3:.3g} ms, threads {threads}, over {np.median(ours) * 1e3:.3g} ms"
        yield at_least(limit, f"{what} ({times})", theirs / ours)


def imports(size):
    """Time an import in new processes."""

    def importing(names):
        return lambda: subprocess.run([sys.executable, "-c", f"import {names}"], check=True)

    ours, theirs = in_turns(size.rounds, importing("gradstep"), importing("numba, scipy.linalg"))
    yield at_most(0.15, "`import gradstep` beyond `import numba, scipy.linalg`", ours - theirs, " s")


def markdown(figures):
    verdict = {True: "held", False: "not held", None: ""}
    lines = ["| what | asked | measured, median (quartiles) | |", "|---|---|---|---|"]
    lines += [f"| {f.what} | {f.asked} | {f.measured} | {verdict[f.held]} |" for f in figures]
    return "\n".join(lines)


def circumstances(arguments):
    """Return what the figures depend on beside the code."""
    return {
        "command": shlex.join(["python", "asv_bench/figures.py", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{cpu_name()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {name: installed(name) for name in ("gradstep", "numpy", "scipy", "numba", "torch")},
    }


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size and few rounds: does it run at all")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures and the circumstances there too")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL

    facts = circumstances(sys.argv[1:])
    figures = [
        figure for part in (exact, epochs, losses, batches, example, imports, first_fits) for figure in part(size)
    ]
    if options.quick:  # three rounds of small tables prove nothing
        figures = [figure._replace(held=None) for figure in figures]
    print(f"{facts['machine']}; {', '.join(map(' '.join, facts['versions'].items()))}; {facts['date']}\n")
    print(markdown(figures))
    if options.json:
        record = facts | {"figures": [figure._asdict() for figure in figures]}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
