"""How good a head on frozen features is, on images that it was not fitted on: few images judge by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset
from hwnas.parents.frozen import PENALTY, head

FOLDS = 4


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Heads of one network, each judged on the images of the fold that it was fitted without.

    Attributes:
        losses: (N,) of the images, see `head_losses`.
        halved: their mean, of heads that were fitted on half as many images: it tells what more of them are worth.
        accuracy: 0 to 1.
    """

    losses: NDArray[np.float64]
    halved: float
    accuracy: float

    @property
    def loss(self) -> float:
        """Mean of the losses."""
        return float(self.losses.mean())


def head_losses(logits: Tensor, labels: Tensor, dataset: Dataset, *, balanced: bool) -> NDArray[np.float64]:
    """Cross entropy in nats of each image (N,), with the weight of its class.

    Args:
        logits: (N, K), with labels (N,).
        balanced: whether every class counts the same, rather than every image.
    """
    weights = torch.tensor(dataset.class_weights(balanced=balanced))
    shares = weights[labels] / weights[labels].mean()
    return np.asarray((shares * cross_entropy(logits, labels, reduction="none")).double().numpy())


def cross_validated(
    found: Tensor, labels: Tensor, dataset: Dataset, *, balanced: bool = False, penalties: Sequence[float] = (PENALTY,)
) -> HeldOut:
    """Judge heads on features (N, D) of images with labels (N,), with the penalty that is best for the first fold.

    Every image is judged once, by a head that was fitted on three quarters of them; all folds have the shares of the
    classes. Source: Stone, Cross-validatory choice and assessment of statistical predictions, 1974.
    """
    cells = _cells(labels, 2 * FOLDS)
    folds = cells % FOLDS

    def logits(fold: int, penalty: float, *, fewer: bool = False) -> Tensor:
        seen = (folds != fold) & (cells < (FOLDS if fewer else 2 * FOLDS))
        own = head(found[seen], labels[seen], dataset, balanced=balanced, penalty=penalty)
        return found[folds == fold] @ own["weight"].T + own["bias"]

    def loss(penalty: float) -> float:
        return float(head_losses(logits(0, penalty), labels[folds == 0], dataset, balanced=balanced).mean())

    penalty = min(penalties, key=loss) if len(penalties) > 1 else penalties[0]

    def all_folds(*, fewer: bool) -> Tensor:
        told = torch.empty(len(labels), len(dataset.classes))
        for fold in range(FOLDS):
            told[folds == fold] = logits(fold, penalty, fewer=fewer)
        return told

    told = all_folds(fewer=False)
    losses, halved = (head_losses(one, labels, dataset, balanced=balanced) for one in (told, all_folds(fewer=True)))
    return HeldOut(losses, float(halved.mean()), float((told.argmax(1) == labels).float().mean()))


def _cells(labels: Tensor, count: int) -> Tensor:
    """(N,) one of so many parts for each image, of equal size as far as possible, as are the classes within them."""
    cells = torch.empty(len(labels), dtype=torch.int64)
    cells[labels.argsort(stable=True)] = torch.arange(len(labels)) % count
    return cells
