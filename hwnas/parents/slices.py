"""A block's weights out of those of a larger one: channels by importance, kernels by their centre.

A smaller kernel takes a pixel that it does not see for the nearest one that it sees. A channel that is left out is
taken for its mean, which what is behind it takes up, so that the means of a slice are those of the parent. Behind a
norm and an activation it is a Gaussian with the norm's shift and scale that went through the activation; no image is
needed. A gate is that of an image whose channels are at their means.

A depthwise convolution that goes is one that sees its own pixel alone. Before the expansion it is linear, and the
expansion takes it up; behind it, the expansion gets its norm, so that channels keep mean and deviation.

A supernet has learned both itself: its kernels shrink by the transforms that it brings, and its first channels are its
most important ones (Cai et al., 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import NORM_EPSILON
from hwnas.arch.spaces.elastic import BLOCKS
from hwnas.backends.torch import activation_function
from hwnas.errors import InputError

_QUANTILES = 256


def sliced(own: OpSpec, wanted: OpSpec, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and statistics of `wanted` from those of `own`, by their names within the op.

    Raises:
        InputError: `wanted` is not inside of `own`.
    """
    images = own.kind == "conv" and own.cin == 3
    same = replace(own, height=wanted.height, width=wanted.width, cin=wanted.cin if images else own.cin)
    found = {name: tensors[name] for name in own.graph.parameters() | own.graph.statistics()}
    transforms = {name: value for name, value in tensors.items() if name not in found}
    if wanted != same:
        if not _inside(same, wanted):
            raise InputError(
                f"{wanted.key} is not inside of {own.key}", hint="use a network of the parent's elastic space"
            )
        _shrink_kernels(found, transforms, own, wanted)
        if wanted.inner < own.inner:
            _drop_channels(found, wanted, in_order=bool(transforms))
    kept = wanted.graph.parameters() | wanted.graph.statistics()
    return {name: found[name] for name in kept}


def importance(spec: OpSpec, tensors: Mapping[str, Tensor]) -> Tensor:
    """What each of a block's inner channels is worth (inner,): the squared error that its mean in its place makes.

    In the block's output, over the deviation that its norm divides by: the channel's variance times the squared weights
    that read it, and the squared gate.
    """
    mean, variance = _moments(spec, tensors)
    scale = tensors["project.norm.weight"] / tensors["project.norm.running_var"].clamp_min(1e-12).sqrt()
    read = (scale[:, None] * tensors["project.weight"].flatten(1)).square().sum(0)
    return variance * _gates(tensors, mean).square() * read


def _inside(own: OpSpec, wanted: OpSpec) -> bool:
    if own.kind not in BLOCKS or wanted.kind != own.kind:
        return False
    inner = wanted.inner == own.inner or own.cin < wanted.inner < own.inner
    kernel = wanted.kernel == own.kernel or (own.kind != "fused" and wanted.kernel < own.kernel)
    alike = wanted.with_inner(own.inner) == replace(own, kernel=wanted.kernel, start=wanted.start)
    return alike and inner and kernel and wanted.start <= own.start


def _shrink_kernels(tensors: dict[str, Tensor], transforms: Mapping[str, Tensor], own: OpSpec, wanted: OpSpec) -> None:
    if wanted.start < own.start:
        if wanted.start == 1:
            _fold_start(tensors)
        else:
            tensors["start.weight"] = _smaller_kernel(tensors["start.weight"], wanted.start)
    if wanted.kernel < own.kernel:
        if wanted.kernel == 1 and own.kind == "uib":
            _leave_out_depthwise(tensors)
        else:
            tensors["depthwise.weight"] = _transformed(tensors["depthwise.weight"], transforms, wanted.kernel)


def _transformed(weight: Tensor, transforms: Mapping[str, Tensor], kernel: int) -> Tensor:
    """A depthwise kernel (C, 1, K, K) as a smaller one, by the transforms of a supernet where there are some."""
    while (size := weight.shape[-1]) > kernel:
        matrix = transforms.get(f"depthwise.{size}to{size - 2}")
        if matrix is None:
            return _smaller_kernel(weight, kernel)
        centre = weight[..., 1:-1, 1:-1]
        weight = (centre.flatten(1) @ matrix.T).reshape(centre.shape)
    return weight


