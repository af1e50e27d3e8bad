"""Bad input is refused before any work, in words; awkward but right input is fitted right."""

import inspect
import math
import re

import numba
import numpy as np
import pytest
import scipy.sparse

import gradstep as gs
from conftest import SIMULATED, needs_jit
from gradstep import _fit
from gradstep._kernels import cuda
from gradstep.losses import LOSSES
from gradstep.penalties import PENALTIES
from gradstep.schedules import SCHEDULES

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
    ("epochs", 0, ValueError, "epochs: 0 came; a whole number of at least 1 is needed"),
    ("epochs", 1.0, TypeError, "epochs: 1.0 came, a float"),
    ("step", 0, ValueError, "step: 0 came; a finite number above 0, such as 0.03, is needed"),
    ("step", -0.1, ValueError, "step: -0.1 came"),
    ("step", np.nan, ValueError, "step: nan came"),
    ("step", np.inf, ValueError, "step: inf came"),
    ("step", 10**400, ValueError, "step: 1000"),
    (
        "step",
        gs.inverse_decay,
        TypeError,
        "step: the function inverse_decay, not called, came; a number above 0 or a Schedule",
    ),
    ("solver", gs.Sgd(shuffle="no"), ValueError, "sgd: shuffle: 'no' came; True, False, \"once\" or"),
    ("solver", gs.Sgd(momentum=1.0), ValueError, r"sgd: momentum: 1.0 came; a finite number in \[0, 1\) is needed"),
    ("solver", gs.Sgd(average=1), TypeError, "sgd: average: 1 came; True or False"),
    ("step", "0.1", TypeError, "step: '0.1' came, a str; a number above 0, such as 0.03, is needed"),
    ("step", True, TypeError, "step: True came"),
    ("seed", -1, ValueError, "seed: -1 came; a whole number of at least 0"),
    ("seed", 1.5, TypeError, "seed: 1.5 came"),
    ("intercept", 1, TypeError, "intercept: 1 came, a int; True or False is needed"),
    ("loss", gs.squared, TypeError, "loss: the function squared, not called, came; a Loss is needed"),
    ("loss", "squared", TypeError, "loss: 'squared' came"),
    ("penalty", gs.l2, TypeError, "penalty: the function l2, not called, came; None or a Penalty is needed"),
    ("penalty", 0.1, TypeError, "penalty: 0.1 came"),
    ("solver", "adam", ValueError, 'solver: \'adam\' came; "sgd", "cg", "exact", "auto" or gs.sgd'),
    ("solver", 3, TypeError, "solver: 3 came"),
    ("solver", gs.sgd, TypeError, "solver: the function sgd, not called, came"),
    ("device", "gpu", ValueError, 'device: \'gpu\' came; None, "cpu", "cuda" or "auto" is needed'),
    ("device", 0, TypeError, "device: 0 came"),
    ("check", "yes", TypeError, "check: 'yes' came; \"auto\", True or False is needed"),
    ("callbacks", print, TypeError, "callbacks: the function print, not called, came; a sequence of callables"),
    ("callbacks", [print, 3], TypeError, "callbacks: entry 1 is 3; a callable"),
    ("start", 3, TypeError, "start: 3 came; None or a Fit is needed"),
    ("start", gs.fit(X0[:, :2], Y0, step=0.1), ValueError, r"start: a fit with coef of shape \(2,\) came; \(3,\) is"),
    ("start", gs.fit(X0, Y0[:, None], step=0.1), ValueError, r"coef of shape \(3, 1\) came; \(3,\) is needed"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD, ids=[f"{b[0]}-{i}" for i, b in enumerate(BAD)])
def test_bad_input_is_refused_before_any_work(name, value, error, message, monkeypatch):
    # Nothing behind the gate may be reached.
    monkeypatch.setattr(_fit, "table_on", None)
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


