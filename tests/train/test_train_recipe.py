from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from hwnas.errors import InputError
from hwnas.train import Recipe


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    recipe = Recipe(epochs=12, lr=0.4, warmup_epochs=2)
    assert [recipe.learning_rate(e) for e in (0, 0.5, 1)] == pytest.approx([0, 0.1, 0.2])
    assert [recipe.learning_rate(e) for e in (2, 7, 12)] == pytest.approx([0.4, 0.2, 0])
    assert recipe.learning_rate(2 + 10 / 3) == pytest.approx(0.4 * (1 + math.cos(math.pi / 3)) / 2)


@pytest.mark.parametrize("warmup", [0, 1, 50])
def test_one_epoch_has_a_finite_rate(warmup: float) -> None:
    recipe = Recipe(epochs=1, warmup_epochs=warmup)
    assert all(0 <= recipe.learning_rate(e) <= recipe.lr for e in (0, 0.25, 0.5, 1))


def test_a_recipe_is_json() -> None:
    recipe = Recipe(epochs=3)
    assert Recipe(**json.loads(json.dumps(asdict(recipe), allow_nan=False))) == recipe


@pytest.mark.parametrize(
    "setting",
    [{"epochs": 0}, {"batch_size": 1}, {"lr": math.nan}, {"lr": 0}, {"weight_decay": -1}, {"clip": math.inf},
     {"crop_scale": 1.1}, {"color_jitter": -0.1}, {"random_erasing": 2}, {"mixup": -1}, {"cutmix": math.inf},
     {"label_smoothing": 1}, {"warmup_epochs": -1}, {"ema_decay": 1}, {"distil_weight": 1.1},
     {"distil_temperature": 0}, {"layer_decay": 0}, {"layer_decay": 1.5}],
)  # fmt: skip
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    (name,) = setting
    with pytest.raises(InputError, match=f"{name} of a training recipe must be") as caught:
        Recipe(**setting)
    assert "default" in caught.value.hint


def test_settings_of_later_versions_are_named_only_where_they_change_something() -> None:
    """So that checkpoints of earlier versions are gone on from."""
    first = {
        "epochs", "batch_size", "lr", "weight_decay", "label_smoothing", "warmup_epochs", "ema_decay", "clip",
        "augment", "cutout", "drop_path", "auxiliary", "class_balanced",
    }  # fmt: skip
    assert Recipe().identity().keys() == first
    later = {"epoch_steps": 3, "crop_scale": 0.5, "color_jitter": 0.1, "trivial_augment": True, "random_erasing": 0.1}
    later |= {"mixup": 0.2, "cutmix": 1.0, "distil_weight": 0.5, "distil_temperature": 3.0, "layer_decay": 0.5}
    for name, value in later.items():
        assert Recipe(**{name: value}).identity() == Recipe().identity() | {name: value}


def test_a_shortened_training_does_the_rest_of_its_schedule_in_what_is_left() -> None:
    planned = Recipe(epochs=20, warmup_epochs=2)
    once = planned.shorter(9, behind=4)
    twice = once.shorter(7, behind=6)
    assert [once.planned(epoch) for epoch in (0, 2.5, 4, 6.5, 9)] == pytest.approx([0, 2.5, 4, 12, 20])
    assert [twice.planned(epoch) for epoch in (0, 4, 6, 7)] == pytest.approx([0, 4, 4 + 2 * 16 / 5, 20])
    for one in (once, twice):
        assert one.identity() == planned.identity()
        assert one.planned_epochs == 20
        rates = [one.learning_rate(epoch) for epoch in (4, one.epochs)]
        assert rates == pytest.approx([planned.learning_rate(4), 0], abs=1e-12)
    assert (once.passes(100), twice.passes(100)) == (9, 7)
    for shortened in (((4, 9),), ((0, 20),), ((4, 20), (4, 15)), ((4, 20), (5, 25)), ((9, 20),)):
        with pytest.raises(InputError, match="shortened of a training recipe must be"):
            Recipe(epochs=9, shortened=shortened)


@pytest.mark.parametrize(("images", "epochs", "batch_size"), [(100, 320, 64), (1257, 25, 64), (54_000, 10, 128)])
def test_the_recipe_follows_the_number_of_images(images: int, epochs: int, batch_size: int) -> None:
    recipe = Recipe.for_images(images)
    assert (recipe.epochs, recipe.batch_size) == (epochs, batch_size)
    steps = epochs * images / batch_size
    assert recipe.ema_decay == pytest.approx(max(0.98, 1 - 1 / (0.03 * steps)))


def test_a_parent_s_weights_are_trained_gently_with_a_short_warm_up() -> None:
    usual = Recipe(epochs=20)
    found = usual.from_parent(keep_statistics=True)
    assert found.lr == pytest.approx(0.1 * usual.lr)
    assert found.warmup_epochs == pytest.approx(0.1 * found.epochs)
    assert found.keep_statistics
    assert found.layer_decay < 1
    assert found.distil_weight > 0
    assert not usual.from_parent(keep_statistics=False).keep_statistics
