"""How long a parent is adapted in this run: steps are timed where minutes are given, and memory limits each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hwnas.parents import ParentWeights
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.progress import Silent
from hwnas.run.adaptation import Adaptation, StepTimes, affordable_adaptation, usual_adaptation
from hwnas.run.context import SearchContext
from hwnas.run.parent_head import frozen_s
from hwnas.run.schedule import kept_adaptation
from hwnas.run.step_limit import distillation_batch

_TIMED_STEPS = 2


def settled_adaptation(context: SearchContext, parent: ParentWeights, blocks: Callable[[], ParentBlocks]) -> Adaptation:
    """How many steps and images the minutes and the memory leave, or the usual ones; decided once a run.

    Args:
        blocks: makes some to time steps on, which change them.

    Raises:
        InputError: not even a step with two images fits into the memory, or what is kept is damaged.
    """
    return kept_adaptation(_path(context), lambda: _adaptation(context, parent, blocks))


def kept_in(context: SearchContext) -> Adaptation:
    """What `settled_adaptation` has decided.

    Raises:
        InputError: it is damaged.
    """
    return kept_adaptation(_path(context), lambda: usual_adaptation(context.first.dataset))


def _path(context: SearchContext) -> Path:
    return context.folder.state / "adaptation.json"


def _adaptation(context: SearchContext, parent: ParentWeights, blocks: Callable[[], ParentBlocks]) -> Adaptation:
    run = context.first
    usual = usual_adaptation(run.dataset)
    usual = replace(usual, batch_size=distillation_batch(run.plan, usual.batch_size))
    if not run.plan.config.train.minutes:
        return usual
    parts = blocks()
    own = parts.own_choices
    idle = own is not None and all(one.feasible_set().keeps(own) for one in context.runs)
    times = StepTimes(() if idle else _step_times_s(context, parts, usual.batch_size), frozen_s(run, parent))
    left_s, images = context.left_s(unchecked=True), len(run.dataset.train)
    return affordable_adaptation(usual, left_s, times, train_images=images, idle=idle)


def _step_times_s(context: SearchContext, blocks: ParentBlocks, batch_size: int) -> list[float]:
    """Seconds of a few steps of distillation, which change the options."""
    times_s = []
    with context.progress.track("time a few steps of distillation", _TIMED_STEPS) as advance:
        for _ in range(_TIMED_STEPS):
            began = time.monotonic()
            settings = DistilSettings(1, batch_size)
            distil(blocks, context.first.dataset, seed=0, settings=settings, progress=Silent())
            times_s.append(time.monotonic() - began)
            advance()
    return times_s
