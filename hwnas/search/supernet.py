"""The supernet: every option of every slot with weights of its own. Which ones compute is said from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hwnas.arch.op import OpSpec
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.backends.torch import GraphModule, NetworkModule, initialise, network_module


@dataclass(frozen=True, slots=True)
class Gate:
    """What one decision does in one forward pass.

    Attributes:
        active: the options that are computed.
        weights: (len(active),) factors of their outputs, or None for a single option with factor one.
    """

    active: tuple[int, ...]
    weights: Tensor | None = None


class Supernet(nn.Module):
    """Mixed op of every slot: `Σ_k weights[k] · ops[k](x)` over the active options k. No architecture parameters here.

    Slots that are not `weighted` just sum: what their decision weighs comes later, and is to be weighed once.

    The parameters of option k of slot `s` are called `s.k.<primitive>.<parameter>`; those of the network that chose it
    are `s.<primitive>.<parameter>`.

    Behind the kinds of op that the space names is a batch norm without scale and shift, which is the supernet's alone:
    weights can then be compared although such an op has no norm of its own, and an extracted network is without it.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        for slot, places in zip(space.slots, space.sources, strict=True):
            # What joins the kept edges of a group joins all of them here.
            specs = [replace(spec, inputs=len(places)) for spec in slot.ops]
            self.add_module(slot.name, nn.ModuleList([_option(spec, space.search_norms) for spec in specs]))
        self._slots = [
            (self.get_submodule(slot.name), slot, places)
            for slot, places in zip(space.slots, space.sources, strict=True)
        ]
        initialise(self)

    def forward(self, x: Tensor, gates: Sequence[Gate]) -> Tensor:
        """Logits (batch, classes) of images `x` (batch, C, H, W) with one gate per decision."""
        made: list[Tensor] = []
        for options, slot, places in self._slots:
            maps = [made[place] if place >= 0 else x for place in places]
            gate = _FIXED if slot.decision is None else gates[slot.decision]
            made.append(_mixed(options, maps, gate, weighted=slot.weighted))
        return made[-1]

    def extract(self, architecture: Architecture) -> NetworkModule:
        """The network of `architecture` as a module of its own, with a copy of the shared weights."""
        module = network_module(self.space.network(architecture))
        with torch.no_grad():
            source = self.state_dict()
            for slot in self.space.slots:
                option = 0 if slot.decision is None else architecture.choices[slot.decision]
                part = module.get_submodule(slot.name)
                for name, tensor in part.state_dict().items():
                    tensor.copy_(source[f"{slot.name}.{option}.{name}"])
        return module.to(next(self.parameters()).device)


_FIXED = Gate((0,))


def single_path(choices: Sequence[int]) -> list[Gate]:
    """The gates of one architecture."""
    return [Gate((int(choice),)) for choice in choices]


class _Normed(nn.Module):
    def __init__(self, graph: GraphModule, channels: int) -> None:
        super().__init__()
        self.op = graph
        self.search_norm = nn.BatchNorm2d(channels, affine=False)
        self.search_norm.num_batches_tracked = None

    def forward(self, *maps: Tensor) -> Tensor:
        return self.search_norm(self.op(*maps))  # type: ignore[no-any-return]


def _option(spec: OpSpec, search_norms: Sequence[str]) -> nn.Module:
    graph = GraphModule(spec.graph)
    return _Normed(graph, spec.cout) if spec.kind in search_norms else graph


def _mixed(options: nn.Module, maps: Sequence[Tensor], gate: Gate, *, weighted: bool) -> Tensor:
    assert isinstance(options, nn.ModuleList)
    if gate.weights is None:
        return options[gate.active[0]](*maps)  # type: ignore[no-any-return]
    weights = gate.weights if weighted else [1.0] * len(gate.active)
    first, *rest = (weight * options[k](*maps) for k, weight in zip(gate.active, weights, strict=True))
    return sum(rest, start=first)  # type: ignore[no-any-return]
