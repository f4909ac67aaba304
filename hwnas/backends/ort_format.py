"""ONNX models in ONNX Runtime's own format, which its reduced builds for phones and browsers read."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

from hwnas.backends.onnx_runtime import RUNTIME_ERRORS
from hwnas.errors import ExportError

_ERRORS: tuple[type[Exception], ...] = (*RUNTIME_ERRORS, OSError)
_OF_ONE_CPU = ["NchwcTransformer"]
"""Optimisations whose result other CPUs refuse; `onnxruntime.tools.convert_onnx_models_to_ort` leaves them out, too."""


def ort_model(model: bytes) -> bytes:
    """The model as an .ort file, optimised as far as any CPU can read it.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    with tempfile.TemporaryDirectory(prefix="hwnas-") as folder:
        path = Path(folder, "model.ort")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(path)
        options.add_session_config_entry("session.save_model_format", "ORT")
        try:
            onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], disabled_optimizers=_OF_ONE_CPU
            )
            return path.read_bytes()
        except _ERRORS as error:
            raise ExportError(f"ONNX Runtime cannot write the model in its own format: {error}") from error
