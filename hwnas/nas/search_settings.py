"""How a search is run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from hwnas.metric_names import Metric
from hwnas.schema import at_least

_ARCH_STEPS = 400  # on α, at most about so many


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the supernet's training and of the architecture parameters; `dataclasses.asdict` of it is JSON.

    Attributes:
        warmup_epochs: epochs of shared weights only, on uniformly drawn paths, or on mixtures where the space says so.
        epochs: epochs after that, in which both learn.
        epoch_steps: weight steps of an epoch, which then sees so many batches of another random part of the train
            images; 0, or more than there are batches, for all of them.
        batch_size: images per step.
        lr: peak learning rate of AdamW on the shared weights; cosine to zero over all epochs.
        weight_decay: of the shared weights.
        arch_lr: largest learning rate of Adam on α; betas (0.5, 0.999) as in DARTS.
        arch_travel: how far α can move in all; see `arch_rate`.
        arch_every: weight steps per step on α, or per accuracy that a sampler which guides is told.
        beta_decay: weight of β-decay at the end, risen linearly from 0; 0 switches this guard off.
        label_smoothing: share of the target spread evenly over the classes, in steps on the shared weights.
        clip: largest L2 norm of the gradient of the shared weights.
        candidates: feasible architectures that are scored with the shared weights at the end; with 0 the one that the
            search prefers is taken as it is.
        metric: what scores are; losses weigh classes as it does.
        score_images: of each part that a score reads, at most so many; 0 for as many as scores usually read.
        micro_batch: images of a batch that are computed at once, at most, in steps on weights and on α; 0 for all.
    """

    warmup_epochs: Annotated[int, at_least(0)] = 10
    epochs: Annotated[int, at_least(0)] = 15
    epoch_steps: Annotated[int, at_least(0)] = 0
    batch_size: Annotated[int, at_least(2)] = 64
    lr: float = 4e-3
    weight_decay: float = 0.02
    arch_lr: float = 0.05
    arch_travel: float = 8.0
    arch_every: Annotated[int, at_least(1)] = 2
    beta_decay: float = 1.0
    label_smoothing: float = 0.1
    clip: float = 5.0
    candidates: Annotated[int, at_least(0)] = 12
    metric: Metric = "accuracy"
    score_images: Annotated[int, at_least(0)] = 0
    micro_batch: Annotated[int, at_least(0)] = 0

    @classmethod
    def for_images(cls, train_images: int) -> SearchSettings:
        """Settings for a set of this size: about 140 steps of warm-up and 200 of search, or a few epochs if longer.

        Every other step is followed by one on α, until there are 400 of these; what they would take beyond that is
        better spent on the weights (docs/decisions/0014).
        """
        steps = max(1.0, train_images / cls.batch_size)
        warmup, epochs = max(3, round(140 / steps)), max(5, round(200 / steps))
        return cls(warmup_epochs=warmup, epochs=epochs, arch_every=max(2, round(epochs * steps / _ARCH_STEPS)))

    def started(self) -> SearchSettings:
        """The settings of a search that begins with learned weights: a quarter of the warm-up, half of the rest."""
        return replace(self, warmup_epochs=max(1, round(self.warmup_epochs / 4)), epochs=max(2, round(self.epochs / 2)))

    def shortened(self, share: float) -> SearchSettings:
        """The settings of a share of the search, above 0 and up to 1: of its epochs, and of the candidates."""

        def part(count: int) -> int:
            return min(count, max(1, round(share * count)))

        return replace(
            self,
            warmup_epochs=part(self.warmup_epochs),
            epochs=part(self.epochs),
            candidates=part(self.candidates),
        )

    def images(self, train_images: int, *, relaxed: bool) -> float:
        """Images that a search sees: those of the steps on the weights and, of a relaxation, of the steps on α."""
        an_epoch = min(train_images, self.epoch_steps * self.batch_size or train_images)
        return an_epoch * (self.all_epochs + (self.epochs / self.arch_every if relaxed else 0.0))

    @property
    def all_epochs(self) -> int:
        return self.warmup_epochs + self.epochs

    def identity(self) -> dict[str, Any]:
        """The settings, ready for JSON; without those of later versions that change nothing in the weights."""
        settings = asdict(self)
        del settings["score_images"]
        if not self.micro_batch:
            del settings["micro_batch"]
        return settings

    def learning_rate(self, epoch: float) -> float:
        """Cosine from `lr` to zero (Loshchilov and Hutter, 2017), after a linear first epoch."""
        return self.lr * min(1.0, epoch + 0.1) * 0.5 * (1.0 + math.cos(math.pi * epoch / self.all_epochs))

    def arch_rate(self, steps: int) -> float:
        """Learning rate on α in a search of so many weight steps an epoch.

        Adam moves a parameter by at most about its rate a step, so the rate times the number of steps says how peaked
        the choice can become before the weights of the other options are trained. That product is held at
        `arch_travel`, near the 5.9 of DARTS (3e-4 over 50 epochs of 391 steps); see docs/decisions/0014.
        """
        return min(self.arch_lr, self.arch_travel / max(1, self.epochs * math.ceil(steps / self.arch_every)))
