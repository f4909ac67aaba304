"""What the network of a run takes by all tables: the number that the search saw, or the reason why there is none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import SPACE
from typer.testing import CliRunner

import hwnas
from hwnas.arch.network import Network
from hwnas.cli import app
from hwnas.errors import InputError
from hwnas.kept_runs import latencies
from hwnas.kept_runs.latencies import TableLatency
from hwnas.latency.find import all_folders
from hwnas.latency.imported import import_table, save_imported
from hwnas.latency.model import margin
from hwnas.latency.table_files import load_table, save_table
from hwnas.schema import read_json


@pytest.fixture
def tables(packed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table that the run was searched with, and no others."""

    def own(tables: Path | None) -> list[Path]:
        return [one for one in all_folders(tables) if tables is not None and one.is_relative_to(tables)]

    monkeypatch.setattr(latencies, "all_folders", own)
    return Path(shutil.copytree(packed_run.parent / "tables", tmp_path / "tables"))


def only(run: Path, tables: Path) -> TableLatency:
    (one,) = hwnas.where(run, tables=tables).tables
    return one


def changed(tables: Path, change: Any) -> None:
    """The table, changed and saved."""
    (folder,) = (path.parent for path in tables.glob("*/*/meta.toml"))
    table = load_table(folder)
    change(table)
    shutil.rmtree(folder)
    save_table(table, folder)


def keys_of(run: Path) -> list[str]:
    network = Network.from_json(read_json(run / "architecture.json")["network"])
    return list(dict.fromkeys(spec.key for _, spec in network.ops if spec.graph.nodes))


def test_a_complete_table_gives_the_number_of_the_search_and_its_margin(packed_run: Path, tables: Path) -> None:
    found, one = hwnas.where(packed_run, tables=tables), only(packed_run, tables)
    result = read_json(packed_run / "result.json")
    assert one.predicted_ms == pytest.approx(result["predicted_ms"], rel=1e-12)
    assert f"{one.device}/{one.condition}" == result["condition"] == found.measured_on
    assert found.measured_ms == result["measured_ms"]["judged"]
    assert (found.space, one.margin, one.mape, one.note) == (SPACE.signature, margin(0.01), 0.01, "")
    text = CliRunner().invoke(app, ["where", str(packed_run), "--tables", str(tables)]).output
    assert f"{one.predicted_ms:#.4g}" in text
    assert f"{margin(0.01):.1%}" in text


def test_a_missing_or_stale_row_gives_no_number(packed_run: Path, tables: Path) -> None:
    keys = keys_of(packed_run)
    unused = next(spec.key for spec in SPACE.ops if spec.key not in keys)
    before = only(packed_run, tables).predicted_ms
    changed(tables, lambda table: table.rows.pop(unused))
    assert only(packed_run, tables).predicted_ms == before  # the network does without it

    def make_stale(table: Any) -> None:
        table.rows[keys[0]] = replace(table.rows[keys[0]], fingerprint="0" * 16)
        del table.rows[keys[1]]

    changed(tables, make_stale)
    one = only(packed_run, tables)
    assert (one.predicted_ms, one.margin, one.lacking, one.stale) == (None, None, (keys[1],), (keys[0],))
    assert f"lacks 1 of {len(keys)} rows, the first is {keys[1]}" in one.note
    assert one.next.startswith("hwnas profile-device --space toy --width 1 --resolution 8 --channels 3 --classes 3")
    done = CliRunner().invoke(app, ["where", str(packed_run), "--tables", str(tables), "--json"])
    assert json.loads(done.output)["tables"][0]["predicted_ms"] is None


def test_a_table_of_another_instance_or_a_changed_one_gives_no_number(packed_run: Path, tables: Path) -> None:
    def forget(table: Any) -> None:
        table.calibrations.clear()
        table.validations.clear()

    changed(tables, forget)
    one = only(packed_run, tables)
    assert (one.predicted_ms, one.note) == (None, f"not calibrated for {SPACE.signature}")
    csv = next(tables.glob("*/*/table.csv"))
    csv.write_text(csv.read_text().replace("1", "2"))
    one = only(packed_run, tables)
    assert one.predicted_ms is None
    assert "was changed after it was measured" in one.note


def test_of_a_table_that_nobody_compared_with_networks_the_margin_is_not_known(
    packed_run: Path, tables: Path, tmp_path: Path
) -> None:
    shutil.rmtree(tables)
    rows = tmp_path / "rows.csv"
    rows.write_text("key,latency_ms\n" + "".join(f"{spec.key},0.5\n" for spec in SPACE.ops))
    save_imported(import_table(rows, "csv", "board", unit="ms").table, tables / "board" / "imported")
    one = only(packed_run, tables)
    network = Network.from_json(read_json(packed_run / "architecture.json")["network"])
    assert one.predicted_ms == pytest.approx(0.5 * len([spec for _, spec in network.ops if spec.graph.nodes]))
    assert (one.kind, one.margin, one.mape) == ("imported", None, None)
    assert "not known" in CliRunner().invoke(app, ["where", str(packed_run), "--tables", str(tables)]).output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"space": "toy@w1-r8", "network": []}, "needs at least one op"),
        ({"space": "toy@w1-r8", "network": [{"name": "a", "op": "conv"}]}, "architecture.json"),
        ({"space": "toy@w1-r8", "network": [{"name": "a", "op": "x"}] * 10_001}, "at most 10000 ops"),
        ({"space": 3, "network": []}, "space must be a string"),
    ],
)
def test_a_damaged_architecture_is_refused(content: Any, reason: str, packed_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in (".hwnas-run", "config.toml", "result.json"):
        shutil.copy(packed_run / name, run)
    (run / "architecture.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=reason):
        hwnas.where(run)


def test_an_unknown_space_or_several_networks_are_told(packed_run: Path, tables: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(packed_run, tmp_path / "run"))
    kept = read_json(run / "architecture.json")
    (run / "architecture.json").write_text(json.dumps(kept | {"space": "mine@w1-r8"}))
    assert "unknown search space 'mine'" in only(run, tables).note
    result = read_json(run / "result.json")
    front = [result | {"folder": "40pct"}, result | {"folder": "60pct"}]
    (run / "result.json").write_text(json.dumps({"front": front, "seconds": 1.0, "budget_met": True}))
    with pytest.raises(InputError, match="holds 2 networks") as refused:
        hwnas.where(run)
    assert f"{run}/40pct, {run}/60pct" in refused.value.hint
