"""Changes of colours against Pillow, which computes them from and to 256 levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from hwnas.data import color_ops

SIDE = 12


def images() -> Tensor:
    """Noise, a dark ramp, one level, and few levels; values on the 256 levels."""
    rng = np.random.default_rng(0)
    ramp = np.broadcast_to(np.arange(SIDE) * 5 + 20, (3, SIDE, SIDE))
    few = rng.integers(0, 3, (3, SIDE, SIDE)) * 60
    pixels = np.stack([rng.integers(0, 256, (3, SIDE, SIDE)), ramp, np.full((3, SIDE, SIDE), 77), few])
    return torch.from_numpy(pixels.astype(np.float32)) / 255


def by_pillow(change: Callable[[Image.Image], Image.Image]) -> Tensor:
    pixels = (255 * images()).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    changed = np.stack([np.asarray(change(Image.fromarray(one))) for one in pixels])
    return torch.from_numpy(changed).permute(0, 3, 1, 2).float() / 255


def each(value: float) -> Tensor:
    return torch.full((4,), value)


def jittered(brightness: float = 1, contrast: float = 1, saturation: float = 1) -> Tensor:
    return color_ops.jitter(images(), each(brightness), each(contrast), each(saturation))


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda f: jittered(brightness=f), ImageEnhance.Brightness),
        (lambda f: jittered(contrast=f), ImageEnhance.Contrast),
        (lambda f: jittered(saturation=f), ImageEnhance.Color),
        (lambda f: color_ops.sharpen(images(), each(f)), ImageEnhance.Sharpness),
    ],
    ids=["brightness", "contrast", "saturation", "sharpness"],
)
def test_enhancements_are_those_of_pillow(
    ours: Callable[[float], Tensor], theirs: Callable[[Image.Image], ImageEnhance._Enhance], factor: float
) -> None:
    expected = by_pillow(lambda image: theirs(image).enhance(factor))
    torch.testing.assert_close(ours(factor), expected, atol=2.1 / 255, rtol=0)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_posterize(bits: int) -> None:
    expected = by_pillow(lambda image: ImageOps.posterize(image, bits))
    torch.testing.assert_close(color_ops.posterize(images(), each(bits)), expected)


@pytest.mark.parametrize("threshold", [0, 100, 255])
def test_solarize(threshold: int) -> None:
    expected = by_pillow(lambda image: ImageOps.solarize(image, threshold))
    torch.testing.assert_close(color_ops.solarize(images(), each(threshold / 255)), expected)


def test_autocontrast() -> None:
    torch.testing.assert_close(
        color_ops.autocontrast(images()), by_pillow(ImageOps.autocontrast), atol=1.1 / 255, rtol=0
    )


def test_equalize() -> None:
    torch.testing.assert_close(color_ops.equalize(images()), by_pillow(ImageOps.equalize))


def test_factors_of_one_change_nothing() -> None:
    torch.testing.assert_close(jittered(), images(), atol=1e-6, rtol=0)


def test_the_three_factors_apply_one_after_the_other() -> None:
    x = 0.3 + 0.3 * images()  # nothing is clamped on the way
    one_by_one = x
    for place, factor in enumerate((0.8, 0.7, 1.3)):
        factors = [each(1.0), each(1.0), each(1.0)]
        factors[place] = each(factor)
        one_by_one = color_ops.jitter(one_by_one, *factors)
    torch.testing.assert_close(color_ops.jitter(x, each(0.8), each(0.7), each(1.3)), one_by_one)


@pytest.mark.parametrize("channels", [1, 2])
def test_other_numbers_of_channels(channels: int) -> None:
    x = torch.rand(3, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([0.5, 1.0, 1.5])
    saturated = color_ops.jitter(x, torch.ones(3), torch.ones(3), factors)
    torch.testing.assert_close(saturated.mean(1)[:2], x.mean(1)[:2])
    assert channels > 1 or torch.allclose(saturated, x, atol=1e-6)
    assert color_ops.equalize(x).shape == x.shape


def test_strengths_are_each_images_own() -> None:
    x = images()
    factors = torch.tensor([0.2, 1.0, 1.4, 0.7])
    for op in (
        color_ops.sharpen,
        lambda x, f: color_ops.jitter(x, f, 2 - f, f),
        lambda x, f: color_ops.solarize(x, f / 2),
    ):
        alone = torch.cat([op(x[index : index + 1], factors[index : index + 1]) for index in range(4)])
        torch.testing.assert_close(op(x, factors), alone)
