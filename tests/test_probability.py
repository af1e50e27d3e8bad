"""Finite probability: events, joint tables, Bayes, Markov chains; exact in fractions, beside truth from outside."""

import itertools
import math
import pickle
import time
from copy import deepcopy
from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg

from conftest import needs_jit
from gradstep.textbook import Event, Joint, MarkovChain, SampleSpace, bayes

F = Fraction
DICE = SampleSpace.uniform(itertools.product(range(1, 7), repeat=2))
WEATHER = Joint({"sky": ["clear", "grey"], "rain": [0, 1]}, [[F(5, 10), F(1, 10)], [F(2, 10), F(2, 10)]])


def test_events_of_two_dice():
    seven = DICE.event(lambda pair: sum(pair) == 7)
    first_is_one = DICE.event(lambda pair: pair[0] == 1)
    doubles = DICE.event(lambda pair: pair[0] == pair[1])
    assert seven.probability == F(1, 6)
    assert (seven | doubles).probability == F(12, 36)
    assert (seven & first_is_one).outcomes == {(1, 6)}
    assert (~seven).probability == F(5, 6)
    assert (first_is_one - seven).probability == F(5, 36)
    assert seven.excludes(doubles)
    assert not seven.independent_of(doubles)
    assert seven.independent_of(first_is_one)
    assert not seven.excludes(first_is_one)
    assert seven.given(first_is_one) == F(1, 6)
    assert (seven & doubles).probability == 0
    assert DICE.event(lambda pair: True).probability == 1
    assert DICE.event({(1, 1)}) == first_is_one & doubles
    assert (1, 6) in seven
    assert DICE.law(sum)[7] == F(1, 6)
    assert sum(DICE.law(max).values()) == 1


def test_events_obey_the_axioms_and_de_morgan():
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 10, 8).tolist()
    space = SampleSpace({i: F(weight, sum(weights)) for i, weight in enumerate(weights)})
    events = [space.event(set(np.flatnonzero(rng.random(8) < 0.5).tolist())) for _ in range(8)]
    for a, b in itertools.product(events, repeat=2):
        assert (a | b).probability == a.probability + b.probability - (a & b).probability
        assert ~(a | b) == ~a & ~b
        assert a - b == a & ~b
        if b.probability > 0:
            assert a.given(b) + (~a).given(b) == 1


def test_a_medical_test_in_three_ways():
    prior = {"ill": F(1, 1000), "well": F(999, 1000)}
    test = {"ill": {"+": F(99, 100), "-": F(1, 100)}, "well": {"+": F(2, 100), "-": F(98, 100)}}
    # Of 100,000: 100 ill, 99 of them positive; 99,900 well, 1,998 of them positive.
    expected = F(99, 99 + 1998)
    joint = Joint.from_conditional(("disease", "test"), prior, test)
    assert joint.given(test="+").probability(disease="ill") == expected
    assert bayes(prior, {state: test[state]["+"] for state in prior})["ill"] == expected
    space = SampleSpace({(a, b): joint.probability(disease=a, test=b) for a in prior for b in "+-"})
    ill, positive = space.event(lambda o: o[0] == "ill"), space.event(lambda o: o[1] == "+")
    assert ill.given(positive) == expected
    floats = bayes({"ill": 0.001, "well": 0.999}, {"ill": 0.99, "well": 0.02})
    assert floats["ill"] == pytest.approx(float(expected), rel=1e-15)


def test_evidence_one_after_the_other_is_evidence_at_once():
    prior = {"spam": F(2, 5), "ham": F(3, 5)}
    words = [{"spam": F(1, 4), "ham": F(1, 50)}, {"spam": F(1, 10), "ham": F(1, 5)}, {"spam": F(3, 4), "ham": F(1, 3)}]
    after = prior
    for word in words:
        after = bayes(after, word)
    assert after == bayes(prior, {h: math.prod(word[h] for word in words) for h in prior})


