"""Drop path: whole ops are left out of the sums of cells, at random for each image, while a network is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class DropPath:
    """Sets what each of `paths` makes to zero for a share of the images, and enlarges the rest by 1 / (1 - rate).

    In eval mode nothing changes. Chance comes from torch's global generator on the CPU, once a path and a pass.
    Source: Larsson et al., FractalNet, ICLR 2017, local sampling; as in the final networks of DARTS, where the rate
    rises linearly.

    Attributes:
        rate: probability that an image goes without a path, from 0 up to, not including, 1.
    """

    def __init__(self, paths: Iterable[nn.Module]) -> None:
        self.rate = 0.0
        self._hooks = [path.register_forward_hook(self._drop) for path in paths]

    def remove(self) -> None:
        """Leave the paths as they were found."""
        for hook in self._hooks:
            hook.remove()

    def _drop(self, path: nn.Module, _: Any, made: Tensor) -> Tensor:
        if self.rate == 0.0 or not path.training:
            return made
        kept = (torch.rand(len(made), 1, 1, 1) >= self.rate).to(made)
        return made * (kept / (1.0 - self.rate))
