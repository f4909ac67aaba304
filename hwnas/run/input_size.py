"""The input size of a search from a parent: of a few, the one whose best network within the budget sees most.

Larger inputs show more, and leave less of the parent within a budget. At each size the sums of replacement scores are
decoded under latencies that are estimated from the measured ends of the range. What is cut out of the parent there is
not trained: it is judged by a new head on its frozen features, on a few of the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset, Images
from hwnas.devices.device import Device
from hwnas.errors import InfeasibleLimitError
from hwnas.image_size import Size
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.metrics import stratified_choice
from hwnas.nas.decode import OptionTable, negative
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights, inherited_start
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.frozen import PENALTY, features, head, trunk
from hwnas.parents.inherit import inherit
from hwnas.parents.replacement import head_loss, replacement_scores
from hwnas.progress import Progress
from hwnas.run.constrained_space import ConstrainedSpace
from hwnas.run.instance import ChosenInstance, measured_ranges, work

LADDER = (224, 192, 160, 128, 112, 96, 80, 64)
"""Sides of square inputs, or shorter sides of others, in pixels."""
MOST_SIZES = 3
_TRAIN, _VAL, _SCORED = 400, 256, 48  # images, where the minutes are enough
_OF_A_CLASS = 4
_ENOUGH_MINUTES, _LEAST_SHARE = 12.0, 0.25
_TARGET = 0.95  # of the budget, as latencies are estimates
_BATCH = 16  # of replacement scores
_PENALTIES = (PENALTY, 10 * PENALTY, 100 * PENALTY)  # of a head on few images, the one that validates best


@dataclass(frozen=True)
class Judges:
    """What networks are compared by.

    Attributes:
        dataset: few images, with the mean and deviation of the parent.
        balanced: whether every class counts the same, rather than every image.
        device: that computes.
    """

    parent: ParentWeights
    dataset: Dataset
    balanced: bool
    device: torch.device

    def at(self, size: Size) -> Dataset:
        """The images at another size."""
        train, val = (one.resized(size) for one in (self.dataset.train, self.dataset.val))
        return replace(self.dataset, train=train, val=val)


@dataclass(frozen=True)
class Trial:
    """The best network of one input size within the budget, cut out of the parent and not trained.

    Attributes:
        range_ms: measured, of the smallest and of the largest network.
        network_ms: estimated, of this one.
        losses: cross entropy in nats of a head on its frozen features, for each validation image; by their mean it is
            judged.
        accuracy: of the same, 0 to 1.
    """

    size: Size
    range_ms: tuple[float, float]
    choices: tuple[int, ...]
    network_ms: float
    losses: tuple[float, ...]
    accuracy: float

    @property
    def loss(self) -> float:
        """The mean of the losses."""
        return mean(self.losses)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "input": [self.size.height, self.size.width],
            "range_ms": list(self.range_ms),
            "choices": list(self.choices),
            "estimated_ms": self.network_ms,
            "validation_loss": self.loss,
            "validation_accuracy": self.accuracy,
        }


def few_images(dataset: Dataset, minutes: float) -> Dataset:
    """Some of the images, with the shares of the classes: fewer where the minutes are few; 0 is no limit of minutes."""
    share = min(1.0, max(_LEAST_SHARE, minutes / _ENOUGH_MINUTES)) if minutes else 1.0

    def some(images: Images, most: int) -> Images:
        count = max(int(share * most), _OF_A_CLASS * len(dataset.classes))
        return images.subset(stratified_choice(images.labels, count, 1))

    return replace(dataset, train=some(dataset.train, _TRAIN), val=some(dataset.val, _VAL))


def best_size(
    largest: ChosenInstance,
    smaller: Sequence[SearchSpace],
    budget_ms: float,
    judges: Callable[[], Judges],
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    device: Device,
    progress: Progress,
) -> ChosenInstance:
    """`largest`, or an instance of a smaller input whose best network within the budget is better before any training.

    Sizes are compared down to the first one at which the whole parent is within the budget: below, nothing is gained.
    """
    spaces = [largest.space, *smaller][:MOST_SIZES]
    if len(spaces) < 2:
        return largest
    sides = ", ".join(str(_size(space)) for space in spaces)
    progress.say(
        f"measuring the parent at {sides} pixels on {device.id}, and comparing what is left of it there within "
        f"{budget_ms:g} ms, on a few of the images"
    )
    ranges = measured_ranges(spaces, device, progress=progress)
    whole = next((place for place, (_, high) in enumerate(ranges) if high <= budget_ms), len(ranges) - 1)
    spans = list(zip(spaces, ranges, strict=True))[: whole + 1]
    found = trials(spans, budget_ms, judges(), constrain, progress) if len(spans) > 1 else []
    if not found:
        return largest
    best, why = preferred(found, math.log(largest.space.classes))
    told = ", ".join(f"{one.loss:.3f} at {one.size}" for one in found)
    reason = (
        f"{best.range_ms[0]:.3g} to {best.range_ms[1]:.3g} ms on {device.id}: validation losses of the best networks "
        f"within {budget_ms:g} ms, before any training, are {told} pixels{why}"
    )
    space = next(space for space, _ in spans if _size(space) == best.size)
    return replace(largest, space=space, reason=reason, sizes=tuple(one.to_json() for one in found))


def trials(
    spans: Sequence[tuple[SearchSpace, tuple[float, float]]],
    budget_ms: float,
    judges: Judges,
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    progress: Progress,
) -> list[Trial]:
    """The best network at each size, judged; sizes at which the other limits leave nothing are left out.

    Scores are of the smallest size and hold for all of them.

    Args:
        spans: instances from the largest input to the smallest, with the measured ends of their latencies.
    """
    scores = _scores(spans[-1][0], judges, progress)
    found = []
    with progress.track("compare input sizes", len(spans)) as advance:
        for space, range_ms in spans:
            try:
                left = constrain(space)
            except InfeasibleLimitError:
                advance()
                continue
            model = estimated_latency(space, range_ms).restricted(left.kept)
            target_ms = max(_TARGET * budget_ms if model.largest_ms > budget_ms else budget_ms, model.smallest_ms)
            rows = [[row[k] for k in kept] for row, kept in zip(scores, left.kept, strict=True)]
            choices = left.feasible_set(model, target_ms, budget_ms).decode(negative(rows))
            if choices is not None:
                quality = _judged(left.space, choices, judges)
                found.append(Trial(_size(space), range_ms, choices, model.predict_ms(choices), *quality))
            advance(1, f"{_size(space)} pixels")
    return found


def preferred(found: Sequence[Trial], chance: float) -> tuple[Trial, str]:
    """The input of the least loss, the largest of equal ones, and what has to be said of it.

    A loss above chance tells no more than that the network knows nothing: it counts as chance.

    Args:
        found: from the largest input to the smallest.
        chance: the loss of a network that knows nothing, in nats.
    """
    taken = min(found, key=lambda one: min(one.loss, chance))
    unknowing = ", ".join(str(one.size) for one in found if one.loss >= chance)
    why = f"; at {unknowing} it is no better than chance, {chance:.3f}, and says nothing" if unknowing else ""
    return taken, why


def estimated_latency(space: SearchSpace, range_ms: tuple[float, float]) -> AdditiveLatency:
    """Latencies between the measured ends of an instance, as its networks are between these by their work."""
    costs = space.costs(work)
    slope = (range_ms[1] - range_ms[0]) / max(costs.largest - costs.smallest, 1e-300)
    slope = max(slope, 1e-300)
    table = tuple(map(tuple, costs.table))
    return AdditiveLatency(table, 0.0, slope, range_ms[0] - slope * costs.smallest, groups=costs.groups)


def _scores(space: SearchSpace, judges: Judges, progress: Progress) -> OptionTable:
    """What each option of an instance costs in the place of the parent's block, as a slice that has not learned."""
    dataset, parent = judges.at(_size(space)), judges.parent
    network = space.network(space.architecture([0] * len(space.decisions)))
    found = features(trunk(network, inherit(parent, network)), dataset.train, dataset, device=judges.device)
    own = head(found, torch.from_numpy(dataset.train.labels), dataset, balanced=judges.balanced)
    supernet = Supernet(space)
    inherited_start(parent, space).apply(supernet, [])
    blocks = ParentBlocks(supernet, parent, device=judges.device)
    images = dataset.train.subset(stratified_choice(dataset.train.labels, _SCORED, 1))
    return replacement_scores(blocks, images, dataset, head_loss(own), batch_size=_BATCH, progress=progress)


