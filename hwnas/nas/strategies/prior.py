"""A prior over architectures: what the scores of earlier tasks say of those that were never scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwnas.nas.strategies.gp import Codes, Floats, GpPosterior, Kernel, likeliest, normal_quantiles
from hwnas.nas.strategies.warm_start import check_fit, tagged

Scored = Sequence[tuple[tuple[int, ...], float]]

KIND = "architecture prior"
_MOST_PAIRS, _MOST_TASKS = 1000, 100
_FEWEST = 3  # scores of a task: fewer say nothing beyond its mean
_FITTED = 300


class ArchitecturePrior:
    """Gaussian process regression on the scores of several tasks, `z = a_task + f(choices) + noise`.

    The z of a task are the normal quantiles of its scores' ranks, so tasks need not share a scale. The intercepts a
    have a flat prior: how good the architectures are that a task happened to score does not matter. A guess is the
    posterior mean of f (Rasmussen and Williams, 2006, section 2.7), up to a constant.

    At most 1,000 scores are kept, equally many of each task and drawn at random, of the last 100 tasks.
    """

    def __init__(self, options: Sequence[int], tasks: Sequence[Scored], kernel: Kernel | None = None) -> None:
        """Fit.

        Args:
            options: how many each decision has.
            tasks: per task the architectures and their z.
            kernel: None fits one by restricted likelihood.
        """
        self.options = tuple(options)
        share = _MOST_PAIRS // max(1, min(len(tasks), _MOST_TASKS))
        self.tasks = [list(task[:share]) for task in tasks[-_MOST_TASKS:]]
        self._codes = Codes(options)
        self._rows, z, trend = self._coded(self.tasks)
        self.kernel = self._likeliest() if kernel is None else kernel
        self._weights = GpPosterior(self._codes, self.kernel, self._rows).weights(z, trend)
        self._known: dict[tuple[int, ...], float] = {}

    def __call__(self, choices: Sequence[int]) -> float:
        """A guess at how good an architecture is, on a scale of its own."""
        key = tuple(choices)
        if key not in self._known:
            row = self._codes.rows([key])
            self._known[key] = float((self.kernel(self._codes.distances(row, self._rows)) @ self._weights)[0])
        return self._known[key]

    def export_state(self) -> dict[str, Any]:
        """All of it as JSON."""
        tasks = [[[list(choices), round(z, 4)] for choices, z in task] for task in self.tasks]
        kernel = [self.kernel.rate, self.kernel.shared_rate, self.kernel.noise]
        return tagged(KIND, self.options, tasks=tasks, kernel=kernel)

    def _likeliest(self) -> Kernel:
        share = max(_FEWEST, _FITTED // len(self.tasks))
        rows, z, trend = self._coded([task[:share] for task in self.tasks])
        return likeliest(self._codes.distances(rows, rows), z, trend)

    def _coded(self, tasks: Sequence[Scored]) -> tuple[Floats, Floats, Floats]:
        """(n, Σ options) rows, (n,) z, and (n, tasks) columns that say which task each is of."""
        rows = self._codes.rows([choices for task in tasks for choices, _ in task])
        z = np.array([z for task in tasks for _, z in task])
        return rows, z, np.repeat(np.eye(len(tasks)), [len(task) for task in tasks], axis=0)


def prior_from(sampler_state: dict[str, Any], options: Sequence[int]) -> ArchitecturePrior:
    """The prior that `ArchitecturePrior.learned` wrote.

    Raises:
        InputError: it is no prior, or one over other decisions.
    """
    check_fit(sampler_state, KIND, options)
    tasks = [[(tuple(choices), z) for choices, z in task] for task in sampler_state["tasks"]]
    return ArchitecturePrior(options, tasks, Kernel(*sampler_state["kernel"]))


def with_task(
    prior: ArchitecturePrior | None, options: Sequence[int], scored: Scored, rng: np.random.Generator
) -> ArchitecturePrior | None:
    """The prior that knows the scores of one more task, in a random order; as it was where these are under three."""
    if len(scored) < _FEWEST:
        return prior
    z = normal_quantiles([score for _, score in scored])
    task = [(scored[index][0], float(z[index])) for index in rng.permutation(len(scored))]
    return ArchitecturePrior(options, [*(prior.tasks if prior else []), task])
