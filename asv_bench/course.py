"""The figures of the course's code: ``python asv_bench/course.py [--quick]``.

Constant-step SGD's stationary covariance in closed form beside a simulation, over random tables whose spectral radius
is below 0.95; the posterior beside a brute-force grid and beside scipy.stats; a walk of ten million steps; and, where
the extra ``docs`` is installed and ``--build`` is given, the build of all pages. Exits with 1 where a figure is missed.
"""

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy import stats

import gradstep as gs
from gradstep.textbook import MarkovChain, NormalInverseGamma, SGDChain


def chains(tables, steps):
    """Return the largest relative difference of covariances, and how many tables there were."""
    rng, worst, count = np.random.default_rng(0), 0.0, 0
    while count < tables:
        d, b = int(rng.integers(1, 11)), int(rng.choice([1, 4, 16, 64]))
        X = rng.standard_normal((400, d)) * rng.uniform(0.7, 1.4, d) + rng.uniform(-0.5, 0.5, d)
        y = X @ rng.standard_normal(d) + rng.standard_normal(400) * rng.uniform(0.1, 2.0)
        chain = SGDChain(X, y, rng.uniform(0.02, 0.9), b)
        if chain.spectral_radius >= 0.95:
            continue
        _, found = chain.simulate(steps, seed=count)
        gap = np.linalg.norm(found - chain.covariance) / np.linalg.norm(chain.covariance)
        worst, count = max(worst, gap), count + 1
    return worst


def grid(points):
    """Return the largest difference of densities of one coefficient from a brute-force grid."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal(12)
    y = 0.7 * x + 0.4 * rng.standard_normal(12)
    prior = NormalInverseGamma([0.2], [[3.0]], shape=2.0, scale=0.5)
    posterior = prior.update(x[:, np.newaxis], y, intercept=False)
    w = posterior.mean[0] + np.linspace(-4.0, 4.0, points)
    log_v = np.linspace(math.log(2e-3), math.log(2e3), points)
    W, V = np.meshgrid(w, np.exp(log_v), indexing="ij")
    density = stats.norm.logpdf(W, 0.2, np.sqrt(V / 3.0)) + stats.invgamma.logpdf(V, 2.0, scale=0.5)
    density += -len(x) / 2 * np.log(2 * np.pi * V) - sum((t - W * s) ** 2 for s, t in zip(x, y, strict=True)) / (2 * V)
    density = np.exp(density) * V
    evidence = density.sum() * (w[1] - w[0]) * (log_v[1] - log_v[0])
    marginal = density.sum(axis=1) * (log_v[1] - log_v[0]) / evidence
    gap = np.abs(marginal - posterior.contrast([1.0]).pdf(w)).max()
    return max(gap, abs(math.log(evidence) - posterior.log_evidence))


def law():
    """Return the largest relative difference of a log evidence from scipy.stats, over random tables."""
    rng, worst = np.random.default_rng(1), 0.0
    for d in (1, 3, 8):
        X, y = gs.textbook.make_linear(rng.standard_normal(d), 1.0, 30, noise=1.0, seed=d)
        Z, root = np.column_stack((X, np.ones(30))), rng.standard_normal((d + 1, d + 1))
        prior = NormalInverseGamma(rng.standard_normal(d + 1), root @ root.T + np.eye(d + 1), 1.5, 2.0)
        spread = np.eye(30) + Z @ np.linalg.solve(root @ root.T + np.eye(d + 1), Z.T)
        truth = stats.multivariate_t(Z @ prior.mean, prior.scale / prior.shape * spread, df=3).logpdf(y)
        worst = max(worst, abs(prior.update(X, y).log_evidence / truth - 1))
    return worst


def walk():
    """Return the seconds of ten million steps of a chain of a hundred states."""
    chain = MarkovChain(np.random.default_rng(0).dirichlet(np.ones(100), 100))
    chain.simulate(1, 0)
    seconds = []
    for seed in range(3):
        began = perf_counter()
        chain.simulate(10_000_000, 0, seed=seed)
        seconds.append(perf_counter() - began)
    return min(seconds)


def build():
    """Return the seconds of a build of all pages, from nothing."""
    root, ignored = Path(__file__).parents[1], shutil.ignore_patterns("_build", "course", "formulas", "generated")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "docs", Path(folder, "docs"), ignore=ignored)
        for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
            shutil.copy(root / page, folder)
        began = perf_counter()
        subprocess.run([sys.executable, "-m", "sphinx", "-W", "-n", "-q", "docs", "html"], check=True, cwd=folder)
        return perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tables and points")
    parser.add_argument("--build", action="store_true", help="build all pages too")
    asked = parser.parse_args()
    figures = [
        (
            "stationary covariance, closed form and simulation, relative",
            chains(*((4, 10**6) if asked.quick else (40, 2 * 10**6))),
            0.02,
        ),
        ("posterior and brute-force grid, density and log evidence", grid(801 if asked.quick else 1601), 1e-6),
        ("log evidence and scipy.stats, relative", law(), 1e-10),
        ("10,000,000 steps of a chain of 100 states, seconds", walk(), 1.0),
    ]
    if asked.build:
        figures.append(("build of all pages, seconds", build(), 300.0))
    for what, found, limit in figures:
        print(f"{what:62s} {found:10.2g}   asked {limit:g}")
    # Times of a busy machine prove nothing.
    return int(any(found > limit for what, found, limit in figures if "seconds" not in what))


if __name__ == "__main__":
    sys.exit(main())
