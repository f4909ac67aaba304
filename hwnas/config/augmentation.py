"""The options of section `train` about changes of the train images."""

from __future__ import annotations

from typing import Annotated

from hwnas.config.option import Option
from hwnas.config.section import Section


class TrainAugmentation(Section):
    """The options of how train images are changed at random; each image by itself, then pairs of a batch."""

    augment: Annotated[
        bool | None,
        Option("Augmentation: whether train images are changed at random.", by_default="true"),
    ] = None
    crop_scale: Annotated[
        float | None,
        Option(
            "Random resized crop: the smallest share of the area that is kept; 0 moves, turns and scales a little "
            "instead.",
            ge=0,
            le=1,
            by_default="0",
        ),
    ] = None
    color_jitter: Annotated[
        float | None,
        Option(
            "Colour jitter: how far brightness, contrast and saturation go from 1.",
            ge=0,
            le=1,
            by_default="0",
        ),
    ] = None
    trivial_augment: Annotated[
        bool | None, Option("TrivialAugment: one more change of each image.", by_default="false")
    ] = None
    random_erasing: Annotated[
        float | None,
        Option(
            "Random erasing: share of the images in which a rectangle is blanked.",
            ge=0,
            le=1,
            by_default="0",
        ),
    ] = None
    mixup: Annotated[
        float | None,
        Option("Mixup: α of the shares in which two images are blended; 0 is without.", ge=0, by_default="0"),
    ] = None
    cutmix: Annotated[
        float | None,
        Option("CutMix: α of the shares in which a part of an image is pasted; 0 is without.", ge=0, by_default="0"),
    ] = None
    cutout: Annotated[
        float | None,
        Option(
            "Cutout: side of a square that is blanked, as a share of the image's.",
            ge=0,
            le=1,
            by_default="follows the recipe",
        ),
    ] = None
