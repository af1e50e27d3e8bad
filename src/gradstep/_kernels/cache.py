"""Compiled kernels on disk: where they lie, when they may be used, and that nothing of it can fail a call.

A file holds the machine code of one kernel for one signature. Its name is a digest of everything that the code depends
on: the versions of this library, Numba, LLVM and Python, the processor, Numba's settings, the sources of all formulas
and kernels, and the byte code and constants of every function that the kernel calls, a user's own included. What cannot
be told apart that way (a function without a source file, or one that uses an array or a foreign module) is compiled in
memory. So is everything else whenever a file or its folder is not as it should be: corrupt, someone else's, read-only,
full or missing.

Numba's own cache is not used: it misses an edit of a function in another file, breaks `import` where its folder cannot
be written, and runs truncated files until they raise.
"""

import dis
import hashlib
import logging
import os
import pickle
import platform
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import caching, compiler, serialize, types

from gradstep._kernels.first_call import announce, timed
from gradstep._kernels.formula import is_formula, named_apart

Function = Callable[..., Any]

_log = logging.getLogger("gradstep.cache")
_SOURCES = ("losses.py", "_kinks.py", "penalties.py", "schedules.py", "_kernels")
# Settings of Numba that change the machine code; the processor's are in `magic_tuple`.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML")
_KNOWN_MODULES = ("math", "numpy")
# No subclasses: they print and compile as they like.
_PLAIN = {type(None), bool, int, float, complex, str, bytes, np.float64, np.float32, np.int64, np.int32, np.bool_}


def kernel(function: Any) -> Function:
    """Compile a function on its first call with each signature, or load what an earlier process compiled."""
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(named_apart(function))
    if hasattr(compiled, "overloads"):  # not with the JIT off
        compiled._cache = KernelCache(function)  # noqa: SLF001 - where Numba's `cache=True` puts its own
        compiled.compile = timed()(compiled.compile)  # which looks into the cache too
    return compiled  # type: ignore[no-any-return]


class KernelCache(caching._Cache):  # noqa: SLF001
    """The files of one kernel, in place of Numba's cache."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function

    @property
    def cache_path(self) -> str:
        """The folder, for Numba's reports."""
        return str(folder()[0] or "")

    def load_overload(self, sig: object, target_context: Any) -> Any:
        """Return the kernel that was compiled for a signature, None where there is none that may be used."""
        target_context.refresh()
        try:
            path = self._path(sig, target_context.codegen())
            code = None if path is None else read(path)
            if code is not None:
                rebuild: Any = compiler.CompileResult._rebuild  # noqa: SLF001
                return rebuild(target_context, *pickle.loads(code))  # noqa: S301
        except Exception as error:  # noqa: BLE001 - whatever it is, the kernel can still be compiled
            _log.debug("kernel %s not loaded: %r", self._function.__qualname__, error)
        announce(self._function.__name__)
        return None

    def save_overload(self, sig: object, data: Any) -> None:
        """Keep a compiled kernel, where that is possible."""
        try:
            path = self._path(sig, data.codegen)
            if path is None or data.library.has_dynamic_globals or data.lifted:
                return
            dumps: Any = serialize.dumps
            write(path, dumps(data._reduce()))  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - a kernel that is not kept still runs
            _log.debug("kernel %s not kept: %r", self._function.__qualname__, error)

    def enable(self) -> None:
        """Do nothing: the environment decides, see `folder`."""

    def disable(self) -> None:
        """Do nothing: the environment decides, see `folder`."""

    def flush(self) -> None:
        """Do nothing: files of other code have other names."""

    def holds(self, sig: object, codegen: Any) -> bool:
        """Whether a file has the kernel for a signature."""
        place, _ = folder()
        # Most often there is none of that name, and nothing need be known of the processor.
        if place is None or not any(place.glob(f"{self._function.__name__}-*")):
            return False
        path = self._path(sig, codegen())
        return path is not None and path.exists()

    def _path(self, sig: object, codegen: Any) -> Path | None:
        place, _ = folder()
        if place is None:
            return None
        digest = hashlib.sha256(_circumstances())
        digest.update(repr([(name, getattr(numba.config, name, None)) for name in _SETTINGS]).encode())
        try:
            for part in _parts(self._function, {}):
                digest.update(part.encode() + b"\0")
        except _UnknownError as error:
            _log.debug("kernel %s stays in memory: it depends on %s", self._function.__qualname__, error)
            return None
        digest.update(repr((str(sig), codegen.magic_tuple())).encode())
        return place / f"{self._function.__name__}-{digest.hexdigest()[:40]}.kernel"


def holds(kernel: Any, arguments: tuple[object, ...]) -> bool:
    """Whether a kernel that can be called with some arguments lies on disk."""
    try:
        types_of = tuple(map(kernel.typeof_pyval, arguments))
        found: bool = kernel._cache.holds(types_of, kernel.targetctx.codegen)  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - whatever it is, the kernel can still be compiled
        _log.debug("kernel %s not looked for: %r", kernel.__name__, error)
        return False
    return found


