"""The model file with metadata and labels, compared with the trained network on real images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas import __version__
from hwnas.arch.network import Network
from hwnas.backends.formats import Format
from hwnas.backends.parity import Parity, compare
from hwnas.backends.weights import Weights
from hwnas.data import Dataset, to_input
from hwnas.errors import ExportError
from hwnas.files import write_bytes, write_text

_IMAGES = 64


@dataclass(frozen=True)
class Exported:
    """A model file and how closely it follows the trained network on `images` test images."""

    path: Path
    size_bytes: int
    parity: Parity
    images: int


def export_model(
    path: Path,
    form: Format,
    network: Network,
    weights: Weights,
    dataset: Dataset,
    facts: Mapping[str, str],
    *,
    labels: Path,
) -> Exported:
    """Write the model file and `labels.txt`, having run the file and compared it on real images.

    Args:
        form: of the file.
        facts: goes into the metadata as `hwnas.<name>`.

    Raises:
        ExportError: the file does not compute what the network computes.
        StorageError: a file cannot be written.
    """
    content = form.model(network, weights, metadata=_metadata(dataset, network, form, facts))
    images = real_inputs(dataset)
    parity = compare(network, weights, content, images, form.run)
    if not parity.agrees:
        raise ExportError(
            f"the exported model differs from the trained network by {parity.max_difference:.3g} on {len(images)} test "
            f"images; at most {parity.limit:.3g} is allowed",
            hint="please report this with the run's architecture.json",
        )
    form.check(content)
    write_bytes(path, content)
    write_text(labels, "\n".join(dataset.classes) + "\n")
    return Exported(path, len(content), parity, len(images))


def real_inputs(dataset: Dataset) -> NDArray[np.float32]:
    """Up to 64 test images, evenly picked, as the network reads them: (n, C, H, W)."""
    chosen = np.linspace(0, len(dataset.test) - 1, min(_IMAGES, len(dataset.test))).astype(np.int64)
    pixels = torch.from_numpy(dataset.test.pixels[chosen])
    return to_input(pixels, dataset.mean, dataset.std).contiguous().numpy()


def _metadata(dataset: Dataset, network: Network, form: Format, facts: Mapping[str, str]) -> dict[str, str]:
    """Ultralytics' names for what apps read, and everything else under `hwnas.`."""
    channels, height, width = network.input_shape
    common = {
        "description": f"hwnas classifier of {dataset.name}",
        "author": "hwnas",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "license": "",
        "task": "classify",
        "batch": "1",
        "imgsz": json.dumps([height, width]),
        "names": json.dumps(dict(enumerate(dataset.classes)), ensure_ascii=False),
    }
    own = {
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
        "color": "gray" if channels == 1 else "rgb",
        "layout": form.layout,
        "version": __version__,
        **facts,
    }
    return common | {f"hwnas.{name}": value for name, value in own.items()}
