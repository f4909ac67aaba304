"""Results on stdout, everything else on stderr; errors become exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import hwnas
from hwnas.cli import app, configured, console, progress_bars
from hwnas.cli.result_view import print_result
from hwnas.cli.time_left import TimeLeft
from hwnas.display import counted
from hwnas.errors import (
    BudgetMissedError,
    DataError,
    DeviceError,
    DivergedError,
    ExportError,
    HwnasError,
    InfeasibleBudgetError,
    InfeasibleLimitError,
    InputError,
    MissingRowsError,
    StorageError,
    TableError,
    UnreadableError,
)
from hwnas.events import Event, Events

ERRORS = [
    (HwnasError("rule [red]x[/]", hint="do [that]"), 1),
    (InputError("rule [red]x[/]", hint="do [that]"), 2),
    (DataError("rule [red]x[/]", hint="do [that]"), 2),
    (UnreadableError("rule [red]x[/]", names=("a.png (cut)",), hint="do [that]"), 2),
    (TableError("rule [red]x[/]", hint="do [that]"), 2),
    (MissingRowsError("rule [red]x[/]", keys=("a",), hint="do [that]"), 2),
    (InfeasibleBudgetError("rule [red]x[/]", smallest_ms=1.0, hint="do [that]"), 3),
    (InfeasibleLimitError("rule [red]x[/]", limit="--max-size-kb", smallest_kb=1.0, hint="do [that]"), 3),
    (BudgetMissedError("rule [red]x[/]", hint="do [that]"), 4),
    (DeviceError("rule [red]x[/]", hint="do [that]"), 5),
    (ExportError("rule [red]x[/]", hint="do [that]"), 6),
    (DivergedError("rule [red]x[/]", hint="do [that]"), 7),
    (StorageError("rule [red]x[/]", hint="do [that]"), 8),
]


def raising(error: BaseException) -> Callable[..., None]:
    @console.verb
    def command(json_: bool = False, resume: bool = False, dry_run: bool = False) -> None:
        raise error

    return command


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_error_becomes_message_hint_and_exit_code(
    error: HwnasError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        raising(error)()
    assert left.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: rule [red]x[/]\nhint: do [that]\n"


def test_error_without_hint_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        raising(InputError("wrong"))()
    assert capsys.readouterr().err == "error: wrong\n"


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_error_is_one_json_object_on_stdout(error: HwnasError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        raising(error)(json_=True)
    assert left.value.code == code
    out, err = capsys.readouterr()
    said = {"error": "rule [red]x[/]", "hint": "do [that]", "exit_code": code}
    assert json.loads(out) == said | error.facts()
    assert "error: rule" in err


@pytest.mark.parametrize(
    ("resume", "hinted"),
    [({"resume": False}, True), ({"resume": False, "dry_run": True}, False), ({}, False)],
)
def test_interrupt_is_130_and_names_resume_where_there_is_one(
    resume: dict[str, bool], hinted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        raising(KeyboardInterrupt())(json_=True, **resume)
    assert left.value.code == 130
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 130
    assert "error: interrupted" in err
    assert ("--resume" in err) is hinted


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_as_ctrl_c_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`timeout` sends it twice."""
    number = getattr(signal, name)
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGTERM, signal.SIGHUP)}
    done = []

    @console.verb
    def command(json_: bool = False, resume: bool = False) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            done.append("cleaned up")

    try:
        with pytest.raises(SystemExit) as left:
            console.run(lambda: command(json_=True, resume=False))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert (left.value.code, done) == (130, ["cleaned up"])
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["error"], told["exit_code"]) == ("interrupted", 130)
    assert "--resume" in told["hint"]
    assert err.count("error: interrupted") == 1


def test_ctrl_c_while_options_are_read_is_an_object_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(configured, "_declared", interrupted)
    done = CliRunner().invoke(app, ["search", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]) == (130, "interrupted")


