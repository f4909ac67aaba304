"""What a model file holds: against onnx and the runtimes themselves, and files that are no models."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hwnas.arch import space_instance
from hwnas.backends.model_facts import LARGEST_FILE, Tensor, describe, shape_text
from hwnas.backends.model_format import format_of
from hwnas.backends.onnx_runtime import cpu_session
from hwnas.backends.weights import random_weights
from hwnas.errors import InputError

TOY = space_instance("toy", width=1.0, resolution=8, channels=3, classes=7)
NETWORK = TOY.network(next(iter(TOY.enumerate())))


def own(path: Path, runtime: str) -> Path:
    """A network as hwnas writes it."""
    path.write_bytes(format_of(runtime).model(NETWORK, random_weights(NETWORK.graph, 0)))
    return path


def made(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Any = ()) -> Path:
    graph = helper.make_graph(nodes, "made by hand", inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="a hand")
    model.ir_version = 8
    onnx.save(model, path)
    return path


def value(name: str, shape: Any, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def product(path: Path, kind: Any = np.float32, *, quantised: bool = False) -> Path:
    """x · w, of a type, or between quantising and dequantising."""
    weight = np.ones((4, 4), kind)
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [helper.make_node("MatMul", ["b" if quantised else "x", "w"], ["y"])]
    if quantised:
        quantise = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["a"])
        nodes = [quantise, helper.make_node("DequantizeLinear", ["a", "scale", "zero"], ["b"]), *nodes]
    constants = {"w": weight, "scale": np.array(0.1, np.float32), "zero": np.array(0, np.uint8)}
    used = constants if quantised else {"w": weight}
    tensors = [numpy_helper.from_array(array, name) for name, array in used.items()]
    return made(path, nodes, [value("x", [1, 4], number)], [value("y", [1, 4], number)], tensors)


def test_an_onnx_file_of_hwnas(tmp_path: Path) -> None:
    path = own(tmp_path / "model.onnx", "onnxruntime")
    found, truth, session = describe(path), onnx.load(path), cpu_session(str(path))
    assert [(one.name, one.shape) for one in found.inputs] == [
        (one.name, tuple(one.shape)) for one in session.get_inputs()
    ]
    assert [(one.name, one.shape) for one in found.outputs] == [
        (one.name, tuple(one.shape)) for one in session.get_outputs()
    ]
    assert (found.format, found.precision, found.external) == ("onnx", "fp32", ())
    assert (found.operators, found.opset, found.ir_version) == (
        len(truth.graph.node),
        truth.opset_import[0].version,
        truth.ir_version,
    )
    assert found.size_bytes == path.stat().st_size


def test_a_litert_file_of_hwnas(tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path = own(tmp_path / "model.tflite", "litert")
    found, truth = describe(path), interpreter.Interpreter(model_path=str(path))
    for tensors, details in ((found.inputs, truth.get_input_details()), (found.outputs, truth.get_output_details())):
        assert [(one.name, one.shape, one.dtype) for one in tensors] == [
            (one["name"], tuple(one["shape"]), one["dtype"].__name__) for one in details
        ]
    assert (found.format, found.precision, found.operators) == ("tflite", "fp32", len(truth._get_ops_details()))


def test_a_file_of_onnx_runtimes_own_format(tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(own(tmp_path / "model.onnx", "onnxruntime")), options)
    found = describe(tmp_path / "model.ort")
    assert (found.format, found.inputs) == ("ort", describe(tmp_path / "model.onnx").inputs)
    content = (tmp_path / "model.ort").read_bytes()
    (tmp_path / "model.ort").write_bytes(content[:200])
    with pytest.raises(InputError, match=r"model\.ort is not a model of ONNX Runtime's own format"):
        describe(tmp_path / "model.ort")


@pytest.mark.parametrize(
    ("kind", "quantised", "precision"),
    [(np.float32, False, "fp32"), (np.float16, False, "fp16"), (np.float32, True, "int8")],
)
def test_the_precision_is_that_of_the_products(kind: Any, quantised: bool, precision: str, tmp_path: Path) -> None:
    assert describe(product(tmp_path / "model.onnx", kind, quantised=quantised)).precision == precision


def test_open_shapes_and_types_of_a_file_made_by_hand(tmp_path: Path) -> None:
    inputs = [value("a", ["batch", 3, None, 8]), value("b", None), value("c", [], TensorProto.BOOL), value("w", [1])]
    inputs.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    constant = numpy_helper.from_array(np.ones(1, np.float32), "w")
    node = helper.make_node("Identity", ["a"], ["y"])
    found = describe(made(tmp_path / "model.onnx", [node], inputs, [value("y", None)], [constant]))
    assert found.inputs == (
        Tensor("a", "float32", (None, 3, None, 8)),
        Tensor("b", "float32", None),
        Tensor("c", "bool", ()),
        Tensor("s", "sequence", None),
    )
    assert (found.producer, found.precision, found.opset) == ("a hand", None, 17)
    assert [shape_text(one.shape) for one in found.inputs] == ["?×3×?×8", "?", "scalar", "?"]


def test_weights_in_another_file_count(tmp_path: Path) -> None:
    model = onnx.load(product(tmp_path / "one.onnx"))
    onnx.save_model(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = describe(tmp_path / "model.onnx")
    assert found.external == ("w.bin",)
    assert found.size_bytes == sum((tmp_path / name).stat().st_size for name in ("model.onnx", "w.bin"))
    (tmp_path / "w.bin").unlink()
    assert describe(tmp_path / "model.onnx").size_bytes == (tmp_path / "model.onnx").stat().st_size


def test_what_is_no_file_of_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(InputError, match="is a folder") as caught:
        describe(folder)
    own(folder / "model.onnx", "onnxruntime")
    with pytest.raises(InputError, match="is a folder") as caught:
        describe(folder)
    assert caught.value.hint == f"name the file in it: {folder / 'model.onnx'}"
    with pytest.raises(InputError, match="there is no file"):
        describe(tmp_path / "missing.onnx")
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"ends in \.pt, so its format is not known"):
        describe(tmp_path / "model.pt")
    (tmp_path / "model").write_bytes(b"x")
    with pytest.raises(InputError, match="ends in nothing"):
        describe(tmp_path / "model")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        describe(tmp_path / "pipe.onnx")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)  # sparse
    with pytest.raises(InputError, match=r"has 2\.0 GiB"):
        describe(path)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".ort"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"<!doctype html>\n<p>404", b"PK\x03\x04" + b"x" * 99])
def test_other_bytes_are_no_model(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a"):
        describe(path)


@pytest.mark.parametrize("used", ["tables", "texts"])
def test_a_file_that_would_unpack_to_any_size_is_refused(used: str, tmp_path: Path) -> None:
    """3,000 subgraphs that are one, with 3,000 tensors that are one; or 3,000 names that are one of 100 kB."""
    flatbuffers: Any = pytest.importorskip("flatbuffers")
    pytest.importorskip("ai_edge_litert")
    builder = flatbuffers.Builder()

    def table(field: int = 0, place: int = 0) -> int:
        builder.StartObject(9)
        if place:
            builder.PrependUOffsetTRelativeSlot(field, place, 0)
        return int(builder.EndObject())

    def vector(place: int) -> int:
        builder.StartVector(4, 3000, 4)
        for _ in range(3000):
            builder.PrependUOffsetTRelative(place)
        return int(builder.EndVector())

    one = table(3, builder.CreateString("n" * 100_000)) if used == "texts" else table()
    graph = table(0, vector(one))
    if used == "tables":
        graph = vector(graph)
    else:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(graph)
        graph = builder.EndVector()
    builder.Finish(table(2, graph), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(builder.Output()))
    assert path.stat().st_size < 200_000
    with pytest.raises(InputError, match="is not a LiteRT model") as caught:
        describe(path)
    assert "used again and again" in str(caught.value.__cause__)


def test_a_name_that_lies_is_told(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    path = own(tmp_path / "model.onnx", "litert")
    with pytest.raises(InputError, match="is a LiteRT model by its content") as caught:
        describe(path)
    assert caught.value.hint == "rename it to model.tflite"


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_described_or_refused(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert")
    path = tmp_path / f"model{suffix}"
    content = bytearray(own(path, "litert" if suffix == ".tflite" else "onnxruntime").read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:start])
        with pytest.raises(InputError):
            describe(path)
        return
    noise = data.draw(st.binary(min_size=1, max_size=40))
    content[start : start + len(noise)] = noise
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        describe(path)
