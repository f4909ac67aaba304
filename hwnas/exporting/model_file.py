"""The model file with metadata and labels, compared with the trained network on real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.arch.network import Network
from hwnas.backends.interface import BARE, Interface
from hwnas.backends.model_format import ModelFormat
from hwnas.backends.parity import TOLERANCE, Parity, compare
from hwnas.backends.weights import Weights
from hwnas.data import Dataset, Images, to_input
from hwnas.display import counted
from hwnas.errors import ExportError
from hwnas.exporting.model_metadata import file_metadata
from hwnas.files import write_bytes, write_text
from hwnas.metric_names import NAMES, Metric
from hwnas.metrics import Metrics, Tally, class_balanced_choice

_IMAGES, _CALIBRATION_IMAGES, _AT_ONCE = 64, 256, 32
_COSTS_TOO_MUCH = "allow more with --max-drop and --resume, train longer, or stay with --precision fp32"


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
    interface: Interface | None = None,
) -> Exported:
    """Write the model file and `labels.txt`, having run the file and compared it on real images.

    Args:
        model_format: of the file.
        facts: goes into the metadata as `hwnas.<name>`.
        max_drop: how much of `metric` on the validation images quantising may cost, in percentage points.
        interface: what the file computes around the network; None is nothing.

    Raises:
        ExportError: the file does not compute what the network computes, or quantising costs more than `max_drop`.
        StorageError: a file cannot be written.
    """
    interface = interface or Interface(layout=model_format.layout)
    metadata = file_metadata(dataset, network, interface, facts)
    images = real_images(dataset)
    inputs, read = (as_read(images, dataset, one) for one in (BARE, interface))
    content, parity = faithful(model_format, network, weights, metadata, interface, inputs, read)
    drop = None
    if model_format.quantize is not None:
        content, drop = quantised(model_format, content, dataset, max_drop, metric, hint=_COSTS_TOO_MUCH)
    model_format.check(content)
    write_bytes(path, content)
    write_text(labels, "\n".join(dataset.classes) + "\n")
    return Exported(path, len(content), parity, len(images), drop)


def faithful(
    model_format: ModelFormat,
    network: Network,
    weights: Weights,
    metadata: Mapping[str, str],
    interface: Interface,
    inputs: NDArray[np.float32],
    read: NDArray[Any],
    tolerance: float = TOLERANCE,
) -> tuple[bytes, Parity]:
    """The file, and how closely its logits follow the trained network.

    A softmax hides most of what logits may differ by, so a file that ends in one is compared without it first.

    Args:
        inputs: real images as the network reads them, (n, C, H, W).
        read: the same as the file reads them.

    Raises:
        ExportError: the file does not compute what the network computes.
    """
    found: list[Parity] = []
    content = b""
    for output in dict.fromkeys(("logits", interface.output)):
        content = model_format.model(network, weights, metadata=metadata, interface=replace(interface, output=output))
        own = compare(
            network, weights, content, inputs, model_format.run, read=read, output=output, tolerance=tolerance
        )
        if not own.agrees:
            raise ExportError(
                f"the exported model differs from the trained network by {own.max_difference:.3g} in its {output} on "
                f"{counted(len(inputs), 'image')}; at most {own.limit:.3g} is allowed",
                hint="please report this with the run's architecture.json",
            )
        found.append(own)
    return content, found[0]


def quantised(
    model_format: ModelFormat, float_model: bytes, dataset: Dataset, max_drop: float, metric: Metric, *, hint: str
) -> tuple[bytes, float]:
    """The model in int8, and what that costs of the metric on the validation images, 0..1.

    Args:
        hint: what to do where it costs too much.

    Raises:
        ExportError: it costs more than `max_drop` percentage points.
    """
    assert model_format.quantize is not None
    interface = Interface.of_metadata(model_format.metadata(float_model))
    content = model_format.quantize(float_model, calibration_inputs(dataset, interface))
    before, after = (file_metrics(model_format, one, dataset, dataset.val) for one in (float_model, content))
    drop = before.value(metric) - after.value(metric)
    if drop * 100 > max_drop:
        raise ExportError(
            f"quantising costs {drop * 100:.2g} points of {NAMES[metric]} on the validation images; at most "
            f"{max_drop:g} are allowed",
            hint=hint,
        )
    return content, drop


def file_metrics(model_format: ModelFormat, model: bytes, dataset: Dataset, images: Images) -> Metrics:
    """What a model file makes of all images, a few in memory at a time; its metadata say what it reads.

    Raises:
        ExportError: the runtime refuses the model.
    """
    tally = Tally(len(dataset.classes))
    interface = Interface.of_metadata(model_format.metadata(model))
    with model_format.opened(model) as compute:
        for start in range(0, len(images), _AT_ONCE):
            part = images.subset(np.arange(start, min(start + _AT_ONCE, len(images))))
            tally.add(compute(as_read(part, dataset, interface)), part.labels)
    return tally.metrics()


def calibration_inputs(dataset: Dataset, interface: Interface = BARE) -> NDArray[Any]:
    """Train images that the ranges of activations are taken from, as many of each class: (n, C, H, W).

    A fixed random choice, the same one every time.
    """
    chosen = class_balanced_choice(dataset.train.labels, _CALIBRATION_IMAGES)
    return as_read(dataset.train.subset(chosen), dataset, interface)


def real_images(dataset: Dataset) -> Images:
    """Up to 64 test images, evenly picked."""
    chosen = np.linspace(0, len(dataset.test) - 1, min(_IMAGES, len(dataset.test))).astype(np.int64)
    return dataset.test.subset(chosen)


def as_read(images: Images, dataset: Dataset, interface: Interface) -> NDArray[Any]:
    """Images as a file of this interface reads them, (n, C, H, W): pixels, or normalised values."""
    pixels = images.pixels
    return pixels if interface.pixels else input_values(pixels, dataset.mean, dataset.std)


def input_values(pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Pixels (n, C, H, W) as the network reads them."""
    return to_input(torch.from_numpy(pixels), mean, std).contiguous().numpy()
