"""The method in pieces equals the fit bit for bit."""

import dataclasses

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF
from gradstep._kernels.formula import examples
from gradstep._table import dense
from gradstep._table.dense import Dense
from gradstep._table.order import row_order
from gradstep._table.table import Table
from gradstep._table.terms import Rows
from gradstep.losses import DOMAINS, LOSSES
from gradstep.textbook import gradient, linear, make_linear, minibatches, sgd_step
from reference import sgd


def by_hand(X, y, w, b, batch, epochs, step, **options):
    for epoch in range(epochs):
        for rows, responses in minibatches(X, y, batch, epoch=epoch, **options):
            w, b = sgd_step((w, b), gradient(rows, responses, w, b), step)
    return w, b


@pytest.mark.filterwarnings("ignore::gradstep.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [None, 1, 2])
@pytest.mark.parametrize("d", [1, 2, 7, 8, 33, 130])
@pytest.mark.parametrize("batch", [1, 10, 64])
@pytest.mark.parametrize("shuffle", [True, False])
def test_by_hand_is_the_fit_bit_for_bit(dtype, k, d, batch, shuffle):
    X, y = make_linear(np.ones(d) if k is None else np.ones((d, k)), 4.2, 64, noise=0.5)
    X = X.astype(dtype)
    w, b = (np.zeros(d), 0.0) if k is None else (np.zeros((d, k)), np.zeros(k))
    w, b = by_hand(X, y, w, b, batch, 2, 0.003, shuffle=shuffle, seed=5)
    fit = gs.fit(X, y, step=0.003, batch_size=batch, epochs=2, seed=5, solver=gs.sgd(shuffle=shuffle), check=False)
    np.testing.assert_array_equal(w, fit.coef)
    np.testing.assert_array_equal(b, fit.intercept)


def test_by_hand_meets_the_slow_twin():
    X, y = make_linear([2.0, -3.4], 4.2, 105, noise=0.01)
    w, b = by_hand(X, y, np.zeros(2), 0.0, 10, 3, 0.03)
    orders = [row_order(105, 0, epoch) for epoch in range(3)]
    coef, intercept, _, _ = sgd(X, y, rate=lambda t: 0.03, batch_size=10, epochs=3, orders=orders, loss=gs.squared())
    np.testing.assert_allclose(w, coef, rtol=1e-12)
    assert b == pytest.approx(float(intercept), rel=1e-12)


def test_the_textbook_example():
    X, y = make_linear([2.0, -3.4], 4.2, 1000, noise=0.01)
    fit = gs.fit(X, y, step=0.03, batch_size=10, epochs=3)
    np.testing.assert_allclose(fit.coef, [2.0, -3.4], atol=2e-3)
    assert fit.intercept == pytest.approx(4.2, abs=2e-3)
    assert fit.objective < 6e-5


def test_make_linear_follows_its_model():
    X, y = make_linear([1.0, -2.0, 0.5], 3.0, 50_000, noise=0.2, seed=4)
    assert X.shape == (50_000, 3)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(X.T), np.eye(3), atol=0.03)
    noise = y - X @ [1.0, -2.0, 0.5] - 3.0
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert abs(noise.mean()) < 0.004
    np.testing.assert_array_equal(make_linear([1.0], 0.0, 5, seed=4)[0], make_linear([1.0], 0.0, 5, seed=4)[0])
    X, y = make_linear(np.ones((2, 3)), [1.0, 2.0, 3.0], 10, noise=0)
    np.testing.assert_allclose(y, X @ np.ones((2, 3)) + [1.0, 2.0, 3.0], rtol=1e-12)


def test_minibatches_read_every_row_once():
    X = np.arange(50.0).reshape(25, 2)
    parts = list(minibatches(X, X[:, 0], 10, epoch=1))
    assert [len(rows) for rows, _ in parts] == [10, 10, 5]
    rows, responses = np.concatenate([r for r, _ in parts]), np.concatenate([t for _, t in parts])
    np.testing.assert_array_equal(rows[:, 0], responses)
    np.testing.assert_array_equal(np.sort(responses), X[:, 0])
    in_order = np.concatenate([t for _, t in minibatches(X, X[:, 0], 10, shuffle=False)])
    np.testing.assert_array_equal(in_order, X[:, 0])
    parts[0][0][:] = -1  # a batch is a copy
    assert X.min() == 0


def test_bad_arguments_are_refused_at_the_call():
    with pytest.raises(ValueError, match="batch_size: 0 came"):
        minibatches([[1.0]], [1.0], 0)


