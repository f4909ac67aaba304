"""A short training of a network for its int8 file, where quantising alone costs too much."""

from __future__ import annotations

import copy
import math

import torch

from hwnas.arch.network import Network
from hwnas.backends.fake_quantize import fake_quantise, plain
from hwnas.backends.torch import export_weights, load_weights, network_module
from hwnas.backends.weights import Weights
from hwnas.data import Dataset
from hwnas.metric_names import Metric, class_balanced
from hwnas.progress import Progress
from hwnas.train import Recipe, train
from hwnas.train.evaluate import evaluated_at_once

_STEPS, _EPOCHS, _BATCH = 300, 3, 32
_RATE, _WARMUP = 0.1, 0.1  # of the usual rate, of the epochs


def tuned_weights(
    network: Network,
    weights: Weights,
    dataset: Dataset,
    *,
    metric: Metric,
    seed: int,
    device: torch.device,
    progress: Progress,
    label: str = "fine-tuning for int8",
) -> Weights:
    """Weights that lose less when they are quantised, from trained ones.

    About 300 steps on the train images, whatever the data, with rounding in the forward pass. The network as it was
    teaches, and labels do not: it is to become what it was, and few images would be learned by heart. Norms keep their
    statistics, which is what a file has in its weights.

    Args:
        label: of the task in `progress`.

    Raises:
        DivergedError: the loss is no number.
    """
    with torch.random.fork_rng(devices=[]):
        module = network_module(network)
    load_weights(module, weights)
    teacher = copy.deepcopy(module)
    fake_quantise(module, network)
    recipe = tuning_recipe(len(dataset.train), dataset.resolution, balanced=class_balanced(metric))
    train(module, dataset, recipe, seed=seed, device=device, progress=progress, label=label, teacher=teacher)
    plain(module)
    found = export_weights(module)
    return {name: found[name] for name in weights}


def tuning_recipe(images: int, resolution: int, *, balanced: bool) -> Recipe:
    """The recipe of `tuned_weights`: as many steps for few images as for many.

    Args:
        images: for training.
        balanced: whether every class counts the same.
    """
    steps = min(max(1, images // _BATCH), _STEPS // _EPOCHS)
    epochs = math.ceil(_STEPS / steps)
    return Recipe(
        epochs=epochs,
        epoch_steps=steps,
        batch_size=_BATCH,
        micro_batch=max(2, evaluated_at_once(resolution) // 4),
        lr=_RATE * Recipe.lr,
        warmup_epochs=_WARMUP * epochs,
        ema_decay=0.0,
        keep_statistics=True,
        class_balanced=balanced,
        distil_weight=1.0,
    )
