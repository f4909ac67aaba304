"""What a plan and a run say of the images, and what the model file says of how they were read."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from run_fakes import FakeVerdicts, install, write_table

from hwnas.config import Configuration
from hwnas.errors import DataError, UnreadableError
from hwnas.exporting import predict as prediction
from hwnas.progress import Silent
from hwnas.run.clock import Clock
from hwnas.run.forecast import limited
from hwnas.run.images import surveyed
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.run.run_marker import sealed


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr, FakeVerdicts())
    return write_table(tmp_path / "tables")


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Three classes of 20 images of 16 bits, four times as wide as high, whose left end alone tells the class."""
    rng = np.random.default_rng(0)
    for number in range(60):
        image = rng.integers(0, 100, (8, 32)).astype(np.uint16)
        image[:, :4] = 80 * (number % 3)
        path = tmp_path / "wide" / "abc"[number % 3] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "wide"


def a_config(data: Path, **of_data: object) -> Configuration:
    return Configuration.model_validate(
        {
            "data": {"source": str(data), **of_data},
            "target": {"budget": "60%"},
            "space": {"name": "toy", "width": 1.0, "resolution": 8},
            "compute": {"accelerator": "cpu"},
        }
    )


def test_a_plan_tells_what_the_images_are_like(wide: Path, tables: Path) -> None:
    plan = make_plan(a_config(wide), tables)
    facts = plan_facts(plan)
    assert json.loads(json.dumps(facts["data"]))["fit"] == "pad"
    assert facts["data"]["images"]["test"] == {"a": 3, "b": 3, "c": 3}
    lines = plan_lines(plan, facts)
    assert list(lines)[:6] == ["data", "images", "sizes", "fit", "mirrored", "notes"]
    assert lines["sizes"] == "all 8x32 pixels (height x width)"
    assert "values from 0 to 160; 0 to 255 become 0 to 255" in lines["notes"]
    assert make_plan(a_config(wide).changed(space={"resolution": 0}), tables).space.input_shape == (3, 32, 32)


def test_a_run_takes_what_its_plan_said_and_a_model_tells_how_images_are_read(
    wide: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_search(a_config(wide, flip="off"), tmp_path / "run", tables=tables)
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (logged,) = [entry for entry in entries if entry["event"] == "images"]
    assert (logged["fit"], logged["values"], logged["flip"]) == ("pad", [0, 255], False)
    assert json.loads((tmp_path / "run" / "images.json").read_text())["images"]["test"] == {"a": 3, "b": 3, "c": 3}
    assert sealed(tmp_path / "run").keys() == {
        *("architecture.json", "evaluated.csv", "labels.txt", "model.json", "model.onnx", "result.json"),
        "weights.safetensors",
    }, "what a resumed run writes again is not compared"
    kept = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["data"]
    assert (kept["fit"], kept["flip"], kept["skip_unreadable"]) == ("auto", "off", False)
    props = {entry.key: entry.value for entry in onnx.load(tmp_path / "run" / "model.onnx").metadata_props}
    assert (props["hwnas.fit"], json.loads(props["hwnas.values"])) == ("pad", [0, 255])
    readings = []
    read = prediction.image.read
    monkeypatch.setattr(
        prediction.image, "read", lambda *args, **options: readings.append(options["reading"]) or read(*args, **options)
    )
    prediction.predict(tmp_path / "run" / "model.onnx", [wide / "a" / "00.png"])
    assert [(one.fit, one.low, one.high) for one in readings] == [("pad", 0, 255)]


def test_images_that_a_run_would_refuse_are_refused_by_its_plan(wide: Path, tables: Path, tmp_path: Path) -> None:
    whole = (wide / "a" / "00.png").read_bytes()
    (wide / "a" / "00.png").write_bytes(whole[:-30])
    for refused in (
        lambda: make_plan(a_config(wide), tables),
        lambda: run_search(a_config(wide), tmp_path / "run", tables=tables),
    ):
        with pytest.raises(UnreadableError, match=r"1 of 60 images"):
            refused()
    assert not (tmp_path / "run").exists()
    plan = make_plan(a_config(wide, skip_unreadable=True), tables)
    assert plan.survey is not None
    assert sum(map(sum, plan.survey.counts.values())) == 59
    timed = make_plan(plan.config.changed(train={"minutes": 1.0}), tables)
    assert limited(timed, None, Clock(1.0))[1].minutes == 1.0, "the images that the plan left out are left out here too"


def test_a_class_that_is_too_small_is_refused_by_the_plan(wide: Path) -> None:
    for path in sorted((wide / "b").iterdir())[2:]:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class 'b' of wide has 2"):
        surveyed(a_config(wide, skip_unreadable=True), Silent())


def test_built_in_sets_need_no_looking_at() -> None:
    assert surveyed(a_config(Path("digits")), Silent()) is None
