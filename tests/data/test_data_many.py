"""A million images in the memory that a hundred thousand are promised: bytes per image, counted on made-up ones."""

from __future__ import annotations

import hashlib
import itertools
import os
import pathlib
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import noise
from photo_files import draw
from PIL import Image

from hwnas.data import ReadOptions, census, walk
from hwnas.data.census import Census, look
from hwnas.data.encoded_source import EncodedSource
from hwnas.data.found import Found, Ignored, Labelled, found_files
from hwnas.data.path_table import Lazy, PathTable, chained
from hwnas.image_size import Size
from hwnas.progress import Silent

COUNT = 10_000
PROMISED = 1_000
"""Bytes per image; a million of them and a process of 300 MB are far below 2 GB."""

PATHS = [
    Path("a.png"),
    Path("photos/cat/1.jpg"),
    Path("photos/cat/ü 2.jpg"),
    Path("/elsewhere/3.jpg"),
    Path("photos/dog") / os.fsdecode(b"\xff.jpg"),
    Path("/b.jpg"),
    Path("photos/cat/../4.jpg"),
]


def test_paths_come_back_as_they_were() -> None:
    table = PathTable(iter(PATHS))
    assert list(table.paths()) == PATHS
    assert [str(path) for path in table.paths()] == list(map(str, PATHS))
    turned = table.ordered(np.array([4, 1, 1]))
    assert list(turned.paths()) == [PATHS[4], PATHS[1], PATHS[1]]
    assert list(PathTable(()).paths()) == []


@pytest.mark.parametrize("root", [Path("photos"), Path("photos/cat"), Path(), Path("/")])
def test_names_are_those_below_a_folder_or_whole_ones(root: Path) -> None:
    expected = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in PATHS]
    assert list(PathTable(PATHS).names(root)) == expected


def test_lazy_items_are_a_sequence() -> None:
    items = Lazy(5, str)
    assert (len(items), list(items), items[-1], items[1:4:2], items[9:]) == (5, list("01234"), "4", ["1", "3"], [])
    assert "3" in items
    for index in (5, -6):
        with pytest.raises(IndexError):
            items[index]
    assert list(chained([2, 0, 3], lambda source, index: f"{source}.{index}")) == ["0.0", "0.1", "2.0", "2.1", "2.2"]


def test_files_are_listed_in_the_order_of_their_parts(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"b": 1, "a/c": 2, "a.d": 1, "a/b": 1, "a": 2})
    for name in ("a/0a.png", "a/z.png", "0.png", "a/notes.txt", "a/.hidden"):
        (root / name).write_bytes(b"x")
    (root / "a" / "again").symlink_to(root / "b")
    (root / "b" / "up").symlink_to(root)
    (root / "b" / "gone.png").symlink_to(root / "nowhere")
    (root / "b" / "loop.png").symlink_to(root / "b" / "loop.png")
    os.mkfifo(root / "b" / "pipe.png")
    ignored: list[Ignored] = []
    found = list(walk.images(root, root, ignored))
    expected = {path for path in root.rglob("*.png") if path.name != "pipe.png"}
    assert found == sorted(expected, key=lambda path: path.parts)
    assert {(one.name, one.reason) for one in ignored} == {
        ("a/notes.txt", "no image that is read"),
        ("a/.hidden", "hidden"),
        ("b/pipe.png", "neither a file nor a link to one"),
    }


def made_up() -> Iterator[Labelled]:
    """Files that are nowhere, in ten classes with sub-folders."""
    for number in range(COUNT):
        label = f"class {number % 10}"
        yield Labelled("train", label, Path(f"/nowhere/{label}/{number % 7}/photo of a day {number:07d}.jpg"))


def bytes_each(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """What is left and what was taken at the peak, per image, and the result.

    Without the table of all names in the process that Python 3.11 makes anew now and then, when pathlib adds one.
    """
    tracemalloc.start()
    try:
        result = work()
        left, peak = tracemalloc.get_traced_memory()
        names = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, pathlib.__file__)])
    finally:
        tracemalloc.stop()
    table = sum(one.size for one in names.statistics("filename"))
    return (left - table) / COUNT, (peak - table) / COUNT, result


