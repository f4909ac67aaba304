"""Runs that start from a small made-up parent: weights, normalisation, head, and what replaces its blocks."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up_parents import SIZE, WIDTH, elastic_space, made_up
from run_fakes import a_config, install, on_replace, write_table

import hwnas
from hwnas.arch import Architecture, Network
from hwnas.arch.costs import macs
from hwnas.arch.origin import Origin
from hwnas.arch.spaces import parent_names
from hwnas.backends.model_format import format_of
from hwnas.config import PARENTS, Configuration, Target
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.image_size import Size
from hwnas.meta.initialisation import load_initialisation
from hwnas.nas import comparison
from hwnas.nas.engine import SearchOutcome
from hwnas.nas.select import Scored
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet
from hwnas.parents import distil
from hwnas.parents.parent_weights import VERSION, kept_at
from hwnas.run import adaptation, init, input_size, instance, instance_choice, parent_stage, search_stage
from hwnas.run.adaptation import Adaptation, StepTimes, affordable_adaptation
from hwnas.run.images import images_of
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.run.replacements import kept_candidates, logits_of
from hwnas.run.schedule import kept_adaptation
from hwnas.train import checkpoint

NAME = "efficientnet-lite0"
SPACE = elastic_space(classes=3)


class Runs:
    def __init__(self, images: Path, root: Path) -> None:
        self.images, self.root = images, root
        self.tables = write_table(root / "tables", spaces=[SPACE])
        weights = made_up()
        info = {"version": VERSION, "parent": NAME, "width": WIDTH, "classes": weights.classes}
        info |= {"source": weights.source, "sha256": weights.sha256}
        checkpoint.save(kept_at(weights.parent, WIDTH), dict(weights.tensors), info)

    def config(self, **changes: Any) -> Configuration:
        usual = {"init": NAME, "space": NAME, "width": WIDTH, "resolution": SIZE, "train": False, "baseline": False}
        return a_config(self.images, **(usual | changes))

    def __call__(self, name: str, *, resume: bool = False, **changes: Any) -> Any:
        return run_search(self.config(**changes), self.root / name, tables=self.tables, resume=resume)


def prepare(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Short runs on the made-up machine, with a cache of their own."""
    patch.setenv("HWNAS_CACHE", str(root / "cache"))
    patch.setattr(adaptation, "_USUAL_STEPS", 2)
    patch.setattr(adaptation, "_MOST_AT_ONCE", 16)
    patch.setattr(adaptation, "_CANDIDATES", 6)
    install(patch.setattr)


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    prepare(monkeypatch, tmp_path)
    return Runs(images, tmp_path)


@dataclass(frozen=True)
class Whole:
    """A run that nobody interrupted, its result, the outcome of its search, and what it scored."""

    folder: Path
    result: dict[str, Any]
    outcome: SearchOutcome
    scored: list[tuple[int, ...]]


