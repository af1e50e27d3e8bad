"""What a bug report needs."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("gradstep", "numpy", "scipy", "numba", "llvmlite", "numba-cuda", "matplotlib")


def show_versions() -> None:
    """Print versions, CPU, threads, cache folder and the state of CUDA, for a bug report.

    Examples
    --------
    >>> import gradstep as gs
    >>> gs.show_versions()  # doctest: +ELLIPSIS
    gradstep ...
    """
    for name, text in _facts():
        print(f"{name:<12} {text}")


def _facts() -> list[tuple[str, str]]:
    from gradstep._kernels import cache, cuda, threads  # noqa: PLC0415

    folder, reason = cache.folder()
    facts = [(name, _installed(name)) for name in _PACKAGES]
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_DISABLE_JIT")
    limits = ", ".join(f"{name}={os.environ[name]}" for name in variables if name in os.environ)
    return [
        *facts,
        ("python", sys.version.replace("\n", " ")),
        ("system", platform.platform()),
        ("cpu", f"{_cpu_name()}"),
        ("threads", f"{threads.count()} read rows, {threads.usable()} usable; " + (limits or "no limits set")),
        ("cache", f"none, kernels are compiled in memory: {reason}" if folder is None else str(folder)),
        ("cuda", cuda.state()),
    ]  # fmt: skip


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cpu_name() -> str:
    import llvmlite.binding  # type: ignore[import-untyped]  # noqa: PLC0415

    return f"{platform.machine()} {llvmlite.binding.get_host_cpu_name()}"
