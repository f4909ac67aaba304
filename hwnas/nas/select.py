"""The end of a search: feasible candidates, each scored with the shared weights, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from hwnas.arch.space import Architecture
from hwnas.data import Dataset, Images, batches
from hwnas.metric_names import Metric, class_balanced
from hwnas.metrics import as_good, image_weights, share_error, stratified_choice
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import OptionTable
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.supernet import Supernet
from hwnas.train import evaluate, recalibrate
from hwnas.train.evaluate import evaluated_at_once

_RECALIBRATION_IMAGES, _RECALIBRATION_OF_A_CLASS = 768, 4  # whichever is more
SCORED_IMAGES, SCORED_OF_A_CLASS = 2000, 10
"""Of many validation images, those that networks are compared on: so many, or so many of each class."""
_ROUNDING = 1e-9  # of latencies that are the same sum in another order


@dataclass(frozen=True)
class Scored:
    """An architecture judged on the validation images, with weights of the supernet or of a short training.

    Attributes:
        accuracy: share of the images as they are that are classified rightly, 0..1.
        score: what the search's metric makes of the same images, 0..1.
        losses: cross entropy on augmented ones, in nats, of each image: it tells networks apart that are all nearly
            right. The images are the same ones for every network. Where the metric counts every class the same, those
            of an image are weighted so that their mean does, too (docs/decisions/0047).
        seconds: that it took, where it was scored before; else 0.
    """

    architecture: Architecture
    accuracy: float
    score: float
    losses: NDArray[np.float64] = field(repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)

    @property
    def loss(self) -> float:
        """Mean of the losses."""
        return float(self.losses.mean())


def candidates(log_probs: OptionTable, feasible: FeasibleSet, *, count: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Feasible choices, each once: first the most probable ones, then the best under perturbed preferences.

    Adding Gumbel noise before an exact decode is perturb-and-MAP (Papandreou and Yuille, 2011): close to sampling from
    the distribution restricted to the feasible set. After every one that came before, the noise grows by a
    quarter: a search that is sure of itself still has neighbours to compare. Fewer than `count` come where the
    constraints leave few.
    """
    rng = np.random.default_rng(seed)
    seen: set[tuple[int, ...]] = set()
    heat = 0.0
    for _ in range(4 * count):
        noisy = [np.add(row, heat * rng.gumbel(size=len(row))).tolist() for row in log_probs]
        choices = feasible.decode(noisy)
        if choices is not None and choices not in seen:
            seen.add(choices)
            yield choices
        else:
            heat *= 1.25
        heat = max(heat, 1.0)
        if len(seen) == count:
            return


def score(
    supernet: Supernet,
    architecture: Architecture,
    dataset: Dataset,
    *,
    device: torch.device,
    metric: Metric = "accuracy",
    most_images: int = 0,
) -> Scored:
    """Judge an architecture with inherited weights, after batch norm's statistics were estimated anew (SPOS).

    They are kept where they hold for every network of the supernet.

    Of many validation images a fixed choice is used, the same one for every network (`scored_images`).

    Args:
        most_images: where time is limited, of each part at most so many, in one pass; 0 for no such limit.
    """
    module = supernet.extract(architecture)
    if not supernet.settled:
        most = _recalibration_images(len(dataset.classes), most_images)
        recalibrate(module, recalibration_images(dataset, most), dataset, device=device, max_images=most)
    return Scored(architecture, *judged(module, dataset, device, metric, most_images))


def judged(
    module: nn.Module, dataset: Dataset, device: torch.device, metric: Metric, most_images: int = 0
) -> tuple[float, float, NDArray[np.float64]]:
    """Accuracy, score and losses of a network, as `Scored` has them."""
    images = scored_images(dataset, most_images)
    found = evaluate(module, images, dataset, device=device).metrics
    passes = 1 if most_images else _passes(len(images))
    losses = _augmented_losses(module, images, dataset, device, passes, balanced=class_balanced(metric))
    return found.accuracy, found.value(metric), losses


def scored_images(dataset: Dataset, most: int = 0) -> Images:
    """The validation images that networks are compared on: all, or a fixed choice with the shares of the classes.

    Of a class there are at least ten, or all, as far as that is possible.

    Args:
        most: at most so many; 0 for 2,000, or ten of each class if that is more.
    """
    count = images_scored(len(dataset.val), len(dataset.classes), most)
    return dataset.val.subset(stratified_choice(dataset.val.labels, count, SCORED_OF_A_CLASS))


