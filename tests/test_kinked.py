"""Losses of kinks, quantiles and the epsilon-insensitive, without a step: solved to a vertex, and proven there."""

import numpy as np
import pytest
import scipy.linalg

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from hard_tables import HAS_LONG, LONG, tables

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")
extended = pytest.mark.skipif(not HAS_LONG, reason="there are no 80-bit numbers here to know the truth by")
N = 60 if JIT_OFF else 12_000
KINKED = (gs.quantile(0.5), gs.quantile(0.1), gs.quantile(0.95), gs.epsilon_insensitive(0.5))
LEVELS = gs.quantile((0.1, 0.5, 0.9))
losses = pytest.mark.parametrize("loss", KINKED, ids=str)


def value(loss, r):
    p = loss.params[0]
    return np.maximum(p * r, (p - 1) * r) if loss.name == "quantile" else np.maximum(abs(r) - p, 0)


class Vertex:
    """The optimum as a vertex in 80-bit numbers: the rows that a fit passes through, and the signs of all others.

    Where the multipliers of those rows are between their slopes on the two sides, no other fit is better: a proof that
    owes nothing to where the rows came from.
    """

    def __init__(self, X, y, fit, *, weight=None, intercept=True, of=None):
        loss, coef, b = fit.loss, fit.coef, fit.intercept
        if of is not None:
            loss, coef, b = gs.quantile(loss.params[of]), coef[:, of], b[of]
        self.loss, self.l1 = loss, 0.0 if fit.penalty is None else fit.penalty.params[0]
        v = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        kept = v > 0
        A = np.column_stack((X, np.ones(len(X))))[kept].astype(LONG)
        self.A, self.y, self.v = A, y[kept].astype(LONG), (v[kept] / v[kept].sum()).astype(LONG)
        w = np.append(coef, b).astype(LONG)
        free = np.append((abs(w[:-1]) * A[:, :-1].std(axis=0) > 1e-10) | (self.l1 == 0), intercept)
        # Columns about their means and of unit size, then orthogonal: a vertex is as well determined as may be.
        T = np.eye(len(w), dtype=LONG)
        if intercept:
            T[-1, :-1] = -A[:, :-1].mean(axis=0)
        T = T[:, free] / np.sqrt(np.square(A @ T[:, free]).mean(axis=0))
        B = (A @ T).astype(float) / np.sqrt(len(A))
        T = T @ scipy.linalg.inv(np.linalg.qr(B, mode="r")).astype(LONG)
        AT = A @ T
        p = loss.params[0]
        shifts, sides = ((0.0,), ((p - 1, p),)) if loss.name == "quantile" else ((-p, p), ((-1.0, 0.0), (0.0, 1.0)))
        off = np.array([self.y - shift - A @ w for shift in shifts])
        kink = np.abs(off).argmin(axis=0)
        # Of rows that are alike, one: those on a kink that are farthest apart.
        size = np.abs(off).min(axis=0)
        nearest = np.argsort(size)[: 4 * AT.shape[1]]
        nearest = nearest[size[nearest] <= max(1e-9, float(size[nearest][AT.shape[1] - 1]))]
        order = scipy.linalg.qr(AT[nearest].astype(float).T, mode="r", pivoting=True)[1]
        nearest = nearest[order[: AT.shape[1]]]
        E = AT[nearest]
        lu = scipy.linalg.lu_factor(E.astype(float))
        w[~free] = 0
        target = self.y[nearest] - np.array(shifts)[kink[nearest]]
        for _ in range(6):
            w = w + T @ scipy.linalg.lu_solve(lu, (target - A[nearest] @ w).astype(float)).astype(LONG)
        self.w, self.residual = w, self.y - A @ w
        self.residual[nearest] = np.array(shifts)[kink[nearest]]
        # What scores of large terms are rounded to there.
        self.noise = 4 * np.finfo(LONG).eps * (self.v[nearest] * (abs(A[nearest]) @ abs(w))).sum()
        # Slopes in the residual; of a row on a kink what balances the others. The tube's other kink is flat there.
        slope = np.zeros(len(A), dtype=LONG)
        for shift, (below, above) in zip(shifts, sides, strict=True):
            slope += np.where(self.y - shift - A @ w > 0, above, below)
        at_kink = np.array(sides)[kink[nearest]]
        slope[nearest] = 0
        pull = (self.v * slope) @ AT - T.T @ np.append(self.l1 * np.sign(w[:-1]), 0)
        multiplier = scipy.linalg.lu_solve(lu, -pull.astype(float), trans=1).astype(LONG)
        for _ in range(4):
            more = -pull - E.T @ multiplier
            multiplier = multiplier + scipy.linalg.lu_solve(lu, more.astype(float), trans=1).astype(LONG)
        multiplier = multiplier / self.v[nearest]
        slack = 1e-9
        self.proven = bool(np.all((multiplier >= at_kink[:, 0] - slack) & (multiplier <= at_kink[:, 1] + slack)))
        slope[nearest] = multiplier
        out = np.abs((self.v * slope) @ A)[:-1][~free[:-1]]
        self.proven &= bool(np.all(out <= self.l1 * (1 + 1e-9)))
        self.value = self.objective(w)

    def objective(self, w):
        return (self.v * value(self.loss, self.y - self.A @ w)).sum() + self.l1 * np.abs(w[:-1]).sum()

    def gap(self, coef, intercept):
        # By the differences of rows, of which those at a kink are there exactly.
        w = np.append(coef, intercept).astype(LONG)
        moved = self.A @ (w - self.w)
        more = value(self.loss, self.residual - moved) - value(self.loss, self.residual)
        return float((self.v * more).sum() + self.l1 * (np.abs(w) - np.abs(self.w))[:-1].sum() - self.noise)


