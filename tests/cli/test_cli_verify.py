"""`hwnas verify` in this process: what it prints, its JSON, and its exit codes."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from hwnas.api import verification
from hwnas.api.verification import verify
from hwnas.cli import app
from hwnas.config import Configuration, Target
from hwnas.devices import measure_file as module
from hwnas.devices.device import load_device
from hwnas.devices.measure import stream_rounds
from hwnas.devices.rounds import Round
from hwnas.devices.statistic import Statistic
from hwnas.devices.sustained import LoadSlice, assess
from hwnas.devices.verdict import Verdict
from hwnas.errors import InputError
from hwnas.latency import find

STATES = {"met": 0.9, "missed": 1.1, "too close": 1.01, "unstable": 1.2, "no budget": 0.9}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path / "user")


def hwnas(*words: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, words)])


def made(name: str = "model.onnx", shape: Any = (1, 8), op: str = "Relu") -> str:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    domain = "" if op == "Relu" else "com.example"
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "made", [values[0]], [values[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)])
    model.ir_version = 8
    onnx.save(model, name)
    return name


def judged(monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    """Every model is judged so."""
    ms = STATES[state]
    verdict = Verdict(ms, 1.1 * ms, (0.99 * ms, 1.01 * ms), 38, 0.05, ms, state, 1.3 * ms, 900, 40)
    monkeypatch.setattr(module, "measure_verdict", lambda device, models, *_, **__: dict.fromkeys(models, verdict))


def sustained(monkeypatch: pytest.MonkeyPatch, last_us: float, ended: str = "") -> None:
    slices = [LoadSlice(index, 1, 900 + (last_us - 900) * index / 19, 950, 990, 9, 0.0, 50.0) for index in range(20)]
    found = assess(slices, asked_s=20, reference_us=(400.0, 500.0), ended_early=ended)
    monkeypatch.setattr(module, "run_sustained", lambda *_, **__: found)


def test_a_budget_that_is_met_without_a_quiet_round_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = Verdict(0.9, 1.0, (None, 0.95), 0, 1.0, 0.9, "met", rounds=60, processes=5)
    monkeypatch.setattr(module, "measure_verdict", lambda device, models, *_, **__: dict.fromkeys(models, verdict))
    done = hwnas(made(), "--budget-ms", 1, "--quiet")
    assert done.exit_code == 0
    assert (
        "Budget met, measured on host. Other work disturbed 100% of the rounds; that only ever slows a call, so the "
        "model keeps its budget all the same."
    ) in done.stdout


@pytest.mark.parametrize(
    ("state", "code", "said", "upcoming"),
    [
        ("met", 0, "Budget met, measured on host.", "Next: hwnas verify model.onnx --sustained 10m --budget-ms 1"),
        ("too close", 9, "99th percentile, ms", "too close to the budget of 1.000 ms to tell"),
        ("unstable", 0, "Verdict unstable", "Next: hwnas verify model.onnx --processes 30 --budget-ms 1"),
        ("missed", 4, "90th percentile, ms", "on host, above the budget of 1.000 ms"),
    ],
)
def test_verdicts(state: str, code: int, said: str, upcoming: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, state)
    done = hwnas(made(), "--budget-ms", 1, "--quiet")
    assert done.exit_code == code
    assert said in done.stdout
    assert "38, 2" in done.stdout
    assert ("Verdict unstable" in done.stdout) is (state == "unstable")
    if not code:
        assert done.stdout.splitlines()[-1] == upcoming
        assert done.stderr == ""
    else:
        assert f"error: model.onnx has a median of {STATES[state]:.3f} ms, at least" in done.stderr
        assert upcoming in done.stderr
        assert ("hint: hwnas search --budget-ms 1" in done.stderr) is (code == 4)
    content = json.loads(hwnas(made(), "--budget-ms", 1, "--json").stdout)
    assert (content["verdict"], content["budget_met"]) == (state, {"met": True, "missed": False}.get(state))
    assert content.get("exit_code", 0) == code
    assert ("error" in content) is (code != 0)
    assert content["measured_ms"].keys() >= {
        "median",
        "p90",
        "p99",
        "cold",
        "bounds",
        "processes",
        "n",
        "rejected",
        "rejected_rounds",
    }


def test_without_a_budget_the_next_command_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "no budget")
    done = hwnas(made(shape=("n", 3, "w")), "--shape", "x=2,3,5")
    assert done.exit_code == 0
    assert "x was measured as 2×3×5" in done.stdout
    assert "float32, ?×3×?" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: hwnas verify model.onnx --shape x=2,3,5 --budget-ms 0.99"
    done = hwnas(made(shape=("n", 3)))
    assert "The file leaves the batch size of x open: measured with 1." in done.stdout


def test_the_next_command_is_about_the_same_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    cold = Statistic("cold", 90)
    verdict = Verdict(1.0, 1.1, (0.9, 1.1), 60, 0.0, 1.0, "no budget", cold_ms=1.5, judged_ms=2.0, statistic=cold)
    monkeypatch.setattr(module, "measure_verdict", lambda device, models, *_, **__: dict.fromkeys(models, verdict))
    done = hwnas(made(), "--latency", "cold", "--percentile", 90)
    assert (
        done.stdout.splitlines()[-1] == "Next: hwnas verify model.onnx --latency cold --percentile 90 --budget-ms 2.2"
    )
    assert "90th percentile, cold: at least, at most" in done.stdout
    assert hwnas(made(), "--latency", "tepid").exit_code == 2


def test_the_next_command_names_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "no budget")
    assert hwnas(made(shape=())).stdout.splitlines()[-1] == "Next: hwnas verify model.onnx --budget-ms 0.99"
    assert "float32, scalar" in hwnas(made(shape=()), "--shape", "x=").stdout
    asked = ["--runtime", "onnxruntime", "--range", "x=-1:0.5", "--stall-s", "60", "--memory-gb", "4"]
    done = hwnas(made(), *asked)
    assert "x was measured with random values from -1.0 to 0.5." in done.stdout
    assert done.stdout.splitlines()[-1] == f"Next: hwnas verify model.onnx {' '.join(asked)} --budget-ms 0.99"
    words = ["--processes", "20"]
    assert hwnas(made(), *words).stdout.splitlines()[-1].endswith(f"{' '.join(words)} --budget-ms 0.99")
    np.savez("in.npz", x=np.ones((2, 3), np.float32))
    done = hwnas(made(shape=("n", 3)), "--input", "in.npz")
    assert "x was measured with the values of in.npz." in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: hwnas verify model.onnx --input in.npz --budget-ms 0.99"
    content = json.loads(hwnas(made(shape=("n", 3)), "--input", "in.npz", "--json").stdout)
    assert (content["values"], content["shapes"]) == ({"x": {"array": "in.npz"}}, {"x": [2, 3]})


def a_run(folder: str, budget_ms: float | None, **target: object) -> Path:
    """What a finished run leaves, as far as a verification reads it."""
    run = Path(folder)
    run.mkdir(parents=True)
    made(f"{folder}/model.onnx")
    Configuration(target=Target(budget="50%", **target)).save(run / "config.toml")
    (run / "result.json").write_text(json.dumps({"budget_ms": budget_ms}))
    return run


def test_a_run_is_measured_within_its_budget_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(verification, "measure_file", lambda *words, **more: asked.append((*words[:2], more)))
    a_run("runs/one", 1.25, latency="cold", runtime="litert", precision="int8", device="mine.toml")
    host = load_device("host")
    monkeypatch.setattr(verification, "device_to_measure", lambda name: replace(host, description=name))
    verify("runs/one")
    verify("runs/one", budget_ms=3.0, runtime="onnxruntime", latency="warm", device="host")
    verify(made())
    found = [
        (path, device.description, device.precision, more["runtime"], more["budget_ms"], more["statistic"].latency)
        for path, device, more in asked
    ]
    assert found == [
        (Path("runs/one/model.onnx"), "mine.toml", "int8", "litert", 1.25, "cold"),
        (Path("runs/one/model.onnx"), "host", "int8", "onnxruntime", 3.0, "warm"),
        (Path("model.onnx"), "host", "fp32", "", None, "warm"),
    ]


def test_what_follows_the_measurement_of_a_run_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "met")
    a_run("runs/one", 1.0)
    done = hwnas("runs/one", "--quiet")
    assert done.exit_code == 0, done.output
    assert "runs/one/model.onnx" in done.stdout
    assert "Of the run: the model" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: hwnas verify runs/one --sustained 10m --budget-ms 1"
    assert "Of the run" not in hwnas(made(), "--quiet").stdout


def test_a_run_with_several_models_or_none_says_what_to_name() -> None:
    a_run("runs/front/5ms", 5.0)
    Path("runs/front/result.json").write_text(json.dumps({"front": [{"folder": "5ms"}, {"folder": "9ms"}]}))
    done = hwnas("runs/front", "--quiet")
    assert (done.exit_code, "a model for each of 2 budgets or devices" in done.stderr) == (2, True)
    assert "hwnas verify runs/front/5ms" in done.stderr
    a_run("runs/early", None)
    Path("runs/early/result.json").write_text("[]")
    done = hwnas("runs/early", "--quiet")
    assert (done.exit_code, "holds no finished run" in done.stderr) == (2, True)


def test_limits_are_those_of_the_front_door() -> None:
    own = inspect.signature(importlib.import_module("hwnas.cli.verify_command").verify).parameters
    front = inspect.signature(verify).parameters
    for name in ("stall_s", "memory_gb"):
        assert own[name].default == front[name].default


@pytest.mark.parametrize(
    ("last_us", "ended", "code", "said"),
    [
        (900, "", 0, "Steady"),
        (960, "", 0, "slows down"),
        (1300, "", 4, "last slice against the first: +44.4%; drift +44.4%"),
        (1300, "interrupted", 130, "ended early: interrupted"),
        (950, "the link was cut", 0, "ended early: the link was cut"),
    ],
)
def test_without_pause(last_us: float, ended: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, "met")
    sustained(monkeypatch, last_us, ended)
    words = (made(), "--budget-ms", 1, "--sustained", "20s", "--plot", "plot.png")
    done = hwnas(*words)
    assert done.exit_code == code
    assert said in done.stdout
    assert "against before: +25.0%" in done.stdout
    assert Path("plot.png").read_bytes().startswith(b"\x89PNG")
    assert ("at first, within the budget of 1.000 ms, but in" in done.stderr) is (code == 4)
    content = json.loads(hwnas(*words, "--json").stdout)
    assert content.get("exit_code", 0) == code
    assert len(content["sustained"]["slices"]) == 20
    assert content["budget_met"] is (last_us < 1000)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["missing.onnx"], "there is no file missing.onnx"),
        (["folder"], "is a folder"),
        (["text.onnx"], "text.onnx is not an ONNX model"),
        (["text.tflite"], "text.tflite is not a LiteRT model"),
        (["text.txt"], "ends in .txt"),
        (["model.onnx", "--runtime", "litert"], "a .onnx file, which litert does not run"),
        (["model.onnx", "--runtime", "abacus"], "abacus"),
        (["model.onnx", "--device", "no-such-device"], "no-such-device"),
        (["model.onnx", "--budget-ms", "-1"], "--budget-ms is milliseconds above 0, not '-1'"),
        (["model.onnx", "--budget-ms", "fast"], "--budget-ms is milliseconds above 0, not 'fast'"),
        (["model.onnx", "--budget-ms", "50%"], "--budget-ms '50%' is a share of a range, which a search space has"),
        (["model.onnx", "--stall-s", "nan"], "--stall-s must be a finite number, not nan"),
        (["model.onnx", "--budget-ms", "nan"], "nan"),
        (["model.onnx", "--sustained", "soon"], "'soon' is not a duration"),
        (["model.onnx", "--sustained", "0.1s"], "at least 1 s"),
        (["model.onnx", "--plot", "a.png"], "--plot draws a sustained run"),
        (["model.onnx", "--sustained", "10m", "--plot", "a.gif"], ".gif"),
        (["model.onnx", "--shape", "x"], "'x' is not a name and a shape"),
        (["model.onnx", "--shape", "x=1,9"], "1×9 does not fit"),
        (["model.onnx", "--shape", "x="], "which scalar does not fit"),
        (["model.onnx", "--range", "x"], "'x' is not a name and a range"),
        (["model.onnx", "--range", "x=0:nan"], "'x=0:nan' is not a name and a range"),
        (["model.onnx", "--range", "z=0:1"], "has no input 'z'"),
        (["model.onnx", "--input", "missing.npz"], "cannot read missing.npz"),
        (["model.onnx", "--input", "pipe.onnx"], "pipe.onnx is not a regular file"),
        (["pipe.onnx"], "pipe.onnx is not a regular file"),
        (["[red].onnx"], "there is no file [red].onnx"),
        (["~nobody/a.onnx"], "there is no file ~nobody/a.onnx"),
        (["n" * 300], "at most 255 bytes"),
        (["d/" * 3000 + "a.onnx"], "File name too long"),
        (["model.onnx", "--stall-s", "0"], "--stall-s must be from 1"),
        (["model.onnx", "--memory-gb", "0"], "--memory-gb must be from 0.25"),
        (["open.onnx"], "--shape x=1,224"),
        (["strange.onnx"], "Sparkle"),
    ],
)
def test_bad_input_is_exit_code_2_with_one_message(words: list[str], named: str) -> None:
    made()
    made("open.onnx", (1, "n"))
    made("strange.onnx", op="Sparkle")
    Path("folder").mkdir()
    os.mkfifo("pipe.onnx")
    for name in ("text.onnx", "text.tflite", "text.txt"):
        Path(name).write_text("a text")
    done = hwnas(*words, "--quiet")
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    content = json.loads(hwnas(*words, "--json", "--quiet").stdout)
    assert content["exit_code"] == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("90s", 90), ("1.5h", 5400), ("600", 600), ("10 min", 600), (".5m", 30)]
)
def test_durations(text: str, seconds: float) -> None:
    assert importlib.import_module("hwnas.cli.verify_command")._seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "ten", "-5s", "1d", "1e3", "nan", "0", "0.0m"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InputError):
        importlib.import_module("hwnas.cli.verify_command")._seconds(text)


INTERRUPTING = """
import os, signal
from dataclasses import dataclass
from hwnas.devices import measure_file, sustained
from hwnas.devices.verdict import Verdict
sustained.SLICES = 300
verdict = Verdict(1.0, 1.1, (0.9, 1.1), 60, 0.0, 1.0, "no budget")
measure_file.measure_verdict = lambda device, models, *_, **__: dict.fromkeys(models, verdict)
@dataclass(frozen=True)
class Counting(sustained.LoadSlice):
    def __post_init__(self):
        if self.start_s > 0.4:
            os.kill(os.getpid(), signal.SIGINT)
