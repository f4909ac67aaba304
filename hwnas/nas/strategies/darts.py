"""Differentiable architecture search, first order (Liu et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hwnas.nas.strategies.base import Relaxation, soft_gates, uniform_logits
from hwnas.nas.supernet import Gate


class DARTS(Relaxation):
    """Every option of a decision counts with its softmax: `o(x) = Σ_k softmax(α)_k · o_k(x)`, equation 2 of the paper.

    A step on α takes the weights as they are (ξ = 0 in equation 7). Cost: all options in every step.
    """

    def __init__(self, options: Sequence[int], device: torch.device | None = None) -> None:
        self.logits = uniform_logits(options, device).requires_grad_()
        self._options = tuple(options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(options={self._options})"

    def weight_gates(self, generator: torch.Generator) -> list[Gate]:
        return soft_gates(torch.softmax(self.logits.detach(), dim=1), self._options)

    def arch_gates(self, generator: torch.Generator) -> list[Gate]:
        return soft_gates(torch.softmax(self.logits, dim=1), self._options)
