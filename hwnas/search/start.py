"""Where a search begins when it does not begin at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.search.supernet import Supernet


@dataclass(frozen=True)
class Start:
    """Weights and α for one space.

    Attributes:
        weights: by the names of the supernet's state, as many as there are.
        alpha: (decisions, most options) finite logits; None where all options are equal.
    """

    weights: Mapping[str, Tensor]
    alpha: Tensor | None = None

    def apply(self, supernet: Supernet, logits: Sequence[Tensor]) -> None:
        """Copy the weights into the supernet, and α into the logits of every relaxation where there is an option."""
        with torch.no_grad():
            state = supernet.state_dict()
            for name, value in self.weights.items():
                state[name].copy_(value)
            for one in logits if self.alpha is not None else ():
                assert self.alpha is not None
                one.copy_(torch.where(torch.isfinite(one), self.alpha.to(one), one))
