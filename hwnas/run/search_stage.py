"""Stage `search`: one search for all budgets, with shared weights or with trainings from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from hwnas.errors import HwnasError
from hwnas.meta.earlier import write_sampler_state
from hwnas.nas.engine import SearchOutcome, make_loop, search
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.nas.loop_times import seconds_an_epoch
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.nas.strategies import Strategy, plugin_of
from hwnas.plugins import contained
from hwnas.progress import Silent
from hwnas.run.context import SearchContext
from hwnas.run.parent_stage import adapted_start
from hwnas.run.parent_time import kept_in
from hwnas.run.result import write_evaluated
from hwnas.run.schedule import kept_recipe, kept_scores, kept_settings, most_scores, score_recipe, search_settings
from hwnas.run.step_limit import search_micro_batch, training_micro_batch
from hwnas.train import Recipe
from hwnas.train.timing import timed_batch


def searched(context: SearchContext) -> tuple[SearchOutcome, ...]:
    """The outcome for each budget, with `evaluated.csv` in its folder, and the sampler's state beside the checkpoint.

    Raises:
        InputError: there is no architecture within a budget, strategy and evaluator do not go together, or the
            strategy, which is of a plug-in, raises something.
        DivergedError: the loss is not a number.
    """
    run, config = context.first, context.first.plan.config
    feasible = [one.feasible_set() for one in context.runs]
    parent, start = run.plan.parent, run.plan.start
    start = start if parent is None else adapted_start(context, parent)
    settings = _settings(context, feasible)
    if settings.all_epochs and not settings.candidates:
        context.progress.say(
            f"--minutes {config.train.minutes:g} leaves no time to score candidates, so the network that the search "
            "prefers is taken as it is: more --minutes would compare some"
        )
    with _strategy_contained(run.plan.strategy), _evaluator(context) as evaluator:
        outcomes = search(
            run.plan.space,
            feasible,
            run.plan.strategy,
            run.dataset,
            settings,
            seed=config.compute.seed,
            device=run.device,
            checkpoint=context.folder.search_state,
            scored=context.folder.state / "scored.safetensors",
            progress=context.progress,
            log=context.progress.record,
            evaluator=evaluator,
            reward=config.search.reward,
            start=start,
            most_scores=_most_scores(context, settings) if config.train.minutes else None,
        )
    for one, outcome in zip(context.runs, outcomes, strict=True):
        write_evaluated(one, outcome)
        scores = [scored.score for scored in outcome.evaluated]
        told = {"metric": config.search.metric, "count": len(scores), "best": max(scores, default=None)}
        one.progress.record({"event": "scored"} | told)
    state = outcomes[-1].sampler_state  # of the loosest budget, within which the most was proposed
    if state is not None:
        kept = context.folder.sampler_state
        write_sampler_state(kept, run.plan.space, config.search.strategy, config.search.reward, state)
    return outcomes


def _strategy_contained(chosen: Strategy) -> AbstractContextManager[None]:
    """One message for whatever the strategy of a plug-in raises."""
    if not (plugin := plugin_of(chosen)):
        return nullcontext()
    what = f"a search with the strategy {chosen.name!r} of the plug-in {plugin} failed"
    hint = "repair the package, and --resume goes on from where it was; or choose another --strategy"
    return contained(what, hint, passing=(HwnasError,))


def _evaluator(context: SearchContext) -> AbstractContextManager[FromScratchEvaluator | None]:
    """The evaluator of candidates, if that is not the supernet."""
    run, config, state = context.first, context.first.plan.config, context.folder.state
    if config.search.evaluator != "from-scratch":
        return nullcontext()

    def recipe() -> Recipe:
        found = score_recipe(config, len(run.dataset.train))
        at_once = training_micro_batch(run.plan, found, context.progress, processes=context.workers)
        return replace(found, micro_batch=at_once)

    return FromScratchEvaluator(
        run.plan.space,
        run.dataset,
        kept_recipe(state / "score-recipe.json", recipe),
        seed=config.compute.seed,
        threads=config.compute.threads,
        device=run.device,
        workers=context.workers,
        folder=state / "scores",
        metric=config.search.metric,
    )


def _settings(context: SearchContext, feasible: Sequence[FeasibleSet]) -> SearchSettings:
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

    return kept_settings(context.folder.state / "search.json", lambda: within_memory(decided()))


def _most_scores(context: SearchContext, settings: SearchSettings) -> Callable[[float, int], int]:
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
