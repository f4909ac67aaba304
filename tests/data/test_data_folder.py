from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwnas.data import class_names, load_dataset, native_shape
from hwnas.data.image import read
from hwnas.errors import DataError
from hwnas.image_size import Size

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of plain images in several formats and sizes."""
    root = tmp_path / "colours"
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i, suffix in enumerate((".png", ".JPG", ".webp", ".bmp", ".jpeg")):
            Image.new("RGB", (40 + 6 * i, 30 + i), colour).save(root / name / f"{i}{suffix}")
    return root


def test_a_folder_becomes_a_dataset(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "red" / ".DS_Store").write_bytes(b"x")
    (folder / "red" / "notes.txt").write_text("not an image")
    dataset = load_dataset(str(folder), resolution=16, seed=0)
    assert (dataset.name, dataset.classes, dataset.flip) == ("colours", ("green", "red"), True)
    assert class_names(str(folder)) == dataset.classes
    parts = (dataset.train, dataset.val, dataset.test)
    assert sum(len(part) for part in parts) == 10
    for part in parts:
        for pixels, label in zip(part.pixels, part.labels, strict=True):
            expected = COLOURS[dataset.classes[label]]
            assert np.abs(pixels.astype(int) - np.reshape(expected, (3, 1, 1))).max() <= 8


def test_native_shape_is_the_median_shorter_side(folder: Path) -> None:
    assert native_shape(str(folder)) == (3, Size.square(32))
    (folder / "red" / "0.png").write_bytes(b"damaged")
    assert native_shape(str(folder)) == (3, Size.square(32))


def test_a_link_out_of_the_folder_is_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "red").rename(tmp_path / "elsewhere")
    (folder / "red").symlink_to(tmp_path / "elsewhere")
    assert load_dataset(str(folder), resolution=8, seed=0).classes == ("green", "red")


def test_a_pipe_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "red" / "pipe.png")
    assert len(load_dataset(str(folder), resolution=8, seed=0).train) > 0


def test_unusable_folders_are_named(folder: Path, tmp_path: Path) -> None:
    def complaint(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            load_dataset(str(path), resolution=8, seed=0)
        assert caught.value.hint
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no class folders" in complaint(empty)
    (empty / "only").mkdir()
    assert "no class folders; 'only' is empty" in complaint(empty)
    (empty / "only" / "notes.txt").write_text("x")
    (empty / "also").mkdir()
    assert "one class folder, 'only'" in complaint(empty)
    assert "not a folder" in complaint(folder / "red" / "0.png")
    (folder / "blue").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "blue" / "a.png")
    assert "'blue' has 1" in complaint(folder)
    (folder / "blue").rename(folder / os.fsdecode(b"bl\xffue"))
    assert "printable" in complaint(folder)


def test_unreadable_images_are_counted_and_named(folder: Path) -> None:
    whole = (folder / "red" / "1.JPG").read_bytes()
    (folder / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "red" / "empty.png").write_bytes(b"")
    (folder / "green" / "text.png").write_text("hello")
    (folder / "green" / "gone\x1b.png").symlink_to("nowhere.png")
    with pytest.raises(DataError) as caught:
        load_dataset(str(folder), resolution=8, seed=0)
    message = str(caught.value)
    assert message.startswith("4 of 14 images")
    assert all(name in message for name in ("red/cut.jpg", "red/empty.png", "green/text.png", r"green/gone\x1b.png"))
    assert "red/empty.png' (the file is empty)" in message
    assert message.isprintable()


def test_only_the_first_few_unreadable_images_are_listed(folder: Path) -> None:
    for i in range(9):
        (folder / "red" / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"9 of 19 .*and 4 more"):
        load_dataset(str(folder), resolution=8, seed=0)


@pytest.mark.parametrize("height", [70, 140])
def test_decompression_bombs_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    """Pillow warns above its limit and raises above twice of it; both are errors here."""
    Image.new("RGB", (50, height)).save(folder / "red" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(DataError, match=r"1 of 11 .*red/bomb\.png' \(.*pixels.*exceeds limit"):
        load_dataset(str(folder), resolution=8, seed=0)


def test_the_centre_square_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png", resolution=4), pixels[:, 4:8].transpose(2, 0, 1))


def test_a_very_long_image_takes_little_memory(tmp_path: Path) -> None:
    Image.new("L", (200_000, 1), 9).save(tmp_path / "line.png")
    assert np.all(read(tmp_path / "line.png", resolution=64) == 9)


def save(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)
    return read(path, resolution=image.size[0])[:, 0, 0]


def test_every_colour_model_becomes_rgb(tmp_path: Path) -> None:
    size = (4, 4)
    png, jpg = tmp_path / "a.png", tmp_path / "a.jpg"
    assert save(png, Image.new("L", size, 77)).tolist() == [77, 77, 77]
    assert save(png, Image.new("1", size, 1)).tolist() == [255, 255, 255]
    assert save(png, Image.new("RGBA", size, (200, 100, 0, 0))).tolist() == [255, 255, 255]
    assert save(png, Image.new("RGBA", size, (200, 100, 0, 255))).tolist() == [200, 100, 0]
    assert save(png, Image.new("LA", size, (10, 255))).tolist() == [10, 10, 10]
    assert save(png, Image.new("RGB", size, (1, 2, 3)).quantize(4)).tolist() == [1, 2, 3]
    palette = Image.new("RGB", size, (1, 2, 3)).quantize(4)
    assert save(png, palette, transparency=palette.getpixel((0, 0))).tolist() == [255, 255, 255]
    sixteen = Image.fromarray(np.full(size, 0xABCD, np.uint16))
    assert save(png, sixteen).tolist() == [0xAB, 0xAB, 0xAB]
    cmyk = save(jpg, Image.new("CMYK", size, (0, 255, 255, 0)), quality=95)
    assert np.abs(cmyk.astype(int) - (255, 0, 0)).max() <= 8


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png", resolution=4)[0], np.rot90(pixels, -1))


def test_a_large_jpeg_decoded_at_a_fraction_looks_the_same(tmp_path: Path) -> None:
    y, x = np.mgrid[0:640, 0:640]
    pixels = np.stack([(x + y) % 256, x % 256, (np.hypot(x - 300, y - 300)) % 256], 2) // 4 * 2
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    Image.open(tmp_path / "a.jpg").save(tmp_path / "a.png")
    fast, full = (read(tmp_path / name, resolution=32).astype(int) for name in ("a.jpg", "a.png"))
    assert np.abs(fast - full).mean() < 3
