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
from hwnas.run.adaptation_work import AdaptationWork
from hwnas.run.context import SearchContext
from hwnas.run.parent_cut import parent_cut
from hwnas.run.parent_head import frozen_s
from hwnas.run.schedule import kept_adaptation, least_trainings_s
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
    cut = max(parent_cut(one.plan, one.model, [one.budget_ms]) for one in context.runs)
    usual = usual_adaptation(run.dataset, cut)
    usual = replace(usual, batch_size=distillation_batch(run.plan, usual.batch_size))
    if not run.plan.config.train.minutes:
        return usual
    told, images = frozen_s(run, parent), len(run.dataset.train)
    work = AdaptationWork.of(run.plan)
    image_s = told / work.features
    trainings_s = least_trainings_s(run.plan.config, images, image_s, budgets=len(context.runs))

    def affordable(distil_s: float) -> Adaptation:
        times = StepTimes(distil_s, told, trainings_s)
        return affordable_adaptation(usual, context.left_s(unchecked=True), times, train_images=images, cut=cut)

    # Steps take seconds, so they are timed only where by their work some can be afforded.
    found = affordable(usual.batch_size * work.distilled * image_s)
    return affordable(_step_s(context, blocks(), usual.batch_size)) if found.steps else found


def _step_s(context: SearchContext, blocks: ParentBlocks, batch_size: int) -> float:
    """Seconds of a step of distillation, from a few, which change the options; the first one takes longer."""
    seconds = 0.0
    with context.progress.track("time a few steps of distillation", _TIMED_STEPS) as advance:
        for _ in range(_TIMED_STEPS):
            began = time.monotonic()
            settings = DistilSettings(1, batch_size)
            distil(blocks, context.first.dataset, seed=0, settings=settings, progress=Silent())
            seconds = time.monotonic() - began
            advance()
    return seconds
