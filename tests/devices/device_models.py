"""Tiny models and synthetic rounds for the tests of the device layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hwnas.devices.device import Device
from hwnas.devices.rounds import Round
from hwnas.progress import Progress

HOST = Device("host", "this machine", "local", "onnxruntime", 1, "fp32")


def write_convs(path: Path, depth: int, *, channels: int = 16, size: int = 16) -> Path:
    """A chain of `depth` 3×3 convolutions."""
    generator = np.random.default_rng(0)
    shape = [1, channels, size, size]
    weights, nodes = [], []
    for index in range(depth):
        weight = generator.standard_normal((channels, channels, 3, 3)).astype(np.float32) / (3 * channels**0.5)
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"x{index + 1}"], pads=[1, 1, 1, 1]))
    inputs = [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(f"x{depth}", TensorProto.FLOAT, shape)]
    return save(path, helper.make_graph(nodes, "convs", inputs, outputs, weights))


def write_cast(path: Path, kind: int) -> Path:
    """A model with an input of type `kind` and an open batch dimension."""
    inputs = [helper.make_tensor_value_info("x", kind, ["batch", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 8, 8])]
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    return save(path, helper.make_graph([node], "cast", inputs, outputs))


def save(path: Path, graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def write_tflite(path: Path) -> Path:
    """x + x as a LiteRT model, by the schema that comes with the runtime."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.version, code.builtinCode = 1, schema.BuiltinOperator.ADD
    operator.inputs, operator.outputs = [0, 0], [1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    for name in ("x", "y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 64, 64, 16], schema.TensorType.FLOAT32, 0
        graph.tensors = [*(graph.tensors or []), tensor]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def a_round(
    median_us: float,
    reference_us: float = 100.0,
    *,
    name: str = "a",
    round: int = 0,
    process: int = 0,
    load: float | None = None,
) -> Round:
    return Round(name, round, process, median_us, 0.9 * median_us, 1.2 * median_us, 10, reference_us, load)


class FakeStream:
    """Measures nothing: the reference model's and the model's times come from functions of (name, round)."""

    def __init__(
        self,
        reference_us: Callable[[str, int], float],
        median_us: Callable[[str, int], float] = lambda name, turn: 50.0,
        *,
        load: float | None = None,
    ) -> None:
        self.reference_us, self.median_us, self.load = reference_us, median_us, load
        self.passes: list[tuple[list[str], int]] = []

    def __call__(
        self,
        device: Device,
        models: Mapping[str, Path],
        reference: Path,
        *,
        rounds: int,
        round_ms: float,
        first_round: int,
        seed: int,
        progress: Progress,
    ) -> Iterator[Round]:
        self.passes.append((list(models), rounds))
        for turn in range(first_round, first_round + rounds):
            for name in models:
                median_us, reference_us = self.median_us(name, turn), self.reference_us(name, turn)
                yield a_round(median_us, reference_us, name=name, round=turn, process=first_round, load=self.load)
