"""Every option of a search but those of augmentation: name, type, default, rule, help, unit and flag, each once.

A default of None, or of 0 where the help says so, follows the data, the budget or the minutes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from hwnas.config import renamed
from hwnas.config.augmentation import TrainAugmentation
from hwnas.config.method import SearchMethod
from hwnas.config.micro_batch import MicroBatch
from hwnas.config.option import Option
from hwnas.config.section import Section
from hwnas.config.share import parse_share
from hwnas.config.starts import AUTO, init_value
from hwnas.config.teaching import TrainTeaching
from hwnas.image_size import LARGEST_SIDE, SMALLEST_SIDE, Size, size_value
from hwnas.metric_names import Metric

Evaluator = Literal["", "one-shot", "from-scratch"]
Reward = Literal["filter", "absolute"]
RecipeName = Literal["auto", "default", "cells"]
Fit = Literal["auto", "crop", "pad", "squash"]
Flip = Literal["auto", "on", "off"]
_MOST = 1_000_000


class Data(Section):
    title: ClassVar[str] = "data"
    about: ClassVar[str] = "The images."

    source: Annotated[
        str,
        Option(
            "`digits`, `shapes`, `mnist`, `cifar10`, `omniglot`, a folder with one sub-folder of images a class, also "
            "inside of train, val and test, or a CSV, .npz or Parquet file.",
            flag="--data",
        ),
    ] = "digits"
    labels: Annotated[
        str,
        Option(
            "Labels of the images in a folder: a CSV file, or `filename` for what is before the number in file names.",
            flag="--labels",
            example="--labels photos/labels.csv",
            by_default="the folders' names, or a CSV file in the folder",
        ),
    ] = ""
    fit: Annotated[
        Fit,
        Option(
            "Fit of images of another shape than the input: crop to the centre, pad with grey, or squash; auto pads "
            "where shapes differ by a factor of more than 1.8 in the median, and else crops.",
            flag="--fit",
        ),
    ] = "auto"
    flip: Annotated[
        Flip,
        Option(
            "Flip train images left-right at random: on, off, or auto, which is off where classes are mirrored images "
            "of each other, by their names or by a probe.",
            flag="--flip",
        ),
    ] = "auto"
    skip_unreadable: Annotated[
        bool,
        Option("Leave out images that cannot be read, instead of refusing all.", flag="--skip-unreadable"),
    ] = False


class Space(Section):
    title: ClassVar[str] = "space"
    about: ClassVar[str] = "The networks to choose from."

    name: Annotated[
        str,
        Option(
            "Search space (see `hwnas spaces list`).", flag="--space", by_default="mobile; the parent's from a parent"
        ),
    ] = ""
    width: Annotated[
        float, Option("Channel multiplier of the search space; 0 follows the budget.", flag="--width", ge=0)
    ] = 0.0
    depth: Annotated[
        int, Option("Blocks per stage, cells or layers; 0 follows the budget.", flag="--depth", ge=0, le=_MOST)
    ] = 0
    resolution: Annotated[
        int | str,
        BeforeValidator(size_value),
        Option(
            "Input size in pixels: one number for squares, or height x width such as 96x160; 0 follows the data.",
            flag="--resolution",
            rule=f"0, a number of pixels, or height x width, from {SMALLEST_SIDE} to {LARGEST_SIDE} a side",
            example="--resolution 160, --resolution 96x160",
        ),
    ] = 0

    @property
    def size(self) -> Size | None:
        """The resolution; None where it follows the data."""
        return Size.of(self.resolution) if self.resolution else None


class Search(SearchMethod):
    title: ClassVar[str] = "search"
    about: ClassVar[str] = "How the space is searched."

    strategy: Annotated[
        str,
        BeforeValidator(renamed.strategy),
        Option(
            "Search strategy (see `hwnas strategies list`).",
            flag="--strategy",
            by_default="gumbel; metaqnn for chain, replace from a parent",
        ),
    ] = ""
    evaluator: Annotated[
        Evaluator,
        BeforeValidator(renamed.evaluator),
        Option(
            "Where scores of candidates come from: shared weights of a supernet (one-shot), or training from scratch "
            "(samplers).",
            flag="--evaluator",
            aliases={"--scores": ""},
            by_default="one-shot; from-scratch for chain",
        ),
    ] = ""
    evaluator_epochs: Annotated[
        int,
        Option(
            "Epochs of a training for a score; 0 follows the data.",
            flag="--evaluator-epochs",
            aliases={"--score-epochs": ""},
            ge=0,
            le=_MOST,
        ),
    ] = 0
    reward: Annotated[
        Reward,
        Option(
            "What samplers are told: accuracies, of feasible networks only (filter), or accuracies less what the "
            "latency is off the budget, of any (absolute).",
            flag="--reward",
        ),
    ] = "filter"
    metric: Annotated[
        Metric,
        Option(
            "What is sought, trained for and reported: accuracy counts every image the same, balanced accuracy and "
            "macro F1 count every class the same.",
            flag="--metric",
        ),
    ] = "accuracy"
    init: Annotated[
        str,
        BeforeValidator(init_value),
        Option(
            "Start from this: a pre-trained parent (see `hwnas parents list`), a file of `hwnas meta-train`, or the "
            "folder of an earlier run; none is random weights. With auto, colour images of at least 64 pixels start "
            "from a parent whose weights are on this machine, where no other option speaks against it.",
            flag="--init",
        ),
    ] = AUTO
    init_sha256: Annotated[
        str,
        Option("SHA-256 of what the search starts from, so that a run goes on with the same.", settable=False),
    ] = ""
    share: Annotated[
        float | None,
        BeforeValidator(parse_share),
        Option(
            "From --init: how much of a search is done, such as 10% or 1; 0 decodes its α without any.",
            flag="--search-share",
            rule="a share between 0 and 1, or 0% and 100%",
            by_default="less warm-up, half of the other epochs",
        ),
    ] = None
    warmup_epochs: Annotated[
        int | None, Option("Warm-up epochs, of shared weights only.", ge=0, le=_MOST, by_default="follows the data")
    ] = None
    epochs: Annotated[
        int | None,
        Option(
            "Epochs in which weights and architecture learn, after those of warm-up.",
            ge=1,
            le=_MOST,
            by_default="follows the data",
        ),
    ] = None
    epoch_steps: Annotated[
        int | None,
        Option("Weight steps of an epoch; 0 takes all images.", ge=0, le=_MOST, by_default="follows the minutes"),
    ] = None
    batch_size: Annotated[
        int | None, Option("Batch size: images per step.", unit="images", ge=2, le=_MOST, by_default="64")
    ] = None
    lr: Annotated[
        float | None,
        Option(
            "Learning rate of the shared weights, at its peak; of trainings for a score where there are none.",
            gt=0,
            by_default="0.004",
        ),
    ] = None
    weight_decay: Annotated[float | None, Option("Weight decay of the shared weights.", ge=0, by_default="0.02")] = None
    arch_lr: Annotated[
        float | None, Option("Architecture learning rate: of Adam on α, at most.", gt=0, by_default="0.05")
    ] = None
    arch_travel: Annotated[
        float | None, Option("Architecture travel: how far α can move in all; 0 is no bound.", ge=0, by_default="8")
    ] = None
    arch_every: Annotated[
        int | None, Option("Weight steps per step on α.", ge=1, le=_MOST, by_default="follows the data")
    ] = None
    beta_decay: Annotated[
        float | None, Option("Weight of β-decay at the end, risen from 0; 0 switches it off.", ge=0, by_default="1")
    ] = None
    label_smoothing: Annotated[
        float | None, Option("Label smoothing in steps on the shared weights.", ge=0, lt=1, by_default="0.1")
    ] = None
    clip: Annotated[
        float | None,
        Option("Gradient clipping: largest L2 norm, of the shared weights; 0 never clips.", ge=0, by_default="5"),
    ] = None
    candidates: Annotated[
        int | None,
        Option(
            "Candidates within the budget that are scored at the end.",
            ge=1,
            le=_MOST,
            by_default="as the strategy needs",
        ),
    ] = None
    score_images: Annotated[
        int | None,
        Option(
            "Images of each part that a score reads, at most; 0 takes as many as scores usually read.",
            unit="images",
            ge=0,
            le=_MOST,
            by_default="follows the minutes",
        ),
    ] = None
    micro_batch: MicroBatch = None


class Train(TrainAugmentation, TrainTeaching):
    title: ClassVar[str] = "train"
    about: ClassVar[str] = "The final trainings, of the winner and of a random network."

    enabled: Annotated[bool, Option("Keep the weights inherited from the supernet.", flag="--no-train")] = True
    epochs: Annotated[
        int, Option("Epochs of the final trainings; 0 follows the data.", flag="--epochs", ge=0, le=_MOST)
    ] = 0
    recipe: Annotated[
        RecipeName,
        Option(
            "Recipe of the final trainings: default, cells (drop path, auxiliary head, cutout), or auto.",
            flag="--recipe",
        ),
    ] = "auto"
    minutes: Annotated[
        float,
        Option(
            "How long the whole run may take, measuring included; 0 follows the size of the data, and is 40 from a "
            "parent where that would take longer than 45.",
            flag="--minutes",
            unit="minutes",
            ge=0,
            le=_MOST,
        ),
    ] = 0.0
    baseline: Annotated[bool, Option("Train no random network beside the winner.", flag="--no-baseline")] = True
    epoch_steps: Annotated[
        int | None,
        Option("Steps of an epoch; 0 takes all images.", ge=0, le=_MOST, by_default="follows the minutes"),
    ] = None
    batch_size: Annotated[
        int | None, Option("Batch size: images per step.", unit="images", ge=2, le=_MOST, by_default="follows the data")
    ] = None
    lr: Annotated[float | None, Option("Learning rate of AdamW, at its peak.", gt=0, by_default="0.008")] = None
    weight_decay: Annotated[float | None, Option("Weight decay, of weights only.", ge=0, by_default="0.05")] = None
    label_smoothing: Annotated[
        float | None,
        Option("Label smoothing, spread over the classes.", ge=0, lt=1, by_default="0.1"),
    ] = None
    warmup_epochs: Annotated[
        float | None, Option("Warm-up epochs of the learning rate.", unit="epochs", ge=0, by_default="2")
    ] = None
    ema_decay: Annotated[
        float | None,
        Option(
            "Decay per step of the moving average of the weights; 0 turns it off.",
            ge=0,
            lt=1,
            by_default="follows the data",
        ),
    ] = None
    clip: Annotated[
        float | None, Option("Gradient clipping: largest L2 norm of the gradient.", gt=0, by_default="5")
    ] = None
    drop_path: Annotated[
        float | None, Option("Drop path: its rate in cells at the end.", ge=0, lt=1, by_default="follows the recipe")
    ] = None
    auxiliary: Annotated[
        float | None,
        Option("Auxiliary head: weight of its loss; 0 is no head.", ge=0, by_default="follows the recipe"),
    ] = None
    class_balanced: Annotated[
        bool | None,
        Option(
            "Class weights: whether every class counts the same in the loss, rather than every image.",
            by_default="follows the metric",
        ),
    ] = None
    keep_statistics: Annotated[
        bool | None,
        Option("Whether batch norms keep the statistics that they begin with.", by_default="follows the start"),
    ] = None
    micro_batch: MicroBatch = None
