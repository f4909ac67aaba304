"""Measuring on an Android phone: the shell scripts are run by a stand-in for adb, which answers as the real one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from device_models import write_convs
from phone import BENCHMARK_MODEL, Phone, older_benchmark_model

from hwnas.devices import link
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.measure import measure
from hwnas.devices.transports import remote
from hwnas.errors import DeviceError, UnreachableError
from hwnas.files import sha256
from hwnas.progress import Silent


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(link.atexit, "register", at_exit.append)  # later, `adb` would be the real one
    yield Phone(tmp_path / "phone", monkeypatch)
    for close in at_exit:
        close()
    link_to.cache_clear()


class Said(Silent):
    """Keeps what the user was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, message: str) -> None:
        self.texts.append(message)


@pytest.fixture
def models(phone: Phone) -> dict[str, Path]:
    return {f"m{index}": phone.model(f"m{index}", str(20 + index)) for index in range(10)}


def test_the_phone_is_asked_what_it_is(phone: Phone) -> None:
    condition = condition_of(phone.device())
    checksum = sha256((phone.programs / "benchmark_model").read_bytes())
    assert condition.id == f"litert-bm{checksum[:8]}-t2-fp32"
    facts = link_to(phone.device()).facts
    assert facts.platform.startswith("Android 14, Linux ")
    assert facts.logical_cores
    assert facts.free_bytes
    assert facts.cpu["Hardware"] == "Maker C8000"
    assert [words[:3] for words in phone.asked()] == [["-s", "PHONE", "get-state"], ["-s", "PHONE", "shell"]]


