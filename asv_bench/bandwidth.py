"""How near the textbook kernel comes to the speed at which this machine reads memory: `python asv_bench/bandwidth.py`.

Each line is in percent of the read bandwidth, which a sum over the same array gives in the same turns: the better of
NumPy's and a compiled one, with one thread or with all. The bytes are those of X and y, once. Of each the fastest of
ROUNDS turns counts: others share the machine.
"""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numba
import numpy as np

import gradstep as gs
from gradstep import _input
from gradstep._kernels.threads import usable
from gradstep._table.dense import Dense
from gradstep._table.terms import Settings

BYTES = 96 << 20
ROUNDS = 15
COLUMNS = (2, 4, 7, 8, 10, 16, 32, 64, 100, 128, 512, 1000, 1024, 4096, 8192)
EPOCH_COLUMNS = (32, 100, 128, 1000)
DTYPES = ("float64", "float32")


@numba.njit(nogil=True, fastmath=True)
def total(x):
    """Return the sum of a vector."""
    s = x.dtype.type(0)
    for i in range(x.size):
        s += x[i]
    return s


def seconds(work):
    """Return how long a call takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def table(columns, dtype):
    """Return rows of noise, of about BYTES."""
    rows = BYTES // np.dtype(dtype).itemsize // columns
    X = np.empty((rows, columns), dtype)
    some = np.random.default_rng(0).standard_normal((min(rows, 4099), columns))
    for start in range(0, rows, len(some)):
        X[start : start + len(some)] = some[: rows - start]
    return X, np.random.default_rng(1).standard_normal(rows)


def share(X, y, work, threads):
    """Return the fraction of the read bandwidth that some work on X and y comes to."""
    pieces = np.array_split(X.reshape(-1), 16 * threads)
    with ThreadPoolExecutor(threads) as pool, gs.set_threads(threads):
        readers = [lambda of=of: list(pool.map(of, pieces)) for of in (total, np.sum)]
        for one in (*readers, work):
            one()
        times = np.array([[seconds(one) for one in (*readers, work)] for _ in range(ROUNDS)]).min(axis=0)
    return ((X.nbytes + y.nbytes) / times[2]) / (X.nbytes / times[:2].min())


def gradients(columns=COLUMNS):
    """Yield lines for the full gradient."""
    for threads in sorted({1, usable()}):
        for dtype in DTYPES:
            for d in columns:
                X, y = table(d, dtype)
                rows, w = Dense(_input.rows(X, y), gs.squared(), None), np.full(d + 1, 0.1)
                asked = 50 if d < 8 else 80 if d < 64 else 85
                got = share(X, y, lambda rows=rows, w=w: rows.gradient(w), threads)
                yield f"full gradient, {dtype}, d = {d:,}, {threads} thread{'s' * (threads > 1)}", asked, got


def epochs(columns=EPOCH_COLUMNS):
    """Yield lines for an epoch of steps, the drawing of its order of rows apart."""
    for shuffle, asked in ((False, 75), ("blocks", 60)):
        for batch in (32, 256):
            for dtype in DTYPES:
                for d in columns:
                    X, y = table(d, dtype)
                    rows = Dense(_input.rows(X, y), gs.squared(), None)
                    settings, rates = Settings(batch, intercept=True), np.array([1e-9])
                    order, path = rows.order(rows.n, 0, 0, shuffle), rows.path()

                    def work(rows=rows, order=order, settings=settings, rates=rates, path=path):
                        rows.epoch(order, 0, rows.n, settings, rates, path)

                    order_is = "as they stand" if shuffle is False else "by blocks"
                    yield f"epoch, batch {batch}, rows {order_is}, {dtype}, d = {d:,}", asked, share(X, y, work, 1)


def main():
    """Print the table."""
    print("| what | asked | measured | |\n|---|---|---|---|")
    for lines in (gradients(), epochs()):
        for what, asked, got in lines:
            met = "" if 100 * got >= asked else "missed"
            print(f"| {what} | >= {asked} % | {100 * got:.0f} % | {met} |", flush=True)


if __name__ == "__main__":
    main()
