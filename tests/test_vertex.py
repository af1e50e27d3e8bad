"""The exact minimum of kinks beside linear programming, which shares nothing with it."""

import numpy as np
import pytest
from scipy.optimize import linprog

from gradstep._solvers import vertex
from gradstep._solvers.vertex import minimum

DESIGNS = ["normal", "whole numbers", "rows twice", "dependent columns", "groups", "epsilon", "exact fit", "heavy"]


def problem(design, seed, t):
    """Return A, b and bounds."""
    g = np.random.default_rng(seed)
    d = int(g.integers(1, 8))
    m = int(g.integers(d, 120))
    A = np.c_[np.ones(m), g.standard_normal((m, d - 1))]
    b = A @ g.standard_normal(d) + g.standard_normal(m)
    low, high = np.full(m, t - 1), np.full(m, t)
    if design == "whole numbers":
        A = np.c_[np.ones(m), g.integers(-2, 3, (m, d - 1))].astype(float)
        b = g.integers(-3, 4, m).astype(float)
    elif design == "rows twice":
        A, b, low, high = np.r_[A, A, A], np.r_[b, b, np.roll(b, 1)], np.tile(low, 3), np.tile(high, 3)
    elif design == "dependent columns":
        A = np.c_[A, A.sum(axis=1), np.zeros(m)]
    elif design == "groups":
        A, b = np.c_[np.ones(m), np.eye(d)[g.integers(0, d, m)]], g.integers(0, 4, m).astype(float)
    elif design == "epsilon":
        A, b = np.r_[A, A], np.r_[b - 0.3, b + 0.3]
        low = np.r_[np.zeros(m), -np.ones(m)]
        high = low + 1.0
    elif design == "exact fit":
        b = A @ np.ones(d)
    elif design == "heavy":
        b = b + 1e3 * g.standard_cauchy(m)
        weights = 10.0 ** g.uniform(-2, 2, m)
        low, high = low * weights, high * weights
    return A, b, low, high


def best(A, b, low, high, linear):
    """Return the least objective by the dual program, or None where that is infeasible."""
    answer = linprog(-b, A_eq=A.T, b_eq=-linear, bounds=np.c_[low, high], method="highs")
    assert answer.status in {0, 2}
    return -answer.fun if answer.status == 0 else None


def agrees(A, b, low, high, linear, start=None, *, exact=True):
    """Say whether there is a minimum, after a look at the one that is found."""
    least, found = best(A, b, low, high, linear), minimum(A, b, low, high, linear, start)
    assert (least is None) == (found is None)
    if found is None:
        return False
    r = b - A @ found.w
    loss = np.maximum(high * r, low * r).sum()
    size = loss + abs(linear @ found.w) + 1e-2 * high.max() * np.abs(b).sum()
    assert loss - linear @ found.w == pytest.approx(least, rel=0, abs=1e-11 * size)
    assert np.all(found.dual >= low)
    assert np.all(found.dual <= high)
    terms = np.abs(A).T @ np.maximum(np.abs(low), high) + np.abs(linear)
    np.testing.assert_allclose(A.T @ found.dual, -linear, rtol=0, atol=1e-13 * terms.max())
    assert 0 <= found.gap <= 1e-12 * size
    assert found.gap == pytest.approx(loss - r @ found.dual, rel=0, abs=1e-12 * size)
    assert found.exact or not exact
    return True


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("design", DESIGNS)
def test_beside_linear_programming(design, seed):
    t = [0.05, 0.5, 0.9][seed % 3]
    A, b, low, high = problem(design, seed, t)
    g = np.random.default_rng(1000 + seed)
    d = A.shape[1]
    assert agrees(A, b, low, high, np.zeros(d))
    assert agrees(A, b, low, high, -A.T @ g.uniform(low, high), g.standard_normal(d))
    at_bounds = np.where(g.uniform(size=len(b)) < 0.2, (low + high) / 2, np.where(A[:, -1] > 0, low, high))
    assert agrees(A, b, low, high, -A.T @ at_bounds)
    agrees(A, b, low, high, A.T @ g.uniform(-1.0, 1.0, len(b)))


