"""The options of section `train` about what a pre-trained parent teaches, and how gently its weights are changed."""

from __future__ import annotations

from typing import Annotated

from hwnas.config.option import Option
from hwnas.config.section import Section


class TrainTeaching(Section):
    """The options of trainings that start from a pre-trained parent."""

    distil_weight: Annotated[
        float | None,
        Option(
            "Distillation weight: of the divergence from the parent's predictions in the loss; labels have the rest.",
            ge=0,
            le=1,
            by_default="follows the start",
        ),
    ] = None
    distil_temperature: Annotated[
        float | None,
        Option(
            "Distillation temperature: what logits are divided by, those of the parent and those of the network.",
            gt=0,
            by_default="2",
        ),
    ] = None
    layer_decay: Annotated[
        float | None,
        Option(
            "Layer decay: what the learning rate is multiplied by with each stage before the last one.",
            gt=0,
            le=1,
            by_default="follows the start",
        ),
    ] = None
