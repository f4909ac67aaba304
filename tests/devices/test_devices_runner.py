"""The real runner on real models, and what happens when it cannot go on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from device_models import HOST, write_cast, write_convs
from onnx import TensorProto

from hwnas.devices import runner
from hwnas.devices.estimate import estimates
from hwnas.devices.job import Inputs, events
from hwnas.devices.measure import measure, stream_rounds
from hwnas.devices.profile import profile_rounds
from hwnas.devices.rounds import Round
from hwnas.devices.transports.process import lines
from hwnas.errors import DeviceError, InputError, ModelError
from hwnas.progress import Advance, Silent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_convs(folder / "shallow.onnx", 2)
    write_convs(folder / "deep.onnx", 8)
    write_convs(folder / "reference.onnx", 4)
    return folder


def test_every_round_of_every_model_and_deeper_is_slower(folder: Path) -> None:
    names = ["shallow", "deep", 'mbconv/k3 "é"\n✓', "", "reference"] + [f"m{index}" for index in range(6)]
    models = dict.fromkeys(names, folder / "shallow.onnx") | {"deep": folder / "deep.onnx"}
    rounds = measure(HOST, models, folder / "reference.onnx", rounds=4, round_ms=3, first_round=5)
    assert Counter((one.name, one.round) for one in rounds) == Counter((n, r) for n in names for r in range(5, 9))
    assert {one.process for one in rounds} == {5}
    assert all(0 < one.p10_us <= one.median_us <= one.p90_us for one in rounds)
    assert all(one.calls * one.median_us >= 500 and one.reference_us > 0 for one in rounds)
    results = estimates(rounds)
    assert results["deep"].floor_us > 1.5 * results["shallow"].floor_us
    orders = [[one.name for one in rounds if one.round == turn] for turn in range(5, 9)]
    assert any(order != orders[0] for order in orders)


def test_inputs_of_other_types(folder: Path, tmp_path: Path) -> None:
    kinds = ("BOOL", "INT8", "UINT64", "FLOAT16")
    models = {kind: write_cast(tmp_path / f"{kind}.onnx", TensorProto.DataType.Value(kind)) for kind in kinds}
    rounds = measure(HOST, models, folder / "reference.onnx", rounds=1, round_ms=0.1)
    assert sorted(one.name for one in rounds) == sorted(kinds)


def test_single_calls_and_shapes(folder: Path, tmp_path: Path) -> None:
    models = {"cast": write_cast(tmp_path / "cast.onnx", TensorProto.UINT8), "deep": folder / "deep.onnx"}
    stream = stream_rounds(
        HOST,
        models,
        folder / "reference.onnx",
        rounds=2,
        round_ms=2,
        singles=True,
        inputs={"cast": Inputs({"x": [5000, 3, 8, 8]})},
    )
    rounds = list(stream)
    assert all(len(one.singles_us) >= 3 for one in rounds)
    for name in models:  # minima, which withstand other work
        own = [one for one in rounds if one.name == name]
        assert 0.2 < min(min(one.singles_us) for one in own) / min(one.median_us for one in own) < 3
    for one in rounds:
        assert Round.from_json(json.loads(json.dumps(one.to_json()))) == one
    small = measure(HOST, {"cast": models["cast"]}, folder / "reference.onnx", rounds=2, round_ms=2)
    assert {one.singles_us for one in small} == {()}
    large_us = min(one.median_us for one in rounds if one.name == "cast")
    assert large_us > 3 * min(one.median_us for one in small)
    with pytest.raises(ModelError, match=r"'deep'.*(?i:invalid rank|dimension)"):
        list(stream_rounds(HOST, models, folder / "reference.onnx", rounds=1, inputs={"deep": Inputs({"x0": [1, 2]})}))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind a process to a CPU")
def test_bound_to_a_cpu(folder: Path) -> None:
    model = {"a": folder / "deep.onnx"}
    device = replace(HOST, pin=min(os.sched_getaffinity(0)))
    assert len(measure(device, model, folder / "reference.onnx", rounds=1, round_ms=0.1)) == 1
    with pytest.raises(DeviceError, match="cannot be bound to CPU 100000 of this device"):
        measure(replace(HOST, pin=100_000), model, folder / "reference.onnx", rounds=1)


def test_unsupported_input_type_is_named(folder: Path, tmp_path: Path) -> None:
    path = write_cast(tmp_path / "cast.onnx", TensorProto.STRING)
    with pytest.raises(DeviceError, match=r"'cast'.*unsupported type string"):
        measure(HOST, {"cast": path}, folder / "reference.onnx", rounds=1)


@pytest.mark.parametrize("content", [b"not a model", None])
def test_a_model_that_cannot_be_loaded_is_named(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeviceError, match="model 'the broken one'"):
        measure(HOST, {"good": folder / "deep.onnx", "the broken one": path}, folder / "reference.onnx", rounds=1)


def test_closing_the_stream_kills_the_runner(folder: Path) -> None:
    before = _children()
    stream = stream_rounds(HOST, {"a": folder / "deep.onnx"}, folder / "reference.onnx", rounds=10**6)
    assert next(stream).round == 0
    stream.close()
    assert _children() == before


class Interrupted(Silent):
    """Ctrl-C at the first round."""

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        def interrupt(steps: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

        yield interrupt


def test_an_interrupt_kills_the_runner(folder: Path) -> None:
    before = _children()
    with pytest.raises(KeyboardInterrupt):
        measure(HOST, {"a": folder / "deep.onnx"}, folder / "reference.onnx", rounds=10**6, progress=Interrupted())
    assert _children() == before


def _children() -> set[str]:
    """Running processes that this one started (Linux; elsewhere nothing is seen)."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(listed.read_text().split()) if listed.is_file() else set()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("print('{\"event\": \"loaded\"}', flush=True); raise SystemExit('out of memory')", "code 1: out of memory"),
        ("print('hello')", "no event"),
        ("print('[1]')", "no event"),
        ("pass", "before it was done"),
    ],
)
def test_a_program_that_dies(program: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        list(events(lines([sys.executable, "-c", program], stall_s=60)))
    assert caught.value.hint


def test_a_program_that_hangs() -> None:
    before = _children()
    command = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    with pytest.raises(DeviceError, match=r"silent for 0.5 s"):
        list(events(lines(command, stall_s=0.5)))
    assert _children() == before


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="cannot start"):
        list(events(lines(["no-such-program"], stall_s=1)))


