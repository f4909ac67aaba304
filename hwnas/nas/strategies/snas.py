"""SNAS: one relaxed draw trains weights and architecture together (Xie et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.gumbel import Gumbel


class SNAS(Gumbel):
    """Gates `Z = softmax((log p + noise) / λ)`, the concrete distribution; the loss is `E_Z[L_train(Z, w)]`.

    What sets it apart from a soft Gumbel relaxation as in FBNet: weights and α take one step with the gradients of one
    loss, on the train images (section 2.3 of the paper). The resource term, an expectation that is linear in p, is the
    penalty of the constraints. Cost: all options, one pass a step.

    λ falls geometrically; the paper gives no numbers.
    """

    def __init__(
        self, options: Sequence[int], device: torch.device | None = None, *, start: float = 5.0, end: float = 0.5
    ) -> None:
        super().__init__(options, hard=False, device=device, start=start, end=end)

    def __repr__(self) -> str:
        return f"SNAS(options={self._options})"

    def joint_loss(self, problem: Bilevel, generator: torch.Generator) -> Tensor:
        return problem.train(self.arch_gates(generator))
