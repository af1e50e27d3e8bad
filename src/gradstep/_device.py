"""Where an array lies, and moving it: host memory for the CPU, or a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def device_of(x: object) -> str:
    """Return the device that an array lies on.

    Parameters
    ----------
    x : ndarray or device array
        A NumPy array, or an array of Numba, CuPy, PyTorch or JAX, or of any other library whose arrays have
        ``__dlpack_device__`` or ``__cuda_array_interface__``.

    Returns
    -------
    str
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    TypeError
        If ``x`` is no array, such as a list, or lies on a device that is neither.

    Examples
    --------
    >>> import numpy as np
    >>> import gradstep as gs
    >>> gs.device_of(np.ones(3))
    'cpu'
    """
    if isinstance(x, (np.ndarray, np.generic)):
        return "cpu"
    if on_cuda(x):
        return "cuda"
    refuse_elsewhere("x", x)
    if _kind_and_number(x)[0] is not None:
        return "cpu"
    raise TypeError(f"x: a {type(x).__name__} came; a NumPy array or an array on a CUDA device is needed.")


def to_device(x: ArrayLike, device: str) -> Any:
    """Return an array on a device: the same where it lies there already, else a copy.

    `gradstep.fit` needs no such call: with ``device="cuda"`` it moves what it reads.

    Parameters
    ----------
    x : array_like or device array
        Numbers of any shape and dtype.
    device : {"cpu", "cuda"}
        Where to.

    Returns
    -------
    ndarray or device array
        For ``"cpu"`` a NumPy array. For ``"cuda"`` one of Numba's arrays, with ``shape``, ``dtype`` and
        ``copy_to_host()``; other libraries take it by ``__cuda_array_interface__``.

    Raises
    ------
    TypeError
        If ``x`` holds no numbers, masks some, or lies where it cannot be read.
    ValueError
        If ``device`` is neither of the two, ``x`` is not rectangular, or it lies on another GPU than kernels run on.
    RuntimeError
        If ``device`` is ``"cuda"``, or ``x`` lies on one, and there is no usable one.
    MemoryError
        If the GPU has no room for it.

    Examples
    --------
    >>> import gradstep as gs
    >>> x = gs.to_device([[1.0, 2.0], [3.0, 4.0]], "cpu")
    >>> x.shape, gs.device_of(x)
    ((2, 2), 'cpu')
    """
    if device not in ("cpu", "cuda"):
        raise (ValueError if isinstance(device, str) else TypeError)(
            f'device: {device!r} came; "cpu" or "cuda" is needed.'
        )
    name = device
    there = on_cuda(x)
    if there and name == "cuda":
        in_place("x", x)
        return x
    if name == "cpu" and not there:
        return _numbers(x)
    from gradstep._kernels import cuda  # noqa: PLC0415 - a device has been asked for

    return home(x) if there else cuda.copied(_numbers(x), "x")


def on_cuda(x: object) -> bool:
    """Whether an array lies on a CUDA device: Numba's, CuPy's, PyTorch's, JAX's, or any that says so."""
    if isinstance(x, (np.ndarray, np.generic)):
        return False
    # The simulator's arrays have no interface, but copy themselves as those of a device do.
    if hasattr(x, "copy_to_host"):
        return True
    kind, _ = _kind_and_number(x)
    if kind is not None:
        return kind in _CUDA
    try:
        return hasattr(x, "__cuda_array_interface__")
    except Exception:  # noqa: BLE001 - it has one that raises
        return True


def _kind_and_number(x: object) -> tuple[int | None, int]:
    """Return what DLPack says of the device that an array lies on; None where it says nothing."""
    try:
        kind, number = x.__dlpack_device__()  # type: ignore[attr-defined]
        return int(kind), int(number)
    except Exception:  # noqa: BLE001 - whatever another library raises: it does not say
        return None, 0


def gpu_of(x: Any) -> int:
    """Return the number of the GPU that an array lies on."""
    kind, number = _kind_and_number(x)
    if kind is not None:
        return number
    from gradstep._kernels.cuda import target  # noqa: PLC0415 - the array is on one

    return target.number()  # Numba's own arrays are made there


def in_place(name: str, x: Any) -> Any:
    """Return an array on a GPU as Numba's, without a copy; raise where it cannot be read there."""
    from gradstep._kernels import cuda  # noqa: PLC0415

    found = cuda.state()
    if found.startswith("no usable device"):
        raise RuntimeError(
            f"{name}: an array on a GPU came, and there is {found}; an NVIDIA driver and numba-cuda (the extra "
            '"cuda"), or arrays in host memory, are needed.'
        )
    cuda.require()
    here, there = cuda.target.number(), gpu_of(x)
    if there != here:
        raise ValueError(
            f"{name}: an array on GPU {there} came, and kernels run on GPU {here}: call "
            f"numba.cuda.select_device({there}) first, or move it."
        )
    if getattr(x, "requires_grad", False):
        raise TypeError(f"{name}: a tensor that records gradients came: pass {name}.detach().")
    if hasattr(x, "copy_to_host"):
        return x
    try:
        return cuda.view(x)
    except Exception as error:
        raise TypeError(
            f"{name}: a {type(x).__name__} on a GPU came that cannot be read there ({error}); an array of CuPy, "
            "PyTorch, JAX or Numba is needed."
        ) from error


def refuse_elsewhere(name: str, x: object) -> None:
    """Refuse an array on a device that is neither host memory nor a CUDA device."""
    if isinstance(x, np.ndarray):
        return
    kind, _ = _kind_and_number(x)
    if kind is not None and kind not in _CUDA + _HOST:
        raise TypeError(
            f"{name}: a {type(x).__name__} on a device of DLPack's kind {kind} came; host memory or a CUDA device is "
            "needed."
        )


def home(x: Any) -> NDArray[Any]:
    """Return an array in host memory: itself where it is there."""
    if not on_cuda(x):
        found: NDArray[Any] = x
        return found
    from gradstep._kernels import cuda  # noqa: PLC0415

    return cuda.copied_to_host(in_place("x", x))


# Of DLPack's kinds of devices: CUDA's own memory, and managed memory; host memory, and that which CUDA has pinned.
_CUDA, _HOST = (2, 13), (1, 3)


def _numbers(x: ArrayLike) -> Any:
    if isinstance(x, np.ma.MaskedArray) and np.ma.getmaskarray(x).any():
        raise TypeError("x: a masked array came; an array without masked entries is needed.")
    refuse_elsewhere("x", x)
    try:
        array = np.asarray(np.ma.getdata(x) if isinstance(x, np.ma.MaskedArray) else x)
    except ValueError as error:
        raise ValueError(f"x: a {type(x).__name__} came that is no rectangular array ({error}).") from error
    if array.dtype.kind not in "biufc":
        raise TypeError(f"x: data of dtype {array.dtype} came; numbers are needed.")
    return array