def test_a_joint_table():
    assert WEATHER.marginal("rain").table.tolist() == [F(7, 10), F(3, 10)]
    assert WEATHER.marginal("rain", "sky").table.tolist() == WEATHER.table.T.tolist()
    assert WEATHER.given(rain=1).probability(sky="grey") == F(2, 3)
    assert not WEATHER.independent()
    assert WEATHER.expectation("rain") == F(3, 10)
    assert WEATHER.expectation(lambda sky, rain: sky == "grey" and rain == 1) == F(2, 10)
    assert WEATHER.variance("rain") == F(21, 100)
    assert WEATHER.standard_deviation("rain") == math.sqrt(0.21)
    grey = WEATHER.covariance("rain", lambda sky: int(sky == "grey"))
    assert grey == F(2, 10) - F(3, 10) * F(4, 10)
    assert WEATHER.probability() == 1
    assert WEATHER.law("rain") == {0: F(7, 10), 1: F(3, 10)}
    assert WEATHER.expectation(lambda rain, scale=10: scale * rain) == 3
    assert "sky" in str(WEATHER)
    assert "7/10" in str(WEATHER.marginal("rain"))


def test_moments_of_random_tables_beside_numpy():
    rng = np.random.default_rng(1)
    table = rng.dirichlet(np.ones(24)).reshape(2, 3, 4)
    values = {"x": [0, 5], "y": [-1, 0, 2], "z": [1, 2, 3, 7]}
    joint = Joint(values, table)
    x, y, z = np.meshgrid(*values.values(), indexing="ij")
    np.testing.assert_allclose(joint.expectation(lambda z, x: z * x), (table * x * z).sum(), rtol=1e-14)
    flat = np.stack([a.ravel() for a in (x, y, z)])
    covariance = np.cov(flat, aweights=table.ravel(), ddof=0)
    for i, j in itertools.product(range(3), repeat=2):
        np.testing.assert_allclose(joint.covariance("xyz"[i], "xyz"[j]), covariance[i, j], atol=1e-13)
    np.testing.assert_allclose(joint.marginal("z", "x").table, table.sum(axis=1).T, rtol=1e-14)
    np.testing.assert_allclose(joint.given(y=2).table, table[:, 2] / table[:, 2].sum(), rtol=1e-14)
    # P(x) P(y | x) P(z | x, y) is the table again.
    for a, b, c in itertools.product(*values.values()):
        chain = joint.probability(x=a) * joint.given(x=a).probability(y=b) * joint.given(x=a, y=b).probability(z=c)
        np.testing.assert_allclose(chain, joint.probability(x=a, y=b, z=c), rtol=1e-13)


def test_independence_of_products():
    x, y = np.array([0.2, 0.3, 0.5]), np.array([0.1, 0.9])
    joint = Joint({"x": range(3), "y": range(2)}, np.outer(x, y))
    assert joint.independent("x", "y")
    assert joint.covariance("x", "y") == pytest.approx(0.0, abs=1e-15)
    # Pairwise independent, not mutually: two coins and whether they agree.
    coins = [[[F(int(agree == (a == b)), 4) for agree in (0, 1)] for b in (0, 1)] for a in (0, 1)]
    three = Joint({"a": [0, 1], "b": [0, 1], "agree": [0, 1]}, coins)
    assert all(three.independent(*pair) for pair in itertools.combinations(three.variables, 2))
    assert not three.independent()


# The weather of three kinds, a classical example; and a chain of two classes, one of which is left for good.
P = [[F(1, 2), F(1, 4), F(1, 4)], [F(1, 2), F(0), F(1, 2)], [F(1, 4), F(1, 4), F(1, 2)]]
LEFT = [[F(1, 2), F(1, 2), 0], [0, F(1, 3), F(2, 3)], [0, F(1, 2), F(1, 2)]]


