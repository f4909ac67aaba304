"""What a search from a parent is compared with: plain ways to use the same parent within the same budget and time."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.backends.torch import network_module
from hwnas.config import Configuration
from hwnas.data import Dataset
from hwnas.devices.device import Device
from hwnas.devices.verdict import Verdict, measure_verdict
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import feasible_set
from hwnas.parents import ParentWeights, inherit
from hwnas.parents.frozen import features, head, trunk
from hwnas.parents.inherit import module_with
from hwnas.progress import Progress
from hwnas.run.input_size import estimated_latency
from hwnas.run.instance import floor_ms, measured_ranges
from hwnas.run.schedule import final_recipe
from hwnas.train import Recipe, evaluate, train
from hwnas.train.step_memory import training_memory
from hwnas.train.timing import seconds_an_epoch

SIDES = range(32, 225, 16)
_DRAWS = 300
_FILLED, _EVALUATING = 0.97, 0.05  # of the minutes: what is planned with, and what evaluation takes of that
_TIMED_S = 5.0


@dataclass(frozen=True)
class Trained:
    """A rival after its minutes.

    Attributes:
        accuracy: on the test part.
        passes: of the training, over the train images.
        kept: whether the trained weights or those of the start were better on the validation part.
    """

    accuracy: float
    val_accuracy: float
    passes: float
    kept: str
    seconds: float


def sizes_ms(
    parent: ParentWeights, channels: int, classes: int, device: Device, progress: Progress
) -> dict[int, float]:
    """Latency of the whole parent by the side of its input."""
    networks = {
        str(side): parent.parent.network(width=parent.width, resolution=side, channels=channels, classes=classes)
        for side in SIDES
    }
    return {int(side): value for side, value in floor_ms(networks, device, progress=progress).items()}


def largest_side(found_ms: Mapping[int, float], budget_ms: float) -> int | None:
    """The largest input at which the whole parent is within the budget; None where there is none."""
    return max((side for side, value in found_ms.items() if value <= budget_ms), default=None)


def random_member(space: SearchSpace, budget_ms: float, seed: int, device: Device, progress: Progress) -> Network:
    """The slowest of many uniform draws from the networks that are estimated to be within the budget."""
    (span,) = measured_ranges([space], device, progress=progress)
    model = estimated_latency(space, span)
    feasible = feasible_set(latency_constraint(model, max(budget_ms, model.smallest_ms)))
    rng = np.random.default_rng(seed)
    drawn = [feasible.sample(rng) for _ in range(_DRAWS)]
    return space.network(space.architecture(max(drawn, key=feasible.cost)))


def elastic(config: Configuration, side: int, channels: int, classes: int) -> SearchSpace:
    """The elastic space of the parent at an input size."""
    name = config.search.init
    return space_instance(name, width=1.0, resolution=side, channels=channels, classes=classes)


def fine_tuned(
    parent: ParentWeights,
    network: Network,
    dataset: Dataset,
    config: Configuration,
    *,
    memory_gb: float,
    device: torch.device,
    progress: Progress,
) -> Trained:
    """A head on the network's own frozen features, then as long a training as the minutes leave, by the recipe of runs.

    Args:
        dataset: at the network's input size, with the parent's mean and deviation.
        config: of the run that it is compared with.
        memory_gb: that a step of the training may take, in GiB.
    """
    began = time.monotonic()
    state = inherit(parent, network)
    found = features(trunk(network, state), dataset.train, dataset, device=device, progress=progress)
    linear = head(found, torch.from_numpy(dataset.train.labels), dataset)
    name = network.ops[-1][0]
    module: nn.Module = module_with(network, state | {f"{name}.linear.{key}": value for key, value in linear.items()})
    start = copy.deepcopy(module).eval()
    images = len(dataset.train)

    def timed(usual: Recipe) -> tuple[float, float]:
        recipe = within_memory(usual)
        epoch_s = seconds_an_epoch(module, dataset, recipe, device=device, limit_s=_TIMED_S)
        left_s = 60.0 * _FILLED * config.train.minutes * (1.0 - _EVALUATING) - (time.monotonic() - began)
        return epoch_s, max(0.0, left_s)

    def within_memory(recipe: Recipe) -> Recipe:
        memory = training_memory(network_module(network), recipe, tuple(dataset.train.shape[1:]), len(dataset.classes))
        return replace(recipe, micro_batch=memory.at_once(recipe.batch_size, memory_gb * 2**30))

    recipe = within_memory(final_recipe(config, images, timed=timed, networks=1))
    train(module, dataset, recipe, seed=config.compute.seed, device=device, progress=progress)
    before, after = (evaluate(one, dataset.val, dataset, device=device).accuracy for one in (start, module))
    best = start if before > after else module
    accuracy = evaluate(best, dataset.test, dataset, device=device).accuracy
    kept = "start" if best is start else "trained"
    return Trained(accuracy, max(before, after), recipe.passes(images), kept, time.monotonic() - began)


def measured(
    networks: Mapping[str, Network], budget_ms: float, device: Device, progress: Progress
) -> Sequence[Verdict]:
    """Verdicts on networks with random weights, in their order: latency does not depend on weights."""
    with tempfile.TemporaryDirectory() as temporary:
        reference = write_reference_model(Path(temporary), device)
        models = write_models(Path(temporary), networks, device)
        found = measure_verdict(device, models, reference, budget_ms=budget_ms, progress=progress)
    return [found[name] for name in networks]
