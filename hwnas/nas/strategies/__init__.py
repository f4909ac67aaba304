"""Search strategies by name: one file each, two interfaces; and those of plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from hwnas.errors import InputError
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies.base import Relaxation, Sampler
from hwnas.nas.strategies.bayesian import BayesianOptimization
from hwnas.nas.strategies.darts import DARTS
from hwnas.nas.strategies.darts2 import SecondOrderDARTS
from hwnas.nas.strategies.enas import ENAS
from hwnas.nas.strategies.evolution import Evolution
from hwnas.nas.strategies.gdas import GDAS
from hwnas.nas.strategies.gumbel import Gumbel
from hwnas.nas.strategies.metaqnn import MetaQNN
from hwnas.nas.strategies.proxyless import Proxyless
from hwnas.nas.strategies.random import Random
from hwnas.nas.strategies.single_level import SingleLevel
from hwnas.nas.strategies.snas import SNAS
from hwnas.near_names import did_you_mean
from hwnas.plugins import plugins

ALIASES = {"gaussian": "bayesian"}
"""Names of earlier versions."""


@dataclass(frozen=True)
class Strategy:
    """How to make a strategy; exactly one of the two makers is set.

    Attributes:
        summary: one line for people.
        cost: what a search with it computes, in one line.
        relaxation: from the number of options per decision and the device of the logits.
        sampler: from what may be proposed and a seed.
        guides: of a sampler, whether its proposals are what the shared weights are trained on, while it is told the
            accuracies of small batches; else the weights see uniform paths, and it begins when they are done.
        replaces: of a relaxation, whether its α begins as the scores of options in the place of a parent's blocks, and
            no epochs follow unless they are asked for.
        mixes: of a relaxation, whether every step computes all options, each with a weight.
        tunes: settings of a search that the maker takes, each with the name of its keyword.
    """

    name: str
    summary: str
    cost: str = ""
    relaxation: Callable[[Sequence[int], torch.device], Relaxation] | None = None
    sampler: Callable[[ChoiceSet, int], Sampler] | None = None
    guides: bool = False
    replaces: bool = False
    mixes: bool = False
    tunes: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if (self.relaxation is None) == (self.sampler is None):
            raise InputError(f"the strategy {self.name!r} must have a relaxation or a sampler, and not both")
        if self.guides and self.sampler is None:
            raise InputError(f"the strategy {self.name!r} guides the weights, so it must have a sampler")

    @property
    def guards(self) -> tuple[str, ...]:
        """Guards that make sense with it."""
        if self.relaxation is None or self.replaces:
            return ("none",)
        return ("none", "beta-decay", "early-stop", *(("auxiliary-skip",) if self.mixes else ()))

    def tuned(self, settings: Mapping[str, Any]) -> Strategy:
        """The same with what it takes of the settings of a search; those that are None stay its own."""
        given = {word: value for name, word in self.tunes.items() if (value := settings.get(name)) is not None}
        if not given:
            return self
        relaxation = self.relaxation and partial(self.relaxation, **given)
        return replace(self, relaxation=relaxation, sampler=self.sampler and partial(self.sampler, **given))


_ALL_OPTIONS = "all options in every step: several times slower, with several times the memory"
_AFTER_UNIFORM_PATHS = "one path a weight step, uniform; then several times as many candidates as a relaxation scores"
_TEMPERATURES = {"temperature": "start", "temperature_end": "end"}
_STRATEGIES = (
    Strategy(
        "gumbel",
        "hard Gumbel relaxation, one path a weight step and two an architecture step; the default",
        "one path a weight step, two an architecture step",
        relaxation=lambda options, device, **more: Gumbel(options, hard=True, device=device, **more),
        tunes=_TEMPERATURES,
    ),
    Strategy(
        "gumbel-soft",
        "soft Gumbel relaxation as in FBNet; computes every option in every step: several times slower",
        _ALL_OPTIONS,
        relaxation=lambda options, device, **more: Gumbel(options, hard=False, device=device, **more),
        mixes=True,
        tunes=_TEMPERATURES,
    ),
    Strategy(
        "snas",
        "SNAS: as gumbel-soft, but weights and α take one step together, on the train images",
        "all options in every step, but one pass where α is stepped as well",
        relaxation=SNAS,
        mixes=True,
        tunes=_TEMPERATURES,
    ),
    Strategy(
        "darts",
        "DARTS, first order: every option counts with its softmax, and α is trained on the validation images",
        _ALL_OPTIONS,
        relaxation=DARTS,
        mixes=True,
    ),
    Strategy(
        "darts2",
        "DARTS, second order: α is judged at the weights after the step that it causes",
        "all options in every step, with four passes an architecture step: the slowest",
        relaxation=SecondOrderDARTS,
        mixes=True,
    ),
    Strategy(
        "single_level",
        "as darts, with one objective for weights and α: the losses on train and validation images, together",
        "all options in every step, but two passes and no more where α is stepped",
        relaxation=SingleLevel,
        mixes=True,
    ),
    Strategy(
        "gdas",
        "GDAS: hard Gumbel relaxation, straight through; one path in every step",
        "one path a weight step, one an architecture step",
        relaxation=GDAS,
        tunes=_TEMPERATURES,
    ),
    Strategy(
        "proxyless",
        "ProxylessNAS by gradient: two sampled paths compete in a step on α, and only their logits move",
        "one path a weight step, two an architecture step",
        relaxation=Proxyless,
    ),
    Strategy(
        "random",
        "uniform feasible architectures scored with shared weights; the baseline",
        _AFTER_UNIFORM_PATHS,
        sampler=Random,
    ),
    Strategy(
        "evolution",
        "regularised evolution: mutates the best of a few, forgets the oldest; strong from about 30 candidates on",
        _AFTER_UNIFORM_PATHS,
        sampler=Evolution,
    ),
    Strategy(
        "enas",
        "an LSTM controller learns by REINFORCE which paths to draw, and the shared weights, if any, see these",
        "one path a weight step, and a forward pass in place of each architecture step of a relaxation",
        sampler=ENAS,
        guides=True,
        tunes={"entropy_weight": "entropy_weight", "controller_lr": "lr", "controller_batch": "batch"},
    ),
    Strategy(
        "metaqnn",
        "tabular Q-learning over the sequence of decisions; explores for half of its first 50; the default for chains",
        _AFTER_UNIFORM_PATHS,
        sampler=MetaQNN,
        tunes={"q_rate": "rate", "q_models": "models"},
    ),
    Strategy(
        "bayesian",
        "Bayesian optimisation with a Gaussian process over the choices: the most from few candidates",
        _AFTER_UNIFORM_PATHS,
        sampler=BayesianOptimization,
    ),
    Strategy(
        "replace",
        "LANA, from a parent: what each option alone costs in its place is added up; the default from a parent",
        "no training of a supernet: a pass or a few in which every option learns to do what the parent's block does",
        relaxation=lambda options, device: Gumbel(options, hard=True, device=device),
        replaces=True,
    ),
)


def strategies() -> tuple[Strategy, ...]:
    """All strategies, the default first and those of plug-ins last.

    Raises:
        InputError: a plug-in cannot be loaded, adds something else, or a strategy whose name is taken.
    """
    known = {entry.name: entry for entry in _STRATEGIES}
    for plugin in plugins():
        hint = "repair the package, or uninstall it"
        for thing in plugin.things:
            if not isinstance(thing, Strategy):
                raise InputError(f"the plug-in {plugin.name} must add strategies, but adds {thing!r}", hint=hint)
            if thing.name in known:
                raise InputError(
                    f"the plug-in {plugin.name} adds a strategy {thing.name!r}: that name is taken", hint=hint
                )
            known[thing.name] = thing
    return tuple(known.values())


def strategy(name: str) -> Strategy:
    """The strategy called `name`, or called so in an earlier version.

    Raises:
        InputError: there is none, or a plug-in is broken.
    """
    known = {entry.name: entry for entry in strategies()}
    if (current := ALIASES.get(name, name)) in known:
        return known[current]
    raise InputError(
        f"unknown search strategy {name!r}", hint=f"{did_you_mean(name, known)}known strategies: {', '.join(known)}"
    )


def plugin_of(chosen: Strategy) -> str:
    """The plug-in that adds a strategy; empty for those of hwnas itself."""
    return next((plugin.name for plugin in plugins() if any(thing is chosen for thing in plugin.things)), "")
