"""Images that are no squares: fits against Pillow, augmentation in pixels, arrays of any number of channels."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import cycle, everything, noise, pairs, write_mnist
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import draw, pixels, save
from PIL import Image, ImageOps
from scipy.ndimage import map_coordinates

from hwnas.data import ReadOptions, from_torch, image, load_dataset, native_shape, survey
from hwnas.data.augment import affine, draw_strong, kept_by_cutout, of_size, warp
from hwnas.data.augment import draw as drawn
from hwnas.data.dataset import resized
from hwnas.data.reading import Reading
from hwnas.data.resize import fitted
from hwnas.errors import DataError
from hwnas.image_size import Size

SIDES = st.integers(2, 15)


def with_grey(whole: Image.Image, width: int, height: int) -> Image.Image:
    inner = ImageOps.contain(whole, (width, height), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (width, height), (128, 128, 128))
    canvas.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return canvas


@pytest.mark.parametrize(("width", "height"), [(400, 300), (120, 400), (160, 96), (33, 20), (30, 900)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_fits_are_those_of_pillow(tmp_path: Path, width: int, height: int, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", pixels(3, width=width, height=height))
    with Image.open(path) as opened:
        opened.draft(None, (640, 384))
        whole = opened.convert("RGB")
    expected = {
        "crop": ImageOps.fit(whole, (160, 96), Image.Resampling.BILINEAR),
        "pad": with_grey(whole, 160, 96),
        "squash": whole.resize((160, 96), Image.Resampling.BILINEAR),
    }
    for fit, picture in expected.items():
        found = image.read(path, resolution=Size(96, 160), reading=Reading(fit))
        assert found.shape == (3, 96, 160)
        difference = np.abs(found.astype(int) - np.asarray(picture).transpose(2, 0, 1))
        assert not difference.any()


def test_jpegs_that_are_decoded_smaller_are_nearly_those_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    y, x = np.mgrid[0:1600, 0:2000] / 40
    waves = np.stack([np.sin(x * y / 9), np.cos(x - y), np.sin(x + 2 * y)], 2)
    Image.fromarray((127.5 + 120 * waves).astype(np.uint8)).save(path, quality=90)
    with Image.open(path) as opened:
        expected = ImageOps.fit(opened.convert("RGB"), (160, 96), Image.Resampling.BILINEAR)
    whole, smaller = (image.read(path, resolution=Size(96, 160), whole=one) for one in (True, False))
    assert np.array_equal(whole, np.asarray(expected).transpose(2, 0, 1))
    difference = np.abs(smaller.astype(int) - whole)
    assert 0 < difference.max() < 8
    assert difference.mean() < 1


def test_a_photo_on_its_side_is_upright_before_it_is_fitted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    y, x = np.mgrid[0:640, 0:400]
    shades = np.stack([x * 255 // 400, y * 255 // 640, (x + y) * 255 // 1040], 2).astype(np.uint8)
    Image.fromarray(shades).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(np.rot90(shades, -1)).save(tmp_path / "upright.jpg", quality=95)
    one, other = (image.read(tmp_path / f"{name}.jpg", resolution="40x64") for name in ("turned", "upright"))
    assert np.abs(one.astype(int) - other).max() < 12


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["crop", "pad", "squash"]))
@settings(deadline=None)
def test_arrays_are_fitted_as_described(h: int, w: int, height: int, width: int, fit: Any) -> None:
    images = np.full((2, 5, h, w), 7, np.uint8)
    found = fitted(images, Size(height, width), fit)
    assert found.shape == (2, 5, height, width)
    if fit != "pad" or abs(Size(h, w).mismatch(Size(height, width)) - 1) < 1e-9:
        assert (found == 7).all()
    assert np.array_equal(fitted(images, Size(h, w), fit), images)
    turned = fitted(images.transpose(0, 1, 3, 2), Size(width, height), fit)
    assert np.abs(turned.astype(int) - found.transpose(0, 1, 3, 2)).max() <= 1  # sums are in another order


def in_pixels(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The map of a square of the shorter side, applied in pixels from the middle."""
    _, height, width = x.shape
    down, across = np.mgrid[0:height, 0:width] + 0.5
    places = np.stack([across - width / 2, down - height / 2]).reshape(2, -1)
    x_in, y_in = matrix[:, :2] @ places + matrix[:, 2:] * min(height, width) / 2
    rows, columns = y_in + height / 2 - 0.5, x_in + width / 2 - 0.5
    planes = [map_coordinates(plane, [rows, columns], order=1, mode="nearest") for plane in x]
    return np.stack(planes).reshape(x.shape)


@given(SIDES, SIDES, st.integers(0, 999), st.booleans())
@settings(deadline=None)
def test_a_warp_is_the_same_map_in_pixels_whatever_the_shape(height: int, width: int, seed: int, strong: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, height, width, generator=generator)
    matrices = draw_strong(2, generator)[0] if strong else drawn(2, generator, flip=True)
    found = warp(x, of_size(matrices, Size(height, width)))
    for one, matrix, warped in zip(x.numpy(), matrices.numpy().astype(float), found.numpy(), strict=True):
        np.testing.assert_allclose(warped, in_pixels(one, matrix), atol=2e-4)


