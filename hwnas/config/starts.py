"""The values of `init` that name no file."""

from __future__ import annotations

AUTO, NONE = "auto", "none"


def init_value(value: object) -> object:
    """What a configuration keeps: no text for a random start, however that was said."""
    return "" if value == NONE else value