def heard_scores(patch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The choices of every candidate that is scored from now on."""
    scored, score = list[tuple[int, ...]](), comparison.score

    def counted(supernet: Supernet, architecture: Architecture, *values: Any, **named: Any) -> Scored:
        scored.append(architecture.choices)
        return score(supernet, architecture, *values, **named)

    patch.setattr(comparison, "score", counted)
    return scored


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    root, search, outcomes = tmp_path_factory.mktemp("whole"), search_stage.search, list[SearchOutcome]()

    def watched(*values: Any, **named: Any) -> tuple[SearchOutcome, ...]:
        found = search(*values, **named)
        outcomes.extend(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        prepare(patch, root)
        patch.setattr(search_stage, "search", watched)
        scored = heard_scores(patch)
        result = Runs(images, root)("run")
    (outcome,) = outcomes
    return Whole(root / "run", result, outcome, scored)


def test_a_configuration_follows_its_parent() -> None:
    assert tuple(sorted(PARENTS)) == parent_names()
    target = Target(budget="60%")
    found = Configuration.model_validate({"target": target.model_dump(), "search": {"init": NAME}})
    assert (found.space.name, found.search.strategy, found.search.evaluator) == (NAME, "replace", "one-shot")
    assert found.changed(train={"minutes": 2.0}).space.name == NAME
    other = {"target": target.model_dump(), "search": {"init": NAME, "strategy": "gumbel"}, "space": {"name": "mobile"}}
    found = Configuration.model_validate(other)
    assert (found.space.name, found.search.strategy) == ("mobile", "gumbel")


def test_the_plan_tells_of_the_parent(runs: Runs) -> None:
    plan = make_plan(runs.config(), runs.tables)
    facts = plan_facts(plan)
    assert facts["init"] == {"from": NAME, "licence": "Apache-2.0", "weights": "made up", "sha256": "0" * 64}
    assert plan_lines(plan, facts)["start"] == (
        f"{NAME}: pre-trained, Apache-2.0, weights of made up; every option begins as a slice of it"
    )
    assert plan.config.search.init_sha256 == "0" * 64


def test_a_plan_with_a_budget_in_milliseconds_compares_input_sizes(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the made-up parent in the place of the one of width 1."""

    def floor_ms(networks: Mapping[str, Network], *_: object, **__: object) -> dict[str, float]:
        return {name: macs(network.graph) / 1e6 for name, network in networks.items()}

    monkeypatch.setattr(instance, "floor_ms", floor_ms)
    monkeypatch.setattr(init, "weights_of", lambda *_: made_up())
    monkeypatch.setattr(instance_choice, "space_rungs", lambda _: ((WIDTH, 0),))
    monkeypatch.setattr(instance_choice, "LADDER", (24,))
    monkeypatch.setattr(input_size, "_SCORED", 4)
    whole_ms = macs(SPACE.network(SPACE.architecture([0] * len(SPACE.options))).graph) / 1e6
    plan = make_plan(runs.config(width=0.0, resolution=0, budget=f"{0.9 * whole_ms:.6f}"), runs.tables)
    facts = plan_facts(plan)
    assert [one["input"] for one in facts["input_sizes"]] == [[32, 32], [24, 24]]
    least = min(facts["input_sizes"], key=lambda one: one["validation_loss"])
    alike = [one for one in facts["input_sizes"] if one["worse_by"] <= one["worse_by_error"]]
    assert least["worse_by"] == 0
    assert list(plan.space.input_shape[1:]) == alike[-1]["input"]
    assert plan.config.space.resolution == plan.space.input_shape[1]  # which a resumed run has in its configuration
    assert "before any training" in plan_lines(plan, facts)["space"]
    assert "input_sizes" not in plan_facts(make_plan(runs.config(), runs.tables))


def test_what_does_not_go_with_a_parent_is_refused(runs: Runs) -> None:
    wrong = [
        ({"space": "toy"}, "is one of its elastic space, and not of toy"),
        ({"strategy": "gumbel", "search_share": "0"}, "decoded from α"),
        ({"strategy": "random", "scores": "training", "train": True}, "use no weights"),
        ({"init": "", "space": "toy", "strategy": "replace"}, "starts from none"),
        ({"width": 0.2}, "are not on this machine"),
    ]
    for changes, message in wrong:
        with pytest.raises(InputError, match=message):
            make_plan(runs.config(**changes), runs.tables)
    with pytest.raises(InputError) as caught:
        make_plan(runs.config(width=0.2), runs.tables)
    assert caught.value.hint == "hwnas parents import efficientnet-lite0 *.pth --width 0.2"  # no package


def test_the_best_replacements_within_the_budget(whole: Whole) -> None:
    run, found = whole.folder, whole.outcome
    assert whole.result["init"]["from"] == NAME
    kept = load_initialisation(run / "state" / "parent.safetensors")
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (told,) = (entry for entry in entries if entry["event"] == "replacements")
    assert kept.alpha is not None
    assert all(row[0] == 0 for row in told["scores"])
    for row, scores in zip(kept.alpha, told["corrected"], strict=True):
        assert row[: len(scores)].argsort().tolist() == np.argsort(-np.array(scores), kind="stable").tolist()
    scored = {tuple(one["choices"]): one["loss"] for one in told["candidates"]}
    assert 4 <= len(scored) <= 6
    for one in told["candidates"]:
        assert one["sum"] == pytest.approx(sum(row[k] for row, k in zip(told["scores"], one["choices"], strict=True)))
    evaluated = [one.architecture.choices for one in found.evaluated]
    assert evaluated[:2] == sorted(scored, key=lambda one: scored[one])[:2]  # of the settings, two are scored
    supernet = found.supernet
    assert supernet is not None
    assert supernet.settled
    parts = supernet.state_dict()
    assert all(torch.equal(parts[name], value) for name, value in kept.weights.items())
    own = made_up().tensors
    same = [name for name in own if name.startswith(("stem.", "s1b0."))]
    assert same
    assert all(torch.equal(kept.weights[_of_option(name, 0)], own[name]) for name in same)
    # Without training, what ships are the slices as they learned, with their own statistics, and the head.
    shipped, _ = checkpoint.load(run / "weights.safetensors")
    choices = tuple(json.loads((run / "architecture.json").read_text())["choices"])
    expected = supernet.extract(Architecture(SPACE.name, choices)).state_dict()
    assert all(torch.equal(shipped[name], value) for name, value in expected.items())
    assert not (run / "state" / "distil.safetensors").exists()
    metadata = format_of("onnxruntime", "fp32").metadata((run / "model.onnx").read_bytes())
    seen = made_up().parent.preprocessing
    assert json.loads(metadata["hwnas.normalised_inside"]) == {"mean": list(seen.mean), "std": list(seen.std)}


def _of_option(name: str, option: int) -> str:
    slot, _, rest = name.partition(".")
    return f"{slot}.{option}.{rest}"


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    runs: Runs, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times: while options learn, when they have learned, and while candidates are scored."""
    monkeypatch.setattr(distil, "_KEPT_EVERY_S", 0.0)
    scored, cut = heard_scores(monkeypatch), runs.root / "cut"

    def die() -> None:
        raise Killed

    for file in ("distil.safetensors", "parent.safetensors", "scored.safetensors"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", on_replace(die, "after", file, 1))
            with pytest.raises(Killed):
                runs("cut", resume=cut.exists())
        if file == "parent.safetensors":
            damaged = cut / "state" / file
            damaged.write_bytes(damaged.read_bytes()[:-1])
            with pytest.raises(InputError, match="is damaged") as caught:
                runs("cut", resume=True)
            assert "delete that file" in caught.value.hint
            assert "--force" in caught.value.hint
            damaged.unlink()
    assert 0 < len(scored) < len(whole.scored)
    runs("cut", resume=True)
    assert len(set(scored)) == len(scored)
    assert scored == whole.scored  # each once, before or after
    assert not (cut / "state" / "distil.safetensors").exists()
    for name in ("weights.safetensors", "architecture.json", "state/parent.safetensors", "evaluated.csv"):
        assert (cut / name).read_bytes() == (whole.folder / name).read_bytes()


def test_what_is_kept_of_candidates_is_checked(runs: Runs) -> None:
    path = runs.root / "parent.safetensors"
    kept = (0,) * len(SPACE.options)
    assert kept_candidates({"candidates": [list(kept)]}, SPACE, path) == (kept,)
    assert kept_candidates({}, SPACE, path) == ()  # of runs of earlier versions
    for wrong in (kept[1:], (*kept[1:], 99), (*kept[1:], -1)):
        with pytest.raises(InputError, match="candidates must be options of efficientnet-lite0"):
            kept_candidates({"candidates": [list(wrong)]}, SPACE, path)
    with pytest.raises(InputError, match="candidates"):
        kept_candidates({"candidates": "all"}, SPACE, path)


def test_a_run_that_starts_from_what_is_left_of_a_parent_sees_images_as_the_parent_does(
    runs: Runs, whole: Whole
) -> None:
    """From blocks that were replaced, and from a supernet that was trained; of others the images' own are taken."""
    kept = load_initialisation(whole.folder / "state" / "parent.safetensors")
    assert kept.alpha is not None
    own = images_of(runs.config(), Size.square(SIZE))
    seen = made_up().parent.prepared(own)
    assert seen.mean != own.mean
    trained = {f"supernet.{name}": value for name, value in kept.weights.items()} | {"alpha.0": kept.alpha}
    spaces = {"space": asdict(Origin.of(SPACE))}
    told = {"normalisation": {"mean": seen.mean, "std": seen.std}}
    gumbel, earlier = runs.root / "gumbel", runs.root / "earlier"
    for folder, info in ((gumbel, told), (earlier, {})):
        checkpoint.save(folder / "state" / "search.safetensors", trained, spaces | info)
    for folder, expected in ((whole.folder, seen), (gumbel, seen), (earlier, own)):
        plan = make_plan(runs.config(init=str(folder), strategy="gumbel"), runs.tables)
        assert plan.start is not None
        assert all(torch.equal(plan.start.weights[key], value) for key, value in kept.weights.items())
        prepared = plan.prepared(own)
        assert (prepared.mean, prepared.std) == (expected.mean, expected.std)
        assert plan.start.alpha is not None


def test_what_is_kept_of_an_adaptation_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "adaptation.json"
    for name in ("batch_size", "score_images", "steps"):
        write_json(path, asdict(Adaptation(4, 2, 16)) | {name: -1 if name == "steps" else 0})
        with pytest.raises(InputError, match=f"{name} must be a number of at least") as caught:
            kept_adaptation(path, lambda: Adaptation(4, 2, 16))
        assert caught.value.hint == "start the run anew, with --force"


def test_other_strategies_start_from_the_options_and_the_head(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Start] = []

    def stopped(*_: Any, start: Start, **__: Any) -> tuple[SearchOutcome, ...]:
        starts.append(start)
        raise Killed

    monkeypatch.setattr(search_stage, "search", stopped)
    with pytest.raises(Killed):
        runs("run", strategy="gumbel")
    (start,) = starts
    assert start.settled
    assert start.alpha is None
    kept = load_initialisation(runs.root / "run" / "state" / "parent.safetensors")
    assert kept.weights.keys() == start.weights.keys()
    classifier, _ = checkpoint.load(runs.root / "run" / "state" / "head.safetensors")
    assert torch.equal(start.weights[f"{SPACE.slots[-1].name}.0.linear.weight"], classifier["weight"])


def test_the_minutes_say_how_long_the_options_learn() -> None:
    usual = Adaptation(400, 32, 256, 24)
    few, quick = StepTimes(2.0), StepTimes(1.0)
    assert affordable_adaptation(usual, 560.0, few, train_images=0) == Adaptation(70, 32, 128, 24)
    assert affordable_adaptation(usual, 1e5, quick, train_images=0) == Adaptation(25000, 32, 256, 24)
    assert affordable_adaptation(usual, 0.0, quick, train_images=0) == Adaptation(0, 32, 16, 24)


def test_logits_prefer_what_costs_little() -> None:
    alpha = logits_of(((0.0, 0.1, 0.4), (0.0, 0.2), (0.0, 0.0, -0.1)))
    assert torch.allclose(alpha, torch.tensor([[0.0, -4.0, -16.0], [0.0, -8.0, 0.0], [0.0, 0.0, 4.0]]))


@pytest.mark.dear
def test_several_budgets_share_what_replacements_cost(runs: Runs) -> None:
    result = runs("run", budget="40%,80%")
    assert [one["verdict"] for one in result["front"]] == ["met", "met"]
    kept = load_initialisation(runs.root / "run" / "state" / "parent.safetensors")
    entries = [json.loads(line) for line in (runs.root / "run" / "log.jsonl").read_text().splitlines()]
    (told,) = (entry for entry in entries if entry["event"] == "replacements")
    assert len(told["candidates"]) == 6
    by_loss = sorted(told["candidates"], key=lambda one: one["loss"])
    assert kept.method["candidates"] == [one["choices"] for one in by_loss]


def test_other_targets_take_no_step_on_the_parent(runs: Runs, whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head, options and scores of replacements are those of the run; the choice is exact under another budget."""
    for name in ("distil", "parent_head", "chosen_replacements"):
        monkeypatch.setattr(parent_stage, name, None)
    found = hwnas.specialise(whole.folder, "host:40%", tables=runs.tables, out=runs.root / "other")
    assert found.predicted_ms <= found.budget_ms < whole.result["budget_ms"]
    kept = "parent.safetensors"
    assert (found.run / "state" / kept).read_bytes() == (whole.folder / "state" / kept).read_bytes()
    own, theirs = (
        {row["choices"]: row["val_loss"] for row in csv.DictReader((run / "evaluated.csv").open())}
        for run in (found.run, whole.folder)
    )
    assert own
    assert all(own[each] == theirs[each] for each in own.keys() & theirs.keys())
    head = found.to_json()["parent"]["head"]
    assert head == whole.result["parent"]["head"]
