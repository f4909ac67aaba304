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
from hwnas.schema import json_as

CHANNELS_OF = {"gray": 1, "rgb": 3}
"""By `hwnas.color`; other models have "none", and as many as there are means."""
LUMA = (299, 587, 114)
"""Thousandths of red, green and blue in the grey of a picture; whole numbers are the same everywhere."""
INSIDE = "hwnas.normalised_inside"
"""Mean and deviation of a file that reads pixels: not `hwnas.mean` and `hwnas.std`, which invite doing it once more."""
_NORMALISATION = ("hwnas.mean", "hwnas.std", INSIDE)


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
    mean, std = normalisation(metadata)
    inside = {INSIDE: json.dumps({"mean": mean, "std": std})}
    about = {
        "stride": "1",  # Ultralytics' loader rounds sizes to multiples of it
        "channels": str(len(mean)),
        **(inside if interface.pixels else {"hwnas.mean": json.dumps(mean), "hwnas.std": json.dumps(std)}),
        "hwnas.input": interface.input,
        "hwnas.output": interface.output,
        "hwnas.layout": interface.layout,
        "hwnas.preprocess": json.dumps(_preprocess(metadata, interface, mean, std)),
    }
    return {name: text for name, text in metadata.items() if name not in {*about, *_NORMALISATION}} | about


def normalisation(
    metadata: Mapping[str, str], source: str = "the model's metadata:"
) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel that the network was trained with, wherever it is that they are applied.

    Raises:
        InputError, KeyError: they are not there.
    """
    if INSIDE in metadata:
        found = json_as(metadata[INSIDE], dict[str, list[float]], f"{source} {INSIDE}")
        return found["mean"], found["std"]
    mean, std = (json_as(metadata[f"hwnas.{key}"], list[float], f"{source} {key}") for key in ("mean", "std"))
    return mean, std


def _preprocess(
    metadata: Mapping[str, str], interface: Interface, mean: list[float], std: list[float]
) -> dict[str, Any]:
    """How an app makes of a picture what the file reads: (pixel · scale - mean) / std of the fitted picture."""
    height, width = json.loads(metadata["imgsz"])
    reading = Reading.of_metadata({name.removeprefix("hwnas."): text for name, text in metadata.items()})
    beside = {"pad_value": PADDING} if reading.fit == "pad" else {}
    deep = {"values": [reading.low, reading.high]} if (reading.low, reading.high) != (0.0, 65535.0) else {}
    left: dict[str, Any] = {"scale": 1, "mean": 0, "std": 1}
    if not interface.pixels:
        left = {"scale": 1 / 255, "mean": mean, "std": std}
    color = metadata["hwnas.color"]
    picture = {"decode": "whole", "orientation": "exif", "transparent": "white"} if color in CHANNELS_OF else {}
    gray = {"luma": LUMA} if color == "gray" else {}
    return {
        **picture,
        "resize": [height, width],
        "fit": reading.fit,
        **beside,
        "interpolation": "bilinear",
        "antialias": True,
        "color": color,
        **gray,
        **deep,
        **left,
        "dtype": "uint8" if interface.input == "uint8" else "float32",
        "layout": interface.layout,
        "output": interface.output,
    }
