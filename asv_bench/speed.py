"""Measure how near gradstep comes to the speed of memory: ``python asv_bench/speed.py [--quick] [--json FILE]``.

The fraction of the machine's read bandwidth that kernels reach, by columns, data and threads; two threads beside one;
memory above that of the table; the first fit of a process. Everything is a ratio of things timed in turns in one run,
and counts by the least time of each: what disturbs a machine only makes it slower. Peers are in `peers.py`, whose
results stand on the same page of the documentation.

It takes some ten minutes and 3 GB; ``--only epochs,threads`` runs some parts, ``--quick`` a tenth of the sizes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from time import perf_counter

# Before NumPy is imported: what is compared are our threads.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import bare_loop
import first_call
import numpy as np
import peers
from bare_loop import read
from benchmarks import memory

import gradstep as gs
from gradstep import _input, _preconditioner
from gradstep._kernels import loss_gradient, threads
from gradstep._solvers.sgd import Lanes, Minibatch
from gradstep._table.dense import Dense
from gradstep._table.terms import Settings

CELLS = 100_000_000
CACHED = 1 << 19  # bytes that a core's own cache holds
COLUMNS = (2, 3, 5, 7, 8, 10, 16, 32, 64, 100, 128, 256, 512, 1000, 1024, 2048, 4096, 8192)
EPOCH, TEXTBOOK, BY_BLOCKS = 0.60, 0.75, 0.60
TWICE, DOUBLE = 1.6, 2.0


class Found:
    """What was measured so far, printed as it comes."""

    def __init__(self, *, quick):
        self.figures, self.measurements, self.quick = [], [], quick

    def judge(self, what, asked, measured, *, held):
        print(f"| {what} | {asked} | {measured} | {'held' if held else 'NOT held'} |", flush=True)
        self.figures.append({"what": what, "asked": asked, "measured": measured, "held": bool(held)})

    def note(self, what, value, **facts):
        print(f"| {what} | | {value:.4g} | {', '.join(f'{k} {v}' for k, v in facts.items())} |", flush=True)
        self.measurements.append({"what": what, **facts, "value": float(f"{value:.4g}")})


def in_turns(rounds, *works):
    """Return the least seconds of each work."""
    times = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, of_work in zip(works, times, strict=True):
            began = perf_counter()
            work()
            of_work.append(perf_counter() - began)
    return [min(of_work[1:]) for of_work in times]


def clean(n, d, dtype=np.float64, seed=0):
    """Return a table of standard normal columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), dtype=dtype)
    return X, X @ rng.standard_normal(d).astype(dtype) + rng.standard_normal(n).astype(dtype)


def asked(d):
    return 0.50 if d < 8 else 0.80 if d < 64 else 0.85


