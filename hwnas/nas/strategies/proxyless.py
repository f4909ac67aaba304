"""ProxylessNAS by gradient: two sampled paths compete in a step on α (Cai et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwnas.nas.strategies.base import Relaxation, gumbels, uniform_logits
from hwnas.nas.supernet import Gate, single_path


class Proxyless(Relaxation):
    """Binary gates: of each decision one option, drawn from p = softmax(α), has factor one and the others zero.

    Weight steps compute that option alone. A step on α draws two without replacement, from p; of p renormalised over
    the two, one is drawn that is active, and `∂L/∂α_i = Σ_j ∂L/∂g_j · p_j (δ_ij - p_i)` over the two (equation 4 and
    section 3.2.1 of the paper). Only these two move, and so that the probability of the pair stays what it was.
    Cost: one option a weight step, two an architecture step.
    """

    def __init__(self, options: Sequence[int], device: torch.device | None = None) -> None:
        self.logits = uniform_logits(options, device).requires_grad_()
        self._options = tuple(options)
        self._pairs = self.logits.detach().topk(min(2, max(options)), dim=1).indices

    def __repr__(self) -> str:
        return f"Proxyless(options={self._options})"

    def weight_gates(self, generator: torch.Generator) -> list[Gate]:
        return single_path(gumbels(self.logits.detach(), generator).argmax(dim=1).tolist())

    def arch_gates(self, generator: torch.Generator) -> list[Gate]:
        with torch.no_grad():
            self._pairs = gumbels(self.logits, generator).topk(self._pairs.shape[1], dim=1).indices
            both = self.logits.gather(1, self._pairs)
            active = gumbels(both, generator).argmax(dim=1, keepdim=True)
            binary = torch.zeros_like(both).scatter_(1, active, 1.0)
        p = torch.softmax(self.logits.gather(1, self._pairs), dim=1)
        weights = binary + (p - p.detach())
        rows = zip(self._pairs.tolist(), weights, self._options, strict=True)
        return [Gate(tuple(pair[:count]), row[:count]) for pair, row, count in rows]

    def settle(self, logits: Tensor, before: Tensor) -> None:
        pairs = self._pairs.to(logits.device)
        old, new = before.gather(1, pairs), logits.gather(1, pairs)
        shift = old.logsumexp(1, keepdim=True) - new.logsumexp(1, keepdim=True)
        logits.copy_(before.scatter(1, pairs, new + shift))
