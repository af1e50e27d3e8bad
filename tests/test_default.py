"""The default, minibatch SGD without a step, and conjugate gradients: right on raw tables, and they know how right."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numba
import numpy as np
import pytest
from numba import njit

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from gradstep import _dense_algebra, _drawn, _driver, _input, _preconditioner, _stretch
from gradstep._kernels import lanes, outputs, threads
from gradstep._kernels.blocks import in_rows, width_of
from gradstep._kernels.doubled import PAIR, doubled_gradient
from gradstep._kernels.shared_lane import cut, some_coordinates, some_weights
from gradstep._kernels.simd import padded
from gradstep._kernels.tasks import given_way
from gradstep._solvers import certified, cg, sgd
from gradstep._table import shared_steps
from gradstep._table.dense import Dense
from gradstep._table.devices import table_on
from gradstep._table.gradients import Gradients
from gradstep._table.terms import WIDE_SUM, Deal, Model, Rows, Units
from hard_tables import HAS_LONG, Truth, ordered_tables, tables

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")
SOLVERS = ("sgd", "cg")
PASSES = {"sgd": 8, "cg": 11}
N = 900 if JIT_OFF else 9_000
solvers = pytest.mark.parametrize("solver", SOLVERS)


@pytest.fixture(autouse=True)
def smaller_tables_where_python_is_slow(monkeypatch):
    if JIT_OFF:
        monkeypatch.setattr(certified, "SMALL", 2_000)
        monkeypatch.setattr(_drawn, "_SKETCH_ROWS", 200)


def table(n=N, d=5, k=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-3, 4, d) + 10 * rng.standard_normal(d)
    shape = (n,) if k is None else (n, k)
    return X, (X @ rng.standard_normal((d, k or 1))).reshape(shape) + rng.standard_normal(shape)


@needs_jit
@pytest.mark.skipif(not HAS_LONG, reason="there are no 80-bit numbers here to know the truth by")
@pytest.mark.parametrize("seeds", np.array_split(np.arange(20), 4), ids=str)
def test_few_passes_on_any_table_and_the_truth_within_the_bound(seeds):
    n, d = 5_000, 50
    for seed in seeds:
        for name, X, y in (*tables(n, d, seed), *ordered_tables(n, d, seed)):
            truth = Truth(X, y)
            for solver in SOLVERS:
                fit = gs.fit(X, y, solver=solver, seed=seed, check=False)
                which = name, solver, seed
                assert fit.stop is gs.Stop.CERTIFIED, which
                assert fit.certificate.kind == "probable"
                assert truth.distance(fit.coef, fit.intercept) <= fit.certificate.bound <= 0.01, which
                assert fit.passes <= PASSES[solver], which
                assert fit.row_reads <= 1.6 * fit.passes * n, which


@needs_jit
@pytest.mark.parametrize(("batch", "number"), [(4_000, 1), (700, 8), (190, 32)])
def test_an_epoch_leaves_little_whatever_the_number_of_lanes(batch, number):
    n, d = 100_000, 50
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    y = X.sum(axis=1) + rng.standard_normal(n)
    assert number == n // (batch * sgd._STEPS)
    bound = gs.fit(X, y, batch_size=batch, tol=1e-6, check=False).history.bound
    left = bound[1:] / bound[:-1]
    assert len(left) >= 3
    assert left.max() <= 0.03


@solvers
@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("penalty", [None, gs.l2(0.5)], ids=["none", "l2"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_agrees_with_the_closed_form(solver, k, intercept, penalty, weighted, dtype):
    X, y = table(k=k)
    X = X.astype(dtype)
    weight = np.random.default_rng(3).uniform(0.1, 2, N) if weighted else None
    for tol in (0.01, 1e-6):
        fit = gs.fit(
            X, y, solver=solver, intercept=intercept, penalty=penalty, sample_weight=weight, tol=tol, check=True
        )
        assert fit.stop is gs.Stop.CERTIFIED
        assert fit.check.distance <= fit.certificate.bound + fit.check.floor <= 1.01 * tol
        assert fit.concern == ""
        assert np.shape(fit.intercept) == ((k,) if k else ())
        assert fit.objective == pytest.approx(gs.closed_form(X, y, weight, penalty, intercept).objective, rel=1e-6)


@needs_jit
@solvers
def test_tol_0_goes_to_the_floor(solver):
    for X, y in (table(), table(d=50)):
        fit = gs.fit(X, y, solver=solver, tol=0, max_passes=40)
        assert fit.stop is gs.Stop.FLOOR
        assert fit.certificate.bound <= fit.certificate.floor
        assert fit.check.agrees


@solvers
@pytest.mark.parametrize("kind", ["constant", "twice", "all levels"])
def test_short_ranks_are_solved_in_the_least_norm(solver, kind):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((N, 4)) * [1, 1e6, 1e-6, 1]
    more = {"constant": np.full((N, 1), 7.3), "twice": X[:, 1:2], "all levels": np.eye(4)[rng.integers(0, 4, N)]}[kind]
    X = np.column_stack((X, more))
    y = X @ rng.standard_normal(X.shape[1]) + rng.standard_normal(N)
    fit = gs.fit(X, y, solver=solver, tol=1e-6)
    truth = gs.closed_form(X, y)
    assert fit.certificate.rank == truth.rank == X.shape[1] - 1
    assert fit.certificate.dependent == truth.dependent
    assert fit.check.agrees
    size = np.sqrt(np.square(X - X.mean(axis=0)).mean(axis=0))
    np.testing.assert_allclose(fit.coef * size, truth.coef * size, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", ["sgd", "cg", "auto"])
@pytest.mark.parametrize("shape", [(5, 20), (5, 5), (1, 1), (2, 1), (30, 400)])
def test_few_rows_are_solved_in_the_least_norm_too(solver, shape):
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal(shape) + 1, rng.standard_normal(shape[0])
    fit, exact = gs.fit(X, y, solver=solver), gs.fit(X, y, solver="exact")
    np.testing.assert_allclose(fit.coef, exact.coef, rtol=1e-8, atol=1e-12)
    assert fit.passes == exact.passes <= 4
    assert "all rows" in str(fit) or solver == "cg"


@needs_jit
@solvers
def test_freaks(solver):
    X, y = table()
    for entry in (1e150, 1e300):
        freak = X.copy()
        freak[N // 2, 1] = entry
        fit = gs.fit(freak, y, solver=solver)
        assert (fit.stop, fit.check.agrees) == (gs.Stop.CERTIFIED, True)
    spread = 10.0 ** np.random.default_rng(8).uniform(-6, 6, N)
    assert gs.fit(X, y, solver=solver, sample_weight=spread).check.agrees
    none = gs.fit(X, X @ np.arange(5.0) + 1, solver=solver)
    assert none.certificate.relative < 1e-12
    assert (none.certificate.measurable, none.concern) == (False, "")
    both = gs.fit(X, np.column_stack((y, X[:, 0])), solver=solver)
    assert both.certificate.bound < 0.01
    assert both.certificate.relative < 1e-3
    flat = gs.fit(X * 0 + 3, y, solver=solver)
    assert flat.certificate.rank == 0
    assert flat.intercept == pytest.approx(y.mean(), abs=0.01 * y.std() / np.sqrt(N))
    spoilt = np.arange(N) % 7 == 0
    X[spoilt] = 1e300
    kept = gs.fit(X[~spoilt], y[~spoilt], solver=solver, tol=1e-6)
    zeroed = gs.fit(X, y, sample_weight=(~spoilt).astype(float), solver=solver, tol=1e-6)
    np.testing.assert_allclose(zeroed.predict(X[~spoilt]), kept.predict(X[~spoilt]), rtol=1e-6, atol=1e-5)


@needs_jit
@solvers
def test_what_changes_nothing_changes_nothing(solver):
    X, y = table()
    plain = gs.fit(X, y, solver=solver)
    scaled = gs.fit(X * 2.0**40, y * 2.0**-30, solver=solver)
    np.testing.assert_array_equal(scaled.coef * 2.0**70, plain.coef)
    powers = np.random.default_rng(1).integers(-60, 60, X.shape[1])
    np.testing.assert_array_equal(np.ldexp(gs.fit(np.ldexp(X, powers), y, solver=solver).coef, powers), plain.coef)
    mixing = np.random.default_rng(2).standard_normal((5, 5))
    far = gs.fit(X @ mixing + 1e5, y, solver=solver)
    assert far.passes <= plain.passes + 2
    assert far.check.agrees


def in_threads(*counts):
    """Return a fit of each kind with each number of threads."""
    fits = []
    for k in (None, 2):
        X, y = table(n=N, d=20, k=k)
        X[:, 1] = X[:, 0] * (1 + 1e-6 * X[:, 1])
        for solver in SOLVERS:
            some = []
            for count in counts:
                with gs.set_threads(count):
                    some.append(gs.fit(X, y, solver=solver, check=False))
            fits.append(some)
    return fits


def test_bits_do_not_depend_on_the_number_of_threads():
    for first, *others in in_threads(1, 2, 5):
        for other in others:
            np.testing.assert_array_equal(first.coef, other.coef)
            np.testing.assert_array_equal(first.intercept, other.intercept)
            assert first.certificate.bound == other.certificate.bound
        assert gs.fit(*table(n=N, d=20), seed=1, check=False).coef[0] != first.coef.flat[0]


PRINTS = """
import numpy as np, gradstep as gs
X = np.random.default_rng(0).standard_normal((20_000, 60))
X[:, 1] = X[:, 0] + 1e-6 * X[:, 1]
y = X.sum(axis=1) + np.random.default_rng(1).standard_normal(len(X))
for solver in ("sgd", "cg"):
    print([float.hex(c) for c in gs.fit(X, y, solver=solver, check=False).coef])
