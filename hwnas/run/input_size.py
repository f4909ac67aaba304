"""The input size of a search from a parent: of a few, the one whose best network within the budget sees most.

Larger inputs show more, and leave less of the parent within a budget. At each size the sums of replacement scores are
decoded under latencies that are estimated from the measured ends of the range. What is cut out of the parent there is
not trained: it is judged by new heads on its frozen features, on some of the train images, by cross-validation
(docs/decisions/0076).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset
from hwnas.devices.device import Device
from hwnas.errors import InfeasibleLimitError
from hwnas.image_size import Size
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.metrics import as_good, standard_error, stratified_choice
from hwnas.nas.decode import OptionTable, negative
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights, inherited_start
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.frozen import MOST_IMAGES, PENALTY, features, head, trunk
from hwnas.parents.inherit import inherit
from hwnas.parents.judged_head import FOLDS, HeldOut, cross_validated
from hwnas.parents.replacement import head_loss, replacement_scores
from hwnas.progress import Progress
from hwnas.run.affordable import work as work_of
from hwnas.run.constrained_space import ConstrainedSpace
from hwnas.run.instance import ChosenInstance, work

LADDER = (224, 192, 160, 128, 112, 96, 80, 64)
"""Sides of square inputs, or shorter sides of others, in pixels."""
MOST_SIZES = 3
_JUDGED, _OF_A_CLASS, _LEAST_OF_A_CLASS, _SCORED, _TIMED = 800, 8, 4, 48, 32  # images, where the minutes are enough
_ENOUGH_MINUTES, _LEAST_SHARE = 8.0, 0.25
_COMPARED_SHARE = 0.1  # of the minutes, that the features of all sizes may take
_TARGET = 0.95  # of the budget, as latencies are estimates
_SCORED_SIDE = 96  # pixels of the shorter side, at least: maps of later blocks are hardly more than a pixel below
_BATCH = _FEWEST_SCORED = 16  # images of replacement scores, at once and at least
_PENALTIES = (PENALTY, 10 * PENALTY, 100 * PENALTY)  # of a head on few images, the one that validates best
_HEADS_SHARE, _HEADS = 0.4, 3  # of the minutes, without gradients; heads of the parent, the winner, a random network
_EVALUATED, _OPTION_PASSES = 0.35, 480  # images of evaluations, of those to train on; passes of few scores of options
_FEWEST_HEAD_IMAGES = 256  # with fewer at a size, the minutes are not enough for it


Span = tuple[SearchSpace, tuple[float, float]]
"""An instance, with the latencies of its smallest and of its largest network in milliseconds."""


@dataclass(frozen=True)
class Judges:
    """What networks are compared by.

    Attributes:
        dataset: some of the images, of which those to train on count, with the mean and deviation of the parent.
        balanced: whether every class counts the same, rather than every image.
        device: that computes.
        minutes: of the run; 0 where nobody says.
        train_images: that heads of the run are fitted on, where the minutes are enough.
        unit_s: seconds that a unit of work takes in a network without gradients; 0 where nobody asks.
    """

    parent: ParentWeights
    dataset: Dataset
    balanced: bool
    device: torch.device
    minutes: float = 0.0
    train_images: int = MOST_IMAGES
    unit_s: float = 0.0

    def at(self, size: Size) -> Dataset:
        """The images at another size."""
        return replace(self.dataset, train=self.dataset.train.resized(size))

    def of(self, count: int) -> Judges:
        """The same with so many images at most, and no fewer than four of each class."""
        train, least = self.dataset.train, _LEAST_OF_A_CLASS * len(self.dataset.classes)
        chosen = stratified_choice(train.labels, max(count, least), _LEAST_OF_A_CLASS)
        return replace(self, dataset=replace(self.dataset, train=train.subset(chosen)))

    def head_images(self, units: float) -> int:
        """On how many train images heads can be fitted in networks of so much work, within the minutes.

        The evaluation of the networks and the scores of replacements come first; below 0 not even these end in time.
        """
        passes = _HEADS_SHARE * 60.0 * self.minutes / (self.unit_s * units)
        left = passes - _EVALUATED * self.train_images - _OPTION_PASSES
        return min(self.train_images, MOST_IMAGES, math.floor(left / _HEADS))


@dataclass(frozen=True, eq=False)
class Trial:
    """The best network of one input size within the budget, cut out of the parent and not trained.

    Attributes:
        range_ms: measured, of the smallest and of the largest network.
        network_ms: estimated, of this one.
        judged: heads on its frozen features; by the mean of their losses it is judged.
        head_images: that heads see within the minutes of the run; see `expected`.
        factor: by which the losses change with so many images.
    """

    size: Size
    range_ms: tuple[float, float]
    choices: tuple[int, ...]
    network_ms: float
    judged: HeldOut
    head_images: int = 0
    factor: float = 1.0

    @property
    def losses(self) -> NDArray[np.float64]:
        """(N,) nats, as they are expected of heads on the images that these see."""
        return self.factor * self.judged.losses

    @property
    def loss(self) -> float:
        """Their mean."""
        return float(self.losses.mean())

    def to_json(self, best: Trial) -> dict[str, Any]:
        """Ready for JSON.

        Args:
            best: the trial of the least loss.
        """
        return {
            "input": [self.size.height, self.size.width],
            "range_ms": list(self.range_ms),
            "choices": list(self.choices),
            "estimated_ms": self.network_ms,
            "validation_loss": self.judged.loss,
            "validation_accuracy": self.judged.accuracy,
            "head_images": self.head_images or None,
            "expected_loss": self.loss,
            "worse_by": self.loss - best.loss,
            "worse_by_error": standard_error(self.losses - best.losses),
        }


def few_images(dataset: Dataset, minutes: float) -> Dataset:
    """Some of the train images, with the shares of the classes: fewer where the minutes are few; 0 is no limit."""
    share = min(1.0, max(_LEAST_SHARE, minutes / _ENOUGH_MINUTES)) if minutes else 1.0
    count = max(int(share * _JUDGED), _OF_A_CLASS * len(dataset.classes))
    return replace(dataset, train=dataset.train.subset(stratified_choice(dataset.train.labels, count, _OF_A_CLASS)))


def best_size(
    found: ChosenInstance,
    spans: Sequence[Span],
    budget_ms: float,
    judges: Callable[[], Judges],
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    device: Device,
    progress: Progress,
) -> ChosenInstance:
    """`found`, or an instance of a smaller input whose best network within the budget is better before any training.

    Sizes are compared down to the first one at which the whole parent is within the budget: below, nothing is gained.

    Args:
        spans: instances with their latency ranges, from that of `found` to the smallest input.
    """
    scored = [space for space, _ in spans if _size(space).short >= _SCORED_SIDE]
    asked = timed(judges(), spans) if len(spans) > 1 else None
    if asked is not None and asked.minutes:
        ends = [span for span in spans if asked.head_images(_parent_work(span[0])) >= _FEWEST_HEAD_IMAGES]
        spans = ends or spans[-1:]
        if spans[0][0] is not found.space:
            low, high = spans[0][1]
            why = f"{asked.minutes:g} minutes are not enough for heads at a larger input"
            found = replace(found, space=spans[0][0], reason=f"{low:.3g} to {high:.3g} ms on {device.id}: {why}")
    spans = spans[:MOST_SIZES]
    whole = next((place for place, (_, span) in enumerate(spans) if span[1] <= budget_ms), len(spans) - 1)
    spans = spans[: whole + 1]
    if asked is None or len(spans) < 2:
        return found
    sides = ", ".join(str(_size(space)) for space, _ in spans)
    progress.say(
        f"comparing what is left of the parent within {budget_ms:g} ms at {sides} pixels, on some of the images"
    )
    least = min([spans[-1][0], *scored[-1:]], key=lambda space: _size(space).pixels)
    judged = trials(spans, budget_ms, hasty(asked, [space for space, _ in spans]), constrain, progress, scored=least)
    if not judged:
        return found
    taken, reason = preferred(judged, math.log(found.space.classes))
    best = min(judged, key=lambda one: one.loss)
    low, high = taken.range_ms
    told = f"{low:.3g} to {high:.3g} ms on {device.id}: losses of the best networks within {budget_ms:g} ms, {reason}"
    space = next(space for space, _ in spans if _size(space) == taken.size)
    return replace(found, space=space, reason=told, sizes=tuple(one.to_json(best) for one in judged))


def trials(
    spans: Sequence[Span],
    budget_ms: float,
    judges: Judges,
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    progress: Progress,
    *,
    scored: SearchSpace,
) -> list[Trial]:
    """The best network at each size, judged; sizes at which the other limits leave nothing are left out.

    Args:
        spans: instances from the largest input to the smallest, with the measured ends of their latencies.
        scored: an instance of a small input, at which replacements are scored; that holds for all of them.
    """
    scores = _scores(scored, judges, progress)
    found, works = [], []
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
                judged = _judged(left.space, choices, judges)
                found.append(Trial(_size(space), range_ms, choices, model.predict_ms(choices), judged))
                works.append(work_of(left.space.network(left.space.architecture(choices)).graph))
            advance(1, f"{_size(space)} pixels")
    return expected(found, works, judges)


def timed(judges: Judges, spans: Sequence[Span]) -> Judges:
    """With the time of a unit of work, where there are minutes: of a few images in the parent at the smallest size."""
    if not judges.minutes:
        return judges
    space = spans[-1][0]
    network = space.network(space.architecture([0] * len(space.decisions)))
    body, dataset = trunk(network, inherit(judges.parent, network)), judges.of(_TIMED).at(_size(space))
    seconds = math.inf
    for _ in range(3):  # of which the first one also reads the images, and others may disturb the others
        began = time.monotonic()
        features(body, dataset.train, dataset, device=judges.device)
        seconds = min(seconds, time.monotonic() - began)
    return replace(judges, unit_s=max(seconds, 1e-9) / len(dataset.train) / _parent_work(space))


def hasty(judges: Judges, spaces: Sequence[SearchSpace]) -> Judges:
    """With so few images that their features at all sizes take a tenth of the minutes at most."""
    if not judges.minutes:
        return judges
    image_s = judges.unit_s * sum(map(_parent_work, spaces))
    return judges.of(int(_COMPARED_SHARE * 60.0 * judges.minutes / image_s))


def expected(found: Sequence[Trial], works: Sequence[float], judges: Judges) -> list[Trial]:
    """The trials with the losses that are expected of heads on as many images as the minutes leave them.

    So minutes forbid no input at which a run can end: they make it as much worse as fewer images do. Losses are a power
    of the number of images (Hestness et al., 2017), which is the same for all sizes, as noise is; so is the time of a
    unit of work, and a machine that is busy for a while counts for all of them.

    Args:
        works: of an image in each network.
    """
    if not (judges.minutes and found):
        return list(found)
    power = max(0.0, mean(math.log2(one.judged.halved / one.judged.loss) for one in found))
    fitted = len(found[0].judged.losses) * (1 - 1 / FOLDS)
    adjusted = []
    for one, units in zip(found, works, strict=True):
        images = max(1, judges.head_images(units))
        adjusted.append(replace(one, head_images=images, factor=(images / fitted) ** -power))
    return adjusted


def preferred(found: Sequence[Trial], chance: float) -> tuple[Trial, str]:
    """The input that is taken, and what was found at all of them, in a phrase.

    It is the smallest of those whose losses the images cannot tell from the least ones (`as_good`): there the least of
    the parent has to go, and the minutes go farthest. A loss above chance tells no more than that the network knows
    nothing: it counts as chance.

    Args:
        found: from the largest input to the smallest.
        chance: the loss of a network that knows nothing, in nats.
    """
    best = min(found, key=lambda one: min(one.loss, chance))
    alike = [one for one in found if one is best or (one.loss < chance and as_good(one.losses, best.losses))]
    told = ", ".join(_told(one, best) for one in found)
    unknowing = ", ".join(str(one.size) for one in found if one.loss >= chance)
    why = f"; at {unknowing} it is no better than chance, {chance:.3f}, and says nothing" if unknowing else ""
    if alike[-1] is not best:
        why += f"; {alike[-1].size} is as good as {best.size} within one standard error, and smaller"
    images = {one.head_images for one in found}
    counts = ", ".join(str(one.head_images) for one in found)
    within = f"; heads see {counts} train images there" if len(images) > 1 else ""
    return alike[-1], f"before any training, are {told} pixels{within}{why}"


def _told(one: Trial, best: Trial) -> str:
    error = "" if one is best else f" (± {standard_error(one.losses - best.losses):.3f})"
    return f"{one.loss:.3f}{error} at {one.size}"


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
    scored = min(_SCORED, max(_FEWEST_SCORED, len(dataset.train) * _SCORED // _JUDGED))
    images = dataset.train.subset(stratified_choice(dataset.train.labels, scored, 1))
    return replacement_scores(blocks, images, dataset, head_loss(own), batch_size=_BATCH, progress=progress)


def _judged(space: SearchSpace, choices: Sequence[int], judges: Judges) -> HeldOut:
    """Heads on the frozen features of a network; see `Trial`."""
    dataset = judges.at(_size(space))
    network = space.network(space.architecture(choices))
    found = features(trunk(network, inherit(judges.parent, network)), dataset.train, dataset, device=judges.device)
    labels = torch.from_numpy(dataset.train.labels)
    return cross_validated(found, labels, dataset, balanced=judges.balanced, penalties=_PENALTIES)


def _parent_work(space: SearchSpace) -> float:
    """Of an image in the whole parent."""
    return work_of(space.network(space.architecture([0] * len(space.decisions))).graph)


def _size(space: SearchSpace) -> Size:
    return Size(*space.input_shape[1:])
