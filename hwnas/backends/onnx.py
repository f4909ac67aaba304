"""Primitives to ONNX: one file, batch norm folded, static batch of one, only `ai.onnx` ops, opset and IR chosen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
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
from hwnas.backends.interface import BARE, Interface, Normalisation, normalised
from hwnas.backends.onnx_versions import IR_VERSION, OLDEST_OPSET, OPSET
from hwnas.backends.weights import Affine, Weights, fold, no_weights, random_weights
from hwnas.errors import ExportError
from hwnas.files import sha256

INPUT, OUTPUT = "input", "logits"
_SOFTMAX = "softmax"


def onnx_model(
    network: Network,
    weights: Weights,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    metadata: Mapping[str, str] | None = None,
    interface: Interface = BARE,
    plain_gates: bool = False,
    half: bool = False,
) -> bytes:
    """The network as a serialised ONNX model: `input` (1, C, H, W) float32 to `logits` (1, classes) float32.

    Further inputs are called `input1`, `input2` and so on.

    Args:
        network: what to write.
        weights: every parameter and running statistic of `network.graph`, by name.
        opset, ir_version: of the file; an app's runtime must support both.
        metadata: for the file's `metadata_props`.
        interface: what the file computes around the network; its output is called `probabilities` where it is that.
        plain_gates: hard sigmoid and hard swish as Add, Clip and Mul, which NNAPI and Core ML know.
        half: weights and the computing of the network in float16; input and output stay what they are.

    Raises:
        ExportError: a weight is missing or has another shape, the opset is too old, or the network has no such
            interface.
    """
    if opset < OLDEST_OPSET:
        raise ExportError(f"the ONNX opset must be at least {OLDEST_OPSET} (HardSwish), not {opset}")
    graph, folded = fold(network.graph, weights)
    constants, left = normalised(graph, folded, interface)
    writer = _Writer(graph, constants, plain_gates, half, reshape=not interface.bare)
    inputs = writer.begin(interface, left)
    for index, node in enumerate(graph.nodes, len(graph.inputs)):
        writer.write(node, index)
    output = writer.end(interface)
    proto = helper.make_graph(writer.nodes, "hwnas", inputs, [output], writer.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], producer_name="hwnas")
    model.ir_version = ir_version
    for key, value in sorted((interface.to_metadata() | dict(metadata or {})).items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(model.SerializeToString(deterministic=True))


def micro_model(spec: OpSpec, seed: int = 0) -> bytes:
    """The one-op model that a latency table measures, written by the same code as the final model."""
    network = Network.single(spec)
    return onnx_model(network, random_weights(network.graph, seed))


@cache
def fingerprint(spec: OpSpec) -> str:
    """16 hexadecimal digits that change with what is measured for `spec`: a hash of its model less the weights.

    Kept, as a plan asks for those of a whole space several times.
    """
    network = Network.single(spec)
    model = onnx.load_from_string(onnx_model(network, no_weights(network.graph)))
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


def around(node: onnx.NodeProto) -> bool:
    """Whether the node is of the interface, and not of the network: names of ops in networks have a dot."""
    return bool(node.name == _SOFTMAX or node.name.startswith(f"{INPUT}_"))


class _Writer:
    def __init__(
        self, graph: Graph, constants: Mapping[str, Affine], plain_gates: bool, half: bool, *, reshape: bool
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._graph = graph
        self._constants = constants
        self._plain_gates, self._half, self._reshape = plain_gates, half, reshape
        self._float = np.float16 if half else np.float32
        self._flat: set[int] = set()
        self._written: set[str] = set()
        self._read = [f"{INPUT}{index or ''}" for index in range(len(graph.inputs))]  # by the network
        self._made = f"{OUTPUT}_half" if half else OUTPUT
        for index in range(len(graph.zeros)):
            name = self.name(~index)
            shape = self._constant(f"{name}.shape", np.array((1, *graph.zeros[index]), np.int64))
            value = {"value": numpy_helper.from_array(np.zeros(1, np.float16))} if half else {}
            self.nodes.append(helper.make_node("ConstantOfShape", [shape], [name], name=name, **value))

    def name(self, value: int) -> str:
        if value < len(self._graph.inputs):
            return self._read[value] if value >= 0 else f"zero_{~value}"
        return self._made if value == self._graph.output else self._graph.nodes[value - len(self._graph.inputs)].name

    def begin(self, interface: Interface, left: Normalisation) -> list[onnx.ValueInfoProto]:
        """Append what makes of the file's inputs those of the network; returns them."""
        kind = TensorProto.UINT8 if interface.input == "uint8" else TensorProto.FLOAT
        turned = interface.layout == "nhwc"
        shapes = [(*shape[1:], shape[0]) if turned else shape for shape in self._graph.inputs]
        inputs = [
            helper.make_tensor_value_info(name, kind, [1, *shape])
            for name, shape in zip(self._read, shapes, strict=True)
        ]
        for index in range(len(inputs)):
            if turned:
                self._step(index, "Transpose", perm=[0, 3, 1, 2])
            if kind == TensorProto.UINT8:
                self._step(index, "Cast", to=TensorProto.FLOAT)
            for step, values in (("Mul", left.scale), ("Add", left.shift)):
                if values is not None:
                    name = f"{INPUT}_{step.lower()}.values"
                    self._step(index, step, self._constant(name, values[:, None, None], np.float32))
            if self._half:
                self._step(index, "Cast", name="half", to=TensorProto.FLOAT16)
        return inputs

    def _step(self, index: int, kind: str, *more: str, name: str = "", **attributes: Any) -> None:
        made = f"{INPUT}_{name or kind.lower()}{index or ''}"
        self.nodes.append(helper.make_node(kind, [self._read[index], *more], [made], name=made, **attributes))
        self._read[index] = made

    def end(self, interface: Interface) -> onnx.ValueInfoProto:
        """Append what makes of the network's output that of the file; returns it."""
        channels, height, width = self._graph.output_shape
        flat = self._graph.output in self._flat
        name = self._made
        if self._graph.output < len(self._graph.inputs):  # it is the input, or zero, and still needs a node
            self.nodes.append(helper.make_node("Identity", [self.name(self._graph.output)], [name], name="identity"))
        if self._half:
            self.nodes.append(helper.make_node("Cast", [name], [OUTPUT], name=OUTPUT, to=TensorProto.FLOAT))
            name = OUTPUT
        if interface.output == "probabilities":
            if not flat:
                raise ExportError("probabilities are of classes, but the network ends in a map")
            self.nodes.append(helper.make_node("Softmax", [name], [interface.output], name=_SOFTMAX, axis=1))
            name = interface.output
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [1, channels] if flat else [1, channels, height, width]
        )

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
                flat = self._flattened(node, inputs)
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
                self._node("Clip", [*inputs, self._scalar(0), self._scalar(6)], node, value)
            case Activation("hsigmoid" | "hswish" as fn) if self._plain_gates:
                shifted, clipped = f"{node.name}.shifted", f"{node.name}.clipped"
                self._plain("Add", [*inputs, self._scalar(3)], shifted)
                self._plain("Clip", [shifted, self._scalar(0), self._scalar(6)], clipped)
                gate = [clipped, self._scalar(1 / 6, "sixth")]
                if fn == "hswish":
                    self._plain("Mul", gate, f"{node.name}.gate")
                    gate = [*inputs, f"{node.name}.gate"]
                self._node("Mul", gate, node, value)
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

    def _plain(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))

    def _flattened(self, node: Node, inputs: list[str]) -> str:
        """Core ML takes a Reshape; single ops keep the Flatten that tables were measured with (docs/decisions/0068)."""
        if not self._reshape:
            self._plain("Flatten", inputs, f"{node.name}.flatten", axis=1)
            return f"{node.name}.flatten"
        name = f"{node.name}.reshape"
        shape = np.array((1, self._graph.shape(node.inputs[0])[0]), np.int64)
        self._plain("Reshape", [*inputs, self._constant(f"{name}.shape", shape)], name)
        return name

    def _parameters(self, node: Node) -> list[str]:
        weight, bias = self._constants[node.name]
        names = [self._constant(f"{node.name}.weight", weight, self._float)]
        return names if bias is None else [*names, self._constant(f"{node.name}.bias", bias, self._float)]

    def _scalar(self, value: float, name: str = "") -> str:
        return self._constant(f"constant_{name or value}", np.array(value), self._float)

    def _constant(self, name: str, values: NDArray[Any], kind: type[np.generic] | None = None) -> str:
        """The initialiser of this name, written once; of another type where `kind` says so."""
        if name not in self._written:
            self._written.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(values, kind, order="C"), name))
        return name
