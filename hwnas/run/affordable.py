"""The instance that the minutes can train: the largest one within a budget is worth little after an epoch or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from hwnas.arch.costs import macs, written
from hwnas.arch.primitives import Graph
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import network_module
from hwnas.config import Configuration
from hwnas.display import counted, epochs_text
from hwnas.image_size import Size
from hwnas.nas.loop_times import options_a_step
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import Strategy
from hwnas.run.instance import ChosenInstance, extreme
from hwnas.run.schedule import FORWARD_SHARE, time_shares, usual_recipe
from hwnas.train import training_session
from hwnas.train.timing import mean_step_s

FEWEST_EPOCHS, FEWEST_STEPS = 8.0, 60.0
"""Of each final training, and of a search: with fewer, a smaller instance is taken."""
_FEWEST_HEAD_IMAGES = 1000
_FEWEST_PARENT_EPOCHS = 0.5  # from a parent, where a head on frozen features is worth more than epochs (0066)
_LEFT = 0.75  # of the minutes, for search and training; measuring, verdict and report take the rest
_WIDE, _SHARP = 0.5, 96  # width and pixels that are kept until there is nothing else to give up
_VALUE = 20  # multiply-adds that take as long in training as writing a value, measured (docs/decisions/0058)
_TIMED_S = 1.0
_MOST_IMAGES, _MOST_PIXELS = 16, 100_000  # of a timed step, but two images at least: it is the largest network

Rung = tuple[float, int]
"""Width and depth."""


@dataclass(frozen=True)
class Training:
    """What the time of a run is spent on.

    Attributes:
        images: gives the number of train images.
        device: that trains.
    """

    config: Configuration
    strategy: Strategy
    images: Callable[[], int]
    device: torch.device


@dataclass(frozen=True)
class Enough:
    """How far the minutes go with an instance: epochs of each final training, and steps of the search.

    Attributes:
        trained_steps: of each final training.
    """

    epochs: float
    steps: float
    trained_steps: float = 0.0
    fewest_epochs: float = FEWEST_EPOCHS

    def __bool__(self) -> bool:
        return self.epochs >= self.fewest_epochs and self.steps >= FEWEST_STEPS

    def __str__(self) -> str:
        if self.epochs < self.fewest_epochs or self.steps >= FEWEST_STEPS:
            return epochs_text(self.epochs, self.trained_steps)
        return counted(f"{self.steps:.2g}", "step of search", "steps of search")


def affordable(
    found: ChosenInstance,
    sizes: Sequence[Rung],
    resolutions: Sequence[Size],
    instance: Callable[[float, int, Size], SearchSpace],
    training: Training,
) -> tuple[ChosenInstance, str]:
    """The instance itself if the minutes train it for 8 epochs, with 60 steps of search, or a smaller one that they do.

    From a parent it is enough where a head sees a thousand images in the time of a training, or half an epoch: a larger
    input is worth more than a training (docs/decisions/0076). Where its blocks are replaced, nothing is searched by
    steps.
    Width is given up first, down to 0.5, then pixels, down to 96, and then what is left of both, by the work; where
    nothing is small enough, the smallest. How long an instance takes follows from a few timed steps of `found` and from
    multiply-adds and values written.

    Args:
        sizes: from small to large.
        resolutions: from large to small.

    Returns:
        The instance, and why it is another one, in a phrase for the user; empty where it is the same.
    """
    unit_s = _seconds_of_work(found.space, training)
    here = _enough(found.space, unit_s, training)
    if here:
        return found, ""
    resolution = found.size
    smaller = [
        (width, depth, other)
        for other in resolutions
        for width, depth in reversed(sizes[: sizes.index((found.width, found.depth)) + 1])
        if other.pixels <= resolution.pixels
    ]
    first = [
        one for one in smaller if one[0] >= min(_WIDE, found.width) and one[2].side >= min(_SHARP, resolution.side)
    ]
    spaces = {one: instance(*one) for one in smaller}
    rest = sorted(set(smaller) - set(first), key=lambda one: -mean_work(spaces[one]))
    order = [*first, *rest]
    chosen = next((one for one in order if _enough(spaces[one], unit_s, training)), order[-1])
    (width, depth, other), minutes = chosen, training.config.train.minutes
    said = (
        f"would fit width {found.width:g} at {resolution} px, but "
        f"{counted(f'{minutes:g}', 'minute trains', 'minutes train')} it for {here}: "
        f"width {width:g} at {other} px, {_enough(spaces[chosen], unit_s, training)}"
    )
    return ChosenInstance(spaces[chosen], width, depth, ""), said


def _enough(space: SearchSpace, unit_s: float, training: Training) -> Enough:
    config = training.config
    image_s = unit_s * mean_work(space)
    left_s = 60.0 * _LEFT * config.train.minutes
    searching, each = time_shares(config, len(config.budgets))
    batch_size = config.search.batch_size or SearchSettings.batch_size
    step_s = 1.5 * batch_size * image_s * options_a_step(space, training.strategy)
    idle = config.search.share == 0 or training.strategy.replaces
    images = training.images() if config.train.enabled else 0
    epochs = left_s * each / image_s / images if images else FEWEST_EPOCHS
    fewest = fewest_parent_epochs(images) if config.from_parent else FEWEST_EPOCHS
    trained_steps = epochs * images / usual_recipe(config, images).batch_size
    return Enough(epochs, FEWEST_STEPS if idle else left_s * searching / step_s, trained_steps, fewest)


def fewest_parent_epochs(images: int) -> float:
    """Of a training whose time is at least enough for a head on a thousand of the images, or on all."""
    return min(_FEWEST_PARENT_EPOCHS, FORWARD_SHARE * _FEWEST_HEAD_IMAGES / max(1, images))


def _seconds_of_work(space: SearchSpace, training: Training) -> float:
    """Seconds that training takes for a unit of work, from a few steps of the largest network."""
    network, pixels = extreme(space, max), space.input_shape[1] * space.input_shape[2]
    images = min(_MOST_IMAGES, max(2, _MOST_PIXELS // pixels))
    with training_session(training.config.compute.seed, training.config.compute.threads):
        module = network_module(network).to(training.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        x = torch.rand(images, *space.input_shape, device=training.device).to(memory_format=torch.channels_last)
        y = torch.zeros(images, dtype=torch.int64, device=training.device)

        def steps() -> Iterator[float]:
            while True:
                loss = cross_entropy(module(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                yield loss.item()

        return mean_step_s(steps(), limit_s=_TIMED_S) / images / work(network.graph)


def mean_work(space: SearchSpace) -> float:
    """Of an image in a network of the space, on the mean of the smallest and the largest."""
    return sum(work(extreme(space, pick).graph) for pick in (min, max)) / 2


def work(graph: Graph) -> float:
    """Of an image in a network or an op, in multiply-adds and what takes as long in training."""
    return macs(graph) + _VALUE * written(graph)
