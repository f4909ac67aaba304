"""The runner as a board sees it: alone, with its facts, its settings, its warm-up, and with either runtime."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from device_models import HOST, write_convs, write_tflite

from hwnas.devices import runner
from hwnas.devices.device import Device
from hwnas.devices.host import Facts, cpu_slug
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.measure import measure
from hwnas.errors import DeviceError
from hwnas.runtimes import RUNTIMES

SOURCE = Path(runner.__file__)
LIMITS: dict[str, Any] = {"aid": str(SOURCE.with_name("runner_aid.py")), "stall_s": 60.0, "memory_bytes": None}
BIG_LITTLE = """processor : 0
CPU implementer : 0x41
CPU part : 0xd05

processor : 4
CPU implementer : 0x41
CPU part : 0xd0d

Hardware : Chip 8
Serial : 12345
"""


def a_job(**changes: Any) -> dict[str, Any]:
    job = {"runtime": "onnxruntime", "threads": 1, "pin": None, "governor": None, "session": None, "models": []}
    numbers = {
        "rounds": 1,
        "first_round": 0,
        "round_ms": 0.1,
        "warmup": 0,
        "group": 8,
        "seed": 0,
        "kept_bytes": 1 << 30,
    }
    return job | {"reference": None, "singles": False, "cold": 0, "inputs": {}} | LIMITS | numbers | changes


class Copy:
    """A copy of the runner in a folder of its own, as on a board."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runner.py"
        self.path.write_text(SOURCE.read_text(encoding="utf-8").replace("ORPHAN_S = 10.0", "ORPHAN_S = 2.0"))
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", str(self.path)]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started.append(child)
        assert child.stdin is not None
        child.stdin.write(json.dumps(a_job(**changes)))
        child.stdin.close()
        return child

    def events(self, **changes: Any) -> list[dict[str, Any]]:
        """Of a job, to its end."""
        child = self.start(**changes)
        assert child.stdout is not None
        return [json.loads(line) for line in child.stdout]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Copy]:
    (tmp_path / "work").mkdir()
    copy = Copy(tmp_path / "work")
    yield copy
    for child in copy.started:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_it_is_for_python_3_8_and_imports_nothing_of_hwnas(board: Copy) -> None:
    names = set()
    for path in (SOURCE, Path(LIMITS["aid"])):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))))
        names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert roots == {"numpy", "onnxruntime"}
    hello, done = board.events()
    assert Facts.from_json(hello).logical_cores
    assert done == {"event": "done"}


def test_hello_needs_no_package(board: Copy) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(board.path)], input=json.dumps(a_job()), capture_output=True, text=True
    )
    hello = json.loads(done.stdout.splitlines()[0])
    assert (hello["event"], hello["packages"]) == ("hello", {})


def test_a_runner_that_was_cut_off_is_ended_by_its_own_session_and_by_no_other(board: Copy, tmp_path: Path) -> None:
    model = str(write_convs(tmp_path / "model.onnx", 1))
    endless = {"models": [["a", model]], "reference": model, "rounds": 10**9}
    orphan = board.start(session="one", **endless)
    assert orphan.stdout is not None
    fcntl.fcntl(orphan.stdout, fcntl.F_SETPIPE_SZ, 4096)  # which is soon full, as nobody reads the rest
    assert json.loads(orphan.stdout.readline())["event"] == "hello"
    (refused,) = board.events(session="two")
    assert refused["message"] == f"another program is measuring on this device (process {orphan.pid})"
    assert refused["hint"]
    assert orphan.poll() is None
    assert [event["event"] for event in board.events(session="one")] == ["hello", "done"]
    assert orphan.wait(timeout=60) == 143
    assert [event["event"] for event in board.events(session="two")] == ["hello", "done"]


