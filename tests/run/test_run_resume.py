"""Killed anywhere, a run goes on with --resume and ends with the bytes of a run that nobody interrupted."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import run_fakes
from run_fakes import SPACE, a_config, install, on_replace, write_table
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.files import write_text
from hwnas.latency.missing_rows import MissingRows
from hwnas.run import latency_stage, produce
from hwnas.run.pipeline import run_search

FAKES = Path(run_fakes.__file__)
SAME = ("architecture.json", "weights.safetensors", "evaluated.csv", "labels.txt", "config.toml")
VOLATILE = ("seconds", "file_bytes")


class Killed(BaseException):
    """Stands for SIGKILL where a process of its own would take too long."""


def outcome(folder: Path) -> dict[str, Any]:
    """All of a run that must not depend on interruptions."""
    result = json.loads((folder / "result.json").read_text())
    return {name: (folder / name).read_bytes() for name in SAME} | {
        name: value for name, value in result.items() if name not in VOLATILE
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("machine") / "tables")


@pytest.fixture(scope="module")
def reference(images: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of a run that is not interrupted."""
    out = tmp_path_factory.mktemp("reference") / "run"
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        run_search(a_config(images), out, tables=tables)
    return outcome(out)


def written_files(images: Path, tables: Path, out: Path) -> int:
    """How many files a run puts in place."""
    count = 0

    def one_more(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        return replace(self, target)

    replace = Path.replace
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        patch.setattr(Path, "replace", one_more)
        run_search(a_config(images), out, tables=tables)
    return count


@pytest.mark.parametrize("start", [*(pytest.param(one, marks=pytest.mark.dear) for one in range(1, 12)), 12])
def test_cut_off_after_every_file_that_it_writes(
    start: int,
    images: Path,
    tables: Path,
    reference: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every twelfth file in each part; the next test cuts off after nearly every one, if in one run."""

    def die() -> None:
        raise Killed

    install(monkeypatch.setattr)
    monkeypatch.setattr(produce, "write_report", lambda folder: write_text(folder.report, "drawn elsewhere"))
    config = a_config(images)
    count = written_files(images, tables, tmp_path / "count")
    assert count > 15
    for nth in range(start, count + 1, 12):
        out = tmp_path / str(nth)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", on_replace(die, "after", "*", nth))
            with pytest.raises(Killed):
                run_search(config, out, tables=tables)
        run_search(config, out, tables=tables, resume=True)
        assert outcome(out) == reference, f"after file {nth}"
        shutil.rmtree(out)


def test_cut_off_again_and_again(
    images: Path, tables: Path, reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every attempt gets a file further, and in the end the run is whole."""

    def die() -> None:
        raise Killed

    install(monkeypatch.setattr)
    for attempt in range(40):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", on_replace(die, "after", "*", 4 + attempt))
            try:
                run_search(a_config(images), tmp_path / "run", tables=tables, resume=attempt > 0)
            except Killed:
                continue
            break
    assert attempt > 2
    assert outcome(tmp_path / "run") == reference


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(FAKES), *arguments]


def search_arguments(images: Path, tables: Path, out: Path) -> list[str]:
    words = f"search --budget-ms 60% --space toy --width 1 --resolution 8 --accelerator cpu --data {images}"
    return [*words.split(), "--tables", str(tables), "--out", str(out)]


@pytest.mark.sample
@pytest.mark.parametrize(
    ("when", "name", "nth"),
    [
        ("before", "search.safetensors", 2),
        ("after", "train", 1),
        ("before", "model.onnx", 1),
    ],
)
def test_killed_for_real(
    when: str,
    name: str,
    nth: int,
    images: Path,
    tables: Path,
    reference: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = search_arguments(images, tables, tmp_path / "run")
    if name == "train":
        choices = json.loads(reference["architecture.json"])["choices"]
        name = f"train-{'-'.join(map(str, choices))}.safetensors"
    killed = subprocess.run(command(when, name, str(nth), *words), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    install(monkeypatch.setattr)
    resumed = CliRunner().invoke(app, [*words, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert outcome(tmp_path / "run") == reference


@pytest.mark.parametrize("nth", [2, pytest.param(3, marks=pytest.mark.dear)])
@pytest.mark.parametrize("name", ["enas", "evolution", "metaqnn"])
def test_samplers_go_on_where_they_were(
    name: str, nth: int, images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = a_config(images, strategy=name, train=False, baseline=False)

    def die() -> None:
        raise Killed

    install(monkeypatch.setattr)
    run_search(config, tmp_path / "whole", tables=tables)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", on_replace(die, "after", "search.safetensors", nth))
        with pytest.raises(Killed):
            run_search(config, tmp_path / "cut", tables=tables)
    run_search(config, tmp_path / "cut", tables=tables, resume=True)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.dear
def test_a_controller_killed_for_real(images: Path, tables: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    extra = ("--strategy", "enas", "--no-train")
    done = subprocess.run(command("after", "none", "1", *search_arguments(images, tables, whole), *extra))
    assert done.returncode == 0
    words = [*search_arguments(images, tables, cut), *extra]
    killed = subprocess.run(command("before", "search.safetensors", "3", *words), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = subprocess.run(command("after", "none", "1", *words, "--resume"), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert outcome(cut) == outcome(whole)


def test_a_resumed_run_keeps_the_latencies_that_it_began_with(
    images: Path, reference: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that drifts meanwhile must not make the checkpoint of the search worthless."""
    tables, out, config = write_table(tmp_path / "tables"), tmp_path / "run", a_config(images)

    def die() -> None:
        raise Killed

    install(monkeypatch.setattr)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", on_replace(die, "after", "search.safetensors", 2))
        with pytest.raises(Killed):
            run_search(config, out, tables=tables)
    write_table(tables, factor=1.1)
    again = MissingRows(SPACE.ops, calibration=True)
    monkeypatch.setattr(latency_stage, "drifted", lambda table, space, device: (again, 0.1))
    monkeypatch.setattr(latency_stage, "complete", lambda *_, **__: write_table(tables, factor=1.2))
    run_search(config, out, tables=tables, resume=True)
    assert outcome(out) == reference


@pytest.mark.dear
def test_killed_while_it_measures(images: Path, tmp_path: Path) -> None:
    """On the real machine: the rounds that were taken are kept."""
    tables = tmp_path / "tables"
    words = [*command("real"), *search_arguments(images, tables, tmp_path / "run"), "--no-train"]
    words[words.index("60%")] = "20"  # far from any edge, so that noise cannot swap the winner
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    lines = 0
    while lines < 40 and child.poll() is None and time.monotonic() < deadline:
        lines = sum(len(path.read_bytes().splitlines()) for path in tables.rglob("rounds-*.jsonl"))
    child.kill()
    complaint = child.communicate()[1]
    assert child.returncode == -signal.SIGKILL, complaint
    (journal,) = tables.rglob("rounds-*.jsonl")
    kept = len(journal.read_bytes().splitlines())
    assert not list(tables.rglob("table.csv"))
    assert kept >= 40
    resumed = subprocess.run([*words, "--resume", "--json"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert not list(tables.rglob("rounds-*.jsonl"))
    again = [word if word != str(tmp_path / "run") else str(tmp_path / "again") for word in words]
    whole = subprocess.run([*again, "--json"], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    if "the reference model runs" in whole.stderr:
        pytest.skip("the machine drifted between the two runs: they searched by different latencies")
    for name in ("architecture.json", "weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
