"""Primitives to LiteRT (.tflite): float32, NHWC, static batch of one, batch norm folded, activations fused.

XNNPACK takes over every node, so that a model runs as one delegate.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
from hwnas.backends.weights import Affine, Weights, fold, random_weights
from hwnas.errors import ExportError, InputError
from hwnas.files import sha256

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise InputError("LiteRT needs the package ai-edge-litert", hint="pip install ai-edge-litert") from error

INPUT, OUTPUT, SIGNATURE = "input", "logits", "serving_default"
METADATA = "metadata.json"

_Borders: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # above and below, left and right
_FUSED = {"relu": schema.ActivationFunctionType.RELU, "relu6": schema.ActivationFunctionType.RELU6}
_TYPES: dict[type[np.generic], int] = {
    np.float32: schema.TensorType.FLOAT32,
    np.int32: schema.TensorType.INT32,
}


def litert_model(network: Network, weights: Weights, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The network as a LiteRT model: `input` (1, H, W, C) float32 to `logits` (1, classes) float32.

    Further inputs are called `input1`, `input2` and so on.
    An output that is a map, as that of most micro-models, is (1, H, W, C).

    Args:
        weights: every parameter and running statistic of `network.graph`, by name.
        metadata: goes behind the model as `metadata.json` in a zip archive, as TFLite's own metadata do: runtimes do
            not read that far, and `unzip -p model.tflite metadata.json` shows it.

    Raises:
        ExportError: a weight is missing or has another shape.
    """
    graph, constants = fold(network.graph, weights)
    graph, fused = _fuse(graph)
    writer = _Writer(graph, constants, fused)
    for value, node in enumerate(graph.nodes, len(graph.inputs)):
        writer.write(node, value)
    return writer.content() + archived(metadata or {})


def micro_model(spec: OpSpec, seed: int = 0) -> bytes:
    """The one-op model that a latency table measures, written by the same code as the final model."""
    network = Network.single(spec)
    return litert_model(network, random_weights(network.graph, seed))


def fingerprint(spec: OpSpec) -> str:
    """16 hexadecimal digits that change with what is measured for `spec`: a hash of its model with weights of zero."""
    network = Network.single(spec)
    shapes = network.graph.parameters() | network.graph.statistics()
    return sha256(litert_model(network, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}))[:16]


def archived(metadata: Mapping[str, str]) -> bytes:
    """A zip archive of the metadata, the same bytes for the same metadata; nothing for none."""
    if not metadata:
        return b""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(dict(sorted(metadata.items())), ensure_ascii=False))
    return buffer.getvalue()


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
    def __init__(self, graph: Graph, parameters: Mapping[str, Affine], fused: Mapping[str, int]) -> None:
        self._graph = graph
        self._parameters = parameters
        self._fused = fused
        self._buffers: list[Any] = [_Buffer()]  # the first one is empty by convention
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}  # of operators: (builtin, version)
        self._constants: dict[str, int] = {}
        self._values = {
            index: self._tensor(f"{INPUT}{index or ''}", _nhwc(shape), schema.TensorType.FLOAT32)
            for index, shape in enumerate(graph.inputs)
        }
        for index, shape in enumerate(graph.zeros):
            self._values[~index] = self._constant(f"zero_{index}", np.zeros(_nhwc(shape)))

    def content(self) -> bytes:
        """The model as a file."""
        given = [self._values[index] for index in range(len(self._graph.inputs))]
        target = self._values[self._graph.output]
        subgraph = _table(
            "SubGraph",
            tensors=self._tensors,
            operators=self._operators,
            inputs=given,
            outputs=[target],
            name="main",
        )
        signature = _table(
            "SignatureDef",
            inputs=[_table("TensorMap", name=self._tensors[one].name, tensorIndex=one) for one in given],
            outputs=[_table("TensorMap", name=OUTPUT, tensorIndex=target)],
            signatureKey=SIGNATURE,
        )
        model = _table(
            "Model",
            version=3,
            description="hwnas",
            operatorCodes=[
                _table("OperatorCode", builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=version)
                for code, version in self._codes
            ],
            subgraphs=[subgraph],
            buffers=self._buffers,
            signatureDefs=[signature],
        )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

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
        operator = _table(
            "Operator",
            opcodeIndex=self._codes.setdefault(code, len(self._codes)),
            inputs=list(inputs),
            outputs=[self._tensor(name, shape, schema.TensorType.FLOAT32)],
        )
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            operator.builtinOptions = _table(f"{options}Options", **fields)
        self._operators.append(operator)
        return int(operator.outputs[0])

    def _affine(self, node: Node, weight: ArrayLike, bias: ArrayLike | None) -> list[int]:
        """Constants of a convolution or linear layer; XNNPACK wants a bias with each."""
        bias = np.zeros(node.shape[0]) if bias is None else bias
        return [self._constant(f"{node.name}.weight", weight), self._constant(f"{node.name}.bias", bias)]

    def _constant(self, name: str, values: ArrayLike, kind: type[np.generic] = np.float32) -> int:
        """The tensor of this name with these values, written once."""
        if name not in self._constants:
            array = np.asarray(values, kind)
            self._buffers.append(_Buffer(np.frombuffer(array.tobytes(), np.uint8)))
            self._constants[name] = self._tensor(name, array.shape, _TYPES[kind], len(self._buffers) - 1)
        return self._constants[name]

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int = 0) -> int:
        self._tensors.append(_table("Tensor", name=name, shape=list(shape), type=kind, buffer=buffer))
        return len(self._tensors) - 1


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """Data that begin at a multiple of 16 bytes, as the schema demands."""

    def __init__(self, data: NDArray[np.uint8] | None = None) -> None:
        super().__init__()
        self.data = data

    def Pack(self, builder: Any) -> Any:  # noqa: N802
        if self.data is not None:
            builder.Prep(16, len(self.data))
        return super().Pack(builder)


def _table(name: str, /, **fields: Any) -> Any:
    """A table of the schema."""
    table = getattr(schema, f"{name}T")()
    for field, value in fields.items():
        assert hasattr(table, field), f"{name} has no field {field}"
        setattr(table, field, value)
    return table


def _nhwc(shape: Shape) -> tuple[int, int, int, int]:
    channels, height, width = shape
    return 1, height, width, channels
