"""How long search and training take: by the size of the data, by the number of epochs, or by the minutes there are.

What was decided is kept in the run directory, so that a resumed run goes on with the same numbers even if the machine
is faster or slower by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from hwnas.config import Configuration, Section
from hwnas.config.method import OF_SCORES
from hwnas.display import counted, steps_text
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.metric_names import class_balanced
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.nas.strategies import Strategy
from hwnas.run.adaptation import Adaptation
from hwnas.schema import at_least, read_json_as
from hwnas.train import Recipe, fine_tuning

_WEIGHTS_PART, _SCORING_PART, _TRAINING_PART = 0.16, 0.06, 0.5  # of what is left of the minutes, and of each training
MOST_EPOCHS = 300
HURRIED_SHARE = 0.2  # of the usual epochs of training; fewer are worth a word
_FEWEST_EPOCHS, _FEWEST_STEPS = 6, 2  # of a search; epochs become shorter before they become fewer
_FEWEST_TRAINING_EPOCHS = 10  # of whole length; below, shorter ones use up what whole ones would leave
_FEWEST_SCORES, _FURTHER_SCORES = 3, 25  # of candidates; and at most, of neighbours and of what no budget would take
_SPACES_OF_CELLS = ("darts",)  # whose paper trains final networks with wrappers (docs/decisions/0028)
_WARMUP_SHARE, _STARTED_WARMUP_SHARE = 0.35, 0.2  # of the epochs of a search, and of one from an initialisation
_WANTED_SCORES, _FEWEST_SCORE_IMAGES = 6, 64  # scores of fewer images come before fewer scores
_REPLACED_SCORING_PART, _FEWEST_REPLACED_SCORES = 0.12, 5  # of a search by replacements, which trains no supernet
_MOST_COMPARED = 400  # images of candidates from replacements, where minutes are given
_HEAD_SHARE = 0.4  # of a training that is short, for a head of its own on frozen features; and at most one pass of them
_SAMPLER_CANDIDATES, _GUIDING_CANDIDATES = 5, 2  # times those of a relaxation
_SAMPLER_SCORING_SHARE = 0.5  # of the time of a sampler's search, at most
FORWARD_SHARE = 1 / 3  # of what a training step takes
_FEWEST_OWN_HEAD = 256  # train images, whatever the time: on 64 a head of its own was worse than the parent's
_FEWEST_TAUGHT = 100  # train images; a parent's head that saw fewer is no help as a teacher (docs/decisions/0065)
_LARGEST = 2.0  # times a mean network takes the largest one, such as a parent; about
_FEWEST_PARENT_STEPS = 32  # of a final training from a parent: 16 made networks worse (docs/decisions/0076)


@dataclass(frozen=True)
class _Scores:
    """How many architectures are scored for each budget, at most."""

    most: Annotated[int, at_least(0)]


_Settings = TypeVar("_Settings", SearchSettings, Recipe)
_Kept = TypeVar("_Kept", SearchSettings, Recipe, Adaptation, _Scores)


def overridden(settings: _Settings, section: Section) -> _Settings:
    """The settings with what a section of the configuration sets itself in place of what follows the data."""
    names = {one.name for one in fields(settings)}
    return replace(settings, **{name: value for name, value in section.chosen().items() if name in names})


def search_settings(
    config: Configuration,
    train_images: int,
    strategy: Strategy,
    *,
    val_images: int,
    left_s: Callable[[float], float],
    epoch_s: Callable[[SearchSettings], tuple[float, float]],
    budgets: int = 1,
    classes: int = 0,
    compared_images: int = _MOST_COMPARED,
) -> SearchSettings:
    """Settings of the search; those that the configuration sets are as it says, and the others are derived.

    A sampler has no steps on α. One that guides is told accuracies in their place; another one gets as many steps on
    the weights instead, so that strategies that are compared have seen as many images.

    A sampler that begins after the weights learns from the candidates alone, so it scores five times as many as a
    relaxation, which has learned from every batch: 60 by default, more than the 50 after which MetaQNN explores no
    more, and six generations of evolution. One that guides has learned as well, and scores twice as many, for what it
    proposes is drawn, not decoded. Of the minutes, what a sampler has scored gets at most half of the search's share.

    A search by replacements has no epochs: its candidates are decoded, and scored with weights that no step changes.

    From an initialisation a search takes a quarter of the warm-up and half of the other epochs; where minutes are
    given, it takes as many epochs as fit, with less warm-up. Where fewer than six fit, six shorter ones on parts of the
    images take the same time, since multipliers and guidance come once an epoch.

    Where a share of a search is asked for, that is a share of what a random start would take, of epochs and of
    candidates; of a share of 0 nothing is left. Of a small share, learned weights are trained gently (`fine_tuning`).

    Args:
        val_images: on which candidates are scored.
        left_s: seconds for search, scores and trainings, where minutes are given, from those of an image in a network.
        epoch_s: measures seconds of an epoch of warm-up and of one of search.
        budgets: for how many of them there are candidates and trainings.
        classes: of the images, of each of which scores read some.
        compared_images: validation images that candidates from replacements are compared on where minutes are given;
            0 where there is no time for that.
    """
    derived = _derived_settings(
        config,
        train_images,
        strategy,
        val_images=val_images,
        left_s=left_s,
        epoch_s=epoch_s,
        budgets=budgets,
        classes=classes,
        compared_images=compared_images,
    )
    return overridden(derived, config.search)


def _derived_settings(
    config: Configuration,
    train_images: int,
    strategy: Strategy,
    *,
    val_images: int,
    left_s: Callable[[float], float],
    epoch_s: Callable[[SearchSettings], tuple[float, float]],
    budgets: int,
    classes: int,
    compared_images: int,
) -> SearchSettings:
    share = config.search.share
    if share == 0:
        return replace(SearchSettings.for_images(train_images), warmup_epochs=0, epochs=0, candidates=1)
    if share is not None:
        random_start = config.changed(search={"init": "", "share": None})
        whole = _derived_settings(
            random_start,
            train_images,
            strategy,
            val_images=val_images,
            left_s=left_s,
            epoch_s=epoch_s,
            budgets=budgets,
            classes=classes,
            compared_images=compared_images,
        )
        part = whole.shortened(share)
        return replace(part, lr=part.lr * fine_tuning(share)) if config.started else part
    settings = overridden(SearchSettings.for_images(train_images), config.search)
    if config.started:
        settings = settings.started()
    if strategy.replaces:
        settings = replace(settings, warmup_epochs=0, epochs=0)
        if not config.train.minutes:
            return settings
        return replace(settings, score_images=compared_images, candidates=settings.candidates if compared_images else 0)
    relaxed_candidates = settings.candidates
    if strategy.sampler is not None and config.search.candidates is None:
        guiding = strategy.guides and config.search.evaluator == "one-shot"
        times = _GUIDING_CANDIDATES if guiding else _SAMPLER_CANDIDATES
        settings = replace(settings, candidates=times * relaxed_candidates)
    if config.search.evaluator == "from-scratch":
        return replace(settings, warmup_epochs=0, epochs=0)
    if not config.train.minutes:
        if strategy.relaxation is None and not strategy.guides:
            settings = replace(settings, epochs=settings.epochs + round(settings.epochs / settings.arch_every))
        return settings
    warm_s, both_s = epoch_s(settings)
    training = trainings(config, budgets) * _TRAINING_PART
    searching = _WEIGHTS_PART + _SCORING_PART
    scoring = _SAMPLER_SCORING_SHARE * searching if strategy.sampler is not None else _SCORING_PART
    image_s = warm_s / train_images * FORWARD_SHARE
    available_s = left_s(image_s)
    scoring_s = available_s * scoring / (searching + training)
    limit = _limit_of_images(images_a_score(val_images, 0, classes), scoring_s / (budgets * image_s))
    score_s = budgets * image_s * images_a_score(val_images, limit, classes)
    if limit and limit < _FEWEST_SCORE_IMAGES:
        settings, scoring_s = replace(settings, candidates=0), 0.0
    else:
        settings = replace(settings, score_images=limit)
        scoring_s = min(scoring_s, (settings.candidates + _FURTHER_SCORES) * score_s)
        if strategy.sampler is not None:
            candidates = max(_FEWEST_SCORES, min(settings.candidates, int(scoring_s / score_s)))
            settings = replace(settings, candidates=candidates)
    weights = searching - scoring
    weights_s = (available_s - scoring_s) * weights / (weights + training)
    warmup_share = _STARTED_WARMUP_SHARE if config.started else _WARMUP_SHARE
    if config.search.warmup_share is not None:
        warmup_share = config.search.warmup_share
    mean_s = warmup_share * warm_s + (1.0 - warmup_share) * both_s
    fit = weights_s / mean_s
    all_steps = int(fit * train_images / settings.batch_size)
    fewest = _FEWEST_EPOCHS if all_steps >= _FEWEST_EPOCHS * _FEWEST_STEPS else 2
    epochs = min(MOST_EPOCHS, max(fewest, int(fit)))
    warmup = max(1, round(warmup_share * epochs)) if warmup_share else 0
    steps = max(1, all_steps // epochs) if fit < epochs else 0
    return replace(settings, warmup_epochs=warmup, epochs=epochs - warmup, epoch_steps=steps)


def _limit_of_images(each: int, images: float) -> int:
    """Of each part that a score reads, how many images: 0 for all, where `images` are enough for a few of `each`."""
    return 0 if images >= _WANTED_SCORES * each else max(1, int(images / (3 * _WANTED_SCORES)))


def most_scores(config: Configuration, *, left_s: float, score_s: float, scored: int, budgets: int = 1) -> int:
    """How many architectures may be scored for each budget, those that were to measure with included.

    Args:
        left_s: seconds for scores and trainings.
        score_s: what one takes.
        scored: how many were to measure with.
    """
    replaces = config.search.strategy == "replace"
    part, fewest = (_REPLACED_SCORING_PART, _FEWEST_REPLACED_SCORES) if replaces else (_SCORING_PART, _FEWEST_SCORES)
    share = part / (part + trainings(config, budgets) * _TRAINING_PART)
    return max(fewest, scored + int(left_s * share / max(score_s, 1e-6) / budgets))


def trainings(config: Configuration, budgets: int = 1) -> int:
    """How many networks a run trains: for each budget the winner, and the random baseline."""
    return budgets * config.train.enabled * (1 + config.train.baseline)


def taught_s(recipe: Recipe, epoch_s: float) -> float:
    """Seconds of an epoch with the teacher that a recipe asks for, from those without, in a mean network."""
    return epoch_s * (1.0 + _LARGEST * FORWARD_SHARE * (recipe.distil_weight > 0))


def time_shares(config: Configuration, budgets: int = 1) -> tuple[float, float]:
    """Parts of the time for search, scores and trainings: that of the search without scores, and of each training."""
    whole = _WEIGHTS_PART + _SCORING_PART + trainings(config, budgets) * _TRAINING_PART
    return _WEIGHTS_PART / whole, _TRAINING_PART / whole


def final_recipe(
    config: Configuration,
    train_images: int,
    *,
    timed: Callable[[Recipe], tuple[float, float]],
    budgets: int = 1,
    networks: int | None = None,
    most_epochs: int = MOST_EPOCHS,
) -> Recipe:
    """Recipe of the final trainings, the same for the found networks and for the baselines.

    What the configuration sets is as it says, and all else is derived. Where fewer than ten epochs fit, shorter ones
    on parts of the images use the time up.

    Args:
        timed: where minutes are given, measures seconds of an epoch, and tells those that are left to the trainings.
        budgets: for how many of them networks are trained.
        networks: how many are still to be trained, where that is not all.
        most_epochs: that fit in any minutes.
    """
    usual = _sized_recipe(config, train_images)
    inherits = config.search.evaluator != "from-scratch"

    def lasting(epochs: int, steps: int = 0, *, share: float, gently: bool) -> Recipe:
        """Of so many epochs; learned weights are trained gently where they are few."""
        rate = usual.lr * (fine_tuning(share) if gently and inherits and not config.from_parent else 1.0)
        return _finished(config, replace(usual, epochs=epochs, epoch_steps=steps, lr=rate), train_images)

    if config.train.epochs or not config.train.minutes:
        epochs = config.train.epochs or usual.epochs
        return lasting(epochs, share=epochs / usual.epochs, gently=config.started)
    asked = _finished(config, usual, train_images)
    epoch_s, left_s = timed(asked)
    fit = left_s / max(1, trainings(config, budgets) if networks is None else networks) / epoch_s
    if config.from_parent:
        fit -= min(_HEAD_SHARE * fit, FORWARD_SHARE)
    if fit >= _FEWEST_TRAINING_EPOCHS:
        epochs = min(most_epochs, int(fit))
        return lasting(epochs, share=epochs / usual.epochs, gently=True)
    epochs = max(1, math.ceil(fit))
    steps = max(1, int(fit / epochs * train_images / asked.batch_size))
    return lasting(epochs, steps, share=fit / usual.epochs, gently=True)


def usual_recipe(config: Configuration, train_images: int) -> Recipe:
    """Recipe of the final trainings where nothing is short."""
    return _finished(config, _sized_recipe(config, train_images), train_images)


def _sized_recipe(config: Configuration, train_images: int) -> Recipe:
    return replace(Recipe.for_images(train_images), class_balanced=_balanced(config))


def _finished(config: Configuration, recipe: Recipe, train_images: int) -> Recipe:
    """The recipe with what the space, the start and the configuration make of it."""
    if config.from_parent:
        settled, taught = config.search.strategy == "replace", train_images >= _FEWEST_TAUGHT
        recipe = recipe.from_parent(keep_statistics=settled, taught=taught)
    cells = config.train.recipe == "cells" or (config.train.recipe == "auto" and config.space.name in _SPACES_OF_CELLS)
    return overridden(recipe.for_cells() if cells else recipe, config.train)


def starts(config: Configuration, recipe: Recipe, train_images: int) -> bool:
    """Whether a final training is started.

    From a parent none is that the minutes cut to fewer than 32 steps: a network learns more from a head of its own in
    that time (docs/decisions/0071, 0076).
    """
    asked, passes = config.train, recipe.passes(train_images)
    if not asked.enabled or asked.epochs or not (config.from_parent and asked.minutes):
        return asked.enabled
    return passes * train_images >= _FEWEST_PARENT_STEPS * recipe.batch_size


def least_trainings_s(config: Configuration, train_images: int, image_s: float, *, budgets: int = 1) -> float:
    """Seconds of final trainings from a parent of as few steps as are started, and of heads before them.

    Args:
        image_s: of an image in a training, in a mean network, without a teacher.
    """
    recipe = usual_recipe(config, train_images)
    images = config.train.epochs * train_images or _FEWEST_PARENT_STEPS * recipe.batch_size
    return trainings(config, budgets) * images * taught_s(recipe, image_s) / (1.0 - _HEAD_SHARE)


def own_head_images(recipe: Recipe, train_images: int, *, alone: bool = False) -> int:
    """How many train images a head of its own is fitted on before a training: as many as its share of the time takes.

    Of a training that sees half of the images or more, they are all.

    Args:
        alone: whether the training is not started, and its time goes to the head.
    """
    share = 1.0 if alone else _HEAD_SHARE
    short = share / (1.0 - _HEAD_SHARE) / FORWARD_SHARE * recipe.passes(train_images)
    return min(train_images, max(_FEWEST_OWN_HEAD, round(short * train_images)))


def hurried(config: Configuration, recipe: Recipe, train_images: int) -> str:
    """What is said where the minutes leave little of the usual training; empty where they do not."""
    usual = Recipe.for_images(train_images).epochs
    asked, epochs = config.train, recipe.passes(train_images)
    if not asked.enabled or asked.epochs or not asked.minutes or epochs >= min(MOST_EPOCHS, HURRIED_SHARE * usual):
        return ""
    steps = steps_text(epochs * train_images / recipe.batch_size)
    more = "give more --minutes, a smaller --width or --resolution"
    if not starts(config, recipe, train_images):
        return f"{steps} of training are all that the search leaves time for: none is started, and heads get it; {more}"
    left = (
        f"{epochs:.3g} of the usual {counted(usual, 'epoch')}"
        if epochs >= 1.0
        else f"{steps}, not for the usual {counted(usual, 'epoch')},"
    )
    return f"the search leaves time for {left} of training: {more}"


def score_recipe(config: Configuration, train_images: int) -> Recipe:
    """Recipe of the short trainings that give scores: a fifth of the epochs of a final one, but at least two.

    There is no supernet then, so rate, batch size and the like of section `search` are those of these trainings.
    """
    chosen = Recipe.for_images(train_images)
    epochs = config.search.evaluator_epochs or max(2, round(chosen.epochs / 5))
    own = {name: value for name, value in config.search.chosen().items() if name in OF_SCORES}
    return replace(chosen, epochs=epochs, class_balanced=_balanced(config), **own)


def _balanced(config: Configuration) -> bool:
    """Whether the loss of a training weighs classes: as is set, or as the metric does (docs/decisions/0047)."""
    asked = config.train.class_balanced
    return class_balanced(config.search.metric) if asked is None else asked


def kept_settings(path: Path, make: Callable[[], SearchSettings]) -> SearchSettings:
    """What `path` holds, or else what `make` gives, which is then written there."""
    return _kept(path, make, SearchSettings)


def kept_recipe(path: Path, make: Callable[[], Recipe]) -> Recipe:
    """As `kept_settings`, for the final trainings."""
    return _kept(path, make, Recipe)


def kept_adaptation(path: Path, make: Callable[[], Adaptation]) -> Adaptation:
    """As `kept_settings`, for a parent."""
    return _kept(path, make, Adaptation)


def kept_scores(path: Path, make: Callable[[], int]) -> int:
    """As `kept_settings`, for the number of architectures that are scored."""
    return _kept(path, lambda: _Scores(make()), _Scores).most


def _kept(path: Path, make: Callable[[], _Kept], kind: type[_Kept]) -> _Kept:
    hint = "start the run anew, with --force"
    if path.exists():
        if not read_json_as(path, dict[str, Any], hint=hint):
            raise InputError(f"{path}: the settings of the run are gone", hint=hint)
        return read_json_as(path, kind, extra="forbid", hint=hint)
    settings = make()
    write_json(path, asdict(settings))
    return settings
