"""Weights of a parent for the networks inside of it, op by op; `slices` says how a block becomes a smaller one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import NetworkModule, network_module
from hwnas.errors import InputError
from hwnas.nas.start import Start
from hwnas.parents.parent_weights import ParentWeights
from hwnas.parents.slices import sliced


def inherit(weights: ParentWeights, network: Network) -> dict[str, Tensor]:
    """State of `network_module(network)` from a parent, without the classifier where it has other classes.

    Args:
        network: a member of the parent's elastic space, for colour images, or for grey ones where the parent treats its
            channels alike: they are read as colour images without colour.

    Raises:
        InputError: the network is not inside of the parent.
    """
    found: dict[str, Tensor] = {}
    ops = dict(weights.network().ops)
    for name, spec in network.ops:
        found |= {f"{name}.{part}": value for part, value in _inherited(weights, ops, name, spec)}
    return found


def module_with(network: Network, state: Mapping[str, Tensor]) -> NetworkModule:
    """The network as a module with a copy of `state`; what is not in there, such as a new classifier, is random."""
    module = network_module(network)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name in state:
                value.copy_(state[name])
    return module


def inherited_start(weights: ParentWeights, space: SearchSpace) -> Start:
    """Weights of a supernet of the parent's elastic space: every option as a slice of the parent.

    Raises:
        InputError: the space is not that of the parent.
    """
    found: dict[str, Tensor] = {}
    ops = dict(weights.network().ops)
    for slot in space.slots:
        for option, spec in enumerate(slot.ops):
            parts = _inherited(weights, ops, slot.name, spec)
            found |= {f"{slot.name}.{option}.{part}": value for part, value in parts}
    return Start(found)


def _inherited(
    weights: ParentWeights, ops: Mapping[str, OpSpec], name: str, spec: OpSpec
) -> Iterator[tuple[str, Tensor]]:
    """Pairs of a parameter's name within an op and its value, where the parent's `ops` are these."""
    own = ops.get(name)
    if own is None:
        raise InputError(f"{weights.parent.name} has no op called {name!r}", hint="use a network of its elastic space")
    classifies = spec.kind == own.kind and own.kind.endswith("classifier")
    if not spec.graph.nodes or (classifies and spec.cout != own.cout):
        return
    prefix = f"{name}."
    tensors = {key.removeprefix(prefix): value for key, value in weights.tensors.items() if key.startswith(prefix)}
    yield from sliced(own, spec, _of_channels(weights, own, spec, tensors)).items()


def _of_channels(weights: ParentWeights, own: OpSpec, wanted: OpSpec, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The stem's weights for grey images: what it makes of three equal channels."""
    if own.kind != "conv" or own.cin != 3 or wanted.cin == own.cin:
        return tensors
    weights.parent.preprocessing.of_channels(wanted.cin)
    return tensors | {"conv.weight": tensors["conv.weight"].sum(1, keepdim=True)}
