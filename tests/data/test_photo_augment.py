from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hwnas.data import WHOLE, Dataset, Images, Shard, batches, to_input
from hwnas.data.augment import draw, kept_by_cutout, warp
from hwnas.data.photo_augment import Augmentation, after, crop, draw_crops, kept_by_erasing
from hwnas.data.trivial_augment import CHANGES, Changes
from hwnas.image_size import Size

CPU = torch.device("cpu")
SIDE = 12
FULL = Augmentation(0.3, 0.4, True, 0.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 2, height: int = SIDE, width: int = SIDE) -> Tensor:
    return torch.rand(n, 3, height, width, generator=seeded(5))


def each(value: float, n: int = 2) -> Tensor:
    return torch.full((n,), float(value))


def dataset(channels: int = 3, side: int = SIDE, n: int = 40, *, flip: bool = True) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (n, channels, side, side), dtype=np.uint8)
    images = Images(pixels, np.arange(n) % 2)
    return Dataset("d", ("a", "b"), images, images, images, (0.4,) * channels, (0.25,) * channels, flip=flip)


def first_batch(data: Dataset, how: Augmentation, seed: int = 3) -> Tensor:
    stream = batches(data.train, data, batch_size=20, device=CPU, generator=seeded(seed), augment=True, how=how)
    return next(stream)[0]


def test_the_whole_image_is_its_own_crop() -> None:
    x = noise()
    torch.testing.assert_close(warp(x, crop(each(0), each(0), each(1), each(1), each(1))), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        warp(x, crop(each(0), each(0), each(1), each(1), each(-1))), x.flip(3), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("left", "top"), [(0, 0), (6, 0), (3, 5)])
def test_a_crop_of_half_the_sides_shows_each_pixel_at_its_place(left: int, top: int) -> None:
    """Enlarged by two, output pixels lie at quarters between input pixels."""
    x = noise(1)
    shown = warp(x, crop(each(left / SIDE, 1), each(top / SIDE, 1), each(0.5, 1), each(0.5, 1), each(1, 1)))
    inner = x[:, :, top : top + 6, left : left + 6]
    expected = torch.nn.functional.interpolate(inner, scale_factor=2, mode="bilinear", align_corners=False)
    # At the crop's border the pixels beyond it have their part, which the cut-out box does not know.
    torch.testing.assert_close(shown[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-5, rtol=0)


def test_a_ramp_tells_where_crops_lie() -> None:
    """Of an image that is its own coordinates a crop shows the coordinates of the box."""
    n = 500
    ramp = (torch.arange(64) + 0.5) / 64
    x = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)])[None].expand(n, -1, -1, -1)
    shown = warp(x, draw_crops(n, seeded(), smallest=0.3, flip=False))
    low, high = shown.amin((2, 3)), shown.amax((2, 3))
    assert low.min() >= 0
    assert high.max() <= 1
    # From the centre of the first output pixel to that of the last: 63 of 64 parts of the side, clamped at the border.
    sides = (high - low) * 64 / 63
    area = sides.prod(1)
    assert 0.27 < area.min() < 0.36
    assert area.mean() == pytest.approx(0.65, abs=0.03)
    aspect = sides[:, 0] / sides[:, 1]
    assert 0.73 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.37


@pytest.mark.parametrize("flip", [False, True])
def test_crops_are_mirrored_half_the_time_if_the_set_allows_it(flip: bool) -> None:
    maps = draw_crops(4000, seeded(), smallest=0.5, flip=flip)
    assert (maps[:, 0, 0] < 0).float().mean() == pytest.approx(0.5 if flip else 0.0, abs=0.03)
    assert (maps[:, :, :2].det().abs() >= 0.4999 - 0.04).all()


def test_one_map_after_another() -> None:
    """First the right half, then that one moved by a quarter of its width: pixels from 3/8 of the image on."""
    x = noise()
    half = crop(each(0.5), each(0), each(0.5), each(1), each(1))
    moved = crop(each(-0.25), each(0), each(1), each(1), each(1))
    expected = warp(x, crop(each(0.375), each(0), each(0.5), each(1), each(1)))
    torch.testing.assert_close(warp(x, after(half, moved)), expected, atol=1e-5, rtol=0)


def test_a_turn_keeps_right_angles_in_images_that_are_no_squares() -> None:
    """In pixels, the map of a turn is a rotation."""
    moves = Changes(torch.tensor([12]), torch.tensor([1.0])).moves(aspect=0.5)[0, :, :2]
    pixels = torch.diag(torch.tensor([2.0, 1.0])) @ moves @ torch.diag(torch.tensor([0.5, 1.0]))
    angle = math.radians(30)
    expected = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    torch.testing.assert_close(pixels, expected)


