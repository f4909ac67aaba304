"""How much memory a step takes, told by a step whose tensors have shapes and no values."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hwnas.errors import InputError
from hwnas.train.recipe import Recipe
from hwnas.train.regularizers import Regularizers
from hwnas.train.teacher import Teacher

META = torch.device("meta")
FEWEST_AT_ONCE = 2
"""Images that are computed at once, at least: batch norm cannot use one alone."""
_IMAGES = 32  # of the step that tells; so many that gradients of weights count little
_GAPS = 1.15  # what an allocator takes beyond the tensors; measured, docs/decisions/0057
_COPIES = 5  # of weights: themselves, gradients, two moments of AdamW, an average
_INPUTS = 3  # of a whole batch: its pixels as numbers, as augmented, and what augmentation makes on the way


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step of training takes.

    Attributes:
        image: of each image that is computed at once.
        loaded: of each image of the batch, computed or not.
        fixed: weights, gradients and the state of the optimiser.
    """

    image: float
    loaded: float
    fixed: float

    def total(self, batch_size: int, at_once: int = 0) -> float:
        """Bytes of a step with so many images, computed all at once or `at_once` at a time."""
        return self.fixed + self.loaded * batch_size + self.image * min(batch_size, at_once or batch_size)

    def at_once(self, batch_size: int, limit_bytes: float) -> int:
        """How many images of a batch to compute at once: 0 for all, if they stay within the limit.

        Raises:
            InputError: not even two do.
        """
        if self.total(batch_size) <= limit_bytes:
            return 0
        fitting = int((limit_bytes - self.total(batch_size, 0) + self.image * batch_size) / self.image)
        if fitting < FEWEST_AT_ONCE:
            least = self.total(batch_size, FEWEST_AT_ONCE)
            raise InputError(
                f"a step must stay within the memory that it may take, {_gib(limit_bytes)}, but with two images at a "
                f"time it takes {_gib(least)}",
                hint="give more --memory-gb, or a smaller --width, --resolution or batch size",
            )
        return fitting


def step_memory(
    step: Callable[[int], object], parameters: Sequence[nn.Parameter], image_shape: Sequence[int]
) -> StepMemory:
    """What a step takes, from one whose tensors are counted; the same on any device.

    Args:
        step: takes one with so many images, on the device `meta`, where nothing is computed.
        parameters: that are trained.
        image_shape: (C, H, W) of an image.
    """
    with torch.random.fork_rng(devices=[]):  # drop path draws
        image = peak_bytes(partial(step, _IMAGES)) / _IMAGES
    loaded = _INPUTS * 4 * float(torch.Size(image_shape).numel())
    return StepMemory(_GAPS * image, loaded, float(_COPIES * sum(one.nbytes for one in parameters)))


def training_memory(
    model: nn.Module, recipe: Recipe, image_shape: Sequence[int], classes: int, teacher: nn.Module | None = None
) -> StepMemory:
    """What a step of `train` takes; `model` and `teacher` are left as they are."""
    ghost = copy.deepcopy(model).to(META).train()
    around = Regularizers(ghost, recipe, classes, 0, META)
    parameters = [*ghost.parameters(), *around.parameters()]
    taught = None if teacher is None or not recipe.distil_weight else Teacher(teacher, recipe, META)

    def step(images: int) -> None:
        x, y = ghost_batch(images, image_shape)
        told = None if taught is None else taught.logits(x)
        logits = ghost(x)
        loss = cross_entropy(logits, y)
        if taught is not None and told is not None:
            loss = taught.mixed(loss, logits, told, x.new_ones(images))
        loss = loss + around.loss(lambda logits: cross_entropy(logits, y))
        loss.backward()  # type: ignore[no-untyped-call]
        for one in parameters:
            one.grad = None

    return step_memory(step, parameters, image_shape)


def ghost_batch(images: int, image_shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (images, C, H, W) with labels, without values."""
    x = torch.empty(images, *image_shape, device=META).to(memory_format=torch.channels_last)
    return x, torch.zeros(images, dtype=torch.int64, device=META)


def peak_bytes(act: Callable[[], object]) -> int:
    """Most bytes at once of tensors that come into being while `act` runs."""
    live = _Live()
    with live:
        act()
    return live.peak


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages from when an op makes them to when nobody holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak, self._now = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, torch.Tensor):
                self._see(one.untyped_storage())
        return found

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"
