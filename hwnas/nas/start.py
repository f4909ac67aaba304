"""Where a search begins when it does not begin at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hwnas.nas.supernet import Supernet


@dataclass(frozen=True)
class Start:
    """Weights, α and what a sampler learned, for one space.

    Attributes:
        weights: by the names of the supernet's state, as many as there are.
        alpha: (decisions, most options) finite logits; None where all options are equal.
        sampler_state: what the samplers start from (`hwnas.nas.strategies.warm_start`); None where they know nothing.
        settled: whether the classifier is of these images, and the norms' statistics hold for every network.
        candidates: architectures that are scored before what α prefers, the most promising first.
    """

    weights: Mapping[str, Tensor] = field(default_factory=dict)
    alpha: Tensor | None = None
    sampler_state: Mapping[str, Any] | None = None
    settled: bool = False
    candidates: tuple[tuple[int, ...], ...] = ()

    def apply(self, supernet: Supernet, logits: Sequence[Tensor]) -> None:
        """Copy the weights into the supernet, and α into the logits of every relaxation where there is an option."""
        with torch.no_grad():
            supernet.settled = self.settled
            state = supernet.state_dict()
            for name, value in self.weights.items():
                state[name].copy_(value)
            for one in logits if self.alpha is not None else ():
                assert self.alpha is not None
                one.copy_(torch.where(torch.isfinite(one), self.alpha.to(one), one))