def test_every_change_has_its_turn_and_only_colours_or_moves() -> None:
    n = 50 * CHANGES
    changes = Changes.draw(n, seeded())
    assert sorted(set(changes.kinds.tolist())) == list(range(CHANGES))
    x = noise(1, 8, 8).expand(n, -1, -1, -1)
    recoloured = (changes.recolour(x) - x).abs().amax((1, 2, 3)) > 1e-6
    moved = (changes.moves(1.0) - torch.eye(2, 3)).abs().amax((1, 2)) > 0
    assert not (recoloured & moved).any()
    assert (recoloured | moved).float().mean() == pytest.approx(1 - 1 / CHANGES, abs=0.03)
    assert moved.float().mean() == pytest.approx(5 / CHANGES, abs=0.03)


def test_erased_rectangles_have_the_area_that_was_drawn() -> None:
    kept = kept_by_erasing(3000, Size(40, 60), 0.25, seeded())
    erased = (1 - kept)[:, 0]
    rows, columns = erased.amax(2).sum(1), erased.amax(1).sum(1)
    assert torch.equal(erased.sum((1, 2)), rows * columns)
    area = rows * columns / 2400
    assert (area > 0).float().mean() == pytest.approx(0.25, abs=0.03)
    area = area[area > 0]
    assert area.min() > 0.015
    assert area.max() < 0.35
    assert area.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.015)


def test_erased_pixels_are_the_mean() -> None:
    x = torch.cat([first_batch(dataset(), Augmentation(1.0, random_erasing=1.0), seed) for seed in range(4)])
    share = (x == 0).all(1).float().mean()
    assert share == pytest.approx((0.02 + 1 / 3) / 2, abs=0.04)


def test_without_anything_set_batches_are_the_bytes_of_before() -> None:
    data, generator = dataset(channels=1, side=8), seeded(1)
    chosen = torch.randperm(40, generator=generator)[:20]
    x = to_input(torch.from_numpy(data.train.pixels)[chosen], data.mean, data.std)
    x = warp(x, draw(20, generator, flip=True)).to(memory_format=torch.channels_last)
    x = x * kept_by_cutout(20, Size.square(8), 0.3, generator)
    stream = batches(data.train, data, batch_size=20, device=CPU, generator=seeded(1), augment=True, cutout=0.3)
    assert torch.equal(next(stream)[0], x)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_same_seed_gives_the_same_bytes_and_no_other_chance_comes_in(channels: int) -> None:
    data = dataset(channels)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = first_batch(data, FULL)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first_batch(data, FULL), one)
    assert not torch.equal(first_batch(data, FULL, seed=4), one)
    assert one.is_contiguous(memory_format=torch.channels_last)
    assert one.dtype == torch.float32


def test_colours_stay_those_of_images() -> None:
    data = dataset()
    x = first_batch(data, FULL) * 0.25 + 0.4
    assert x.min() > -1e-5
    assert x.max() < 1 + 1e-5


def test_colour_jitter_of_strength_zero_is_the_crop_alone() -> None:
    data = dataset()
    plain = first_batch(data, Augmentation(0.5))
    barely = first_batch(data, Augmentation(0.5, color_jitter=1e-9))
    torch.testing.assert_close(barely, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", [Augmentation(), FULL], ids=["small", "full"])
def test_shards_of_batches_are_parts_of_the_whole_ones(how: Augmentation) -> None:
    """Of 40 images: 19, 19, and two, which three processes have whole. What is drawn afterwards is the same."""
    data, after_all = dataset(), []

    def read(shard: Shard) -> list[tuple[Tensor, Tensor]]:
        generator = seeded(3)
        stream = batches(
            data.train,
            data,
            batch_size=19,
            device=CPU,
            generator=generator,
            augment=True,
            cutout=0.5,
            how=how,
            shard=shard,
        )
        found = list(stream)
        after_all.append(torch.rand(1, generator=generator))
        return found

    whole, shards = read(WHOLE), [read(Shard(index, 3)) for index in range(3)]
    assert [[len(y) for _, y in shard] for shard in shards] == [[6, 6, 2], [6, 6, 2], [7, 7, 2]]
    for batch in range(2):
        x, y = (torch.cat([shard[batch][part] for shard in shards]) for part in range(2))
        torch.testing.assert_close(x, whole[batch][0], atol=1e-5, rtol=1e-5)
        assert torch.equal(y, whole[batch][1])
    for shard in shards:
        torch.testing.assert_close(shard[2], whole[2], atol=1e-5, rtol=1e-5)
    assert len(set(map(float, after_all))) == 1
