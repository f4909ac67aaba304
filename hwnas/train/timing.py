"""How long an epoch takes, from a few steps of it."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator

import torch
from torch import nn

from hwnas.data import Dataset
from hwnas.train.recipe import Recipe
from hwnas.train.training import Training

PROBES = 6


def seconds_an_epoch(model: nn.Module, dataset: Dataset, recipe: Recipe, *, device: torch.device) -> float:
    """Seconds of an epoch of `train`, from a few steps on a copy of `model`."""
    run = Training(copy.deepcopy(model), dataset, recipe, 0, device)
    return mean_step_s(run.epoch(0)) * run.steps


def mean_step_s(steps: Iterator[object]) -> float:
    """Mean seconds of a few steps; the first two, which warm caches up, are not counted where there are more."""
    times = [time.monotonic(), *(time.monotonic() for _ in itertools.islice(steps, PROBES + 2))]
    counted = times[2:] if len(times) > 3 else times[1:] if len(times) > 2 else times
    return max(counted[-1] - counted[0], 1e-6) / max(1, len(counted) - 1)
