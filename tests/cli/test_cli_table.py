"""`hwnas table` on tables whose content is known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hwnas.arch import space_instance
from hwnas.backends.onnx import fingerprint
from hwnas.cli import app
from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of
from hwnas.devices.rounds import Round
from hwnas.latency import find, fresh
from hwnas.latency.table import Calibration, LatencyTable, Noise, Row, Validation
from hwnas.latency.table_files import load_table, save_table

TOY = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
INSTANCE = ["--space", "toy", "--width", "1", "--resolution", "8", "--channels", "1"]
SOUND = Validation(24, 0.99, 0.95, 0.0123, 1.0, 1.0, 0.02, 0.005)
YESTERDAY = (datetime.now(UTC) - timedelta(hours=30)).isoformat(timespec="seconds")


def hwnas(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(find, "resource_folder", lambda name: tmp_path / "shipped" / name)  # the real ones may fit
    monkeypatch.setattr("hwnas.run.forecast._LIMIT_S", 0.0)  # plans time two steps of training


def made(validation: Validation = SOUND, factor: float = 1.0) -> LatencyTable:
    """A table of this machine's condition: the n-th op of the toy space takes 100 · n microseconds."""
    condition = condition_of(load_device("host"))
    table = LatencyTable(condition, reference_us=400.0, provenance={"cpu": "Some CPU", "threads": 1})
    for index, spec in enumerate(TOY.ops, 1):
        us = 100.0 * index * factor
        table.rows[spec.key] = Row(spec.key, fingerprint(spec), us, us, us, 7, YESTERDAY)
    table.calibrations[TOY.signature] = Calibration(1.0, 0.0, 0.0, 24)
    table.validations[TOY.signature] = validation
    table.noise[TOY.signature] = Noise(0.25, None)
    table.pairs[TOY.signature] = [[1.0, 1.01], [2.0, 1.97], [3.0, 3.1]]
    return table


def saved(tables: str = "tables", **changes: Any) -> Path:
    condition = condition_of(load_device("host"))
    save_table(made(**changes), Path(tables) / condition.folder)
    return Path(tables)


def test_show_puts_the_heaviest_rows_first() -> None:
    saved("latency_tables")
    facts = json.loads(hwnas("table", "show", "--json").stdout)
    assert [row["key"] for row in facts["rows"]] == [spec.key for spec in reversed(TOY.ops)]
    assert facts["rows"][0]["median_us"] == 1000.0
    entry = facts["spaces"][TOY.signature]
    assert entry["validation"]["mape"] == 0.0123
    assert entry["margin"] == pytest.approx(1 - 1 / (1 + 1.749 / 0.789 * 0.02))
    assert (entry["too_far_off"], entry["noise"]["rejected"], len(entry["pairs"])) == (None, 0.25, 3)
    assert (facts["kind"], facts["provenance"]["cpu"]) == ("measured", "Some CPU")
    text = hwnas("table", "show", "--rows", "3")
    assert text.exit_code == 0
    for shown in (TOY.ops[-1].key, "1.2%", "Some CPU", "30 hours ago", "and 7 lighter ones"):
        assert shown in text.stdout
    assert TOY.ops[0].key not in text.stdout
    assert text.stdout.splitlines()[-1] == "Next: hwnas table validate"
    assert text.stderr == ""


def test_show_takes_a_folder_or_one_that_holds_a_single_table() -> None:
    tables = saved()
    (folder,) = [path.parent for path in tables.glob("*/*/meta.toml")]
    for place in (tables, folder):
        assert json.loads(hwnas("table", "show", place, "--json").stdout)["table"] == str(folder)
    save_table(made(), tables / "another" / "condition")
    done = hwnas("table", "show", tables)
    assert done.exit_code == 2
    assert "2 latency tables" in done.stderr
    assert hwnas("table", "show", "nowhere").exit_code == 2
    none = hwnas("table", "show")
    assert (none.exit_code, none.stdout) == (2, "")
    assert "hwnas profile-device" in none.stderr