class Machine:
    """Made-up files of the system."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setattr(runner, "CPUS", folder / "cpu")
        monkeypatch.setattr(runner, "THERMAL", folder / "thermal")
        monkeypatch.setattr(runner, "CPUINFO", folder / "cpuinfo")
        monkeypatch.setattr(runner, "BOARD", folder / "board")

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_cpu_that_measuring_is_bound_to_names_the_device(machine: Machine) -> None:
    machine.write("cpuinfo", BIG_LITTLE)
    assert cpu_slug(runner.cpu(None)) == "chip-8-0x41-0xd05"
    assert cpu_slug(runner.cpu(4)) == "chip-8-0x41-0xd0d"
    assert "Serial" not in runner.cpu(4)


def test_a_board_without_a_name_in_cpuinfo_has_one_in_its_device_tree(machine: Machine) -> None:
    machine.write("cpuinfo", BIG_LITTLE.partition("Hardware")[0])
    machine.write("board", "Some Board 3\0")
    assert cpu_slug(runner.cpu(None)) == "some-board-3-0x41-0xd05"
    machine.write("board", "")
    assert runner.cpu(None)["model name"]


def test_governor_and_temperature_are_told(machine: Machine) -> None:
    assert (runner.facts()["governor"], runner.facts()["temperature_c"]) == (None, None)
    for cpu, governor in enumerate(("ondemand", "schedutil")):
        machine.write(f"cpu/cpu{cpu}/cpufreq/scaling_governor", governor + "\n")
    for zone, (kind, temperature) in enumerate((("battery", 30000), ("cpu-thermal", 48312))):
        machine.write(f"thermal/thermal_zone{zone}/type", kind + "\n")
        machine.write(f"thermal/thermal_zone{zone}/temp", f"{temperature}\n")
    assert runner.facts()["governor"] == "ondemand"
    assert runner.facts(1)["governor"] == "schedutil"
    assert runner.facts()["temperature_c"] == pytest.approx(48.312)


def test_the_governor_is_set_while_measuring_and_put_back(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.os, "sched_setaffinity", lambda *_: None, raising=False)
    paths = [machine.write(f"cpu/cpu{cpu}/cpufreq/scaling_governor", "ondemand") for cpu in range(2)]
    machine.write("cpu/cpufreq/boost", "1")
    with runner.settings(None, "performance"):
        assert [path.read_text() for path in paths] == ["performance", "performance"]
    assert [path.read_text() for path in paths] == ["ondemand", "ondemand"]
    with contextlib.suppress(SystemExit), runner.settings(1, "performance"):
        assert [path.read_text() for path in paths] == ["ondemand", "performance"]
        sys.exit(143)
    assert [path.read_text() for path in paths] == ["ondemand", "ondemand"]
    with runner.settings(0, None):
        assert [path.read_text() for path in paths] == ["ondemand", "ondemand"]


def test_a_governor_that_may_not_be_set_stays(machine: Machine) -> None:
    (machine.folder / "cpu/cpu0/cpufreq/scaling_governor").mkdir(parents=True)  # cannot be written, even by root
    with runner.settings(None, "performance"):
        assert runner.facts()["governor"] is None


class Script:
    """A reference model whose windows take the given medians."""

    def __init__(self, *medians_us: float) -> None:
        self.medians_us = list(medians_us)

    def samples_us(self, round_ms: float, warmup: int) -> list[float]:
        return [self.medians_us.pop(0) if len(self.medians_us) > 1 else self.medians_us[0]] * 3


@pytest.mark.parametrize(
    ("medians_us", "left", "stable"),
    [
        ((100, 100, 100, 7), 1, True),
        ((200, 150, 120, 102, 100, 101, 7), 1, True),
        ((100, 104) * 20, 10, False),
    ],
)
def test_it_warms_up_until_three_windows_agree(medians_us: tuple[float, ...], left: int, stable: bool) -> None:
    reference = Script(*medians_us)
    result = runner.warm_up(reference, 0)  # type: ignore[arg-type]
    assert (len(reference.medians_us), result["stable"]) == (left, stable)


def test_litert_is_measured_like_onnxruntime(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    model = write_tflite(tmp_path / "model.tflite")
    device = replace(HOST, runtime="litert")
    rounds = measure(device, {"a": model, "b": model}, model, rounds=3, round_ms=2)
    assert len(rounds) == 6
    assert all(0 < one.p10_us <= one.median_us <= one.p90_us and one.calls >= 3 for one in rounds)
    assert condition_of(device).id == f"litert-{runner.package_version('ai-edge-litert')}-t1-fp32"
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(DeviceError, match="model 'a'"):
        measure(device, {"a": broken}, model, rounds=1)


@pytest.mark.parametrize(
    ("packages", "module"),
    [(("ai-edge-litert", "tflite-runtime"), "ai_edge_litert"), (("tflite-runtime",), "tflite_runtime")],
)
def test_litert_is_the_package_whose_version_is_told(
    packages: tuple[str, ...], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, f"{name}.interpreter", SimpleNamespace(Interpreter=name))
    monkeypatch.setattr(runner, "package_version", lambda name: "1.0" if name in packages else None)
    assert runner.LiteRt(1).interpreter == module


def facts_with(packages: dict[str, str]) -> Facts:
    return replace(Facts.from_json(runner.facts()), packages=packages)


@pytest.mark.parametrize(
    ("packages", "version"),
    [
        ({"ai-edge-litert": "2.3.0", "tflite-runtime": "2.14.0"}, "2.3.0"),
        ({"tflite-runtime": "2.14.0"}, "tflite2.14.0"),
        ({"benchmark_model": "0a1b2c3d"}, "bm0a1b2c3d"),
        ({"onnxruntime": "1.32.0"}, None),
    ],
)
def test_the_version_of_litert_says_which_program_it_is(packages: dict[str, str], version: str | None) -> None:
    assert RUNTIMES["litert"].version(packages) == version


def test_a_device_without_the_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    device: Device = replace(HOST, id="bare")
    monkeypatch.setattr(link_to(device), "facts", facts_with({}))
    with pytest.raises(DeviceError, match="device 'bare' has no onnxruntime") as caught:
        condition_of(device)
    assert "-m pip install onnxruntime" in caught.value.hint


@pytest.mark.parametrize("version", ["", "../../elsewhere", "1.0\n", "1 0", "/etc", "1" * 65])
def test_a_version_that_could_not_name_a_folder_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device: Device = replace(HOST, id="odd")
    monkeypatch.setattr(link_to(device), "facts", facts_with({"onnxruntime": version}))
    with pytest.raises(DeviceError, match="device 'odd' says that its onnxruntime is of version"):
        condition_of(device)


@pytest.mark.parametrize("change", [{"packages": None}, {"packages": {"numpy": 2}}, {"cpu": ["a"]}])
def test_an_answer_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match=f"the answer of the device: {next(iter(change))}"):
        Facts.from_json(runner.facts() | change)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 30])
def test_models_are_loaded_for_their_group_where_they_are_too_large_together(
    board: Copy, tmp_path: Path, kept_bytes: int
) -> None:
    model = str(write_convs(tmp_path / "model.onnx", 1))
    names = [f"model {index}" for index in range(5)]
    events = board.events(
        models=[[name, model] for name in names], reference=model, rounds=2, group=2, kept_bytes=kept_bytes
    )
    assert events[-1] == {"event": "done"}
    measured = sorted((event["name"], event["round"]) for event in events if event["event"] == "round")
    assert measured == sorted((name, turn) for name in names for turn in range(2))
    loaded: list[str] = []
    for event in events:
        if event["event"] == "loading" and event["name"] != "reference":
            loaded.append(event["name"])
        elif event["event"] == "running":
            assert kept_bytes or set(loaded) <= set(event["names"])
            loaded = [] if not kept_bytes else loaded
    if kept_bytes:
        assert loaded == names