def images_scored(val_images: int, classes: int, most: int = 0) -> int:
    """How many images `scored_images` gives."""
    limit = max(SCORED_IMAGES, SCORED_OF_A_CLASS * classes)
    return min(val_images, limit, most or limit)


def recalibration_images(dataset: Dataset, most: int) -> Images:
    """Train images to choose `most` of for the statistics of batch norm: all, or of many classes some of each."""
    if most <= _RECALIBRATION_IMAGES:
        return dataset.train
    labels = dataset.train.labels
    return dataset.train.subset(stratified_choice(labels, min(most, len(labels)), _RECALIBRATION_OF_A_CLASS))


def _recalibration_images(classes: int, most_images: int) -> int:
    usual = max(_RECALIBRATION_IMAGES, _RECALIBRATION_OF_A_CLASS * classes)
    return min(usual, most_images or usual)


def images_a_score(val_images: int, most_images: int = 0, classes: int = 0, *, settled: bool = False) -> int:
    """Images that pass through a network while `score` judges it, where there are so many validation images.

    Args:
        settled: whether the statistics of the supernet's norms are kept.
    """
    judged = max(1, images_scored(val_images, classes, most_images))
    estimated = 0 if settled else _recalibration_images(classes, most_images)
    return estimated + judged * (2 if most_images else 1 + _passes(judged))


def best(scored: Sequence[Scored], latency: Constraint) -> Scored:
    """The slowest of those that the images cannot tell from the one with the lowest loss.

    They cannot where the mean difference in loss, image by image, is within its standard error (`as_good`): the
    one-standard-error rule, with capacity where that has simplicity; see docs/decisions/0013.
    """
    leader = min(scored, key=lambda item: item.loss)
    alike = [one for one in scored if as_good(one.losses, leader.losses)]
    return max(alike, key=lambda item: (latency.value(item.architecture.choices), -item.loss))


def told_apart(scored: Sequence[Scored], val_images: int) -> bool:
    """Whether the accuracies differ by more than 95 % of what chance alone does on so many validation images.

    That is two standard errors (`share_error`). A single architecture is told apart.

    Args:
        val_images: that scores are of.
    """
    if len(scored) < 2:
        return True
    accuracies = [one.accuracy for one in scored]
    return max(accuracies) - min(accuracies) > 2.0 * share_error(float(np.mean(accuracies)), max(1, val_images))


def costlier(choices: Sequence[int], preferences: OptionTable, feasible: FeasibleSet) -> list[tuple[int, ...]]:
    """Feasible architectures one change away that take more latency, the most preferred changes first.

    A change is another option of one decision or, within a group, one kept edge in the place of another.
    """
    slower = feasible.cost(choices) * (1.0 + _ROUNDING)
    found: list[tuple[float, tuple[int, ...]]] = []
    for swapped in feasible.neighbours(choices):
        if feasible.cost(swapped) > slower:
            changed = [decision for decision, option in enumerate(swapped) if option != choices[decision]]
            gain = sum(preferences[d][swapped[d]] - preferences[d][choices[d]] for d in changed)
            found.append((gain, swapped))
    return [swapped for _, swapped in sorted(found, reverse=True)]


@torch.inference_mode()
def _augmented_losses(
    module: nn.Module, images: Images, dataset: Dataset, device: torch.device, passes: int, *, balanced: bool
) -> NDArray[np.float64]:
    """Loss of each of a few passes of augmented validation images, the same ones for every network."""
    module.eval()
    generator, at_once = torch.Generator().manual_seed(0), evaluated_at_once(dataset.resolution)
    losses: list[torch.Tensor] = []
    labels: list[torch.Tensor] = []
    for _ in range(passes):
        stream = batches(images, dataset, batch_size=at_once, device=device, generator=generator, augment=True)
        for x, y in stream:
            losses.append(cross_entropy(module(x), y, reduction="none"))
            labels.append(y)
    found = np.asarray(torch.cat(losses).double().cpu().numpy())
    return found * image_weights(torch.cat(labels).cpu().numpy()) if balanced else found


def _passes(images: int) -> int:
    """Enough for 1,000 images."""
    return max(1, math.ceil(1000 / images))
