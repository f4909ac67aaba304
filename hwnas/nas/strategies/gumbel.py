"""Gumbel relaxations: soft as SNAS (Xie et al., 2019) and FBNet (Wu et al., 2019), or hard with two paths."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hwnas.nas.strategies.base import Relaxation, gumbels, pair_gates, soft_gates, uniform_logits
from hwnas.nas.supernet import Gate, single_path

_TEMPERATURES = (5.0, 0.5)


class Gumbel(Relaxation):
    """Options are weighted by a Gumbel softmax of the logits (Jang et al., 2017), g = softmax((α + noise) / τ).

    Soft: all options are computed, for weights and for α, as in FBNet. Hard: weight steps compute one option, drawn
    from softmax(α) by the Gumbel-max trick. A step on α computes two, drawn without replacement (Gumbel top-2): the
    forward value is the first alone, and the gradient reaches α straight through the softmax over the pair, so it
    compares what the rival would have computed with what was computed. Cost: soft all options, hard one and two.

    τ falls geometrically from `start` to `end`.
    """

    def __init__(
        self,
        options: Sequence[int],
        *,
        hard: bool,
        device: torch.device | None = None,
        start: float = _TEMPERATURES[0],
        end: float = _TEMPERATURES[1],
    ) -> None:
        self.logits = uniform_logits(options, device).requires_grad_()
        self._options = tuple(options)
        self._hard = hard
        self._temperatures = start, end
        self._temperature = start

    def __repr__(self) -> str:
        return f"Gumbel(options={self._options}, hard={self._hard})"

    def weight_gates(self, generator: torch.Generator) -> list[Gate]:
        with torch.no_grad():
            perturbed = gumbels(self.logits, generator)
            if self._hard:
                return single_path(perturbed.argmax(dim=1).tolist())
            return soft_gates(torch.softmax(perturbed / self._temperature, dim=1), self._options)

    def arch_gates(self, generator: torch.Generator) -> list[Gate]:
        perturbed = gumbels(self.logits, generator)
        if not self._hard:
            return soft_gates(torch.softmax(perturbed / self._temperature, dim=1), self._options)
        return pair_gates(perturbed, self._temperature, self._options)

    def anneal(self, progress: float) -> None:
        start, end = self._temperatures
        self._temperature = start * (end / start) ** progress
