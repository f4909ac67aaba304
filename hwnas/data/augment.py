"""Augmentation: a small random affine map per image, and a blanked square."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

MAX_SHIFT = 0.1
MAX_DEGREES = 10.0
MAX_SCALE = 0.1


def affine(shift_x: Tensor, shift_y: Tensor, radians: Tensor, scale: Tensor, mirror: Tensor) -> Tensor:
    """Matrices of shape (B, 2, 3) for `warp`; every argument has shape (B,).

    An image is mirrored left-right where `mirror` is -1 (else 1), enlarged by `scale`, turned clockwise by `radians`,
    then moved right by `shift_x` and down by `shift_y`, both in fractions of its width. The matrix maps output to
    input coordinates (-1..1), hence is the inverse: x_in = M R(-φ)(x_out - 2·shift) / scale.
    """
    cos, sin = torch.cos(radians) / scale, torch.sin(radians) / scale
    rows = torch.stack([torch.stack([mirror * cos, mirror * sin], 1), torch.stack([-sin, cos], 1)], 1)
    moved = rows @ (-2 * torch.stack([shift_x, shift_y], 1))[:, :, None]
    return torch.cat([rows, moved], 2)


def draw(n: int, generator: torch.Generator, *, flip: bool) -> Tensor:
    """`n` random maps, shape (n, 2, 3), on the CPU, uniform within the limits of this module; mirrored half the time
    if `flip`."""
    u = torch.rand(5, n, generator=generator) * 2 - 1
    mirror = torch.where(u[4] < 0, -1.0, 1.0) if flip else torch.ones(n)
    return affine(u[0] * MAX_SHIFT, u[1] * MAX_SHIFT, u[2] * math.radians(MAX_DEGREES), 1 + u[3] * MAX_SCALE, mirror)


def warp(x: Tensor, matrices: Tensor) -> Tensor:
    """Apply one map to each square image of `x` (B, C, H, H), bilinear; outside, the border pixels repeat."""
    grid = affine_grid(matrices, list(x.shape), align_corners=False)
    # Clamping to the outer pixel centres is padding by the border, which not every accelerator offers by itself.
    limit = 1 - 1 / x.shape[-1]
    return grid_sample(x, grid.clamp(-limit, limit), mode="bilinear", padding_mode="zeros", align_corners=False)


def kept_by_cutout(n: int, size: int, share: float, generator: torch.Generator) -> Tensor:
    """Masks (n, 1, size, size) on the CPU: 0 in a square of side `share` · size pixels (rounded), else 1.

    Its centre is any pixel with equal probability, so it may reach over the border. On images of mean 0, times the
    mask, it is the mean. Source: DeVries and Taylor, Cutout, 2017.
    """
    side = round(share * size)
    pixels = torch.arange(size)
    starts = torch.randint(size, (2, n, 1), generator=generator) - side // 2
    inside = (pixels >= starts) & (pixels < starts + side)  # rows and columns of each image
    return 1.0 - (inside[0, :, :, None] & inside[1, :, None, :])[:, None].float()
