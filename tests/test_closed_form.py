"""The check is right: NIST's certified digits, scipy.linalg, normal equations in exact arithmetic."""

import json
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

import gradstep as gs
from gradstep.penalties import NO_PENALTY

DATA = Path(__file__).parent / "data"


def problem(n=200, d=5, k=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-3, 4, d) + rng.standard_normal(d) * 10
    w = rng.standard_normal(d if k is None else (d, k))
    y = X @ w + 3.0
    return X, y + rng.standard_normal(y.shape), rng.uniform(0.1, 2.0, n)


def with_ones(X):
    return np.column_stack((X, np.ones(len(X))))


# Correct digits of the worst coefficient that a backward stable method gets in float64; Filip is given with its
# powers 1 to 10, whose scaled condition is 1e10.
@pytest.mark.parametrize(
    ("name", "digits"),
    [("Norris", 11.5), ("Pontius", 11), ("Longley", 11), ("NoInt1", 13), ("NoInt2", 13), ("Wampler1", 8),
     ("Wampler4", 7), ("Filip", 6.5)],
)  # fmt: skip
def test_certified_digits(name, digits):
    nist = json.loads((DATA / f"{name}.json").read_text())
    X = np.array(nist["X"])
    if nist["polynomial_degree"]:
        X = X ** np.arange(1, nist["polynomial_degree"] + 1)
    exact = gs.closed_form(X, nist["y"], intercept=nist["intercept"])
    certified, errors = np.array(nist["certified_coef"]), np.array(nist["certified_se"])
    found = np.append(exact.intercept, exact.coef) if nist["intercept"] else exact.coef
    found_errors = (
        np.append(exact.intercept_standard_error, exact.standard_errors) if nist["intercept"] else exact.standard_errors
    )
    assert -np.log10(np.max(np.abs(found / certified - 1)) + 1e-16) >= digits
    if nist["certified_resid_sd"] == 0:
        assert exact.residual_sd < 1e-14 * np.abs(nist["y"]).max()
    else:
        # The residual carries the rounding of fitted values that are sums of far larger terms, as the digits do.
        np.testing.assert_allclose(exact.residual_sd, nist["certified_resid_sd"], rtol=max(1e-9, 10.0 ** -(digits + 1)))
        np.testing.assert_allclose(found_errors, errors, rtol=10.0 ** -min(digits, 9) * 10)


@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_agrees_with_lstsq(k, intercept):
    X, y, _ = problem(k=k)
    exact = gs.closed_form(X, y, intercept=intercept)
    truth = scipy.linalg.lstsq(with_ones(X) if intercept else X, y)[0]
    np.testing.assert_allclose(exact.coef, truth[: X.shape[1]], rtol=1e-9)
    if intercept:
        np.testing.assert_allclose(exact.intercept, truth[-1], rtol=1e-7)
    else:
        assert np.all(exact.intercept == 0)
    assert exact.coef.shape == (5, *y.shape[1:])
    residual = y - X @ exact.coef - exact.intercept
    np.testing.assert_allclose(exact.objective, np.sum(residual**2) / (2 * len(X)), rtol=1e-10)


def test_standard_errors_and_weights_are_those_of_weighted_least_squares():
    X, y, weight = problem()
    exact = gs.closed_form(X, y, weight)
    A = with_ones(X)
    inverse = np.linalg.inv(A.T @ (weight[:, None] * A))
    w = inverse @ A.T @ (weight * y)
    variance = weight @ (y - A @ w) ** 2 / (len(X) - 6)  # of a row of weight 1
    np.testing.assert_allclose(np.append(exact.coef, exact.intercept), w, rtol=1e-6)
    errors = np.sqrt(variance * inverse.diagonal())
    np.testing.assert_allclose(np.append(exact.standard_errors, exact.intercept_standard_error), errors, rtol=1e-6)
    assert exact.residual_sd == pytest.approx(np.sqrt(variance / weight.mean()), rel=1e-8)
    assert exact.degrees_of_freedom == len(X) - 6


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [1e-6, 0.3, 50.0])
def test_ridge_solves_its_normal_equations_in_the_callers_units(alpha, intercept):
    X, y, weight = problem(k=2)
    exact = gs.closed_form(X, y, weight, gs.l2(alpha), intercept)
    A = with_ones(X) if intercept else X
    share = weight / weight.sum()
    ridge = alpha * np.diag([1.0] * 5 + [0.0] * intercept)
    # Scaled by powers of two: the normal equations of raw columns would lose the digits that the test looks for.
    scale = 2.0 ** -np.round(np.log2(np.abs(A).max(axis=0)))
    moments = (A * scale).T @ (share[:, None] * (A * scale)) + ridge * scale[:, None] * scale
    truth = scale[:, None] * np.linalg.solve(moments, (A * scale).T @ (share[:, None] * y))
    np.testing.assert_allclose(exact.coef, truth[:5], rtol=1e-6, atol=1e-9 * np.abs(truth).max())
    residual = y - X @ exact.coef - exact.intercept
    objective = np.sum(share[:, None] * residual**2) / 2 + alpha / 2 * np.sum(exact.coef**2)
    assert exact.objective == pytest.approx(objective, rel=1e-9)
    assert exact.dependent == ()


