"""What `--metric` may be, by name."""

from __future__ import annotations

from typing import Literal, get_args

Metric = Literal["accuracy", "balanced", "macro-f1"]
METRICS: tuple[Metric, ...] = get_args(Metric)
NAMES: dict[str, str] = {"accuracy": "accuracy", "balanced": "balanced accuracy", "macro-f1": "macro F1"}
"""As texts call them."""


def class_balanced(metric: str) -> bool:
    """Whether a metric counts every class the same, rather than every image (docs/decisions/0047)."""
    return metric != "accuracy"
