"""Files that take pixels and give probabilities, against the torch network behind the usual normalisation."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import encode, packer
from flatbuffers.table import Table
from networks import chain, random_network, space, trained
from onnx import TensorProto

from hwnas.arch import Network, OpSpec
from hwnas.backends.interface import BARE, Interface, Normalisation, normalised
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import interpreter, run_litert, runs_as_one_delegate
from hwnas.backends.model_format import ModelFormat, format_of
from hwnas.backends.onnx import micro_model, onnx_model
from hwnas.backends.onnx_runtime import run_onnx
from hwnas.backends.onnx_versions import check_versions, oldest_ir_version
from hwnas.backends.ort_format import ort_model
from hwnas.backends.torch import load_weights, network_module
from hwnas.backends.weights import fold
from hwnas.errors import ExportError, InputError

MEANS, DEVIATIONS = (0.15, 0.5, 0.8), (0.2, 0.31, 0.27)
METADATA = {"names": json.dumps({str(k): f"class «{k}»" for k in range(10)}), "hwnas.color": "rgb", "description": "d"}
RUNTIMES = ["onnxruntime", "litert"]
CLASSIFIER = OpSpec("classifier", 6, 10, 9, 7)
NETWORKS = {
    "padded": chain(OpSpec("conv", 3, 6, 9, 7, 3, act="relu"), CLASSIFIER),
    "strided": random_network(space(0.5, 32), 0),
    "same": random_network(space(0.25, 32, "efficientnet-lite0"), 0),
    "pointwise": chain(OpSpec("conv", 3, 6, 9, 7, act="relu"), CLASSIFIER),
    "grouped": chain(OpSpec("conv", 3, 6, 9, 7, groups=3, act="relu"), CLASSIFIER),
    "pooled": chain(OpSpec("maxpool", 3, 3, 9, 7, 3), OpSpec("conv", 3, 6, 9, 7), CLASSIFIER),
    "twice": chain(OpSpec("resblock", 3, 6, 9, 7, stride=2), OpSpec("classifier", 6, 10, 5, 4)),
    "cut off": chain(OpSpec("none", 3, 3, 9, 7), OpSpec("conv", 3, 6, 9, 7), CLASSIFIER),
}


def pixels(network: Network, count: int = 6) -> np.ndarray:
    """Smooth images, as photographs are, with white and black in their corners."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (count, network.input_shape[0], 3, 3))
    images = torch.nn.functional.interpolate(torch.from_numpy(coarse), network.input_shape[1:], mode="bilinear")
    found = images.round().numpy().astype(np.uint8)
    found[..., 0, 0], found[..., -1, -1] = 255, 0
    return found


def expected(
    network: Network, weights: Any, images: np.ndarray, output: str, means: Any, deviations: Any
) -> np.ndarray:
    """By the formula that training uses, in float64."""
    module = network_module(network).eval()
    load_weights(module, weights)
    mean, std = (np.array(values)[None, :, None, None] for values in (means, deviations))
    with torch.inference_mode():
        logits = module.double()(torch.from_numpy((images / 255 - mean) / std))
        return (logits.softmax(1) if output == "probabilities" else logits).numpy()


def asked(runtime: str, **changes: Any) -> Interface:
    layout: Any = "nchw" if runtime == "onnxruntime" else "nhwc"
    return replace(Interface("float", "probabilities", layout, MEANS, DEVIATIONS), **changes)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("changes", [{}, {"input": "uint8", "output": "logits"}], ids=["float", "uint8"])
