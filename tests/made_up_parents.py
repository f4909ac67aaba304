"""Parents that are small enough for tests: narrow ones of the known families, with weights that move."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from hwnas.arch import SlotSpace, space_instance
from hwnas.backends.parity import trained_like
from hwnas.backends.torch import network_module
from hwnas.parents import ParentWeights, find_parent
from hwnas.parents.checkpoint_names import Naming

WIDTH, SIZE, CLASSES = 0.1, 32, 5


@cache
def made_up(name: str = "efficientnet-lite0") -> ParentWeights:
    parent = find_parent(name)
    network = parent.network(width=WIDTH, resolution=SIZE, classes=CLASSES)
    torch.manual_seed(0)
    module = network_module(network)
    trained_like(module, network, 0)
    tensors = {key: value.clone() for key, value in module.state_dict().items()}
    for key, shape in parent.shapes(network).items():
        if key not in tensors:  # a transform of kernels
            tensors[key] = torch.eye(shape[0]) + 0.1 * torch.randn(shape)
    for key in parent.namings[0].zeros:
        tensors[key].zero_()
    return ParentWeights(parent, WIDTH, CLASSES, tensors, "made up", "0" * 64)


def elastic_space(
    name: str = "efficientnet-lite0", resolution: int = SIZE, channels: int = 3, classes: int = CLASSES
) -> SlotSpace:
    space = space_instance(name, width=WIDTH, resolution=resolution, channels=channels, classes=classes)
    assert isinstance(space, SlotSpace)
    return space


def checkpoint(weights: ParentWeights, naming: Naming) -> dict[str, Tensor]:
    """The weights as a library stores them."""
    names = naming.names(weights.network(), weights.tensors)
    state = {theirs: weights.tensors[ours].clone() for ours, theirs in names.items()}
    counted = {f"{key.removesuffix('running_var')}num_batches_tracked" for key in state if key.endswith("running_var")}
    return state | {key: torch.tensor(7) for key in sorted(counted)}


def saved(path: Path, weights: ParentWeights, naming: Naming) -> Path:
    torch.save(checkpoint(weights, naming), path)
    return path
