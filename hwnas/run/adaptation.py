"""How long a parent is adapted to the images: by the minutes there are, or as usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

from hwnas.data import Dataset

_USUAL_STEPS, _USUAL_SCORE_IMAGES, _FEWEST_SCORE_IMAGES = 400, 256, 16
_AT_ONCE_PIXELS = 32 * 160**2  # of a step: the maps between all blocks are kept during it
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 32, 4
_CANDIDATES = 24
_SCORE_STEPS = 7.0  # steps that take as long for an image as its scores of all options and candidates (0062, 0066)
_DISTIL_SHARE, _SCORE_SHARE = 0.25, 0.1  # of the minutes that are left
ADAPTATION_SHARE = _DISTIL_SHARE + _SCORE_SHARE


@dataclass(frozen=True)
class Adaptation:
    """How long a parent is adapted.

    Attributes:
        steps: of the distillation.
        batch_size: of these steps.
        score_images: validation images that the scores of replacements are the mean of.
        candidates: whole networks that are scored on them, to correct the sums of these scores; 0 in runs of earlier
            versions.
    """

    steps: int
    batch_size: int
    score_images: int
    candidates: int = 0


def usual_adaptation(dataset: Dataset) -> Adaptation:
    """Where no minutes are given; fewer images at once where they are large."""
    height, width = dataset.size
    batch_size = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, _AT_ONCE_PIXELS // (height * width)))
    return Adaptation(_USUAL_STEPS, min(batch_size, len(dataset.train)), _USUAL_SCORE_IMAGES, _CANDIDATES)


def affordable_adaptation(usual: Adaptation, left_s: float, times_s: Sequence[float]) -> Adaptation:
    """As many steps and images as a quarter and a tenth of the time that is left are enough for.

    Args:
        times_s: seconds of a few steps; the first one takes longer.
    """
    step_s = mean(times_s[1:])
    image_s = _SCORE_STEPS * step_s / usual.batch_size
    images = min(usual.score_images, int(_SCORE_SHARE * left_s / image_s))
    return replace(
        usual, steps=max(1, int(_DISTIL_SHARE * left_s / step_s)), score_images=max(_FEWEST_SCORE_IMAGES, images)
    )
