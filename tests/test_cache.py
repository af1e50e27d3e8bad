"""Kernels on disk: a second process compiles nothing, and nothing that can lie there fails a fit or changes it."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numba.extending import overload

import gradstep as gs
from conftest import SIMULATED, needs_jit
from gradstep._kernels import cache, cpu

pytestmark = [needs_jit, pytest.mark.skipif(SIMULATED, reason="run in the other legs")]

PACKAGE = Path(gs.__file__).parent
OF_ALL_TESTS = Path(os.environ["GRADSTEP_CACHE_DIR"])  # what compiles much takes from it what others have compiled

# Prints how many functions Numba compiled, then what the code prints.
COUNTING = """
import sys
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    import numpy as np
    import gradstep as gs
    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200, noise=0.1)
{code}
print(sum(e.is_start for _, e in compiled.buffer), *answers)
"""
FIT = """
    answers = gs.fit(X, y, step=0.05).coef
"""


def run(code, folder, *, path=(), **environment):
    """Run code in a process of its own; return how many functions it compiled, and the numbers it answered with."""
    environment = (
        os.environ | {"GRADSTEP_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(map(str, path))} | environment
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COUNTING.format(code=code)], capture_output=True, text=True, check=False,
        env=environment, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    count, *answers = done.stdout.split()
    return int(count), answers


def kernels(folder):
    return sorted((folder / "kernels").iterdir())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Return a folder with the kernels of `FIT`, and its answers; not to be changed."""
    folder = tmp_path_factory.mktemp("filled")
    compiled, answers = run(FIT, folder)
    assert compiled > 2
    assert all(path.suffix == ".kernel" for path in kernels(folder))
    return folder, answers


@pytest.fixture
def copied(filled, tmp_path):
    """Return a copy of that folder, to be spoiled, and its answers."""
    folder = tmp_path / "copied"
    shutil.copytree(filled[0], folder)
    return folder, filled[1]


def test_a_second_process_compiles_nothing(filled):
    folder, answers = filled
    assert run(FIT, folder) == (0, answers)
    assert (folder / "kernels").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kernels(folder)} == {0o600}


def test_no_solver_compiles_anything_in_a_second_process():
    code = """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 5))
    Y = X @ rng.standard_normal((5, 3)) + rng.standard_normal((60_000, 3))
    answers = []
    for y in (Y[:, 0], Y):
        for options in ({"solver": "sgd"}, {"solver": "cg"}, {"solver": "exact"}, {"step": 0.01, "epochs": 2}):
            answers += [np.sum(gs.fit(X, y, check=False, **options).objective)]
"""
    _, answers = run(code, OF_ALL_TESTS)
    assert len(answers) == 8
    assert run(code, OF_ALL_TESTS) == (0, answers)


@pytest.mark.parametrize(
    ("options", "apart"),
    [("loss=gs.logistic()", {"of_two"}), ("solver='exact', sample_weight=abs(y) + 1", set()), ("step=0.05", set())],
)
def test_kernels_are_compiled_once_whoever_made_the_arrays(tmp_path, options, apart):
    run(
        f"""
    X, y = gs.textbook.make_linear(np.ones(8), 0.0, 5_000, noise=1.0)
    gs.fit(X, y > 0, {options})
    answers = ()
""",
        tmp_path,
    )
    names = [path.name.rpartition("-")[0] for path in kernels(tmp_path) if path.suffix == ".kernel"]
    assert {name for name in names if names.count(name) > 1} <= apart  # those of other formulas


EVERYTHING = """
    from gradstep.losses import DOMAINS, LOSSES
    from gradstep.penalties import PENALTIES
    from gradstep.schedules import SCHEDULES
    from gradstep._kernels.formula import examples
    import warnings
    warnings.simplefilter("ignore", gs.ConvergenceWarning)
    answers = []
    for dtype in (np.float32, np.float64):
        Z = X.astype(dtype)
        for responses in (y, np.column_stack((y, y))):
            for loss in (loss for loss in examples(LOSSES) if not loss.relative):
                labels = DOMAINS[loss.domain].into(responses)
                answers += [gs.fit(Z, labels, step=0.01, epochs=1, loss=loss, check=False).objective]
            for penalty in examples(PENALTIES):
                answers += [gs.fit(Z, responses, step=0.01, epochs=1, penalty=penalty, check=False).objective]
    for schedule in examples(SCHEDULES):
        answers += [gs.fit(X, y, step=schedule, epochs=1, check=False).objective]
"""


