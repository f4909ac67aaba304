"""One objective for weights and architecture together, instead of two levels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.darts import DARTS


class SingleLevel(DARTS):
    """As DARTS, but `min over w and α of (L_train + λ·L_val) / (1 + λ)`: one backward pass steps both.

    So α is chosen on images that the weights are trained on, which favours options that fit fast, and with λ > 0 the
    validation images train weights: scores on them flatter. DARTS is bilevel for that reason, and compares both in
    section 3.1.2 of the paper. Dividing by 1 + λ keeps gradients in the range of those of the other steps. Cost: all
    options; where α is stepped, no pass of its own, but one more on validation images if λ > 0.
    """

    def __init__(self, options: Sequence[int], device: torch.device | None = None, val_weight: float = 1.0) -> None:
        super().__init__(options, device)
        self._val_weight = val_weight

    def __repr__(self) -> str:
        return f"SingleLevel(options={self._options}, val_weight={self._val_weight})"

    def joint_loss(self, problem: Bilevel, generator: torch.Generator) -> Tensor:
        gates = self.arch_gates(generator)
        loss = problem.train(gates)
        if self._val_weight == 0.0:
            return loss
        return (loss + self._val_weight * problem.val(gates)) / (1.0 + self._val_weight)
