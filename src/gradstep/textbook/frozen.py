"""Objects that cannot be changed once they are made."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradstep._numbers import frozen


class Frozen:
    """What cannot be changed after `_freeze`, its arrays neither, so that what was worked out from it stays true.

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
                frozen(value)
        self.__dict__["_is_frozen"] = True
