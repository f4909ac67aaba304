"""Tables of the schema of .tflite files, packed into one flatbuffer that holds all weights itself."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import ExportError, InputError

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    raise InputError("LiteRT needs the package ai-edge-litert", hint="pip install ai-edge-litert") from error

__all__ = [
    "Buffer",
    "as_they_are",
    "flatbuffers",
    "packed",
    "schema",
    "table",
    "unpacked",
    "with_named_output",
    "with_uint8_input",
]

_DAMAGED = (ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError, MemoryError, struct.error)


class Buffer(schema.BufferT):  # type: ignore[misc]
    """Data that begin at a multiple of 16 bytes, as the schema demands."""

    def __init__(self, data: NDArray[np.uint8] | None = None) -> None:
        super().__init__()
        self.data = data

    def Pack(self, builder: Any) -> Any:  # noqa: N802
        if self.data is not None:
            builder.Prep(16, len(self.data))
        return super().Pack(builder)


def table(name: str, /, **fields: Any) -> Any:
    """A table of the schema."""
    made = getattr(schema, f"{name}T")()
    for field, value in fields.items():
        assert hasattr(made, field), f"{name} has no field {field}"
        setattr(made, field, value)
    return made


def as_they_are() -> Any:
    """The quantisation of pixels from 0 to 255: each stands for itself."""
    return table("QuantizationParameters", scale=[1.0], zeroPoint=[0])


def packed(model: Any) -> bytes:
    """The bytes of a `Model`."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpacked(content: bytes) -> Any:
    """The `Model` of these bytes, with the buffers that lie behind the flatbuffer taken into it.

    ai-edge-quantizer puts large ones there, and MediaPipe Tasks and the TFLite Task Library do not read them.

    Raises:
        ExportError: the content is damaged.
    """
    try:
        model = schema.ModelT.InitFromPackedBuf(content)
        for index, one in enumerate(model.buffers):
            data = one.data
            if one.offset > 1:
                data = np.frombuffer(content, np.uint8, one.size, one.offset)
            model.buffers[index] = Buffer(data)
    except _DAMAGED as error:
        raise ExportError(f"the .tflite model is damaged: {error}") from error
    return model


def with_uint8_input(model: Any) -> None:
    """Put a QUANTIZE before the int8 input of a quantised `Model` that reads pixels, which makes it one of uint8.

    TensorFlow's converter does the same. LiteRT then only flips the highest bit of every pixel, and the stacks that
    refuse int8 take the file.

    Raises:
        ExportError: the values of the input do not stand for pixels from 0 to 255.
    """
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    (place,) = graph.inputs
    inner = graph.tensors[place]
    scale, zero = float(inner.quantization.scale[0]), int(inner.quantization.zeroPoint[0])
    if inner.type != schema.TensorType.INT8 or (scale, zero) != (1.0, -128):
        raise ExportError(f"the quantised input stands for (x - {zero}) · {scale:g}, not for pixels from 0 to 255")
    outer = table(
        "Tensor", name=inner.name, shape=inner.shape, type=schema.TensorType.UINT8, quantization=as_they_are()
    )
    inner.name += b"_int8"
    graph.tensors.append(outer)
    code = schema.BuiltinOperator.QUANTIZE
    model.operatorCodes.append(table("OperatorCode", builtinCode=code, deprecatedBuiltinCode=code, version=1))
    step = table("Operator", opcodeIndex=len(model.operatorCodes) - 1, inputs=[len(graph.tensors) - 1], outputs=[place])
    graph.operators.insert(0, step)
    graph.inputs = step.inputs
    signature.inputs[0].tensorIndex = step.inputs[0]


def with_named_output(model: Any) -> None:
    """Give the float output of a quantised `Model` the name that its signature has for it.

    The quantiser leaves that name with the values of eight bits, and calls what it makes of them by another one.
    """
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    outer, name = graph.tensors[graph.outputs[0]], signature.outputs[0].name
    if outer.name == name:
        return
    for inner in graph.tensors:
        if inner.name == name:
            inner.name += b"_int8"
    outer.name = name
