"""Scores candidates with the shared weights, each once, and looks whether what is left of the budget can be spent."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from hwnas.arch.space import Architecture
from hwnas.data import Dataset
from hwnas.progress import Progress
from hwnas.search.decode import Table
from hwnas.search.limits import Limits
from hwnas.search.select import Scored, best, costlier, score
from hwnas.search.strategies.base import Sampler
from hwnas.search.supernet import Supernet

_NEIGHBOURHOODS, _NEIGHBOURS = 5, 4


class Judge:
    """Scores architectures with the shared weights, each once."""

    def __init__(self, supernet: Supernet, dataset: Dataset, device: torch.device, progress: Progress) -> None:
        self._supernet, self._dataset, self._device, self._progress = supernet, dataset, device, progress
        self._known: dict[tuple[int, ...], Scored] = {}

    @property
    def scored(self) -> tuple[Scored, ...]:
        """All that were scored, in order."""
        return tuple(self._known.values())

    def score(self, proposals: Iterable[tuple[int, ...]], count: int, sampler: Sampler | None = None) -> None:
        """Score up to `count` proposals; one that comes again is told its score, and costs nothing."""
        with self._progress.track("score candidates", count) as advance:
            for choices, _ in zip(proposals, range(4 * count), strict=False):
                if choices not in self._known:
                    self._known[choices] = self._score(choices)
                    best_so_far = max(one.accuracy for one in self.scored)
                    advance(1, f"best validation accuracy {best_so_far:.3f}")
                if sampler is not None:
                    sampler.tell(choices, self._known[choices].accuracy)
                if len(self._known) == count:
                    break

    def spend(self, preferences: Table, limits: Limits) -> Scored:
        """The best, after costlier neighbours were scored for as long as one of them took its place."""
        winner = best(self.scored, limits.latency)
        with self._progress.track("spend what is left", _NEIGHBOURHOODS) as advance:
            for _ in range(_NEIGHBOURHOODS):
                before = winner
                near = costlier(before.architecture.choices, preferences, limits)
                for choices in [each for each in near if each not in self._known][:_NEIGHBOURS]:
                    self._known[choices] = self._score(choices)
                winner = best(self.scored, limits.latency)
                advance(1, f"{limits.latency.value(winner.architecture.choices):.3g} ms")
                if winner is before:
                    break
        return winner

    def unbudgeted(self, winner: Scored, preferences: Table, limits: Limits) -> Scored:
        """What would be chosen without a latency limit, as far as the preferred one and slower neighbours show."""
        free = limits.without_latency
        preferred = free.decode(preferences)
        assert preferred is not None
        near = costlier(winner.architecture.choices, preferences, free)
        slower = [each for each in near if not limits.latency.keeps(each)][:_NEIGHBOURS]
        new = [each for each in dict.fromkeys((preferred, *slower)) if each not in self._known]
        return best((*self.scored, *map(self._score, new)), limits.latency)

    def _score(self, choices: tuple[int, ...]) -> Scored:
        architecture = Architecture(self._supernet.space.name, choices)
        return score(self._supernet, architecture, self._dataset, device=self._device)
