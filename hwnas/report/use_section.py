"""How to use the model file of a run: commands, and a script that reads a picture as the network was trained to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from hwnas.exporting.snippets import snippets

_PLAIN = re.compile(r"[\w .+-]{1,120}", re.ASCII)
_GOLDEN = re.compile(r"\ndef check_golden\(classify\):.*?(?=\n\ndef )\n", re.DOTALL)


def scripts(description: dict[str, Any]) -> list[tuple[str, str]]:
    """Of `model.json`: name of a stack and a script of Python for it; empty where that file is missing or damaged.

    They are those of packages, but for files beside the script and without the check of a package's golden image.
    """
    files = description.get("files")
    if not isinstance(files, dict) or not _is_plain(files):
        return []
    try:
        found = snippets(files, "labels.txt")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return []
    return [
        (one.stack.partition(", ")[2], _beside(text)) for one, (text, _) in found.items() if one.name.endswith(".py")
    ]


def command_of(asked: Mapping[str, Any]) -> str:
    """The command of a run, from what `asked_words` tells of it; options that stand for themselves have no value."""
    words = ["hwnas search"]
    for flag, value in asked.items():
        if flag.startswith("--set "):
            words.append(f"--set {shlex.quote(f'{flag[6:]}={_value(value)}')}")
        elif value is True:
            words.append(flag)
        elif value is False:
            words.append(f"--no-{flag.removeprefix('--')}")
        else:
            parts = str(value).split(f" {flag} ")
            words += [f"{flag} {shlex.quote(part)}" for part in parts]
    return " ".join(words)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _beside(text: str) -> str:
    """With the model beside the script, and pictures as the only thing to name."""
    text = text.replace(".resolve().parent.parent", ".resolve().parent")
    text = _GOLDEN.sub("", text).replace("    if not sys.argv[1:]:\n        return check_golden(classify)\n", "")
    return text.replace(', or check the golden image where it names none."""', '."""').replace("import json\n", "")


def _is_plain(content: Any) -> bool:
    """Whether there is nothing in it that would mean something else in a script."""
    if isinstance(content, dict):
        return all(_is_plain(key) and _is_plain(value) for key, value in content.items())
    if isinstance(content, list):
        return all(map(_is_plain, content))
    return not isinstance(content, str) or content == "" or bool(_PLAIN.fullmatch(content))
