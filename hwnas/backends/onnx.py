"""Primitives to ONNX: one file, batch norm folded, static batch of one, only `ai.onnx` ops, opset and IR chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import (
    Activation,
    Add,
    Concat,
    Conv,
    GlobalPool,
    Graph,
    Linear,
    Mul,
    Node,
    Pad,
    Pool,
    Slice,
)
from hwnas.backends.weights import Affine, Weights, fold, random_weights
from hwnas.errors import ExportError
from hwnas.files import sha256

OPSET = 18
OLDEST_OPSET = 14
IR_VERSION = 8  # ONNX Runtime 1.14 and later read it; a newer one is refused outright by older apps
INPUT, OUTPUT = "input", "logits"


def onnx_model(
    network: Network,
    weights: Weights,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The network as a serialised ONNX model: `input` (1, C, H, W) float32 to `logits` (1, classes) float32.

    Further inputs are called `input1`, `input2` and so on.

    Args:
        network: what to write.
        weights: every parameter and running statistic of `network.graph`, by name.
        opset, ir_version: of the file; an app's runtime must support both.
        metadata: for the file's `metadata_props`.

    Raises:
        ExportError: a weight is missing or has another shape, or the opset is too old.
    """
    if opset < OLDEST_OPSET:
        raise ExportError(f"the ONNX opset must be at least {OLDEST_OPSET} (HardSwish), not {opset}")
    graph, constants = fold(network.graph, weights)
    writer = _Writer(graph, constants)
    for index, node in enumerate(graph.nodes, len(graph.inputs)):
        writer.write(node, index)
    channels, height, width = graph.output_shape
    output_shape = [1, channels] if writer.is_flat(graph.output) else [1, channels, height, width]
    proto = helper.make_graph(
        [*writer.nodes, *writer.output_alias()],
        "hwnas",
        [
            helper.make_tensor_value_info(writer.name(index), TensorProto.FLOAT, [1, *shape])
            for index, shape in enumerate(graph.inputs)
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, output_shape)],
        writer.initializers,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], producer_name="hwnas")
    model.ir_version = ir_version
    for key, value in sorted((metadata or {}).items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(model.SerializeToString(deterministic=True))


def micro_model(spec: OpSpec, seed: int = 0) -> bytes:
    """The one-op model that a latency table measures, written by the same code as the final model."""
    network = Network.single(spec)
    return onnx_model(network, random_weights(network.graph, seed))


def fingerprint(spec: OpSpec) -> str:
    """16 hexadecimal digits that change with what is measured for `spec`: a hash of its model less the weights."""
    model = onnx.load_from_string(micro_model(spec))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.ClearField("raw_data")
    return sha256(model.SerializeToString(deterministic=True))[:16]


def check(model: bytes) -> None:
    """Whether the model keeps the rules of ONNX, shapes included.

    Raises:
        ExportError: it does not.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported model is not valid ONNX: {error}") from error


class _Writer:
    def __init__(self, graph: Graph, constants: Mapping[str, Affine]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._graph = graph
        self._constants = constants
        self._flat: set[int] = set()
        self._written: set[str] = set()
        for index in range(len(graph.zeros)):
            name = self.name(~index)
            shape = self._constant(f"{name}.shape", np.array((1, *graph.zeros[index]), np.int64))
            self.nodes.append(helper.make_node("ConstantOfShape", [shape], [name], name=name))

    def is_flat(self, value: int) -> bool:
        return value in self._flat

    def name(self, value: int) -> str:
        if value < len(self._graph.inputs):
            return f"{INPUT}{value or ''}" if value >= 0 else f"zero_{~value}"
        return OUTPUT if value == self._graph.output else self._graph.nodes[value - len(self._graph.inputs)].name

    def output_alias(self) -> list[onnx.NodeProto]:
        """A graph whose output is its input, or zero, still needs a node."""
        if self._graph.output >= len(self._graph.inputs):
            return []
        return [helper.make_node("Identity", [self.name(self._graph.output)], [OUTPUT], name="identity")]

    def write(self, node: Node, value: int) -> None:
        """Append the ONNX nodes of one primitive, whose result is `value`."""
        inputs = [self.name(index) for index in node.inputs]
        match node.primitive:
            case Conv(_, kernel, stride, dilation, groups):
                self._node(
                    "Conv",
                    [*inputs, *self._parameters(node)],
                    node,
                    value,
                    kernel_shape=[kernel, kernel],
                    strides=[stride, stride],
                    pads=self._pads(node.primitive, node),
                    dilations=[dilation, dilation],
                    group=groups,
                )
            case Linear():
                flat = f"{node.name}.flatten"
                self.nodes.append(helper.make_node("Flatten", inputs, [flat], name=flat, axis=1))
                self._node("Gemm", [flat, *self._parameters(node)], node, value, transB=1)
                self._flat.add(value)
            case GlobalPool():
                self._node("GlobalAveragePool", inputs, node, value)
            case Pool(fn, kernel, stride):
                self._node(
                    "MaxPool" if fn == "max" else "AveragePool",
                    inputs,
                    node,
                    value,
                    kernel_shape=[kernel, kernel],
                    strides=[stride, stride],
                    pads=self._pads(node.primitive, node),
                    **({} if fn == "max" else {"count_include_pad": 0}),
                )
            case Pad(bottom, right):
                amounts = np.array([0, 0, 0, 0, 0, 0, bottom, right], np.int64)
                self._node("Pad", [*inputs, self._constant(f"{node.name}.pads", amounts)], node, value)
            case Slice():
                where = {"starts": (1, 1), "ends": (1 << 31, 1 << 31), "axes": (2, 3)}
                read = [self._constant(f"constant_{key}", np.array(at, np.int64)) for key, at in where.items()]
                self._node("Slice", [*inputs, *read], node, value)
            case Concat():
                self._node("Concat", inputs, node, value, axis=1)
            case Activation("relu"):
                self._node("Relu", inputs, node, value)
            case Activation("relu6"):
                bounds = [self._constant(f"constant_{k}", np.array(k, np.float32)) for k in (0, 6)]
                self._node("Clip", [*inputs, *bounds], node, value)
            case Activation("hsigmoid"):
                self._node("HardSigmoid", inputs, node, value, alpha=1 / 6, beta=0.5)
            case Activation("hswish"):
                self._node("HardSwish", inputs, node, value)
            case Add():
                self._node("Add", inputs, node, value)
            case Mul():
                self._node("Mul", inputs, node, value)
            case _:
                raise ExportError(f"the ONNX writer does not know {node.primitive}")

    def _pads(self, window: Conv | Pool, node: Node) -> list[int]:
        """Above and left, then below and right."""
        above, left = (window.borders(size) for size in self._graph.shape(node.inputs[0])[1:])
        return [above[0], left[0], above[1], left[1]]

    def _node(self, kind: str, inputs: list[str], node: Node, value: int, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [self.name(value)], name=node.name, **attributes))

    def _parameters(self, node: Node) -> list[str]:
        weight, bias = self._constants[node.name]
        names = [self._constant(f"{node.name}.weight", weight)]
        return names if bias is None else [*names, self._constant(f"{node.name}.bias", bias)]

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._written:
            self._written.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name
