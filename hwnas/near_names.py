"""The name that a wrong one most likely means, for hints."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Such as `did you mean int8? `, with a space behind it; empty where no known name is near, whatever its case."""
    near = get_close_matches(name.lower(), filter(None, known), 1)
    return f"did you mean {near[0]}? " if near else ""
