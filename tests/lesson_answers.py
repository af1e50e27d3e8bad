"""The answers to the exercises of the course, beside truth that shares no code with them; see `test_lessons`."""

import itertools
import math
import struct
from fractions import Fraction

import numpy as np
import scipy.linalg
import scipy.stats
from scipy import optimize, special
from scipy.spatial.distance import cdist

import gradstep as gs


def answers_1(names):
    """Assert each answer of the page; `names` is the dict of the page's globals."""

    # 1. By hand, from the rule: what a start and strides can tell is a view. x is in C order.
    # x[1] yes, x[[1]] list: no, x.T yes, x.ravel() yes, x.T.ravel() no, slice yes, mask no, sum no.
    assert names["answer_1"] == [True, False, True, True, False, True, False, False]

    # 2. Pairs of rows as tuples: the same rows with the same responses in another order, and after the way back in
    # the first order. Sorting in plain Python; no permutation is used.
    X, y = names["X"], names["y"]
    X_mixed, y_mixed, X_back, y_back = names["answer_2"]

    def paired(rows, responses):
        return [(*row, response) for row, response in zip(rows.tolist(), responses.tolist(), strict=True)]

    assert paired(X_mixed, y_mixed) != paired(X, y)
    assert sorted(paired(X_mixed, y_mixed)) == sorted(paired(X, y))
    assert paired(X_back, y_back) == paired(X, y)

    # 3. IEEE 754-2019, table 3.5: p = 24 and 53 digits, so 2^p + 1. And by a round trip through the bytes of each
    # format: every number up to 2^p that is tried comes back, 2^p + 1 does not.
    assert names["answer_3"] == [16_777_217, 9_007_199_254_740_993]
    for first_missing, code in zip(names["answer_3"], "fd", strict=True):

        def held(number, code=code):
            return int(struct.unpack(code, struct.pack(code, number))[0]) == number

        assert not held(first_missing)
        assert all(held(number) for number in range(first_missing - 1000, first_missing))

    # 4. SciPy's own distances. Bytes by hand: 10,000 * 10,000 * 20 numbers of 8 bytes are 16e9.
    distances, nbytes = names["answer_4"]
    np.testing.assert_allclose(distances, cdist(X[:50], X[:50]), rtol=1e-12, atol=1e-14)
    assert nbytes == 16_000_000_000

    # 5. Twice the variance; with both sums written out in plain Python on the first 60 responses, and for all of them
    # through math.fsum.
    assert math.isclose(names["answer_5"], 2.0, rel_tol=1e-12)
    few = y[:60].tolist()
    centre = math.fsum(few) / len(few)
    spread = math.fsum((v - centre) ** 2 for v in few) / len(few)
    pairs = math.fsum((u - v) ** 2 for u, v in itertools.product(few, few)) / len(few) ** 2
    assert math.isclose(pairs / spread, names["answer_5"], rel_tol=1e-12)


def answers_2(names):
    """Assert each answer of the page, given its globals."""
    # By hand: 3 + 4, sqrt(9 + 16), the larger of 3 and 4.
    assert names["answer_1"] == (7.0, 5.0, 4.0)

    # By hand: the mean of 1, 2, 3, 6 is 3; the remainder is (-2, -1, 0, 3), of squared length 4 + 1 + 0 + 9.
    assert abs(names["answer_2"] - 14**0.5) < 1e-12

    # By hand: condition 1000. Of log(10) / -log(1 - 1e-6) = 1e6 log(10) (1 - 0.5e-6 - ...) = 2302585.093 - 1.151 the
    # next whole number is 2302584. By counting, too: in so many steps the error falls to a tenth, in one less it does
    # not.
    kappa, steps = names["answer_3"]
    assert kappa == 1000.0
    assert steps == 2_302_584
    keeps = 1.0 - 1e-6
    assert keeps**steps <= 0.1 < keeps ** (steps - 1)

    # By hand: half of 6 each in columns of one scale, so 6 / 2 and 6 / 2 / 10. And by the pseudoinverse of scaled
    # columns.
    x = np.random.default_rng(0).standard_normal(50)
    both = np.column_stack([x, 10 * x])
    spread = both.std(axis=0)
    scaled = (both - both.mean(axis=0)) / spread
    least = scipy.linalg.pinv(scaled, rtol=1e-10) @ (6 * x - 6 * x.mean()) / spread
    np.testing.assert_allclose(names["answer_4"], [3.0, 0.3], rtol=1e-9)
    np.testing.assert_allclose(names["answer_4"], least, rtol=1e-9)

    # The largest of (a'e)^2 / (sigma^2 a' inv(A'A) a) over all a is a generalised eigenvalue, found without R or a.
    # The exact coefficients and sigma come from scipy.linalg.lstsq.
    table, y, rough = names["table"], names["response"], names["rough"]
    A = np.column_stack([table, np.ones(len(table))])
    theta, squares, _, _ = scipy.linalg.lstsq(A, y)
    variance = squares / (A.shape[0] - A.shape[1])
    e = np.append(rough.coef, rough.intercept) - theta
    largest = scipy.linalg.eigh(np.outer(e, e), variance * scipy.linalg.inv(A.T @ A), eigvals_only=True)[-1]
    assert abs(names["answer_5"] - largest**0.5) < 1e-6 * largest**0.5
    assert abs(names["answer_5"] - rough.check.distance) < 1e-8 * rough.check.distance


