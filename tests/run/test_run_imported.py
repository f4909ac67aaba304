"""A search for a device that only an imported table speaks of: found, trained and exported, and never measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_fakes import SPACE, a_config, install, row_ms
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.devices.link import link_to
from hwnas.errors import InputError, MissingRowsError, UnreachableError
from hwnas.latency.imported import import_table, save_imported
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.schema import read_json


def imported(folder: Path, device: str = "board", *, rows: int | None = None) -> Path:
    """A folder of tables with an imported one of the made-up machine."""
    lines = [f"{spec.key},{row_ms(spec)}\n" for spec in SPACE.ops][:rows]
    source = folder / f"{device}.csv"
    source.write_text("key,latency_ms\n" + "".join(lines))
    save_imported(import_table(source, "csv", device, unit="ms").table, folder / "tables" / device / "imported")
    return folder / "tables"


def never(*_: Any, **__: Any) -> Any:
    pytest.fail("something was measured")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr, never)
    return imported(tmp_path)


def test_the_file_keeps_the_budget_by_the_tables_own_numbers(images: Path, tables: Path, tmp_path: Path) -> None:
    config = a_config(images, device="board")
    result = run_search(config, tmp_path / "run", tables=tables)
    network = read_json(tmp_path / "run" / "architecture.json")["network"]
    summed = sum(row_ms(spec) for entry in network for spec in SPACE.ops if spec.key == entry["op"])
    assert result["predicted_ms"] == pytest.approx(summed, rel=1e-5)
    assert summed <= result["budget_ms"]
    assert (result["verdict"], result["budget_met"], result["measured_ms"]) == ("not measured", None, None)
    assert result["baseline_random"]["measured_ms"] is None
    assert result["condition"] == "board/imported"
    assert (tmp_path / "run" / "model.onnx").stat().st_size == result["file_bytes"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Not measured" in page
    assert "Verdict unstable" not in page


def test_resuming_a_finished_run_does_nothing(images: Path, tables: Path, tmp_path: Path) -> None:
    config = a_config(images, device="board", train=False)
    first = run_search(config, tmp_path / "run", tables=tables)
    events = (tmp_path / "run" / "log.jsonl").read_text()
    assert run_search(config, tmp_path / "run", tables=tables, resume=True) == first
    assert (tmp_path / "run" / "log.jsonl").read_text() == events


def test_the_command_says_that_nothing_was_measured(images: Path, tables: Path, tmp_path: Path) -> None:
    words = ["search", "--budget-ms", "60%", "--device", "board", "--space", "toy", "--width", "1", "--resolution", "8"]
    words += ["--data", str(images), "--tables", str(tables), "--out", str(tmp_path / "run"), "--no-train", "--quiet"]
    planned = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    assert plan["rows_to_measure"] == 0
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "Not measured" in done.stdout
    assert plan["table_sha256"] == read_json(tmp_path / "run" / "result.json")["table_sha256"]
    assert "hwnas verify FILE" in " ".join(done.stdout.split())


def test_a_row_that_lacks_is_named_before_anything_runs(images: Path, tmp_path: Path) -> None:
    tables = imported(tmp_path, rows=-1)
    with pytest.raises(MissingRowsError) as caught:
        make_plan(a_config(images, device="board"), tables)
    assert SPACE.ops[-1].key in str(caught.value)


def test_a_real_device_goes_before_a_table_of_its_name(images: Path, tmp_path: Path) -> None:
    tables = imported(tmp_path, "host")
    assert make_plan(a_config(images, device="host"), tables).device.reachable


@pytest.mark.parametrize("name", ["nobody", "../tables/board", "board/imported", ""])
def test_a_name_that_neither_a_device_nor_a_table_has(name: str, images: Path, tables: Path) -> None:
    with pytest.raises(InputError, match="there is no device"):
        make_plan(a_config(images, device=name), tables)


def test_nothing_can_be_measured_on_it(images: Path, tables: Path) -> None:
    device = make_plan(a_config(images, device="board"), tables).device
    with pytest.raises(UnreachableError, match="imported table alone"):
        link_to(device)


def test_the_instance_is_the_one_that_the_table_is_of(tmp_path: Path, images: Path) -> None:
    ops = ["k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip"]
    phone = {"relative_to_skip_ms": [[*[0.5] * 8, 0.0]] * 22, "all_skip_total_ms": 2.0}
    source = tmp_path / "lut.json"
    source.write_text(json.dumps({"dataset": "cifar", "ops": ops, "layers": 22, "devices": {"phone": phone}}))
    found = import_table(source, "fbnet", "phone", width=0.5, resolution=32, classes=3)
    save_imported(found.table, tmp_path / "tables" / "phone" / "imported")
    config = a_config(images, device="phone", space="fbnet", width=0.0, resolution=0)
    plan = make_plan(config, tmp_path / "tables")
    assert (plan.space.name, plan.reason) == ("fbnet@w0.5-r32", "the one that the imported table is of")
    assert "the verdict is 'not measured'" in plan_lines(plan, plan_facts(plan))["device"]
    with pytest.raises(MissingRowsError) as caught:
        make_plan(config.changed(data={"source": "digits"}), tmp_path / "tables")
    assert "fbnet@w0.5-r32-i3-o3" in str(caught.value.hint)
    with pytest.raises(MissingRowsError) as caught:
        make_plan(config.changed(space={"name": "mobile"}), tmp_path / "tables")
    assert caught.value.hint == "the table is of the space fbnet alone, not of mobile: search with --space fbnet"


def test_a_phone_that_nobody_has_is_planned_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits are grey and have ten classes; the table that comes with hwnas was made for 100 classes in colour."""
    install(monkeypatch.setattr, never)
    monkeypatch.chdir(tmp_path)
    words = ["search", "--device", "pixel3", "--space", "fbnet", "--budget-ms", "20", "--dry-run"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert (plan["space"], plan["condition"], plan["rows_to_measure"]) == ("fbnet@w1-r32", "pixel3/imported", 0)
    assert plan["range_ms"] == pytest.approx([2.8386, 47.0918], abs=1e-3)
    assert (plan["budget_ms"], plan["target_ms"], plan["input"], plan["classes"]) == (20, 20, [1, 32, 32], 10)
    assert "the table of pixel3 is of fbnet@w1-r32-i3-o100" in done.stderr


@pytest.mark.parametrize(
    "words", ["verify model.onnx", "profile-device", "adapt-device", "devices check", "devices show"]
)
def test_what_measures_says_that_it_cannot(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.onnx").write_bytes(b"")
    option = [] if words.startswith("devices") else ["--device"]
    done = CliRunner().invoke(app, [*words.split(), *option, "pixel3"])
    assert done.exit_code == 2
    assert "nothing can be measured on 'pixel3'" in done.stderr
