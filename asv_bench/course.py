"""The figures of the course's code: ``python asv_bench/course.py [--quick]``.

Constant-step SGD's stationary covariance in closed form beside the fixed point of the whole operator, and beside
simulations of random tables whose spectral radius is below 0.95; the posterior beside a brute-force grid and beside
scipy.stats; a walk of ten million steps; and, where the extra ``docs`` is installed and ``--build`` is given, the build
of all pages. Exits with 1 where a figure other than a time is missed.

A simulation does not tell the covariance of every table to 2 %: with large steps, small batches or rows of heavy tails
the law has no fourth moment, and the covariance of a sample no variance. So the share of tables is counted.
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
    """Return how far covariances are from the whole operator's fixed point, and the share of simulations beyond 2 %."""
    rng, worst, gaps = np.random.default_rng(0), 0.0, []
    while len(gaps) < tables:
        d, b = int(rng.integers(1, 11)), int(rng.choice([1, 4, 16, 64]))
        X = rng.standard_normal((400, d)) * rng.uniform(0.7, 1.4, d) + rng.uniform(-0.5, 0.5, d)
        y = X @ rng.standard_normal(d) + rng.standard_normal(400) * rng.uniform(0.1, 2.0)
        step = rng.uniform(0.02, 0.9)
        chain = SGDChain(X, y, step, b)
        if chain.spectral_radius >= 0.95:
            continue
        size = np.linalg.norm(chain.covariance)
        if d <= 5:
            worst = max(worst, np.linalg.norm(fixed_point(X, y, step, b) - chain.covariance) / size)
        gaps.append(np.linalg.norm(chain.simulate(steps, seed=len(gaps))[1] - chain.covariance) / size)
    print(f"simulations of {tables} tables: median {np.median(gaps):.2g} off, worst {max(gaps):.2g}")
    return worst, np.mean(np.array(gaps) > 0.02)


def fixed_point(X, y, step, b):
    """Return the stationary covariance from second moments of all pairs of entries, as they stand."""
    Z = np.column_stack((X, np.ones(len(X))))
    n, p = Z.shape
    H, one = Z.T @ Z / n, np.eye(p)
    squares = np.einsum("ni,nj->nij", Z, Z).reshape(n, -1)
    fourth = (squares.T @ squares / n).reshape(p, p, p, p).transpose(0, 2, 1, 3).reshape(p * p, p * p)
    residuals = y - Z @ np.linalg.lstsq(Z, y)[0]
    lost = step * (np.kron(H, one) + np.kron(one, H)) - step**2 * (np.kron(H, H) * (1 - 1 / b) + fourth / b)
    noise = step**2 / b * (Z * residuals[:, np.newaxis] ** 2).T @ Z / n
    return np.linalg.solve(lost, noise.ravel()).reshape(p, p)


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
    whole, beyond = chains(*((4, 10**6) if asked.quick else (80, 2 * 10**6)))
    figures = [
        ("stationary covariance and the whole operator's, relative", whole, 1e-10),
        ("share of simulated tables beyond 2 %", beyond, 0.1),
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
