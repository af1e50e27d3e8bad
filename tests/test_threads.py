"""Threads of our own: every piece once, errors are the caller's, and nothing hangs."""

import multiprocessing
import os
import sys
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
    with threads.limited(count):
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

    with threads.limited(count):
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

    with threads.limited(count), pytest.raises(KeyError, match="mine"):
        threads.each(work, 1000)
    assert len(done) < 100


def test_how_many_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.count() == 3
    for nonsense in ("0", "many", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
        assert threads.count() >= 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads.count() == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


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


@needs_jit
@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_fits():
    alone = gs.fit(*table(), check=False)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_coef, args=(queue,))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), alone.coef)
    child.join(timeout=60)
    assert child.exitcode == 0
