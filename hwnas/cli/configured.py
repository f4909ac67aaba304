"""A command whose options come from the declaration of the configuration, beside those of its function.

Reading the declaration takes longer than all else that `hwnas --help` does, so it waits until the command is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from hwnas.config import Configuration, Declared

Given = dict[str, dict[str, Any]]
"""By place, such as `search.lr`, the flags that were given for it, each with its value."""


class ConfiguredCommand(TyperCommand):
    """A command with a flag for each declared option that has one; `given` tells its function which were used."""

    def get_params(self, ctx: Any) -> Any:
        """The options of the function, and those that are declared."""
        from hwnas.config import Configuration

        return [*_declared(Configuration), *super().get_params(ctx)]

    def invoke(self, ctx: Any) -> Any:
        """Call the function, with the declared options aside in the context."""
        from hwnas.config import Configuration

        ctx.meta[__name__] = {name: ctx.params.pop(name) for name in _flags(Configuration)}
        return super().invoke(ctx)


def given(ctx: typer.Context) -> Given:
    """The declared flags of the command line that is run."""
    from hwnas.config import Configuration

    found: Given = {}
    for name, (flag, one) in _flags(Configuration).items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            value = not one.default if one.kind == "switch" else ctx.meta[__name__][name]
            found.setdefault(one.place, {})[flag] = value
    return found


@cache
def _flags(configuration: type[Configuration]) -> Mapping[str, tuple[str, Declared]]:
    """By name of the parameter, each flag and its option."""
    options = [one for one in configuration.options() if one.option.settable]
    return {flag.removeprefix("--").replace("-", "_"): (flag, one) for one in options for flag in one.flags}


@cache
def _declared(configuration: type[Configuration]) -> Sequence[Any]:
    """The options, which a command is asked for several times while it is read."""
    return typer.main.get_command(_flags_alone(configuration)).params


def _flags_alone(configuration: type[Configuration]) -> typer.Typer:
    """A program that has the declared flags and does nothing."""

    def nothing(**_: object) -> None:
        pass

    panels = {name: f"{name}: {section.about}" for name, section in configuration.sections().items()}
    nothing.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(name, flag, one, panels[one.section]) for name, (flag, one) in _flags(configuration).items()]
    )
    app = typer.Typer(add_completion=False)
    app.command()(nothing)
    return app


def _parameter(name: str, flag: str, one: Declared, panel: str) -> inspect.Parameter:
    """The option of one flag; whether it was given is seen from the context, so its default is for the help alone."""
    said = one.flags[flag]
    default = False if one.kind == "switch" else None if one.required or not one.default else one.default
    option = typer.Option(
        flag,
        help=said,
        hidden=not said,
        metavar="|".join(filter(None, one.choices)) or None,
        show_default=one.option.by_default or bool(default),
        rich_help_panel=panel,
    )
    kind: Any = list[str] if one.kind == "texts" else one.type
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
