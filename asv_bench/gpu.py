"""Try a GPU: ``python asv_bench/gpu.py [--write FOLDER] [--quick]``, within five minutes on a data-centre GPU.

1. Correctness: textbook epochs and default fits beside the CPU's, and the same bits twice.
2. The bandwidths of a copy and of a read on the device.
3. For tables of three shapes, in float32 and float64: a full-pass gradient, shuffled textbook epochs, and the default
   fit, as shares of what reading takes; beside PyTorch with captured graphs at equal batch, `torch.linalg.lstsq`,
   normal equations by CuPy, and our own CPU, where they are there.

Tables are made on the device, times are medians of runs in turns, their ratios are what counts. With ``--write`` the
result goes to a file with machine, date and command, which the documentation shows. ``--quick`` takes tables of a few
rows, for the simulator too (``NUMBA_ENABLE_CUDASIM=1``), whose times mean nothing.
"""

import argparse
import contextlib
import json
import platform
import sys
import warnings
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

import gradstep as gs
from gradstep import _break_even, _cost, _guard
from gradstep._kernels import cuda as kernels
from gradstep._kernels.cuda.target import SIMULATED, THREADS, cuda
from gradstep._kernels.permute import mixed
from gradstep._solvers.textbook import Textbook
from gradstep._table.devices import table_on
from gradstep._table.terms import Rows, Settings

SHAPES = [(1_000_000, 10), (10_000_000, 100), (1_000_000, 1000)]
BATCHES = [1024, 65_536, 262_144]
QUICK_SHAPES, QUICK_BATCHES = [(220, 3)], [16, 64]
GRADIENT, EPOCH_SHARES = 0.85, {65_536: 0.40, 262_144: 0.60}
BESIDE_TORCH = {1024: 1.5, 65_536: 1.2}
READS, BESIDE_CPU, SAME = 12, 0.6, 1e-10
STEPS_A_GRAPH = 32
SECONDS = 270  # after which what is optional is left out, unless another number is asked for

began = perf_counter()
rows_of_result, judged = [], []


def say(what, value, **facts):
    """Print a measurement and keep it."""
    rows_of_result.append({"what": what, "value": value, **facts})
    details = ", ".join(f"{name} {fact}" for name, fact in facts.items())
    shown = f"{value:.4g}" if isinstance(value, float) else value
    print(f"[{perf_counter() - began:5.0f} s] {what}: {shown}{f' ({details})' if details else ''}", flush=True)


def judge(what, asked, measured, *, held):
    """Put what was asked beside what was measured."""
    judged.append({"what": what, "asked": asked, "measured": measured, "held": bool(held)})
    print(f"         {what}: asked {asked}, measured {measured}: {'held' if held else 'NOT held'}", flush=True)


def seconds(work, runs=5):
    """Return the median time of a few runs, after one that warms up."""
    times = []
    runs = 1 if SIMULATED else runs
    for _ in range(runs + 1):
        cuda.synchronize()
        start = perf_counter()
        work()
        cuda.synchronize()
        times.append(perf_counter() - start)
    return median(times[1:])


def of_kernels(work, runs=5):
    """Return the median time of the kernels alone that a piece of work starts.

    Each is started twice: the second follows the first on the device without waiting for what starts it, so that the
    time between their ends is that of the kernel. Of kernels shorter than a start it is an upper bound.
    """
    if SIMULATED:  # whose events have no times
        return seconds(work, runs)
    totals, start = [], kernels.launch

    def twice(*arguments):
        first, second = cuda.event(), cuda.event()
        start(*arguments)
        first.record()
        start(*arguments)
        second.record()
        second.synchronize()
        totals[-1] += first.elapsed_time(second) / 1e3

    work()  # compiles
    kernels.launch = twice
    try:
        for _ in range(runs):
            totals.append(0.0)
            work()
    finally:
        kernels.launch = start
    return median(totals)


