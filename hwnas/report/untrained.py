"""What a result says of a network that leaves out classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.display import few


def never_predicted_text(result: Mapping[str, Any]) -> str:
    """That test images are never taken for some classes, in a sentence without a full stop; empty if they are for all.

    Results of earlier versions do not tell, and what is damaged says nothing.
    """
    metrics = result.get("metrics")
    content = metrics if isinstance(metrics, dict) else {}
    absent, classes = content.get("never_predicted"), content.get("classes")
    if not isinstance(absent, list) or not absent or not isinstance(classes, list):
        return ""
    names = [str(one.get("name")) for one in classes if isinstance(one, dict)]
    left = [name for name in names if name not in absent]
    remedy = "give more --minutes or --epochs, or more images"
    if len(left) == 1:
        return f"every test image is taken for {left[0]!r}; {remedy}"
    return f"no test image is taken for {len(absent)} of {len(names)} classes, {few(list(map(repr, absent)))}; {remedy}"
