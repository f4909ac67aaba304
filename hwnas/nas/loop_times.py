"""How long the epochs of a search take, from a few steps of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from hwnas.arch.space import SearchSpace
from hwnas.nas.strategies import Strategy
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.train.timing import mean_step_s, saving_s


def seconds_an_epoch(loop: SearchLoop, *, limit_s: float = math.inf) -> tuple[float, float]:
    """Seconds of an epoch of warm-up, and of one in which the strategy learns, with its checkpoint; spoils the loop.

    Args:
        limit_s: each kind of steps is taken for about so many seconds, but at least two of them.
    """

    def step_s(steps: Callable[[], Iterator[object]]) -> float:
        again = itertools.chain.from_iterable(steps() for _ in itertools.count())
        return mean_step_s(again, limit_s=limit_s)

    first, every = loop.settings.warmup_epochs, loop.settings.arch_every
    warm_s = step_s(lambda: loop.epoch(0))
    save_s = saving_s(lambda path: loop.save(path, 1))
    if loop.guides:
        told_s = step_s(lambda: loop.guidance(first)) * len(loop.samplers) / every
        both_s = warm_s + told_s
    else:
        loop.settings = replace(loop.settings, arch_every=1)  # so that few steps tell
        with_arch_s = step_s(lambda: loop.epoch(first)) if loop.constrained else warm_s
        both_s = warm_s + max(0.0, with_arch_s - warm_s) / every
    return warm_s * loop.steps + save_s, both_s * loop.steps + save_s


def options_a_step(space: SearchSpace, strategy: Strategy) -> float:
    """How many options of a decision a step on the weights computes, on the mean."""
    if strategy.relaxation is None:
        return 1.0
    gates = strategy.relaxation(space.options, torch.device("cpu")).weight_gates(torch.Generator().manual_seed(0))
    return sum(len(gate.active) for gate in gates) / max(1, len(gates))
