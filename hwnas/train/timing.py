"""How long an epoch takes, from a few steps of it."""

from __future__ import annotations

import copy
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from hwnas.data import Dataset
from hwnas.train.recipe import Recipe
from hwnas.train.training import Training

PROBES = 6
_FEWEST_IMAGES, _MOST_PIXELS = 4, 64 * 64 * 64  # of a timed step
_LEAST_S, _MOST_STEPS = 0.5, 40  # steps that are short are timed for so long, up to so many


def seconds_an_epoch(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    device: torch.device,
    limit_s: float = math.inf,
    teacher: nn.Module | None = None,
) -> float:
    """Seconds of an epoch of `train` with its checkpoint, from a few steps on a copy of `model`.

    Args:
        limit_s: steps are taken for about so many seconds, but at least two.
        teacher: as for `train`.
    """
    recipe = replace(recipe, batch_size=timed_batch(recipe.batch_size, dataset.resolution, recipe.micro_batch))
    run = Training(copy.deepcopy(model), dataset, recipe, 0, device, teacher)
    epochs = itertools.chain.from_iterable(run.epoch(0) for _ in itertools.count())
    return mean_step_s(epochs, limit_s=limit_s) * run.steps + saving_s(lambda path: run.save(path, 1))


def mean_step_s(steps: Iterator[object], *, limit_s: float = math.inf) -> float:
    """Mean seconds of a few steps; the first two, which warm caches up, are not counted where there are more."""
    times = [time.monotonic()]
    for taken, _ in enumerate(itertools.islice(steps, _MOST_STEPS), 1):
        times.append(time.monotonic())
        so_far_s = times[-1] - times[0]
        if (taken >= PROBES + 2 and so_far_s >= _LEAST_S) or (taken >= 2 and so_far_s >= limit_s):
            break
    counted = times[2:] if len(times) > 3 else times[1:] if len(times) > 2 else times
    return max(counted[-1] - counted[0], 1e-6) / max(1, len(counted) - 1)


def timed_batch(batch_size: int, resolution: int, micro_batch: int = 0) -> int:
    """Images per step of a timing: fewer of large ones, of which a step of a whole batch takes seconds.

    Where a batch is computed in parts, no more than one of them.
    """
    return min(batch_size, micro_batch or batch_size, max(_FEWEST_IMAGES, _MOST_PIXELS // resolution**2))


def saving_s(save: Callable[[Path], None]) -> float:
    """Seconds that it takes to write a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        save(Path(folder) / "checkpoint.safetensors")
        return time.monotonic() - began
