"""Runs that start from an initialisation or from an earlier run: what is reused, what is refused, what is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_fakes import SETTINGS, SPACE, a_config, changed, install, latencies, on_replace, write_table

from hwnas.arch import space_instance
from hwnas.arch.origin import Origin
from hwnas.config import Configuration, Target, load_configuration
from hwnas.data import load_dataset
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.meta.initialisation import Initialisation
from hwnas.meta.meta_config import MetaConfig
from hwnas.meta.meta_run import meta_train
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.reuse import LARGEST_SPREAD
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.nas.supernet import Supernet
from hwnas.progress import Silent
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.schedule import search_settings
from hwnas.train import checkpoint

MODEL = latencies()


class Runs:
    def __init__(self, images: Path, root: Path) -> None:
        self.images, self.root = images, root
        self.tables = write_table(root / "tables")

    def __call__(self, name: str, *, resume: bool = False, **changes: Any) -> Any:
        config = a_config(self.images, train=False, baseline=False, **changes)
        return run_search(config, self.root / name, tables=self.tables, resume=resume)


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    install(monkeypatch.setattr)
    return Runs(images, tmp_path)


def write_init(path: Path, *, classes: int = 3, **constants: Any) -> Path:
    space = space_instance("toy", **{"width": 1.0, "resolution": 8, "channels": 3} | constants, classes=classes)
    torch.manual_seed(5)
    alpha = torch.zeros(len(space.decisions), max(space.options))
    alpha[:, 0] = 1.0
    Initialisation(Origin.of(space), Supernet(space).state_dict(), alpha).save(path)
    return path


def test_a_run_from_an_earlier_run_keeps_its_budget(runs: Runs) -> None:
    first = runs("first")
    assert first["init"] is None
    with pytest.raises(InputError, match="cannot start from itself"):
        runs("first", init=str(runs.root / "first"))
    second = runs("second", budget="30%", init=str(runs.root / "first"))
    facts = second["init"]
    assert facts["from"] == str(runs.root / "first")
    assert (facts["share"], facts["fresh"], facts["decisions"]) == (1.0, [], len(SPACE.decisions))
    assert facts["tensors"] == facts["all_tensors"]
    budget_ms = MODEL.smallest_ms + 0.3 * (MODEL.largest_ms - MODEL.smallest_ms)
    assert second["predicted_ms"] <= MODEL.target_ms(budget_ms) * (1 + 1e-9)
    assert second["budget_met"] is True


def test_it_takes_less_warm_up_and_fewer_steps() -> None:
    def settings(**changes: Any) -> SearchSettings:
        config = changed(Configuration(target=Target(budget="50%")), **changes)
        spent = {"val_images": 300, "left_s": lambda _: 300.0, "epoch_s": lambda _: (1.0, 2.0)}
        return search_settings(config, 1000, strategy("gumbel"), **spent)  # type: ignore[arg-type]

    plain, started = settings(), settings(init="first")
    assert started.warmup_epochs == round(plain.warmup_epochs / 4)
    assert started.epochs == round(plain.epochs / 2)
    assert SearchSettings(warmup_epochs=1, epochs=2).started() == SearchSettings(warmup_epochs=1, epochs=2)
    plain, started = settings(minutes=5.0), settings(minutes=5.0, init="first")
    assert started.warmup_epochs < plain.warmup_epochs
    assert started.warmup_epochs + 2 * started.epochs <= 0.31 * 300
    assert plain.warmup_epochs + 2 * plain.epochs <= 0.31 * 300


def test_a_search_begins_with_the_weights_and_the_alpha_of_the_earlier_one(runs: Runs) -> None:
    runs("first")
    plan = make_plan(a_config(runs.images, init=str(runs.root / "first")), runs.tables)
    stored, _ = checkpoint.load(RunFolder(runs.root / "first").search_state)
    limits = [plan.constrained.feasible_set(MODEL, MODEL.largest_ms)]
    dataset = load_dataset(str(runs.images), resolution=8, seed=0)
    loop = make_loop(
        SPACE, limits, strategy("gumbel"), dataset, SETTINGS, seed=3, device=torch.device("cpu"), start=plan.start
    )
    for name, value in loop.supernet.state_dict().items():
        fitted = name.startswith(f"{SPACE.slots[-1].name}.")  # the classifier, to the images of the search
        assert torch.equal(value, stored[f"supernet.{name}"]) is not fitted
    unpressed = stored["alpha.1"]
    for logits in (loop.constrained[0].relaxation.logits, loop.unbudgeted):
        for row, given, count in zip(logits, unpressed, SPACE.options, strict=True):
            gap = given[:count] - given[:count].mean()
            gap = gap * min(1.0, LARGEST_SPREAD / float(gap.max() - gap.min()))
            np.testing.assert_allclose(row[:count].detach(), gap, atol=1e-5)


def test_other_classes_are_a_partial_start(runs: Runs, tmp_path: Path) -> None:
    path = write_init(tmp_path / "five", classes=5)
    plan = make_plan(a_config(runs.images, init=str(path)), runs.tables)
    assert plan.reused is not None
    assert plan.reused.fresh == ("classifier",)
    assert plan.config.search.init_sha256 == sha256(path.read_bytes())
    assert plan.start_text == f"{path}: {plan.reused}"
    assert runs("run", init=str(path))["init"]["fresh"] == ["classifier"]


def test_the_instance_of_the_initialisation_is_the_default(runs: Runs, tmp_path: Path) -> None:
    path = write_init(tmp_path / "init", width=1.0, resolution=8)
    config = a_config(runs.images, init=str(path), width=0.0, resolution=0)
    plan = make_plan(config, runs.tables)
    assert (plan.config.space.width, plan.config.space.resolution, plan.space.name) == (1.0, 8, SPACE.name)


def test_what_cannot_be_started_from_is_refused_before_anything_is_done(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no initialisation")
    (tmp_path / "empty").mkdir()
    narrow = write_init(tmp_path / "narrow", width=0.5)
    fits = write_init(tmp_path / "fits")
    for changes, complaint in (
        ({"init": str(tmp_path / "text")}, "damaged or not a checkpoint"),
        ({"init": str(tmp_path / "absent")}, "cannot read"),
        ({"init": str(tmp_path / "empty")}, "only where that kept its weights"),
        ({"init": str(narrow)}, r"only [0-9]+% of the weights"),
        ({"init": str(fits), "space": "mobile"}, "a search of mobile cannot start from"),
        ({"init": str(fits), "scores": "training", "strategy": "evolution"}, "evolution carries nothing over"),
    ):
        with pytest.raises(InputError, match=complaint):
            run_search(a_config(runs.images, **changes), tmp_path / "run", tables=runs.tables)
        assert not (tmp_path / "run").exists()


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_it_is_resumed_with_what_it_began_with_or_not_at_all(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = write_init(tmp_path / "init")

    def die() -> None:
        raise Killed

    whole = runs("whole", init=str(init))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", on_replace(die, "after", "search.safetensors", 1))
        with pytest.raises(Killed):
            runs("cut", init=str(init))
    with pytest.raises(InputError, match="another configuration"):
        runs("cut", resume=True)
    content = init.read_bytes()
    write_init(init, classes=4)
    with pytest.raises(InputError, match="another configuration"):
        runs("cut", resume=True, init=str(init))
    init.write_bytes(content)
    resumed = runs("cut", resume=True, init=str(init))
    assert {**resumed, "seconds": 0, "file_bytes": 0} == {**whole, "seconds": 0, "file_bytes": 0}
    for name in ("weights.safetensors", "evaluated.csv", "architecture.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_from_many_small_tasks_to_a_network_within_its_budget(runs: Runs, tmp_path: Path) -> None:
    """Meta-training on six colours that the search never sees, and the search from what it wrote."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (6, 1, 1, 1, 3))
    pixels = rng.normal(colours, 30, (6, 10, 12, 12, 3)).clip(0, 255).astype(np.uint8)
    np.savez(tmp_path / "colours.npz", x=pixels.reshape(-1, 12, 12, 3), y=np.repeat(np.arange(6), 10))
    usual = MetaSettings.of("fomaml", ways=3, shots=2, queries=2)
    settings = replace(usual, steps=4, validations=1, validation_tasks=2)
    config = MetaConfig((str(tmp_path / "colours.npz"),), settings, space="toy", width=1.0, resolution=8)
    sampler_state = meta_train(config, tmp_path / "init", progress=Silent())
    assert sampler_state.alpha is not None
    result = runs("run", init=str(tmp_path / "init"))
    assert (result["init"]["share"], result["init"]["decisions"]) == (1.0, len(SPACE.decisions))
    assert result["init"]["tensors"] == result["init"]["all_tensors"]
    assert result["budget_met"] is True


def test_configurations_of_earlier_versions_have_no_start(images: Path, tmp_path: Path) -> None:
    a_config(images).save(tmp_path / "config.toml")
    lines = (tmp_path / "config.toml").read_text().splitlines()
    (tmp_path / "config.toml").write_text("\n".join(line for line in lines if not line.startswith("init")))
    found = load_configuration(tmp_path / "config.toml")
    assert not found.started
    assert found.changed(search={"init": ""}) == a_config(images)
