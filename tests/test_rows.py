"""Sums over rows beside NumPy's, of few columns, for which there are kernels of their own, and of many."""

import numpy as np
import pytest

import gradstep as gs
from gradstep._kernels.cache import kernel
from gradstep._kernels.eight_rows import columns_of_eight, each_of, put_each, shifted
from gradstep._kernels.four_rows import are_kept, room_of, rows_at_once
from gradstep._kernels.simd import WIDTH, eight, padded, put
from gradstep._kernels.sweep import MOST, TINY
from gradstep._table.dense import Dense
from gradstep._table.terms import Rows, Units

# A column's cells of eight rows, two vectors a row, rows of float32 that are kept widened, and longer ones.
DOUBLES, SINGLES = (1, 2, 3, 5, 7, 8, TINY - 3, TINY + 1, 130), (6, 11, TINY + 1, 257)
OF_ONE = [(d, np.float64, 1) for d in DOUBLES] + [(d, np.float32, 1) for d in SINGLES]
OF_SEVERAL = [(d, dtype, k) for d in (1, 8, 41) for k in (2, 4, 5, 19) for dtype in (np.float64, np.float32)]
EXTENDED = np.longdouble


def data(d, dtype, weighted, k=1, far=0.0):
    """Return a table whose rows fill whole blocks but for a rest; with weights, a row of weight zero is no number."""
    rng = np.random.default_rng(d)
    n = 3 * MOST + WIDTH + 3
    X, y = (far + rng.standard_normal((n, d))).astype(dtype), rng.standard_normal((n, k)).astype(dtype)
    weight = np.ones(1)
    if weighted:
        weight = rng.uniform(0.5, 2, n)
        weight[[1, 50, n - 1]] = 0.0
        X[50], y[n - 1] = np.nan, np.nan
    return Dense(Rows(X, y if k > 1 else y[:, 0], weight), gs.squared(), None), rng


def present(table):
    """Return rows that have a weight, and the weights, in extended precision."""
    X, y, weight = table._host
    weight = np.broadcast_to(weight, table.n)
    kept = weight > 0
    return X[kept].astype(EXTENDED), y[kept].astype(EXTENDED), weight[kept, np.newaxis].astype(EXTENDED)


def columns_and_back(d):
    """Return a kernel that sets `out` to the columns of eight rows, from where it has put them in between."""
    columns, each = columns_of_eight(d), each_of(d)

    @kernel
    def dealt(X, i, between, out):
        put_each(between, 0, columns(X, i))
        put_each(out, 0, each(between, 0))

    return dealt


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", range(1, WIDTH + 1))
def test_cells_of_eight_rows_are_dealt_to_their_columns(d, dtype):
    X = np.arange(20 * d, dtype=dtype).reshape(20, d)
    between, out = np.zeros((2, WIDTH * d))
    columns_and_back(d)(X, 3, between, out)
    np.testing.assert_array_equal(out.reshape(d, WIDTH), X[3 : 3 + WIDTH].T)


@pytest.mark.parametrize("by", [-7, -1, 0, 3])
def test_what_is_shifted_leaves_zeros(by):
    move = shifted(by)

    @kernel
    def moved(numbers, out):
        put(out, 0, move(eight(numbers, 0)))

    numbers = np.arange(1.0, WIDTH + 1)
    out = padded(np.full(WIDTH, np.nan))
    moved(padded(numbers), out)
    expected = np.zeros(WIDTH)
    for entry in range(WIDTH):
        if 0 <= entry + by < WIDTH:
            expected[entry] = numbers[entry + by]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_there_is_room_for_the_rows_that_are_kept(dtype):
    for d in range(1, 400):
        X = np.empty((0, d), dtype)
        put_down = 0
        if d <= TINY:  # a vector for each column of eight rows, or two for each row
            put_down = MOST // WIDTH * (d if d <= WIDTH else 2 * WIDTH) * WIDTH
        elif are_kept(X):
            put_down = rows_at_once(X) * padded(np.empty(d)).size
        assert MOST + put_down <= room_of(X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("d", "dtype", "k"), OF_ONE + OF_SEVERAL)
def test_gradients_and_directions_are_those_of_numpy(d, dtype, k, weighted):
    for far in (0.0, 3e3):
        table, rng = data(d, dtype, weighted, k, far)
        X, y, v = present(table)
        units = Units(2.0 ** rng.integers(-2, 3, d), far * rng.uniform(0.9, 1.1, d), 2.0 ** rng.integers(-2, 3, k), 0.0)
        mean, w = rng.standard_normal(d), rng.standard_normal((d + 1, k))
        Z = X * units.scale
        r = y * units.y_scale - Z @ w[:-1] - w[-1]
        about = Z - (units.centre + mean)
        for centred in (True, False):
            evidence, norms = table.plain_gradient(units, mean, w, intercept=True, centred=centred)
            size = np.abs(Z).max() * np.abs(v * r).sum()
            np.testing.assert_allclose(evidence.slopes, about.T @ (v * r), rtol=0, atol=1e-14 * float(size))
            np.testing.assert_allclose(evidence.by_level, (v * r).sum(axis=0), rtol=0, atol=1e-14 * float(size))
            np.testing.assert_allclose(evidence.squares, (v * r * r).sum(axis=0), rtol=1e-11)
            assert norms.size == 0
        centre = units.centre
        z = (Z - centre) @ w[:-1] + w[-1]
        truth = np.vstack(((Z - centre).T @ (v * z), (v * z).sum(axis=0)))
        np.testing.assert_allclose(
            table.curvature(units, centre, w), truth, rtol=0, atol=1e-12 * float(np.abs(truth).max() + np.abs(z).max())
        )  # fmt: skip


@pytest.mark.parametrize(("d", "dtype", "k"), [*OF_ONE, (6, np.float64, 3), (20, np.float32, 9)])
def test_the_gradient_of_a_large_table_is_that_of_a_small_one(d, dtype, k, monkeypatch):
    table, rng = data(d, dtype, weighted=False, k=k)
    w = rng.standard_normal((d + 1, k) if k > 1 else d + 1)
    losses, slopes = table.gradient(w)
    monkeypatch.setattr("gradstep._table.dense._CELLS_PER_CALL", 1)
    others, of_pieces = table.gradient(w)
    np.testing.assert_allclose(others, losses, rtol=1e-13)
    np.testing.assert_allclose(of_pieces, slopes, rtol=1e-12, atol=1e-13)
