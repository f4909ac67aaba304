"""Packages that somebody else may have made: checked before anything in them is used, and read nowhere else.

Names are compared with a rule before they become paths, links are refused, sizes are compared before a file is read,
checksums before it is believed. Then the parts are compared with each other.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwnas.backends.interface import LAYOUTS, OUTPUTS
from hwnas.backends.model_facts import READERS, ModelFile, describe
from hwnas.display import counted
from hwnas.errors import InputError
from hwnas.exporting import description, manifest
from hwnas.exporting.manifest import GOLDEN, Listed, Manifest, Tested, read_manifest
from hwnas.image_size import LARGEST_SIDE, Size
from hwnas.schema import POSITIVE, Rule, at_least, between, json_as, one_of

LABELS = "labels.txt"
_LARGEST_PART = 16 << 20
"""Bytes of a file that is no model."""
_LARGEST_PACKAGE = 4 << 30
_LARGEST_TOLERANCE = 0.1
_CHANNELS = {"gray": 1, "rgb": 3}
_DAMAGED = "the package is damaged, or was not made by hwnas export --package: make it again"


@dataclass(frozen=True)
class _Tensor:
    """Input or output of a model, as `model.json` has it."""

    name: str
    dtype: Annotated[str, one_of("float32", "uint8")]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Preprocess:
    """What an app does; packages hold models that normalise themselves."""

    resize: tuple[Annotated[int, between(1, LARGEST_SIDE)], Annotated[int, between(1, LARGEST_SIDE)]]
    fit: Annotated[str, one_of("crop", "pad", "squash")]
    color: Annotated[str, one_of("rgb", "gray", "none")]
    scale: Annotated[float, Rule("1, as the model scales", lambda value: value == 1)]
    mean: Annotated[float, Rule("0, as the model normalises", lambda value: value == 0)]
    std: Annotated[float, Rule("1, as the model normalises", lambda value: value == 1)]
    dtype: str
    layout: Annotated[str, one_of(*LAYOUTS)]
    output: Annotated[str, one_of(*OUTPUTS)]


@dataclass(frozen=True)
class _Described:
    """A file, as `model.json` has it."""

    sha256: str
    precision: Annotated[str, one_of("fp32", "fp16", "int8")]
    input: _Tensor
    output: _Tensor
    preprocess: _Preprocess


@dataclass(frozen=True)
class _Description:
    """Of `model.json`."""

    format: Annotated[str, one_of(description.FORMAT)]
    labels: list[str]
    files: dict[str, _Described]


@dataclass(frozen=True)
class _Expected:
    """Of a file, what it writes for the golden image, and how far an app may be off."""

    scores: list[float]
    tolerance: Annotated[float, POSITIVE]


@dataclass(frozen=True)
class _Golden:
    """Of `golden.json`."""

    image: Annotated[str, one_of("golden.png", "golden.npy")]
    label: Annotated[int, at_least(0)]
    files: dict[str, _Expected]


@dataclass(frozen=True, eq=False)
class PackagedModel:
    """A model file of a package.

    Attributes:
        file: what is in it.
        precision: fp32, fp16 or int8.
        layout: nchw or nhwc.
        output: logits or probabilities.
        scores: that it writes for the golden image, (classes,).
        tolerance: how far these may be off.
        tested: what it made of the test images when it was packed.
    """

    file: ModelFile
    precision: str
    layout: str
    output: str
    scores: NDArray[np.float64]
    tolerance: float
    tested: Tested | None

    def as_read(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images (n, C, H, W) in its layout."""
        return pixels if self.layout == "nchw" else np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


@dataclass(frozen=True, eq=False)
class Package:
    """A package whose parts are as they were made, and fit together.

    Attributes:
        labels: names of the classes.
        size: of the images that its models read.
        fit: how pictures of another shape come to it.
        pixels: of the golden image, (C, H, W).
        label: number of its class.
    """

    folder: Path
    manifest: Manifest
    labels: tuple[str, ...]
    size: Size
    fit: str
    pixels: NDArray[np.uint8]
    label: int
    models: tuple[PackagedModel, ...]


