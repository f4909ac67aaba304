"""Search strategies by name: one file each, two interfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from hwnas.errors import InputError
from hwnas.search.feasible import Feasible
from hwnas.search.strategies.base import Relaxation, Sampler
from hwnas.search.strategies.gaussian import Gaussian
from hwnas.search.strategies.gumbel import Gumbel
from hwnas.search.strategies.random import Random


@dataclass(frozen=True)
class Strategy:
    """How to make a strategy; exactly one of the two makers is set.

    Attributes:
        summary: one line for people.
        relaxation: from the number of options per decision and the device of the logits.
        sampler: from what may be proposed and a seed.
    """

    name: str
    summary: str
    relaxation: Callable[[Sequence[int], torch.device], Relaxation] | None = None
    sampler: Callable[[Feasible, int], Sampler] | None = None


_STRATEGIES = (
    Strategy(
        "gumbel",
        "hard Gumbel relaxation, one path a weight step and two an architecture step; the default",
        relaxation=lambda options, device: Gumbel(options, hard=True, device=device),
    ),
    Strategy(
        "gumbel-soft",
        "soft Gumbel relaxation as in SNAS and FBNet; computes every option in every step: several times slower",
        relaxation=lambda options, device: Gumbel(options, hard=False, device=device),
    ),
    Strategy(
        "random",
        "uniform feasible architectures scored with shared weights; the baseline",
        sampler=Random,
    ),
    Strategy(
        "gaussian",
        "Bayesian optimisation with a Gaussian process over the choices: the most from few scores",
        sampler=Gaussian,
    ),
)


def strategies() -> tuple[Strategy, ...]:
    """All strategies, the default first."""
    return _STRATEGIES


def strategy(name: str) -> Strategy:
    """The strategy called `name`.

    Raises:
        InputError: there is none.
    """
    for entry in _STRATEGIES:
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in _STRATEGIES)
    raise InputError(f"unknown search strategy {name!r}", hint=f"known strategies: {known}")
