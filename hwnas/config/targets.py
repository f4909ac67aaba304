"""Devices with their budgets as people type them: `pi4:50ms`, `host@litert:5ms,10ms`. They are parsed here alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath

from hwnas.config.budget import Budget, parse_budgets
from hwnas.config.text import shown
from hwnas.errors import InputError
from hwnas.runtimes import known_precision, known_provider, known_runtime

TARGET_RULE = "devices with budgets: DEVICE[@RUNTIME[+PROVIDER][:PRECISION]]:BUDGET[,BUDGET...]"
TARGET_EXAMPLES = "--target pi4:50ms, --target host@litert:5ms,10ms, --target phone.toml@litert:int8:20%"

_PLACE = re.compile(r"(?P<device>.+?)(?:@(?P<runtime>[\w-]*)(?:\+(?P<provider>[\w-]*))?(?::(?P<precision>[\w-]*))?)?")


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """A device with the budgets that networks are to keep there; as text, the way it is typed.

    Attributes:
        device: its id, or the path of its TOML file.
        runtime, precision: of what runs there; empty for the device's own.
        budgets: the tightest first.
        provider: of the runtime; empty for the device's own.
    """

    device: str
    runtime: str
    precision: str
    budgets: tuple[Budget, ...]
    provider: str = ""

    @classmethod
    def parse(cls, text: str) -> DeviceTarget:
        """The target in `text`: `host@litert:int8:5ms,10ms`.

        Raises:
            InputError: the text is none, or names a runtime, a provider or a precision that there is not.
        """
        place, colon, asked = text.strip().rpartition(":")
        match = _PLACE.fullmatch(place)
        if not colon or match is None:
            raise InputError(f"targets are {TARGET_RULE}, not {shown(text)}", hint=f"examples: {TARGET_EXAMPLES}")
        _check_named(text, match)
        try:
            runtime, precision = known_runtime(match["runtime"] or ""), known_precision(match["precision"] or "")
            provider = known_provider(match["provider"] or "")
        except InputError as error:
            raise InputError(f"the target {shown(text)}: {error}", hint=error.hint) from error
        try:
            budgets = parse_budgets(",".join(one.strip().removesuffix("ms") for one in asked.split(",")))
        except InputError as error:
            raise InputError(f"the target {shown(text)}: {error}", hint=f"examples: {TARGET_EXAMPLES}") from error
        return cls(match["device"], runtime, precision, budgets, provider)

    @property
    def runs_there(self) -> dict[str, str]:
        """What runs on the device, as `Device.with_runtime` takes it."""
        return {"runtime": self.runtime, "precision": self.precision, "provider": self.provider}

    @property
    def place(self) -> str:
        """The device with what runs there: `host@litert:int8`, `host@onnxruntime+openvino`."""
        provider, precision = f"+{self.provider}" * bool(self.provider), f":{self.precision}" * bool(self.precision)
        what = f"{self.runtime}{provider}{precision}"
        return f"{self.device}@{what}" if what else self.device

    @property
    def folder(self) -> str:
        """How the folders of its results begin where there are several devices: `host-litert-int8`."""
        path = PurePath(self.device)
        name = path.stem if path.suffix == ".toml" else path.name
        return re.sub(r"[^\w.-]", "-", "-".join(filter(None, (name, self.runtime, self.provider, self.precision))))

    @property
    def names(self) -> tuple[str, ...]:
        """A text for each budget: `host@litert:5ms`."""
        return tuple(f"{self.place}:{budget.text}" for budget in self.budgets)

    def __str__(self) -> str:
        return f"{self.place}:{','.join(budget.text for budget in self.budgets)}"


def _check_named(text: str, place: re.Match[str]) -> None:
    """Refuse signs that nothing follows, as in `host@:5ms`, `host@onnxruntime+:5ms` or `host@litert::5ms`, and names
    that no @ goes before, as in `host+openvino:5ms`.

    Raises:
        InputError: there is one.
    """
    device = place["device"]
    if re.search(r"[+:]", device) and not re.search(r"[/\\]|\.toml$", device):
        name, sign, what = re.split(r"([+:])", device, maxsplit=1)
        raise InputError(
            f"the target {shown(text)}: what runs on a device goes behind @, but {shown(sign + what)} goes without",
            hint=f"{name}@{what}, {name}@+{what} or {name}@:{what} names a runtime, a provider or a precision; "
            f"examples: {TARGET_EXAMPLES}",
        )
    several = place["provider"] is not None or place["precision"] is not None
    for what, sign, needed in (("runtime", "@", not several), ("provider", "+", True), ("precision", ":", True)):
        if place[what] == "" and needed:
            raise InputError(
                f"the target {shown(text)}: the {what} after {sign} is missing",
                hint=f"leave out {sign} for the device's own {what}; examples: {TARGET_EXAMPLES}",
            )


def parse_targets(texts: Iterable[str]) -> tuple[DeviceTarget, ...]:
    """The targets in their order; budgets of one device are taken together.

    Raises:
        InputError: one of them is no target, a budget comes twice, or two devices have one name.
    """
    found: dict[str, DeviceTarget] = {}
    for target in map(DeviceTarget.parse, texts):
        before = found.get(target.place)
        found[target.place] = target if before is None else _joined(before, target)
    folders: dict[str, DeviceTarget] = {}
    for target in found.values():
        if (other := folders.setdefault(target.folder, target)) is not target:
            raise InputError(
                f"the devices of a search have different names, but {other.place} and {target.place} are both "
                f"{target.folder}",
                hint="rename one of their files",
            )
    return tuple(found.values())


def _joined(target: DeviceTarget, other: DeviceTarget) -> DeviceTarget:
    both = (*target.budgets, *other.budgets)
    return replace(target, budgets=parse_budgets(",".join(one.text.removesuffix("ms") for one in both)))


def target_texts(value: object) -> object:
    """The texts of targets as a configuration keeps them; a text may hold several, with spaces between them.

    Where `value` is neither a text nor a sequence of texts, it comes back as it is.

    Raises:
        InputError: a text is no target.
    """
    texts = value.split() if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        return value
    return tuple(map(str, parse_targets(texts)))
