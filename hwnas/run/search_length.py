"""How long a search runs, and how much it scores: by the data, or by steps that are timed where minutes are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.loop_times import seconds_an_epoch
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.progress import Silent
from hwnas.run.context import SearchContext
from hwnas.run.parent_time import kept_in
from hwnas.run.schedule import kept_scores, kept_settings, most_scores, search_settings
from hwnas.run.step_limit import search_micro_batch
from hwnas.train.timing import timed_batch


def length_of_search(context: SearchContext, feasible: Sequence[FeasibleSet]) -> SearchSettings:
    """How long the search runs; decided once a run."""
    run, plan = context.first, context.first.plan

    def within_memory(settings: SearchSettings) -> SearchSettings:
        return replace(settings, micro_batch=search_micro_batch(plan, settings, context.progress))

    def epoch_s(settings: SearchSettings) -> tuple[float, float]:
        seed = plan.config.compute.seed
        with context.progress.track("time a few steps of the search", 1) as advance:
            at_once = search_micro_batch(plan, settings, Silent())
            few = replace(settings, batch_size=timed_batch(settings.batch_size, run.dataset.resolution, at_once))
            loop = make_loop(plan.space, feasible, plan.strategy, run.dataset, few, seed=seed, device=run.device)
            seconds = seconds_an_epoch(loop, limit_s=context.probe_s())
            advance()
        return seconds

    def decided() -> SearchSettings:
        parent = {} if plan.parent is None else {"compared_images": kept_in(context).compared_images}
        return search_settings(
            plan.config,
            len(run.dataset.train),
            plan.strategy,
            val_images=len(run.dataset.val),
            left_s=lambda image_s: context.left_s(unchecked=True, image_s=image_s),
            epoch_s=epoch_s,
            budgets=len(context.runs),
            classes=len(run.dataset.classes),
            **parent,
        )

    return kept_settings(context.folder.search_settings, lambda: within_memory(decided()))


def scores_a_budget(context: SearchContext, settings: SearchSettings) -> Callable[[float, int], int]:
    """How many architectures are scored for each budget; decided once a run."""

    val_images, classes = len(context.first.dataset.val), len(context.first.dataset.classes)

    def most(score_s: float, scored: int) -> int:
        return kept_scores(
            context.folder.state / "scores.json",
            lambda: most_scores(
                context.first.plan.config,
                left_s=context.left_s(
                    unchecked=True, image_s=score_s / images_a_score(val_images, settings.score_images, classes)
                ),
                score_s=score_s,
                scored=scored,
                budgets=len(context.runs),
            ),
        )

    return most
