"""int8 models: close to the float model, integers inside, the same bytes every time, refused where they must be."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import quantizer, recipe
from hypothesis import given
from hypothesis import strategies as st
from networks import SPECS, cells, chain, random_network, space
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from hwnas.arch import Network, OpSpec, mobilenet_v2
from hwnas.backends import quantize
from hwnas.backends.interface import Interface
from hwnas.backends.litert_runtime import interpreter
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import random_inputs
from hwnas.backends.quantize import Calibrated, Setting, layers_of
from hwnas.backends.weights import random_weights

RUNTIMES = ["onnxruntime", "litert"]
NETWORKS = [
    random_network(space(0.5, 32), 0),
    random_network(space(1.0, 9, "toy"), 0),
    mobilenet_v2(0.25, 32),
    cells(15),
]


def whole(runtime: str, network: Network, samples: int = 32) -> tuple[bytes, bytes]:
    """The float and the int8 model of a network with plausible weights."""
    model_format = format_of(runtime, "int8")
    model = model_format.model(network, random_weights(network.graph, 0), metadata={"key": "välue"})
    assert model_format.quantize is not None
    return model, model_format.quantize(model, random_inputs(network, samples, 1))


@pytest.mark.sample("runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_int8_model_computes_nearly_what_the_float_model_computes(network: Network, runtime: str) -> None:
    model_format = format_of(runtime, "int8")
    model, small = whole(runtime, network)
    inputs = random_inputs(network, 32, 2)
    expected, actual = model_format.run(model, inputs), model_format.run(small, inputs)
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() > 0
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.92
    model_format.check(small)
    assert model_format.metadata(small)["key"] == "välue"


def test_weights_of_a_litert_model_are_int8_with_a_scale_per_channel() -> None:
    network = NETWORKS[0]
    _, content = whole("litert", network)
    graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    kinds = Counter(tensor.type for tensor in graph.tensors)
    assert kinds.keys() <= {schema.TensorType.INT8, schema.TensorType.INT32}
    weights = [tensor for tensor in graph.tensors if b".weight" in tensor.name and len(tensor.shape) == 4]
    assert len(weights) > 5
    assert all(len(one.quantization.scale) == max(one.shape[0], one.shape[3] * (one.shape[0] == 1)) for one in weights)
    loaded = interpreter(content)
    assert loaded.get_input_details()[0]["dtype"] == loaded.get_output_details()[0]["dtype"] == np.int8


def test_xnnpack_takes_every_node_of_an_int8_model() -> None:
    loaded = interpreter(whole("litert", NETWORKS[0])[1])
    (delegate,) = [one for one in loaded._get_ops_details() if one["op_name"] == "DELEGATE"]
    assert list(delegate["outputs"]) == [loaded.get_output_details()[0]["index"]]


def test_an_onnx_model_is_in_qdq_form_with_float_ends() -> None:
    model = onnx.load_from_string(whole("onnxruntime", NETWORKS[0])[1])
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["QuantizeLinear"] > kinds["Conv"] > 5
    assert not kinds.keys() & {"Clip", "BatchNormalization"}
    assert {node.domain for node in model.graph.node} == {""}
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["input", "logits"]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = [node.input for node in model.graph.node if node.op_type == "DequantizeLinear" and len(node.input) == 3]
    types = Counter(constants[name].data_type for name, *_ in weights if name in constants)
    assert types.keys() <= {onnx.TensorProto.INT8, onnx.TensorProto.INT32}
    assert types[onnx.TensorProto.INT8] >= kinds["Conv"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_files_are_a_quarter_where_weights_are_most_of_it(runtime: str) -> None:
    model, small = whole(runtime, mobilenet_v2(1.0, 32), samples=2)
    assert len(small) < 0.32 * len(model)


@pytest.mark.sample("spec.kind", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_every_kind_has_an_int8_micro_model(spec: OpSpec, runtime: str) -> None:
    network, model_format = Network.single(spec), format_of(runtime, "int8")
    content = model_format.random_model(network)
    assert np.isfinite(model_format.run(content, random_inputs(network, 2, 0))).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_rows_of_another_precision_or_quantiser_are_stale(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[0]
    own = format_of(runtime, "int8").fingerprint(spec)
    assert own != format_of(runtime).fingerprint(spec)
    assert own == format_of(runtime, "int8").fingerprint(spec)
    monkeypatch.setattr(quantize, "quantiser", lambda runtime: "another 1.0")
    assert format_of(runtime, "int8").fingerprint(spec) != own


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_dead_block_has_scales_that_runtimes_take(runtime: str) -> None:
    """Squeezed channels that are zero throughout: their scale would be so small that XNNPACK ends the process."""
    network = Network.single(OpSpec("mbconv", 8, 8, 8, 8, 3, 1, 3, se=4, act="relu6"))
    model_format, weights = format_of(runtime, "int8"), random_weights(network.graph, 0)
    (bias,) = [name for name in weights if "squeeze" in name and name.endswith("bias")]
    weights[bias] = np.full_like(weights[bias], -100.0)
    assert model_format.quantize is not None
    model = model_format.model(network, weights)
    small = model_format.quantize(model, random_inputs(network, 32, 1))
    inputs = random_inputs(network, 32, 2)
    expected, actual = model_format.run(model, inputs), model_format.run(small, inputs)
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.92


def test_quantising_leaves_logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantiser that logs a warning would install a handler, and that one would write into a closed file later."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    with quantize.quiet():
        logging.warning("as the quantisers do")
    assert root.handlers == []


SMALL = chain(OpSpec("conv", 2, 8, 16, 16, act="relu"), OpSpec("classifier", 8, 4, 16, 16))


def calibrated(runtime: str, network: Network, weights: Any, samples: np.ndarray, **interface: Any) -> Calibrated:
    model_format = format_of(runtime, "int8")
    assert model_format.calibrate is not None
    return model_format.calibrate(
        model_format.model(network, weights, interface=Interface(layout=model_format.layout, **interface)), samples
    )


def errors(runtime: str, made: Calibrated, settings: list[Setting], weights: Any, inputs: np.ndarray) -> list[float]:
    """Mean squared error of int8 files of `SMALL`, as a share of the variance of the float outputs."""
    model_format = format_of(runtime)
    wanted = model_format.run(model_format.model(SMALL, weights), inputs)
    return [
        float(((model_format.run(made.quantised(one), inputs) - wanted) ** 2).mean() / wanted.var()) for one in settings
    ]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_scale_per_channel_mends_a_weight_that_is_much_larger_than_all_others(runtime: str) -> None:
    """It reads what is always zero, so that it changes nothing but the scale that it shares with other channels."""
    weights = random_weights(SMALL.graph, 0)
    (name,) = [name for name in weights if name.startswith("op0.") and weights[name].ndim == 4]
    weights[name][0, 1] = 1000.0
    samples, inputs = random_inputs(SMALL, 32, 1), random_inputs(SMALL, 32, 2)
    samples[:, 1] = inputs[:, 1] = 0
    made = calibrated(runtime, SMALL, weights, samples)
    first = made.settings[0]
    own, shared = errors(runtime, made, [first, Setting(False, first.calibration)], weights, inputs)
    assert own < 0.01
    assert shared > 0.3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_percentile_mends_a_value_that_is_much_larger_than_all_others(runtime: str) -> None:
    weights, samples, inputs = random_weights(SMALL.graph, 0), random_inputs(SMALL, 128, 1), random_inputs(SMALL, 32, 2)
    samples[7, 0, 3, 3] = 1000.0
    made = calibrated(runtime, SMALL, weights, samples)
    narrow, wide = errors(runtime, made, [Setting(True, "percentile"), Setting(True, "min-max")], weights, inputs)
    assert narrow < 0.02
    assert wide > 0.1


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_first_setting_keeps_the_peaks_of_all_samples(runtime: str) -> None:
    """Of bright images as well as of dark ones; an average of their ranges cuts off those of the bright ones."""
    weights, inputs = random_weights(SMALL.graph, 0), random_inputs(SMALL, 64, 2)
    inputs *= np.random.default_rng(0).uniform(0.2, 3, (64, 1, 1, 1)).astype(np.float32)
    made = calibrated(runtime, SMALL, weights, inputs)
    averages = [one for one in made.settings if one.calibration == "average"]
    first, *cut = errors(runtime, made, [made.settings[0], *averages[:1]], weights, inputs)
    assert first < 0.01
    assert len(cut) == (runtime == "litert")
    assert all(one > 5 * first for one in cut)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_all_settings_quantise_nearly_as_well_where_nothing_is_odd(runtime: str) -> None:
    weights, inputs = random_weights(SMALL.graph, 0), random_inputs(SMALL, 32, 2)
    made = calibrated(runtime, SMALL, weights, random_inputs(SMALL, 64, 1))
    assert len({*made.settings}) == len(made.settings) >= 4
    assert max(errors(runtime, made, [*made.settings], weights, inputs)) < 0.05


def pixels(network: Network, count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *network.input_shape), dtype=np.uint8)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("network", NETWORKS[:2])
def test_with_all_layers_in_float_the_file_computes_what_the_float_file_computes(
    network: Network, runtime: str
) -> None:
    weights, model_format, images = random_weights(network.graph, 0), format_of(runtime, "int8"), pixels(network, 8)
    scale = {"mean": (0.5,) * network.input_shape[0], "std": (0.25,) * network.input_shape[0]}
    made = calibrated(runtime, network, weights, images, input="uint8", **scale)
    interface = Interface("uint8", "logits", model_format.layout, **scale)
    wanted = model_format.run(model_format.model(network, weights, interface=interface), images)
    found = model_format.run(made.quantised(made.settings[0], made.layers), images)
    assert np.abs(found - wanted).max() < 1e-4 * max(1.0, np.abs(wanted).max())
    assert np.abs(model_format.run(made.quantised(made.settings[0]), images) - wanted).max() > 1e-3


def test_a_layer_in_float_is_the_only_one() -> None:
    network = NETWORKS[0]
    made = calibrated("onnxruntime", network, random_weights(network.graph, 0), random_inputs(network, 4, 0))
    layer = made.layers[2]
    model = onnx.load_from_string(made.quantised(made.settings[0], [layer]))
    constants = {one.name for one in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [node.name for node in convs if node.input[1] in constants] == [layer]
    assert len(convs) == len(made.layers)


def test_a_layer_in_float_is_the_only_one_in_a_litert_file() -> None:
    network = NETWORKS[0]
    made = calibrated("litert", network, random_weights(network.graph, 0), random_inputs(network, 4, 0))
    layer = made.layers[2]
    model = schema.ModelT.InitFromPackedBuf(made.quantised(made.settings[0], [layer]))
    (graph,) = model.subgraphs
    kinds = [getattr(schema.BuiltinOperator, name) for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]
    convs = [one for one in graph.operators if model.operatorCodes[one.opcodeIndex].builtinCode in kinds]
    floats = [one for one in convs if graph.tensors[one.inputs[1]].type == schema.TensorType.FLOAT32]
    assert [graph.tensors[one.outputs[0]].name.decode() for one in floats] == [layer]
    assert len(convs) == len(made.layers)


@given(st.lists(st.booleans(), max_size=20))
def test_every_node_is_in_one_layer(weighted: list[bool]) -> None:
    nodes = [(f"node{place}", one) for place, one in enumerate(weighted)]
    layers = layers_of(nodes)
    assert [*layers] == [name for name, one in nodes if one]
    assert all(name in names for name, names in layers.items())
    found = [name for names in layers.values() for name in names]
    assert found == ([name for name, _ in nodes] if any(weighted) else [])


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, inputs: np.ndarray) -> None:
        self._left = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(({"input": one[None]} for one in self._left), None)


def test_settings_are_those_of_the_libraries() -> None:
    """ONNX's first one, and LiteRT's average, which is its library's default: to the byte."""
    network = NETWORKS[0]
    weights, samples = random_weights(network.graph, 0), random_inputs(network, 8, 1)
    onnx_model, litert_model = (format_of(one).model(network, weights) for one in RUNTIMES)
    with tempfile.TemporaryDirectory() as folder:
        quantize_static(
            onnx.load_from_string(onnx_model),
            Path(folder, "int8.onnx"),
            Samples(samples),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        expected = Path(folder, "int8.onnx").read_bytes()
    own = quantizer.Quantizer(bytearray(litert_model))
    own.load_quantization_recipe(recipe.static_wi8_ai8())
    feeds = {"serving_default": [{"input": one[None].transpose(0, 2, 3, 1).copy()} for one in samples]}
    reference = schema.ModelT.InitFromPackedBuf(bytes(own.quantize(own.calibrate(feeds)).quantized_model))
    made = calibrated("onnxruntime", network, weights, samples)
    for again in range(2):
        assert made.quantised(made.settings[0]) == expected, f"{again}: also from ranges that are kept"
    lite = calibrated("litert", network, weights, samples)
    found = schema.ModelT.InitFromPackedBuf(lite.quantised(Setting(True, "average")))
    for mine, theirs in zip(found.subgraphs[0].tensors, reference.subgraphs[0].tensors, strict=True):
        assert (mine.name, mine.type) == (theirs.name, theirs.type)
        for field in ("scale", "zeroPoint"):
            values = [getattr(one.quantization, field, None) for one in (mine, theirs)]
            np.testing.assert_array_equal(*values)


def test_an_int8_litert_file_that_ends_in_logits_names_them_so() -> None:
    network = NETWORKS[0]
    made = calibrated(
        "litert",
        network,
        random_weights(network.graph, 0),
        pixels(network, 4),
        input="uint8",
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    content = made.quantised(made.settings[0])
    loaded = interpreter(content)
    ((one,),) = (loaded.get_output_details(),)
    assert (one["name"], one["dtype"]) == ("logits", np.float32)
    names = [tensor.name for tensor in schema.ModelT.InitFromPackedBuf(content).subgraphs[0].tensors]
    assert len({*names}) == len(names)
