"""Scores candidates, each once, and looks whether what is left of the budget can be spent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import torch

from hwnas.arch.space import Architecture
from hwnas.data import Dataset
from hwnas.metric_names import NAMES, Metric
from hwnas.nas.decode import OptionTable
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.select import Scored, best, costlier, score
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.supernet import Supernet
from hwnas.progress import Progress

_NEIGHBOURHOODS, _NEIGHBOURS = 5, 4


class Evaluator(Protocol):
    """Where scores come from."""

    at_once: int
    """How many architectures a sampler proposes before it is told the first score of them."""

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        """The scores of architectures, in their order."""
        ...


class OneShotEvaluator:
    """Scores with the weights of a supernet."""

    at_once = 1

    def __init__(self, supernet: Supernet, dataset: Dataset, device: torch.device, metric: Metric = "accuracy") -> None:
        self._supernet, self._dataset, self._device, self._metric = supernet, dataset, device, metric

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        for choices in batch:
            architecture = Architecture(self._supernet.space.name, choices)
            yield score(self._supernet, architecture, self._dataset, device=self._device, metric=self._metric)


class Comparison:
    """Scores architectures, each once."""

    def __init__(
        self, evaluator: Evaluator, progress: Progress, before: Iterable[Scored] = (), metric: Metric = "accuracy"
    ) -> None:
        """Prepare a comparison.

        Args:
            before: what was scored for other budgets and is within this one; it is compared, and costs nothing.
            metric: that scores are of, for messages.
        """
        self._evaluator, self._progress, self._name = evaluator, progress, NAMES[metric]
        self._known = {one.architecture.choices: one for one in before}

    @property
    def scored(self) -> tuple[Scored, ...]:
        """All that were scored, in order."""
        return tuple(self._known.values())

    def score(self, proposals: Iterable[tuple[int, ...]], count: int, sampler: Sampler | None = None) -> None:
        """Score up to `count` proposals; one that comes again is told its score, and costs nothing."""
        stream, proposed = islice(proposals, 4 * count), set[tuple[int, ...]]()
        with self._progress.track("score candidates", count) as advance:
            while len(proposed) < count:
                batch = tuple(islice(stream, min(self._evaluator.at_once, count - len(proposed))))
                if not batch:
                    break
                for choices in self._scored(batch):
                    if choices not in proposed:
                        proposed.add(choices)
                        best_so_far = max(one.score for one in self.scored)
                        advance(1, f"best validation {self._name} {best_so_far:.3f}")
                if sampler is not None:
                    for choices in batch:
                        sampler.tell(choices, self._known[choices].score)

    def spend(self, preferences: OptionTable, feasible: FeasibleSet) -> Scored:
        """The best, after costlier neighbours were scored for as long as one of them took its place."""
        winner = best(self.scored, feasible.latency)
        with self._progress.track("spend what is left", _NEIGHBOURHOODS) as advance:
            for _ in range(_NEIGHBOURHOODS):
                before = winner
                near = costlier(before.architecture.choices, preferences, feasible)
                for _ in self._scored([each for each in near if each not in self._known][:_NEIGHBOURS]):
                    pass
                winner = best(self.scored, feasible.latency)
                advance(1, f"{feasible.cost(winner.architecture.choices):.3g} ms")
                if winner is before:
                    break
        return winner

    def unbudgeted(self, winner: Scored, preferences: OptionTable, feasible: FeasibleSet) -> Scored:
        """What would be chosen without a latency constraint, as far as the preferred one and slower neighbours show."""
        free = feasible.without_latency
        preferred = free.decode(preferences)
        assert preferred is not None
        near = costlier(winner.architecture.choices, preferences, free)
        slower = [each for each in near if not feasible.latency.keeps(each)][:_NEIGHBOURS]
        new = [each for each in dict.fromkeys((preferred, *slower)) if each not in self._known]
        return best((*self.scored, *self._evaluator(new)), feasible.latency)

    def _scored(self, batch: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """Score what is not known of a batch; the choices of all of it, each once it is known."""
        scores = self._evaluator([each for each in dict.fromkeys(batch) if each not in self._known])
        for choices in batch:
            if choices not in self._known:
                self._known[choices] = next(scores)
            yield choices
