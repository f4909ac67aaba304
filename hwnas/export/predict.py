"""Classify images with an exported model: what an app does, from the file's own metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.backends.model_format import format_of
from hwnas.data import image, to_input
from hwnas.data.reading import Reading
from hwnas.display import table_html
from hwnas.errors import DataError, ExportError, InputError
from hwnas.runtimes import RUNTIMES
from hwnas.schema import json_as

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, the best first."""

    image: Path
    classes: tuple[tuple[str, float], ...]

    def _repr_html_(self) -> str:
        return table_html(str(self.image), {name: f"{probability:.3f}" for name, probability in self.classes})

    def to_json(self) -> dict[str, Any]:
        return {"image": str(self.image), "classes": dict(self.classes)}


def predict(model: Path, images: Sequence[Path], *, top: int = 3) -> list[Prediction]:
    """Classify image files with the runtime that reads the model.

    Raises:
        InputError: the model is missing, damaged, or was not exported by hwnas.
        DataError: an image cannot be read.
    """
    suffixes = dict.fromkeys(one.suffix for one in RUNTIMES.values())
    if model.suffix not in suffixes:
        raise InputError(f"{model} is no model file", hint=f"its name ends in {' or '.join(suffixes)}")
    model_format = format_of(next(one.name for one in RUNTIMES.values() if one.suffix == model.suffix))
    try:
        content = model.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the model {model}: {error.strerror or error}", hint="name the folder of a finished run"
        ) from error
    lacks = f"{model} lacks the metadata that hwnas writes:"
    try:
        metadata = model_format.metadata(content)
        numbered = json_as(metadata["names"], dict[str, str], f"{lacks} names")
        names = [numbered[str(k)] for k in range(len(numbered))]
        mean, std = (json_as(metadata[f"hwnas.{key}"], list[float], f"{lacks} {key}") for key in ("mean", "std"))
        height = json_as(metadata["imgsz"], list[int], f"{lacks} imgsz")[0]
        gray = metadata["hwnas.color"] == "gray"
        own = {name.removeprefix("hwnas."): text for name, text in metadata.items() if name.startswith("hwnas.")}
        reading = Reading.of_metadata(own)
        if not images:
            return []
        pixels = [torch.from_numpy(_pixels(path, height, gray=gray, reading=reading)) for path in images]
        logits = model_format.run(content, to_input(torch.stack(pixels), mean, std).contiguous().numpy())
    except ExportError as error:
        raise InputError(f"cannot use the model {model}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{lacks} {error}") from error
    predictions = []
    for path, row in zip(images, logits, strict=True):
        probabilities = _softmax(row)
        best = np.argsort(-probabilities, kind="stable")[:top]
        predictions.append(Prediction(path, tuple((names[k], float(probabilities[k])) for k in best)))
    return predictions


def _pixels(path: Path, resolution: int, *, gray: bool, reading: Reading | None = None) -> NDArray[np.uint8]:
    try:
        pixels = image.read(path, resolution=resolution, reading=reading)
    except image.UNREADABLE as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise DataError(f"cannot read the image {path}: {reason}", hint=f"accepted are {image.KINDS}") from error
    if gray:
        return np.round(np.tensordot(_LUMA, pixels, 1)[None]).astype(np.uint8)
    return pixels


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum(), dtype=np.float32)
