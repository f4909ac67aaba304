"""What the values of a device's address must be, so that programs which are started with them take them as meant."""

from __future__ import annotations

import shlex

from hwnas.schema import Rule, matching

PLAIN = matching(r"[^\x00-\x1f\x7f]+", "text of one line that is not empty")
PATH = matching(r"(?!-)[^\x00-\x1f\x7f]+", "a path without control characters, not beginning with '-'")


def _is_command(text: str) -> bool:
    try:
        return text.isprintable() and bool(shlex.split(text))
    except ValueError:
        return False


COMMAND = Rule("a command of one line, whose quotes are closed", _is_command)
