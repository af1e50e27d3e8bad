"""How near a full-pass gradient comes to the speed at which the machine reads memory, measured in the same process.

Both are tracked as times over that of a read, 1 being as fast as memory: asv takes what grows for a regression.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

import gradstep as gs
from gradstep import _input
from gradstep._table.dense import Dense

from ._tables import LARGE, table

CELLS = 100_000_000 if LARGE else 12_000_000  # 96 MB: more than most caches hold
ROUNDS = 7


def processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Gradient:
    """The gradient of the squared loss, with one thread and with one a processor."""

    params = ([10, 100], ["float64", "float32"], ["one", "all"])
    param_names = ("columns", "dtype", "threads")

    def setup(self, columns, dtype, threads):
        self.threads = 1 if threads == "one" else processors()
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # asked for at each call, by us alone: BLAS has started
        X, y = table(CELLS // columns, columns, dtype=dtype)
        self.rows = Dense(_input.rows(X, y), gs.squared(), None)
        self.w = np.zeros(columns + 1)
        self.flat = np.array_split(X.reshape(-1), 16 * self.threads)
        self.rows.gradient(self.w)

    def time_gradient(self, *_):
        self.rows.gradient(self.w)

    def track_over_reading(self, *_):
        with ThreadPoolExecutor(self.threads) as pool:
            gradient, reading = [], []
            for _ in range(ROUNDS):  # in turns: the machine's speed changes
                reading.append(seconds(lambda: list(pool.map(square, self.flat))))
                gradient.append(seconds(lambda: self.rows.gradient(self.w)))
        return min(gradient) / min(reading)

    track_over_reading.unit = "times of a read"


def square(x):
    return x @ x


def seconds(work):
    began = perf_counter()
    work()
    return perf_counter() - began
