"""A guard against the collapse of soft relaxations to skip connections."""

from __future__ import annotations

import torch
from torch import Tensor


def beta_decay(logits: Tensor) -> Tensor:
    """β-decay (Ye et al., CVPR 2022): the mean over decisions of `logsumexp(α)`, a smooth maximum.

    Its gradient, softmax(α) over the number of decisions, pulls hardest at the option that is ahead, so that one which
    only fits faster, as a skip does, does not run away before the weights of the others are trained.

    Args:
        logits: (decisions, most options), -inf where there is no option.
    """
    return torch.logsumexp(logits, dim=1).mean()
