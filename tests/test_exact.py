"""The exact solver gives the certified digits, any columns, and says how near it is."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF, needs_jit
from gradstep._solvers import certified

DATA = Path(__file__).parent / "data"

# Correct digits of the worst coefficient. Filip is given with its powers as float64 holds them: nobody gets more.
DIGITS = {
    "Norris": 13.9, "Pontius": 13.3, "NoInt1": 14.5, "NoInt2": 14.5, "Longley": 14.4, "Wampler1": 13, "Wampler2": 13,
    "Wampler3": 13, "Wampler4": 11.5, "Wampler5": 9.3, "Filip": 7.4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def smaller_tables_where_python_is_slow(monkeypatch):
    if JIT_OFF:
        monkeypatch.setattr(certified, "SMALL", 2_000)


def nist(name):
    data = json.loads((DATA / f"{name}.json").read_text())
    X = np.array(data["X"], dtype=float)
    if data["polynomial_degree"]:
        X = X ** np.arange(1, data["polynomial_degree"] + 1)
    return X, np.array(data["y"], dtype=float), data


@pytest.mark.parametrize("name", DIGITS)
@pytest.mark.parametrize("arguments", [{}, {"solver": "exact"}], ids=["default", "exact"])
def test_certified_digits(name, arguments):
    X, y, data = nist(name)
    # NIST's sets without an intercept are fitted without one; everything else is left to `fit`.
    fit = gs.fit(X, y, **arguments) if data["intercept"] else gs.fit(X, y, **arguments, intercept=False)
    found = np.append(fit.intercept, fit.coef) if data["intercept"] else fit.coef
    assert -np.log10(np.max(np.abs(found / np.array(data["certified_coef"]) - 1)) + 1e-17) >= DIGITS[name]
    certificate = fit.certificate
    assert certificate.kind == "exact"
    assert certificate.rank == X.shape[1]
    assert certificate.failure_probability == 0
    if data["certified_resid_sd"] == 0:
        assert certificate.residual_sd < 1e-9
    else:
        # The exact solution of Filip's powers as float64 rounds them has 9.6 digits of the certified deviation.
        rel = 3e-10 if name == "Filip" else 1e-10
        assert certificate.residual_sd == pytest.approx(data["certified_resid_sd"], rel=rel, abs=0)
    assert fit.r2 == pytest.approx(data["certified_r2"], rel=1e-10, abs=0)
    assert fit.check.agrees


def test_filip_in_exact_arithmetic():
    X, y, _ = nist("Filip")
    A = [[Fraction(1), *map(Fraction, row)] for row in X.tolist()]
    b = [Fraction(value) for value in y.tolist()]
    p = len(A[0])
    for r, v in zip(A, b, strict=True):
        r.append(v)
    rows = [[sum(r[i] * r[j] for r in A) for j in range(p + 1)] for i in range(p)]
    for i in range(p):
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for k in range(p):
            if k != i:
                rows[k] = [a - rows[k][i] * c for a, c in zip(rows[k], rows[i], strict=True)]
    exact = np.array([float(row[p]) for row in rows])
    fit = gs.fit(X, y, solver="exact")
    np.testing.assert_allclose(np.append(fit.intercept, fit.coef), exact, rtol=1e-12)
    squares = sum((r[p] - sum(r[i] * rows[i][p] for i in range(p))) ** 2 for r in A)
    assert fit.certificate.residual_sd == pytest.approx(float(squares / (82 - 11)) ** 0.5, rel=1e-12)


def table(n=300, d=5, k=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-3, 4, d) + 10 * rng.standard_normal(d)
    shape = (n,) if k is None else (n, k)
    return X, (X @ rng.standard_normal((d, k or 1))).reshape(shape) + rng.standard_normal(shape)


def exact(X, y, **arguments):
    return gs.fit(X, y, solver="exact", **arguments)


# One that is its own sample, and one that is not.
SIZES = [(300, 5), (900 if JIT_OFF else 9_000, 5)]
sizes = pytest.mark.parametrize("size", SIZES)


@sizes
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_powers_of_two_change_no_bit_of_the_fitted_values(size, dtype):
    X, y = table(*size)
    X = X.astype(dtype)
    plain = exact(X, y)
    most = 60 if dtype is np.float64 else 30
    powers = np.random.default_rng(1).integers(-most, most, size[1])
    scaled = exact(np.ldexp(X, powers).astype(dtype), y)
    np.testing.assert_array_equal(np.ldexp(scaled.coef, powers), plain.coef)
    assert scaled.intercept == plain.intercept
    np.testing.assert_array_equal(scaled.predict(np.ldexp(X, powers).astype(dtype)), plain.predict(X))
    assert scaled.certificate.bound == plain.certificate.bound


@sizes
def test_what_changes_nothing_changes_nothing(size):
    X, y = table(*size)
    rng = np.random.default_rng(2)
    plain = exact(X, y, tol=0)
    fitted = plain.predict(X)

    def agrees(fit, X=X, shift=0.0):
        np.testing.assert_allclose(fit.predict(X) - shift, fitted, rtol=1e-8, atol=1e-8 * np.abs(fitted).max())

    rows, columns = rng.permutation(size[0]), rng.permutation(size[1])
    agrees(exact(X[rows], y[rows], tol=0))
    permuted = exact(X[:, columns], y, tol=0)
    np.testing.assert_allclose(permuted.coef, plain.coef[columns], rtol=1e-8)
    agrees(exact(X + 1e3, y, tol=0), X + 1e3)
    agrees(exact(X, y + 1e3, tol=0), shift=1e3)
    twice = rng.random(size[0]) < 0.3
    doubled = exact(np.vstack((X, X[twice])), np.append(y, y[twice]), tol=0)
    weighted = exact(X, y, sample_weight=1.0 + twice, tol=0)
    np.testing.assert_allclose(weighted.coef, doubled.coef, rtol=1e-8)
    assert weighted.intercept == pytest.approx(doubled.intercept, rel=1e-8)
    kept = ~twice
    without = exact(X[kept], y[kept], tol=0)
    spoilt = X.copy()
    spoilt[twice] = 1e300
    zeroed = exact(spoilt, y, sample_weight=kept.astype(float), tol=0)
    np.testing.assert_allclose(zeroed.coef, without.coef, rtol=1e-8)
    assert zeroed.certificate.residual_sd == pytest.approx(without.certificate.residual_sd, rel=1e-8)
    assert zeroed.r2 == pytest.approx(without.r2, rel=1e-8)
    mixing = rng.standard_normal((size[1], size[1]))
    agrees(exact(X @ mixing, y, tol=0), X @ mixing)


@sizes
@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("penalty", [None, gs.l2(0.5)], ids=["none", "l2"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_agrees_with_the_closed_form(size, k, intercept, penalty, weighted):
    X, y = table(*size, k=k)
    weight = np.random.default_rng(3).uniform(0.1, 2, size[0]) if weighted else None
    fit = exact(X, y, intercept=intercept, penalty=penalty, sample_weight=weight)
    truth = gs.closed_form(X, y, weight, penalty, intercept)
    np.testing.assert_allclose(fit.coef, truth.coef, rtol=1e-8)
    np.testing.assert_allclose(fit.intercept, truth.intercept, rtol=1e-7, atol=1e-9)
    assert np.shape(fit.intercept) == ((k,) if k else ())
    assert fit.objective == pytest.approx(truth.objective, rel=1e-9)
    np.testing.assert_allclose(fit.certificate.residual_sd, truth.residual_sd, rtol=1e-9)
    assert fit.certificate.degrees_of_freedom == pytest.approx(truth.degrees_of_freedom, rel=1e-9)
    assert fit.check.agrees
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.certificate.bound < 1e-6
    assert fit.concern == ""


def dependent(n, kind):
    """Return columns of short rank and which of them depend on those before."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, 4)) * [1, 1e6, 1e-6, 1]
    if kind == "constant":
        return np.column_stack((X, np.full(n, 7.3))), (4,)
    if kind == "rounding apart":
        return np.column_stack((X, np.where(np.arange(n) % 2, 0.1 + 0.2, 0.3))), (4,)
    if kind == "twice":
        return np.column_stack((X, X[:, 1])), (4,)
    if kind == "derived":
        return np.column_stack((X[:, 0], X[:, 0] - X[:, 3], X[:, 1:])), (4,)
    level = rng.integers(0, 6, n)
    level[:3] = 5 if kind == "a rare level" else level[:3]
    if kind == "a rare level":
        level[3:] %= 5
    return np.column_stack((X, np.eye(6)[level])), (9,)


