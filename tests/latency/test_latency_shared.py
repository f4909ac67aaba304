"""A table folder that several processes measure into, and tables that were measured under load."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from latency_fakes import HOST, REFERENCE_US, TOY, FakeRounds, table_of
from typer.testing import CliRunner

from hwnas.arch import space_instance
from hwnas.cli import app
from hwnas.devices.link import condition_of
from hwnas.devices.rounds import Round
from hwnas.latency import build, journal
from hwnas.latency.build import complete, drifted, measuring_into
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.latency.noise import load_warning
from hwnas.latency.table import LatencyTable, Noise
from hwnas.latency.table_files import load_table
from hwnas.progress import Silent

OTHER = space_instance("toy", width=1.0, resolution=16, channels=1, classes=10)
HOLD = """
import sys; from pathlib import Path
from hwnas.latency.build import measuring_into; from hwnas.progress import Silent
with measuring_into(Path(sys.argv[1]), Silent()):
    print("held", flush=True); sys.stdin.read()
"""


class Listener(Silent):
    """Keeps what is said, and does something about it."""

    def __init__(self, act: Any = None) -> None:
        self.said: list[str] = []
        self._act = act

    def say(self, message: str) -> None:
        self.said.append(message)
        if self._act is not None:
            self._act()


def measured_meanwhile(
    folder: Path, space: Any, monkeypatch: pytest.MonkeyPatch, missing: MissingRows | None = None
) -> LatencyTable:
    """What another process does while this one waits."""
    table = open_table(HOST, folder)
    monkeypatch.setattr(journal, "profile_rounds", FakeRounds(space, build.whole_networks(space, 0)))
    return complete(table, space, HOST, folder, missing or lacking(table, space), progress=Silent())


def never(*_: Any, **__: Any) -> list[Round]:
    raise AssertionError("measured again")


@pytest.mark.parametrize("ends", ["by itself", "killed"])
def test_another_process_is_waited_for(ends: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        listener = Listener(holder.kill if ends == "killed" else holder.communicate)
        with measuring_into(tmp_path, listener):
            assert holder.poll() is not None
    assert listener.said == [f"another process is measuring into {tmp_path}: waiting for it"]
    with measuring_into(tmp_path, Listener(never)), measuring_into(tmp_path, Listener(never)):
        pass  # nobody holds it any more, and it may be nested


def test_what_another_process_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_table(HOST, tmp_path)
    missing = lacking(before, TOY)
    measured_meanwhile(tmp_path, TOY, monkeypatch)
    monkeypatch.setattr(journal, "profile_rounds", never)
    assert complete(before, TOY, HOST, tmp_path, missing, progress=Silent()) == load_table(tmp_path)


def test_rows_of_another_space_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_table(HOST, tmp_path)
    missing = lacking(before, TOY)
    measured_meanwhile(tmp_path, OTHER, monkeypatch)
    monkeypatch.setattr(journal, "profile_rounds", FakeRounds(TOY, build.whole_networks(TOY, 0)))
    complete(before, TOY, HOST, tmp_path, missing, progress=Silent())
    table = load_table(tmp_path)
    assert table.calibrations.keys() == table.noise.keys() == {TOY.signature, OTHER.signature}
    assert not lacking(table, TOY)
    assert not lacking(table, OTHER)


def test_a_table_that_another_process_measured_anew_has_not_drifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_meanwhile(tmp_path, TOY, monkeypatch)
    before = load_table(tmp_path)
    before.reference_us = 2 * REFERENCE_US  # as this process saw it before it waited
    before.calibrations = {}
    before.rows = {key: replace(row, runs=99) for key, row in before.rows.items()}
    monkeypatch.setattr(journal, "profile_rounds", never)
    missing = MissingRows(TOY.ops, calibration=True)
    assert complete(before, TOY, HOST, tmp_path, missing, progress=Silent()) == load_table(tmp_path)


def under_load(load: float | None, taken: list[Round]) -> list[Round]:
    return [replace(one, load=load) for one in taken]


@pytest.mark.parametrize(("load", "warned"), [(None, False), (0.1, False), (0.8, True)])
def test_a_table_says_that_it_was_measured_under_load(
    load: float | None, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRounds(TOY, build.whole_networks(TOY, 0))
    monkeypatch.setattr(journal, "profile_rounds", lambda *args, **kwargs: under_load(load, fake(*args, **kwargs)))
    words = ["profile-device", "--space", "toy", "--width", "1", "--resolution", "8", "--channels", "1"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert done.exit_code == 0
    table = load_table(tmp_path / condition_of(HOST).folder)
    noise = Noise(1.0 if warned else 0.0, load, REFERENCE_US, 0.0, pytest.approx(0.01))
    assert table.noise == {TOY.signature: noise}
    assert ("warning: other work took 80% of the CPUs that measuring leaves free" in done.stderr) is warned
    assert bool(load_warning(table, TOY)) is warned


def test_a_table_of_an_older_version_says_nothing(tmp_path: Path) -> None:
    assert load_warning(table_of(), TOY) == ""


@pytest.mark.parametrize(
    ("now_us", "load", "changed"),
    [
        (REFERENCE_US * 1.2, None, 0.2),
        (REFERENCE_US * 1.2, 0.1, 0.2),
        (REFERENCE_US * 1.2, 1.0, 0.0),  # a load slows, which says nothing of the table
        (REFERENCE_US * 0.8, 1.0, -0.2),  # faster in spite of it: the table was the one that was slowed
    ],
)
def test_slower_under_load_is_no_drift(
    now_us: float, load: float | None, changed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Round("reference", 0, 0, now_us, now_us, now_us, 9, now_us, load)
    monkeypatch.setattr(build, "measure", lambda *_, **__: [one])
    missing, found = drifted(table_of(), TOY, HOST)
    assert found == pytest.approx(changed)
    assert missing == (MissingRows(TOY.ops, calibration=True) if changed else MissingRows((), calibration=False))
