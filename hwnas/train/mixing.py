"""Mixup and CutMix: each image of a batch with another one, and the label of each in proportion."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot


class Mixing:
    """Mixes whole batches; all chance comes from its seed, in the order of the batches."""

    def __init__(self, mixup: float, cutmix: float, classes: int, seed: int) -> None:
        """Mix as a recipe says.

        Args:
            mixup, cutmix: α of Beta(α, α), from which the share of the first image comes, once a batch; 0 is without.
                With both, chance chooses one of them for each batch.
        """
        self._ways = [(way, alpha) for way, alpha in ((_blended, mixup), (_pasted, cutmix)) if alpha]
        self._classes = classes
        self._rng = np.random.default_rng(seed)

    def __call__(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs (B, C, H, W) and labels (B,) as mixed inputs and the probability of each class (B, K).

        `cross_entropy` takes either: of probabilities it is the sum over both labels, each times its share. The batch
        stays as it is where nothing is mixed.
        """
        if not self._ways:
            return batch
        x, y = batch
        way, alpha = self._ways[self._rng.integers(len(self._ways))]
        share = float(self._rng.beta(alpha, alpha))
        order = torch.from_numpy(self._rng.permutation(len(y))).to(x.device)
        x, share = way(x, x[order], share, self._rng)
        targets = one_hot(y, self._classes).to(x.dtype)
        return x, share * targets + (1 - share) * targets[order]


def _blended(x: Tensor, other: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """`share` · x + (1 - share) · other. Source: Zhang et al., mixup, ICLR 2018."""
    return share * x + (1 - share) * other, share


def _pasted(x: Tensor, other: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """A rectangle of `other`, of the image's shape and a share 1 - `share` of its area, in the place that it has there.

    Its centre is uniform and what reaches over the border is cut off; gives the share of x that is left. Source: Yun
    et al., CutMix, ICCV 2019.
    """
    spans = []
    for size in x.shape[2:]:
        half, centre = size * math.sqrt(1 - share) / 2, rng.integers(size)
        spans.append(slice(max(0, round(centre - half)), min(size, round(centre + half))))
    mixed = x.clone()
    mixed[:, :, spans[0], spans[1]] = other[:, :, spans[0], spans[1]]
    pasted = math.prod(span.stop - span.start for span in spans)
    return mixed, 1 - pasted / math.prod(x.shape[2:])
