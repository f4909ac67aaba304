"""LiteRT's interpreter: the outputs of a model."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from hwnas.backends.litert import SIGNATURE
from hwnas.backends.onnx_runtime import Compute
from hwnas.errors import ExportError

_STORED: dict[Any, tuple[int, int]] = {np.int8: (-128, 127), np.uint8: (0, 255)}
"""Types of tensors that stand for real values, and their range."""


def check(model: bytes) -> None:
    """LiteRT's reader has checked a model once it has run.

    Raises:
        ExportError: it refuses the model.
    """
    try:
        interpreter(model)
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"LiteRT refuses the model: {error}") from error


def run_litert(model: bytes, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Output of a LiteRT model with a batch of one for each of `inputs` (n, C, H, W), computed on one thread.

    The model reads and writes (1, H, W, C), float32, int8 or uint8; what comes back is float32 (n, C, H, W), or (n,
    classes).

    Raises:
        ExportError: LiteRT refuses the model.
    """
    with open_litert(model) as compute:
        return compute(inputs)


@contextlib.contextmanager
def open_litert(model: bytes) -> Iterator[Compute]:
    """`run_litert` of one interpreter.

    Raises:
        ExportError: LiteRT refuses the model; what is yielded raises it as well.
    """
    with _refused():
        run = interpreter(model).get_signature_runner(SIGNATURE)
        given, ((output, made),) = run.get_input_details(), run.get_output_details().items()

    def compute(inputs: NDArray[Any]) -> NDArray[np.float32]:
        with _refused():
            maps = np.split(inputs.transpose(0, 2, 3, 1), len(given), axis=3)
            stored = {name: _stored(one, given[name]) for name, one in zip(sorted(given), maps, strict=True)}
            called = (run(**{name: values[[k]] for name, values in stored.items()}) for k in range(len(inputs)))
            outputs = _real(np.concatenate([one[output] for one in called]), made)
        return outputs.transpose(0, 3, 1, 2) if outputs.ndim == 4 else outputs

    yield compute


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (ValueError, RuntimeError, KeyError) as error:
        raise ExportError(f"LiteRT refuses the model: {error}") from error


def _stored(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[Any]:
    """Real values as the tensor stores them."""
    if tensor["dtype"] not in _STORED:
        return np.asarray(values, np.float32)
    scale, zero = tensor["quantization"]
    low, high = _STORED[tensor["dtype"]]
    return np.asarray(np.clip(np.round(values / scale + zero), low, high), tensor["dtype"])


def _real(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    """What the tensor stores as real values."""
    if tensor["dtype"] not in _STORED:
        return np.asarray(values, np.float32)
    scale, zero = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - zero) * scale, np.float32)


def interpreter(model: bytes) -> Any:
    """LiteRT's interpreter of a model, on one CPU thread, with XNNPACK.

    Raises:
        ValueError or RuntimeError: the model cannot be loaded.
    """
    with _ungreeted():
        loaded = Interpreter(model_content=model, num_threads=1)
        loaded.allocate_tensors()
    return loaded


def runs_as_one_delegate(model: bytes) -> bool:
    """Whether XNNPACK reads the input and writes the output: no operator is left to LiteRT's own kernels."""
    loaded = interpreter(model)
    sources, (target,) = loaded.get_input_details(), loaded.get_output_details()
    (graph,) = schema.ModelT.InitFromPackedBuf(model).subgraphs
    constants = {index for index, tensor in enumerate(graph.tensors) if tensor.buffer}
    delegates = [op for op in loaded._get_ops_details() if op["op_name"] == "DELEGATE"]
    if not graph.operators:
        return not delegates
    return (
        len(delegates) == 1
        and set(delegates[0]["inputs"]) - constants <= {source["index"] for source in sources}
        and list(delegates[0]["outputs"]) == [target["index"]]
    )


@contextlib.contextmanager
def _ungreeted() -> Iterator[None]:
    """Without the line that LiteRT writes to the process's stderr with every delegate; no setting of it does that."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            sys.stderr.flush()
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
