"""Where the minutes of a search from a parent go: to what ships, and to the options as far as they are needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_parents import SIZE
from run_fakes import a_config, row_ms, write_table
from test_run_parent import NAME, SPACE, Runs
from test_run_parent_training import TRAINED, logged, prepare

from hwnas.config import load_configuration
from hwnas.image_size import Size
from hwnas.latency.space_latency import latency_model
from hwnas.run import adaptation, forecast, training_stage
from hwnas.run.adaptation import StepTimes, distil_steps
from hwnas.run.clock import Clock
from hwnas.run.images import images_of
from hwnas.run.parent_cut import expected_cut, parent_cut
from hwnas.run.plan import make_plan
from hwnas.run.schedule import final_recipe, least_trainings_s, own_head_images, starts
from hwnas.run.stage_guess import Guesser
from hwnas.train import Recipe

OWN = (0,) * len(SPACE.decisions)
MODEL = latency_model(SPACE, row_ms, sigma=0.01)
PARENT_MS = MODEL.predict_ms(OWN)
PARENT = a_config(Path("images"), init=NAME, space=NAME, minutes=5.0)


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    prepare(monkeypatch, tmp_path)
    monkeypatch.setattr(adaptation, "_CANDIDATES", 4)
    return Runs(images, tmp_path)


def test_options_learn_for_less_where_less_of_the_parent_has_to_go() -> None:
    times = StepTimes(1.0)
    assert [distil_steps(400.0, times, cut) for cut in (0.0, 0.1, 0.25, 0.5, 1.0)] == [0, 20, 50, 100, 100]
    assert distil_steps(400.0, times, 0.03) == 0  # six steps are none
    assert [distil_steps(left_s, times, 1.0) for left_s in (28.0, 32.0)] == [0, 8]


def test_options_learn_in_what_the_trainings_leave() -> None:
    """Of 100 s, scores and the comparison take 20 s."""
    assert [distil_steps(100.0, StepTimes(1.0, trainings_s=most), 1.0) for most in (50.0, 60.0, 70.0, 80.0, 1e3)] == [
        25,
        20,
        10,
        0,
        0,
    ]


def test_how_much_of_the_parent_has_to_go(runs: Runs) -> None:
    def of(budget_ms: float, **changes: Any) -> float:
        plan = make_plan(runs.config(**changes), runs.tables)
        return parent_cut(plan, MODEL.restricted(plan.constrained.kept), [budget_ms])

    lowest_ms = MODEL.smallest_ms
    middle_ms = (lowest_ms + PARENT_MS) / 2
    assert of(MODEL.budget_ms(PARENT_MS) * 1.0001) == 0.0
    assert of(MODEL.budget_ms(middle_ms)) == pytest.approx(0.5)
    assert of(MODEL.budget_ms(lowest_ms)) == pytest.approx(1.0)
    plan = make_plan(runs.config(), runs.tables)
    loose_ms, tight_ms = MODEL.budget_ms(PARENT_MS) * 2, MODEL.budget_ms(middle_ms)
    assert parent_cut(plan, MODEL, [tight_ms, loose_ms]) == pytest.approx(0.5)
    kept = tuple(tuple(range(place == 3, count)) for place, count in enumerate(SPACE.options))
    without = replace(plan, constrained=replace(plan.constrained, kept=kept))  # as of a limit on the peak
    assert parent_cut(without, MODEL, [loose_ms]) == 1.0


def test_a_plan_expects_what_the_run_finds(runs: Runs) -> None:
    for share in (10, 30, 50):
        plan = make_plan(runs.config(budget=f"{share}%"), runs.tables)
        budget_ms = MODEL.smallest_ms + share / 100 * (MODEL.largest_ms - MODEL.smallest_ms)
        assert expected_cut(plan) == pytest.approx(parent_cut(plan, MODEL, [budget_ms]))
        assert expected_cut(make_plan(runs.config(budget=f"{share}%"), runs.root / "none")) == 1 - share / 100
    plan = make_plan(runs.config(budget="8"), runs.root / "none")
    assert expected_cut(plan) == 1.0
    sizes = ({"input": [SIZE, SIZE], "range_ms": [4.0, 9.0]}, {"input": [24, 24], "range_ms": [1.0, 2.0]})
    assert expected_cut(replace(plan, sizes=sizes)) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("recipe", "started"),
    [
        (Recipe(epochs=1, epoch_steps=31, batch_size=32), False),
        (Recipe(epochs=1, epoch_steps=32, batch_size=32), True),
        (Recipe(epochs=2, epoch_steps=16, batch_size=32), True),
        (Recipe(epochs=1, epoch_steps=1, batch_size=32), False),
    ],
)
def test_a_training_of_few_steps_is_not_started(recipe: Recipe, started: bool) -> None:
    assert starts(PARENT, recipe, 10_000) is started
    for other in ({"train": {"minutes": 0.0}}, {"train": {"epochs": 1}}, {"search": {"init": ""}}):
        assert starts(PARENT.changed(**other), recipe, 10_000)
    assert not starts(PARENT.changed(train={"enabled": False}), recipe, 10_000)


def test_the_time_of_a_training_that_is_not_started_goes_to_its_head() -> None:
    """Features of an image take a third of a step."""
    recipe = final_recipe(PARENT, 10_000, timed=lambda _: (100.0, 2 * 8.0))
    assert not starts(PARENT, recipe, 10_000)
    alone, before = (own_head_images(recipe, 10_000, alone=alone) for alone in (True, False))
    assert alone == pytest.approx(0.08 * 3 * 10_000, rel=0.1)  # of 8 s, where an epoch takes 100
    assert before < alone
    least_s = least_trainings_s(PARENT, 10_000, 0.01)
    assert recipe.distil_weight > 0
    recipe = final_recipe(PARENT, 10_000, timed=lambda _: (100.0 * 5 / 3, least_s))
    assert recipe.passes(10_000) * 10_000 / recipe.batch_size in (31, 32)  # so that what is planned is just started


def test_plan_and_run_name_heads_in_place_of_trainings(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "_DISTIL_SHARE", 0.0)
    monkeypatch.setattr(training_stage, "seconds_an_epoch", lambda *_, **__: 1e5)
    asked = TRAINED | {"minutes": 5.0, "budget": "30%"}
    plan = make_plan(runs.config(**asked), runs.tables)
    dataset = images_of(plan.config, Size.square(SIZE))
    guess = Guesser(plan, dataset, 20.0, 0.0).guess(5.0)
    (stage,) = (one for one in guess.stages if one.trains)
    assert stage.name == "2 heads of their own"
    assert (guess.heads_alone, guess.enough, guess.steps, stage.epochs) == (True, False, 0, None)
    begun = Guesser(plan, dataset, 20.0, 0.0).guess(1e5)
    (training,) = (one for one in begun.stages if one.trains)
    assert not begun.heads_alone
    assert stage.memory_mib == training.memory_mib  # a few steps are timed, and take as much
    result = runs("run", **asked)
    assert (result["trained"], result["epochs"], result["weights"]) == (False, 0, "start")
    assert {one["stage"] for one in logged(runs.root / "run", "own head")} <= {"train", "train random baseline"}
    state = runs.root / "run" / "state"
    assert not list(state.glob("train-*"))
    assert list(state.glob("head-*"))
    assert json.loads((state / "adaptation.json").read_text())["steps"] == 0
    assert not (state / "distil.safetensors").exists()


def test_a_search_from_a_parent_gets_minutes_where_nobody_says_and_it_takes_long(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "_DISTIL_SHARE", 0.0)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 2.0)
    plan = make_plan(runs.config(), runs.tables)
    found, told = forecast.limited(plan, None, Clock())
    minutes = found.config.train.minutes
    assert 40 <= minutes < 60
    assert told.minutes == minutes
    assert told.takes_minutes <= 1.1 * minutes
    assert told.advice.startswith(f"--minutes {minutes:g} is taken, as the run would take about ")
    assert "give more --minutes, or --epochs" in told.advice
    for given in ({"epochs": 1}, {"minutes": 70.0}):
        config = plan.config.changed(train=given)
        assert forecast.limited(replace(plan, config=config), None, Clock())[0].config == config
    write_table(runs.tables)
    plain = make_plan(a_config(runs.images), runs.tables)
    assert forecast.limited(plain, None, Clock())[0] == plain
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 0.001)
    assert forecast.limited(plan, None, Clock())[0] == plan


def test_minutes_that_nobody_gave_are_remembered(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "_DISTIL_SHARE", 0.0)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 2.0)
    first = runs("run")
    kept = load_configuration(runs.root / "run" / "config.toml")
    assert kept.train.minutes >= 40
    assert runs("run", resume=True) == first
