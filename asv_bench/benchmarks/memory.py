"""Peak memory of a fit beside that of its table.

What asv calls the peak holds the interpreter, the compiler and the table too: `peakmem_baseline` has all of those and
no fit. `Extra` measures what lies between the two, in a new process for each case.
"""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np

import gradstep as gs

from ._tables import LARGE, table

CASES = ["sgd, unchecked", "exact, unchecked", "sgd, checked"]
ROWS, COLUMNS = 200_000, 50
MEASURED = (2_000_000 if LARGE else 300_000, COLUMNS)
SHARE, FIXED = 0.05, 64 << 20  # what a fit may take above X and y: a share of X, and bytes

EXTRA = """
import resource, sys
from pathlib import Path
import numpy as np
import gradstep as gs

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # where the other peak is that of the process that started this one too
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

def fit(rows, columns):
    X, y = np.empty((rows, columns)), np.empty(rows)
    for i in range(0, rows, 10_000):  # by blocks: nothing may be larger for a while than what stays
        rng.standard_normal(out=X[i : i + 10_000])
        y[i : i + 10_000] = X[i : i + 10_000].sum(axis=1) + rng.standard_normal(10_000)
    before = peak()
    gs.fit(X, y, solver=sys.argv[1], check="auto" if sys.argv[2] == "checked" else False)
    return peak() - before

rng = np.random.default_rng(0)
fit(10_000, int(sys.argv[4]))  # compiles
print(fit(int(sys.argv[3]), int(sys.argv[4])))
"""


class Peak:
    """The peak of a process with a fit, and without one."""

    def setup(self):
        gs.fit(*table(10_000, COLUMNS))  # compiles
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((ROWS, COLUMNS))  # with no copy for a while, which would be the peak
        self.y = self.X.sum(axis=1) + rng.standard_normal(ROWS)

    def peakmem_fit(self):
        gs.fit(self.X, self.y)

    def peakmem_baseline(self):
        pass


class Extra:
    """The peak above X and y: over the bytes of X, and over what is allowed, which it should not exceed."""

    params = (CASES,)
    param_names = ("fit",)
    timeout = 600

    def setup_cache(self):
        if find_spec("resource") is None:
            return None
        sizes = [str(size) for size in MEASURED]
        return {
            case: int(subprocess.check_output([sys.executable, "-c", EXTRA, *case.split(", "), *sizes]))
            for case in CASES
        }

    def setup(self, extra, _):
        if extra is None:
            raise NotImplementedError("peaks are not to be had on this system")
        self.of_table = 8 * MEASURED[0] * MEASURED[1]

    def track_over_table(self, extra, case):
        return extra[case] / self.of_table

    track_over_table.unit = "of the bytes of X"

    def track_over_allowed(self, extra, case):
        return extra[case] / (SHARE * self.of_table + FIXED)

    track_over_allowed.unit = "of 5 % of X and 64 MiB"