@sizes
@pytest.mark.parametrize("kind", ["constant", "rounding apart", "twice", "derived", "all levels", "a rare level"])
def test_short_ranks_are_solved_in_the_least_norm_and_named(size, kind):
    X, columns = dependent(size[0], kind)
    y = X @ np.random.default_rng(5).standard_normal(X.shape[1]) + np.random.default_rng(6).standard_normal(size[0])
    fit = exact(X, y)
    assert fit.certificate.dependent == columns
    assert fit.certificate.rank == X.shape[1] - 1 == fit.check.rank
    assert fit.certificate.bound < 1e-6
    assert fit.check.agrees
    truth = gs.closed_form(X, y)
    np.testing.assert_allclose(fit.coef, truth.coef, rtol=1e-7, atol=1e-9 * np.abs(truth.coef).min())
    np.testing.assert_allclose(fit.predict(X), X @ truth.coef + truth.intercept, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 20), (5, 5), (6, 5), (1, 1), (1, 3), (2, 1), (30, 400), (200, 300)])
@pytest.mark.parametrize("intercept", [True, False])
def test_few_rows(shape, intercept):
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal(shape) + 1, rng.standard_normal(shape[0])
    fit = exact(X, y, intercept=intercept)
    A = X - X.mean(axis=0) if intercept else X
    length = np.sqrt(np.square(A).mean(axis=0))
    length[length == 0] = 1
    truth = np.linalg.lstsq(A / length, y - y.mean() * intercept, rcond=1e-12)[0] / length
    np.testing.assert_allclose(fit.coef, truth, rtol=1e-8, atol=1e-12)
    assert fit.certificate.rank == min(shape[0] - intercept, shape[1])
    assert len(fit.certificate.dependent) == shape[1] - fit.certificate.rank
    if shape[0] - intercept <= shape[1]:
        np.testing.assert_allclose(fit.predict(X), y, rtol=1e-10, atol=1e-12)
        assert fit.certificate.bound == np.inf
        assert fit.stop is gs.Stop.FLOOR
    assert fit.certificate.relative < 1e-14
    assert "least norm" in str(fit) or fit.certificate.rank == shape[1]


