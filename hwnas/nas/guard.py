"""A guard against the collapse of relaxations to options without weights."""

from __future__ import annotations

import torch
from torch import Tensor


def beta_decay(logits: Tensor) -> Tensor:
    """β-decay (Ye et al., CVPR 2022): the mean over decisions of `logsumexp(α)`, a smooth maximum.

    Its gradient, softmax(α) over the number of decisions, pulls hardest at the option that is ahead, so that one which
    only fits faster, as a skip does, does not run away before the weights of the others are trained. Adam alone moves α
    by the sign of the gradient of the images, however small it is; with β-decay α comes to rest where the two are
    equal, at probabilities that differ as much as the options do (docs/decisions/0034).

    Args:
        logits: (decisions, most options), -inf where there is no option.
    """
    return torch.logsumexp(logits, dim=1).mean()
