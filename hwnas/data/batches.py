"""Turn stored pixels into batches that a network takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hwnas.data.augment import kept_by_cutout
from hwnas.data.dataset import Dataset, Images
from hwnas.data.photo_augment import Augmentation
from hwnas.data.read_ahead import Room, read_ahead
from hwnas.data.shard import WHOLE, Shard
from hwnas.errors import InputError

_SMALL_MAPS = Augmentation()


def to_input(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 pixels (B, C, H, W) as float32 (pixels / 255 - mean) / std, channels last in memory, on the same device.

    Strides say so for one channel too, where `contiguous` would leave them: convolutions choose their kernel by them.
    """
    mean_, std_ = (torch.tensor(v, dtype=torch.float32, device=pixels.device).view(1, -1, 1, 1) for v in (mean, std))
    return (pixels.to(torch.float32) / 255).sub_(mean_).div_(std_).to(memory_format=torch.channels_last)


def batches(
    images: Images,
    dataset: Dataset,
    *,
    batch_size: int,
    device: torch.device,
    generator: torch.Generator | None,
    augment: bool,
    cutout: float = 0.0,
    how: Augmentation = _SMALL_MAPS,
    shard: Shard = WHOLE,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs float32 (B, C, H, W), labels int64 (B,)) over `images`, once, on `device`.

    With a `generator` (on the CPU) the order is shuffled for training, and a last batch of a single image is dropped,
    because batch norm cannot use it. Without one the images come in order, all of them. `dataset` gives mean, std and
    whether augmented images may be mirrored; `how` augments them, by default with small affine maps; `cutout` is the
    side of what is blanked in them, as a share of theirs. Of every batch, those images come that are in the `shard`,
    as they are in the whole one: chance is drawn for all of it, whoever computes it.

    Raises:
        InputError: the batch size is not positive, or augmentation is asked for without a generator.
    """
    if batch_size < 1:
        raise InputError(f"the batch size must be at least 1, but it is {batch_size}", hint="for example 64")
    if augment and generator is None:
        raise InputError("augmentation needs a random generator, but none was given", hint="pass a seeded generator")
    order = torch.arange(len(images)) if generator is None else torch.randperm(len(images), generator=generator)
    choices = [chosen.numpy() for chosen in torch.split(order, batch_size) if generator is None or len(chosen) > 1]
    parts = [shard.of(len(chosen)) for chosen in choices]
    rows = (images.rows[chosen[mine]] for chosen, mine in zip(choices, parts, strict=True))
    read = read_ahead(images.store, rows, _room_for(device))
    for chosen, mine, pixels in zip(choices, parts, read, strict=True):
        x = to_input(torch.from_numpy(pixels).to(device, non_blocking=True), dataset.mean, dataset.std)
        if augment and generator is not None:
            x = how(x, dataset, generator, among=len(chosen), mine=mine)
        if cutout and generator is not None:
            x = x * kept_by_cutout(len(chosen), dataset.size, cutout, generator, mine).to(device)
        yield x, torch.from_numpy(images.labels[chosen[mine]]).to(device)


def _room_for(device: torch.device) -> Room:
    """Memory to read into: for a GPU such that copies of it do not wait."""
    pinned = device.type == "cuda"
    return lambda shape: torch.empty(shape, dtype=torch.uint8, pin_memory=pinned).numpy()