def test_a_file_of_pixels_computes_what_torch_computes(name: str, runtime: str, changes: dict[str, Any]) -> None:
    network, model_format, interface = NETWORKS[name], format_of(runtime), asked(runtime, **changes)
    weights, images = trained(network), pixels(NETWORKS[name])
    model = model_format.model(network, weights, metadata=METADATA, interface=interface)
    model_format.check(model)
    wanted = expected(network, weights, images, interface.output, MEANS, DEVIATIONS)
    np.testing.assert_allclose(model_format.run(model, images), wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
    assert np.ptp(wanted, axis=0).max() > 0.02 or name == "cut off"
    assert Interface.of_metadata(model_format.metadata(model)) == replace(interface, mean=(), std=())
    assert model == model_format.model(network, weights, metadata=METADATA, interface=interface)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_grey_images_have_one_mean(runtime: str) -> None:
    network = chain(OpSpec("conv", 1, 6, 9, 7, 3, 2, act="relu"), OpSpec("classifier", 6, 10, 5, 4))
    weights, images, model_format = trained(network), pixels(network), format_of(runtime)
    interface = asked(runtime, mean=(0.7,), std=(0.1,), output="logits")
    model = model_format.model(network, weights, interface=interface)
    wanted = expected(network, weights, images, "logits", (0.7,), (0.1,))
    np.testing.assert_allclose(model_format.run(model, images), wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


def test_uint8_images_in_the_order_of_an_app() -> None:
    network, interface = NETWORKS["strided"], asked("onnxruntime", input="uint8", layout="nhwc")
    weights, images = trained(network), pixels(NETWORKS["strided"])
    model = onnx_model(network, weights, interface=interface)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.type, given.shape) == ("tensor(uint8)", [1, 32, 32, 3])
    wanted = expected(network, weights, images, "probabilities", MEANS, DEVIATIONS)
    own = [session.run(["probabilities"], {"input": image[None].transpose(0, 2, 3, 1)})[0] for image in images]
    np.testing.assert_allclose(np.concatenate(own), wanted, atol=1e-4)
    np.testing.assert_array_equal(np.concatenate(own), run_onnx(model, images))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_mean_folded_where_zeros_are_padded_is_seen(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests are for: with the mean in the bias, what lies outside of an image would be black."""
    network, model_format = NETWORKS["padded"], format_of(runtime)
    weights, images = trained(network), pixels(NETWORKS["padded"])

    def naive(graph: Any, constants: Any, interface: Interface) -> Any:
        weight, bias = constants["op0.conv"]
        scaled = weight / (255 * np.array(interface.std))[:, None, None]
        shift = (weight * (-np.array(interface.mean) / np.array(interface.std))[:, None, None]).sum((1, 2, 3))
        return {
            **constants,
            "op0.conv": (scaled.astype(np.float32), (bias + shift).astype(np.float32)),
        }, Normalisation()

    for writer in ("onnx", "litert"):
        monkeypatch.setattr(f"hwnas.backends.{writer}.normalised", naive)
    interface = asked(runtime, output="logits")
    wanted = expected(network, weights, images, "logits", MEANS, DEVIATIONS)
    wrong = model_format.run(model_format.model(network, weights, interface=interface), images)
    assert np.abs(wrong - wanted).max() > 0.02


def test_what_is_left_before_the_network() -> None:
    """Nothing where nothing is padded, one addition where it is, both elsewhere."""
    left = {}
    for name, network in NETWORKS.items():
        graph, constants = fold(network.graph, trained(network))
        rest = normalised(graph, constants, asked("onnxruntime"))[1]
        left[name] = (rest.scale is not None, rest.shift is not None)
    assert left.pop("pointwise") == left.pop("grouped") == (False, False)
    assert {left.pop(name) for name in ("padded", "strided", "same")} == {(False, True)}
    assert set(left.values()) == {(True, True)}


def test_the_network_alone_is_as_it_was() -> None:
    """Tables were measured on single ops whose fingerprints go by these bytes."""
    spec = OpSpec("classifier", 4, 5, 3, 3)
    kinds = [node.op_type for node in onnx.load_from_string(micro_model(spec)).graph.node]
    assert kinds == ["GlobalAveragePool", "Flatten", "Gemm"]
    network = NETWORKS["padded"]
    for write in (onnx_model, litert_model):
        assert write(network, trained(network), interface=BARE) == write(network, trained(network))


def test_the_order_of_nodes_and_their_kinds() -> None:
    network = chain(OpSpec("mbconv", 3, 6, 9, 7, 3, se=2, act="hswish"), CLASSIFIER)
    weights = trained(network)
    write = partial(onnx_model, network, weights)
    usual = onnx.load_from_string(write(interface=asked("onnxruntime", input="uint8")))
    kinds = [node.op_type for node in usual.graph.node]
    assert (kinds[:2], kinds[-4:]) == (["Cast", "Add"], ["GlobalAveragePool", "Reshape", "Gemm", "Softmax"])
    assert {"HardSigmoid", "HardSwish"} <= set(kinds)
    plain = write(interface=asked("onnxruntime"), plain_gates=True)
    kinds = [node.op_type for node in onnx.load_from_string(plain).graph.node]
    assert not {"HardSigmoid", "HardSwish", "Flatten", "Cast"} & set(kinds)
    wanted = expected(network, weights, pixels(network), "probabilities", MEANS, DEVIATIONS)
    np.testing.assert_allclose(run_onnx(plain, pixels(network)), wanted, atol=1e-4)


def test_providers_of_phones_take_the_whole_graph(caplog: pytest.LogCaptureFixture, tmp_path: Any) -> None:
    """ONNX Runtime's own checker."""
    from onnxruntime.tools.mobile_helpers import usability_checker

    network = chain(OpSpec("mbconv", 3, 6, 9, 7, 3, se=2, act="relu6"), CLASSIFIER)
    said = {}
    for plain in (False, True):
        path = tmp_path / f"{plain}.onnx"
        path.write_bytes(onnx_model(network, trained(network), interface=asked("onnxruntime"), plain_gates=plain))
        caplog.clear()
        with caplog.at_level("INFO", "usability"):
            usability_checker.analyze_model(path, logger=logging.getLogger("usability"))
        lines = [line for line in caplog.messages if line.startswith("Model should perform well with")]
        said[plain] = [line.endswith("YES") for line in lines]
    assert len(said[True]) >= 2
    assert all(said[True])
    assert not all(said[False])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_half_files_are_half_as_large_and_nearly_equal(runtime: str) -> None:
    network, interface = NETWORKS["strided"], asked(runtime, output="logits")
    weights, images = trained(network), pixels(NETWORKS["strided"])
    whole, half = (
        format_of(runtime, precision).model(network, weights, interface=interface) for precision in ("fp32", "fp16")
    )
    assert len(half) < 0.65 * len(whole)
    model_format = format_of(runtime, "fp16")
    model_format.check(half)
    wanted = expected(network, weights, images, "logits", MEANS, DEVIATIONS)
    off = np.abs(model_format.run(half, images) - wanted).max()
    assert 0 < off < 2e-2 * np.abs(wanted).max()


def small_model(model_format: ModelFormat, network: Network, interface: Interface) -> tuple[bytes, bytes]:
    """The float and the int8 file."""
    model = model_format.model(network, trained(network), metadata=METADATA, interface=interface)
    assert model_format.quantize is not None
    return model, model_format.quantize(model, pixels(network, 24))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_int8_file_takes_bytes_and_gives_probabilities(runtime: str) -> None:
    network, model_format = NETWORKS["strided"], format_of(runtime, "int8")
    interface = model_format.app_interface(MEANS, DEVIATIONS)
    assert (interface.input, interface.output) == ("uint8", "probabilities")
    _, small = small_model(model_format, network, interface)
    model_format.check(small)
    images = pixels(network)
    wanted = expected(network, trained(network), images, "probabilities", MEANS, DEVIATIONS)
    found = model_format.run(small, images)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9
    metadata = model_format.metadata(small)
    assert Interface.of_metadata(metadata) == replace(interface, mean=(), std=())
    assert metadata["names"] == METADATA["names"]


def test_an_int8_onnx_file_has_bytes_at_its_input_and_in_its_activations() -> None:
    model_format = format_of("onnxruntime", "int8")
    _, small = small_model(model_format, NETWORKS["strided"], model_format.app_interface(MEANS, DEVIATIONS))
    model = onnx.load_from_string(small)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (kinds["Cast"], kinds["Softmax"], kinds["Reshape"]) == (1, 1, 1)
    producers = {name: node for node in model.graph.node for name in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert {producers[node.input[0]].op_type for node in convs} == {"DequantizeLinear"}
    constants = {one.name: one.data_type for one in model.graph.initializer}
    assert {constants[producers[node.input[0]].input[2]] for node in convs} == {TensorProto.UINT8}
    check_versions(small, 18, 8)


def test_an_int8_litert_file_has_all_within_it() -> None:
    """No buffer lies behind the flatbuffer, where MediaPipe would not find it."""
    network, model_format = random_network(space(1.0, 32), 0), format_of("litert", "int8")
    _, small = small_model(model_format, network, model_format.app_interface(MEANS, DEVIATIONS))
    model = schema.ModelT.InitFromPackedBuf(small)
    assert {(one.offset, one.size) for one in model.buffers} == {(0, 0)}
    assert sum(len(one.data) for one in model.buffers if one.data is not None) > 256 << 10
    loaded = interpreter(small)
    (given,), (made,) = loaded.get_input_details(), loaded.get_output_details()
    assert (given["dtype"], given["quantization"]) == (np.uint8, (1.0, 0))
    assert (made["dtype"], made["name"]) == (np.float32, "probabilities")
    assert [one["op_name"] for one in loaded._get_ops_details()].count("DELEGATE") >= 1
    starts = [one._tab.Vector(one._tab.Offset(4)) for one in buffers(small) if not one.DataIsNone()]
    assert {start % 16 for start in starts} == {0}


def buffers(content: bytes) -> list[Any]:
    model = schema.Model.GetRootAs(content)
    return [model.Buffers(index) for index in range(model.BuffersLength())]


def test_xnnpack_takes_the_normalisation_and_the_softmax() -> None:
    network = NETWORKS["strided"]
    assert runs_as_one_delegate(litert_model(network, trained(network), interface=asked("litert")))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_metadata_of_tensorflow_lite(precision: str) -> None:
    """By the numbers of the fields in metadata_schema.fbs, read field by field."""
    network, model_format = NETWORKS["strided"], format_of("litert", precision)
    interface = model_format.app_interface(MEANS, DEVIATIONS)
    content = model_format.model(network, trained(network), metadata=METADATA, interface=interface)
    if model_format.quantize is not None:
        content = model_format.quantize(content, pixels(network, 2))
    model = schema.ModelT.InitFromPackedBuf(content)
    (entry,) = [one for one in model.metadata if one.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"
    root = Table(data, encode.Get(packer.uoffset, data, 0))
    assert (text(root, 0), text(root, 7)) == ("d", "1.0.0")
    (graph,) = tables(root, 3)
    ((given,), (made,)) = tables(graph, 2), tables(graph, 3)
    assert (byte(table(given, 3), 0), byte(table(table(given, 3), 1), 0)) == (2, 1), "an image, in RGB"
    (unit,) = tables(given, 4)
    assert (byte(unit, 0), floats(table(unit, 1), 0), floats(table(unit, 1), 1)) == (1, [0.0], [1.0])
    assert (text(made, 0), byte(table(made, 3), 0)) == ("probabilities", 1)
    (labels,) = tables(made, 6)
    assert (text(labels, 0), byte(labels, 2)) == ("labels.txt", 2)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("labels.txt").decode().splitlines() == [f"class «{k}»" for k in range(10)]


def place(one: Table, field: int) -> int:
    offset = one.Offset(4 + 2 * field)
    assert offset, f"field {field} is not there"
    return int(offset)


def table(one: Table, field: int) -> Table:
    return Table(one.Bytes, one.Indirect(one.Pos + place(one, field)))


def tables(one: Table, field: int) -> list[Table]:
    start, count = one.Vector(place(one, field)), one.VectorLen(place(one, field))
    return [Table(one.Bytes, one.Indirect(start + 4 * index)) for index in range(count)]


def text(one: Table, field: int) -> str:
    return bytes(one.String(one.Pos + place(one, field))).decode()


def byte(one: Table, field: int) -> int:
    return one.Bytes[one.Pos + place(one, field)]


def floats(one: Table, field: int) -> list[float]:
    start, count = one.Vector(place(one, field)), one.VectorLen(place(one, field))
    return np.frombuffer(one.Bytes, np.float32, count, start).tolist()  # type: ignore[no-any-return]


def test_an_ort_file_computes_the_same_and_keeps_the_metadata() -> None:
    network = NETWORKS["strided"]
    model = onnx_model(network, trained(network), metadata=METADATA, interface=asked("onnxruntime"))
    own = ort_model(model)
    assert own[4:8] == b"ORTM"
    np.testing.assert_allclose(run_onnx(own, pixels(network)), run_onnx(model, pixels(network)), atol=1e-5)
    assert format_of("onnxruntime").metadata(own) == format_of("onnxruntime").metadata(model)
    with pytest.raises(ExportError, match="cannot write"):
        ort_model(b"no model")


def test_versions_go_together() -> None:
    assert [oldest_ir_version(opset) for opset in (14, 18, 19, 21)] == [8, 8, 9, 10]
    for opset in (13, 99):
        with pytest.raises(InputError, match="opset must be from 14 to"):
            oldest_ir_version(opset)
    network = NETWORKS["padded"]
    content = onnx_model(network, trained(network), opset=21, ir_version=10)
    check_versions(content, 21, 10)
    with pytest.raises(ExportError, match=r"must be of opset 18 and IR version 8.*has opset 21, IR version 10"):
        check_versions(content, 18, 8)
    model = onnx.load_from_string(content)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="1 weights beside it"):
        check_versions(model.SerializeToString(), 21, 10)


def test_files_of_earlier_versions_are_the_network_alone() -> None:
    assert Interface.of_metadata({"hwnas.mean": "[0.5]", "names": "{}"}) == BARE
    assert BARE.to_metadata() == {}
    with pytest.raises(ExportError, match=r"hwnas\.output in the metadata must be one of .*, not 'x'"):
        Interface.of_metadata({"hwnas.output": "x"})


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_means_that_do_not_fit_and_maps_without_classes_are_refused(runtime: str) -> None:
    network, model_format = NETWORKS["padded"], format_of(runtime)
    with pytest.raises(ExportError, match="a mean and a deviation for each of its channels"):
        model_format.model(network, trained(network), interface=asked(runtime, mean=(0.5,)))
    maps = chain(OpSpec("conv", 3, 6, 9, 7))
    with pytest.raises(ExportError, match="ends in a map"):
        model_format.model(maps, trained(maps), interface=asked(runtime))


def test_litert_reads_int8_files_pixel_by_pixel() -> None:
    """A file that tells one grey level from the next: 255 · mean lies between two of them."""
    network = chain(OpSpec("conv", 1, 2, 4, 4, 3, act="relu"), OpSpec("classifier", 2, 3, 4, 4))
    model_format = format_of("litert", "int8")
    model = model_format.model(network, trained(network), interface=model_format.app_interface((0.5,), (0.2,)))
    ramp = np.arange(256, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    assert model_format.quantize is not None
    small = model_format.quantize(model, ramp[::8])
    found, wanted = run_litert(small, ramp), expected(network, trained(network), ramp, "probabilities", (0.5,), (0.2,))
    assert np.abs(found - wanted).max() < 0.1
