"""Whether the strategy of a configuration, its evaluator, its reward, its settings and its device go together."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from hwnas.arch.space import SearchSpace
from hwnas.config import PARENTS, WITHOUT_SUPERNET, Configuration
from hwnas.config.method import OF_SCORES
from hwnas.config.presets import preset
from hwnas.data import Dataset
from hwnas.devices.device import Device
from hwnas.devices.statistic import Statistic
from hwnas.errors import InputError
from hwnas.executors.place import Place
from hwnas.latency.held_instance import held_as
from hwnas.latency.table import LatencyTable
from hwnas.metric_names import class_balanced
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import Strategy, strategies
from hwnas.progress import Progress

_UNEVEN = 3  # times as many images of one class as of another


def check_strategy(config: Configuration, chosen: Strategy) -> None:
    """Refuse what does not go together, before anything is measured.

    Raises:
        InputError: a rule is broken; it is named.
    """
    _check_scores(config, chosen)
    _check_reward(config, chosen)
    _check_method(config, chosen)
    _check_settings(config, chosen)
    if config.train.distil_weight and not config.from_parent:
        raise InputError(
            "train.distil_weight is that of a parent's predictions, but the search starts from no parent",
            hint=f"name one, such as --init {PARENTS[0]}, or leave train.distil_weight out",
        )


def uneven(config: Configuration, dataset: Dataset) -> str:
    """What is said of classes of very different sizes where every image is to count the same; else empty."""
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes))
    largest, smallest = (dataset.classes[index] for index in (counts.argmax(), counts.argmin()))
    if class_balanced(config.search.metric) or counts.max() < _UNEVEN * counts.min():
        return ""
    return (
        f"class {largest} has {counts.max()} train images and {smallest} has {counts.min()}: accuracy hardly tells how "
        "small classes fare, --metric balanced or macro-f1 does"
    )


def _check_scores(config: Configuration, chosen: Strategy) -> None:
    """Whether the scores that are asked for go with the rest of a configuration.

    Raises:
        InputError: they do not.
    """
    if config.search.evaluator == "one-shot":
        if config.space.name in WITHOUT_SUPERNET:
            raise InputError(
                f"the networks of the space {config.space.name} cannot share weights, as their layers read maps of "
                "different shapes, so there is no supernet to score them",
                hint="leave out --evaluator, or take --evaluator from-scratch and a sampler like --strategy metaqnn",
            )
        return
    if chosen.sampler is None:
        instead = "" if config.space.name in WITHOUT_SUPERNET else ", or --evaluator one-shot"
        raise InputError(
            f"scores by training are for samplers, and {chosen.name} is a relaxation, which learns with the weights "
            "of a supernet",
            hint=f"choose another --strategy, such as metaqnn or evolution{instead}",
        )
    if not config.train.enabled:
        raise InputError("with scores by training there are no shared weights to keep", hint="leave out --no-train")
    if config.train.minutes:
        raise InputError(
            "scores by training are limited by their epochs, not by minutes",
            hint="give --evaluator-epochs and --epochs in place of --minutes",
        )


def _check_reward(config: Configuration, chosen: Strategy) -> None:
    """Whether the strategy is told the reward.

    Raises:
        InputError: it is not.
    """
    if config.search.reward != "filter" and chosen.sampler is None:
        raise InputError(
            f"rewards are for samplers, and {chosen.name} is a relaxation, which the gradient of the latency presses",
            hint="leave out --reward, or choose a sampler, such as --strategy enas",
        )


def _check_method(config: Configuration, chosen: Strategy) -> None:
    """Whether the strategy is the preset's, and knows the guard and what is set of a method.

    Raises:
        InputError: it does not.
    """
    followed, guard = preset(config.search.preset), config.search.guard
    if followed is not None and chosen.name != followed.strategy:
        raise InputError(
            f"the preset {followed.name} is of the strategy {followed.strategy}, but the strategy is {chosen.name}",
            hint="leave out --strategy, or --preset",
        )
    if guard and guard not in chosen.guards:
        instead = ", ".join(one for one in chosen.guards if one != "none")
        why = "mixes no options in its steps" if instead else "has no α that steps could guard"
        raise InputError(
            f"the guard {guard} makes no sense with the strategy {chosen.name}, which {why}",
            hint=f"leave out --guard, or take one of {instead}" if instead else "leave out --guard",
        )
    known = {name for one in strategies() for name in one.tunes}
    if unknown := sorted((known & config.search.chosen().keys()) - chosen.tunes.keys()):
        owners = ", ".join(one.name for one in strategies() if unknown[0] in one.tunes)
        raise InputError(
            f"search.{unknown[0]} is of the strategies {owners}, but the strategy is {chosen.name}",
            hint="leave that out, or choose one of them with --strategy",
        )


def _check_settings(config: Configuration, chosen: Strategy) -> None:
    """Whether what is set for the training of a supernet has one to set it for.

    Raises:
        InputError: it has not.
    """
    scratch, idle = config.search.evaluator == "from-scratch", config.search.share == 0
    if not scratch and not idle:
        return
    used = {"metric", "candidates", "guard", *OF_SCORES, *chosen.tunes} if scratch and not idle else {"metric"}
    unused = [
        f"search.{one.name}" for one in fields(SearchSettings) if one.name in config.search.chosen().keys() - used
    ]
    if unused:
        why = "with scores by training there is no supernet" if scratch else "with a share of 0 nothing is searched"
        raise InputError(f"{why}, so nothing follows from {', '.join(unused)}", hint="leave that out")


def check_gpus(config: Configuration, place: Place) -> None:
    """Whether trainings for scores can take the GPUs that they are given.

    Raises:
        InputError: they cannot.
    """
    compute, rule = config.compute, "--gpus-per-trial is a share of a Ray cluster's GPUs for each training for a score"
    if compute.gpus_per_trial is None:
        return
    if config.search.evaluator != "from-scratch":
        raise InputError(
            f"{rule}, but shared weights score the candidates", hint="leave it out, or add --evaluator from-scratch"
        )
    if not place.cluster:
        raise InputError(
            f"{rule}, but candidates are trained by processes of this machine, which share its accelerator",
            hint="leave it out, or add --on ray",
        )
    if compute.gpus_per_trial and compute.accelerator in ("cpu", "mps"):
        raise InputError(
            f"{rule}, but the accelerator is {compute.accelerator}",
            hint="give --gpus-per-trial 0, or leave out --accelerator",
        )


def check_latency(config: Configuration, device: Device) -> None:
    """Whether the device can tell the latency that budgets are about.

    Raises:
        InputError: it cannot.
    """
    asked = Statistic(config.target.latency)
    asked.check(device)
    if asked.latency == "cold" and not device.reachable:
        raise InputError(
            f"the imported table of {device.id} holds no cold latencies, and nothing can be measured there",
            hint="leave out --latency cold, or describe the device in a TOML file",
        )


def say_if_held(table: LatencyTable, space: SearchSpace, progress: Progress) -> None:
    """Tell the user where an imported table was made for other images than those of the search."""
    held = held_as(table, space)
    if held not in (None, space.signature):
        progress.say(
            f"the table of {table.device} is of {held} (i: channels, o: classes): what it does not tell apart, such as "
            "stem and classifier, counts as there, which is no less than here"
        )
