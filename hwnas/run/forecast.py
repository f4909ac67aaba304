"""What the minutes of a run are enough for: how long each stage takes, with how many epochs and how much memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from hwnas.backends.torch import network_module
from hwnas.config import Configuration
from hwnas.data import Dataset, resized
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.loop_times import options_a_step
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.run.clock import Clock, ending_s
from hwnas.run.images import images_of
from hwnas.run.instance import extreme
from hwnas.run.latency_stage import measuring_s
from hwnas.run.plan import Plan
from hwnas.run.schedule import (
    FORWARD_SHARE,
    HURRIED_SHARE,
    MOST_EPOCHS,
    adaptation_s,
    final_recipe,
    most_scores,
    own_head_images,
    search_settings,
    taught_s,
    trainings,
    usual_recipe,
)
from hwnas.run.step_limit import largest_training, limit_bytes
from hwnas.train import Recipe, training_session
from hwnas.train.step_memory import StepMemory
from hwnas.train.timing import mean_step_s, timed_batch
from hwnas.train.training import Training

_LIMIT_S = 1.0  # for the steps that are timed
_UNKNOWN_BUDGET_MS = 2.0  # taken for a share of the latency range
_PROCESS_MIB = 300
_ROOMIER = 1.25  # from one number of minutes that is looked at to the next
_LONGEST = 100_000.0  # minutes
_FEWEST_SEARCH_STEPS = 60
_COUNTED = 64  # images that mean and deviation are taken from, where nothing is trained
_PROMISED = 1.2  # times the minutes, that a run may take (docs/decisions/0049)


@dataclass(frozen=True)
class Stage:
    """A stage of a run: how long it takes and, where it has them, epochs, their time, and the memory of the process."""

    name: str
    minutes: float
    epochs: float | None = None
    memory_mib: int | None = None
    epoch_s: float | None = None
    step_s: float | None = None

    def __str__(self) -> str:
        epochs = "" if self.epochs is None else f"{self.epochs:.3g} epochs of {self.epoch_s:.2g} s"
        steps = "" if self.step_s is None else f"steps of {self.step_s:.2g} s"
        memory = "" if self.memory_mib is None else f"{self.memory_mib} MiB"
        more = ", ".join(filter(None, (epochs, steps, memory)))
        return f"{self.name} {self.minutes:.2g}" + (f" ({more})" if more else "")


@dataclass(frozen=True)
class Forecast:
    """What a run does in its minutes.

    Attributes:
        enough_minutes: with so many, search and training are no longer hurried; about.
        advice: what to give up where the minutes are too few; empty where they are enough.
    """

    minutes: float
    stages: tuple[Stage, ...]
    enough_minutes: float
    advice: str

    @property
    def takes_minutes(self) -> float:
        """All stages together."""
        return sum(one.minutes for one in self.stages)

    def __str__(self) -> str:
        return f"of {self.minutes:g} minutes about {self.takes_minutes:.2g}: {', '.join(map(str, self.stages))}"

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; every time is in minutes."""
        return {
            "asked": self.minutes,
            "stages": [vars(one) for one in self.stages],
            "enough": self.enough_minutes,
            "advice": self.advice,
        }


def forecast(plan: Plan, dataset: Dataset | None, clock: Clock) -> Forecast:
    """What the minutes of a plan are enough for, from a few steps of its smallest and of its largest network.

    Args:
        dataset: takes the place of the data source of the plan, whose images are read otherwise.
        clock: of the run; what it has spent comes off its minutes.

    Raises:
        DataError: the images cannot be used.
        InputError: what cannot be shortened takes longer than the minutes, or no step fits into the memory.
    """
    compute, resolution = plan.config.compute, Size(*plan.space.input_shape[1:])
    if dataset is None:
        dataset = images_of(plan.config, resolution, counted=_COUNTED)
    dataset = plan.prepared(resized(dataset, resolution))
    with training_session(compute.seed, compute.threads):
        image_s = _image_s(plan, dataset)
    known_ms = [budget.value for budget in plan.budgets if not budget.relative]
    guess = _Guess(plan, dataset, image_s, clock.spent_s(), known_ms or [_UNKNOWN_BUDGET_MS] * len(plan.budgets))
    minutes = plan.config.train.minutes
    stages, enough = guess.stages(minutes)
    if enough:
        return Forecast(minutes, stages, minutes, "")
    more = minutes
    while not guess.stages(more)[1] and more < _LONGEST:
        more *= _ROOMIER
    found = Forecast(minutes, stages, more, _advice(plan, minutes, more))
    if found.takes_minutes > _PROMISED * minutes:
        raise InputError(f"no run ends within so few --minutes: {found}", hint=found.advice)
    return found


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


def _advice(plan: Plan, minutes: float, enough: float) -> str:
    """What a user can do about minutes that are too few."""
    config = plan.config
    cheaper = ["a smaller --width or --resolution"]
    if config.search.init and not config.from_parent and plan.strategy.relaxation is not None:
        cheaper.append("--search-share 0")
    if plan.strategy.relaxation is not None and not plan.strategy.replaces:
        cheaper.append("--strategy random")
    if config.train.baseline and config.train.enabled:
        cheaper.append("--no-baseline")
    if plan.missing:
        cheaper.append("the table measured before, by hwnas profile-device")
    return f"{minutes:g} minutes are too few: give about --minutes {enough:.2g}, or {', or '.join(cheaper)}"


