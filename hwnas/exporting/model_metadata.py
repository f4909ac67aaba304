"""What a model file says of itself, for apps, for Ultralytics' loader, and for hwnas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hwnas import __version__
from hwnas.arch.network import Network
from hwnas.backends.interface import Interface
from hwnas.data import Dataset
from hwnas.data.reading import PADDING, Reading

CHANNELS_OF = {"gray": 1, "rgb": 3}
"""By `hwnas.color`; other models have "none", and as many as there are means."""


def file_metadata(dataset: Dataset, network: Network, interface: Interface, facts: Mapping[str, str]) -> dict[str, str]:
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
        "version": __version__,
        **dataset.reading.to_metadata(),
        **facts,
    }
    return with_interface(common | {f"hwnas.{name}": value for name, value in own.items()}, interface)


def with_interface(metadata: Mapping[str, str], interface: Interface) -> dict[str, str]:
    """The metadata of the same network in a file of another interface.

    Raises:
        ValueError, KeyError: the metadata are not those that `file_metadata` makes.
    """
    about = {
        "stride": "1",  # Ultralytics' loader rounds sizes to multiples of it
        "channels": str(len(json.loads(metadata["hwnas.mean"]))),
        "hwnas.input": interface.input,
        "hwnas.output": interface.output,
        "hwnas.layout": interface.layout,
    }
    return dict(metadata) | about | {"hwnas.preprocess": json.dumps(preprocess(metadata, interface))}


def preprocess(metadata: Mapping[str, str], interface: Interface) -> dict[str, Any]:
    """How an app makes of a picture what the file reads: (pixel · scale - mean) / std of the fitted picture."""
    height, width = json.loads(metadata["imgsz"])
    reading = Reading.of_metadata({name.removeprefix("hwnas."): text for name, text in metadata.items()})
    beside = {"pad_value": PADDING} if reading.fit == "pad" else {}
    deep = {"values": [reading.low, reading.high]} if (reading.low, reading.high) != (0.0, 65535.0) else {}
    left: dict[str, Any] = {"scale": 1, "mean": 0, "std": 1}
    if not interface.pixels:
        mean, std = (json.loads(metadata[f"hwnas.{name}"]) for name in ("mean", "std"))
        left = {"scale": 1 / 255, "mean": mean, "std": std}
    return {
        "resize": [height, width],
        "fit": reading.fit,
        **beside,
        "interpolation": "bilinear",
        "antialias": True,
        "color": metadata["hwnas.color"],
        **deep,
        **left,
        "dtype": "uint8" if interface.input == "uint8" else "float32",
        "layout": interface.layout,
        "output": interface.output,
    }
