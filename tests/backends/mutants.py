"""Model files with one wrong node each: what a comparison must catch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper

Mutant = tuple[str, bytes]  # name of the mutation and of the node, and the file
Kind = schema.BuiltinOperator
Act = schema.ActivationFunctionType


# ONNX


def _onnx_mutants(model: bytes) -> Iterator[Mutant]:
    original = onnx.load_from_string(model)
    for index, node in enumerate(original.graph.node):
        for mutate in _ONNX:
            mutant = onnx.ModelProto()
            mutant.CopyFrom(original)
            if mutate(mutant.graph.node[index], mutant):
                yield f"{mutate.__name__} of {node.name}", mutant.SerializeToString()


def _identity(node: onnx.NodeProto, keep: int) -> bool:
    kept = node.input[keep]
    node.op_type = "Identity"
    del node.input[:], node.attribute[:]
    node.input.append(kept)
    return True


def _values(name: str, model: onnx.ModelProto) -> onnx.TensorProto:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    return tensor


def other_activation(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    match node.op_type:
        case "Clip":
            node.op_type = "Relu"
            del node.input[1:]
        case "Relu" | "HardSwish":
            return _identity(node, 0)
        case "HardSigmoid":
            node.attribute[0].CopyFrom(helper.make_attribute("alpha", 0.2))  # that of Keras
        case _:
            return False
    return True


def shifted_padding(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.op_type == "Pad":
        tensor = _values(node.input[1], model)
        ahead = np.roll(np.frombuffer(tensor.raw_data, np.int64), 4)
        tensor.raw_data = ahead.tobytes()
        return True
    for attribute in node.attribute:
        if attribute.name == "pads" and attribute.ints[0]:
            top, left, bottom, right = attribute.ints
            attribute.CopyFrom(helper.make_attribute("pads", [top + 1, left + 1, bottom - 1, right - 1]))
            return True
    return False


def counted_padding(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    pads = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "pads"), [])
    for attribute in node.attribute:
        if attribute.name == "count_include_pad" and any(pads):
            attribute.i = 1
            return True
    return False


def other_pool(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    if node.op_type != "MaxPool":
        return False
    node.op_type = "AveragePool"
    return True


def no_squeeze_excite(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    return node.op_type == "Mul" and _identity(node, 0)


def no_residual(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    return node.op_type == "Add" and _identity(node, 1)


def other_slice(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.op_type != "Slice":
        return False
    _values(node.input[1], model).raw_data = np.zeros(2, np.int64).tobytes()
    _values(node.input[2], model).raw_data = np.full(2, -1, np.int64).tobytes()
    return True


def swapped_halves(node: onnx.NodeProto, _: onnx.ModelProto) -> bool:
    if node.op_type != "Concat":
        return False
    node.input[:] = reversed(node.input)
    return True


_ONNX: list[Callable[[onnx.NodeProto, onnx.ModelProto], bool]] = [
    other_activation,
    shifted_padding,
    counted_padding,
    other_pool,
    no_squeeze_excite,
    no_residual,
    other_slice,
    swapped_halves,
]


# LiteRT


def _litert_mutants(model: bytes) -> Iterator[Mutant]:
    mutant = schema.ModelT.InitFromPackedBuf(model)
    for index in range(len(mutant.subgraphs[0].operators)):
        for mutate in _LITERT:
            (graph,) = mutant.subgraphs
            operator = graph.operators[index]
            name = graph.tensors[operator.outputs[0]].name.decode()
            if mutate(_Op(mutant, graph, operator)):
                builder = flatbuffers.Builder(1 << 16)
                builder.Finish(mutant.Pack(builder), b"TFL3")
                yield f"{mutate.__name__} of {name}", bytes(builder.Output())
                mutant = schema.ModelT.InitFromPackedBuf(model)


class _Op:
    def __init__(self, model: Any, graph: Any, operator: Any) -> None:
        self.model, self.graph, self.operator = model, graph, operator
        self.kind = model.operatorCodes[operator.opcodeIndex].builtinCode
        self.options = operator.builtinOptions

    def data(self, position: int) -> Any:
        """Buffer of the constant that is input `position`."""
        return self.model.buffers[self.graph.tensors[self.operator.inputs[position]].buffer]

    def dropped(self, keep: int) -> bool:
        """The operator is gone, and who read its result reads its input `keep`."""
        kept, gone = int(self.operator.inputs[keep]), int(self.operator.outputs[0])
        self.graph.operators.remove(self.operator)
        for other in self.graph.operators:
            other.inputs = [kept if index == gone else index for index in other.inputs]
        if self.graph.outputs[0] == gone:
            self.graph.outputs = [kept]
            self.model.signatureDefs[0].outputs[0].tensorIndex = kept
        return True


def other_fused_activation(op: _Op) -> bool:
    act = getattr(op.options, "fusedActivationFunction", Act.NONE)
    if act == Act.NONE:
        return False
    op.options.fusedActivationFunction = Act.RELU if act == Act.RELU6 else Act.NONE
    return True


def lost_activation(op: _Op) -> bool:
    return op.kind in (Kind.RELU, Kind.RELU6, Kind.HARD_SWISH) and op.dropped(0)


def lost_factor_or_gate(op: _Op) -> bool:
    return op.kind == Kind.MUL and op.dropped(0)


def lost_residual(op: _Op) -> bool:
    return op.kind == Kind.ADD and op.dropped(1 if op.graph.tensors[op.operator.inputs[1]].buffer == 0 else 0)


def shifted_pad(op: _Op) -> bool:
    if op.kind != Kind.PAD:
        return False
    amounts = op.data(1).data.view(np.int32).reshape(4, 2).copy()
    for axis in amounts[1:3]:
        if axis.any():
            axis += (1, -1) if axis[1] else (-1, 1)
    op.data(1).data = np.frombuffer(amounts.tobytes(), np.uint8)
    return True


def shifted_kernel(op: _Op) -> bool:
    """What another padding would compute, where the padding has no number."""
    if op.kind not in (Kind.CONV_2D, Kind.DEPTHWISE_CONV_2D):
        return False
    shape = op.graph.tensors[op.operator.inputs[1]].shape
    weight = op.data(1).data.view(np.float32).reshape(shape)
    shifted = np.roll(weight, 1, axis=2)
    if np.array_equal(shifted, weight):
        return False
    op.data(1).data = np.frombuffer(shifted.tobytes(), np.uint8)
    return True


def other_pooling(op: _Op) -> bool:
    if op.kind not in (Kind.MAX_POOL_2D, Kind.AVERAGE_POOL_2D):
        return False
    other = Kind.AVERAGE_POOL_2D if op.kind == Kind.MAX_POOL_2D else Kind.MAX_POOL_2D
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = other
    op.model.operatorCodes.append(code)
    op.operator.opcodeIndex = len(op.model.operatorCodes) - 1
    return True


def other_crop(op: _Op) -> bool:
    if op.kind != Kind.SLICE or not op.data(1).data.any():
        return False
    op.data(1).data = np.zeros(16, np.uint8)
    return True


def swapped_maps(op: _Op) -> bool:
    if op.kind != Kind.CONCATENATION:
        return False
    op.operator.inputs = op.operator.inputs[::-1]
    return True


_LITERT: list[Callable[[_Op], bool]] = [
    other_fused_activation,
    lost_activation,
    lost_factor_or_gate,
    lost_residual,
    shifted_pad,
    shifted_kernel,
    other_pooling,
    other_crop,
    swapped_maps,
]


MUTATIONS: dict[str, Sequence[Callable[..., bool]]] = {"onnxruntime": _ONNX, "litert": _LITERT}


def mutants(model: bytes, runtime: str) -> Iterator[Mutant]:
    """Every mutation of every node to which it applies."""
    return _onnx_mutants(model) if runtime == "onnxruntime" else _litert_mutants(model)
