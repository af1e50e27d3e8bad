"""What the benchmarks share: tables to fit, and whether large ones are wanted."""

import os
import sys
from pathlib import Path

import numpy as np

import gradstep as gs

# Data and truth of the tests, and the scripts beside this folder, of the checkout that the benchmarks come from.
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "tests")]

LARGE = bool(os.environ.get("ASV_LARGE"))


def table(rows, columns, condition=1.0, dtype="float64"):
    """Return columns of this condition and a response with noise."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    X = (rng.standard_normal((rows, columns)) * np.logspace(0, -np.log10(condition), columns)) @ turn.T
    return X.astype(dtype), X @ rng.standard_normal(columns) + rng.standard_normal(rows)


def compile_for(X):
    """Have the kernels of a fit compiled that few cells may otherwise be computed without."""
    if X.size < 40_000 and hasattr(gs, "warm_up"):  # which earlier commits lack
        gs.warm_up(dtype=X.dtype)


def only_if_large():
    """Skip a benchmark unless large tables are wanted."""
    if not LARGE:
        raise NotImplementedError("set ASV_LARGE=1 for large tables")
