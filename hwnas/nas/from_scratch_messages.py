"""What `hwnas.nas.from_scratch` asks of trainings, and what they give, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwnas.data.saved import ImageFacts
from hwnas.metric_names import Metric
from hwnas.train import Recipe


@dataclass(frozen=True)
class Shared:
    """What all trainings share."""

    recipe: Recipe
    threads: int
    device: str
    dataset: ImageFacts
    metric: Metric = "accuracy"


@dataclass(frozen=True)
class Job:
    """One training: a network as `Network.to_json` gives it, and the seed of all chance."""

    network: list[dict[str, Any]]
    seed: int


@dataclass(frozen=True)
class Score:
    """How well a network does after its training, as `hwnas.nas.select.Scored`."""

    accuracy: float
    losses: list[float]
    score: float | None = None
    """None in files of earlier versions, whose score was the accuracy."""
