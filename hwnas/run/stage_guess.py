"""How long the stages of a run take, by arithmetic alone, and how much memory the process has in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from hwnas.config import Configuration
from hwnas.data import Dataset
from hwnas.display import duration, epochs_text, steps_text
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.loop_times import options_a_step
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.parents.distil import distil_memory
from hwnas.parents.frozen import MOST_IMAGES
from hwnas.run.adaptation import StepTimes, adapting_s, affordable_adaptation, usual_adaptation
from hwnas.run.adaptation_work import AdaptationWork
from hwnas.run.clock import Clock, ending_s
from hwnas.run.latency_stage import measuring_s
from hwnas.run.parent_cut import expected_cut
from hwnas.run.plan import Plan
from hwnas.run.schedule import (
    FORWARD_SHARE,
    HURRIED_SHARE,
    MOST_EPOCHS,
    final_recipe,
    least_trainings_s,
    most_scores,
    own_head_images,
    score_recipe,
    search_settings,
    starts,
    taught_s,
    trainings,
    usual_recipe,
)
from hwnas.run.step_limit import largest_training, limit_bytes
from hwnas.train import Recipe
from hwnas.train.step_memory import StepMemory

_UNKNOWN_BUDGET_MS = 2.0  # taken for a share of the latency range
_PROCESS_MIB = 300
_FEWEST_SEARCH_STEPS = 60
_FURTHER_SCORES = 8  # about, of what is near the best candidates, and of what no budget would take


@dataclass(frozen=True)
class Stage:
    """A stage of a run: how long it takes and, where it has them, epochs, their time, and the memory of the process.

    Attributes:
        trains: whether it is that of the final networks.
        steps: of all epochs.
        warmup: epochs of warm-up among them.
        rough: whether the minutes decide on the epochs, so that a run on a busier machine has fewer.
    """

    name: str
    minutes: float
    epochs: float | None = None
    memory_mib: int | None = None
    epoch_s: float | None = None
    step_s: float | None = None
    trains: bool = False
    steps: float | None = None
    rough: bool = False
    warmup: float = 0.0

    @property
    def time(self) -> str:
        """How long it takes, with its unit."""
        return duration(60.0 * self.minutes)

    @property
    def details(self) -> str:
        """What is known but its name and its time; may be empty."""
        epochs, steps = "", ""
        if self.epochs is not None:
            epochs, steps = f"of {short(self.epoch_s)} s", f"of {short(self.step_s)} s"
            if self.epochs < 1.0:
                epochs, steps = f"{steps_text(self.steps or 0.0)} {steps}", f"an epoch takes {short(self.epoch_s)} s"
            else:
                epochs, steps = f"{epochs_text(self.epochs, 0.0)} {epochs}", f"steps {steps}"
            epochs = f"about {epochs}" if self.rough else epochs
            if self.warmup and self.epochs >= 1.0:
                epochs += f", {self.warmup:.3g} of them warm-up"
        memory = "" if self.memory_mib is None else f"process {self.memory_mib:,} MiB"
        return ", ".join(filter(None, (epochs, steps, memory)))

    def __str__(self) -> str:
        return f"{self.name} {self.time}" + (f" ({self.details})" if self.details else "")


def short(value: float | None) -> str:
    """A number with two digits, or whole ones from 100 on."""
    return "?" if value is None else f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


@dataclass(frozen=True)
class Guess:
    """The stages of a run.

    Attributes:
        enough: whether search and training are not hurried.
        steps: of each final training; 0 where nothing is trained.
        heads_alone: whether networks get heads of their own in place of final trainings, which are too short to start.
    """

    stages: tuple[Stage, ...]
    enough: bool
    steps: float
    heads_alone: bool = False

    @property
    def minutes(self) -> float:
        """All stages together."""
        return sum(one.minutes for one in self.stages)

    @property
    def training_epochs(self) -> float | None:
        """Of each final training; None where nothing is trained."""
        return next((one.epochs for one in self.stages if one.trains), None)


class Guesser:
    """Guesses the stages of a plan, for any minutes."""

    def __init__(self, plan: Plan, dataset: Dataset, image_s: float, spent_s: float) -> None:
        """Prepare it.

        Args:
            dataset: the images of the plan.
            image_s: what an image takes in a training, the mean of the smallest and of the largest network.
            spent_s: what the run has taken so far.

        Raises:
            InputError: the process alone takes all the memory that it may.
        """
        self._plan, self._dataset, self._image_s, self._spent_s = plan, dataset, image_s, spent_s
        self._budgets = len(plan.all_budgets)
        self._limit_bytes = limit_bytes(plan)
        parts = (dataset.train, dataset.val, dataset.test)
        self._images_mib = sum(prod(part.shape) for part in parts if part.in_memory) / 2**20

    def of(self, plan: Plan) -> Guesser:
        """The guesser of another plan with the same images and networks."""
        return Guesser(plan, self._dataset, self._image_s, self._spent_s)

    def guess(self, minutes: float) -> Guess:
        """The stages of the run in so many minutes; 0 for what follows the size of the data.

        Raises:
            InputError: no step fits into the memory.
        """
        plan, dataset = self._plan, self._dataset
        config = plan.config.changed(train={"minutes": minutes})
        images, val_images, budgets = len(dataset.train), len(dataset.val), self._budgets
        measuring, end_s = sum(map(measuring_s, plan.each)), self._end_s(config)
        left_s = Clock(minutes, earlier_s=self._spent_s + measuring).left_s(end_s)
        head_s, options_s, compared = self._adapting_s(config, left_s)
        left_s = max(0.0, left_s - head_s - options_s)
        epoch_s = images * self._image_s
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
            classes=len(dataset.classes),
            **compared,
        )
        part = min(1.0, (settings.epoch_steps * settings.batch_size or images) / images)
        warm_s, both_s = search_epoch_s(settings)
        search_s = part * (settings.warmup_epochs * warm_s + settings.epochs * both_s)
        scores_s = self._scores_s(config, settings, max(0.0, left_s - search_s))
        training_s = max(0.0, left_s - search_s - scores_s)
        recipe = final_recipe(
            config, images, timed=lambda recipe: (taught_s(recipe, epoch_s), training_s), budgets=budgets
        )
        count, epochs = trainings(config, budgets), recipe.passes(images)
        stages = [Stage("so far", self._spent_s / 60)]
        stages += [Stage("measuring", measuring / 60)] if measuring else []
        if plan.parent is not None:
            stages.append(Stage("head on the parent's features", head_s / 60))
            if options_s:
                stages.append(Stage("options of the parent", options_s / 60, memory_mib=self._adapting_mib))
        searched_epochs = part * settings.all_epochs
        if searched_epochs:
            batch_s = step / images * settings.batch_size
            memory = self._searching_mib(settings.batch_size)
            steps = searched_epochs * images / settings.batch_size
            rough = bool(minutes) and config.search.epochs is None
            stages.append(
                Stage(
                    "search",
                    search_s / 60,
                    searched_epochs,
                    memory,
                    step,
                    batch_s,
                    steps=steps,
                    rough=rough,
                    warmup=part * settings.warmup_epochs,
                )
            )
        scratch = config.search.evaluator == "from-scratch"
        memory = self._training_mib(score_recipe(config, images).batch_size) if scratch else None
        stages.append(Stage("scores", scores_s / 60, memory_mib=memory))
        started = starts(config, recipe, images)
        steps = epochs * images / recipe.batch_size if started else 0.0
        if started:
            name = "training" if count == 1 else f"{count} trainings"
            own_s, own_head_s = taught_s(recipe, epoch_s), self._own_head_s(recipe)
            batch_s, all_s = own_s / images * recipe.batch_size, count * (own_head_s + epochs * own_s)
            memory = self._training_mib(recipe.batch_size)
            rough = bool(minutes) and not config.train.epochs
            stages.append(
                Stage(name, all_s / 60, epochs, memory, own_s, batch_s, trains=True, steps=steps, rough=rough)
            )
        elif count:
            name = "head of its own" if count == 1 else f"{count} heads of their own"
            memory = self._training_mib(
                recipe.batch_size
            )  # as a few steps of a training are timed before it is left out
            all_s = count * self._own_head_s(recipe, alone=True)
            stages.append(Stage(name, all_s / 60, memory_mib=memory, trains=True))
        stages.append(Stage("verdict and report", end_s / 60))
        usual, searched_steps = Recipe.for_images(images).epochs, searched_epochs * images / settings.batch_size
        trained = not count or bool(config.train.epochs) or epochs >= min(MOST_EPOCHS, HURRIED_SHARE * usual)
        searched = (
            not settings.all_epochs or searched_steps >= _FEWEST_SEARCH_STEPS or settings.all_epochs >= MOST_EPOCHS
        )
        fits = sum(one.minutes for one in stages) <= 1.05 * minutes
        return Guess(tuple(stages), trained and searched and fits, steps, heads_alone=bool(count) and not started)

    def _end_s(self, config: Configuration) -> float:
        images = (1 + config.train.baseline) * len(self._dataset.test) + len(self._dataset.val)
        return sum(
            ending_s(
                [_UNKNOWN_BUDGET_MS if budget.relative else budget.value for budget in one.budgets],
                measured=one.device.reachable,
                baseline=config.train.baseline,
                unchecked=True,
                evaluation_s=FORWARD_SHARE * self._image_s * images,
            )
            for one in self._plan.each
        )

    def _adapting_s(self, config: Configuration, left_s: float) -> tuple[float, float, dict[str, int]]:
        """Of a parent: the head, the options with their scores, and on how many images candidates are compared."""
        if self._plan.parent is None:
            return 0.0, 0.0, {}
        scores, images = self._plan.strategy.replaces, len(self._dataset.train)
        frozen_s = self._image_s * self._work.features
        usual = usual_adaptation(self._dataset, self._cut)
        if not config.train.minutes:
            head_s = frozen_s * (min(images, MOST_IMAGES) + len(self._dataset.val))
            return head_s, self._work.usual_s(usual, self._image_s, scores=scores), {}
        trainings_s = least_trainings_s(config, images, self._image_s, budgets=self._budgets)
        times = StepTimes(usual.batch_size * self._work.distilled * self._image_s, frozen_s, trainings_s)
        found = affordable_adaptation(usual, left_s, times, train_images=images, cut=self._cut)
        head_s = frozen_s * min(images, found.head_images)
        return head_s, adapting_s(found, times, scores=scores), {"compared_images": found.compared_images}

    def _own_head_s(self, recipe: Recipe, *, alone: bool = False) -> float:
        """Of a network from a parent, for the head on its own features."""
        if self._plan.parent is None:
            return 0.0
        return FORWARD_SHARE * self._image_s * own_head_images(recipe, len(self._dataset.train), alone=alone)

    def _scores_s(self, config: Configuration, settings: SearchSettings, left_s: float) -> float:
        """Of all candidates and, without minutes, of a few more."""
        budgets, strategy = self._budgets, self._plan.strategy
        usual = settings.candidates + (_FURTHER_SCORES if strategy.sampler is None else 0)
        if config.search.evaluator == "from-scratch":
            images = len(self._dataset.train) * score_recipe(config, len(self._dataset.train)).epochs
            return budgets * usual * images * self._image_s
        if not ((settings.all_epochs or strategy.replaces) and settings.candidates):
            return 0.0
        settled = self._plan.parent is not None and not settings.all_epochs
        images = images_a_score(
            len(self._dataset.val), settings.score_images, len(self._dataset.classes), settled=settled
        )
        score_s = FORWARD_SHARE * self._image_s * images
        if config.train.minutes:
            most = most_scores(config, left_s=left_s, score_s=score_s, scored=2, budgets=budgets)
            return budgets * score_s * min(most, settings.candidates)
        return budgets * score_s * usual

    @cached_property
    def _cut(self) -> float:
        return max(map(expected_cut, self._plan.each))

    @cached_property
    def _work(self) -> AdaptationWork:
        return AdaptationWork.of(self._plan)

    def _searching_mib(self, batch_size: int) -> int | None:
        plan = self._plan
        if not plan.space.shares_weights or plan.config.search.evaluator == "from-scratch":
            return None
        return self._memory_mib(loop_memory(plan.space, plan.strategy), batch_size)

    def _training_mib(self, batch_size: int) -> int:
        return self._memory_mib(self._training_memory, batch_size)

    @cached_property
    def _training_memory(self) -> StepMemory:
        recipe = usual_recipe(self._plan.config, len(self._dataset.train))
        return largest_training(self._plan.space, recipe, self._plan.parent)

    @cached_property
    def _adapting_mib(self) -> int:
        assert self._plan.parent is not None
        memory = distil_memory(self._plan.space, self._plan.parent)
        return self._memory_mib(memory, usual_adaptation(self._dataset).batch_size)

    def _memory_mib(self, memory: StepMemory, batch_size: int) -> int:
        """With a step within the limit, which splits batches."""
        return self._mib(memory.total(batch_size, memory.at_once(batch_size, self._limit_bytes)))

    def _mib(self, step_bytes: float) -> int:
        """Of the process, with images and a step."""
        return round(step_bytes / 2**20 + self._images_mib + _PROCESS_MIB)
