"""The words of messages."""

from __future__ import annotations

import reprlib

REFERENCE = "docs/configuration.md"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def shown(value: object) -> str:
    """A value as a message names it: short, whatever its depth or length."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"
