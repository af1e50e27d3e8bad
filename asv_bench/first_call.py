"""Measure first calls, and what callbacks cost: ``python asv_bench/first_call.py [--quick] [--json FILE]``.

Each first call is timed in a process of its own, after `import gradstep`, with an empty cache or one that an earlier
process has filled; what is printed is the median over the processes with its quartiles. Callbacks and none are timed in
turns. It takes some minutes.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from unittest import mock

from figures import QUICK, Size, at_most, circumstances, figure, in_turns, markdown, table

import gradstep as gs
from gradstep import _driver

FULL = Size(rows=1_000_000, rounds=15)

BEGIN = """
from time import perf_counter
import numpy as np
import gradstep as gs
rng = np.random.default_rng(0)
X = rng.standard_normal((1_000, 10))
y = X.sum(axis=1) + rng.standard_normal(1_000)
began = perf_counter()
{call}
print(perf_counter() - began)
"""


def first(call, folder):
    """Return the seconds of a call that is a new process's first one."""
    command = [sys.executable, "-c", BEGIN.format(call=call)]
    environment = os.environ | {"GRADSTEP_CACHE_DIR": str(folder)}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def with_nothing_on_disk(call, processes):
    for _ in range(processes):
        with tempfile.TemporaryDirectory() as folder:
            yield first(call, folder)


def first_calls(size):
    """Time the first fit of new processes, and what it takes to compile or load all that a default fit needs."""
    fit, warm_up, steps = "gs.fit(X, y)", "gs.warm_up()", "gs.fit(X, y, step=0.01)"
    of_process = "First call of a process, `{}` of 1,000 x 10, "
    few = max(3, size.rounds // 4)
    yield at_most(3, of_process.format(fit) + "nothing on disk", list(with_nothing_on_disk(fit, size.rounds)), " s")
    yield said(of_process.format(steps) + "nothing on disk", list(with_nothing_on_disk(steps, few)))
    yield said("`gs.warm_up()`, nothing on disk", list(with_nothing_on_disk(warm_up, few)))
    with tempfile.TemporaryDirectory() as folder:
        first(warm_up, folder)
        first(steps, folder)
        for call in (fit, steps):
            kept = [first(call, folder) for _ in range(size.rounds)]
            yield at_most(0.6, of_process.format(call) + "kernels on disk", kept, " s")
        yield said("`gs.warm_up()`, kernels on disk", [first(warm_up, folder) for _ in range(size.rounds)])


def said(what, seconds):
    return figure(what, "", seconds, " s", lambda _: None)


class Watched(_driver.Run):
    """A fit under way whose entries in the history, and what is told to callbacks, are timed."""

    seconds = 0.0

    def record(self, *arguments):
        self._timed(super().record, *arguments)

    def progress(self):
        return self._timed(super().progress)

    @staticmethod
    def _timed(work, *arguments):
        began = perf_counter()
        answer = work(*arguments)
        Watched.seconds += perf_counter() - began
        return answer


def share_of_telling(fit):
    """Return the share of a fit's time, in per cent, that goes to its history and to what callbacks are told."""
    Watched.seconds = 0.0
    with mock.patch.object(_driver, "Run", Watched):
        seconds = fit().seconds
    return 100 * Watched.seconds / seconds


def callbacks(size):
    """Time fits with a callback that does nothing beside fits without."""
    X, y = table(size.rows, 10)
    for name, options in (("default", {}), ("by steps", {"step": 1e-3, "epochs": 5})):
        options["check"] = False

        def fits(callbacks=(), options=options):
            return lambda: gs.fit(X, y, callbacks=callbacks, **options)

        what = f"Fit of {size.rows:,} x 10, {name}: "
        told = [share_of_telling(fits([lambda _: None])) for _ in range(size.rounds)]
        yield at_most(1, what + "share of history, progress and a callback that does nothing", told, " %")
        without, heard = in_turns(size.rounds, fits(), fits([lambda _: None]))
        added = (heard / without - 1) * 100
        yield figure(what + "what the callback adds, by the clock", "", added, " %", lambda _: None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size and few rounds: does it run at all")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures and the circumstances there too")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    facts = circumstances(sys.argv[1:]) | {
        "command": shlex.join(["python", "asv_bench/first_call.py", *sys.argv[1:]]),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    found = [one for part in (first_calls, callbacks) for one in part(size)]
    if options.quick:  # three rounds prove nothing
        found = [one._replace(held=None) for one in found]
    print(f"{facts['machine']}; {', '.join(map(' '.join, facts['versions'].items()))}; load {facts['load']}\n")
    print(markdown(found))
    if options.json:
        record = facts | {"figures": [one._asdict() for one in found]}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
