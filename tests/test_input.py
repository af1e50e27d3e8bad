"""Bad input is refused before any work, in words; awkward but right input is fitted right."""

import re

import numpy as np
import pytest
import scipy.sparse

import gradstep as gs
from conftest import SIMULATED
from gradstep import _fit
from gradstep._kernels import cuda

N, D = 12, 3
RNG = np.random.default_rng(0)
X0 = RNG.standard_normal((N, D))
Y0 = X0 @ [1.0, -2.0, 0.5] + 1.0


def spoiled(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


MASK = np.zeros((N, D), dtype=bool)
MASK[4, 2] = True

# (argument changed, its value, error, what the message says)
BAD = [
    ("X", spoiled(X0, (5, 1), np.nan), ValueError, "X: nan came at row 5, column 1; finite numbers are needed"),
    ("X", spoiled(X0, (0, 2), np.inf), ValueError, "X: inf came at row 0, column 2"),
    ("X", spoiled(X0, (11, 0), -np.inf).astype(np.float32), ValueError, "X: -inf came at row 11, column 0"),
    ("X", np.asfortranarray(spoiled(X0, (7, 2), np.nan)), ValueError, "X: nan came at row 7, column 2"),
    ("X", X0[:0], ValueError, r"X: no rows came, shape \(0, 3\)"),
    ("X", X0[:, :0], ValueError, r"X: no columns came, shape \(12, 0\)"),
    ("X", X0[:, 0], ValueError, r"X: 1 dimension came, shape \(12,\); \(n, d\) is needed.*X\[:, np.newaxis\]"),
    ("X", X0[None], ValueError, r"X: 3 dimensions came, shape \(1, 12, 3\)"),
    ("X", np.float64(3.0), ValueError, r"X: 0 dimensions came"),
    ("X", X0.astype(object), TypeError, "X: object data came .*; real numbers are needed"),
    ("X", X0.astype(str), TypeError, "X: string data came"),
    ("X", X0.astype(bytes), TypeError, "X: bytes data came"),
    ("X", X0 + 0j, TypeError, "X: complex data came"),
    ("X", X0.astype("datetime64[s]"), TypeError, "X: datetime data came"),
    ("X", X0.astype("timedelta64[s]"), TypeError, "X: timedelta data came"),
    ("X", np.zeros(N, dtype=[("a", float)]), TypeError, "X: structured data came"),
    ("X", None, TypeError, "X: object data came"),
    ("X", "table.csv", TypeError, "X: string data came"),
    ("X", [[1.0, 2.0], [3.0]], ValueError, "X: a list came that is no rectangular array"),
    ("X", np.ma.array(X0, mask=MASK), ValueError, "X: 1 masked entries came, the first at row 4, column 2"),
    ("X", scipy.sparse.csr_array(X0), TypeError, r"X: a sparse csr_array came; .* pass X.toarray\(\)"),
    ("X", X0.astype(np.longdouble) * np.longdouble("1e4000"), ValueError, "X: -?inf came at row 0, column 0"),
    ("y", spoiled(Y0, 3, np.nan), ValueError, "y: nan came at position 3; finite numbers are needed"),
    ("y", spoiled(np.column_stack((Y0, Y0)), (3, 1), np.inf), ValueError, "y: inf came at row 3, column 1"),
    ("y", Y0[:-1], ValueError, "y: 11 rows came and X has 12"),
    ("y", Y0[None], ValueError, r"y: shape \(1, 12\) came; \(12,\) or \(12, k\) is needed: pass y.T or y.ravel"),
    ("y", np.zeros((N, 1, 1)), ValueError, "y: 3 dimensions came"),
    ("y", np.zeros((N, 0)), ValueError, r"y: shape \(12, 0\) came, without a column"),
    ("y", 3.0, ValueError, "y: 0 dimensions came"),
    ("y", Y0.astype(str), TypeError, "y: string data came"),
    ("y", np.ma.array(Y0, mask=np.arange(N) == 2), ValueError, "y: 1 masked entries came, the first at position 2"),
    ("sample_weight", spoiled(np.ones(N), 6, -1.0), ValueError, r"sample_weight: -1.0 came at position 6"),
    ("sample_weight", spoiled(np.ones(N), 6, np.nan), ValueError, "sample_weight: nan came at position 6"),
    ("sample_weight", np.zeros(N), ValueError, "sample_weight: all weights are zero"),
    ("sample_weight", np.ones(N - 1), ValueError, r"sample_weight: shape \(11,\) came; \(12,\) is needed"),
    ("sample_weight", np.ones((N, 1)), ValueError, r"sample_weight: shape \(12, 1\) came"),
    ("sample_weight", 1.0, ValueError, r"sample_weight: shape \(\) came"),
    ("sample_weight", ["a"] * N, TypeError, "sample_weight: string data came"),
    ("batch_size", 0, ValueError, "batch_size: 0 came; a whole number of at least 1 is needed"),
    ("batch_size", -3, ValueError, "batch_size: -3 came"),
    ("batch_size", 2.5, TypeError, "batch_size: 2.5 came, a float; a whole number"),
    ("batch_size", True, TypeError, "batch_size: True came"),
    ("batch_size", None, TypeError, "batch_size: None came"),
    ("epochs", 0, ValueError, "epochs: 0 came; a whole number of at least 1 is needed"),
    ("epochs", 1.0, TypeError, "epochs: 1.0 came, a float"),
    ("step", 0, ValueError, "step: 0 came; a finite number above 0 is needed"),
    ("step", -0.1, ValueError, "step: -0.1 came"),
    ("step", np.nan, ValueError, "step: nan came"),
    ("step", np.inf, ValueError, "step: inf came"),
    ("step", 10**400, ValueError, "step: 1000"),
    ("solver", gs.Sgd(shuffle="no"), TypeError, "solver: shuffle: 'no' came"),
    ("step", "0.1", TypeError, "step: '0.1' came, a str; a positive number is needed"),
    ("step", True, TypeError, "step: True came"),
    ("seed", -1, ValueError, "seed: -1 came; a whole number of at least 0"),
    ("seed", 1.5, TypeError, "seed: 1.5 came"),
    ("intercept", 1, TypeError, "intercept: 1 came, a int; True or False is needed"),
    ("loss", gs.squared, TypeError, "loss: the function squared, not called, came; a Loss is needed"),
    ("loss", "squared", TypeError, "loss: 'squared' came"),
    (
        "loss",
        gs.squared()._replace(slope=abs),
        TypeError,
        "loss: the slope of squared is .*; a function marked with @gs",
    ),
    (
        "loss",
        gs.Loss("x", gs.squared().value, None, None),
        TypeError,
        "loss: the slope of x is None; a function marked",
    ),
    ("penalty", gs.l2(1.0)._replace(prox=len), TypeError, "penalty: the prox of l2 is .*; a function marked"),
    ("penalty", gs.l2, TypeError, "penalty: the function l2, not called, came; None or a Penalty is needed"),
    ("penalty", 0.1, TypeError, "penalty: 0.1 came"),
    ("solver", "adam", ValueError, "solver: 'adam' came; \"sgd\" or gs.sgd"),
    ("solver", 3, TypeError, "solver: 3 came"),
    ("solver", gs.sgd, TypeError, "solver: the function sgd, not called, came"),
    ("device", "gpu", ValueError, 'device: \'gpu\' came; None, "cpu" or "cuda" is needed'),
    ("device", 0, TypeError, "device: 0 came"),
    ("check", "yes", TypeError, "check: 'yes' came; \"auto\", True or False is needed"),
    ("callbacks", print, TypeError, "callbacks: the function print, not called, came; a sequence of callables"),
    ("callbacks", [print, 3], TypeError, "callbacks: entry 1 is 3; a callable"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD, ids=[f"{b[0]}-{i}" for i, b in enumerate(BAD)])
def test_bad_input_is_refused_before_any_work(name, value, error, message, monkeypatch):
    # Nothing behind the gate may be reached.
    monkeypatch.setattr(_fit, "Dense", None)
    arguments = {"X": X0.copy(), "y": Y0.copy(), "step": 0.05, "sample_weight": None} | {name: value}
    kept = {key: np.array(v, copy=True) for key, v in arguments.items() if isinstance(v, np.ndarray)}
    X, y, options = arguments["X"], arguments["y"], {k: v for k, v in arguments.items() if k not in {"X", "y"}}
    with pytest.raises(error, match=message):
        gs.fit(X, y, **options)
    for key, before in kept.items():
        np.testing.assert_array_equal(arguments[key], before)


@pytest.mark.parametrize(("name", "value", "error", "message"), [b for b in BAD if b[0] in {"X", "y", "sample_weight"}])
def test_closed_form_refuses_the_same(name, value, error, message):
    arguments = {"X": X0, "y": Y0, "sample_weight": None} | {name: value}
    with pytest.raises(error, match=message):
        gs.closed_form(**arguments)


def test_options_are_refused_where_they_are_given():
    with pytest.raises(TypeError, match="sgd: shuffle is 'yes'; True or False is needed"):
        gs.sgd(shuffle="yes")


class Frame:
    """What a DataFrame of any library shows of itself."""

    def __init__(self, columns):
        self.columns, self._arrays = list(columns), [np.asarray(array) for array in columns.values()]
        self.dtypes = [array.dtype for array in self._arrays]

    def to_numpy(self, dtype=None):
        return np.column_stack(self._arrays).astype(dtype)

    def __array__(self, dtype=None, copy=None):
        kinds = set(map(str, self.dtypes))
        return np.column_stack([array.astype(object) if len(kinds) > 1 else array for array in self._arrays])


def test_a_frame_of_numbers_and_truth_values_is_numbers():
    truth = X0[:, 1] > 0
    fit = gs.fit(Frame({"a": X0[:, 0], "b": truth, "c": np.arange(N)}), Y0, step=0.01, epochs=300)
    plain = gs.fit(np.column_stack((X0[:, 0], truth, np.arange(N))), Y0, step=0.01, epochs=300)
    np.testing.assert_array_equal(fit.coef, plain.coef)
    one, alone = (gs.fit(X, Y0, step=0.1, epochs=300) for X in (Frame({"a": X0[:, 0]}), X0[:, :1]))
    np.testing.assert_array_equal(one.coef, alone.coef)


def test_a_frame_with_words_names_the_column():
    frame = Frame({"a": X0[:, 0], "grade": np.array(["x"] * N)})
    with pytest.raises(TypeError, match="X: column 'grade' holds <U1; real numbers are needed: turn categories"):
        gs.fit(frame, Y0, step=0.05)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
    odd = raw[1:].view(array.dtype).reshape(array.shape)
    odd[...] = array
    assert not odd.flags.aligned
    return odd


def strided(array):
    wide = np.zeros((2 * array.shape[0], *(2 * s for s in array.shape[1:])))
    wide[(slice(None, None, 2),) * array.ndim] = array
    return wide[(slice(None, None, 2),) * array.ndim]


def readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "negative_stride": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "readonly": readonly,
    "unaligned": unaligned,
    "big_endian": lambda array: array.astype(">f8"),
    "long_double": lambda array: array.astype(np.longdouble),
    "list": lambda array: array.tolist(),
    "tuples": lambda array: tuple(map(tuple, array.tolist())) if array.ndim == 2 else tuple(array.tolist()),
    "masked_nowhere": np.ma.array,
    "matrix_subclass": lambda array: array.view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_of_the_same_numbers_give_the_same_bits(layout):
    weight = np.linspace(0.5, 2, N)
    plain = gs.fit(X0, Y0, step=0.05, sample_weight=weight)
    other = gs.fit(layout(X0), layout(Y0), step=0.05, sample_weight=layout(weight))
    np.testing.assert_array_equal(other.coef, plain.coef)
    assert other.intercept == plain.intercept
    np.testing.assert_array_equal(gs.closed_form(layout(X0), layout(Y0)).coef, gs.closed_form(X0, Y0).coef)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, bool, np.float16, ">i4", ">f4"])