def proves(X, y, fit, **settings):
    """Assert that a fit is the optimum to rounding, and within what it says."""
    c = fit.certificate
    assert fit.stop is gs.Stop.CERTIFIED
    assert (c.kind, fit.concern) == ("exact", "")
    assert c.bound <= 0.01
    columns = [None] if fit.coef.ndim == 1 else range(fit.coef.shape[1])
    total = 0.0
    for of in columns:
        truth = Vertex(X, y, fit, of=of, **settings)
        assert truth.proven
        gap = truth.gap(fit.coef if of is None else fit.coef[:, of], fit.intercept if of is None else fit.intercept[of])
        assert gap <= 1e-8 * float(truth.value)
        total += max(gap, 0.0)
        distance = np.sqrt(2 * len(truth.y) * max(gap, 0.0)) / np.ravel(c.residual_sd)[0 if of is None else of]
        assert distance <= c.outputs.bound[0 if of is None else of]
    assert total <= c.objective_gap + 1e-15 * fit.objective


def table(n=N, d=5, seed=0, condition=1.0, offset=10.0):
    rng = np.random.default_rng(seed)
    V = np.linalg.qr(rng.standard_normal((d, d)))[0]
    Z = rng.standard_normal((n, d))
    X = (Z * np.logspace(0, -np.log10(condition), d)) @ V
    z = Z @ rng.standard_normal(d)
    return X + offset, z / z.std() + rng.standard_t(3, n) * (1 + 0.3 * np.abs(Z[:, 0]))


@needs_jit
@extended
@pytest.mark.parametrize("seeds", np.array_split(np.arange(20), 4), ids=str)
def test_any_table_is_solved_to_the_vertex_in_few_passes(seeds):
    for seed in seeds:
        named = [(f"condition {c:g}", *table(seed=seed, condition=c)) for c in (1e0, 1e3, 1e6, 1e8)]
        rare = [(name, X, y) for name, X, y in tables(N, 4, seed) if name[:6] not in {"hardly", "sorted"}]
        rare += [("small", *table(900, 5, seed)), ("offsets", *table(seed=seed, offset=1e6))]
        for i, loss in enumerate((*KINKED, LEVELS)):
            for name, X, y in (named[(seed + i) % 4], rare[(seed + 3 * i) % len(rare)]):
                fit = gs.fit(X, y, loss=loss, seed=int(seed), check=False)
                assert fit.passes <= 60, (name, loss)
                proves(X, y, fit)


@needs_jit
@extended
@pytest.mark.parametrize("n", [900, N])
def test_l1_leaves_the_right_zeros(n):
    for seed in range(2):
        X, y = table(n, 12, seed, condition=30.0)
        X = (X - X.mean(axis=0)) / X.std(axis=0) + 1
        for loss in (*KINKED, LEVELS):
            for strength in (0.05, 1e-4, 1e3):
                fit = gs.fit(X, y, loss=loss, penalty=gs.l1(strength), seed=seed, check=False)
                assert fit.passes <= 60
                proves(X, y, fit)
                rounding = (fit.coef != 0) & (np.abs(fit.coef) < 1e-10)
                assert not rounding.any(), fit.coef
                assert strength == 0.05 or (strength < 1) == bool(np.any(fit.coef))


