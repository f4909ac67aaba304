"""A finished run, resumed: its files are as it left them, or are written again, or the run is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_fakes import FakeVerdicts, a_config, install, write_table

import hwnas
from hwnas.backends.model_format import format_of
from hwnas.errors import InputError, UndecidedError
from hwnas.exporting.predict import predict
from hwnas.report.earlier_results import current
from hwnas.run import measured_check, search_stage
from hwnas.run.failures import failure
from hwnas.run.pipeline import run_search
from hwnas.run.run_folder import RunFolder

CHECKED = ("architecture.json", "evaluated.csv", "labels.txt", "model.onnx", "result.json", "weights.safetensors")
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 8, 8), dtype=np.float32)


class Machine:
    """A finished run on the made-up machine, and what resumes it."""

    def __init__(self, images: Path, root: Path) -> None:
        self.images, self.tables, self.out = images, write_table(root / "tables"), root / "run"

    def run(self, out: Path | None = None, *, resume: bool = False, **changes: Any) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            install(patch.setattr)
            if resume:
                patch.setattr(search_stage, "search", None)  # nothing is searched again
            return run_search(a_config(self.images, **changes), out or self.out, tables=self.tables, resume=resume)

    def copy(self, out: Path) -> RunFolder:
        return RunFolder(Path(shutil.copytree(self.out, out)))


@pytest.fixture(scope="module")
def machine(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(images, tmp_path_factory.mktemp("machine"))
    machine.run()
    return machine


def logits(model: Path) -> Any:
    return format_of("onnxruntime").run(model.read_bytes(), IMAGE)


def spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))


@pytest.mark.sample("name")
@pytest.mark.parametrize("how", ["missing", "cut", "one bit"])
@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors", "labels.txt", "report.html"])
def test_what_can_be_made_again_is(name: str, how: str, machine: Machine, tmp_path: Path) -> None:
    folder = machine.copy(tmp_path / "run")
    before = {one: (folder.path / one).read_bytes() for one in CHECKED}
    wanted = logits(folder.onnx)
    spoil(folder.path / name, "cut" if name == "report.html" and how == "one bit" else how)
    assert machine.run(folder.path, resume=True) == json.loads(before["result.json"])
    for one in CHECKED:
        if one != "model.onnx":  # its metadata have a date
            assert (folder.path / one).read_bytes() == before[one]
    np.testing.assert_array_equal(logits(folder.onnx), wanted)
    assert predict(folder.onnx, [machine.images / "red" / "00.png"])
    assert folder.report.read_text().rstrip().endswith("</html>")
    ends = folder.marker.read_bytes()
    machine.run(folder.path, resume=True)
    assert folder.marker.read_bytes() == ends, "nothing is left to mend"


@pytest.mark.parametrize("name", ["architecture.json", "evaluated.csv", "result.json"])
def test_what_cannot_is_refused(name: str, machine: Machine, tmp_path: Path) -> None:
    folder = machine.copy(tmp_path / "run")
    path = folder.path / name
    path.write_text(path.read_text().replace("0.", "1.", 1) + " ")
    with pytest.raises(InputError, match=rf"{name} is missing, or was changed") as caught:
        machine.run(folder.path, resume=True)
    assert "--force" in caught.value.hint


def test_weights_without_their_checkpoint_are_refused(machine: Machine, tmp_path: Path) -> None:
    folder = machine.copy(tmp_path / "run")
    folder.weights.unlink()
    for path in folder.state.glob("train-*"):
        path.unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors is missing"):
        machine.run(folder.path, resume=True)
    assert not folder.weights.exists()


@pytest.mark.parametrize("name", ["model.onnx", "labels.txt", "weights.safetensors"])
def test_runs_without_checksums_are_read_instead(name: str, machine: Machine, tmp_path: Path) -> None:
    folder = machine.copy(tmp_path / "run")
    folder.marker.unlink()
    before = folder.weights.read_bytes()
    (folder.path / name).write_bytes(b"") if name == "model.onnx" else (folder.path / name).unlink()
    machine.run(folder.path, resume=True)
    assert folder.weights.read_bytes() == before
    assert folder.labels.read_text().split() == ["blue", "green", "red"]
    assert predict(folder.onnx, [machine.images / "red" / "00.png"])


def test_an_open_verdict_is_measured_again_and_nothing_else(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr, FakeVerdicts("met", "unstable"))
    config, out = a_config(machine.images), tmp_path / "run"
    first = run_search(config, out, tables=machine.tables)
    again = FakeVerdicts("unstable", "met")
    monkeypatch.setattr(measured_check, "measure_verdict", again)
    with monkeypatch.context() as patch:
        patch.setattr(search_stage, "search", None)
        for state, met in (("unstable", None), ("met", True)):
            result = run_search(config, out, tables=machine.tables, resume=True)
            assert (result["verdict"], result["budget_met"]) == (state, met)
    assert [models for models, _ in again.asked] == [("model", "baseline")] * 2
    changing = {"measured_ms", "budget_met", "verdict", "baseline_random", "seconds"}
    assert {key: one for key, one in result.items() if key not in changing} == {
        key: one for key, one in first.items() if key not in changing
    }
    assert json.loads((out / "result.json").read_text()) == result
    assert run_search(config, out, tables=machine.tables, resume=True) == result
    assert len(again.asked) == 2


def test_a_report_of_somebody_else_stays(machine: Machine, tmp_path: Path) -> None:
    folder = machine.copy(tmp_path / "run")
    assert hwnas.write_report(folder.path) == folder.report
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(folder.result, mine / "result.json")
    assert hwnas.write_report(mine).is_file()
    (mine / "report.html").write_text("mine")
    with pytest.raises(InputError, match=r"report\.html is not replaced"):
        hwnas.write_report(mine)
    assert (mine / "report.html").read_text() == "mine"


def test_a_result_of_an_earlier_version_that_straddles_its_budget_is_too_close() -> None:
    measured = {"median": 2.01, "ci95": [1.99, 2.03], "p90": 2.2, "n": 60, "rejected": 0.1}
    error = failure(current({"verdict": "straddles", "budget_met": False, "budget_ms": 2.0, "measured_ms": measured}))
    assert isinstance(error, UndecidedError)
    assert str(error) == "the exported model runs in 2.01 ms, too close to the budget of 2 ms to tell"
