"""What the inputs of a model file are measured with: ranges of random values, and arrays. Nothing given is trusted."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hwnas.backends.model_facts import ModelFile, Tensor, describe, shape_text
from hwnas.devices.device import Device
from hwnas.devices.job import Inputs
from hwnas.devices.runner_aid import FLOATS, INTEGERS
from hwnas.errors import InputError
from hwnas.files import storage_errors

Ranges = Mapping[str, tuple[float, float]]
"""Of random values by name of the input, both ends included."""
MADE_UP = (*FLOATS, *INTEGERS, "bool")
"""Types that there are random values of."""
_UNREADABLE = (OSError, ValueError, TypeError, SyntaxError, KeyError, EOFError, MemoryError, RuntimeError)
_BROKEN = (*_UNREADABLE, zipfile.BadZipFile, zlib.error)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class InputValues:
    """Values that inputs are measured with, by name; the others are random.

    Attributes:
        arrays: of the type and a shape of the input.
        source: the file that these come from; '' where they were given themselves.
    """

    ranges: Ranges = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    source: str = ""

    def write(self, folder: Path) -> Path | None:
        """Write the arrays into a file as `hwnas.devices.job.Inputs` describes it; None without any."""
        if not self.arrays:
            return None
        path = folder / "inputs.npz"
        with storage_errors(path):
            np.savez(path, *self.arrays.values())
        return path

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON: by name, the range or where the array comes from."""
        given = {name: {"range": [low, high]} for name, (low, high) in self.ranges.items()}
        return given | {name: {"array": self.source or "given"} for name in self.arrays}


def input_values(file: ModelFile, ranges: Ranges, arrays: Path | str | Mapping[str, Any] | None) -> InputValues:
    """Ranges and arrays, compared with the inputs of the file.

    Args:
        arrays: by name of the input, or an .npz file that has them.

    Raises:
        InputError: there is no such input, a range is empty or beyond its type, an array is of another type or shape,
            or the file cannot be read.
    """
    known = {one.name: one for one in file.inputs}
    own: dict[str, tuple[float, float]] = {}
    for name, (low, high) in ranges.items():
        _check_range(_input(file, name), low, high)
        own[name] = (low, high) if known[name].dtype in FLOATS else (int(low), int(high))
    if arrays is None:
        return InputValues(own)
    source = "" if isinstance(arrays, Mapping) else str(arrays)
    found = _given(file, arrays) if isinstance(arrays, Mapping) else _read(file, Path(arrays))
    for name in found:
        if name in ranges:
            raise InputError(f"the input {name!r} is given an array and a range", hint="leave out one of them")
        _check_array(file, known[name], found[name].dtype, found[name].shape)
    return InputValues(own, found, source)


def pixel_ranges(file: ModelFile, device: Device) -> dict[str, tuple[float, float]]:
    """The range of the input of a file that says that it reads pixels; benchmark_model takes none."""
    if not file.pixels or (device.adb is not None and device.adb.runner is not None):
        return {}
    return {one.name: (0.0, 255.0) for one in file.inputs[:1] if one.dtype in ("float32", "uint8")}


def pixel_inputs(models: Mapping[str, Path], device: Device) -> dict[str, Inputs]:
    """By name, the inputs of those of the models that say that they read pixels; the others have usual random values.

    Raises:
        InputError: a file is no model.
    """
    ranges = {name: pixel_ranges(describe(path), device) for name, path in models.items()}
    return {name: Inputs(ranges=own) for name, own in ranges.items() if own}


def _input(file: ModelFile, name: str) -> Tensor:
    for one in file.inputs:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in file.inputs)
    raise InputError(f"{file.path} has no input {name!r}", hint=f"its inputs: {names or 'none'}")


def _check_range(one: Tensor, low: float, high: float) -> None:
    whole = one.dtype not in FLOATS
    finite = all(isinstance(end, int) or math.isfinite(end) for end in (low, high))
    if not finite or low > high or (whole and (low % 1 or high % 1)):
        kind = "two integers" if whole else "two finite numbers"
        raise InputError(
            f"the range of the input {one.name!r} must be {kind}, the lower one first, not {low} to {high}",
            hint=f"for example --range {one.name}=0:99; both ends are included",
        )
    limits: Any = (0, 1) if one.dtype == "bool" else None
    if one.dtype in (*FLOATS, *INTEGERS):
        facts: Any = np.finfo(one.dtype) if one.dtype in FLOATS else np.iinfo(one.dtype)
        limits = (float(facts.min), float(facts.max)) if one.dtype in FLOATS else (facts.min, facts.max)
    if limits is not None and not limits[0] <= low <= high <= limits[1]:
        raise InputError(
            f"the input {one.name!r} is {one.dtype}, from {limits[0]} to {limits[1]}, not from {low} to {high}",
            hint="give a range of values that the type has",
        )


def _check_array(file: ModelFile, one: Tensor, dtype: Any, shape: tuple[int, ...]) -> None:
    text = f"{dtype.name}, {shape_text(shape)}"
    wanted = f"{one.dtype}, {shape_text(one.shape)}"
    if dtype.name != one.dtype:
        raise InputError(
            f"the input {one.name!r} of {file.path} is {wanted}, not {text}",
            hint=f"store it as array.astype({one.dtype!r})",
        )
    sizes = one.shape if one.shape is not None else (None,) * len(shape)
    if len(sizes) != len(shape) or any(own not in (None, size) for own, size in zip(sizes, shape, strict=True)):
        raise InputError(
            f"the input {one.name!r} of {file.path} is {wanted}, which {text} does not fit",
            hint="store an array of that shape; sizes shown as ? are free",
        )


def _given(file: ModelFile, arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    result = {}
    for name, value in arrays.items():
        _input(file, name)
        try:
            array = np.asarray(value)
        except _UNREADABLE as error:
            raise InputError(f"what is given for the input {name!r} is no array: {error}") from error
        result[name] = array.astype(array.dtype.newbyteorder("="))
    return result


def _read(file: ModelFile, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, each read once its header says that it fits."""
    hint = 'write it with np.savez("inputs.npz", **{"name of the input": array})'
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", hint=hint)
    result = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                one = _input(file, name)
                with archive.open(entry) as member:
                    shape, _, dtype = _HEADERS[npy.read_magic(member)](member)
                    start = member.tell()
                _check_array(file, one, dtype.newbyteorder("="), shape)
                if dtype.hasobject or entry.file_size != start + math.prod(shape) * dtype.itemsize:
                    raise ValueError(f"the array {name!r} has another length than its header says")
                with archive.open(entry) as member:
                    array = npy.read_array(member, allow_pickle=False)
                result[name] = array.astype(dtype.newbyteorder("="))
    except InputError:
        raise
    except _BROKEN as error:
        reason = (isinstance(error, OSError) and error.strerror) or error or type(error).__name__
        raise InputError(f"cannot read {path} as .npz: {reason}", hint=hint) from error
    if not result:
        raise InputError(f"{path} has no arrays", hint=hint)
    return result
