"""Pictures of ten silhouettes in clutter, 48×48 in colour, drawn as they are asked for: no file, no download.

A set on which architecture matters: a class is a form, and neither a place, a size, an area, a colour, a texture nor a
part of a form. See docs/decisions/0088. The pictures are part of hwnas and come under its licence.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.resize import fitted
from hwnas.data.scenes import SIZE, pictures
from hwnas.data.silhouettes import NAMES
from hwnas.image_size import Size

COUNTS = (6000, 1000, 2000)
"""Pictures to train, to validate and to test with."""

_SEED = 0


class Shapes:
    """Three channels; the same pictures in the same parts always, as many of each class, resized bilinearly.

    Silhouettes are mirrored half the time, so a mirrored picture keeps its class.
    """

    def native_shape(self) -> tuple[int, Size]:
        return 3, Size.square(SIZE)

    def classes(self) -> tuple[str, ...]:
        return NAMES

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        train, val, test = (Images(fitted(part, resolution, "crop"), _labels(len(part))) for part in _drawn())
        return assemble("shapes", NAMES, train, seed=seed, flip=True, val=val, test=test)


@cache
def _drawn() -> tuple[NDArray[np.uint8], ...]:
    """The pictures of each part; a plan counts them and a run trains on them, so they are kept: 59 MiB."""
    firsts = (0, *accumulate(COUNTS))
    return tuple(
        pictures(_labels(count), seed=_SEED, first=first) for count, first in zip(COUNTS, firsts, strict=False)
    )


def _labels(count: int) -> NDArray[np.int64]:
    return np.arange(count) % len(NAMES)
