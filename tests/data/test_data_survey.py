"""What is said of images before a run, each warning with its remedy, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from data_files import encoded, jpeg_arrays, noise
from photo_files import draw, pixels, save
from PIL import Image

from hwnas.data import ReadOptions, census, census_cache, load_dataset, survey
from hwnas.data.survey import Caution, Survey
from hwnas.errors import UnreadableError
from hwnas.events import Event, Events
from hwnas.image_size import Size


def seen(root: Path, seed: int = 0, **options: object) -> Survey:
    found = survey(str(root), seed=seed, options=ReadOptions(**options))
    assert found is not None
    return found


def warnings(root: Path) -> Mapping[str, Caution]:
    found = seen(root)
    assert all(one.remedy.startswith("Remedy: ") for one in found.cautions)
    assert json.dumps(found.to_json(), allow_nan=False)
    return {one.kind: one for one in found.cautions}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of 40 images, nothing wrong with them."""
    return draw(tmp_path / "set", {"cat": 40, "dog": 40})


def test_a_sound_set_has_no_warnings(root: Path) -> None:
    assert not warnings(root)
    lines = seen(root).lines()
    assert lines["images"] == "56 train, 12 validation, 12 test; cat: 28 + 6 + 6, dog: 28 + 6 + 6"
    assert lines["sizes"] == "all 24x24 pixels"
    assert set(lines) == {"images", "sizes", "mirrored"}


def test_counts_are_those_of_the_run(root: Path) -> None:
    dataset, found = load_dataset(str(root), resolution=8, seed=3), seen(root, seed=3)
    for part in ("train", "val", "test"):
        assert np.bincount(getattr(dataset, part).labels).tolist() == found.counts[part].tolist()


def test_of_many_classes_the_smallest_and_the_largest_are_told(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {f"c{k:02d}": 10 + k for k in range(13)})
    text = seen(root).lines()["images"]
    assert "from 6 + 2 + 2 (c00) to 16 + 3 + 3 (c12)" in text
    assert seen(root).to_json()["images"]["train"]["c05"] == 11


def test_sizes_are_upright(root: Path) -> None:
    for index in range(3):
        exif = Image.Exif()
        exif[0x0112] = 6
        save(root / "cat" / f"turned{index}.jpg", pixels(500 + index, width=90, height=40), exif=exif)
    assert seen(root).lines()["sizes"].startswith("24 to 90 pixels high (median 24), 24 to 40 wide (24); ")
    assert seen(root).to_json()["height"] == [24, 24, 90]


def test_bytes_that_are_equal_across_parts_and_classes(root: Path) -> None:
    (root / "dog" / "copy.png").write_bytes((root / "cat" / "000.png").read_bytes())
    assert "'cat/000.png' = 'dog/copy.png'" in warnings(root)["equal-across-classes"].text
    draw(root, {"cat": 0})
    for index in range(20):
        (root / "cat" / f"again{index}.png").write_bytes((root / "cat" / "001.png").read_bytes())
    found = warnings(root)
    assert set(found["equal-across-parts"].names) >= {f"cat/again{index}.png" for index in range(20)}
    assert set(found["equal-across-classes"].names) == {"cat/000.png", "dog/copy.png"}


def test_pixels_that_are_equal_in_other_bytes(root: Path) -> None:
    save(root / "dog" / "same.bmp", pixels(0))
    photo = pixels(900, width=300, height=300)
    save(root / "cat" / "photo.jpg", photo, quality=90)
    content = (root / "cat" / "photo.jpg").read_bytes()
    (root / "dog" / "photo.jpg").write_bytes(content[:2] + b"\xff\xfe\x00\x09comment" + content[2:])
    expected = {"cat/000.png", "dog/same.bmp", "cat/photo.jpg", "dog/photo.jpg"}
    assert set(warnings(root)["equal-across-classes"].names) == expected


