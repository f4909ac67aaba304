"""Files that become a pipe, a device or endless after they were found: nothing waits, and nothing fills the memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from data_files import noise
from PIL import Image

from hwnas.data import image_folder, load_dataset
from hwnas.data.encoded import median_shape
from hwnas.data.encoded_source import EncodedSource
from hwnas.data.image_bytes import read_bytes
from hwnas.data.reading import ReadOptions
from hwnas.errors import DataError, UnreadableError
from hwnas.image_size import Size


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


PLACED = [
    (pipe, "it is not a regular file"),
    (device, "it is not a regular file"),
    (endless, "it has more than 1024 MiB"),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    for index, pixels in enumerate(noise(12, 8, 8, 3)):
        path = tmp_path / "set" / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "set"


def test_a_file_is_read_whole(root: Path) -> None:
    path = root / "a" / "00.png"
    assert read_bytes(path) == path.read_bytes()


@pytest.mark.parametrize(("place", "said"), PLACED)
def test_what_is_no_file_any_more_is_an_unreadable_image(root: Path, place: Callable[[Path], None], said: str) -> None:
    path = root / "a" / "00.png"
    found = image_folder.find(root)
    path.unlink()
    place(path)
    with pytest.raises(UnreadableError, match=said):
        EncodedSource(lambda: found, ReadOptions()).survey(seed=0)
    assert median_shape(found.files, where=root).sizes == (Size.square(8),) * 11


@pytest.mark.parametrize(("place", "said"), PLACED)
def test_what_is_no_file_any_more_ends_the_reading(root: Path, place: Callable[[Path], None], said: str) -> None:
    dataset = load_dataset(str(root), resolution=8, seed=0, options=ReadOptions(counted=1, loader_threads=0))
    for path in sorted(root.rglob("*.png")):
        path.unlink()
        place(path)
    resized = dataset.train.resized(Size.square(4))
    with pytest.raises(DataError, match=said):
        _ = resized.pixels
