"""From nothing to a fit: the import, and the first fit of a process with its kernels compiled or read from the disk."""

import subprocess
import sys

DATA = """
import atexit, os, shutil, tempfile
import numpy as np
rng = np.random.default_rng(0)
X = rng.standard_normal((10_000, 10))
y = X @ np.ones(10) + rng.standard_normal(10_000)
"""
NOTHING_COMPILED = """
os.environ["GRADSTEP_CACHE_DIR"] = tempfile.mkdtemp()
atexit.register(shutil.rmtree, os.environ["GRADSTEP_CACHE_DIR"])
"""
FIT = """
import gradstep as gs
gs.fit(X, y)
"""


class Import:
    """What a script pays in its first line."""

    def timeraw_import(self):
        return "import gradstep"


class FirstFit:
    """Import and one fit in a new process, of 10,000 rows of 10 columns."""

    params = (["cold", "warm"],)
    param_names = ("kernels",)
    number, repeat, rounds = 1, (1, 3, 20.0), 1
    timeout = 300

    def setup(self, kernels):
        if kernels == "warm":  # a process like those that are timed leaves its kernels on the disk
            subprocess.check_call([sys.executable, "-c", DATA + FIT])

    def timeraw_first_fit(self, kernels):
        return FIT, DATA + (NOTHING_COMPILED if kernels == "cold" else "")
