"""The space that something was learned on, as files keep it: names, to find its options again in another instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwnas.arch.primitives import Shape
from hwnas.arch.space import SearchSpace


@dataclass(frozen=True)
class Origin:
    """The instance of a space that something was learned on: enough to find its options by name in another.

    Attributes:
        space: name of the instance.
        input_shape: (channels, height, width) of the images.
        classes: number of logits.
        decisions: name and names of the options of each decision.
        slots: name of each slot, and the decision that fills it, or -1; chains have none.
    """

    space: str
    input_shape: Shape
    classes: int
    decisions: tuple[tuple[str, tuple[str, ...]], ...]
    slots: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, space: SearchSpace) -> Origin:
        decisions = tuple((decision.name, decision.options) for decision in space.decisions)
        slots = tuple((slot.name, -1 if slot.decision is None else slot.decision) for slot in space.slots)
        return cls(space.name, space.input_shape, space.classes, decisions, slots)

    @classmethod
    def from_json(cls, content: Any) -> Origin:
        """What `dataclasses.asdict` gave, after JSON.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        if set(content) != {"space", "input_shape", "classes", "decisions", "slots"}:
            raise ValueError("its space is not described as it should be")
        channels, height, width = map(_whole, content["input_shape"])
        decisions = tuple((text(name), tuple(map(text, options))) for name, options in content["decisions"])
        slots = tuple((text(name), _whole(decision, -1)) for name, decision in content["slots"])
        if any(decision >= len(decisions) for _, decision in slots):
            raise ValueError("a slot of its space names a decision that there is not")
        return cls(text(content["space"]), (channels, height, width), _whole(content["classes"]), decisions, slots)


def text(value: Any) -> str:
    """The value, if it is text.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"a name is expected, not {type(value).__name__}")
    return value


def _whole(value: Any, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"a whole number of at least {least} is expected, not {value!r}")
    return value
