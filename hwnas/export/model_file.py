"""The model file with metadata and labels, compared with the trained network on real images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas import __version__
from hwnas.arch.network import Network
from hwnas.backends.model_format import ModelFormat
from hwnas.backends.parity import Parity, compare
from hwnas.backends.weights import Weights
from hwnas.data import Dataset, Images, to_input
from hwnas.errors import ExportError
from hwnas.files import write_bytes, write_text
from hwnas.metric_names import NAMES, Metric
from hwnas.metrics import Metrics, Tally, class_balanced_choice

CHANNELS_OF = {"gray": 1, "rgb": 3}
"""By `hwnas.color`; other models have "none", and as many as there are means."""

_IMAGES, _CALIBRATION_IMAGES, _AT_ONCE = 64, 256, 32


@dataclass(frozen=True)
class Exported:
    """A model file and how closely it follows the trained network.

    Attributes:
        parity: of the float32 model, on `images` test images.
        drop: what quantising costs of the metric on the validation images, 0..1; None where nothing was quantised.
    """

    path: Path
    size_bytes: int
    parity: Parity
    images: int
    drop: float | None = None


def export_model(
    path: Path,
    model_format: ModelFormat,
    network: Network,
    weights: Weights,
    dataset: Dataset,
    facts: Mapping[str, str],
    *,
    labels: Path,
    max_drop: float = 1.0,
    metric: Metric = "accuracy",
) -> Exported:
    """Write the model file and `labels.txt`, having run the file and compared it on real images.

    Args:
        form: of the file.
        facts: goes into the metadata as `hwnas.<name>`.
        max_drop: how much of `metric` on the validation images quantising may cost, in percentage points.

    Raises:
        ExportError: the file does not compute what the network computes, or quantising costs more than `max_drop`.
        StorageError: a file cannot be written.
    """
    content = model_format.model(network, weights, metadata=_metadata(dataset, network, model_format, facts))
    images = real_inputs(dataset)
    parity = compare(network, weights, content, images, model_format.run)
    if not parity.agrees:
        raise ExportError(
            f"the exported model differs from the trained network by {parity.max_difference:.3g} on {len(images)} test "
            f"images; at most {parity.limit:.3g} is allowed",
            hint="please report this with the run's architecture.json",
        )
    drop = None
    if model_format.quantize is not None:
        float_model, content = content, model_format.quantize(content, calibration_inputs(dataset))
        before, after = (file_metrics(model_format, one, dataset, dataset.val) for one in (float_model, content))
        drop = before.value(metric) - after.value(metric)
        if drop * 100 > max_drop:
            raise ExportError(
                f"quantising costs {drop * 100:.2g} points of {NAMES[metric]} on the validation images; at most "
                f"{max_drop:g} are allowed",
                hint="allow more with --max-drop and --resume, train longer, or stay with --precision fp32",
            )
    model_format.check(content)
    write_bytes(path, content)
    write_text(labels, "\n".join(dataset.classes) + "\n")
    return Exported(path, len(content), parity, len(images), drop)


def file_metrics(model_format: ModelFormat, model: bytes, dataset: Dataset, images: Images) -> Metrics:
    """What a model file makes of all images, a few in memory at a time.

    Raises:
        ExportError: the runtime refuses the model.
    """
    tally = Tally(len(dataset.classes))
    with model_format.opened(model) as compute:
        for start in range(0, len(images), _AT_ONCE):
            part = images.subset(np.arange(start, min(start + _AT_ONCE, len(images))))
            tally.add(compute(_inputs(dataset, part)), part.labels)
    return tally.metrics()


def calibration_inputs(dataset: Dataset) -> NDArray[np.float32]:
    """Train images that the ranges of activations are taken from, as many of each class: (n, C, H, W).

    A fixed random choice, the same one every time.
    """
    return _inputs(dataset, dataset.train.subset(class_balanced_choice(dataset.train.labels, _CALIBRATION_IMAGES)))


def real_inputs(dataset: Dataset) -> NDArray[np.float32]:
    """Up to 64 test images, evenly picked, as the network reads them: (n, C, H, W)."""
    chosen = np.linspace(0, len(dataset.test) - 1, min(_IMAGES, len(dataset.test))).astype(np.int64)
    return _inputs(dataset, dataset.test.subset(chosen))


def _inputs(dataset: Dataset, images: Images) -> NDArray[np.float32]:
    return to_input(torch.from_numpy(images.pixels), dataset.mean, dataset.std).contiguous().numpy()


def _metadata(
    dataset: Dataset, network: Network, model_format: ModelFormat, facts: Mapping[str, str]
) -> dict[str, str]:
    """Ultralytics' names for what apps read, and everything else under `hwnas.`.

    No date and nothing that was measured after the table: equal networks give equal files (docs/decisions/0048).
    """
    channels, height, width = network.input_shape
    common = {
        "description": f"hwnas classifier of {dataset.name}",
        "author": "hwnas",
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
        "color": next((color for color, count in CHANNELS_OF.items() if count == channels), "none"),
        "layout": model_format.layout,
        "version": __version__,
        **dataset.reading.to_metadata(),
        **facts,
    }
    return common | {f"hwnas.{name}": value for name, value in own.items()}