def _judged(space: SearchSpace, choices: Sequence[int], judges: Judges) -> tuple[tuple[float, ...], float]:
    """Validation losses and accuracy of a head on the frozen features of a network; see `Trial`."""
    dataset = judges.at(_size(space))
    network = space.network(space.architecture(choices))
    body = trunk(network, inherit(judges.parent, network))
    train, val = (features(body, one, dataset, device=judges.device) for one in (dataset.train, dataset.val))
    labels, seen = (torch.from_numpy(one.labels) for one in (dataset.train, dataset.val))
    heads = (head(train, labels, dataset, balanced=judges.balanced, penalty=penalty) for penalty in _PENALTIES)
    found = [head_quality(val, seen, own, dataset, balanced=judges.balanced) for own in heads]
    return min(found, key=lambda one: mean(one[0]))


def head_quality(
    found: torch.Tensor,
    labels: torch.Tensor,
    own: Mapping[str, torch.Tensor],
    dataset: Dataset,
    *,
    balanced: bool,
) -> tuple[tuple[float, ...], float]:
    """Cross entropy in nats of each image, with the weight of its class, and accuracy of a head.

    Args:
        found: features (N, D), with labels (N,).
    """
    logits = found @ own["weight"].T + own["bias"]
    weights = torch.tensor(dataset.class_weights(balanced=balanced))
    shares = weights[labels] / weights[labels].mean()
    losses = shares * cross_entropy(logits, labels, reduction="none")
    return tuple(losses.tolist()), float((logits.argmax(1) == labels).float().mean())


def _size(space: SearchSpace) -> Size:
    return Size(*space.input_shape[1:])
