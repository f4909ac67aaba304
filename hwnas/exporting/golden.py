"""A test image with the scores that files give for it: an app that gets others prepares its images wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwnas.backends.interface import Output
from hwnas.backends.onnx_runtime import Run
from hwnas.data import Images
from hwnas.display import counted
from hwnas.errors import ExportError
from hwnas.exporting.manifest import GOLDEN

_CANDIDATES = 256
_MARGIN = 0.2
"""Of the probability of the right class, above that of any other."""
_TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "int8": 5e-2}
"""Of probabilities on other CPUs and versions of a runtime, by precision; of logits, of the largest one."""


@dataclass(frozen=True)
class ScoredFile:
    """A model file, and what runs it here.

    Attributes:
        output: what it ends in.
    """

    content: bytes
    run: Run
    output: Output
    precision: str


@dataclass(frozen=True)
class Golden:
    """The image and what files make of it.

    Attributes:
        pixels: (C, H, W), uint8.
        label: number of its class.
        scores: by name of the file, what that writes, (classes,).
    """

    pixels: NDArray[np.uint8]
    label: int
    scores: Mapping[str, NDArray[np.float32]]


def choose_golden(files: Mapping[str, ScoredFile], images: Images) -> Golden:
    """Of up to 256 test images, the one that betrays most what apps do wrong.

    All files must classify it right, by a margin of 0.2 where there are such images. Of these it is the one whose
    probabilities change most, at least, when its pixels are divided by 255, or red and blue change places.

    Raises:
        ExportError: no image is classified right by all files, or a file cannot be run.
    """
    chosen = np.linspace(0, len(images) - 1, min(_CANDIDATES, len(images))).astype(np.int64)
    pixels, labels = images.subset(chosen).pixels, images.labels[chosen]
    written = {name: one.run(one.content, pixels) for name, one in files.items()}
    margins = np.min([_margins(_probabilities(written[name], one), labels) for name, one in files.items()], axis=0)
    if not (margins > 0).any():
        raise ExportError(
            f"none of {counted(len(chosen), 'test image')} is classified right by all files, so none can check an app",
            hint="train longer, or export without --package",
        )
    first = next(iter(files))
    clear = np.flatnonzero(margins >= min(_MARGIN, float(margins.max())))
    change = _change(files[first], pixels[clear], _probabilities(written[first][clear], files[first]))
    best = int(clear[change.argmax()])
    return Golden(pixels[best], int(labels[best]), {name: rows[best] for name, rows in written.items()})


def golden_files(golden: Golden, files: Mapping[str, ScoredFile], classes: tuple[str, ...]) -> dict[str, Any]:
    """The files of a package: the picture as `golden.png`, or `golden.npy` where it is none, and `golden.json`."""
    image = "golden.png" if len(golden.pixels) in (1, 3) else "golden.npy"
    expected = {
        name: {"scores": [float(f"{score:.7g}") for score in scores], "tolerance": _tolerance(files[name], scores)}
        for name, scores in golden.scores.items()
    }
    content = _picture(golden.pixels) if image.endswith("png") else _array(golden.pixels)
    return {
        image: content,
        GOLDEN: {"image": image, "label": golden.label, "class": classes[golden.label], "files": expected},
    }


def _probabilities(rows: NDArray[np.float32], one: ScoredFile) -> NDArray[np.float64]:
    """Of the classes, (n, classes)."""
    values = np.asarray(rows, np.float64)
    if one.output == "probabilities":
        return values
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _margins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the right class is above all others, (n,); below 0 where it is not."""
    others = probabilities.copy()
    rows = np.arange(len(labels))
    others[rows, labels] = -np.inf
    return np.asarray(probabilities[rows, labels] - others.max(axis=1))


def _change(one: ScoredFile, pixels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest change of a probability by the usual mistake that changes least, (n,)."""
    mistakes: list[NDArray[Any]] = [pixels.astype(np.float32) / 255]
    if pixels.shape[1] == 3:
        mistakes.append(pixels[:, ::-1])
    changes = [
        np.abs(_probabilities(one.run(one.content, wrong), one) - probabilities).max(axis=1) for wrong in mistakes
    ]
    return np.asarray(np.min(changes, axis=0))


def _tolerance(one: ScoredFile, scores: NDArray[np.float32]) -> float:
    largest = 1.0 if one.output == "probabilities" else max(1.0, float(np.abs(scores).max()))
    return float(f"{_TOLERANCES[one.precision] * largest:.3g}")


def _picture(pixels: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(
        buffer, "png"
    )
    return buffer.getvalue()


def _array(pixels: NDArray[np.uint8]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, pixels[None])
    return buffer.getvalue()
