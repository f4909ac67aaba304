"""The real onnxruntime-web under the real Node: what it computes, how it is timed, and how it ends."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from device_models import HOST, write_cast, write_convs
from onnx import TensorProto
from op_specs import EVERY_KIND

from hwnas.arch import Network, mobilenet_v2
from hwnas.backends import npm, ort_web, ort_web_runtime
from hwnas.backends.model_format import format_of
from hwnas.backends.onnx import onnx_model
from hwnas.backends.ort_web import OrtWeb
from hwnas.backends.ort_web_runtime import run_ort_web
from hwnas.backends.parity import compare, random_inputs, trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.devices import measure as measuring
from hwnas.devices.device_check import facts_of, run_reference_model
from hwnas.devices.estimate import estimates
from hwnas.devices.job import Job
from hwnas.devices.link import condition_of
from hwnas.devices.measure import measure, stream_rounds
from hwnas.devices.verdict import measure_verdict
from hwnas.errors import DeviceError, ExportError
from hwnas.progress import Silent

KINDS = {spec.kind: spec for spec in EVERY_KIND}
WEB = HOST.with_runtime("ort-web")
pytestmark = pytest.mark.usefixtures("ort_web")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_convs(folder / "shallow.onnx", 2)
    write_convs(folder / "deep.onnx", 8)
    write_convs(folder / "reference.onnx", 4)
    return folder


@pytest.fixture(scope="module")
def node(ort_web: None) -> Iterator[OrtWeb]:
    """One process for all that is only computed: to start it and to load the runtime takes longer than that."""
    node = OrtWeb(str(npm.folder()))
    yield node
    node.close()


@pytest.fixture
def one_node(node: OrtWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_web_runtime, "OrtWeb", lambda _: node)
    monkeypatch.setattr(node, "close", lambda: None)


def test_the_condition_names_the_package_and_the_node_that_runs_it() -> None:
    packages = npm.packages()
    major = packages["node"].split(".")[0]
    assert condition_of(WEB).id == f"ort-web-{packages['onnxruntime-web']}-node{major}-t1-fp32"
    assert re.match(r"1\.30\.\d+$", packages["onnxruntime-web"])
    assert condition_of(WEB).device == condition_of(HOST).device


def test_it_is_measured_like_onnxruntime(folder: Path) -> None:
    models = {"deep": folder / "deep.onnx", 'a "b"\n✓': folder / "shallow.onnx", "": folder / "shallow.onnx"}
    rounds = measure(WEB, models, folder / "reference.onnx", rounds=4, round_ms=3, first_round=5)
    assert Counter((one.name, one.round) for one in rounds) == Counter((n, r) for n in models for r in range(5, 9))
    assert all(0 < one.p10_us <= one.median_us <= one.p90_us for one in rounds)
    assert all(one.calls * one.median_us >= 500 and one.reference_us > 0 for one in rounds)
    results = estimates(rounds)
    assert results["deep"].floor_us > 1.5 * results[""].floor_us


@pytest.mark.parametrize("network", [mobilenet_v2(0.5, 64, classes=20), *map(Network.single, KINDS.values())])
def test_it_computes_what_the_network_computes(network: Network, one_node: None) -> None:
    module = network_module(network)
    trained_like(module, network, 0)
    weights = export_weights(module)
    model, inputs = onnx_model(network, weights), random_inputs(network, 3, 0)
    assert compare(network, weights, model, inputs, format_of("ort-web").run).agrees


def test_a_difference_is_noticed(one_node: None) -> None:
    network = mobilenet_v2(0.5, 64, classes=20)
    module = network_module(network)
    trained_like(module, network, 0)
    weights = export_weights(module)
    model, inputs = onnx_model(network, weights), random_inputs(network, 3, 0)
    parity = compare(network, weights, model, inputs, lambda model, x: run_ort_web(model, x + 0.01))
    assert parity.deviation >= 1
    assert not parity.agrees


def test_a_model_that_is_refused() -> None:
    with pytest.raises(ExportError, match="onnxruntime-web refuses the model"):
        run_ort_web(b"no model", np.zeros((1, 3, 8, 8), np.float32))


def test_inputs_of_other_types(folder: Path, tmp_path: Path) -> None:
    kinds = ("BOOL", "INT8", "UINT64", "FLOAT16")
    models = {kind: write_cast(tmp_path / f"{kind}.onnx", TensorProto.DataType.Value(kind)) for kind in kinds}
    rounds = measure(WEB, models, folder / "reference.onnx", rounds=1, round_ms=0.1)
    assert sorted(one.name for one in rounds) == sorted(kinds)


@pytest.mark.parametrize("content", [b"not a model", None])
def test_a_model_that_cannot_be_loaded_is_named(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeviceError, match="model 'the broken one'"):
        measure(WEB, {"good": folder / "deep.onnx", "the broken one": path}, folder / "reference.onnx", rounds=1)


def test_unsupported_input_type_is_named(folder: Path, tmp_path: Path) -> None:
    path = write_cast(tmp_path / "cast.onnx", TensorProto.STRING)
    with pytest.raises(DeviceError, match=r"'cast'.*unsupported type string"):
        measure(WEB, {"cast": path}, folder / "reference.onnx", rounds=1)


@pytest.mark.dear
def test_a_verdict_and_a_check(folder: Path) -> None:
    (verdict,) = measure_verdict(
        WEB, {"a": folder / "deep.onnx"}, folder / "reference.onnx", budget_ms=1e6, round_ms=1
    ).values()
    assert verdict.state == "met"
    assert run_reference_model(WEB, folder / "reference.onnx", progress=Silent()).floor_us > 0
    assert facts_of(WEB)["packages"].items() >= npm.packages().items()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir() or not hasattr(os, "pidfd_open"), reason="this system does not list processes"
)


@needs_proc
def test_node_ends_with_the_runner(folder: Path) -> None:
    before = children(os.getpid())
    stream = stream_rounds(WEB, {"a": folder / "deep.onnx"}, folder / "reference.onnx", rounds=10**6)
    next(stream)
    (own,) = set(children(os.getpid())) - set(before)
    (node,) = children(own)
    ended = os.pidfd_open(node)
    stream.close()
    assert select.select([ended], [], [], 60)[0]
    os.close(ended)


@needs_proc
def test_a_node_that_dies_is_told(folder: Path) -> None:
    before = children(os.getpid())
    stream = stream_rounds(WEB, {"a": folder / "deep.onnx"}, folder / "reference.onnx", rounds=10**6)
    next(stream)
    (own,) = set(children(os.getpid())) - set(before)
    os.kill(children(own)[0], signal.SIGKILL)
    with pytest.raises(DeviceError, match="node ended with code -9"):
        list(stream)


def test_a_node_that_cannot_load_the_package_says_why(tmp_path: Path) -> None:
    runtime = ort_web.OrtWeb(str(tmp_path))
    with pytest.raises(RuntimeError, match=r"node ended with code 1: .*Cannot find module 'onnxruntime-web'"):
        runtime.open("a.onnx")
    runtime.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not count")
def test_the_cpu_time_of_node_is_counted(folder: Path) -> None:
    assert ort_web.cpu_s(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)
    assert ort_web.cpu_s(2**30) == 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runtime = ort_web.OrtWeb(str(npm.folder()))
    sampler = runtime.load(str(folder / "deep.onnx"), lambda name, shape, dtype: np.ones(shape, dtype))
    sampler(1, 3, 300.0, 0)
    seen_s = runtime.cpu_s() - time.process_time()
    runtime.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # to the end of Node
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert 0.7 * spent_s <= seen_s <= spent_s + 0.05


def test_models_that_were_dropped_are_loaded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "Job", lambda *words, **named: Job(*words, **named, kept_bytes=0))
    models = {f"{index}": folder / ("deep.onnx" if index % 2 else "shallow.onnx") for index in range(9)}
    rounds = measure(WEB, models, folder / "reference.onnx", rounds=2, round_ms=1)
    assert Counter((one.name, one.round) for one in rounds) == Counter((n, r) for n in models for r in range(2))
    results = estimates(rounds)
    assert results["1"].floor_us > 1.5 * results["0"].floor_us