sustained.LoadSlice = Counting
signal.signal(signal.SIGINT, signal.default_int_handler)
from hwnas.api.verification import verify
from hwnas.cli import app
app()
"""


def test_a_real_ctrl_c_tells_what_there_is() -> None:
    words = ["verify", made(), "--sustained", "30s", "--json"]
    done = subprocess.run([sys.executable, "-c", INTERRUPTING, *words], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    content = json.loads(done.stdout)
    assert (content["exit_code"], content["sustained"]["ended_early"]) == (130, "interrupted")
    assert content["error"] == "interrupted"
    assert len(content["sustained"]["slices"]) >= 3
    assert content["sustained"]["seconds"] < 10
    assert content["measured_ms"]["median"] > 0


class FirstProcess:
    """The rounds of one real process, in which others find the same."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []

    def __call__(self, *values: Any, first_round: int, **named: Any) -> Iterator[Round]:
        if not self.rounds:
            self.rounds += stream_rounds(*values, first_round=0, **named)
        for one in self.rounds:
            yield replace(one, round=first_round + one.round, process=first_round)


def test_really(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "stream_rounds", FirstProcess())
    done = hwnas(made(), "--budget-ms", 1000, "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    assert (content["budget_met"], content["runtime"], content["file"]["opset"]) == (True, "onnxruntime", 17)
    assert 0 < content["measured_ms"]["median"] <= content["measured_ms"]["p99"] * 1.5