def test_types_of_the_same_numbers_give_the_same_fit(dtype):
    whole = (RNG.integers(0, 2, (N, D))).astype(float)
    plain = gs.fit(whole, Y0, step=0.1, epochs=100)
    other = gs.fit(whole.astype(dtype), Y0, step=0.1, epochs=100)
    np.testing.assert_allclose(other.coef, plain.coef, rtol=1e-12)
    responses, plain = (gs.fit(X0, (Y0 > 0).astype(kind), step=0.1, epochs=100) for kind in (dtype, float))
    np.testing.assert_array_equal(responses.coef, plain.coef)


def test_the_callers_arrays_stay_untouched_and_are_not_copied():
    X, y, weight = X0.copy(), Y0.copy(), np.linspace(0.5, 2, N)
    before = X.copy(), y.copy(), weight.copy()
    gs.fit(X, y, step=0.05, sample_weight=weight)
    gs.closed_form(X, y, weight)
    for array, kept in zip((X, y, weight), before, strict=True):
        np.testing.assert_array_equal(array, kept)
        assert array.flags.writeable
    rows = gs._input.rows(X, y, weight)
    assert not any(array.flags.writeable for array in rows)
    assert np.shares_memory(rows.X, X)
    assert np.shares_memory(rows.y, y)


def test_a_batch_above_n_is_one_batch():
    whole, above = (gs.fit(X0, Y0, step=0.05, batch_size=size) for size in (N, 10**12))
    np.testing.assert_array_equal(whole.coef, above.coef)
    assert above.batch_size == N