def test_profile_resumes_with_the_real_runner(folder: Path) -> None:
    models = {"a": folder / "shallow.onnx", "b": folder / "deep.onnx"}
    done = measure(HOST, models, folder / "reference.onnx", rounds=2, round_ms=0.1)[:3]
    rounds = profile_rounds(HOST, models, folder / "reference.onnx", rounds=3, max_extra=1, round_ms=0.1, done=done)
    assert rounds[:3] == done
    assert all(count >= 3 for count in Counter(one.name for one in rounds).values())
    assert {one.name for one in rounds} == set(models)
    assert len({(one.name, one.round) for one in rounds}) == len(rounds)


def test_nothing_to_measure(folder: Path) -> None:
    assert measure(HOST, {}, folder / "reference.onnx") == []
    with pytest.raises(InputError, match="rounds"):
        measure(HOST, {"a": folder / "deep.onnx"}, folder / "reference.onnx", rounds=0)


def test_rounds_visit_all_models_in_their_own_order() -> None:
    names = [str(index) for index in range(20)]
    orders = [[name for group in runner.groups(names, 8, 0, turn) for name in group] for turn in range(3)]
    assert all(sorted(order) == sorted(names) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [len(group) for group in runner.groups(names, 8, 0, 0)] == [8, 8, 4]
    assert list(runner.groups(names, 8, 0, 1)) == list(runner.groups(names, 8, 0, 1))
