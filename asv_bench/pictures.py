"""Draw the pictures of the page on the default, each from measurements: ``python asv_bench/pictures.py [--into DIR]``.

It needs matplotlib (the extra ``plot``), 1 GB and three minutes. Times depend on the machine; the curves do not.
"""

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
import numpy as np

import gradstep as gs
from gradstep import _drawn, _input
from gradstep._table.dense import Dense

N, D = 20_000, 20
TOL = 0.01
INK, SOFT = "#1f4e79", "#b0b0b0"
COLOURS = ("#1f4e79", "#c0504d", "#7f9f3f", "#8064a2")
LEARNT = {"svg.hashsalt": "gradstep", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
          "axes.spines.right": False, "legend.frameon": False}  # fmt: skip


def collinear(n, d, condition, seed=0):
    """Return a table of this condition, its columns turned, and a response."""
    rng = np.random.default_rng((n, d, seed))
    X = rng.standard_normal((n, d)) * np.logspace(0, -np.log10(condition), d)
    X = X @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    return X, X @ rng.standard_normal(d) * 3 + rng.standard_normal(n)


def plain_sgd(ax):
    """Take plain minibatch SGD on columns of unit variance, averaged, beside the default on the raw ones."""
    passes = 60
    for colour, condition in zip(COLOURS, (1, 1e2, 1e4, 1e8), strict=True):
        X, y = collinear(N, D, condition)
        Z = (X - X.mean(axis=0)) / X.std(axis=0)
        exact = gs.closed_form(Z, y)
        seen = []

        def look(progress, exact=exact, seen=seen):
            if progress.epoch_ended:
                seen.append((progress.epoch, exact.distance(progress.coef, progress.intercept)[0]))

        try:
            gs.fit(Z, y, step=1.0, epochs=1, check=False)
            step = 0.5
        except gs.Diverged as diverged:
            step = diverged.largest_stable_step / 2
        options = gs.sgd(average=True)
        gs.fit(Z, y, step=step, epochs=passes, solver=options, check=False, callbacks=[look])
        ax.plot(*np.transpose(seen), color=colour, label=f"plain SGD, condition {condition:.0e}")
        history = gs.fit(X, y, tol=1e-4, check=False).history
        ax.plot(history.passes, history.bound, "o-", color=colour, markersize=3)
    ax.axhline(TOL, color=SOFT, linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="passes over the rows", ylabel="standard errors from the optimum")
    ax.text(1, TOL * 1.2, "0.01", color="grey")
    ax.set_title("Lines: plain SGD, averaged. Dots: the default, raw columns.", fontsize=9)
    ax.legend(fontsize=8)


def curvature(ax):
    """Take singular values of the columns, and of the columns in the coordinates of a sketch's R."""
    for colour, condition in zip(COLOURS, (1, 1e4, 1e8), strict=False):
        X, y = collinear(N, D, condition)
        table = Dense(_input.rows(X, y), gs.squared(), None)
        p = _drawn.drawn(table, 0, alpha=0.0, intercept=True)
        Z = X - X.mean(axis=0)
        unit = Z / np.sqrt(np.square(Z).sum(axis=0))
        ax.plot(np.arange(1, D + 1), np.linalg.svd(unit, compute_uv=False), color=colour, label=f"{condition:.0e}")
        white = (Z * p.units.scale) @ p.T
        ax.plot(np.arange(1, D + 1), np.linalg.svd(white, compute_uv=False), "o", color=colour, markersize=3)
    ax.set(yscale="log", xlabel="direction", ylabel="singular value", xticks=(1, 5, 10, 15, 20))
    ax.set_title("Lines: columns of unit norm. Dots: the same times the sketch's inverse R.", fontsize=9)
    ax.legend(title="condition", fontsize=8)


def within_an_epoch(ax):
    """Take the steps of one epoch in the coordinates of R: plain gradients, variance reduction, its mean, corrected."""
    batch, rate, rng = 320, 0.6, np.random.default_rng(3)
    X, y = collinear(N, D, 1e4)
    A = np.column_stack((X - X.mean(axis=0), np.ones(N)))
    sample = A[rng.choice(N, 2048, replace=False)]
    R = np.linalg.qr(sample, mode="r") * np.sqrt(N / 2048)
    Z = np.linalg.solve(R.T, A.T).T
    optimum = np.linalg.lstsq(Z, y, rcond=None)[0]
    sigma = np.sqrt(np.square(y - Z @ optimum).sum() / (N - D - 1))
    start = optimum + rng.standard_normal(D + 1) * 10 * sigma
    slope = Z.T @ (Z @ start - y)
    plain, q, points = start.copy(), -slope, []
    distances = {"plain gradients": [], "variance reduction": [], "mean of it": [], "mean, corrected": []}
    steps = N // batch
    far = lambda w: np.linalg.norm(Z @ (w - optimum)) / sigma  # noqa: E731
    for t, rows in enumerate(np.array_split(rng.permutation(N), steps)):
        B = Z[rows]
        points.append(q)
        plain = plain - rate * steps * B.T @ (B @ plain - y[rows])
        q = q - rate * (steps * B.T @ (B @ q) + slope)
        mean = np.mean(points, axis=0)
        found = (plain, start + q, start + mean, start + mean + (q + slope) / rate / (t + 1))
        for curve, w in zip(distances.values(), found, strict=True):
            curve.append(far(w))
    for colour, (name, curve) in zip(COLOURS, distances.items(), strict=True):
        ax.plot(np.arange(1, steps + 1), curve, color=colour, label=name)
    ax.set(yscale="log", xlabel="step of the epoch", ylabel="standard errors from the optimum")
    ax.set_title(f"One epoch of batches of {batch} rows, from {far(start):.0f} standard errors", fontsize=9)
    ax.legend(fontsize=8)


