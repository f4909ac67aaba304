"""Whole runs on arrays that are no squares and have any number of channels, on a made-up machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from run_fakes import a_config, install, write_table
from typer.testing import CliRunner

from hwnas.arch import space_instance
from hwnas.backends.model_format import format_of
from hwnas.cli import app
from hwnas.errors import DataError, InputError
from hwnas.exporting.predict import predict
from hwnas.image_size import Size
from hwnas.run import instance_choice
from hwnas.run.instance import ChosenInstance
from hwnas.run.instance_choice import default_resolution, default_width
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines


def levels(count: int, channels: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise whose last channel is dark, grey or light: three classes."""
    rng, labels = np.random.default_rng(0), np.arange(count) % 3
    pixels = rng.integers(0, 60, (count, channels, height, width)).astype(np.uint8)
    pixels[:, -1] += (90 * labels).astype(np.uint8)[:, None, None]
    return pixels, labels


SETS: dict[str, tuple[tuple[int, int, int], str]] = {
    "spectrograms": ((1, 49, 10), "onnxruntime"),
    "satellite": ((4, 24, 40), "litert"),
}


@pytest.fixture(params=SETS)
def arrays(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shape, _ = SETS[request.param]
    pixels, labels = levels(60, *shape)
    stored = pixels[:, 0] if shape[0] == 1 else pixels.transpose(0, 2, 3, 1)
    np.savez(tmp_path / f"{request.param}.npz", x=stored, y=labels)
    return tmp_path / f"{request.param}.npz"


def test_a_run_from_arrays_to_predictions(arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default keeps the shape of the arrays, through the table's names, both kinds of file, and their metadata."""
    install(monkeypatch.setattr)
    (channels, height, width), runtime = SETS[arrays.stem]
    size = Size(height, width)
    space = space_instance("toy", width=1.0, resolution=size, channels=channels, classes=3)
    assert space.signature == f"toy@w1-r{height}x{width}-i{channels}-o3"
    tables = write_table(tmp_path / "tables", spaces=[space], runtime=runtime)
    config = a_config(arrays, resolution=0, runtime=runtime, epochs=8, baseline=False)
    plan = make_plan(config, tables)
    assert (plan.space.signature, plan.config.space.resolution) == (space.signature, str(size))
    lines = plan_lines(plan, plan_facts(plan))
    assert f"{channels} × {height} × {width} pixels" in lines["data"]
    assert f"{height}x{width} (height x width), and keep that shape" in lines["notes"]

    run = tmp_path / "run"
    result = run_search(config, run, tables=tables)
    assert result["accuracy"]["test"] > 0.6
    assert (run / "report.html").read_text().count(f"toy@w1-r{height}x{width}")
    assert f'resolution = "{size}"' in (run / "config.toml").read_text()
    model = run / result["model"]
    metadata = format_of(runtime, "fp32").metadata(model.read_bytes())
    assert json.loads(metadata["imgsz"]) == [height, width]
    assert metadata["hwnas.color"] == {1: "gray", 4: "none"}[channels]
    assert len(json.loads(metadata["hwnas.normalised_inside"])["mean"]) == channels

    pixels, labels = levels(30, channels, height, width)
    np.savez(tmp_path / "new.npz", x=pixels, y=labels)
    np.save(tmp_path / "one.npy", pixels[5].transpose(1, 2, 0))
    found = predict(model, [tmp_path / "new.npz", tmp_path / "one.npy"])
    assert [str(one.image) for one in found[4:6]] == [f"{tmp_path}/new.npz[4]", f"{tmp_path}/new.npz[5]"]
    assert found[-1].image == tmp_path / "one.npy"
    assert found[-1].classes == found[5].classes
    right = [one.classes[0][0] == str(label) for one, label in zip(found[:-1], labels, strict=True)]
    assert np.mean(right) == pytest.approx(result["accuracy"]["test"], abs=0.35)

    again = run_search(make_plan(config, tables).config, run, tables=tables, resume=True)
    assert again["accuracy"] == result["accuracy"]


def test_photographs_at_a_rectangle_are_read_so_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    space = space_instance("toy", width=1.0, resolution="8x20", channels=3, classes=3)
    tables = write_table(tmp_path / "tables", spaces=[space])
    config = a_config(images, resolution="8x20", epochs=8, baseline=False)
    result = run_search(config, tmp_path / "run", tables=tables)
    model = tmp_path / "run" / result["model"]
    metadata = format_of("onnxruntime", "fp32").metadata(model.read_bytes())
    assert (metadata["imgsz"], metadata["hwnas.color"], metadata["hwnas.fit"]) == ("[8, 20]", "rgb", "pad")
    found = predict(model, [images])
    np.save(tmp_path / "red.npy", np.asarray(Image.open(images / "red" / "00.png")))
    assert np.mean([one.classes[0][0] == one.image.parent.name for one in found]) > 0.8
    (whole,) = predict(model, [tmp_path / "red.npy"])
    twin = next(one for one in found if one.image == images / "red" / "00.png")
    assert dict(whole.classes)["red"] == pytest.approx(dict(twin.classes)["red"], abs=0.05)


def test_what_a_model_of_other_channels_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    pixels, labels = levels(60, 2, 8, 12)
    np.savez(tmp_path / "two.npz", x=pixels, y=labels)
    space = space_instance("toy", width=1.0, resolution="8x12", channels=2, classes=3)
    tables = write_table(tmp_path / "tables", spaces=[space])
    config = a_config(tmp_path / "two.npz", resolution=0, train=False, baseline=False)
    result = run_search(config, tmp_path / "run", tables=tables)
    model = tmp_path / "run" / result["model"]
    Image.new("RGB", (12, 8)).save(tmp_path / "a.png")
    np.save(tmp_path / "three.npy", pixels[:, :1].repeat(3, 1))
    np.savez(tmp_path / "keys.npz", a=pixels, b=pixels)
    np.savez(tmp_path / "sole.npz", images=pixels[:2] / 255)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "three.npy").read_bytes()[:-1])
    for name, rule, hint in (
        ("a.png", "reads images of 2 channels", "(N, 2, 8, 12)"),
        ("three.npy", "reads images of 2 × 8 × 12 values, but .* has \\(60, 3, 8, 12\\)", "(N, 8, 12, 2)"),
        ("keys.npz", "has a, b", "np.savez"),
        ("objects.npy", "holds Python objects", "never unpickles"),
        ("cut.npy", "another length", "np.save"),
    ):
        with pytest.raises(DataError, match=rule) as caught:
            predict(model, [tmp_path / name])
        assert hint in caught.value.hint
    assert len(predict(model, [tmp_path / "sole.npz"])) == 2
    done = CliRunner().invoke(app, ["predict", "--json", str(model), str(tmp_path / "a.png")])
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("native", "resolution", "width"),
    [
        ((49, 10), (49, 10), 0.5),
        ((24, 40), (24, 40), 0.5),
        ((6, 9), (6, 9), 0.25),
        ((3, 100), (4, 133), 0.5),
        ((480, 640), (194, 259), 1.0),
        ((100, 4000), (35, 1417), 1.0),
        ((8, 4000), (4, 2048), 1.0),
    ],
)
def test_the_default_keeps_the_shape(native: tuple[int, int], resolution: tuple[int, int], width: float) -> None:
    found = default_resolution(Size(*native))
    assert (found, default_width(Size(*native))) == (resolution, width)


