"""Arguments of the front door: checked against their annotations before anything is done."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable
from os import PathLike, fspath
from typing import Annotated, Any, ParamSpec, TypeVar

import annotated_types
from pydantic import AfterValidator, BeforeValidator, ConfigDict, ValidationError, validate_call

from hwnas.errors import ArgumentError, InputError

P = ParamSpec("P")
R = TypeVar("R")


def _path(value: str | PathLike[str]) -> str | PathLike[str]:
    """A path that a file system can hold.

    Raises:
        ValueError: it cannot.
    """
    name = fspath(value)
    if "\0" in name or any(len(part.encode(errors="replace")) > 255 for part in name.split("/")):
        raise ValueError("must be a path without NUL, of names of at most 255 bytes")
    if any(0xD800 <= ord(letter) < 0xDC80 or 0xDCFF < ord(letter) <= 0xDFFF for letter in name):
        raise ValueError("must be a path that can be encoded")
    return value


def _no_share(value: object) -> object:
    """A budget, which is no share of a range.

    Raises:
        ValueError: it is.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        raise ValueError(
            "must be milliseconds: a share needs a range, which a search space has and a model file has not"
        )
    return value


PathArgument = Annotated[str | PathLike[str], AfterValidator(_path)]
Milliseconds = Annotated[Annotated[float, annotated_types.Gt(0)] | None, BeforeValidator(_no_share)]
AtLeast0 = annotated_types.Ge(0)
AtLeast1 = annotated_types.Ge(1)

_CONFIG = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with an `InputError` for an argument of another type or outside its bounds.

    Types are strict: no text and no truth value for a number. Scalars of numpy are taken as Python's.
    """
    validated = validate_call(config=_CONFIG)(function)
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        plain = {name: _plain(value) for name, value in kwargs.items()}
        try:
            return validated(*map(_plain, args), **plain)
        except ValidationError as error:
            if error.title != function.__name__:
                raise
            annotations = {name: one.annotation for name, one in parameters.items()}
            raise _refusal(function.__name__, error, annotations) from None

    return call


def _refusal(function: str, error: ValidationError, annotations: dict[str, Any]) -> InputError:
    """The first argument that is wrong, with its rule."""
    first = error.errors(include_url=False)[0]
    place = first["loc"][0] if first["loc"] else ""
    names = list(annotations)
    name = names[place] if isinstance(place, int) and place < len(names) else str(place)
    if first["type"] in ("unexpected_keyword_argument", "unexpected_positional_argument"):
        return InputError(f"hwnas.{function} takes no argument {name}", hint=f"help(hwnas.{function}) lists them")
    if first["type"].startswith("missing"):
        return InputError(f"hwnas.{function} needs {name}", hint=f"help(hwnas.{function}) says what it is")
    rule = first["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    if first["type"] == "literal_error":
        rule = f"must be one of {first['ctx']['expected'].removeprefix(repr('') + ', ').replace(' or ', ', ')}"
    elif len(first["loc"]) > 1 and first["type"] != "value_error":  # one of several types, or something inside
        rule = f"must be {annotations.get(name, 'of another type')}"
    rule += f", not {reprlib.repr(first['input'])}"
    return ArgumentError(
        f"hwnas.{function}: {name} {rule}",
        argument=name,
        rule=rule,
        hint=f"help(hwnas.{function}) describes every argument",
    )


def _plain(value: Any) -> Any:
    """Scalars of numpy as Python's, also in lists, tuples and dictionaries."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {name: _plain(one) for name, one in value.items()}
    return value
