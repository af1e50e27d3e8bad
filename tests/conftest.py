"""Devices to test on: the CPU, and CUDA in the simulator or on a real device."""

import atexit
import os
import shutil
import signal
import sys
import tempfile

import pytest

# Before anything is compiled: a folder of this run's own, so that no test passes on what an earlier one left. The
# processes of one run share it: what one has compiled the others load.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["GRADSTEP_CACHE_DIR"] = tempfile.mkdtemp(prefix="gradstep-tests-")
    atexit.register(shutil.rmtree, os.environ["GRADSTEP_CACHE_DIR"], ignore_errors=True)

from gradstep._kernels import cuda

# A shell's job in the background does not hear of Ctrl-C, and tests of it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

JIT_OFF = os.environ.get("NUMBA_DISABLE_JIT") == "1"
SIMULATED = cuda.SIMULATED
if SIMULATED:
    # It asks its threads without end whether they wait at a barrier: those are to get their turn before 5 ms are over.
    sys.setswitchinterval(1e-4)
needs_jit = pytest.mark.skipif(JIT_OFF, reason="far too slow with the JIT off")

_no_device = cuda.state().startswith("no usable device")
CUDA_MARKS = () if SIMULATED else (pytest.mark.gpu, pytest.mark.skipif(_no_device, reason=cuda.state()))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=CUDA_MARKS)])
def device(request):
    """Run a test on each device there is."""
    return request.param