class _Guess:
    """How long the stages take, by arithmetic alone."""

    def __init__(self, plan: Plan, dataset: Dataset, image_s: float, spent_s: float, budgets_ms: list[float]) -> None:
        self._plan, self._dataset, self._image_s, self._budgets_ms = plan, dataset, image_s, budgets_ms
        self._spent_s = spent_s
        self._limit_bytes = limit_bytes(plan)
        parts = (dataset.train, dataset.val, dataset.test)
        self._images_mib = sum(prod(part.shape) for part in parts if part.in_memory) / 2**20
        shared = plan.space.shares_weights and plan.config.search.evaluator == "one-shot"
        searching = loop_memory(plan.space, plan.strategy) if shared else None
        batch_size = plan.config.search.batch_size or SearchSettings.batch_size
        self._searching = None if searching is None else self._memory_mib(searching, batch_size)
        recipe = usual_recipe(plan.config, len(dataset.train))
        self._training = self._memory_mib(largest_training(plan.space, recipe, plan.parent), recipe.batch_size)

    def _memory_mib(self, memory: StepMemory, batch_size: int) -> int:
        """Of the process, with images and a step within the limit."""
        at_once = memory.at_once(batch_size, self._limit_bytes)
        return round(memory.total(batch_size, at_once) / 2**20 + self._images_mib + _PROCESS_MIB)

    def stages(self, minutes: float) -> tuple[tuple[Stage, ...], bool]:
        """The stages in so many minutes, and whether search and training are not hurried."""
        plan, config, dataset = self._plan, self._minutes(minutes), self._dataset
        images, val_images, budgets = len(dataset.train), len(dataset.val), len(plan.budgets)
        classes = len(dataset.classes)
        epoch_s = images * self._image_s
        measuring = measuring_s(plan)
        evaluated = (1 + config.train.baseline) * len(dataset.test) + val_images
        end_s = ending_s(
            self._budgets_ms,
            measured=plan.device.reachable,
            baseline=config.train.baseline,
            unchecked=True,
            evaluation_s=FORWARD_SHARE * self._image_s * evaluated,
        )
        left_s = Clock(minutes, earlier_s=self._spent_s + measuring).left_s(end_s)
        adapting_s = adaptation_s(config, left_s, images=images, image_s=self._image_s)
        left_s -= adapting_s
        step = options_a_step(plan.space, plan.strategy) * epoch_s

        def search_epoch_s(settings: SearchSettings) -> tuple[float, float]:
            further = 1.0 / settings.arch_every if plan.strategy.relaxation is not None else 0.0
            return step, step * (1.0 + further)

        settings = search_settings(
            config,
            images,
            plan.strategy,
            val_images=val_images,
            left_s=lambda _: left_s,
            epoch_s=search_epoch_s,
            budgets=budgets,
            classes=classes,
        )
        part = min(1.0, (settings.epoch_steps * settings.batch_size or images) / images)
        warm_s, both_s = search_epoch_s(settings)
        search_s = part * (settings.warmup_epochs * warm_s + settings.epochs * both_s)
        images_scored = images_a_score(val_images, settings.score_images, classes) if settings.all_epochs else 0
        score_s = FORWARD_SHARE * self._image_s * images_scored
        most = most_scores(config, left_s=max(0.0, left_s - search_s), score_s=score_s, scored=2, budgets=budgets)
        scores_s = budgets * score_s * min(most, settings.candidates)
        training_s = max(0.0, left_s - search_s - scores_s)
        recipe = final_recipe(
            config, images, timed=lambda recipe: (taught_s(recipe, epoch_s), training_s), budgets=budgets
        )
        count, usual = trainings(config, budgets), Recipe.for_images(images).epochs
        passes = recipe.passes(images)
        stages = [Stage("so far", self._spent_s / 60)]
        stages += [Stage("measuring", measuring / 60)] if measuring else []
        searched_epochs, batch_s = part * settings.all_epochs, step / images * settings.batch_size
        stages += [Stage("options of the parent", adapting_s / 60)] if adapting_s else []
        stages += [
            Stage("search", search_s / 60, searched_epochs, self._searching, step, batch_s),
            Stage("scores", scores_s / 60),
        ]
        if count:
            name = "training" if count == 1 else f"{count} trainings"
            own_s = taught_s(recipe, epoch_s)
            head_s = FORWARD_SHARE * self._image_s * own_head_images(recipe, images) if config.from_parent else 0.0
            batch_s, all_s = own_s / images * recipe.batch_size, count * (head_s + passes * own_s)
            stages.append(Stage(name, all_s / 60, passes, self._training, own_s, batch_s))
        stages.append(Stage("verdict and report", end_s / 60))
        steps = searched_epochs * images / settings.batch_size
        trained = not count or bool(config.train.epochs) or passes >= min(MOST_EPOCHS, HURRIED_SHARE * usual)
        searched = not settings.all_epochs or steps >= _FEWEST_SEARCH_STEPS or settings.all_epochs >= MOST_EPOCHS
        fits = sum(one.minutes for one in stages) <= 1.05 * minutes
        return tuple(stages), trained and searched and fits

    def _minutes(self, minutes: float) -> Configuration:
        return self._plan.config.changed(train={"minutes": minutes})
