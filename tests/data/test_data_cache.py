"""Encoded images are decoded once, and whatever happens to the cache, the pixels are right."""

from __future__ import annotations

import errno
import gc
import os
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from data_files import complaint, contents, cycle, encoded, everything, jpeg_arrays, noise, pairs
from numpy.lib import format as npy
from PIL import Image

from hwnas.data import cache, class_names, image, load_dataset, native_shape
from hwnas.data.dataset import Dataset
from hwnas.data.npz import Archive
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
    assert len(decoded) == 12
    assert [entry.stat().st_size for entry in folder.iterdir()] == [12 * (4 + 3 * 16 * 16)]
    everything(load(source, 8))
    assert len(decoded) == 24
    assert len(list(folder.iterdir())) == 2


def test_a_changed_file_is_decoded_again(source: Path, decoded: list[int]) -> None:
    everything(load(source))
    file = source if source.is_file() else source / "1" / "01.png"
    facts = file.stat()
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    everything(load(source))
    assert len(decoded) == 24


def test_other_pixels_of_the_same_size_and_time_are_seen(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for index, (x, label) in enumerate(zip(X, Y, strict=True)):
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(root / str(label) / f"{index:02d}.bmp")
    assert everything(load(root)) == EXPECTED
    file = root / "1" / "01.bmp"
    facts = file.stat()
    Image.fromarray(255 - X[1]).save(file)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    changed = X.copy()
    changed[1] = 255 - X[1]
    assert everything(load(root)) == pairs(changed.transpose(0, 3, 1, 2), Y)


def test_another_folder_with_the_same_files_is_another(source: Path, tmp_path: Path, decoded: list[int]) -> None:
    everything(load(source))
    everything(load(source.rename(tmp_path / f"moved{source.suffix}")))
    assert len(decoded) == 24


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"x" * len(content),
        lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
        lambda content: content + content,
    ],
)
def test_a_damaged_entry_heals_itself(
    source: Path, folder: Path, decoded: list[int], damage: Callable[[bytes], bytes]
) -> None:
    everything(load(source))
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert everything(load(source)) == EXPECTED
    assert entry.read_bytes() == whole
    before = len(decoded)
    assert everything(load(source)) == EXPECTED
    assert len(decoded) == before


def test_of_a_damaged_entry_only_the_damaged_images_are_decoded(source: Path, folder: Path, decoded: list[int]) -> None:
    everything(load(source))
    (entry,) = folder.iterdir()
    content = bytearray(entry.read_bytes())
    content[-1000] ^= 1
    content[3] ^= 1
    entry.write_bytes(content)
    assert everything(load(source)) == EXPECTED
    assert len(decoded) == 14