def test_every_loss_penalty_schedule_and_type_comes_from_the_cache():
    _, answers = run(EVERYTHING, OF_ALL_TESTS)
    assert run(EVERYTHING, OF_ALL_TESTS) == (0, answers)
    # Losses and the penalties by themselves, for two types and for one output and several: what was fitted is kept.
    least = 4 * (len(gs.losses.LOSSES) + len(gs.penalties.PENALTIES))
    assert min(len(answers), len(kernels(OF_ALL_TESTS))) > least


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path):
    path.write_bytes(b"")


def altered(path):
    code = bytearray(path.read_bytes())
    code[len(code) // 2] ^= 1
    path.write_bytes(code)


def of_another_kernel(path):
    other = next(p for p in path.parent.iterdir() if p != path)
    shutil.copy(other, path)


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [truncated, emptied, altered, a_folder, a_pipe])
def test_a_file_that_is_not_whole_is_made_anew(copied, spoil):
    folder, answers = copied
    for path in kernels(folder):
        spoil(path)
    compiled, again = run(FIT, folder)
    assert compiled > 2
    assert again == answers
    if spoil is not a_folder:
        assert run(FIT, folder) == (0, answers)


PLANTED = b"\x80\x04csys\nexit\n(I3\ntR."  # a pickle that ends the process when it is loaded


def planted(folder, name):
    """Put a file with a right digest and a wrong pickle in place of each kernel."""
    import hashlib

    for path in kernels(folder):
        path.unlink()
        (folder / name).write_bytes(hashlib.sha256(PLANTED).digest() + PLANTED)
        yield path


def test_what_was_planted_works_at_all(copied):
    # Else the tests below would prove nothing: from a file of one's own the pickle does end the process.
    folder, _ = copied
    for path in planted(folder, "own"):
        shutil.copy(folder / "own", path)
        path.chmod(0o600)
    with pytest.raises(AssertionError):
        run(FIT, folder)


def test_a_file_that_others_can_write_is_not_loaded(copied):
    folder, answers = copied
    for path in planted(folder, "open"):
        shutil.copy(folder / "open", path)
        path.chmod(0o622)
    compiled, again = run(FIT, folder)
    assert compiled > 2
    assert again == answers


def test_a_link_is_not_followed(copied):
    folder, answers = copied
    for path in planted(folder, "elsewhere"):
        path.symlink_to(folder / "elsewhere")
    compiled, again = run(FIT, folder)
    assert compiled > 2
    assert again == answers


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("given", ["file", "folder"])
def test_what_belongs_to_another_user_is_not_loaded(copied, given):
    folder, answers = copied
    for path in planted(folder, "own"):
        shutil.copy(folder / "own", path)
        path.chmod(0o600)
        if given == "file":
            os.chown(path, 12345, 12345)
    if given == "folder":
        os.chown(folder / "kernels", 12345, 12345)
    compiled, again = run(FIT, folder)
    assert compiled > 2
    assert again == answers


@pytest.mark.parametrize("mode", [0o777, 0o755, 0o720])
def test_a_folder_open_to_others_is_not_used(copied, mode):
    folder, answers = copied
    (folder / "kernels").chmod(mode)
    before = {path: path.stat().st_mtime_ns for path in kernels(folder)}
    compiled, again = run(FIT, folder)
    assert compiled > 2
    assert again == answers
    assert {path: path.stat().st_mtime_ns for path in kernels(folder)} == before


def test_a_folder_that_cannot_be_is_no_hindrance(tmp_path, filled):
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", "/dev/null/x", "/proc/gradstep"):
        compiled, answers = run(FIT, folder)
        assert compiled > 2
        assert answers == filled[1]


