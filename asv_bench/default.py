"""Try the figures that the default is measured by: ``python asv_bench/default.py [--seeds N] [--rows N] [--quick]``.

1. On every table of ``tests/hard_tables.py``: passes, row reads, and the certificate beside the 80-bit truth.
2. Many columns: passes, and "auto" beside the best of the three solvers.
3. What an epoch leaves of the distance, by the number of lanes.
4. The same bits with 1, 2 and 5 threads; two threads beside one.
5. Ctrl-C in the middle of fits.
6. The textbook example, and one small fit.

Times are medians of fits in turns, their ratios are what counts. It takes some four minutes and 3 GB; ``--quick`` a
tenth of the sizes and a minute. ``--seeds 200 --rows 5000`` looks for a bound below the truth, in some ten minutes.
"""

import argparse
import hashlib
import os
import signal
import sys
import threading
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np

import gradstep as gs
from hard_tables import HAS_LONG, Truth, ordered_tables, tables

COLUMNS = 50
PASSES = {"sgd": 8, "cg": 11}
READS = 1.6  # times the passes
CONTRACTION = 0.03
SLOWER = 1.3
ROUNDS = 7

failed = []


def said(what, asked, measured, *, held):
    print(f"| {what} | {asked} | {measured} | {'held' if held else 'NOT held'} |", flush=True)
    if not held:
        failed.append(what)


