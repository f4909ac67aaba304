"""How long search and training take, and that a resumed run keeps what was decided."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import a_config, changed

from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import images_a_score
from hwnas.nas.strategies import strategy
from hwnas.run.plan import make_plan
from hwnas.run.schedule import (
    MOST_EPOCHS,
    final_recipe,
    hurried,
    kept_recipe,
    kept_scores,
    kept_settings,
    most_scores,
    own_head_images,
    score_recipe,
    search_settings,
    taught_s,
    usual_recipe,
)
from hwnas.train import Recipe

CONFIG = a_config(Path("images"))
IMAGES, VAL = 6400, 1600


def unasked(_: object) -> tuple[float, float]:
    raise AssertionError("measured without need")


def never(_: object) -> tuple[float, float]:
    raise AssertionError("measured without need")


def test_without_minutes_the_data_decide() -> None:
    relaxed, sampled = strategy("gumbel"), strategy("random")
    settings = search_settings(CONFIG, IMAGES, relaxed, val_images=VAL, left_s=lambda _: 0.0, epoch_s=never)
    assert settings == SearchSettings.for_images(IMAGES)
    recipe = final_recipe(CONFIG, IMAGES, timed=unasked)
    assert recipe == Recipe.for_images(IMAGES)
    fair = search_settings(CONFIG, IMAGES, sampled, val_images=VAL, left_s=lambda _: 0.0, epoch_s=never)
    assert fair.images(IMAGES, relaxed=False) == pytest.approx(settings.images(IMAGES, relaxed=True), rel=0.1)
    guided = search_settings(CONFIG, IMAGES, strategy("enas"), val_images=VAL, left_s=lambda _: 0.0, epoch_s=never)
    assert replace(guided, candidates=settings.candidates) == settings
    assert (settings.candidates, guided.candidates, fair.candidates) == (12, 24, 60)


def test_epochs_that_are_asked_for_are_taken() -> None:
    recipe = final_recipe(changed(CONFIG, epochs=7), IMAGES, timed=unasked)
    assert recipe == replace(Recipe.for_images(IMAGES), epochs=7)


@pytest.mark.parametrize(
    ("metric", "asked", "balanced"),
    [("accuracy", None, False), ("balanced", None, True), ("macro-f1", None, True), ("accuracy", True, True)],
)
def test_training_weighs_classes_as_the_metric_does_or_as_is_set(
    metric: str, asked: bool | None, balanced: bool
) -> None:
    config = CONFIG.changed(search={"metric": metric}, train={"class_balanced": asked})
    assert final_recipe(config, IMAGES, timed=unasked).class_balanced is balanced
    assert score_recipe(config, IMAGES).class_balanced is balanced
    settings = search_settings(config, IMAGES, strategy("gumbel"), val_images=VAL, left_s=lambda _: 0.0, epoch_s=never)
    assert settings.metric == metric


def test_cells_of_darts_are_trained_by_their_recipe() -> None:
    def recipe(**changes: Any) -> Recipe:
        return final_recipe(changed(CONFIG, **changes), IMAGES, timed=lambda _: (8.0, 800.0))

    plain = recipe(epochs=7)
    assert plain == recipe(epochs=7, recipe="default", space="darts") == recipe(epochs=7, space="nasbench201")
    assert plain.for_cells() == recipe(epochs=7, space="darts") == recipe(epochs=7, recipe="cells")
    timed = recipe(minutes=20.0, space="darts")
    assert timed == replace(timed, cutout=0.0, drop_path=0.0, auxiliary=0.0).for_cells()
    assert recipe(space="darts") == Recipe.for_images(IMAGES).for_cells()


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="is one of auto, default, cells, not 'soup'"):
        changed(CONFIG, recipe="soup")


@pytest.mark.parametrize("baseline", [True, False])
@pytest.mark.parametrize("name", ["gumbel", "random"])
@pytest.mark.parametrize("left_s", [120.0, 900.0, 1800.0])
def test_what_is_left_is_used_and_not_exceeded(left_s: float, name: str, baseline: bool) -> None:
    """Also where a score takes long, and most of it goes to the trainings."""
    config = changed(CONFIG, minutes=1.0, baseline=baseline, strategy=name)
    settings = search_settings(
        config, IMAGES, strategy(name), val_images=VAL, left_s=lambda _: left_s, epoch_s=lambda _: (3.0, 6.0)
    )
    score_s = 3.0 / 3 * images_a_score(VAL, settings.score_images) / IMAGES
    part = (settings.epoch_steps or IMAGES / settings.batch_size) * settings.batch_size / IMAGES
    both_s = 6.0 if name == "gumbel" else 3.0
    spent_s = part * (3.0 * settings.warmup_epochs + both_s * settings.epochs)
    spent_s += 2 * score_s
    most = most_scores(config, left_s=left_s - spent_s, score_s=score_s, scored=2)
    spent_s += score_s * (min(most, settings.candidates + 25) - 2) if settings.candidates else -2 * score_s
    searched_s = spent_s
    recipe = final_recipe(config, IMAGES, timed=lambda _: (8.0, left_s - spent_s))
    spent_s += (1 + baseline) * 8.0 * recipe.passes(IMAGES)
    assert 0.88 * left_s < spent_s <= left_s
    assert searched_s <= (0.2 if baseline else 0.32) * left_s


def test_where_few_epochs_fit_there_are_six_shorter_ones() -> None:
    config = changed(CONFIG, minutes=2.0, baseline=False)
    settings = search_settings(
        config, IMAGES, strategy("darts"), val_images=VAL, left_s=lambda _: 600.0, epoch_s=lambda _: (30.0, 60.0)
    )
    assert settings.all_epochs == 6
    part = settings.epoch_steps * settings.batch_size / IMAGES
    assert 0.19 * 600 < part * (30.0 * settings.warmup_epochs + 60.0 * settings.epochs) <= 0.25 * 600


@pytest.mark.parametrize("name", ["random", "enas"])
@pytest.mark.parametrize("left_s", [60.0, 300.0, 1200.0])
def test_what_a_sampler_scores_is_within_the_minutes(name: str, left_s: float) -> None:
    config = changed(CONFIG, minutes=1.0, train=False)
    settings = search_settings(
        config, IMAGES, strategy(name), val_images=VAL, left_s=lambda _: left_s, epoch_s=lambda _: (3.0, 6.0)
    )
    scored_s = settings.candidates * 3.0 / 3 * images_a_score(VAL, settings.score_images) / IMAGES
    trained_s = 3.0 * settings.warmup_epochs + (6.0 if name == "enas" else 3.0) * settings.epochs
    assert 3 <= settings.candidates <= 60
    assert scored_s <= 0.5 * left_s
    assert scored_s + trained_s <= left_s


@pytest.mark.parametrize(
    ("left_s", "epochs", "steps"), [(109.0, 10, 0), (47.0, 5, 94), (29.0, 3, 96), (15.0, 2, 75), (4.0, 1, 40)]
)
def test_parts_of_epochs_use_up_what_whole_ones_leave(left_s: float, epochs: int, steps: int) -> None:
    config = changed(CONFIG, minutes=1.0, baseline=False)
    recipe = final_recipe(config, IMAGES, timed=lambda _: (10.0, left_s))
    assert (recipe.epochs, recipe.epoch_steps) == (epochs, steps)
    assert recipe.passes(IMAGES) == pytest.approx(min(left_s, 100.0) / 10, rel=0.02)


@pytest.mark.parametrize(
    ("left_s", "limit", "candidates"), [(600.0, 0, 12), (60.0, 592, 12), (15.0, 148, 12), (6.0, 0, 0)]
)
def test_a_score_that_takes_long_reads_fewer_images_until_there_is_none(
    left_s: float, limit: int, candidates: int
) -> None:
    config = changed(CONFIG, minutes=1.0, baseline=False)
    settings = search_settings(
        config, IMAGES, strategy("gumbel"), val_images=VAL, left_s=lambda _: left_s, epoch_s=lambda _: (9.0, 18.0)
    )
    assert (settings.score_images, settings.candidates) == (limit, candidates)


def test_a_score_that_takes_long_leaves_few_of_them() -> None:
    config = changed(CONFIG, minutes=3.0, baseline=False)
    assert most_scores(config, left_s=120.0, score_s=5.0, scored=2) == 4
    assert most_scores(config, left_s=120.0, score_s=60.0, scored=2) == 3
    assert most_scores(config, left_s=120.0, score_s=0.05, scored=2) > 200


def test_replacements_leave_more_time_to_scores_as_nothing_is_searched() -> None:
    config = changed(CONFIG, minutes=3.0, init="efficientnet-lite0", space="efficientnet-lite0", strategy="replace")
    assert most_scores(config, left_s=200.0, score_s=5.0, scored=2) == 6  # of .12 / 1.12 of the time
    assert most_scores(config, left_s=200.0, score_s=60.0, scored=2) == 5


def test_little_training_in_few_minutes_is_said() -> None:
    usual, timed = Recipe.for_images(IMAGES).epochs, changed(CONFIG, minutes=2.0)
    few = Recipe(epochs=math.ceil(usual / 5) - 1)
    said = hurried(timed, few, IMAGES)
    assert f"{few.epochs} of the usual {usual} epochs" in said
    assert "--minutes" in said
    assert hurried(timed, replace(few, epochs=few.epochs + 1), IMAGES) == ""
    assert hurried(timed, Recipe(epochs=usual, epoch_steps=10), IMAGES)
    for steps, told in ((1, "time for 1 step, not for the usual"), (7, "time for 7 steps, not for the usual")):
        said = hurried(timed, Recipe(epochs=1, epoch_steps=steps), IMAGES)
        assert told in said
        assert "0." not in said
    for quiet in (changed(timed, train=False), changed(timed, epochs=1), changed(timed, minutes=0.0)):
        assert hurried(quiet, few, IMAGES) == ""


def test_too_few_minutes_train_as_little_as_there_is_and_too_many_stop_somewhere() -> None:
    hasty, idle = changed(CONFIG, minutes=0.1), changed(CONFIG, minutes=1e6)
    asked = {"val_images": VAL, "epoch_s": lambda _: (3.0, 6.0)}
    settings = search_settings(hasty, IMAGES, strategy("gumbel"), left_s=lambda _: 0.0, **asked)  # type: ignore[arg-type]
    assert (settings.warmup_epochs, settings.epochs, settings.epoch_steps) == (1, 1, 1)
    recipe = final_recipe(hasty, IMAGES, timed=lambda _: (4.0, 0.0))
    assert (recipe.epochs, recipe.epoch_steps) == (1, 1)
    assert final_recipe(idle, IMAGES, timed=lambda _: (4.0, 1e9)).epochs == MOST_EPOCHS
    settings = search_settings(idle, IMAGES, strategy("gumbel"), left_s=lambda _: 1e9, **asked)  # type: ignore[arg-type]
    assert settings.all_epochs == MOST_EPOCHS


def test_what_was_decided_is_kept(tmp_path: Path) -> None:
    first = kept_recipe(tmp_path / "recipe.json", lambda: Recipe(epochs=3))
    assert kept_recipe(tmp_path / "recipe.json", lambda: Recipe(epochs=9)) == first == Recipe(epochs=3)
    settings = SearchSettings(epochs=4)
    assert kept_settings(tmp_path / "search.json", lambda: settings) == settings
    assert kept_settings(tmp_path / "search.json", SearchSettings) == settings
    assert kept_scores(tmp_path / "scores.json", lambda: 7) == kept_scores(tmp_path / "scores.json", lambda: 9) == 7
    write_json(tmp_path / "odd.json", {"epoch": 3})
    with pytest.raises(InputError, match=r"odd\.json: epoch is an unknown key"):
        kept_recipe(tmp_path / "odd.json", Recipe)


def test_a_share_is_of_the_search_from_a_random_start() -> None:
    def settings(name: str = "gumbel", **changes: Any) -> SearchSettings:
        config = a_config(Path("images"), strategy=name, **changes)
        spent = {"val_images": 300, "left_s": lambda _: 1800.0, "epoch_s": lambda _: (1.0, 2.0)}
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


def test_what_the_configuration_sets_is_taken_and_all_else_is_derived() -> None:
    """Whatever the rest of the configuration would make of it."""
    mine = {"lr": 0.01, "beta_decay": 0.0, "epochs": 3, "warmup_epochs": 0, "candidates": 7, "batch_size": 32}
    for changes in ({}, {"minutes": 20.0}, {"init": "first", "search_share": "5%"}, {"init": "first"}):
        for name in ("gumbel", "enas", "bayesian"):
            usual = changed(CONFIG, strategy=name, **changes)
            asked = {"val_images": VAL, "left_s": lambda _: 1200.0, "epoch_s": lambda _: (3.0, 6.0)}
            derived = search_settings(usual, IMAGES, strategy(name), **asked)  # type: ignore[arg-type]
            found = search_settings(usual.changed(search=mine), IMAGES, strategy(name), **asked)  # type: ignore[arg-type]
            assert found == replace(derived, **mine, epoch_steps=found.epoch_steps)


def test_what_the_configuration_sets_of_the_training_is_taken() -> None:
    mine = {"lr": 0.5, "drop_path": 0.0, "augment": False, "warmup_epochs": 0.5, "clip": 1.0}
    for changes in ({}, {"minutes": 20.0}, {"space": "darts", "epochs": 7}, {"init": "first", "epochs": 1}):
        usual = changed(CONFIG, **changes)
        derived = final_recipe(usual, IMAGES, timed=lambda _: (8.0, 900.0))
        found = final_recipe(usual.changed(train=mine), IMAGES, timed=lambda _: (8.0, 900.0))
        assert found == replace(derived, **mine)


@pytest.mark.parametrize("changes", [{"scores": "training", "strategy": "random"}, {"init": "x", "search_share": "0"}])
def test_settings_of_a_supernet_that_there_is_not_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"nothing follows from search\.epochs, search\.clip"):
        make_plan(changed(CONFIG, **changes).changed(search={"clip": 0.1, "epochs": 2}), None)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"strategy": "random", "guard": "early-stop"},
            "early-stop makes no sense with the strategy random",
        ),
        ({"strategy": "gdas", "guard": "auxiliary-skip"}, "no sense with the strategy gdas, which mixes no options"),
        (
            {"strategy": "darts", "temperature": 2.0},
            "search.temperature is of the strategies gumbel, gumbel-soft",
        ),
        ({"strategy": "gdas", "preset": "enas"}, "the preset enas is of the strategy enas, but the strategy is gdas"),
    ],
)
def test_what_a_strategy_does_not_know_is_refused(search: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(CONFIG.changed(search=search), None)


def test_a_preset_shares_the_minutes_as_its_paper_shares_the_epochs() -> None:
    for name, share in (("darts-v1", 0.0), ("proxylessnas", 0.25)):
        config = changed(CONFIG, strategy="", space="", minutes=30.0).changed(search={"preset": name})
        settings = search_settings(
            config,
            IMAGES,
            strategy(config.search.strategy),
            val_images=VAL,
            left_s=lambda _: 1800.0,
            epoch_s=lambda _: (3.0, 6.0),
        )
        assert settings.warmup_epochs == round(share * settings.all_epochs)
        assert settings.guard == "none"


def test_trainings_for_a_score_follow_the_preset() -> None:
    config = changed(CONFIG, strategy="", space="", scores="").changed(search={"preset": "metaqnn"})
    recipe = score_recipe(config, IMAGES)
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.weight_decay) == (20, 128, 1e-3, 0.0)


def test_learned_weights_are_trained_gently_for_few_epochs() -> None:
    """Below an eighth of the usual epochs in proportion, at a quarter of the rate at least; others as usual."""
    usual = Recipe.for_images(500)  # 64 epochs

    def rate(epochs: int, **changes: Any) -> float:
        config = changed(CONFIG, epochs=epochs, **changes)
        return final_recipe(config, 500, timed=unasked).lr / usual.lr

    assert [
        rate(round(share * usual.epochs), init="first") for share in (1.0, 0.125, 0.0625, 0.03125)
    ] == pytest.approx([1.0, 1.0, 0.5, 0.25])
    assert rate(1, init="first") == 0.25
    assert rate(1) == rate(0) == rate(0, init="first") == 1.0
    assert rate(1, init="first", scores="training") == 1.0


def test_a_small_share_of_a_search_from_learned_weights_is_gentle() -> None:
    def rate(**changes: str) -> float:
        config = changed(CONFIG, **changes)
        return (
            search_settings(config, IMAGES, strategy("gumbel"), val_images=VAL, left_s=lambda _: 0.0, epoch_s=never).lr
            / SearchSettings.lr
        )

    assert rate(init="first", search_share="5%") == pytest.approx(0.4)
    assert rate(init="first", search_share="1") == rate(init="first") == rate() == 1.0


def test_from_a_parent_nothing_is_trained_before_the_scores_and_little_changes_after_them() -> None:
    parent = a_config(Path("images"), init="efficientnet-lite0", space="efficientnet-lite0")
    for config, images in ((parent, 0), (changed(parent, minutes=5.0), 400)):
        settings = search_settings(
            config, IMAGES, strategy("replace"), val_images=VAL, left_s=lambda _: 0.0, epoch_s=never
        )
        assert (settings.all_epochs, settings.candidates, settings.score_images) == (0, 12, images)
    recipe = final_recipe(parent, IMAGES, timed=unasked)
    assert recipe.lr == pytest.approx(0.1 * Recipe.for_images(IMAGES).lr)
    assert recipe.keep_statistics
    trained = parent.changed(search={"strategy": "gumbel"})
    assert not final_recipe(trained, IMAGES, timed=unasked).keep_statistics
    asked = parent.changed(search={"epochs": 3})
    settings = search_settings(asked, IMAGES, strategy("replace"), val_images=VAL, left_s=lambda _: 0.0, epoch_s=never)
    assert (settings.warmup_epochs, settings.epochs) == (0, 3)


@pytest.mark.parametrize(("fit", "heads"), [(0.1, 0.12), (0.5, 0.6), (5.0, 1.0), (40.0, 1.0)])
def test_a_head_of_its_own_takes_a_part_of_a_training_from_a_parent(fit: float, heads: float) -> None:
    """Features of an image take a third of a step; together they take the time there is."""
    parent = a_config(
        Path("images"), init="efficientnet-lite0", space="efficientnet-lite0", minutes=5.0, baseline=False
    )
    recipe = final_recipe(parent, IMAGES, timed=lambda _: (10.0, 10.0 * fit))
    share = own_head_images(recipe, IMAGES) / IMAGES
    assert share == pytest.approx(heads, rel=0.1)
    assert recipe.passes(IMAGES) + share / 3 == pytest.approx(fit, rel=0.02 if fit < 10 else 0.03)
    assert (
        final_recipe(CONFIG.changed(train={"minutes": 5.0}), IMAGES, timed=lambda _: (10.0, 100.0)).distil_weight == 0
    )


def test_a_teacher_is_timed_with_the_training() -> None:
    asked: list[Recipe] = []

    def timed(recipe: Recipe) -> tuple[float, float]:
        asked.append(recipe)
        return 10.0, 100.0

    parent = a_config(Path("images"), init="efficientnet-lite0", space="efficientnet-lite0", minutes=5.0)
    found = final_recipe(parent, IMAGES, timed=timed)
    assert final_recipe(parent, 50, timed=timed).distil_weight == 0
    assert asked.pop().distil_weight == 0
    assert asked[0].distil_weight == found.distil_weight == usual_recipe(parent, IMAGES).distil_weight
    assert taught_s(replace(found, distil_weight=0.0), 9.0) == 9.0
    assert taught_s(replace(found, distil_weight=0.5), 9.0) == pytest.approx(15.0)