def test_an_asked_resolution_is_taken(tmp_path: Path) -> None:
    pixels, labels = levels(30, 3, 12, 30)
    np.savez(tmp_path / "a.npz", x=pixels, y=labels)
    cases = (("9x21", "auto", (9, 21)), (8, "auto", (8, 8)), (0, "crop", (32, 32)), (0, "auto", (12, 30)))
    for asked, fit, shape in cases:
        config = a_config(tmp_path / "a.npz", resolution=asked).changed(data={"fit": fit})
        plan = make_plan(config, tmp_path)
        assert plan.space.input_shape == (3, *shape)
    with pytest.raises(InputError, match="height x width"):
        a_config(tmp_path / "a.npz", resolution="9x")


def result_of(words: list[str]) -> Any:
    return json.loads(CliRunner().invoke(app, words).stdout)


def test_commands_take_a_size() -> None:
    shown = result_of(["spaces", "show", "toy", "--resolution", "10x49", "--json"])
    assert shown["space"] == "toy@w0.25-r10x49"
    for typed in ("10x", "3x8", "0"):
        done = CliRunner().invoke(app, ["spaces", "show", "toy", "--resolution", typed, "--json"])
        assert done.exit_code == 2
        assert "2048" in json.loads(done.stdout)["error"]


def test_a_budget_lowers_both_sides_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for squares: the shorter side takes their steps, down to 64 pixels or what the images have."""
    asked: list[list[Size]] = []

    def fit(values: Any, sizes: Any, instance: Any, resolutions: list[Size], *_: Any, **__: Any) -> ChosenInstance:
        asked.append(resolutions)
        return ChosenInstance(instance(1.0, 0, resolutions[-1]), 1.0, 0, "")

    monkeypatch.setattr(instance_choice, "fit", fit)
    pixels, labels = levels(12, 1, 120, 300)
    small, _ = levels(12, 1, 49, 10)
    for name, x in (("large", pixels), ("small", small)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        config = a_config(tmp_path / f"{name}.npz", space="mobile", width=0.0, resolution=0, budget="5")
        plan = make_plan(config, tmp_path)
        assert plan.space.input_shape[1:] == asked[-1][-1]
    assert asked == [[(120, 300), (96, 240), (64, 160)], [(49, 10)]]
