"""Primitives to LiteRT (.tflite): float32, NHWC, static batch of one, batch norm folded, activations fused.

XNNPACK takes over every node, so that a model runs as one delegate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

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
    Shape,
    Slice,
)
from hwnas.backends.interface import BARE, Interface, Normalisation, normalised
from hwnas.backends.litert_metadata import METADATA_NAME, archived, model_metadata
from hwnas.backends.tflite_tables import Buffer, as_they_are, packed, schema, table
from hwnas.backends.weights import Affine, Weights, fold, no_weights, random_weights
from hwnas.errors import ExportError
from hwnas.files import sha256

INPUT, OUTPUT, SIGNATURE = "input", "logits", "serving_default"

_Borders: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # above and below, left and right
_FUSED = {"relu": schema.ActivationFunctionType.RELU, "relu6": schema.ActivationFunctionType.RELU6}
_TYPES: dict[type[np.generic], int] = {
    np.float16: schema.TensorType.FLOAT16,
    np.float32: schema.TensorType.FLOAT32,
    np.int32: schema.TensorType.INT32,
}


def litert_model(
    network: Network,
    weights: Weights,
    *,
    metadata: Mapping[str, str] | None = None,
    interface: Interface = BARE,
    half: bool = False,
) -> bytes:
    """The network as a LiteRT model: `input` (1, H, W, C) float32 to `logits` (1, classes) float32.

    Further inputs are called `input1`, `input2` and so on.
    An output that is a map, as that of most micro-models, is (1, H, W, C).

    Args:
        weights: every parameter and running statistic of `network.graph`, by name.
        metadata: goes behind the model as `metadata.json` in a zip archive, as TFLite's own metadata do: runtimes do
            not read that far, and `unzip -p model.tflite metadata.json` shows it.
        interface: what the file computes around the network. A file that reads pixels has TensorFlow Lite's own
            metadata, too, and the names of the classes as `labels.txt` in the archive.
        half: weights in float16, which runtimes expand when they load the file.

    Raises:
        ExportError: a weight is missing or has another shape, or the network has no such interface.
    """
    graph, folded = fold(network.graph, weights)
    constants, left = normalised(graph, folded, interface)
    graph, fused = _fuse(graph)
    writer = _Writer(graph, constants, fused, half)
    writer.begin(interface, left)
    for value, node in enumerate(graph.nodes, len(graph.inputs)):
        writer.write(node, value)
    facts = interface.to_metadata() | dict(metadata or {})
    own = model_metadata(facts, interface.output) if interface.pixels else b""
    return writer.content(interface, own) + archived(facts)


def micro_model(spec: OpSpec, seed: int = 0) -> bytes:
    """The one-op model that a latency table measures, written by the same code as the final model."""
    network = Network.single(spec)
    return litert_model(network, random_weights(network.graph, seed))


@cache
def fingerprint(spec: OpSpec) -> str:
    """16 hexadecimal digits that change with what is measured for `spec`: a hash of its model with weights of zero.

    Kept, as a plan asks for those of a whole space several times.
    """
    network = Network.single(spec)
    return sha256(litert_model(network, no_weights(network.graph)))[:16]


def _fuse(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """The graph without the activations that the node before them computes, and these by the name of that node."""
    n, readers = len(graph.inputs), graph.readers()
    fused: dict[str, int] = {}
    same: dict[int, int] = {}
    for value, node in enumerate(graph.nodes, n):
        read = node.inputs[0]
        if isinstance(node.primitive, Activation) and node.primitive.fn in _FUSED and readers[read] == 1 and read >= n:
            before = graph.nodes[read - n]
            if isinstance(before.primitive, Conv | Linear | Pool | Add | Mul):
                fused[before.name], same[value] = _FUSED[node.primitive.fn], read
    return graph.pruned(same), fused


class _Writer:
    def __init__(self, graph: Graph, parameters: Mapping[str, Affine], fused: Mapping[str, int], half: bool) -> None:
        self._graph = graph
        self._parameters = parameters
        self._fused = fused
        self._half = half
        self._buffers: list[Any] = [Buffer()]  # the first one is empty by convention
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}  # of operators: (builtin, version)
        self._constants: dict[str, int] = {}
        self._given: list[int] = []
        self._values: dict[int, int] = {}

    def begin(self, interface: Interface, left: Normalisation) -> None:
        """Append the inputs, and what makes of pixels what the network reads."""
        kind = schema.TensorType.UINT8 if interface.input == "uint8" else schema.TensorType.FLOAT32
        self._given = [
            self._tensor(f"{INPUT}{index or ''}", _nhwc(shape), kind) for index, shape in enumerate(self._graph.inputs)
        ]
        self._values = dict(enumerate(self._given))
        shape = _nhwc(self._graph.inputs[0])
        if kind == schema.TensorType.UINT8:
            self._tensors[self._given[0]].quantization = as_they_are()
            self._values[0] = self._op("DEQUANTIZE", self._given, f"{INPUT}_float", shape)
        for step, values in (("MUL", left.scale), ("ADD", left.shift)):
            if values is not None:  # a row of the image: repeating three numbers a pixel is slow in XNNPACK
                row = values if len(values) == 1 else np.tile(values, shape[2]).reshape(1, 1, *shape[2:])
                name = f"{INPUT}_{step.lower()}"
                read = [self._values[0], self._constant(f"{name}.values", row)]
                self._values[0] = self._op(step, read, name, shape, step.capitalize())
        for index, zero in enumerate(self._graph.zeros):
            self._values[~index] = self._constant(f"zero_{index}", np.zeros(_nhwc(zero)))

    def content(self, interface: Interface, own_metadata: bytes) -> bytes:
        """The model as a file, with the flatbuffer of TensorFlow Lite's metadata, if any."""
        given, target, made = self._given, self._values[self._graph.output], OUTPUT
        if interface.output == "probabilities":
            made, shape = interface.output, self._tensors[target].shape
            if len(shape) != 2:
                raise ExportError("probabilities are of classes, but the network ends in a map")
            target = self._op("SOFTMAX", [target], made, shape, "Softmax", beta=1.0)
        metadata = None
        if own_metadata:
            metadata = [table("Metadata", name=METADATA_NAME, buffer=len(self._buffers))]
            self._buffers.append(Buffer(np.frombuffer(own_metadata, np.uint8)))
        subgraph = table(
            "SubGraph",
            tensors=self._tensors,
            operators=self._operators,
            inputs=given,
            outputs=[target],
            name="main",
        )
        signature = table(
            "SignatureDef",
            inputs=[table("TensorMap", name=self._tensors[one].name, tensorIndex=one) for one in given],
            outputs=[table("TensorMap", name=made, tensorIndex=target)],
            signatureKey=SIGNATURE,
        )
        model = table(
            "Model",
            version=3,
            description="hwnas",
            operatorCodes=[
                table("OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
                for code, version in self._codes
            ],
            subgraphs=[subgraph],
            buffers=self._buffers,
            signatureDefs=[signature],
            metadata=metadata,
        )
        return packed(model)

    def write(self, node: Node, value: int) -> None:
        """Append the operators of one primitive, whose result is `value`."""
        inputs, shape = [self._values[index] for index in node.inputs], _nhwc(node.shape)
        name = OUTPUT if value == self._graph.output else node.name
        act = {"fusedActivationFunction": self._fused[node.name]} if node.name in self._fused else {}
        match node.primitive:
            case Conv():
                result = self._conv(name, node, act)
            case Linear(cout):
                read = [*inputs, *self._affine(node, *self._parameters[node.name])]
                result = self._op("FULLY_CONNECTED", read, name, (1, cout), "FullyConnected", **act)
            case GlobalPool():
                axes = self._constant("axes", (1, 2), np.int32)
                result = self._op("MEAN", [*inputs, axes], name, shape, "Reducer", keepDims=True)
            case Pool(fn):
                result = self._max(name, node, act) if fn == "max" else self._average(name, node, act)
            case Activation("relu" | "relu6" as fn):
                result = self._op(fn.upper(), inputs, name, shape)
            case Activation("hswish"):
                result = self._op("HARD_SWISH", inputs, name, shape)
            case Activation("hsigmoid"):
                three, sixth = self._constant("three", [3]), self._constant("sixth", [1 / 6])
                relu6 = {"fusedActivationFunction": _FUSED["relu6"]}
                inner = self._op("ADD", [*inputs, three], f"{node.name}.relu6", shape, "Add", **relu6)
                result = self._op("MUL", [inner, sixth], name, shape, "Mul")
            case Add():
                result = self._op("ADD", inputs, name, shape, "Add", **act)
            case Mul():
                result = self._op("MUL", inputs, name, shape, "Mul", **act)
            case Concat():
                result = self._op("CONCATENATION", inputs, name, shape, "Concatenation", axis=3)
            case Slice():
                result = self._slice(name, inputs[0], (0, 1, 1, 0), shape)
            case Pad(bottom, right):
                result = self._pad(name, inputs[0], ((0, bottom), (0, right)))
            case _:
                raise ExportError(f"the LiteRT writer does not know {node.primitive}")
        self._values[value] = result

    def _conv(self, name: str, node: Node, act: Mapping[str, int]) -> int:
        assert isinstance(node.primitive, Conv)
        weight, bias = self._parameters[node.name]  # (cout, cin / groups, k, k)
        groups, dilation = node.primitive.groups, node.primitive.dilation
        x, options = self._window(node, self._pad)
        options |= {"dilationHFactor": dilation, "dilationWFactor": dilation, **act}
        if groups == self._graph.shape(node.inputs[0])[0] > 1:
            read = [x, *self._affine(node, weight.transpose(1, 2, 3, 0), bias)]
            version, options["depthMultiplier"] = 2 if dilation > 1 else 1, len(weight) // groups
            return self._op("DEPTHWISE_CONV_2D", read, name, _nhwc(node.shape), "DepthwiseConv2D", version, **options)
        read = [x, *self._affine(node, weight.transpose(0, 2, 3, 1), bias)]
        return self._op("CONV_2D", read, name, _nhwc(node.shape), "Conv2D", 6 if groups > 1 else 1, **options)

    def _max(self, name: str, node: Node, act: Mapping[str, int]) -> int:
        assert isinstance(node.primitive, Pool)
        x, options = self._window(node, self._repeat_edges)
        options |= {"filterHeight": node.primitive.kernel, "filterWidth": node.primitive.kernel, **act}
        return self._op("MAX_POOL_2D", [x], name, _nhwc(node.shape), "Pool2D", **options)

    def _average(self, name: str, node: Node, act: Mapping[str, int]) -> int:
        """Where LiteRT would pad otherwise, a sum by a depthwise convolution, whose padding costs nothing."""
        assert isinstance(node.primitive, Pool)
        kernel, stride, shape = node.primitive.kernel, node.primitive.stride, _nhwc(node.shape)
        x, options = self._window(node, self._pad)
        if options["padding"] == schema.Padding.SAME:
            options |= {"filterHeight": kernel, "filterWidth": kernel, **act}
            return self._op("AVERAGE_POOL_2D", [x], name, shape, "Pool2D", **options)
        channels, *sizes = self._graph.shape(node.inputs[0])
        read = [x, *self._affine(node, np.ones((1, kernel, kernel, channels)), None)]
        options["depthMultiplier"] = 1
        total = self._op("DEPTHWISE_CONV_2D", read, f"{node.name}.sum", shape, "DepthwiseConv2D", **options)
        starts = (np.arange(out) * stride - node.primitive.padding for out in node.shape[1:])
        rows, columns = (
            np.minimum(start + kernel, size) - np.maximum(start, 0) for start, size in zip(starts, sizes, strict=True)
        )
        share = 1 / np.outer(rows, columns)[None, :, :, None]  # of a pixel in each window
        return self._op("MUL", [total, self._constant(f"{node.name}.share", share)], name, shape, "Mul", **act)

    def _window(self, node: Node, pad: Callable[[str, int, _Borders], int]) -> tuple[int, dict[str, int]]:
        """What a convolution or pool reads, padded where need be, and its options.

        SAME is what the primitives mean by padding where they say so, at stride 1, and at stride 2 for odd sizes.
        """
        assert isinstance(node.primitive, Conv | Pool)
        stride, sizes = node.primitive.stride, self._graph.shape(node.inputs[0])[1:]
        reach = 1 + (node.primitive.kernel - 1) * getattr(node.primitive, "dilation", 1)
        missing = [max((out - 1) * stride + reach - size, 0) for size, out in zip(sizes, node.shape[1:], strict=True)]
        before = [node.primitive.borders(size)[0] for size in sizes]
        x, kind = self._values[node.inputs[0]], schema.Padding.SAME
        if before != [total // 2 for total in missing]:
            above, left = ((least, max(total - least, 0)) for least, total in zip(before, missing, strict=True))
            x, kind = pad(f"{node.name}.pad", x, (above, left)), schema.Padding.VALID
        return x, {"padding": kind, "strideH": stride, "strideW": stride}

    def _pad(self, name: str, x: int, borders: _Borders) -> int:
        """Zeros around a map."""
        amounts = ((0, 0), *borders, (0, 0))
        shape = [size + sum(border) for size, border in zip(self._tensors[x].shape, amounts, strict=True)]
        return self._op("PAD", [x, self._constant(f"{name}.amounts", amounts, np.int32)], name, shape, "Pad")

    def _repeat_edges(self, name: str, x: int, borders: _Borders) -> int:
        """The edges of a map around it: no maximum changes, and PADV2 is nothing that XNNPACK takes over."""
        for axis, (before, behind) in enumerate(borders, 1):
            shape = [*self._tensors[x].shape]
            begin, edge = [0, 0, 0, 0], [*shape[:axis], 1, *shape[axis + 1 :]]
            maps = [self._slice(f"{name}.{axis}.first", x, begin, edge)] * before + [x]
            if behind:
                begin[axis] = shape[axis] - 1
                maps += [self._slice(f"{name}.{axis}.last", x, begin, edge)] * behind
            shape[axis] += before + behind
            x = self._op("CONCATENATION", maps, f"{name}.{axis}", shape, "Concatenation", axis=axis)
        return x

    def _slice(self, name: str, x: int, begin: Sequence[int], shape: Sequence[int]) -> int:
        bounds = (self._constant(f"{name}.{key}", at, np.int32) for key, at in (("begin", begin), ("size", shape)))
        return self._op("SLICE", [x, *bounds], name, shape, "Slice")

    def _op(
        self,
        kind: str,
        inputs: Sequence[int],
        name: str,
        shape: Sequence[int],
        options: str = "",
        version: int = 1,
        **fields: Any,
    ) -> int:
        """Append one operator of LiteRT; the result is the tensor `name`."""
        code = getattr(schema.BuiltinOperator, kind), version
        operator = table(
            "Operator",
            opcodeIndex=self._codes.setdefault(code, len(self._codes)),
            inputs=list(inputs),
            outputs=[self._tensor(name, shape, schema.TensorType.FLOAT32)],
        )
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = table(f"{options}Options", **fields)
        self._operators.append(operator)
        return int(operator.outputs[0])

    def _affine(self, node: Node, weight: ArrayLike, bias: ArrayLike | None) -> list[int]:
        """Constants of a convolution or linear layer; XNNPACK wants a bias with each."""
        bias = np.zeros(node.shape[0]) if bias is None else bias
        kernel = self._constant(f"{node.name}.weight", weight, np.float16 if self._half else np.float32)
        if self._half:
            shape = self._tensors[kernel].shape
            kernel = self._op("DEQUANTIZE", [kernel], f"{node.name}.weight_float", shape, version=3)
        return [kernel, self._constant(f"{node.name}.bias", bias)]

    def _constant(self, name: str, values: ArrayLike, kind: type[np.generic] = np.float32) -> int:
        """The tensor of this name with these values, written once."""
        if name not in self._constants:
            array = np.asarray(values, kind)
            self._buffers.append(Buffer(np.frombuffer(array.tobytes(), np.uint8)))
            self._constants[name] = self._tensor(name, array.shape, _TYPES[kind], len(self._buffers) - 1)
        return self._constants[name]

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int = 0) -> int:
        self._tensors.append(table("Tensor", name=name, shape=list(shape), type=kind, buffer=buffer))
        return len(self._tensors) - 1


def _nhwc(shape: Shape) -> tuple[int, int, int, int]:
    channels, height, width = shape
    return 1, height, width, channels
