"""What a sampler learned on earlier tasks starts the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.errors import InputError
from hwnas.search.feasible import Feasible
from hwnas.search.strategies.base import CarriesOver, Sampler

_PROBES = 10
_MEAN, _DEVIATION = 0.5, 0.1


def carry_over(sampler: Sampler, learned: dict[str, Any]) -> None:
    """Start a sampler that was told nothing yet from what one of its sort learned on other tasks.

    Raises:
        InputError: the sampler cannot carry over, or what was learned is of another sort or another space.
    """
    _carrying(sampler).start_from(learned)


def what_was_learned(sampler: Sampler) -> dict[str, Any] | None:
    """What a sampler learned; None where it carries nothing over, or was told too little to say."""
    if not isinstance(sampler, CarriesOver):
        return None
    try:
        return sampler.learned()
    except InputError:
        return None


def tagged(kind: str, options: Sequence[int], **content: Any) -> dict[str, Any]:
    """What `learned` returns: the content, and by what to tell whether it fits."""
    return {"kind": kind, "options": list(options), **content}


def check_fit(learned: dict[str, Any], kind: str, options: Sequence[int]) -> None:
    """Refuse what was learned by another sort of sampler, or on a space with other decisions.

    Raises:
        InputError: it does not fit.
    """
    if learned.get("kind") != kind:
        raise InputError(
            f"this strategy starts from a {kind}, but was given a {learned.get('kind', 'thing without a kind')}",
            hint="start from what the same strategy learned",
        )
    if list(learned["options"]) != list(options):
        raise InputError(
            f"the {kind} was learned on decisions with {_listed(learned['options'])} options, but here they have"
            f" {_listed(options)}",
            hint="start from what was learned on the same search space",
        )


@dataclass(frozen=True)
class Task:
    """What may be proposed, and the score of each proposal: a device, a budget and a data set, say."""

    feasible: Feasible
    score: Callable[[tuple[int, ...]], float]


def learn_over(
    make: Callable[[Feasible, int], Sampler],
    tasks: Iterable[Task],
    *,
    queries: int = 100,
    seed: int = 0,
    learned: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Search one task after the other, each from what was learned on those before.

    The scores of a task are told on a scale of its own, on which ten uniform draws have mean 0.5 and standard
    deviation 0.1: else tasks with high accuracies, or with large differences, would count for more. These draws are
    the first scores that are told.

    Args:
        make: the sampler for what may be proposed and a seed.
        queries: scores per task, the ten included.
        seed: the n-th task has seed + n.
        learned: what to start the first task from.

    Returns:
        What the last sampler learned.

    Raises:
        InputError: the sampler cannot carry over, what was learned does not fit, or there is no task.
    """
    for index, task in enumerate(tasks):
        sampler = make(task.feasible, seed + index)
        carrying = _carrying(sampler)
        if learned is not None:
            carrying.start_from(learned)
        rng = np.random.default_rng(seed + index)
        drawn = [task.feasible.sample(rng) for _ in range(min(_PROBES, queries))]
        scores = [task.score(choices) for choices in drawn]
        mean, deviation = float(np.mean(scores)), float(np.std(scores)) or 1.0
        for query in range(queries):
            choices, score = (drawn[query], scores[query]) if query < len(drawn) else (sampler.ask(), None)
            score = task.score(choices) if score is None else score
            sampler.tell(choices, _MEAN + _DEVIATION * (score - mean) / deviation)
        learned = carrying.learned()
    if learned is None:
        raise InputError("there is nothing to learn from without a task", hint="give at least one task")
    return learned


def _carrying(sampler: Sampler) -> CarriesOver:
    if isinstance(sampler, CarriesOver):
        return sampler
    raise InputError(
        f"the strategy {type(sampler).__name__} carries nothing over from one task to the next",
        hint="enas, metaqnn and gaussian do; a plug-in does with the methods `learned` and `start_from`",
    )


def _listed(options: Sequence[int]) -> str:
    return ", ".join(map(str, options))
