"""Work on many devices at once: who waits for whom, what a failure costs, and how it is interrupted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from device_models import HOST

from hwnas.devices.device import Device
from hwnas.devices.farm import machine_of, on_each
from hwnas.devices.transports.adb import AdbAddress
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import DeviceError, HwnasError, UnreachableError
from hwnas.events import Event, Events
from hwnas.progress import Advance, Progress, Silent


def board(host: str, port: int | None = None) -> Device:
    return replace(HOST, transport="ssh", ssh=SshAddress(host, port=port))


def test_machines_work_at_once_and_devices_of_one_machine_take_turns() -> None:
    devices = {"a": board("one"), "b": board("two"), "c": board("one"), "d": HOST, "e": replace(HOST, threads=2)}
    together, turns = threading.Barrier(3), {machine_of(device): threading.Lock() for device in devices.values()}
    seen: set[tuple[str, ...]] = set()

    def work(device: Device, progress: Progress) -> int:
        machine = machine_of(device)
        assert turns[machine].acquire(blocking=False), "two at once on one machine"
        if machine not in seen:
            seen.add(machine)
            together.wait(60)  # which none of the three passes alone
        turns[machine].release()
        return device.threads

    assert on_each(devices, work, Silent(), label="testing") == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2}


def test_what_one_machine_is() -> None:
    assert machine_of(board("pi")) == machine_of(replace(board("pi"), precision="int8"))
    assert machine_of(board("gate", 2201)) != machine_of(board("gate", 2202))
    phone = replace(HOST, transport="adb", adb=AdbAddress("A", python="python3"))
    assert machine_of(phone) != machine_of(replace(phone, adb=AdbAddress("B", python="python3")))
    assert len({machine_of(HOST), machine_of(board("pi")), machine_of(phone)}) == 3


def test_a_failure_costs_itself_and_has_its_exit_code() -> None:
    errors = {"b": UnreachableError("gone", hint="plug it in"), "d": DeviceError("broken"), "e": ZeroDivisionError("x")}
    heard: list[Event] = []

    def work(device: Device, progress: Progress) -> str:
        progress.say("hello")
        with progress.track("measuring", 2) as advance:
            advance()
            if device.id in errors:
                raise errors[device.id]
            advance()
        return device.id.upper()

    devices = {name: replace(board(name), id=name) for name in "abcde"}
    found = on_each(devices, work, Events(heard.append), label="profiling")
    assert list(found) == list("abcde")
    assert (found["a"], found["c"]) == ("A", "C")
    assert (found["b"], found["d"]) == (errors["b"], errors["d"])
    defect = found["e"]
    assert isinstance(defect, HwnasError)
    assert (str(defect), defect.exit_code, defect.__cause__) == ("ZeroDivisionError: x", 1, errors["e"])
    assert "report" in defect.hint
    assert {event.label for event in heard if event.kind == "message"} == {f"{name}: hello" for name in "abcde"}
    whole = [event for event in heard if event.label == "profiling 5 devices"]
    assert [event.done for event in whole if event.kind == "advance"] == [1, 2, 3, 4, 5]
    assert {event.note for event in whole if event.kind == "advance"} == {
        "a done",
        "b failed",
        "c done",
        "d failed",
        "e failed",
    }
    assert whole[-1].record["completed"]


class Interrupted(Silent):
    """Ctrl-C as soon as one device is done."""

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        def interrupt(steps: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

        yield interrupt


@pytest.mark.parametrize("report", ["say", "record", "track", "advance"])
def test_an_interrupt_ends_the_work_on_every_device(report: str) -> None:
    begun, ended = threading.Barrier(2), threading.Event()

    def work(device: Device, progress: Progress) -> None:
        begun.wait(60)
        if device.id == "first":
            return
        try:
            while report == "say":
                progress.say("still here")
            while report == "record":
                progress.record({})
            while report == "track":
                with progress.track("measuring", 1):
                    pass
            with contextlib.suppress(KeyboardInterrupt), progress.track("measuring", 1) as advance:
                while True:
                    with contextlib.suppress(KeyboardInterrupt):  # that of this test
                        advance()
        finally:
            ended.set()

    devices = {name: replace(board(name), id=name) for name in ("first", "second")}
    with pytest.raises(KeyboardInterrupt):
        on_each(devices, work, Interrupted(), label="testing")
    assert ended.wait(60)


def test_no_callback_is_called_twice_at_once() -> None:
    busy, together = threading.Lock(), threading.Barrier(8)

    def callback(event: Event) -> None:
        assert busy.acquire(blocking=False)
        busy.release()

    events = Events(callback)

    def report() -> None:
        together.wait(60)
        for _ in range(200):
            events.say("x")
            events.also(lambda event: None).say("y")

    failed: list[object] = []
    before, threading.excepthook = threading.excepthook, failed.append
    try:
        threads = [threading.Thread(target=report) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = before
    assert not failed
