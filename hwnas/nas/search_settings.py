"""How a search is run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal

from hwnas.metric_names import Metric, class_balanced
from hwnas.schema import at_least

_ARCH_STEPS = 400  # on α, at most about so many
_PERIODS = 5  # of warm restarts: 10, 20, 40, 80 and 160 epochs of ENAS's 310
_LATER = (  # than the first; where they change nothing, the search is that of earlier versions
    *("micro_batch", "guard", "skip_share", "optimizer", "momentum", "schedule", "lr_end", "arch_beta1"),
    *("arch_weight_decay", "arch_init", "temperature", "temperature_end", "entropy_weight", "controller_lr"),
    *("controller_batch", "q_rate", "q_models"),
)


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the supernet's training and of the architecture parameters; `dataclasses.asdict` of it is JSON.

    Attributes:
        warmup_epochs: epochs of shared weights only, on uniformly drawn paths, or on mixtures where the space says so.
        epochs: epochs after that, in which both learn.
        epoch_steps: weight steps of an epoch, which then sees so many batches of another random part of the train
            images; 0, or more than there are batches, for all of them.
        batch_size: images per step.
        lr: peak learning rate of the shared weights; see `learning_rate`.
        weight_decay: of the shared weights.
        arch_lr: largest learning rate of Adam on α; betas (0.5, 0.999) as in DARTS.
        arch_travel: how far α can move in all, 0 for no bound; see `arch_rate`.
        arch_every: weight steps per step on α, or per accuracy that a sampler which guides is told.
        beta_decay: weight of β-decay at the end, risen linearly from 0, where that is the guard.
        label_smoothing: share of the target spread evenly over the classes, in steps on the shared weights.
        clip: largest L2 norm of the gradient of the shared weights; 0 for any.
        candidates: feasible architectures that are scored with the shared weights at the end; with 0 the one that the
            search prefers is taken as it is.
        metric: what scores are; losses weigh classes as it does.
        score_images: of each part that a score reads, at most so many; 0 for as many as scores usually read.
        micro_batch: images of a batch that are computed at once, at most, in steps on weights and on α; 0 for all.
        guard: of relaxations, against collapse to skips (`hwnas.nas.guard`).
        skip_share: of what α prefers, from which on an early stop ends the search.
        optimizer: of the shared weights; momentum is that of SGD, or Nesterov's.
        schedule, lr_end: of their learning rate; see `learning_rate`.
        arch_beta1, arch_weight_decay: of Adam on α.
        arch_init: standard deviation of α at the start.
        temperature, temperature_end, entropy_weight, controller_lr, controller_batch, q_rate, q_models: of strategies
            that take them (`Strategy.tunes`); None for their own.
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
    guard: Literal["none", "beta-decay", "auxiliary-skip", "early-stop"] = "beta-decay"
    skip_share: float = 0.25
    optimizer: Literal["adamw", "sgd", "nesterov"] = "adamw"
    momentum: float = 0.9
    schedule: Literal["warm-cosine", "cosine", "restarts"] = "warm-cosine"
    lr_end: float = 0.0
    arch_beta1: float = 0.5
    arch_weight_decay: float = 0.0
    arch_init: float = 0.0
    temperature: float | None = None
    temperature_end: float | None = None
    entropy_weight: float | None = None
    controller_lr: float | None = None
    controller_batch: int | None = None
    q_rate: float | None = None
    q_models: int | None = None

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

    @property
    def class_balanced(self) -> bool:
        """Whether losses count every class the same, rather than every image."""
        return class_balanced(self.metric)

    def identity(self) -> dict[str, Any]:
        """The settings, ready for JSON; without those of later versions that change nothing in the weights."""
        settings, usual = asdict(self), {one.name: one.default for one in fields(self)}
        del settings["score_images"]
        return {name: value for name, value in settings.items() if name not in _LATER or value != usual[name]}

    def learning_rate(self, epoch: float) -> float:
        """Cosine from `lr` to `lr_end` (Loshchilov and Hutter, SGDR, ICLR 2017), after a linear first epoch or at once.

        With restarts there are five periods, each twice as long as the one before it.
        """
        ramp, share = min(1.0, epoch + 0.1) if self.schedule == "warm-cosine" else 1.0, epoch / self.all_epochs
        if self.schedule == "restarts":
            lengths = share * (2**_PERIODS - 1) + 1.0  # in those of the first period, and one more
            period = min(_PERIODS - 1, int(math.log2(lengths)))
            share = lengths / 2**period - 1.0
        return self.lr_end + (self.lr - self.lr_end) * ramp * 0.5 * (1.0 + math.cos(math.pi * share))

    def arch_rate(self, steps: int) -> float:
        """Learning rate on α in a search of so many weight steps an epoch.

        Adam moves a parameter by at most about its rate a step, so the rate times the number of steps says how peaked
        the choice can become before the weights of the other options are trained. That product is held at
        `arch_travel`, near the 5.9 of DARTS (3e-4 over 50 epochs of 391 steps); see docs/decisions/0014.
        """
        if not self.arch_travel:
            return self.arch_lr
        return min(self.arch_lr, self.arch_travel / max(1, self.epochs * math.ceil(steps / self.arch_every)))
