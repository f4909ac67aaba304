"""Measure models on a device, in one process, round by round."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Protocol

from hwnas.devices.device import Device
from hwnas.devices.process import events
from hwnas.devices.rounds import Round
from hwnas.errors import InputError
from hwnas.progress import Progress, Silent

ROUND_MS = 15.0
WARMUP_CALLS = 2
GROUP = 8
_RUNNER = Path(__file__).with_name("runner.py")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Stream(Protocol):
    """Anything that measures as `stream_rounds` does."""

    def __call__(
        self,
        device: Device,
        models: Mapping[str, Path],
        canary: Path,
        *,
        rounds: int,
        round_ms: float,
        first_round: int,
        seed: int,
        progress: Progress,
    ) -> Generator[Round, None, None]: ...


def stream_rounds(
    device: Device,
    models: Mapping[str, Path],
    canary: Path,
    *,
    rounds: int = 7,
    round_ms: float = ROUND_MS,
    first_round: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    stall_s: float = 120.0,
) -> Generator[Round, None, None]:
    """Measure every model `rounds` times in one fresh process, and give each round as soon as it is known.

    Closing the iterator, or any exception, ends that process.

    Args:
        models: name to model file; names are free text.
        canary: the reference model that is timed around every group of models.
        round_ms: how long a model is timed in one round, in milliseconds.
        first_round: number of the first round; it is the process's number as well.
        seed: of the inputs and of the order in which a round visits the models.
        stall_s: longest silence of the process before it is taken for dead, in seconds.

    Raises:
        InputError: fewer than one round, or no time for one.
        DeviceError: a model cannot be loaded or run, or the process dies or hangs.
    """
    if rounds < 1 or round_ms <= 0:
        raise InputError(f"rounds must be at least 1 and round_ms above 0, not {rounds} and {round_ms}")
    if not models:
        return
    job = {
        "models": [[name, str(path)] for name, path in models.items()],
        "canary": str(canary),
        "threads": device.threads,
        "rounds": rounds,
        "first_round": first_round,
        "round_ms": round_ms,
        "warmup": WARMUP_CALLS,
        "group": GROUP,
        "seed": seed,
        "pin": device.pin,
    }
    environment = dict(os.environ) | dict.fromkeys(_THREAD_VARIABLES, str(device.threads))
    lines = events([sys.executable, str(_RUNNER)], job, environment=environment, stall_s=stall_s)
    label = f"measuring on {device.id}"
    with (
        contextlib.closing(lines),
        (progress or Silent()).track(label, rounds * len(models)) as advance,
    ):
        for event in lines:
            if event["event"] == "round":
                advance()
                yield Round.from_json(event)


def measure(
    device: Device,
    models: Mapping[str, Path],
    canary: Path,
    *,
    rounds: int = 7,
    round_ms: float = ROUND_MS,
    first_round: int = 0,
    seed: int = 0,
    on_round: Callable[[Round], None] | None = None,
    progress: Progress | None = None,
) -> list[Round]:
    """All rounds of `stream_rounds` (see there); `on_round` is called with each as it comes."""
    taken: list[Round] = []
    stream = stream_rounds(
        device,
        models,
        canary,
        rounds=rounds,
        round_ms=round_ms,
        first_round=first_round,
        seed=seed,
        progress=progress,
    )
    with contextlib.closing(stream):
        for one in stream:
            taken.append(one)
            if on_round is not None:
                on_round(one)
    return taken
