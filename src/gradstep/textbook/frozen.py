"""Objects and arrays that cannot be changed once they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Frozen:
    """What cannot be changed after `_freeze`, so that what was worked out from it stays true.

    A subclass that adds attributes sets them before it calls the constructor of what it is made from.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_is_frozen", False):
            raise AttributeError(f"{name}: a {type(self).__name__} cannot be changed; make a new one.")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a {type(self).__name__} cannot be changed; make a new one.")

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # NumPy forgets on the way which arrays are read-only
        self._freeze()

    def _freeze(self) -> None:
        for value in self.__dict__.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.__dict__["_is_frozen"] = True


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, read-only from now on."""
    array.flags.writeable = False
    return array
