"""Everything that decides the outcome of a run, as `config.toml` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import tomli_w
from pydantic import ValidationError, model_validator

from hwnas.config.budget import Budget, parse_budgets
from hwnas.config.compute import Compute
from hwnas.config.nearest import unknown_option, unknown_section
from hwnas.config.option import Declared
from hwnas.config.presets import preset
from hwnas.config.section import Section
from hwnas.config.sections import Data, Search, Space, Train
from hwnas.config.starts import AUTO
from hwnas.config.target import Target
from hwnas.config.targets import DeviceTarget, parse_targets
from hwnas.config.text import REFERENCE, shown
from hwnas.errors import InputError
from hwnas.files import write_text

WITHOUT_SUPERNET = ("chain",)
"""Spaces whose networks cannot share weights."""

PARENTS = (
    *(f"efficientnet-lite{model}" for model in range(5)),
    "mobilenet-v2",
    *(f"{port}mobilenet-v3-{model}" for port in ("", "tf-") for model in ("large", "small")),
    *(f"mobilenet-v4-conv-{model}" for model in ("small", "medium")),
    "ofa-mobilenet-v3",
)
"""Pre-trained networks that a search can start from; each has an elastic space of its name."""

_SPACE = "mobile"

Content = dict[str, Any]


class Configuration(Section):
    """Everything that decides the outcome of a run. Equal configurations give equal results on one machine.

    A preset fills in what is empty. Then space, strategy and evaluator follow the start where they are. From a parent,
    the space is the parent's, and the strategy is replace. Else the space is mobile, and the strategy gumbel on a
    supernet, or metaqnn on trainings from scratch for chains, which share no weights. With `auto`, what is empty stays
    empty until a plan says what the search starts from.
    """

    title: ClassVar[str] = "configuration"
    about: ClassVar[str] = ""

    data: Data = Data()
    target: Target
    space: Space = Space()
    search: Search = Search()
    train: Train = Train()
    compute: Compute = Compute()

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """The sections by their names, in the order of files and help."""
        kinds = {name: info.annotation for name, info in cls.model_fields.items()}
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}

    @classmethod
    def options(cls) -> tuple[Declared, ...]:
        """The options of all sections."""
        return tuple(one for section in cls.sections().values() for one in section.options())

    @cached_property
    def targets(self) -> tuple[DeviceTarget, ...]:
        """The devices, each with its budgets."""
        one = self.target
        if one.targets:
            return parse_targets(one.targets)
        return (DeviceTarget(one.device, one.runtime, one.precision, parse_budgets(one.budget), one.provider),)

    @cached_property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets on all devices, one device after the other, on each the tightest first."""
        return tuple(budget for target in self.targets for budget in target.budgets)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The folder of the results for each of `budgets`; empty for a single one, whose results need none."""
        if len(self.targets) > 1:
            return tuple(f"{one.folder}-{budget.folder}" for one in self.targets for budget in one.budgets)
        return tuple(budget.folder for budget in self.budgets) if len(self.budgets) > 1 else ()

    def at(self, part: str) -> Target:
        """The section of targets as it is for one of `parts` alone: a device with a budget."""
        pairs = [(one, budget) for one in self.targets for budget in one.budgets]
        target, budget = pairs[self.parts.index(part)]
        asked = f"{target.place}:{budget.text}"
        limits = {name: getattr(self.target, name) for name in ("latency", "max_size_kb", "max_peak_kb", "max_drop")}
        return Target.model_validate({"targets": (asked,)} | limits)

    @property
    def from_parent(self) -> bool:
        """Whether the search starts from a pre-trained parent."""
        return self.search.init in PARENTS

    @property
    def started(self) -> bool:
        """Whether the search starts from something that is named, and not from random weights."""
        return self.search.init not in ("", AUTO)

    def changed(self, **sections: Mapping[str, Any]) -> Self:
        """A copy with other values, such as `changed(space={"width": 0.5})`.

        Raises:
            InputError: a name or value is wrong.
        """
        content = self.model_dump()
        for section, values in sections.items():
            content[section] = content.get(section, {}) | dict(values)
        return type(self).model_validate(content)

    def differences(self, other: Configuration) -> list[str]:
        """Options in which `other` differs, each with its value here and there."""
        pairs = [
            (one.place, *(getattr(getattr(config, one.section), one.name) for config in (self, other)))
            for one in self.options()
        ]
        return [f"{place} was {_value(old)} and is {_value(new)}" for place, old, new in pairs if old != new]

    def to_json(self) -> Content:
        """By section and name; what follows the data is left out, and so are targets where there is one device."""
        content = self.model_dump(exclude_none=True)
        if not self.target.targets:
            del content["target"]["targets"]
        return content

    def save(self, path: Path) -> None:
        """Write TOML.

        Raises:
            StorageError: it cannot be written.
        """
        write_text(path, tomli_w.dumps(self.to_json()))

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        """Wrong names are told here, where the options of all sections are at hand."""
        places = {one.place for one in cls.options()}
        for section, values in data.items() if isinstance(data, dict) else ():
            for name in values if section in cls.sections() and isinstance(values, dict) else ():
                if f"{section}.{name}" not in places:
                    raise unknown_option(section, str(name), cls.options())
        return data

    @model_validator(mode="after")
    def _settled(self) -> Self:
        self._follow()
        search = self.search
        if search.init == AUTO:
            return self
        space = self.space.name or (search.init if self.from_parent else _SPACE)
        strategy, evaluator = ("metaqnn", "from-scratch") if space in WITHOUT_SUPERNET else ("gumbel", "one-shot")
        if self.from_parent:
            strategy = "replace"
        settled = {"strategy": search.strategy or strategy, "evaluator": search.evaluator or evaluator}
        object.__setattr__(self, "space", self.space.model_copy(update={"name": space}))
        object.__setattr__(self, "search", search.model_copy(update=settled))
        return self

    def _follow(self) -> None:
        """Fill in what the preset says where nothing else is set."""
        followed = preset(self.search.preset)
        if followed is None:
            return
        values, minutes = {one.place: one.default for one in self.options()}, bool(self.train.minutes)
        for place, value in followed.resolved(minutes=minutes).items():
            section, _, name = place.partition(".")
            own = getattr(self, section)
            if getattr(own, name) == values[place]:
                object.__setattr__(self, section, own.model_copy(update={name: value}))

    @classmethod
    def _refusal(cls, error: ValidationError) -> InputError:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing":
            return cls._without(name)
        if name and name not in cls.sections():
            return unknown_section(name, cls.options())
        return InputError(f"a configuration is made of sections, see {REFERENCE}, not of {shown(first['input'])}")

    @classmethod
    def _without(cls, name: str) -> InputError:
        """The error of a section that is missing: what it needs is named by the section itself."""
        try:
            cls.sections()[name].model_validate({})
        except InputError as error:
            return error
        return InputError(f"a configuration needs the section [{name}]")


def _value(value: object) -> str:
    return "not set" if value is None else shown(value)
