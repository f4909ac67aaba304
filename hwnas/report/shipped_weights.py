"""What a result says of the weights that its networks ship: those that a training ended with, or began with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHIPPED = {"trained": "ended with", "start": "began with, which validate better"}


def shipped(result: Mapping[str, Any]) -> list[str]:
    """`trained` or `start` for the network found and, where there is one, the random network.

    Empty where nothing was trained; results of earlier versions do not tell, and what is damaged says nothing.
    """
    rival = result.get("baseline_random")
    found = [one.get("weights") for one in (result, rival) if isinstance(one, Mapping)]
    told = [one for one in found if isinstance(one, str) and one in _SHIPPED]
    return told if result.get("trained") is True and len(told) == len(found) else []


def weights_text(result: Mapping[str, Any]) -> str:
    """Which weights the networks ship, in a sentence without a full stop; empty where that is not told."""
    told = shipped(result)
    if not told:
        return ""
    if len(told) == 2 and told[0] == told[1]:
        return f"Both networks ship the weights that their trainings {_SHIPPED[told[0]]}"
    own = f"The network found ships the weights that its training {_SHIPPED[told[0]]}"
    return own if len(told) == 1 else f"{own}; the random one those that its training {_SHIPPED[told[1]]}"
