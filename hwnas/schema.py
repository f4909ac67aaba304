"""Files become typed values here, or one kind of refusal: the file, the place in it, the rule, the value that broke it.

The types are dataclasses, most of them the ones that the package works with; a `Rule` beside a type says more than the
type can. Types are strict: no "1" or true for 1, but an integer for a number. pydantic is imported with the first
file, not with this module.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_type_hints

from hwnas.errors import HwnasError, InputError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

LARGEST_FILE = 64 << 20
"""Bytes; a larger file is refused before it is read."""
DEEPEST = 64
"""Lists and objects in each other; deeper files are refused."""
LARGEST_INTEGER = 2**63 - 1

T = TypeVar("T")
Extra = Literal["ignore", "forbid"]
_MOST_MISSING = 9
"""Keys that a message names as missing."""
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "none_required": "null",
}
"""Rules of types, by pydantic's names of their errors."""
_NO_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*')
"""Strings and comments of TOML."""


@dataclass(frozen=True)
class Rule:
    """A rule on a value beside its type, for `typing.Annotated`.

    Attributes:
        words: what the value must be; "threads must be" goes before them.
        holds: whether a value of the right type keeps to it.
    """

    words: str
    holds: Callable[[Any], bool]

    def __get_pydantic_core_schema__(self, kind: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import PydanticCustomError, ValidationError, core_schema

        def check(value: Any, inner: Callable[[Any], Any]) -> Any:
            try:
                if self.holds(value := inner(value)):
                    return value
            except ValidationError:
                pass
            raise PydanticCustomError("rule", "{words}", {"words": self.words})

        return core_schema.no_info_wrap_validator_function(check, handler(kind))


NOT_EMPTY = Rule("a string that is not empty", bool)


def between(least: int, most: int) -> Rule:
    """An integer in a range, both ends included."""
    return Rule(f"an integer of at least {least} and at most {most}", lambda value: least <= value <= most)


def at_least(least: float) -> Rule:
    """A number with a lower bound, which is allowed."""
    return Rule(f"a number of at least {least:g}", lambda value: value >= least)


POSITIVE = Rule("a number above 0", lambda value: value > 0)


def one_of(*names: str) -> Rule:
    """One of a few names."""
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


def matching(pattern: str, words: str) -> Rule:
    """Text that a regular expression matches as a whole; `words` say it."""
    return Rule(words, lambda value: re.fullmatch(pattern, value) is not None)


def read_file(path: Path, *, error: type[HwnasError] = InputError, hint: str = "") -> bytes:
    """The content of a file.

    Raises:
        HwnasError: as `error`; the file cannot be read, or is larger than `LARGEST_FILE`.
    """
    try:
        found = path.stat()
        size = found.st_size
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise error(f"{path} is not a regular file", hint=hint)
        if size > LARGEST_FILE:
            raise error(f"{path} must be at most {LARGEST_FILE >> 20} MiB, not {size >> 20} MiB", hint=hint)
        return path.read_bytes()
    except (OSError, ValueError) as cause:  # a path with a null byte is a ValueError
        reason = (isinstance(cause, OSError) and cause.strerror) or cause
        raise error(f"cannot read {path}: {reason}", hint=hint) from cause


def lines_of(path: Path) -> list[str]:
    """The lines of a log, whatever is in them; none where it is absent, cannot be read or is too large."""
    try:
        return read_file(path).decode("utf-8", "replace").splitlines()
    except InputError:
        return []


def read_json_as(
    path: Path, kind: type[T], *, extra: Extra = "ignore", error: type[HwnasError] = InputError, hint: str = ""
) -> T:
    """Read a JSON file as a `kind`; see `checked`."""
    return json_as(read_file(path, error=error, hint=hint), kind, path, extra=extra, error=error, hint=hint)


def json_as(
    text: str | bytes,
    kind: type[T],
    source: Path | str,
    *,
    extra: Extra = "ignore",
    error: type[HwnasError] = InputError,
    hint: str = "",
    largest_integer: int = LARGEST_INTEGER,
) -> T:
    """JSON text, such as a line of a JSON-lines file, as a `kind`; see `checked`."""
    content = _parsed(_loads_json, "JSON", text, source, error, hint)
    return checked(content, kind, source, extra=extra, error=error, hint=hint, largest_integer=largest_integer)


def read_json(path: Path) -> Any:
    """Read a JSON file of whatever types and text, which are for the caller to check.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    return _parsed(_loads_json, "JSON", read_file(path), path, InputError, "")


def read_toml(path: Path, *, hint: str = "") -> dict[str, Any]:
    """Read a TOML file of whatever types, which are for the caller to check.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    content: dict[str, Any] = _parsed(_loads_toml, "TOML", read_file(path, hint=hint), path, InputError, "")
    return content


def toml_as(
    text: str | bytes,
    kind: type[T],
    source: Path | str,
    *,
    extra: Extra = "ignore",
    error: type[HwnasError] = InputError,
    hint: str = "",
) -> T:
    """TOML text as a `kind`; see `checked`."""
    content = _parsed(_loads_toml, "TOML", text, source, error, hint)
    return checked(content, kind, source, extra=extra, error=error, hint=hint)


def checked(
    content: Any,
    kind: type[T],
    source: Path | str,
    *,
    extra: Extra = "ignore",
    error: type[HwnasError] = InputError,
    hint: str = "",
    largest_integer: int = LARGEST_INTEGER,
) -> T:
    """What a JSON or TOML parser gave, as a `kind`: a dataclass, or a type such as `dict[str, int]`.

    Args:
        source: the file, for messages.
        extra: whether keys that `kind` does not have are ignored or refused, at every depth.
        error: what is raised.
        hint: of the error.
        largest_integer: largest absolute value of integers.

    Raises:
        HwnasError: as `error`; the content is no `kind`, is nested deeper than `DEEPEST`, or holds a number that is not
            finite or an integer that is too large.
    """
    from pydantic import ValidationError

    _check_plain(content, source, error, hint, largest_integer)
    read: Any = kind
    try:
        # In a list of one, as pydantic takes no configuration for a dataclass itself. As JSON, as strict dataclasses
        # and tuples are read from nothing else.
        value: T = _adapter(read, extra).validate_json(json.dumps([content]))[0]
    except ValidationError as cause:
        found = cause.errors(include_url=False)
        first = min(found, key=lambda one: one["type"] not in _UNKNOWN)
        missing = [one["loc"][1:] for one in found if one["type"] == first["type"] == "missing"][:_MOST_MISSING]
        told = max(1, len(missing))
        more = f" (and {len(found) - told} more)" if len(found) > told else ""
        where = tuple(first["loc"][1:])
        nearest = _nearest(read, where) if first["type"] in _UNKNOWN else ""
        said = _all_missing(source, missing) if told > 1 else _refusal(source, where, first)
        raise error(said + more, hint=nearest or hint) from None
    except HwnasError as cause:  # of a dataclass, which checks itself
        raise error(f"{source}: {cause}", hint=cause.hint or hint) from cause
    return value


def _parsed(
    loads: Callable[[str], Any],
    language: str,
    text: str | bytes,
    source: Path | str,
    error: type[HwnasError],
    hint: str,
) -> Any:
    try:
        return loads(text if isinstance(text, str) else text.decode())
    except ValueError as cause:
        raise error(f"{source} is not valid {language}: {cause}", hint=hint) from cause
    except RecursionError:
        raise _too_deep(source, error, hint) from None


def _loads_json(text: str) -> Any:
    """`json.loads`, but for keys that are there twice: which one counts is not for the reader to guess."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {_shown(twice)} is there twice")
    return found


def _loads_toml(text: str) -> Any:
    """`tomllib.loads`, but for long dotted keys: these take it memory by the square of their length."""
    if any(part.count(".") > DEEPEST for part in re.split(r"[][{},=\n]", _NO_KEY.sub("_", text))):
        raise RecursionError
    return tomllib.loads(text)


def _check_plain(content: Any, source: Path | str, error: type[HwnasError], hint: str, largest_integer: int) -> None:
    """Refuse what no field of any kind may hold."""
    left: list[tuple[tuple[str | int, ...], Any]] = [((), content)]
    while left:
        where, value = left.pop()
        if len(where) >= DEEPEST and isinstance(value, dict | list | tuple):
            raise _too_deep(source, error, hint)
        if isinstance(value, dict):
            for key in value:
                _check_text(key, _place(source, where), error, hint)
            left += [((*where, key), one) for key, one in value.items()]
        elif isinstance(value, list | tuple):
            left += [((*where, index), one) for index, one in enumerate(value)]
        elif isinstance(value, float):
            if not abs(value) < float("inf"):
                raise error(f"{_place(source, where)} must be a finite number, not {value}", hint=hint)
        elif isinstance(value, int):
            if abs(value) > largest_integer:
                rule = f"an integer of at most {largest_integer:.3g}"
                raise error(f"{_place(source, where)} must be {rule}, not {_shown(value)}", hint=hint)
        elif isinstance(value, str):
            _check_text(value, _place(source, where), error, hint)
        elif value is not None:  # TOML has dates
            rule = "a string, a number, true or false, a list or a table"
            raise error(f"{_place(source, where)} must be {rule}, not {_shown(value)}", hint=hint)


def _check_text(text: str, place: Path | str, error: type[HwnasError], hint: str) -> None:
    """Refuse half a surrogate pair, which JSON can spell and no file or terminal can be told."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(f"{place} must be Unicode text, not {_shown(text)}", hint=hint) from None


def _too_deep(source: Path | str, error: type[HwnasError], hint: str) -> HwnasError:
    return error(f"{source} must be nested at most {DEEPEST} deep, not deeper", hint=hint)


@functools.cache
def _adapter(kind: Any, extra: Extra) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(tuple[kind], config=ConfigDict(strict=True, extra=extra, allow_inf_nan=False))


def _refusal(source: Path | str, where: Sequence[str | int], found: Mapping[str, Any]) -> str:
    place, kind, message = _place(source, where), found["type"], str(found["msg"])
    if kind in _UNKNOWN:
        return f"{place} is an unknown key"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "json_invalid":
        return f"{source} is not valid text: {message.removeprefix('Invalid JSON: ')}"
    if kind == "value_error":  # of a dataclass, which checks itself
        return f"{place} is refused: {message.removeprefix('Value error, ')}"
    rule = _TYPES.get(kind) or (message if kind == "rule" else re.sub(r"^\w+ should (be )?", "", message))
    return f"{place} must be {rule}, not {_shown(found['input'])}"


def _all_missing(source: Path | str, places: Sequence[Sequence[str | int]]) -> str:
    *names, last = map(_key, places)
    return f"{source}: {', '.join(names)} and {last} are missing"


def _place(source: Path | str, where: Sequence[str | int]) -> str:
    return f"{source}: {_key(where)}" if where else str(source)


def _key(where: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in where).removeprefix(".")


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def _nearest(kind: Any, where: Sequence[str | int]) -> str:
    """A hint: the known keys beside an unknown one, the nearest first."""
    for part in where[:-1]:
        kind = next(filter(is_dataclass, (_hints(kind).get(str(part)), *get_args(_hints(kind).get(str(part))))), None)
    if not is_dataclass(kind):
        return ""
    known = [field.name for field in fields(kind)]
    near = difflib.get_close_matches(str(where[-1]), known, 1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"allowed keys: {', '.join(known)}"


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind) if is_dataclass(kind) else {}