@pytest.mark.parametrize("seed", range(20))
def test_as_many_rows_as_columns(seed):
    g = np.random.default_rng(seed)
    d = int(g.integers(1, 12))
    A, b = np.c_[np.ones(d), g.standard_normal((d, d - 1))], g.standard_normal(d)
    low, high = np.full(d, -0.3), np.full(d, 0.7)
    assert agrees(A, b, low, high, -A.T @ g.uniform(low, high))
    assert not agrees(A, b, low, high, -A.T @ np.r_[0.71, g.uniform(-0.3, 0.7, d - 1)])


@pytest.mark.parametrize("design", DESIGNS)
def test_no_minimum(design):
    A, b, low, high = problem(design, 3, 0.5)
    assert not agrees(A, b, low, high, 1.01 * A.T @ np.where(A[:, 0] > 0, -low, -high))
    assert not agrees(A, b, low, high, 100.0 * np.ones(A.shape[1]) * np.abs(A).sum() * high.max())


def test_rows_in_no_direction():
    A, b = np.c_[np.ones(4), np.zeros(4)], np.arange(4.0)
    assert minimum(A, b, -0.5, 0.5, [0.0, 1.0]) is None
    nothing = minimum(np.zeros((4, 2)), b - 1.5, -0.5, 0.5, np.zeros(2))
    assert nothing.exact
    np.testing.assert_array_equal(nothing.w, 0.0)
    np.testing.assert_array_equal(nothing.dual, [-0.5, -0.5, 0.5, 0.5])


@pytest.mark.parametrize("design", DESIGNS)
def test_exchanges_of_rows_lead_there_too(design, monkeypatch):
    monkeypatch.setattr(vertex, "_proven", lambda *_: None)
    monkeypatch.setattr(vertex, "_DONE", 1e-2)  # from a point that is far from the minimum
    for seed in range(8):
        A, b, low, high = problem(design, seed, 0.5)
        assert agrees(A, b, low, high, -A.T @ np.random.default_rng(seed).uniform(low, high), exact=False)


def test_the_interior_is_left_when_no_vertex_is_found(monkeypatch):
    monkeypatch.setattr(vertex, "_basis", lambda *_: None)
    A, b, low, high = problem("normal", 5, 0.5)
    assert agrees(A, b, low, high, np.zeros(A.shape[1]), exact=False)
    assert not minimum(A, b, low, high, np.zeros(A.shape[1])).exact


def test_the_dual_solution_of_a_vertex_is_basic():
    g = np.random.default_rng(0)
    A, b = np.c_[np.ones(2000), g.standard_normal((2000, 7))], g.standard_t(3, 2000)
    far = np.abs(b) > 1.0  # the tortoise's rows, of known sign, as one linear term
    linear = A[far].T @ np.where(b[far] > 0, 0.5, -0.5)
    found, whole = minimum(A[~far], b[~far], -0.5, 0.5, linear), minimum(A, b, -0.5, 0.5, np.zeros(8))
    assert found.exact
    assert whole.exact
    np.testing.assert_allclose(found.w, whole.w, rtol=0, atol=1e-13)
    inside = np.abs(whole.dual) < 0.5
    assert inside.sum() == 8
    assert np.abs((b - A @ whole.w)[inside]).max() < 1e-14
    np.testing.assert_array_equal(whole.dual[~inside], 0.5 * np.sign(b - A @ whole.w)[~inside])


def test_the_arrays_are_as_before():
    A, b, low, high = problem("normal", 7, 0.5)
    linear, start = np.zeros(A.shape[1]), np.ones(A.shape[1])
    before = [a.copy() for a in (A, b, low, high, linear, start)]
    first, again = (minimum(A, b, low, high, linear, start) for _ in range(2))
    for a, copy in zip((A, b, low, high, linear, start), before, strict=True):
        np.testing.assert_array_equal(a, copy)
    np.testing.assert_array_equal(first.w, again.w)
    np.testing.assert_allclose(minimum(np.asfortranarray(A), b, low, high, linear).w, first.w, rtol=0, atol=1e-13)