def open_package(folder: Path) -> Package:
    """Read a package.

    Raises:
        InputError: a part is missing, cut short, changed or a link, or the parts do not fit together.
    """
    own = read_manifest(folder)
    parts = _parts(folder, own)
    described = json_as(_part(folder, parts, description.NAME), _Description, folder / description.NAME, hint=_DAMAGED)
    golden = json_as(_part(folder, parts, GOLDEN), _Golden, folder / GOLDEN, hint=_DAMAGED)
    names = [name for name in own.files if Path(name).suffix in READERS]
    for source, files in ((description.NAME, described.files), (GOLDEN, golden.files)):
        if not names or set(files) != set(names):
            raise _refused(folder / source, "must name the model files of the package, and no others")
    if _part(folder, parts, LABELS).decode("utf-8", "replace") != "".join(f"{name}\n" for name in described.labels):
        raise _refused(folder / LABELS, f"must have the classes that {description.NAME} has")
    if golden.label >= len(described.labels):
        raise _refused(folder / GOLDEN, f"label must be below {len(described.labels)}, not {golden.label}")
    models = tuple(_model(folder, name, own, described, golden.files[name]) for name in described.files)
    first = described.files[models[0].file.path.name]
    channels = _channels(first)
    for name, one in described.files.items():
        if (one.preprocess.resize, one.preprocess.fit, _channels(one)) != (
            first.preprocess.resize,
            first.preprocess.fit,
            channels,
        ):
            raise _refused(folder / description.NAME, f"{name} must read the images that the other files read")
    size = Size(*first.preprocess.resize)
    pixels = _pixels(folder / golden.image, _part(folder, parts, golden.image), (channels, *size))
    return Package(folder, own, tuple(described.labels), size, first.preprocess.fit, pixels, golden.label, models)


def _refused(path: Path, rule: str) -> InputError:
    return InputError(f"{path}: {rule}", hint=_DAMAGED)


def _parts(folder: Path, own: Manifest) -> dict[str, bytes]:
    """All files but models, once every file is as the manifest says.

    Raises:
        InputError: one is not.
    """
    total = sum(one.bytes for one in own.files.values())
    if total > _LARGEST_PACKAGE:
        raise _refused(
            folder / manifest.NAME, f"files must have at most {_LARGEST_PACKAGE >> 30} GiB, not {total >> 30}"
        )
    found = {}
    for name, listed in own.files.items():
        is_model = Path(name).suffix in READERS
        if not is_model and listed.bytes > _LARGEST_PART:
            raise _refused(folder / name, f"must have at most {_LARGEST_PART >> 20} MiB, not {listed.bytes >> 20}")
        content = _checked(folder, name, listed, keep=not is_model)
        if not is_model:
            found[name] = content
    return found


