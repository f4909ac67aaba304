"""What the real adb of this machine does on a daemon on loopback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from device_models import write_tflite
from real_phone import RealPhone, needs_adb

from hwnas.devices import link
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.measure import measure
from hwnas.devices.transports.adb import Adb
from hwnas.errors import DeviceError, UnreachableError
from hwnas.files import sha256


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealPhone]:
    needs_adb()
    at_exit: list[object] = []
    monkeypatch.setattr(link.atexit, "register", at_exit.append)  # later, there is no server
    phone = RealPhone(tmp_path / "phone", monkeypatch)
    yield phone
    link_to.cache_clear()
    phone.close()


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    pytest.importorskip("ai_edge_litert")
    model = write_tflite(tmp_path / "model.tflite")
    return {f"m{index}": model for index in range(10)}


def test_commands_end_as_they_end(phone: RealPhone) -> None:
    address = phone.device().adb
    assert address is not None
    way = Adb(address)
    assert list(way.start(["cat"], b"a\nb c\n", stall_s=60)) == [b"a\n", b"b c\n"]
    assert list(way.start(["printf", "%s", "$HOME 'x'"], stall_s=60)) == [b"$HOME 'x'"]
    assert list(way.start(["sh", "-c", "cat | tail -c 3"], b"x" * 3_000_000 + b"\n", stall_s=60)) == [b"xx\n"]
    with pytest.raises(DeviceError, match="sh ended early with code 3: no room"):
        list(way.start(["sh", "-c", "echo no room >&2; exit 3"], stall_s=60))
    with pytest.raises(DeviceError, match="sh was ended by SIGKILL"):
        list(way.start(["sh", "-c", "kill -9 $$"], stall_s=60))
    with pytest.raises(DeviceError, match="code 127"):
        list(way.start(["no-such-program"], b"x" * 1_000_000, stall_s=60))
    with pytest.raises(DeviceError, match=r"silent for 0\.2 s"):
        list(way.start(["tail", "-f", "/dev/null"], stall_s=0.2))
    with pytest.raises(DeviceError, match="cannot be written on the device: No such file or directory"):
        way.send(Path(__file__), "/nowhere/file")
    phone.daemon.cut_after(1)
    with pytest.raises(UnreachableError, match=r"was cut|cannot be reached"):  # it may be back by then
        list(way.start(["sh", "-c", "echo 1; sleep 60; echo 2"], stall_s=60))


def test_files_come_and_go_whole(phone: RealPhone, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 5000)
    address = phone.device().adb
    assert address is not None
    (there,) = Adb(address).put([tmp_path / "sent"], lambda steps=1, note="": None)
    phone.adb("-s", phone.daemon.serial, "pull", there, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_a_cable_that_is_pulled_costs_no_round(phone: RealPhone, models: dict[str, Path]) -> None:
    device = phone.device()
    checksum = sha256((phone.programs / "benchmark_model").read_bytes())
    assert condition_of(device).id == f"litert-bm{checksum[:8]}-t1-fp32"
    phone.daemon.cut_after(200)
    rounds = measure(device, models, models["m0"], rounds=2)
    assert Counter(one.name for one in rounds) == dict.fromkeys(models, 2)
    assert len({(one.name, one.round) for one in rounds}) == 20
    assert len({one.process for one in rounds}) > 1
    size = models["m0"].stat().st_size // 10
    assert {one.median_us for one in rounds} == {10 * size + 1}
    assert len(phone.daemon.pushed) == 1


def test_a_file_that_is_no_model(phone: RealPhone, models: dict[str, Path]) -> None:
    wrong = models["m0"].with_name("wrong.tflite")
    wrong.write_text("no model")
    with pytest.raises(DeviceError, match="model 'wrong': benchmark_model says 'ERROR: Failed to load"):
        measure(phone.device(), models | {"wrong": wrong}, models["m0"])