@needs_jit
@pytest.mark.parametrize("penalty", [None, gs.l1(1e-3)], ids=str)
def test_the_bundled_table_as_it_stands(penalty):
    X, y, _ = gs.load_diamonds()
    for loss in (LEVELS, gs.epsilon_insensitive(200.0)):
        fit = gs.fit(X, y, loss=loss, penalty=penalty, check=False)
        assert fit.stop is gs.Stop.CERTIFIED
        assert fit.passes <= 60
        assert fit.certificate.objective_gap <= 1e-8 * fit.objective
        if loss == LEVELS:
            scores = fit.predict(X)
            assert (np.diff(scores, axis=1) >= 0).all()
            below = (y[:, np.newaxis] <= X @ fit.coef + fit.intercept).mean(axis=0)
            if penalty is None:  # as many rows are below as the level says, but for those on the plane
                np.testing.assert_allclose(below, (0.1, 0.5, 0.9), atol=24 / len(y))


@needs_jit
@extended
def test_scipy_agrees_and_so_does_scikit_learn():
    models = pytest.importorskip("sklearn.linear_model")
    X, y = table(600, 4)
    for loss in (*KINKED, LEVELS):
        for penalty in (None, gs.l1(0.01)):
            fit = gs.fit(X, y, loss=loss, penalty=penalty, check=True)
            assert (fit.check.by, fit.check.agrees) == ("SciPy's optimum", True)
            assert fit.check.distance <= fit.certificate.bound + fit.check.floor
            assert "agrees with SciPy's optimum" in str(fit)
            if loss.name == "quantile" and loss != LEVELS:
                alpha = 0.0 if penalty is None else 0.01
                model = models.QuantileRegressor(quantile=loss.params[0], alpha=alpha, solver="highs").fit(X, y)
                np.testing.assert_allclose(fit.coef, model.coef_, rtol=1e-6, atol=1e-8)
    above = gs.fit(*table(), loss=gs.quantile(0.5), check=True)
    assert above.check.agrees


@needs_jit
def test_levels_are_each_alone_and_their_predictions_do_not_cross():
    rng = np.random.default_rng(1)
    for n in (200, N):
        X = rng.standard_normal((n, 8)) ** 3
        y = X[:, 0] * rng.standard_normal(n)
        loss = gs.quantile((0.2, 0.4, 0.5, 0.55, 0.8))
        fit = gs.fit(X, y, loss=loss, check=False)
        raw = X @ fit.coef + fit.intercept
        assert fit.coef.shape == (8, 5)
        # Levels whose fits pass through the same row are alike there, but for rounding.
        fewest, most = (np.count_nonzero((np.diff(raw, axis=1) < at).any(axis=1)) for at in (-1e-12, 1e-12))
        assert 0 < fewest <= fit.crossings <= most
        new = 10 * rng.standard_normal((500, 8))
        assert (np.diff(fit.predict(new), axis=1) >= 0).all()
        np.testing.assert_allclose(fit.predict(new), np.sort(new @ fit.coef + fit.intercept, axis=1), rtol=1e-9)
        for c, level in enumerate(loss.params):
            np.testing.assert_array_equal(fit.coef[:, c], gs.fit(X, y, loss=gs.quantile(level), check=False).coef)
        assert gs.fit(X, y, loss=gs.quantile(0.5), check=False).crossings == 0


