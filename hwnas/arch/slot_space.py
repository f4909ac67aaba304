"""`SlotSpace`: decisions, and the slots of one shape each that they fill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.arch.groups import Groups, Item, allowed, choices_of, items
from hwnas.arch.network import Network, sources
from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Shape
from hwnas.arch.space import Architecture, Decision, Slot
from hwnas.errors import InputError


@dataclass(frozen=True)
class SlotSpace:
    """Slots that read one another. Several slots may share one decision: that is all a repeated cell is.

    Attributes:
        name: of the instance, for example `mobile@w0.5-r32`; width and resolution are constants of an instance.
        decisions: what is chosen.
        slots: where it goes, in execution order.
        groups: of decisions of which only some may be kept; no decision is in two of them.
        search_norms: kinds of op behind which the supernet puts a batch norm, as DARTS does behind its pools.
        mixed_warmup: whether the shared weights first learn in mixtures of all options (docs/decisions/0034).

    Raises:
        InputError: a slot does not offer one op per option, the ops of a slot do not share input and output shapes, or
            the choices of a group cannot be made.
    """

    name: str
    decisions: tuple[Decision, ...]
    slots: tuple[Slot, ...]
    groups: Groups = ()
    search_norms: tuple[str, ...] = ()
    mixed_warmup: bool = False

    shares_weights: ClassVar[bool] = True
    tilts: ClassVar[tuple[float, float]] = (-4.0, 4.0)

    def __post_init__(self) -> None:
        for slot in self.slots:
            options = 1 if slot.decision is None else len(self.decisions[slot.decision].options)
            if len(slot.ops) != options:
                raise InputError(f"slot {slot.name} offers {len(slot.ops)} ops for {options} options")
            if len({(spec.inputs, spec.input_shape, spec.output_shape) for spec in slot.ops}) != 1:
                raise InputError(f"the ops of slot {slot.name} must all read one shape and write one shape")
        grouped = [decision for group in self.groups for decision in group.decisions]
        if len(set(grouped)) < len(grouped):
            raise InputError(f"a decision of {self.name} belongs to two groups")
        for item in self.items:
            if not item.combinations:
                names = ", ".join(self.decisions[decision].name for decision in item.decisions)
                raise InputError(f"no choices of {names} keep to their group in {self.name}")
        _ = self.network(self.drawn(lambda _: 0))

    @property
    def is_chain(self) -> bool:
        """Whether every slot reads just the one before it."""
        return not any(slot.reads for slot in self.slots)

    @cached_property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the slots that each slot reads; -1 is the input."""
        return sources([slot.name for slot in self.slots], {slot.name: slot.reads for slot in self.slots if slot.reads})

    @property
    def input_shape(self) -> Shape:
        return self.slots[0].ops[0].input_shape

    @property
    def classes(self) -> int:
        return self.slots[-1].ops[0].cout

    @property
    def signature(self) -> str:
        """Name of the instance with its input channels and classes, for example `mobile@w0.5-r32-i3-o10`."""
        return f"{self.name}-i{self.input_shape[0]}-o{self.classes}"

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(item.combinations) for item in self.items)

    @property
    def options(self) -> tuple[int, ...]:
        """Number of options of each decision."""
        return tuple(len(decision.options) for decision in self.decisions)

    @property
    def items(self) -> tuple[Item, ...]:
        """What can be chosen independently: the groups, and the decisions that are in none."""
        return items(self.options, self.groups)

    @cached_property
    def ops(self) -> tuple[OpSpec, ...]:
        """Every op that costs something, once, in order of first use: the rows that a latency table needs."""
        return tuple(dict.fromkeys(spec for slot in self.slots for spec in slot.ops if spec.graph.nodes))

    def costs(self, row: Callable[[OpSpec], float]) -> AdditiveCosts:
        """What architectures cost where an op costs `row(op)`; ops that lower to nothing are not asked for."""
        fixed = 0.0
        table = [[0.0] * len(decision.options) for decision in self.decisions]
        for slot in self.slots:
            costs = [row(spec) if spec.graph.nodes else 0.0 for spec in slot.ops]
            if slot.decision is None:
                fixed += costs[0]
            else:
                for option, cost in enumerate(costs):
                    table[slot.decision][option] += cost
        return AdditiveCosts(tuple(map(tuple, table)), self.groups, fixed)

    def restricted(self, kept: Sequence[Sequence[int]]) -> SlotSpace:
        """The same space with fewer options per decision: those whose indices are in `kept[decision]`, in that order.

        Its ops cost what they cost here, so tables and calibrations of this space serve it; choices count what is left.

        Raises:
            InputError: a decision keeps no option.
        """
        decisions = []
        for decision, options in zip(self.decisions, kept, strict=True):
            if not options:
                raise InputError(f"decision {decision.name} must keep at least one option of {self.name}")
            decisions.append(Decision(decision.name, tuple(decision.options[option] for option in options)))
        slots = (
            slot if slot.decision is None else replace(slot, ops=tuple(slot.ops[k] for k in kept[slot.decision]))
            for slot in self.slots
        )
        groups = tuple(group.restricted(kept) for group in self.groups)
        return replace(self, decisions=tuple(decisions), slots=tuple(slots), groups=groups)

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """Checked genotype.

        Raises:
            InputError: the number of choices or an option index is wrong, or a group is not kept to.
        """
        choices = tuple(int(choice) for choice in choices)
        if len(choices) != len(self.decisions):
            raise InputError(f"{self.name} has {len(self.decisions)} decisions, not {len(choices)}")
        for choice, decision in zip(choices, self.decisions, strict=True):
            if not 0 <= choice < len(decision.options):
                raise InputError(f"decision {decision.name} has options 0..{len(decision.options) - 1}, not {choice}")
        for group in self.groups:
            if len(group.kept(choices)) != group.keep:
                names = [self.decisions[decision].name for decision in group.decisions]
                raise InputError(f"{self.name} keeps {group.keep} of {_names(names)}, not {len(group.kept(choices))}")
        return Architecture(self.name, choices)

    def drawn(self, index: Callable[[int], int]) -> Architecture:
        """The architecture for which `index(n)` picks one of the n choices of each item, in order."""
        found = self.items
        return Architecture(self.name, choices_of(found, [int(index(len(item.combinations))) for item in found]))

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options of decision `len(prefix)` can still be completed to an architecture of the space."""
        return allowed(self.options, self.groups, tuple(prefix))

    def network(self, architecture: Architecture) -> Network:
        """The network of a genotype; skipped slots stay in it as ops that lower to nothing."""
        if architecture.space != self.name:
            raise InputError(f"an architecture of {architecture.space} does not belong to {self.name}")
        choices = architecture.choices
        picked = tuple(
            (slot.name, slot.ops[0 if slot.decision is None else choices[slot.decision]]) for slot in self.slots
        )
        if not self.groups:
            return Network(picked, tuple((slot.name, slot.reads) for slot in self.slots if slot.reads))
        off = {d for group in self.groups for d in group.decisions} - {d for g in self.groups for d in g.kept(choices)}
        left_out = {slot.name for slot in self.slots if slot.decision in off}
        reads = (
            (slot.name, _fewer(slot.reads, left_out) if len(slot.reads) > spec.inputs else slot.reads)
            for slot, (_, spec) in zip(self.slots, picked, strict=True)
            if slot.reads
        )
        return Network(picked, tuple(reads))

    def describe(self, architecture: Architecture) -> dict[str, str]:
        """Option name per decision name."""
        pairs = zip(self.decisions, architecture.choices, strict=True)
        return {decision.name: decision.options[choice] for decision, choice in pairs}

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture; for small spaces only."""
        found = self.items
        for picked in itertools.product(*(range(len(item.combinations)) for item in found)):
            yield Architecture(self.name, choices_of(found, picked))


def _fewer(names: Sequence[str], left_out: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in left_out)


def _names(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]))
