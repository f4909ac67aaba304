"""What was learned, as one file: where the weights, α and the strategies of a next search begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from hwnas.arch.origin import Origin
from hwnas.data import Normalisation
from hwnas.errors import InputError
from hwnas.nas.strategies import ALIASES
from hwnas.schema import Rule, checked
from hwnas.train import checkpoint as store

VERSION = 1
_WEIGHTS, _ALPHA = "weights.", "alpha"
_HINT = "give a file that hwnas meta-train wrote, or the folder of a finished run"


@dataclass(frozen=True)
class Initialisation:
    """Where a search begins.

    Attributes:
        origin: the instance of the space that it was learned on.
        weights: of the supernet, by the names of its state.
        alpha: (decisions, most options) logits, finite, 0 where there is no option; None if none were learned.
        strategies: what samplers learned, by the names of their strategies: JSON objects that only these understand.
        method: how it was learned: the method and its settings.
        tasks: what it was learned on: images, classes, those held out.
        devices: whose costs the tasks had, as DEVICE/CONDITION.
        metrics: how well it adapts.
        normalisation: of the images that the weights were trained on; None where nobody noted it.
    """

    origin: Origin
    weights: Mapping[str, Tensor]
    alpha: Tensor | None = None
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    normalisation: Normalisation | None = None

    def save(self, path: Path) -> None:
        """Write one safetensors file with all else as JSON in its header; equal contents give equal bytes.

        Raises:
            StorageError: the file cannot be written.
        """
        tensors = {f"{_WEIGHTS}{name}": value for name, value in self.weights.items()}
        tensors |= {} if self.alpha is None else {_ALPHA: self.alpha}
        info = {
            "version": VERSION,
            "space": asdict(self.origin),
            "strategies": self.strategies,
            "method": self.method,
            "tasks": self.tasks,
            "devices": list(self.devices),
            "metrics": self.metrics,
        }
        info |= {} if self.normalisation is None else {"normalisation": asdict(self.normalisation)}
        store.save(path, tensors, info)


@dataclass(frozen=True)
class _Info:
    """What the header of the file says; see `Initialisation`."""

    version: Annotated[int, Rule(f"{VERSION}, the version of an initialisation", lambda version: version == VERSION)]
    space: Origin
    strategies: dict[str, dict[str, Any]]
    method: dict[str, Any]
    tasks: dict[str, Any]
    devices: tuple[str, ...]
    metrics: dict[str, Any]
    normalisation: Normalisation | None = None


def load_initialisation(path: Path, *, hint: str = _HINT) -> Initialisation:
    """Read what `Initialisation.save` wrote.

    Args:
        hint: what to do about a file that is damaged or none of this kind.

    Raises:
        InputError: the file cannot be read, is damaged, of a later version, or no initialisation.
    """
    tensors, info = store.load(path, hint=hint)
    version = info.get("version")
    if type(version) is int and version > VERSION:
        raise InputError(
            f"{path} is an initialisation of version {version}, and this hwnas knows up to {VERSION}",
            hint="use a newer hwnas",
        )
    kept = checked(info, _Info, path, extra="forbid", hint=hint, largest_integer=store.LARGEST_INTEGER)
    alpha = tensors.pop(_ALPHA, None)
    try:
        _check_tensors(kept.space, tensors, alpha)
    except ValueError as error:
        raise InputError(f"{path} is not an initialisation: {error}", hint=hint) from error
    weights = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items()}
    strategies = {ALIASES.get(name, name): state for name, state in kept.strategies.items()}
    return Initialisation(
        kept.space,
        weights,
        alpha,
        strategies,
        kept.method,
        kept.tasks,
        kept.devices,
        kept.metrics,
        kept.normalisation,
    )


def _check_tensors(origin: Origin, tensors: Mapping[str, Tensor], alpha: Tensor | None) -> None:
    strange = next((name for name in tensors if not name.startswith(_WEIGHTS)), None)
    if strange is not None:
        raise ValueError(f"it holds a tensor {strange!r}, which is neither a weight nor alpha")
    for name, value in (tensors if alpha is None else {**tensors, _ALPHA: alpha}).items():
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} must be finite numbers")
    expected = (len(origin.decisions), max((len(options) for _, options in origin.decisions), default=0))
    if alpha is not None and tuple(alpha.shape) != expected:
        raise ValueError(f"alpha must have shape {expected}, but it has {tuple(alpha.shape)}")
