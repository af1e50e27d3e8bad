"""Laws that every formula obeys, looped over the registries."""

import numpy as np
import pytest
from numba import njit

import gradstep as gs
from conftest import needs_jit
from gradstep.losses import LOSSES
from gradstep.penalties import NO_PENALTY, PENALTIES

# A constructor called with these is what the laws are tried on.
ARGUMENTS = {"l2": [(0.3,), (0.0,), (7.0,)]}

SCORES = np.linspace(-3.0, 3.0, 25) + 0.013


def instances(registry):
    built = [constructor(*args) for constructor in registry for args in ARGUMENTS.get(constructor.__name__, [()])]
    return [pytest.param(one, id=f"{one.name}{one.params}") for one in built]


losses = pytest.mark.parametrize("loss", instances(LOSSES))
penalties = pytest.mark.parametrize("penalty", [*instances(PENALTIES), pytest.param(NO_PENALTY, id="none")])


def difference(function, x, h=1e-5):
    return (function(x + h) - function(x - h)) / (2 * h)


@losses
@pytest.mark.parametrize("y", [-1.5, 0.0, 2.0])
def test_slope_and_curvature_are_derivatives(loss, y):
    for z in SCORES:
        slope, curvature = loss.slope(z, y, loss.params), loss.curvature(z, y, loss.params)
        assert slope == pytest.approx(difference(lambda s: loss.value(s, y, loss.params), z), rel=1e-6, abs=1e-8)
        assert curvature == pytest.approx(difference(lambda s: loss.slope(s, y, loss.params), z), rel=1e-6, abs=1e-8)


@losses
def test_loss_is_convex_and_least_at_the_response(loss):
    rng = np.random.default_rng(0)
    for a, b, y in rng.standard_normal((1000, 3)) * 5:
        chord = (loss.value(a, y, loss.params) + loss.value(b, y, loss.params)) / 2
        assert loss.value((a + b) / 2, y, loss.params) <= chord * (1 + 1e-12)
        assert loss.value(y, y, loss.params) <= loss.value(a, y, loss.params)
    assert loss.slope(1.25, 1.25, loss.params) == 0


@losses
def test_loss_is_finite_at_large_scores(loss):
    for z in (-1e3, 1e3):
        for formula in (loss.value, loss.slope, loss.curvature):
            assert np.isfinite(formula(z, 1.0, loss.params))


@losses
@penalties
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_formulas_keep_the_type_of_their_data(loss, penalty, dtype):
    z, y = dtype(1.5), dtype(0.25)
    formulas = [(f, (z, y, tuple(map(dtype, loss.params)))) for f in (loss.value, loss.slope, loss.curvature)]
    p = tuple(map(dtype, penalty.params))
    formulas += [(penalty.value, (z, p)), (penalty.prox, (z, y, p))]
    for formula, arguments in formulas:
        assert type(formula(*arguments)) is dtype
        assert formula(*arguments) == pytest.approx(formula(*map(np.float64, arguments[:-1]), arguments[-1]), rel=1e-6)


@needs_jit
@losses
@penalties
def test_compiled_formulas_are_the_python_ones(loss, penalty):
    value, slope, curvature, prox = loss.value, loss.slope, loss.curvature, penalty.prox

    @njit
    def compiled(z, y, p, q):
        return value(z, y, p), slope(z, y, p), curvature(z, y, p), prox(z, y, q)

    for z in SCORES:
        plain = value(z, 0.5, loss.params), slope(z, 0.5, loss.params), curvature(z, 0.5, loss.params)
        assert compiled(z, 0.5, loss.params, penalty.params) == (*plain, prox(z, 0.5, penalty.params))


@penalties
@pytest.mark.parametrize("t", [0.0, 0.1, 2.0])
def test_prox_minimises(penalty, t):
    grid = np.linspace(-5, 5, 20001)
    for w in (-2.0, 0.0, 0.7, 3.0):
        best = penalty.prox(w, t, penalty.params)
        costs = np.array([t * penalty.value(v, penalty.params) + (v - w) ** 2 / 2 for v in grid])
        cost = t * penalty.value(best, penalty.params) + (best - w) ** 2 / 2
        assert cost <= costs.min() * (1 + 1e-12) + 1e-15
        assert abs(best - grid[costs.argmin()]) <= 1e-3
    assert penalty.prox(1.7, 0.0, penalty.params) == 1.7


@penalties
def test_prox_expands_no_distance(penalty):
    rng = np.random.default_rng(0)
    for a, b in rng.standard_normal((200, 2)) * 3:
        apart = abs(penalty.prox(a, 0.8, penalty.params) - penalty.prox(b, 0.8, penalty.params))
        assert apart <= abs(a - b) * (1 + 1e-12)


def test_limits_tie_formulas_together():
    assert gs.l2(0.0).prox(1.3, 5.0, (0.0,)) == NO_PENALTY.prox(1.3, 5.0, ())
    assert gs.l2(0.0).value(1.3, (0.0,)) == NO_PENALTY.value(1.3, ()) == 0


def test_squared_loss_is_the_normal_likelihood():
    from scipy.stats import norm

    loss = gs.squared()
    z, y = np.meshgrid(SCORES, SCORES)
    apart = -norm.logpdf(y, loc=z) - np.vectorize(lambda s, t: loss.value(s, t, ()))(z, y)
    np.testing.assert_allclose(apart, np.log(2 * np.pi) / 2, rtol=1e-12)


def test_marking_a_formula_leaves_it_itself():
    def value(z, y, p):
        return abs(z - y)

    assert gs.formula(gs.formula(value)) is value
    assert value(3.0, 1.0, ()) == 2.0


@pytest.mark.parametrize("alpha", [-1.0, np.nan, np.inf, 10**400])
def test_l2_refuses_other_numbers(alpha):
    with pytest.raises(ValueError, match=r"l2: alpha is .*; a finite number of at least 0 is needed"):
        gs.l2(alpha)


@pytest.mark.parametrize("alpha", ["1", None, True, [1.0]])
def test_l2_refuses_what_is_no_number(alpha):
    with pytest.raises(TypeError, match=r"l2: alpha is .*; a real number"):
        gs.l2(alpha)
