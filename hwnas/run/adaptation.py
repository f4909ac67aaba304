"""How long a parent is adapted to the images: by the minutes there are, or as usual."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from hwnas.data import Dataset
from hwnas.parents.frozen import MOST_IMAGES
from hwnas.schema import at_least

_USUAL_STEPS, _USUAL_SCORE_IMAGES, _FEWEST_SCORE_IMAGES, _FEWEST_HEAD_IMAGES = 400, 256, 16, 64
_AT_ONCE_PIXELS = 32 * 160**2  # of a step: the maps between all blocks are kept during it
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 32, 4
_CANDIDATES = 24
_SCORE_STEPS = 7.0  # steps that take as long for an image as its scores of all options and candidates (0062, 0066)
_HEAD_SHARE, _IDLE_HEAD_SHARE = 0.15, 0.5  # of the minutes that are left, at most; then of the rest:
_DISTIL_SHARE, _SCORE_SHARE, _COMPARED_SHARE = 0.25, 0.1, 0.1
_WHOLE_CUT = 0.5  # of the latency range: where less has to go, distillation gets less in proportion (0071)
_FEWEST_DISTIL_STEPS = 8  # fewer are left out
_MOST_COMPARED, _FEWEST_COMPARED, _COMPARED_PASSES = 400, 32, 6  # images of a candidate; passes: three of them, twice


@dataclass(frozen=True)
class Adaptation:
    """How long a parent is adapted.

    Attributes:
        steps: of the distillation.
        batch_size: of these steps.
        score_images: validation images that the scores of replacements are the mean of.
        candidates: whole networks that are scored on them, to correct the sums of these scores; 0 in runs of earlier
            versions.
        head_images: train images that the parent's head is fitted on, at most.
        compared_images: validation images that candidates are compared on, at most; with 0 none is, and what the scores
            of replacements prefer is taken.
    """

    steps: Annotated[int, at_least(0)]
    batch_size: Annotated[int, at_least(1)]
    score_images: Annotated[int, at_least(1)]
    candidates: Annotated[int, at_least(0)] = 0
    head_images: Annotated[int, at_least(1)] = MOST_IMAGES
    compared_images: Annotated[int, at_least(0)] = _MOST_COMPARED


@dataclass(frozen=True)
class StepTimes:
    """Seconds that tell how much the minutes are enough for.

    Attributes:
        distil_s: of a step of distillation.
        frozen_s: of an image in the parent without gradients.
        trainings_s: of the final trainings, where each takes the fewest steps that are worth it.
    """

    distil_s: float
    frozen_s: float = 0.0
    trainings_s: float = 0.0


def usual_adaptation(dataset: Dataset, cut: float = 1.0) -> Adaptation:
    """Where no minutes are given; fewer images at once where they are large, and fewer steps where little has to go.

    Args:
        cut: see `hwnas.run.parent_cut`.
    """
    height, width = dataset.size
    batch_size = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, _AT_ONCE_PIXELS // (height * width)))
    steps = math.ceil(_USUAL_STEPS * min(1.0, cut / _WHOLE_CUT))
    return Adaptation(steps, min(batch_size, len(dataset.train)), _USUAL_SCORE_IMAGES, _CANDIDATES)


def distil_steps(left_s: float, times: StepTimes, cut: float) -> int:
    """Steps of distillation, of the seconds that are left after the head of the parent.

    They take a quarter where half of the latency range or more has to go, and less in proportion where less has to.
    The final trainings come first: what their fewest steps, the scores and the comparison take is not spent. Few steps
    are none (docs/decisions/0071).

    Args:
        cut: see `hwnas.run.parent_cut`.
    """
    share = _DISTIL_SHARE * min(1.0, cut / _WHOLE_CUT)
    room_s = (1.0 - _SCORE_SHARE - _COMPARED_SHARE) * left_s - times.trainings_s
    steps = int(max(0.0, min(share * left_s, room_s)) / times.distil_s)
    return steps if steps >= _FEWEST_DISTIL_STEPS else 0


def affordable_adaptation(
    usual: Adaptation, left_s: float, times: StepTimes, *, train_images: int, cut: float = 1.0
) -> Adaptation:
    """As many steps and images as the time that is left is enough for.

    The head takes 15 % at most; of the rest, steps of distillation take a quarter at most (`distil_steps`), and scores
    and the comparison of candidates a tenth each. Where the comparison would see a few images only, there is none.

    Args:
        cut: see `hwnas.run.parent_cut`. At 0 the parent itself is the winner, and half of the time may go to its head,
            as options are for the random network alone, and do not learn.
    """
    share = _HEAD_SHARE if cut else _IDLE_HEAD_SHARE
    head_images = min(train_images, usual.head_images)
    if head_images * times.frozen_s > share * left_s:
        head_images = max(_FEWEST_HEAD_IMAGES, int(share * left_s / times.frozen_s))
        usual = replace(usual, head_images=head_images)
    if not cut:
        return replace(usual, steps=0, score_images=_FEWEST_SCORE_IMAGES, candidates=0, compared_images=0)
    left_s = max(0.0, left_s - head_images * times.frozen_s)
    image_s = _SCORE_STEPS * times.distil_s / usual.batch_size
    images = min(usual.score_images, int(_SCORE_SHARE * left_s / image_s))
    compared = usual.compared_images
    if times.frozen_s:
        compared = min(compared, int(_COMPARED_SHARE * left_s / _COMPARED_PASSES / times.frozen_s))
    return replace(
        usual,
        steps=distil_steps(left_s, times, cut),
        score_images=max(_FEWEST_SCORE_IMAGES, images),
        compared_images=compared if compared >= _FEWEST_COMPARED else 0,
    )


def adapting_s(adaptation: Adaptation, times: StepTimes, *, scores: bool) -> float:
    """Seconds that the distillation and the scores of replacements take.

    Args:
        scores: whether replacements are scored.
    """
    images = scores * adaptation.score_images * _SCORE_STEPS / adaptation.batch_size
    return times.distil_s * (adaptation.steps + images)
