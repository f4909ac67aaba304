"""ONNX Runtime sessions, and the exceptions that it raises."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _native

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
