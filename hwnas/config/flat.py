"""The flat `config.toml` of runs from before there were sections. This list grows no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.errors import InputError

PLACES = {
    "budget": "target.budget",
    "device": "target.device",
    "runtime": "target.runtime",
    "precision": "target.precision",
    "data": "data.source",
    "space": "space.name",
    "width": "space.width",
    "depth": "space.depth",
    "resolution": "space.resolution",
    "strategy": "search.strategy",
    "seed": "compute.seed",
    "threads": "compute.threads",
    "accelerator": "compute.accelerator",
    "mixed_precision": "compute.mixed_precision",
    "max_size_kb": "target.max_size_kb",
    "max_peak_kb": "target.max_peak_kb",
    "train": "train.enabled",
    "epochs": "train.epochs",
    "recipe": "train.recipe",
    "minutes": "train.minutes",
    "baseline": "train.baseline",
    "max_drop": "target.max_drop",
    "scores": "search.evaluator",
    "score_epochs": "search.evaluator_epochs",
    "reward": "search.reward",
    "init": "search.init",
    "init_sha256": "search.init_sha256",
    "search_share": "search.share",
}
_NEWER = {  # runs of some earlier versions lack these; where a value is given, it is not today's default
    "runtime": None,
    "precision": None,
    "max_drop": None,
    "scores": "one-shot",
    "score_epochs": None,
    "reward": None,
    "recipe": "default",
    "init": "",
    "init_sha256": None,
    "search_share": None,
    "mixed_precision": None,
}


def is_flat(content: Mapping[str, Any]) -> bool:
    """Whether a configuration is of the flat form: every run wrote its device, and none has sections."""
    return "device" in content and not any(isinstance(value, dict) for value in content.values())


def from_flat(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same by section.

    Raises:
        InputError: a name is unknown, or one that every version wrote is missing.
    """
    wrong = sorted((content.keys() - PLACES.keys()) | (PLACES.keys() - _NEWER.keys() - content.keys()))
    if wrong:
        raise InputError(f"this is not the configuration of a run: look at {', '.join(wrong)}")
    sections: dict[str, dict[str, Any]] = {}
    for name, value in ({key: old for key, old in _NEWER.items() if old is not None} | dict(content)).items():
        section, _, option = PLACES[name].partition(".")
        sections.setdefault(section, {})[option] = value
    return sections
