"""Post-training static quantisation to int8, by the quantisers that belong to the runtimes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from hwnas.backends.interface import Interface
from hwnas.backends.onnx import around
from hwnas.backends.onnx_runtime import fed
from hwnas.errors import ExportError, InputError
from hwnas.runtimes import Runtime

_DEAD = 1e-6  # the largest value of an activation that is taken for zero
_FLOAT_SCORES = [
    {"regex": ".*", "operation": operation, "algorithm_key": "no_quantize"} for operation in ("SOFTMAX", "OUTPUT")
]
"""Rules of ai-edge-quantizer's: eight bits of a probability would be steps of 1/256."""


def quantize_onnx(model: bytes, samples: NDArray[np.float32]) -> bytes:
    """An ONNX model in QDQ form: uint8 activations, int8 weights with a scale per channel.

    Input and output stay what they are, and what the file computes around the network stays float.

    Args:
        samples: inputs of the model (n, C, H, W) that the ranges of the activations are taken from.

    Raises:
        ExportError: ONNX Runtime's quantiser refuses the model.
    """
    proto = onnx.load_from_string(model)
    form = fed(model)

    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = map(form, samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory(prefix="hwnas-") as folder, _quiet():
        path = Path(folder, "int8.onnx")
        try:
            quantize_static(
                proto,
                path,
                Samples(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[node.name for node in proto.graph.node if around(node)],
            )
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise ExportError(f"ONNX Runtime cannot quantise the model: {error}") from error
        return path.read_bytes()


def quantize_litert(model: bytes, samples: NDArray[np.float32]) -> bytes:
    """A LiteRT model of int8 activations and weights, these with a scale per channel.

    Input and output are int8, too; of a model that reads pixels they are uint8, and the output stays float.

    Args:
        samples: inputs of the model (n, C, H, W) that the ranges of the activations are taken from.

    Raises:
        InputError: LiteRT's quantiser is not installed.
        ExportError: it refuses the model.
    """
    from hwnas.backends.litert import INPUT, SIGNATURE
    from hwnas.backends.litert_metadata import archived, metadata_of
    from hwnas.backends.litert_runtime import interpreter
    from hwnas.backends.tflite_tables import packed, unpacked, with_uint8_input

    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as error:
        raise InputError("int8 models for LiteRT need ai-edge-quantizer", hint="pip install 'hwnas[litert]'") from error
    metadata = metadata_of(model)
    pixels = Interface.of_metadata(metadata).pixels
    names = sorted(interpreter(model).get_signature_runner(SIGNATURE).get_input_details())
    maps = np.split(np.ascontiguousarray(samples.transpose(0, 2, 3, 1), np.float32), len(names), axis=3)
    feeds = [{name: one[[k]] for name, one in zip(names, maps, strict=True)} for k in range(len(samples))]
    with _quiet():
        try:
            own = quantizer.Quantizer(bytearray(model))
            own.load_quantization_recipe([*recipe.static_wi8_ai8(), *(_FLOAT_SCORES if pixels else ())])
            ranges = _without_dead(own.calibrate({SIGNATURE: feeds}))
            if pixels:
                ranges[INPUT] |= {
                    key: np.full_like(ranges[INPUT][key], value) for key, value in (("min", 0.0), ("max", 255.0))
                }
            small = unpacked(bytes(own.quantize(ranges).quantized_model))
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise ExportError(f"LiteRT's quantiser refuses the model: {error}") from error
    if pixels:
        with_uint8_input(small)
        metadata["hwnas.input"] = "uint8"
    return packed(small) + archived(metadata)


def _without_dead(ranges: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The ranges, with 0 to 1 for maps that were zero throughout, as the squeezed channels of a dead block are.

    Their scale would be near 1e-12. No such model computes anything else for it, but XNNPACK, which allows no factor of
    256 or more between the scales around a convolution, ends the process when it meets one.
    """
    dead = {"min": np.zeros((1, 1), np.float32), "max": np.ones((1, 1), np.float32)}
    return {
        name: one | {key: value.reshape(np.shape(one[key])) for key, value in dead.items()}
        if max(np.abs(one["min"]).max(), np.abs(one["max"]).max()) < _DEAD
        else one
        for name, one in ranges.items()
    }


def quantiser(runtime: Runtime) -> str:
    """Name and version of what quantises for a runtime: other versions may write other models."""
    package = runtime.quantiser
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars, hints and warnings of the quantisers.

    Their first warning would give the root logger a handler that writes into what is closed when this ends; where there
    is a handler already, it does not.
    """
    onnxruntime.set_default_logger_severity(3)
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        onnxruntime.set_default_logger_severity(2)
