"""Laws that every formula obeys, looped over the registries."""

import dataclasses
import math

import numpy as np
import pytest

import gradstep as gs
from gradstep._kernels import cpu
from gradstep._kernels.formula import examples
from gradstep.losses import DOMAINS, LOSSES
from gradstep.penalties import NO_PENALTY, PENALTIES
from gradstep.schedules import SCHEDULES


def each(registry):
    return [pytest.param(one, id=repr(one)) for one in examples(registry)]


losses = pytest.mark.parametrize("loss", each(LOSSES))
penalties = pytest.mark.parametrize("penalty", [*each(PENALTIES), pytest.param(NO_PENALTY, id="none")])
schedules = pytest.mark.parametrize("schedule", each(SCHEDULES))

# The simulator writes its numbers into arrays of the type of the scalars, and the laws of NumPy's scalars, which stand
# in for compiled code with the JIT off, are those of plain Python.
SCORES = np.linspace(-3.0, 3.0, 25) + 0.013


@losses
def test_every_law_of_every_loss_holds(loss, device):
    report = gs.check_loss(loss, device=device)
    assert report.holds, str(report)
    assert len(report.laws) == 16
    assert report.what == repr(loss)


@penalties
def test_every_law_of_every_penalty_holds(penalty, device):
    report = gs.check_penalty(penalty, device=device)
    assert report.holds, str(report)
    assert len(report.laws) == 10


def broken(report):
    return {law.statement for law in report.laws if not law.holds}


def loss_with(name, **formulas):
    return dataclasses.replace(gs.squared(), name=name, **{role: gs.formula(f) for role, f in formulas.items()})


def test_the_laws_catch_a_wrong_slope():
    report = gs.check_loss(loss_with("wrong", slope=lambda z, y, p: (z - y) * (type(z)(1) + type(z)(3e-6))))
    assert "the slope is the derivative of the value" in broken(report)
    assert "the value is convex" not in broken(report)
    assert "2 of 16 laws BROKEN" in str(report)
    assert "BROKEN  the slope is the derivative of the value: at z = " in str(report)


def test_the_laws_catch_a_wrong_curvature():
    report = gs.check_loss(loss_with("wrong", curvature=lambda z, y, p: type(z)(1.001)))
    assert broken(report) == {"the curvature is the derivative of the slope"}
    report = gs.check_loss(loss_with("wrong", curvature=lambda z, y, p: -type(z)(1)))
    assert "the curvature is not negative" in broken(report)


def test_the_laws_catch_a_loss_that_is_not_convex():
    bent = loss_with(
        "bent",
        value=lambda z, y, p: type(z)(math.sin(z - y)),
        slope=lambda z, y, p: type(z)(math.cos(z - y)),
        curvature=lambda z, y, p: type(z)(-math.sin(z - y)),
    )
    assert broken(gs.check_loss(bent)) == {"the value is convex", "the curvature is not negative",
                                           "the slope at a kink lies between those of its sides"}  # fmt: skip


def test_the_laws_catch_a_slope_beyond_its_kink():
    median = gs.quantile(0.5)
    beyond = dataclasses.replace(
        median, slope=gs.formula(lambda z, y, p: -p[0] if z < y else (p[0] if z > y else type(z)(0.7)))
    )
    assert broken(gs.check_loss(beyond)) == {"the slope at a kink lies between those of its sides"}


def test_the_laws_catch_an_overflow():
    @gs.formula
    def exponential(z, y, p):
        return type(z)(math.exp(z))

    report = gs.check_loss(gs.Loss("exponential", exponential, exponential, exponential))
    assert broken(report) == {f"all are finite for scores up to 1,000, in {name}" for name in ("float64", "float32")}


def test_the_laws_catch_a_lost_type():
    report = gs.check_loss(loss_with("doubled", slope=lambda z, y, p: np.float64(z) - y))
    assert broken(report) == {"the slope keeps float32"}
    assert "a constant is type(z)(2)" in str(report)


def test_the_laws_catch_a_wrong_prox():
    ridge = gs.l2(0.5)
    wrong = dataclasses.replace(ridge, prox=gs.formula(lambda w, t, p: w / (type(w)(1) + type(w)(1.001) * t * p[0])))
    assert broken(gs.check_penalty(wrong)) == {"the proximal step minimises"}
    shifted = dataclasses.replace(ridge, prox=gs.formula(lambda w, t, p: w + type(w)(1e-3)))
    assert "the proximal step of 0 moves nothing" in broken(gs.check_penalty(shifted))
    apart = dataclasses.replace(ridge, prox=gs.formula(lambda w, t, p: w * (type(w)(1) + t)))
    assert "the proximal step brings nothing further apart" in broken(gs.check_penalty(apart))
    with pytest.raises(TypeError, match="penalty: None came"):
        gs.check_penalty(None)