@pytest.mark.parametrize("rows", [9, 5_000])
@pytest.mark.parametrize("solver", ["sgd", "cg", "exact"])
def test_every_solver_names_as_many_columns_as_depend_on_others(solver, rows):
    t = np.linspace(2000, 2024, rows)
    X = np.column_stack([t**power for power in range(1, 14)])
    y = np.sin(t) + 0.1 * np.random.default_rng(5).standard_normal(rows)
    for intercept in (True, False):
        certificate = gs.fit(X, y, solver=solver, intercept=intercept, check=False).certificate
        assert len(certificate.dependent) == 13 - certificate.rank
        if rows > 13:  # of fewer there are several answers, as far as rounding goes
            assert certificate.dependent == gs.closed_form(X, y, intercept=intercept).dependent


@needs_jit
@sizes
@pytest.mark.parametrize(
    ("of_x", "of_y"), [(1e200, 1), (1e-200, 1), (1, 1e150), (1, 1e-150), (1, 1e300), (1e-150, 1e-150), (1e150, 1e-150)]
)
def test_units_far_from_one(size, of_x, of_y):
    X, y = table(*size)
    plain, fit = exact(X, y), exact(X * of_x, y * of_y)
    np.testing.assert_allclose(fit.coef / of_y * of_x, plain.coef, rtol=1e-10)  # X and y are rounded anew
    assert fit.r2 == pytest.approx(plain.r2, rel=1e-12)
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.check.agrees