@needs_jit  # large tables are searched only where what comes of them is not finite
@pytest.mark.parametrize("solver", ["sgd", "cg", "exact", "auto"])
@pytest.mark.parametrize(("n", "d"), [(120_000, 10), (30_000, 60)])
def test_large_tables_are_refused_for_entries_that_are_not_finite(solver, n, d):
    X, y = RNG.standard_normal((n, d)), RNG.standard_normal((n, 2))
    for bad, row, column in ((np.nan, 7, d - 1), (np.inf, n // 2, 0), (-np.inf, n - 1, 3), (np.nan, slice(9, None), 2)):
        first = row.start if isinstance(row, slice) else row
        for outputs in (y[:, 0], y):
            table = spoiled(X, (row, column), bad)
            with pytest.raises(ValueError, match=rf"^X: {bad} came at row {first}, column {column}; finite"):
                gs.fit(table, outputs, solver=solver, check=False)
    X[5, 1] = 1e200  # whose square is infinite, and which is finite
    assert np.isfinite(gs.fit(X, y, solver=solver, check=False).coef).all()


def test_options_are_refused_where_they_are_given():
    with pytest.raises(ValueError, match='sgd: shuffle: \'yes\' came; True, False, "once" or "blocks" is needed'):
        gs.sgd(shuffle="yes")
    with pytest.raises(TypeError, match="sgd: shuffle: 1 came"):
        gs.sgd(shuffle=1)
    with pytest.raises(TypeError, match="sgd: exact_objective: None came; True or False is needed"):
        gs.sgd(exact_objective=None)
    with pytest.raises(ValueError, match=r"sgd: momentum: -0.1 came; a finite number in \[0, 1\) is needed"):
        gs.sgd(momentum=-0.1)
    with pytest.raises(ValueError, match="sgd: nesterov: True came with momentum 0"):
        gs.sgd(nesterov=True)
    with pytest.raises(TypeError, match=r"sgd: average: 0\.5 came"):
        gs.sgd(average=0.5)


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


LABELS = (Y0 > 1).astype(float)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (gs.logistic(), spoiled(LABELS, 4, 2.0), "y: 2.0 came at position 4; 0 or 1 is needed for the logistic loss."),
        (gs.logistic(), spoiled(LABELS, 4, 0.5), "y: 0.5 came at position 4; 0 or 1 is needed"),
        (gs.logistic(), 2 * LABELS - 1, r"y: -1.0 came at position .*logistic loss: pass \(y == 1\)\."),
        (gs.logistic(), np.column_stack((LABELS, spoiled(LABELS, 7, 3.0))), "y: 3.0 came at row 7, column 1"),
        (gs.poisson(), spoiled(LABELS, 2, -1.0), "y: -1.0 came at position 2; a number of at least 0 is needed"),
    ],
)
def test_labels_outside_the_domain_are_named(loss, y, message):
    with pytest.raises(ValueError, match=message):
        gs.fit(X0, y, step=0.1, loss=loss)
    with pytest.raises(ValueError, match=message):
        gs.check_gradient(loss, X0, y)
    with pytest.raises(ValueError, match=message):
        gs.textbook.gradient(X0, y, np.zeros((3, *y.shape[1:])), np.zeros(y.shape[1:]), loss)


@pytest.mark.parametrize("y", [LABELS.astype(bool), LABELS.astype(int), LABELS.tolist()])
def test_labels_of_any_type_are_taken(y):
    expected = gs.fit(X0, LABELS, step=0.1, loss=gs.logistic())
    np.testing.assert_array_equal(gs.fit(X0, y, step=0.1, loss=gs.logistic()).coef, expected.coef)


