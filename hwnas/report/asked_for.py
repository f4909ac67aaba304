"""What a run was asked for, in the words that its user typed or could have typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.config import Configuration, Declared

_ALWAYS = ("data.source", "target.budget")


def asked_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that are not as by default, each by its flag, or by `--set` where it has none.

    Args:
        options: by place, such as `search.lr`; those that no version knows, or that users cannot set, are left out.
    """
    found = {}
    for one in Configuration.options():
        if one.place not in options or not one.option.settable:
            continue
        value = options[one.place]
        if one.kind == "texts" and isinstance(value, list):
            value = f" {one.option.flag} ".join(map(str, value)) or one.default
        if (one.place in _ALWAYS and value) or value != one.default:
            found[_word(one, value)] = (
                "none" if value == "" else True if one.kind == "switch" and _turned(one, value) else value
            )
    return found


def _word(one: Declared, value: Any) -> str:
    """The flag that sets an option; of budgets there are two."""
    if one.kind == "switch" and not _turned(one, value):
        return f"--set {one.place}"
    if one.place == "target.budget" and isinstance(value, str) and "," in value:
        return "--budgets-ms"
    return one.option.flag or f"--set {one.place}"


def _turned(one: Declared, value: Any) -> bool:
    """Whether the flag of a switch sets this value: one that begins with `--no-` sets it off."""
    return value is not one.option.flag.startswith("--no-")
