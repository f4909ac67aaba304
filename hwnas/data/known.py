"""MNIST, CIFAR-10 and Omniglot, in the formats that they are passed around in, from files on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from hwnas.data import cifar
from hwnas.data.array_npz import ArrayNpz, dataset_of
from hwnas.data.cifar import Batch
from hwnas.data.dataset import Dataset
from hwnas.data.idx import idx_shape, read_idx
from hwnas.data.jpeg_npz import JpegNpz
from hwnas.data.npz import Archive
from hwnas.data.source import Source
from hwnas.errors import DataError
from hwnas.image_size import Size

VARIABLE = "HWNAS_DATA"
"""Environment variable with the folder to look into first."""

OMNIGLOT = "omniglot_small1.npz"
DIGITS = tuple("0123456789")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_SETS = ("train", "test")
_IDX = tuple(
    tuple(
        f"{folder}{part}{mark}{suffix}"
        for part in ("train", "t10k")
        for mark in (f"-images{dot}idx3", f"-labels{dot}idx1")
    )
    for folder in ("", "MNIST/raw/", "mnist/")
    for dot in "-."
    for suffix in ("-ubyte", "-ubyte.gz")
)
_BINARY = tuple(
    f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
)
_PYTHON = tuple(f"cifar-10-batches-py/{name}" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))


@dataclass(frozen=True)
class Official:
    """Train and test images in files of their own format.

    Attributes:
        shape: gives (channels, size).
        read: gives pixels and labels of the train images, or of the test images.
    """

    name: str
    names: tuple[str, ...]
    where: Path
    shape: Callable[[], tuple[int, Size]]
    read: Callable[[str], Batch]

    def native_shape(self) -> tuple[int, Size]:
        return self.shape()

    def classes(self) -> tuple[str, ...]:
        return self.names

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        parts = {part: self.read(part) for part in _SETS}
        return dataset_of(
            self.name,
            {f"x_{part}": x for part, (x, _) in parts.items()},
            {f"y_{part}": y for part, (_, y) in parts.items()},
            self.names,
            where=str(self.where),
            resolution=resolution,
            seed=seed,
        )


def mnist() -> Source:
    """The MNIST that is found first.

    Raises:
        DataError: there is none; the message says where it was looked for.
    """
    return _first("mnist", {("mnist.npz",): _mnist_npz} | dict.fromkeys(_IDX, _mnist_idx))


def cifar10() -> Source:
    """The CIFAR-10 that is found first.

    Raises:
        DataError: there is none; the message says where it was looked for.
    """
    return _first(
        "cifar10",
        {
            ("cifar10.npz",): _cifar10_npz,
            ("cifar10_train_jpeg.npz", "cifar10_test_jpeg.npz"): _cifar10_jpeg,
            _BINARY: lambda paths: _cifar10_batches(paths, cifar.read_binary),
            _PYTHON: lambda paths: _cifar10_batches(paths, cifar.read_python),
        },
    )


def omniglot() -> Source:
    """The smallest background set of Omniglot (Lake et al., 2019): letters, with names `alphabet/character`.

    Raises:
        DataError: it is not there; the message says where it was looked for.
    """
    return _first("omniglot", {(OMNIGLOT,): lambda paths: ArrayNpz(Archive(paths[0]), name="omniglot")})


def places() -> list[Path]:
    """The folders that data sets are looked for in, in this order."""
    chosen = os.environ.get(VARIABLE)
    return [*([Path(chosen)] if chosen else []), Path("data"), platformdirs.user_data_path("hwnas") / "data"]


def _first(name: str, layouts: dict[tuple[str, ...], Callable[[Sequence[Path]], Source]]) -> Source:
    """The first layout of files that is complete in one of the places."""
    incomplete = []
    for place in places():
        for files, build in layouts.items():
            missing = [file for file in files if not (place / file).is_file()]
            if not missing:
                return build([place / file for file in files])
            if len(missing) < len(files):
                incomplete.append(f"{place} has {next(iter(sorted(set(files) - set(missing))))} but not {missing[0]}")
    found = f" ({'; '.join(incomplete)})" if incomplete else ""
    raise DataError(
        f"{name} has to be on this machine, but is not in {', '.join(map(str, places()))}{found}",
        hint=f"put {_HINTS[name]} into one of these folders, or name another folder in the environment variable "
        f"{VARIABLE}",
    )


_HINTS = {
    "mnist": "mnist.npz (as Keras has it), or the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, "
    "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (also with .gz, and in MNIST/raw as torchvision has them)",
    "cifar10": "cifar10.npz (x_train, y_train, x_test, y_test), cifar10_train_jpeg.npz with cifar10_test_jpeg.npz, or "
    "one of the unpacked folders cifar-10-batches-bin and cifar-10-batches-py",
    "omniglot": f"{OMNIGLOT} (x, y, classes)",
}


def _mnist_npz(paths: Sequence[Path]) -> Source:
    return ArrayNpz(Archive(paths[0]), name="mnist", names=DIGITS)


def _mnist_idx(paths: Sequence[Path]) -> Source:
    files = dict(zip(_SETS, (paths[:2], paths[2:]), strict=True))

    def read(part: str) -> Batch:
        images, labels = files[part]
        return read_idx(images, axes=3)[:, None], read_idx(labels, axes=1)

    def shape() -> tuple[int, Size]:
        _, height, width = idx_shape(paths[0], axes=3)
        return 1, Size(height, width)

    return Official("mnist", DIGITS, paths[0].parent, shape, read)


def _cifar10_npz(paths: Sequence[Path]) -> Source:
    return ArrayNpz(Archive(paths[0]), name="cifar10", names=CIFAR10)


def _cifar10_jpeg(paths: Sequence[Path]) -> Source:
    return JpegNpz(*map(Archive, paths), name="cifar10", names=CIFAR10)


def _cifar10_batches(paths: Sequence[Path], read: Callable[[Path], Batch]) -> Source:
    files = {"train": paths[:-1], "test": paths[-1:]}
    return Official(
        "cifar10",
        CIFAR10,
        paths[0].parent,
        lambda: (cifar.SHAPE[0], Size(*cifar.SHAPE[1:])),
        lambda part: cifar.read_batches(files[part], read),
    )