def bandwidth(found, scale):
    """Put a gradient over all rows beside a read of them, with one thread and with all, and float32 beside float64."""
    seconds = {}
    for dtype in (np.float64, np.float32):
        for count in (1, threads.usable()):
            short = []
            for d in COLUMNS:
                n = max(CELLS // 2 // d // scale, 64) // 2 * 2
                X, y = clean(n, d, dtype)
                table, w = Dense(_input.rows(X, y), gs.squared(), None), np.full(d + 1, 0.1)
                with gs.set_threads(count):
                    whole, plain = in_turns(5, partial(table.gradient, w), partial(read, X, y))
                fraction, name = plain / whole, np.dtype(dtype).name
                seconds[name, count, d] = whole
                found.note("fraction of bandwidth of a gradient", fraction, columns=d, data=name, threads=count)
                if count == 1:
                    found.note(
                        "time of a gradient of rows that lie in the cache, over a read of as many from memory",
                        near(X, y) / (plain / n), columns=d, data=name,
                    )  # fmt: skip
                if fraction < asked(d):
                    short.append(f"{d}: {fraction:.2f}")
            found.judge(
                f"gradient, {name}, threads: {count}, of 2 to 8,192 columns",
                "of bandwidth 50 %, 80 % from 8 columns on, 85 % from 64 on",
                "less at " + ", ".join(short) if short else "all", held=not short,
            )  # fmt: skip
    for count in (1, threads.usable()):
        times = {d: seconds["float64", count, d] / seconds["float32", count, d] for d in COLUMNS}
        for d, of_columns in times.items():
            found.note("rows of float32 a second, over those of float64", of_columns, columns=d, threads=count)
        least = min(times, key=lambda d: times[d] if d >= 32 else np.inf)
        found.judge(
            f"rows of float32 a second over those of float64, threads: {count}, worst of 32 columns and more",
            f"at least {DOUBLE:g}", f"{times[least]:.2f}, at {least}", held=times[least] >= DOUBLE,
        )  # fmt: skip


def near(X, y):
    """Return the seconds a row of the gradient's kernel, of rows that a core's own cache holds: those of arithmetic."""
    n, d = min(len(X), max(8, CACHED // X[0].nbytes)), X.shape[1]
    rows = _input.rows(X[:n], y[:n])
    loss, w, total, losses = gs.squared(), np.full(d + 1, 0.1), np.empty(d + 1), np.empty(1)
    kernel, times = loss_gradient.kernel_of(loss.value, loss.slope, d), max(1, 20_000 // n)

    def work():
        for _ in range(times):
            kernel(rows.X, rows.y.reshape(-1), rows.weight, w, total, losses, loss.params)

    return in_turns(5, work)[0] / (times * n)


def outputs(found, scale):
    """Put gradients of several outputs beside a read of the table, or beside its products where those take longer."""
    n, d = CELLS // 5 // 50 // scale, 50
    square = np.ones((500, 500))
    for k in (2, 8, 32):
        X = clean(n, d)[0]
        Y = np.random.default_rng(k).standard_normal((n, k))
        table, w = Dense(_input.rows(X, Y), gs.squared(), None), np.full((d + 1, k), 0.1)
        p = Minibatch(alpha=0.0, intercept=True, seed=0, tol=0.01, max_passes=20).start(table).preconditioner
        works = {"textbook": partial(table.gradient, w), "certified": partial(p.evidence, table, w, 0.01)}
        plain, product, *times = in_turns(5, partial(read, X, Y), lambda: square @ square, *works.values())
        least = max(plain, 4 * n * d * k / (2 * 500**3 / product) / threads.count())
        for name, of_work in zip(works, times, strict=True):
            found.note(
                "gradient of several outputs, over what a read or its products take", of_work / least, outputs=k,
                gradient=name,
            )  # fmt: skip


def textbook(found, scale):
    """Put an epoch of the textbook method, by one thread as it is, beside a read by one thread."""
    worst = {}
    for d in (32, 100, 128, 1000):
        n = CELLS // 2 // d // scale
        X, y = clean(n, d)
        table = Dense(_input.rows(X, y), gs.squared(), None)
        for order, limit in ((False, TEXTBOOK), ("blocks", BY_BLOCKS)):
            numbers = table.order(n, 0, 0, order)
            if order == "blocks":
                with gs.set_threads(1):
                    ahead = max(4, 8192 // (8 * d))
                    bare, plain = in_turns(5, partial(bare_loop.added_up, X, numbers, ahead), partial(read, X))
                what = "fraction of bandwidth of adding up shuffled blocks of 64 rows"
                found.note(what, plain / bare, columns=d)
            for batch in (32, 256):
                path, rates = table.path(), np.full(1, 1e-4)

                def epoch(table=table, numbers=numbers, batch=batch, path=path, rates=rates):
                    row = 0
                    while row < table.n:
                        stop = table.stop(row, batch)
                        table.epoch(numbers, row, stop, Settings(batch, intercept=True), rates, path)
                        row = stop

                with gs.set_threads(1):
                    whole, plain = in_turns(5, epoch, partial(read, X, y))
                facts = {"columns": d, "batch": batch, "shuffle": str(order)}
                found.note("fraction of bandwidth of a textbook epoch", plain / whole, **facts)
                worst.setdefault((order, limit), []).append(plain / whole)
    for (order, limit), fractions in worst.items():
        found.judge(
            f"textbook epoch, shuffle={order!r}, batch 32 and 256, worst of 32 columns and more",
            f"at least {limit:g} of bandwidth", f"{min(fractions):.2f}", held=min(fractions) >= limit,
        )  # fmt: skip


def epochs(found, scale):
    """Put an epoch of the default beside a read of its rows."""
    what = "fraction of bandwidth of the default's epoch"
    worst = {}
    for dtype in (np.float64, np.float32):
        for d in (10, 32, 100, 320, 1000):
            n = CELLS // d // scale
            X, y = clean(n, d, dtype)
            table = Dense(_input.rows(X, y), gs.squared(), None)
            method = Minibatch(alpha=0.0, intercept=True, seed=0, tol=0.01, max_passes=20)
            state = method.start(table)
            if not isinstance(state, Lanes):  # of a quick run: too few rows for an epoch
                continue
            p, evidence = state.preconditioner, state.evidence
            slope = -np.vstack((p.T.T @ evidence.slopes, evidence.by_level * state.model.level))
            deal = method.deal(table, state.run, 1)

            def epoch(deal, table=table, p=p, state=state, slope=slope):
                table.lanes(p.units, deal, state.model, slope, state.eta)

            # The same steps over the same few chunks, which lie in a core's own cache.
            few = max(1, CACHED // 2 // (deal.run * X[0].nbytes))
            near = deal._replace(chunks=np.arange(len(deal.chunks)) % few)
            lanes, computed, gradient, plain = in_turns(
                5, partial(epoch, deal), partial(epoch, near), partial(p.evidence, table, state.scaled, 0.01),
                partial(read, X),
            )  # fmt: skip
            name = np.dtype(dtype).name
            found.note(what, plain / lanes, columns=d, data=name, lanes=len(deal.batches))
            found.note(
                "time of an epoch whose rows lie in the cache, over a read", computed / plain, columns=d, data=name
            )
            found.note("fraction of bandwidth of the default's gradient", plain / gradient, columns=d, data=name)
            if d >= 32:
                worst[name] = min(worst.get(name, np.inf), plain / lanes)
    for name, fraction in worst.items():
        found.judge(
            f"epoch of the default, {name}, worst of 32 columns and more", f"at least {EPOCH:g} of bandwidth",
            f"{fraction:.2f}", held=fraction >= EPOCH,
        )  # fmt: skip


def of_threads(found, scale):
    """Put two threads beside one, where arithmetic binds and where memory does."""
    n = 1_000_000 // scale
    X, y = clean(n, 10)
    labels = (y > 0).astype(float)
    wide, of_wide = clean(n // 10, 100)
    table = Dense(_input.rows(wide, of_wide), gs.squared(), None)
    units = _preconditioner.units_of(table, np.arange(1000), intercept=True)[0]
    works = {
        f"fit of {n:,} x 10": (lambda: gs.fit(X, y, check=False), TWICE),
        f"logistic fit of {n // 4:,} x 10": (
            lambda: gs.fit(X[: n // 4], labels[: n // 4], loss=gs.logistic(), check=False), TWICE,
        ),
        f"logistic fit of {n:,} x 10": (lambda: gs.fit(X, labels, loss=gs.logistic(), check=False), TWICE),
        f"Gram matrix of {n // 10:,} x 100": (lambda: table.gram(units), TWICE),
        f"fit of {n // 10:,} x 100": (lambda: gs.fit(wide, of_wide, check=False), 1.0),
        "fit of 5,000 x 50": (lambda: gs.fit(wide[:5000, :50].copy(), of_wide[:5000], check=False), 0.95),
    }  # fmt: skip
    for what, (work, least) in works.items():
        one, two, apart, beside = in_turns(
            7, with_threads(1, work), with_threads(2, work), with_threads(1, bare_loop.apart),
            with_threads(2, bare_loop.apart),
        )  # fmt: skip
        found.note("two threads over one, of work that shares nothing, in turns", apart / beside, beside=what)
        found.judge(f"two threads over one, {what}", f"at least {least:g}", f"{one / two:.2f}", held=one / two >= least)


def with_threads(count, work):
    def run():
        with gs.set_threads(count):
            work()

    return run


def peaks(found, scale):
    """Measure the peak of a process above that with the table alone."""
    n, d = 4_000_000 // scale, 50
    allowed = memory.SHARE * 8 * n * d + memory.FIXED
    for case in ("sgd, unchecked", "exact, unchecked", "cg, unchecked"):
        command = [sys.executable, "-c", memory.EXTRA, *case.split(", "), str(n), str(d)]
        extra = int(subprocess.check_output(command))
        found.judge(
            f"peak memory above X and y, {n:,} x {d}, {case.partition(',')[0]}", f"at most {allowed / 2**20:.0f} MiB",
            f"{extra / 2**20:.0f} MiB", held=extra <= allowed,
        )  # fmt: skip


def starts(found, scale):
    """Take over the figures of first calls and of callbacks."""
    size = first_call.QUICK if scale > 1 else first_call.FULL
    for part in (first_call.first_calls, first_call.callbacks):
        for one in part(size):
            if one.held is None:
                found.note(one.what, one.median)
            else:
                found.judge(one.what, one.asked, one.measured, held=one.held)


PARTS = {
    "bandwidth": bandwidth, "outputs": outputs, "textbook": textbook, "epochs": epochs, "threads": of_threads,
    "memory": peaks, "start": starts,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes: does it run at all")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found there too")
    options = parser.parse_args()
    warnings.simplefilter("ignore", gs.ConvergenceWarning)  # an epoch of small steps, to be timed
    found, began = Found(quick=options.quick), perf_counter()
    print("| what | asked | measured | |\n| --- | --- | --- | --- |")
    for name in options.only.split(","):
        PARTS[name](found, 10 if options.quick else 1)
    if options.json:
        facts = peers.machine([], perf_counter() - began, {})
        facts["command"] = shlex.join(["python", "asv_bench/speed.py", *sys.argv[1:]])
        facts["threads"] = threads.count()
        record = {"machine": facts, "figures": found.figures, "measurements": found.measurements}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if not options.quick and not all(figure["held"] for figure in found.figures):
        sys.exit("not held: " + "; ".join(figure["what"] for figure in found.figures if not figure["held"]))


if __name__ == "__main__":
    main()
