"""One search, from data and limits to ranked feasible architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset
from hwnas.progress import Progress
from hwnas.search.decode import Table, kept_scores
from hwnas.search.feasible import Additive, Feasible
from hwnas.search.judge import Judge, Scorer, SharedWeights
from hwnas.search.limits import Limits
from hwnas.search.loop import Budgeted, SearchLoop
from hwnas.search.objective import Hold
from hwnas.search.select import Scored, best, candidates
from hwnas.search.settings import SearchSettings
from hwnas.search.start import Start
from hwnas.search.strategies import Strategy
from hwnas.search.strategies.base import Sampler, log_probabilities
from hwnas.search.supernet import Gate, Supernet, single_path
from hwnas.train.timing import mean_step_s


@dataclass(frozen=True)
class Found:
    """What a search ends with.

    Attributes:
        best: the winner, with its score on the validation images.
        evaluated: all that were scored, in order.
        preferences: per decision and option, how good the search finds it; what repairs decode from.
        unbudgeted: choices without a latency budget, by the same rule: if they are slower than it, it binds.
        supernet: its shared weights, for the winner to inherit.
    """

    best: Scored
    evaluated: tuple[Scored, ...]
    preferences: Table
    unbudgeted: tuple[int, ...]
    supernet: Supernet


def search(
    space: SearchSpace,
    limits: Sequence[Limits],
    strategy: Strategy,
    dataset: Dataset,
    settings: SearchSettings,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    progress: Progress,
    log: Callable[[dict[str, Any]], None],
    scorer: Scorer | None = None,
    start: Start | None = None,
) -> tuple[Found, ...]:
    """Find the most accurate architecture of `space` within each of several limits, with one supernet.

    What was scored within a tighter budget is compared within a looser one as well, so a looser budget never ends with
    what the images find worse than what a tighter one had.

    Args:
        limits: one for each budget, the tightest first.
        scorer: scores the candidates in place of the supernet, which may then stay untrained.
        start: weights and α to begin with, in place of random ones.

    Raises:
        InputError: there is none.
        DivergedError: the loss is not a number.
    """
    loop = make_loop(space, limits, strategy, dataset, settings, seed=seed, device=device, start=start)
    if settings.all_epochs:
        loop.run(checkpoint=checkpoint, progress=progress, log=log)
    scorer = scorer or SharedWeights(loop.supernet, dataset, device)
    found: list[Found] = []
    for index, within in enumerate(limits):
        before = {one.architecture.choices: one for other in found for one in other.evaluated}
        kept = [one for choices, one in before.items() if all(limit.keeps(choices) for limit in within.all)]
        found.append(_judged(loop, index, within, Judge(scorer, progress, kept), seed))
    return tuple(found)


def _judged(loop: SearchLoop, index: int, limits: Limits, judge: Judge, seed: int) -> Found:
    """What the search found within one of its budgets."""
    space, count = loop.supernet.space, loop.settings.candidates
    if loop.budgeted:
        preferences: Table = kept_scores(log_probabilities(loop.unbudgeted), space.groups)
        held = kept_scores(log_probabilities(loop.budgeted[index].relaxation.logits), space.groups)
        judge.score(_alternate(preferences, held, limits, count, seed), count)
        winner = judge.spend(preferences, limits)
    else:
        sampler = loop.samplers[index]
        judge.score(_asked(sampler), count, sampler)
        preferences = _marginals(space, judge.scored)
        winner = best(judge.scored, limits.latency)
    unbudgeted = judge.unbudgeted(winner, preferences, limits).architecture.choices
    return Found(winner, judge.scored, preferences, unbudgeted, loop.supernet)


def make_loop(
    space: SearchSpace,
    limits: Sequence[Limits],
    strategy: Strategy,
    dataset: Dataset,
    settings: SearchSettings,
    *,
    seed: int,
    device: torch.device,
    start: Start | None = None,
) -> SearchLoop:
    """The loop of a search within several limits, before its first step."""
    torch.manual_seed(seed)
    feasible = [Additive(within) for within in limits]
    budgeted: list[Budgeted] = []
    if strategy.relaxation is not None:
        for within in limits:
            relaxation = strategy.relaxation(space.options, device)
            budgeted.append(Budgeted(relaxation, tuple(Hold(limit, device) for limit in within.all)))
    supernet = Supernet(space)
    if start is not None:
        start.apply(supernet, [one.relaxation.logits for one in budgeted])
    return SearchLoop(
        supernet,
        dataset,
        settings,
        budgeted=budgeted,
        paths=[partial(_feasible_path, one) for one in feasible],
        samplers=[] if strategy.sampler is None else [strategy.sampler(one, seed) for one in feasible],
        guides=strategy.guides,
        seed=seed,
        device=device,
    )


def seconds_an_epoch(loop: SearchLoop) -> tuple[float, float]:
    """Seconds of an epoch of warm-up, and of one in which the strategy learns, from a few steps; spoils the loop."""
    warm_s = mean_step_s(loop.epoch(0))
    first = loop.settings.warmup_epochs
    if loop.guides:
        told_s = mean_step_s(loop.guidance(first)) * len(loop.samplers) / loop.settings.arch_every
        return warm_s * loop.steps, (warm_s + told_s) * loop.steps
    if not loop.budgeted:
        return warm_s * loop.steps, warm_s * loop.steps
    return warm_s * loop.steps, mean_step_s(loop.epoch(first)) * loop.steps


def _feasible_path(feasible: Feasible, generator: torch.Generator) -> list[Gate]:
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return single_path(feasible.sample(np.random.default_rng(seed)))


def _alternate(images: Table, held: Table, limits: Limits, count: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Candidates by what the images prefer, and by what they prefer once the budget has pressed, in turn."""
    costs, budget = limits.latency.costs, limits.latency.budget
    streams = [
        candidates(table, costs, budget, limits.second, limits.groups, count=count, seed=seed + k)
        for k, table in enumerate((images, held))
    ]
    while streams:
        for stream in tuple(streams):
            try:
                yield next(stream)
            except StopIteration:
                streams.remove(stream)


def _asked(sampler: Sampler) -> Iterator[tuple[int, ...]]:
    while True:
        yield sampler.ask()


def _marginals(space: SearchSpace, evaluated: Sequence[Scored]) -> Table:
    """Preferences of a sampler: per option, how much lower the loss was with it than on the mean."""
    mean = float(np.mean([one.loss for one in evaluated]))
    table = [[0.0] * len(decision.options) for decision in space.decisions]
    for decision, row in enumerate(table):
        for option in range(len(row)):
            losses = [one.loss for one in evaluated if one.architecture.choices[decision] == option]
            row[option] = (mean - float(np.mean(losses))) if losses else 0.0
    return table
