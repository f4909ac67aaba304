"""The end of a search: feasible candidates, each scored with the shared weights, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hwnas.arch.space import Architecture
from hwnas.data import Dataset, Images, batches
from hwnas.search.decode import Second, Table, decode
from hwnas.search.supernet import Supernet
from hwnas.train import evaluate, recalibrate

_RECALIBRATION_IMAGES = 768
_JUDGED_IMAGES = 2000


@dataclass(frozen=True)
class Scored:
    """An architecture judged on the validation images, using the supernet's weights.

    Attributes:
        accuracy: on the images as they are, 0..1.
        loss: mean cross entropy on augmented ones, in nats: it tells networks apart that are all nearly right.
    """

    architecture: Architecture
    accuracy: float
    loss: float


def candidates(
    log_probs: Table, costs: Table, budget: float, second: Second | None = None, *, count: int, seed: int
) -> Iterator[tuple[int, ...]]:
    """Feasible choices, each once: first the most probable ones, then the best under perturbed preferences.

    Adding Gumbel noise before an exact decode is perturb-and-MAP (Papandreou and Yuille, 2011): close to sampling from
    the distribution restricted to the budget, or to two. After every one that came before, the noise grows by a
    quarter: a search that is sure of itself still has neighbours to compare. Fewer than `count` come where the budget
    leaves few.
    """
    rng = np.random.default_rng(seed)
    seen: set[tuple[int, ...]] = set()
    heat = 0.0
    for _ in range(4 * count):
        noisy = [np.add(row, heat * rng.gumbel(size=len(row))).tolist() for row in log_probs]
        choices = decode(noisy, costs, budget, second)
        if choices is not None and choices not in seen:
            seen.add(choices)
            yield choices
        else:
            heat *= 1.25
        heat = max(heat, 1.0)
        if len(seen) == count:
            return


def score(supernet: Supernet, architecture: Architecture, dataset: Dataset, *, device: torch.device) -> Scored:
    """Judge an architecture with inherited weights, after batch norm's statistics were estimated anew (SPOS).

    Of many validation images a fixed random choice of 2,000 is used, the same one for every network.
    """
    module = supernet.extract(architecture)
    recalibrate(module, dataset.train, dataset, device=device, max_images=_RECALIBRATION_IMAGES)
    chosen = np.random.default_rng(0).permutation(len(dataset.val))[:_JUDGED_IMAGES]
    images = dataset.val.subset(np.sort(chosen))
    result = evaluate(module, images, dataset, device=device)
    return Scored(architecture, result.accuracy, _augmented_loss(module, images, dataset, device))


def best(scored: list[Scored]) -> Scored:
    """The one with the lowest loss; see docs/decisions/0007."""
    return min(scored, key=lambda item: item.loss)


@torch.inference_mode()
def _augmented_loss(module: nn.Module, images: Images, dataset: Dataset, device: torch.device) -> float:
    """Mean loss over a few passes of augmented validation images, the same ones for every network."""
    module.eval()
    generator = torch.Generator().manual_seed(0)
    total, seen = 0.0, 0
    for _ in range(_passes(len(images))):
        stream = batches(images, dataset, batch_size=256, device=device, generator=generator, augment=True)
        for x, y in stream:
            total += cross_entropy(module(x), y, reduction="sum").item()
            seen += len(y)
    return total / seen


def _passes(images: int) -> int:
    """Enough for 1,000 images."""
    return max(1, math.ceil(1000 / images))