@pytest.mark.parametrize(
    "words",
    [
        ["search", "--budget-ms", "5", "--runtime", "tflite"],
        ["search", "--target", "host@tflite:5ms"],
        ["specialise", ".", "--target", "host@tflite:int8:5ms"],
        ["profile-device", "--runtime", "tflite"],
        ["verify", ".", "--runtime", "tflite"],
    ],
)
def test_an_unknown_runtime_is_refused_before_torch_is_loaded(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("search", "specialise", "profile_device", "verify"):
        monkeypatch.setitem(vars(hwnas), name, None)
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 2, done.output
    told = json.loads(done.stdout)
    assert "unknown runtime 'tflite'" in told["error"]
    assert told["hint"] == "did you mean litert? one of onnxruntime, litert, ort-web"


def test_the_file_of_a_device_is_read_before_torch_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phone.toml"
    path.write_text('id = "phone"\nruntime = "tvm"\n')
    monkeypatch.setitem(vars(hwnas), "search", None)
    done = CliRunner().invoke(app, ["search", "--target", f"{path}:5ms"])
    assert done.exit_code == 2, done.output
    assert "phone.toml" in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EDQUOT])
def test_no_room_for_a_temporary_file_is_a_storage_error(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        raising(OSError(number, os.strerror(number)))()
    assert left.value.code == StorageError.exit_code
    assert f"cannot write a temporary file: {os.strerror(number)}" in capsys.readouterr().err
    with pytest.raises(PermissionError):
        raising(PermissionError(errno.EACCES, "no"))()


@pytest.mark.parametrize("defect", [ZeroDivisionError("no"), PermissionError(errno.EACCES, "no")])
def test_defects_keep_their_traceback_and_are_an_object_as_well(
    defect: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(defect)):
        raising(defect)()
    assert capsys.readouterr().out == ""
    with pytest.raises(type(defect)):
        raising(defect)(json_=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["exit_code"], told["error"]) == (1, f"{type(defect).__name__}: {defect}")


def test_verb_passes_arguments_and_keeps_the_name() -> None:
    seen = []

    @console.verb
    def command(value: int, json_: bool = False) -> None:
        """Says it."""
        seen.append((value, json_))

    command(3, json_=True)
    assert seen == [(3, True)]
    assert (command.__name__, command.__doc__) == ("command", "Says it.")


def test_json_refuses_numbers_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.print_json({"value": float("nan")})


class Clock:
    """`time.monotonic` under the test's control."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def test_lines_tell_time_left_once_several_reports_tell_it(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The first report, before which all is loaded, is not counted."""
    with console.progress(quiet=False).track("train", 10) as advance:
        clock.now += 1000.0
        for note in ("loss 5", "loss 4", "loss 3", "loss 2", "", "loss [1]"):
            clock.now += 6.0
            advance(1, note)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "train: 1 of 10, loss 5",
        "train: 3 of 10, loss 3",
        "train: 5 of 10, 30 s left, loss 2",
        "train: done in 17 min (loss [1])",
    ]


def test_resumed_work_counts_only_its_own_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(quiet=False).track("search", 100, done=90) as advance:
        for _ in range(4):
            clock.now += 4.0
            advance()
    assert capsys.readouterr().err.splitlines() == ["search: 93 of 100", "search: done in 16 s"]


@pytest.mark.parametrize(
    ("step_s", "left"), [(11.0, "66 s"), (100.0, "10 min"), (1500.0, "2 h 30 min"), (10_000.0, "16 h 40 min")]
)
def test_long_times_are_told_in_larger_units(
    step_s: float, left: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress(quiet=False).track("train", 10) as advance:
        for _ in range(4):
            clock.now += step_s
            advance()
    assert f"4 of 10, {left} left" in capsys.readouterr().err


def test_one_long_wait_does_not_count_for_hours() -> None:
    left = TimeLeft(0.0, 0)
    for done, now in enumerate((100.0, 101.0, 102.0, 103.0, 1103.0, 1104.0), 1):
        left.add(now, done)
    assert left.seconds(106) == pytest.approx(100 * (1 + 1 + 1 + 5 + 1) / 5)
    assert left.seconds(6) is None, "how long it takes beyond its steps, nobody knows"


def test_a_silence_is_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_bars, "_SILENCE_S", 0.05)
    with console.progress(quiet=False).track("score candidates", 12):
        time.sleep(0.3)
    assert "score candidates: 0 of 12, for 0." in capsys.readouterr().err


