"""Work on many devices at once, so that one that fails costs nothing but its own.

A thread for each machine is enough: it waits for what a process on the device, or a child of this one, measures.
Devices that are one machine, such as two runtimes of one board, take turns, as each would disturb the other.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from hwnas.devices.device import Device
from hwnas.display import counted
from hwnas.errors import HwnasError
from hwnas.progress import Advance, Progress

T = TypeVar("T")

_END_S = 5.0  # that interrupted threads are waited for; they are daemons, and end with the process


def machine_of(device: Device) -> tuple[str, ...]:
    """What devices share that are one machine, as far as their descriptions say."""
    if device.ssh is not None:
        return ("ssh", device.ssh.host, str(device.ssh.port))
    return ("adb", device.adb.serial or "") if device.adb is not None else (device.transport,)


def on_each(
    devices: Mapping[str, Device], work: Callable[[Device, Progress], T], progress: Progress, *, label: str
) -> dict[str, T | HwnasError]:
    """What `work` returns or raises for each device, in the order of `devices`.

    Ctrl-C ends the work on all of them at its next report.

    Args:
        devices: by what the user calls them.
        work: called in a thread of the device's machine; it reports to the `Progress` that it is given.
        progress: hears all of them, a task more for the whole, and may be called from several threads.
        label: of that task, such as "profiling"; the number of devices is added.

    Returns:
        results and errors by name. What is no `HwnasError` becomes one: it is a defect, and ends no other device.
    """
    machines: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, device in devices.items():
        machines[machine_of(device)].append(name)
    ended: queue.SimpleQueue[tuple[str, T | HwnasError]] = queue.SimpleQueue()
    stop = threading.Event()

    def run(names: list[str]) -> None:
        with contextlib.suppress(_Stopped):
            for name in names:
                ended.put((name, _outcome(work, devices[name], _Stoppable(progress, name, stop))))

    threads = [threading.Thread(target=run, args=(names,), daemon=True) for names in machines.values()]
    found: dict[str, T | HwnasError] = {}
    try:
        with progress.track(f"{label} {counted(len(devices), 'device')}", len(devices)) as advance:
            for thread in threads:
                thread.start()
            while len(found) < len(devices):
                name, found[name] = ended.get()
                failed = isinstance(found[name], HwnasError)
                advance(1, f"{name} {'failed' if failed else 'done'}")
    finally:
        stop.set()
        for thread in threads:
            if thread.is_alive():
                thread.join(_END_S / len(threads))
    return {name: found[name] for name in devices}


def _outcome(work: Callable[[Device, Progress], T], device: Device, progress: Progress) -> T | HwnasError:
    try:
        return work(device, progress)
    except HwnasError as error:
        return error
    except Exception as error:
        defect = HwnasError(f"{type(error).__name__}: {error}", hint="this is a defect: please report it")
        defect.__cause__ = error
        return defect


class _Stopped(BaseException):
    """The user wants no more."""


class _Stoppable:
    """The reports of one device: messages name it, and each report ends the work once that is to stop."""

    def __init__(self, outer: Progress, name: str, stop: threading.Event) -> None:
        self._outer, self._name, self._stop = outer, name, stop

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        self._check()
        with self._outer.track(label, total, done=done) as outer:

            def advance(steps: int = 1, note: str = "") -> None:
                self._check()
                outer(steps, note)

            yield advance

    def say(self, message: str) -> None:
        self._check()
        self._outer.say(f"{self._name}: {message}")

    def record(self, entry: Mapping[str, Any]) -> None:
        self._check()
        self._outer.record(entry)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped
