"""Augmentation: a random affine map per image, small or with bends, and a blanked square."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from hwnas.data.shard import EVERY
from hwnas.image_size import Size

MAX_SHIFT = 0.1
MAX_DEGREES = 10.0
MAX_SCALE = 0.1

STRONG_DEGREES = 15.0
STRONG_SCALE = 0.25  # of each axis by itself
STRONG_SHEAR = 0.2
BEND = 0.03  # of the shorter side; standard deviation
_BENDS = 5  # a side
_SQUARE = Size.square(1)


def affine(shift_x: Tensor, shift_y: Tensor, radians: Tensor, scale: Tensor, mirror: Tensor) -> Tensor:
    """Matrices of shape (B, 2, 3) for `warp`; every argument has shape (B,).

    An image is mirrored left-right where `mirror` is -1 (else 1), enlarged by `scale`, turned clockwise by `radians`,
    then moved right by `shift_x` and down by `shift_y`, in fractions of its shorter side. The matrix maps output to
    input coordinates (-1..1), hence is the inverse: x_in = M R(-φ)(x_out - 2·shift) / scale.
    """
    cos, sin = torch.cos(radians) / scale, torch.sin(radians) / scale
    rows = torch.stack([torch.stack([mirror * cos, mirror * sin], 1), torch.stack([-sin, cos], 1)], 1)
    moved = rows @ (-2 * torch.stack([shift_x, shift_y], 1))[:, :, None]
    return torch.cat([rows, moved], 2)


def draw(n: int, generator: torch.Generator, *, flip: bool, size: Size = _SQUARE) -> Tensor:
    """`n` random maps, shape (n, 2, 3), on the CPU, uniform within the limits of this module; mirrored half the time
    if `flip`.

    Args:
        size: of the images. Where it is no square, they are turned by so much less as they are longer than wide, so
            that a turn moves their ends by no more of their width than it does in squares.
    """
    u = torch.rand(5, n, generator=generator) * 2 - 1
    mirror = torch.where(u[4] < 0, -1.0, 1.0) if flip else torch.ones(n)
    radians = u[2] * math.radians(MAX_DEGREES * size.short / size.long)
    return of_size(affine(u[0] * MAX_SHIFT, u[1] * MAX_SHIFT, radians, 1 + u[3] * MAX_SCALE, mirror), size)


def draw_strong(n: int, generator: torch.Generator, size: Size = _SQUARE) -> tuple[Tensor, Tensor]:
    """`n` strong random maps on the CPU, for drawn characters: matrices (n, 2, 3) and bends (n, 2, 5, 5) for `warp`.

    Uniform: turns, shifts, a shear, and the logarithm of the scale of each axis. Normal, of standard deviation `BEND`:
    how far each of 5 x 5 points moves by itself, in fractions of the shorter side; between them it is interpolated.
    Source: elastic distortions, Simard et al., 2003, with cubic splines in place of a Gaussian filter.
    """
    u = torch.rand(6, n, generator=generator) * 2 - 1
    radians, scale = u[2] * math.radians(STRONG_DEGREES), torch.exp(u[3:5] * math.log1p(STRONG_SCALE))
    cos, sin = torch.cos(radians), torch.sin(radians)
    turn = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    shear = torch.stack([torch.stack([scale[0], u[5] * STRONG_SHEAR], 1), torch.stack([0 * cos, scale[1]], 1)], 1)
    matrices = torch.cat([turn @ shear, 2 * MAX_SHIFT * u[:2].T[:, :, None]], 2)
    bends = BEND * torch.randn(n, 2, _BENDS, _BENDS, generator=generator)
    shares = torch.tensor([size.short / size.width, size.short / size.height])
    return of_size(matrices, size), bends * shares[:, None, None]


def of_size(matrices: Tensor, size: Size) -> Tensor:
    """Maps of a square, in the coordinates of images of another size, in which each side goes from -1 to 1.

    The square is that of the shorter side around the middle. So what is turned is turned in pixels, and not sheared.
    """
    (height, width), side = size, size.short
    return matrices * torch.tensor([[1, height / width, side / width], [width / height, 1, side / height]])


def warp(x: Tensor, matrices: Tensor, bends: Tensor | None = None) -> Tensor:
    """Apply one map to each image of `x` (B, C, H, W), bilinear; outside, the border pixels repeat.

    Args:
        matrices: (B, 2, 3), from output to input coordinates, in which each side goes from -1 to 1.
        bends: (B, 2, rows, columns), how far right and down of where its map says a point looks, in fractions of the
            width and of the height, at points that are spread evenly from corner to corner; cubic in between.
    """
    height, width = x.shape[-2:]
    grid = affine_grid(matrices, list(x.shape), align_corners=False)
    if bends is not None:
        smooth = interpolate(bends, size=list(x.shape[-2:]), mode="bicubic", align_corners=True)
        grid = grid + 2 * smooth.permute(0, 2, 3, 1)
    # Clamping to the outer pixel centres is padding by the border, which not every accelerator offers by itself.
    across, down = (grid[..., axis].clamp(1 / size - 1, 1 - 1 / size) for axis, size in enumerate((width, height)))
    return grid_sample(x, torch.stack([across, down], -1), mode="bilinear", padding_mode="zeros", align_corners=False)


def kept_by_cutout(n: int, size: Size, share: float, generator: torch.Generator, mine: slice = EVERY) -> Tensor:
    """Masks (n, 1, height, width) on the CPU: 0 in a square of `share` of the shorter side (rounded), else 1.

    Its centre is any pixel with equal probability, so it may reach over the border. On images of mean 0, times the
    mask, it is the mean. Source: DeVries and Taylor, Cutout, 2017.

    Args:
        mine: of the n images, those that masks are wanted for.
    """
    side, inside = round(share * size.short), []
    for pixels in size:
        starts = torch.randint(pixels, (n, 1), generator=generator)[mine] - side // 2
        inside.append((torch.arange(pixels) >= starts) & (torch.arange(pixels) < starts + side))
    rows, columns = inside
    return 1.0 - (rows[:, :, None] & columns[:, None, :])[:, None].float()