def test_weights_of_any_unit_give_the_same_fit():
    weight = np.linspace(0.5, 2, N)
    plain = gs.fit(X0, Y0, step=0.05, sample_weight=weight)
    for unit in (1e-300, 1e300, 2.0**-40):
        np.testing.assert_allclose(gs.fit(X0, Y0, step=0.05, sample_weight=weight * unit).coef, plain.coef, rtol=1e-12)


def test_whole_numbers_from_numpy_are_whole_numbers():
    fit = gs.fit(X0, Y0, step=np.float32(0.05), batch_size=np.int16(4), epochs=np.uint8(3), seed=np.int64(1))
    assert (fit.batch_size, len(fit.history), fit.seed) == (4, 3, 1)


def test_large_finite_sums_are_not_mistaken_for_infinity():
    assert gs._input.rows(np.full((4, 2), 1.7e308), np.ones(4)).X.max() == 1.7e308


@pytest.mark.skipif(SIMULATED or not cuda.state().startswith("no usable device"), reason="there is a device")
def test_cuda_without_a_device_is_one_sentence_with_the_ways_out():
    pattern = (
        r'device: "cuda" came, and there is no usable device: .*; pass device="cpu", or install an NVIDIA driver .*'
    )
    with pytest.raises(RuntimeError, match=pattern) as raised:
        gs.fit(X0, Y0, step=0.05, device="cuda")
    assert "\n" not in str(raised.value)
    assert re.search("NUMBA_ENABLE_CUDASIM=1", str(raised.value))