@losses
def test_slopes_at_kinks_are_the_least_there_are(loss):
    for y in DOMAINS[loss.domain].into(np.array([0.0, 2.0])):
        for off in (0.0, *loss.params, *(-p for p in loss.params)):
            z = y + off
            sides = [loss.slope(z + h, y, loss.params) for h in (-1e-7, 1e-7)]
            here = loss.slope(z, y, loss.params)
            if min(sides) < 0 < max(sides) and max(sides) - min(sides) > 1e-3:
                assert here == 0
            assert abs(here) <= min(map(abs, sides)) * (1 + 1e-5) + 1e-6


@schedules
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rates_are_positive_and_keep_their_type(schedule, dtype, device):
    from gradstep._table.devices import backend

    t = np.arange(999, dtype=dtype)[:: 1 if device == "cpu" else 50]
    p = tuple(map(dtype, schedule.params))
    rates = backend(device).each_kernel(schedule.rate, 1)(t, p)
    assert rates.dtype == dtype
    assert np.all((rates > 0) & (rates <= dtype(0.1) * (1 + 1e-6)))
    plain = [schedule.rate(at, p) for at in t]
    assert {type(rate) for rate in plain} == {dtype}
    np.testing.assert_allclose(rates, plain, rtol=2e-6 if dtype is np.float32 else 1e-13)


@schedules
def test_rates_of_a_fit_are_those_of_the_formula(schedule):
    from gradstep._solvers.textbook import rates

    expected = [schedule.rate(float(t), schedule.params) for t in range(3, 40)]
    np.testing.assert_allclose(rates(schedule, 3, 37), expected, rtol=1e-14)


def test_schedules_by_their_formulas():
    t = np.arange(0.0, 1001.0)

    def by(schedule):
        return np.array([schedule.rate(float(at), schedule.params) for at in t])

    np.testing.assert_allclose(by(gs.constant(0.3)), 0.3)
    np.testing.assert_allclose(by(gs.inverse_decay(0.3, 0.02)), 0.3 / (1 + 0.02 * t), rtol=1e-14)
    np.testing.assert_allclose(by(gs.power_decay(0.3, 0.02)), 0.3 / np.sqrt(1 + 0.02 * t), rtol=1e-14)
    np.testing.assert_allclose(by(gs.exponential_decay(0.3, 70)), 0.3 * 0.5 ** (t / 70), rtol=1e-13)
    falling = 0.01 + 0.29 * (1 + np.cos(np.pi * (t - 100) / 900)) / 2
    expected = np.where(t < 100, 0.3 * (t + 1) / 101, falling)
    np.testing.assert_allclose(by(gs.cosine_decay(0.3, 1000, 100, 0.01)), expected, rtol=1e-12)
    assert by(gs.cosine_decay(0.3, 1000))[[0, 999, 1000]] == pytest.approx([0.3, 7.4e-7, 0.0], rel=1e-2)


def numbers(loss, role, z, y):
    formula = getattr(loss, role)
    return np.array([formula(float(a), float(b), loss.params) for a, b in np.broadcast(z, y)])


SOME_Y = np.array([[-1.7], [0.0], [0.3], [2.0]])


@pytest.mark.parametrize("role", ["value", "slope", "curvature"])
def test_huber_with_a_huge_delta_is_squared(role):
    huge, plain = (numbers(loss, role, SCORES, SOME_Y) for loss in (gs.huber(1e300, absolute=True), gs.squared()))
    np.testing.assert_array_equal(huge, plain)


@pytest.mark.parametrize("role", ["value", "slope"])
def test_limits_of_the_absolute_error(role):
    median, tube = (numbers(loss, role, SCORES, SOME_Y) for loss in (gs.quantile(0.5), gs.epsilon_insensitive(0.0)))
    np.testing.assert_array_equal(2 * median, tube)
    np.testing.assert_array_equal(2 * gs.quantile(0.5).value(0.2, 1.0, (0.5,)), 0.8)
    # Huber's, over a delta that vanishes, is the absolute error.
    small = numbers(gs.huber(1e-12), role, SCORES, SOME_Y) / 1e-12
    np.testing.assert_allclose(small, tube, rtol=1e-9)


def test_quantile_levels_mirror_each_other():
    low, high = gs.quantile(0.2), gs.quantile(0.8)
    np.testing.assert_allclose(
        numbers(low, "value", SCORES, SOME_Y), numbers(high, "value", -SCORES, -SOME_Y), rtol=1e-15
    )


@pytest.mark.parametrize(("ratio", "end"), [(1.0, gs.l1(0.7)), (0.0, gs.l2(0.7))])
def test_elastic_net_at_its_ends_is_l1_and_l2(ratio, end):
    net = gs.elastic_net(0.7, ratio)
    for w in (-3.1, -0.2, 0.0, 0.2, 5.0, 1e200):
        if abs(w) < 1e100 or ratio == 1:
            assert net.value(w, net.params) == pytest.approx(end.value(w, end.params), rel=1e-15)
        for t in (0.0, 0.3, 4.0):
            assert net.prox(w, t, net.params) == end.prox(w, t, end.params)


