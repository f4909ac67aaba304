"""Stage `train`: the final weights of a network, and the recipe that all networks of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple

import torch
from torch import nn

from hwnas.arch.space import Architecture
from hwnas.backends.torch import network_module
from hwnas.nas.engine import SearchOutcome
from hwnas.progress import Progress, Silent
from hwnas.run.clock import verdict_s
from hwnas.run.context import PROBE_SHARE, RunContext, SearchContext
from hwnas.run.followers import tell_training
from hwnas.run.kept_weights import better, compared_images, start_of_training
from hwnas.run.parent_head import fit_own_head, teacher_of
from hwnas.run.schedule import FORWARD_SHARE, final_recipe, hurried, kept_recipe, own_head_images, starts
from hwnas.run.step_limit import training_micro_batch
from hwnas.train import Recipe, recalibrate, train
from hwnas.train.timing import seconds_an_epoch
from hwnas.train.training import Shorten

REPAIR_SHARE = 0.15
"""Of the minutes: how much longer a run may take where a network has to be repaired."""
_HEADS_COMPARED_SHARE = 0.1  # of the images that a head is fitted on, where that is all that is done


class Final(NamedTuple):
    """A network with its final weights.

    Attributes:
        weights: whether these are what a training ended with, or what it began with, or would have.
        recipe: of the training, as it was followed.
    """

    module: nn.Module
    weights: Literal["trained", "start"]
    recipe: Recipe


def shared_recipe(context: SearchContext, chosen: Sequence[tuple[int, ...]]) -> Recipe:
    """The recipe for the winners and the random networks; decided once a run.

    Args:
        chosen: the winner for each budget.
    """
    run, config = context.first, context.first.plan.config

    images, asked = len(run.dataset.train), config.train.enabled

    def within_memory(recipe: Recipe, progress: Progress = context.progress) -> Recipe:
        return replace(recipe, micro_batch=training_micro_batch(run.plan, recipe, progress) if asked else 0)

    def timed(recipe: Recipe) -> tuple[float, float]:
        times_s, recipe = [], within_memory(recipe, Silent())
        teacher = teacher_of(run, recipe)
        with context.progress.track("time a few steps of training", len(chosen)) as advance:
            for choices in chosen:
                module = network_module(run.network(choices))
                limit_s = context.probe_s()
                epoch_s = seconds_an_epoch(
                    module, run.dataset, recipe, device=run.device, limit_s=limit_s, teacher=teacher
                )
                times_s.append(epoch_s)
                advance()
        image_s = FORWARD_SHARE * mean(times_s) / images
        return mean(times_s), context.left_s(unchecked=False, image_s=image_s)

    recipe = kept_recipe(
        run.recipe_path,
        lambda: within_memory(final_recipe(config, images, timed=timed, budgets=len(context.runs))),
    )
    if said := hurried(config, recipe, images):
        context.progress.say(said)
    return recipe


def trained_from(found: SearchOutcome) -> str:
    """The weights that `trained` begins with: those that the networks of a supernet share, or random ones."""
    return "scratch" if found.supernet is None else "supernet"


def repair_recipe(run: RunContext, choices: tuple[int, ...], recipe: Recipe) -> Recipe:
    """The recipe for a network that takes the place of one that was too slow; decided once.

    Where minutes are given, it and the random network beside it are trained in what is left of them and of what a run
    may take more.

    Args:
        recipe: of the network that it replaces.
    """
    config = run.plan.config
    if config.train.epochs or not config.train.minutes or not config.train.enabled:
        return recipe

    def timed(usual: Recipe) -> tuple[float, float]:
        limit_s = PROBE_SHARE * 60.0 * config.train.minutes
        with run.progress.track("time a few steps of training", 1) as advance:
            module = network_module(run.network(choices))
            few = replace(usual, micro_batch=recipe.micro_batch)
            teacher = teacher_of(run, few)
            epoch_s = seconds_an_epoch(module, run.dataset, few, device=run.device, limit_s=limit_s, teacher=teacher)
            advance()
        verdict, more_s = (
            verdict_s(1 + config.train.baseline, run.budget_ms),
            REPAIR_SHARE * 60.0 * config.train.minutes,
        )
        return epoch_s, run.clock.left_before(lambda slow: slow * verdict - more_s)

    return kept_recipe(
        _repair_path(run, choices),
        lambda: replace(
            final_recipe(
                config,
                len(run.dataset.train),
                timed=timed,
                networks=1 + config.train.baseline,
                most_epochs=recipe.epochs,
            ),
            micro_batch=recipe.micro_batch,
        ),
    )


def kept_repair_recipe(run: RunContext, choices: tuple[int, ...]) -> Recipe | None:
    """What `repair_recipe` has decided for a network in a run that was interrupted; None where it has not."""
    path = _repair_path(run, choices)
    return kept_recipe(path, Recipe) if path.exists() else None


def _repair_path(run: RunContext, choices: tuple[int, ...]) -> Path:
    return run.folder.state / f"recipe-{'-'.join(map(str, choices))}.json"


def trained(
    run: RunContext,
    found: SearchOutcome,
    choices: tuple[int, ...],
    recipe: Recipe,
    label: str,
    winner: tuple[int, ...] | None = None,
    *,
    shorten: Shorten | None = None,
) -> Final:
    """The network with its final weights: trained from those that the supernet gives it (docs/decisions/0010).

    Where there is no supernet, it is trained from random ones. From a parent it first gets a head of its own, and the
    parent teaches it (docs/decisions/0065); where the minutes are too few for that, the head is all. Inherited weights
    are kept where the validation images say that training made them worse, unless a number of epochs is asked for
    (docs/decisions/0050, 0076).

    Args:
        winner: the network that it is trained beside; by default it is that one itself.
        shorten: as for `train`.
    """
    config, images = run.plan.config, len(run.dataset.train)
    started = starts(config, recipe, images)
    if found.supernet is None:
        torch.manual_seed(config.compute.seed)
        module: nn.Module = network_module(run.network(choices))
    else:
        module = found.supernet.extract(Architecture(run.plan.space.name, choices))
    settled = found.supernet is not None and found.supernet.settled
    if not (started or settled):
        recalibrate(module, run.dataset.train, run.dataset, device=run.device)
    if config.train.enabled and run.plan.parent is not None and (settled or not started):
        most, compared = own_head_images(recipe, images, alone=not started), compared_images(run, recipe)
        compared = compared if started else max(compared, int(_HEADS_COMPARED_SHARE * most))
        fit_own_head(run, choices, module, most=most, compared=compared, label=label)
    if not started:
        return Final(module, "start", recipe)
    start = None
    if found.supernet is not None and not config.train.epochs:
        start = start_of_training(run, module, recipe, settled=settled)
    recipe = _to_the_end(run, choices, module, kept_training(run, choices, winner), recipe, label, shorten)
    if start is not None:
        module = better(run, start, module, recipe, label)
    return Final(module, "start" if module is start else "trained", recipe)


def kept_training(run: RunContext, choices: tuple[int, ...], winner: tuple[int, ...] | None = None) -> Path:
    """The checkpoint of the training of a network; it stays when the training is over.

    Args:
        winner: as for `trained`. One with a `repair_recipe` has checkpoints of its own, for a network may have been
            trained before by the recipe that all share.
    """
    winner = choices if winner is None else winner
    names = ["train", "-".join(map(str, choices))]
    if _repair_path(run, winner).exists():
        names += ["for", "-".join(map(str, winner))]
    return run.folder.state / f"{'-'.join(names)}.safetensors"


def trained_before(run: RunContext, choices: tuple[int, ...], recipe: Recipe) -> nn.Module:
    """A network with the weights that its training ended with, from the checkpoint.

    Raises:
        InputError: the checkpoint is damaged, or of another run.
    """
    module = network_module(run.network(choices))
    _to_the_end(run, choices, module, kept_training(run, choices), recipe, "train")
    return module


def _to_the_end(
    run: RunContext,
    choices: tuple[int, ...],
    module: nn.Module,
    kept: Path,
    recipe: Recipe,
    label: str,
    shorten: Shorten | None = None,
) -> Recipe:
    """Train the module in place; the recipe as it was followed."""
    teacher = teacher_of(run, recipe)
    tell_training(run, choices, recipe, teacher)
    return train(
        module,
        run.dataset,
        recipe,
        seed=run.plan.config.compute.seed,
        device=run.device,
        checkpoint=kept,
        progress=run.progress,
        label=label,
        teacher=teacher,
        shorten=shorten,
        ranks=run.ranks,
    )