def test_stationary_law():
    oz = MarkovChain(P, ["rain", "nice", "snow"])
    assert oz.stationary().tolist() == [F(2, 5), F(1, 5), F(2, 5)]  # Kemeny, Snell and Thompson's land of Oz
    assert oz.irreducible
    left = MarkovChain(LEFT)
    assert left.stationary().tolist() == [0, F(3, 7), F(4, 7)]
    assert [(c.states, c.closed, c.period) for c in left.classes] == [((0,), False, 1), ((1, 2), True, 1)]


@pytest.mark.parametrize("size", [1, 2, 5, 40, 100])
def test_stationary_law_beside_eigenvectors(size):
    matrix = np.random.default_rng(size).dirichlet(np.full(size, 0.3), size)
    chain = MarkovChain(matrix)
    law = chain.stationary()
    values, vectors = scipy.linalg.eig(matrix.T)
    vector = np.real(vectors[:, np.argmax(np.real(values))])
    np.testing.assert_allclose(law, vector / vector.sum(), atol=1e-11)
    np.testing.assert_allclose(law @ matrix, law, atol=1e-14)
    np.testing.assert_allclose(chain.law(0, 5000), law, atol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "law"),
    [
        ([[1 - 1e-12, 1e-12], [2e-12, 1 - 2e-12]], [2 / 3, 1 / 3]),
        ([[1.0, 1e-17], [2e-17, 1.0]], [2 / 3, 1 / 3]),
        ([[1, 1e-20, 0], [0, 1, 1e-20], [1e-20, 0, 1]], [1 / 3] * 3),
        (
            np.diag([0.1] * 59, 1) + np.diag([0.4] * 59, -1) + np.diag([0.9] + [0.5] * 58 + [0.6]),
            0.25 ** np.arange(60.0),
        ),
    ],
)
def test_stationary_law_to_the_last_digit_of_each_entry(matrix, law):
    found, truth = MarkovChain(matrix).stationary(), np.array(law) / np.sum(law)
    np.testing.assert_allclose(found, truth, rtol=1e-12)


