"""Stage `search`: one search for all budgets, with shared weights or with trainings from scratch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch

from hwnas.errors import HwnasError
from hwnas.meta.earlier import write_sampler_state
from hwnas.nas.engine import SearchOutcome, search
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.nas.strategies import Strategy, plugin_of
from hwnas.plugins import contained
from hwnas.run.context import SearchContext
from hwnas.run.late_targets import late_start
from hwnas.run.parent_stage import adapted_start
from hwnas.run.result import write_evaluated
from hwnas.run.schedule import kept_recipe, score_recipe
from hwnas.run.search_length import length_of_search, scores_a_budget
from hwnas.run.step_limit import training_micro_batch
from hwnas.train import Recipe


def searched(context: SearchContext) -> tuple[SearchOutcome, ...]:
    """The outcome for each budget, with `evaluated.csv` in its folder, and the sampler's state beside the checkpoint.

    Budgets that come late find weights and scores of the search there, and train none.

    Raises:
        InputError: there is no architecture within a budget, strategy and evaluator do not go together, or the
            strategy, which is of a plug-in, raises something.
        DivergedError: the loss is not a number.
    """
    run, config = context.first, context.first.plan.config
    feasible = [one.feasible_set() for one in context.runs]
    parent, start = run.plan.parent, run.plan.start
    start = start if parent is None else adapted_start(context, parent)
    start = late_start(context, start) if context.late else start
    settings = length_of_search(context, feasible)
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
            most_scores=scores_a_budget(context, settings) if config.train.minutes else None,
            devices=[one.plan.index for one in context.runs],
            inherited=context.folder.state / "inherited.json" if context.late else None,
            told=[one.progress for one in context.runs],
            ranks=run.ranks,
        )
    for one, outcome in zip(context.runs, outcomes, strict=True):
        write_evaluated(one, outcome)
        scores = [scored.score for scored in outcome.evaluated]
        told = {"metric": config.search.metric, "count": len(scores), "best": max(scores, default=None)}
        one.progress.record({"event": "scored"} | told)
    state = outcomes[-1].sampler_state  # of the loosest budget, within which the most was proposed
    if state is not None and not context.late:
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
        if context.place.cluster:
            context.progress.say(
                "nothing is done on the cluster: only with --evaluator from-scratch candidates are trained"
            )
        return nullcontext()
    gpus = _gpus(context)
    device = torch.device("cuda" if gpus else "cpu") if context.place.cluster else run.device

    def recipe() -> Recipe:
        found = score_recipe(config, len(run.dataset.train))
        at_once = training_micro_batch(run.plan, found, context.progress, processes=context.place.processes or 1)
        return replace(found, micro_batch=at_once)

    return FromScratchEvaluator(
        run.plan.space,
        run.dataset,
        kept_recipe(state / "score-recipe.json", recipe),
        seed=config.compute.seed,
        threads=config.compute.threads,
        device=device,
        place=context.place,
        folder=state / "scores",
        metric=config.search.metric,
        gpus=gpus,
        tell=context.progress.say,
    )


def _gpus(context: SearchContext) -> float:
    """Of a cluster, that each training for a score takes; processes of this machine share its accelerator."""
    asked = context.first.plan.config.compute.gpus_per_trial
    if not context.place.cluster:
        return 0.0
    return float(context.first.device.type == "cuda") if asked is None else asked
