"""What one measuring process is asked for, and how Python on the device is asked: a JSON job, answered line by line."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwnas.backends import npm, ort_web
from hwnas.devices.rounds import ANSWER
from hwnas.devices.transports import Transport
from hwnas.devices.transports.process import HINT
from hwnas.errors import DeviceError, ModelError, UnreachableError
from hwnas.runtimes import RUNTIMES
from hwnas.schema import json_as

if TYPE_CHECKING:
    from hwnas.devices.device import Device

GROUP = 8
WARMUP_CALLS = 2
_GRACE_S = 10.0  # a program that is silent ends by itself, and is ended from here where it cannot
_RUNNER = Path(__file__).with_name("runner.py")
_AID = Path(__file__).with_name("runner_aid.py")
_SUSTAINED = Path(__file__).with_name("runner_sustained.py")
_OUTPUTS = Path(__file__).with_name("runner_outputs.py")
_OFFERS = Path(__file__).with_name("runner_offers.py")


@dataclass(frozen=True)
class Inputs:
    """What the inputs of one model are, where they are not random values of the shapes in the file.

    Attributes:
        shapes: by name of the input; else an unknown size is 1.
        ranges: of random values by name of the input, both ends included.
        arrays: names of the inputs that `file` holds.
        file: an .npz file with their arrays under "arr_0", "arr_1" and so on, in this order.
    """

    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    arrays: Sequence[str] = ()
    file: Path | None = None


@dataclass(frozen=True)
class Job:
    """Rounds of some models in one process; without models, only what the device says of itself.

    Attributes:
        models: name to model file; names are free text.
        reference model: the reference model that is timed around every group of models.
        round_ms: how long a model is timed in one round, in milliseconds.
        first_round: number of the first round; it is the process's number as well.
        seed: of the inputs and of the order in which a round visits the models.
        session: who asks; a device that is not the host serves one at a time.
        stall_s: longest silence of the device before it is taken for dead, in seconds.
        memory_bytes: the most that the process may allocate, where its system can limit that, besides what it takes to
            evict caches; None does not limit it.
        kept_bytes: files of so much in all are loaded once; of more, models are loaded group by group in every round,
            so that the device holds no more of them than are timed.
        singles: whether rounds tell the times of single calls too.
        cold: how many calls of a round come after work that evicts caches, each after its own.
        inputs: by the name of the model.
        sustained_s: instead of rounds, run the one model without pause for so many seconds; 0 does not.
        slices: into how many slices these are divided.
        images: instead of rounds, compute what the one model makes of the images in this .npy file; see
            `hwnas/devices/runner_outputs.py`. There is no reference model then.
        offers: instead of rounds, tell what each provider takes of the one model; alike.
    """

    models: Mapping[str, Path] = field(default_factory=dict)
    reference: Path | None = None
    rounds: int = 0
    round_ms: float = 15.0
    first_round: int = 0
    seed: int = 0
    session: str | None = None
    stall_s: float = 120.0
    memory_bytes: int | None = None
    kept_bytes: int = 128 << 20
    singles: bool = False
    cold: int = 0
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    sustained_s: float = 0.0
    slices: int = 0
    images: Path | None = None
    offers: bool = False

    @property
    def files(self) -> list[Path]:
        """The reference model, then the models, then the files of their inputs and the images."""
        beside = [*(one.file for one in self.inputs.values()), self.images]
        return [path for path in (self.reference, *self.models.values(), *beside) if path is not None]

    @property
    def work(self) -> Path | None:
        """The program that does something else than time rounds."""
        if self.offers:
            return _OFFERS
        return _SUSTAINED if self.sustained_s else None if self.images is None else _OUTPUTS


def python_events(
    transport: Transport, device: Device, job: Job, files: Sequence[str]
) -> Generator[dict[str, Any], None, None]:
    """The events of `hwnas/devices/runner.py`, or of the job's work, which are copied to the device.

    `files` are those of the job there.

    Raises:
        DeviceError, UnreachableError: as `events`, and as the transport.
    """
    assert device.python is not None
    own = [_RUNNER, _AID, *([] if job.work is None else [job.work])]
    program, aid, *work = transport.put(own, lambda steps=1, note="": None)
    there = dict(zip(job.files, files, strict=True))
    content = {
        "runtime": device.runtime,
        "provider": device.provider,
        "threads": device.threads,
        "pin": device.pin,
        "governor": device.governor,
        "session": job.session,
        "web": [ort_web.__file__, str(npm.folder())] if RUNTIMES[device.runtime].in_node else None,
        "models": [[name, there[path]] for name, path in job.models.items()],
        "reference": None if job.reference is None else there[job.reference],
        "rounds": job.rounds,
        "first_round": job.first_round,
        "round_ms": job.round_ms,
        "warmup": WARMUP_CALLS,
        "group": GROUP,
        "seed": job.seed,
        "singles": job.singles,
        "cold": job.cold,
        "inputs": {
            name: asdict(one) | {"file": None if one.file is None else there[one.file]}
            for name, one in job.inputs.items()
        },
        "aid": aid,
        "stall_s": job.stall_s,
        "memory_bytes": job.memory_bytes,
        "kept_bytes": job.kept_bytes,
        "work": work[0] if work else None,
        "sustained_s": job.sustained_s,
        "slices": job.slices,
        "images": None if job.images is None else there[job.images],
        "offers": job.offers,
    }
    command = [device.python] if device.transport == "local" else shlex.split(device.python)
    stall_s = job.stall_s + _GRACE_S
    return events(transport.start([*command, program], json.dumps(content).encode(), stall_s=stall_s))


def events(lines: Generator[bytes, None, None]) -> Generator[dict[str, Any], None, None]:
    """What a program writes as JSON lines, up to and without {"event": "done"}; closing it ends the program.

    Raises:
        ModelError: it reports that a model cannot be loaded or run.
        DeviceError: it reports another error, ends before it is done, or writes what is not JSON; where it told which
            model it was at, that is named.
    """
    at = ""
    with contextlib.closing(lines):
        while True:
            try:
                line = next(lines, None)
            except UnreachableError:
                raise
            except DeviceError as error:
                raise DeviceError(f"{error}{at}", hint=error.hint) from error.__cause__
            if line is None:
                raise DeviceError(f"measuring ended before it was done{at}", hint=HINT)
            event = _event(line)
            if event["event"] == "loading":
                at = f" while it loaded model {event.get('name')!r}, or ran it for the first time"
            elif event["event"] == "running":
                at = f" while it ran model {' or '.join(map(repr, event.get('names', [])))}"
            elif event["event"] == "done":
                return
            else:
                at = "" if event["event"] == "loaded" else at
                yield event


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json_as(line, dict[str, Any], ANSWER, error=DeviceError, hint=HINT)
    except DeviceError as error:
        raise DeviceError(f"measuring answered {line[:200]!r}, which is no event: {error}", hint=HINT) from error
    if "event" not in event:
        raise DeviceError(f"measuring answered {line[:200]!r}, which is no event", hint=HINT)
    if event["event"] == "error":
        kind = ModelError if "model" in event else DeviceError
        raise kind(f"measuring failed: {event.get('message')}", hint=str(event.get("hint", HINT)))
    return event
