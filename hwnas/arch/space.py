"""`SearchSpace`: all that a search asks of a space; and `Architecture`, one choice per decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hwnas.arch.choice_costs import ChoiceCosts
from hwnas.arch.groups import Groups
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Shape


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing to choose: its name and the names of its options."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the network: `ops[k]` fills it when its decision takes option k; without a decision, `ops[0]`.

    Attributes:
        reads: names of the slots that it reads, or `INPUT`; empty where that is the slot before it. Where there are
            more names than its op reads maps, those are left out that a group of the space leaves out.
        weighted: whether a supernet weighs what its options make; False where a later slot of the decision does so.
    """

    name: str
    ops: tuple[OpSpec, ...]
    decision: int | None = None
    reads: tuple[str, ...] = ()
    weighted: bool = True


@dataclass(frozen=True, slots=True)
class Architecture:
    """The genotype: option index per decision of the space named `space`."""

    space: str
    choices: tuple[int, ...]


class SearchSpace(Protocol):
    """Decisions, and the network behind every choice of their options. Nobody has to know more of a space."""

    @property
    def name(self) -> str:
        """Of the instance, for example `mobile@w0.5-r32`."""
        ...

    @property
    def signature(self) -> str:
        """Name of the instance with its input channels and classes, for example `mobile@w0.5-r32-i3-o10`."""
        ...

    @property
    def input_shape(self) -> Shape: ...

    @property
    def classes(self) -> int: ...

    @property
    def decisions(self) -> tuple[Decision, ...]: ...

    @property
    def options(self) -> tuple[int, ...]:
        """Number of options of each decision."""
        ...

    @property
    def groups(self) -> Groups:
        """Decisions of which only some may be kept."""
        ...

    @property
    def size(self) -> int:
        """Number of architectures."""
        ...

    @property
    def ops(self) -> tuple[OpSpec, ...]:
        """Every op that costs something, once: the rows that a latency table needs."""
        ...

    @property
    def shares_weights(self) -> bool:
        """Whether one supernet can hold the weights of all networks."""
        ...

    @property
    def mixed_warmup(self) -> bool:
        """Whether shared weights first learn in mixtures of all options."""
        ...

    @property
    def search_norms(self) -> tuple[str, ...]:
        """Kinds of op behind which the supernet puts a batch norm."""
        ...

    @property
    def slots(self) -> tuple[Slot, ...]:
        """In execution order; none where an op depends on the choices before it."""
        ...

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the slots that each slot reads; -1 is the input."""
        ...

    @property
    def is_chain(self) -> bool:
        """Whether every op reads just the one before it."""
        ...

    @property
    def tilts(self) -> tuple[float, float]:
        """Smallest and largest t for which options drawn with odds exp(t · work) spread over all sizes of networks."""
        ...

    def costs(self, row: Callable[[OpSpec], float], /) -> ChoiceCosts:
        """What architectures cost where an op costs `row(op)`."""
        ...

    def restricted(self, kept: Sequence[Sequence[int]], /) -> SearchSpace:
        """The same space with only the options `kept` of each decision.

        Raises:
            InputError: a decision keeps no option, or the space cannot do without one.
        """
        ...

    def architecture(self, choices: Sequence[int], /) -> Architecture:
        """Checked genotype.

        Raises:
            InputError: the choices are none of this space.
        """
        ...

    def drawn(self, index: Callable[[int], int], /) -> Architecture:
        """The architecture for which `index(n)` picks one of n choices, in order."""
        ...

    def network(self, architecture: Architecture, /) -> Network:
        """The network of a genotype."""
        ...

    def describe(self, architecture: Architecture, /) -> dict[str, str]:
        """Option name per decision name."""
        ...
