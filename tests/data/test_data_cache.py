"""Encoded images are decoded once, and whatever happens to the cache, the pixels are right."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from data_files import complaint, contents, cycle, encoded, everything, jpeg_arrays, noise, pairs
from PIL import Image

from hwnas.data import cache, class_names, image, load_dataset, native_shape
from hwnas.data.dataset import Dataset
from hwnas.errors import DataError
from hwnas.image_size import Size

X, Y = noise(12, 16, 16, 3), cycle(12, 3)


@pytest.fixture(params=["folder", "npz"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "npz":
        np.savez(tmp_path / "set.npz", **jpeg_arrays([encoded(x) for x in X], Y))
        return tmp_path / "set.npz"
    for index, (x, label) in enumerate(zip(X, Y, strict=True)):
        (tmp_path / "set" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(tmp_path / "set" / str(label) / f"{index:02d}.png")
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per image that is decoded."""
    read, calls = image.read, []
    monkeypatch.setattr(image, "read", lambda *args, **options: calls.append(0) or read(*args, **options))
    return calls


def load(source: Path, resolution: int = 16) -> Dataset:
    return load_dataset(str(source), resolution=resolution, seed=0)


EXPECTED = pairs(X.transpose(0, 3, 1, 2), Y)


def test_the_second_time_nothing_is_decoded(source: Path, folder: Path, decoded: list[int]) -> None:
    for _ in range(3):
        dataset = load(source)
        assert everything(dataset) == EXPECTED
        assert dataset.flip
    assert len(decoded) == 12
    (entry,) = folder.iterdir()
    assert np.load(entry, allow_pickle=False).shape == (12, 3, 16, 16)
    load(source, 8)
    assert len(decoded) == 24
    assert len(list(folder.iterdir())) == 2


def test_a_changed_file_is_decoded_again(source: Path, decoded: list[int]) -> None:
    load(source)
    file = source if source.is_file() else source / "1" / "01.png"
    facts = file.stat()
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    load(source)
    assert len(decoded) == 24


def test_another_folder_with_the_same_files_is_another(source: Path, tmp_path: Path, decoded: list[int]) -> None:
    load(source)
    load(source.rename(tmp_path / f"moved{source.suffix}"))
    assert len(decoded) == 24


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"x" * len(content),
        lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
        lambda content: content.replace(b"(12, 3, 16, 16)", b"(12, 3, 32,  8)"),
        lambda content: content.replace(b"|u1", b"|O8"),
    ],
)
def test_a_damaged_entry_is_decoded_again(
    source: Path, folder: Path, decoded: list[int], damage: Callable[[bytes], bytes]
) -> None:
    load(source)
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert everything(load(source)) == EXPECTED
    assert len(decoded) == 24
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(
    source: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert everything(load(source)) == EXPECTED
    assert len(decoded) == 24


def test_the_least_recently_used_go_first(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGEST_BYTES", 12 * 3 * (16**2 + 15**2 + 14**2) + 1000)
    (folder.parent / "mine.npy").parent.mkdir()
    (folder.parent / "mine.npy").write_bytes(b"x" * 10**6)
    entries = {}
    for number, resolution in enumerate((16, 15, 14)):
        before = set(folder.glob("*"))
        load(source, resolution)
        (entries[resolution],) = set(folder.iterdir()) - before
        os.utime(entries[resolution], (number, number))
    left = folder / ".0.pixels.npy.abc"
    left.write_bytes(b"x" * 1000)
    os.utime(left, (0, 0))
    load(source, 16)
    load(source, 13)
    kept = set(folder.iterdir())
    assert entries[16] in kept
    assert entries[15] not in kept
    assert left not in kept
    assert (folder.parent / "mine.npy").exists()


def test_without_the_variable_it_is_the_cache_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HWNAS_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    assert cache.folder() == tmp_path / "hwnas" / "images"


def test_unreadable_images_are_refused_and_not_kept(tmp_path: Path, folder: Path) -> None:
    images = [encoded(x) for x in X]
    images[4], images[7] = images[4][:40], b"hello"
    np.savez(tmp_path / "set.npz", **jpeg_arrays(images, Y))
    message = complaint(tmp_path / "set.npz")
    assert "2 of 12 images in" in message
    assert "image 4 (" in message
    assert "image 7 (cannot identify image file the file)" in message
    assert not folder.exists()
    assert native_shape(str(tmp_path / "set.npz")) == (3, Size.square(16))


def test_encoded_images_are_described_without_being_decoded(tmp_path: Path, decoded: list[int]) -> None:
    images = [encoded(x, "JPEG") for x in X]
    np.savez(tmp_path / "set.npz", **jpeg_arrays(images, Y), classes=np.array(["a", "b", "c"]))
    assert native_shape(str(tmp_path / "set.npz")) == (3, Size.square(16))
    assert class_names(str(tmp_path / "set.npz")) == ("a", "b", "c")
    assert not decoded
    dataset = load(tmp_path / "set.npz")
    expected = {Image.open(BytesIO(image)).tobytes() for image in images}
    assert {x.transpose(1, 2, 0).tobytes() for x in dataset.train.pixels} <= expected
    assert len(contents(dataset.train, dataset.val, dataset.test)) == 12


def test_offsets_and_labels_have_to_fit(tmp_path: Path) -> None:
    good = jpeg_arrays([encoded(x) for x in X], Y)
    ends = good["offsets"]
    for change, message in (
        ({"offsets": ends[:-1]}, "12 labels, 12 offsets"),
        ({"offsets": ends + 1}, "offsets up to"),
        ({"offsets": ends[::-1]}, "never fall"),
        ({"offsets": ends - 1}, "start at 0 or above"),
        ({"offsets": ends.astype(float)}, "whole numbers or more"),
        ({"offsets": ends[:1]}, "two whole numbers"),
        ({"jpeg": good["jpeg"].astype(int)}, "jpeg of type int64"),
        ({"labels": Y[:-1]}, "11 labels"),
        ({"labels": Y * 0}, "at least two classes"),
    ):
        np.savez(tmp_path / "set.npz", **good | change)
        assert message in complaint(tmp_path / "set.npz"), message
    np.savez(tmp_path / "set.npz", **good | {"offsets": ends[:1]})
    with pytest.raises(DataError):
        native_shape(str(tmp_path / "set.npz"))
