"""What an earlier search learned, as an initialisation: its checkpoint has weights and α, a file beside it the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.data import Normalisation
from hwnas.errors import InputError
from hwnas.files import write_text
from hwnas.meta.initialisation import Initialisation
from hwnas.nas.strategies import ALIASES
from hwnas.schema import checked, read_json_as
from hwnas.train import checkpoint as store

_SUPERNET, _ALPHA = "supernet.", "alpha."


@dataclass(frozen=True)
class _Info:
    """Of what a checkpoint says: the space and, but for earlier versions, mean and deviation of the images."""

    space: Origin
    normalisation: Normalisation | None = None


@dataclass(frozen=True)
class _Samplers:
    """What `write_sampler_state` writes."""

    space: Origin
    reward: str
    strategies: dict[str, dict[str, Any]]


def from_search(checkpoint: Path) -> Initialisation:
    """Shared weights and α from the checkpoint of a search, finished or not.

    Of its α it is the one that no budget has pressed: the next device has another budget.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of an earlier version.
    """
    if not checkpoint.is_file():
        raise InputError(
            f"a search can start from an earlier one only where that kept its weights, but there is no {checkpoint}",
            hint="give the folder of a run whose candidates were scored with a supernet, or a file of hwnas meta-train",
        )
    tensors, info = store.load(checkpoint, hint="search again, or give another folder")
    hint = "it is of an earlier hwnas: search again"
    kept = checked(info, _Info, checkpoint, hint=hint, largest_integer=store.LARGEST_INTEGER)
    try:
        alphas = sorted((int(name.removeprefix(_ALPHA)), name) for name in tensors if name.startswith(_ALPHA))
    except ValueError as error:
        raise InputError(f"{checkpoint}: the tensors of α must have numbers: {error}", hint=hint) from error
    weights = {name.removeprefix(_SUPERNET): value for name, value in tensors.items() if name.startswith(_SUPERNET)}
    alpha = tensors[alphas[-1][1]] if alphas else None
    if alpha is not None:
        alpha = torch.where(torch.isfinite(alpha), alpha, 0.0)
    return Initialisation(kept.space, weights, alpha, normalisation=kept.normalisation)


def write_sampler_state(
    path: Path, space: SearchSpace, strategy: str, reward: str, sampler_state: Mapping[str, Any]
) -> None:
    """Keep what the sampler of a search learned, for a later one to start from; equal contents give equal bytes.

    Args:
        reward: what the sampler was told, one of `hwnas.nas.reward.REWARDS`.

    Raises:
        StorageError: the file cannot be written.
    """
    content = {"space": asdict(Origin.of(space)), "reward": reward, "strategies": {strategy: sampler_state}}
    write_text(path, json.dumps(content, allow_nan=False) + "\n")


def from_samplers(path: Path) -> Initialisation:
    """The initialisation that `write_sampler_state` kept: no weights, and no α.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise InputError(
            f"a sampler can start from an earlier search only where that ended and kept what its sampler learned, but "
            f"there is no {path}",
            hint="give the folder of a finished run with --strategy enas, metaqnn or bayesian",
        )
    kept = read_json_as(path, _Samplers, hint="search again, or give another folder")
    strategies = {ALIASES.get(name, name): state for name, state in kept.strategies.items()}
    return Initialisation(kept.space, {}, None, strategies, {"reward": kept.reward})
