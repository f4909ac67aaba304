"""An Android phone that is not there: an `adb` on PATH that answers as the real one does, and a benchmark_model.

What `adb shell` is asked is really run, by this machine's shell. The texts are those of adb 1.0.41 and of
benchmark_model of TensorFlow 2.16, or of an older one; its times are what the model file says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hwnas.devices.device import Device
from hwnas.devices.transports.adb import AdbAddress

_ADB = """#!{python}
import json, os, pathlib, subprocess, sys
here = pathlib.Path({folder!r})
words = sys.argv[1:]
with (here / "log").open("a") as log:
    log.write(json.dumps(words) + chr(10))
words = words[2:] if words[0] == "-s" else words
state = (here / "state").read_text()
if state != "device":
    (here / "state").write_text("device")  # plugged in again
    sys.exit("error: " + state)
if words[0] == "get-state":
    print("device")
elif words[0] == "push":
    pathlib.Path(words[2]).write_bytes(pathlib.Path(words[1]).read_bytes())
    print(words[1] + ": 1 file pushed, 0 skipped. 1.2 MB/s (77 bytes in 0.000s)")
elif words[0] == "shell":
    child = subprocess.Popen(["sh", "-c", words[1]], stdout=subprocess.PIPE)
    cut = here / "cut"
    left = int(cut.read_text()) if cut.exists() and words[1].endswith(" sh sh") else None
    for line in child.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
        left = left and left - 1
        if left == 0:  # the cable is pulled
            child.kill()
            cut.unlink()
            (here / "state").write_text("device 'PHONE' not found")
            sys.exit(255)
    sys.exit(child.wait())
"""
BENCHMARK_MODEL = """#!/bin/sh
for word in "$@"; do case "$word" in --graph=*) graph="${word#--graph=}";; esac; done
echo "$*" >> "$0.log"
read median < "$graph"
echo "INFO: STARTING!"
echo "INFO: Graph: [$graph]"
if [ "$median" = broken ]; then echo "ERROR: Failed to load model $graph" >&2; exit 1; fi
echo "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
echo "INFO: Initialized session in 16.242ms."
echo "INFO: Running benchmark for at least 2 iterations and at least 0 seconds but terminate if exceeding 150 seconds."
echo "INFO: count=2 first=74176 curr=9000 min=9000 max=74176 avg=41588 std=32588 p5=9000 median=74176 p95=74176"
echo
echo "INFO: Running benchmark for at least 3 iterations and at least 0.015 seconds."
spread="p5=${median}0 median=${median}1 p95=${median}2"
echo "INFO: count=40 first=90 curr=91 min=80 max=1249964 avg=1.24027e+06 std=2 $spread"
echo
echo "INFO: Inference timings in us: Init: 16242, First inference: 74176, Warmup (avg): 41588, Inference (avg): 912"
echo "INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE."
"""


def older_benchmark_model(done: str = "Inference timings in us: Init: 16242") -> str:
    """The program of older versions, which tells no percentiles; the oldest ended otherwise, too."""
    program = BENCHMARK_MODEL.replace(" $spread", "").replace(" p5=9000 median=74176 p95=74176", "")
    mean = "min=${median}0 max=${median}9 avg=${median}3.5"
    return program.replace("min=80 max=1249964 avg=1.24027e+06", mean).replace(
        "Inference timings in us: Init: 16242", done
    )


GETPROP = """#!/bin/sh
case "$1" in
ro.soc.manufacturer) echo Maker;; ro.soc.model) echo C8000;; ro.product.model) echo Phone 7;;
ro.build.version.release) echo 14;; *) echo;;
esac
"""


class Phone:
    """Its folder holds what it has: programs in `bin`, a work folder, and a log of what adb was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        self.state("device")
        self.install("adb", _ADB.format(python=sys.executable, folder=str(folder)))
        self.install("benchmark_model", BENCHMARK_MODEL)
        self.install("getprop", GETPROP)
        monkeypatch.setenv("PATH", f"{self.programs}:/usr/bin:/bin")

    def install(self, name: str, program: str) -> None:
        path = self.programs / name
        path.write_text(program)
        path.chmod(0o755)

    def state(self, state: str) -> None:
        """What the next command to adb finds; after that the phone is there."""
        (self.folder / "state").write_text(state)

    def cut(self, lines: int) -> None:
        """Pull the cable once the next measurement has written so many lines."""
        (self.folder / "cut").write_text(str(lines))

    def model(self, name: str, median: str) -> Path:
        """A file that benchmark_model takes `median` followed by 1 microseconds for."""
        path = self.folder / f"{name}.tflite"
        path.write_text(f"{median}\n{name}\n")
        return path

    def device(self, *, pin: int | None = None, python: str | None = None) -> Device:
        runner = str(self.programs / "benchmark_model") if python is None else None
        address = AdbAddress("PHONE", runner, python, str(self.folder / "work"))
        runtime = "litert" if python is None else "onnxruntime"
        return Device("phone", "a phone", "adb", runtime, 2, "fp32", pin, adb=address)

    def asked(self) -> list[list[str]]:
        """The words of every command that adb was given."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def calls(self) -> list[str]:
        """The options of every call of benchmark_model."""
        log: Any = self.programs / "benchmark_model.log"
        return log.read_text().splitlines() if log.exists() else []
