"""Heads on frozen features: that of a parent, which teaches, and those of networks that are cut out of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.data import Images
from hwnas.metric_names import NAMES, class_balanced
from hwnas.metrics import Tally, as_good
from hwnas.nas.select import scored_images
from hwnas.parents import ParentWeights, inherit
from hwnas.parents.frozen import features, head, head_images, trunk, with_head
from hwnas.parents.judged_head import head_losses
from hwnas.run.context import RunContext
from hwnas.run.head_accuracy import note_head
from hwnas.train import Recipe
from hwnas.train import checkpoint as store
from hwnas.train.evaluate import evaluated_at_once

_HINT = "start the run anew, with --force"
_TIMED = 2  # batches, of which the last one counts


def parent_head(run: RunContext, parent: ParentWeights, most: int) -> dict[str, Tensor]:
    """Weight (K, D) and bias (K,) of the classifier of the parent, and of all networks inside of it; kept.

    Args:
        most: train images that it is fitted on, at most.

    Raises:
        InputError: what is kept is damaged.
        StorageError: it cannot be written.
    """
    kept = _kept(run)
    if not kept.exists():
        images = head_images(run.dataset.train, most)
        body = _trunk(run, parent)
        fitted = _fitted(run, body, images, "the parent's features")
        note_head(run, body, fitted)
        _keep(kept, fitted, len(images))
    return store.load(kept, hint=_HINT)[0]


def frozen_s(run: RunContext, parent: ParentWeights) -> float:
    """Seconds that the parent's features of an image take."""
    body, seconds = _trunk(run, parent), 0.0
    few = head_images(run.dataset.train, evaluated_at_once(run.dataset.resolution))
    for _ in range(_TIMED):
        began = time.monotonic()
        features(body, few, run.dataset, device=run.device)
        seconds = time.monotonic() - began
    return seconds / len(few)


def teacher_of(run: RunContext, recipe: Recipe) -> nn.Module | None:
    """The parent with its head; None where the recipe asks for no teacher.

    Raises:
        InputError: the head, which the search has fitted, is missing or damaged.
    """
    parent = run.plan.parent
    if parent is None or not recipe.distil_weight:
        return None
    network = parent.network_for(run.plan.space)
    return with_head(network, inherit(parent, network), store.load(_kept(run), hint=_HINT)[0])


def fit_own_head(
    run: RunContext, choices: tuple[int, ...], module: nn.Module, *, most: int, compared: int, label: str
) -> None:
    """Give a network with the parent's head one that is fitted on its own features, unless that is worse; kept.

    It is worse where the validation images prove it: by more than the standard error of the mean difference in loss,
    image by image (docs/decisions/0076). Nothing is done for the parent itself, where its head has seen as many images.

    Args:
        module: the network of `choices`, whose norms have the statistics that fit its weights; changed in place.
        most: train images that the head is fitted on, at most.
        compared: validation images that both heads are compared on, at most.
        label: for progress.

    Raises:
        InputError: what is kept is damaged.
        StorageError: it cannot be written.
    """
    network, images = run.network(choices), head_images(run.dataset.train, most)
    if _is_parent(run, network) and store.load(_kept(run), hint=_HINT)[1].get("images", 0) >= len(images):
        return
    linear = module.get_submodule(f"{network.ops[-1][0]}.linear")
    assert isinstance(linear, nn.Linear)
    kept = run.folder.state / f"head-{'-'.join(map(str, choices))}.safetensors"
    if not kept.exists():
        body = trunk(network, module.state_dict())
        own = _fitted(run, body, images, f"{label}: features")
        was = {name: value.detach().cpu() for name, value in linear.named_parameters()}
        val = scored_images(run.dataset, compared)
        found = features(body, val, run.dataset, device=run.device, label=f"{label}: compare heads")
        (before, was_losses), (after, own_losses) = (_judged(run, found, val, one) for one in (was, own))
        takes_own = as_good(own_losses, was_losses)
        told = {"event": "own head", "stage": label, "metric": run.plan.config.search.metric, "images": len(images)}
        told |= {"parent_loss": float(was_losses.mean()), "own_loss": float(own_losses.mean()), "taken": takes_own}
        run.progress.record(told | {"parent": before, "own": after})
        name = NAMES[run.plan.config.search.metric]
        run.progress.say(
            f"{label}: {name} on {len(val)} validation images, before any training, is {before:.3f} with the head of "
            f"the parent, and {after:.3f} with one of its own, fitted on {len(images)} train images"
            + ("" if takes_own else "; its loss is larger, and that of the parent stays")
        )
        _keep(kept, own if takes_own else was, len(images))
    with torch.no_grad():
        for name, value in store.load(kept, hint=_HINT)[0].items():
            linear.get_parameter(name).copy_(value)


def _kept(run: RunContext) -> Path:
    return run.shared_state / "head.safetensors"


def _keep(path: Path, classifier: dict[str, Tensor], images: int) -> None:
    store.save(path, classifier, {"images": images})


def _trunk(run: RunContext, parent: ParentWeights) -> nn.Module:
    network = parent.network_for(run.plan.space)
    return trunk(network, inherit(parent, network))


def _is_parent(run: RunContext, network: Network) -> bool:
    parent = run.plan.parent
    return parent is not None and network == parent.network_for(run.plan.space)


def _fitted(run: RunContext, body: nn.Module, images: Images, label: str) -> dict[str, Tensor]:
    found = features(body, images, run.dataset, device=run.device, progress=run.progress, label=label)
    balanced = class_balanced(run.plan.config.search.metric)
    return head(found, torch.from_numpy(images.labels), run.dataset, balanced=balanced)


def _judged(
    run: RunContext, found: Tensor, images: Images, classifier: dict[str, Tensor]
) -> tuple[float, NDArray[np.float64]]:
    """What the run's metric makes of a head on features (N, D), and its losses (N,)."""
    tally, metric = Tally(len(run.dataset.classes)), run.plan.config.search.metric
    logits = found @ classifier["weight"].T + classifier["bias"]
    tally.add(logits.numpy(), images.labels)
    labels = torch.from_numpy(images.labels)
    return tally.metrics().value(metric), head_losses(logits, labels, run.dataset, balanced=class_balanced(metric))
