"""The front door: what a user gets from `import hwnas`, and that it leaves the process as it was."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_fakes import FakeVerdicts, install, install_short, write_table
from typer.testing import CliRunner

import hwnas
from hwnas.arch import space_instance
from hwnas.cli import app
from hwnas.config import Configuration, load_configuration
from hwnas.errors import InputError
from hwnas.latency import build, journal
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.run import forecast
from hwnas.run.failures import failure

ROOT = Path(__file__).parents[2]
MOBILE = space_instance("mobile", width=0.25, resolution=32, channels=3, classes=3)
TOY = {"space": "toy", "width": 1.0, "resolution": 8, "budget_ms": "60%", "baseline": False}


@pytest.fixture
def here(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `photos/` in it, and a table of the made-up machine for the spaces that the documents name."""
    shutil.copytree(images, tmp_path / "photos")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    tables = tmp_path / "user" / "hwnas" / "latency_tables"
    write_table(tables, spaces=(MOBILE, space_instance("toy", **toy_constants())))
    monkeypatch.chdir(tmp_path)
    install(monkeypatch.setattr)
    return tmp_path


def toy_constants() -> dict[str, Any]:
    return {"width": 1.0, "resolution": 8, "channels": 3, "classes": 3}


def searched(name: str, **options: Any) -> hwnas.SearchResult:
    asked = TOY | options
    baseline = asked.pop("baseline")
    return hwnas.search("photos", out=f"runs/{name}", settings={"train.baseline": baseline}, **asked)


def test_the_front_door_is_quick_typed_and_complete() -> None:
    heavy = "{'torch', 'numpy', 'pydantic'}"
    code = f"import sys, hwnas; print(*{{name.split('.')[0] for name in sys.modules}} & {heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert list(hwnas.__all__) == sorted(hwnas.__all__)
    for name in hwnas.__all__:
        found = getattr(hwnas, name)
        assert found.__doc__, name
        if inspect.isfunction(found):
            assert all(
                p.annotation is not inspect.Parameter.empty for p in inspect.signature(found).parameters.values()
            )
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = hwnas.serach  # type: ignore[attr-defined]


