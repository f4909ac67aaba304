"""Exponential moving average of a network's weights and buffers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ModelEma:
    """Follows a network: avg ← d·avg + (1 - d)·value after every step, d = min(decay, (1 + t) / (10 + t)).

    The smaller decay of the first steps forgets the initial weights. Integer buffers are copied. With decay 0 the
    average is the network itself. Make it after the network is on its device: it keeps hold of the network's tensors.
    Source: Polyak and Juditsky 1992; the warm-up is that of TensorFlow's ExponentialMovingAverage.

    Attributes:
        values: the average, by the names of the network's `state_dict`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        live: dict[str, Tensor] = model.state_dict()
        self.values = {name: value.clone() for name, value in live.items()}
        self._floats = [(self.values[n], value) for n, value in live.items() if value.is_floating_point()]
        self._others = [(self.values[n], value) for n, value in live.items() if not value.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's state after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, values = map(list, zip(*self._floats, strict=True))
        torch._foreach_lerp_(averages, values, 1 - decay)
        for average, value in self._others:
            average.copy_(value)