"""


@needs_jit
def test_bits_do_not_depend_on_threads_of_blas_either():
    printed = set()
    for count in ("1", "2", "5"):
        environment = os.environ | {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        command = [sys.executable, "-c", PRINTS]
        printed.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(printed) == 1


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("d", "k"), [(3, 1), (6, 1), (20, 1), (4, 3), (9, 3), (5, 9)])
@pytest.mark.parametrize("weighted", [False, True])
def test_lanes_equal_their_slow_twin(d, k, weighted, centred):
    rng = np.random.default_rng(5)
    n, r, run = 103, 3, 8
    X, scale, centre = rng.standard_normal((n, d)), 2.0 ** rng.integers(-2, 3, d), rng.standard_normal(d)
    weight = rng.uniform(0, 2, n) if weighted else np.ones(1)
    T, level, slope = 0.1 * rng.standard_normal((d, r)), 0.1, rng.standard_normal((r + 1, k))
    fixed = 0.1 * np.eye(r + 1)
    chunks, rate = rng.permutation(-(-n // run)), 0.3
    kernel, width = (lanes.kernels(centred, d).lane, 1) if k == 1 else (outputs.lane, width_of(k))
    Z = np.column_stack(((X * scale - centre) @ T, np.full(n, level)))
    v = np.broadcast_to(weight, n)
    for steps, share, of in ((3, 2, fixed), (5, 1, np.zeros((0, 0)))):
        batches = np.arange(steps + 1) * len(chunks) // steps
        out, of_slope = np.empty((r + 1) * width), slope if k == 1 else in_rows(slope)
        more = () if k == 1 else (k,)
        units = padded(scale), padded(-centre)
        kernel(X, weight, chunks, run, batches, *units, T, level, of, of_slope, share, rate, *more, out)
        out = out.reshape(r + 1, width)[:, :k]
        q, points = -slope, []
        for first, last in pairwise(batches):
            rows = np.concatenate([np.arange(n)[c * run : (c + 1) * run] for c in chunks[first:last]])
            points.append(q)
            curved = share * steps * Z[rows].T @ (v[rows, None] * (Z[rows] @ q)) + (of @ q if of.size else 0)
            q = q - rate * (curved + slope)
        np.testing.assert_allclose(out, np.mean(points, axis=0) + (q + slope) / rate / steps, rtol=1e-11)


@njit
def products(T, first, last, since, until, q, u, share, p, step):
    some_weights(T, first[0], last[0], since, q, p)
    some_coordinates(T, first[1], last[1], until, u, share, step)


@pytest.mark.parametrize(("d", "r"), [(1, 0), (5, 1), (7, 5), (9, 9), (20, 8), (67, 41), (66, 64), (300, 290)])
@pytest.mark.parametrize("parts", [1, 8])
def test_products_with_a_basis_are_those_of_numpy(d, r, parts):
    rng = np.random.default_rng((d, r))
    T, slope = np.triu(rng.standard_normal((d, r))), np.ones(r)
    q, u = rng.standard_normal(r + 8), rng.standard_normal(d)
    p, found = np.full(d + 3, np.nan), np.full(r, np.nan)
    for part in range(parts):
        first, last = ((cut(part, parts, d), cut(part, parts, r)), (cut(part + 1, parts, d), cut(part + 1, parts, r)))
        step = np.full(r + 8, np.nan)
        step[:r] = slope
        products(T, first, last, first[0], last[1], q, u, 0.7, p, step)  # nothing stands below the diagonal
        found[first[1] : last[1]] = step[first[1] : last[1]]
        np.testing.assert_array_equal(step[: first[1]], slope[: first[1]])
    np.testing.assert_allclose(p[:d], T @ q[:r], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found, slope + 0.7 * T.T @ u, rtol=1e-12, atol=1e-13)
    assert np.isnan(p[d:]).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lanes_of", [1, 2])
def test_steps_that_threads_share_lead_where_lanes_do(weighted, lanes_of, monkeypatch):
    rng = np.random.default_rng(3)
    n, d, r, run = (230, 9, 7, 4) if JIT_OFF else (4_000, 300, 290, 16)
    X, scale = rng.standard_normal((n, d)), 2.0 ** rng.integers(-2, 3, d)
    weight = rng.uniform(0, 2, n) if weighted else np.ones(1)
    seen = table_on("cpu", Rows(X, rng.standard_normal(n), weight / weight.mean()), gs.squared(), None)
    units = Units(scale, rng.standard_normal(d), np.ones(1), np.zeros(1))
    T, F = rng.standard_normal((d, r)) / (n * d) ** 0.5, rng.standard_normal((r + 1, 2)) / d
    model = Model(T, units.centre, 1 / n**0.5, F @ F.T if weighted else np.zeros((0, 0)), seen.weight, n)
    count = -(-n // run)
    ends = np.arange(lanes_of + 1) * count // lanes_of
    batches = tuple(a + np.arange(6) * (b - a) // 5 for a, b in pairwise(ends))
    deal, slope = Deal(rng.permutation(count), run, batches), rng.standard_normal((r + 1, 1))
    found = []
    for long in (d, d + 1):
        monkeypatch.setattr(shared_steps, "_LONG", long)
        found.append(seen.lanes(units, deal, model, slope, 0.2))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-10 * np.abs(found[1]).max())
    assert seen.row_reads == 2 * n
    monkeypatch.setattr(shared_steps, "_LONG", d)
    monkeypatch.setattr(shared_steps, "_CELLS_PER_CALL", X.size // 4)  # a call or two of a step each
    for count in (1, 2, 3):
        with gs.set_threads(count):
            np.testing.assert_array_equal(seen.lanes(units, deal, model, slope, 0.2), found[0])


@needs_jit
@pytest.mark.parametrize(("asked", "processors", "expected"), [(64, 2, 2), (64, 1, 1), (3, 64, 3), (64, 64, 8)])
def test_threads_that_wait_for_each_other_have_a_processor_each(asked, processors, expected, monkeypatch):
    rng = np.random.default_rng(4)
    n, d = 400, 300
    seen = table_on("cpu", Rows(rng.standard_normal((n, d)), rng.standard_normal(n), np.ones(1)), gs.squared(), None)
    units = Units(np.ones(d), np.zeros(d), np.ones(1), np.zeros(1))
    model = Model(np.eye(d) / (n * d) ** 0.5, units.centre, 0.0, np.zeros((0, 0)), seen.weight, n)
    together = []
    monkeypatch.setattr(threads, "usable", lambda: processors)
    monkeypatch.setattr(threads, "each", lambda work, pieces: (together.append(pieces), work(0)))
    with gs.set_threads(asked):
        seen.lanes(units, Deal(np.arange(25), 16, (np.arange(0, 26, 5),)), model, np.zeros((d + 1, 1)), 0.2)
    assert set(together) == {expected}


@needs_jit
def test_a_thread_that_waits_can_give_way():
    @numba.njit
    def gives_way():
        return given_way()

    assert gives_way() == 0  # what the system's call says


@needs_jit
@pytest.mark.skipif(not HAS_LONG, reason="there are no 80-bit numbers here to know the truth by")
@solvers
def test_tables_without_a_sketch_take_two_passes_and_no_more_than_allowed(solver):
    rng = np.random.default_rng(5)
    n, d = 1_500, 60
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    fit = gs.fit(X, y, solver=solver)
    assert fit.passes == 2
    assert Truth(X, y).distance(fit.coef, fit.intercept) <= fit.certificate.bound <= 0.01
    for condition, offset, tol in ((1e8, 0.0, 1e-6), (1e8, 1e6, 1e-8), (1e10, 1e6, 1e-4)):
        Z = X + offset
        Z[:, 1] = Z[:, 0] + X[:, 1] / condition
        with warnings.catch_warnings(action="ignore"):  # of rounding, and of the passes that are not allowed
            start = gs.fit(Z, y + 2 * rng.standard_normal(n), solver=solver, check=False)
            assert gs.fit(Z, y, start=start, solver=solver, tol=tol, max_passes=3, check=False).passes <= 3
            # Rough looks, as those of "exact", would find nothing and take one or two more.
            assert gs.fit(Z, y, solver=solver, tol=tol, check=False).passes <= 5


@pytest.mark.parametrize("shares", ["one", "each"])
def test_a_gram_matrix_of_some_rows_is_numpys(shares):
    rng = np.random.default_rng(4)
    n, d = (300, 5) if JIT_OFF else (9_000, 70)
    X, y, weight = rng.standard_normal((n, d)), rng.standard_normal((n, 2)), rng.uniform(0.5, 1.5, n)
    seen = table_on("cpu", Rows(X, y, weight / weight.mean()), gs.squared(), None)
    units = Units(2.0 ** rng.integers(-2, 3, d), rng.standard_normal(d), np.ones(2), np.zeros(2))
    order = rng.permutation(n)[: 2 * n // 3]
    share = np.array([1.5]) if shares == "one" else rng.uniform(1, 2, len(order))
    rows = seen.scaled(units, order, 0, len(order)) * share[:, np.newaxis]
    np.testing.assert_allclose(seen.gram_of(units, order, share), rows.T @ rows, rtol=1e-10, atol=1e-9 * n)


@pytest.mark.parametrize("weight", ["one", "zeros"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(1, 1, 1), (7, 3, 2), (63, 9, 1), (64, 10, 3), (65, 11, 1), (200, 22, 2), (129, 257, 1)]
)
def test_gram_matrices_and_projections_of_all_rows_are_numpys(n, d, k, dtype, weight):
    rng = np.random.default_rng(6)
    v = np.ones(n)
    v[2::3] = 0.0 if weight == "zeros" else 1.0
    v *= n / v.sum()
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((n, k))
    rows = Dense(Rows(X, y, np.ones(1) if weight == "one" else v), gs.squared(), None)
    units = Units(2.0 ** rng.integers(-2, 3, d), rng.standard_normal(d), np.full(k, 0.5), rng.standard_normal(k))
    root = np.sqrt(v)[:, np.newaxis]
    Z, of_y = root * (X * units.scale - units.centre), root * (y * units.y_scale - units.y_centre)
    turning = rng.standard_normal((d, max(1, d - 2))) / np.sqrt(d)
    for T, columns in ((None, Z), (turning, Z @ turning)):
        A = np.column_stack((root, columns, of_y))
        found, heavy = rows.gram(units, T)
        np.testing.assert_allclose(found, A.T @ A, rtol=1e-11, atol=1e-11 * n * d)
        assert len(heavy) == 0
    centre = rng.standard_normal(d)
    for vectors in (1, 4, 16, 17, 32):
        V = rng.standard_normal((vectors, d))
        norms = rows.squared_norms(units, centre, V)
        np.testing.assert_allclose(norms, v * np.square((X * units.scale - centre) @ V.T).sum(axis=1), rtol=1e-10)
    assert rows.passes == 7


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e9])
def test_all_rows_by_their_gram_matrix_where_their_factorisation_takes_long(condition, monkeypatch):
    rng = np.random.default_rng(6)
    n, d = (120, 6) if JIT_OFF else (2_000, 40)
    X = rng.standard_normal((n, d)) @ np.diag(np.geomspace(1, 1 / condition, d)) @ rng.standard_normal((d, d)) + 3.0
    y, weight = X.sum(axis=1) + rng.standard_normal(n), rng.random(n) * (rng.random(n) < 0.9)
    for arguments in ({}, {"penalty": gs.l2(0.1)}, {"intercept": False}):
        expected = gs.fit(X, y, sample_weight=weight, check=False, **arguments)
        with monkeypatch.context() as soon:
            soon.setattr(_preconditioner, "_LONG_WORK", 0)
            fit = gs.fit(X, y, sample_weight=weight, check=False, **arguments)
        assert fit.certificate.kind == expected.certificate.kind == "exact"
        assert fit.stop is gs.Stop.CERTIFIED
        moved = X @ (fit.coef - expected.coef) + (fit.intercept - expected.intercept)
        sigma = float(expected.certificate.residual_sd)
        apart = np.linalg.norm(np.sqrt(weight / weight.mean()) * moved) / sigma
        assert apart <= fit.certificate.bound + expected.certificate.bound
        assert fit.certificate.bound <= 1e-6
        assert fit.certificate.condition == pytest.approx(expected.certificate.condition, rel=1e-3)


@needs_jit
def test_the_condition_of_very_many_columns_is_right_to_a_hundredth(monkeypatch):
    rng = np.random.default_rng(7)
    for spread in (1.0, 1e3):
        A = rng.standard_normal((300, 120)) * np.geomspace(1, 1 / spread, 120) @ rng.standard_normal((120, 120))
        R = np.triu(np.linalg.qr(A)[1])
        expected = np.linalg.cond(R)
        assert _dense_algebra.well_conditioned(R, 1e8) == pytest.approx(expected, rel=1e-6)
        with monkeypatch.context() as many:
            many.setattr(_dense_algebra, "_MANY", 100)
            assert _dense_algebra.well_conditioned(R, 1e8) == pytest.approx(expected, rel=1e-2)


def test_a_sample_is_smaller_where_columns_are_many():
    for present in (10**4, 10**5, 10**6, 10**8):
        for columns in (2, 50, 255, 256, 500, 1001, 3000):
            rows = _drawn.sample_rows(columns, present)
            assert 20 * columns <= rows <= 64 * columns
            if _drawn.has_a_sample(columns, present):
                assert rows <= present / 4
                share = np.sqrt(present / rows)
                # Of fewer than 64 rows a column what each stands for is the bound.
                assert rows == 64 * columns or _stretch.of_sample(columns, rows, share) == share - 1 <= 1.46
    assert _drawn.sample_rows(100, 10**6) == 6_400
    assert _drawn.has_a_sample(1001, 100_000)
    assert not _drawn.has_a_sample(100, 10_000)


@needs_jit
@pytest.mark.parametrize("alike", [3, 31])
def test_no_small_sample_stretches_by_more_than_is_said(alike):
    d, n = 256, 32_000
    X = np.zeros((n, d))
    X[np.arange(alike * d), np.repeat(np.arange(d), alike)] = 1.0  # dummies of a few like rows each
    seen = table_on("cpu", Rows(X, np.ones(n), np.ones(1)), gs.squared(), None)
    units = Units(np.ones(d), np.zeros(d), np.ones(1), np.zeros(1))
    for seed in range(3):
        rough = _drawn.sampled(seen, units, np.zeros(d, dtype=bool), seed, alpha=0.0, intercept=False)
        p = _drawn.repaired(seen, rough, seed, 0.0)
        squares = np.square(p.factor.R).sum(axis=0) / alike
        assert rough.rows < 64 * d
        assert squares.max() <= (1 + p.stretch) ** 2 * (1 + 1e-9)


@needs_jit
@pytest.mark.parametrize("kind", ["condition 1e+06", "spikes", "heavy tails", "sorted dummies of three rows each"])
def test_many_columns_are_solved_from_a_small_sample(kind):
    name, X, y = next(one for one in tables(24_000, 260, 0) if one[0] == kind)
    assert _drawn.has_a_sample(261, 24_000)
    fits = []
    for number in (1, 2):
        with gs.set_threads(number):
            fits.append(gs.fit(X, y, check=False))
    assert fits[0].passes <= 8, name
    np.testing.assert_array_equal(fits[0].coef, fits[1].coef)
    exact = gs.fit(X, y, solver="exact", check=False)
    moved = X @ (fits[0].coef - exact.coef) + (fits[0].intercept - exact.intercept)
    sigma = float(exact.certificate.residual_sd)
    assert np.linalg.norm(moved) / sigma <= fits[0].certificate.bound + exact.certificate.bound


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("weight", ["one", "many", "zeros"])
@pytest.mark.parametrize(("n", "d"), [(103, 4), (1_003, 17), (2, 1), (301, 8)])
def test_products_and_gradients_equal_their_slow_twins(n, d, weight, k):
    rng = np.random.default_rng(5)
    v = rng.uniform(0.5, 2, n)
    v[1::3] *= weight != "zeros"
    v = np.ones(n) if weight == "one" else v / v.mean()
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, k))
    rows = Dense(Rows(X, Y, np.ones(1) if weight == "one" else v), gs.squared(), None)
    units = Units(2.0 ** rng.integers(-2, 3, d), rng.standard_normal(d), np.full(k, 0.5), np.zeros(k))
    mean, w = 0.1 * rng.standard_normal(d), rng.standard_normal((d + 1, k))
    A = np.column_stack((X * units.scale - units.centre - mean, np.ones(n)))
    product = rows.curvature(units, units.centre + mean, w)
    np.testing.assert_allclose(product, A.T @ (v[:, None] * (A @ w)), rtol=1e-11, atol=1e-11 * n)
    r = 0.5 * Y - (X * units.scale) @ w[:-1] - w[-1]
    probes = rng.standard_normal((16, d))
    as_they_stand = partial(rows.plain_gradient, centred=False)
    for gradient in (rows.plain_gradient, as_they_stand, rows.doubled_gradient, rows.wide_gradient):
        evidence, norms = gradient(units, mean, w, intercept=True, probes=probes)
        np.testing.assert_allclose(evidence.slopes, A[:, :d].T @ (v[:, None] * r), rtol=1e-11, atol=1e-11 * n)
        np.testing.assert_allclose(evidence.by_level, v @ r, rtol=1e-11, atol=1e-11 * n)
        np.testing.assert_allclose(evidence.squares, v @ (r * r), rtol=1e-11)
        np.testing.assert_allclose(norms, v * np.square(A[:, :d] @ probes.T).sum(axis=1), rtol=1e-11)
    far = units._replace(centre=2_000 * units.centre)  # what is summed as it stands is not beyond that
    A[:, :d] -= far.centre - units.centre
    product = rows.curvature(far, far.centre + mean, w)
    np.testing.assert_allclose(product, A.T @ (v[:, None] * (A @ w)), rtol=1e-9, atol=1e-4)
    assert rows.passes == 6


def test_a_gradient_in_float64_is_as_good_as_it_says():
    rng = np.random.default_rng(8)
    n, d = 20_000, 6
    X = rng.standard_normal((n, d)) @ (np.eye(d) + 1e5 * np.outer(np.ones(d), np.ones(d))) + 1e4
    rows = Dense(Rows(X, rng.standard_normal((n, 1)) + 1e3, np.ones(1)), gs.squared(), None)
    p = _drawn.drawn(rows, 0, alpha=0.0, intercept=True)
    for w in (p.solution(), p.solution() + 1e-3, np.zeros((d + 1, 1))):
        where = p.units, p.factor.mean, w
        wide, _ = rows.wide_gradient(*where, intercept=True)
        bounds = {}
        for centred in (True, False):
            plain, _ = rows.plain_gradient(*where, intercept=True, centred=centred)
            off = plain._replace(slopes=plain.slopes - wide.slopes, by_level=plain.by_level - wide.by_level)
            assert 0 < p.distance(off)[0] <= p.lost(plain, w)[0]
            bounds[centred] = p.lost(plain, w)[0]
        doubled, _ = rows.doubled_gradient(*where, intercept=True)
        off = doubled._replace(slopes=doubled.slopes - wide.slopes, by_level=doubled.by_level - wide.by_level)
        assert p.distance(off)[0] <= p.lost(doubled, w)[0] < min(bounds.values()) / 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "wide", "wider", "far", "tiny", "huge"])
@pytest.mark.parametrize("weight", ["one", "many"])
@pytest.mark.parametrize("d", [1, 8, 17, 400])
def test_doubled_sums_are_as_good_as_in_twice_the_precision(d, weight, kind, dtype):
    rng = np.random.default_rng(d)
    n, few = 139, range(0, d, max(1, d // 3))
    spread = {"wide": 3, "wider": 8}.get(kind, 0)
    X, y = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-spread, spread, shape) for shape in ((n, d), n))
    X = (X + (1e14 if kind == "far" else 0.0)).astype(dtype)
    v = np.ones(1) if weight == "one" else 2.0 ** rng.integers(-30, 30, n)  # so that their products are exact
    if weight == "many":
        v[::5] = 0.0
        X[::5], y[::5] = np.inf, np.nan
    wide = -(-d // PAIR) * PAIR
    scale, none = np.zeros((2, wide))
    scale[:d] = {"tiny": 2.0**-60, "huge": 2.0**60}.get(kind, 4.0)
    high, low, by_level, squares = np.zeros(wide), np.zeros(wide), np.zeros(PAIR), np.zeros(1)
    for start, stop in ((0, 3), (3, 100), (100, n)):
        numbers = 0.0, 0.0, 1.0
        doubled_gradient(X, y[:, None], v, start, stop, scale, none, none, *numbers, high, low, by_level, squares)
    present = np.flatnonzero(np.broadcast_to(v, n) > 0)
    shares = [Fraction(float(v[i if v.size > 1 else 0])) for i in present]
    of_y = [Fraction(float(y[i])) for i in present]
    size_of_y = math.sqrt(sum(v_i * y_i * y_i for v_i, y_i in zip(shares, of_y, strict=True)))
    for column, found in [*((X[:, j] * scale[j], (high[j], low[j])) for j in few), (np.ones(n), by_level)]:
        of_x = [Fraction(float(column[i])) for i in present]
        terms = list(zip(shares, of_x, of_y, strict=True))
        off = sum(map(Fraction, map(float, found))) - sum(v_i * x_i * y_i for v_i, x_i, y_i in terms)
        size = size_of_y * math.sqrt(sum(v_i * x_i * x_i for v_i, x_i, _ in terms))
        assert abs(off) <= WIDE_SUM / 1000 * size
    assert squares[0] == pytest.approx(size_of_y**2, rel=1e-13)


@needs_jit
def test_dependent_columns_are_proven_closely_without_residuals_in_doubled_precision(monkeypatch):
    rng = np.random.default_rng(4)
    n, d = 30_000, 12
    X = (rng.standard_normal((n, d)) * np.logspace(0, -6, d)) @ np.linalg.qr(rng.standard_normal((d, d)))[0] + 2.0
    y = X.sum(axis=1) + rng.standard_normal(n)
    for weight in (None, rng.random(n) * (rng.random(n) < 0.8)):
        near = gs.fit(X, y, solver="exact", tol=1e-14, sample_weight=weight, check=False)
        with monkeypatch.context() as without:
            without.delattr(Gradients, "wide_gradient")
            fit = gs.fit(X, y, solver="exact", tol=1e-6, sample_weight=weight, check=False)
        v = np.ones(n) if weight is None else weight / weight[weight > 0].mean()
        moved = np.sqrt(v) * (X @ (fit.coef - near.coef) + (fit.intercept - near.intercept))
        bounds = fit.certificate.bound + near.certificate.bound
        assert fit.certificate.bound < 1e-6
        assert 0 < np.linalg.norm(moved) / float(near.certificate.residual_sd) <= bounds + 1e-8


def test_every_row_is_dealt_once_and_by_shape_alone():
    X, y = table(n=1_003, d=3)
    rows = Dense(_input.rows(X, y), gs.squared(), None)
    for batch in (1, 7, 50, 1_003):
        method = sgd.Minibatch(0.0, True, 3, 0.01, 20, batch)
        for run in (1, 4, 16):
            deal = method.deal(rows, run, 0)
            np.testing.assert_array_equal(np.sort(deal.chunks), np.arange(-(-1_003 // run)))
            ends = np.concatenate([batches[[0, -1]] for batches in deal.batches])
            assert ends[0] == 0
            assert ends[-1] == len(deal.chunks)
            np.testing.assert_array_equal(ends[1:-1:2], ends[2::2])
            assert all(np.all(np.diff(batches) > 0) for batches in deal.batches)


def test_rows_of_high_leverage_are_in_every_step():
    X, y = table()
    X[:9] *= 1e3
    rows = Dense(_input.rows(X, y), gs.squared(), None)
    state = sgd.Minibatch(0.0, True, 0, 0.01, 20).start(rows)
    assert 9 <= N - state.model.rows < N / 20
    assert (state.model.weight[:9] == 0).all()
    # The rest and they curve as all rows do: about 1 in every direction.
    assert np.linalg.eigvalsh(state.model.fixed)[-1] > 0.5


@needs_jit
@pytest.mark.parametrize("rate", [20.0, 3.0])
def test_an_epoch_that_leads_to_a_worse_place_is_undone_and_made_smaller(rate, monkeypatch):
    X, y = table(d=20)
    monkeypatch.setattr(sgd, "rate", lambda *arguments: rate)
    heard = []
    fit = gs.fit(X, y, max_passes=60, tol=1e-4, callbacks=[lambda p: heard.append((p.bound, p.coef))])
    bounds = [bound for bound, _ in heard]
    assert bounds[1] == bounds[0]
    np.testing.assert_array_equal(heard[0][1], heard[1][1])
    assert bounds == sorted(bounds, reverse=True)
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.check.agrees


@needs_jit
def test_epochs_that_stay_slow_end_in_conjugate_directions(monkeypatch):
    X, y = table(d=20)
    monkeypatch.setattr(sgd, "rate", lambda *arguments: 1e-3)
    taken = []
    plain = cg.directions
    monkeypatch.setattr(sgd, "directions", lambda *arguments: taken.append(1) or plain(*arguments))
    nowhere = lanes.kernels(False, 20)._replace(lane=lambda *arguments: arguments[-1].fill(0))
    monkeypatch.setattr(lanes, "kernels", lambda *_: nowhere)
    fit = gs.fit(X, y, tol=1e-4)
    assert taken
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.check.agrees


@needs_jit
def test_rows_that_stand_in_clusters_are_mixed_more_finely(monkeypatch):
    monkeypatch.setattr(sgd, "_CHUNK", 512)
    monkeypatch.setattr(sgd, "_CHUNKS_A_BATCH", 1)
    X, y = list(ordered_tables(20_000, 20, 0))[2][1:]
    fit = gs.fit(X, y, max_passes=40)
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.check.agrees


@needs_jit
def test_a_ritz_value_beyond_what_the_sketch_allows_widens_the_bound(monkeypatch):
    X, y = table(d=20)
    plain = gs.fit(X, y, solver="cg")
    # A factor twice as large as it should be: coordinates in which everything curves a quarter.
    triangle = _preconditioner.tall_triangle
    monkeypatch.setattr(_preconditioner, "tall_triangle", lambda A: 2 * triangle(A))
    wrong = gs.fit(X, y, solver="cg", tol=1e-3)
    assert wrong.check.distance <= wrong.certificate.bound
    assert plain.check.distance <= plain.certificate.bound


@needs_jit
def test_a_ridge_leaves_few_directions_and_a_small_sketch():
    n, d = 8_000, 400
    rng = np.random.default_rng(11)
    X = rng.standard_normal((n, d)) * np.arange(1, d + 1) ** -1.5
    y = X @ rng.standard_normal(d) + 0.1 * rng.standard_normal(n)
    penalty = gs.l2(1e-2)
    for solver in SOLVERS:
        fit = gs.fit(X, y, solver=solver, penalty=penalty, check=True)
        assert fit.certificate.degrees_of_freedom > n - 60
        assert (
            fit.certificate.kind == "probable"
        )  # of 6,400 rows of sketch without the ridge the table would be its own
        assert fit.stop is gs.Stop.CERTIFIED
        assert fit.check.distance <= fit.certificate.bound


@pytest.mark.parametrize("size", [(300, 5), (N, 5)])
@solvers
def test_from_the_optimum_two_passes_prove_it(solver, size):
    X, y = table(*size)
    cold = gs.fit(X, y, solver=solver, tol=1e-6)
    warm = gs.fit(X, y, solver=solver, start=cold, seed=1)
    assert warm.passes <= 2
    assert warm.stop is gs.Stop.CERTIFIED
    np.testing.assert_array_equal(warm.coef, cold.coef) if size[0] > 300 else None
    assert len(warm.history) == 1
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    assert gs.fit(Z, y, solver=solver, start=gs.fit(Z, y, step=0.01, epochs=1)).check.agrees
    other = gs.fit(X[: size[0] // 2], y[: size[0] // 2], solver="exact")
    assert gs.fit(X, y, solver=solver, start=other).check.agrees
    assert gs.fit(X, y, solver="auto", start=other).check.agrees


@needs_jit
@pytest.mark.parametrize("penalty", [None, gs.l2(1e-3)], ids=["plain", "l2"])
@pytest.mark.parametrize("rows", [400, N])
@pytest.mark.parametrize("solver", ["sgd", "cg", "exact"])
def test_outputs_without_noise_leave_the_others_alone(solver, rows, penalty):
    X, y = table(rows, 10)
    for other in (0 * y, 0 * y + 7.1, X[:, 0], X @ np.arange(10.0) + 3):
        if penalty is not None and np.ptp(other) > 0:
            continue  # a ridge leaves residuals
        alone = gs.fit(X, y, solver=solver, penalty=penalty, tol=1e-6)
        both = gs.fit(X, np.column_stack((y, other)), solver=solver, penalty=penalty, tol=1e-6)
        assert both.stop is gs.Stop.CERTIFIED
        assert both.passes <= alone.passes + 2
        assert both.certificate.bound <= max(1e-6, 2 * alone.certificate.bound)
        assert both.check.agrees
        assert not both.concern
        lone = gs.fit(X, other, solver=solver, penalty=penalty)
        assert lone.stop is gs.Stop.FLOOR
        assert lone.passes <= 8
        assert not lone.concern


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("offset", [1e3, 1e7, 1e9])
@pytest.mark.parametrize("tol", [0.01, 1e-12, 0])
@solvers
def test_rounds_that_gain_nothing_end_a_fit_however_large_its_budget(solver, offset, tol):
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((N, 30))
    Y = np.column_stack((Z @ np.ones(30) + rng.standard_normal(N), Z @ rng.standard_normal(30)))
    for y in (Y, Y[:, 0], Y[:, 1]):
        fit = gs.fit(Z + offset, y, solver=solver, tol=tol, max_passes=2_000, check=False)
        assert fit.passes <= 40


@needs_jit
def test_a_sketch_that_was_seen_to_stretch_more_is_said_to(monkeypatch):
    X, y = table()
    X += 1e13
    monkeypatch.setattr(_stretch, "of_signs", lambda columns, rows: 1e-3)
    start = gs.fit(X, y, solver="exact", check=False)
    seen = []
    solve = cg.directions

    def directions(*arguments):
        state = solve(*arguments)
        seen.append(state.preconditioner.stretch)
        return state

    monkeypatch.setattr(cg, "directions", directions)
    run = []
    monkeypatch.setattr(_driver.Run, "shortfall", lambda self: run.append(self) or "")
    gs.fit(X, y, solver="cg", tol=1e-9, start=start, check=False)
    assert max(seen) > 0.01
    assert run[0].state.preconditioner.stretch == max(seen)


@needs_jit
@pytest.mark.parametrize("solver", ["sgd", "cg", "exact"])
@pytest.mark.parametrize("condition", [1e10, 1e12])
def test_below_what_rounding_may_come_to_a_fit_goes_on_to_tol(solver, condition):
    rng = np.random.default_rng(77)
    n, d = 2 * N, 30
    U, V = (np.linalg.qr(rng.standard_normal((rows, d)))[0] for rows in (n, d))
    X = (U * np.logspace(0, -np.log10(condition), d)) @ V.T * np.sqrt(n) + 100
    y = X @ rng.standard_normal(d) + rng.standard_normal(n)
    fit = gs.fit(X, y, solver=solver, check=False)
    assert (fit.stop, fit.certificate.bound < fit.certificate.floor) == (gs.Stop.CERTIFIED, True)


@needs_jit  # whose kernels say nothing of what overflows
@pytest.mark.parametrize("factor", [-1.0, 1e6, 1e100, 1e160, 1e300])
@pytest.mark.parametrize("size", [(300, 5), (N, 5)])
@solvers
def test_a_start_that_is_far_away_costs_one_pass_at_most(solver, size, factor):
    X, y = table(*size)
    cold = gs.fit(X, y, solver=solver)
    start = dataclasses.replace(cold, coef=factor * cold.coef)
    warm = gs.fit(X, y, solver=solver, start=start)
    assert warm.stop is gs.Stop.CERTIFIED
    assert warm.passes <= cold.passes + 1
    assert warm.check.agrees


def test_steps_in_other_coordinates_are_no_sizes_of_steps():
    assert np.isnan(gs.fit(*table(N, 5)).history.step).all()


@needs_jit
@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("size", [(1_500, 20), (N, 5)])
@solvers
def test_a_budget_that_is_spent_at_the_floor_is_none(solver, size):
    X, y = table(*size)
    fits = [gs.fit(X, y, solver=solver, tol=0, max_passes=most, check=False) for most in range(3, 24)]
    at_floor = [fit.certificate.bound <= fit.certificate.floor for fit in fits]
    assert any(at_floor)
    for fit, there in zip(fits, at_floor, strict=True):
        if there:
            assert fit.stop is gs.Stop.FLOOR


def test_the_textbook_example_with_no_argument():
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
    fit = gs.fit(X, y)
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.solver == "sgd"
    truth = gs.closed_form(X, y)
    errors = np.append(truth.standard_errors, truth.intercept_standard_error)
    off = np.abs(np.append(fit.coef, fit.intercept) - [2.0, -3.4, 4.2])
    assert (off <= (3 + fit.certificate.bound) * errors).all()


@solvers
def test_a_spent_budget_is_said(solver):
    X, y = table(d=20)
    with pytest.warns(gs.ConvergenceWarning, match=r"certified to within .* after .* more would do: raise max_passes"):
        fit = gs.fit(X, y, solver=solver, tol=1e-9, max_passes=5)
    assert fit.stop is gs.Stop.BUDGET
    assert fit.passes <= 5
    assert fit.check.distance <= fit.certificate.bound + fit.check.floor
    with pytest.warns(gs.ConvergenceWarning, match="raise max_passes"):
        assert gs.fit(X, y, solver=solver, max_passes=1).passes <= 2


def test_callbacks_hear_of_each_round_and_can_stop_it():
    X, y = table(d=20)
    heard = []
    fit = gs.fit(X, y, callbacks=[heard.append])
    assert [p.epoch for p in heard] == list(fit.history.epoch) == list(range(1, len(heard) + 1))
    np.testing.assert_array_equal([p.bound for p in heard], fit.history.bound)
    assert (np.diff(fit.history.passes) > 1.8).all()
    first = gs.fit(X, y, callbacks=[lambda progress: True])
    assert first.stop is gs.Stop.CALLBACK
    assert first.certificate.bound == heard[0].bound
    with pytest.raises(KeyError, match="mine"):
        gs.fit(X, y, callbacks=[lambda progress: {}["mine"]])


@needs_jit
@pytest.mark.parametrize("solver", ["sgd", "cg"])
def test_ctrl_c_is_served_within_a_fifth_of_a_second(solver):
    X, y = table(n=400_000, d=20)
    gs.fit(X, y, solver=solver, check=False)

    def again_and_again():
        while True:
            gs.fit(X, y, solver=solver, tol=0, max_passes=100, check=False)

    def waits():
        found = []
        for after in (0.01, 0.03, 0.08, 0.15):
            pressed = []

            def press(pressed=pressed):
                pressed.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)

            threading.Timer(after, press).start()
            with pytest.raises(KeyboardInterrupt):  # `Interrupted`, but while the input is looked at
                again_and_again()
            found.append(time.perf_counter() - pressed[0])
        return found

    assert any(max(waits()) < 0.2 for _ in range(2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tol": -1}, ValueError, "tol: -1 came; a finite number of at least 0 is needed"),
        ({"tol": np.nan}, ValueError, "tol: nan came; a finite number of at least 0 is needed"),
        ({"max_passes": 0}, ValueError, "max_passes: 0 came; a whole number of at least 1 is needed"),
        ({"batch_size": 0}, ValueError, "batch_size: 0 came; a whole number of at least 1 is needed"),
        ({"step": 0.1, "tol": 0.1}, ValueError, "tol: 0.1 came with a step, which runs all its epochs: pass epochs"),
        ({"step": 0.1, "max_passes": 9}, ValueError, "max_passes: 9 came with a step, which runs all its epochs"),
        ({"epochs": 3}, ValueError, 'epochs: 3 came with solver="sgd" and no step, which takes none: pass max_passes'),
        ({"solver": "cg", "epochs": 3}, ValueError, 'epochs: 3 came with solver="cg", which takes none: leave it out'),
        ({"solver": "cg", "batch_size": 3}, ValueError, 'batch_size: 3 came with solver="cg", which takes none'),
        ({"solver": "cg", "step": 0.1}, ValueError, 'step: 0.1 came with solver="cg", which takes none: leave it out'),
        ({"solver": "auto", "batch_size": 3}, ValueError, 'batch_size: 3 came with solver="auto", which takes none'),
        ({"solver": "auto", "step": 3}, ValueError, 'step: 3 came with solver="auto", which takes none'),
        ({"solver": gs.sgd(momentum=0.5)}, ValueError, r"solver: gs.sgd\(momentum=0.5\) came without a step"),
        ({"solver": gs.sgd(shuffle="once")}, ValueError, r"solver: gs.sgd\(shuffle='once'\) came without a step"),
        ({"solver": "newton"}, ValueError, 'solver: \'newton\' came; "sgd", "cg", "exact", "auto" or gs.sgd'),
        ({"solver": 3}, TypeError, 'solver: 3 came; "sgd", "cg", "exact", "auto" or gs.sgd'),
        ({"start": 3}, TypeError, "start: 3 came; None or a Fit is needed, as gs.fit returns it"),
    ],
)
def test_what_is_refused(arguments, error, message):
    X, y = table(50)
    with pytest.raises(error, match=message):
        gs.fit(X, y, **arguments)


@pytest.mark.parametrize("solver", ["sgd", "cg", "auto"])
def test_a_start_of_another_shape_is_refused(solver):
    X, y = table(50)
    start = gs.fit(X[:, :4], y)
    with pytest.raises(ValueError, match=r"start: a fit with coef of shape \(4,\) came; \(5,\) is needed, for X and y"):
        gs.fit(X, y, solver=solver, start=start)
    with pytest.raises(ValueError, match=r"start: a fit with coef of shape \(5,\) came; \(5, 2\) is needed"):
        gs.fit(X, np.column_stack((y, y)), solver=solver, start=gs.fit(X, y))
    with pytest.raises(ValueError, match="start: a fit with an intercept came; intercept=True, or a fit without one"):
        gs.fit(X, y, solver=solver, start=gs.fit(X, y), intercept=False)


@solvers
def test_a_budget_may_be_as_large_as_one_likes(solver):
    assert gs.fit(*table(), solver=solver, max_passes=10**400).stop is gs.Stop.CERTIFIED


def test_weights_that_vanish_beside_others_are_refused():
    X, y = table(50)
    weight = np.ones(50)
    weight[:2] = 5e-324, 1e30
    message = (
        "sample_weight: 5e-324 came at position 0, which vanishes beside the largest, 1e[+]30; 0, or weights nearer"
    )
    with pytest.raises(ValueError, match=message):
        gs.fit(X, y, sample_weight=weight)


def test_options_without_effect_are_the_default():
    X, y = table(d=3)
    np.testing.assert_array_equal(gs.fit(X, y, solver=gs.sgd()).coef, gs.fit(X, y).coef)
    one = gs.fit(X, y, batch_size=10**9)
    assert one.batch_size == N
    assert one.check.agrees


@needs_jit
def test_the_report_is_one_screen():
    X, y = table(d=20)
    for solver, words in (
        ("sgd", "minibatch SGD, batch"),
        ("cg", "conjugate gradients"),
        ("auto", "by the cost model"),
    ):
        text = str(gs.fit(X, y, solver=solver))
        assert words in text
        assert len(text.splitlines()) <= 15
        for word in ("passes", "row reads", "certificate", "check", "condition", "stop", "CERTIFIED"):
            assert word in text