def conditions(rows, seeds):
    """Fit every kind of table with every seed, and print the worst of each kind."""
    print(f"\n{rows:,} x {COLUMNS}, {seeds} seeds, to 0.01 standard errors\n")
    print("| table | solver | passes | row reads | worst truth over bound | largest bound | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    found = {}
    for seed in range(seeds):
        for name, X, y in (*tables(rows, COLUMNS, seed), *ordered_tables(rows, COLUMNS, seed)):
            truth = Truth(X, y)
            for solver in PASSES:
                fit = gs.fit(X, y, solver=solver, seed=seed, check=False)
                bound = fit.certificate.bound
                of_fit = (
                    fit.passes, fit.row_reads / rows, truth.distance(fit.coef, fit.intercept) / bound, bound,
                    fit.seconds,
                )  # fmt: skip
                found.setdefault((name, solver), []).append(of_fit)
    for (name, solver), fits in found.items():
        passes, reads, truth, bound, _ = np.max(fits, axis=0)
        seconds = np.median(fits, axis=0)[-1]
        print(f"| {name} | {solver} | {passes:.3g} | {reads:.3g} | {truth:.2f} | {bound:.2g} | {seconds:.2g} |")
        sound = passes <= PASSES[solver] and reads <= READS * passes and truth <= 1 and bound <= 0.01
        if not sound:
            failed.append(f"{name}, {solver}")
    sys.stdout.flush()


def ill_conditioned(n, d, condition=1e6):
    rng = np.random.default_rng((n, d))
    X = rng.standard_normal((n, d))
    X *= np.logspace(0, -np.log10(condition), d)
    X = X @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    return X, X @ rng.standard_normal(d) + rng.standard_normal(n)


def many_columns(scale):
    print("\nCondition 1e6, many columns\n")
    print("| what | asked | measured | |\n| --- | --- | --- | --- |")
    for n, d in ((200_000 // scale, 500 // scale), (100_000 // scale, 1_000 // scale)):
        X, y = ill_conditioned(n, d)
        gs.fit(X[: n // 10], y[: n // 10], solver="auto", check=False)
        seconds, fits = {}, {}
        solvers = ("sgd", "cg", "exact", "auto")
        for turn in range(len(solvers)):  # each comes once after each other: threads of BLAS outlive what started them
            for solver in solvers[turn:] + solvers[:turn]:
                fits[solver] = gs.fit(X, y, solver=solver, check=False)
                seconds.setdefault(solver, []).append(fits[solver].seconds)
        for solver, most in (("sgd", 10), ("cg", 12)):
            fit = fits[solver]
            near = fit.certificate.bound <= 0.01
            said(
                f"{n:,} x {d}, passes of {solver}",
                f"at most {most}",
                f"{fit.passes:.3g}",
                held=near and fit.passes <= most,
            )
        times = {solver: float(np.median(values)) for solver, values in seconds.items()}
        ratio = times["auto"] / min(times[solver] for solver in ("sgd", "cg", "exact"))
        listed = ", ".join(f"{solver} {value:.2g} s" for solver, value in times.items())
        quick = scale > 1  # times of small tables prove nothing
        held = ratio <= SLOWER or quick
        said(f"{n:,} x {d}, auto over the best ({listed})", f"at most {SLOWER}", f"{ratio:.2f}", held=held)
        print(f"|   | | {fits['auto'].cost} | |")


def lanes():
    X, y = ill_conditioned(100_000, COLUMNS, 1e4)
    for batch, number in ((4_000, 1), (700, 8), (190, 32)):
        bound = gs.fit(X, y, batch_size=batch, tol=1e-6, check=False).history.bound
        left = float((bound[1:] / bound[:-1]).max())
        said(
            f"left of the distance by an epoch in lanes: {number}",
            f"at most {CONTRACTION}",
            f"{left:.3g}",
            held=left <= CONTRACTION,
        )


def bits(X, y, solver):
    """Return a digest of the coefficients with 1, 2 and 5 threads."""
    found = set()
    for count in (1, 2, 5):
        with gs.set_threads(count):
            fit = gs.fit(X, y, solver=solver, check=False)
        found.add(hashlib.sha256(fit.coef.tobytes() + np.float64(fit.intercept).tobytes()).hexdigest())
    return found


def of_threads(scale):
    for rows, d, least in ((1_000_000, 10, 1.6), (1_000_000, 100, 1.0), (100_000, 10, 1.0), (5_000, 50, 0.95)):
        n = max(rows // scale, 5_000)
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d))
        y = X.sum(axis=1) + rng.standard_normal(n)
        for solver in PASSES:
            same = len(bits(X, y, solver)) == 1
            said(
                f"{n:,} x {d}, {solver}: bits with 1, 2 and 5 threads",
                "the same",
                "the same" if same else "others",
                held=same,
            )
        times = {1: [], 2: []}
        for _ in range(ROUNDS):
            for count, of_count in times.items():
                with gs.set_threads(count):
                    of_count.append(gs.fit(X, y, check=False).seconds)
        ratio = float(np.median(np.divide(times[1], times[2])))
        enough = scale > 1 or (os.cpu_count() or 1) < 2 or ratio >= least
        said(f"{n:,} x {d}, two threads over one", f"at least {least:g}", f"{ratio:.2f}", held=enough)


def ctrl_c(scale):
    """Press Ctrl-C at several moments of fits that would go on for long."""
    n = 1_000_000 // scale
    X = np.random.default_rng(0).standard_normal((n, 100))
    y = X.sum(axis=1)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's job in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for solver in (*PASSES, "exact"):
        waits = []
        for after in (0.3, 0.6, 0.9, 1.2):
            pressed = []

            def press(pressed=pressed):
                pressed.append(perf_counter())
                os.kill(os.getpid(), signal.SIGINT)

            threading.Timer(after, press).start()
            try:
                while True:
                    gs.fit(X, y, solver=solver, tol=0, max_passes=100, check=False)
            except KeyboardInterrupt:
                waits.append(perf_counter() - pressed[0])
        longest = max(waits)
        said(f"{n:,} x 100, {solver}: Ctrl-C", "within 0.2 s", f"{1e3 * longest:.1f} ms", held=longest <= 0.2)


def small(scale):
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
    fit, exact = gs.fit(X, y), gs.closed_form(X, y)
    errors = np.append(exact.standard_errors, exact.intercept_standard_error)
    off = np.abs(np.append(fit.coef, fit.intercept) - [2.0, -3.4, 4.2]) / errors
    within = fit.stop is gs.Stop.CERTIFIED and off.max() <= 3 + fit.certificate.bound
    said("textbook example: standard errors from w = [2, -3.4], b = 4.2", "at most 3", f"{off.max():.2g}", held=within)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 10))
    y = X.sum(axis=1) + rng.standard_normal(1000)
    times = []
    for _ in range(200):
        began = perf_counter()
        gs.fit(X, y)
        times.append(perf_counter() - began)
    ms = 1e3 * float(np.median(times))
    said("one fit of 1,000 x 10, check included", "at most 1 ms", f"{ms:.2f} ms", held=ms <= 1 or scale > 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, help="the tables with so many seeds, and nothing else")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    if HAS_LONG:
        conditions(options.rows // (20 if options.quick else 1), options.seeds or 1)
    if options.seeds is None:
        many_columns(scale)
        lanes()
        of_threads(scale)
        ctrl_c(scale)
        small(scale)
    if failed:
        sys.exit("not held: " + "; ".join(failed))


if __name__ == "__main__":
    main()
