"""Bayesian optimisation: a Gaussian process over the choices says which architecture is worth the next score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import InputError
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies.gp import (
    Codes,
    FeatureCodes,
    Floats,
    GpPosterior,
    Kernel,
    expected_improvement,
    likeliest,
    winsorised,
)
from hwnas.nas.strategies.prior import ArchitecturePrior, prior_from, with_task

Prior = Callable[[Sequence[int]], float]

_REFIT = 1.4
_STEPS = 3
_EXPANDED = 3  # so many of the best have their neighbours among the candidates
_OWN = 0.25  # of the noise, what an architecture has for itself
_NO_GAIN = 1e-6
_CARRIED_START = 3


class BayesianOptimization:
    """Asks for the feasible architecture with the largest expected improvement (Jones et al., 1998).

    Scores count on their own scale, but those far below the median are raised, so that a few failures do not stretch
    it. They are modelled as `b · (1, prior) + f + noise` with a flat prior on `b`; the kernel of the Gaussian process
    `f` compares the choices decision by decision, and how often each option is chosen wherever it stands; or the
    features of networks where there are some. Its parameters are fitted again whenever there are 1.4 times as many
    scores.

    Candidates are uniform feasible draws and, each time, the neighbours of the three that are believed best. What has a
    score is asked for again only when nothing is left to gain: another score then says more of the best.

    To another task it carries its scores over, as an `ArchitecturePrior`. The new task learns how much that counts, so
    scales do not matter, and its model begins after three scores instead of `start`.

    Args:
        prior: a guess at the score of an architecture, say from another task, on any scale; how much it counts is
            learned.
        start: scores that are asked for before the model is; with a prior every other of them for what it prefers.
        pool: number of draws that are candidates.
    """

    def __init__(
        self, feasible: ChoiceSet, seed: int, *, prior: Prior | None = None, start: int = 8, pool: int = 500
    ) -> None:
        self._feasible, self._rng = feasible, np.random.default_rng(seed)
        self._prior, self._start = prior, start
        self._carried: ArchitecturePrior | None = None
        self._codes: Codes | FeatureCodes = Codes(feasible.options)
        if feasible.features is not None:
            self._codes = FeatureCodes(feasible.options, feasible.features)
        self._candidates: dict[tuple[int, ...], int] = {}
        for _ in range(pool):
            self._add(feasible.sample(self._rng))
        self._expanded: set[tuple[int, ...]] = set()
        self._told: list[tuple[tuple[int, ...], float]] = []
        self._kernel: Kernel | None = None
        self._fitted = 0
        self._model: _Model | None = None

    def ask(self) -> tuple[int, ...]:
        if len(self._told) < self._start:
            return self._first()
        mean, deviation = self._expand(1)
        fresh = self._unseen()
        gain = expected_improvement(mean, deviation, float(mean[~fresh].max(initial=mean.min())))
        gain[~fresh] = 0.0
        return self._best(gain if gain.max() > _NO_GAIN else mean)

    def tell(self, choices: Sequence[int], score: float) -> None:
        self._told.append((tuple(choices), float(score)))
        if self._model is not None:
            self._model.posterior.add(self._codes.rows([choices]))
        if self._feasible.keeps(choices):
            self._add(tuple(choices))

    def winners(self, count: int) -> list[tuple[int, ...]]:
        """The feasible architectures that are believed best, scored or not, the best first.

        To the belief is added a quarter of what an architecture's own scores differ from it: part of what the model
        takes as noise is what makes an architecture better than others that look like it.
        """
        if len(self._told) < self._start:
            scores = {choices: score for choices, score in self._told if self._feasible.keeps(choices)}
            return sorted(scores, key=lambda choices: -scores[choices])[:count]
        mean, _ = self._expand(_STEPS)
        own: dict[tuple[int, ...], list[float]] = {}
        for (choices, _), z in zip(self._told, self._z(), strict=True):
            own.setdefault(choices, []).append(z)
        for choices, zs in own.items():
            if choices in self._candidates:
                at = self._candidates[choices]
                mean[at] += _OWN * (float(np.mean(zs)) - mean[at])
        known = list(self._candidates)
        return [known[index] for index in _best_first(mean)[:count]]

    def state(self) -> dict[str, Any]:
        kernel = self._kernel
        return {
            "rng": self._rng.bit_generator.state,
            "told": [[list(choices), score] for choices, score in self._told],
            "candidates": [list(choices) for choices in self._candidates],
            "expanded": sorted(map(list, self._expanded)),
            "kernel": None if kernel is None else [kernel.rate, kernel.shared_rate, kernel.noise],
            "fitted": self._fitted,
            "carried": None if self._carried is None else self._carried.export_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._told = [(tuple(choices), score) for choices, score in state["told"]]
        self._candidates = {tuple(choices): index for index, choices in enumerate(state["candidates"])}
        self._expanded = set(map(tuple, state["expanded"]))
        self._kernel = None if state["kernel"] is None else Kernel(*state["kernel"])
        self._fitted = state["fitted"]
        self._model = None
        if state.get("carried") is not None:
            self._carry(state["carried"])

    def export_state(self) -> dict[str, Any]:
        """The prior with this task's scores. Fits its kernel, which takes about half a second.

        Raises:
            InputError: nothing was carried over, and fewer than three scores were told.
        """
        prior = with_task(self._carried, self._feasible.options, self._told, np.random.default_rng(len(self._told)))
        if prior is None:
            raise InputError(
                f"a prior is learned from three scores or more, but there are {len(self._told)}",
                hint="search longer before carrying over",
            )
        return prior.export_state()

    def warm_start(self, sampler_state: dict[str, Any]) -> None:
        self._carry(sampler_state)
        self._told, self._kernel, self._fitted, self._model = [], None, 0, None

    def _carry(self, sampler_state: dict[str, Any]) -> None:
        self._carried = prior_from(sampler_state, self._feasible.options)
        self._prior, self._start = self._carried, _CARRIED_START

    def _first(self) -> tuple[int, ...]:
        fresh = self._unseen()
        if self._prior is None or len(self._told) % 2 or not fresh.any():
            return self._feasible.sample(self._rng)
        guesses = np.array([self._prior(choices) for choices in self._candidates])
        return self._best(np.where(fresh, guesses, -np.inf))

    def _add(self, choices: tuple[int, ...]) -> None:
        """Make a feasible architecture a candidate."""
        self._candidates.setdefault(choices, len(self._candidates))

    def _unseen(self) -> NDArray[np.bool_]:
        """Which candidates have no score."""
        unseen = np.ones(len(self._candidates), dtype=np.bool_)
        unseen[[self._candidates[choices] for choices, _ in self._told if choices in self._candidates]] = False
        return unseen

    def _best(self, values: Floats) -> tuple[int, ...]:
        """The candidate with the largest value, the first of those that differ by rounding only."""
        return list(self._candidates)[int(_best_first(values)[0])]

    def _expand(self, steps: int) -> tuple[Floats, Floats]:
        """What is believed of all candidates, once the neighbours of the best are among them, or after `steps`."""
        for _ in range(steps):
            known = list(self._candidates)
            best = {known[index] for index in _best_first(self._believed()[0])[:_EXPANDED]} - self._expanded
            if not best:
                break
            for one in sorted(best):
                self._add_neighbours(one)
        return self._believed()

    def _add_neighbours(self, choices: tuple[int, ...]) -> None:
        """Make what differs in one decision a candidate, where it is feasible."""
        self._expanded.add(choices)
        for decision, count in enumerate(self._feasible.options):
            for option in range(count):
                other = (*choices[:decision], option, *choices[decision + 1 :])
                if other not in self._candidates and self._feasible.keeps(other):
                    self._add(other)

    def _believed(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of all candidates, on the scale of the winsorised scores."""
        z = self._z()
        told = [choices for choices, _ in self._told]
        trend = self._trend(told)
        if self._kernel is None or len(z) >= _REFIT * self._fitted:
            seen = self._codes.rows(told)
            self._kernel, self._fitted = likeliest(self._codes.distances(seen, seen), z, trend), len(z)
            self._model = None
        if self._model is None:
            self._model = _Model(GpPosterior(self._codes, self._kernel, self._codes.rows(told)), self._trend([]))
        fresh = list(islice(self._candidates, len(self._model.trend), None))
        if fresh:
            self._model.posterior.consider(self._codes.rows(fresh))
            self._model.trend = np.vstack([self._model.trend, self._trend(fresh)])
        return self._model.posterior.predict(z, trend, self._model.trend)

    def _z(self) -> Floats:
        """(n,) what was told, on the scale of the model."""
        return winsorised([score for _, score in self._told])

    def _trend(self, architectures: Sequence[tuple[int, ...]]) -> Floats:
        """(n, 1 or 2) columns whose coefficients are learned."""
        columns = [[1.0] if self._prior is None else [1.0, self._prior(choices)] for choices in architectures]
        return np.array(columns).reshape(len(architectures), 1 if self._prior is None else 2)


def _best_first(values: Floats) -> NDArray[np.intp]:
    """Where the largest values are; the first of those that differ by rounding only comes first."""
    return np.argsort(-values.round(9), kind="stable")


@dataclass
class _Model:
    """The posterior of the candidates that were considered so far, and their trend columns."""

    posterior: GpPosterior
    trend: Floats
