"""The images of a run, as a page tells of them, with the warnings about them."""

from __future__ import annotations

from typing import Any

from hwnas.report.run_files import number

_MOST = 20


def image_facts(facts: dict[str, Any]) -> dict[str, str]:
    """Of `images.json`, by label; empty where that is missing or damaged."""
    parts, found = facts.get("images"), {}
    if isinstance(parts, dict):
        for part, counts in parts.items():
            of_class = [number(count) or 0 for count in counts.values()] if isinstance(counts, dict) else []
            if of_class:
                found[str(part)] = (
                    f"{sum(of_class):,.0f} images, {min(of_class):,.0f} to {max(of_class):,.0f} of a class"
                )
    for side in ("width", "height"):
        spread = facts.get(side)
        sizes = [size for one in spread if (size := number(one)) is not None] if isinstance(spread, list) else []
        if len(sizes) == 3:
            found[side] = f"median {sizes[1]:.0f} pixels, from {sizes[0]:.0f} to {sizes[2]:.0f}"
    for label, key in (("fit", "fit"), ("mirrored", "flip_reason")):
        if isinstance(facts.get(key), str):
            found[label] = facts[key]
    for label in ("unreadable", "ignored"):
        listed = facts.get(label)
        if isinstance(listed, list) and listed:
            found[label] = f"{len(listed):,} files"
    return found


def warnings_of(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What may spoil a result, each with `text` and `remedy`."""
    listed = facts.get("warnings")
    entries = listed[:_MOST] if isinstance(listed, list) else []
    return [one for one in entries if isinstance(one, dict) and one.get("text")]
