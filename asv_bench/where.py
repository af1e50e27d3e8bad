"""Say where the time of a fit goes: ``python asv_bench/where.py '1e6x100 scaled' [--solver exact] [--threads 1,2]``.

A fit consists of work that threads share, passes over the rows above all, and of what one thread does between: NumPy,
BLAS, Python, and kernels called with a few rows. For each number of threads it prints both, in milliseconds and in
reads of all rows by as many threads. The cases are those of `peers.py` in any size, or a size and "logistic"; fits are
called with ``check=False``.
"""

import argparse
import cProfile
import inspect
import pstats
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import peers
from bare_loop import read

import gradstep as gs
from gradstep._kernels import threads

ROUNDS, PROFILED = 9, 3
KINDS = (*peers.KINDS, "float32", "logistic")
LEAST = 0.004  # of a fit: what takes less is not named


class Passes:
    """The work that threads share, by who asks for it, and a profile of the rest, whose clock stands meanwhile."""

    def __init__(self):
        self.seconds = defaultdict(list)
        self.between = cProfile.Profile(self._clock)
        self._each, self._stands, self._away = threads.each, None, 0.0

    def _clock(self):
        return perf_counter() - self._away if self._stands is None else self._stands

    @contextmanager
    def watched(self):
        threads.each = self.each
        self.between.enable()
        try:
            yield
        finally:
            self.between.disable()
            threads.each = self._each

    def each(self, work, pieces, *, alone=False):
        self._stands, began = self._clock(), perf_counter()
        asking = inspect.currentframe().f_back.f_code
        try:
            self._each(work, pieces, alone=alone)
        finally:
            took = perf_counter() - began
            self.seconds[f"{asking.co_qualname}{' (one thread)' * alone}"].append(took)
            self._stands, self._away = None, self._away + took


def table_of(name):
    """Return rows, responses and options of a fit: a case of `peers.py`, or a logistic one of normal columns."""
    size, kind = name.split()
    if kind not in KINDS:
        raise SystemExit(f"case: {name!r} came; a size and one of {', '.join(KINDS)} is needed.")
    n, d = (int(float(number)) for number in size.split("x"))
    if kind != "logistic":
        return *peers.made(peers.Case(size, kind, n, d)), {}
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X, (X @ rng.standard_normal(d) + rng.standard_normal(n) > 0).astype(float), {"loss": gs.logistic()}


def seconds(work):
    began = perf_counter()
    work()
    return perf_counter() - began


def report(name, fit, X):
    """Print where a fit's time goes, by this number of threads."""
    fit()
    read(X)
    times = [(seconds(fit), seconds(partial(read, X))) for _ in range(ROUNDS)]
    whole, plain = (median(of_work) for of_work in zip(*times, strict=True))
    took = f"{1e3 * whole:.1f} ms, {whole / plain:.1f} reads of {1e3 * plain:.1f} ms"
    print(f"\n{name}, threads: {threads.count()}: {took}")

    passes = Passes()
    with passes.watched():
        profiled = seconds(lambda: [fit() for _ in range(PROFILED)])
    print("\n| while profiled | calls | ms | reads | share |\n| --- | --- | --- | --- | --- |")

    def line(what, calls, total):
        if total > LEAST * profiled:
            one = total / PROFILED
            print(f"| {what} | {calls / PROFILED:g} | {1e3 * one:.2f} | {one / plain:.2f} | {total / profiled:.1%} |")

    shared = {what: sum(each) for what, each in passes.seconds.items()}
    line("the fit", PROFILED, profiled)
    for what in sorted(shared, key=shared.get, reverse=True):
        line(f"shared: {what}", len(passes.seconds[what]), shared[what])
    line("all between", PROFILED, profiled - sum(shared.values()))
    functions = pstats.Stats(passes.between).stats.items()
    for (file, _, function), (calls, _, own, *_) in sorted(functions, key=lambda one: -one[1][2]):
        if Path(file) != Path(__file__):
            line(f"between: {function}" if file == "~" else f"between: {Path(file).stem}.{function}", calls, own)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", help="size and kind of a table, as in '1e6x100 scaled'")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--tol", type=float, default=0.01)
    parser.add_argument("--threads", default=str(threads.usable()), help="numbers of threads, with commas between them")
    options = parser.parse_args()
    X, y, more = table_of(options.case)
    for count in map(int, options.threads.split(",")):
        with gs.set_threads(count):
            fit = partial(gs.fit, X, y, solver=options.solver, tol=options.tol, check=False, **more)
            report(f"{options.case}, {options.solver}", fit, X)


if __name__ == "__main__":
    main()
