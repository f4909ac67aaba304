"""Which parameters of a network are decayed, and at what share of the learning rate each stage of it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from hwnas.errors import InputError
from hwnas.train.recipe import Recipe


def rate_groups(model: nn.Module, recipe: Recipe, further: Sequence[nn.Parameter] = ()) -> list[dict[str, Any]]:
    """Groups of parameters for AdamW, with `share`, what the rate of the recipe is multiplied by.

    Weights of two or more dimensions are decayed, norms and biases are not. The last stage, where the classifier is,
    and `further` learn at the whole rate; each stage before at `layer_decay` of that of the stage behind it, since the
    first ones hold for all images. Source: Howard and Ruder, ULMFiT, ACL 2018; by stage as in ConvNeXt.

    Raises:
        InputError: the recipe tells stages apart, and the network does not say where they begin.
    """
    stages = _stages(model) if recipe.layer_decay < 1 else [list(model.parameters())]
    stages = [[one for one in stage if one.requires_grad] for stage in stages]
    stages[-1] += further
    groups: list[dict[str, Any]] = []
    for place, stage in enumerate(stages):
        share = recipe.layer_decay ** (len(stages) - 1 - place)
        many, few = ([one for one in stage if (one.ndim > 1) is wide] for wide in (True, False))
        groups += [
            {"params": many, "weight_decay": recipe.weight_decay, "share": share},
            {"params": few, "weight_decay": 0.0, "share": share},
        ]
    return groups


def _stages(model: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters by stage, from the first to the last."""
    names: tuple[tuple[str, ...], ...] | None = getattr(model, "stages", None)
    if names is None:
        raise InputError(
            f"rates by stage need a network that says where its stages begin, not {type(model).__name__}",
            hint="train what `network_module` makes, or set layer_decay of the recipe to 1",
        )
    return [[one for name in stage for one in model.get_submodule(name).parameters()] for stage in names]
