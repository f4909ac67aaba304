"""How long a run takes, stage by stage, or what its minutes are enough for, from a few steps of training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hwnas.backends.torch import network_module
from hwnas.data import Dataset, resized
from hwnas.display import duration, epochs_text, steps_text
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.nas.strategies import strategy
from hwnas.run.clock import Clock
from hwnas.run.images import images_of
from hwnas.run.instance import extreme
from hwnas.run.plan import Plan
from hwnas.run.stage_guess import Guess, Guesser, Stage, short
from hwnas.train import Recipe, training_session
from hwnas.train.timing import mean_step_s, timed_batch
from hwnas.train.training import Training

TIMING = "reading the images, and timing a few steps, to tell how long the run takes"
"""What is said before a plan is `limited`, for some seconds of silence follow."""
_LIMIT_S = 1.0  # for the steps that are timed
_ROOMIER = 1.25  # from one number of minutes that is looked at to the next
_LONGEST = 100_000.0  # minutes
_COUNTED = 64  # images that mean and deviation are taken from, where nothing is trained
_PROMISED = 1.2  # times the minutes, that a run may take (docs/decisions/0049)
_LONG, _SHORTER = 30.0, 12.0  # minutes: a run without any that is longer is told what so many would give
_FEWEST_EPOCHS = 2.0  # of a final training; less is said in so many words
_LONGEST_DEFAULT, _DEFAULT = 45.0, 40.0  # minutes of a search from a parent, where nobody says how long it may take
_CHEAPER = 0.8  # of the minutes that are enough: a strategy that needs no more of them is worth a word


@dataclass(frozen=True)
class Forecast:
    """How long a run takes.

    Attributes:
        minutes: that were asked for, or are taken where nobody asked; 0 for none.
        enough_minutes: with so many, search and training are no longer hurried; about. 0 where none were asked for.
        advice: what to give up where the minutes are too few, or which ones to give where the run is long without
            any; else empty.
    """

    minutes: float
    stages: tuple[Stage, ...]
    enough_minutes: float
    advice: str

    @property
    def takes_minutes(self) -> float:
        """All stages together."""
        return sum(one.minutes for one in self.stages)

    @property
    def memory_mib(self) -> int:
        """Most that the process takes, about."""
        return max((one.memory_mib or 0 for one in self.stages), default=0)

    @property
    def table(self) -> str:
        """For people: a line for the whole run, and an aligned one for each stage."""
        names, times = [one.name for one in self.stages], [one.time for one in self.stages]
        wide, high = (max(map(len, column), default=0) for column in (names, times))
        rows = (
            f"{name:<{wide}}  {time:>{high}}  {one.details}".rstrip()
            for name, time, one in zip(names, times, self.stages, strict=True)
        )
        return "\n".join([self._whole, *rows])

    def __str__(self) -> str:
        return f"the run takes {self._whole}: {', '.join(map(str, self.stages))}"

    @property
    def _whole(self) -> str:
        asked = f" with --minutes {self.minutes:g}" if self.minutes else ""
        memory = f", at most {self.memory_mib:,} MiB of memory" if self.memory_mib else ""
        return f"about {duration(60.0 * self.takes_minutes)}{asked}{memory}"

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; every time is in minutes, memory is that of the process."""
        return {
            "asked": self.minutes or None,
            "takes": self.takes_minutes,
            "memory_mib": self.memory_mib,
            "stages": [vars(one) for one in self.stages],
            "enough": self.enough_minutes or None,
            "advice": self.advice,
        }


def limited(plan: Plan, dataset: Dataset | None, clock: Clock) -> tuple[Plan, Forecast]:
    """The plan and how long its stages take, from a few steps of its smallest and of its largest network.

    A search from a parent of which nobody says how long it may take gets minutes where it would take long: 40, or more
    where it cannot end in them.

    Args:
        dataset: takes the place of the data source of the plan, whose images are read otherwise.
        clock: of the run; what it has spent comes off its minutes.

    Raises:
        DataError: the images cannot be used.
        InputError: what cannot be shortened takes longer than the minutes, or no step fits into the memory.
    """
    guesser, found = _foreseen(plan, dataset, clock)
    asked = plan.config.train
    if plan.parent is None or asked.minutes or asked.epochs or found.takes_minutes <= _LONGEST_DEFAULT:
        return plan, found
    minutes = _enough_to_end(guesser, _DEFAULT, found.takes_minutes)
    if minutes >= found.takes_minutes:
        return plan, found
    advice = (
        f"--minutes {minutes:g} is taken, as the run would take about {duration(60.0 * found.takes_minutes)} by "
        "default: give more --minutes, or --epochs, for a longer one"
    )
    told = Forecast(minutes, guesser.guess(minutes).stages, 0.0, advice)
    return plan.with_config(plan.config.changed(train={"minutes": minutes})), told