@needs_jit
@sizes
def test_what_float64_cannot_hold_is_refused(size):
    X, y = table(*size)
    with pytest.raises(ValueError, match=r"X, y: the coefficient of column \d is about 1e-3\d\d, which float64"):
        exact(X * 1e200, y * 1e-150)
    with pytest.raises(
        ValueError, match=r"X, y: the coefficient of column \d is about 1e\+3\d\d, which float64 cannot"
    ):
        exact(X * 1e-200, y * 1e150)
    with pytest.raises(ValueError, match=r"about 1e\+3\d\d, which float64 cannot hold; other units of X or y"):
        exact(X * 1e-312, y)
    np.testing.assert_allclose(exact(X, y * 1e-310).coef / 1e-310, exact(X, y).coef, rtol=1e-9)


@needs_jit
@sizes
@pytest.mark.parametrize("entry", [1e150, 1e300])
def test_one_entry_beyond_all_others(size, entry):
    X, y = table(*size)
    X[size[0] // 2, 1] = entry
    fit = exact(X, y)
    # Such a column is a dummy of that row, in units of the entry.
    dummy = X.copy()
    dummy[:, 1] = np.arange(size[0]) == size[0] // 2
    truth = gs.closed_form(dummy, y)
    np.testing.assert_allclose(fit.coef[[0, 2, 3, 4]], truth.coef[[0, 2, 3, 4]], rtol=1e-8)
    assert fit.coef[1] * entry == pytest.approx(truth.coef[1], rel=1e-8)
    assert fit.certificate.bound < 1e-6
    far = y.copy()
    far[7] = entry
    assert exact(X, far).certificate.bound < 1e-6


@sizes
def test_weights_over_many_orders(size):
    X, y = table(*size)
    weight = 10.0 ** np.random.default_rng(8).uniform(-6, 6, size[0])
    fit, tiny = exact(X, y, sample_weight=weight), exact(X, y, sample_weight=weight * 1e-200)
    np.testing.assert_allclose(tiny.coef, fit.coef, rtol=1e-10)
    root = np.sqrt(weight)
    A = np.column_stack((X, np.ones(size[0])))
    truth = np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(np.append(fit.coef, fit.intercept), truth, rtol=1e-6)
    assert fit.check.agrees


@pytest.mark.parametrize("solver", ["exact", "sgd", "cg"])
@pytest.mark.parametrize("present", [1, 3, 6, 7, 30])
def test_few_rows_of_weight_among_many(solver, present):
    X, y = table(*SIZES[1])
    weight = np.zeros(len(X))
    weight[np.random.default_rng(1).choice(len(X), present, replace=False)] = 2
    fit = gs.fit(X, y, solver=solver, sample_weight=weight)
    alone = gs.fit(X[weight > 0], y[weight > 0], solver="exact")
    np.testing.assert_allclose(fit.coef, alone.coef, rtol=1e-9, atol=1e-12)
    assert fit.certificate.rank == alone.certificate.rank
    assert fit.check.agrees


@sizes
def test_offsets(size):
    rng = np.random.default_rng(9)
    X = rng.standard_normal((size[0], 3))
    X = (X + 1e9) - 1e9  # what is left of it beside the offset
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(size[0])
    near, far = exact(X, y), exact(X + 1e9, y)
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-13)
    np.testing.assert_allclose(far.predict(X + 1e9), near.predict(X), rtol=1e-4, atol=1e-6)
    assert far.certificate.bound < 1e-3
    far = exact(X + 1e13, y)  # there a fitted value is known to 0.001
    assert far.certificate.bound <= far.certificate.floor


