"""int8 models: close to the float model, integers inside, the same bytes every time, refused where they must be."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from networks import SPECS, cells, random_network, space

from hwnas.arch import Network, OpSpec, mobilenet_v2
from hwnas.backends import quantize
from hwnas.backends.litert_runtime import interpreter
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import random_inputs
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
    with quantize._quiet():
        logging.warning("as the quantisers do")
    assert root.handlers == []
