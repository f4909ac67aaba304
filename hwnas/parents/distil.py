"""Block-wise distillation: every option of every block learns, all at once, to do what the parent's block does.

Sources: LANA (Molchanov et al., ECCV 2022); DNA (Li et al., CVPR 2020).
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from hwnas.arch.costs import written
from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset, Images, batches
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.nas.supernet import Supernet
from hwnas.parents.blocks import ParentBlocks, Scores
from hwnas.parents.parent_weights import ParentWeights
from hwnas.progress import Progress, Silent
from hwnas.train import checkpoint as store
from hwnas.train.norms import train_with_kept_statistics
from hwnas.train.step_memory import META, StepMemory, ghost_batch, step_memory

_KEPT_EVERY_S = 30.0
_COUNTED: WeakKeyDictionary[SearchSpace, dict[tuple[str, float, int], StepMemory]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """How options learn.

    Attributes:
        steps: on batches of train images.
        batch_size: images per step.
        lr: of Adam, cosine to zero.
        augment: whether train images are moved, turned and scaled.
    """

    steps: int = 400
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
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train the options of a supernet in place, on the train images.

    The input of an option is what the parent's block reads, its target what that writes, so no option depends on
    another. Norms keep their statistics; the parent's own blocks stay as they are. Where `checkpoint` names a file, the
    state is kept there every 30 seconds and at the end, and what finds it goes on from it: with the same arguments and
    threads the result is the same to the bit.

    Args:
        blocks: whose options are slices of the parent (`inherited_start`).
        dataset: with the parent's mean and deviation (`Parent.prepared`).

    Raises:
        InputError: the checkpoint is damaged, or of another distillation.
        StorageError: it cannot be written.
    """
    run = _Distillation(blocks, dataset, seed, settings)
    done = run.restore(checkpoint) if checkpoint is not None and checkpoint.exists() else 0
    kept = time.monotonic()
    try:
        with (progress or Silent()).track("distilling", settings.steps, done=done) as advance:
            for step, x in enumerate(itertools.islice(run.inputs(), done, None), done):
                error = run.step(step, x)
                due = step + 1 == settings.steps or time.monotonic() - kept >= _KEPT_EVERY_S
                if checkpoint is not None and due:
                    run.save(checkpoint, step + 1)
                    kept = time.monotonic()
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


class _Distillation:
    """The state of one distillation: the options that learn, and their optimizer."""

    def __init__(self, blocks: ParentBlocks, dataset: Dataset, seed: int, settings: DistilSettings) -> None:
        self.blocks, self.dataset, self.seed, self.settings = blocks, dataset, seed, settings
        learners = {f"{place}.{option}": blocks.option(place, option) for place, option in blocks.learners}
        self.tensors = {f"{k}.{name}": value for k, one in learners.items() for name, value in one.named_parameters()}
        self.optimizer = torch.optim.Adam(self.tensors.values(), lr=settings.lr)
        for one in learners.values():
            train_with_kept_statistics(one)

    def inputs(self) -> Iterator[Tensor]:
        """Inputs of all steps, epoch after epoch."""
        generator = torch.Generator().manual_seed(self.seed)
        settings = self.settings

        def epochs() -> Iterator[Tensor]:
            while True:
                stream = batches(
                    self.dataset.train,
                    self.dataset,
                    batch_size=settings.batch_size,
                    device=self.blocks.device,
                    generator=generator,
                    augment=settings.augment,
                )
                yield from (x for x, _ in stream)

        return itertools.islice(epochs(), settings.steps)

    def step(self, step: int, x: Tensor) -> float:
        """One step of all options, counted from 0; the mean of their errors."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * 0.5 * (1.0 + math.cos(math.pi * step / self.settings.steps))
        self.optimizer.zero_grad(set_to_none=True)
        total = _add_gradients(self.blocks, x, self.blocks.learners)
        self.optimizer.step()
        return float(total) / max(1, len(self.blocks.learners))

    def digest(self) -> str:
        """Names this distillation: what was asked for, the data, and the options."""
        data = [self.dataset.name, self.dataset.classes, self.dataset.train.shape]
        shapes = [(name, list(value.shape)) for name, value in self.tensors.items()]
        return sha256(json.dumps([asdict(self.settings), self.seed, data, shapes]).encode())

    def save(self, path: Path, steps_done: int) -> None:
        tensors = self.tensors | store.pack_optimizer(self.optimizer, "optimizer.")
        store.save(path, tensors, {"run": self.digest(), "steps_done": steps_done})

    def restore(self, path: Path) -> int:
        """Take the state from `path`; the number of steps that it has behind it."""
        stored, info = store.load(path)
        done = info.get("steps_done", 0)
        if info.get("run") != self.digest() or done not in range(1, self.settings.steps + 1):
            raise InputError(f"{path} is of another distillation", hint="start the run anew, with --force")
        store.copy_into(self.tensors, stored, path)
        store.unpack_optimizer(self.optimizer, stored, "optimizer.")
        return int(done)


def distil_memory(space: SearchSpace, weights: ParentWeights) -> StepMemory:
    """What a step of the distillation takes, counted without computing it: of each slot by the option that writes most.

    Counted once for each space and parent, as a plan tells it and the run then keeps to it.

    Raises:
        InputError: the space is not that of the parent.
    """
    known = _COUNTED.setdefault(space, {})
    shapes = (weights.parent.name, weights.width, weights.classes)
    if shapes not in known:
        known[shapes] = _counted(space, weights)
    return known[shapes]


def _counted(space: SearchSpace, weights: ParentWeights) -> StepMemory:
    with torch.random.fork_rng(devices=[]):
        with META:
            supernet = Supernet(space)
        blocks = ParentBlocks(supernet, weights, device=META)
    learners = [blocks.option(place, option) for place, option in blocks.learners]
    for one in learners:
        train_with_kept_statistics(one)
    parameters = [value for one in learners for value in one.parameters()]

    def size(key: tuple[int, int]) -> int:
        place, option = key
        return written(space.slots[place].ops[option].graph)

    largest = [max(keys, key=size) for _, keys in itertools.groupby(blocks.learners, key=itemgetter(0))]

    def step(images: int) -> None:
        x, _ = ghost_batch(images, space.input_shape)
        _add_gradients(blocks, x, largest)
        for value in parameters:
            value.grad = None

    return step_memory(step, parameters, space.input_shape)


def _add_gradients(blocks: ParentBlocks, x: Tensor, learners: Sequence[tuple[int, int]]) -> Tensor:
    """Those of errors of options, for images (batch, C, H, W), one option after the other; the sum of the errors."""
    with torch.no_grad():
        pairs = list(blocks.pairs(x))
    total = torch.zeros((), device=blocks.device)
    for place, option in learners:
        read, target = pairs[place]
        loss = mse_loss(blocks.option(place, option)(read), target) / _variance(target)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _variance(target: Tensor) -> Tensor:
    return target.var(correction=0).clamp_min(1e-12)
