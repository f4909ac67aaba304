"""The test images that the network was most sure of and wrong about, kept as small pictures for the report."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwnas.data import Dataset
from hwnas.files import write_json
from hwnas.run.run_folder import RunFolder

KEPT = 12
_SIDE = 96  # pixels of a picture, at most


@dataclass(frozen=True)
class _Mistake:
    """Image `index` of the test images, which is of class `label` and was taken for `taken_for`."""

    sure: float
    index: int
    label: int
    taken_for: int


class Mistakes:
    """Fed with the batches of an evaluation; keeps the 12 wrong answers of the highest probability."""

    def __init__(self) -> None:
        self.worst: list[_Mistake] = []
        self._seen = 0

    def add(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """The next images, in order: logits of shape (B, K) and labels of shape (B,)."""
        taken_for = logits.argmax(axis=1)
        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        sure = 1.0 / np.exp(shifted).sum(axis=1)
        found = [
            _Mistake(float(sure[row]), self._seen + int(row), int(labels[row]), int(taken_for[row]))
            for row in np.flatnonzero(taken_for != labels)
            if np.isfinite(sure[row])
        ]
        self.worst = sorted([*self.worst, *found], key=lambda one: (-one.sure, one.index))[:KEPT]
        self._seen += len(labels)

    def write(self, folder: RunFolder, dataset: Dataset) -> None:
        """Write `state/mistakes.json`: of each mistake its classes, the probability and a PNG of 96 pixels at most.

        Raises:
            DataError: an image cannot be read.
            StorageError: the file cannot be written.
        """
        entries: list[dict[str, Any]] = []
        for one in self.worst:
            (pixels,) = dataset.test.take(np.array([one.index]))
            entries.append(
                {
                    "class": dataset.classes[one.label],
                    "taken_for": dataset.classes[one.taken_for],
                    "probability": round(one.sure, 4),
                    "png": base64.b64encode(_png(pixels)).decode(),
                }
            )
        write_json(folder.mistakes, entries)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture of pixels (C, H, W), grey unless they are of three channels."""
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)) if len(pixels) == 3 else pixels[0])
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.getvalue()
