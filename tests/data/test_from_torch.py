"""Data sets of torch: every kind of item becomes what the same arrays in an .npz file become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from data_files import contents, cycle, everything, noise, pairs
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, TensorDataset

from hwnas.data import from_torch
from hwnas.data.resize import fitted
from hwnas.errors import DataError, InputError

X, Y = noise(24, 3, 9, 9), cycle(24, 3)
GREY = X[:, 0]


class Pairs(TorchDataset[Any]):
    """Items made from one image each, counted as they are read."""

    def __init__(self, images: Any, labels: Any, make: Any = lambda image: image) -> None:
        self.images, self.labels, self.make, self.reads = images, labels, make, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.make(self.images[index]), self.labels[index]


COLOUR_ITEMS = {
    "uint8 tensor": torch.from_numpy,
    "unit tensor": lambda x: torch.from_numpy(x) / 255,
    "half tensor": lambda x: (torch.from_numpy(x) / 255).half(),
    "tensor to 255": lambda x: torch.from_numpy(x).double(),
    "long tensor": lambda x: torch.from_numpy(x).long(),
    "array": lambda x: x.transpose(1, 2, 0),
    "float array": lambda x: x.transpose(1, 2, 0) / 255,
    "PIL": lambda x: Image.fromarray(x.transpose(1, 2, 0)),
    "PIL with alpha": lambda x: Image.fromarray(x.transpose(1, 2, 0)).convert("RGBA"),
}
GREY_ITEMS = {
    "tensor": torch.from_numpy,
    "tensor with channel": lambda x: torch.from_numpy(x)[None] / 255,
    "array": lambda x: x,
    "array with channel": lambda x: x[..., None],
    "PIL": Image.fromarray,
}
LABELS = {
    "int": [int(y) for y in Y],
    "array": Y,
    "tensor": torch.from_numpy(Y),
    "one in a tensor": torch.from_numpy(Y)[:, None],
    "float": [float(y) for y in Y],
    "text": [str(y) for y in Y],
}


@pytest.mark.parametrize("kind", COLOUR_ITEMS)
def test_colour_items(kind: str) -> None:
    data = Pairs(X, Y, COLOUR_ITEMS[kind])
    dataset = from_torch(data, name="mine", flip=True)
    assert everything(dataset) == pairs(X, Y)
    assert (dataset.name, dataset.flip, dataset.classes) == ("mine", True, ("0", "1", "2"))
    assert data.reads == 24


@pytest.mark.parametrize("kind", GREY_ITEMS)
def test_grey_items(kind: str) -> None:
    dataset = from_torch(Pairs(GREY, Y, GREY_ITEMS[kind]), name="mine")
    assert everything(dataset) == pairs(GREY, Y)
    assert (dataset.channels, dataset.resolution, dataset.flip) == (1, 9, False)


@pytest.mark.parametrize("kind", LABELS)
def test_labels(kind: str) -> None:
    dataset = from_torch(Pairs(X, LABELS[kind], torch.from_numpy), name="mine")
    assert everything(dataset) == pairs(X, Y)
    assert dataset.classes == ("0", "1", "2")


def test_booleans_are_black_and_white() -> None:
    dataset = from_torch(Pairs(GREY > 99, Y), name="mine")
    assert everything(dataset) == pairs(np.where(GREY > 99, 255, 0).astype(np.uint8), Y)


def test_a_test_set_stays_as_it_is() -> None:
    other = noise(9, 3, 9, 9, seed=1)
    dataset = from_torch(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        Pairs(other, Y[:9], torch.from_numpy),
        name="mine",
        classes=list("abc"),
    )
    assert np.array_equal(dataset.test.pixels, other)
    assert np.array_equal(dataset.test.labels, Y[:9])
    assert contents(dataset.train, dataset.val) == pairs(X, Y)
    assert dataset.classes == ("a", "b", "c")


def test_images_of_any_size_are_brought_to_one() -> None:
    sizes = [(8 + i % 5, 8 + i % 3) for i in range(24)]
    images = [noise(1, *size, 3, seed=i)[0] for i, size in enumerate(sizes)]
    dataset = from_torch(Pairs(images, Y, Image.fromarray), name="mine", resolution=8)
    expected = np.concatenate([fitted(x.transpose(2, 0, 1)[None], 8, "crop") for x in images])
    assert everything(dataset) == pairs(expected, Y)


def test_floats_are_resized_like_bytes() -> None:
    for kind in ("uint8 tensor", "unit tensor"):
        dataset = from_torch(Pairs(X, Y, COLOUR_ITEMS[kind]), name="mine", resolution=12)
        assert everything(dataset) == pairs(fitted(X, 12, "crop"), Y)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


def nan(x: Any) -> Any:
    return torch.full((3, 9, 9), torch.nan)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "map-style"),
        (3, "map-style"),
        (Pairs(X[:0], Y[:0]), "has no images"),
        ([1, 2, 3], r"must be \(image, label\), but item 0 of train of mine is a int"),
        ([(X[0], 1, 2)] * 9, "is a tuple"),
        (Pairs(X, Y, lambda x: "text"), "that of item 0 .* is a str"),
        (Pairs(X, Y, lambda x: x), r"is a ndarray of shape \(3, 9, 9\)"),
        (Pairs(X, Y, lambda x: torch.zeros(5, 9, 9)), r"is a Tensor of shape \(5, 9, 9\)"),
        (Pairs(X, Y, lambda x: torch.zeros(3, 0, 9)), r"is a Tensor of shape \(3, 0, 9\)"),
        (Pairs(X, [None] * 24, torch.from_numpy), "a label must be"),
        (Pairs(X, np.eye(3)[Y], torch.from_numpy), "a label must be"),
        (Pairs(X, [1, "b"] * 12, torch.from_numpy), "mixed"),
        (Pairs(X, Y + 0.5, torch.from_numpy), "whole numbers"),
        (Pairs(X, Y * 0, torch.from_numpy), "at least two classes"),
        (Pairs(X, np.arange(24), torch.from_numpy), "needs at least 3 images"),
        (Pairs(X, Y, nan), "has 5832 that are not, in 24 of 24 images"),
        (Pairs(X, Y, lambda x: torch.from_numpy(x) / 255 - 0.5), "go from -0.5 to 0.5"),
        (Pairs([*X[:20], *GREY[:4]], Y, torch.from_numpy), "item 20 .* unlike the first"),
        (Pairs([*X[:20] / 1.0, *X[20:, :, 1:] / 1.0], Y, torch.from_numpy), "item 20 .* unlike the first"),
        (Pairs([*X[:20] / 1.0, *X[20:]], Y, torch.from_numpy), "item 20 .* unlike the first"),
        (Pairs(X, Y, lambda x: torch.zeros(3, 1, 1).expand(3, 20000, 20000)), "8 GiB, but 24 of 4800000000 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_torch(data, name="mine")
    assert caught.value.hint


def test_classes_and_resolution_are_checked() -> None:
    data = Pairs(X, Y, torch.from_numpy)
    with pytest.raises(DataError, match="here 0 to 1, but mine has a label 2"):
        from_torch(data, name="mine", classes=["a", "b"])
    with pytest.raises(InputError, match="from 1 to 2048, not 0"):
        from_torch(data, name="mine", resolution=0)