def test_no_line_says_again_what_the_last_one_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Work beyond the steps that were foreseen changes nothing but the time."""
    with console.progress(quiet=False).track("measuring", 3) as advance:
        for steps, note in ((3, ""), (0, "again"), (0, "again"), (0, "again"), (0, "once more")):
            clock.now += 11.0
            advance(steps, note)
    assert capsys.readouterr().err.splitlines() == [
        *("measuring: 3 of 3", "measuring: 3 of 3, again", "measuring: 3 of 3, once more"),
        "measuring: done in 55 s (once more)",
    ]


def test_short_tasks_of_one_name_are_told_once(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = console.progress(quiet=False)
    for label, seconds, total in (
        ("score", 1, 2),
        ("score", 2, 2),
        ("nothing", 1, 0),
        ("train", 3, 2),
        ("score", 20, 2),
    ):
        with progress.track(label, total):
            clock.now += seconds
    assert capsys.readouterr().err.splitlines() == [
        *("score: done in 1.0 s", "train: done in 3.0 s", "score: done in 20 s"),
    ]


def test_a_silence_after_the_last_step_tells_what_is_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    class Once:
        """Not set when it is first waited for."""

        waits = iter((False, True))

        def wait(self, timeout: float) -> bool:
            return next(self.waits)

    progress = progress_bars.LineProgress(console.err())
    progress(Event("begin", 1, "measuring", 1))
    progress(Event("advance", 1, "measuring", 1, 1, "again what was disturbed"))
    clock.now += 40.0
    task: Any = progress._tasks[1]
    task.stopped.set()
    task.stopped = Once()
    progress._watch(task)
    assert capsys.readouterr().err == "measuring: again what was disturbed, for 40 s so far\n"


def test_tasks_at_once_have_a_bar_each_and_the_last_one_stays() -> None:
    screen = io.StringIO()
    progress = Events(progress_bars.BarProgress(Console(file=screen, force_terminal=True, width=100)))
    with progress.track("profiling 2 devices", 2) as whole:
        with progress.track("measuring on pi", 4) as one, progress.track("measuring on phone", 4) as other:
            one(2)
            other(3, "hot")
            progress.say("pi: is busy")
        whole(1, "pi done")
    with progress.track("another", 1) as advance:
        advance()
    shown = screen.getvalue()
    for text in ("measuring on pi", "measuring on phone", "pi: is busy", "profiling 2 devices", "pi done"):
        assert text in shown
    assert "another" in shown.rpartition("profiling 2 devices")[2]


def test_things_are_counted_in_their_number() -> None:
    assert counted(1, "image") == "1 image"
    assert counted("1", "class", "classes") == "1 class"
    assert counted("1.5", "epoch") == "1.5 epochs"
    assert counted(0, "process", "processes") == "0 processes"


def test_work_that_fails_is_not_called_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError), console.progress(quiet=False).track("train", 10):
        raise InputError("wrong")
    assert "done" not in capsys.readouterr().err


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = console.progress(quiet=True)
    progress.say("hello")
    with progress.track("train", 1) as advance:
        advance(1, "loss 1")
    assert capsys.readouterr() == ("", "")


def test_bars_show_what_runs_and_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(console, "err", lambda: screen)
    progress = console.progress(quiet=False)
    progress.say("measuring [some] rows")
    with progress.track("search", 4) as advance:
        for _ in range(4):
            advance(1, "warm-up, epoch 20 of 20, loss 0.670, expected 0.262 ms, " + "x" * 80)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "measuring [some] rows" in text
    assert "search  warm-up, epoch 20 of 20, loss 0.670, expected 0.262 ms" in text
    assert "x" * 80 not in text


def written(text: str, *, terminal: bool) -> list[str]:
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=20, color_system=None)
    console.write(screen, text)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().splitlines()


def test_terminal_wraps_between_words_and_keeps_paths_whole() -> None:
    text = "wrote it to a/path/that-is-longer/than-the-line for you\nand more"
    assert written(text, terminal=True) == [
        "wrote it to",
        "a/path/that-is-longer/than-the-line",
        "for you",
        "and more",
    ]
    assert written(text, terminal=False) == text.splitlines()


def a_result(**changes: Any) -> dict[str, Any]:
    measured = {"median": 1.95, "bounds": [1.9, 2.0], "rejected": 0.6}
    result = {
        "budget_ms": 2.0,
        "budget_binds": True,
        "unbudgeted_ms": 1.8,
        "predicted_ms": 1.9,
        "measured_ms": measured,
        "budget_met": True,
        "verdict": "met",
        "device": "host",
        "accuracy": {"test": 0.9},
        "baseline_random": {"accuracy": 0.7, "predicted_ms": 1500.0, "measured_ms": measured},
        "trained": True,
        "macs": 4_713_216,
        "params": 344_474,
        "file_bytes": 1_378_742,
        "seconds": 223.9,
    }
    return result | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["Budget met, measured on host.", "The budget binds", "1.950 (2.000)", "1,500", "trained alike"]),
        ({"budget_binds": False}, ["The budget does not bind", "predicted 1.800 ms"]),
        ({"budget_met": None, "verdict": "too close"}, ["Too close to tell"]),
        ({"budget_met": None, "verdict": "unstable"}, ["Verdict unstable", "60%", "--resume"]),
        ({"trained": False}, ["same supernet"]),
        ({"weights": "start"}, ["trained alike"]),  # damaged: of the random network nothing is told
    ],
)
def test_search_says_what_came_out(
    changes: dict[str, Any], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(a_result(**changes), Path("runs/[a]"))
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == "Next: hwnas predict runs/[a] IMAGE"
    for words in (*expected, "runs/[a]/model.onnx", "runs/[a]/report.html"):
        assert words in out


def test_search_says_which_weights_ship(capsys: pytest.CaptureFixture[str]) -> None:
    result = a_result()
    print_result(
        result | {"weights": "start", "baseline_random": result["baseline_random"] | {"weights": "trained"}}, Path()
    )
    out = capsys.readouterr().out
    assert "The network found ships the weights that its training began with, which validate better; the random" in out
    assert "trained alike" not in out


def test_further_lines_of_a_fact_are_below_its_first(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_facts([("time", "in all 2\nsearch [1]")])
    assert capsys.readouterr().out == "time      in all 2\n          search [1]\n"


def test_a_front_is_one_table_with_a_row_for_each_budget(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [
        a_result(folder="2ms", model="model.onnx", verdict="met"),
        a_result(folder="5ms", model="model.onnx", verdict="unstable", budget_ms=5.0, budget_met=None),
    ]
    print_result({"front": parts, "seconds": 99.9}, Path("runs/[a]"))
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split() == "budget, ms predicted, ms measured (at most) accuracy random verdict".split()  # noqa: SIM905
    assert lines[1].split() == ["2.000", "1.900", "1.950", "(2.000)", "0.9000", "0.7000", "met"]
    assert lines[2].split()[0::6] == ["5.000", "unstable"]
    assert "5ms: Verdict unstable" in out
    assert "runs/[a]/2ms/model.onnx, runs/[a]/5ms/model.onnx" in out
    assert lines[-1] == "Next: hwnas predict runs/[a]/2ms IMAGE"