def test_a_cache_that_cannot_be_written_is_done_without(
    source: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert everything(load_dataset(str(source), resolution=16, seed=0, tell=said.append)) == EXPECTED
    (message,) = said
    assert message.startswith("images are decoded in every epoch, as they cannot be kept")
    assert message.endswith(": Not a directory; free some space there, or name another folder in HWNAS_CACHE")
    before = len(decoded)
    assert everything(load(source)) == EXPECTED
    assert len(decoded) == 2 * before


def test_a_cache_that_cannot_be_written_is_told_once_for_all_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWNAS_CACHE", "/dev/null/cache")
    np.savez(tmp_path / "set.npz", **jpeg_arrays([encoded(x) for x in X], Y))
    said: list[str] = []
    dataset = load_dataset(str(tmp_path / "set.npz"), resolution=16, seed=0, tell=said.append)
    for side in (8, 12, 16):
        assert dataset.train.resized(Size.square(side)).pixels.shape[2:] == (side, side)
    assert len(said) == 1
    assert "Not a directory" in said[0]


def test_a_disk_that_fills_up_ends_nothing(source: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    write, written, said = os.pwrite, [], []

    def full(*arguments: Any) -> int:
        written.append(0)
        if len(written) > 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        dataset = load_dataset(str(source), resolution=16, seed=0, tell=said.append)
        assert everything(dataset) == everything(dataset) == EXPECTED
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "HWNAS_CACHE" in said[0]
    before = len(decoded)
    assert everything(load(source)) == EXPECTED
    assert len(decoded) == before + 12 - 4


def test_the_least_recently_used_go_first(source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "mine.npy").parent.mkdir()
    (folder.parent / "mine.npy").write_bytes(b"x" * 10**6)
    entries = {}
    for number, resolution in enumerate((16, 15, 14)):
        before = set(folder.glob("*"))
        everything(load(source, resolution))
        (entries[resolution],) = set(folder.iterdir()) - before
        os.utime(entries[resolution], (number, number))
    left = folder / ".0.pixels.npy.abc"
    left.write_bytes(b"x" * 1000)
    os.utime(left, (0, 0))
    everything(load(source, 16))
    gc.collect()
    held = sum(entry.stat().st_blocks * 512 for entry in (entries[16], entries[14]))
    limit_to(held + 12 * (4 + 3 * 13**2), folder, monkeypatch)
    load(source, 13)
    kept = set(folder.iterdir())
    assert {entries[16], entries[14]} <= kept
    assert entries[15] not in kept
    assert left not in kept
    assert (folder.parent / "mine.npy").exists()


def test_an_entry_in_use_stays_and_what_has_no_room_is_not_kept(
    source: Path, folder: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load(source)
    everything(dataset)
    (entry,) = folder.iterdir()
    limit_to(entry.stat().st_blocks * 512 + 1, folder, monkeypatch)
    said: list[str] = []
    other = load_dataset(str(source), resolution=15, seed=0, tell=said.append)
    assert list(folder.iterdir()) == [entry]
    assert len(said) == 1
    before = len(decoded)
    for _ in range(2):
        everything(other)
    assert len(decoded) == before + 24
    assert everything(dataset) == EXPECTED
    assert len(decoded) == before + 24
    del dataset
    gc.collect()
    load(source, 14)
    assert entry not in list(folder.iterdir())


def limit_to(size_bytes: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the disk has room for so many bytes of entries."""

    def usage(path: Path) -> SimpleNamespace:
        held = sum(entry.stat().st_blocks * 512 for entry in folder.iterdir())
        return SimpleNamespace(free=size_bytes / cache.SHARE - held)

    monkeypatch.setattr(cache.shutil, "disk_usage", usage)


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
    assert "image 7 (cannot identify the kind of image)" in message
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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_encoded_images_in_an_archive_are_read_one_by_one_where_they_can_be(
    tmp_path: Path, save: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [encoded(x) for x in X]
    save(tmp_path / "set.npz", padding=np.zeros(7), **jpeg_arrays(images, Y))
    read, whole = npy.read_array, []
    monkeypatch.setattr(npy, "read_array", lambda *args, **more: whole.append(found := read(*args, **more)) or found)
    pieces = Archive(tmp_path / "set.npz").pieces("jpeg")
    assert pieces.shape == (sum(map(len, images)),)
    assert pieces.read(0, len(images[0])) == images[0]
    assert pieces.read(len(images[0]), len(images[0]) + len(images[1])) == images[1]
    assert not whole
    assert everything(load(tmp_path / "set.npz")) == EXPECTED
    content = bytearray((tmp_path / "set.npz").read_bytes())
    at = content.find(images[3][40:60]) if save is np.savez else len(content) // 2
    content[at] ^= 1
    (tmp_path / "set.npz").write_bytes(content)
    assert "cannot be read as .npz" in complaint(tmp_path / "set.npz")


@pytest.mark.parametrize("place", ["", "/dev/null/cache"])
def test_a_compressed_archive_is_unpacked_into_a_file_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("HWNAS_CACHE", place or str(tmp_path / "cache"))
    x = np.tile(np.arange(256, dtype=np.uint8), 2**15)
    np.savez_compressed(tmp_path / "set.npz", x=x)
    archive = Archive(tmp_path / "set.npz")
    tracemalloc.start()
    try:
        pieces = archive.pieces("x")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert (held < 2**21) is not bool(place)
    assert pieces.read(255, 260) == bytes([255, 0, 1, 2, 3])
    assert pieces.read(len(x) - 2, len(x)) == bytes([254, 255])
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "set.npz"]


def test_a_disk_that_fills_up_leaves_a_compressed_archive_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(BytesIO):
        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("hwnas.data.npz.tempfile.TemporaryFile", lambda **_: Full())
    np.savez_compressed(tmp_path / "set.npz", x=np.arange(200, dtype=np.uint8))
    assert Archive(tmp_path / "set.npz").pieces("x").read(3, 6) == bytes([3, 4, 5])