def test_show_of_a_space_holds_what_belongs_to_it() -> None:
    table = made()
    other = space_instance("toy", width=1.0, resolution=16, channels=1, classes=10)
    for spec in other.ops:
        table.rows[spec.key] = Row(spec.key, fingerprint(spec), 5.0, 5.0, 5.0, 7, YESTERDAY)
    table.calibrations[other.signature], table.validations[other.signature] = Calibration(1, 0, 0, 24), SOUND
    save_table(table, Path("table"))
    for name, spaces in (("toy@w1-r8", 1), (TOY.signature, 1), ("toy", 2), ("", 2)):
        asked = ("--space", name) if name else ()
        facts = json.loads(hwnas("table", "show", "table", *asked, "--json").stdout)
        assert len(facts["spaces"]) == spaces
        keys = {row["key"] for row in facts["rows"]}
        assert keys == ({spec.key for spec in TOY.ops} if spaces == 1 else table.rows.keys())
    done = hwnas("table", "show", "table", "--space", "mobile")
    assert done.exit_code == 2
    assert "toy@w1-r8-i1-o10" in done.stderr


@pytest.mark.parametrize(("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_show_plots_predicted_against_measured(name: str, start: bytes) -> None:
    saved("latency_tables")
    done = hwnas("table", "show", "--plot", name)
    assert done.exit_code == 0
    assert name in done.stdout
    assert Path(name).read_bytes().startswith(start)


def test_a_plot_needs_a_name_and_networks() -> None:
    table = made()
    save_table(table, Path("table"))
    assert ".png or .svg" in hwnas("table", "show", "table", "--plot", "p.pdf").stderr
    table.pairs = {}
    save_table(table, Path("table"))
    done = hwnas("table", "show", "table", "--plot", "p.png")
    assert done.exit_code == 2
    assert "table validate --update" in done.stderr
    assert not Path("p.png").exists()


def test_a_table_that_is_too_far_off_says_so_and_is_not_searched() -> None:
    saved("latency_tables", validation=replace(SOUND, mape=0.31))
    shown = hwnas("table", "show")
    assert shown.exit_code == 0
    assert "31.0%" in shown.stderr
    profiled = hwnas("profile-device", *INSTANCE)
    assert profiled.exit_code == 0
    assert "warning: searches refuse this table" in profiled.stderr
    assert json.loads(hwnas("profile-device", *INSTANCE, "--json").stdout)["too_far_off"]
    words = ["search", "--budget-ms", "50%", *INSTANCE[:-2], "--dry-run"]
    refused = hwnas(*words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "31.0%" in refused.stderr
    assert "--any-table" in refused.stderr
    taken = hwnas(*words, "--any-table")
    assert taken.exit_code == 0
    assert "predictions stay under" in " ".join(taken.stdout.split())


class Rounds:
    """Stands for the device: every network takes `factor` of what the table says."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, device: Any, models: Any, reference: Path, *, rounds: int, seed: int, **_: Any) -> list[Round]:
        import numpy as np

        rng = np.random.default_rng([seed, 7919])
        found = []
        for name in models:
            choices = [int(rng.integers(len(decision.options))) for decision in TOY.decisions]
            network = TOY.network(TOY.architecture(choices))
            us = self.factor * sum(made().rows[spec.key].median_us for _, spec in network.ops if spec.graph.nodes)
            found += [Round(name, turn, turn // 5 * 5, us, us, us, 9, 400.0) for turn in range(rounds)]
        return found


@pytest.mark.dear
def test_validate_measures_and_keeps_only_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = saved("latency_tables")
    (folder,) = [path.parent for path in tables.glob("*/*/meta.toml")]
    before = load_table(folder)
    monkeypatch.setattr(fresh, "profile_rounds", Rounds(1.03))
    words = ["table", "validate", *INSTANCE, "--networks", "24", "--quiet"]
    facts = json.loads(hwnas(*words, "--json").stdout)
    assert facts["validation"]["n"] == 24
    assert facts["validation"]["mape"] == pytest.approx(1 - 1 / 1.03, abs=1e-6)
    assert (facts["before"]["mape"], facts["updated"], facts["too_far_off"]) == (0.0123, False, None)
    assert load_table(folder) == before
    text = hwnas(*words)
    assert "2.9%" in text.stdout
    assert "Next: hwnas search" in text.stdout.splitlines()[-1]
    assert hwnas(*words, "--update").exit_code == 0
    after = load_table(folder)
    assert after.validations[TOY.signature].sigma == pytest.approx(0.03)
    assert after.rows == before.rows
    few = hwnas("table", "validate", *INSTANCE, "--networks", "5", "--update", "--quiet")
    assert few.exit_code == 2
    assert "at least 24" in few.stderr
    monkeypatch.setattr(fresh, "profile_rounds", Rounds(1.4))
    bad = hwnas(*words)
    assert bad.exit_code == 0
    assert "too far off" in bad.stderr
    assert "profile-device" in bad.stdout.splitlines()[-1]


def test_validate_needs_a_table_of_the_space() -> None:
    done = hwnas("table", "validate", *INSTANCE)
    assert done.exit_code == 2
    assert "hwnas profile-device" in done.stderr
    saved("latency_tables")
    done = hwnas("table", "validate", *INSTANCE[:-2], "--channels", "3")
    assert done.exit_code == 2
    assert "hwnas profile-device" in done.stderr


def test_diff_tells_what_got_slower() -> None:
    one, other = made(), made()
    del one.rows[TOY.ops[0].key], other.rows[TOY.ops[1].key]
    slow = TOY.ops[4].key
    other.rows[slow] = replace(other.rows[slow], median_us=1.5 * other.rows[slow].median_us)
    save_table(one, Path("one"))
    save_table(other, Path("other"))
    facts = json.loads(hwnas("table", "diff", "one", "other", "--json").stdout)
    assert (facts["median"], facts["largest"]) == (0.0, pytest.approx(0.5))
    assert (facts["only_before"], facts["only_after"]) == ([TOY.ops[1].key], [TOY.ops[0].key])
    assert (facts["changes"][0]["key"], facts["changes"][0]["change"]) == (slow, pytest.approx(0.5))
    text = hwnas("table", "diff", "one", "other")
    assert "median difference 0.0%, largest 50.0%" in text.stdout
    assert "+50.0%" in text.stdout
    assert "8 rows in both, 1 of them slower" in text.stdout
    assert text.stderr == ""
    other.under = replace(other.under, runtime_version="0.0.1")
    save_table(other, Path("other"))
    assert "two conditions" in hwnas("table", "diff", "one", "other").stderr
    assert hwnas("table", "diff", "one", "nowhere").exit_code == 2


def test_what_is_imported_can_be_shown_and_is_not_validated() -> None:
    lines = [f"{spec.key},{0.1 * index}" for index, spec in enumerate(TOY.ops, 1)]
    Path("phone.csv").write_text("\n".join(["key,latency_ms", *lines]) + "\n")
    words = ["table", "import", "phone.csv", "--format", "csv", "--device", "phone", "--out", "tables"]
    done = hwnas(*words)
    assert done.exit_code == 0
    assert "10 rows, not validated" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: hwnas table show tables/phone/imported"
    shown = json.loads(hwnas("table", "show", "tables/phone/imported", "--json").stdout)
    assert (shown["kind"], shown["spaces"], len(shown["rows"])) == ("imported", {}, 10)
    assert hwnas("table", "show", "tables/phone/imported").exit_code == 0
    facts = json.loads(hwnas(*words, "--json").stdout)
    assert facts == {
        "table": "tables/phone/imported",
        "device": "phone",
        "rows": 10,
        "spaces": [],
        "left_out": {},
        "validated": False,
    }
    missing = hwnas("table", "import", "none.csv", "--format", "csv", "--device", "phone")
    assert missing.exit_code == 2
    assert missing.stderr.count("error:") == 1
