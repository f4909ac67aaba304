"""How long a parent is adapted to the images: by the minutes there are, or as usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from hwnas.data import Dataset
from hwnas.parents.frozen import MOST_IMAGES

_USUAL_STEPS, _USUAL_SCORE_IMAGES, _FEWEST_SCORE_IMAGES, _FEWEST_HEAD_IMAGES = 400, 256, 16, 64
_AT_ONCE_PIXELS = 32 * 160**2  # of a step: the maps between all blocks are kept during it
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 32, 4
_CANDIDATES = 24
_SCORE_STEPS = 7.0  # steps that take as long for an image as its scores of all options and candidates (0062, 0066)
_HEAD_SHARE, _IDLE_HEAD_SHARE = 0.15, 0.5  # of the minutes that are left, at most; then of the rest:
_DISTIL_SHARE, _SCORE_SHARE, _COMPARED_SHARE = 0.25, 0.1, 0.1
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

    steps: int
    batch_size: int
    score_images: int
    candidates: int = 0
    head_images: int = MOST_IMAGES
    compared_images: int = _MOST_COMPARED


@dataclass(frozen=True)
class StepTimes:
    """Seconds that tell how much the minutes are enough for.

    Attributes:
        distil_s: of a few steps of distillation, of which the first one takes longer; none where options are idle.
        frozen_s: of an image in the parent without gradients.
    """

    distil_s: Sequence[float]
    frozen_s: float = 0.0


def usual_adaptation(dataset: Dataset) -> Adaptation:
    """Where no minutes are given; fewer images at once where they are large."""
    height, width = dataset.size
    batch_size = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, _AT_ONCE_PIXELS // (height * width)))
    return Adaptation(_USUAL_STEPS, min(batch_size, len(dataset.train)), _USUAL_SCORE_IMAGES, _CANDIDATES)


def adapted_s(left_s: float, head_s: float) -> tuple[float, float]:
    """Seconds for the head of a parent, and for its options and their scores, of those that are left.

    Args:
        head_s: that the features of all train images take.
    """
    head_s = min(_HEAD_SHARE * left_s, head_s)
    return head_s, (_DISTIL_SHARE + _SCORE_SHARE) * (left_s - head_s)


def affordable_adaptation(
    usual: Adaptation, left_s: float, times: StepTimes, *, train_images: int, idle: bool = False
) -> Adaptation:
    """As many steps and images as the time that is left is enough for.

    The head takes 15 % at most; of the rest, steps take a quarter, and scores and the comparison of candidates a tenth
    each. Where the comparison would see a few images only, there is none.

    Args:
        idle: whether the parent itself keeps every budget. Then it is the winner, and half of the time may go to its
            head, as options learn for the random network alone.
    """
    share = _IDLE_HEAD_SHARE if idle else _HEAD_SHARE
    head_images = min(train_images, usual.head_images)
    if head_images * times.frozen_s > share * left_s:
        head_images = max(_FEWEST_HEAD_IMAGES, int(share * left_s / times.frozen_s))
        usual = replace(usual, head_images=head_images)
    if idle:
        return replace(usual, steps=1, score_images=_FEWEST_SCORE_IMAGES, candidates=0, compared_images=0)
    left_s = max(0.0, left_s - head_images * times.frozen_s)
    step_s = mean(times.distil_s[1:])
    image_s = _SCORE_STEPS * step_s / usual.batch_size
    images = min(usual.score_images, int(_SCORE_SHARE * left_s / image_s))
    compared = usual.compared_images
    if times.frozen_s:
        compared = min(compared, int(_COMPARED_SHARE * left_s / _COMPARED_PASSES / times.frozen_s))
    return replace(
        usual,
        steps=max(1, int(_DISTIL_SHARE * left_s / step_s)),
        score_images=max(_FEWEST_SCORE_IMAGES, images),
        compared_images=compared if compared >= _FEWEST_COMPARED else 0,
    )
