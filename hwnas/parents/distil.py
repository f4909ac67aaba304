"""Block-wise distillation: every option of every block learns, all at once, to do what the parent's block does.

Sources: LANA (Molchanov et al., ECCV 2022); DNA (Li et al., CVPR 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import NetworkModule
from hwnas.data import Dataset, Images, batches
from hwnas.image_size import Size
from hwnas.nas.supernet import Supernet
from hwnas.parents.inherit import inherit, module_with
from hwnas.parents.parent_weights import ParentWeights
from hwnas.progress import Progress, Silent

Errors = tuple[tuple[float, ...], ...]
"""Of every option of every decision: mean squared error of its output over the variance of the parent's."""


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


class BlockDistillation:
    """The parent's blocks beside the options of a supernet of its elastic space.

    The input of an option is what the parent's block reads, its target what that writes, so no option depends on
    another. Norms keep their statistics. Options without parameters, and those that are the parent's own block, have
    nothing to learn.
    """

    def __init__(self, supernet: Supernet, weights: ParentWeights, *, device: torch.device | None = None) -> None:
        """Prepare it.

        Args:
            supernet: with every option as a slice of the parent (`inherited_start`); its options are trained in place.

        Raises:
            InputError: the space is not that of the parent.
        """
        space = supernet.space
        network = weights.parent.network(
            width=weights.width,
            resolution=Size(*space.input_shape[1:]),
            channels=space.input_shape[0],
            classes=weights.classes,
        )
        self._device = device or torch.device("cpu")
        self._space: SearchSpace = space
        self._teacher: NetworkModule = module_with(network, inherit(weights, network)).eval().to(self._device)
        self._supernet = supernet.to(self._device)
        own = dict(network.ops)
        self._learners = [
            (place, option)
            for place, slot in enumerate(space.slots)
            for option, spec in enumerate(slot.ops)
            if slot.decision is not None and spec.graph.nodes and spec != own[slot.name]
        ]

    def train(
        self,
        dataset: Dataset,
        *,
        seed: int,
        settings: DistilSettings = _DEFAULT,
        progress: Progress | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train all options on the train images.

        Args:
            dataset: with the parent's mean and deviation (`Parent.prepared`).
            enough: asked before each step: whether to stop, such as when the time is over.
        """
        per_epoch = max(1, len(dataset.train) // settings.batch_size)
        steps = max(1, math.ceil(settings.epochs * per_epoch))
        learners = [self._option(place, option) for place, option in self._learners]
        parameters = [parameter for learner in learners for parameter in learner.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=settings.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for learner in learners:
            _train_with_kept_statistics(learner)
        try:
            with (progress or Silent()).track("distilling", steps) as advance:
                for x in self._stream(dataset, steps, seed, settings):
                    if enough():
                        break
                    loss = self._step(x, optimizer)
                    schedule.step()
                    advance(1, f"error {loss:.3f}")
        finally:
            self._supernet.eval()

    def errors(self, images: Images, dataset: Dataset, *, batch_size: int = 32) -> Errors:
        """How far each option is from the parent's block, on images: 0 is equal, 1 as bad as a constant.

        Decisions that fill several slots get the sum over them.
        """
        sums = [[0.0] * count for count in self._space.options]
        powers = [0.0] * len(self._space.slots)
        total = [[0.0] * len(slot.ops) for slot in self._space.slots]
        self._supernet.eval()
        stream = batches(images, dataset, batch_size=batch_size, device=self._device, generator=None, augment=False)
        with torch.inference_mode():
            for x, _ in stream:
                for place, (read, target) in enumerate(self._pairs(x)):
                    if self._space.slots[place].decision is None:
                        continue
                    powers[place] += float(_variance(target)) * len(x)
                    for option in range(len(total[place])):
                        error = mse_loss(self._option(place, option)(read), target)
                        total[place][option] += float(error) * len(x)
        for place, slot in enumerate(self._space.slots):
            if slot.decision is not None:
                for option, error in enumerate(total[place]):
                    sums[slot.decision][option] += error / powers[place]
        return tuple(map(tuple, sums))

    def _step(self, x: Tensor, optimizer: torch.optim.Optimizer) -> float:
        """One step of all options; the mean of their errors."""
        with torch.no_grad():
            pairs = list(self._pairs(x))
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for place, option in self._learners:
            read, target = pairs[place]
            loss = mse_loss(self._option(place, option)(read), target) / _variance(target)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        optimizer.step()
        return total / max(1, len(self._learners))

    def _pairs(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """What each of the parent's ops reads and writes, in order."""
        for slot in self._space.slots:
            read, x = x, self._teacher.get_submodule(slot.name)(x)
            yield read, x

    def _option(self, place: int, option: int) -> nn.Module:
        return self._supernet.get_submodule(f"{self._space.slots[place].name}.{option}")

    def _stream(self, dataset: Dataset, steps: int, seed: int, settings: DistilSettings) -> Iterator[Tensor]:
        """Inputs of so many steps, epoch after epoch."""
        generator = torch.Generator().manual_seed(seed)
        while steps > 0:
            stream = batches(
                dataset.train,
                dataset,
                batch_size=settings.batch_size,
                device=self._device,
                generator=generator,
                augment=settings.augment,
            )
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
