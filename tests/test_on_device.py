"""What a table on a GPU answers equals obvious lines of NumPy: in the simulator, and on a device for large tables too.

Rows of weight zero hold numbers that would show wherever they were read as rows.
"""

import numpy as np
import pytest

import gradstep as gs
from conftest import CUDA_MARKS, SIMULATED
from gradstep._solvers.textbook import Textbook
from gradstep._table import on_device
from gradstep._table.dense import Dense
from gradstep._table.devices import table_on
from gradstep._table.order import row_order
from gradstep._table.summed import STRIPES
from gradstep._table.terms import NO_ORDER, Deal, Model, Rows, Settings, Units

pytestmark = list(CUDA_MARKS)

# (n, d, k): one row, one column, one of each; ragged tiles; more columns than threads; and, where there is a device,
# many blocks.
SMALL = [(1, 3, 1), (29, 1, 1), (50, 3, 2), (37, 19, 1)]
LARGE = [] if SIMULATED else [(200_003, 37, 1), (50_021, 300, 2), (100_000, 7, 3), (3_000, 1_500, 1)]
shapes = pytest.mark.parametrize("shape", SMALL + LARGE, ids=str)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
weights = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])


def near(found, exact, relative=1e-12):
    size = np.abs(np.asarray(exact, dtype=np.float64)).max()
    np.testing.assert_allclose(found, np.asarray(exact, dtype=np.float64), rtol=relative, atol=relative * size)


