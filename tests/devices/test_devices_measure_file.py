"""Any model file against a budget: with the real runtimes, and every verdict from rounds that are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hwnas.arch import space_instance
from hwnas.backends.model_facts import ModelFile, Tensor, describe
from hwnas.backends.model_format import format_of
from hwnas.backends.ort_format import ort_model
from hwnas.backends.weights import random_weights
from hwnas.devices import measure_file as module
from hwnas.devices.device import Device, load_device
from hwnas.devices.input_shapes import input_shapes
from hwnas.devices.job import Inputs
from hwnas.devices.link import condition_of
from hwnas.devices.measure import stream_rounds
from hwnas.devices.measure_file import Verification, measure_file, reader
from hwnas.devices.rounds import Round
from hwnas.devices.statistic import Statistic
from hwnas.devices.sustained import LoadSlice, assess
from hwnas.devices.sustained_plot import check_plot, write_plot
from hwnas.devices.transports.adb import AdbAddress
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import DeviceError, InputError, ModelError
from hwnas.latency import find
from hwnas.latency.known_reference import known_reference
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import save_table
from hwnas.progress import Silent

HOST = load_device("host")
TOY = space_instance("toy", width=1.0, resolution=8, channels=3, classes=10)


@pytest.fixture(autouse=True)
def _no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path / "user")


def written(path: Path, runtime: str) -> Path:
    network = TOY.network(next(iter(TOY.enumerate())))
    path.write_bytes(format_of(runtime).model(network, random_weights(network.graph, 0)))
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".ort", ".tflite"])
def test_files_that_read_pixels_are_given_pixels(suffix: str, tmp_path: Path) -> None:
    network = TOY.network(next(iter(TOY.enumerate())))
    model_format = format_of("litert" if suffix == ".tflite" else "onnxruntime")
    interface = model_format.app_interface((0.5,) * 3, (0.2,) * 3)
    content = model_format.model(network, random_weights(network.graph, 0), interface=interface)
    path = tmp_path / f"pixels{suffix}"
    path.write_bytes(ort_model(content) if suffix == ".ort" else content)
    stream = Rounds(lambda turn: 900.0)
    assert measured(path, HOST, stream=stream).values.to_json() == {"input": {"range": [0.0, 255.0]}}
    own = measured(path, HOST, ranges={"input": (0.0, 1.0)}, stream=stream)
    assert own.values.to_json() == {"input": {"range": [0.0, 1.0]}}
    array = np.zeros((1, 8, 8, 3) if suffix == ".tflite" else (1, 3, 8, 8), np.float32)
    assert measured(path, HOST, arrays={"input": array}, stream=stream).values.ranges == {}
    plain = written(tmp_path / f"plain{model_format.suffix}", "litert" if suffix == ".tflite" else "onnxruntime")
    assert measured(plain, HOST, stream=stream).values.ranges == {}


def made(path: Path, shape: Any, kind: int = TensorProto.FLOAT, op: str = "Relu", domain: str = "") -> Path:
    """A file of one op, made by hand."""
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "made", [values[0]], [values[1]])
    sets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = 8
    onnx.save(model, path)
    return path


class Rounds:
    """Stands for `stream_rounds`: the model takes `median_us` of the round, the reference model `reference_us`."""

    def __init__(self, median_us: Callable[[int], float], reference_us: float = 100.0, load: float = 0.0) -> None:
        self.median_us, self.reference_us, self.load = median_us, reference_us, load
        self.processes = 0

    def __call__(
        self, device: Device, models: Any, reference: Path, *, rounds: int, first_round: int, **_: Any
    ) -> Iterator[Round]:
        assert reference.is_file()
        self.processes += 1
        for turn in range(first_round, first_round + rounds):
            us = self.median_us(turn)
            for name in models:
                singles = (us,) * 9 + (2 * us,)
                yield Round(name, turn, first_round, us, us, us, 10, self.reference_us, self.load, singles)


def measured(path: Path, device: Device, **options: Any) -> Verification:
    return measure_file(path, device, known_reference(Silent()), **options)


def judged(tmp_path: Path, stream: Rounds, budget_ms: float | None = 1.0, **options: Any) -> Verification:
    return measured(made(tmp_path / "model.onnx", [1, 8]), HOST, budget_ms=budget_ms, stream=stream, **options)


@pytest.mark.parametrize(
    ("us", "load", "budget_ms", "state", "met", "processes"),
    [
        (900.0, 0.0, 1.0, "met", True, 5),
        (1100.0, 0.0, 1.0, "missed", False, 5),
        (1100.0, 1.0, 1.0, "unstable", None, 15),
        (900.0, 1.0, 1.0, "met", True, 5),
        (900.0, 0.0, None, "no budget", None, 5),
    ],
)
def test_verdicts(
    us: float, load: float, budget_ms: float | None, state: str, met: bool | None, processes: int, tmp_path: Path
) -> None:
    stream = Rounds(lambda turn: us, load=load)
    found = judged(tmp_path, stream, budget_ms)
    assert (found.verdict.state, found.budget_met, stream.processes) == (state, met, processes)
    facts = found.to_json()["measured_ms"]
    assert (facts["median"], facts["p99"], facts["calls"]) == (us / 1e3, 2 * us / 1e3, 10 * 12 * processes)
    accepted, rejected = (0, 12 * processes) if load else (12 * processes, 0)
    assert (facts["n"], facts["rejected_rounds"]) == (accepted, rejected)


def test_a_file_on_the_budget_is_measured_longer_and_left_open(tmp_path: Path) -> None:
    stream = Rounds(lambda turn: 1000.0 + (-1) ** (turn // 12))
    assert judged(tmp_path, stream).verdict.state == "too close"
    assert stream.processes == 12
    stream = Rounds(lambda turn: 1000.0 + (-1) ** (turn // 12))
    judged(tmp_path, stream, processes=7)
    assert stream.processes == 7


def test_a_budget_may_be_about_a_percentile(tmp_path: Path) -> None:
    """One call in ten takes twice as long."""
    for percentile, state in ((50, "met"), (89, "met"), (95, "missed")):
        found = judged(tmp_path, Rounds(lambda turn: 900.0), statistic=Statistic(percentile=percentile))
        assert (found.verdict.state, found.verdict.median_ms) == (state, 0.9)
        assert found.to_json()["measured_ms"]["statistic"] == found.verdict.statistic.label


@pytest.mark.parametrize(("late_us", "met"), [(900.0, True), (1500.0, False)])
def test_a_budget_has_to_hold_without_pause_too(
    late_us: float, met: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = [LoadSlice(index, 1, us, us, us, 9) for index, us in enumerate([900.0] * 10 + [late_us] * 10)]
    asked: list[Any] = []

    def run(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments[-1], options["inputs"].shapes))
        return assess(slices, asked_s=20)

    monkeypatch.setattr(module, "run_sustained", run)
    found = judged(tmp_path, Rounds(lambda turn: 900.0), sustained_s=20, shapes={"x": (1, 8)})
    assert (found.verdict.state, found.budget_met, asked) == ("met", met, [(20, {"x": (1, 8)})])
    assert found.to_json()["sustained"]["seconds"] == 20
    assert judged(tmp_path, Rounds(lambda turn: 1100.0), sustained_s=20).budget_met is False
    other = judged(tmp_path, Rounds(lambda turn: 900.0), sustained_s=20, statistic=Statistic(percentile=81))
    assert (other.verdict.statistic.label, other.budget_met) == ("81st percentile", None if met else False)


def test_the_table_of_the_device_bounds_the_reference_model(tmp_path: Path) -> None:
    condition = condition_of(HOST)
    folder = tmp_path / "user" / "latency_tables" / condition.folder
    save_table(LatencyTable(condition, reference_us=50.0), folder)
    assert judged(tmp_path, Rounds(lambda turn: 1100.0)).verdict.state == "unstable"
    (folder / "meta.toml").write_text("damaged")
    assert judged(tmp_path, Rounds(lambda turn: 1100.0)).verdict.state == "missed"


@pytest.mark.dear
@pytest.mark.parametrize(("suffix", "runtime"), [(".onnx", "onnxruntime"), (".tflite", "litert")])
def test_real_files_of_hwnas(suffix: str, runtime: str, tmp_path: Path) -> None:
    pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, runtime))
    found = measured(written(tmp_path / f"model{suffix}", runtime), HOST, budget_ms=1000, sustained_s=1.0)
    one = found.verdict
    assert (found.device.runtime, one.state, found.verdict.budget_met) == (runtime, "met", True)
    assert one.p99_ms is not None
    low_ms, high_ms = one.bounds_ms
    assert high_ms is not None
    assert (low_ms or 0) <= one.median_ms <= high_ms < 1000
    assert one.cold_ms is not None
    assert one.cold_ms > 0
    assert 0 < one.p90_ms <= one.p99_ms
    assert found.sustained is not None
    assert runtime in found.condition
    assert found.taken_as_one == ()


class OneProcess:
    """One real process of a few rounds, whose rounds stand for those of all others."""

    def __init__(self, path: Path, shapes: Any) -> None:
        self.path, self.shapes, self.rounds = path, shapes, list[Round]()

    def __call__(self, device: Device, models: Any, reference: Path, *, first_round: int, **_: Any) -> Iterator[Round]:
        if not self.rounds:
            inputs = {self.path.name: Inputs(self.shapes)}
            self.rounds += stream_rounds(device, models, reference, rounds=5, singles=True, inputs=inputs)
        for one in self.rounds:
            yield replace(one, round=first_round + one.round, process=first_round, reference_us=100.0, load=0.0)


def test_a_real_file_that_was_made_by_hand(tmp_path: Path) -> None:
    path = made(tmp_path / "model.onnx", ["batch", 3, 16, "width"])
    with pytest.raises(InputError, match=r"'x' of the open shape \?×3×16×\?") as caught:
        measured(path, HOST)
    assert caught.value.hint.endswith("--shape x=1,3,16,224")
    shapes = {"x": (2, 3, 16, 5)}
    found = measured(path, HOST, shapes=shapes, stream=OneProcess(path, shapes))
    assert (found.shapes, found.verdict.budget_met) == ({"x": (2, 3, 16, 5)}, None)
    open_batch = made(tmp_path / "batch.onnx", ["batch", 3])
    found = measured(open_batch, HOST, stream=OneProcess(open_batch, {}))
    assert (found.shapes, found.taken_as_one) == ({"x": (1, 3)}, ("x",))


def test_an_op_that_the_runtime_lacks_is_bad_input(tmp_path: Path) -> None:
    path = made(tmp_path / "model.onnx", [1, 8], op="Sparkle", domain="com.example")
    with pytest.raises(InputError, match=r"onnxruntime on host does not run .*Sparkle") as caught:
        measured(path, HOST)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="of the type string"):
        measured(made(tmp_path / "text.onnx", [1, 8], TensorProto.STRING, "Identity"), HOST)


def test_what_the_reference_model_fails_at_is_the_devices_fault(tmp_path: Path) -> None:
    def stream(*_: Any, **__: Any) -> Iterator[Round]:
        raise ModelError("measuring failed: model 'reference': out of memory")
        yield

    with pytest.raises(DeviceError, match="reference"):
        measured(made(tmp_path / "model.onnx", [1, 8]), HOST, stream=stream)


def file_of(*inputs: Tensor, suffix: str = "onnx", external: tuple[str, ...] = ()) -> ModelFile:
    return ModelFile(Path(f"m.{suffix}"), suffix, 1, inputs, (), external)


@pytest.mark.parametrize(
    ("own", "asked", "suffix", "runtime"),
    [
        ("onnxruntime", "", "onnx", "onnxruntime"),
        ("onnxruntime", "", "ort", "onnxruntime"),
        ("onnxruntime", "", "tflite", "litert"),
        ("litert", "", "onnx", "onnxruntime"),
        ("litert", "litert", "tflite", "litert"),
    ],
)
def test_the_runtime_follows_the_ending(own: str, asked: str, suffix: str, runtime: str) -> None:
    assert reader(replace(HOST, runtime=own), file_of(suffix=suffix), asked).runtime == runtime


def test_a_runtime_that_does_not_read_the_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"m\.tflite is a \.tflite file, which onnxruntime does not run"):
        reader(HOST, file_of(suffix="tflite"), "onnxruntime")
    with pytest.raises(InputError, match="unknown runtime 'abacus'"):
        reader(HOST, file_of(), "abacus")


@pytest.mark.parametrize(
    ("tensor", "given", "message"),
    [
        (Tensor("x", "float32", (1, 3)), {"z": (1, 3)}, "has no input 'z'"),
        (Tensor("x", "float32", (1, 3)), {"x": (1, 4)}, "is 1×3, which 1×4 does not fit"),
        (Tensor("x", "float32", (None, 3)), {"x": (1, 3, 1)}, r"is \?×3, which 1×3×1 does not fit"),
        (Tensor("x", "float32", (None,)), {"x": (0,)}, "does not fit"),
        (Tensor("x", "float32", None), {}, "without a shape"),
        (Tensor("x", "string", (1,)), {}, "of the type string"),
        (Tensor("x", "sequence", None), {}, "of the type sequence"),
    ],
)
def test_shapes_that_do_not_fit(tensor: Tensor, given: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        input_shapes(file_of(tensor), given)
    assert caught.value.hint


def test_shapes_that_fit() -> None:
    inputs = [Tensor("a", "int8", (None, 3)), Tensor("b", "float32", None), Tensor("c", "float16", ())]
    assert input_shapes(file_of(*inputs), {"b": (7, 2)}) == ({"a": (1, 3), "b": (7, 2), "c": ()}, ("a",))


def test_devices_that_cannot_take_the_file(tmp_path: Path) -> None:
    model = onnx.load(made(tmp_path / "one.onnx", [1, 4]))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(4, np.float32), "w"))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert describe(tmp_path / "m.onnx").external
    pi = replace(HOST, transport="ssh", ssh=SshAddress("nowhere", "me"))
    with pytest.raises(InputError, match=r"keeps its weights in w\.bin"):
        measured(tmp_path / "m.onnx", pi)
    phone = replace(HOST, id="phone", transport="adb", runtime="litert", adb=AdbAddress(runner="/benchmark_model"))
    with pytest.raises(InputError, match=r"benchmark_model, which runs \.tflite files"):
        measured(tmp_path / "one.onnx", phone)
    pytest.importorskip("ai_edge_litert")
    path = written(tmp_path / "m.tflite", "litert")
    with pytest.raises(InputError, match="cannot tell shapes"):
        measured(path, phone, shapes={"input": (1, 8, 8, 3)})


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_plot_is_written(suffix: str, tmp_path: Path) -> None:
    slices = [LoadSlice(index, 1, 900.0 + index, 950, 990, 9, index / 20, 40.0 + index) for index in range(20)]
    path = tmp_path / f"plot{suffix}"
    write_plot(path, assess(slices, asked_s=20), title="a model", budget_ms=1.0)
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    with pytest.raises(InputError, match=r"not \.txt"):
        check_plot(tmp_path / "plot.txt")