def _checked(folder: Path, name: str, listed: Listed, *, keep: bool) -> bytes:
    """The content of a file where it is to be kept, once size and checksum are right."""
    path = folder / name
    try:
        if path.parent != folder and (path.parent.is_symlink() or not path.parent.is_dir()):
            raise _refused(path.parent, "must be a folder, not a link or anything else")
        if path.is_symlink():
            raise _refused(path, "must be a file, not a symbolic link")
        flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC")
        descriptor = os.open(path, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
        with os.fdopen(descriptor, "rb") as file:
            seen = os.fstat(descriptor)
            if not stat.S_ISREG(seen.st_mode):
                raise _refused(path, "must be a regular file")
            if seen.st_size != listed.bytes:
                raise _refused(path, f"must have {listed.bytes} bytes, as {manifest.NAME} says, not {seen.st_size}")
            content = file.read(listed.bytes) if keep else b""
            digest = hashlib.sha256(content) if keep else hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", hint=_DAMAGED) from error
    if digest.hexdigest() != listed.sha256:
        raise _refused(path, f"its SHA-256 is not the one that {manifest.NAME} says, so it was changed")
    return content


def _part(folder: Path, parts: dict[str, bytes], name: str) -> bytes:
    if name not in parts:
        raise _refused(folder / manifest.NAME, f"files must have {name}")
    return parts[name]


def _channels(one: _Described) -> int:
    shape = one.input.shape
    return shape[{"nchw": 1, "nhwc": 3}[one.preprocess.layout]] if len(shape) == 4 else 0


def _model(folder: Path, name: str, own: Manifest, whole: _Description, expected: _Expected) -> PackagedModel:
    """A model file that is as `model.json` and `golden.json` say.

    Raises:
        InputError: it is not.
    """
    path, said = folder / name, whole.files[name]
    if said.sha256 != own.files[name].sha256:
        raise _refused(folder / description.NAME, f"the checksum of {name} must be that of {manifest.NAME}")
    file = describe(path)
    if file.external:
        raise _refused(path, "must hold its weights itself, not in other files")
    if not file.pixels:
        raise _refused(path, f"must say that it reads pixels from 0 to 255{file.damage and f', but {file.damage}'}")
    for kind, there, told in (("input", file.inputs, said.input), ("output", file.outputs, said.output)):
        if [(one.name, one.dtype, one.shape) for one in there] != [(told.name, told.dtype, told.shape)]:
            raise _refused(path, f"must have one {kind}, the one that {description.NAME} says")
    preprocess, classes = said.preprocess, len(whole.labels)
    height, width = preprocess.resize
    channels = _channels(said)
    shape = (1, channels, height, width) if preprocess.layout == "nchw" else (1, height, width, channels)
    fits = channels == _CHANNELS.get(preprocess.color, channels) and said.input.dtype == preprocess.dtype
    if said.input.shape != shape or channels < 1 or not fits:
        raise _refused(folder / description.NAME, f"the input of {name} must be what its preprocess says")
    if said.output.shape != (1, classes) or classes < 1:
        raise _refused(path, f"must have an output of 1×{classes}, one number for each class")
    scores = np.array(expected.scores, np.float64)
    if scores.shape != (classes,):
        raise _refused(folder / GOLDEN, f"{name} must have {counted(classes, 'score')}, not {len(scores)}")
    largest = _LARGEST_TOLERANCE * max(1.0, float(np.abs(scores).max()))
    if expected.tolerance > largest:
        raise _refused(
            folder / GOLDEN, f"the tolerance of {name} must be at most {largest:g}, not {expected.tolerance:g}"
        )
    return PackagedModel(
        file, said.precision, preprocess.layout, preprocess.output, scores, expected.tolerance, own.tested.get(name)
    )


def _pixels(path: Path, content: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Of the golden image, (C, H, W); its header is compared before it is decoded.

    Raises:
        InputError: it is none of that shape.
    """
    channels, height, width = shape
    found: Any = None
    from hwnas.data.encoded import reason_of  # which loads torch
    from hwnas.data.image import UNREADABLE

    source = io.BytesIO(content)
    try:
        if path.suffix == ".npy":
            if len(content) <= channels * height * width + 4096:
                found = np.load(source, allow_pickle=False)[0]
        else:
            with Image.open(source, formats=["PNG"]) as image:
                if (image.width, image.height, image.mode) == (width, height, {1: "L", 3: "RGB"}.get(channels)):
                    rows = np.asarray(image)
                    found = rows[None] if channels == 1 else rows.transpose(2, 0, 1)
    except UNREADABLE as error:
        raise _refused(path, f"cannot be read: {reason_of(error, source)}") from error
    if found is None or found.shape != shape or found.dtype != np.uint8:
        raise _refused(path, f"must be an image of {channels} × {height} × {width} bytes")
    return np.ascontiguousarray(found)
