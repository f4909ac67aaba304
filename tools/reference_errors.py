"""The page of error messages, from the places that raise them: each exception, its messages, and what to do next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hwnas import errors
from hwnas.errors import HwnasError

_PACKAGE = Path(__file__).parents[1] / "hwnas"
_KINDS = {name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, HwnasError)}
_IN_THE_HINT = "the line below the message says it"
_INTRODUCTION = """\
# Error messages

A message names the rule and the value that broke it. The line behind it says what to do next. `…` stands for a value
of your own: a path, a number, a name. This page is written from the source when the site is built.

Every exception is a subclass of `hwnas.HwnasError`; the [exit codes](exit-codes.md) follow from its class.
"""


@dataclass(frozen=True, order=True)
class Said:
    """A message of one exception, and its remedy, which may be empty."""

    message: str
    remedy: str


def page(package: Path = _PACKAGE) -> str:
    """The page as Markdown."""
    found = messages(package)
    return _INTRODUCTION + "".join(_section(name, found[name]) for name in _KINDS if found.get(name))


def messages(package: Path = _PACKAGE) -> dict[str, list[Said]]:
    """By exception, what is said where the source raises it with a text that is written there."""
    found: dict[str, set[Said]] = {}
    for path in sorted(package.rglob("*.py")):
        for name, said in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, set()).add(said)
    return {name: sorted(all_said) for name, all_said in found.items()}


def _raised(tree: ast.AST) -> Iterator[tuple[str, Said]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS and node.args:
            hints = [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
            message = _text(node.args[0])
            if re.search(r"\w", message.replace("…", "")):
                remedy = _text(hints[0]) if hints else ""
                yield node.func.id, Said(message, _IN_THE_HINT if remedy == "…" else remedy)


def _text(node: ast.expr) -> str:
    """Of a string in the source: with `…` in place of all that is computed."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=other):
            return " / ".join(part for part in (_text(body), _text(other)) if part)
    return "…"


def _section(name: str, all_said: list[Said]) -> str:
    kind = _KINDS[name]
    about = (kind.__doc__ or "").strip().splitlines()[0]
    lines = ["", f"## {name}", "", f"{about} Exit code {kind.exit_code}.", ""]
    lines += ["| Message | What to do |", "|---|---|"]
    lines += [f"| {_cell(said.message)} | {_cell(said.remedy)} |" for said in all_said]
    return "\n".join(lines) + "\n"


def _cell(said: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(said.split()))
