"""Training with norms that keep their statistics."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def train_with_kept_statistics(module: nn.Module) -> None:
    """Put a module in training mode, but for its batch norms, which go on with the statistics that they have."""
    module.train()
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()
