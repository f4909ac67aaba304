"""A device in reach: the way to it, what it says of itself, and what to do when the link to it is cut."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import time
import uuid
from collections.abc import Collection, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwnas.backends import npm
from hwnas.devices.benchmark_model import benchmark_events
from hwnas.devices.device import Condition, Device
from hwnas.devices.host import Facts, cpu_slug
from hwnas.devices.job import Job, python_events
from hwnas.devices.transports import Transport
from hwnas.devices.transports.adb import Adb
from hwnas.devices.transports.local import Local
from hwnas.devices.transports.process import HINT
from hwnas.devices.transports.ssh import Ssh
from hwnas.errors import DeviceError, UnreachableError
from hwnas.progress import Progress, Silent
from hwnas.runtimes import RUNTIMES

RECONNECT_S = 120.0
_LONGEST_PAUSE_S = 8.0
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_!-]{0,63}")


class Link:
    """An open way to a device.

    Attributes:
        facts: what the device says of itself, asked when the link is made.
        condition: what its latencies hold under.

    Raises:
        UnreachableError: the device does not answer.
        DeviceError: it answers, but cannot measure.
    """

    def __init__(self, device: Device) -> None:
        self._device, self._runtime = device, RUNTIMES[device.runtime]
        self._session = None if device.transport == "local" else uuid.uuid4().hex
        self._transport = open_transport(device)
        self._copied: set[tuple[Path, str]] = set()  # from here to there
        self._remarks: set[str] = set()
        try:
            if self._runtime.in_node:
                npm.install()
            with contextlib.closing(self._events(Job(), [])) as stream:
                self.facts = self._hello(stream)
        except DeviceError as error:  # there are no models yet that could be at fault
            self._transport.close()
            if isinstance(error, UnreachableError) or error.hint not in ("", HINT) or not device.python_hint:
                raise
            raise DeviceError(f"device {device.id!r} gives no answer: {error}", hint=device.python_hint) from error
        except BaseException:
            self._transport.close()
            raise

    @property
    def condition(self) -> Condition:
        return self._condition(self.facts)

    def _condition(self, facts: Facts) -> Condition:
        device = self._device
        version = self._runtime.version(facts.packages)
        if version is None:
            raise DeviceError(
                f"device {device.id!r} has no {device.runtime}",
                hint=self._runtime.install_hint(device.python),
            )
        if not _VERSION.fullmatch(version):  # it names a folder
            raise DeviceError(
                f"device {device.id!r} says that its {device.runtime} is of version {version[:100]!r}, which is none",
                hint=self._runtime.install_hint(device.python),
            )
        provider = device.provider or ""
        if provider and provider not in (facts.providers or ()):
            raise DeviceError(
                f"device {device.id!r} has no provider {provider!r}: its {device.runtime} {version} offers "
                f"{' and '.join(facts.providers or (self._runtime.usual_provider,))}",
                hint=self._runtime.providers[provider],
            )
        return Condition(cpu_slug(facts.cpu), device.runtime, version, device.threads, device.precision, provider)

    def events(self, job: Job, progress: Progress) -> Generator[dict[str, Any], None, None]:
        """Copy the models of `job`, measure them, and give the events but 'hello' as they come.

        Raises:
            UnreachableError: the link was cut.
            DeviceError: the device fails, or is no longer of the condition that it was.
        """
        quick = self._session is None or {path for path, _ in self._copied} >= set(job.files)
        label = f"copying models to {self._device.id}"
        with (Silent() if quick else progress).track(label, len(job.files)) as advance:
            files = self._transport.put(job.files, advance)
        self._copied.update(zip(job.files, files, strict=True))
        with contextlib.closing(self._events(job, files)) as stream:
            now = self._condition(self._hello(stream))
            if now != self.condition:
                raise DeviceError(
                    f"device {self._device.id!r} was {self.condition.folder}, and is {now.folder} now",
                    hint="run the same command again: its table is another one",
                )
            for event in stream:
                if event["event"] == "remark":
                    self._remark(event["text"], progress)
                else:
                    yield event

    def _remark(self, text: str, progress: Progress) -> None:
        """Say what the device remarks, once."""
        if text not in self._remarks:
            self._remarks.add(text)
            progress.say(text)

    def _events(self, job: Job, files: list[str]) -> Generator[dict[str, Any], None, None]:
        drive = python_events if self._device.python is not None else benchmark_events
        return drive(self._transport, self._device, replace(job, session=self._session), files)

    def _hello(self, stream: Generator[dict[str, Any], None, None]) -> Facts:
        """What the device says of itself first, and what npm installed here."""
        facts = Facts.from_json(next(stream, {}))
        if self._runtime.in_node:
            return replace(facts, packages={**facts.packages, **npm.packages()})
        return facts

    def reconnect(self) -> None:
        """Make the link again after it was cut.

        Raises:
            UnreachableError: it could not be made within 120 s.
            DeviceError: the device answers, but not as it did.
        """
        self._transport.close()
        end, pause_s = time.monotonic() + RECONNECT_S, 1.0
        while True:
            try:
                self._transport = open_transport(self._device)
                return
            except UnreachableError as error:
                if time.monotonic() + pause_s > end:
                    raise UnreachableError(
                        f"the link to {self._device.id} could not be made again within {RECONNECT_S:g} s: {error}",
                        hint=error.hint,
                    ) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def forget(self, paths: Collection[Path]) -> None:
        """Remove these files from the device, if it is still there and they were copied to it."""
        names = {there for path, there in self._copied if path in paths}
        if names:
            with contextlib.suppress(DeviceError):
                self._transport.remove(sorted(names))
            self._copied = {(path, there) for path, there in self._copied if there not in names}

    def close(self) -> None:
        """Remove the models that were copied to the device, if it is still there, and leave it."""
        if self._copied:
            with contextlib.suppress(DeviceError):
                self._transport.remove(sorted({name for _, name in self._copied}))
            self._copied.clear()
        self._transport.close()


@functools.cache
def link_to(device: Device) -> Link:
    """The link to a device, which lasts as long as this process."""
    link = Link(device)
    atexit.register(link.close)
    return link


def condition_of(device: Device) -> Condition:
    """The condition that its latencies hold under: the CPU and the runtime that are there.

    The device is asked once a process; one that an imported table alone speaks of is not asked. onnxruntime-web is
    installed where it is not there yet.

    Raises:
        UnreachableError: it does not answer.
        DeviceError: the runtime is not installed on it, or cannot be.
    """
    if not device.reachable:
        return Condition.of_imported_table(device.id)
    return link_to(device).condition


def open_transport(device: Device) -> Transport:
    """A way to the device.

    Raises:
        UnreachableError: it does not answer, or nobody said where it is.
        DeviceError: it does not let us in, or the program that reaches it is missing.
    """
    if not device.reachable:
        raise UnreachableError(
            f"nothing can be measured on {device.id!r}: it is {device.description}",
            hint="describe the device in a TOML file, as docs/add-a-device.md says, and name that file",
        )
    if device.ssh is not None:
        return Ssh(device.ssh)
    return Local() if device.adb is None else Adb(device.adb)
