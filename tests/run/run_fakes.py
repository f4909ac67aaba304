"""A machine whose latencies are known, images that are drawn, and runs of seconds: what whole runs are tested on.

As a program it is `hwnas` on that machine, and kills itself with SIGKILL right before or after a file of that name is
put in place for the n-th time:

    python run_fakes.py before|after NAME N search --budget-ms ...

With `real` for these three words it measures on the real machine, and only the trainings are short; with `threads`,
threads of this process train for scores besides.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hwnas.arch import OpSpec, SlotSpace, space_instance
from hwnas.backends.model_format import format_of
from hwnas.config import Configuration
from hwnas.config.flat import PLACES
from hwnas.data import encoded_source
from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of
from hwnas.devices.verdict import MIN_PROCESSES, State, Verdict
from hwnas.executors import local_executor
from hwnas.executors.task import Common, Work, answer, function_at
from hwnas.exporting import quantise_aware
from hwnas.latency.missing_rows import MissingRows
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import Calibration, LatencyTable, Row, Validation
from hwnas.latency.table_files import save_table
from hwnas.nas import loop_memory, select
from hwnas.nas.search_settings import SearchSettings
from hwnas.parents import ParentWeights, distil
from hwnas.run import forecast, latency_stage, measured_check, step_limit
from hwnas.train import Recipe
from hwnas.train.step_memory import StepMemory

SPACE: SlotSpace = space_instance("toy", width=1.0, resolution=8, channels=3, classes=3)
SETTINGS = SearchSettings(warmup_epochs=1, epochs=2, batch_size=16, candidates=2)
RECIPE = Recipe(epochs=2, batch_size=16)
COUNTS = {module: module._counted for module in (loop_memory, distil, step_limit)}
COUNTED = dict[tuple[object, ...], StepMemory]()
COLOURS = {"red": (220, 60, 60), "green": (60, 220, 60), "blue": (60, 60, 220)}


def draw_images(root: Path, *, count: int = 20, size: int = 12) -> Path:
    """A folder of three classes: plain colours in noise."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(rng.normal(colour, 40, (size, size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