def folder() -> tuple[Path | None, str]:
    """Return the folder of the kernels, made if need be; or None and why there is none.

    It is a folder of this user's own that no one else can write: what lies in it is run.
    """
    place = os.environ.get("GRADSTEP_CACHE_DIR", "")
    switch = os.environ.get("GRADSTEP_CACHE", "1")
    if switch.lower() in {"0", "off", "no", "false"}:
        return None, f"GRADSTEP_CACHE is {switch}"
    try:
        path = (Path(place) if place else _users_cache()).expanduser().absolute() / "kernels"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder is known
        return None, f"{error}"
    if not stat.S_ISDIR(found.st_mode):
        return None, f"{path} is not a folder"
    if hasattr(os, "geteuid"):
        if found.st_uid != os.geteuid():
            return None, f"{path} belongs to another user"
        if stat.S_IMODE(found.st_mode) & 0o077:
            return None, f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}, 0700 is needed)"
    return path, ""


def _users_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gradstep" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gradstep"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradstep"


def read(path: Path) -> bytes | None:
    """Return the code in a file of this user's own that is whole, None where there is no file."""
    try:
        flags = (getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
        handle = os.open(path, sum(flags, os.O_RDONLY))
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(file.fileno())
        foreign = hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o022)
        if not stat.S_ISREG(found.st_mode) or foreign:
            raise PermissionError(f"{path} is not a file of this user's own")
        digest, code = file.read(32), file.read()
    if hashlib.sha256(code).digest() != digest:
        raise ValueError(f"{path} is not whole")
    return code


def write(path: Path, code: bytes) -> None:
    """Put code into a file at once: whoever reads it meanwhile finds all of it or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


@cache
def _circumstances() -> bytes:
    """Return a digest of what all kernels depend on."""
    root = Path(__file__).parents[1]
    files = sorted(path for name in _SOURCES for path in ([root / name] if "." in name else (root / name).glob("*.py")))
    digest = hashlib.sha256()
    facts = (
        version("gradstep"),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.machine(),
    )
    digest.update(repr(facts).encode())
    for path in files:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


class _UnknownError(Exception):
    """Something that a digest cannot stand for."""


# What functions looked like when they were first met. Numba reads a global or a closure when it first compiles a
# function and never again, so of a function that looks otherwise later no one can say which code a kernel holds.
_first_looks: WeakKeyDictionary[FunctionType, tuple[object, ...]] = WeakKeyDictionary()


def _parts(function: FunctionType, seen: dict[FunctionType, int]) -> Iterator[str]:
    """Yield texts that are the same whenever a function, and all that it reaches, compile to the same code."""
    if function in seen:
        yield f"function {seen[function]}"
        return
    seen[function] = len(seen)
    if len(seen) > 1 and not (is_formula(function) or function.__module__.startswith("gradstep.")):
        raise _UnknownError(f"{function.__qualname__}, which may be compiled as something else")
    # The digest would hold for these too, but what is typed at a prompt is typed anew, and would fill the folder.
    if not Path(function.__code__.co_filename).is_file():
        raise _UnknownError(f"{function.__qualname__}, which has no source file")
    items = list(_items_of_function(function))
    look = tuple(item if isinstance(item, str) else id(item) for item in items)
    if _first_looks.setdefault(function, look) != look:
        raise _UnknownError(f"a value that {function.__qualname__} uses and that has changed since")
    for item in items:
        if isinstance(item, str):
            yield item
        else:
            yield from _parts(item, seen)


def _items_of_function(function: FunctionType) -> Iterator[str | FunctionType]:
    """Yield the byte code and constants of a function, and what it reaches in its module and its closure."""
    names: set[str] = set()
    codes = [function.__code__]
    for code in codes:  # grows by the code objects among the constants
        yield repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_flags))
        names.update(step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for constant in code.co_consts:
            if not isinstance(constant, CodeType):
                yield from _items(constant)
    yield from _items(function.__defaults__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield f"closure {name}"
        yield from _items(cell.cell_contents)
    for name in sorted(names & function.__globals__.keys()):
        yield f"global {name}"
        yield from _items(function.__globals__[name])


def _items(value: object) -> Iterator[str | FunctionType]:
    """Yield a value that a function uses, as texts and functions."""
    if isinstance(value, FunctionType):
        yield value
    elif type(value) in _PLAIN or isinstance(value, types.Type):
        yield f"{type(value).__name__} {value!r}"
    elif type(value) is tuple:
        yield f"tuple {len(value)}"
        for item in value:
            yield from _items(item)
    elif isinstance(value, ModuleType) and value.__name__.partition(".")[0] in _KNOWN_MODULES:
        yield f"module {value.__name__}"
    elif isinstance(value, (type, BuiltinFunctionType, np.ufunc)) and _module_of(value) in (
        *_KNOWN_MODULES,
        "builtins",
    ):
        yield f"{type(value).__name__} {_module_of(value)} {value.__name__}"
    else:
        raise _UnknownError(f"a {type(value).__name__}")


def _module_of(value: object) -> str:
    return "numpy" if isinstance(value, np.ufunc) else str(getattr(value, "__module__", "")).partition(".")[0]
