from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from hwnas.data.augment import MAX_DEGREES, MAX_SCALE, MAX_SHIFT, affine, draw, warp

SIDE = 10
IMAGES = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def one(
    shift_x: float = 0, shift_y: float = 0, radians: float = 0, scale: float = 1, mirror: float = 1, n: int = 2
) -> Tensor:
    return affine(*(torch.full((n,), float(v)) for v in (shift_x, shift_y, radians, scale, mirror)))


def test_identity() -> None:
    torch.testing.assert_close(warp(IMAGES, one()), IMAGES, atol=1e-5, rtol=0)


def test_a_shift_by_whole_pixels_is_a_roll_with_repeated_border() -> None:
    moved = warp(IMAGES, one(shift_x=2 / SIDE, shift_y=-1 / SIDE)).numpy()
    rolled = np.roll(IMAGES.numpy(), (-1, 2), axis=(2, 3))
    np.testing.assert_allclose(moved[:, :, :-1, 2:], rolled[:, :, :-1, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, :, :-1, 0], IMAGES.numpy()[:, :, 1:, 0], atol=1e-5)


def test_a_mirror_reverses_columns() -> None:
    torch.testing.assert_close(warp(IMAGES, one(mirror=-1)), IMAGES.flip(3), atol=1e-5, rtol=0)


def test_a_mirrored_image_is_moved_to_the_right_all_the_same() -> None:
    moved = warp(IMAGES, one(shift_x=1 / SIDE, mirror=-1))
    torch.testing.assert_close(moved[..., 1:], IMAGES.flip(3)[..., :-1], atol=1e-5, rtol=0)


def test_a_quarter_turn_is_rot90() -> None:
    turned = warp(IMAGES, one(radians=math.pi / 2))
    torch.testing.assert_close(turned, torch.rot90(IMAGES, -1, (2, 3)), atol=1e-4, rtol=0)


def test_scaling_by_two_shows_the_centre() -> None:
    ramp = torch.arange(SIDE, dtype=torch.float32).expand(1, 1, SIDE, SIDE)
    expected = SIDE / 2 - 0.5 + (torch.arange(SIDE) + 0.5 - SIDE / 2) / 2
    torch.testing.assert_close(warp(ramp, one(scale=2, n=1))[0, 0, 0], expected, atol=1e-4, rtol=0)


def test_padding_is_that_of_the_border() -> None:
    matrices = draw(2, torch.Generator().manual_seed(1), flip=True)
    grid = affine_grid(matrices, list(IMAGES.shape), align_corners=False)
    expected = grid_sample(IMAGES, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp(IMAGES, matrices), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_draws_are_uniform_within_the_limits(flip: bool) -> None:
    matrices = draw(4000, torch.Generator().manual_seed(0), flip=flip).double()
    mirrored = torch.linalg.det(matrices[:, :, :2]) < 0
    assert mirrored.double().mean() == pytest.approx(0.5 if flip else 0.0, abs=0.03)
    scale = torch.linalg.det(matrices[:, :, :2]).abs() ** -0.5
    degrees = torch.rad2deg(torch.atan2(-matrices[:, 1, 0], matrices[:, 1, 1]))
    shift = torch.linalg.solve(matrices[:, :, :2], matrices[:, :, 2]) / -2
    for values, middle, reach in ((scale, 1, MAX_SCALE), (degrees, 0, MAX_DEGREES), (shift, 0, MAX_SHIFT)):
        assert (values - middle).abs().max() <= reach * 1.001
        assert values.mean() == pytest.approx(middle, abs=0.05 * reach)
        assert values.std() == pytest.approx(reach / math.sqrt(3), rel=0.05)
