"""Block-wise distillation: every option of every block learns, all at once, to do what the parent's block does.

Sources: LANA (Molchanov et al., ECCV 2022); DNA (Li et al., CVPR 2020).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from hwnas.data import Dataset, Images, batches
from hwnas.parents.blocks import ParentBlocks, Scores
from hwnas.progress import Progress, Silent


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """How options learn.

    Attributes:
        epochs: over the train images; a fraction ends within one.
        batch_size: images per step.
        lr: of Adam, cosine to zero.
        augment: whether train images are moved, turned and scaled.
    """

    epochs: float = 4.0
    batch_size: int = 32
    lr: float = 1e-3
    augment: bool = True


_DEFAULT = DistilSettings()


def distil(
    blocks: ParentBlocks,
    dataset: Dataset,
    *,
    seed: int,
    settings: DistilSettings = _DEFAULT,
    progress: Progress | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Train the options of a supernet in place, on the train images.

    The input of an option is what the parent's block reads, its target what that writes, so no option depends on
    another. Norms keep their statistics; the parent's own blocks stay as they are.

    Args:
        blocks: whose options are slices of the parent (`inherited_start`).
        dataset: with the parent's mean and deviation (`Parent.prepared`).
        enough: asked before each step: whether to stop, such as when the time is over.
    """
    steps = max(1, math.ceil(settings.epochs * max(1, len(dataset.train) // settings.batch_size)))
    learners = [blocks.option(place, option) for place, option in blocks.learners]
    optimizer = torch.optim.Adam([one for learner in learners for one in learner.parameters()], lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for learner in learners:
        _train_with_kept_statistics(learner)
    try:
        with (progress or Silent()).track("distilling", steps) as advance:
            for x in _inputs(dataset, steps, seed, settings, blocks.device):
                if enough():
                    break
                error = _step(blocks, x, optimizer)
                schedule.step()
                advance(1, f"error {error:.3f}")
    finally:
        blocks.rest()


def block_errors(blocks: ParentBlocks, images: Images, dataset: Dataset, *, batch_size: int = 32) -> Scores:
    """How far each option is from the parent's block, on images: 0 is equal, 1 as bad as a constant.

    It is the mean squared error of its output over the variance of the parent's.
    """
    blocks.rest()
    errors: dict[tuple[int, int], float] = defaultdict(float)
    powers: dict[int, float] = defaultdict(float)
    stream = batches(images, dataset, batch_size=batch_size, device=blocks.device, generator=None, augment=False)
    with torch.inference_mode():
        for x, _ in stream:
            for place, (read, target) in enumerate(blocks.pairs(x)):
                if blocks.space.slots[place].decision is None:
                    continue
                powers[place] += float(_variance(target)) * len(x)
                for option in range(len(blocks.space.slots[place].ops)):
                    error = mse_loss(blocks.option(place, option)(read), target)
                    errors[place, option] += float(error) * len(x)
    return blocks.of_decisions({key: error / powers[key[0]] for key, error in errors.items()})


def _step(blocks: ParentBlocks, x: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """One step of all options; the mean of their errors."""
    with torch.no_grad():
        pairs = list(blocks.pairs(x))
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for place, option in blocks.learners:
        read, target = pairs[place]
        loss = mse_loss(blocks.option(place, option)(read), target) / _variance(target)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    optimizer.step()
    return total / max(1, len(blocks.learners))


def _inputs(
    dataset: Dataset, steps: int, seed: int, settings: DistilSettings, device: torch.device
) -> Iterator[Tensor]:
    """Inputs of so many steps, epoch after epoch."""
    generator = torch.Generator().manual_seed(seed)
    size, augment = settings.batch_size, settings.augment
    while steps > 0:
        stream = batches(dataset.train, dataset, batch_size=size, device=device, generator=generator, augment=augment)
        for x, _ in stream:
            if steps > 0:
                yield x
            steps -= 1


def _variance(target: Tensor) -> Tensor:
    return target.var(correction=0).clamp_min(1e-12)


def _train_with_kept_statistics(module: nn.Module) -> None:
    """Training mode, for the sake of fast gradients, but for the norms."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
