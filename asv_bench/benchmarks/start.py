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
FITS = {
    "default": "import gradstep as gs\ngs.fit(X, y)",
    "logistic": "import gradstep as gs\ngs.fit(X, y > 0, loss=gs.logistic())",
}


class Import:
    """What a script pays in its first line."""

    def timeraw_import(self):
        return "import gradstep"


class FirstFit:
    """Import and one fit in a new process, of 10,000 rows of 10 columns."""

    params = (list(FITS), ["cold", "warm"])
    param_names = ("fit", "kernels")
    number, repeat, rounds = 1, (1, 3, 20.0), 1
    timeout = 300

    def setup(self, name, kernels):
        if kernels == "warm":  # a process like those that are timed leaves its kernels on the disk
            subprocess.check_call([sys.executable, "-c", DATA + FITS[name]])

    def timeraw_first_fit(self, name, kernels):
        return FITS[name], DATA + (NOTHING_COMPILED if kernels == "cold" else "")