class Twin:
    """Rows, their units, and the same in 80 bits."""

    def __init__(self, shape, dtype, *, weighted=True, offset=3.0, seed=0):
        n, d, k = shape
        rng = np.random.default_rng(seed)
        self.n, self.d, self.k = shape
        X = (rng.standard_normal((n, d)) + offset).astype(dtype)
        y = rng.standard_normal((n, k)) + 1
        weight = np.ones(1)
        if weighted and n > 1:
            weight = rng.uniform(0.1, 2.0, n)
            weight[rng.integers(0, n, n // 5)] = 0.0
            X[weight == 0] = np.finfo(dtype).max ** 0.45
            weight /= weight.mean()
        self.rows = Rows(X, y[:, 0] if k == 1 else y, weight)
        scale, y_scale = 2.0 ** rng.integers(-3, 3, d), 2.0 ** rng.integers(-3, 3, k)
        self.units = Units(scale, offset * scale + 0.1, y_scale, 0.3 * y_scale)
        self.v = np.broadcast_to(weight, n).astype(np.longdouble)
        present = self.v > 0
        self.Z = np.where(present[:, None], X, 0).astype(np.longdouble) * scale
        self.z = np.where(present[:, None], self.Z - self.units.centre, 0)
        self.y = y * y_scale
        self.A = np.sqrt(self.v)[:, None] * np.column_stack((np.ones(n), self.z, self.y - self.units.y_centre))
        self.rng = rng

    def there(self):
        return table_on("cuda", self.rows, gs.squared(), None)

    def here(self):
        return Dense(self.rows, gs.squared(), None)


@shapes
@dtypes
@weights
@pytest.mark.parametrize("centred", [True, False])
def test_statistics(shape, dtype, weighted, centred):
    twin = Twin(shape, dtype, weighted=weighted)
    there, here = twin.there(), twin.here()
    for order in (NO_ORDER, np.flatnonzero(twin.v)[::2]):
        for found, expected in zip(there.statistics(order, centred=centred), here.statistics(order, centred=centred),
                                   strict=True):  # fmt: skip
            np.testing.assert_array_equal(found[[0, 2, 3]], expected[[0, 2, 3]])
            near(found[1], expected[1], 1e-6 if dtype == np.float32 and not len(order) else 1e-12)
    assert (there.row_reads, there.passes) == (here.row_reads, here.passes)


@dtypes
@pytest.mark.filterwarnings("ignore:.*encountered")  # in squares that are asked for with what else a read gives
def test_a_constant_column_is_one_and_tiny_and_huge_ones_have_units_that_a_float_holds(dtype):
    X = np.tile(np.array([0.1, 1e-42, 3e38], dtype=dtype), (20, 1))
    X[:, 1:] *= np.linspace(0.5, 1, 20, dtype=dtype)[:, np.newaxis]
    there = table_on("cuda", Rows(X, np.arange(20.0), np.ones(1)), gs.squared(), None)
    of_columns, _ = there.statistics(NO_ORDER, centred=True)
    np.testing.assert_array_equal(of_columns[2], [1, 0, 0])
    assert np.isfinite(of_columns[[0, 3]].astype(dtype)).all()
    assert (of_columns[[0, 3]].astype(dtype) > 0).all()
    spread = (X * of_columns[0].astype(dtype) - of_columns[1])[:, 1:]
    assert np.square(spread).mean() < 1


@shapes
@dtypes
@weights
def test_scaled_rows_have_the_bits_of_the_cpu(shape, dtype, weighted):
    twin = Twin(shape, dtype, weighted=weighted)
    there, here = twin.there(), twin.here()
    few = np.flatnonzero(twin.v)[::3]
    for order, stop in ((NO_ORDER, min(twin.n, 30)), (few, len(few))):
        np.testing.assert_array_equal(there.scaled(twin.units, order, 0, stop), here.scaled(twin.units, order, 0, stop))


@shapes
@dtypes
@weights
def test_squared_norms_and_the_rows_above(shape, dtype, weighted):
    twin = Twin(shape, dtype, weighted=weighted)
    V = twin.rng.standard_normal((8, twin.d))
    centre = twin.units.centre + 0.01
    there = twin.there()
    norms = there.squared_norms(twin.units, centre, V)
    exact = twin.v * np.square((twin.z - 0.01) @ V.T).sum(axis=1)
    near(norms.copy_to_host()[:, 0], exact, 1e-4 if dtype == np.float32 else 1e-12)
    for limit, share in ((float(np.quantile(exact, 0.7)) + 1e-7, 0.0), (float(exact.max()) + 1, 0.0), (-1.0, 0.5)):
        expected = np.flatnonzero(norms.copy_to_host()[:, 0] + np.asarray(twin.v * share, dtype=float) > limit)
        np.testing.assert_array_equal(there.above(norms, limit, share), expected)
    assert there.row_reads == twin.n
    some = np.flatnonzero(twin.v)[::4]
    expected = np.asarray(twin.v, dtype=float)
    expected[some] = 0
    np.testing.assert_array_equal(there.without(some).copy_to_host(), expected)


@shapes
@dtypes
@pytest.mark.parametrize("intercept", [True, False])
def test_lengths_and_squares_of_responses(shape, dtype, intercept):
    twin = Twin(shape, dtype, weighted=False)
    there, here = twin.there(), twin.here()
    near(there.lengths(twin.units, intercept=intercept), here.lengths(twin.units, intercept=intercept), 1e-7)
    twin = Twin(shape, dtype)
    unit = twin.units.y_scale
    for found, expected in zip(twin.there().response_squares(unit, intercept=intercept),
                               twin.here().response_squares(unit, intercept=intercept), strict=True):  # fmt: skip
        near(found, expected)


@shapes
@dtypes
@weights
@pytest.mark.parametrize("turned", [False, True])
def test_gram(shape, dtype, weighted, turned, monkeypatch):
    twin = Twin(shape, dtype, weighted=weighted)
    if twin.n > 1:
        present = int(np.flatnonzero(twin.v)[1])
        twin.rows.y.reshape(twin.n, -1)[present] = 1e6  # a heavy row
        twin.A[present, 1 + twin.d :] = np.sqrt(twin.v[present]) * (1e6 * twin.units.y_scale - twin.units.y_centre)
    if SIMULATED:
        monkeypatch.setattr(on_device, "_CELLS_PER_BLOCK", 200)
        monkeypatch.setattr(on_device, "_ROWS_PER_PIECE", 9)
    T = twin.rng.standard_normal((twin.d, max(1, twin.d - 1))) if turned else None
    A = twin.A
    if turned:
        A = np.column_stack((A[:, :1], A[:, 1 : 1 + twin.d] @ T, A[:, 1 + twin.d :]))
    there = twin.there()
    found, heavy = there.gram(twin.units, T)
    apart = np.square(A).sum(axis=1) > 1000 * A.shape[1]
    near(found, A[~apart].T @ A[~apart])
    if apart.any():
        near(heavy, A[apart])
    else:
        assert len(heavy) == 0
    assert there.row_reads == twin.n


@pytest.mark.parametrize("shape", SMALL, ids=str)
@dtypes
@weights
def test_sketch(shape, dtype, weighted):
    twin = Twin(shape, dtype, weighted=weighted)
    n, buckets = twin.n, 2
    # Of a table of ones in one place each the sketch is the matrix that it multiplies by.
    one = np.ones(1)
    each = table_on("cuda", Rows(np.eye(n, dtype=dtype), np.zeros(n), one), gs.squared(), None)
    unit = Units(np.ones(n), np.zeros(n), one, np.zeros(1))
    S = each.sketch(unit, STRIPES * buckets, 7)[:, 1 : 1 + n]
    by_stripe = np.abs(S).reshape(STRIPES, buckets, n)
    np.testing.assert_array_equal(by_stripe.sum(axis=1), np.full((STRIPES, n), 0.25))
    np.testing.assert_array_equal(by_stripe.max(axis=1), np.full((STRIPES, n), 0.25))
    counts = (by_stripe > 0).sum(axis=2)
    assert counts.max() - counts.min() <= 1 + n % buckets
    there = twin.there()
    near(there.sketch(twin.units, STRIPES * buckets, 7), S @ twin.A)
    assert there.row_reads == n


def test_a_sketch_is_an_embedding_and_its_signs_are_even():
    n, buckets = (200, 4) if SIMULATED else (20_000, 128)
    twin = Twin((n, 2, 1), np.float64, weighted=False)
    S = twin.there().sketch(twin.units, STRIPES * buckets, 3)
    R = np.linalg.qr(np.asarray(twin.A, dtype=float), mode="r")
    values = np.linalg.svd(np.linalg.solve(R.T, S.T), compute_uv=False)
    assert 1 / 1.5 < values[-1] <= values[0] < 1.5
    assert not np.array_equal(S, twin.there().sketch(twin.units, STRIPES * buckets, 4))


@shapes
@dtypes
@weights
def test_the_evidence_is_as_good_as_in_twice_the_precision(shape, dtype, weighted):
    twin = Twin(shape, dtype, weighted=weighted, offset=2.0**20)
    w = twin.rng.standard_normal((twin.d + 1, twin.k))
    w[-1] = twin.y[0] - np.asarray(twin.Z[0] @ w[:-1], dtype=float) + 0.1  # so that nearly everything cancels
    mean = twin.rng.standard_normal(twin.d) * 1e-3
    V = twin.rng.standard_normal((4, twin.d))
    there, here = twin.there(), twin.here()
    found, norms = there.wide_gradient(twin.units, mean, w, intercept=True, probes=V)
    expected, _ = here.wide_gradient(twin.units, mean, w, intercept=True, probes=V)
    for one, other in zip(found, expected, strict=True):
        near(one, other, 1e-14)
    assert norms.shape[0] == twin.n
    assert there.row_reads == 2 * twin.n  # with probes it reads twice


@shapes
@dtypes
@weights
def test_curvature(shape, dtype, weighted):
    twin = Twin(shape, dtype, weighted=weighted, offset=1e5)
    p = twin.rng.standard_normal((twin.d + 1, twin.k))
    centre = twin.units.centre + 0.01
    there = twin.there()
    z = np.where(twin.v[:, None] > 0, twin.Z - centre, 0)
    r = twin.v[:, None] * (z @ p[:-1] + p[-1])
    exact = np.vstack((z.T @ r, r.sum(axis=0)))
    near(there.curvature(twin.units, centre, p), exact, 1e-5 if dtype == np.float32 else 1e-11)
    assert there.row_reads == twin.n


@shapes
@dtypes
@pytest.mark.parametrize(("together", "fixed"), [(False, True), (True, False)], ids=["apart", "together"])
def test_lanes_lead_where_those_of_the_cpu_do(shape, dtype, together, fixed, monkeypatch):
    monkeypatch.setattr(on_device, "_FEW_LANES", 10**6 if together else 0)
    twin = Twin(shape, dtype)
    d, k = twin.d, twin.k
    r = max(1, d - 1)
    T = twin.rng.standard_normal((d, r)) / (d * np.sqrt(twin.n))
    F = np.square(twin.rng.standard_normal((r + 1, 2)))
    count, run = -(-twin.n // 3), 3
    ends = np.arange(4) * count // 3 if count >= 6 else np.array([0, count])
    batches = tuple(
        first + np.arange(steps + 1) * (last - first) // steps
        for first, last, steps in zip(ends[:-1], ends[1:], (2, 1, 2), strict=False)
    )
    slope = twin.rng.standard_normal((r + 1, k))
    found = []
    for table in (twin.there(), twin.here()):
        some = np.flatnonzero(twin.v)[::7]
        model = Model(
            T, twin.units.centre, 1 / np.sqrt(twin.n), F @ F.T / 50 if fixed else np.zeros((0, 0)),
            table.without(some) if fixed else table.weight, twin.n,
        )  # fmt: skip
        deal = Deal(table.order(count, 3, 1), run, batches)
        found.append(table.lanes(twin.units, deal, model, slope, 0.3))
        assert table.row_reads == twin.n
    near(found[0], found[1], 1e-5 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("n", [5, 150] if SIMULATED else [5, 150, 10**7])
@pytest.mark.parametrize("shuffle", [True, "once", "blocks"])
def test_the_order_of_rows_is_that_of_the_cpu(n, shuffle, monkeypatch):
    monkeypatch.setattr(on_device, "LISTED", 100)
    monkeypatch.setattr("gradstep._table.order.LISTED", 100)
    there = table_on("cuda", Rows(np.ones((3, 1)), np.ones(3), np.ones(1)), gs.squared(), None)
    for epoch in (0, 1):
        order = row_order(n, 5, epoch, shuffle)
        np.testing.assert_array_equal(there.order(n, 5, epoch, shuffle).copy_to_host(), order)
        np.testing.assert_array_equal(np.sort(order), np.arange(n))


@dtypes
@pytest.mark.parametrize("k", [1, 2])
def test_predictions_stay_there_and_have_the_digits_of_the_cpu(dtype, k):
    twin = Twin((60 if SIMULATED else 10_001, 4, k), dtype, weighted=False, offset=1e6)
    fit = gs.fit(twin.rows.X, twin.rows.y)
    there = fit.predict(gs.to_device(twin.rows.X, "cuda"))
    assert gs.device_of(there) == "cuda"
    here = fit.predict(twin.rows.X)
    assert there.shape == here.shape
    np.testing.assert_allclose(there.copy_to_host(), here, rtol=1e-14, atol=1e-12)


@pytest.mark.parametrize("batch", [7, 40])
def test_a_batch_shared_by_blocks_has_the_sums_of_one(batch, monkeypatch):
    twin = Twin((40, 3, 1), np.float64)
    found = []
    for cells in (1, 10**6):
        monkeypatch.setattr(on_device.steps, "CELLS_PER_PIECE", cells)
        table = twin.there()
        method = Textbook(gs.sgd(), 0.05, Settings(batch, True), 0, gs.squared())
        found.append(method.advance(table, method.start(table)).path)
    for one, other in zip(*found, strict=True):
        near(one, other, 1e-13)
