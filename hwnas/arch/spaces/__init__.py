"""Search spaces by name. A name with constants, `mobile@w0.5-r32`, is one instance."""

from __future__ import annotations

import re
from collections.abc import Callable

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces.mobile import mobile, mobilenet_v2
from hwnas.arch.spaces.toy import toy
from hwnas.errors import InputError

__all__ = ["mobile", "mobilenet_v2", "parse_instance", "space_instance", "space_names", "toy"]

_SPACES: dict[str, Callable[[float, int, int, int], SearchSpace]] = {"mobile": mobile, "toy": toy}


def space_names() -> tuple[str, ...]:
    """Names of the spaces, sorted."""
    return tuple(sorted(_SPACES))


def space_instance(name: str, *, width: float, resolution: int, channels: int, classes: int) -> SearchSpace:
    """An instance of the space `name`.

    Raises:
        InputError: the name is unknown or a constant is out of range.
    """
    if name not in _SPACES:
        raise InputError(f"unknown search space {name!r}", hint=f"known spaces: {', '.join(space_names())}")
    if not 0.05 <= width <= 8:
        raise InputError(f"the width multiplier lies between 0.05 and 8, not {width:g}")
    if not 4 <= resolution <= 2048:
        raise InputError(f"the resolution lies between 4 and 2048 pixels, not {resolution}")
    width = round(width, 4)  # so that the instance's name says it exactly
    if channels < 1 or classes < 2:
        raise InputError(f"a network needs at least 1 input channel and 2 classes, not {channels} and {classes}")
    return _SPACES[name](width, resolution, channels, classes)


def parse_instance(text: str, *, channels: int, classes: int) -> SearchSpace:
    """The instance whose name is `text`, for example `mobile@w0.5-r32`.

    Raises:
        InputError: the text does not name an instance.
    """
    match = re.fullmatch(r"([a-z0-9]+)@w([0-9.]{1,8})-r([0-9]{1,4})", text, re.ASCII)
    if match is None or match[2].count(".") > 1 or match[2] == ".":
        raise InputError(f"{text!r} does not name an instance of a space", hint="an example: mobile@w0.5-r32")
    return space_instance(match[1], width=float(match[2]), resolution=int(match[3]), channels=channels, classes=classes)
