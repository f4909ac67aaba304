"""Options by the arguments that they set, so that refusals of the front door name what was typed."""

from __future__ import annotations

import typing
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from typer.models import OptionInfo

from hwnas.errors import ArgumentError, InputError


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