PARAMETERS = [
    (gs.huber, (0,), "huber: delta: 0 came; a finite number above 0 is needed"),
    (gs.huber, (-1.0,), "huber: delta: -1.0 came"),
    (gs.quantile, (0.0,), r"quantile: level: 0.0 came; a finite number in \(0, 1\) is needed"),
    (gs.quantile, (1,), "quantile: level: 1 came"),
    (gs.epsilon_insensitive, (-0.1,), "epsilon_insensitive: eps: -0.1 came; a finite number of at least 0 is needed"),
    (gs.l2, (-1.0,), "l2: alpha: -1.0 came; a finite number of at least 0 is needed"),
    (gs.l1, (-1.0,), "l1: alpha: -1.0 came"),
    (gs.elastic_net, (-1.0,), "elastic_net: alpha: -1.0 came"),
    (gs.elastic_net, (1.0, -0.1), r"elastic_net: ratio: -0.1 came; a finite number in \[0, 1\] is needed"),
    (gs.elastic_net, (1.0, 1.1), "elastic_net: ratio: 1.1 came"),
    (gs.constant, (0,), "constant: step: 0 came; a finite number above 0 is needed"),
    (gs.inverse_decay, (0.1, -1), "inverse_decay: decay: -1 came"),
    (gs.inverse_decay, (-0.1, 1), "inverse_decay: step: -0.1 came"),
    (gs.power_decay, (0.1, 1, -1), "power_decay: power: -1 came"),
    (gs.exponential_decay, (0.1, 0), "exponential_decay: half_life: 0 came"),
    (gs.cosine_decay, (0.1, 0), "cosine_decay: steps: 0 came; a finite number above 0 is needed"),
    (gs.cosine_decay, (0.1, 10, 10), "cosine_decay: steps: 10 came; a finite number above 10 is needed"),
    (gs.cosine_decay, (0.1, 10, 1, -1), "cosine_decay: end: -1 came"),
]


@pytest.mark.parametrize(("constructor", "arguments", "message"), PARAMETERS)
def test_parameters_outside_their_domain_are_refused(constructor, arguments, message):
    with pytest.raises(ValueError, match=message):
        constructor(*arguments)


@pytest.mark.parametrize("registry", [LOSSES, PENALTIES, SCHEDULES])
def test_every_parameter_of_every_constructor_is_looked_at(registry):
    for constructor, tried in registry.items():
        for i, _ in enumerate(tried[0]):
            names = list(inspect.signature(constructor).parameters)
            for bad, error in ((np.nan, ValueError), (np.inf, ValueError), (10**400, ValueError), ("1", TypeError),
                               (None, TypeError), (True, TypeError), ([[1.0]], TypeError)):  # fmt: skip
                arguments = [bad if i == at else one for at, one in enumerate(tried[0])]
                with pytest.raises(error, match=f"{constructor.__name__}: {names[i]}: .* came"):
                    constructor(*arguments)


@gs.formula
def good(z, y, p):
    return z - y


@gs.formula
def of_two(z, p):
    return z


@gs.formula
def array(z, y, p):
    return np.array([z, y])


@gs.formula
def nothing(z, y, p):
    return None


@gs.formula
def truth(z, y, p):
    return z > y


@gs.formula
def by_name(z, y, p, *, c=1.0):
    return z


@gs.formula
def beyond(z, y, p):
    return p[0] * z


@pytest.mark.parametrize(
    ("slope", "message"),
    [
        (abs, "Loss mine: slope: <built-in function abs> came; a function marked with @gs.formula is needed"),
        (None, "Loss mine: slope: None came; a function marked"),
        (lambda z, y, p: z, "Loss mine: slope: <function .* came; a function marked"),
        (of_two, r"Loss mine: slope: of_two\(z, p\) came; a function of \(z, y, p\) is needed"),
        (array, r"Loss mine: slope: array\(0.5, 1.0, \(\)\) returned an array of shape \(2,\); one number is needed"),
        (nothing, r"Loss mine: slope: nothing\(0.5, 1.0, \(\)\) returned None; one number is needed"),
        (truth, r"Loss mine: slope: truth\(0.5, 1.0, \(\)\) returned False; one number is needed"),
        (by_name, r"Loss mine: slope: by_name\(z, y, p, \*, c=1.0\) came; a function of \(z, y, p\) is needed"),
        (beyond, r"Loss mine: slope: beyond\(0.5, 1.0, \(\)\) ended in IndexError: tuple index out of range"),
    ],
)
def test_what_cannot_be_a_loss_is_refused(slope, message):
    with pytest.raises(TypeError, match=message):
        gs.Loss("mine", good, slope, good)


