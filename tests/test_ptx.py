"""The CUDA kernels compile to real PTX for compute capability 9.0, without a driver."""

import re
from functools import partial

import pytest

from conftest import JIT_OFF, SIMULATED

pytest.importorskip("numba_cuda", reason='numba-cuda is not installed: pip install -e ".[gputest]" brings it')
if SIMULATED or JIT_OFF:
    pytest.skip("the simulator and the JIT switched off compile nothing", allow_module_level=True)

from numba import boolean, cuda, float32, float64, int64, types
from numba.cuda import dispatcher

from gradstep._kernels.cuda import KERNELS, builder
from gradstep._kernels.cuda.held import Held
from gradstep._kernels.cuda.steps import build_steps
from gradstep.losses import LOSSES
from gradstep.penalties import NO_PENALTY, PENALTIES
from gradstep.schedules import SCHEDULES, Schedule

TARGET = (9, 0)


def kinds(registry):
    """Return one object of each constructor: parameters are data, and compile to nothing of their own."""
    return [constructor(*tried[0]) for constructor, tried in registry.items()]


# Each loss and each penalty in the kernel of the steps, not all their pairs.
pairs = [(loss, NO_PENALTY) for loss in kinds(LOSSES)] + [(kinds(LOSSES)[0], penalty) for penalty in kinds(PENALTIES)]


@pytest.fixture(autouse=True)
def compile_for_the_target(monkeypatch):
    # Device functions are compiled for the current device, of which there is none. The name is private to numba-cuda,
    # whose version the extra pins.
    class Target:
        compute_capability = TARGET

    if not hasattr(dispatcher, "get_current_device"):
        pytest.skip("this numba-cuda has no numba.cuda.dispatcher.get_current_device to stand in for")
    monkeypatch.setattr(dispatcher, "get_current_device", Target)


def array(dtype, ndim):
    return types.Array(dtype, ndim, "C")


def parameters(params, dtype):
    return types.UniTuple(dtype, len(params))


def ptx_of(function, signature):
    ptx, _ = cuda.compile_ptx(function, signature, cc=TARGET)
    assert ".target sm_90" in ptx
    return ptx


def blocks_of(ptx):
    """Return the runs of instructions between labels and jumps: of a loop, what each of its turns takes."""
    return re.split(r"\n\$L\w+:|\n\s*(?:@!?%p\d+ )?bra[^\n]*\n", ptx)


def assert_sound(ptx, dtype, wider=None):
    """Nothing atomic, no array in local memory, every function inlined; no double for an entry of float32 rows.

    None stands in a run of instructions beside arithmetic of float32, or, of a kernel that holds rows in registers,
    where entries and what comes once a row stand in one run, more columns a thread add none: `wider` is that kernel.
    """
    assert ".visible .entry" in ptx
    assert not re.search(r"^\s*(@\S+\s+)?(atom|red)\.", ptx, re.MULTILINE)
    assert "local_depot" not in ptx
    assert not re.search(r"call\.uni[^;]*gradstep", ptx)
    if dtype is float32:
        of_entries, of_wider = (
            [block for block in blocks_of(text) if re.search(r"\b(fma\.rn|mul|add|sub)(\.rn)?\.f32", block)]
            for text in (ptx, wider or "")
        )
        assert of_entries
        if wider is not None:
            doubles, more = (
                len(re.findall(r"^\s*(?!mov|selp)\S*\.f64", "\n".join(blocks), re.MULTILINE))
                for blocks in (of_entries, of_wider)
            )
            assert more <= doubles
            return
        # A zero may be put into a register for a sum that is begun after the loop; nothing is computed or converted.
        assert not [block for block in of_entries if re.search(r"^\s*(?!mov)\S*\.f64", block, re.MULTILINE)]


# What is compiled here is what `gradstep._table.on_device` launches: numbers are int64, or float64 or boolean as said.
N, F, B = int64, float64, boolean
NUMBERS, MATRIX, PARTS, WHOLE = (array(float64, ndim) for ndim in (1, 2, 3, 4))
ROWS = array(int64, 1)


