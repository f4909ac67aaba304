"""One declaration per option: its name, type and default are those of a field, all else is an `Option` beside it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

Kind = Literal["text", "switch", "count", "number", "texts"]
_KINDS: dict[type, Kind] = {str: "text", bool: "switch", int: "count", float: "number"}
_NOUNS: dict[Kind, str] = {
    "text": "text",
    "switch": "true or false",
    "count": "a whole number",
    "number": "a number",
    "texts": "a list of texts",
}


@dataclass(frozen=True)
class Option(annotated_types.GroupedMetadata):
    """What `Annotated` holds beside the type of a field.

    Attributes:
        help: one or two sentences; the first words say what it is, so that a wrong name finds it.
        flag: of the command line; empty where only files and `--set` reach it. A switch is turned by its flag, so one
            that is on by default has a flag such as `--no-train`.
        aliases: further flags, with a help of their own; hidden where that is empty.
        unit: of a number.
        ge, gt, le, lt: bounds of a number.
        rule: where the type is not what people write, such as a share that may be typed as `10%`.
        example: of a value, for hints.
        by_default: what an empty value, or one that follows the data, stands for.
        settable: whether users may set it.
    """

    help: str
    flag: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    rule: str = ""
    example: str = ""
    by_default: str = ""
    settable: bool = True

    def __iter__(self) -> Iterator[object]:
        """The bounds, for pydantic."""
        for bound, value in (
            (annotated_types.Ge, self.ge),
            (annotated_types.Gt, self.gt),
            (annotated_types.Le, self.le),
            (annotated_types.Lt, self.lt),
        ):
            if value is not None:
                yield bound(value)


@dataclass(frozen=True)
class Declared:
    """An option with the place where it is declared."""

    section: str
    name: str
    kind: Kind
    default: Any
    required: bool
    choices: tuple[str, ...]
    option: Option

    @property
    def place(self) -> str:
        """As `--set` names it, for example `search.lr`."""
        return f"{self.section}.{self.name}"

    @property
    def flags(self) -> dict[str, str]:
        """All flags of the command line with their help; hidden ones have none."""
        return ({self.option.flag: self.option.help} if self.option.flag else {}) | dict(self.option.aliases)

    @property
    def type(self) -> type:
        """The Python type of a value, or of what is typed for it; of one of several texts."""
        return (
            str
            if self.option.rule or self.kind == "texts"
            else next(one for one, kind in _KINDS.items() if kind == self.kind)
        )

    @property
    def rule(self) -> str:
        """What a value must be, for example `a number above 0`."""
        if self.option.rule:
            return self.option.rule
        if self.choices:
            named = [choice for choice in self.choices if choice]
            return " or ".join(named) if len(named) < 3 else f"one of {', '.join(named)}"
        one = self.option
        lower = f" of at least {one.ge:,}" if one.ge is not None else f" above {one.gt:,}" if one.gt is not None else ""
        upper = f" at most {one.le:,}" if one.le is not None else f" below {one.lt:,}" if one.lt is not None else ""
        return f"{_NOUNS[self.kind]}{lower}{' and' if lower and upper else ''}{upper}"


def declared(section: str, name: str, info: FieldInfo) -> Declared:
    """The option that a field of a section declares.

    Raises:
        TypeError: the field has no `Option`, or a type that no option can have.
    """
    option = next((one for one in info.metadata if isinstance(one, Option)), None)
    if option is None:
        raise TypeError(f"{section}.{name} has no Option beside its type")
    annotation: Any = info.annotation
    if isinstance(annotation, types.UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not types.NoneType)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
    several = typing.get_origin(annotation) is tuple
    kind: Kind = "texts" if several else _KINDS[str if choices else annotation]
    return Declared(section, name, kind, info.get_default(), info.is_required(), choices, option)
