"""The model file with metadata and labels, compared with the trained network on real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.network import Network
from hwnas.backends.interface import BARE, Interface
from hwnas.backends.model_format import ModelFormat
from hwnas.backends.parity import TOLERANCE, Parity, compare
from hwnas.backends.weights import Weights
from hwnas.display import counted
from hwnas.errors import ExportError
from hwnas.exporting.file_images import as_read, real_images
from hwnas.exporting.int8 import Int8, Quantising, Source, int8_file, with_test_images
from hwnas.exporting.model_metadata import file_metadata
from hwnas.files import write_bytes, write_text

_COSTS_TOO_MUCH = "allow more with --max-drop and --resume, train longer, or stay with --precision fp32"


@dataclass(frozen=True)
class Written:
    """The content of a model file, and how closely it follows the trained network.

    Attributes:
        parity: its outputs against those of the network: logits, and of an int8 file what it ends in.
        int8: how it was quantised, if it was.
    """

    content: bytes
    parity: Parity
    int8: Int8 | None = None


@dataclass(frozen=True)
class Exported:
    """A model file and how closely it follows the trained network.

    Attributes:
        parity: as of `Written`, on `images` test images.
        int8: how it was quantised, if it was.
    """

    path: Path
    size_bytes: int
    parity: Parity
    images: int
    int8: Int8 | None = None


def export_model(
    path: Path,
    model_format: ModelFormat,
    network: Network,
    weights: Weights,
    quantising: Quantising,
    facts: Mapping[str, str],
    *,
    labels: Path,
    interface: Interface | None = None,
) -> Exported:
    """Write the model file and `labels.txt`, having run the file and compared it on real images.

    Args:
        model_format: of the file.
        quantising: what an int8 file may cost; its images are compared on, whatever the precision.
        facts: goes into the metadata as `hwnas.<name>`.
        interface: what the file computes around the network; None is nothing.

    Raises:
        ExportError: the file does not compute what the network computes, or quantising costs more than is allowed.
        StorageError: a file cannot be written.
    """
    interface, dataset = interface or Interface(layout=model_format.layout), quantising.dataset
    metadata = file_metadata(dataset, network, interface, facts)
    images = real_images(dataset)
    inputs, read = (as_read(images, dataset, one) for one in (BARE, interface))
    made = written(
        model_format, network, weights, metadata, interface, inputs, read, quantising=quantising, hint=_COSTS_TOO_MUCH
    )
    model_format.check(made.content)
    write_bytes(path, made.content)
    write_text(labels, "\n".join(dataset.classes) + "\n")
    return Exported(path, len(made.content), made.parity, len(images), made.int8)


def written(
    model_format: ModelFormat,
    network: Network,
    weights: Weights,
    metadata: Mapping[str, str],
    interface: Interface,
    inputs: NDArray[np.float32],
    read: NDArray[Any],
    *,
    quantising: Quantising | None,
    hint: str,
    tolerance: float = TOLERANCE,
) -> Written:
    """The file, which is compared with the network before anything is quantised.

    Args:
        inputs: images as the network reads them, (n, C, H, W).
        read: the same as the file reads them.
        quantising: what an int8 file may cost; others need none.
        hint: what to do where it costs too much.

    Raises:
        ExportError: the file does not compute what the network computes, or quantising costs more than is allowed.
    """

    def write(weights: Weights) -> tuple[bytes, Parity]:
        return faithful(model_format, network, weights, metadata, interface, inputs, read, tolerance)

    content, parity = write(weights)
    if model_format.calibrate is None:
        return Written(content, parity)
    assert quantising is not None
    source = Source(model_format, network, weights, content, lambda weights: write(weights)[0])
    content, found = int8_file(source, quantising)
    found.check(quantising.allowed, hint)
    own = compare(network, weights, content, inputs, model_format.run, read=read, output=interface.output)
    return Written(content, own, with_test_images(source, content, quantising, found))


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
