"""The pictures that a run kept of its worst mistakes, as a page shows them."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from hwnas.errors import InputError
from hwnas.report.run_files import number
from hwnas.schema import read_json

_MOST, _MOST_BYTES = 24, 40_000
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A test image of class `name` that was taken for `taken_for`, with that probability; `png` is its data, base64."""

    name: str
    taken_for: str
    probability: float | None
    png: str


def read_pictures(path: Path) -> list[Picture]:
    """Those of `state/mistakes.json`; what is no small PNG is left out, and all of it in runs of earlier versions."""
    try:
        content = read_json(path)
    except (InputError, OSError, ValueError, RecursionError):
        return []
    found = []
    for one in content[:_MOST] if isinstance(content, list) else []:
        png = _png(one.get("png")) if isinstance(one, dict) else ""
        if png:
            found.append(Picture(str(one.get("class")), str(one.get("taken_for")), number(one, "probability"), png))
    return found


def _png(text: object) -> str:
    """The base64 of a small PNG, written anew; else empty."""
    try:
        data = b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return ""
    return b64encode(data).decode() if data.startswith(_PNG) and len(data) <= _MOST_BYTES else ""
