"""Small data sets, and writers of the formats that they come in."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hwnas.data import Dataset, load_dataset
from hwnas.errors import DataError


def noise(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def cycle(count: int, classes: int = 10) -> NDArray[np.uint8]:
    """Labels that have every class equally often."""
    return (np.arange(count) % classes).astype(np.uint8)


def contents(*parts: Any) -> list[tuple[int, bytes]]:
    """The (label, pixels) of parts of a data set, sorted: what is left when their order does not count."""
    return sorted((int(n), x.tobytes()) for part in parts for x, n in zip(part.pixels, part.labels, strict=True))


def pairs(pixels: NDArray[np.uint8], labels: NDArray[Any]) -> list[tuple[int, bytes]]:
    return sorted((int(n), x.tobytes()) for x, n in zip(pixels, labels, strict=True))


def everything(dataset: Dataset) -> list[tuple[int, bytes]]:
    return contents(dataset.train, dataset.val, dataset.test)


def complaint(source: Path | str, resolution: int = 8) -> str:
    """The message of the error that loading ends with."""
    with pytest.raises(DataError) as caught:
        load_dataset(str(source), resolution=resolution, seed=0)
    assert caught.value.hint
    return str(caught.value)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_mnist(folder: Path, x: Mapping[str, Any], y: Mapping[str, Any], *, dot: str = "-", end: str = "") -> None:
    for part in x:
        write_idx(folder / f"{part}-images{dot}idx3-ubyte{end}", x[part])
        write_idx(folder / f"{part}-labels{dot}idx1-ubyte{end}", y[part])


def write_cifar_binary(path: Path, pixels: NDArray[np.uint8], labels: NDArray[Any]) -> None:
    """Pixels of shape (N, 3, 32, 32)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes([n]) + x.tobytes() for x, n in zip(pixels, labels, strict=True)))


def python2_pickle(pixels: NDArray[np.uint8], labels: NDArray[Any], *, before: bytes = b"") -> bytes:
    """What cPickle of Python 2 makes of a batch, as in the published files: text and bytes are one type there.

    `before` is put in front of the dictionary's end.
    """

    def short(text: bytes) -> bytes:
        return b"U" + bytes([len(text)]) + text

    count = len(labels)
    numbers = [b"K" + bytes([int(n)]) for n in labels]
    label_list = b"]" + b"".join(b"(" + b"".join(numbers[i : i + 1000]) + b"e" for i in range(0, count, 1000))
    rows = pixels.reshape(count, -1)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85" + short(b"b") + b"\x87Rq\x09"
        b"(K\x01M" + struct.pack("<H", count) + b"M" + struct.pack("<H", rows.shape[1]) + b"\x86cnumpy\ndtype\nq\x0a"
        + short(b"u1") + b"K\x00K\x01\x87Rq\x0b(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89T" + struct.pack("<i", rows.nbytes) + rows.tobytes() + b"tb"
    )  # fmt: skip
    names = b"](" + b"".join(short(f"image_{i}.png".encode()) for i in range(count)) + b"e"
    return (
        b"\x80\x02}q\x01(" + short(b"batch_label") + short(b"training batch 1 of 5") + short(b"labels") + label_list
        + short(b"data") + array + short(b"filenames") + names + before + b"u."
    )  # fmt: skip


def python3_pickle(pixels: NDArray[np.uint8], labels: NDArray[Any]) -> bytes:
    batch = {b"data": pixels.reshape(len(labels), -1), b"labels": [int(n) for n in labels]}
    return pickle.dumps(batch, protocol=3)


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """An image file with pixels of shape (H, W, 3)."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def jpeg_arrays(images: list[bytes], labels: Any) -> dict[str, Any]:
    ends = np.cumsum([0, *map(len, images)])
    return {"jpeg": np.frombuffer(b"".join(images), np.uint8), "offsets": ends, "labels": np.asarray(labels)}
