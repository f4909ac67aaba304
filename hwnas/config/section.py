"""A section of a configuration, and the one message for a value that breaks a rule."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from hwnas.config.nearest import unknown_option
from hwnas.config.option import Declared, declared
from hwnas.config.text import REFERENCE, shown
from hwnas.errors import InputError
from hwnas.near_names import did_you_mean


class Section(BaseModel):
    """A frozen model whose fields are options. Whatever is wrong with its values is an `InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    title: ClassVar[str]
    """Name of the section in files."""
    about: ClassVar[str]
    """Of one line, for help and the reference."""

    @classmethod
    def options(cls) -> tuple[Declared, ...]:
        """The options in the order of their declaration."""
        return tuple(declared(cls.title, name, info) for name, info in cls.model_fields.items())

    def chosen(self) -> dict[str, Any]:
        """What differs from its default, by name."""
        values = {one.name: (getattr(self, one.name), one.default) for one in self.options()}
        return {name: value for name, (value, default) in values.items() if value != default}

    @field_validator("*")
    @classmethod
    def _encodable(cls, value: Any) -> Any:
        """Text that no file or path can hold is refused.

        Raises:
            InputError: `value` is such text.
        """
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and ("\x00" in text or _broken(text)):
                raise InputError(f"a text of [{cls.title}] must be UTF-8 without NUL, not {shown(text)}")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            raise cls._refusal(error) from None

    @classmethod
    def _refusal(cls, error: ValidationError) -> InputError:
        """The first thing that is wrong, with the rule and the next step."""
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            rule = f"[{cls.title}] is a section of options, not {shown(first['input'])}"
            return InputError(rule, hint=f"for example [{cls.title}] and a line below it; see {REFERENCE}")
        name = str(first["loc"][0])
        known = {one.name: one for one in cls.options()}
        if name not in known:
            return unknown_option(cls.title, name, cls.options())
        one = known[name]
        flag = f" ({one.option.flag})" if one.option.flag else ""
        if first["type"] == "missing":
            return InputError(f"[{cls.title}] needs {one.name}{flag}, which is {one.rule}", hint=_example(one))
        given = first["input"]
        near = did_you_mean(given, one.choices) if isinstance(given, str) else ""
        return InputError(f"[{cls.title}] {name}{flag} is {one.rule}, not {shown(given)}", hint=near + _example(one))


def _example(one: Declared) -> str:
    if one.option.example:
        return f"example: {one.option.example}"
    if one.required:
        return f"set {one.place}"
    default = one.option.by_default if one.default in (None, "", ()) else shown(one.default)
    return f"the default is {default or 'none'}"


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
