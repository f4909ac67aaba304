"""What a result says of a network that leaves out classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.display import few

_REMEDY = "give more --minutes or --epochs, or more images"


def is_untrained(result: Mapping[str, Any]) -> bool:
    """Whether every test image is taken for one class: such a file is fast, and of no use."""
    absent, names = _absent(result)
    return bool(absent) and len(set(names) - set(absent)) == 1


def never_predicted_text(result: Mapping[str, Any]) -> str:
    """That test images are never taken for some classes, in a sentence without a full stop; empty if they are for all.

    Results of earlier versions do not tell, and what is damaged says nothing.
    """
    absent, names = _absent(result)
    if not absent:
        return ""
    if is_untrained(result):
        (left,) = set(names) - set(absent)
        return f"every test image is taken for {left!r}; {_REMEDY}"
    return (
        f"no test image is taken for {len(absent)} of {len(names)} classes: {few(list(map(repr, absent)))}; {_REMEDY}"
    )


def _absent(result: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The classes that no test image is taken for, and all; none of either where the result does not tell."""
    metrics = result.get("metrics")
    content = metrics if isinstance(metrics, dict) else {}
    absent, classes = content.get("never_predicted"), content.get("classes")
    if not isinstance(absent, list) or not isinstance(classes, list):
        return [], []
    return list(map(str, absent)), [str(one.get("name")) for one in classes if isinstance(one, dict)]
