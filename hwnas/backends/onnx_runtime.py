"""ONNX Runtime: its sessions, the exceptions that it raises, and the outputs of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _native

from hwnas.errors import ExportError

Run: TypeAlias = Callable[[bytes, NDArray[Any]], NDArray[np.float32]]
"""Outputs of a model for inputs (n, C, H, W), computed one by one; several inputs come one after the other in C.

Inputs are real values, which the runtime gives to the model in its type and layout: pixels where it reads pixels.
"""

Compute: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]
"""The same for a model that is open."""

Opened: TypeAlias = Callable[[bytes], AbstractContextManager[Compute]]
"""Opens a model once, for any number of calls."""

# The runtime's exceptions have no base of their own.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(kind for kind in vars(_native).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)


def cpu_session(model: bytes | str) -> Any:
    """A session on one CPU thread, from a serialised model or the path of one.

    Raises:
        one of `RUNTIME_ERRORS`: the model cannot be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_onnx(model: bytes, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """First output of an ONNX model with a batch of one for each of `inputs`, computed by ONNX Runtime on one thread.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    with open_onnx(model) as compute:
        return compute(inputs)


@contextlib.contextmanager
def open_onnx(model: bytes) -> Iterator[Compute]:
    """`run_onnx` of one session.

    Raises:
        ExportError: ONNX Runtime refuses the model; what is yielded raises it as well.
    """
    with _refused():
        session = cpu_session(model)
        feed = _feeder(session)

    def compute(inputs: NDArray[Any]) -> NDArray[np.float32]:
        with _refused():
            return np.concatenate([session.run(None, feed(x))[0] for x in inputs])

    yield compute


def fed(model: bytes) -> Callable[[NDArray[Any]], dict[str, NDArray[Any]]]:
    """What makes of real values (C, H, W) the inputs of a model, by name, in their type and layout.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    with _refused():
        return _feeder(cpu_session(model))


def _feeder(session: Any) -> Callable[[NDArray[Any]], dict[str, NDArray[Any]]]:
    kinds = {one.name: np.uint8 if one.type == "tensor(uint8)" else np.float32 for one in session.get_inputs()}
    turned = session.get_modelmeta().custom_metadata_map.get("hwnas.layout") == "nhwc"

    def feed(x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        maps = np.split(x[None], len(kinds), axis=1)
        ordered = [one.transpose(0, 2, 3, 1) for one in maps] if turned else maps
        return {name: np.ascontiguousarray(one, kinds[name]) for name, one in zip(kinds, ordered, strict=True)}

    return feed


def metadata_of(model: bytes) -> dict[str, str]:
    """The `metadata_props` of an ONNX model.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    with _refused():
        return dict(cpu_session(model).get_modelmeta().custom_metadata_map)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except RUNTIME_ERRORS as error:
        raise ExportError(f"ONNX Runtime refuses the model: {error}") from error