def signature(name, dtype):
    X, line, factors = array(dtype, 2), array(dtype, 1), array(dtype, 3)
    room = ROWS, factors, MATRIX, PARTS
    read = (X, MATRIX, NUMBERS, *[N] * 6, NUMBERS, NUMBERS, factors, line, line, N, N, N, *room, PARTS)
    scores = X, NUMBERS, N, N, N, N, NUMBERS, factors, line, line, N, N, ROWS, MATRIX, MATRIX
    return {
        "curvature": read,
        "evidence": read,
        "norms": scores,
        "scores": scores,
        "fold": (PARTS, N, N, MATRIX),
        "lanes": (
            X, NUMBERS, *[N] * 5, ROWS, N, ROWS, ROWS, N, N, N, MATRIX, MATRIX, NUMBERS, NUMBERS, F, MATRIX, B, MATRIX,
            F, line, line, N, N, N, N, *room, PARTS, MATRIX, WHOLE, PARTS, factors, MATRIX,
        ),
        "sketch": (X, MATRIX, NUMBERS, *[N] * 9, NUMBERS, NUMBERS, line, line, N, N, *room, PARTS),
        "spread": (X, line, N, N, N, line, line, N, PARTS),
        "straight": (types.Array(float64, 2, "A"), N, N, MATRIX),
        "straight_line": (types.Array(float64, 1, "A"), N, NUMBERS),
        "take": (X, ROWS, N, N, X),
        "blank": (MATRIX, ROWS, N, N),
        "each_row": (NUMBERS, N, N, MATRIX),
        "order": (ROWS, N, N, N, N),
        "count_above": (MATRIX, NUMBERS, N, N, F, F, ROWS),
        "list_above": (MATRIX, NUMBERS, N, N, F, F, ROWS, ROWS),
        "fill": (X, MATRIX, NUMBERS, *[N] * 5, NUMBERS, NUMBERS, NUMBERS, NUMBERS, MATRIX),
        "row_squares": (MATRIX, N, N, NUMBERS),
        "product": (MATRIX, MATRIX, N, N, N, MATRIX),
        "gram": (MATRIX, N, N, N, PARTS),
    }[name]  # fmt: skip


ROWS_HELD, MORE_COLUMNS = Held(2, 3, 2), Held(2, 5, 2)


def ways(name):
    """Return the ways in which a kernel is built."""
    plain = plain_ways(name)
    if name in {"lanes", "curvature", "evidence", "norms", "sketch"}:
        return plain + [{**way, "held": ROWS_HELD} for way in plain]
    return plain


def plain_ways(name):
    if name == "lanes":
        return [{"single": single, "together": together} for single in (False, True) for together in (False, True)]
    if name in {"curvature", "evidence", "norms", "scores", "sketch", "spread"}:
        return [{"single": False}, {"single": True}]
    return [{}]


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_compiles(name):
    for way in ways(name):
        dtype = float32 if way.get("single") else float64
        ptx = ptx_of(builder(name, **way), signature(name, dtype))
        holds = "held" in way
        wider = ptx_of(builder(name, **{**way, "held": MORE_COLUMNS}), signature(name, dtype)) if holds else None
        assert_sound(ptx, dtype if way else float64, wider)
        waits = {"lanes", "curvature", "evidence", "norms", "scores", "sketch", "gram"} - (
            {"norms"} if holds else set()
        )
        assert bool(re.search(r"bar\.sync|barrier\.sync", ptx)) == (name in waits)
        exchange = {"lanes", "curvature", "evidence", "norms", "scores", "fold"} | ({"sketch"} if holds else set())
        assert ("shfl.sync" in ptx) == (name in exchange)
        assert bool(re.search(r"cudaCG\w*Sync", ptx)) == bool(way.get("together"))


@pytest.mark.parametrize(("loss", "penalty"), pairs, ids=lambda formulas: formulas.name)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_the_steps_compile(loss, penalty, dtype):
    single = dtype is float32
    room = ROWS, array(dtype, 3), MATRIX, PARTS
    signature = (
        array(dtype, 2), MATRIX, NUMBERS, N, ROWS, B, *[N] * 7, B, F, B, B, N, NUMBERS, B, PARTS, NUMBERS, F,
        array(dtype, 3), array(dtype, 1), N, N, N, N, *room, PARTS, parameters(loss.params, float64),
        parameters(penalty.params, float64),
    )  # fmt: skip
    # Whether blocks work together changes a barrier alone.
    for together in (False, True) if loss.name == "huber" else (False,):
        build = partial(build_steps, loss.value, loss.slope, penalty.prox, single=single, together=together)
        ptx, held, wider = (ptx_of(build(held=held), signature) for held in (None, ROWS_HELD, MORE_COLUMNS))
        assert_sound(ptx, dtype)
        assert_sound(held, dtype, wider)
        assert bool(re.search(r"cudaCG\w*Sync", ptx)) == together


def of_one(function):
    def kernel(first, out, p):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = function(first[i], p)

    return kernel


def of_two(function):
    def kernel(first, second, out, p):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = function(first[i], second[i], p)

    return kernel


groups = pytest.mark.parametrize(
    "group", [*kinds(LOSSES), NO_PENALTY, *kinds(PENALTIES), *kinds(SCHEDULES)], ids=lambda group: group.name
)


@groups
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_formulas_compile(group, dtype):
    numbers = array(dtype, 1)
    for role, scalars in group.ROLES.items():
        kernel = (of_one if len(scalars) == 1 else of_two)(getattr(group, role))
        ptx = ptx_of(kernel, (*(numbers for _ in scalars), numbers, parameters(group.params, dtype)))
        # A schedule is read once a step, on the host; the library's powers and cosines of float32 use some double.
        if dtype is float32 and not isinstance(group, Schedule):
            assert ptx.count("f64") == 0, role
