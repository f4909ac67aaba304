"""Runs on disk are listed, shown, compared and removed, whatever is in their folders."""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hwnas
from hwnas.cli import app, console
from hwnas.cli.result_view import print_result
from hwnas.config import load_configuration
from hwnas.config.read import configure
from hwnas.errors import InputError
from hwnas.locks import held
from hwnas.run import run_marker
from hwnas.schema import read_json

Make = Callable[..., Path]


@pytest.fixture
def make(packed_run: Path, tmp_path: Path) -> Make:
    """A run with the configuration and, with changes, the result of a real one; files that no listing reads are not."""

    def made(name: str, *, folder: Path = tmp_path / "runs", **changes: Any) -> Path:
        run = folder / name
        run.mkdir(parents=True)
        shutil.copy(packed_run / "config.toml", run)
        run_marker.mark(run)
        (run / "state").mkdir()
        result = read_json(packed_run / "result.json") | changes
        (run / "result.json").write_text(json.dumps(result))
        return run

    return made


@pytest.fixture
def front(make: Make, packed_run: Path) -> Path:
    """A run for two budgets."""
    run = make("front")
    text = (run / "config.toml").read_text().replace('budget = "60%"', 'budget = "40%,60%"')
    (run / "config.toml").write_text(text)
    whole = read_json(packed_run / "result.json")
    parts = [whole | {"folder": name, "budget_ms": budget} for name, budget in (("40pct", 4.0), ("60pct", 6.0))]
    for part in parts:
        folder = make(part["folder"], folder=run)
        (folder / "config.toml").unlink()
        (folder / "result.json").write_text(json.dumps({**part, "folder": None}))
    shared = {"front": parts, "budget_met": True, "seconds": 3.0, "device": "host", "data": whole["data"]}
    (run / "result.json").write_text(json.dumps(shared))
    return run