def test_standard_errors_of_a_ridge_are_its_spread_over_draws():
    X, _, weight = problem(40, 3)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((40, 20_000)) / np.sqrt(weight / weight.mean())[:, None]
    many = gs.closed_form(X, noise, weight, gs.l2(0.5))
    one = gs.closed_form(X, noise[:, 0], weight, gs.l2(0.5))
    expected = one.standard_errors / one.residual_sd
    np.testing.assert_allclose(many.coef.std(axis=1), expected, rtol=0.03)
    assert many.intercept.std() == pytest.approx(one.intercept_standard_error / one.residual_sd, rel=0.03)
    # The effective rank: the sum of s^2 / (s^2 + alpha) over the moments of weighted, centred columns.
    share = weight / weight.sum()
    centred = X - share @ X
    s2 = np.linalg.eigvalsh(centred.T @ (share[:, None] * centred))
    assert one.degrees_of_freedom == pytest.approx(39 - np.sum(s2 / (s2 + 0.5)), rel=1e-9)


def test_a_ridge_does_not_mind_units_or_twins():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((200, 3))
    y = Z @ [1.0, 2.0, 3.0] + 0.1 * rng.standard_normal(200)
    unit = np.array([1.0, 1.0, 1e-13])
    exact = gs.closed_form(Z * unit, y, penalty=gs.l2(1.0), intercept=False)
    alone = gs.closed_form(Z[:, :2], y, penalty=gs.l2(1.0), intercept=False)
    np.testing.assert_allclose(exact.coef[:2], alone.coef, rtol=1e-9)
    # The third is too small to matter to the others: what is left, times the unit, over the penalty.
    left = y - Z[:, :2] @ alone.coef
    assert exact.coef[2] == pytest.approx(1e-13 * (Z[:, 2] @ left) / 200, rel=1e-6)
    assert exact.rank == 3
    twins = Z[:, [0, 0]]
    halves = [gs.closed_form(twins, y, penalty=gs.l2(alpha), intercept=False) for alpha in (1e-30, 1e-20, 1e-8)]
    for half in halves:
        np.testing.assert_allclose(half.coef, (Z[:, 0] @ y) / (Z[:, 0] @ Z[:, 0]) / 2, rtol=1e-6)
        assert half.rank == 1
        assert half.dependent == (1,)
    nothing = gs.closed_form(np.full((200, 2), 3.0), y, penalty=gs.l2(1.0))
    np.testing.assert_array_equal(nothing.coef, 0)
    assert nothing.intercept == pytest.approx(y.mean(), rel=1e-12)
    assert nothing.rank == 0
    tiny = gs.closed_form(Z * [1.0, 1.0, 1e-310], y, penalty=gs.l2(1.0), intercept=False)
    np.testing.assert_allclose(tiny.coef, [*alone.coef, 0], rtol=1e-9, atol=1e-100)


