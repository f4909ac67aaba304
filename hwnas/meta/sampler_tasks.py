"""Learning of samplers: one search after the other, each warm-started by those before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.errors import InputError
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.strategies.warm_start import warm_startable

_PROBES = 10
_MEAN, _DEVIATION = 0.5, 0.1


@dataclass(frozen=True)
class SamplerTask:
    """A set of feasible architectures and the score of each: a device, a budget and a data set, say."""

    feasible: ChoiceSet
    score: Callable[[tuple[int, ...]], float]


def learn_over(
    make: Callable[[ChoiceSet, int], Sampler],
    tasks: Iterable[SamplerTask],
    *,
    queries: int = 100,
    seed: int = 0,
    sampler_state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Search one task after the other, each from the state that the sampler exported after those before.

    The scores of a task are told on a scale of its own, on which ten uniform draws have mean 0.5 and standard
    deviation 0.1: else tasks with high accuracies, or with large differences, would count for more. These draws are
    the first scores that are told.

    Args:
        make: the sampler for what may be proposed and a seed.
        queries: scores per task, the ten included.
        seed: the n-th task has seed + n.
        learned: what to start the first task from.

    Returns:
        The state that the last sampler exports.

    Raises:
        InputError: the sampler takes no warm start, the state does not fit, or there is no task.
    """
    for index, task in enumerate(tasks):
        sampler = make(task.feasible, seed + index)
        startable = warm_startable(sampler)
        if sampler_state is not None:
            startable.warm_start(sampler_state)
        rng = np.random.default_rng(seed + index)
        drawn = [task.feasible.sample(rng) for _ in range(min(_PROBES, queries))]
        scores = [task.score(choices) for choices in drawn]
        mean, deviation = float(np.mean(scores)), float(np.std(scores)) or 1.0
        for query in range(queries):
            choices, score = (drawn[query], scores[query]) if query < len(drawn) else (sampler.ask(), None)
            score = task.score(choices) if score is None else score
            sampler.tell(choices, _MEAN + _DEVIATION * (score - mean) / deviation)
        sampler_state = startable.export_state()
    if sampler_state is None:
        raise InputError("there is nothing to learn from without a task", hint="give at least one task")
    return sampler_state
