"""A task as losses of parameters: cross entropy, and what the architecture is expected to take above the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.meta.head import prototypes
from hwnas.meta.inner_loop import ALPHA, Params
from hwnas.meta.learner import Learner
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.outer import Problem
from hwnas.meta.tasks import Batch, Task
from hwnas.nas.objective import BudgetPenalty, ExpectedLatency
from hwnas.nas.strategies.base import gumbels


def problem_of(
    learner: Learner, task: Task, settings: MetaSettings, rng: np.random.Generator, running: Params
) -> Problem:
    """The losses of a task. What is random in them is drawn here, so that each is a function of parameters.

    To both is added the penalty on E / T - 1 of the search (`hwnas.nas.objective`), without a multiplier: the
    expected latency at the temperature of the step, against the task's budget.

    Args:
        running: statistics for batch norms in the mode `running`.
    """
    steps = settings.inner.steps
    drawn = [_minibatch(task.support, settings.batch_size, rng) for _ in range(steps)]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noises = [_noise(learner, settings, generator, task.support[0]) for _ in range(steps + 1)]
    penalty = _penalty(learner, task)

    def support(params: Params, step: int) -> Tensor:
        x, y = drawn[step]
        t = settings.temperature(step)
        logits = learner.logits(params, x, statistics=None, temperature=t, noise=noises[step])
        return cross_entropy(logits, y) + penalty(params, t)

    def query(params: Params) -> Tensor:
        t = settings.temperature(steps)
        statistics = learner.query_statistics(settings.norm, params, task.support[0], running, temperature=t)
        logits = learner.logits(params, task.query[0], statistics=statistics, temperature=t, noise=noises[steps])
        return cross_entropy(logits, task.query[1]) + penalty(params, t)

    def head(params: Params) -> Params:
        return prototypes(learner, params, *task.support, temperature=settings.temperature(0), noise=noises[0])

    return Problem(support, query, head if settings.head == "prototypes" else None)


def adapted_accuracy(
    learner: Learner,
    init: Mapping[str, Tensor],
    task: Task,
    settings: MetaSettings,
    rng: np.random.Generator,
    running: Params,
) -> float:
    """Share of the query images that are classified rightly after adaptation to the support set.

    The options are mixed with softmax(α / τ) at the last temperature, whatever computed in the inner steps.

    Args:
        running: statistics for batch norms in the mode `running`.
    """
    params = problem_of(learner, task, settings, rng, running).adapted(init, settings.inner)
    t = settings.temperature(settings.inner.steps)
    with torch.no_grad():
        statistics = learner.query_statistics(settings.norm, params, task.support[0], running, temperature=t)
        logits = learner.logits(params, task.query[0], statistics=statistics, temperature=t)
    return float((logits.argmax(1) == task.query[1]).double().mean())


def _minibatch(batch: Batch, size: int, rng: np.random.Generator) -> Batch:
    x, y = batch
    if not 0 < size < len(y):
        return batch
    places = torch.from_numpy(rng.permutation(len(y))[:size])
    return x[places.to(x.device)], y[places.to(y.device)]


def _noise(learner: Learner, settings: MetaSettings, generator: torch.Generator, like: Tensor) -> Tensor | None:
    if settings.mixing == "soft" or not learner.options:
        return None
    return gumbels(like.new_zeros(len(learner.options), max(learner.options)), generator)


def _penalty(learner: Learner, task: Task) -> Callable[[Params, float], Tensor | float]:
    """What the expected latency of α at a temperature costs."""
    if task.model is None:
        return lambda params, temperature: 0.0
    expected = ExpectedLatency(task.model, device=task.support[0].device)
    penalty = BudgetPenalty(task.budget_ms)

    def of(params: Params, temperature: float) -> Tensor | float:
        if ALPHA not in params:
            return 0.0
        return penalty(expected(learner.probabilities(params[ALPHA], temperature)))

    return of