def test_a_small_spread_on_a_large_offset_is_no_constant():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200_000)
    exact = gs.closed_form(x[:, None], 1e10 + x + rng.standard_normal(200_000))
    assert exact.coef[0] == pytest.approx(1, abs=0.02)
    assert exact.residual_sd == pytest.approx(1, abs=0.02)
    clock = 1.7e9 + 0.3 * x
    timed = gs.closed_form(clock[:, None], x)
    assert timed.rank == 1
    assert timed.coef[0] == pytest.approx(1 / 0.3, rel=1e-3)
    assert gs.closed_form(np.column_stack((x, np.full(200_000, 0.1))), x).dependent == (1,)


def test_what_stands_in_a_row_of_weight_zero_does_not_matter():
    X, y, weight = problem()
    weight[3] = 0
    exact = gs.closed_form(X, y, weight)
    X[3], y[3] = 1e200, -1e100
    np.testing.assert_array_equal(gs.closed_form(X, y, weight).coef, exact.coef)
    absent = gs.closed_form(*(np.delete(array, 3, 0) for array in (X, y, weight)))
    assert exact.intercept_standard_error == pytest.approx(absent.intercept_standard_error, rel=1e-12)


def test_a_closed_form_cannot_be_changed():
    exact = gs.closed_form(*problem()[:2])
    with pytest.raises(ValueError, match="read-only"):
        exact.coef[0] = 1.0
    assert repr(exact).startswith("<ClosedForm of 5 columns: rank 5")


def test_exact_rational_solution():
    rng = np.random.default_rng(1)
    X, y = rng.integers(-9, 10, (12, 3)).astype(float), rng.integers(-9, 10, 12).astype(float)
    A = [[Fraction(int(v)) for v in (*row, 1)] for row in X]
    M = [[sum(r[i] * r[j] for r in A) for j in range(4)] + [sum(r[i] * int(t) for r, t in zip(A, y, strict=True))]
         for i in range(4)]  # fmt: skip
    for i in range(4):
        M[i] = [v / M[i][i] for v in M[i]]
        for j in set(range(4)) - {i}:
            M[j] = [a - M[j][i] * b for a, b in zip(M[j], M[i], strict=True)]
    exact = gs.closed_form(X, y)
    np.testing.assert_allclose(np.append(exact.coef, exact.intercept), [float(row[4]) for row in M], rtol=1e-13)


def test_dependent_columns_are_named_and_the_norm_is_least_in_scaled_columns():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((100, 3))
    X = np.column_stack((Z, 1000 * Z[:, 0], np.full(100, 7.0), Z[:, 1] - Z[:, 2]))
    y = Z @ [1.0, 2.0, 3.0] + rng.standard_normal(100)
    exact = gs.closed_form(X, y)
    assert exact.dependent == (3, 4, 5)
    assert exact.rank == 3
    full = gs.closed_form(Z, y)
    np.testing.assert_allclose(X @ exact.coef + exact.intercept, Z @ full.coef + full.intercept, rtol=1e-9)
    scale = X.std(axis=0)
    scale[4] = 1.0
    scaled = scipy.linalg.lstsq((X - X.mean(axis=0)) / scale, y - y.mean(), cond=1e-12)[0] / scale
    np.testing.assert_allclose(exact.coef, scaled, rtol=1e-8, atol=1e-12)
    assert exact.coef[4] == 0
    # Neither of a pair of twins is determined, nor the three whose sum vanishes; what they jointly say is.
    assert np.isnan(exact.standard_errors).all()
    assert exact.residual_sd == pytest.approx(full.residual_sd, rel=1e-9)
    assert "columns 3, 4, 5 depend on the columns before them" in str(exact)


def test_complete_dummies_with_an_intercept():
    group = np.arange(60) % 3
    X = (group[:, None] == np.arange(3)).astype(float)
    y = np.array([1.0, 5.0, 9.0])[group]
    exact = gs.closed_form(X, y)
    assert exact.dependent == (2,)
    np.testing.assert_allclose(X @ exact.coef + exact.intercept, y, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 8), (1, 1), (1, 4), (5, 5), (2, 1)])
