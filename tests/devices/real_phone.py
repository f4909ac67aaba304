"""An Android phone for the real `adb` of this machine: the daemon on loopback, and an adb server of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from adb_daemon import AdbDaemon
from phone import BENCHMARK_MODEL, GETPROP

from hwnas.devices.device import Device
from hwnas.devices.transports.adb import AdbAddress

_READS_MEDIAN = 'read median < "$graph"'
_KNOWS_MODELS = """if [ "$(tail -c +5 "$graph" | head -c 4)" != TFL3 ]; then median=broken
else median=$(($(wc -c < "$graph") / 10)); fi"""


def needs_adb() -> None:
    """Skip where there is no client."""
    if shutil.which("adb") is None:
        pytest.skip("there is no adb here: apt-get install adb")


class RealPhone:
    """Its benchmark_model takes a microsecond a byte for a model file of LiteRT, and refuses others."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        self.daemon = AdbDaemon(self.programs)
        self.install("benchmark_model", BENCHMARK_MODEL.replace(_READS_MEDIAN, _KNOWS_MODELS))
        self.install("getprop", GETPROP)
        with socket.create_server(("127.0.0.1", 0)) as free:
            monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
        self._environment = {**os.environ, "HOME": str(folder)}  # of the server, which writes a key there
        self.adb("start-server")
        self.adb("connect", self.daemon.serial)

    def install(self, name: str, program: str) -> None:
        path = self.programs / name
        path.write_text(program)
        path.chmod(0o755)

    def adb(self, *words: str) -> None:
        subprocess.run(["adb", *words], env=self._environment, check=True, capture_output=True, timeout=60)

    def device(self, *, python: str | None = None, runtime: str = "litert", precision: str = "fp32") -> Device:
        runner = None if python else str(self.programs / "benchmark_model")
        address = AdbAddress(self.daemon.serial, runner, python, str(self.folder / "work"))
        return Device("phone", "a phone", "adb", runtime, 1, precision, adb=address)

    def close(self) -> None:
        self.adb("kill-server")
        self.daemon.close()