@sizes
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_whole_numbers_at_full_range(size, dtype):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(10)
    X = rng.integers(limits.min, limits.max, (size[0], 3), dtype=dtype, endpoint=True)
    y = X / float(limits.max) @ [1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(size[0])
    fit = exact(X, y)
    np.testing.assert_allclose(fit.coef * float(limits.max), [1, 2, 3], rtol=0.3)
    assert fit.certificate.bound < 1e-9
    assert fit.check.agrees


def test_whole_numbers_that_float64_cannot_tell_apart_are_refused():
    X = np.array([[2**64 - 1], [2**64 - 5], [2**64 - 9]], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"X: column 0 holds whole numbers of 18446744073709551607 to 1844.*subtract"):
        exact(X, [1.0, 2.0, 3.0])
    assert exact(X - X.min(), [1.0, 2.0, 3.0]).r2 == pytest.approx(1)
    exact(np.full((3, 1), 2**64 - 1, dtype=np.uint64), [1.0, 2.0, 3.0])  # a constant is one however it is rounded


@sizes
@pytest.mark.parametrize("value", [0.0, 3.7])
@pytest.mark.parametrize("intercept", [True, False])
def test_a_constant_response(size, value, intercept):
    X, _ = table(*size)
    fit = exact(X - X.mean(axis=0), np.full(size[0], value), intercept=intercept)
    if intercept or value == 0:
        np.testing.assert_allclose(fit.coef, 0, atol=1e-15)
        assert fit.intercept == value
        assert fit.stop is gs.Stop.FLOOR
    assert np.isnan(fit.r2) or fit.r2 < 1e-9


BITS = """
import hashlib, numpy as np, gradstep as gs
rng = np.random.default_rng(0)
for n, d, tol in ((300, 20, 0.01), (20_000, 50, 0.0)):
    X = rng.standard_normal((n, d))
    X[:, 1] = X[:, 0] + 1e-4 * X[:, 1]  # a condition of 1e4
    y = X.sum(axis=1) + rng.standard_normal(n)
    fit = gs.fit(X, y, solver="exact", tol=tol, check=False)
    print(hashlib.sha256(fit.coef.tobytes() + np.float64(fit.intercept).tobytes()).hexdigest())
"""


@needs_jit
def test_the_last_digits_do_not_depend_on_the_threads_of_the_linear_algebra():
    done = [
        subprocess.run(
            [sys.executable, "-c", BITS], capture_output=True, text=True, check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert done[0] == done[1]


def test_no_noise_is_no_error():
    X, _ = table()
    fit = exact(X, X @ np.ones(5) + 2)
    assert fit.stop is gs.Stop.FLOOR
    assert not fit.certificate.measurable
    assert fit.certificate.relative < 1e-14
    assert "no noise to measure by" in str(fit)


@needs_jit
@sizes
@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e-120, 1e120])
def test_a_ridge_of_columns_in_any_units(size, unit):
    X, y = table(*size)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    penalty = gs.l2(1.0)
    one = exact(X * [unit, 1, 1, 1, 1], y, penalty=penalty)
    # A column in tiny units is penalised to nothing, one in huge units not at all.
    if unit < 1:
        others = exact(X[:, 1:], y, penalty=penalty)
        np.testing.assert_allclose(one.coef[1:], others.coef, rtol=1e-9)
        assert abs(one.coef[0]) < 1e-100
        assert np.abs(exact(X * unit, y, penalty=penalty).coef).max() < 1e-100
    assert one.check.agrees
    assert one.certificate.bound < 1e-9
    assert one.objective == pytest.approx(
        gs.closed_form(X * [unit, 1, 1, 1, 1], y, penalty=penalty).objective, rel=1e-9
    )


@sizes
@pytest.mark.parametrize("q", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("alpha", [1e-20, 1e-12, 1e-3])
def test_a_ridge_halves_what_twins_share(size, q, alpha):
    rng = np.random.default_rng(3)
    Z = rng.standard_normal((size[0], 4))
    y = Z.sum(axis=1) + rng.standard_normal(size[0])
    X = np.column_stack((Z * [1, 1, q, 1 / q], Z[:, 0]))
    fit = exact(X, y, penalty=gs.l2(alpha))
    assert fit.certificate.rank == 4
    assert fit.certificate.bound < 1e-6
    assert fit.coef[0] == pytest.approx(fit.coef[4], rel=1e-6)
    one = exact(X[:, :4] * [np.sqrt(2), 1, 1, 1], y, penalty=gs.l2(alpha))  # the same problem without the twin
    np.testing.assert_allclose(2 * fit.coef[0], one.coef[0] * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(fit.coef[1:4], one.coef[1:], rtol=1e-6)


def test_columns_of_nothing_have_coefficients_of_nothing():
    X, y = table(60, 5)
    X[:, [0, 2]] = 0
    X[:, 4] = 7
    np.testing.assert_array_equal(exact(X, y).coef[[0, 2, 4]], 0)


def test_an_output_without_noise_hides_no_other():
    X, y = table(9_000 if not JIT_OFF else 900, 5)
    fit = exact(X, np.column_stack((y, np.full(len(y), 2.0))))
    assert fit.stop is gs.Stop.CERTIFIED
    assert fit.certificate.bound < 1e-6
    assert not fit.certificate.measurable
    assert "outputs without noise" in str(fit)


def test_weights_too_far_apart_are_refused():
    X, y = table(60, 5)
    weight = np.ones(60)
    weight[0] = 1e40
    with pytest.raises(ValueError, match=r"sample_weight: weights up to 1e\+40 times the smallest positive one came"):
        exact(X, y, sample_weight=weight)


@sizes
def test_no_alarm_without_noise(size):
    # Warnings are errors here.
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((size[0], 3))
        for columns in (X, X + 1e7, np.column_stack((X[:, 0], X[:, 0] + X[:, 1] / 1e5, X[:, 2]))):
            fit = exact(columns, 9 + columns[:, 0] - 9 * columns[:, 2])
            assert fit.check.agrees
            assert fit.concern == ""
            assert fit.certificate.relative < 1e-9


@needs_jit
def test_entries_at_the_end_of_float64():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (60, 2))
    y = signs @ [1.0, 2.0] + rng.standard_normal(60)
    fit = exact(signs * 1.7e308, y)
    np.testing.assert_allclose(fit.coef * 1.7e308, exact(signs, y).coef, rtol=1e-9)
    assert fit.check.agrees


@needs_jit  # a sample of the rows tells the condition
def test_auto_asks_for_no_more_than_the_tolerance():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200_000, 6))
    X[:, -1] = X[:, 0] + 1e-6 * X[:, -1]
    y = X[:, 0] + rng.standard_normal(len(X))
    auto, exact = (gs.fit(X, y, solver=solver, check=False) for solver in ("auto", "exact"))
    assert auto.solver == exact.solver == "exact"
    assert auto.passes <= exact.passes
    assert exact.certificate.bound < 1e-6 < auto.certificate.bound < 0.01