def test_what_cannot_be_a_group_of_formulas_is_refused():
    with pytest.raises(TypeError, match=r"Penalty mine: prox: .* a function of \(w, t, p\) is needed"):
        gs.Penalty("mine", gs.formula(lambda w, p: w), gs.formula(lambda w, p: w))
    with pytest.raises(TypeError, match=r"Schedule mine: rate: .* a function of \(t, p\) is needed"):
        gs.Schedule("mine", gs.formula(lambda: 0.1))
    with pytest.raises(TypeError, match="Loss: name: 3 came"):
        gs.Loss(3, good, good, good)
    with pytest.raises(TypeError, match=r"Loss mine: params\[1\]: 'a' came, a str; a number is needed"):
        gs.Loss("mine", good, good, good, (1.0, "a"))
    with pytest.raises(TypeError, match=r"Loss mine: params: 1\.0 came; a tuple of numbers is needed"):
        gs.Loss("mine", good, good, good, 1.0)
    with pytest.raises(ValueError, match=r"Loss mine: params\[0\]: nan came"):
        gs.Loss("mine", good, good, good, (np.nan,))
    with pytest.raises(
        ValueError, match="Loss mine: domain: 'labels' came; one of real, nonnegative, positive, binary"
    ):
        gs.Loss("mine", good, good, good, domain="labels")
    assert gs.Loss("mine", good, good, good, [1]).params == (1.0,)


def test_what_cannot_be_a_formula_is_refused():
    with pytest.raises(TypeError, match="formula: <built-in function abs> came; a plain Python function is needed"):
        gs.formula(abs)
    with pytest.raises(TypeError, match=r"formula: 3 came"):
        gs.formula(3)


@needs_jit
def test_a_compiled_function_is_no_formula():
    with pytest.raises(TypeError, match=r"pass the function itself, not what numba\.njit made of it"):
        gs.formula(numba.njit(lambda z, y, p: z))


# (rate, the step that is named): of 8 steps, of which the first and the last are looked at before any work.
RATES = [
    (lambda t, p: 0.1 - 0.1 * t, 1, "0.0"),
    (lambda t, p: 0.1 if t < 7 else 0.0, 7, "0.0"),
    (lambda t, p: 0.1 if t != 3 else -0.1, 3, "-0.1"),
    (lambda t, p: 0.1 / (t - 5.5) ** 2 - (0.1 if t == 4 else 0.0), 4, "-0.0"),
    (lambda t, p: 0.1 if t != 5 else math.nan, 5, "nan"),
    (lambda t, p: 1.0 / t, 0, "nan"),
    (lambda t, p: math.inf, 0, "inf"),
    (lambda t, p: math.sqrt(3.5 - t), 4, "nan"),
]


@needs_jit  # plain Python raises where a kernel goes on with NaN
@pytest.mark.parametrize(("rate", "step", "came"), RATES)
def test_the_step_at_which_a_schedule_gives_no_rate_is_named(rate, step, came):
    # Made anew without a check at t = 0, which some of these do not survive.
    schedule = gs.constant(1.0)
    object.__setattr__(schedule, "rate", gs.formula(rate))
    with pytest.raises(
        ValueError, match=rf"step: constant\(1\) gives {came}.* at step {step}; a finite number above 0"
    ):
        gs.fit(X0, Y0, step=schedule, batch_size=6, epochs=4)


def test_a_schedule_that_raises_says_why():
    @gs.formula
    def rate(t, p):
        if t > 3:
            raise ValueError("enough")
        return 0.1

    def fit(rate):
        return gs.fit(X0, Y0, step=gs.Schedule("mine", gs.formula(rate)), batch_size=6, epochs=4)

    with pytest.raises(ValueError, match=r"step: mine\(\) ended in ValueError at step 7: enough"):
        fit(rate)
    with pytest.raises(ValueError, match=r"step: mine\(\) ended in IndexError at step 7: tuple index out of range"):
        fit(lambda t, p: (0.1, 0.2)[int(t)])
    with pytest.raises(TypeError, match=r"step: mine\(\) gives None at step 7; a number is needed"):
        fit(lambda t, p: 0.1 if t < 3 else None)


def test_a_schedule_that_has_ended_is_refused():
    schedule = gs.cosine_decay(0.1, steps=8)
    fit = gs.fit(X0, Y0, step=schedule, batch_size=6, epochs=4)
    assert fit.history.step[-1] > 0
    with pytest.raises(ValueError, match=r"step: cosine_decay\(0.1, 8, 0, 0\) gives 0.0 at step 8; a finite number"):
        gs.fit(X0, Y0, step=schedule, batch_size=6, epochs=1, start=fit)