def well(n):
    """Return a chain of two wells whose law is e-fold deep, and its law by detailed balance, in logarithms."""
    up = np.where(np.arange(n) < n // 2, 0.1, 0.9)
    P = np.zeros((n, n))
    for i in range(n):
        P[i, min(i + 1, n - 1)] += up[i]
        P[i, max(i - 1, 0)] += 1 - up[i]
    log = np.append(0.0, np.cumsum(np.log(up[:-1]) - np.log(1 - up[1:])))
    law = np.exp(log - log.max())
    return P, law / law.sum()


@pytest.mark.parametrize("n", [101, 801, 1200])
def test_stationary_laws_beyond_the_range_of_floats(n):
    P, law = well(n)
    np.testing.assert_allclose(MarkovChain(P).stationary(), law, rtol=1e-9, atol=1e-300)


def test_products_too_small_for_floats():
    found = MarkovChain([[0, 1, 0], [0, 1, 1e-200], [1e-200, 1, 0]]).stationary()
    np.testing.assert_allclose(found[1], 1.0, rtol=1e-12)
    assert np.isfinite(found).all()


def test_many_steps_of_a_law_of_floats_in_a_chain_of_fractions():
    chain = MarkovChain([[F(2, 3), F(1, 3)], [F(1, 2), F(1, 2)]])
    for n in (1, 5, 40, 10**6):
        law = chain.law([0.5, 0.5], n)
        assert law.dtype == np.float64
        np.testing.assert_allclose(
            law, [0.5, 0.5] @ np.linalg.matrix_power(chain.transition.astype(float), n), rtol=1e-9
        )
    for n in (7, 30, 100):
        assert chain.law(0, n).tolist() == chain.after(n)[0].tolist()


def test_large_chains_of_fractions():
    n = 150
    P = [[F(0)] * n for _ in range(n)]
    for i in range(n):
        P[i][max(i - 1, 0)] += F(2, 3)
        P[i][min(i + 1, n - 1)] += F(1, 3)
    began = time.perf_counter()
    law = MarkovChain(P).stationary()
    assert [b / a for a, b in itertools.pairwise(law)] == [F(1, 2)] * (n - 1)
    assert MarkovChain(np.eye(n, dtype=int)[np.r_[1:n, 0]]).stationary().tolist() == [F(1, n)] * n
    assert time.perf_counter() - began < 10


def test_rounded_decimals_do_not_leak():
    thirds = MarkovChain([[0.3333333333] * 3] * 3)
    np.testing.assert_allclose(thirds.law(0, 10**10), 1 / 3, rtol=1e-12)
    P = np.random.default_rng(0).dirichlet(np.ones(6), 6)
    np.testing.assert_allclose(MarkovChain(P).law(0, 10**16).sum(), 1.0, rtol=1e-13)
    assert MarkovChain(P.astype(np.float32)).law(0, 3).sum() == pytest.approx(1.0, rel=1e-13)
    space = SampleSpace(dict.fromkeys("abc", 0.33333333333))
    whole = space.event(lambda o: True)
    assert whole.probability == pytest.approx(1.0, rel=1e-15)
    assert whole.independent_of(space.event("a"))
    assert (whole - whole).probability == 0.0
    assert isinstance((whole - whole).probability, float)


def test_what_is_made_stays_as_it_is_and_travels():
    for made in (WEATHER, MarkovChain(P), SampleSpace.uniform("ab")):
        with pytest.raises(AttributeError, match="cannot be changed"):
            made.table = 1
        for copy in (pickle.loads(pickle.dumps(made)), deepcopy(made)):
            assert str(copy) == str(made)
            arrays = [value for value in vars(copy).values() if isinstance(value, np.ndarray)]
            assert not any(array.flags.writeable for array in arrays)
    event = DICE.event({(1, 1)})
    assert pickle.loads(pickle.dumps(event)) == deepcopy(event) == event
    with pytest.raises(AttributeError, match="cannot be changed"):
        del WEATHER.table
    with pytest.raises(ValueError, match="read-only"):
        WEATHER.table[0, 0] = 1


def test_variables_of_a_sample_space():
    joint = DICE.joint(total=sum, high=max)
    assert joint.probability(total=4, high=3) == F(2, 36)
    assert joint.expectation("total") == 7
    assert joint.law("high") == DICE.law(max)


def test_stationary_law_of_fractions_is_that_of_floats():
    rng = np.random.default_rng(7)
    counts = rng.integers(0, 5, (12, 12)) + np.eye(12, dtype=int)
    exact = MarkovChain([[F(int(c), int(row.sum())) for c in row] for row in counts])
    floats = MarkovChain(counts / counts.sum(axis=1, keepdims=True))
    law = exact.stationary()
    assert (law @ exact.transition).tolist() == law.tolist()
    np.testing.assert_allclose(floats.stationary(), law.astype(float), atol=1e-14)


def test_steps_ahead():
    chain = MarkovChain(P)
    assert chain.after(0).tolist() == np.eye(3, dtype=int).tolist()
    assert chain.after(3).tolist() == (chain.transition @ chain.transition @ chain.transition).tolist()
    assert chain.law(1, 2).tolist() == chain.after(2)[1].tolist()
    assert chain.law([F(1, 2), F(1, 2), 0], 1).tolist() == [F(1, 2), F(1, 8), F(3, 8)]
    assert chain.law({0: F(1, 2), 1: F(1, 2)}, 1).tolist() == [F(1, 2), F(1, 8), F(3, 8)]
    np.testing.assert_allclose(chain.law([0.5, 0.5, 0.0], 1).astype(float), [0.5, 0.125, 0.375], rtol=1e-15)


def cycle(length, *more):
    matrix = np.zeros((length, length))
    for i in range(length):
        matrix[i, (i + 1) % length] = 1.0
    for i, j in more:
        matrix[i] = 0.0
        matrix[i, [j, (i + 1) % length]] = 0.5
    return matrix


@pytest.mark.parametrize(
    ("matrix", "period"),
    [
        (cycle(1), 1),
        (cycle(6), 6),
        (cycle(6, (2, 1)), 2),
        (cycle(6, (5, 3)), 3),
        (cycle(6, (0, 0)), 1),
        (cycle(5, (3, 1)), 1),
    ],
)
def test_periods(matrix, period):
    (of_class,) = MarkovChain(matrix).classes
    # From the definition: lengths of returns to the first state.
    power, returns = np.eye(len(matrix)), []
    for n in range(1, 60):
        power = power @ matrix
        if power[0, 0] > 0:
            returns.append(n)
    assert of_class.period == period == math.gcd(*returns)


def test_a_state_that_is_never_met_again_has_no_period():
    chain = MarkovChain([[0, 1], [0, 1]])
    assert [c.period for c in chain.classes] == [0, 1]
    assert chain.stationary().tolist() == [0, 1]


def test_a_walk_is_where_the_law_says():
    steps = 2_000 if not needs_jit.args[0] else 200
    matrix = np.array([[0.0, 0.7, 0.3, 0.0], [0.2, 0.0, 0.0, 0.8], [0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4]])
    chain = MarkovChain(matrix)
    walks = np.array([chain.simulate(20, 0, seed=seed) for seed in range(steps)])
    assert (walks[:, 0] == 0).all()
    for t in (1, 2, 20):
        law, found = chain.law(0, t), np.bincount(walks[:, t], minlength=4) / steps
        assert np.abs(found - law).max() <= 4 * np.sqrt(law * (1 - law) / steps).max() + 1e-12
    assert (matrix[walks[:, :-1], walks[:, 1:]] > 0).all()


def test_walks_of_one_seed_are_one_walk():
    chain = MarkovChain(np.random.default_rng(0).dirichlet(np.ones(5), 5))
    np.testing.assert_array_equal(chain.simulate(300, 2, seed=5)[:100], chain.simulate(99, 2, seed=5))
    assert (chain.simulate(300, 2, seed=6) != chain.simulate(300, 2, seed=5)).any()
    starts = [chain.simulate(0, [0.0, 0.5, 0.0, 0.5, 0.0], seed=seed)[0] for seed in range(50)]
    assert set(starts) == {1, 3}


@needs_jit
def test_frequencies_and_transitions_of_a_long_walk():
    matrix = np.random.default_rng(2).dirichlet(np.full(100, 0.5), 100)
    chain = MarkovChain(matrix)
    chain.simulate(1, 0)
    began = time.perf_counter()
    walk = chain.simulate(10_000_000, 0)
    assert time.perf_counter() - began < 3  # a third of a second where nothing else runs
    law = chain.stationary()
    np.testing.assert_allclose(np.bincount(walk, minlength=100) / len(walk), law, atol=5e-4)
    pairs = np.bincount(walk[:-1] * 100 + walk[1:], minlength=10_000).reshape(100, 100)
    # Chi-square of all transitions, of 100 rows with 99 degrees of freedom each.
    expected = np.bincount(walk[:-1], minlength=100)[:, np.newaxis] * matrix
    seen = expected > 5
    score = (np.square(pairs - expected)[seen] / expected[seen]).sum()
    degrees = seen.sum() - 100
    assert abs(score - degrees) < 6 * math.sqrt(2 * degrees)


REFUSED = [
    (lambda: SampleSpace({"a": 0.5, "b": 0.6}), ValueError, r"the probabilities sum to 1\.1; a sum of 1"),
    (lambda: SampleSpace({"a": F(1, 2), "b": F(1, 3)}), ValueError, "sum to 5/6"),
    (lambda: SampleSpace({"a": 1.5, "b": -0.5}), ValueError, r"probabilities: -0\.5 came for 'b'; .* not negative"),
    (lambda: SampleSpace({"a": "half"}), TypeError, r"probabilities\[0\]: 'half' came, a str; a number"),
    (lambda: SampleSpace({"a": math.nan}), ValueError, "nan came; a finite number"),
    (lambda: SampleSpace({}), TypeError, "a mapping from outcomes"),
    (lambda: SampleSpace.uniform([]), ValueError, "outcomes: none came"),
    (lambda: SampleSpace.uniform("aba"), ValueError, "outcomes: 'a' came twice"),
    (lambda: DICE.event({(0, 1)}), ValueError, r"which: \(0, 1\) came, which is none of"),
    (lambda: DICE.event({(1, 1)}).given(DICE.event([])), ValueError, "condition: .* has probability 0"),
    (lambda: DICE.event([]) | SampleSpace.uniform("ab").event("a"), ValueError, "other: an event of another"),
    (lambda: DICE.event([]) | {(1, 1)}, TypeError, "other: .* an Event is needed"),
    (lambda: bayes({"a": 0.5, "b": 0.5}, {"a": 0.1}), ValueError, "likelihood: .* one for each of a, b"),
    (lambda: bayes({"a": 0.5, "b": 0.5}, {"a": 0.1, "b": -1}), ValueError, "likelihood: -1 came for 'b'"),
    (lambda: bayes({"a": 1, "b": 0}, {"a": 0, "b": 0.5}), ValueError, "the evidence has probability 0"),
    (lambda: bayes({"a": 0.7}, {"a": 1}), ValueError, r"prior: the probabilities sum to 0\.7"),
    (lambda: Joint({"x": [0, 1]}, [[0.5, 0.5]]), ValueError, r"table: shape \(1, 2\) came; \(2,\) is needed"),
    (lambda: Joint({"x": [0, 1], "y": [0]}, [[1.25], [-0.25]]), ValueError, r"table: -0\.25 came at x=1, y=0"),
    (lambda: Joint({"x": [0, 1]}, [0.5, 0.4]), ValueError, r"table: the probabilities sum to 0\.9"),
    (lambda: Joint({"x": [0, 0]}, [0.5, 0.5]), ValueError, r"variables\['x'\]: 0 came twice"),
    (lambda: Joint({}, 1.0), TypeError, "variables: {} came"),
    (lambda: WEATHER.marginal("wind"), ValueError, "variable: 'wind' came; one of sky, rain"),
    (WEATHER.marginal, ValueError, r"names: \(\) came"),
    (lambda: WEATHER.probability(sky="blue"), ValueError, "sky: 'blue' came; one of the outcomes clear, grey"),
    (lambda: WEATHER.given(sky="grey", rain=0), ValueError, "a variable that is not known"),
    (lambda: Joint({"x": [0, 1], "y": [0, 1]}, [[0.5, 0], [0.5, 0]]).given(y=1), ValueError, "y=1 has probability 0"),
    (lambda: WEATHER.expectation("sky"), TypeError, r"the values of sky\[0\]: 'clear' came"),
    (lambda: WEATHER.expectation(lambda wind: wind), ValueError, "variable: 'wind' came"),
    (lambda: WEATHER.expectation(max), TypeError, "of: <built-in function max> came, a function without"),
    (lambda: WEATHER.variance(lambda *values: 1), TypeError, "of: .* names of variables"),
    (lambda: WEATHER.law("wind"), ValueError, "variable: 'wind' came"),
    (lambda: MarkovChain(P).law({3: 1}, 2), ValueError, "start: 3 came; states of 0, 1, 2"),
    (lambda: DICE.event(5), TypeError, "which: 5 came .*; a condition, or several outcomes"),
    (lambda: SampleSpace.uniform(5), TypeError, "outcomes: 5 came .*; several hashable outcomes"),
    (lambda: SampleSpace.uniform([[1], [2]]), TypeError, "outcomes: .*unhashable"),
    (lambda: Event(DICE, frozenset({99})), ValueError, "which: 99 came, which is none of"),
    (lambda: Joint({0: [0, 1]}, [0.5, 0.5]), TypeError, "variables: 0 came for a name"),
    (lambda: Joint({"x": 3}, [0.5, 0.5]), TypeError, r"variables\['x'\]: 3 came"),
    (lambda: Joint.from_conditional("abc", {}, {}), TypeError, "names: 'abc' came; a tuple of two"),
    (lambda: Joint.from_conditional(("v", "v"), {}, {}), ValueError, "names: .* came; two different names"),
    (lambda: WEATHER.marginal(["sky", "rain"]), ValueError, "variable: .* came; one of sky, rain"),
    (lambda: WEATHER.given(rain=np.array([1])), ValueError, "rain: .* came; one of the outcomes"),
    (lambda: DICE.law("sum"), TypeError, "of: 'sum' came; a function"),
    (lambda: DICE.joint(both=list), TypeError, "of: .* came for .*; a hashable value"),
    (lambda: SampleSpace({1: 10**400, 2: 0.5}), ValueError, "probabilities: a whole number beyond float64"),
    (lambda: Joint({"x": [0, 1]}, [np.ma.masked_array([0.5]), 0.5]), TypeError, "table: a masked array came"),
    (lambda: DICE.joint(pair=lambda pair: pair).expectation("pair"), (TypeError, ValueError), "the values of pair"),
    (lambda: MarkovChain(P, 5), TypeError, "states: 5 came"),
    (lambda: SampleSpace(np.ma.masked_array([1.0])), TypeError, "probabilities: masked_array"),
    (lambda: MarkovChain(np.ma.masked_array([[1.0]])), TypeError, "transition: a masked array came"),
    (lambda: MarkovChain(np.eye(6)).stationary(), ValueError, r"6 closed classes, .* and \{4\} and \{5\}, and so"),
    (lambda: MarkovChain([[0.5, 0.6], [0, 1]]), ValueError, r"transition, row 0: the probabilities sum to 1\.1"),
    (lambda: MarkovChain([[1, 0], [1.5, -0.5]], "ab"), ValueError, r"transition, row 'b': -0\.5 came for 'b'"),
    (lambda: MarkovChain([[1, 0]]), ValueError, r"transition: shape \(1, 2\) came; \(states, states\)"),
    (lambda: MarkovChain([[1, 0], [1]]), ValueError, r"transition\[0\]: \[1, 0\] came; rows of equal length"),
    (lambda: MarkovChain([[1]], "ab"), ValueError, "states: 2 names came; 1 are needed"),
    (lambda: MarkovChain(np.eye(3), "abc").stationary(), ValueError, "3 closed classes, {a} and {b} and {c}"),
    (lambda: MarkovChain(P).simulate(3, "sun"), ValueError, "start: 'sun' came; one of 0, 1, 2"),
    (lambda: MarkovChain(P, [("a", 1), ("b", 1), ("c", 1)]).law(("z", 1), 3), ValueError, "start: .'z', 1. came"),
    (lambda: MarkovChain(P).law([1, 0], 3), ValueError, r"start: shape \(2,\) came; \(3,\) is needed"),
    (lambda: MarkovChain(P).law([2, -1, 0], 3), ValueError, "start: -1 came for 1"),
    (lambda: MarkovChain(P).law([0.5, 0.1, 0.1], 3), ValueError, r"start: the probabilities sum to 0\.7"),
    (lambda: MarkovChain(P).simulate(-1, 0), ValueError, "steps: -1 came; a whole number of at least 0"),
    (lambda: MarkovChain(P).after(1.5), TypeError, "steps: 1.5 came"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
