"""The final trainings of a run from a small made-up parent: heads, the teacher, resuming, time and memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_parents import made_up
from run_fakes import install, on_replace
from test_run_parent import NAME, SPACE, Killed, Runs
from torch import Tensor, nn

from hwnas.backends.torch import network_module
from hwnas.data import Dataset, batches
from hwnas.errors import InputError
from hwnas.parents import inherit
from hwnas.parents.frozen import features, head, trunk
from hwnas.run import adaptation, forecast, parent_head, schedule, step_limit, training_stage
from hwnas.run.adaptation import Adaptation, StepTimes, adapting_s, affordable_adaptation
from hwnas.run.clock import Clock
from hwnas.run.context import RunContext
from hwnas.run.parent_head import fit_own_head, teacher_of
from hwnas.run.plan import make_plan
from hwnas.run.schedule import final_recipe
from hwnas.train import Recipe, checkpoint

TRAINED = {"train": True, "baseline": True}


def prepare(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Short runs on the made-up machine, with a cache of their own."""
    patch.setenv("HWNAS_CACHE", str(root / "cache"))
    patch.setattr(adaptation, "_USUAL_STEPS", 2)
    patch.setattr(adaptation, "_MOST_AT_ONCE", 16)
    patch.setattr(schedule, "_FEWEST_TAUGHT", 1)
    install(patch.setattr)


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    prepare(monkeypatch, tmp_path)
    return Runs(images, tmp_path)


def logged(folder: Path, event: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == event]


