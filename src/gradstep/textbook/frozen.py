"""Objects and arrays that cannot be changed once they are made."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class Frozen:
    """What cannot be changed after `_freeze`: what was worked out from it stays true."""

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_is_frozen", False):
            raise AttributeError(f"{name}: a {type(self).__name__} cannot be changed; make a new one.")
        super().__setattr__(name, value)

    def _freeze(self) -> None:
        self.__dict__["_is_frozen"] = True


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, read-only from now on."""
    array.flags.writeable = False
    return array
