"""The end of a search: feasible candidates, each scored with the shared weights, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hwnas.arch.space import Architecture
from hwnas.data import Dataset
from hwnas.search.decode import Table, decode
from hwnas.search.supernet import Supernet
from hwnas.train import evaluate, recalibrate

_RECALIBRATION_IMAGES = 768


@dataclass(frozen=True)
class Scored:
    """An architecture with its accuracy and loss on the validation images, using the supernet's weights."""

    architecture: Architecture
    accuracy: float
    loss: float


def candidates(log_probs: Table, costs: Table, budget: float, *, count: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Feasible choices, each once: first the most probable ones, then the best under perturbed preferences.

    Adding Gumbel noise before an exact decode is perturb-and-MAP (Papandreou and Yuille, 2011): close to sampling from
    the distribution restricted to the budget. Fewer than `count` come where the budget leaves few.
    """
    rng = np.random.default_rng(seed)
    seen: set[tuple[int, ...]] = set()
    for attempt in range(4 * count):
        noisy = log_probs if attempt == 0 else [np.add(row, rng.gumbel(size=len(row))).tolist() for row in log_probs]
        choices = decode(noisy, costs, budget)
        if choices is not None and choices not in seen:
            seen.add(choices)
            yield choices
        if len(seen) == count:
            return


def score(supernet: Supernet, architecture: Architecture, dataset: Dataset, *, device: torch.device) -> Scored:
    """Validation accuracy with inherited weights, after batch norm's statistics were estimated anew (SPOS)."""
    module = supernet.extract(architecture)
    recalibrate(module, dataset.train, dataset, device=device, max_images=_RECALIBRATION_IMAGES)
    result = evaluate(module, dataset.val, dataset, device=device)
    return Scored(architecture, result.accuracy, result.loss)


def best(scored: list[Scored]) -> Scored:
    """The most accurate; the lower loss decides between equals."""
    return max(scored, key=lambda item: (item.accuracy, -item.loss))
