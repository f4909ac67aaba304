"""Configurations from files, from `--set`, and from flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hwnas.config.configuration import Configuration, Content
from hwnas.config.flat import from_flat, is_flat
from hwnas.config.nearest import nearest, unknown_option, unknown_section
from hwnas.config.option import Declared
from hwnas.config.text import shown
from hwnas.errors import InputError
from hwnas.schema import read_toml


def load_configuration(path: Path) -> Configuration:
    """Read the `config.toml` of a run, also of an earlier version.

    Raises:
        InputError: it is missing, not TOML, or not a configuration.
    """
    return _at(path, sections_of(path))


def configure(
    file: Path | None = None, settings: Iterable[str] = (), flags: Mapping[str, Mapping[str, Any]] | None = None
) -> Configuration:
    """The configuration that a user asks for: defaults, then a file, then settings, then flags.

    Args:
        file: TOML with any of the sections and options; the `config.toml` of a run serves as well.
        settings: each `section.name=value`, as for `--set`.
        flags: by place, such as `search.lr`, the flags that set it, each with its value.

    Raises:
        InputError: a file, name or value is wrong, or one option is set twice beside the file.
    """
    content = {} if file is None else sections_of(file)
    if file is not None:
        _without_unsettable(content)
    said: dict[str, str] = {}
    for setting in settings:
        one, value = _setting(setting)
        _once(said, one, f"--set {one.place}")
        _put(content, one, value)
    known = {one.place: one for one in Configuration.options()}
    for place, given in (flags or {}).items():
        for flag, value in given.items():
            _once(said, known[place], flag)
            _put(content, known[place], value)
    return Configuration.model_validate(content) if file is None else _at(file, content, only=not said)


def parsed_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Values by place, such as `train.lr`, from texts `section.name=value`, as for `--set`.

    Raises:
        InputError: a text has another form, there is no such option, or one is set twice.
    """
    found: dict[str, Any] = {}
    for one, value in map(_setting, settings):
        if one.place in found:
            raise InputError(f"{one.place} is set twice", hint="leave one of the two out")
        found[one.place] = value
    return found


def sections_of(path: Path) -> Content:
    """The content of a file by section, not checked any further; that of a run of an earlier version is converted.

    Raises:
        InputError: it is missing, or not TOML.
    """
    content = read_toml(path, hint="name a TOML file of options, such as the config.toml of a run")
    try:
        return from_flat(content) if is_flat(content) else content
    except InputError as error:
        raise InputError(f"{path}: {error}", hint=error.hint) from error


def _at(path: Path, content: Content, *, only: bool = True) -> Configuration:
    """The configuration of a file; an error names it where nothing else can be wrong."""
    try:
        return Configuration.model_validate(content)
    except InputError as error:
        if not only:
            raise
        raise InputError(f"{path}: {error}", hint=error.hint) from error


def _without_unsettable(content: Content) -> None:
    """Leave out what a run filled in by itself: it does so again."""
    for one in Configuration.options():
        section = content.get(one.section)
        if not one.option.settable and isinstance(section, dict):
            section.pop(one.name, None)


def _setting(text: str) -> tuple[Declared, Any]:
    """An option and its value from `section.name=value`.

    Raises:
        InputError: it has another form, or there is no such option for users.
    """
    place, equals, typed = text.partition("=")
    section, dot, name = place.strip().partition(".")
    if not equals or not dot:
        found = nearest("", place.strip(), Configuration.options()) or "search.lr"
        raise InputError(f"--set takes section.name=value, not {shown(text)}", hint=f"as in --set {found}=VALUE")
    options = {one.place: one for one in Configuration.options()}
    if section not in Configuration.sections():
        raise unknown_section(section, options.values())
    if (one := options.get(f"{section}.{name}")) is None:
        raise unknown_option(section, name, options.values())
    if not one.option.settable:
        raise InputError(f"{one.place} is filled in by the run itself", hint="leave it out")
    return one, _value(one, typed)


def _value(one: Declared, typed: str) -> Any:
    """The value that a text stands for; text that is no such value stays text, which the declaration refuses."""
    if not typed.strip() and one.default is None:
        return None
    if one.type is str:
        return typed
    if one.kind == "switch":
        return {"true": True, "false": False}.get(typed.strip(), typed)
    try:
        return one.type(typed)
    except ValueError:
        return typed


def _once(said: dict[str, str], one: Declared, by: str) -> None:
    if one.place in said:
        raise InputError(f"{one.place} is set twice, by {said[one.place]} and by {by}", hint="leave one of the two out")
    said[one.place] = by


def _put(content: Content, one: Declared, value: Any) -> None:
    section = content.setdefault(one.section, {})
    if isinstance(section, dict):  # a file may hold something else there, which is refused afterwards
        section[one.name] = value