@given(st.integers(1, 6), st.integers(0, 4), st.booleans())
@settings(deadline=None)
def test_a_quarter_turn_keeps_the_pixels_square(half: int, more: int, upright: bool) -> None:
    """What stands in the middle lies down there, neither longer nor wider."""
    short, long = 2 * half, 2 * (half + more)
    x = torch.rand(1, 2, short, long, generator=torch.Generator().manual_seed(half))
    x = x.transpose(2, 3) if upright else x
    quarter = affine(*(torch.tensor([value]) for value in (0.0, 0.0, math.pi / 2, 1.0, 1.0)))

    def middle(image: torch.Tensor) -> torch.Tensor:
        top, left = ((side - short) // 2 for side in image.shape[2:])
        return image[..., top : top + short, left : left + short]

    turned = warp(x, of_size(quarter, Size(*x.shape[2:])))
    torch.testing.assert_close(middle(turned), torch.rot90(middle(x), -1, (2, 3)), atol=1e-4, rtol=0)


@given(SIDES, SIDES)
@settings(deadline=None)
def test_what_is_drawn_is_of_the_size(height: int, width: int) -> None:
    """Turns are smaller by the aspect; bends move by the same number of pixels in both directions."""
    size = Size(height, width)
    square, other = (draw_strong(3, torch.Generator().manual_seed(0), one) for one in (Size(1, 1), size))
    torch.testing.assert_close(other[0], of_size(square[0], size))
    for axis, side in enumerate((width, height)):
        torch.testing.assert_close(other[1][:, axis] * side, square[1][:, axis] * size.short)
    square, other = (drawn(50, torch.Generator().manual_seed(0), flip=True, size=one) for one in (Size(1, 1), size))
    angle, less = (
        torch.atan2(-one[:, 1, 0] * height / width if one is other else -one[:, 1, 0], one[:, 1, 1])
        for one in (square, other)
    )
    torch.testing.assert_close(less, angle * size.short / size.long, atol=1e-5, rtol=1e-4)


def test_cutout_blanks_a_square_of_the_shorter_side_anywhere() -> None:
    masks = kept_by_cutout(4000, Size(6, 15), 0.5, torch.Generator().manual_seed(0))[:, 0]
    assert masks.shape == (4000, 6, 15)
    blank = 1 - masks
    assert blank.any(2).sum(1).max() == blank.any(1).sum(1).max() == 3
    assert blank.sum((1, 2)).max() == 9
    share = blank.mean((0, 1))
    assert share[3:-3].std() < 0.05 * share[3:-3].mean() + 0.02


ORDERS = {"first": (0, 1, 2, 3), "last": (0, 2, 3, 1)}


@given(st.integers(2, 12), st.integers(4, 24), st.integers(4, 24), st.sampled_from(sorted(ORDERS)), st.booleans())
@settings(deadline=None, max_examples=40)
def test_any_number_of_channels_first_or_last(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, order: str, said: bool
) -> None:
    """Few channels are told from pixels; where they are not few, the file says so, or is refused."""
    x, y = noise(9, channels, height, width), cycle(9, 3)
    source = tmp_path_factory.mktemp("arrays") / "a.npz"
    layout = {"layout": "NCHW" if order == "first" else "NHWC"} if said else {}
    np.savez(source, x=x.transpose(ORDERS[order]), y=y, **layout)
    shape = x.transpose(ORDERS[order]).shape[1:]
    usual = [shape[0] in (1, 3), shape[2] in (1, 3)]
    few = [2 * shape[0] <= min(shape[1:]), 2 * shape[2] <= min(shape[:2])]
    told = usual if any(usual) else few
    if not said and told != [order == "first", order == "last"]:
        if sum(told) != 1:
            assert "NHWC" in refusal(source)
        return
    dataset = load_dataset(str(source), resolution=Size(height, width), seed=0)
    assert everything(dataset) == pairs(x, y)
    assert (dataset.channels, dataset.size, dataset.flip) == (channels, (height, width), channels == 3)
    kept = Size(height, width)
    assert native_shape(str(source)) == (channels, kept)
    mean = x.astype(float).mean((0, 2, 3)) / 255
    assert len(dataset.mean) == len(dataset.std) == channels
    assert np.abs(np.array(dataset.mean) - mean).max() < 0.2


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(source), resolution=8, seed=0)
    return caught.value.hint


def test_statistics_are_of_each_channel(tmp_path: Path) -> None:
    x = np.stack([np.full((30, 12, 16), level, np.uint8) for level in (0, 51, 102, 255)], 1)
    x[:, 0, :6] = 255
    np.savez(tmp_path / "a.npz", x=x, y=cycle(30, 2))
    dataset = load_dataset(str(tmp_path / "a.npz"), resolution="12x16", seed=0)
    assert dataset.mean == pytest.approx((0.5, 0.2, 0.4, 1.0))
    assert dataset.std == pytest.approx((0.5, 1 / 255, 1 / 255, 1 / 255))


