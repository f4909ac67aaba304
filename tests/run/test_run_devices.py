"""A table and a search with every runtime, transport and precision that is allowed, really measured, if briefly."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from run_fakes import FakeVerdicts, a_config, install_short

sys.path.append(str(Path(__file__).parents[1] / "devices"))
from real_phone import RealPhone, needs_adb
from ssh_board import Board, needs_sshd

from hwnas.arch import OpSpec
from hwnas.backends.model_format import format_of
from hwnas.devices import job, link, profile
from hwnas.devices import verdict as verdict_module
from hwnas.devices.device import ALLOWED, Device, load_device
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.verdict import MIN_PROCESSES, measure_verdict
from hwnas.latency import build, journal
from hwnas.latency.missing_rows import MissingRows
from hwnas.latency.table_files import load_table
from hwnas.run import latency_stage, measured_check
from hwnas.run.pipeline import run_search
from hwnas.runtimes import RUNTIMES

OLD_VERSION = "2.14.0"
OLD = f"""import sys
sys.path += {sys.path!r}
from ai_edge_litert.interpreter import Interpreter
"""
Devices = Callable[[str, str, str], Device]


def ways(transport: str, runtime: str) -> list[str]:
    """What can measure there."""
    if RUNTIMES[runtime].only.get("transport", transport) != transport:
        return []
    if runtime != "litert" or transport == "local":
        return ["python"]
    return ["python", "tflite-runtime", "benchmark_model"] if transport == "adb" else ["python", "tflite-runtime"]


COMBINATIONS = [
    (transport, way, runtime, precision)
    for transport in ALLOWED["transport"]
    for runtime in ALLOWED["runtime"]
    for way in ways(transport, runtime)
    for precision in ALLOWED["precision"]
    if RUNTIMES[runtime].only.get("precision", precision) == precision
]


def old_python(folder: Path) -> str:
    """The command of a Python that has numpy and, as far as its packages tell, tflite-runtime alone."""
    site = folder / "site"
    (site / "tflite_runtime").mkdir(parents=True)
    (site / "tflite_runtime" / "interpreter.py").write_text(OLD)
    for name, version in {"tflite-runtime": OLD_VERSION, "numpy": metadata.version("numpy")}.items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for part in Path(str(metadata.distribution("numpy").locate_file(""))).glob("numpy*"):
        if not part.name.endswith("-info"):
            (site / part.name).symlink_to(part)
    return f"env PYTHONPATH={shlex.quote(str(site))} {shlex.quote(sys.executable)} -S"


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Devices]:
    """A device by transport, what measures there, and runtime."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(link.atexit, "register", at_exit.append)
    closing: list[Callable[[], None]] = []

    def device(transport: str, way: str, runtime: str) -> Device:
        python = old_python(tmp_path) if way == "tflite-runtime" else shlex.quote(sys.executable)
        if transport == "ssh":
            needs_sshd()
            (tmp_path / "board").mkdir()
            board = Board(tmp_path / "board")
            closing.append(board.close)
            return load_device(str(board.toml(python=python, runtime=runtime)))
        if transport == "adb":
            needs_adb()
            phone = RealPhone(tmp_path / "phone", monkeypatch)
            closing.append(phone.close)
            return phone.device(python=None if way == "benchmark_model" else python, runtime=runtime)
        return load_device("host").with_runtime(runtime)

    yield device
    for close in (*at_exit, *closing):
        close()
    link_to.cache_clear()


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds, short ones, of few networks, from a runner that hardly warms up."""
    runner = job._RUNNER.read_text()
    assert "100.0, 0.03, 30" in runner
    (tmp_path / "runner.py").write_text(runner.replace("100.0, 0.03, 30", "1.0, 9.0, 3"))
    monkeypatch.setattr(job, "_RUNNER", tmp_path / "runner.py")
    brief: Any = {"round_ms": 0.1, "max_extra": 0}
    monkeypatch.setattr(journal, "profile_rounds", lambda *a, **o: profile.profile_rounds(*a, **o | brief))
    monkeypatch.setattr(journal, "_ROUNDS_PER_PROCESS", 2)
    monkeypatch.setattr(journal, "_PROCESSES", 1)
    monkeypatch.setattr(build, "CALIBRATION_NETWORKS", 6)
    monkeypatch.setattr(build, "VALIDATION_NETWORKS", 6)
    monkeypatch.setattr(latency_stage, "drifted", lambda *_: (MissingRows((), calibration=False), 0.0))
    short: Any = {"round_ms": 0.1, "processes": MIN_PROCESSES}
    measured = [lambda *a, **o: measure_verdict(*a, **o | short), FakeVerdicts()]  # of the file, and before training
    monkeypatch.setattr(measured_check, "measure_verdict", lambda *a, **o: measured.pop()(*a, **o))
    monkeypatch.setattr(verdict_module, "ROUNDS", 5)
    install_short(monkeypatch.setattr)


@pytest.mark.sample("way")
@pytest.mark.parametrize(("transport", "way", "runtime", "precision"), COMBINATIONS)
def test_a_table_and_a_search(
    transport: str,
    way: str,
    runtime: str,
    precision: str,
    devices: Devices,
    quick: None,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if RUNTIMES[runtime].in_node:
        request.getfixturevalue("ort_web")
    if runtime == "litert":
        pytest.importorskip("ai_edge_litert")
    device = devices(transport, way, runtime).with_runtime(precision=precision)
    config = a_config(images, budget="100000", baseline=False, runtime=runtime, precision=precision)
    monkeypatch.setattr("hwnas.run.plan_devices.device_or_imported", lambda *_: device)
    result = run_search(config, tmp_path / "run", tables=tmp_path / "tables", any_table=True)
    condition = condition_of(device)
    begins = {"tflite-runtime": f"tflite{OLD_VERSION}", "benchmark_model": "bm"}.get(way, "")
    assert condition.runtime_version.startswith(begins)
    assert result["condition"] == condition.folder.as_posix()
    assert result["measured_ms"]["median"] > 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["runtime"] == runtime
    table = load_table(tmp_path / "tables" / condition.folder)
    assert table.under == condition
    fingerprint = format_of(runtime, precision).fingerprint
    assert {key: row.fingerprint for key, row in table.rows.items()} == {
        key: fingerprint(OpSpec.parse(key)) for key in table.rows
    }
