"""Measure models on a device, round by round, and go on where a cut link left off."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hwnas.devices.device import Device
from hwnas.devices.estimate import by_name
from hwnas.devices.job import Inputs, Job
from hwnas.devices.link import RECONNECT_S, link_to
from hwnas.devices.rounds import Round
from hwnas.devices.statistic import COLD_CALLS
from hwnas.errors import InputError, UnreachableError
from hwnas.progress import Progress, Silent

ROUND_MS = Job.round_ms
_FRUITLESS = 3  # times in a row that the link may be cut before a single round comes


class Stream(Protocol):
    """Anything that measures as `stream_rounds` does."""

    def __call__(
        self,
        device: Device,
        models: Mapping[str, Path],
        reference: Path,
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
    reference: Path,
    *,
    rounds: int = 7,
    round_ms: float = ROUND_MS,
    first_round: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    stall_s: float = Job.stall_s,
    memory_bytes: int | None = None,
    singles: bool = False,
    cold: bool = False,
    inputs: Mapping[str, Inputs] | None = None,
    label: str = "measuring",
) -> Generator[Round, None, None]:
    """Measure every model `rounds` times in one fresh process, and give each round as soon as it is known.

    Where the link to the device is cut, it is made again, and a further process measures the rounds that are missing;
    their numbers go on from the last one. Closing the iterator, or any exception, ends the process.

    Args:
        models: name to model file; names are free text.
        reference model: the reference model that is timed around every group of models.
        round_ms: how long a model is timed in one round, in milliseconds.
        first_round: number of the first round; it is the process's number as well.
        seed: of the inputs and of the order in which a round visits the models.
        stall_s: longest silence of the process before it is taken for dead, in seconds.
        cold: whether rounds tell of calls after work that evicts caches, too; not where benchmark_model measures.
        memory_bytes, singles, inputs: as in `Job`.
        label: what the task is called in progress, such as "measuring 10 rows"; the device is added.

    Raises:
        InputError: fewer than one round, or no time for one.
        ModelError: a model cannot be loaded or run.
        DeviceError: the process dies or hangs.
        UnreachableError: the device cannot be reached, or not again within 120 s after the link was cut.
    """
    if rounds < 1 or round_ms <= 0:
        raise InputError(f"rounds must be at least 1 and round_ms above 0, not {rounds} and {round_ms}")
    if not models:
        return
    progress = progress or Silent()
    taken: list[Round] = []
    names, count, fruitless = list(models), rounds, 0
    link = link_to(device)
    with progress.track(f"{label} on {device.id}", rounds * len(models)) as advance:
        while names:
            own = {name: models[name] for name in names}
            before = len(taken)
            job = Job(
                own,
                reference,
                count,
                round_ms,
                first_round,
                seed,
                stall_s=stall_s,
                memory_bytes=memory_bytes,
                singles=singles,
                cold=COLD_CALLS if cold else 0,
                inputs={name: one for name, one in (inputs or {}).items() if name in own},
            )
            try:
                with contextlib.closing(link.events(job, progress)) as events:
                    for event in events:
                        if event["event"] == "round":
                            advance()
                            taken.append(Round.from_json(event))
                            yield taken[-1]
            except UnreachableError as error:
                fruitless = 0 if len(taken) > before else fruitless + 1
                if fruitless == _FRUITLESS:
                    raise
                progress.say(f"{error}: trying to reach {device.id} again for up to {RECONNECT_S:g} s")
                link.reconnect()
            names, count = missing(models, taken, rounds)
            first_round = 1 + max((one.round for one in taken), default=first_round - 1)


def missing(models: Mapping[str, Path], taken: Sequence[Round], rounds: int) -> tuple[list[str], int]:
    """Models with fewer than `rounds` rounds, and how many rounds all of them lack at least."""
    own = by_name(taken)
    lacks = {name: rounds - len(own.get(name, [])) for name in models}
    lacking = {name: count for name, count in lacks.items() if count > 0}
    return list(lacking), min(lacking.values(), default=0)


def measure(
    device: Device,
    models: Mapping[str, Path],
    reference: Path,
    *,
    rounds: int = 7,
    round_ms: float = ROUND_MS,
    first_round: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    label: str = "measuring",
) -> list[Round]:
    """All rounds of `stream_rounds`; see there."""
    stream = stream_rounds(
        device,
        models,
        reference,
        rounds=rounds,
        round_ms=round_ms,
        first_round=first_round,
        seed=seed,
        progress=progress,
        label=label,
    )
    with contextlib.closing(stream):
        return list(stream)