def test_photos_that_are_equal_at_a_fraction_of_their_size_alone_are_different(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash of few pixels brings photos together; those of full size tell them apart."""
    monkeypatch.setattr(census, "_hash", lambda *_: b"x" * 16)
    for index, name in enumerate(("cat", "dog")):
        save(root / name / "photo.jpg", pixels(900 + index, width=300, height=300))
    seen(root)  # everything has one hash here
    monkeypatch.undo()
    found = {one.kind: one for one in seen(root).cautions}
    assert not found


def test_images_without_contrast(root: Path) -> None:
    save(root / "cat" / "black.png", np.zeros((24, 24, 3), np.uint8))
    save(root / "dog" / "white.jpg", np.full((24, 24, 3), 255, np.uint8))
    found = warnings(root)
    assert found["no-contrast"].text == "2 of 82 images have no contrast: 'cat/black.png', 'dog/white.jpg'"
    assert set(found) == {"no-contrast"}


def test_grey_among_colour(root: Path) -> None:
    for index in range(10):
        save(root / "cat" / f"grey{index}.png", pixels(300 + index)[:, :, 0])
        save(root / "cat" / f"grey{index}.jpg", np.repeat(pixels(400 + index)[:, :, :1], 3, 2))
    text = warnings(root)["grey-among-colour"].text
    assert text == "20 of 100 images are grey among others in colour, from 0% of 'dog' to 33% of 'cat'"


def test_of_very_long_images_padding_leaves_next_to_nothing(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"cat": 30, "dog": 30}, width=512, height=4)
    assert warnings(root)["very-long"].text == (
        "images are 128 times as long in shape as 224 pixels in the median, so padding leaves 2 pixels of their "
        "shorter side"
    )
    fit = seen(root).lines()["fit"]
    assert fit.startswith("pad: ")
    assert fit.endswith("--resolution 4x512 their own shape")
    assert "very-long" not in {one.kind for one in seen(root, fit="squash").cautions}
    assert "very-long" not in {one.kind for one in seen(root, size=Size(8, 700)).cautions}
    load_dataset(str(root), resolution=32, seed=0)


def test_grey_images_are_counted(root: Path) -> None:
    for count, mostly in ((80, False), (81, True)):  # beside 80 in colour
        for index in range(count):
            save(root / "cat" / f"grey{index}.png", pixels(300 + index)[:, :, 0])
        found = seen(root)
        assert (found.grey, found.to_json()["grey"], found.mostly_grey) == (count, count, mostly)


def test_small_classes(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"cat": 40, "dog": 7})
    assert warnings(root)["small-classes"].text == "classes with few images: 'dog' (5 train, 1 test)"


@pytest.mark.parametrize(("top", "scale"), [(235, 255), (4095, 4095), (65535, 65535)])
def test_more_than_8_bits_are_scaled_by_the_range_that_is_there(tmp_path: Path, top: int, scale: int) -> None:
    levels = np.linspace(0, top, 64).astype(np.uint16).reshape(8, 8)
    for index in range(20):
        save(tmp_path / "set" / "ab"[index % 2] / f"{index}.png", np.roll(levels, index))
    dataset = load_dataset(str(tmp_path / "set"), resolution=8, seed=0)
    expected = np.minimum(levels.astype(int) * 256 // (scale + 1), 255)
    assert all(sorted(image[0].ravel()) == sorted(expected.ravel()) for image in dataset.train.pixels)
    assert (dataset.reading.low, dataset.reading.high) == (0, scale)
    assert f"values from 0 to {top:g}; 0 to {scale} become 0 to 255" in seen(tmp_path / "set").lines()["notes"]


def test_a_narrow_range_far_from_zero_is_spread(tmp_path: Path) -> None:
    """As thermal cameras have it: hundredths of a kelvin."""
    levels = np.linspace(28_000, 32_000, 64).astype(np.uint16).reshape(8, 8)
    for index in range(20):
        save(tmp_path / "set" / "ab"[index % 2] / f"{index}.tif", np.roll(levels, index))
    dataset = load_dataset(str(tmp_path / "set"), resolution=8, seed=0)
    assert np.ptp(dataset.train.pixels) == 255
    assert (dataset.reading.low, dataset.reading.high) == (28_000, 32_000)


def test_fractions_in_floating_point_are_spread(tmp_path: Path) -> None:
    levels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    for index in range(20):
        save(tmp_path / "set" / "ab"[index % 2] / f"{index}.tiff", np.roll(levels, index))
    dataset = load_dataset(str(tmp_path / "set"), resolution=8, seed=0)
    assert sorted(dataset.train.pixels[0, 0].ravel()) == [min(255, int(level * 256)) for level in levels.ravel()]


@pytest.fixture
def damaged(root: Path) -> Path:
    """Eight of 80 images are cut, where nothing but decoding all of them shows it."""
    for index in range(8):
        path = save(root / "cat" / f"{index:03d}.jpg", pixels(index, width=200, height=150))
        path.write_bytes(path.read_bytes()[:-4000])
        (root / "cat" / f"{index:03d}.png").unlink()
    return root


def test_damaged_images_are_refused_before_a_run_and_all_named(damaged: Path) -> None:
    with pytest.raises(UnreadableError, match=r"^8 of 80 images .*, and 3 more") as caught:
        seen(damaged)
    assert len(caught.value.names) == 8
    assert "--skip-unreadable" in caught.value.hint
    listed = Path(caught.value.hint.rpartition(" ")[2]).read_text(encoding="utf-8").splitlines()
    assert listed == list(caught.value.names) == caught.value.facts()["unreadable"]
    with pytest.raises(UnreadableError):
        load_dataset(str(damaged), resolution=8, seed=0)


def test_a_run_can_go_on_without_them(damaged: Path) -> None:
    found = seen(damaged, skip_unreadable=True)
    assert found.lines()["left out"].startswith("8 images that cannot be read, listed in ")
    assert len(found.to_json()["unreadable"]) == 8
    dataset = load_dataset(str(damaged), resolution=8, seed=0, options=ReadOptions(skip_unreadable=True))
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 72 == sum(map(sum, found.counts.values()))


def test_what_was_seen_is_kept_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = census_cache.look
    monkeypatch.setattr(
        census_cache, "look", lambda found, **options: looked.append(len(found.names)) or look(found, **options)
    )
    first = seen(root).to_json()
    assert seen(root).to_json() == first
    load_dataset(str(root), resolution=8, seed=1)
    assert looked == [80]
    facts = (root / "cat" / "000.png").stat()
    os.utime(root / "cat" / "000.png", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    seen(root)
    (entry, _) = sorted((census_cache.cache_folder() / "census").iterdir(), key=lambda path: path.stat().st_mtime_ns)[
        -2:
    ]
    for content in (b"", entry.read_bytes()[:-100], b"x" * 100):
        for path in (census_cache.cache_folder() / "census").iterdir():
            path.write_bytes(content)
        assert seen(root).to_json() == first
    assert looked == [80] * 5


def test_looking_is_reported_and_threads_change_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    one = survey(str(root), seed=0, progress=Events(heard.append))
    assert [event.label for event in heard if event.kind == "begin"] == ["looking at the images"]
    assert heard[-1].done == 80
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "other"))
    assert one is not None
    assert seen(root, threads=3).to_json() == one.to_json()


def test_encoded_images_in_an_archive_are_looked_at(tmp_path: Path) -> None:
    images = [encoded(x) for x in noise(40, 16, 16, 3)]
    images[7], images[9] = images[8], images[8]
    np.savez(tmp_path / "set.npz", **jpeg_arrays(images, np.arange(40) % 2))
    assert set(warnings(tmp_path / "set.npz")["equal-across-classes"].names) == {"image 7", "image 8", "image 9"}


def test_arrays_are_looked_at(tmp_path: Path) -> None:
    x = noise(60, 12, 30, 3)
    x[3] = 7
    x[41] = x[0]
    parts = {"x_train": x[:40], "y_train": np.arange(40) % 2, "x_test": x[40:], "y_test": np.arange(20) % 2}
    np.savez(tmp_path / "set.npz", **parts)
    found = warnings(tmp_path / "set.npz")
    assert found["no-contrast"].names == ("x_train[3]",)
    assert found["equal-across-parts"].names == ("x_train[0]", "x_test[1]")
    lines = seen(tmp_path / "set.npz").lines()
    assert lines["sizes"] == "all 12x30 pixels (height x width)"
    assert "12x30 (height x width), and keep that shape" in lines["notes"]
    squares = survey(str(tmp_path / "set.npz"), seed=0, options=ReadOptions(size=Size.square(16)))
    assert squares is not None
    assert squares.lines()["fit"].startswith("pad: ")
    assert survey("digits", seed=0) is None