def lanes(ax):
    """Measure what an epoch leaves of the distance, by lanes, of rows in random order and of sorted ones."""
    n = 100_000
    X, y = collinear(n, 50, 1e4)
    order = np.argsort(y)
    for colour, (name, rows) in zip(
        COLOURS, {"rows in random order": slice(None), "sorted by y": order}.items(), strict=False
    ):
        found = []
        for number in (1, 2, 4, 8, 16, 32):
            batch = n // (16 * number)
            bound = gs.fit(X[rows], y[rows], batch_size=batch, tol=1e-6, check=False).history.bound
            found.append((n // (16 * batch), (bound[-1] / bound[0]) ** (1 / (len(bound) - 1))))
        ax.plot(*np.transpose(sorted(found)), "o-", color=colour, markersize=3, label=name)
    ax.axhline(np.sqrt(51 / n), color=SOFT, linewidth=1)
    ax.text(1, np.sqrt(51 / n) * 1.03, "sqrt(d / n)", color="grey")
    ax.minorticks_off()
    ax.set(xscale="log", ylim=(0, 0.03), xlabel="lanes", ylabel="share of the distance left by an epoch")
    ax.set_xticks((1, 2, 4, 8, 16, 32), ("1", "2", "4", "8", "16", "32"))
    ax.set_title(f"{n:,} rows, 50 columns, condition 1e4", fontsize=9)
    ax.legend(fontsize=8)


def certificate(ax):
    """Compare bound and truth of every round of many fits, the truth by the closed form."""
    found = []
    for seed in range(20):
        for condition in (1, 1e4):
            X, y = collinear(5_000, D, condition, seed)
            exact = gs.closed_form(X, y)
            look = lambda p, exact=exact: found.append((exact.distance(p.coef, p.intercept)[0], p.bound))  # noqa: E731
            for solver in ("sgd", "cg"):
                gs.fit(X, y, solver=solver, tol=1e-5, check=False, seed=seed, callbacks=[look])
    truth, bound = np.transpose(found)
    ends = np.array([truth.min(), truth.max()])
    ax.plot(ends, ends, color=SOFT, linewidth=1, label="bound = truth")
    ax.plot(truth, bound, "o", color=INK, markersize=2, label=f"{len(truth)} rounds of 80 fits")
    ax.set(xscale="log", yscale="log", xlabel="true distance, standard errors", ylabel="certified bound")
    ax.set_title(
        f"Bound over truth: {np.min(bound / truth):.2f} to {np.max(bound[truth > 1e-4] / truth[truth > 1e-4]):.2f}",
        fontsize=9,
    )
    ax.legend(fontsize=8)


def beside_exact(ax):
    """Time each solver by the number of columns, the number of cells the same."""
    cells, sizes = 2e7, (5, 10, 20, 50, 100, 200, 400)
    for colour, solver in zip(COLOURS, ("sgd", "cg", "exact"), strict=False):
        times = []
        for d in sizes:
            X, y = collinear(int(cells / d), d, 1e4)
            times.append(min(gs.fit(X, y, solver=solver, check=False).seconds for _ in range(4)))
        ax.plot(sizes, times, "o-", color=colour, markersize=3, label=f'"{solver}"')
    ax.set(xscale="log", yscale="log", xlabel="columns", ylabel="seconds")
    ax.minorticks_off()
    ax.set_xticks(sizes, [str(d) for d in sizes])
    ax.set_yticks((0.05, 0.1, 0.2, 0.4), ("0.05", "0.1", "0.2", "0.4"))
    ax.set_title("Twenty million cells, condition 1e4, to 0.01 standard errors", fontsize=9)
    ax.legend(fontsize=8)


PICTURES = (plain_sgd, curvature, within_an_epoch, lanes, certificate, beside_exact)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[1] / "docs" / "_static")
    parser.add_argument("--only", choices=[draw.__name__ for draw in PICTURES])
    options = parser.parse_args()
    plt.rcParams.update(LEARNT)
    for draw in PICTURES:
        if options.only in {None, draw.__name__}:
            figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
            draw(ax)
            path = options.into / f"default-{draw.__name__.replace('_', '-')}.svg"
            figure.savefig(path, metadata={"Date": None})
            print(path, flush=True)


if __name__ == "__main__":
    main()
