"""Threads read images before they are asked for, and nothing else depends on them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from photo_files import draw

from hwnas.data import ReadOptions, image, load_dataset, resized
from hwnas.data.batches import batches
from hwnas.data.dataset import Dataset, Images
from hwnas.data.read_ahead import AHEAD, read_ahead
from hwnas.data.stores import ArrayStore
from hwnas.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)


class Slow(ArrayStore):
    """Reads by threads, counts, and fails at a row."""

    def __init__(self, threads: int, fails_at: int = -1) -> None:
        super().__init__(PIXELS)
        self.threads, self.fails_at, self.read_rows = threads, fails_at, 0  # type: ignore[misc]

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        if self.fails_at in rows:
            raise DataError("it is damaged", hint="replace it")
        self.read_rows += len(rows)
        super().read(rows, out)


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hwnas-images")]


def choices(batch: int = 10) -> list[NDArray[np.int64]]:
    return list(np.random.default_rng(1).permutation(60).reshape(-1, batch))


@pytest.mark.parametrize("threads", [0, 1, 2, 7])
def test_batches_come_in_order_whatever_the_threads(threads: int) -> None:
    found = list(read_ahead(Slow(threads), choices()))
    assert np.array_equal(found, [PIXELS[rows] for rows in choices()])
    assert not readers()


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_in_the_place_of_its_batch(threads: int) -> None:
    stream = read_ahead(Slow(threads, fails_at=int(choices()[3][9])), choices())
    for rows in choices()[:3]:
        assert np.array_equal(next(stream), PIXELS[rows])
    with pytest.raises(DataError, match="it is damaged"):
        next(stream)
    assert not readers()


def test_only_a_few_batches_are_read_ahead_and_closing_ends_the_threads() -> None:
    store, asked = Slow(2), []

    def rows() -> Iterator[NDArray[np.int64]]:
        for one in choices(5):
            asked.append(one)
            yield one

    stream = read_ahead(store, rows())
    assert not readers()
    next(stream)
    assert len(asked) == 1 + AHEAD
    assert readers()
    stream.close()
    assert not readers()
    assert store.read_rows <= 5 * (1 + AHEAD)
    let_go = read_ahead(store, choices())
    next(let_go)
    del let_go
    assert not readers()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("photos"), {"a": 12, "b": 9}, suffix=".jpg", width=40, height=30)


def loaded(photos: Path, threads: int | None, resolution: int = 16) -> Dataset:
    return load_dataset(
        str(photos), resolution=resolution, seed=0, options=ReadOptions(flip="off", loader_threads=threads)
    )


def test_training_sees_the_same_with_any_threads_from_files_and_from_memory(photos: Path) -> None:
    def epoch(dataset: Dataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(0)
        device = torch.device("cpu")
        return list(batches(dataset.train, dataset, batch_size=4, device=device, generator=generator, augment=True))

    first, *others = (epoch(loaded(photos, threads)) for threads in (0, 1, 3))
    held = loaded(photos, 1)
    memory = Dataset(
        held.name, held.classes, *(Images(part.pixels, part.labels) for part in (held.train, held.val, held.test)),
        held.mean, held.std, held.flip,
    )  # fmt: skip
    for other in (*others, epoch(memory)):
        assert all(
            torch.equal(a, b) for one, two in zip(first, other, strict=True) for a, b in zip(one, two, strict=True)
        )


def test_a_subset_is_an_index_and_resizing_reads_the_files_again(photos: Path) -> None:
    dataset = loaded(photos, 1)
    assert dataset.train.store is dataset.val.store is dataset.test.store
    few = dataset.train.subset(np.array([3, 1]))
    assert few.store is dataset.train.store
    assert np.array_equal(few.pixels, dataset.train.pixels[[3, 1]])
    assert np.array_equal(few.subset(np.array([1])).labels, dataset.train.labels[[1]])
    small, fresh = resized(dataset, 8), loaded(photos, 1, 8)
    assert small.train.store is small.test.store
    assert np.array_equal(small.test.pixels, fresh.test.pixels)
    assert small.mean == fresh.mean
    assert small.digest() == fresh.digest() != dataset.digest()


def test_an_image_that_changes_while_it_is_used_is_refused(photos: Path, tmp_path: Path) -> None:
    root = draw(tmp_path / "set", {"a": 5, "b": 5})
    dataset = load_dataset(str(root), resolution=9, seed=0, options=ReadOptions(flip="off", counted=1))
    for path in root.glob("a/*"):
        path.write_bytes((root / "b" / path.name).read_bytes())
    with pytest.raises(DataError, match=r"must stay as they are while they are used, but .* has changed"):
        dataset.train.take(np.arange(len(dataset.train)))
    for path in root.glob("a/*"):
        path.unlink()
    with pytest.raises(DataError, match=r"cannot be read: .*No such file"):
        dataset.train.take(np.arange(len(dataset.train)))


def test_mean_and_deviation_of_many_files_are_of_some_of_them(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loaded(photos, 1)
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path))
    read, decoded = image.read, []
    monkeypatch.setattr(image, "read", lambda *args, **options: decoded.append(0) or read(*args, **options))
    some = load_dataset(str(photos), resolution=16, seed=0, options=ReadOptions(flip="off", counted=3))
    picked = whole.train.pixels[[0, (len(whole.train) - 1) // 2, len(whole.train) - 1]] / 255
    assert some.mean == pytest.approx(picked.mean((0, 2, 3)))
    assert some.std == pytest.approx(picked.std((0, 2, 3)))
    assert some.digest() == whole.digest()
    assert len(decoded) == 3


def test_images_are_as_they_are_when_each_is_decoded_alone(photos: Path) -> None:
    dataset = loaded(photos, 2)
    expected = sorted(image.read(path, resolution=16).tobytes() for path in photos.glob("*/*"))
    for _ in range(2):  # decoded, then kept
        parts = (dataset.train, dataset.val, dataset.test)
        assert sorted(one.tobytes() for part in parts for one in part.pixels) == expected


def test_a_set_is_never_in_memory_as_a_whole(photos: Path) -> None:
    resolution = 1024

    def peak_bytes(field: str) -> int:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition(f"{field}:")[2].split()[0])

    def use(resolution: int) -> None:
        dataset = loaded(photos, 1, resolution)
        for part in (dataset.train, dataset.val, dataset.test):
            for _ in read_ahead(part.store, np.split(part.rows, len(part))):
                pass

    process = os.fork()
    if not process:
        try:
            use(16)
            Path("/proc/self/clear_refs").write_text("5")
            before = peak_bytes("VmHWM")
            use(resolution)
            os._exit(int(peak_bytes("VmHWM") - before > 0.7 * 21 * 3 * resolution**2))
        finally:
            os._exit(2)
    assert os.waitpid(process, 0)[1] == 0
