"""The page of the command line, from the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from hwnas.cli import app
from hwnas.cli.configured import ConfiguredCommand

_INTRODUCTION = """\
# Commands

Every command of `hwnas`, with its arguments and options. `tools/write_reference.py` writes this page from the program.

Results go to stdout, progress and messages to stderr. With `--json` a command prints one JSON object. The
[exit code](exit-codes.md) tells how it ended.
"""
_CONFIGURED = """
All other options set the configuration: [one list](../configuration.md) has them, by section.
"""


def page() -> str:
    """The page as Markdown."""
    return _INTRODUCTION + "".join(_sections(typer.main.get_command(app), "hwnas"))


def _sections(command: Any, name: str) -> Iterator[str]:
    """One section for each command that does something, in the order of `hwnas --help`."""
    children = getattr(command, "commands", {})
    if not children:
        yield _section(command, name)
    for child, inner in children.items():
        yield from _sections(inner, f"{name} {child}")


def _section(command: Any, name: str) -> str:
    context = typer.Context(command, info_name=name)
    own: Any = super(ConfiguredCommand, command) if isinstance(command, ConfiguredCommand) else command
    parameters = [one for one in own.get_params(context) if not one.hidden and one.name != "help"]
    lines = ["", f"## {name}", "", _text(command.help), ""]
    if parameters:
        lines += ["| Argument or option | Meaning |", "|---|---|", *(_row(one, context) for one in parameters)]
    return "\n".join(lines) + "\n" + (_CONFIGURED if own is not command else "")


def _row(parameter: Any, context: typer.Context) -> str:
    said = parameter.get_help_record(context)
    name, meaning = said or (parameter.name, parameter.help or "")
    return f"| `{_cell(name)}` | {_cell(_text(meaning))} |"


def _text(said: str) -> str:
    """Of a help text: its paragraphs, without the marks of rich and of code."""
    return re.sub(r"[ \n]*\n[ \n]*\n[ ]*", "\n\n", said.replace("\\[", "[").replace("`", "")).strip()


def _cell(said: str) -> str:
    return " ".join(said.replace("|", "\\|").split())
