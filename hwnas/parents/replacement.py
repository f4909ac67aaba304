"""What each option costs in quality when it alone takes the place of the parent's block, and what whole networks do.

Sums of the scores of options stand for whole networks, so that the exact decode finds the best one within a latency;
those of whole networks correct them (`hwnas.nas.sums`). Sources: LANA (Molchanov et al., ECCV 2022); of the divergence
as a score, Puzzle (Bercovich et al., 2024).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from hwnas.data import Dataset, Images, batches
from hwnas.parents.blocks import ParentBlocks, Scores
from hwnas.progress import Progress, Silent

SCORING = "score networks"
"""What that is called in progress."""

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of the features (batch, D) of a changed network and of the parent: a number for each image (batch,)."""


def replacement_scores(
    blocks: ParentBlocks,
    images: Images,
    dataset: Dataset,
    loss: Loss,
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Scores:
    """Mean loss over `images` of the parent with one block replaced, for every option; 0 for its own blocks.

    Args:
        dataset: with the parent's mean and deviation (`Parent.prepared`).
    """
    blocks.rest()
    sums: dict[tuple[int, int], float] = defaultdict(float)
    stream = batches(images, dataset, batch_size=batch_size, device=blocks.device, generator=None, augment=False)
    with torch.inference_mode(), (progress or Silent()).track("score replacements", len(images)) as advance:
        for x, _ in stream:
            pairs = list(blocks.pairs(x))
            own = pairs[-1][1].mean((2, 3))
            for place, slot in enumerate(blocks.space.slots[:-1]):
                for option in range(len(slot.ops)) if slot.decision is not None else ():
                    if (place, option) not in blocks.own:
                        found = blocks.features(place, blocks.option(place, option)(pairs[place][0]))
                        sums[place, option] += float(loss(found, own).sum())
            advance(len(x))
    return blocks.of_decisions({key: value / len(images) for key, value in sums.items()})


def network_losses(
    blocks: ParentBlocks,
    images: Images,
    dataset: Dataset,
    loss: Loss,
    networks: Sequence[Sequence[int]],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """Mean loss over `images` of whole networks, each by the options that it takes; in the unit of the scores.

    Args:
        dataset: with the parent's mean and deviation (`Parent.prepared`).
    """
    blocks.rest()
    sums = [0.0] * len(networks)
    stream = batches(images, dataset, batch_size=batch_size, device=blocks.device, generator=None, augment=False)
    steps = len(images) * len(networks)
    with torch.inference_mode(), (progress or Silent()).track(SCORING, steps) as advance:
        for x, _ in stream:
            *_, (_, last) = blocks.pairs(x)
            own = last.mean((2, 3))
            for index, choices in enumerate(networks):
                sums[index] += float(loss(blocks.of_network(choices, x), own).sum())
            advance(len(x) * len(networks))
    return tuple(one / len(images) for one in sums)


def head_loss(head: Mapping[str, Tensor]) -> Loss:
    """KL divergence from the parent's predictions, in nats, with the weight and bias of a head on its features."""

    def loss(found: Tensor, own: Tensor) -> Tensor:
        weight, bias = (head[name].to(found.device) for name in ("weight", "bias"))
        logs, target = ((one @ weight.T + bias).log_softmax(1) for one in (found, own))
        return kl_div(logs, target, log_target=True, reduction="none").sum(1)

    return loss
