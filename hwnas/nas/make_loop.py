"""The loop of a search before its first step, and the samplers of its budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.metric_names import class_balanced
from hwnas.nas.constrained_relaxation import ConstrainedRelaxation
from hwnas.nas.feasible_set import FeasibleSet, proposable
from hwnas.nas.objective import ConstraintPenalty
from hwnas.nas.probe import fit_classifier
from hwnas.nas.reward import Rewarded
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.strategies.warm_start import warm_start
from hwnas.nas.supernet import Gate, Supernet, single_path
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.train.ranks import ALONE, Ranks


def make_samplers(
    strategy: Strategy,
    feasible: Sequence[FeasibleSet],
    reward: str,
    seed: int,
    sampler_state: Mapping[str, Any] | None = None,
    space: SearchSpace | None = None,
) -> list[Sampler]:
    """The sampler of each budget; none of a relaxation.

    With the absolute reward it may propose what is slower than the budget, which the reward then tells it.

    Args:
        learned: what each of them starts from.
        space: where it is given, they may know its networks.

    Raises:
        InputError: a feasible set is empty, or what was learned does not fit.
    """
    if strategy.sampler is None:
        return []
    filtered = reward == "filter"
    samplers = []
    for within in feasible:
        allowed = within if filtered else within.without_latency
        allowed.check()
        samplers.append(strategy.sampler(allowed if space is None else proposable(allowed, space), seed))
    if sampler_state is not None:
        for sampler in samplers:
            warm_start(sampler, dict(sampler_state))
    if filtered:
        return samplers
    return [Rewarded(sampler, within.latency) for sampler, within in zip(samplers, feasible, strict=True)]


def make_loop(
    space: SearchSpace,
    feasible: Sequence[FeasibleSet],
    strategy: Strategy,
    dataset: Dataset,
    settings: SearchSettings,
    *,
    seed: int,
    device: torch.device,
    reward: str = "filter",
    start: Start | None = None,
    ranks: Ranks = ALONE,
) -> SearchLoop:
    """The loop of a search within several feasible sets, before its first step.

    Raises:
        InputError: the architectures of the space cannot share weights.
    """
    if not space.shares_weights:
        raise InputError(
            f"the networks of {space.name} cannot share weights, as their layers read maps of different shapes",
            hint="--evaluator from-scratch, with a sampler such as --strategy metaqnn",
        )
    torch.manual_seed(seed)
    strategy = strategy.tuned(asdict(settings))
    constrained: list[ConstrainedRelaxation] = []
    if strategy.relaxation is not None:
        for within in feasible:
            relaxation = strategy.relaxation(space.options, device)
            draw_logits(relaxation.logits, settings.arch_init, seed)
            penalties = tuple(ConstraintPenalty(one, device) for one in within.constraints)
            constrained.append(ConstrainedRelaxation(relaxation, penalties))
    supernet = Supernet(space)
    if start is not None:
        start.apply(supernet, [one.relaxation.logits for one in constrained])
    paths = [partial(_feasible_path, within if reward == "filter" else within.without_latency) for within in feasible]
    if start is not None and start.weights and not start.settled:
        balanced = class_balanced(settings.metric)
        fit_classifier(supernet.to(device), dataset, paths[-1], seed=seed, balanced=balanced)
    return SearchLoop(
        supernet,
        dataset,
        settings,
        constrained=constrained,
        paths=paths,
        samplers=make_samplers(strategy, feasible, reward, seed, None if start is None else start.sampler_state, space),
        guides=strategy.guides,
        seed=seed,
        device=device,
        ranks=ranks,
    )


def draw_logits(logits: Tensor, deviation: float, seed: int) -> None:
    """Draw in place from a normal distribution with mean 0 and this standard deviation, alike for every budget."""
    if deviation:
        noise = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed)).to(logits.device)
        with torch.no_grad():
            logits.add_(deviation * noise)  # -inf stays, where there is no option


def following_loop(
    space: SearchSpace,
    strategy: Strategy,
    dataset: Dataset,
    settings: SearchSettings,
    *,
    budgets: int,
    seed: int,
    device: torch.device,
    ranks: Ranks,
) -> SearchLoop:
    """The loop of a rank that follows the first one, which alone knows constraints, samplers and what to start from."""
    make, decisions = strategy.tuned(asdict(settings)).relaxation, len(space.decisions)
    relaxations = [] if make is None else [make(space.options, device) for _ in range(budgets)]
    return SearchLoop(
        Supernet(space),
        dataset,
        settings,
        constrained=[ConstrainedRelaxation(one, ()) for one in relaxations],
        paths=[partial(_any_path, decisions)] * budgets,
        samplers=[_Follower(decisions)] * budgets if strategy.guides else (),
        guides=strategy.guides,
        seed=seed,
        device=device,
        ranks=ranks,
    )


class _Follower:
    """Stands for the sampler of the first rank, whose proposals take the place of its own."""

    def __init__(self, decisions: int) -> None:
        self._choices = (0,) * decisions

    def ask(self) -> tuple[int, ...]:
        return self._choices

    def tell(self, choices: Sequence[int], score: float) -> None:
        """Nothing is learned."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """There is nothing."""


def _any_path(decisions: int, generator: torch.Generator) -> list[Gate]:
    """In the place of a path of the first rank, with as much drawn from the generator."""
    _drawn_seed(generator)
    return single_path((0,) * decisions)


def _drawn_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=generator))


def _feasible_path(feasible: FeasibleSet, generator: torch.Generator) -> list[Gate]:
    return single_path(feasible.sample(np.random.default_rng(_drawn_seed(generator))))