def answers_3(names):
    """Assert each answer of the page against a truth of its own."""
    # 1. By hand: f has 2 entries, u has 3, x has 4. Numerator layout: entries of the function down the rows.
    assert names["answer_1"]["numerator"] == ((2, 3), (3, 4), (2, 4))
    assert names["answer_1"]["denominator"] == ((3, 2), (4, 3), (4, 2))
    # The product itself, from tanh' = 1 - tanh^2 and (u^2)' = 2u, written out by entries. The loop ends in
    # denominator layout, so `whole` and `chained` are (4, 2).
    B, G, x = names["B"], names["G"], names["x"]
    t = np.tanh(B @ x)
    truth = np.einsum("ki,i,ij->jk", G, 2 * t * (1 - t**2), B)
    np.testing.assert_allclose(names["chained"], truth, rtol=0, atol=1e-8)
    np.testing.assert_allclose(names["whole"], truth, rtol=0, atol=1e-8)

    # 2. The gradient by SciPy's forward differences of a sum of squares; angles by arccos: 120 degrees to it, two of
    # them.
    X2, y2 = names["X2"], names["y2"]
    g = optimize.approx_fprime(np.array([0.5, 0.5]), lambda w: ((X2 @ w - y2) ** 2).sum() / (2 * len(y2)), 1e-7)
    assert len(names["answer_2"]) == 2
    for u in names["answer_2"]:
        assert math.isclose(math.hypot(*u), 1.0, rel_tol=1e-12)
        degrees = math.degrees(math.acos(float(u @ g) / math.hypot(*g)))
        assert abs(degrees - 120.0) < 1e-3, degrees
    first, second = names["answer_2"]
    assert math.isclose(float(first @ second), -0.5, rel_tol=1e-12)  # 120 degrees between them: not the same one

    # 3. The objective of ridge written out, differentiated by SciPy; the coefficients of its minimum from SciPy too.
    X, y, labels = names["X"], names["y"], names["labels"]

    def ridge(theta):
        r = X @ theta[:3] + theta[3] - y
        return (r**2).sum() / (2 * len(y)) + 0.05 * (theta[:3] ** 2).sum()

    point = np.array([1.0, -1.0, 0.0, 0.5])
    np.testing.assert_allclose(names["answer_3"], optimize.approx_fprime(point, ridge, 1e-7), rtol=0, atol=1e-5)
    lowest = optimize.minimize(ridge, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(lowest, np.append(names["solved"].coef, names["solved"].intercept), rtol=0, atol=1e-5)

    # 4. By hand, at z - y = 2: sqrt(5) - 1, 2 / sqrt(5), 5^(-3/2). And SciPy's own pseudo-Huber, delta = 1.
    loss = names["answer_4"]
    assert math.isclose(loss.value(3.0, 1.0, ()), math.sqrt(5) - 1, rel_tol=1e-14)
    assert math.isclose(loss.slope(3.0, 1.0, ()), 2 / math.sqrt(5), rel_tol=1e-14)
    assert math.isclose(loss.curvature(3.0, 1.0, ()), 5**-1.5, rel_tol=1e-14)
    for z in (-3.0, -0.2, 0.0, 1.7):
        assert math.isclose(loss.value(z, 0.4, ()), special.pseudo_huber(1.0, z - 0.4), rel_tol=1e-13)
        near = (special.pseudo_huber(1.0, z - 0.4 + 1e-5) - special.pseudo_huber(1.0, z - 0.4 - 1e-5)) / 2e-5
        assert abs(loss.slope(z, 0.4, ()) - near) < 1e-9
        near = (loss.slope(z + 1e-5, 0.4, ()) - loss.slope(z - 1e-5, 0.4, ())) / 2e-5
        assert abs(loss.curvature(z, 0.4, ()) - near) < 1e-9

    # 5. Newton's iteration written again with SciPy's expit, and its end against SciPy's own minimum. One step must
    # not do, and the count must be that of the first point with a gradient below 1e-10.
    ones = np.column_stack((X, np.ones(len(X))))
    theta, steps = np.zeros(4), 0
    while True:
        q = special.expit(ones @ theta)
        slope = ones.T @ (q - labels) / len(X)
        if np.abs(slope).max() <= 1e-10:
            break
        theta = theta + np.linalg.lstsq(np.einsum("i,ij,ik->jk", q * (1 - q), ones, ones) / len(X), -slope)[0]
        steps += 1
    assert 1 < names["answer_5"] == steps
    np.testing.assert_allclose(names["theta"], theta, rtol=1e-9)

    def mean_loss(theta):
        z = ones @ theta
        return float(np.mean(np.logaddexp(0.0, z) - labels * z))

    best = optimize.minimize(mean_loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(names["theta"], best, rtol=1e-3)


def answers_4(names):
    # Exercise 1. Of HH, HT, TH, TT: {HH, HT}, {HH, TH} and {HH, TT} have two outcomes each and share HH alone, so
    # each pair has 1/4 = 1/2 * 1/2, all three have 1/4, and the product of three halves is 1/8.
    assert names["answer_1"] == (True, Fraction(1, 4), Fraction(1, 8))

    # Exercise 2. In people: of 830 * 300 = 249,000, 1 in 250 or 996 are ill, and 896.4 of them positive; the well are
    # 248,004. By hand: (1/250)(9/10) = (249/250)(1 - s), so 1 - s = 9/2490 = 3/830.
    s = names["answer_2"]
    assert s == Fraction(827, 830)
    assert 249_000 * Fraction(1, 250) * Fraction(9, 10) == (249_000 - 996) * (1 - s)

    # Exercise 3. By NumPy: the three points, equally likely. P(X = 0, Y = 1) = 0, yet P(X = 0) P(Y = 1) = 1/3 * 2/3.
    covariance, independent = names["answer_3"]
    x = np.array([-1.0, 0.0, 1.0])
    assert covariance == 0
    assert abs(np.cov(x, x**2, bias=True)[0, 1]) < 1e-15
    assert independent is False

    # Exercise 4. By counting: |difference| of all 36 throws. By hand, E D = 35/18 and E D^2 = 2 * 35/12 = 35/6 (twice
    # the variance of a die), so 35/6 - (35/18)^2 = 665/324.
    gaps = [abs(a - b) for a, b in itertools.product(range(1, 7), repeat=2)]
    by_counting = Fraction(sum(g * g for g in gaps), 36) - Fraction(sum(gaps), 36) ** 2
    assert names["answer_4"] == by_counting == Fraction(35, 6) - Fraction(35, 18) ** 2 == Fraction(665, 324)

    # Exercise 5. By hand: the mean of 1, 2, 4, 9 is 4, the squared distances are 9, 4, 0, 25, so sigma^2 = 38/4 and
    # sigma^2 / 2 = 19/4. The six means 3/2, 5/2, 5, 3, 11/2, 13/2 are -5/2, -3/2, 1, -1, 3/2, 5/2 from 4: squares
    # that sum to 19, so the variance is 19/6. The formula of finite populations (Cochran, theorem 2.2): (4 - 2) / (4
    # - 1) = 2/3.
    variance, share = names["answer_5"]
    assert variance == Fraction(19, 6)
    assert share == Fraction(4 - 2, 4 - 1) == Fraction(19, 6) / Fraction(19, 4)

    # Exercise 6. The doors of the rooms 0 to 4, counted by hand: 2, 3, 3, 2, 2, of 12 ends of doors. And by an
    # eigenvector of NumPy, from a matrix written out here.
    assert list(names["answer_6"]) == [Fraction(m, 12) for m in (2, 3, 3, 2, 2)]
    P = np.array(
        [
            [0, 1 / 2, 1 / 2, 0, 0],
            [1 / 3, 0, 1 / 3, 1 / 3, 0],
            [1 / 3, 1 / 3, 0, 0, 1 / 3],
            [0, 1 / 2, 0, 0, 1 / 2],
            [0, 0, 1 / 2, 1 / 2, 0],
        ]
    )
    values, vectors = np.linalg.eig(P.T)
    p = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    assert np.allclose(p / p.sum(), names["answer_6"].astype(float), atol=1e-12)

    # The page itself. Of 100,000 people 400 are ill; 360 and 4,980 are positive once, 324 and 249 twice.
    assert names["once"]["ill"] == Fraction(360, 360 + 4980)
    assert names["twice"]["ill"] == Fraction(324, 324 + 249)
    # The message, by odds: 2/3 of the prior, then 2/4, 5/3, 6/2, 1/5, 5/1, 6/2, which is 5.
    assert names["belief"]["spam"] == Fraction(5, 6)
    assert math.isclose(names["z"], math.log(5))
    # The fit of the logistic loss has the weights of Bayes' theorem as its limit, as messages grow in number: the
    # numbers of the table, with room for 20,000 messages.
    exact = np.log(np.array([6 / 2, 5 / 1, 5 / 3, 1 / 5, 1 / 5, 2 / 4]))
    assert np.abs(names["fit"].coef - exact).max() < 0.12
    assert abs(names["fit"].intercept - math.log(2 / 3)) < 0.12
    # Smaller and larger face: 91/36 and 161/36, by the squares 1 + 4 + ... + 36 = 91; covariance (35/36)^2.
    assert names["smaller"].expectation("smaller") == Fraction(sum(k * k for k in range(1, 7)), 36)
    assert names["both"] == Fraction(35, 36) ** 2
    # The machine: p = (15, 5, 3)/23, from p_good / 10 = 3 p_worn / 10 = p_broken / 2.
    assert list(names["stationary"]) == [Fraction(15, 23), Fraction(5, 23), Fraction(3, 23)]
    assert np.abs(names["share"][-1] - [15 / 23, 5 / 23, 3 / 23]).max() < 0.015
    # Gradients of batches: measured over predicted, 1,000 batches each of rows with heavy tails.
    assert np.abs(names["measured"] / np.sqrt(names["trace"] / names["sizes"]) - 1).max() < 0.15


def answers_5(names):
    # 1. By hand: 15 batches of 64 are 960 rows, a sixteenth holds the other 40; seven epochs of 16 steps.
    assert names["answer_1"] == 7 * 16

    # 2. By hand: dw = (-5 (1, 2) - 11 (3, 4)) / 2 = (-19, -27), db = -8, and a tenth of them is subtracted from zero.
    np.testing.assert_allclose(names["answer_2"], [1.9, 2.7, 0.8], rtol=1e-14)

    # 3. SciPy's maximum likelihood fit of a normal distribution to residuals of NumPy's least squares; and, of the
    # same sum of squares, n - 3 in place of n divides in residual_sd.
    rng = np.random.default_rng(0)  # the textbook table, drawn anew
    X = rng.standard_normal((1000, 2))
    y = X @ [2.0, -3.4] + 4.2 + 0.01 * rng.standard_normal(1000)
    A = np.column_stack([X, np.ones(1000)])
    mean, sd = scipy.stats.norm.fit(y - A @ np.linalg.lstsq(A, y, rcond=None)[0])
    assert abs(mean) < 1e-12
    np.testing.assert_allclose(names["answer_3"], sd**2, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.lstsq(A, y, rcond=None)[1][0] / 1000, sd**2, rtol=1e-9)

    # 4. Counted: gradient descent on H itself, from the flat direction (1, -1), until a thousandth is left.
    H, w, steps = np.array([[1.0, 0.99], [0.99, 1.0]]), np.array([1.0, -1.0]), 0
    while np.linalg.norm(w) > 1e-3 * np.sqrt(2.0):
        w, steps = w - H @ w / 1.99, steps + 1
    assert names["answer_4"] == steps

    # 5. By hand, weights 1, 1, 1, 1/100: sums of w 3.01, w x 3.03, w x^2 5.09, w t 7.08, w x t 10.24; Cramer's rule
    # with the determinant 3.01 * 5.09 - 3.03^2 = 6.14. Not what equal weights give.
    np.testing.assert_allclose(names["answer_5"], [9.37 / 6.14, 5.01 / 6.14], rtol=1e-12)
    assert abs(names["answer_5"][0] - np.polyfit(np.arange(4.0), [1.0, 2.0, 4.0, 8.0], 1)[0]) > 0.1

    # 6. Exact coefficients by scipy.linalg.lstsq on standardised columns, standard errors from the inverse of X'X.

    X, y, _ = gs.load_diamonds()
    Z = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(y))])
    theta, squares, *_ = scipy.linalg.lstsq(Z, y)
    errors = np.sqrt(np.diag(np.linalg.inv(Z.T @ Z)) * squares / (len(y) - 24))
    off = np.abs(names["fit"].coef * X.std(axis=0) - theta[:-1]) / errors[:-1]
    np.testing.assert_allclose(names["answer_6"], off.max(), rtol=1e-5)
    assert 0 < names["answer_6"] <= names["fit"].certificate.bound <= 0.01