@pytest.mark.parametrize("constructor", PENALTIES)
def test_a_strength_of_zero_is_no_penalty(constructor):
    none = constructor(0.0)
    for w in (-1.3, 0.0, 2.2):
        assert none.prox(w, 5.0, none.params) == w == NO_PENALTY.prox(w, 5.0, ())
        assert none.value(w, none.params) == NO_PENALTY.value(w, ()) == 0


def test_losses_are_likelihoods():
    from scipy import stats

    z, y = (a.ravel() for a in np.meshgrid(SCORES, [0.0, 1.0, 3.0]))
    normal = -stats.norm.logpdf(y, loc=z) - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(numbers(gs.squared(), "value", z, y), normal, rtol=1e-12, atol=1e-14)
    count = -stats.poisson.logpmf(y, np.exp(z)) - np.log([math.factorial(int(k)) for k in y])
    np.testing.assert_allclose(numbers(gs.poisson(), "value", z, y), count, rtol=1e-12, atol=1e-14)
    z, y = (a.ravel() for a in np.meshgrid(SCORES, [0.0, 1.0]))
    label = -stats.bernoulli.logpmf(y, 1 / (1 + np.exp(-z)))
    np.testing.assert_allclose(numbers(gs.logistic(), "value", z, y), label, rtol=1e-12)


# Digits from the definitions, to 60 places, by mpmath: value, slope and curvature.
DIGITS = {
    ("logistic", 1000.0, 0.0): (1000.0, 1.0, 0.0),
    ("logistic", 1000.0, 1.0): (0.0, 0.0, 0.0),
    ("logistic", -1000.0, 1.0): (1000.0, -1.0, 0.0),
    ("logistic", 40.0, 1.0): (4.248354255291589e-18, -4.248354255291589e-18, 4.248354255291589e-18),
    ("logistic", -40.0, 0.0): (4.248354255291589e-18, 4.248354255291589e-18, 4.248354255291589e-18),
    ("logistic", 17.0, 1.0): (4.139937633089748e-08, -4.1399375473943306e-08, 4.1399373760035016e-08),
    ("poisson", -1000.0, 3.0): (3000.0, -3.0, 0.0),
    ("poisson", -30.0, 0.0): (9.357622968840175e-14, 9.357622968840175e-14, 9.357622968840175e-14),
    ("poisson", 60.0, 5.0): (1.1420073898156842e26, 1.1420073898156842e26, 1.1420073898156842e26),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", DIGITS, ids=str)
def test_no_digits_are_lost_at_large_scores(case, dtype):
    name, z, y = case
    loss = getattr(gs, name)()
    found = [getattr(loss, role)(dtype(z), dtype(y), ()) for role in ("value", "slope", "curvature")]
    np.testing.assert_allclose(found, DIGITS[case], rtol=1e-15 if dtype is np.float64 else 1e-6)


def test_poisson_goes_on_along_its_tangent():
    loss = gs.poisson()
    for dtype, top in ((np.float64, 700.0), (np.float32, 80.0)):
        z = dtype(1000.0)
        e = math.exp(top)
        assert loss.value(z, dtype(0), ()) == pytest.approx(e * (1 + 1000 - top), rel=1e-5)
        assert loss.slope(z, dtype(0), ()) == pytest.approx(e, rel=1e-5)
        assert loss.curvature(z, dtype(0), ()) == 0


@pytest.mark.parametrize("loss", each(LOSSES))
@pytest.mark.parametrize("role", ["value", "slope", "curvature"])
def test_whole_numbers_are_numbers_too(loss, role):
    formula = getattr(loss, role)
    for z, y in ((1, 1), (-2, 0), (3, 1), (0, 1)):
        assert formula(z, y, loss.params) == formula(float(z), float(y), loss.params)


def test_a_formula_that_raises_is_judged_where_it_does_not():
    @gs.formula
    def raises(z, y, p):
        if z > 100:
            raise ValueError("too much")
        return (z - y) * (z - y) / type(z)(2)

    report = gs.check_loss(loss_with("raises", value=raises))
    assert "all are finite for scores up to 1,000, in float64" in broken(report)
    assert "the slope is the derivative of the value" not in broken(report)


def test_marking_a_formula_leaves_it_itself():
    def value(z, y, p):
        return abs(z - y)

    assert gs.formula(gs.formula(value)) is value
    assert value(3.0, 1.0, ()) == 2.0


def test_one_compilation_serves_every_value_of_a_parameter():
    kernels = {cpu.epoch_kernel(gs.huber(d).value, gs.huber(d).slope, gs.l2(d).prox, False) for d in (0.1, 0.2)}
    assert len(kernels) == 1


def test_groups_print_and_compare_by_what_they_are():
    assert repr(gs.elastic_net(0.1, 0.25)) == "elastic_net(0.1, 0.25)"
    assert repr(gs.squared()) == "squared()"
    assert repr(gs.l2(0.1 + 0.2)) == "l2(0.30000000000000004)"
    assert gs.huber(1.5) == gs.huber(1.5) != gs.huber(1.6)
    assert len({gs.l1(1.0), gs.l1(1.0), gs.l2(1.0)}) == 2