@losses
def test_a_small_table_and_its_report(loss):
    X, y = table(60, 2)
    fit = gs.fit(X, y, loss=loss)
    assert fit.check.agrees
    assert len(str(fit).splitlines()) <= 15
    for word in ("passes", "row reads", "certificate", "exact", "check", "stop", loss.name):
        assert word in str(fit)
    assert fit.history.bound[-1] == fit.certificate.bound
    assert len(str(fit.history).splitlines()) == 1 + len(fit.history)
    assert "3 levels" in str(gs.fit(X, y, loss=LEVELS))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: {"loss": gs.quantile((0.5, 0.1))}, ValueError, "levels in ascending order, each once, are needed"),
        (lambda: {"loss": gs.quantile((0.5, 0.5))}, ValueError, "levels in ascending order"),
        (lambda: {"loss": gs.quantile(())}, ValueError, "levels in ascending order"),
        (lambda: {"loss": gs.quantile((0.5, 1.5))}, ValueError, r"level: 1.5 came; a finite number in \(0, 1\)"),
        (lambda: {"loss": gs.epsilon_insensitive(-1)}, ValueError, "eps: -1 came"),
        (lambda: {"loss": LEVELS, "step": 0.1}, ValueError, "came with a step; one level is needed, or no step"),
        (lambda: {"loss": LEVELS, "penalty": gs.l2(0.1)}, ValueError, "step: none came .* fitted with smooth losses"),
        (lambda: {"loss": KINKED[0], "penalty": gs.elastic_net(0.1)}, ValueError, "fitted with smooth losses"),
        (lambda: {"loss": KINKED[3], "penalty": gs.l2(0.1)}, ValueError, "fitted with smooth losses"),
        (lambda: {"loss": KINKED[0], "solver": "exact"}, ValueError, '"exact" came with the quantile loss'),
        (lambda: {"loss": KINKED[3], "device": "cuda"}, ValueError, 'device: "cuda" came with the epsilon_insensitive'),
        (lambda: {"loss": KINKED[0], "step": 0.1, "check": True}, ValueError, "check: True came"),
        (lambda: {"loss": KINKED[0], "epochs": 2}, ValueError, "epochs: 2 came"),
        (lambda: {"loss": KINKED[0], "sample_weight": [1] * 59}, ValueError, "sample_weight: shape"),
        (lambda: {"loss": LEVELS, "y": np.ones((60, 2))}, ValueError, "y: .*"),
    ],
)
def test_what_is_refused(make, error, message):
    X, y = table(60, 2)
    before = X.copy(), y.copy()
    with pytest.raises(error, match=message):
        gs.fit(**({"X": X, "y": y} | make()))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def least(one, other):
    """Assert that two fits have the same objective, however many vertices there are."""
    assert one.objective == pytest.approx(other.objective, rel=1e-9)
    np.testing.assert_allclose(one.coef, other.coef, rtol=1e-5, atol=1e-7 * np.abs(other.coef).max())


@needs_jit
@pytest.mark.parametrize("n", [500, N])
@pytest.mark.parametrize("loss", [*KINKED, LEVELS], ids=str)
def test_what_changes_nothing_changes_nothing(loss, n):
    X, y = table(n)
    times = np.random.default_rng(4).integers(0, 4, n)
    kept = times > 0
    for penalty in (None, gs.l1(1e-3)):
        settings = {"loss": loss, "penalty": penalty, "check": False}
        weighted = gs.fit(X, y, sample_weight=times, **settings)
        assert weighted.stop is gs.Stop.CERTIFIED
        least(weighted, gs.fit(np.repeat(X, times, axis=0), np.repeat(y, times), **settings))
        without = gs.fit(X[kept], y[kept], sample_weight=times[kept], **settings)
        zeroed = gs.fit(np.where(kept[:, np.newaxis], X, 1e300), y, sample_weight=times, **settings)
        least(zeroed, without)
        assert zeroed.certificate.degrees_of_freedom == without.certificate.degrees_of_freedom
        # Of the density at the fit, in windows by leverages of 16 projections: a quarter off at the median.
        np.testing.assert_allclose(zeroed.certificate.residual_sd, without.certificate.residual_sd, rtol=0.25)
    plain = gs.fit(X, y, loss=loss, check=False)
    powers = np.random.default_rng(1).integers(-40, 40, X.shape[1])
    scaled = gs.fit(np.ldexp(X, powers), y, loss=loss, check=False)
    np.testing.assert_array_equal((scaled.coef.T * 2.0**powers).T, plain.coef)
    if loss.name == "quantile":
        large = gs.fit(X, y * 2.0**30, loss=loss, check=False)
        np.testing.assert_allclose(large.coef, plain.coef * 2.0**30, rtol=1e-7)
        least(gs.fit(X + 1e6, y + 5, loss=loss, check=False), plain)
    narrow = X.astype(np.float32)
    least(gs.fit(narrow, y, loss=loss), gs.fit(narrow.astype(float), y, loss=loss))
    none = gs.fit(X, y, loss=loss, intercept=False, check=False)
    assert np.all(np.asarray(none.intercept) == 0)
    assert none.stop is gs.Stop.CERTIFIED


