"""The certificate is never below the truth, and not far above it."""

import numba
import numpy as np
import pytest
import scipy.linalg

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from gradstep import _drawn, _input, _preconditioner, _stretch
from gradstep._certificate import certify
from gradstep._kernels.permute import halves, keys, mixed, permuted
from gradstep._solvers.certified import in_callers_units
from gradstep._table.dense import Dense
from gradstep._table.terms import NO_ORDER, Units
from hard_tables import HAS_LONG, Truth, tables

N = 5_000
SEEDS = 2 if JIT_OFF else 20
pytestmark = [
    pytest.mark.skipif(SIMULATED, reason="on the CPU alone"),
    pytest.mark.skipif(not HAS_LONG, reason="there are no 80-bit numbers here to know the truth by"),
]


@needs_jit
@pytest.mark.parametrize("d", [1, 2, 5, 20, 50])
def test_exact_fits_are_within_their_bounds_and_passes(d):
    looseness = []
    for seed in range(SEEDS):
        for name, X, y in tables(N, d, seed):
            truth = Truth(X, y)
            fit = gs.fit(X, y, solver="exact", check=False)
            certificate, true = fit.certificate, truth.distance(fit.coef, fit.intercept)
            assert true <= certificate.bound, (name, seed)
            assert certificate.kind == "exact"
            assert certificate.rank == d, (name, seed)
            if fit.stop is not gs.Stop.FLOOR:
                assert certificate.bound <= 0.01, (name, seed)
            else:
                assert certificate.bound <= certificate.floor, (name, seed)
            assert certificate.residual_sd == pytest.approx(float(truth.sd), rel=1e-9)
            if N * d > 20_000:
                # Of ill-conditioned columns one look or two without twice the precision come before the last.
                assert fit.passes <= 4 + (d > 20), (name, seed)
                # A gradient in float64 is enough: what its rounding may come to is most of the bound.
                assert certificate.bound <= max(1e-6, 3 * true), (name, seed)
            else:
                looseness.append(certificate.bound / true if true > 0 else 1.0)
    assert np.median(looseness or [1.0]) <= 3


@needs_jit
def test_weighted_fits_are_within_their_bounds():
    for seed in range(SEEDS):
        weight = 10.0 ** np.random.default_rng(seed).uniform(-3, 3, N)
        weight[::7] = 0
        for name, X, y in tables(N, 3, seed):
            fit = gs.fit(X, y, solver="exact", sample_weight=weight, check=False, seed=seed)
            true = Truth(X, y, weight=weight).distance(fit.coef, fit.intercept)
            assert true <= fit.certificate.bound, (name, seed)


def test_samples_leave_rows_of_weight_zero_out():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20_000, 3))
    y = X.sum(axis=1) + rng.standard_normal(len(X))
    for present in (20, 1_000):
        weight = np.zeros(len(X))
        weight[:present] = 1
        table = Dense(_input.rows(X, y, weight), gs.squared(), None)
        units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=True)
        truth = Truth(X[:present], y[:present])
        for preconditioner in kinds(table, units, constant, 0):
            scaled = preconditioner.solution() * 1.01
            certificate = certify(preconditioner, preconditioner.evidence(table, scaled), scaled, table)
            w = in_callers_units(scaled, units)
            assert truth.distance(w[:-1, 0], w[-1, 0]) <= certificate.bound


def kinds(table, units, constant, seed):
    """Return a preconditioner of each kind."""
    arguments = (table, units, constant, seed)
    rough = _drawn.sampled(*arguments, alpha=0.0, intercept=True)
    return [
        _drawn.sketched(*arguments, alpha=0.0, intercept=True),
        rough,
        _drawn.repaired(table, rough, seed, 0.0),
    ]


@needs_jit
@pytest.mark.parametrize("d", [1, 2, 5, 20, 50])
def test_bounds_on_the_way_of_sketched_and_sampled_preconditioners(d):
    looseness = []
    for seed in range(SEEDS // 2):
        for name, X, y in tables(N, d, seed):
            truth = Truth(X, y)
            table = Dense(_input.rows(X, y), gs.squared(), None)
            units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=True)
            for preconditioner in kinds(table, units, constant, seed):
                scaled = preconditioner.solution()
                for _ in range(3):
                    evidence = preconditioner.evidence(table, scaled)
                    certificate = certify(preconditioner, evidence, scaled, table)
                    w = in_callers_units(scaled, units)
                    true = truth.distance(w[:-1, 0], w[-1, 0])
                    if certificate.kind == "estimate":
                        assert np.isnan(certificate.failure_probability)
                    else:
                        assert true <= certificate.bound, (name, seed)
                        assert certificate.failure_probability == pytest.approx(np.exp(-8))
                        looseness += [certificate.bound / true] if np.isfinite(certificate.bound) else []
                    scaled = scaled + preconditioner.step(evidence)
    assert np.median(looseness) <= 3


