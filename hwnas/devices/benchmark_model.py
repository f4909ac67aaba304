"""LiteRT's benchmark_model as what measures: the same events as the runner's, from a shell script that calls it.

It starts once for every round of a model and loads the model anew, which costs time but changes nothing that is timed.
It tells whole microseconds, and the 5th and 95th percentile where the runner tells the 10th and 90th. Older ones tell
no percentiles: their mean stands for the median, and the fastest and slowest run for these.

A delegate beside XNNPACK is one more option of it. Where it does not say that the delegate takes a part of the
reference model, nothing is measured, as it would run the model without.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hwnas.devices.job import GROUP, WARMUP_CALLS, Job
from hwnas.devices.runner import FIELDS, cpu_fields, groups
from hwnas.devices.transports import Transport
from hwnas.devices.transports.process import ProgramError
from hwnas.errors import DeviceError, UnreachableError

if TYPE_CHECKING:
    from hwnas.devices.device import Device

_WARM_S = 1.0
_HELLO = """cat /proc/cpuinfo
echo
echo "Hardware: $(getprop ro.product.manufacturer) $(getprop ro.product.model)"
echo "Hardware: $(getprop ro.soc.manufacturer) $(getprop ro.soc.model)"
echo "cores: $(nproc)"
echo "governor: $(cat /sys/devices/system/cpu/cpu$1/cpufreq/scaling_governor)"
echo "platform: Android $(getprop ro.build.version.release), Linux $(uname -r), $(uname -m)"
echo "providers: xnnpack $(grep -q use_gpu "$0" && echo gpu) $(grep -q use_nnapi "$0" && echo nnapi)"
echo "disk: $(df -k "${0%/*}" | tail -n 1)"
echo "checksum: $(sha256sum "$0")"
"""
_DONE = "nference timings in us"  # older ones begin it with 'Average'
_COUNT = re.compile(r"\bcount=(\d+)\b")
_VALUE = re.compile(r"\b(\w+)=(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.])")
_APPLIED = re.compile(r"\b(\w+) delegate\b.*model graph will (?:be (completely|partially)|not be) executed")
_KERNELS = re.compile(r"\b(\d+) delegate kernels")
_SPREADS = (("p5", "median", "p95"), ("min", "avg", "max"), ("curr", "curr", "curr"))
"""Low, middle and high, the best first; where all runs took as long, they tell but the current one."""
_MEAN = (
    "benchmark_model on {} is of a version that tells no median: its mean is taken, which disturbed runs raise; "
    "a newer benchmark_model tells better"
)


def benchmark_events(
    transport: Transport, device: Device, job: Job, files: Sequence[str]
) -> Generator[dict[str, Any], None, None]:
    """The events that `hwnas/devices/runner.py` would write, but 'warm'; without 'load', which is not measured.

    A {"event": "remark", "text"} is for people, once a device. Of a job that asks for offers, they are those of
    `hwnas/devices/runner_offers.py`, with partitions alone.

    Args:
        files: of the job, on the device.

    Raises:
        DeviceError: there is no such program on the device, or it fails.
        UnreachableError: as the transport.
    """
    assert device.adb is not None
    assert device.adb.runner is not None
    runner = device.adb.runner
    hello = _hello(transport, runner, device.pin)
    yield hello
    if not job.models:
        return
    if job.offers:
        for provider in hello["providers"]:
            yield _offer(transport, runner, provider, files[0], job.stall_s)
        return
    reference, where = files[0], dict(zip(job.models, files[1:], strict=True))
    bound = f"taskset {1 << device.pin:x} " if device.pin is not None else ""
    command = f"{bound}{shlex.quote(runner)} --num_threads={device.threads} --use_xnnpack=true --warmup_min_secs=0"
    command += "" if device.provider is None else f" --use_{device.provider}=true"
    steps = _steps(list(job.models), job)
    seconds = [_WARM_S] + [job.round_ms / 1e3] * (len(steps) - 1)
    calls = [
        _call(command, reference if name is None else where[name], own_s)
        for (name, _), own_s in zip(steps, seconds, strict=True)
    ]
    lines = transport.start(["sh"], "\n".join(["set -e", *calls, ""]).encode(), stall_s=job.stall_s)
    group: list[dict[str, Any]] = []
    before_us = 0.0
    with contextlib.closing(lines):
        for name, turn in steps:
            result, middle = _result(lines, name or "reference", None if name else device.provider)
            if middle == "avg":
                yield {"event": "remark", "text": _MEAN.format(device.id)}
            if name is None:
                reference_us = max(before_us, result["median_us"])
                yield from (one | {"reference_us": reference_us, "load": None} for one in group)
                group, before_us = [], result["median_us"]
            else:
                group.append({"event": "round", "name": name, "round": turn, "process": job.first_round} | result)


def _steps(names: list[str], job: Job) -> list[tuple[str | None, int]]:
    """What is measured one after the other, with its turn; None is the reference model, which first warms up."""
    steps: list[tuple[str | None, int]] = [(None, job.first_round)] * 2
    for turn in range(job.first_round, job.first_round + job.rounds):
        for group in groups(names, GROUP, job.seed, turn):
            steps += [*((name, turn) for name in group), (None, turn)]
    return steps


def _call(command: str, path: str, seconds: float) -> str:
    options = f"--graph={shlex.quote(path)} --min_secs={seconds:g} --num_runs=3 --warmup_runs={WARMUP_CALLS}"
    return f"{command} {options} </dev/null 2>&1"


def _offer(transport: Transport, runner: str, provider: str, path: str, stall_s: float) -> dict[str, Any]:
    """What a delegate takes of a model, as one call of it says."""
    found: dict[str, Any] = {"partitions": None, "taken": None, "operators": None}
    trouble = "it says nothing of this delegate"
    command = f"{_call(f'{shlex.quote(runner)} --use_{provider}=true', path, 0.0)}\n"
    try:
        with contextlib.closing(transport.start(["sh"], command.encode(), stall_s=stall_s)) as lines:
            for line in lines:
                said = line.decode(errors="replace").strip()
                if (partitions := _partitions(said, provider)) is not None:
                    found, trouble = found | {"partitions": partitions}, ""
    except ProgramError as error:
        trouble = str(error)
    return {"event": "offer", "provider": provider, "trouble": trouble} | found


def _partitions(line: str, provider: str) -> int | None:
    """Into how many parts the share of a delegate falls, where a line says that; 0 where it takes nothing."""
    match = _APPLIED.search(line)
    if match is None or match[1].lower() != provider:
        return None
    kernels = _KERNELS.search(line)
    return 0 if match[2] is None else int(kernels[1]) if kernels else 1


def _result(lines: Iterator[bytes], name: str, provider: str | None) -> tuple[dict[str, float], str]:
    """The statistics of one call, the last that it writes, after those of its warm-up; and what its median is there.

    Args:
        provider: a delegate that must take a part of the model.
    """
    said, found, delegate = "nothing", None, f"nothing of a delegate {provider}"
    takes = provider is None
    try:
        for line in lines:
            said = line.decode(errors="replace").strip() or said
            if provider is not None and (partitions := _partitions(said, provider)) is not None:
                delegate, takes = said, partitions > 0
            if _DONE in said:
                break
            found = _statistics(said) or found
    except UnreachableError:
        raise
    except DeviceError as error:
        ended = f", and was ended by {error.signal}" if isinstance(error, ProgramError) and error.signal else ""
        raise DeviceError(f"model {name!r}: benchmark_model says {said!r}{ended}", hint=error.hint) from error
    if not takes:
        raise DeviceError(
            f"the delegate {provider} does not take the reference model: benchmark_model says {delegate!r}",
            hint="leave the provider out, or put a benchmark_model on the device that was built with it",
        )
    if found is None:
        raise DeviceError(f"model {name!r}: benchmark_model says {said!r}, but no time", hint="put a newer one there")
    return found


def _statistics(line: str) -> tuple[dict[str, float], str] | None:
    """What a line with statistics says, and which of them stands for the median; None for another line."""
    count = _COUNT.search(line)
    values = {key: float(value) for key, value in _VALUE.findall(line)}
    for names in _SPREADS:
        if count is not None and values.keys() >= set(names):
            low, middle, high = (values[name] for name in names)
            return {"median_us": middle, "p10_us": low, "p90_us": high, "calls": int(count[1])}, names[1]
    return None


def _hello(transport: Transport, runner: str, pin: int | None) -> dict[str, Any]:
    command = ["sh", "-c", _HELLO, runner, str(pin or 0)]
    text = b"".join(transport.start(command, stall_s=60.0)).decode(errors="replace")
    fields = cpu_fields(text, pin)
    checksum = fields.get("checksum", "").split()[:1]
    if not checksum:
        raise DeviceError(
            f"there is no {runner} on the device",
            hint=f"adb push benchmark_model {runner}, then adb shell chmod +x {runner}",
        )
    disk = fields.get("disk", "").split()
    return {
        "event": "hello",
        "cpu": {name: value for name, value in fields.items() if name in FIELDS},
        "logical_cores": int(fields["cores"]) if fields.get("cores", "").isdigit() else None,
        "governor": fields.get("governor"),
        "temperature_c": None,
        "platform": fields.get("platform", "Android"),
        "python": None,
        "packages": {"benchmark_model": checksum[0][:8]},
        "clock_ns": None,
        "providers": fields.get("providers", "").split(),
        "free_bytes": int(disk[3]) * 1024 if len(disk) > 3 and disk[3].isdigit() else None,
    }
