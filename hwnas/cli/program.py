"""The program: what typer refuses is said in words, and with `--json` as one object."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from hwnas.cli import console
from hwnas.errors import HwnasError, InputError

BEGAN = f"{__name__}.began"
"""In `ctx.meta`, `time.monotonic()` of when the command line was read, before anything heavy was loaded."""

_UsageError: Any = typer.BadParameter.__base__  # which typer keeps to itself
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
    """The program, whose commands refuse values in our words, not in pydantic's, and with --json in an object, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Note when it began, and whether an object is asked for, as options are told apart by each command later."""
        ctx.meta[__name__], ctx.meta[BEGAN] = "--json" in args, time.monotonic()
        if (error := _empty(args)) is not None:
            console.fail(error, as_json=ctx.meta[__name__])
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # while a command is loaded and its options are read
            console.fail_interrupted(as_json=ctx.meta[__name__])
        except HwnasError as error:  # of a value that an option refuses
            console.fail(error, as_json=ctx.meta[__name__])
        except _UsageError as error:
            errors = getattr(error.__cause__, "errors", None)
            if callable(errors) and (found := errors()):
                error.message = _in_words(found[0]) or error.message
            if ctx.meta[__name__]:
                hint = "--help describes every option"
                console.print_json({"error": error.format_message(), "hint": hint, "exit_code": error.exit_code})
            raise


def _empty(args: Sequence[str]) -> InputError | None:
    """Why a command line is refused that holds an empty value, which a variable of a shell is that is not set."""
    for before, value in pairwise(["", *args]):
        option, equals, given = value.partition("=")
        if value and not (equals and not given and option.startswith("--")):
            continue
        named = before if before.startswith("-") and not value else option
        if named:
            return InputError(f"{named} is given an empty value", hint="leave it out for its default, or give a value")
        return InputError("an argument is empty", hint="give it a value; --help says of what")
    return None


def _in_words(found: Mapping[str, Any]) -> str:
    """An error of pydantic; empty where there are no better words."""
    rule = _RULES.get(found["type"], "").format_map(found.get("ctx", {}))
    return f"it must be {rule}, not {reprlib.repr(found['input'])}" if rule else ""