@cuda.jit
def fill(X, y, n, d, seed):
    """Make rows of sums of uniform numbers, and a response that is their sum over j + 1, with noise."""
    for i in range(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, n, cuda.gridDim.x * cuda.blockDim.x):
        state = mixed((i + seed) & 0xFFFFFFFF)
        total = 1.0
        for j in range(d + 1):
            x = 0.0
            for _ in range(3):
                state = mixed((state + 0x9E3779B9) & 0xFFFFFFFF)
                x += state / 4294967296.0 - 0.5
            if j < d:
                X[i, j] = x * 2
                total += X[i, j] / (j + 1)
            else:
                y[i] = total + x


@cuda.jit
def read(A, n, out):
    """Sum entries, four at a time."""
    step = cuda.gridDim.x * cuda.blockDim.x
    thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    a, b, c, d = A[0], A[0], A[0], A[0]
    i = thread
    while i + 3 * step < n:
        a += A[i]
        b += A[i + step]
        c += A[i + 2 * step]
        d += A[i + 3 * step]
        i += 4 * step
    out[thread] = (a + b) + (c + d)


def made(n, d, dtype):
    """Return X and y on the device."""
    X, y = cuda.device_array((n, d), dtype=dtype), cuda.device_array(n, dtype=np.float64)
    kernels.launch(fill, min(4096, -(-n // THREADS)), THREADS, X, y, n, d, 12345)
    cuda.synchronize()
    return X, y


def bandwidths(quick):
    """Return bytes a second of a copy (read and written) and of a read."""
    n = 1 << (10 if quick else 28)
    A, B = cuda.device_array(n, dtype=np.float32), cuda.device_array(n, dtype=np.float32)
    A.copy_to_device(np.zeros(n, dtype=np.float32))
    blocks = 2 if quick else 2048
    out = cuda.device_array(blocks * THREADS, dtype=np.float32)
    copied = 2 * 4 * n / seconds(lambda: B.copy_to_device(A))
    was_read = 4 * n / seconds(lambda: kernels.launch(read, blocks, THREADS, A, n, out))
    say("bandwidth of a copy on the device, GB/s", copied / 1e9)
    say("bandwidth of a read, GB/s", was_read / 1e9)
    return was_read


def correctness(quick):
    """Compare with the CPU before anything is timed."""
    n, d = (300, 3) if quick else (200_000, 30)
    X, y = made(n, d, np.float64)
    host, response = X.copy_to_host(), y.copy_to_host()
    batch = 64 if quick else 4096
    step = 0.5 * _guard.largest_stable_step(host, np.ones(1), batch, intercept=True)
    arguments = {"step": step, "batch_size": batch, "epochs": 2, "check": False}
    there, here = gs.fit(X, y, **arguments), gs.fit(host, response, **arguments)
    apart = float(np.abs(there.coef / here.coef - 1).max())
    judge(
        "textbook epochs on both at half the stable step, relative",
        f"at most {SAME:g}",
        f"{apart:.2g}",
        held=apart <= SAME,
    )
    again = gs.fit(X, y, **arguments)
    judge("the same bits twice", "all", "all" if np.array_equal(again.coef, there.coef) else "not all",
          held=np.array_equal(again.coef, there.coef))  # fmt: skip
    for dtype in (np.float64, np.float32):
        X, y = made(n, d, dtype)
        fit = gs.fit(X, y, check=False)
        exact = gs.fit(X.copy_to_host(), y.copy_to_host(), solver="exact", check=False)
        sigma = np.sqrt(2 * exact.objective)
        by = X.copy_to_host() @ (fit.coef - exact.coef) + (fit.intercept - exact.intercept)
        far = float(np.linalg.norm(by) / sigma)
        name = f"default fit in {np.dtype(dtype).name}, standard errors from the exact one"
        judge(name, f"at most its bound, {fit.certificate.bound:.2g}", f"{far:.2g}",
              held=far <= fit.certificate.bound <= 0.01)  # fmt: skip


def in_place(quick):
    """Fit arrays of other libraries where they lie."""
    n, d = (300, 3) if quick else (200_000, 30)
    X, y = made(n, d, np.float32)
    expected = gs.fit(X, y, check=False).coef
    cupy = kernels.cupy()
    if cupy is not None:
        same = np.array_equal(gs.fit(cupy.asarray(X), cupy.asarray(y), check=False).coef, expected)
        judge("CuPy's arrays in place", "the same bits", same, held=same)
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            with torch.cuda.stream(torch.cuda.Stream()):  # whose work the kernels have to wait for
                rows = torch.as_tensor(X, device="cuda") * 1
                same = np.array_equal(gs.fit(rows, torch.as_tensor(y, device="cuda"), check=False).coef, expected)
            judge("PyTorch's tensors in place, of another stream", "the same bits", same, held=same)


def epoch_of(table, batch, step, shuffle):
    """Return a function that runs one more epoch of the textbook method on a table."""
    method = Textbook(gs.sgd(shuffle=shuffle), step, Settings(min(batch, table.n), intercept=True), 0, gs.squared())
    state = method.start(table)

    def run():
        nonlocal state
        target = state.epoch + 1
        while state.epoch < target:
            state = method.advance(table, state)

    return run


def of_textbook(X, y, batches):
    """Return the seconds of a full-pass gradient and of a shuffled epoch at each batch, each with its kernels'."""
    n, d = X.shape
    table = table_on("cuda", Rows(X, y, np.ones(1)), gs.squared(), None)
    point = np.zeros(d + 1)

    def gradient():
        table.gradient(point)

    epochs = {batch: epoch_of(table, batch, 1.0 / (d + 2), shuffle=True) for batch in batches if batch < n}
    both = {batch: (seconds(work, runs=3), of_kernels(work, runs=3)) for batch, work in epochs.items()}
    return (seconds(gradient), of_kernels(gradient)), both


def shape(n, d, dtype, bandwidth, batches):
    """Measure one table."""
    X, y = made(n, d, dtype)
    facts = {"n": n, "d": d, "dtype": np.dtype(dtype).name}
    size = n * d * np.dtype(dtype).itemsize
    reading = size / bandwidth
    (took, of_kernel), epochs = of_textbook(X, y, batches)
    share = reading / of_kernel
    say("full-pass gradient, seconds", took, **facts, of_kernel=of_kernel, share_of_bandwidth=round(share, 3))
    if d >= 32:
        judge(f"kernel of the gradient, {n:.0e} x {d} {facts['dtype']}", f"{GRADIENT:.0%} of the read bandwidth",
              f"{share:.0%}", held=share >= GRADIENT)  # fmt: skip
    for batch, (took, of_kernel) in epochs.items():
        share = reading / of_kernel
        say("shuffled textbook epoch, seconds", took, **facts, batch=batch, of_kernels=of_kernel,
            share_of_bandwidth=round(share, 3))  # fmt: skip
        if batch in EPOCH_SHARES and (n, d, dtype) == (*SHAPES[1], np.float32):
            asked = EPOCH_SHARES[batch]
            judge(f"kernels of an epoch at batch {batch:,}", f"{asked:.0%} of the read bandwidth", f"{share:.0%}",
                  held=share >= asked)  # fmt: skip
    ours = {batch: took for batch, (took, _) in epochs.items()}
    fits = []
    took = seconds(lambda: fits.append(gs.fit(X, y, check=False)), runs=3)
    fit = fits[-1]
    say("default fit, seconds", took, **facts, reads=round(fit.row_reads / n, 2), bound=fit.certificate.bound,
        reads_of_time=round(took / reading, 1))  # fmt: skip
    if (n, d) == SHAPES[1]:
        reads = fit.row_reads / n
        judge(f"default fit, row reads, {facts['dtype']}", f"at most {READS}", f"{reads:.3g}",
              held=reads <= READS and fit.certificate.bound <= 0.01)  # fmt: skip
    return X, y, ours, took


def beside_torch(X, y, ours, facts):
    """Run PyTorch's steps on the same rows at the same batches, and its least squares."""
    try:
        import torch
    except ImportError:
        say("PyTorch", "not installed")
        return
    if not torch.cuda.is_available():
        say("PyTorch", "without CUDA")
        return
    rows, responses = torch.as_tensor(X, device="cuda"), torch.as_tensor(y, device="cuda").to(torch.float32)
    for batch, took in ours.items():
        run = torch_epoch(torch, rows, responses, batch, 1.0 / (rows.shape[1] + 2), "cuda")
        theirs = seconds(run, runs=3)
        say(
            "PyTorch epoch with captured graphs, seconds",
            theirs,
            **facts,
            batch=batch,
            over_ours=round(theirs / took, 2),
        )
        if batch in BESIDE_TORCH and (facts["n"], facts["d"]) == SHAPES[1]:
            asked = BESIDE_TORCH[batch]
            judge(f"epoch beside PyTorch at batch {batch:,}", f"{asked} times as fast", f"{theirs / took:.3g}",
                  held=theirs >= asked * took)  # fmt: skip
    try:
        ones = torch.ones(rows.shape[0], 1, device="cuda", dtype=rows.dtype)
        solve = torch.cat((rows, ones), dim=1)
        right = responses.reshape(-1, 1).to(rows.dtype)
        say("torch.linalg.lstsq, seconds", seconds(lambda: torch.linalg.lstsq(solve, right).solution, runs=2), **facts)
    except (torch.cuda.OutOfMemoryError, torch.linalg.LinAlgError) as error:
        say("torch.linalg.lstsq", f"raises {type(error).__name__}", **facts)


def torch_epoch(torch, rows, responses, batch, step, device):
    """Return a function that runs an epoch of plain steps, many of them in each captured graph."""
    n, d = rows.shape
    w, b = torch.zeros(d, device=device, dtype=rows.dtype), torch.zeros((), device=device, dtype=rows.dtype)
    steps = max(1, min(STEPS_A_GRAPH, n // batch))
    order = torch.zeros(steps * batch, device=device, dtype=torch.int64)

    def some_steps(count=steps):
        for t in range(count):
            at = order[t * batch : (t + 1) * batch]
            some = rows.index_select(0, at)
            residual = some @ w + b - responses.index_select(0, at)
            w.sub_(some.T @ residual, alpha=step / batch)
            b.sub_(residual.mean() * step)

    left = n // batch % steps

    def captured(count):
        if device != "cuda" or count == 0:
            return lambda: some_steps(count)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            some_steps(count)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            some_steps(count)
        return graph.replay

    replay, last = captured(steps), captured(left)

    def run():
        whole = torch.randperm(n, device=device)
        for first in range(0, n - steps * batch + 1, steps * batch):
            order.copy_(whole[first : first + steps * batch])
            replay()
        rest = n // batch % steps * batch  # the full batches that no graph holds
        if rest:
            first = n // batch // steps * steps * batch
            order[:rest].copy_(whole[first : first + rest])
            last()
        if device == "cuda":
            torch.cuda.synchronize()
        return w, b

    return run


def beside_cupy(X, y, facts):
    """Solve the normal equations by CuPy."""
    cupy = kernels.cupy()
    if cupy is None:
        say("CuPy", "not installed")
        return
    rows, responses = cupy.asarray(X), cupy.asarray(y).astype(X.dtype)
    solve = seconds(lambda: cupy.linalg.solve(rows.T @ rows, rows.T @ responses), runs=3)
    say("normal equations by CuPy, seconds", solve, **facts)


def _seconds_of_a_read(pieces):
    def of(piece):
        pieces[piece].sum()

    start = perf_counter()
    _cost.threads.each(of, len(pieces))
    return perf_counter() - start


def beside_cpu(X, y, took, bandwidth, facts):
    """Fit the same rows on the CPU."""
    host, responses = X.copy_to_host(), y.copy_to_host()
    gs.fit(host[:5000], responses[:5000], check=False)  # compiles
    start = perf_counter()
    gs.fit(host, responses, check=False)
    theirs = perf_counter() - start
    pieces = np.array_split(host, 8 * _cost.threads.count())
    reads = [_seconds_of_a_read(pieces) for _ in range(3)]
    ratio = bandwidth * min(reads) / host.nbytes
    say(
        "default fit on the CPU, seconds", theirs, **facts, over_gpu=round(theirs / took, 2), bandwidths=round(ratio, 2)
    )
    if (facts["n"], facts["d"]) == SHAPES[1]:
        judge("default fit beside the CPU", f"{BESIDE_CPU} of the ratio of bandwidths, {ratio:.3g}",
              f"{theirs / took:.3g} times as fast", held=theirs / took >= BESIDE_CPU * ratio)  # fmt: skip


def machine():
    """Return what was measured on."""

    def of(package):
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    packages = ("gradstep", "numba", "numba-cuda", "numpy", "scipy", "torch", "cupy-cuda13x")
    return {
        "gpu": kernels.state(),
        "cpu": f"{platform.machine()}, {_cost.threads.count()} threads",
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python " + " ".join(sys.argv),
        "packages": {package: of(package) for package in packages},
    }


def in_time(most, facts):
    """Whether there is time left for what is optional."""
    if perf_counter() - began > most:
        say("what stands beside it", "left out: the time is over", **facts)
    return perf_counter() - began <= most


def write(folder, found):
    """Write what has been measured so far."""
    found["seconds"] = round(perf_counter() - began)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in found["gpu"].partition(",")[0].lower())
        result = {"machine": found, "figures": judged, "measurements": rows_of_result}
        (folder / f"gpu-{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def main():
    if SIMULATED:
        sys.setswitchinterval(1e-4)  # its threads wait for each other in turns
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="a folder for the result, such as docs/measured")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which what is optional is left out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", gs.ConvergenceWarning)
    kernels.require()
    if SIMULATED and arguments.write:
        parser.error("--write: the simulator's times mean nothing; a GPU is needed.")
    found = machine()
    print(json.dumps(found, indent=2))
    correctness(arguments.quick)
    in_place(arguments.quick)
    bandwidth = bandwidths(arguments.quick)
    if not SIMULATED:
        say("what the break-even is computed from", str(_break_even.measured(kernels)))
    later = []
    for n, d in QUICK_SHAPES if arguments.quick else SHAPES:
        for dtype in (np.float32, np.float64):
            facts = {"n": n, "d": d, "dtype": np.dtype(dtype).name}
            X, y, ours, took = shape(n, d, dtype, bandwidth, QUICK_BATCHES if arguments.quick else BATCHES)
            if dtype == np.float32:
                for beside in (partial(beside_torch, X, y, ours, facts), partial(beside_cupy, X, y, facts)):
                    if in_time(arguments.seconds, facts):
                        beside()
                if d <= 100:
                    later.append((took, facts))
            del X, y
            write(arguments.write, found)
    for took, facts in later:  # the CPU takes longest
        if in_time(arguments.seconds, facts):
            beside_cpu(*made(facts["n"], facts["d"], np.float32), took, bandwidth, facts)
            write(arguments.write, found)
    missed = [entry["what"] for entry in judged if not entry["held"]]
    print(f"\n{len(judged) - len(missed)} of {len(judged)} figures held in {found['seconds']} s", *missed, sep="\n- ")
    sys.exit(bool(missed))  # --quick has figures of correctness alone


if __name__ == "__main__":
    main()
