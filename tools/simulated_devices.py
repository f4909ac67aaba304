"""Devices that are not there: the real runner on a clock that only calls of models move; an hour takes seconds.

A simulated device is a TOML file like any other, with a host name that nobody has. `Simulated` takes the place of its
transport; everything between the command and the runner's own lines is the real code.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hwnas.devices import runner
from hwnas.devices.runner_aid import Loaded
from hwnas.progress import Advance

_CODE = compile(Path(runner.__file__).read_text(encoding="utf-8"), runner.__file__, "exec")
_TOML = """id = "{name}"
description = "a simulated device"
transport = "ssh"
runtime = "onnxruntime"
threads = 1
precision = "fp32"

[ssh]
host = "{host}"
"""


def write_toml(folder: Path, name: str, host: str = "") -> Path:
    """The description of a simulated device; those of one host are one machine."""
    path = folder / f"{name}.toml"
    path.write_text(_TOML.format(name=name, host=host or name), encoding="utf-8")
    return path


class Clock:
    """Time that passes when a model is called."""

    def __init__(self) -> None:
        self.us = 0.0

    def perf_counter_ns(self) -> int:
        return round(self.us * 1e3)

    def monotonic(self) -> float:
        return self.us / 1e6

    def call(self, us: float) -> None:
        self.us += us


@dataclass
class Simulated:
    """A transport to a device whose models take known times.

    Attributes:
        latency_us: of a call of a model, in microseconds, by its name; that of the reference model is `reference`. What
            it raises ends the device, but for a RuntimeError, by which the runtime refuses the model.
        cpu: what names the device, and the folder of its tables.
        begun: called when models are about to be measured.
        clock: of the device; 0 at its first call.
        most: the most models, besides the reference model, that were in memory at once.
    """

    latency_us: Callable[[str], float]
    cpu: str
    begun: Callable[[], object] = lambda: None
    clock: Clock = field(default_factory=Clock)
    most: int = 0

    def put(self, paths: Sequence[Path], advance: Advance) -> list[str]:
        advance(len(paths))
        return [str(path) for path in paths]

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        yield from (json.dumps(event).encode() + b"\n" for event in self._events(json.loads(stdin)))

    def remove(self, paths: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass

    def _events(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """All that the runner writes for a job."""
        events: list[dict[str, Any]] = [{"event": "hello", **self._facts()}]
        program: dict[str, Any] = {"__name__": "runner", "__file__": runner.__file__}
        exec(_CODE, program)
        names = {path: name for name, path in job["models"]} | {job["reference"]: "reference"}

        def load(path: str, values: Any) -> Any:
            name = names[path]
            return functools.partial(program["sample"], lambda: self.clock.call(self.latency_us(name)))

        simulated = self

        class Counting(Loaded):
            """Tells how many models are in memory."""

            def have(self, names: Sequence[str]) -> bool:
                loaded = super().have(names)
                simulated.most = max(simulated.most, len(self._models))
                return loaded

        quiet = SimpleNamespace(collect=lambda: None, disable=lambda: None, environ={})
        idle = SimpleNamespace(share=lambda: 0.0)
        program["RUNTIMES"][job["runtime"]] = lambda threads: SimpleNamespace(load=load, errors=(RuntimeError,))
        program.update(emit=lambda **event: events.append(event), time=self.clock, gc=quiet, os=quiet)
        program["AID"].update(
            runtime_of=lambda kinds, job: kinds[job["runtime"]](job["threads"]),
            Inputs=lambda *_: None,
            Evict=lambda: None,
            evicting_bytes=lambda: 0,
            OtherWork=lambda _: idle,
            Loaded=Counting,
        )
        if job["models"]:
            self.begun()
            with contextlib.suppress(SystemExit):  # of a model that fails, which was told
                program["measure"](job)
        return [*events, {"event": "done"}]

    def _facts(self) -> dict[str, Any]:
        unknown = dict.fromkeys(("governor", "temperature_c", "clock_ns", "free_bytes"))
        known = {"cpu": {"model name": self.cpu}, "logical_cores": 4, "platform": "none", "python": "3.11"}
        return known | unknown | {"packages": {"onnxruntime": "1.0.0"}}