@needs_jit  # of small tables it is another way
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    ("offset", "condition", "noise", "spikes", "once"),
    [
        (0, 1, 1, 1, True), (1e4, 10, 0.1, 1, True), (5, 1e3, 0.01, 1, False), (0, 1e5, 1, 1, False),
        (3, 2e6, 1, 1, False), (1e9, 1, 1, 1, True), (5, 1, 1, 1e4, True), (0, 10, 1, 1e4, True),
        (0, 1, 1, 1e7, False),
    ],
)  # fmt: skip
def test_what_a_gram_matrix_says_of_its_own_solution_is_true(offset, condition, noise, spikes, once, k):
    rng = np.random.default_rng(2)
    n, d = 60_000, 5
    X = rng.standard_normal((n, d))
    X[:: n // 20] *= spikes  # rows that are not in the matrix
    X[:, -1] = X[:, 0] + X[:, -1] / condition
    X += offset
    y = X @ rng.standard_normal((d, k)) + noise * rng.standard_normal((n, k))
    fit, exact = gs.fit(X, y, solver="auto", check=False), gs.fit(X, y, solver="exact", tol=0.0, check=False)
    assert fit.stop.name == "CERTIFIED"
    assert (fit.passes < 1.2) == once
    by = (X - X.mean(axis=0)) @ (fit.coef - exact.coef)
    by += X.mean(axis=0) @ (fit.coef - exact.coef) + fit.intercept - exact.intercept
    deviation = np.sqrt(np.square(y - exact.predict(X)).sum(axis=0) / (n - d - 1))
    distance = np.sqrt(np.square(by).sum(axis=0)) / deviation
    assert (distance <= fit.certificate.bound + exact.certificate.bound).all()
    np.testing.assert_allclose(fit.objective, exact.objective, rtol=1e-9)
    np.testing.assert_allclose(fit.r2, exact.r2, rtol=0, atol=1e-9)
