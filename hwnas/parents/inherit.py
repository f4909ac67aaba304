"""Weights of a parent for the networks inside of it: channels by importance, kernels by their centre.

A smaller kernel takes a pixel that it does not see for the nearest one that it sees. A channel that is left out is
taken for its mean, which the norm behind it takes up, so that the means of a slice are those of the parent. Behind a
norm and an activation it is a Gaussian with the norm's shift and scale that went through the activation; no image is
needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import NetworkModule, activation_function, network_module
from hwnas.errors import InputError
from hwnas.nas.start import Start
from hwnas.parents.parent_weights import ParentWeights

_QUANTILES = 256


def inherit(weights: ParentWeights, network: Network) -> dict[str, Tensor]:
    """State of `network_module(network)` from a parent, without the classifier where it has other classes.

    Args:
        network: a member of the parent's elastic space, for colour images, or for grey ones where the parent treats its
            channels alike: they are read as colour images without colour.

    Raises:
        InputError: the network is not inside of the parent.
    """
    found: dict[str, Tensor] = {}
    for name, spec in network.ops:
        found |= {f"{name}.{part}": value for part, value in _inherited(weights, name, spec)}
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
    for slot in space.slots:
        for option, spec in enumerate(slot.ops):
            parts = _inherited(weights, slot.name, spec)
            found |= {f"{slot.name}.{option}.{part}": value for part, value in parts}
    return Start(found)


def _inherited(weights: ParentWeights, name: str, spec: OpSpec) -> Iterator[tuple[str, Tensor]]:
    """Pairs of a parameter's name within an op and its value."""
    own = dict(weights.network().ops).get(name)
    if own is None:
        raise InputError(f"{weights.parent.name} has no op called {name!r}", hint="use a network of its elastic space")
    if not spec.graph.nodes or (spec.kind == own.kind == "classifier" and spec.cout != own.cout):
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


def sliced(own: OpSpec, wanted: OpSpec, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and statistics of `wanted` from those of `own`, by their names within the op.

    Raises:
        InputError: `wanted` is not inside of `own`.
    """
    same = replace(own, height=wanted.height, width=wanted.width, cin=wanted.cin if own.kind == "conv" else own.cin)
    if wanted == same:
        return dict(tensors)
    alike = wanted == replace(same, kernel=wanted.kernel, expand=wanted.expand)
    inside = wanted.kernel <= own.kernel and (wanted.expand == own.expand or 2 <= wanted.expand < own.expand)
    if own.kind != "mbconv" or own.se or not alike or not inside:
        raise InputError(f"{wanted.key} is not inside of {own.key}", hint="use a network of the parent's elastic space")
    found = dict(tensors)
    if wanted.kernel < own.kernel:
        found["depthwise.weight"] = _smaller_kernel(found["depthwise.weight"], wanted.kernel)
    if wanted.expand < own.expand:
        _drop_channels(found, wanted)
    return found


def importance(spec: OpSpec, tensors: Mapping[str, Tensor]) -> Tensor:
    """What each of a block's inner channels is worth (inner,): the squared error that its mean in its place makes.

    In the block's output, over the deviation that its norm divides by: the channel's variance times the squared weights
    that read it.
    """
    _, variance = _moments(spec, tensors, "depthwise")
    scale = tensors["project.norm.weight"] / tensors["project.norm.running_var"].clamp_min(1e-12).sqrt()
    return variance * (scale[:, None] * tensors["project.weight"].flatten(1)).square().sum(0)


def _smaller_kernel(weight: Tensor, kernel: int) -> Tensor:
    """A depthwise kernel (C, 1, K, K) whose outer weights are added to the nearest of those within `kernel`."""
    own = weight.shape[-1]
    nearest = (torch.arange(own) - (own - kernel) // 2).clamp(0, kernel - 1)
    rows = weight.new_zeros((len(weight), 1, kernel, own)).index_add(2, nearest, weight)
    return weight.new_zeros((len(weight), 1, kernel, kernel)).index_add(3, nearest, rows)


def _drop_channels(tensors: dict[str, Tensor], wanted: OpSpec) -> None:
    """The most important inner channels, in their order; what the others added on average leaves the norm's mean."""
    inner = wanted.cin * wanted.expand
    order = importance(wanted, tensors).argsort(descending=True, stable=True)
    kept, lost = order[:inner].sort().values, order[inner:]
    mean, _ = _moments(wanted, tensors, "depthwise")
    added = tensors["project.weight"].flatten(1)[:, lost] @ mean[lost]
    tensors["project.norm.running_mean"] = tensors["project.norm.running_mean"] - added
    tensors["project.weight"] = tensors["project.weight"][:, kept].contiguous()
    for name in [name for name in tensors if name.startswith(("expand.", "depthwise."))]:
        tensors[name] = tensors[name][kept].contiguous()


def _moments(spec: OpSpec, tensors: Mapping[str, Tensor], part: str) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel behind the norm and the activation of one convolution."""
    shift, scale = tensors[f"{part}.norm.bias"].double(), tensors[f"{part}.norm.weight"].double().abs()
    levels = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    values = activation_function(spec.act)(shift[:, None] + scale[:, None] * torch.special.ndtri(levels))
    return values.mean(1).float(), values.var(1, correction=0).float()
