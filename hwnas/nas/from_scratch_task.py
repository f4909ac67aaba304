"""One training from scratch for a score: the function that `hwnas.nas.from_scratch` has computed elsewhere."""

from __future__ import annotations

from dataclasses import asdict

import torch

from hwnas.arch.network import Network
from hwnas.backends.torch import network_module
from hwnas.data.saved import saved_images
from hwnas.executors.task import JSON, Common
from hwnas.nas.from_scratch_messages import Job, Score, Shared
from hwnas.nas.select import judged
from hwnas.schema import checked, json_as
from hwnas.train import deterministic, keep_freed_memory, train


def trained_score(common: Common, task: JSON) -> JSON:
    """Train one network from random weights, and score it. All chance in it comes from the seed.

    Args:
        common: a `Shared`, and the images.
        task: a `Job`.

    Returns:
        A `Score`.

    Raises:
        DivergedError: the loss is not a number.
    """
    shared, job = json_as(common.settings, Shared, "what trainings share"), checked(task, Job, "a training")
    dataset, device = saved_images(common.arrays, shared.dataset), torch.device(shared.device)
    keep_freed_memory()
    deterministic(job.seed, shared.threads)
    module = network_module(Network.from_json(job.network))
    train(module, dataset, shared.recipe, seed=job.seed, device=device)
    accuracy, score, losses = judged(module, dataset, device, shared.metric)
    return asdict(Score(accuracy, losses.tolist(), score))
