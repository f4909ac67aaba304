"""Values that had other names in earlier versions."""

from __future__ import annotations

from typing import Any

_EVALUATORS = {"supernet": "one-shot", "training": "from-scratch"}
_STRATEGIES = {"gaussian": "bayesian"}


def evaluator(value: Any) -> Any:
    """The evaluator by its name today."""
    return _EVALUATORS.get(value, value) if isinstance(value, str) else value


def strategy(value: Any) -> Any:
    """The strategy by its name today."""
    return _STRATEGIES.get(value, value) if isinstance(value, str) else value
