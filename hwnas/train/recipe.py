"""How one network is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

from hwnas.data.photo_augment import Augmentation
from hwnas.errors import InputError

_MANY_IMAGES = 20_000
_AVERAGED_SHARE = 0.03
_EACH = ("crop_scale", "color_jitter", "trivial_augment", "random_erasing")
_TAUGHT = ("distil_weight", "distil_temperature", "layer_decay")
_LATER = (  # than the first
    *("epoch_steps", "micro_batch", "keep_statistics", *_EACH, "mixup", "cutmix", *_TAUGHT),
    "shortened",
)
_PARENT_RATE, _PARENT_LAYER_DECAY, _PARENT_WARMUP, _PARENT_BATCH = 0.1, 0.75, 0.1, 32  # docs/decisions/0065
_PARENT_DISTIL_WEIGHT, _PARENT_TEMPERATURE = 0.5, 2.0
_CELL_EPOCHS, _CELL_DROP_PATH, _CELL_CUTOUT, _CELL_AUXILIARY = 600, 0.2, 0.5, 0.4  # DARTS on CIFAR-10


@dataclass(frozen=True)
class Recipe:
    """Settings of `train`; `dataclasses.asdict` of it is JSON.

    Attributes:
        epochs: passes over the train images.
        epoch_steps: steps of an epoch, which then sees so many batches of another random part of the train images; 0,
            or more than there are batches, for all of them.
        batch_size: images per step, at least 2 (batch norm).
        lr: peak learning rate of AdamW.
        weight_decay: decoupled, on weights of two or more dimensions only, not on norms and biases.
        label_smoothing: share of the target spread evenly over the classes.
        warmup_epochs: epochs of linear warm-up before the cosine.
        ema_decay: per step, of the moving average of the weights; 0 turns the average off.
        clip: largest L2 norm of the gradient.
        augment: whether train images are randomly changed, by what follows: without any of it they are moved, turned,
            scaled and, if the set allows it, mirrored.
        crop_scale, color_jitter, trivial_augment, random_erasing: see `Augmentation`.
        mixup, cutmix: see `Mixing`.
        cutout: side of a square that is blanked at a random place of each train image, as a share of the image's.
        drop_path: rate of drop path in cells at the end, risen linearly from 0; it trains cells only.
        auxiliary: weight of the loss of an auxiliary head after two thirds of the network; 0 is no head.
        class_balanced: whether every class counts the same in the loss, rather than every image.
        micro_batch: images of a batch that are computed at once, at most; their gradients add up to those of the batch.
            0 for all of them.
        keep_statistics: whether batch norms keep the statistics that they begin with, as those of a parent.
        distil_weight: of the divergence from a teacher's predictions in the loss, see `Teacher`; labels have the rest.
        distil_temperature: that both predictions are softened by.
        layer_decay: what the rate is multiplied by with each stage before the last one; see `rate_groups`.
        shortened: each time that a training was shortened on its way, the epochs behind it, and how many it was to have
            in all until then; `epochs` are those that it has since.
    """

    epochs: int = 25
    batch_size: int = 64
    lr: float = 8e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup_epochs: float = 2.0
    ema_decay: float = 0.98
    clip: float = 5.0
    augment: bool = True
    cutout: float = 0.0
    drop_path: float = 0.0
    auxiliary: float = 0.0
    class_balanced: bool = False
    epoch_steps: int = 0
    micro_batch: int = 0
    keep_statistics: bool = False
    crop_scale: float = 0.0
    color_jitter: float = 0.0
    trivial_augment: bool = False
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    distil_weight: float = 0.0
    distil_temperature: float = 2.0
    layer_decay: float = 1.0
    shortened: tuple[tuple[int, int], ...] = ()

    @classmethod
    def for_images(cls, train_images: int) -> Recipe:
        """The recipe for a set of this size: at least 500 steps and 10 epochs, larger batches where there are many.

        The weights are averaged over the last 3 % of the steps, but no fewer than 50.
        """
        batch_size = cls.batch_size if train_images < _MANY_IMAGES else 2 * cls.batch_size
        epochs = max(10, round(500 * cls.batch_size / max(1, train_images)))
        averaged = _AVERAGED_SHARE * epochs * train_images / batch_size
        return cls(epochs=epochs, batch_size=batch_size, ema_decay=max(cls.ema_decay, 1.0 - 1.0 / max(1.0, averaged)))

    def for_cells(self) -> Recipe:
        """The same with what the final networks of DARTS are trained with: cutout, drop path and an auxiliary head.

        At the 600 epochs of the paper these are its numbers; in shorter trainings, which overfit less, cutout and drop
        path are less by as much.
        """
        share = min(1.0, self.epochs / _CELL_EPOCHS)
        return replace(self, cutout=share * _CELL_CUTOUT, drop_path=share * _CELL_DROP_PATH, auxiliary=_CELL_AUXILIARY)

    def from_parent(self, *, keep_statistics: bool, taught: bool = True) -> Recipe:
        """The same for weights of a pre-trained parent: gently, and the first stages most of all.

        A tenth of the rate and of the epochs as warm-up, so that few steps suffice; smaller batches, as more steps on
        the same images are worth more. See docs/decisions/0065.

        Args:
            keep_statistics: whether those of batch norms are the parent's still.
            taught: whether the parent teaches.
        """
        return replace(
            self,
            batch_size=min(self.batch_size, _PARENT_BATCH),
            lr=_PARENT_RATE * self.lr,
            warmup_epochs=_PARENT_WARMUP * self.epochs,
            keep_statistics=keep_statistics,
            distil_weight=_PARENT_DISTIL_WEIGHT if taught else 0.0,
            distil_temperature=_PARENT_TEMPERATURE,
            layer_decay=_PARENT_LAYER_DECAY,
        )

    @property
    def augmentation(self) -> Augmentation:
        """How train images are changed one by one."""
        return Augmentation(**{name: getattr(self, name) for name in _EACH})

    def __post_init__(self) -> None:
        object.__setattr__(self, "shortened", tuple((behind, total) for behind, total in self.shortened))  # from JSON
        rules = {
            "epochs": ("at least 1", self.epochs >= 1),
            "epoch_steps": ("0 or more", self.epoch_steps >= 0),
            "batch_size": ("at least 2", self.batch_size >= 2),
            "micro_batch": ("0, or at least 2", self.micro_batch == 0 or self.micro_batch >= 2),
            "lr": ("a positive number", 0 < self.lr < math.inf),
            "weight_decay": ("0 or more", 0 <= self.weight_decay < math.inf),
            "label_smoothing": ("from 0 up to, not including, 1", 0 <= self.label_smoothing < 1),
            "warmup_epochs": ("0 or more", 0 <= self.warmup_epochs < math.inf),
            "ema_decay": ("from 0 up to, not including, 1", 0 <= self.ema_decay < 1),
            "clip": ("a positive number", 0 < self.clip < math.inf),
            "cutout": ("from 0 to 1", 0 <= self.cutout <= 1),
            "crop_scale": ("from 0 to 1", 0 <= self.crop_scale <= 1),
            "color_jitter": ("from 0 to 1", 0 <= self.color_jitter <= 1),
            "random_erasing": ("from 0 to 1", 0 <= self.random_erasing <= 1),
            "mixup": ("0 or more", 0 <= self.mixup < math.inf),
            "cutmix": ("0 or more", 0 <= self.cutmix < math.inf),
            "drop_path": ("from 0 up to, not including, 1", 0 <= self.drop_path < 1),
            "auxiliary": ("0 or more", 0 <= self.auxiliary < math.inf),
            "distil_weight": ("from 0 to 1", 0 <= self.distil_weight <= 1),
            "distil_temperature": ("a positive number", 0 < self.distil_temperature < math.inf),
            "layer_decay": ("above 0, and at most 1", 0 < self.layer_decay <= 1),
            "shortened": ("pairs of growing epochs and of falling totals", self._shortened_rightly()),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise InputError(
                    f"{name} of a training recipe must be {rule}, but it is {getattr(self, name)}",
                    hint=f"the default is {getattr(type(self), name)}",
                )

    def identity(self) -> dict[str, Any]:
        """The settings, ready for JSON, as they were planned; without those of later versions that change nothing."""
        usual = {one.name: one.default for one in fields(self)}
        planned = asdict(replace(self, epochs=self.planned_epochs, shortened=()))
        return {name: value for name, value in planned.items() if name not in _LATER or value != usual[name]}

    def shorter(self, epochs: int, *, behind: int) -> Recipe:
        """The same for a training that ends after so many epochs in all, of which so many are behind it.

        What was planned for the rest of its epochs, of the learning rate and of drop path, is done in those that are
        left (docs/decisions/0078).

        Source: Li, Yumer and Ramanan, Budgeted Training, ICLR 2020: schedules follow the share of the budget.
        """
        return replace(self, epochs=epochs, shortened=(*self.shortened, (behind, self.epochs)))

    @property
    def planned_epochs(self) -> int:
        """How many epochs there were to be before the training was shortened for the first time."""
        return self.shortened[0][1] if self.shortened else self.epochs

    def planned(self, epoch: float) -> float:
        """Where in the schedule of the planned epochs a training is after `epoch` of its own."""
        if not self.shortened:
            return epoch
        share, at = 0.0, 0
        for until, total in (*self.shortened, (self.epochs, self.epochs)):
            share += (1.0 - share) * (min(epoch, until) - at) / (total - at)
            if epoch <= until:
                break
            at = until
        return share * self.planned_epochs

    def _shortened_rightly(self) -> bool:
        behind = [0, *(until for until, _ in self.shortened), self.epochs]
        totals = [*(total for _, total in self.shortened), self.epochs]
        growing = all(one < after for one, after in pairwise(behind))
        return growing and all(one > after for one, after in pairwise(totals))

    def passes(self, train_images: int) -> float:
        """How often every train image is seen, on the mean."""
        return self.epochs * min(1.0, (self.epoch_steps * self.batch_size or train_images) / max(1, train_images))

    def learning_rate(self, epoch: float) -> float:
        """The rate after `epoch` epochs (a fraction within an epoch): linear warm-up, then a cosine to 0.

        Source: Loshchilov and Hutter, SGDR, ICLR 2017, equation 5 with one period.
        """
        epoch, epochs = self.planned(epoch), self.planned_epochs
        warmup = min(self.warmup_epochs, epochs / 2)
        if epoch < warmup:
            return self.lr * epoch / warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


def fine_tuning(share: float) -> float:
    """What learning rates are multiplied with where learned weights are trained for a share of the usual epochs.

    From an eighth of them on, the usual rates are best; for fewer, rates in proportion, but no less than a quarter: a
    short training at a high rate unlearns more than it learns (docs/decisions/0035).
    """
    return min(1.0, max(0.25, 8.0 * share))
