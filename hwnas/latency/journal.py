"""Rounds that a table is made of, kept on disk while they are measured, so that an interruption loses none."""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

from hwnas.devices.device import Device
from hwnas.devices.profile import profile_rounds
from hwnas.devices.rounds import Round
from hwnas.display import counted
from hwnas.errors import InputError
from hwnas.files import sha256, storage_errors, write_text
from hwnas.latency.calibrate import VERDICT_ROUNDS
from hwnas.progress import Progress, Within
from hwnas.schema import json_as, lines_of

_ROUNDS_PER_PROCESS = 5
_PROCESSES = 2
_MOST_PASSES = 6  # over the models that ran in a burst, or are not settled
_SETTLED = 0.02  # by which the two fastest processes may differ; undisturbed ones do by 0.4 to 1.7 %


def measuring(rows: int, networks: int) -> str:
    """What the measurement of so many rows and whole networks is called in progress."""
    parts = [counted(rows, "row")] * bool(rows) + [counted(networks, "whole network")] * bool(networks)
    return f"measuring {' and '.join(parts)}"


def kept_rounds(
    journal: Path,
    device: Device,
    models: dict[str, Path],
    reference: Path,
    seed: int,
    progress: Progress,
    *,
    label: str = "measuring",
    started: float = 0.0,
    max_minutes: float = math.inf,
) -> list[Round]:
    """Rounds of two processes, and of more where they were disturbed or are not settled; `journal` holds them.

    What it holds already of the same models is not measured again.

    Args:
        label: what is measured, for progress: one task, as long as both processes.
        started: on the monotonic clock, in seconds, where `max_minutes` limits the measurement.

    Raises:
        DeviceError: the device cannot measure.
        StorageError: the journal cannot be written.
    """
    with _Journal(journal, _digest(models)) as kept, contextlib.ExitStack() as stack:
        rounds, total = kept.rounds, _PROCESSES * _ROUNDS_PER_PROCESS * len(models)
        done = min(total, sum(one.name in models for one in rounds))
        advance = stack.enter_context(progress.track(f"{label} on {device.id}", total, done=done))
        within = Within(progress, advance, total - done, kind="measuring", beyond="again what was disturbed")
        for process in range(1, _PROCESSES + 1):
            rounds = profile_rounds(
                device,
                models,
                reference,
                rounds=process * _ROUNDS_PER_PROCESS,
                min_accepted=VERDICT_ROUNDS,
                max_extra=_MOST_PASSES if process == _PROCESSES else 0,
                tolerance=_SETTLED if process == _PROCESSES else None,
                deadline_s=_left_s(started, max_minutes, process),
                done=rounds,
                seed=seed,
                on_round=kept.add,
                progress=within,
            )
    return rounds


def _left_s(started: float, max_minutes: float, process: int) -> float | None:
    """Seconds that are left to the first processes of a measurement: an equal share of the time for each."""
    if max_minutes == math.inf:
        return None
    return started + 60 * max_minutes * process / _PROCESSES - time.monotonic()


def _digest(models: dict[str, Path]) -> str:
    return sha256("".join(f"{name} {sha256(path.read_bytes())}" for name, path in models.items()).encode())


class _Journal:
    """Rounds on disk, one JSON object a line after a line that names the models; what a kill cut short is dropped."""

    def __init__(self, path: Path, models: str) -> None:
        self._path = path
        self._head = json.dumps({"models": models})
        self.rounds: list[Round] = []

    def __enter__(self) -> _Journal:
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        head, *lines = lines_of(self._path) or [""]
        for line in lines if head == self._head else []:
            try:
                content = json_as(line, dict[str, Any], self._path)
                self.rounds.append(Round.from_json(content, self._path, InputError))
            except InputError:
                break
        kept = [self._head, *(json.dumps(one.to_json()) for one in self.rounds)]
        write_text(self._path, "\n".join(kept) + "\n")
        with storage_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def add(self, one: Round) -> None:
        with storage_errors(self._path):
            self._file.write(json.dumps(one.to_json()) + "\n")
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        with storage_errors(self._path):
            self._file.close()
