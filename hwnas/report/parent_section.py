"""What a search left of the parent, block by block, as a page lists it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the parent: what it is there, what it is in the network that was found, and whether that differs."""

    name: str
    parent: str
    chosen: str
    changed: bool


def parent_of(result: dict[str, Any]) -> dict[str, Any]:
    """What `result.json` says of the parent; empty where there is none, or something else stands there."""
    parent = result.get("parent")
    return parent if isinstance(parent, dict) else {}


def read_blocks(parent: dict[str, Any]) -> list[Block]:
    """The blocks of the parent that could be replaced, in their order."""
    listed = parent.get("blocks")
    found = []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict):
            own, chosen = str(one.get("parent")), str(one.get("chosen"))
            found.append(Block(str(one.get("name")), _in_words(own), _in_words(chosen), own != chosen))
    return found


def _in_words(option: str) -> str:
    """An option of an elastic space; others keep their names."""
    if option == "skip":
        return "skipped"
    sizes = re.fullmatch(r"k(\d{1,3})e(\d{1,3})", option, re.ASCII)
    return f"kernel {sizes[1]} × {sizes[1]}, expansion {sizes[2]}" if sizes else option
