"""Scores candidates, each once, and looks whether what is left of the budget can be spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import torch

from hwnas.arch.space import Architecture
from hwnas.data import Dataset
from hwnas.metric_names import NAMES, Metric
from hwnas.nas.decode import OptionTable
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.select import Scored, best, costlier, score, told_apart
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.supernet import Supernet
from hwnas.progress import Progress

_NEIGHBOURHOODS, _NEIGHBOURS = 5, 4
_TIMED = 2  # scores that tell how long one takes
_ENOUGH = 8  # scores that are all alike, where time is limited
_KEPT_BACK = 1 / 3  # of a limited number, for neighbours and for what no budget would take

MostScores = Callable[[float, int], int]
"""From the seconds that a score takes, and how many there are already, to how many there may be in all."""


class Evaluator(Protocol):
    """Where scores come from."""

    at_once: int
    """How many architectures a sampler proposes before it is told the first score of them."""

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        """The scores of architectures, in their order."""
        ...


class OneShotEvaluator:
    """Scores with the weights of a supernet; the attributes are those that `score` is called with."""

    at_once = 1

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        device: torch.device,
        metric: Metric = "accuracy",
        most_images: int = 0,
    ) -> None:
        self.supernet, self.dataset, self.device = supernet, dataset, device
        self.metric: Metric = metric
        self.most_images = most_images

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        for choices in batch:
            architecture = Architecture(self.supernet.space.name, choices)
            yield score(
                self.supernet,
                architecture,
                self.dataset,
                device=self.device,
                metric=self.metric,
                most_images=self.most_images,
            )


class Comparison:
    """Scores architectures, each once.

    Where time is limited, the first scores tell how long one takes, and with that how many there may be. A third of
    those is kept for neighbours of the winner and for what would be chosen without a budget. Once eight are scored that
    cannot be told apart, no further ones are.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        progress: Progress,
        before: Iterable[Scored] = (),
        metric: Metric = "accuracy",
        *,
        images: int = 0,
        most: MostScores | None = None,
    ) -> None:
        """Prepare a comparison.

        Args:
            before: what was scored for other budgets and is within this one; it is compared, and costs nothing.
            metric: that scores are of, for messages.
            images: validation images that scores are of.
            most: how many may be scored; None for any number.
        """
        self._evaluator, self._progress, self._name = evaluator, progress, NAMES[metric]
        self._known = {one.architecture.choices: one for one in before}
        self._images, self._most = images, most
        self._new, self._seconds, self._limit = 0, 0.0, 0

    @property
    def scored(self) -> tuple[Scored, ...]:
        """All that were scored, in order."""
        return tuple(self._known.values())

    @property
    def told_apart(self) -> bool:
        """Whether the validation images tell what was scored apart."""
        return told_apart(self.scored, self._images)

    def verdict(self) -> str:
        """What is said where they do not."""
        accuracies = [one.accuracy for one in self.scored]
        return (
            f"the {len(accuracies)} networks that were scored cannot be told apart: accuracies from "
            f"{min(accuracies):.3f} to {max(accuracies):.3f} are within the error of "
            f"{self._images} validation images; "
            "the slowest of the best is taken, and whether the budget binds is not known"
        )

    def _room(self, kept_back: int = 0) -> float:
        """How many more may be scored, when so many are kept for later."""
        if self._most is None:
            return float("inf")
        if self._new < _TIMED:
            return _TIMED - self._new
        self._limit = self._limit or self._most(self._seconds / self._new, self._new)
        if self._new >= _ENOUGH and not self.told_apart:
            return 0
        return max(0, self._limit - self._new - min(kept_back, int(_KEPT_BACK * self._limit)))

    def score(self, proposals: Iterable[tuple[int, ...]], count: int, sampler: Sampler | None = None) -> None:
        """Score up to `count` proposals; one that comes again is told its score, and costs nothing.

        At least one is scored.
        """
        stream, proposed = islice(proposals, 4 * count), set[tuple[int, ...]]()
        with self._progress.track("score candidates", count) as advance:
            kept_back = (_NEIGHBOURHOODS + 1) * _NEIGHBOURS + 1
            while len(proposed) < count and (not proposed or self._room(kept_back) > 0):
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
        with self._progress.track("score neighbours of the best", _NEIGHBOURHOODS) as advance:
            for _ in range(_NEIGHBOURHOODS):
                before = winner
                near = costlier(before.architecture.choices, preferences, feasible)
                room = int(min(_NEIGHBOURS, self._room(_NEIGHBOURS + 1)))
                for _ in self._scored([each for each in near if each not in self._known][:room]):
                    pass
                winner = best(self.scored, feasible.latency)
                advance(1, f"the best takes {feasible.cost(winner.architecture.choices):.3g} ms")
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
        new = new[: int(min(len(new), self._room()))]
        if not new:
            return best(self.scored, feasible.latency)
        compared = []
        with self._progress.track("score slower ones, beyond the budget", len(new)) as advance:
            for one in self._evaluator(new):
                compared.append(one)
                advance()
        return best((*self.scored, *compared), feasible.latency)

    def _scored(self, batch: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
        """Score what is not known of a batch; the choices of all of it, each once it is known."""
        scores = self._evaluator([each for each in dict.fromkeys(batch) if each not in self._known])
        for choices in batch:
            if choices not in self._known:
                began = time.monotonic()
                self._known[choices] = next(scores)
                self._seconds += max(time.monotonic() - began, self._known[choices].seconds)
                self._new += 1
            yield choices
