"""Augmentation of train images: one map an image, then changes of its colours, then an erased rectangle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.data import augment, color_ops
from hwnas.data.dataset import Dataset
from hwnas.data.shard import EVERY
from hwnas.data.trivial_augment import Changes
from hwnas.image_size import Size

_LOG_ASPECT = math.log(4 / 3)
_ERASED_AREA, _ERASED_LOG_ASPECT = (0.02, 1 / 3), math.log(3.3)


@dataclass(frozen=True)
class Augmentation:
    """How train images are changed at random. All chance comes from the generator, in the order of the batches.

    Attributes:
        crop_scale: the smallest share of the area that a random resized crop keeps; 0 is no crop, but a small affine
            map: moved, turned and scaled.
        color_jitter: how far brightness, contrast and saturation go from 1.
        trivial_augment: whether each image has one more change, see `trivial_augment`.
        random_erasing: of images, the share in which a rectangle is replaced by the mean.
    """

    crop_scale: float = 0.0
    color_jitter: float = 0.0
    trivial_augment: bool = False
    random_erasing: float = 0.0

    def __call__(
        self, x: Tensor, dataset: Dataset, generator: torch.Generator, *, among: int = 0, mine: slice = EVERY
    ) -> Tensor:
        """The inputs `x` (B, C, H, W), as `to_input` makes them, changed; channels last in memory.

        Args:
            dataset: gives mean and deviation, and whether images may be mirrored.
            generator: on the CPU.
            among, mine: where `x` are but the images `mine` of a batch of so many, which chance is drawn for.
        """
        n, size = among or len(x), Size(*x.shape[2:])
        maps = (
            draw_crops(n, generator, smallest=self.crop_scale, flip=dataset.flip)
            if self.crop_scale
            else augment.draw(n, generator, flip=dataset.flip, size=size)
        )[mine]
        factors = None
        if self.color_jitter:
            factors = 1 + self.color_jitter * (2 * torch.rand(3, n, generator=generator) - 1)[:, mine]
        changes = Changes.draw(n, generator, mine) if self.trivial_augment else None
        if changes is not None:
            maps = after(maps, changes.moves(size.height / size.width))
        x = augment.warp(x, maps.to(x.device)).to(memory_format=torch.channels_last)
        if factors is not None or changes is not None:
            mean, std = (torch.tensor(v, device=x.device).view(1, -1, 1, 1) for v in (dataset.mean, dataset.std))
            x = x * std + mean
            if factors is not None:
                x = color_ops.jitter(x, *factors.to(x.device))
            if changes is not None:
                x = changes.recolour(x)
            x = ((x - mean) / std).to(memory_format=torch.channels_last)
        if self.random_erasing:
            x = x * kept_by_erasing(n, size, self.random_erasing, generator, mine).to(x.device)
        return x


def draw_crops(n: int, generator: torch.Generator, *, smallest: float, flip: bool) -> Tensor:
    """Maps of `n` random crops, each resized to the whole, shape (n, 2, 3), on the CPU, as `warp` takes them.

    The share of the area is uniform from `smallest` to 1, the logarithm of the aspect ratio between those of 3/4 and
    4/3, both sides at most the image's, and the place uniform; half of the crops are mirrored if `flip`. Source:
    Szegedy et al., 2015.
    """
    u = torch.rand(5, n, generator=generator)
    area, aspect = smallest + (1 - smallest) * u[0], torch.exp(_LOG_ASPECT * (2 * u[1] - 1))
    width, height = torch.sqrt(area * aspect).clamp(max=1), torch.sqrt(area / aspect).clamp(max=1)
    mirror = torch.where(u[4] < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    return crop(u[2] * (1 - width), u[3] * (1 - height), width, height, mirror)


def crop(left: Tensor, top: Tensor, width: Tensor, height: Tensor, mirror: Tensor) -> Tensor:
    """Maps (B, 2, 3) for `warp` that show the box as a whole image, mirrored left-right where `mirror` is -1, not 1.

    Args:
        left, top, width, height: of the box, in shares of the image's; shape (B,), as `mirror`.
    """
    zero = torch.zeros_like(width)
    across = torch.stack([mirror * width, zero, 2 * left + width - 1], 1)
    down = torch.stack([zero, height, 2 * top + height - 1], 1)
    return torch.stack([across, down], 1)


def after(first: Tensor, then: Tensor) -> Tensor:
    """One map (B, 2, 3) for `warp` that does as `first` and `then` one after the other, without a border between."""
    turned = first[:, :, :2] @ then
    return torch.cat([turned[:, :, :2], turned[:, :, 2:] + first[:, :, 2:]], 2)


def kept_by_erasing(n: int, size: Size, share: float, generator: torch.Generator, mine: slice = EVERY) -> Tensor:
    """Masks (n, 1, height, width) on the CPU: of a `share` of the images 0 in a rectangle, else 1.

    Its share of the area is uniform from 0.02 to 1/3, the logarithm of its aspect ratio between those of 1/3.3 and 3.3,
    its sides are rounded and at most the image's, and it lies within it. On images of mean 0, times the mask, it is the
    mean. Source: Zhong et al., Random Erasing, 2017.

    Args:
        mine: of the n images, those that masks are wanted for.
    """
    u = torch.rand(5, n, generator=generator)[:, mine]
    low, high = _ERASED_AREA
    area, aspect = (low + (high - low) * u[0]) * size.pixels, torch.exp(_ERASED_LOG_ASPECT * (2 * u[1] - 1))
    inside = []
    for whole, side, place in zip(size, (torch.sqrt(area / aspect), torch.sqrt(area * aspect)), u[2:4], strict=True):
        side = side.round().clamp(max=whole)
        start = torch.floor(place * (whole - side + 1))[:, None]
        pixels = torch.arange(whole)
        inside.append((pixels >= start) & (pixels < start + side[:, None]))
    erased = inside[0][:, :, None] & inside[1][:, None, :] & (u[4] < share)[:, None, None]
    return 1.0 - erased[:, None].float()
