"""A run's architecture trained again: what stays, what changes, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from package_files import command, onnx_scores
from PIL import Image

import hwnas
from hwnas.config import Configuration
from hwnas.config.starts import TrainStart
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.run import train_again
from hwnas.run.run_folder import RunFolder
from hwnas.run.train_start import origin_of, settled_start
from hwnas.train import checkpoint


def weights(run: Path) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in checkpoint.load(run / "weights.safetensors")[0].items()}


def two_classes(root: Path, channels: int = 3) -> Path:
    """Light and dark images."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 200)):
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = np.clip(rng.normal(level, 30, (10, 10, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(root / name / f"{index}.png")
    return root


def test_another_seed_gives_another_network_of_the_same_architecture(
    packed_run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("train", packed_run, "--out", tmp_path / "a", "--seed", 5, "--epochs", 3, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["seed"], facts["epochs"], facts["trained_from"], facts["verdict"]) == (
        5,
        3,
        "scratch",
        "not measured",
    )
    before, after = (json.loads((one / "architecture.json").read_text()) for one in (packed_run, tmp_path / "a"))
    assert before == after
    assert facts["budget_ms"] == json.loads((packed_run / "result.json").read_text())["budget_ms"]
    own, other = weights(packed_run), weights(tmp_path / "a")
    assert own.keys() == other.keys()
    assert any(not np.allclose(own[name], other[name]) for name in own)
    test = hwnas.load_dataset(str(images), resolution=8, seed=5).test
    right = (onnx_scores(tmp_path / "a" / "model.onnx", test.pixels).argmax(1) == test.labels).mean()
    assert facts["accuracy"]["test"] == pytest.approx(right)
    again = hwnas.retrain(packed_run, tmp_path / "b", seed=5, epochs=3)
    assert again.model.read_bytes() == (tmp_path / "a" / "model.onnx").read_bytes()
    assert {path.name for path in hwnas.export(tmp_path / "a", formats="tflite").folder.iterdir()} == {
        *("model.tflite", "labels.txt", "model.json")
    }
    assert len(hwnas.predict(tmp_path / "a", images / "red")) == 20
    monkeypatch.chdir(tmp_path / "a")
    assert train_again.retrained_folder(RunFolder(Path())) == tmp_path / "a-trained"
    monkeypatch.chdir(tmp_path)
    assert train_again.retrained_folder(RunFolder(Path("a"))) == Path("a-trained")
    assert train_again.retrained_folder(RunFolder(Path("a/5ms"))) == Path("a-5ms-trained")


def test_other_images_may_have_other_classes(packed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On an accelerator, which int8 gets as well."""
    accelerator, asked, export_model = torch.device("cpu", 0), [], train_again.export_model

    def spied(*words: Any, **more: Any) -> Any:
        asked.append(words[4])
        return export_model(*words, **more)

    monkeypatch.setattr(train_again, "resolve", lambda name: accelerator)
    monkeypatch.setattr(train_again, "export_model", spied)
    data = two_classes(tmp_path / "light-and-dark")
    found = hwnas.retrain(packed_run, tmp_path / "run", data=data, start="weights", settings={"train.epochs": 2})
    assert found.facts["trained_from"] == "weights"
    assert [(one.device, one.label) for one in asked] == [(accelerator, "model.onnx")]
    assert (tmp_path / "run" / "labels.txt").read_text().splitlines() == ["dark", "light"]
    own, other = weights(packed_run), weights(tmp_path / "run")
    assert [name for name in own if own[name].shape != other[name].shape]
    assert json.loads((tmp_path / "run" / "model.json").read_text())["files"]["model.onnx"]["output"]["shape"] == [1, 2]
    assert found.accuracy > 0.5
    once = hwnas.retrain(tmp_path / "run", tmp_path / "again", start="weights", epochs=1)
    assert json.loads((once.run / "result.json").read_text())["data"] == str(data)


def test_what_would_be_another_search_is_refused(packed_run: Path, images: Path, tmp_path: Path) -> None:
    for settings, said in (
        ({"target.budget": "10%"}, "keeps architecture, budget and device of the run, but target.budget was"),
        ({"space.width": 2.0}, "but space.width was"),
        ({"train.color": 1}, "has no option 'color'"),
    ):
        with pytest.raises(InputError, match=said):
            hwnas.retrain(packed_run, tmp_path / "run", settings=settings)
    with pytest.raises(InputError, match="is the run itself"):
        hwnas.retrain(packed_run, packed_run, force=True)
    with pytest.raises(InputError, match="images of 3 channels, not of 1"):
        hwnas.retrain(packed_run, tmp_path / "run", data="digits")
    assert not (tmp_path / "run").exists()
    own = Path(shutil.copytree(packed_run, tmp_path / "own"))
    with pytest.raises(InputError, match="holds a run already"):
        hwnas.retrain(packed_run, own, epochs=1)
    assert weights(own).keys() == weights(packed_run).keys()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    with pytest.raises(InputError, match="holds files and is no run"):
        hwnas.retrain(packed_run, tmp_path / "mine", epochs=1, force=True)
    for words, said in (
        (["--start", "zero"], "--start is one of auto, scratch, weights, not 'zero'"),
        (["--set", "train.lr=1", "--set", "train.lr=2"], "train.lr is set twice"),
        (["--set", "lr"], "takes section.name=value"),
        (["--data", str(tmp_path / "missing")], "neither a built-in data set"),
    ):
        done = command("train", packed_run, "--out", tmp_path / "run", *words)
        assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output


def test_weights_of_a_run_from_a_parent_are_the_default_unless_they_know_the_images(tmp_path: Path) -> None:
    """As they do where the same images are split otherwise."""
    images = two_classes(tmp_path / "images")
    earlier = Configuration.model_validate({"target": {"budget": "50%"}, "data": {"source": str(images)}})
    other = earlier.changed(compute={"seed": 5})
    own, split = (hwnas.load_dataset(str(images), resolution=8, seed=seed) for seed in (0, 5))
    folder = RunFolder(tmp_path / "run")
    parent = {"init": {"from": "efficientnet-lite0", "licence": "Apache-2.0"}}

    def start(asked: TrainStart, result: dict[str, Any], config: Configuration, dataset: Dataset) -> tuple[str, str]:
        said: list[str] = []
        events = Events(lambda event: said.append(event.label))
        return settled_start(asked, folder, (earlier, result), config, dataset, events), " ".join(said)

    for _ in range(2):  # without what the run noted of its images, and with it
        for asked in ("auto", "scratch", "weights"):
            expected = "weights" if asked == "weights" else "scratch"
            assert start(asked, {"init": None}, earlier, own) == (expected, "")
        found, said = start("auto", parent, earlier, own)
        assert (found, "began from efficientnet-lite0" in said, "--start scratch" in said) == ("weights", True, True)
        assert start("scratch", parent, earlier, own) == ("scratch", "")
        found, said = start("auto", parent, other, split)
        assert (found, "random weights" in said, "--start weights" in said) == ("scratch", True, True)
        found, said = start("weights", parent, other, split)
        assert (found, "accuracies may be too high" in said) == ("weights", True)
        moved = earlier.changed(data={"source": str(tmp_path)})
        assert start("auto", parent, moved, split)[0] == "weights"
        folder.same_data(own.digest())
    assert origin_of("weights", folder, parent) == {"from": str(folder.path), "licence": "Apache-2.0"}
    assert origin_of("scratch", folder, parent) is None