@needs_jit
@losses
@pytest.mark.parametrize("n", [400, N])
def test_dependent_columns_several_outputs_and_no_noise(loss, n):
    X, y = table(n)
    plain = gs.fit(X, y, loss=loss)
    twice = np.column_stack((X, X[:, 1], np.full(n, 7.3)))
    fit = gs.fit(twice, y, loss=loss)
    assert (fit.certificate.rank, fit.certificate.dependent) == (5, (5, 6))
    np.testing.assert_allclose(fit.predict(twice), plain.predict(X), atol=1e-6)
    lasso = gs.fit(twice, y, loss=loss, penalty=gs.l1(1e-4))
    assert lasso.stop is gs.Stop.CERTIFIED
    assert lasso.objective <= gs.fit(X, y, loss=loss, penalty=gs.l1(1e-4)).objective * (1 + 1e-9)
    Y = np.column_stack((y, -y))
    both = gs.fit(X, Y, loss=loss, check=False)
    for c in range(2):
        np.testing.assert_array_equal(both.coef[:, c], gs.fit(X, Y[:, c], loss=loss, check=False).coef)
    quiet = gs.fit(X, X @ np.arange(5.0) + 1, loss=loss)
    assert quiet.objective <= 1e-12
    assert quiet.concern == ""


@needs_jit
def test_ties_few_rows_and_constants():
    rng = np.random.default_rng(2)
    for loss in (*KINKED, LEVELS):
        for n, d in ((N, 3), (300, 3), (30, 60), (5, 5), (2, 1)):
            X = np.round(2 * rng.standard_normal((n, d)))
            y = np.round(X[:, 0] + rng.standard_normal(n))
            for penalty in (None, gs.l1(0.01)):
                fit = gs.fit(X, y, loss=loss, penalty=penalty, check=n <= 300)
                assert fit.stop in {gs.Stop.CERTIFIED, gs.Stop.FLOOR}, (loss, n, d, penalty)
                assert fit.concern == "", (loss, n, d, penalty)
                assert n > 300 or fit.check.agrees, (loss, n, d, penalty)
        flat = gs.fit(np.full((300, 2), 3.0), np.arange(300.0), loss=loss)
        assert np.all(flat.coef == 0)
        assert np.all(np.isfinite(flat.intercept))


@needs_jit
@losses
def test_solvers_starts_tolerances_callbacks_and_ctrl_c(loss):
    X, y = table(20_000, 8, condition=1e4)
    plain = gs.fit(X, y, loss=loss, check=False)
    for settings in ({"solver": "cg"}, {"solver": "auto"}, {"batch_size": 500}, {"tol": 0}):
        fit = gs.fit(X, y, loss=loss, check=False, **settings)
        assert fit.stop is (gs.Stop.FLOOR if "tol" in settings else gs.Stop.CERTIFIED)
        np.testing.assert_allclose(fit.coef, plain.coef, rtol=1e-6)
    warm = gs.fit(X, y, loss=loss, start=plain, seed=1, check=False)
    assert warm.passes <= plain.passes
    np.testing.assert_allclose(warm.coef, plain.coef, rtol=1e-6)
    for most in (1, 3):
        with pytest.warns(gs.ConvergenceWarning, match="raise"):
            short = gs.fit(X, y, loss=loss, max_passes=most, check=False)
        assert short.stop is gs.Stop.BUDGET
        assert np.isfinite(short.coef).all()
        assert np.isfinite(short.objective)
        assert str(short)
    heard = []
    gs.fit(X, y, loss=loss, callbacks=[heard.append], check=False)
    np.testing.assert_array_equal(heard[-1].coef, plain.coef)
    assert [at.epoch for at in heard] == list(plain.history.epoch)
    first = gs.fit(X, y, loss=loss, callbacks=[lambda at: True], check=False)
    assert first.stop is gs.Stop.CALLBACK

    def press(at):
        raise KeyboardInterrupt

    for pressed in (loss, LEVELS):
        with pytest.raises(gs.Interrupted) as caught:
            gs.fit(X, y, loss=pressed, callbacks=[press], check=False)
        assert caught.value.fit.stop is gs.Stop.INTERRUPTED
        assert np.isfinite(caught.value.fit.coef).all()
        assert "interrupted" in str(caught.value.fit)


@needs_jit
def test_bits_do_not_depend_on_the_number_of_threads():
    X, y = table(20_000, 12)
    for loss in (*KINKED, LEVELS):
        for penalty in (None, gs.l1(1e-3)):
            fits = []
            for count in (1, 2, 5):
                with gs.set_threads(count):
                    fits.append(gs.fit(X, y, loss=loss, penalty=penalty, check=False))
            for other in fits[1:]:
                np.testing.assert_array_equal(other.coef, fits[0].coef)
                assert other.certificate.bound == fits[0].certificate.bound
