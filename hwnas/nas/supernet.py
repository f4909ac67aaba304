"""The supernet: every option of every slot with weights of its own. Which ones compute is said from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hwnas.arch.op import OpSpec
from hwnas.arch.space import Architecture, SearchSpace, Slot
from hwnas.backends.torch import GraphModule, NetworkModule, Shared, initialise, network_module


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
    Equal ops without weights that read the same slot have it in common, and are computed once a pass; so are the
    activations that ops apply to what they read.

    Attributes:
        settled: whether the statistics of norms hold for every network, so that none are estimated anew for one; a step
            on the shared weights ends that.
        auxiliary_skip: what is added to the weight of the skip wherever a slot mixes its options (`AuxiliarySkip`).
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space, self.settled, self.auxiliary_skip = space, False, 0.0
        norms: dict[tuple[OpSpec, tuple[int, ...]], nn.BatchNorm2d] = {}
        for slot, places in zip(space.slots, space.sources, strict=True):
            # What joins the kept edges of a group joins all of them here.
            specs = [replace(spec, inputs=len(places)) for spec in slot.ops]
            options = nn.ModuleList([GraphModule(spec.graph) for spec in specs])
            for k, spec in enumerate(specs):
                if spec.kind in space.search_norms:
                    options[k] = _Normed(spec, norms.setdefault((spec, places), _search_norm(spec.cout)))
            self.add_module(slot.name, options)
        self._slots = [
            (self.get_submodule(slot.name), slot, places)
            for slot, places in zip(space.slots, space.sources, strict=True)
        ]
        initialise(self)

    def forward(self, x: Tensor, gates: Sequence[Gate]) -> Tensor:
        """Logits (batch, classes) of images `x` (batch, C, H, W) with one gate per decision."""
        made: list[Tensor] = []
        shared = Shared()
        for options, slot, places in self._slots:
            maps = [made[place] if place >= 0 else x for place in places]
            gate = _FIXED if slot.decision is None else gates[slot.decision]
            if self.auxiliary_skip:
                gate = with_skip(gate, skip_of(slot), self.auxiliary_skip)
            made.append(_mixed(options, maps, gate, shared, weighted=slot.weighted))
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


def skip_of(slot: Slot) -> int:
    """The option of a slot that is a skip, or a factorised reduction in its place; -1 where there is none."""
    options = slot.ops if slot.weighted else ()
    return next((k for k, spec in enumerate(options) if spec.kind in ("skip", "reduce")), -1)


def with_skip(gate: Gate, skip: int, weight: float) -> Gate:
    """The gate with so much added to the weight of option `skip`; as it is where that is not mixed with others."""
    if gate.weights is None or skip not in gate.active:
        return gate
    one_hot = torch.tensor([float(option == skip) for option in gate.active]).to(gate.weights)
    return replace(gate, weights=gate.weights + weight * one_hot)


class _Normed(GraphModule):
    def __init__(self, spec: OpSpec, norm: nn.BatchNorm2d) -> None:
        super().__init__(spec.graph)
        self.search_norm = norm

    def forward(self, *maps: Tensor, shared: Shared | None = None) -> Tensor:
        shared = shared or Shared()
        return shared(self.search_norm, super().forward(*maps, shared=shared))


def _search_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, affine=False)
    norm.num_batches_tracked = None
    return norm


def _mixed(options: nn.Module, maps: Sequence[Tensor], gate: Gate, shared: Shared, *, weighted: bool) -> Tensor:
    assert isinstance(options, nn.ModuleList)
    if gate.weights is None:
        return options[gate.active[0]](*maps, shared=shared)  # type: ignore[no-any-return]
    weights = gate.weights if weighted else [1.0] * len(gate.active)
    pairs = [(weight, options[k]) for k, weight in zip(gate.active, weights, strict=True)]
    pairs = [(weight, option) for weight, option in pairs if not option.zero] or pairs[:1]
    first, *rest = (weight * option(*maps, shared=shared) for weight, option in pairs)
    return sum(rest, start=first)  # type: ignore[no-any-return]
