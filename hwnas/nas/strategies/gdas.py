"""GDAS: one sampled option per decision, in every step (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hwnas.nas.strategies.base import Relaxation, gumbels, uniform_logits
from hwnas.nas.supernet import Gate, single_path

_TEMPERATURES = (10.0, 0.1)


class GDAS(Relaxation):
    """Hard Gumbel softmax, straight through: of each decision one option is computed, for weights and for α.

    The option is drawn from softmax(α) by the Gumbel-max trick. Its factor is one, and the gradient of that factor that
    of g = softmax((α + noise) / τ) at the option, so α learns of no other option than by the sum of g being one
    (section 3.2 of the paper). Cost: one option in every step.

    τ falls linearly from `start` to `end`.
    """

    def __init__(
        self,
        options: Sequence[int],
        device: torch.device | None = None,
        *,
        start: float = _TEMPERATURES[0],
        end: float = _TEMPERATURES[1],
    ) -> None:
        self.logits = uniform_logits(options, device).requires_grad_()
        self._options = tuple(options)
        self._temperatures = start, end
        self._temperature = start

    def __repr__(self) -> str:
        return f"GDAS(options={self._options})"

    def weight_gates(self, generator: torch.Generator) -> list[Gate]:
        return single_path(gumbels(self.logits.detach(), generator).argmax(dim=1).tolist())

    def arch_gates(self, generator: torch.Generator) -> list[Gate]:
        perturbed = gumbels(self.logits, generator)
        drawn = perturbed.argmax(dim=1, keepdim=True)
        soft = torch.softmax(perturbed / self._temperature, dim=1).gather(1, drawn)
        weights = 1.0 + (soft - soft.detach())
        return [Gate((option,), weight) for option, weight in zip(drawn[:, 0].tolist(), weights, strict=True)]

    def anneal(self, progress: float) -> None:
        start, end = self._temperatures
        self._temperature = start + (end - start) * progress