def test_parts_of_several_shapes_become_squares(tmp_path: Path) -> None:
    y = cycle(12, 2)
    np.savez(tmp_path / "a.npz", x_train=noise(12, 8, 12), y_train=y, x_test=noise(12, 12, 8), y_test=y)
    assert native_shape(str(tmp_path / "a.npz")) == (1, Size.square(8))


def test_the_survey_says_what_becomes_of_the_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=noise(24, 10, 49), y=cycle(24, 2))
    found = survey(str(tmp_path / "a.npz"), seed=0)
    assert found is not None
    lines = found.lines()
    assert lines["sizes"] == "all 10x49 pixels (height x width)"
    assert "10x49 (height x width), and keep that shape" in lines["notes"]
    assert "fit" not in lines
    folder = draw(tmp_path / "set", {"a": 6, "b": 6}, width=60, height=20)
    for size, said in (
        (None, "pad: grey is added to the shorter side; .* 3.00 times .*, --resolution 20x60 their own shape"),
        (Size(20, 60), None),
        (Size(20, 40), "crop: the centre part of the shape of 20x40 .* 1.50 times"),
        (Size(40, 20), "pad: grey is added to what is too short"),
    ):
        found = survey(str(folder), seed=0, options=ReadOptions(size=size))
        assert found is not None
        text = found.lines().get("fit")
        assert text is None if said is None else re.match(said, text or "")


def test_a_folder_at_a_rectangle_is_fitted_by_its_mismatch(tmp_path: Path) -> None:
    folder = draw(tmp_path / "set", {"a": 6, "b": 6}, width=60, height=20)
    for resolution, fit in (("20x60", "crop"), ("20x40", "crop"), (16, "pad"), ("40x20", "pad")):
        dataset = load_dataset(str(folder), resolution=resolution, seed=0)
        assert (dataset.size, dataset.reading.fit) == (Size.of(resolution), fit)
    whole = load_dataset(str(folder), resolution="20x60", seed=0)
    with Image.open(sorted(folder.rglob("*.png"))[0]) as opened:
        first = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)
    assert any(np.array_equal(first, one) for part in (whole.train, whole.val, whole.test) for one in part.pixels)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_folder_is_fitted_as_pillow_does(tmp_path: Path, fit: Any) -> None:
    folder = draw(tmp_path / "set", {"a": 3, "b": 4}, width=150, height=120)
    dataset = load_dataset(str(folder), resolution="96x160", seed=0, options=ReadOptions(fit=fit))
    fits = {"crop": ImageOps.fit, "pad": lambda whole, size, _: with_grey(whole, *size), "squash": Image.Image.resize}
    expected = []
    for path in folder.rglob("*.png"):
        with Image.open(path) as opened:
            picture = fits[fit](opened.convert("RGB"), (160, 96), Image.Resampling.BILINEAR)
        expected.append((dataset.classes.index(path.parent.name), np.asarray(picture).transpose(2, 0, 1).tobytes()))
    assert everything(dataset) == sorted(expected)
    assert (dataset.channels, dataset.reading.fit) == (3, fit)


def test_sets_of_torch_keep_their_shape() -> None:
    x, y = noise(12, 2, 10, 6), cycle(12, 2)
    for items in (torch.from_numpy(x), torch.from_numpy(x) / 255, [one.transpose(1, 2, 0) for one in x]):
        dataset = from_torch(list(zip(items, y.tolist(), strict=True)), name="mine")
        assert (dataset.channels, dataset.size) == (2, (10, 6))
        assert everything(dataset) == pairs(x, y)
        assert resized(dataset, Size(5, 3)).size == (5, 3)
    photos = [(Image.fromarray(one.transpose(1, 2, 0)), int(n)) for one, n in zip(noise(12, 3, 10, 6), y, strict=True)]
    assert from_torch(photos, name="mine").size == (6, 6)
    assert from_torch(photos, name="mine", resolution="10x6").size == (10, 6)


def test_idx_files_of_rectangles_keep_their_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWNAS_DATA", str(tmp_path))
    parts = {"train": noise(40, 8, 12), "t10k": noise(20, 8, 12)}
    write_mnist(tmp_path, parts, {"train": cycle(40), "t10k": cycle(20)})
    assert native_shape("mnist") == (1, Size(8, 12))
    assert np.array_equal(load_dataset("mnist", resolution="8x12", seed=0).test.pixels[:, 0], parts["t10k"])


def test_the_digits_are_cropped() -> None:
    square = load_dataset("digits", resolution=16, seed=0)
    wide = load_dataset("digits", resolution="8x16", seed=0)
    assert np.array_equal(wide.test.pixels, square.test.pixels[:, :, 4:12])
