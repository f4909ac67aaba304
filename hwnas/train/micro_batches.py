"""A batch in parts whose losses add up to that of the whole, so that a step takes less memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from hwnas.train.ranks import ALONE, Ranks


def micro_batches(
    x: Tensor, y: Tensor, at_once: int, class_weights: Tensor, *, parts: int = 0, ranks: Ranks = ALONE
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, labels and share of the loss of each part of a batch: of about equal parts of at least two images.

    Cross entropy divides by the sum of the weights of a batch's classes, so a part counts by its own sum: the losses
    times their shares add up to the loss of the whole, and so do gradients. A whole has the share 1. Batch norm sees
    the statistics of its part alone.

    Where ranks compute a batch together, it has as many parts on each, and the parts of all of them make up the whole.

    Args:
        y: labels (B,), or mixed ones (B, K).
        at_once: images of a part, at most, but no fewer than two; 0 for all.
        parts: so many at least, as far as there are images.
        ranks: that have the batch, each its shard of it, which `x` and `y` are.
    """
    count = max(1, min(len(y) // 2, max(parts, part_count(len(y), at_once))))
    if at_once or parts:
        count = ranks.least(count)
    whole = ranks.total(_weight(y, class_weights))
    for part_x, part_y in zip(x.tensor_split(count), y.tensor_split(count), strict=True):
        yield part_x, part_y, _weight(part_y, class_weights) / whole


def image_shares(y: Tensor, class_weights: Tensor) -> Tensor:
    """What each image counts in the cross entropy of a batch (B,), of labels (B,) or mixed ones (B, K)."""
    if y.ndim == 1:
        weights = class_weights[y]
        return weights / weights.sum()
    return y @ class_weights / len(y)


def _weight(y: Tensor, class_weights: Tensor) -> Tensor:
    """What cross entropy divides by: of mixed labels (B, K) it is their number."""
    return class_weights[y].sum() if y.ndim == 1 else class_weights.new_tensor(len(y))


def part_count(images: int, at_once: int) -> int:
    """In how many parts a batch is computed."""
    return math.ceil(images / at_once) if at_once else 1