def test_no_home_is_no_hindrance(filled):
    for variables in ({"HOME": "/proc/none"}, {"XDG_CACHE_HOME": "/proc/none"}):
        compiled, answers = run(FIT, "", **variables)
        assert compiled > 2
        assert answers == filled[1]


def test_the_users_cache_folder_is_the_default(filled, tmp_path):
    compiled, answers = run(FIT, "", XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert compiled > 2
    made = [path.relative_to(tmp_path).parent for path in tmp_path.rglob("*.kernel")]
    assert made
    if sys.platform == "linux":
        assert set(made) == {Path("gradstep/kernels")}
    assert run(FIT, "", XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path)) == (0, answers)


def test_the_cache_can_be_turned_off(filled, tmp_path):
    compiled, answers = run(FIT, tmp_path, GRADSTEP_CACHE="0")
    assert compiled > 2
    assert answers == filled[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("when", ["made", "written"])
def test_a_disk_that_takes_nothing_is_no_hindrance(tmp_path, monkeypatch, error, when):
    def fails(*arguments, **options):
        raise OSError(error, os.strerror(error))

    class Half:
        def __init__(self, handle, mode):
            self.file = open(handle, mode)  # noqa: SIM115, PTH123

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def write(self, code):
            self.file.write(code[:100])
            fails()

    monkeypatch.setenv("GRADSTEP_CACHE_DIR", str(tmp_path))
    if when == "made":
        monkeypatch.setattr(tempfile, "mkstemp", fails)
    else:
        monkeypatch.setattr(os, "fdopen", Half)

    twice = cache.kernel(lambda x: 2 * x)
    assert twice(4.0) == 8.0
    assert list((tmp_path / "kernels").iterdir()) == []
    monkeypatch.undo()


def test_a_numba_that_has_changed_is_no_hindrance(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADSTEP_CACHE_DIR", str(tmp_path))
    monkeypatch.delattr("numba.core.compiler.CompileResult._reduce")
    assert cache.kernel(lambda x: 3 * x)(4.0) == 12.0


def test_two_processes_at_once(tmp_path, filled):
    command = [sys.executable, "-c", COUNTING.format(code=FIT)]
    environment = os.environ | {"GRADSTEP_CACHE_DIR": str(tmp_path)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
    for process in running:
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        assert out.split()[1:] == filled[1]
    assert len(kernels(tmp_path)) == len(kernels(filled[0]))
    assert not list(tmp_path.rglob("*.part"))
    assert run(FIT, tmp_path) == (0, filled[1])


def edited(file, old, new):
    """Change a source file so that neither its size nor its time tells."""
    before, text = file.stat(), file.read_text()
    assert text.count(old) == 1
    assert len(old) == len(new)
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("file", ["losses.py", "_kernels/cpu.py"])
def test_an_edited_formula_or_kernel_is_compiled_anew(tmp_path, file):
    shutil.copytree(PACKAGE, tmp_path / "gradstep", ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    environment = {"path": [tmp_path], "PYTHONDONTWRITEBYTECODE": "1"}
    compiled, answers = run(FIT, tmp_path, **environment)
    assert compiled > 2
    assert run(FIT, tmp_path, **environment) == (0, answers)
    if file == "losses.py":
        edited(
            tmp_path / "gradstep" / file,
            "    return z - y\n\n\n@formula\ndef _squared_curvature",
            "    return y - y\n\n\n@formula\ndef _squared_curvature",
        )
    else:
        edited(
            tmp_path / "gradstep" / file,
            "                total[j] += r * X[i, j]",
            "                total[j] += 0 * X[i, j]",
        )
    compiled, edited_answers = run(
        FIT.replace("step", "check=False, step")
        .replace("gs.fit", "W(); answers = gs.fit")
        .replace("    answers = W", "    import warnings; W = lambda: warnings.simplefilter('ignore')\n    W"),
        tmp_path,
        **environment,
    )
    assert compiled > 2
    assert [float(answer) for answer in edited_answers] == [0.0, 0.0]


OWN = """
import gradstep as gs
from helper import pull

@gs.formula
def value(z, y, p):
    return FACTOR * (z - y) * (z - y) / 2

@gs.formula
def slope(z, y, p):
    return FACTOR * pull(z, y)

@gs.formula
def curvature(z, y, p):
    return FACTOR

FACTOR = 1.0
mine = gs.Loss("mine", value, slope, curvature)
"""
HELPER = """
import gradstep as gs

@gs.formula
def pull(z, y):
    return 1.0 * (z - y)
"""
FIT_OWN = """
    from own import mine
    answers = gs.fit(X, y, step=0.05, loss=mine, penalty=gs.l2(0.1)).coef
"""


def test_a_users_module_is_kept_until_anything_that_it_uses_changes(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "helper.py").write_text(HELPER)
    environment = {"path": [tmp_path], "PYTHONDONTWRITEBYTECODE": "1"}
    compiled, answers = run(FIT_OWN, tmp_path, **environment)
    assert compiled > 2
    assert run(FIT_OWN, tmp_path, **environment) == (0, answers)
    seen = [answers]
    for file, old, new in (
        ("helper.py", "1.0 * (z", "0.5 * (z"),  # a formula in another file
        ("own.py", "FACTOR = 1.0", "FACTOR = 0.5"),  # a constant outside the functions
        ("own.py", "FACTOR * pull", "0.7500 * pull"),  # the formula itself
    ):
        edited(tmp_path / file, old, new)
        compiled, answers = run(FIT_OWN, tmp_path, **environment)
        assert compiled > 2
        assert answers not in seen
        seen.append(answers)
        assert run(FIT_OWN, tmp_path, **environment) == (0, answers)


def test_a_formula_without_a_source_file_is_compiled_in_memory(tmp_path):
    body = OWN.replace("from helper import pull", "pull = lambda z, y: z - y").replace("import gradstep as gs", "")
    code = "".join(f"    {line}\n" for line in body.splitlines()) + (
        "    pull = gs.formula(pull)\n    answers = gs.fit(X, y, step=0.05, loss=mine).coef\n"
    )
    compiled, answers = run(code, tmp_path)
    assert compiled > 2
    assert "epoch" not in " ".join(path.name for path in kernels(tmp_path))
    again, same = run(code, tmp_path)
    assert again > 2
    assert same == answers


MANY = """
import gradstep as gs

def schedule(factor):
    # So large that it is not inlined but called by its name, which is the same for every factor.
    @gs.formula
    def large(t):
        s = t
{loops}
        return factor + 0.0 * s

    @gs.formula
    def rate(t, p):
        return large(t) + 0.0 * large(t + 1.0) + 0.0 * large(2.0 * t)

    return gs.Schedule("many", rate)
""".format(loops="\n".join(f"        for i in range(int(t)):\n            s = (s + i) % {m}.0" for m in range(2, 42)))


def test_kernels_of_different_processes_do_not_take_the_place_of_each_other(tmp_path):
    """Numba names compiled functions by a count that each process starts at 1."""
    (tmp_path / "many.py").write_text(MANY)
    code = (
        "    from many import schedule\n"
        "    answers = [gs.fit(X, y, step=schedule(factor), epochs=1).history.step[0] for factor in {}]\n"
    )
    # Kernels that all of them need come from the cache, so that the counts are the same, and so is the order of hashes.
    same = {"path": [tmp_path], "PYTHONHASHSEED": "0"}
    run(FIT, tmp_path / "apart", **same)
    for factor in ("0.25", "0.5"):
        assert run(code.format(f"({factor},)"), tmp_path / "apart", **same)[1] == [factor]
    for factors in (["0.25", "0.5"], ["0.5", "0.25"]):
        assert run(code.format(f"({', '.join(factors)})"), tmp_path / "apart", **same) == (0, factors)


SEEN = """
import gradstep as gs

@gs.formula
def half(z, y):
    return (z - y) * (z - y) / 2

@gs.formula
def big(z, y):
    return 100.0 * (z - y) * (z - y) / 2

pick = {pick}

@gs.formula
def value(z, y, p):
    return pick(z, y) + 0.0 * (half(z, y) + big(z, y))

loss = gs.Loss("mine", value, gs.squared().slope, gs.squared().curvature)
"""


def test_a_function_under_another_name_is_another_kernel(tmp_path):
    code = "    from seen import loss\n    answers = [round(gs.fit(X, y, step=0.05, loss=loss).objective, 9)]\n"
    answers = []
    for pick in ("half", "big"):
        (tmp_path / "seen.py").write_text(SEEN.format(pick=pick))
        compiled, (answer,) = run(code, tmp_path, path=[tmp_path], PYTHONDONTWRITEBYTECODE="1")
        assert compiled > 0
        answers.append(float(answer))
    assert answers[1] == pytest.approx(100 * answers[0], rel=1e-6)


GLOBAL = """
import gradstep as gs
D = {D}

@gs.formula
def value(z, y, p):
    return D * (z - y) * (z - y) / 2

@gs.formula
def slope(z, y, p):
    return D * (z - y)

loss = gs.Loss("mine", value, slope, gs.squared().curvature)
"""


def test_a_global_that_changed_reaches_no_later_process(tmp_path):
    fit = "gs.fit(X, y, step=0.05, loss=global_.loss, penalty={}).objective"
    changes = (
        "    import global_\n"
        f"    first = {fit.format('None')}\n"
        "    global_.D = 2.0\n"
        f"    answers = [first, {fit.format('gs.l2(0.0)')}]\n"
    )
    starts = f"    import global_\n    answers = [{fit.format('None')}, {fit.format('gs.l2(0.0)')}]\n"
    (tmp_path / "global_.py").write_text(GLOBAL.format(D=1.0))
    run(changes, tmp_path, path=[tmp_path], PYTHONDONTWRITEBYTECODE="1")
    (tmp_path / "global_.py").write_text(GLOBAL.format(D=2.0))
    _, (plain, ridge) = run(starts, tmp_path, path=[tmp_path], PYTHONDONTWRITEBYTECODE="1")
    assert plain == ridge
    (tmp_path / "global_.py").write_text(GLOBAL.format(D=1.0))
    _, (plain, ridge) = run(starts, tmp_path, path=[tmp_path], PYTHONDONTWRITEBYTECODE="1")
    assert plain == ridge


def test_names_of_compiled_functions_are_of_one_process_alone():
    names = {cpu.shuffle_in.py_func.__qualname__, *(cache.named_apart(cpu.place).__qualname__ for _ in range(3))}
    assert len(names) == 4
    assert all(str(os.getpid()) in name for name in names)


def test_the_report_names_the_folder_or_why_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRADSTEP_CACHE_DIR", str(tmp_path))
    gs.show_versions()
    assert f"cache        {tmp_path / 'kernels'}" in capsys.readouterr().out
    (tmp_path / "kernels").chmod(0o755)
    gs.show_versions()
    assert "is open to other users (mode 0755, 0700 is needed)" in capsys.readouterr().out
    for off in ("0", "off", "False"):
        monkeypatch.setenv("GRADSTEP_CACHE", off)
        gs.show_versions()
        assert f"cache        none, kernels are compiled in memory: GRADSTEP_CACHE is {off}" in capsys.readouterr().out


def test_what_a_digest_cannot_stand_for_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADSTEP_CACHE_DIR", str(tmp_path))
    table = np.arange(3.0)
    assert cache.kernel(lambda i: table[i])(1) == 1.0

    class Named(NamedTuple):
        near: float
        far: float

    class Own(float):
        def __repr__(self):
            return "own"

    pair, own = Named(1.0, 2.0), Own(3.0)
    assert cache.kernel(lambda i: i + pair.near)(1) == 2.0
    for used in (pair, own, {1: 2}):
        with pytest.raises(cache._UnknownError):
            list(cache._items(used))

    def overloaded(i):
        return i

    @overload(overloaded)
    def _(i):
        return lambda i: 7 * i

    assert cache.kernel(lambda i: overloaded(i) + 1)(1) == 8
    assert list((tmp_path / "kernels").iterdir()) == []
    assert cache.kernel(lambda i: i + 1)(1) == 2
    assert len(kernels(tmp_path)) == 1
