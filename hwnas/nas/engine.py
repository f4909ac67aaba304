"""One search, from data and constraints to ranked feasible architectures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.arch.space import Architecture, SearchSpace
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.nas.comparison import Comparison, Evaluator, MostScores, OneShotEvaluator
from hwnas.nas.decode import OptionTable, kept_scores
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.inherited import inherit
from hwnas.nas.kept_scores import KeptScores
from hwnas.nas.make_loop import make_loop, make_samplers
from hwnas.nas.reward import bare
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import Scored, best, candidates, images_scored
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy
from hwnas.nas.strategies.base import Sampler, log_probabilities
from hwnas.nas.strategies.warm_start import exported_state
from hwnas.nas.supernet import Supernet
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.progress import Progress
from hwnas.train.ranks import ALONE, Ranks


@dataclass(frozen=True)
class SearchOutcome:
    """What a search ends with.

    Attributes:
        best: the winner, with its score on the validation images; not a number where nothing was scored.
        evaluated: all that were scored, in order.
        preferences: per decision and option, how good the search finds it; what repairs decode from.
        unbudgeted: choices without a latency budget, by the same rule: if they are slower than it, it binds.
        supernet: its shared weights, for the winner to inherit; None where each was trained for itself.
        sampler_state: what the sampler learned, for another search to start from; None where that is nothing.
        told_apart: whether the accuracies of what was scored differ by more than the error of the validation images.
        sampled: whether a sampler proposed it, whose preferences are means over few scores.
    """

    best: Scored
    evaluated: tuple[Scored, ...]
    preferences: OptionTable
    unbudgeted: tuple[int, ...]
    supernet: Supernet | None = None
    sampler_state: Mapping[str, Any] | None = None
    told_apart: bool = True
    sampled: bool = False

    def within(self, feasible: FeasibleSet) -> tuple[int, ...] | None:
        """The choices for other constraints: of a sampler the best that it scored, else what is preferred, decoded.

        None where nothing keeps the constraints.
        """
        known = self.evaluated if self.sampled else ()
        if kept := [one for one in known if feasible.keeps(one.architecture.choices)]:
            return best(kept, feasible.latency).architecture.choices
        return feasible.decode(self.preferences)


def search(
    space: SearchSpace,
    feasible: Sequence[FeasibleSet],
    strategy: Strategy,
    dataset: Dataset,
    settings: SearchSettings,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    progress: Progress,
    log: Callable[[dict[str, Any]], None],
    evaluator: Evaluator | None = None,
    reward: str = "filter",
    start: Start | None = None,
    most_scores: MostScores | None = None,
    scored: Path | None = None,
    devices: Sequence[int] = (),
    inherited: Path | None = None,
    told: Sequence[Progress] = (),
    ranks: Ranks = ALONE,
) -> tuple[SearchOutcome, ...]:
    """Find the most accurate architecture of `space` within each of several feasible sets, with one supernet.

    What was scored within a tighter budget is compared within a looser one as well, so a looser budget never ends with
    what the images find worse than what a tighter one had. Budgets on different devices are compared with all that was
    scored for the others.

    A search whose weights are `inherited` trains none: they are those that a search for other budgets ended with, and
    what was scored for those is compared as well.

    With settings of no epochs, nothing is trained for a relaxation: its α is that of `start`. Unless it is of scores of
    replacements, nothing is scored either, and the winner is what α prefers within the constraints. With settings of no
    candidates, nothing is scored, and the first candidate of `start` is taken, if there is one.

    Args:
        feasible: one for each budget, the tightest first.
        scorer: scores what a sampler proposes in place of a supernet, and there is none.
        reward: what a sampler is told; one of `hwnas.nas.reward.REWARDS`.
        start: weights and α to begin with, in place of random ones, and what samplers begin with.
        most_scores: where time is limited, how many may be scored for each budget; see `Comparison`.
        scored: file that keeps scores with the weights of the supernet, for a search that is interrupted.
        devices: a number for each budget, alike for budgets on the same device; empty where there is one device.
        inherited: where weights are inherited from `checkpoint`, the file that notes which scores were.
        told: for each budget, where its comparison of candidates is reported; empty for `progress`.
        ranks: that train the supernet together, of which this is the first.

    Raises:
        InputError: a feasible set is empty, the networks of the space cannot share weights, or the
            strategy is a relaxation, which needs shared weights, and scores come from elsewhere.
        DivergedError: the loss is not a number.
    """
    loop, known, strategy = None, list[Scored](), strategy.tuned(asdict(settings))
    if evaluator is None:
        loop = make_loop(
            space,
            feasible,
            strategy,
            dataset,
            settings,
            seed=seed,
            device=device,
            reward=reward,
            start=start,
            ranks=ranks,
        )
        if settings.all_epochs and inherited is not None:
            inherit(loop, checkpoint)
        elif settings.all_epochs:
            loop.run(checkpoint=checkpoint, progress=progress, log=log)
        shared = OneShotEvaluator(loop.supernet, dataset, device, settings.metric, settings.score_images)
        evaluator = kept = shared if scored is None else KeptScores(shared, scored)
        known = kept.noted(inherited) if inherited is not None and isinstance(kept, KeptScores) else known
    sampler_state = None if start is None else start.sampler_state
    samplers = (
        tuple(make_samplers(strategy, feasible, reward, seed, sampler_state, space)) if loop is None else loop.samplers
    )
    if loop is None and not samplers:
        raise InputError(f"{strategy.name} is trained with shared weights, so it cannot be told other scores")
    found: list[SearchOutcome] = []
    for index, (within, own) in enumerate(zip(feasible, told or [progress] * len(feasible), strict=True)):
        first = () if start is None else tuple(filter(within.keeps, start.candidates))
        if loop is not None and not ((settings.all_epochs or strategy.replaces) and settings.candidates):
            found.append(_preferred(loop, within, first) if loop.constrained else _proposed(loop, index, within, seed))
            continue
        earlier = (one for other in found for one in other.evaluated)
        before = {one.architecture.choices: one for one in itertools.chain(known, earlier)}
        comparison = Comparison(
            evaluator,
            own,
            [one for one in before.values() if within.keeps(one.architecture.choices)],
            settings.metric,
            images=images_scored(len(dataset.val), len(dataset.classes), settings.score_images),
            most=most_scores,
        )
        if samplers:
            winner, preferences = _sampled(samplers[index], space, settings.candidates, within, comparison)
        else:
            assert loop is not None
            winner, preferences = _decoded(loop, index, within, comparison, seed, first)
        unbudgeted = comparison.unbudgeted(winner, preferences, within).architecture.choices
        supernet = None if loop is None else loop.supernet
        knows = exported_state(bare(samplers[index])) if samplers else None
        if not comparison.told_apart:
            own.say(comparison.verdict())
        found.append(
            SearchOutcome(
                winner,
                comparison.scored,
                preferences,
                unbudgeted,
                supernet,
                knows,
                comparison.told_apart,
                sampled=bool(samplers),
            )
        )
    return _shared(found, feasible, devices)


def _shared(
    found: Sequence[SearchOutcome], feasible: Sequence[FeasibleSet], devices: Sequence[int]
) -> tuple[SearchOutcome, ...]:
    """Each outcome with what was scored for budgets on other devices after it, which that has not been compared with.

    Budgets on one device come from the tightest to the loosest, so that what comes later is compared with these alone.
    """
    if len(set(devices)) < 2:
        return tuple(found)
    shared = []
    for index, (outcome, within) in enumerate(zip(found, feasible, strict=True)):
        known = {one.architecture.choices: one for one in outcome.evaluated}
        for other, device in zip(found[index + 1 :], devices[index + 1 :], strict=True):
            for one in other.evaluated if device != devices[index] else ():
                if within.keeps(one.architecture.choices):
                    known.setdefault(one.architecture.choices, one)
        if len(known) > len(outcome.evaluated):
            kept = [one for one in known.values() if within.keeps(one.architecture.choices)]
            outcome = replace(outcome, best=best(kept, within.latency), evaluated=tuple(known.values()))
        shared.append(outcome)
    return tuple(shared)


def _preferred(loop: SearchLoop, feasible: FeasibleSet, first: Sequence[tuple[int, ...]]) -> SearchOutcome:
    """What the start of a search finds most promising, or else what α prefer, exactly decoded; it is not scored."""
    space = loop.supernet.space
    preferences = kept_scores(log_probabilities(loop.unbudgeted), space.groups)
    unbudgeted = feasible.without_latency.decode(preferences)
    choices = first[0] if first else feasible.decode(preferences)
    assert choices is not None
    assert unbudgeted is not None
    winner = Scored(Architecture(space.name, choices), math.nan, math.nan, np.array([math.nan]))
    # Where the search was trained, but had no time to score, nobody knows whether α is right.
    known = not loop.settings.all_epochs
    return SearchOutcome(winner, (), preferences, unbudgeted, loop.supernet, told_apart=known)


def _proposed(loop: SearchLoop, index: int, feasible: FeasibleSet, seed: int) -> SearchOutcome:
    """What a sampler proposes first, not scored."""
    space, sampler = loop.supernet.space, loop.samplers[index]
    choices = sampler.ask()
    if not feasible.keeps(choices):
        choices = feasible.sample(np.random.default_rng(seed))
    winner = Scored(Architecture(space.name, choices), math.nan, math.nan, np.array([math.nan]))
    preferences = [[0.0] * count for count in space.options]
    return SearchOutcome(
        winner, (), preferences, choices, loop.supernet, exported_state(bare(sampler)), told_apart=False
    )


def _decoded(
    loop: SearchLoop,
    index: int,
    feasible: FeasibleSet,
    comparison: Comparison,
    seed: int,
    first: Iterable[tuple[int, ...]],
) -> tuple[Scored, OptionTable]:
    """The best of what the search starts with, and of what is decoded from the logits of a relaxation."""
    space, count = loop.supernet.space, loop.settings.candidates
    preferences = kept_scores(log_probabilities(loop.unbudgeted), space.groups)
    held = kept_scores(log_probabilities(loop.constrained[index].relaxation.logits), space.groups)
    comparison.score(itertools.chain(first, _alternate(preferences, held, feasible, count, seed)), count)
    return comparison.spend(preferences, feasible), preferences


def _sampled(
    sampler: Sampler, space: SearchSpace, count: int, feasible: FeasibleSet, comparison: Comparison
) -> tuple[Scored, OptionTable]:
    """The best feasible one of what a sampler proposes.

    One that may propose what is not feasible need not have proposed anything that is. Then what it learned is decoded
    within the constraints, and that is scored as well.
    """
    comparison.score(_asked(sampler), count, sampler)
    preferences = _marginals(space, comparison.scored)
    if not all(feasible.keeps(one.architecture.choices) for one in comparison.scored):
        decoded = feasible.decode(preferences)
        assert decoded is not None
        comparison.score([decoded], 1)
    kept = [one for one in comparison.scored if feasible.keeps(one.architecture.choices)]
    return best(kept, feasible.latency), preferences


def _alternate(
    images: OptionTable, held: OptionTable, feasible: FeasibleSet, count: int, seed: int
) -> Iterator[tuple[int, ...]]:
    """Candidates by what the images prefer, and by what they prefer once the budget has pressed, in turn."""
    streams = [candidates(table, feasible, count=count, seed=seed + k) for k, table in enumerate((images, held))]
    while streams:
        for stream in tuple(streams):
            try:
                yield next(stream)
            except StopIteration:
                streams.remove(stream)


def _asked(sampler: Sampler) -> Iterator[tuple[int, ...]]:
    while True:
        yield sampler.ask()


def _marginals(space: SearchSpace, evaluated: Sequence[Scored]) -> OptionTable:
    """Preferences of a sampler: per option, how much lower the loss was with it than on the mean."""
    mean = float(np.mean([one.loss for one in evaluated]))
    table = [[0.0] * len(decision.options) for decision in space.decisions]
    for decision, row in enumerate(table):
        for option in range(len(row)):
            losses = [one.loss for one in evaluated if one.architecture.choices[decision] == option]
            row[option] = (mean - float(np.mean(losses))) if losses else 0.0
    return table
