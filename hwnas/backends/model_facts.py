"""What a model file holds, whoever made it: inputs, outputs, precision and versions. Nothing in it is trusted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from hwnas.asked_paths import MODELS, missing_model
from hwnas.backends.interface import Interface
from hwnas.backends.tflite_bounds import check_unpacked
from hwnas.errors import ExportError, InputError
from hwnas.runtimes import readers

LARGEST_FILE = 2**31 - 1  # what protobuf and flatbuffers can address
READERS = readers()
"""Runtimes by the ending of the files that they read, the usual one first."""

_NAMES = {".onnx": "an ONNX model", ".ort": "a model of ONNX Runtime's own format", ".tflite": "a LiteRT model"}
_MAGIC = {b"TFL3": ".tflite", b"ORTM": ".ort"}  # of flatbuffers, behind the first four bytes
_DAMAGED = "it is damaged, cut short, or something else: make it again"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        dtype: such as 'float32'.
        shape: in the order of the file; None for a size that the file leaves open. None instead of a shape where it
            leaves even the number of dimensions open.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class ModelFile:
    """What is in a model file.

    Attributes:
        format: 'onnx', 'ort' or 'tflite'.
        size_bytes: of the file and of the files that it keeps its weights in.
        external: names of these, as the file has them.
        operators: how many nodes its graph has; None, like `opset` and `precision`, where that is not to be had.
        opset: version of ONNX's operators.
        ir_version: version of the format.
        producer: what wrote it.
        precision: 'fp32', 'fp16' or 'int8' when all convolutions and matrix products compute in it, else 'mixed'.
        pixels: whether it says, as files of hwnas do, that its input is pixels from 0 to 255.
        damage: what is wrong with what it says of itself; empty where nothing is, or it says nothing.
    """

    path: Path
    format: str
    size_bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    external: tuple[str, ...] = ()
    operators: int | None = None
    opset: int | None = None
    ir_version: int | None = None
    producer: str = ""
    precision: str | None = None
    pixels: bool = False
    damage: str = ""

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"path": str(self.path)}


def describe(path: Path) -> ModelFile:
    """Read what is in a model file.

    Raises:
        InputError: it is missing, no file, too large, or no model of the sort that its name says.
    """
    suffix = _checked(path)
    try:
        if suffix == ".ort":
            return _ort(path)
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return _onnx(path, content) if suffix == ".onnx" else _tflite(path, content)


def _checked(path: Path) -> str:
    """The suffix of a file that may be a model."""
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            inside = sorted(one.name for one in path.iterdir() if one.suffix.lower() in READERS)
            hint = f"name the file in it: {path / inside[0]}" if inside else MODELS
            raise InputError(f"{path} is a folder, not a model file", hint=hint)
        if not path.exists():
            raise missing_model(path)
        if not path.is_file():
            raise InputError(f"{path} is not a regular file", hint=MODELS)
        if suffix not in READERS:
            raise InputError(f"{path} ends in {path.suffix or 'nothing'}, so its format is not known", hint=MODELS)
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise InputError(
                f"{path} has {size / 2**30:.1f} GiB; a model file has less than 2 GiB",
                hint="onnx.save_model(..., save_as_external_data=True) keeps the weights of an ONNX model beside it",
            )
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    actual = _MAGIC.get(head[4:])
    if actual not in (None, suffix):
        assert actual is not None
        raise InputError(f"{path} is {_NAMES[actual]} by its content", hint=f"rename it to {path.stem}{actual}")
    if suffix in _MAGIC.values() and actual is None:
        raise _no_model(path, suffix)
    return suffix


def _no_model(path: Path, suffix: str, reason: object = "") -> InputError:
    text = " ".join(str(reason).split())
    return InputError(f"{path} is not {_NAMES[suffix]}{f': {text}' if text else ''}", hint=_DAMAGED)


def _onnx(path: Path, content: bytes) -> ModelFile:
    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError) as error:
        raise _no_model(path, ".onnx") from error
    graph = model.graph
    if model.ir_version < 1 or not model.opset_import or not graph.output:  # almost any bytes are some protobuf
        raise _no_model(path, ".onnx", "it has no version, no operator set or no output")
    constants = {one.name for one in graph.initializer} | {one.values.name for one in graph.sparse_initializer}
    external = {
        entry.value
        for one in (*_tensors(graph), *_tensors_of(node for own in model.functions for node in own.node))
        if one.data_location == TensorProto.EXTERNAL
        for entry in one.external_data
        if entry.key == "location"
    }
    beside = [path.parent / name for name in external]
    return ModelFile(
        path=path,
        format="onnx",
        size_bytes=len(content) + sum(one.stat().st_size for one in beside if one.is_file()),
        inputs=tuple(_value(one) for one in graph.input if one.name not in constants),
        outputs=tuple(_value(one) for one in graph.output),
        external=tuple(sorted(external)),
        operators=len(graph.node),
        opset=next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), None),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        precision=_one_of(_onnx_precisions(graph)),
        **_said(lambda: {one.key: one.value for one in model.metadata_props}),
    )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All constants of a graph, those of its nodes and of graphs in them included."""
    yield from graph.initializer
    for one in graph.sparse_initializer:
        yield from (one.values, one.indices)
    yield from _tensors_of(graph.node)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for one in (attribute for node in nodes for attribute in node.attribute):
        yield from (one.t, *one.tensors)
        for sparse in (one.sparse_tensor, *one.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in ([one.g] if one.HasField("g") else []) + [*one.graphs]:
            yield from _tensors(graph)


def _said(metadata: Callable[[], Mapping[str, str]]) -> dict[str, Any]:
    """What a file says of its input; it is measured whatever that is."""
    try:
        return {"pixels": Interface.of_metadata(metadata()).pixels}
    except ExportError as error:
        return {"damage": str(error)}


def _value(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return Tensor(value.name, (kind or "unknown").removesuffix("_type"), None)
    tensor = value.type.tensor_type
    names = {number: name.lower() for name, number in TensorProto.DataType.items()}
    names |= {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
    shape = None
    if tensor.HasField("shape"):
        sizes = (one.dim_value if one.HasField("dim_value") else 0 for one in tensor.shape.dim)
        shape = tuple(size if size > 0 else None for size in sizes)
    return Tensor(value.name, names.get(tensor.elem_type, "unknown"), shape)


def _onnx_precisions(graph: onnx.GraphProto) -> Iterable[str]:
    """Of every convolution and matrix product."""
    half = {one.name for one in graph.initializer if one.data_type == TensorProto.FLOAT16}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QGemm"):
            yield "int8"
        elif node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and node.input:
            if makers.get(node.input[0]) == "DequantizeLinear":
                yield "int8"
            else:
                yield "fp16" if half & set(node.input) else "fp32"


def _one_of(precisions: Iterable[str]) -> str | None:
    found = sorted(set(precisions))
    return None if not found else found[0] if len(found) == 1 else "mixed"


def _ort(path: Path) -> ModelFile:
    """ONNX Runtime itself says what it reads, because the schema of its format is not published with it."""
    from hwnas.backends.onnx_runtime import RUNTIME_ERRORS, cpu_session

    def tensors(values: Iterable[Any]) -> tuple[Tensor, ...]:
        kinds = {"float": "float32", "double": "float64"}
        return tuple(
            Tensor(
                one.name,
                kinds.get(one.type[7:-1], one.type[7:-1]) if one.type.startswith("tensor(") else one.type,
                tuple(size if isinstance(size, int) and size > 0 else None for size in one.shape),
            )
            for one in values
        )

    try:
        session = cpu_session(str(path))
    except RUNTIME_ERRORS as error:
        raise _no_model(path, ".ort", error) from error
    inputs, outputs = tensors(session.get_inputs()), tensors(session.get_outputs())
    said = _said(lambda: session.get_modelmeta().custom_metadata_map)
    return ModelFile(path, "ort", path.stat().st_size, inputs, outputs, **said)


def _tflite(path: Path, content: bytes) -> ModelFile:
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise InputError("models for LiteRT need ai-edge-litert", hint="pip install 'hwnas[litert]'") from error

    from hwnas.backends.litert_metadata import metadata_of

    def named(enumeration: Any) -> dict[int, str]:
        return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}

    try:
        check_unpacked(schema.Model.GetRootAs(content), len(content))
        model = schema.ModelT.InitFromPackedBuf(content)
        graph = model.subgraphs[0]
        types = named(schema.TensorType)

        def tensor(index: int) -> Tensor:
            one = graph.tensors[index]
            sizes = one.shape if one.shapeSignature is None else one.shapeSignature
            shape = tuple(int(size) if size > 0 else None for size in ([] if sizes is None else sizes))
            return Tensor(one.name.decode("utf-8", "replace"), types[one.type].lower(), shape)

        inputs = tuple(map(tensor, [] if graph.inputs is None else graph.inputs))
        outputs = tuple(map(tensor, graph.outputs))
        operators = graph.operators or []
        if not outputs or any(one.buffer >= len(model.buffers) for own in model.subgraphs for one in own.tensors):
            raise ValueError("it has no output, or its tensors have no buffer")
        codes = [max(one.builtinCode, one.deprecatedBuiltinCode) for one in model.operatorCodes]
        precision = _one_of(_tflite_precisions(schema, graph, operators, codes))
        version, producer = int(model.version), (model.description or b"").decode("utf-8", "replace")
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        MemoryError,
        struct.error,
    ) as error:
        raise _no_model(path, ".tflite") from error
    return ModelFile(
        path=path,
        format="tflite",
        size_bytes=len(content),
        inputs=inputs,
        outputs=outputs,
        operators=len(operators),
        ir_version=version,
        producer=producer,
        precision=precision,
        **_said(lambda: metadata_of(content)),
    )


def _tflite_precisions(schema: Any, graph: Any, operators: Iterable[Any], codes: list[int]) -> Iterable[str]:
    """Of every convolution and matrix product: by what it reads, and by its weights."""
    kinds, types = schema.BuiltinOperator, schema.TensorType
    same = (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.FULLY_CONNECTED, kinds.BATCH_MATMUL, kinds.SVDF)
    weighted = dict.fromkeys(same, 0) | {kinds.TRANSPOSE_CONV: 2}  # which of its inputs is computed with
    names = {types.INT8: "int8", types.UINT8: "int8", types.FLOAT16: "fp16", types.FLOAT32: "fp32"}
    for operator in operators:
        if (read := weighted.get(codes[operator.opcodeIndex])) is not None:
            activation, weight = (graph.tensors[operator.inputs[index]].type for index in (read, 1))
            float_by_int8 = activation == types.FLOAT32 and weight in (types.INT8, types.UINT8)
            yield "mixed" if float_by_int8 else names.get(activation, "mixed")


def shape_text(shape: Iterable[int | None] | None) -> str:
    """Such as '1×3×?×?'; 'scalar' without dimensions."""
    return "?" if shape is None else "×".join("?" if size is None else str(size) for size in shape) or "scalar"
