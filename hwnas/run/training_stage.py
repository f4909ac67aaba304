"""Stage `train`: the final weights of a network, and the recipe that all networks of a run share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from torch import nn

from hwnas.arch.space import Architecture
from hwnas.backends.torch import network_module
from hwnas.nas.engine import SearchOutcome
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.schedule import final_recipe, hurried, kept_recipe
from hwnas.train import Recipe, recalibrate, train
from hwnas.train.timing import seconds_an_epoch


def shared_recipe(context: SearchContext, chosen: Sequence[tuple[int, ...]]) -> Recipe:
    """The recipe for the winners and the random networks; decided once a run.

    Args:
        chosen: the winner for each budget.
    """
    run, config = context.first, context.first.plan.config

    def epoch_s(recipe: Recipe) -> float:
        modules = (network_module(run.network(choices)) for choices in chosen)
        return mean(seconds_an_epoch(module, run.dataset, recipe, device=run.device) for module in modules)

    recipe = kept_recipe(
        context.folder.state / "recipe.json",
        lambda: final_recipe(
            config,
            len(run.dataset.train),
            spent_s=context.seconds(),
            epoch_s=epoch_s,
            budgets=len(context.runs),
        ),
    )
    if said := hurried(config, recipe, len(run.dataset.train)):
        context.progress.say(said)
    return recipe


def trained_from(found: SearchOutcome) -> str:
    """The weights that `trained` begins with: those that the networks of a supernet share, or random ones."""
    return "scratch" if found.supernet is None else "supernet"


def trained(run: RunContext, found: SearchOutcome, choices: tuple[int, ...], recipe: Recipe, label: str) -> nn.Module:
    """The network with its final weights: trained from those that the supernet gives it (docs/decisions/0010).

    Where there is no supernet, it is trained from random ones.
    """
    config = run.plan.config
    if found.supernet is None:
        torch.manual_seed(config.compute.seed)
        module: nn.Module = network_module(run.network(choices))
    else:
        module = found.supernet.extract(Architecture(run.plan.space.name, choices))
    if not config.train.enabled:
        recalibrate(module, run.dataset.train, run.dataset, device=run.device)
        return module
    return _to_the_end(run, module, choices, recipe, label)


def kept_training(run: RunContext, choices: tuple[int, ...]) -> Path:
    """The checkpoint of the training of a network; it stays when the training is over."""
    return run.folder.state / f"train-{'-'.join(map(str, choices))}.safetensors"


def trained_before(run: RunContext, choices: tuple[int, ...], recipe: Recipe) -> nn.Module:
    """A network with the weights that its training ended with, from the checkpoint.

    Raises:
        InputError: the checkpoint is damaged, or of another run.
    """
    return _to_the_end(run, network_module(run.network(choices)), choices, recipe, "train")


def _to_the_end(run: RunContext, module: nn.Module, choices: tuple[int, ...], recipe: Recipe, label: str) -> nn.Module:
    train(
        module,
        run.dataset,
        recipe,
        seed=run.plan.config.compute.seed,
        device=run.device,
        checkpoint=kept_training(run, choices),
        progress=run.progress,
        label=label,
    )
    return module
