"""The space that something was learned on, as files keep it: names, to find its options again in another instance."""

from __future__ import annotations

from dataclasses import dataclass

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

    Raises:
        ValueError: a number is too small, or a slot names no decision.
    """

    space: str
    input_shape: Shape
    classes: int
    decisions: tuple[tuple[str, tuple[str, ...]], ...]
    slots: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        if min(*self.input_shape, self.classes) < 1:
            raise ValueError("its input_shape and classes must be at least 1")
        if not all(-1 <= decision < len(self.decisions) for _, decision in self.slots):
            raise ValueError("a slot names a decision that there is not")

    @classmethod
    def of(cls, space: SearchSpace) -> Origin:
        decisions = tuple((decision.name, decision.options) for decision in space.decisions)
        slots = tuple((slot.name, -1 if slot.decision is None else slot.decision) for slot in space.slots)
        return cls(space.name, space.input_shape, space.classes, decisions, slots)