def test_few_rows(shape):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal(shape), rng.standard_normal(shape[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = gs.closed_form(X, y)
    assert exact.rank == min(shape[0] - 1, shape[1])
    if shape[0] <= shape[1] + 1:
        np.testing.assert_allclose(X @ exact.coef + exact.intercept, y, rtol=1e-9, atol=1e-12)
    assert len(exact.dependent) == shape[1] - exact.rank
    if shape[0] <= shape[1] + 1:
        assert np.isnan(exact.residual_sd)
        assert np.isnan(exact.standard_errors).all()
    assert "Closed form" in str(exact)


def test_weights_act_as_repeated_rows_and_zero_weights_as_absent_ones():
    X, y, _ = problem(60)
    counts = np.arange(60) % 4
    weighted, repeated = gs.closed_form(X, y, counts), gs.closed_form(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-9)
    assert weighted.intercept == pytest.approx(repeated.intercept, rel=1e-9)
    present = gs.closed_form(X, y, counts > 0)
    absent = gs.closed_form(X[counts > 0], y[counts > 0])
    np.testing.assert_allclose(present.coef, absent.coef, rtol=1e-9)
    np.testing.assert_allclose(present.standard_errors, absent.standard_errors, rtol=1e-9)
    assert present.residual_sd == pytest.approx(absent.residual_sd, rel=1e-9)
    assert present.degrees_of_freedom == absent.degrees_of_freedom


def test_scaling_by_powers_of_two_changes_no_bit():
    X, y, _ = problem()
    shifts = np.array([-30, 5, 0, 40, -7])
    exact, scaled = gs.closed_form(X, y), gs.closed_form(np.ldexp(X, shifts), y)
    np.testing.assert_array_equal(np.ldexp(scaled.coef, shifts), exact.coef)
    assert scaled.intercept == exact.intercept


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_extreme_units_neither_overflow_nor_vanish(size):
    X, y, _ = problem()
    exact, big = gs.closed_form(X, y), gs.closed_form(X * size, y)
    np.testing.assert_allclose(big.coef * size, exact.coef, rtol=1e-9)
    np.testing.assert_allclose(gs.closed_form(X, y * 1e150).coef / 1e150, exact.coef, rtol=1e-9)


def test_distance_is_the_worst_contrast_in_standard_errors():
    X, y, weight = problem()
    exact = gs.closed_form(X, y, weight)
    moved, offset = exact.coef * (1 + 1e-3), exact.intercept + 0.1
    difference = X @ (moved - exact.coef) + offset - exact.intercept
    share = weight / weight.mean()
    expected = np.sqrt(share @ difference**2) / np.sqrt(
        share @ (y - X @ exact.coef - exact.intercept) ** 2 / exact.degrees_of_freedom
    )
    distance, relative = exact.distance(moved, offset)
    assert distance == pytest.approx(expected, rel=1e-7)
    fitted = X @ exact.coef
    fitted -= np.average(fitted, weights=weight)
    assert relative == pytest.approx(np.sqrt(share @ difference**2 / (share @ fitted**2)), rel=1e-7)
    # No contrast is further off, in its own standard errors: try the coefficients one by one.
    errors = np.append(exact.standard_errors, exact.intercept_standard_error)
    assert np.all(np.abs(np.append(moved - exact.coef, 0.1)) / errors <= distance * (1 + 1e-9))
    assert exact.distance(exact.coef, exact.intercept) == (0.0, 0.0)


@pytest.mark.parametrize("size", [1e-200, 1e-170, 1e140])
def test_distances_do_not_depend_on_the_unit_of_the_response(size):
    X, y, _ = problem()
    exact, scaled = gs.closed_form(X, y), gs.closed_form(X, y * size)
    moved = exact.coef * 1.01
    np.testing.assert_allclose(
        scaled.distance(moved * size, exact.intercept * size), exact.distance(moved, exact.intercept), rtol=1e-6
    )


def test_other_penalties_have_no_closed_form():
    box = gs.Penalty("box", gs.l2(1.0).value, NO_PENALTY.prox, (-1.0, 1.0))
    with pytest.raises(ValueError, match=r"penalty: .* has no closed form"):
        gs.closed_form([[1.0], [2.0]], [1.0, 2.0], penalty=box)
    custom = gs.Penalty("mine", gs.l2(1.0).value, NO_PENALTY.prox, (1.0,))
    with pytest.raises(ValueError, match=r"penalty: .* has no closed form; None or gs\.l2"):
        gs.closed_form([[1.0], [2.0]], [1.0, 2.0], penalty=custom)
