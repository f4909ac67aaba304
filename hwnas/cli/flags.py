"""Refused values of options, in words: what typer leaves to pydantic, and arguments of the front door."""

from __future__ import annotations

import reprlib
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import OptionInfo

from hwnas.errors import ArgumentError, InputError

_RULES: Mapping[str, str] = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "below {lt:g}",
}
"""By pydantic's names of its errors."""


class Program(TyperGroup):
    """The program, whose commands refuse values in our words, not in pydantic's."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            errors = getattr(error.__cause__, "errors", None)
            if callable(errors) and (found := errors()):
                error.message = _in_words(found[0]) or error.message
            raise


def _in_words(found: Mapping[str, Any]) -> str:
    """An error of pydantic; empty where there are no better words."""
    rule = _RULES.get(found["type"], "").format_map(found.get("ctx", {}))
    return f"it must be {rule}, not {reprlib.repr(found['input'])}" if rule else ""


def as_option(error: ArgumentError, command: Callable[..., Any]) -> InputError:
    """The error of the option that sets the argument; the error itself where no option of the command does."""
    flag = _flags(command).get(error.argument)
    return InputError(f"{flag} {error.rule}", hint="--help describes every option") if flag else error


def _flags(command: Callable[..., Any]) -> dict[str, str]:
    """By argument, the first flag that typer gives the option of that name."""
    hints: dict[str, Any] = {}
    with suppress(NameError):  # of what is imported for the type checker alone
        hints = typing.get_type_hints(command, include_extras=True)
    found: dict[str, str] = {}
    for name, hint in hints.items():
        for info in getattr(hint, "__metadata__", ()):
            if isinstance(info, OptionInfo):
                declared = [one for one in info.param_decls or () if one.startswith("--")]
                flag = declared[0] if declared else f"--{name.rstrip('_').replace('_', '-')}"
                found |= {name.rstrip("_"): flag, flag.removeprefix("--").replace("-", "_"): flag}
    return found
