"""A data set from Python in the place of a source, and runs that are resumed with other images."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import FakeVerdicts, a_config, install, write_table

from hwnas.data import Dataset, load_dataset
from hwnas.data.dataset import resized
from hwnas.errors import InputError
from hwnas.run import search_stage
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan

ALONE = {"baseline": False}


class Stopped(BaseException):
    """Stands for an interruption in the middle of a run."""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr, FakeVerdicts())
    return write_table(tmp_path / "tables")


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("architecture.json", "weights.safetensors", "labels.txt")}


def changed(dataset: Dataset, part: str) -> Dataset:
    """One pixel or one label of the train images is another."""
    pixels, labels = dataset.train.pixels.copy(), dataset.train.labels.copy()
    if part == "pixels":
        pixels[0, 0, 0, 0] ^= 1
    else:
        labels[0] = (labels[0] + 1) % 3
    return replace(dataset, train=type(dataset.train)(pixels, labels))


def test_a_data_set_is_searched_like_the_source_that_it_came_from(images: Path, tables: Path, tmp_path: Path) -> None:
    dataset = load_dataset(str(images), resolution=8, seed=0)
    given = run_search(a_config(Path("nowhere"), **ALONE), tmp_path / "a", tables=tables, dataset=dataset)
    run_search(a_config(images, **ALONE), tmp_path / "b", tables=tables)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert given["data"] == tomllib.loads((tmp_path / "a" / "config.toml").read_text())["data"]["source"] == "images"
    state = [json.loads((tmp_path / name / "state" / "data.json").read_text()) for name in "ab"]
    assert state[0] == state[1] == {"sha256": dataset.digest()}


def test_a_data_set_is_resized_to_what_the_plan_says(images: Path, tables: Path, tmp_path: Path) -> None:
    dataset = load_dataset(str(images), resolution=12, seed=0)
    plan = make_plan(a_config(images, resolution=0), tables, dataset)
    assert (plan.space.input_shape, plan.space.classes) == ((3, 32, 32), 3)
    run_search(a_config(images, **ALONE), tmp_path / "a", tables=tables, dataset=dataset)
    assert (tmp_path / "a" / "result.json").exists()
    small = resized(dataset, 6)
    assert small.train.pixels.shape == (len(dataset.train), 3, 6, 6)
    assert small.mean == pytest.approx((small.train.pixels / 255).mean((0, 2, 3)))
    assert np.array_equal(small.test.labels, dataset.test.labels)
    assert resized(dataset, 12) is dataset


@pytest.mark.parametrize(
    ("part", "finished"),
    [
        ("pixels", False),
        ("labels", True),
        pytest.param("pixels", True, marks=pytest.mark.dear),
        pytest.param("labels", False, marks=pytest.mark.dear),
    ],
)
def test_another_data_set_is_refused_by_resume(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, finished: bool
) -> None:
    dataset, out = load_dataset(str(images), resolution=8, seed=0), tmp_path / "run"

    def run(data: Dataset, **options: Any) -> Any:
        return run_search(a_config(images, **ALONE), out, tables=tables, dataset=data, **options)

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    if finished:
        run(dataset)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(search_stage, "search", stop)
            with pytest.raises(Stopped):
                run(dataset)
    with pytest.raises(InputError, match="other images or labels") as caught:
        run(changed(dataset, part), resume=True)
    assert caught.value.hint
    assert run(dataset, resume=True)["budget_met"] is True
    assert run(changed(dataset, part), force=True)["budget_met"] is True


def test_images_that_changed_since_are_refused_by_resume(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(images, tmp_path / "copy"))

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(search_stage, "search", stop)
        with pytest.raises(Stopped):
            run_search(a_config(copy), tmp_path / "run", tables=tables)
    (copy / "red" / "00.png").unlink()
    with pytest.raises(InputError, match="other images or labels"):
        run_search(a_config(copy), tmp_path / "run", tables=tables, resume=True)