def test_a_sample_misses_what_few_rows_know_until_it_is_repaired():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100_000, 2))
    X[:, 1] = 0
    X[:3, 1] = 1
    y = X @ [1.0, 1e3] + rng.standard_normal(len(X))
    table = Dense(_input.rows(X, y), gs.squared(), None)
    units, constant = _preconditioner.units_of(table, NO_ORDER, intercept=True)
    rough = _drawn.sampled(table, units, constant, 0, alpha=0.0, intercept=True)
    mended = _drawn.repaired(table, rough, 0, 0.0)
    assert (rough.kind, rough.rank) == ("estimate", 1)
    assert (mended.kind, mended.rank) == ("probable", 2)
    truth = Truth(X, y)
    for preconditioner, trusted in ((rough, False), (mended, True)):
        scaled = preconditioner.solution()
        certificate = certify(preconditioner, preconditioner.evidence(table, scaled), scaled, table)
        w = in_callers_units(scaled, units)
        assert (truth.distance(w[:-1, 0], w[-1, 0]) <= certificate.bound) is trusted
    # The repaired one knows the leverage of the rare rows.
    leverages = mended.evidence_and_norms(table, mended.solution(), 0.0, mended.probes(1))[1] + 1 / mended.total
    assert leverages[:3].min() > 0.05
    assert leverages[3:].max() < 0.01


def test_a_table_drawn_from_the_same_seed_is_no_sketchs_accomplice():
    # Columns that show every bit that a stream of the seed's own would give its first rows.
    n = 300 if JIT_OFF else 6_000
    for seed in range(1 if JIT_OFF else 4):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 1024, (n, 4))
        X = ((codes[:, :, np.newaxis] >> np.arange(10)) & 1).reshape(n, 40).astype(float)
        y = X @ rng.standard_normal(40) + rng.standard_normal(n)
        truth = Truth(X, y)
        for solver in ("sgd", "cg"):
            fit = gs.fit(X, y, solver=solver, seed=seed, check=False)
            assert truth.distance(fit.coef, fit.intercept) <= fit.certificate.bound


@needs_jit
@pytest.mark.parametrize(
    ("d", "seeds"), [(2, range(300)), (10, range(300)), (40, range(300)), (1_000, (11, 67, 178, 209))], ids=str
)
def test_rows_that_have_a_direction_to_themselves_are_stretched_no_more_than_is_said(d, seeds):
    n = 3_000
    X = np.zeros((n, d))
    X[:d] = np.eye(d)
    table = Dense(_input.rows(X, np.zeros(n)), gs.squared(), None)
    units = Units(np.ones(d), np.zeros(d), np.ones(1), np.zeros(1))
    m = _drawn.sketch_rows(d + 1)
    sketches = (table.sketch(units, m, seed)[:, 1 : 1 + d] for seed in seeds)
    largest = [np.sqrt(np.linalg.eigvalsh(S.T @ S)[-1]) for S in sketches]
    assert max(largest) <= 1 + _stretch.of_signs(d + 1, m)


@needs_jit
def test_samples_that_are_repaired_stretch_no_more_than_is_said(monkeypatch):
    rng = np.random.default_rng(0)
    n, d = 30_000, 40
    X = np.zeros((n, d))
    for j in range(d):
        X[rng.choice(n, 700, replace=False), j] = 1
    table = Dense(_input.rows(X, rng.standard_normal(n)), gs.squared(), None)
    monkeypatch.setattr(_drawn, "_LARGEST_SKETCH", 1)
    for seed in range(10):
        p = _drawn.drawn(table, seed, alpha=0.0, intercept=True)
        assert p.kind == "probable"
        Z = X * p.units.scale - p.centre
        largest = scipy.linalg.eigh(p.factor.R.T @ p.factor.R, Z.T @ Z, eigvals_only=True)[-1]
        assert np.sqrt(largest) <= 1 + p.stretch


@needs_jit
def test_a_sketch_on_a_gpu_stretches_no_more_than_the_certificate_allows_for():
    """Of the permutations that buckets find their rows by, for rows that have a direction each."""
    n, d = 6_000, 40
    m = _drawn.sketch_rows(d)
    buckets = m // 16
    allowed = 1 + _stretch.of_signs(d, m)

    @numba.njit
    def places(rows, key, step, bucket, sign):
        low, count = halves(rows)
        for stripe in range(16):
            of_stripe = mixed((mixed(key) + stripe * step) & 0xFFFFFFFF)
            for at in range(rows):
                i = permuted(at, rows, low, count, of_stripe, step)
                if i < n:
                    bucket[stripe, i] = at // (rows // buckets)
                    sign[stripe, i] = 1.0 - 2.0 * (mixed(mixed((i + key) & 0xFFFFFFFF) ^ (stripe + 1)) & 1)

    for rows_apart in (1, 7, 128):
        largest = []
        for seed in range(40):
            bucket, sign = np.empty((16, n), dtype=np.int64), np.empty((16, n))
            places(-(-n // buckets) * buckets, *keys(seed, int.from_bytes(b"sketch")), bucket, sign)
            S = np.zeros((16, buckets, d))
            for j in range(d):
                S[np.arange(16), bucket[:, j * rows_apart], j] = sign[:, j * rows_apart] / 4
            largest.append(np.linalg.norm(S.reshape(-1, d), 2))
        assert max(largest) <= allowed
        assert np.mean(largest) > 1.02  # it is no identity either
