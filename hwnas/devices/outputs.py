"""What a model makes of images on a device, in the process and by the runtime that time it there."""

from __future__ import annotations

import base64
import binascii
import contextlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.devices.device import Device
from hwnas.devices.job import Job
from hwnas.devices.link import link_to
from hwnas.devices.refusals import hint_for, shortened
from hwnas.devices.rounds import ANSWER
from hwnas.errors import DeviceError, InputError, ModelError
from hwnas.files import storage_errors
from hwnas.progress import Progress
from hwnas.schema import checked

_AT_ONCE_BYTES = 32 << 20  # of pixels


@dataclass(frozen=True)
class _Outputs:
    """Of some images: the number of the first one in its batch, and their numbers in base64."""

    first: int
    values: str


def computes_outputs(device: Device) -> bool:
    """Whether a device can tell outputs: benchmark_model tells times alone."""
    return device.reachable and device.python is not None


def images_at_once(shape: Sequence[int]) -> int:
    """How many images of a shape lie on a device at a time, at least one."""
    return max(1, _AT_ONCE_BYTES // max(1, math.prod(shape)))


def model_outputs(
    device: Device,
    model: Path,
    pixels: NDArray[np.uint8],
    width: int,
    *,
    stall_s: float,
    memory_bytes: int,
    progress: Progress,
    label: str,
) -> NDArray[np.float32]:
    """The first output of a model for each image, (n, width), computed on the device one by one.

    Args:
        device: with the runtime that runs the file.
        pixels: (n, ...), in the layout of the file, which are given to it in its type; see `images_at_once`.
        width: how many numbers the output has.
        stall_s, memory_bytes: as in `Job`.
        label: what the task is called in progress; the device is added.

    Raises:
        InputError: the runtime does not run the file, or its output has another number of numbers.
        DeviceError: the device cannot be reached, fails, or has no Python that could tell outputs.
    """
    if not computes_outputs(device):
        raise DeviceError(
            f"{device.id} measures with benchmark_model, which tells no outputs",
            hint="name a Python in [adb] python, or reach the phone's Termux over ssh",
        )
    result = np.full((len(pixels), width), np.nan, np.float32)
    link = link_to(device)
    with tempfile.TemporaryDirectory() as folder, progress.track(f"{label} on {device.id}", len(pixels)) as advance:
        path = Path(folder) / "images.npy"
        with storage_errors(path):
            np.save(path, pixels)
        job = Job({model.name: model}, images=path, stall_s=stall_s, memory_bytes=memory_bytes)
        try:
            with contextlib.closing(link.events(job, progress)) as events:
                for event in events:
                    if event["event"] == "outputs":
                        advance(_take(event, result))
        except ModelError as error:
            reason = str(error).removeprefix(f"measuring failed: model {model.name!r}: ")
            text = f"{device.runtime} on {device.id} does not run {model}: {shortened(reason)}"
            raise InputError(text, hint=hint_for(reason)) from error
        finally:
            link.forget([path])
    if not np.isfinite(result).all():
        raise InputError(f"{model} computes what is no number, or not for all images, on {device.id}")
    return result


def _take(event: dict[str, Any], part: NDArray[np.float32]) -> int:
    """Put outputs into their places, and tell of how many images they are.

    Raises:
        InputError: they are not as many numbers as there are classes.
        DeviceError: they are no outputs.
    """
    own = checked(event, _Outputs, ANSWER, error=DeviceError)
    try:
        values = np.frombuffer(base64.b64decode(own.values, validate=True), np.float32)
    except (binascii.Error, ValueError) as error:
        raise DeviceError(f"{ANSWER} is no outputs: {error}") from error
    width = int(part.shape[1])
    left = len(part) - own.first
    if not 0 <= own.first < len(part) or len(values) == 0 or len(values) % width or len(values) > left * width:
        raise InputError(f"an output must have {width} numbers for each image, but there are {len(values)} at once")
    rows = len(values) // width
    part[own.first : own.first + rows] = values.reshape(rows, width)
    return rows