def seen(data: BytesIO) -> Any:
    """What would be seen of an image, without decoding it."""
    pixels = hashlib.md5(data.getbuffer(), usedforsecurity=False).hexdigest().encode()
    return census._Row(8, 8, spread=9, pixels=pixels, thumbs=np.zeros((16, 16), np.uint8))


def test_names_take_little_memory() -> None:
    found_files("few", Path("/nowhere"), itertools.islice(made_up(), 20))  # loads what it needs
    left, peak, found = bytes_each(lambda: found_files("made up", Path("/nowhere"), made_up()))
    assert found.names[-1] == "class 9/3/photo of a day 0009999.jpg"
    assert left < 100
    assert peak < 150


def test_what_is_seen_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_decoded", seen)
    found = found_files("made up", Path("/nowhere"), made_up())
    object.__setattr__(found, "open", lambda index: BytesIO(index.to_bytes(4, "big")))
    left, peak, result = bytes_each(lambda: look(found, threads=2, progress=Silent()))
    assert isinstance(result, Census)
    assert len(set(result.content.tolist())) == COUNT
    assert left < 420
    assert peak < 500


def test_from_files_to_a_data_set_the_promise_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Listing, looking, warnings, the cache of what was seen, the split, and what it is compared by."""
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path))
    monkeypatch.setattr(census, "_decoded", seen)
    image = BytesIO()
    Image.fromarray(noise(1, 8, 8, 3)[0]).save(image, "PNG")

    def find() -> Found:
        found = found_files("made up", Path("/nowhere"), made_up())
        content = image.getvalue()
        object.__setattr__(found, "open", lambda index: BytesIO(content + index.to_bytes(4, "big")))
        return found

    def whole() -> object:
        source = EncodedSource(find, ReadOptions(flip="off", counted=16, loader_threads=0))
        dataset = source.load(resolution=Size.square(8), seed=0)
        assert dataset.digest()
        assert len(dataset.train) == 0.7 * COUNT
        return dataset

    left, peak, _ = bytes_each(whole)
    assert left < 600
    assert peak < PROMISED


def test_one_image_that_cannot_be_read_costs_its_reason_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_decoded", seen)
    found = found_files("made up", Path("/nowhere"), made_up())
    opened = {7: "x" * 300, 19: "y"}

    def open_(index: int) -> BytesIO:
        if index in opened:
            raise OSError(opened[index])
        return BytesIO(b"content")

    object.__setattr__(found, "open", open_)
    left, _, result = bytes_each(lambda: look(found, threads=1, progress=Silent()))
    assert left < 420
    assert (result.failed.tolist(), result.errors.tolist()) == ([7, 19], ["x" * 300, "y"])
    assert result.lasting
    assert len(result.readable()) == COUNT - 2 == len(result.kept())
    assert result.readable().readable() is not None
    assert not len(result.readable().failed)


READ = """
import resource, sys
from hwnas.data import ReadOptions, load_dataset, survey
options = ReadOptions(flip="off", counted=64, loader_threads=1)
assert sum(map(sum, survey(sys.argv[1], seed=0, options=options).counts.values())) == 100_000
dataset = load_dataset(sys.argv[1], resolution=8, seed=0, options=options)
dataset.digest()
dataset.train.take(dataset.train.labels[:64])
scale = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale)
"""


@pytest.mark.dear
def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    """Links to twenty files, so that all of them are copies of others as well."""
    draw(tmp_path / "once", {"all": 20}, width=8, height=8)
    for number in range(100_000):
        folder = tmp_path / "photos" / f"class {number % 10}"
        if number < 10:
            folder.mkdir(parents=True)
        os.link(tmp_path / "once" / "all" / f"{number % 20:03d}.png", folder / f"{number:06d}.png")
    environment = os.environ | {"HWNAS_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-c", READ, str(tmp_path / "photos")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500e6