def test_gradient_by_formula():
    X, y = make_linear(np.ones((3, 2)), [1.0, 2.0], 40, noise=1.0)
    w, b = np.full((3, 2), 0.3), np.array([0.1, -0.2])
    dw, db = gradient(X, y, w, b)
    residual = linear(X, w, b) - y
    np.testing.assert_allclose(dw, X.T @ residual / 40, rtol=1e-12)
    np.testing.assert_allclose(db, residual.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("shape", [(100_000, 10), (35_000, 90)], ids=str)
@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_gradient_of_pieces_has_the_same_bits_for_any_number_of_threads(shape, k, weighted, monkeypatch):
    if JIT_OFF:  # which takes long
        shape = (shape[0] // 50, shape[1])
        monkeypatch.setattr(dense, "_CELLS_PER_CALL", dense._CELLS_PER_CALL // 50)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal(shape), rng.standard_normal(shape[:1] if k is None else (shape[0], k))
    weight = rng.uniform(0.5, 1.5, shape[0]) if weighted else np.ones(1)
    table = Dense(Rows(X, y, weight / weight.mean()), gs.squared(), None)
    w = rng.standard_normal((shape[1] + 1, *y.shape[1:]))
    answers = []
    for threads in (1, 2, 3):
        with gs.set_threads(threads):
            answers.append(table.gradient(w))
    assert table.row_reads == 3 * len(X)
    assert len(X) > 2 * dense._CELLS_PER_CALL // (shape[1] + dense.ROW_COST)  # there were several
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer[0], answers[0][0])
        np.testing.assert_array_equal(answer[1], answers[0][1])
    losses, slopes = Table.gradient(table, w)
    np.testing.assert_allclose(answers[0][0], losses, rtol=1e-12)
    np.testing.assert_allclose(answers[0][1], slopes, rtol=1e-10, atol=1e-12)


def test_a_step_changes_nothing_in_place():
    w = np.ones(2)
    new, b = sgd_step((w, 1.0), (np.array([1.0, 2.0]), 4.0), 0.5)
    np.testing.assert_array_equal(w, 1.0)
    np.testing.assert_array_equal(new, [0.5, 0.0])
    assert b == -1.0


def test_a_step_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match=r"gradients: dw of shape \(3, 1\) came for w of shape \(3,\)"):
        sgd_step((np.ones(3), 1.0), (np.ones((3, 1)), 1.0), 0.1)
    w, _ = sgd_step(([1.0, 2.0], 0.0), ([1.0, 1.0], 0.0), 0.5)
    np.testing.assert_array_equal(w, [0.5, 1.5])


@pytest.mark.parametrize("loss", examples(LOSSES), ids=repr)
@pytest.mark.parametrize("layout", ["denominator", "numerator"])
@pytest.mark.parametrize("k", [None, 2])
def test_check_gradient_confirms_every_loss(loss, layout, k):
    X, y = make_linear(np.ones(3) if k is None else np.ones((3, k)), 1.0, 20, noise=1.0)
    report = gs.check_gradient(loss, X, DOMAINS[loss.domain].into(y), layout=layout)
    assert report.agrees
    assert report.error < 1e-8
    shapes = {
        ("denominator", None): (4,),
        ("denominator", 2): (4, 2),
        ("numerator", None): (1, 4),
        ("numerator", 2): (2, 4),
    }
    assert report.analytical.shape == report.numerical.shape == shapes[layout, k]
    assert "The derivatives agree" in str(report)


def test_layouts_are_transposes():
    down, across = (gs.check_gradient(layout=layout) for layout in ("denominator", "numerator"))
    np.testing.assert_array_equal(down.analytical, across.analytical.T)


def test_check_gradient_catches_a_wrong_slope_and_names_the_entry():
    @gs.formula
    def wrong(z, y, p):
        return (z - y) * 1.001

    squared = gs.squared()
    loss = dataclasses.replace(squared, name="wrong", slope=wrong)
    X = np.zeros((10, 3))
    X[:, 1] = 5.0
    report = gs.check_gradient(loss, X, np.zeros(10), [0.0, 1.0, 0.0], 0.0)
    assert not report.agrees
    assert report.worst == (1,)
    assert report.error == pytest.approx(1e-3, rel=2e-2)
    assert "DISAGREE" in str(report)
    assert "the coefficient of column 1" in str(report)
    both = gs.check_gradient(loss, X, np.zeros((10, 2)), [[0.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.0, 0.0],
                             layout="numerator")  # fmt: skip
    assert both.worst == (1, 1)
    assert "column 1 of output 1" in str(both)


@pytest.mark.parametrize("offset", [0.0, 1e5, 1e6])
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_check_gradient_holds_far_away_and_at_the_optimum(offset, unit):
    X, y = make_linear(np.ones(3), 1.0, 50, noise=1.0)
    y = unit * y + offset
    assert gs.check_gradient(gs.squared(), X, y).error < 1e-8
    exact = gs.closed_form(X, y)
    report = gs.check_gradient(gs.squared(), X, y, exact.coef, exact.intercept)
    assert report.agrees
    assert report.error < 1e-8 + 1e-12 * offset / unit


def test_check_gradient_reports_nan():
    @gs.formula
    def broken(z, y, p):
        return np.nan * z

    report = gs.check_gradient(dataclasses.replace(gs.squared(), slope=broken))
    assert not report.agrees


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": [[1.0]]}, "^y: came without X|^X: came without y|^y: came|^X: came"),
        ({"layout": "columns"}, 'layout: .columns. came; "denominator" or "numerator"'),
        ({"tolerance": -1.0}, "tolerance: -1.0 came"),
        ({"X": [[1.0]], "y": [1.0], "w": [1.0, 2.0]}, r"w: shape \(2,\) came; \(1,\) is needed"),
        ({"X": [[1.0]], "y": [1.0], "b": [1.0, 2.0]}, r"b: shape \(2,\) came; \(\) is needed"),
    ],
)
def test_check_gradient_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        gs.check_gradient(**arguments)
