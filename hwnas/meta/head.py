"""The classifier of a task from the means of its classes, for the inner loop to begin with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hwnas.errors import InputError
from hwnas.meta.inner_loop import Params
from hwnas.meta.learner import Learner

HEADS = ("learned", "prototypes")


def prototypes(
    learner: Learner,
    params: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    *,
    temperature: float = 1.0,
    noise: Tensor | None = None,
) -> Params:
    """Weight 2 c_k and bias -|c_k|² for every class k, c_k being the mean of its features: differentiable in `params`.

    The logits of features f are then |f|² - |f - c_k|²: the classifier of prototypical networks (Snell et al., 2017,
    equation 8), as proto-MAML begins with it (Triantafillou et al., 2020, section 3). Statistics of batch norms are
    those of `x`, as in an inner step.

    Args:
        x: images (B, C, H, W), at least one of every class.
        y: labels (B,) below the number of classes.
        temperature, noise: of α, as for `Learner.logits`.

    Raises:
        InputError: the network does not end with a linear layer with a bias.
    """
    if learner.head is None:
        raise InputError(
            "a head of prototypes needs a network that ends with a linear layer with a bias",
            hint="choose --head learned",
        )
    weight, bias = learner.head
    classes, size = params[weight].shape
    through = {**params, weight: torch.eye(size).to(params[weight]), bias: params[bias].new_zeros(size)}
    features = learner.logits(through, x, statistics=None, temperature=temperature, noise=noise)
    members = torch.nn.functional.one_hot(y, classes).to(features).T
    centres = members @ features / members.sum(1, keepdim=True)
    return {weight: 2.0 * centres, bias: -centres.square().sum(1)}