def _smaller_kernel(weight: Tensor, kernel: int) -> Tensor:
    """A depthwise kernel (C, 1, K, K) whose outer weights are added to the nearest of those within `kernel`."""
    own = weight.shape[-1]
    nearest = (torch.arange(own) - (own - kernel) // 2).clamp(0, kernel - 1)
    rows = weight.new_zeros((len(weight), 1, kernel, own)).index_add(2, nearest, weight)
    return weight.new_zeros((len(weight), 1, kernel, kernel)).index_add(3, nearest, rows)


def _fold_start(tensors: dict[str, Tensor]) -> None:
    """The expansion reads each channel as the depthwise convolution in front makes it of a constant map."""
    scale = tensors["start.norm.weight"] / (tensors["start.norm.running_var"] + NORM_EPSILON).sqrt()
    shift = tensors["start.norm.bias"] - tensors["start.norm.running_mean"] * scale
    factor = scale * tensors["start.weight"].flatten(1).sum(1)
    expand = tensors["expand.weight"]
    tensors["expand.norm.running_mean"] = tensors["expand.norm.running_mean"] - expand.flatten(1) @ shift
    tensors["expand.weight"] = expand * factor[:, None, None]


def _leave_out_depthwise(tensors: dict[str, Tensor]) -> None:
    """Channels of the deviation and mean that they had behind the depthwise convolution, of the sign that it gives."""
    scale = tensors["depthwise.norm.weight"]
    turned = (tensors["depthwise.weight"].flatten(1).sum(1) < 0) ^ (tensors["expand.norm.weight"] < 0)
    tensors["expand.norm.weight"] = torch.where(turned, -scale, scale)
    tensors["expand.norm.bias"] = tensors["depthwise.norm.bias"]
    for name in [name for name in tensors if name.startswith("depthwise.")]:
        del tensors[name]


def _drop_channels(tensors: dict[str, Tensor], wanted: OpSpec, *, in_order: bool) -> None:
    """The most important inner channels, in their order; what the others added on average leaves the norm's mean."""
    kept, lost = _split(importance(wanted, tensors), wanted.inner, in_order=in_order)
    mean, variance = _moments(wanted, tensors)
    project, gates = tensors["project.weight"], _gates(tensors, mean)
    added = project.flatten(1)[:, lost] @ (gates * mean)[lost]
    tensors["project.norm.running_mean"] = tensors["project.norm.running_mean"] - added
    tensors["project.weight"] = project[:, kept].contiguous()
    for name in [name for name in tensors if name.startswith(("expand.", "depthwise.", "excite."))]:
        tensors[name] = tensors[name][kept].contiguous()
    if "squeeze.weight" in tensors:
        read = tensors["squeeze.weight"].flatten(1)[:, lost] @ mean[lost]
        tensors["squeeze.bias"] = tensors["squeeze.bias"] + read
        tensors["squeeze.weight"] = tensors["squeeze.weight"][:, kept].contiguous()
        _drop_squeezed(tensors, wanted, mean[kept], variance[kept], in_order=in_order)


def _drop_squeezed(
    tensors: dict[str, Tensor], wanted: OpSpec, mean: Tensor, variance: Tensor, *, in_order: bool
) -> None:
    """Fewer squeezed channels, as there are fewer to gate; the others keep their value at the means."""
    count = wanted.graph.parameters()["squeeze.bias"][0]
    squeeze, excite = tensors["squeeze.weight"].flatten(1), tensors["excite.weight"].flatten(1)
    worth = (squeeze.square() @ variance) * excite.square().sum(0)
    kept, lost = _split(worth, count, in_order=in_order)
    value = F.relu(squeeze @ mean + tensors["squeeze.bias"])
    tensors["excite.bias"] = tensors["excite.bias"] + excite[:, lost] @ value[lost]
    tensors["excite.weight"] = tensors["excite.weight"][:, kept].contiguous()
    for name in ("squeeze.weight", "squeeze.bias"):
        tensors[name] = tensors[name][kept].contiguous()


def _split(worth: Tensor, count: int, *, in_order: bool) -> tuple[Tensor, Tensor]:
    """Channels to keep, in their order, and those to leave out: the last ones, or those that are worth least."""
    order = torch.arange(len(worth)) if in_order else worth.argsort(descending=True, stable=True)
    return order[:count].sort().values, order[count:]


def _gates(tensors: Mapping[str, Tensor], mean: Tensor) -> Tensor:
    """What squeeze-excite multiplies channels with where they are at their means."""
    if "squeeze.weight" not in tensors:
        return torch.ones_like(mean)
    squeezed = F.relu(tensors["squeeze.weight"].flatten(1) @ mean + tensors["squeeze.bias"])
    return F.hardsigmoid(tensors["excite.weight"].flatten(1) @ squeezed + tensors["excite.bias"])


def _moments(spec: OpSpec, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each inner channel, behind the last norm and activation before the projection."""
    part = "depthwise" if "depthwise.weight" in tensors else "expand"
    shift, scale = tensors[f"{part}.norm.bias"].double(), tensors[f"{part}.norm.weight"].double().abs()
    levels = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    values = activation_function(spec.act)(shift[:, None] + scale[:, None] * torch.special.ndtri(levels))
    return values.mean(1).float(), values.var(1, correction=0).float()
