"""Formats, fits and ranges: from the bytes of a file to the pixels of a square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import noise
from hypothesis import given
from hypothesis import strategies as st
from photo_files import draw, pixels, save
from PIL import Image, features

from hwnas.data import ReadOptions, image, load_dataset, native_shape
from hwnas.data.reading import Reading, window
from hwnas.data.resize import fitted
from hwnas.image_size import Size

LOSSLESS = (".png", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pnm", ".tga", ".pcx", ".sgi", ".qoi", ".ico", ".apng")
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".jp2")
_FORMAT = {".apng": "PNG", ".qoi": "QOI"}


def smooth(size: int = 32) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] * (255 // size)
    return np.stack([x, y, (x + y) // 2], 2).astype(np.uint8)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    try:
        path = save(tmp_path / f"a{suffix.upper()}", pixels(1), format=_FORMAT.get(suffix))
    except (KeyError, ValueError, OSError):
        pytest.skip(f"this Pillow cannot write {suffix}")
    assert suffix in image.SUFFIXES
    assert np.array_equal(image.read(path, resolution=24), pixels(1).transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [*LOSSY, ".avif", ".heic"])
def test_lossy_formats(tmp_path: Path, suffix: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    if suffix == ".avif" and not ("avif" in features.modules and features.check("avif")):
        pytest.skip("this Pillow has no AVIF")
    path = save(tmp_path / f"a{suffix}", smooth())
    assert suffix in image.SUFFIXES
    difference = image.read(path, resolution=32).astype(int) - smooth().transpose(2, 0, 1)
    assert np.abs(difference).mean() < 12


def test_of_several_frames_the_first_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert image.read(tmp_path / name, resolution=8)[:, 0, 0].tolist() == [255, 0, 0]


def test_of_an_icon_the_largest_picture_is_taken(tmp_path: Path) -> None:
    Image.fromarray(smooth(64)).save(tmp_path / "a.ico", sizes=[(16, 16), (32, 32), (64, 64)])
    assert image.shown_size(tmp_path / "a.ico") == (64, 64)
    assert np.array_equal(image.read(tmp_path / "a.ico", resolution=64), smooth(64).transpose(2, 0, 1))
    root = draw(tmp_path / "set", {"cat": 4, "dog": 4}, suffix=".ico")
    assert len(load_dataset(str(root), resolution=24, seed=0).train) == 4


def test_programs_in_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(image.UNREADABLE):
        image.read(tmp_path / "a.png", resolution=8)


@pytest.mark.parametrize(("width", "height"), [(24, 8), (8, 24), (24, 24), (25, 8)])
def test_fits(tmp_path: Path, width: int, height: int) -> None:
    whole = pixels(3, width=width, height=height)
    path = save(tmp_path / "a.png", whole)
    padded = image.read(path, resolution=max(width, height), reading=Reading("pad"))
    top, left = (padded.shape[1] - height) // 2, (padded.shape[2] - width) // 2
    assert np.array_equal(padded[:, top : top + height, left : left + width], whole.transpose(2, 0, 1))
    beside = np.ones_like(padded, bool)
    beside[:, top : top + height, left : left + width] = False
    assert np.all(padded[beside] == 128)
    squashed = image.read(path, resolution=8, reading=Reading("squash"))
    assert np.array_equal(squashed, np.asarray(Image.fromarray(whole).resize((8, 8), 2)).transpose(2, 0, 1))
    arrays = whole.transpose(2, 0, 1)[None]
    assert np.array_equal(fitted(arrays, max(width, height), "pad")[0], padded)
    assert np.abs(fitted(arrays, 8, "squash")[0].astype(int) - squashed).max() <= 1


def test_a_line_can_be_padded(tmp_path: Path) -> None:
    Image.new("L", (20_000, 1), 9).save(tmp_path / "line.png")
    assert set(np.unique(image.read(tmp_path / "line.png", resolution=16, reading=Reading("pad")))) == {9, 128}


@pytest.mark.parametrize(
    ("width", "height", "asked", "fit", "native"),
    [
        (40, 30, "auto", "crop", 30),
        (54, 30, "auto", "crop", 30),
        (60, 30, "auto", "pad", 60),
        (30, 60, "auto", "pad", 60),
        (60, 30, "crop", "crop", 30),
        (40, 30, "pad", "pad", 40),
        (64, 16, "squash", "squash", 32),
    ],
)
def test_the_fit_follows_the_shapes(tmp_path: Path, width: int, height: int, asked: str, fit: str, native: int) -> None:
    root = draw(tmp_path / "set", {"a": 6, "b": 6}, width=width, height=height)
    options = ReadOptions(fit=asked)
    assert native_shape(str(root), options) == (3, Size.square(native))
    assert load_dataset(str(root), resolution=16, seed=0, options=options).reading.fit == fit
    np.savez(tmp_path / "set.npz", x=noise(12, height, width, 3), y=np.arange(12) % 2)
    kept = Size(height, width) if asked == "auto" else Size.square(native)  # arrays of one shape keep it
    assert native_shape(str(tmp_path / "set.npz"), options) == (3, kept)
    assert load_dataset(str(tmp_path / "set.npz"), resolution=16, seed=0, options=options).reading.fit == fit


def test_what_is_seen_at_one_end_alone_is_kept(tmp_path: Path) -> None:
    for index in range(12):
        whole = pixels(index, width=160, height=40)
        whole[:, :20] = (250, 0, 0) if index % 2 else (0, 0, 250)
        save(tmp_path / "set" / ("red" if index % 2 else "blue") / f"{index}.png", whole)
    dataset = load_dataset(str(tmp_path / "set"), resolution=32, seed=0)
    ends = dataset.train.pixels[:, :, 15:17, :3].mean((2, 3))
    assert np.array_equal(ends.argmax(1) == 0, dataset.train.labels == dataset.classes.index("red"))


def test_pixels_of_another_fit_or_range_are_kept_apart(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"a": 6, "b": 6}, width=30, height=20)
    for _ in range(2):
        fits = [load_dataset(str(root), resolution=8, seed=0, options=ReadOptions(fit=fit)) for fit in ("crop", "pad")]
        assert not np.array_equal(fits[0].train.pixels, fits[1].train.pixels)


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_the_range_of_whole_numbers_uses_at_least_a_quarter(low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    black, white = window(low, high)
    assert black <= low
    assert high <= white
    levels = image.as_bytes(np.array([low, high]), Reading("crop", black, white))
    assert high == low or int(levels[1]) - int(levels[0]) >= min(high - low, 63)


def test_full_16_bits_keep_their_high_byte() -> None:
    values = np.arange(65536)
    assert np.array_equal(image.as_bytes(values, Reading()), values >> 8)
    assert window(0, 65535) == (Reading().low, Reading().high) == window(3, 40_000)


@given(
    st.sampled_from(["crop", "pad", "squash"]),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.sampled_from([None, "0..1", "0..255"]),
)
def test_metadata_says_how_images_are_read(fit: str, low: float, span: float, scale: str | None) -> None:
    reading = Reading(fit, low, low + span, scale)
    assert Reading.of_metadata(reading.to_metadata()) == reading
    assert not Reading().to_metadata()


@pytest.mark.parametrize(
    "metadata",
    [
        {"fit": "stretch"},
        {"values": "[1]"},
        {"values": "[3, 3]"},
        {"values": "["},
        {"values": "[0, NaN]"},
        {"scale": "0..2"},
    ],
)
def test_damaged_metadata_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Reading.of_metadata(metadata)