def test_the_program_of_the_documentation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines from a folder of photos to a verdict; the machine and the trainings are made up."""
    page = (ROOT / "docs/reference/python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (program,) = [block for block in blocks if 'hwnas.search("photos"' in block]
    assert len(program.splitlines()) <= 10
    exec(program, {})
    facts = json.loads((here / "runs/photos/result.json").read_text())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"runs/photos/model.onnx classifies {facts['accuracy']['test']:.1%} of the test images"
    assert lines[1] == f"{facts['measured_ms']['median']:.3g} of {facts['budget_ms']:.3g} ms: met"
    assert lines[2].startswith("photos/red/00.png ")


def test_the_notebook(here: Path) -> None:
    """Cell by cell, as Jupyter runs it: the last expression shows itself."""
    cells = json.loads((ROOT / "examples/photos.ipynb").read_text())["cells"]
    names: dict[str, Any] = {}
    shown = []
    for cell in cells:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            *body, last = tree.body
            assert isinstance(last, ast.Expr)
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    result, verdict, (prediction,) = shown
    assert "<table>" in result._repr_html_()
    assert "runs/notebook" in result._repr_html_()
    assert verdict.state == "met"
    assert all("<table>" in one._repr_html_() for one in (verdict, prediction))
    assert prediction.classes[0][0] in ("red", "green", "blue")


def test_a_result_is_what_result_json_says(here: Path) -> None:
    result = searched("one")
    assert result.to_json() == json.loads((result.run / "result.json").read_text())
    assert all(path.is_file() for path in (result.model, result.labels, result.report))
    assert (result.budget_met, result.front) == (True, ())
    assert result.verdict is not None
    assert result.verdict.median_ms == result.to_json()["measured_ms"]["median"]
    with pytest.raises(AttributeError):
        result.accuracy = 1.0  # type: ignore[misc]


def test_several_budgets_are_a_front(here: Path) -> None:
    result = searched("front", budget_ms=["20%", "80%"])
    assert [one.run.name for one in result.front] == ["20pct", "80pct"]
    assert result.front[0].budget_ms < result.front[1].budget_ms
    assert result.model == result.front[0].model
    assert "20pct" in str(result.to_json()["front"][0]["folder"])
    assert result._repr_html_().count("<tr>") == 3


def test_a_missed_budget_is_a_result_and_exit_code_4(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr, FakeVerdicts("met", "missed"))
    result = searched("missed", budget_ms="100%")
    assert (result.budget_met, result.verdict.state if result.verdict else "") == (False, "missed")
    error = failure(result.to_json())
    assert error is not None
    assert error.exit_code == 4
    words = ["search", "--config", "runs/missed/config.toml", "--out", "runs/missed", "--resume", "--json", "--quiet"]
    done = CliRunner().invoke(app, words)  # finished: it is read again
    printed = json.loads(done.stdout)
    assert (done.exit_code, printed["exit_code"], printed["verdict"]) == (4, 4, "missed")
    assert printed["error"] == str(error)
    assert printed["measured_ms"] == result.to_json()["measured_ms"]


def test_a_run_that_is_refused_leaves_the_one_that_was_there(here: Path) -> None:
    result = searched("kept")
    before = {path: path.read_bytes() for path in result.run.rglob("*") if path.is_file() and path.name != "lock"}
    for refused, said in (
        ({"force": True, "minutes": 0.001}, "minutes"),
        ({"force": True, "memory_gb": 1e-6}, "memory"),
        ({"force": True, "resume": True}, "both --resume and --force"),
    ):
        with pytest.raises(InputError, match=said):
            searched("kept", **refused)
        assert {path: path.read_bytes() for path in before} == before


def test_callbacks_hear_everything_and_the_log_is_one_of_them(here: Path) -> None:
    heard: list[hwnas.Event] = []
    result = searched("heard", on_event=[heard.append, lambda event: None])
    log = [json.loads(line) for line in (result.run / "log.jsonl").read_text().splitlines()]
    records = [json.loads(json.dumps(dict(event.record))) for event in heard if event.kind == "record"]
    assert records == [{name: value for name, value in line.items() if name != "at"} for line in log]
    begun, ended = ([one.task for one in heard if one.kind == kind] for kind in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    assert begun


def test_the_process_is_left_as_it_was(here: Path) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    before = os.environ.copy()
    searched("left", threads=1)
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (2, False)
    assert dict(os.environ) == dict(before)
    torch.set_num_threads(1)


def test_an_error_leaves_the_process_as_it_was(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        assert torch.get_num_threads() == 1
        raise InputError("stop")

    monkeypatch.setattr(SearchLoop, "run", fails)
    torch.set_num_threads(2)
    with pytest.raises(InputError, match="stop"):
        searched("stopped", threads=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_options_by_name_by_place_and_by_section(here: Path) -> None:
    target = hwnas.Target(budget="60%", max_size_kb=4000.0)
    result = hwnas.search(
        "photos",
        target=target,
        settings={"search.lr": 0.001, "space.name": "toy"},
        width=1.0,
        resolution=8,
        no_baseline=True,
        out="runs/options",
    )
    config = load_configuration(result.run / "config.toml")
    assert (config.target.max_size_kb, config.search.lr, config.train.baseline) == (4000.0, 0.001, False)
    again = hwnas.search(config=result.run / "config.toml", out="runs/again")
    assert (again.run / "weights.safetensors").read_bytes() == (result.run / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        ({"minuets": 3, "budget_ms": 1}, "no option 'minuets'", "did you mean minutes?"),
        ({"budget_ms": 1, "settings": {"search.leraning_rate": 1}}, "no option", "did you mean search.lr?"),
        ({"budget_ms": 1, "width": 0.5, "settings": {"space.width": 0.5}}, "space.width is set twice", "leave one"),
        ({"budget_ms": True}, "not True", ""),
        ({"budget_ms": float("nan")}, "budget", ""),
        ({}, "needs budget", ""),
        ({"budget_ms": 1, "epochs": "many"}, "epochs", ""),
        ({"budget_ms": [1, "50%"]}, "all in milliseconds or all shares", ""),
    ],
)
def test_wrong_arguments_are_one_clear_error(here: Path, arguments: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        hwnas.search("photos", out="runs/wrong", **arguments)
    assert hint in caught.value.hint
    assert not Path("runs/wrong").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: hwnas.search("photos", budget_ms=b"50%"), "budget_ms must be"),
        (lambda: hwnas.search("photos", budget_ms=10**400), "budget_ms must be"),
        (lambda: hwnas.search("photos", budget_ms=1, seed=None), "seed"),
        (lambda: hwnas.search("photos", budget_ms=1, target="pixel"), "target"),
        (lambda: hwnas.search("photos", budget_ms=1, settings="search.lr=1"), "settings"),
        (lambda: hwnas.search("photos", budget_ms=1, on_event=[1]), "on_event"),
        (lambda: hwnas.search("photos", budget_ms=1, resume="false"), "resume"),
        (lambda: hwnas.search("photos", budget_ms=1, out="\0"), "without NUL"),
        (lambda: hwnas.search("photos", budget_ms=1, out="x" * 300), "at most 255 bytes"),
        (lambda: hwnas.profile_device(seed=-1), "greater than or equal to 0"),
        (lambda: hwnas.profile_device(width="1"), "width must be a valid number"),
        (lambda: hwnas.profile_device(max_minutes=float("nan")), "finite number"),
        (lambda: hwnas.verify("m.onnx", budget_ms="20"), "budget_ms"),
        (lambda: hwnas.verify("m.onnx", budget_ms="50%"), "budget_ms must be milliseconds: a share needs a range"),
        (lambda: hwnas.export("run", layout="chw"), "layout must be one of 'nchw', 'nhwc', not 'chw'"),
        (lambda: hwnas.verify("m.onnx", shapes={"input": 5}), "shapes"),
        (lambda: hwnas.predict("m.onnx", ["a.png"], top=-1), "top"),
        (lambda: hwnas.meta_train("x.safetensors", minutes=float("nan")), "minutes"),
        (lambda: hwnas.meta_train("x.safetensors", ways=2.5), "ways"),
        (lambda: hwnas.verify(), "needs model"),
        (lambda: hwnas.verify("m.onnx", colour="red"), "no argument colour"),
    ],
)
def test_arguments_of_another_type_are_refused(here: Path, call: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        call()
    assert not Path("runs").exists()


def test_scalars_of_numpy_are_numbers(here: Path) -> None:
    plain, other = searched("plain", budget_ms=20, seed=3), searched("numpy", budget_ms=np.int64(20), seed=np.int64(3))
    assert (plain.run / "weights.safetensors").read_bytes() == (other.run / "weights.safetensors").read_bytes()


def test_searches_in_threads_give_what_they_give_alone(here: Path) -> None:
    alone = [searched(f"alone{seed}", seed=seed) for seed in (3, 4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda seed: searched(f"thread{seed}", seed=seed), (3, 4)))
    for one, other in zip(alone, together, strict=True):
        assert (one.run / "weights.safetensors").read_bytes() == (other.run / "weights.safetensors").read_bytes()


def test_minutes_of_few_images_of_which_one_step_is_an_epoch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    assert searched("short", minutes=0.05).accuracy >= 0


def test_a_torch_dataset_takes_the_place_of_a_folder(here: Path) -> None:
    pixels, labels = torch.rand(30, 3, 12, 12), torch.arange(30) % 3
    data = torch.utils.data.TensorDataset(pixels, labels)
    result = hwnas.search(
        data, budget_ms="50%", space="toy", width=1.0, resolution=8, out="runs/torch", no_baseline=True
    )
    assert result.to_json()["data"] == "TensorDataset"


def test_every_flag_is_an_argument() -> None:
    """By the name of the flag, as the documentation says."""
    from hwnas.api.asked import _by_name

    flags = {flag for one in Configuration.options() if one.option.settable for flag in one.flags}
    given = {"--budget-ms", "--budgets-ms", "--target", "--data"}
    assert {f"--{name.replace('_', '-')}" for name in _by_name()} == flags - given


def test_a_table_is_profiled_and_adapted_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_short(monkeypatch.setattr)
    space = {"space": "toy", "width": 1.0, "resolution": 8}
    monkeypatch.setattr(journal, "_ROUNDS_PER_PROCESS", 2)
    monkeypatch.setattr(journal, "_MOST_PASSES", 0)
    monkeypatch.setattr(build, "CALIBRATION_NETWORKS", 6)
    monkeypatch.setattr(build, "VALIDATION_NETWORKS", 6)
    made = hwnas.profile_device(out=tmp_path / "tables", max_minutes=5, **space)
    assert made.rows == made.measured == len(space_instance("toy", width=1.0, resolution=8, channels=3, classes=10).ops)
    assert (made.folder / "table.csv").is_file()
    assert 0 <= made.margin < 1
    assert made.to_json()["space"] == made.space == "toy@w1-r8"
    again = hwnas.profile_device(out=tmp_path / "tables", **space)
    assert (again.measured, again.table.rows.keys()) == (0, made.table.rows.keys())
    assert capsys.readouterr() == ("", "")
