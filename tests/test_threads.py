"""Threads of our own: every piece once, errors are the caller's, and nothing hangs."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest

import gradstep as gs
from conftest import JIT_OFF, SIMULATED, needs_jit
from gradstep import _blas
from gradstep._kernels import threads

pytestmark = pytest.mark.skipif(SIMULATED, reason="on the CPU alone")


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 100])
def test_every_piece_is_done_once(count, pieces):
    done = []
    with gs.set_threads(count):
        threads.each(done.append, pieces)
        threads.each(lambda piece: iter([done.append(piece)] * 3), pieces)
    assert sorted(done) == sorted(2 * list(range(pieces)))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_work_that_yields_is_done_to_its_end(count):
    done = []

    def work(piece):
        for part in range(20):
            done.append((piece, part))
            sleep(1e-4)
            yield

    with gs.set_threads(count):
        threads.each(work, 3)
    assert len(set(done)) == len(done) == 60


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_error_in_a_piece_is_the_callers_and_ends_the_rest(count):
    done = []

    def work(piece):
        done.append(piece)
        if piece == 3:
            raise KeyError("mine")
        sleep(1e-3)

    with gs.set_threads(count), pytest.raises(KeyError, match="mine"):
        threads.each(work, 1000)
    assert len(done) < 100


def test_how_many_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.count() == 3
    for nonsense in ("0", "many", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert threads.count() >= 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.count() == threads.usable() <= processors
    monkeypatch.setattr(threads, "_quota", lambda root: 1)
    assert threads.count() == 1


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 1 << 30),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1 << 30),
        ({"cpu.max": "nonsense"}, 1 << 30),
        ({}, 1 << 30),
    ],
)
def test_the_quota_of_a_container(tmp_path, files, processors):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == processors


def test_the_number_is_set_for_good_or_for_a_block(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    try:
        assert repr(gs.set_threads(3)) == "3 threads"
        with gs.set_threads(1):
            assert threads.count() == 1
            with gs.set_threads(None):
                assert threads.count() == 4
            assert threads.count() == 1
        assert threads.count() == 3
        with pytest.raises(KeyError), gs.set_threads(np.int64(2)):
            raise KeyError
        assert threads.count() == 3
    finally:
        gs.set_threads(None)
    assert threads.count() == 4


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-2, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)]
)
def test_other_numbers_are_refused(n, error):
    before = threads.count()
    with pytest.raises(error, match=r"^n: .* came.*; a whole number of at least 1 is needed\.$"):
        gs.set_threads(n)
    assert threads.count() == before


@pytest.mark.parametrize(("count", "callers", "most"), [(4, 1, 4), (4, 2, 4), (2, 3, 3), (1, 2, 2)])
def test_helpers_come_only_while_there_is_room(count, callers, most):
    seen, who, done = [], set(), []
    together = threading.Barrier(callers)

    def work(piece):
        seen.append(len(threads._at_work))
        who.add(threading.get_ident())
        sleep(1e-3)
        done.append(piece)

    def call():
        with threads.at_work():
            together.wait()
            threads.each(work, 40)
            together.wait()

    with gs.set_threads(count), ThreadPoolExecutor(callers) as pool:
        for call_of_one in [pool.submit(call) for _ in range(callers)]:
            call_of_one.result()
    assert max(seen) <= most
    assert len(who) == most  # all that there is room for came
    assert sorted(done) == sorted(callers * list(range(40)))
    assert not threads._at_work


def test_helpers_leave_when_others_begin():
    done = []
    with gs.set_threads(2):

        def late():
            with threads.at_work():
                sleep(0.1)

        def work(piece):
            if piece == 2:
                other.start()
            sleep(2e-3)
            done.append((piece, threading.get_ident(), other.is_alive()))

        other = threading.Thread(target=late)
        threads.each(work, 100)
        other.join()
    assert len(done) == 100
    assert len({who for _, who, alone in done[10:20]}) == 1  # while the other is at work


def test_blas_has_one_thread_until_the_last_has_ended():
    def now():
        return [get() for get, _ in _blas._settings()]

    before = now()
    with _blas.one_thread():
        with _blas.one_thread():
            assert set(now()) <= {1}
        assert set(now()) <= {1}
    assert now() == before
    with pytest.raises(KeyError), _blas.one_thread():
        raise KeyError
    assert now() == before
    with gs.set_threads(1), _blas.at_most():
        assert set(now()) <= {1}
    with _blas.at_most(100):
        assert now() == before
    assert now() == before


def table():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3_000 if JIT_OFF else 40_000, 10))
    return X, X.sum(axis=1) + rng.standard_normal(len(X))


@needs_jit
def test_eight_threads_of_python_fit_at_once():
    X, y = table()
    alone = gs.fit(X, y, check=False)
    with ThreadPoolExecutor(8) as pool:
        for fit in pool.map(lambda _: gs.fit(X, y, check=False), range(24)):
            np.testing.assert_array_equal(fit.coef, alone.coef)


def _coef(queue):
    queue.put(gs.fit(*table(), check=False).coef)


def forks(test):
    """Mark a test that forks."""
    test = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")(test)
    return needs_jit(pytest.mark.skipif(sys.platform == "win32", reason="no fork there")(test))


@forks
def test_a_child_that_was_forked_fits():
    alone = gs.fit(*table(), check=False)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_coef, args=(queue,))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), alone.coef)
    child.join(timeout=60)
    assert child.exitcode == 0


def ends_well(work):
    """Fork, do some work in the child, and say whether it did it within a minute."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@forks
def test_a_child_fits_that_was_forked_while_another_thread_was_inside_a_fit():
    X, y = table()
    alone = gs.fit(X, y, check=False)
    stop = threading.Event()

    def fits():
        while not stop.is_set():
            gs.fit(X, y, check=False)

    def of_child():
        assert threads._at_work == set()
        assert np.array_equal(gs.fit(X, y, check=False).coef, alone.coef)

    with gs.set_threads(2), ThreadPoolExecutor(2) as pool:
        others = [pool.submit(fits) for _ in range(2)]
        try:
            assert all(ends_well(of_child) for _ in range(5))
        finally:
            stop.set()
        for other in others:
            other.result()


@forks
def test_a_child_fits_that_was_forked_while_another_thread_compiled():
    @gs.formula
    def value(z, y, p):
        return (z - y) * (z - y)

    @gs.formula
    def slope(z, y, p):
        return 2 * (z - y)

    @gs.formula
    def curvature(z, y, p):
        return type(z)(2)

    X, y = gs.textbook.make_linear([2.0, -3.4], 4.2, 200)
    other = threading.Thread(target=gs.fit, args=(X, y), kwargs={"loss": gs.Loss("twice", value, slope, curvature)})
    other.start()
    sleep(0.2)
    try:
        assert ends_well(lambda: gs.fit(X, y, loss=gs.huber(1.0, absolute=True), step=0.1, batch_size=10))
    finally:
        other.join()


@forks
def test_a_callback_may_fork():
    X, y = table()
    answers = []
    fit = gs.fit(X, y, check=False, callbacks=[lambda _: answers.append(ends_well(lambda: gs.fit(X, y)))])
    assert answers
    assert all(answers)
    assert fit.stop is gs.Stop.CERTIFIED
