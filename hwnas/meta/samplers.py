"""Whether what a sampler learned fits the search that is to start from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.meta.initialisation import Initialisation
from hwnas.nas.choice_set import Unconstrained
from hwnas.nas.strategies import Strategy
from hwnas.nas.strategies.base import WarmStartable
from hwnas.nas.strategies.warm_start import warm_start

_MALFORMED = (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError)


def sampler_start(
    space: SearchSpace, init: Initialisation, strategy: Strategy, reward: str
) -> tuple[Mapping[str, Any] | None, str]:
    """What the samplers of a search of `space` start from, and what is said of it.

    A sampler knows decisions and options by their numbers. So it is reused only where all of them have the same names,
    and where it was told the same reward: the absolute one speaks of the budget that it was learned with.

    Returns:
        None and an empty text for a relaxation; what was learned and `reused`; or None and why it is not.
    """
    if strategy.sampler is None:
        return None, ""
    sampler_state = init.strategies.get(strategy.name)
    sampler = strategy.sampler(Unconstrained(space.options), 0)
    told = init.method.get("reward", reward)
    why = ""
    if not isinstance(sampler, WarmStartable):
        why = f"{strategy.name} carries nothing over"
    elif sampler_state is None:
        known = ", ".join(init.strategies)
        why = f"what was learned is of {known}, not of {strategy.name}" if known else "no sampler learned there"
    elif told != reward:
        why = f"it was told the reward {told}, not {reward}"
    elif Origin.of(space).decisions != init.origin.decisions:
        why = f"it was learned in {init.origin.space} with other options"
    else:
        try:
            warm_start(sampler, dict(sampler_state))
        except InputError as error:
            why = str(error)
        except _MALFORMED as error:
            why = f"what was learned is damaged: {error}"
    return (None, f"not reused: {why}") if why else (sampler_state, "reused")
