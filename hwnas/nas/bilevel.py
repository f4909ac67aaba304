"""What a step on the architecture parameters can compute: losses, and the step on the weights that comes next."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hwnas.nas.supernet import Gate
from hwnas.train.micro_batches import micro_batches
from hwnas.train.ranks import ALONE, Ranks

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Bilevel:
    """The two levels of DARTS: α is judged on a validation batch, the weights w are trained on a train batch.

    Attributes:
        supernet: called with images and gates.
        optimizer: what steps its parameters.
        train_batch: images and labels of the step on the weights that comes next.
        val_batch: those of this step on α.
        train_criterion: the loss of steps on the weights, of (batch, classes) logits and (batch,) labels.
        val_criterion: that of steps on α.
        ranks: that have shards of both batches, where several processes compute them together.
    """

    supernet: nn.Module
    optimizer: torch.optim.Optimizer
    train_batch: tuple[Tensor, Tensor]
    val_batch: tuple[Tensor, Tensor]
    train_criterion: Criterion
    val_criterion: Criterion
    ranks: Ranks = ALONE

    def train(self, gates: Sequence[Gate], weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The loss on the train batch, with the shared weights or with `weights` in their place, by name."""
        return self._loss(self.train_criterion, self.train_batch, gates, weights)

    def val(self, gates: Sequence[Gate], weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The same on the validation batch."""
        return self._loss(self.val_criterion, self.val_batch, gates, weights)

    def parts(self, at_once: int, class_weights: Tensor) -> list[Bilevel]:
        """Problems of at most `at_once` images of each batch, whose losses add up to those of this one; 0 for all.

        Where one batch has fewer parts, they come again, and count for less each time. Where ranks have shards of them,
        the problems of all ranks together add up to that of the whole batches.

        Args:
            class_weights: with which both criteria weigh the classes.
        """
        batches = (self.train_batch, self.val_batch)
        train, val = (list(micro_batches(*batch, at_once, class_weights, ranks=self.ranks)) for batch in batches)
        count = max(len(train), len(val))
        pairs = zip(_again(train, count), _again(val, count), strict=True)
        return [
            replace(
                self,
                train_batch=(train_x, train_y),
                val_batch=(val_x, val_y),
                train_criterion=_shared(self.train_criterion, train_share),
                val_criterion=_shared(self.val_criterion, val_share),
            )
            for (train_x, train_y, train_share), (val_x, val_y, val_share) in pairs
        ]

    def joint(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of the whole batch, from those of the shard that this rank has of it, by name."""
        return dict(zip(gradients, self.ranks.totals(list(gradients.values())), strict=True))

    def first(self, images: int) -> Bilevel:
        """The problem of the first images of both batches, at most so many."""
        train, val = ((x[:images], y[:images]) for x, y in (self.train_batch, self.val_batch))
        return replace(self, train_batch=train, val_batch=val)

    @contextlib.contextmanager
    def fixed_weights(self) -> Iterator[None]:
        """Losses computed within reach α alone: no graph is built for the gradient of the shared weights."""
        learned = [w for w in self.supernet.parameters() if w.requires_grad]
        try:
            for w in learned:
                w.requires_grad_(False)
            yield
        finally:
            for w in learned:
                w.requires_grad_()

    def _loss(
        self,
        criterion: Criterion,
        batch: tuple[Tensor, Tensor],
        gates: Sequence[Gate],
        weights: Mapping[str, Tensor] | None,
    ) -> Tensor:
        x, y = batch
        if weights is None:
            return criterion(self.supernet(x, gates), y)
        # Running statistics are those of the shared weights alone.
        buffers = {name: buffer.clone() for name, buffer in self.supernet.named_buffers()}
        return criterion(functional_call(self.supernet, {**buffers, **weights}, (x, gates)), y)


def _shared(criterion: Criterion, share: Tensor) -> Criterion:
    return lambda logits, y: share * criterion(logits, y)


def _again(parts: Sequence[tuple[Tensor, Tensor, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """So many parts, one after the other and again; the share of each is divided among its turns."""
    for turn in range(count):
        x, y, share = parts[turn % len(parts)]
        yield x, y, share / len(range(turn % len(parts), count, len(parts)))
