"""What steps the shared weights and α."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hwnas.nas.search_settings import SearchSettings


def weights_optimizer(parameters: Iterable[nn.Parameter], settings: SearchSettings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), whose weight decay is decoupled, or SGD with momentum, whose is not."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.optimizer == "nesterov",
    )


def arch_optimizer(logits: Tensor, settings: SearchSettings, steps: int) -> torch.optim.Adam:
    """Adam on α, of a search of so many weight steps an epoch; the gradient has the weight decay already."""
    return torch.optim.Adam([logits], lr=settings.arch_rate(steps), betas=(settings.arch_beta1, 0.999))


def clipped(parameters: Iterable[nn.Parameter], largest: float) -> float:
    """The L2 norm of the gradients, which are then scaled down to `largest`; 0 leaves them as they are."""
    learned = [one for one in parameters if one.grad is not None]
    return float(nn.utils.clip_grad_norm_(learned, largest or torch.inf))