def ran(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.output


def measured(median: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"median": median, "judged": median, "p90": median, "bounds": [low, high], "n": 9, "rejected": 0.0}


def test_a_real_run_is_listed_with_all_its_files_and_one_that_lost_some_is_damaged(
    packed_run: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(packed_run, tmp_path / "runs" / "own"))
    (one,) = hwnas.list_runs(tmp_path / "runs")
    kept = read_json(own / "result.json")
    assert (one.state, one.note, one.next, one.budget) == ("finished", "", "", "60%")
    assert one.results[0].accuracy.test == kept["accuracy"]["test"]
    assert one.results[0].file_bytes == (own / "model.onnx").stat().st_size
    assert hwnas.list_runs(own) == (one,)
    weights = own / "weights.safetensors"
    os.truncate(weights, 10)
    assert hwnas.list_runs(own)[0].note == f"{weights} was changed since the run ended"
    weights.unlink()
    (lost,) = hwnas.list_runs(own)
    assert (lost.state, lost.note) == ("damaged", f"{weights} is missing")
    with pytest.raises(InputError, match=r"is damaged: .*weights.safetensors is missing"):
        hwnas.show_run(own)


def test_an_unfinished_run_says_where_it_stopped_and_how_it_goes_on(packed_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(packed_run, tmp_path / "runs" / "it's one"))
    (run / "result.json").unlink()
    (one,) = hwnas.list_runs(tmp_path / "runs")
    assert (one.state, one.note, one.results) == ("unfinished", "after export and verify", ())
    words = shlex.split(one.next)
    assert words == ["hwnas", "search", "--config", str(run / "config.toml"), "--out", str(run), "--resume"]
    asked = configure(run / "config.toml")
    assert load_configuration(run / "config.toml").differences(asked) == []
    with (run / "log.jsonl").open("a") as log:
        log.write('{"at": "2099-01-01", "event": "start", "stage": "search"}\n{"event": "epoch"}\n[[[{"at": ')
    assert "unfinished, in search" in (text := ran("runs", "list", tmp_path / "runs"))
    assert f"go on with it: {one.next}" in " ".join(text.split())
    with held(run / "state" / "lock", busy=pytest.fail):
        code = "import hwnas, sys; print(hwnas.list_runs(sys.argv[1])[0].state)"
        assert _elsewhere(code, run) == "running"
    with pytest.raises(InputError, match="is not finished: it is unfinished, in search"):
        hwnas.show_run(run)
    (run / "log.jsonl").unlink()
    assert hwnas.list_runs(run)[0].note == "before its first stage"


def _elsewhere(code: str, *words: object) -> str:
    """What another process prints."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


DAMAGE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is not valid JSON"),
    "list": ("[]", "must hold an object, not a list"),
    "binary": (b"\xff\xfe\0", "is not valid JSON"),
    "deep": ("[" * 100_000, "must be nested at most"),
    "no front": ('{"front": []}', "front must be a list"),
    "front": ('{"front": [{}], "seconds": 1}', "front[0]: budget_ms, "),
    "numbers": ('{"budget_ms": 1e999}', "must be"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_result_is_told_with_its_reason(name: str, make: Make) -> None:
    run = make("one")
    content, reason = DAMAGE[name]
    (run / "result.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    (one,) = hwnas.list_runs(run.parent)
    assert one.state == "damaged"
    assert reason in one.note


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"budget_ms": "5"}, "budget_ms must be"),
        (
            {"accuracy": {"test": 2.0, "val": 0.5}},
            "accuracy.test must be a number of at least 0 and at most 1, not 2.0",
        ),
        ({"device": "\x1b[2J"}, "device must be printable text"),
        ({"model": "../../etc/passwd"}, "model must be the name of a file"),
        ({"measured_ms": None}, "measured_ms is null"),
        ({"verdict": "great"}, "verdict must be one of met, missed"),
        ({"score": None}, "score must be"),
        ({"parent": {"name": "x"}}, "parent.head is missing"),
    ],
)
def test_what_a_search_would_not_write_is_damage(changes: dict[str, Any], reason: str, make: Make) -> None:
    (one,) = hwnas.list_runs(make("one", **changes).parent)
    assert one.state == "damaged"
    assert reason in one.note


def test_hostile_folders_are_told_or_left_out_and_nothing_of_them_is_believed(make: Make, tmp_path: Path) -> None:
    runs = make("[red]bold \x1b[31m").parent
    fifo = make("pipe")
    (fifo / "result.json").unlink()
    os.mkfifo(fifo / "result.json")
    device = make("zero")
    (device / "result.json").unlink()
    (device / "result.json").symlink_to("/dev/zero")
    (runs / "loop").symlink_to(runs / "loop")
    large = runs / "no run"
    large.mkdir()
    with (large / "config.toml").open("wb") as file:
        file.truncate(1 << 40)
    linked = make("linked lock")
    (linked / "result.json").unlink()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (linked / "state" / "lock").symlink_to(victim)
    full = make("full lock")
    (full / "result.json").unlink()
    (full / "state" / "lock").write_text("mine")
    found = {one.run.name: one.state for one in hwnas.list_runs(runs)}
    assert found == {
        "[red]bold \x1b[31m": "finished",
        "full lock": "unfinished",
        "linked lock": "unfinished",
        "pipe": "unfinished",
        "zero": "unfinished",
    }
    assert victim.read_text() == (full / "state" / "lock").read_text() == "mine"
    text = ran("runs", "list", runs)
    assert "[red]bold \\x1b[31m" in text
    assert "\x1b" not in text


def test_runs_are_sorted_and_written_as_csv(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = make("=slow", measured_ms=measured(3.0, 2.9, 3.1), file_bytes=10).parent
    make("fast", measured_ms=measured(1.0, None, 1.1), file_bytes=30)
    make("open").joinpath("result.json").unlink()
    small = make("absent", measured_ms=None, verdict="not measured", budget_met=None, file_bytes=5)
    os.utime(small / "result.json", (1.0, 1.0))

    def order(by: Any) -> list[str]:
        return [one.run.name for one in hwnas.list_runs(runs, sort=by)]

    assert order("name") == ["=slow", "absent", "fast", "open"]
    assert order("latency") == ["fast", "=slow", "absent", "open"]
    assert order("size") == ["absent", "=slow", "fast", "open"]
    assert order("when")[-1] == "absent"
    assert order("accuracy")[-1] == "open"
    monkeypatch.chdir(runs)
    ran("runs", "list", ".", "--csv", tmp_path / "runs.csv")
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["run"] for row in rows] == ["'=slow", "absent", "fast", "open"]
    assert [row["measured_ms"] for row in rows] == ["3.0", "", "1.0", ""]
    assert (rows[2]["measured_low_ms"], rows[2]["measured_high_ms"], rows[3]["state"]) == ("", "1.1", "unfinished")
    assert "--sort must be one of" in ran("runs", "list", runs, "--sort", "size,", code=2)


def test_a_front_has_a_row_for_each_network(front: Path) -> None:
    (one,) = hwnas.list_runs(front.parent)
    assert [result.folder for result in one.results] == ["40pct", "60pct"]
    told = json.loads(ran("runs", "list", front.parent, "--json"))
    assert [result["budget_ms"] for result in told["runs"][0]["results"]] == [4.0, 6.0]
    assert "front/60pct" in ran("runs", "list", front.parent)
    assert [one.name for one in hwnas.compare_runs(front).results] == [f"{front}/40pct", f"{front}/60pct"]
    assert len(hwnas.show_run(front).front) == 2


def test_a_run_is_shown_as_its_search_printed_it(
    packed_run: Path, make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    print_result(read_json(packed_run / "result.json"), packed_run)
    assert ran("runs", "show", packed_run) == capsys.readouterr().out
    assert json.loads(ran("runs", "show", packed_run, "--json")) == read_json(packed_run / "result.json")
    missed = make("missed", verdict="missed", budget_met=False, measured_ms=measured(9.0, 8.9, 9.1))
    assert "the exported model runs in 9 ms, at least 8.9 ms with 95 % confidence" in ran("runs", "show", missed)
    damaged = make("metrics", metrics={"top5": None, "images": 3, "classes": [1], "confusion": "x"})
    assert "its metrics are none" in ran("runs", "show", damaged, code=2)


def fisher(right: tuple[int, int], images: tuple[int, int]) -> float:
    """The sum of the probabilities of all tables with these margins that are no likelier than this one."""
    both, total = sum(right), sum(images)

    def chance(first: int) -> float:
        return math.comb(images[0], first) * math.comb(images[1], both - first) / math.comb(total, both)

    possible = range(max(0, both - images[1]), min(both, images[0]) + 1)
    return sum(chance(one) for one in possible if chance(one) <= chance(right[0]) * (1 + 1e-9))


def test_differences_of_accuracy_are_tested(make: Make) -> None:
    def run(name: str, right: int) -> Path:
        return make(name, accuracy={"test": right / 200, "val": 0.5, "test_images": 200})

    first, near, far = run("first", 180), run("near", 174), run("far", 163)
    expected = fisher((180, 163), (200, 200))
    assert 0.01 < expected < 0.025
    for runs, real in (([first, far], True), ([first, far, near], True), ([first, far, near, near], False)):
        one = hwnas.compare_runs(runs).differences[0]
        assert (one.name, one.of, one.real) == (str(far), "accuracy", real)
        assert one.p == pytest.approx(expected, rel=1e-6)
    other = make("other", accuracy={"test": 0.5, "val": 0.5, "test_images": 200}, data="elsewhere")
    load_configuration(other / "config.toml").changed(data={"source": "elsewhere"}).save(other / "config.toml")
    assert hwnas.compare_runs([first, other]).differences[0].words == (
        "not compared: their test images are of other data"
    )
    early = make("early", accuracy={"test": 0.5, "val": 0.5})
    assert hwnas.compare_runs([first, early]).differences[0].real is None


@pytest.mark.parametrize(
    ("other", "real"),
    [
        (measured(1.2, 1.15, 1.25), True),
        (measured(0.8, 0.7, 0.85), True),
        (measured(1.05, 1.0, 1.15), False),
        (measured(0.8, None, 0.85), True),
        (measured(1.05, None, 1.15), None),
    ],
)
def test_differences_of_latency_are_real_where_bounds_part(other: Any, real: bool | None, make: Make) -> None:
    first, second = make("first", measured_ms=measured(1.0, 0.9, 1.1)), make("second", measured_ms=other)
    (one,) = [one for one in hwnas.compare_runs([first, second]).differences if one.of == "latency"]
    assert one.real is real
    assert one.change == pytest.approx(other["median"] - 1.0)
    elsewhere = make("elsewhere", measured_ms=other, condition="another/one")
    assert "not measured under one condition" in hwnas.compare_runs([first, elsewhere]).differences[1].words


def test_twenty_runs_are_compared_in_seconds_damaged_and_unfinished_ones_too(make: Make, tmp_path: Path) -> None:
    runs = [make(f"run {index}") for index in range(20)]
    config = (runs[3] / "config.toml").read_text()
    (runs[3] / "config.toml").write_text(config.replace("seed = 0", "seed = 3") + "\n[odd]\nat = 2026-01-01\nx = inf\n")
    (runs[1] / "result.json").write_text("{")
    (runs[2] / "result.json").unlink()
    began = time.process_time()
    text = ran("runs", "compare", *runs, "--csv", tmp_path / "all.csv")
    assert time.process_time() - began < 10
    assert "run 1: damaged," in text
    assert "run 2: unfinished," in text
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert [row["state"] for row in rows[:4]] == ["finished", "damaged", "unfinished", "finished"]
    assert [row["--seed"] for row in rows[:5]] == ["0", "0", "0", "3", "0"]
    told = json.loads(ran("runs", "compare", *runs[:4], "--json"))
    assert told["options"] == {"--seed": [0, 0, 0, 3]}
    assert "needs two runs" in ran("runs", "compare", runs[0], code=2)


def test_only_what_a_run_wrote_is_removed(packed_here: Path, front: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(packed_here, tmp_path / "runs" / "own"))
    assert "give --yes" in ran("runs", "rm", own, code=2)
    assert (own / "result.json").is_file()
    ran("runs", "rm", own, front, "--yes")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == []
    own = Path(shutil.copytree(packed_here, tmp_path / "runs" / "own"))
    (own / "notes.txt").write_text("mine")
    told = json.loads(ran("runs", "rm", own, "--yes", "--json"))
    assert told == {"removed": [], "kept": [str(own)]}
    assert [path.name for path in own.iterdir()] == ["notes.txt"]


def test_what_is_no_run_of_its_own_stays(make: Make, front: Path, tmp_path: Path) -> None:
    run, victim = make("run"), tmp_path / "victim"
    victim.mkdir()
    (victim / "result.json").write_text("mine")
    link = run.parent / "link"
    link.symlink_to(run)
    assert "is a symbolic link" in ran("runs", "rm", link, "--yes", code=2)
    assert "is one part of the run" in ran("runs", "rm", front / "40pct", "--yes", code=2)
    assert "it has no .hwnas-run" in ran("runs", "rm", run, victim, "--yes", code=2)
    assert (run / "result.json").is_file()  # all are checked before the first one goes
    with held(run / "state" / "lock", busy=pytest.fail):
        code = "import hwnas, sys; hwnas.remove_runs(sys.argv[1])"
        with pytest.raises(Exception, match="returned non-zero"):
            _elsewhere(code, run)
    assert (run / "result.json").is_file()
    shutil.rmtree(front / "40pct")
    (front / "40pct").symlink_to(victim)  # a part that is a link stays one, and what it leads to stays
    ran("runs", "rm", front, "--yes")
    assert (victim / "result.json").read_text() == "mine"
    (run / "state" / "lock").unlink()
    (run / "state").rmdir()
    (run / "state").symlink_to(victim)
    assert "must be a folder, not a symbolic link" in ran("runs", "rm", run, "--yes", code=2)
    owned = make("owned")
    text = (owned / "config.toml").read_text().replace('budget = "60%"', 'budget = "40%,60%"')
    (owned / "config.toml").write_text(text)
    (owned / "40pct").mkdir()
    (owned / "40pct" / "model.onnx").write_text("mine")
    assert "calls" in ran("runs", "rm", owned, "--yes", code=2)
    assert (owned / "40pct" / "model.onnx").read_text() == "mine"


def test_removing_asks_on_a_terminal(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked, answers = make("run"), list[str](), iter(["n", "Y"])
    monkeypatch.setattr(console, "can_ask", lambda: True)
    monkeypatch.setattr(console, "ask", lambda question: asked.append(question) or next(answers))
    assert "nothing was removed" in ran("runs", "rm", run, code=2)
    assert run.is_dir()
    ran("runs", "rm", run)
    assert not run.exists()
    assert asked[0] == f"Remove {run} with all networks in it? [y/N] "


def test_no_runs_are_no_failure_but_no_folder_is(tmp_path: Path) -> None:
    assert "there are no runs in" in ran("runs", "list", tmp_path)
    assert "hwnas search makes one" in ran("runs", "list", tmp_path / "runs", code=2)
    assert "is no run of hwnas" in ran("runs", "compare", tmp_path, tmp_path, code=2)
