"""Classify images with an exported model: what an app does, from the file's own metadata."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.backends.interface import Interface
from hwnas.backends.model_facts import LARGEST_FILE, READERS
from hwnas.backends.model_format import format_of
from hwnas.data import image
from hwnas.data.encoded import reason_of
from hwnas.data.image_bytes import read_bytes
from hwnas.data.pixels import MOST_CHANNELS
from hwnas.data.reading import Reading
from hwnas.display import counted, table_html
from hwnas.errors import DataError, ExportError, InputError
from hwnas.exporting.array_images import SUFFIXES, array_images
from hwnas.exporting.file_images import input_values
from hwnas.exporting.image_paths import image_files
from hwnas.exporting.model_metadata import CHANNELS_OF, LUMA, normalisation
from hwnas.image_size import LARGEST_SIDE, Size
from hwnas.schema import json_as

OnUnreadable: TypeAlias = Callable[[Path, DataError], None]
"""Is told of an image that cannot be read."""

_AT_ONCE = 256  # images that are held in memory


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, the best first."""

    image: Path
    classes: tuple[tuple[str, float], ...]

    def _repr_html_(self) -> str:
        return table_html(str(self.image), {name: f"{probability:.3f}" for name, probability in self.classes})

    def to_json(self) -> dict[str, Any]:
        return {"image": str(self.image), "classes": dict(self.classes)}


def predict(
    model: Path, images: Sequence[Path], *, top: int = 3, on_unreadable: OnUnreadable | None = None
) -> list[Prediction]:
    """Classify image files with the runtime that reads the model.

    Args:
        images: files, and folders of which all images are taken, those of sub-folders included. Also .npy and .npz
            files, which may hold several images.
        on_unreadable: is told of every image that cannot be read, and the others are classified; None raises.

    Raises:
        InputError: the model is missing, damaged, or was not exported by hwnas.
        DataError: an image cannot be read.
        ExportError: the model computes what is no number.
    """
    reader = ModelReader(model)

    def unreadable(path: Path, error: DataError) -> None:
        if on_unreadable is None:
            raise error
        on_unreadable(path, error)

    def read() -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        for path in image_files(images, unreadable):
            try:
                yield from reader.images(path)
            except DataError as error:
                unreadable(path, error)

    predictions: list[Prediction] = []
    pictures = read()
    while batch := list(itertools.islice(pictures, _AT_ONCE)):
        rows = reader.probabilities([pixels for _, pixels in batch])
        predictions += [reader.prediction(path, row, top) for (path, _), row in zip(batch, rows, strict=True)]
    return predictions


class ModelReader:
    """An exported model, and what its metadata say.

    Raises:
        InputError: it is missing, damaged, or was not exported by hwnas.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lacks = path, f"{path} lacks the metadata that hwnas writes:"
        if path.suffix not in READERS:
            raise InputError(f"{path} is no model file", hint=f"its name ends in {' or '.join(READERS)}")
        self.format = format_of(READERS[path.suffix][0])
        self.content = _content(path)
        try:
            self.metadata = self.format.metadata(self.content)
            self._read(self.metadata)
        except ExportError as error:
            raise InputError(f"cannot use the model {path}: {error}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"{self.lacks} {error}") from error

    def _read(self, metadata: Mapping[str, str]) -> None:
        self.interface = Interface.of_metadata(metadata)
        numbered = json_as(metadata["names"], dict[str, str], f"{self.lacks} names")
        self.names = [numbered[str(k)] for k in range(len(numbered))]
        self.mean, self.std = normalisation(metadata, self.lacks)
        height, width = json_as(metadata["imgsz"], list[int], f"{self.lacks} imgsz")
        self.size = Size(height, width)
        color = metadata["hwnas.color"]
        self.channels = CHANNELS_OF[color] if color in CHANNELS_OF else len(self.mean)
        own = {name.removeprefix("hwnas."): text for name, text in metadata.items() if name.startswith("hwnas.")}
        self.reading = Reading.of_metadata(own)
        if not 0 < self.size.short <= self.size.long <= LARGEST_SIDE:
            raise ValueError(f"imgsz must be from 1 to {LARGEST_SIDE}, not {self.size}")
        if not 0 < self.channels <= MOST_CHANNELS:
            raise ValueError(f"the channels must be from 1 to {MOST_CHANNELS}, not {self.channels}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels or not np.isfinite(values).all() or (name == "std" and min(values) <= 0):
                raise ValueError(f"{name} must be {self.channels} finite numbers{', above 0' * (name == 'std')}")

    def images(self, path: Path) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        """The name of each image of a file, and its pixels as the model reads them, (C, H, W).

        Raises:
            DataError: it cannot be read, or is none that the model reads.
        """
        if path.suffix.lower() in SUFFIXES:
            yield from array_images(path, self.channels, self.size, self.reading)
        elif self.channels in CHANNELS_OF.values():
            yield path, _pixels(path, self.size, gray=self.channels == 1, reading=self.reading)
        else:
            raise DataError(
                f"the model reads images of {counted(self.channels, 'channel')}, which {path} does not have",
                hint=f"give {' or '.join(SUFFIXES)} files of shape (N, {self.channels}, {self.size.height}, "
                f"{self.size.width})",
            )

    def probabilities(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Of the classes, shape (n, classes), by the interface that the file says it has.

        Raises:
            InputError: the model does not run, or has another number of outputs.
            ExportError: it computes what is no number.
        """
        images = np.stack(pixels)
        inputs = images if self.interface.pixels else input_values(images, self.mean, self.std)
        try:
            result = np.asarray(self.format.run(self.content, inputs), np.float32)
        except ExportError as error:
            raise InputError(f"cannot use the model {self.path}: {error}") from error
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(f"the model {self.path} computes no scores of classes: {error}") from error
        if result.shape != (len(pixels), len(self.names)):
            shape = "×".join(map(str, result.shape[1:]))
            raise InputError(
                f"the model {self.path} names {counted(len(self.names), 'class', 'classes')} but computes "
                f"{counted(shape, 'number')}"
            )
        if not np.isfinite(result).all():
            raise ExportError(
                f"the model {self.path} computes what is no number, so nothing can be said of images",
                hint="its weights are damaged: export it again with hwnas search --resume",
            )
        return result if self.interface.output == "probabilities" else np.stack([_softmax(row) for row in result])

    def prediction(self, path: Path, probabilities: NDArray[np.float32], top: int) -> Prediction:
        best = np.argsort(-probabilities, kind="stable")[:top]
        return Prediction(path, tuple((self.names[k], float(probabilities[k])) for k in best))


def _content(path: Path) -> bytes:
    hint = "name the folder of a finished run"
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"cannot read the model {path}: it is not a regular file", hint=hint)
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"cannot read the model {path}: it has more than {LARGEST_FILE >> 20} MiB", hint=hint)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(f"cannot read the model {path}: {reason}", hint=hint) from error


def _pixels(path: Path, size: Size, *, gray: bool, reading: Reading) -> NDArray[np.uint8]:
    """Of shape (C, H, W).

    Raises:
        DataError: the image cannot be read.
    """
    data = BytesIO()
    try:
        data = BytesIO(read_bytes(path))
        pixels = image.read(data, resolution=size, reading=reading, whole=True)
    except image.UNREADABLE as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error, data)
        raise DataError(f"cannot read the image {path}: {reason}", hint=f"accepted are {image.KINDS}") from error
    if gray:
        return ((np.tensordot(np.array(LUMA), pixels, 1)[None] + 500) // 1000).astype(np.uint8)
    return pixels


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum(), dtype=np.float32)
