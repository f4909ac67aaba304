"""The files that are measured: networks with random weights, in the format of the device's runtime."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hwnas.arch.network import Network
from hwnas.arch.spaces import mobilenet_v2
from hwnas.backends.model_format import format_of
from hwnas.devices.device import Device
from hwnas.files import write_bytes

REFERENCE_MODEL = mobilenet_v2(width=0.5, resolution=64, classes=10)
"""The reference model that runs beside everything that is measured, in fp32."""

_writing = threading.Lock()  # quantisers are kept quiet by turns of the whole process


def write_models(folder: Path, networks: Mapping[str, Network], device: Device) -> dict[str, Path]:
    """Write every network, in the device's precision, and tell its file by its name.

    Raises:
        StorageError: the folder cannot be written.
        InputError: what writes for the device's runtime and precision is not installed.
    """
    model_format = format_of(device.runtime, device.precision)
    paths = {name: folder / f"{index}{model_format.suffix}" for index, name in enumerate(networks)}
    with _writing:
        for name, path in paths.items():
            write_bytes(path, model_format.random_model(networks[name]))
    return paths


def write_reference_model(folder: Path, device: Device) -> Path:
    """Write `REFERENCE_MODEL`; see `write_models`."""
    path = folder / f"reference{format_of(device.runtime).suffix}"
    write_bytes(path, _reference_model(device.runtime))
    return path


@cache
def _reference_model(runtime: str) -> bytes:
    """Always the same, and a run writes it several times."""
    return format_of(runtime).random_model(REFERENCE_MODEL)
