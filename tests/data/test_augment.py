from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from hwnas.data.augment import (
    BEND,
    MAX_DEGREES,
    MAX_SCALE,
    MAX_SHIFT,
    STRONG_DEGREES,
    STRONG_SCALE,
    STRONG_SHEAR,
    affine,
    draw,
    draw_strong,
    warp,
)

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


def test_even_bends_are_a_shift() -> None:
    bends = torch.zeros(2, 2, 5, 5)
    bends[:, 0], bends[:, 1] = -2 / SIDE, 1 / SIDE  # looks to the left and down, so the image moves right and up
    torch.testing.assert_close(warp(IMAGES, one(), bends), warp(IMAGES, one(shift_x=2 / SIDE, shift_y=-1 / SIDE)))


def test_a_bend_at_one_corner_leaves_the_others() -> None:
    bends = torch.zeros(2, 2, 5, 5)
    bends[:, :, 0, 0] = 0.1
    changed = (warp(IMAGES, one(), bends) - IMAGES).abs().amax((0, 1)) > 1e-4
    assert changed[:2, :2].any()
    assert not changed[-4:].any()
    assert not changed[:, -4:].any()


def test_strong_draws_are_uniform_within_the_limits_and_bends_are_normal() -> None:
    matrices, bends = (part.double() for part in draw_strong(4000, torch.Generator().manual_seed(0)))
    # A = Q R with R = [[s, shear], [0, t]], which is the QR decomposition with a positive diagonal.
    turn, upper = torch.linalg.qr(matrices[:, :, :2])
    signs = torch.sign(torch.diagonal(upper, dim1=1, dim2=2))
    turn, upper = turn * signs[:, None, :], upper * signs[:, :, None]
    degrees = torch.rad2deg(torch.atan2(turn[:, 0, 1], turn[:, 0, 0]))
    scales = torch.log(torch.diagonal(upper, dim1=1, dim2=2))
    for values, reach in (
        (degrees, STRONG_DEGREES),
        (scales, math.log1p(STRONG_SCALE)),
        (upper[:, 0, 1], STRONG_SHEAR),
        (matrices[:, :, 2] / 2, MAX_SHIFT),
    ):
        assert values.abs().max() <= reach * 1.001
        assert values.mean() == pytest.approx(0, abs=0.05 * reach)
        assert values.std() == pytest.approx(reach / math.sqrt(3), rel=0.05)
    assert bends.mean() == pytest.approx(0, abs=0.01 * BEND)
    assert bends.std() == pytest.approx(BEND, rel=0.02)