def _foreseen(plan: Plan, dataset: Dataset | None, clock: Clock) -> tuple[Guesser, Forecast]:
    compute, resolution = plan.config.compute, Size(*plan.space.input_shape[1:])
    if dataset is None:
        dataset = images_of(plan.config, resolution, counted=_COUNTED)
    dataset = plan.prepared(resized(dataset, resolution))
    with training_session(compute.seed, compute.threads):  # modules are made, which draw their weights
        guesser = Guesser(plan, dataset, _image_s(plan, dataset), clock.spent_s())
        return guesser, _told(plan, guesser)


def _told(plan: Plan, guesser: Guesser) -> Forecast:
    minutes = plan.config.train.minutes
    found = guesser.guess(minutes)
    if not minutes:
        return Forecast(minutes, found.stages, 0.0, _shorter(plan, guesser, found))
    if found.enough:
        return Forecast(minutes, found.stages, minutes, "")
    enough = _enough_minutes(guesser, minutes)
    told = Forecast(minutes, found.stages, enough, _advice(plan, guesser, found, minutes, enough))
    if found.minutes > _PROMISED * minutes:
        fewest = _enough_to_end(guesser, minutes, _LONGEST)
        raise InputError(
            f"--minutes {minutes:g} is too few: {told}", hint=f"it ends with --minutes {short(fewest)}; {told.advice}"
        )
    return told


def _image_s(plan: Plan, dataset: Dataset) -> float:
    """Seconds that an image takes in a training, the mean of the smallest and of the largest network."""
    recipe = Recipe.for_images(len(dataset.train))
    batch_size = min(len(dataset.train), timed_batch(recipe.batch_size, dataset.resolution))
    recipe = replace(recipe, batch_size=batch_size)
    times_s = []
    for pick in (min, max):
        run = Training(network_module(extreme(plan.space, pick)), dataset, recipe, 0, plan.accelerator)
        times_s.append(mean_step_s(_again(run), limit_s=_LIMIT_S / 2) / recipe.batch_size)
    return sum(times_s) / 2


def _again(run: Training) -> Iterator[float]:
    while True:
        yield from run.epoch(0)


def _enough_minutes(guesser: Guesser, minutes: float) -> float:
    """How many are about enough, from `minutes` on."""
    while not guesser.guess(minutes).enough and minutes < _LONGEST:
        minutes *= _ROOMIER
    return minutes


def _enough_to_end(guesser: Guesser, minutes: float, longest: float) -> float:
    """The fewest minutes, from `minutes` on, in which a run ends, however hurried; about."""
    while guesser.guess(minutes).minutes > 1.05 * minutes and minutes < longest:
        minutes *= _ROOMIER
    return minutes


def _shorter(plan: Plan, guesser: Guesser, found: Guess) -> str:
    """What makes a run without any minutes shorter where it takes long; empty where it does not."""
    if found.minutes <= _LONG:
        return ""
    if plan.config.search.evaluator == "from-scratch":  # which no minutes limit
        return "the run is long: fewer --evaluator-epochs and --epochs make it shorter"
    if plan.config.train.epochs:
        return "the run is long: fewer --epochs make it shorter"
    minutes = _enough_to_end(guesser, _SHORTER, found.minutes)
    other = guesser.guess(minutes)
    given = f"the run is long: --minutes {short(minutes)} would"
    if found.training_epochs is None or other.training_epochs is None:
        return f"{given} shorten the search"
    few = f"{other.training_epochs:.2g}" if other.training_epochs >= 1.0 else steps_text(other.steps)
    usual = epochs_text(found.training_epochs, found.steps)
    return f"{given} give {few} of the {usual} of each final training at this size"


def _advice(plan: Plan, guesser: Guesser, found: Guess, minutes: float, enough: float) -> str:
    """What a user can do about minutes that are too few."""
    config = plan.config
    cheaper = ["a smaller --width or --resolution"]
    if config.started and not config.from_parent and plan.strategy.relaxation is not None:
        cheaper.append("--search-share 0")
    if _random_is_cheaper(plan, guesser, minutes, enough):
        cheaper.append("--strategy random")
    if config.train.baseline and config.train.enabled:
        cheaper.append("--no-baseline")
    if any(one.missing for one in plan.each):
        cheaper.append("the table measured before, by hwnas profile-device")
    few = f"--minutes {minutes:g} is too few for a search and a training without hurry"
    advice = f"{few}: give about --minutes {short(enough)}"
    advice = f"{advice}, or {', or '.join(cheaper)}"
    if found.heads_alone:
        return f"{advice}; as it is, no final training is started, and networks get heads of their own alone"
    settled = config.train.epochs or config.from_parent  # whose heads have learned before
    if (epochs := found.training_epochs) is None or epochs >= _FEWEST_EPOCHS or settled:
        return advice
    counted = dict.fromkeys((epochs_text(epochs, found.steps), steps_text(found.steps)))
    return f"{advice}; as it is, each final training has {', '.join(counted)}: little to learn from"


def _random_is_cheaper(plan: Plan, guesser: Guesser, minutes: float, enough: float) -> bool:
    """Whether far fewer minutes are enough for a random search with the same start."""
    if plan.strategy.relaxation is None or plan.strategy.replaces:
        return False
    other = guesser.of(replace(plan, strategy=strategy("random")))
    return _enough_minutes(other, minutes) <= _CHEAPER * enough