def test_every_round_of_every_model(phone: Phone, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_AT_ONCE", 4)  # names of files in one command
    rounds = measure(phone.device(pin=1), models, phone.model("reference", "5"), rounds=3, first_round=4)
    assert Counter((one.name, one.round) for one in rounds) == Counter((n, r) for n in models for r in range(4, 7))
    assert {(one.name, one.p10_us, one.median_us, one.p90_us) for one in rounds} == {
        (f"m{index}", 200 + 10 * index, 201 + 10 * index, 202 + 10 * index) for index in range(10)
    }
    assert {(one.reference_us, one.calls, one.process, one.load) for one in rounds} == {(51, 40, 4, None)}
    options = {word for call in phone.calls() for word in call.split() if not word.startswith("--graph=")}
    assert options == {
        "--num_threads=2",
        "--use_xnnpack=true",
        "--warmup_min_secs=0",
        "--warmup_runs=2",
        "--num_runs=3",
        "--min_secs=1",
        "--min_secs=0.015",
    }
    assert len(phone.calls()) == 2 + 3 * (10 + 2)
    pushed = [words[3] for words in phone.asked() if words[2] == "push"]
    assert len(pushed) == len(set(pushed)) == 11
    link_to(phone.device(pin=1)).close()
    for script, all_of_them in (("sha256sum", 11), ("rm -f", 11)):
        named = [words[-1].count(".tflite") for words in phone.asked() if script in words[-1]]
        assert max(named) == 4
        assert sum(named) == all_of_them


def test_a_cable_that_is_pulled_costs_no_round(phone: Phone, models: dict[str, Path]) -> None:
    phone.cut(200)
    rounds = measure(phone.device(), models, phone.model("reference", "5"), rounds=3)
    assert Counter(one.name for one in rounds) == dict.fromkeys(models, 3)
    assert len({(one.name, one.round) for one in rounds}) == 30
    assert len({one.process for one in rounds}) > 1
    assert sum(words[2] == "push" for words in phone.asked()) == 11


@pytest.mark.parametrize("state", ["device 'PHONE' not found", "device unauthorized.", "device offline"])
def test_a_phone_that_is_not_there(phone: Phone, state: str) -> None:
    phone.state(state)
    with pytest.raises(UnreachableError, match=f"PHONE cannot be reached: adb ended early with code 1: error: {state}"):
        condition_of(phone.device())


def test_a_phone_that_stays_away(phone: Phone, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RECONNECT_S", 0.0)
    condition_of(phone.device())
    phone.install("adb", "#!/bin/sh\necho \"error: device 'PHONE' not found\" >&2\nexit 1\n")
    with pytest.raises(UnreachableError, match="could not be made again within 0 s") as caught:
        measure(phone.device(), models, models["m0"])
    assert "adb devices" in caught.value.hint


def test_without_adb_there_is_a_hint(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(phone.folder))
    with pytest.raises(DeviceError, match="cannot start adb") as caught:
        condition_of(phone.device())
    assert "platform tools" in caught.value.hint


def test_without_benchmark_model_there_is_a_hint(phone: Phone) -> None:
    (phone.programs / "benchmark_model").unlink()
    with pytest.raises(DeviceError, match="benchmark_model on the device") as caught:
        condition_of(phone.device())
    assert caught.value.hint.startswith("adb push")


def test_a_model_that_cannot_be_loaded_is_named(phone: Phone, models: dict[str, Path]) -> None:
    models["the broken one"] = phone.model("broken", "broken")
    with pytest.raises(DeviceError, match="model 'the broken one': benchmark_model says 'ERROR: Failed to load"):
        measure(phone.device(), models, models["m0"])


@pytest.mark.parametrize(
    "done", ["Inference timings in us: Init: 16242", "Average inference timings in us: Warmup: 4.3e+06, Init: 16242"]
)
def test_an_older_benchmark_model_tells_its_mean_and_the_user_is_told_once(
    phone: Phone, models: dict[str, Path], done: str
) -> None:
    phone.install("benchmark_model", older_benchmark_model(done))
    said = Said()
    for _ in range(2):
        rounds = measure(phone.device(), models, phone.model("reference", "5"), rounds=1, progress=said)
    assert {(one.name, one.p10_us, one.median_us, one.p90_us, one.calls) for one in rounds} == {
        (f"m{index}", 200 + 10 * index, 203.5 + 10 * index, 209 + 10 * index, 40) for index in range(10)
    }
    (remark,) = said.texts
    assert remark.startswith("benchmark_model on phone is of a version that tells no median: its mean is taken")


@pytest.mark.parametrize("rest", ["(all same)", "(all same) p5=91 median=91 p95=91", ""])
def test_runs_that_all_took_as_long(phone: Phone, models: dict[str, Path], rest: str) -> None:
    line = next(line for line in BENCHMARK_MODEL.splitlines() if "count=40" in line)
    phone.install("benchmark_model", BENCHMARK_MODEL.replace(line, f'echo "INFO: count=40 curr=91{rest}"'))
    said = Said()
    rounds = measure(phone.device(), models, models["m0"], rounds=1, progress=said)
    assert {(one.p10_us, one.median_us, one.p90_us, one.calls) for one in rounds} == {(91, 91, 91, 40)}
    assert said.texts == []


def test_a_benchmark_model_without_times_is_refused(phone: Phone, models: dict[str, Path]) -> None:
    phone.install("benchmark_model", "#!/bin/sh\necho 'INFO: count=0'\necho 'INFO: Inference timings in us: none'\n")
    with pytest.raises(DeviceError, match="but no time"):
        measure(phone.device(), models, models["m0"])


def test_a_benchmark_model_that_a_signal_ends(phone: Phone, models: dict[str, Path]) -> None:
    phone.install("benchmark_model", "#!/bin/sh\necho 'INFO: Loaded model'\nkill -SEGV $$\n")
    with pytest.raises(DeviceError, match=r"model 'reference': benchmark_model says .*SIGSEGV"):
        measure(phone.device(), models, models["m0"])


def test_python_on_the_phone_runs_the_runner(phone: Phone, tmp_path: Path) -> None:
    model = write_convs(tmp_path / "model.onnx", 1)
    device = phone.device(python=f"env {sys.executable}")
    rounds = measure(device, {"a": model}, model, rounds=2, round_ms=0.1)
    assert [one.round for one in rounds] == [0, 1]
    assert condition_of(device).runtime == "onnxruntime"