def answers_6(names):
    rng = np.random.default_rng(0)  # the page's table, drawn anew
    X = rng.standard_normal((500, 2))
    y = X @ [2.0, -3.4] + 4.2 + 0.5 * rng.standard_normal(500)
    A = np.column_stack([X, np.ones(500)])
    np.testing.assert_array_equal(names["A"], A)

    # 1. By hand, eta v / (b (2 - eta)) with eta = 1/2 and b = 4: v / 12, v the variance about the mean (divisor n). And
    # measured: 4,000 chains, of which each step is w <- w / 2 + mean(batch) / 2, after 60 steps.
    v = np.mean((y - np.mean(y)) ** 2)
    np.testing.assert_allclose(names["answer_1"], v / 12, rtol=1e-10)
    w = np.full(4000, y.mean())
    for _ in range(60):
        w = w / 2 + y[rng.integers(500, size=(4000, 4))].mean(axis=1) / 2
    np.testing.assert_allclose(names["answer_1"], w.var(), rtol=0.1)  # about 2 % is chance

    # 2. The operator without symmetric coordinates, 9 x 9, as the mean of Kronecker squares of the 500 steps that may
    # be taken: its largest eigenvalue is 1 at the answer, and bisection finds the same step.
    def radius(step):
        steps = np.eye(3) - step * A[:, :, np.newaxis] * A[:, np.newaxis, :]
        return np.abs(np.linalg.eigvals(sum(np.kron(M, M) for M in steps) / 500)).max()

    assert radius(0.95 * names["answer_2"]) < 1 < radius(1.05 * names["answer_2"])
    np.testing.assert_allclose(radius(names["answer_2"]), 1, rtol=1e-8)
    np.testing.assert_allclose(names["answer_2"], scipy.optimize.bisect(lambda h: radius(h) - 1, 0.3, 0.6), rtol=1e-6)

    # 3. The normal equations of the posterior, (0.1 I + A'A) m = A'y, for the prior mean is zero.
    m = scipy.linalg.solve(0.1 * np.eye(3) + A.T @ A, A.T @ y, assume_a="pos")
    np.testing.assert_allclose(names["answer_3"], m, rtol=1e-9)
    plain = np.linalg.lstsq(A, y, rcond=None)[0]
    assert np.abs(names["answer_3"] / plain - 1).max() > 1e-4  # not what the shorter table gives

    # 4. SciPy's multivariate t of all responses at once: 2 a0 = 2 degrees of freedom, about A m0 = 0, of shape
    # s0 / a0 (I + A inv(P0) A') = (I + 10 A A') / 2.
    joint = scipy.stats.multivariate_t(np.zeros(500), (np.eye(500) + 10 * A @ A.T) / 2, df=2)
    np.testing.assert_allclose(names["answer_4"], joint.logpdf(y), rtol=1e-9)
