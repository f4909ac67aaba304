from __future__ import annotations

import numpy as np
import onnx
import pytest
from networks import ACTS, SPECS, random_network, space, trained
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from hwnas.arch import Network, OpSpec
from hwnas.backends.onnx import micro_model, onnx_model
from hwnas.backends.onnx_runtime import run_onnx
from hwnas.backends.parity import compare, random_inputs
from hwnas.backends.weights import random_weights
from hwnas.errors import ExportError


def chain(spec: OpSpec) -> Network:
    return Network(
        (("op", spec), ("classifier", OpSpec("classifier", *spec.output_shape[:1], 5, *spec.output_shape[1:])))
    )


def shape(value: onnx.ValueInfoProto) -> list[int]:
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_every_micro_model_is_valid_and_static(spec: OpSpec) -> None:
    model = onnx.load_from_string(micro_model(spec))
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, [(entry.domain, entry.version) for entry in model.opset_import]) == (8, [("", 18)])
    assert {node.domain for node in model.graph.node} == {""}
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in model.graph.initializer)
    assert all(len(tensor.external_data) == 0 for tensor in model.graph.initializer)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    sources, (target,) = model.graph.input, model.graph.output
    names = ["input", "input1", "input2"][: spec.inputs]
    assert [one.name for one in (*sources, target)] == [*names, "logits"]
    assert {one.type.tensor_type.elem_type for one in (*sources, target)} == {TensorProto.FLOAT}
    assert all(shape(source) == [1, *spec.input_shape] for source in sources)
    assert shape(target) == ([1, spec.cout] if spec.kind.endswith("classifier") else [1, *spec.output_shape])


def test_a_whole_network_is_valid_and_has_flat_logits() -> None:
    network = random_network(space(), 0)
    model = onnx.load_from_string(onnx_model(network, random_weights(network.graph, 0)))
    onnx.checker.check_model(model, full_check=True)
    assert shape(model.graph.output[0]) == [1, 10]


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_the_reference_evaluator_agrees_with_the_runtime(spec: OpSpec) -> None:
    network = Network.single(spec)
    model, inputs = onnx_model(network, trained(network)), random_inputs(network, 1, 0)
    names = ["input", "input1", "input2"][: spec.inputs]
    feeds = dict(zip(names, np.split(inputs, spec.inputs, axis=1), strict=True))
    (expected,) = ReferenceEvaluator(onnx.load_from_string(model)).run(None, feeds)
    np.testing.assert_allclose(run_onnx(model, inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(("opset", "ir_version"), [(14, 7), (18, 8), (21, 10)])
def test_opset_and_ir_version_are_honoured(act: str, opset: int, ir_version: int) -> None:
    network = chain(OpSpec("mbconv", 4, 4, 5, 5, 3, se=2, act=act))
    weights = trained(network)
    content = onnx_model(network, weights, opset=opset, ir_version=ir_version)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (ir_version, opset)
    assert compare(network, weights, content, random_inputs(network, 2, 0)).ok


def test_metadata_is_written_and_the_bytes_do_not_depend_on_its_order() -> None:
    network = chain(OpSpec("conv", 3, 4, 5, 5))
    weights = random_weights(network.graph, 0)
    metadata = {"labels": '["cat", "dög"]', "budget_ms": "20", "": ""}
    content = onnx_model(network, weights, metadata=metadata)
    assert {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props} == metadata
    assert content == onnx_model(network, weights, metadata=dict(reversed(metadata.items())))


def test_weights_that_do_not_fit_are_refused() -> None:
    network = chain(OpSpec("conv", 3, 4, 5, 5))
    weights = random_weights(network.graph, 0)
    lacking = {name: value for name, value in weights.items() if name != "op.conv.norm.running_var"}
    with pytest.raises(ExportError, match=r"lack op\.conv\.norm\.running_var"):
        onnx_model(network, lacking)
    with pytest.raises(ExportError, match=r"op\.conv\.weight must have shape \(4, 3, 1, 1\)"):
        onnx_model(network, weights | {"op.conv.weight": np.zeros((4, 3, 3, 3), np.float32)})


def test_an_output_that_is_the_input_still_makes_a_model() -> None:
    spec = OpSpec("skip", 3, 3, 4, 4)
    inputs = random_inputs(Network.single(spec), 2, 0)
    np.testing.assert_array_equal(run_onnx(micro_model(spec), inputs), inputs)
