"""Changes of the colours of a batch, by one number an image.

All take float images (B, C, H, W) of values 0..1 and numbers of shape (B,), give the same shape, and clamp to 0..1.
They are those of Pillow's ImageEnhance and ImageOps, which round to 256 levels on the way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_SMOOTHED, _CENTRE = 9 / 13, 4 / 13  # Pillow's smoothing kernel: all ones, but five in the centre


def jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Multiply by `brightness`, then blend with the mean grey by `contrast`, then with the grey image by `saturation`.

    A factor of 1 changes nothing; 0 makes the image black, or even, or grey. The three are one linear map, and are
    clamped once.
    """
    scale, contrast, saturation = (_each(v) for v in (brightness * contrast, contrast, saturation))
    bright = _each(brightness)
    luma = grey(x)
    even = (1 - contrast) * bright * luma.mean((2, 3), keepdim=True)
    return (saturation * scale * x + (1 - saturation) * scale * luma + even).clamp(0, 1)


def sharpen(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the smoothed image, of which the outer pixels are those of `x`; factors above 1 sharpen."""
    smooth = x.clone()
    inner = x[..., 1:-1, 1:-1]
    smooth[..., 1:-1, 1:-1] = _SMOOTHED * avg_pool2d(x, 3, stride=1) + _CENTRE * inner
    return torch.lerp(smooth, x, _each(factor)).clamp(0, 1)


def posterize(x: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits`, of 8, of each value."""
    step = _each(2 ** (8 - bits.round()))
    return torch.floor(_levels(x) / step) * step / 255


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    """Invert values of at least `threshold` (0..1)."""
    return torch.where(x >= _each(threshold), 1 - x, x)


def autocontrast(x: Tensor) -> Tensor:
    """Stretch each channel of each image to 0..1."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    even = high == low
    return torch.where(even, x, (x - low) / torch.where(even, 1.0, high - low))


def equalize(x: Tensor) -> Tensor:
    """Make the 256 levels of each channel of each image equally frequent."""
    planes = x.shape[0] * x.shape[1]
    levels = _levels(x).long().reshape(planes, -1)
    offsets = 256 * torch.arange(planes, device=x.device)[:, None]
    counts = torch.bincount((levels + offsets).flatten(), minlength=256 * planes).view(planes, 256)
    highest = counts.gather(1, levels.amax(1, keepdim=True))
    step = torch.div(counts.sum(1, keepdim=True) - highest, 255, rounding_mode="floor")
    below = counts.cumsum(1) - counts
    table = torch.div(below + step // 2, step.clamp(min=1), rounding_mode="floor").clamp(max=255)
    table = torch.where(step == 0, torch.arange(256, device=x.device), table)
    return (table.gather(1, levels).to(x.dtype) / 255).reshape(x.shape)


def grey(x: Tensor) -> Tensor:
    """Luma of RGB, or the mean of any other number of channels; shape (B, 1, H, W)."""
    if x.shape[1] != len(_LUMA):
        return x.mean(1, keepdim=True)
    red, green, blue = (weight * x[:, index : index + 1] for index, weight in enumerate(_LUMA))
    return red + green + blue


def _levels(x: Tensor) -> Tensor:
    return (255 * x).round()


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
