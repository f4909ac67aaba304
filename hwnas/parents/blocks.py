"""A parent's blocks beside the options of a supernet of its elastic space: what each reads, writes, and may become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from hwnas.image_size import Size
from hwnas.nas.supernet import Supernet
from hwnas.parents.inherit import inherit, module_with
from hwnas.parents.parent_weights import ParentWeights

Scores = tuple[tuple[float, ...], ...]
"""A number for every option of every decision."""


class ParentBlocks:
    """The parent, in evaluation mode, op by op, and the options of every slot.

    Attributes:
        space: of the supernet.
        device: that all compute on.
        own: (slot, option) of decisions that are the parent's own op.
        learners: those that are not, and have parameters.
    """

    def __init__(self, supernet: Supernet, weights: ParentWeights, *, device: torch.device | None = None) -> None:
        """Prepare it.

        Raises:
            InputError: the space is not that of the parent.
        """
        self.space, self.device = supernet.space, device or torch.device("cpu")
        channels, height, width = self.space.input_shape
        network = weights.parent.network(
            width=weights.width, resolution=Size(height, width), channels=channels, classes=weights.classes
        )
        self._parent = module_with(network, inherit(weights, network)).eval().to(self.device)
        self._supernet = supernet.to(self.device)
        ops = dict(network.ops)
        specs = {
            (place, option): spec
            for place, slot in enumerate(self.space.slots)
            for option, spec in enumerate(slot.ops)
            if slot.decision is not None
        }
        self.own = {key for key, spec in specs.items() if spec == ops[self.space.slots[key[0]].name]}
        self.learners = [key for key, spec in specs.items() if spec.graph.nodes and key not in self.own]

    def pairs(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What each of the parent's ops reads and writes for images (batch, C, H, W), in order, but the classifier."""
        for slot in self.space.slots[:-1]:
            read, x = x, self._parent.get_submodule(slot.name)(x)
            yield read, x

    def features(self, place: int, written: Tensor) -> Tensor:
        """What the classifier reads (batch, D) where slot `place` has written this, and the parent does the rest."""
        for slot in self.space.slots[place + 1 : -1]:
            written = self._parent.get_submodule(slot.name)(written)
        return written.mean((2, 3))

    def of_network(self, choices: Sequence[int], x: Tensor) -> Tensor:
        """What the classifier reads (batch, D) of the network that takes these options, for images (batch, C, H, W)."""
        for place, slot in enumerate(self.space.slots[:-1]):
            own = self._parent.get_submodule(slot.name)
            x = (own if slot.decision is None else self.option(place, choices[slot.decision]))(x)
        return x.mean((2, 3))

    def option(self, place: int, option: int) -> nn.Module:
        """One option of slot `place`, of the supernet."""
        return self._supernet.get_submodule(f"{self.space.slots[place].name}.{option}")

    def rest(self) -> None:
        """Put all options in evaluation mode."""
        self._supernet.eval()

    def of_decisions(self, values: dict[tuple[int, int], float]) -> Scores:
        """Numbers by (slot, option) as a table by decision and option; slots of one decision add up."""
        table = [[0.0] * count for count in self.space.options]
        for (place, option), value in values.items():
            decision = self.space.slots[place].decision
            if decision is not None:
                table[decision][option] += value
        return tuple(map(tuple, table))
