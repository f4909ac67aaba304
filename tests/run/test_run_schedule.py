"""How long search and training take, and that a resumed run keeps what was decided."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import a_config

from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.run.config import parse_share
from hwnas.run.plan import make_plan
from hwnas.run.schedule import (
    MOST_EPOCHS,
    final_recipe,
    hurried,
    kept_recipe,
    kept_settings,
    search_settings,
    search_share,
)
from hwnas.search.search_settings import SearchSettings
from hwnas.search.strategies import strategy
from hwnas.train import Recipe

CONFIG = a_config(Path("images"))
IMAGES, VAL = 6400, 1600


def unasked(_: object) -> float:
    raise AssertionError("measured without need")


def never(_: object) -> tuple[float, float]:
    raise AssertionError("measured without need")


def test_without_minutes_the_data_decide() -> None:
    relaxed, sampled = strategy("gumbel"), strategy("random")
    settings = search_settings(CONFIG, IMAGES, relaxed, val_images=VAL, spent_s=1.0, epoch_s=never)
    assert settings == SearchSettings.for_images(IMAGES)
    recipe = final_recipe(CONFIG, IMAGES, spent_s=1.0, epoch_s=unasked)
    assert recipe == Recipe.for_images(IMAGES)
    fair = search_settings(CONFIG, IMAGES, sampled, val_images=VAL, spent_s=1.0, epoch_s=never)
    assert fair.images(IMAGES, relaxed=False) == pytest.approx(settings.images(IMAGES, relaxed=True), rel=0.1)
    guided = search_settings(CONFIG, IMAGES, strategy("enas"), val_images=VAL, spent_s=1.0, epoch_s=never)
    assert replace(guided, candidates=settings.candidates) == settings
    assert (settings.candidates, guided.candidates, fair.candidates) == (12, 24, 60)


def test_epochs_that_are_asked_for_are_taken() -> None:
    recipe = final_recipe(replace(CONFIG, epochs=7), IMAGES, spent_s=0.0, epoch_s=unasked)
    assert recipe == replace(Recipe.for_images(IMAGES), epochs=7)


def test_cells_of_darts_are_trained_by_their_recipe() -> None:
    def recipe(**changes: Any) -> Recipe:
        return final_recipe(replace(CONFIG, **changes), IMAGES, spent_s=0.0, epoch_s=lambda _: 8.0)

    plain = recipe(epochs=7)
    assert plain == recipe(epochs=7, recipe="default", space="darts") == recipe(epochs=7, space="nasbench201")
    assert plain.for_cells() == recipe(epochs=7, space="darts") == recipe(epochs=7, recipe="cells")
    timed = recipe(minutes=20.0, space="darts")
    assert timed == replace(timed, cutout=0.0, drop_path=0.0, auxiliary=0.0).for_cells()
    assert recipe(space="darts") == Recipe.for_images(IMAGES).for_cells()


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="is one of auto, default, cells, not 'soup'"):
        make_plan(replace(CONFIG, recipe="soup"), None)


@pytest.mark.parametrize("baseline", [True, False])
@pytest.mark.parametrize("minutes", [5.0, 20.0, 60.0])
def test_the_minutes_are_used_and_not_exceeded(minutes: float, baseline: bool) -> None:
    config = replace(CONFIG, minutes=minutes, baseline=baseline)
    spent_s = 30.0
    settings = search_settings(
        config, IMAGES, strategy("gumbel"), val_images=VAL, spent_s=spent_s, epoch_s=lambda _: (3.0, 6.0)
    )
    spent_s += 3.0 * settings.warmup_epochs + 6.0 * settings.epochs
    recipe = final_recipe(config, IMAGES, spent_s=spent_s, epoch_s=lambda _: 8.0)
    spent_s += (1 + baseline) * 8.0 * recipe.epochs
    assert 0.85 * 60.0 * minutes < spent_s <= 60.0 * minutes


@pytest.mark.parametrize("minutes", [2.0, 5.0])
def test_where_few_epochs_fit_there_are_six_shorter_ones(minutes: float) -> None:
    config = replace(CONFIG, minutes=minutes, baseline=False)
    left_s = search_share(config) * 60.0 * minutes
    settings = search_settings(
        config, IMAGES, strategy("darts"), val_images=VAL, spent_s=0.0, epoch_s=lambda _: (30.0, 60.0)
    )
    assert settings.all_epochs == 6
    part = settings.epoch_steps * settings.batch_size / IMAGES
    assert 0.85 * left_s < part * (30.0 * settings.warmup_epochs + 60.0 * settings.epochs) <= 1.05 * left_s


@pytest.mark.parametrize("name", ["random", "enas"])
@pytest.mark.parametrize("minutes", [1.0, 5.0, 20.0])
def test_what_a_sampler_scores_is_within_the_minutes(name: str, minutes: float) -> None:
    config = replace(CONFIG, minutes=minutes, train=False)
    settings = search_settings(
        config, IMAGES, strategy(name), val_images=VAL, spent_s=0.0, epoch_s=lambda _: (3.0, 6.0)
    )
    scored_s = settings.candidates * 3.0 / 3 * (768 + 2 * VAL) / IMAGES
    trained_s = 3.0 * settings.warmup_epochs + 6.0 * settings.epochs
    assert 12 <= settings.candidates <= 60
    assert scored_s <= 30.0 * minutes or settings.candidates == 12
    assert 0.8 * 60.0 * minutes < scored_s + trained_s <= 60.0 * minutes


@pytest.mark.parametrize(("minutes", "reserve_s"), [(1.0, 6), (3.0, 18), (5.0, 20)])
def test_what_is_left_but_a_reserve_goes_to_the_training(minutes: float, reserve_s: int) -> None:
    config = replace(CONFIG, minutes=minutes, baseline=False)
    assert final_recipe(config, IMAGES, spent_s=30.0, epoch_s=lambda _: 1.0).epochs == 60 * minutes - 30 - reserve_s


def test_little_training_in_few_minutes_is_said() -> None:
    usual, timed = Recipe.for_images(IMAGES).epochs, replace(CONFIG, minutes=2.0)
    few = Recipe(epochs=math.ceil(usual / 5) - 1)
    said = hurried(timed, few, IMAGES)
    assert f"{few.epochs} of the usual {usual} epochs" in said
    assert "--minutes" in said
    assert hurried(timed, replace(few, epochs=few.epochs + 1), IMAGES) == ""
    for quiet in (replace(timed, train=False), replace(timed, epochs=1), replace(timed, minutes=0.0)):
        assert hurried(quiet, few, IMAGES) == ""


def test_too_few_minutes_train_as_little_as_there_is_and_too_many_stop_somewhere() -> None:
    hasty, idle = replace(CONFIG, minutes=0.1), replace(CONFIG, minutes=1e6)
    settings = search_settings(
        hasty, IMAGES, strategy("gumbel"), val_images=VAL, spent_s=60.0, epoch_s=lambda _: (3.0, 6.0)
    )
    assert (settings.warmup_epochs, settings.epochs, settings.epoch_steps) == (2, 4, 10)
    assert final_recipe(hasty, IMAGES, spent_s=60.0, epoch_s=lambda _: 4.0).epochs == 1
    assert final_recipe(idle, IMAGES, spent_s=60.0, epoch_s=lambda _: 4.0).epochs == MOST_EPOCHS
    assert (
        search_settings(
            idle, IMAGES, strategy("gumbel"), val_images=VAL, spent_s=0.0, epoch_s=lambda _: (3.0, 6.0)
        ).all_epochs
        == MOST_EPOCHS
    )


def test_what_was_decided_is_kept(tmp_path: Path) -> None:
    first = kept_recipe(tmp_path / "recipe.json", lambda: Recipe(epochs=3))
    assert kept_recipe(tmp_path / "recipe.json", lambda: Recipe(epochs=9)) == first == Recipe(epochs=3)
    settings = SearchSettings(epochs=4)
    assert kept_settings(tmp_path / "search.json", lambda: settings) == settings
    assert kept_settings(tmp_path / "search.json", SearchSettings) == settings
    write_json(tmp_path / "odd.json", {"epoch": 3})
    with pytest.raises(InputError, match=r"odd\.json: epoch is an unknown key"):
        kept_recipe(tmp_path / "odd.json", Recipe)


def test_a_training_gets_as_long_with_a_baseline_as_without_and_none_leaves_all_to_the_search() -> None:
    assert search_share(CONFIG) == pytest.approx(0.3)
    alone = search_share(replace(CONFIG, baseline=False))
    assert alone / (1 - alone) == pytest.approx(0.3 / 0.35)
    assert search_share(replace(CONFIG, train=False)) == 1.0


def test_a_share_is_of_the_search_from_a_random_start() -> None:
    def settings(name: str = "gumbel", **changes: Any) -> SearchSettings:
        config = a_config(Path("images"), strategy=name, **changes)
        spent = {"val_images": 300, "spent_s": 0.0, "epoch_s": lambda _: (1.0, 2.0)}
        return search_settings(config, 6400, strategy(name), **spent)  # type: ignore[arg-type]

    for changes in ({}, {"minutes": 30.0}):
        for name in ("gumbel", "bayesian", "enas"):
            whole = settings(name, **changes)
            assert settings(name, init="first", search_share="1", **changes) == whole
            half = settings(name, init="first", search_share="50%", **changes)
            assert half == settings(name, init="first", search_share="0.5", **changes)
            for field in ("warmup_epochs", "epochs", "candidates"):
                assert getattr(half, field) == pytest.approx(getattr(whole, field) / 2, abs=0.5)
    tenth = settings(init="first", search_share="10%", scores="training", name="bayesian")
    assert (tenth.all_epochs, tenth.candidates) == (0, 6)
    none = settings(init="first", search_share="0", minutes=30.0)
    assert none.all_epochs == 0
    assert settings(init="first").epochs < settings().epochs


def test_shares() -> None:
    shares = [parse_share(text) for text in ("", "0", "0%", "10%", "0.1", ".5", "100%", "1")]
    assert shares == [None, 0.0, 0.0, 0.1, 0.1, 0.5, 1.0, 1.0]
    for text in ("2", "101%", "-0.1", "some", "nan", "1e-1"):
        with pytest.raises(InputError, match="between 0 and 1"):
            parse_share(text)


def test_learned_weights_are_trained_gently_for_few_epochs() -> None:
    """Below an eighth of the usual epochs in proportion, at a quarter of the rate at least; others as usual."""
    usual = Recipe.for_images(500)  # 64 epochs

    def rate(epochs: int, **changes: Any) -> float:
        config = replace(CONFIG, epochs=epochs, **changes)
        return final_recipe(config, 500, spent_s=0.0, epoch_s=unasked).lr / usual.lr

    assert [
        rate(round(share * usual.epochs), init="first") for share in (1.0, 0.125, 0.0625, 0.03125)
    ] == pytest.approx([1.0, 1.0, 0.5, 0.25])
    assert rate(1, init="first") == 0.25
    assert rate(1) == rate(0) == rate(0, init="first") == 1.0
    assert rate(1, init="first", scores="training") == 1.0


def test_a_small_share_of_a_search_from_learned_weights_is_gentle() -> None:
    def rate(**changes: str) -> float:
        config = replace(CONFIG, **changes)
        return (
            search_settings(config, IMAGES, strategy("gumbel"), val_images=VAL, spent_s=0.0, epoch_s=never).lr
            / SearchSettings.lr
        )

    assert rate(init="first", search_share="5%") == pytest.approx(0.4)
    assert rate(init="first", search_share="1") == rate(init="first") == rate() == 1.0
