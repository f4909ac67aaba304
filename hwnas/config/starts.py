"""The values of `init` that name no file, and where another training of a finished run may start."""

from __future__ import annotations

from typing import Literal

AUTO, NONE = "auto", "none"

TrainStart = Literal["auto", "scratch", "weights"]


def init_value(value: object) -> object:
    """What a configuration keeps: no text for a random start, however that was said."""
    return "" if value == NONE else value