class Watched:
    """Every final training: the run, the recipe, the teacher and the weights that it began with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.teachers: list[nn.Module] = []
        self.recipes: list[Recipe] = []
        self.starts: list[dict[str, Tensor]] = []
        self.runs: list[RunContext] = []
        train, to_the_end = training_stage.train, training_stage._to_the_end

        def watched(model: nn.Module, dataset: Dataset, recipe: Recipe, *, teacher: nn.Module, **named: Any) -> Recipe:
            self.teachers.append(teacher)
            self.recipes.append(recipe)
            self.starts.append({name: value.clone() for name, value in model.state_dict().items()})
            return train(model, dataset, recipe, teacher=teacher, **named)

        def noted(run: RunContext, *values: Any) -> Recipe:
            self.runs.append(run)
            return to_the_end(run, *values)

        monkeypatch.setattr(training_stage, "train", watched)
        monkeypatch.setattr(training_stage, "_to_the_end", noted)


@dataclass(frozen=True)
class Trained:
    """A run that has trained winner and rival, and what was watched on the way."""

    folder: Path
    watched: Watched
    run: RunContext

    @property
    def choices(self) -> tuple[int, ...]:
        return tuple(json.loads((self.folder / "architecture.json").read_text())["choices"])


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, root)
        watched = Watched(patch)
        Runs(images, root)("run", **TRAINED)
    return Trained(root / "run", watched, watched.runs[-1])


def test_winner_and_rival_are_trained_alike_by_the_parent_with_its_head(trained: Trained) -> None:
    watched, run, weights = trained.watched, trained.run, made_up()
    rival, winner = watched.recipes
    assert rival == winner
    assert winner.distil_weight > 0
    assert winner.layer_decay < 1
    assert winner.keep_statistics
    network = weights.network_for(SPACE)
    x, _ = next(batches(run.dataset.val, run.dataset, batch_size=9, device=run.device, generator=None, augment=False))
    fitted, _ = checkpoint.load(trained.folder / "state" / "head.safetensors")
    with torch.no_grad():
        read = trunk(network, inherit(weights, network))(x).mean((2, 3))
        for teacher in watched.teachers:
            told = teacher(x)
            torch.testing.assert_close(told, read @ fitted["weight"].T + fitted["bias"], rtol=1e-4, atol=1e-4)
    heads = logged(trained.folder, "own head")
    assert [one["stage"] for one in heads] == ["train random baseline", "train"]
    for start, told in zip(watched.starts, heads, strict=True):
        begun = torch.equal(start["classifier.linear.weight"], fitted["weight"])
        assert begun is not told["taken"]
        assert told["taken"] or told["own_loss"] > told["parent_loss"]
    assert teacher_of(run, Recipe(distil_weight=0.0)) is None


def test_a_head_of_its_own_is_that_of_its_features_and_taken_unless_it_is_worse(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, choices = trained.run, trained.choices
    kept = run.folder.state / f"head-{'-'.join(map(str, choices))}.safetensors"
    kept.unlink()
    torch.manual_seed(0)
    network = run.network(choices)
    module = network_module(network)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    found = features(trunk(network, state), run.dataset.train, run.dataset)
    expected = head(found, torch.from_numpy(run.dataset.train.labels), run.dataset)
    asked: dict[str, Any] = {"most": 10**6, "compared": 100, "label": "train"}

    fit_own_head(run, choices, module, **asked)  # a random head classifies by chance
    after = {name: value.clone() for name, value in module.state_dict().items()}
    torch.testing.assert_close(after["classifier.linear.weight"], expected["weight"])
    torch.testing.assert_close(after["classifier.linear.bias"], expected["bias"])
    assert all(torch.equal(after[name], state[name]) for name in state if not name.startswith("classifier."))

    again = network_module(network)  # from what is kept, without any features
    with monkeypatch.context() as patch:
        patch.setattr(parent_head, "features", None)
        fit_own_head(run, choices, again, **asked)
    assert torch.equal(again.state_dict()["classifier.linear.weight"], after["classifier.linear.weight"])

    kept.unlink()
    bad = {"weight": -expected["weight"], "bias": -expected["bias"]}
    monkeypatch.setattr(parent_head, "head", lambda *_, **__: bad)
    fit_own_head(run, choices, module, **asked)
    assert torch.equal(module.state_dict()["classifier.linear.weight"], after["classifier.linear.weight"])


def test_the_parent_itself_needs_no_other_head(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    run, own = trained.run, (0,) * len(SPACE.decisions)
    monkeypatch.setattr(parent_head, "features", None)
    module = network_module(run.network(own))
    fit_own_head(run, own, module, most=10**6, compared=100, label="train")
    assert not (run.folder.state / f"head-{'-'.join(map(str, own))}.safetensors").exists()
    kept = run.folder.state / "head.safetensors"
    fitted, info = checkpoint.load(kept)
    assert info == {"images": 42}
    checkpoint.save(kept, fitted, {"images": 41})
    with pytest.raises(TypeError):  # of fewer images than there are: it is fitted anew
        fit_own_head(run, own, module, most=10**6, compared=100, label="train")


@pytest.mark.dear
def test_a_training_with_a_teacher_that_was_killed_goes_on_to_the_same_bytes(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise Killed

    runs("whole", **TRAINED)
    own = sorted(path.name for path in (runs.root / "whole" / "state").glob("head-*"))
    trainings = sorted(path.name for path in (runs.root / "whole" / "state").glob("train-*"))
    assert len(trainings) == 2
    for file in (own[0], trainings[-1]):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", on_replace(die, "after", file, 1))
            with pytest.raises(Killed):
                runs(file, **TRAINED)
        runs(file, resume=True, **TRAINED)
        for name in ("weights.safetensors", "architecture.json", *(f"state/{one}" for one in (*own, *trainings))):
            assert (runs.root / file / name).read_bytes() == (runs.root / "whole" / name).read_bytes()


def test_a_teacher_needs_a_parent(runs: Runs) -> None:
    with pytest.raises(InputError, match="starts from no parent") as caught:
        make_plan(runs.config(init="", space="toy").changed(train={"distil_weight": 0.5}), runs.tables)
    assert NAME in caught.value.hint
    make_plan(runs.config().changed(train={"distil_weight": 0.5, "distil_temperature": 4.0}), runs.tables)


def test_options_of_a_teacher_reach_the_training(runs: Runs) -> None:
    config = runs.config(**TRAINED, epochs=1)
    mine = {"distil_weight": 0.25, "distil_temperature": 4.0, "layer_decay": 0.5, "keep_statistics": False}
    found = final_recipe(config.changed(train=mine), 42, timed=lambda _: (1.0, 1.0))
    assert {name: getattr(found, name) for name in mine} == mine


def test_what_the_minutes_are_enough_for_before_a_parent_s_networks_are_trained() -> None:
    usual = Adaptation(400, 32, 256)

    def of(left_s: float, cut: float = 1.0) -> Adaptation:
        return affordable_adaptation(usual, left_s, StepTimes(1.0, 0.05), train_images=1000, cut=cut)

    # 50 s for the head; of the other 350 s a quarter for steps of 1 s, a tenth for scores and for 3 candidates twice.
    assert of(400.0) == replace(usual, steps=87, score_images=160, compared_images=116)
    # 15 s for the head, and of 85 s a tenth would be 28 images for each candidate, so none is scored.
    assert of(100.0) == replace(usual, steps=21, score_images=38, head_images=300, compared_images=0)
    assert of(0.0) == replace(usual, steps=0, score_images=16, head_images=64, compared_images=0)
    assert of(100.0, cut=0.0) == replace(usual, steps=0, score_images=16, compared_images=0)
    assert of(60.0, cut=0.0).head_images == 600
    assert adapting_s(of(400.0), StepTimes(1.0), scores=False) == 87
    assert adapting_s(of(400.0), StepTimes(1.0), scores=True) == pytest.approx(87 + 35)  # a tenth of 350 s


@pytest.mark.dear
def test_hardly_anything_is_adapted_where_the_parent_keeps_every_budget(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    runs("60", budget="60", minutes=5.0)
    kept = json.loads((runs.root / "60" / "state" / "adaptation.json").read_text())
    assert (kept["steps"], kept["score_images"], kept["compared_images"]) == (0, 16, 0)
    assert kept["head_images"] >= 42
    (told,) = logged(runs.root / "60", "replacements")
    chosen = json.loads((runs.root / "60" / "architecture.json").read_text())["choices"]
    lost = [row[option] for row, option in zip(told["scores"], chosen, strict=True)]
    assert max(lost) == pytest.approx(0.0, abs=1e-5)  # on maps of one pixel a smaller kernel computes the same


def test_the_memory_limits_the_options_that_learn(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(runs.config(), runs.tables)
    assert plan.parent is not None
    memory = step_limit.distil_memory(plan.space, plan.parent)
    monkeypatch.setattr(step_limit, "step_limit_bytes", lambda *_: memory.total(8, 3) + memory.image / 2)
    assert step_limit.distillation_batch(plan, 8) == 3
    monkeypatch.setattr(step_limit, "step_limit_bytes", lambda *_: memory.total(1))
    with pytest.raises(InputError, match="must stay within the memory"):
        step_limit.distillation_batch(plan, 8)
    with pytest.raises(InputError, match="must stay within the memory"):
        forecast.limited(plan, None, Clock(0.0))


def test_steps_of_kept_statistics_are_split_on_a_cpu_without_any_limit(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(runs.config(), runs.tables)
    recipe = Recipe(batch_size=32, keep_statistics=True)
    memory = step_limit.largest_training(plan.space, recipe)
    heard: list[str] = []

    class Hearing:
        def say(self, message: str) -> None:
            heard.append(message)

    monkeypatch.setattr(step_limit, "_FROZEN_BYTES", memory.total(32, 8) + memory.image / 2)
    assert step_limit.training_micro_batch(plan, recipe, Hearing()) == 8  # type: ignore[arg-type]
    assert "8 of 32 images" in heard[0]
    assert "batch norm" not in heard[0]
    adapted = replace(recipe, keep_statistics=False)
    assert step_limit.training_micro_batch(plan, adapted, Hearing()) == 0  # type: ignore[arg-type]
    monkeypatch.setattr(step_limit, "_FROZEN_BYTES", 0.0)
    assert step_limit.training_micro_batch(plan, recipe, Hearing()) in (3, 4)  # type: ignore[arg-type]