def sections(changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Values by section, from the short names that options had in the flat files of earlier versions."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        section, option = PLACES[name].split(".")
        found.setdefault(section, {})[option] = value
    return found


def changed(config: Configuration, **changes: Any) -> Configuration:
    """A copy with other values, named as for `sections`."""
    return config.changed(**sections(changes))


def a_config(images: Path, **changes: Any) -> Configuration:
    """Of the made-up machine, from random weights; changes are named as for `sections`."""
    usual = {"budget": "60%", "data": str(images), "space": "toy", "width": 1.0, "resolution": 8, "accelerator": "cpu"}
    return Configuration.model_validate(sections(usual | {"init": ""} | changes))


def row_ms(spec: OpSpec, salt: str = "") -> float:
    """Milliseconds of an op on the made-up machine, or on another one by a salt: 1 to 2, and no two alike."""
    return 1.0 + int(hashlib.sha256(f"{spec.key}{salt}".encode()).hexdigest(), 16) % 100_000 / 1e5


def write_table(
    tables: Path,
    *,
    factor: float = 1.0,
    spaces: Sequence[SlotSpace] = (SPACE,),
    runtime: str = "",
    precision: str = "",
    salt: str = "",
) -> Path:
    """A complete table of the made-up machine, for the condition of this one; of another machine by a salt."""
    device = load_device("host").with_runtime(runtime, precision)
    condition, fingerprint = condition_of(device), format_of(device.runtime, device.precision).fingerprint
    table = LatencyTable(condition, reference_us=100.0)
    for space in spaces:
        for spec in space.ops:
            us = row_ms(spec, salt) * factor * 1e3
            table.rows[spec.key] = Row(spec.key, fingerprint(spec), us, us, us, 10, "2026-01-01T00:00:00+00:00")
        table.calibrations[space.signature] = Calibration(1.0, 0.0, 0.0, 24)
        table.validations[space.signature] = Validation(24, 1.0, 1.0, 0.01, 1.0, 1.0, 0.01, 0.01)
    save_table(table, tables / condition.folder)
    return tables


def counted_once(module: Any) -> Callable[..., StepMemory]:
    """What counts the memory of a step there, once for all plans of a space; hwnas counts anew for every plan."""

    def counted(space: Any, *others: Any) -> StepMemory:
        parts = [(one.parent.name, one.width, one.classes) if isinstance(one, ParentWeights) else one for one in others]
        key = (module, space.signature, space.options, space.ops, *parts)
        if key not in COUNTED:
            with torch.random.fork_rng(devices=[]):  # so that a run draws the same whether it counts or not
                COUNTED[key] = COUNTS[module](space, *others)
        return COUNTED[key]

    return counted


class FakeVerdicts:
    """In place of `measure_verdict`: the states in turn, the last one for ever; a miss is a tenth above the budget."""

    def __init__(self, *states: State) -> None:
        self.states = list(states) or ["met"]
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def __call__(
        self,
        device: Any,
        models: Mapping[str, Path],
        reference: Path,
        *,
        budget_ms: float,
        processes: int = 15,
        **_: Any,
    ) -> dict[str, Verdict]:
        assert reference.is_file()
        assert all(path.is_file() for path in models.values())
        self.asked.append((tuple(models), processes))
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        median = budget_ms * {"met": 0.9, "missed": 1.1, "too close": 1.001, "unstable": 1.0}[state]
        verdict = Verdict(median, median * 1.1, (0.99 * median, 1.01 * median), 60, 0.1, median, state, processes=5)
        return dict.fromkeys(models, verdict)


def install(put: Callable[[object, str, object], None], measure_verdict: FakeVerdicts | None = None) -> None:
    """Replace the clock by the made-up machine, and long trainings by short ones.

    An image takes a millisecond in a training there, and no thread reads ahead: to start one at every epoch is an
    eighth of such a run. Runs with `install_short` alone have these threads.
    """
    put(encoded_source, "loader_threads", lambda _: 0)
    for module in COUNTS:
        put(module, "_counted", counted_once(module))
    put(forecast, "_image_s", lambda *_: 0.001)
    put(latency_stage, "drifted", lambda table, space, device: (MissingRows((), calibration=False), 0.0))
    put(measured_check, "measure_verdict", measure_verdict or FakeVerdicts())
    install_short(put)


def install_short(put: Callable[[object, str, object], None]) -> None:
    """Replace long trainings, timings and verdicts by short ones, and 1,000 images a score by the validation images."""
    put(forecast, "_LIMIT_S", 0.0)  # two steps
    put(measured_check, "_CHECK_PROCESSES", MIN_PROCESSES)
    put(measured_check, "_VERDICT_PROCESSES", MIN_PROCESSES)
    put(select, "_passes", lambda images: 1)
    put(quantise_aware, "_STEPS", 4)
    put(SearchSettings, "for_images", classmethod(lambda cls, images: SETTINGS))
    put(Recipe, "for_images", classmethod(lambda cls, images: RECIPE))


class WorkerHere:
    """Stands for a process that trains architectures for their scores: trains them in this one, one after another."""

    lock = threading.Lock()

    def __init__(self, work: Work) -> None:
        self.function, self.common = function_at(work.function), Common.read(work.folder)

    def ask(self, task: str) -> str:
        with self.lock, torch.random.fork_rng():
            return answer(self.function, self.common, task)

    def kill(self) -> None:
        """There is no process."""

    def close(self) -> None:
        """There is nothing that leads to it."""


def install_short_scores(put: Callable[[object, str, object], None]) -> None:
    """One candidate and its neighbours, trained for their scores in this process."""
    put(SearchSettings, "for_images", classmethod(lambda cls, images: cls(candidates=1)))
    put(local_executor, "_Worker", WorkerHere)


def latencies(salt: str = "") -> LatencyModel:
    """The latency model of the made-up machine, or of another one by a salt."""
    from hwnas.latency.space_latency import latency_model

    return latency_model(SPACE, partial(row_ms, salt=salt), sigma=0.01)


def on_replace(act: Callable[[], None], when: str, name: str, nth: int) -> Callable[[Path, Path], Path]:
    """A `Path.replace` that calls `act` before or after the n-th file called `name` ('*': any) is put in place."""
    replace, seen = Path.replace, 0

    def counting(self: Path, target: Path) -> Path:
        nonlocal seen
        hit = False
        if name in ("*", Path(target).name):
            seen += 1
            hit = seen == nth
        if hit and when == "before":
            act()
        result = replace(self, target)
        if hit and when == "after":
            act()
        return result

    return counting


if __name__ == "__main__":
    if sys.argv[1] in ("real", "threads"):
        install_short(setattr)
        if sys.argv[1] == "threads":
            local_executor._Worker = WorkerHere  # type: ignore[assignment,misc]
        arguments = sys.argv[2:]
    else:
        when, name, nth, *arguments = sys.argv[1:]
        install(setattr)
        Path.replace = on_replace(  # type: ignore[method-assign]
            lambda: os.kill(os.getpid(), signal.SIGKILL), when, name, int(nth)
        )
    from hwnas.cli import app

    app(arguments)
