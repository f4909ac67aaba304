"""The file format that a runtime reads: what writes it, and what reads it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.backends.weights import Weights, random_weights
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.runtimes import Runtime, runtime_named

if TYPE_CHECKING:
    from hwnas.backends.onnx_runtime import Opened, Run

_SAMPLES = 4  # random inputs that a random model is quantised with

Quantize: TypeAlias = Callable[[bytes, NDArray[np.float32]], bytes]
"""Quantises a model, given inputs (n, C, H, W)."""


class WriteModel(Protocol):
    """Writes a whole network; raises ExportError where a weight is missing or has another shape."""

    def __call__(self, network: Network, weights: Weights, *, metadata: Mapping[str, str] | None = None) -> bytes: ...


@dataclass(frozen=True)
class ModelFormat:
    """How a network becomes a file, and what is in it.

    Attributes:
        suffix: what names of such files end in.
        layout: of the input, 'nchw' or 'nhwc'.
        model: writes a whole network with its weights, in float32.
        fingerprint: 16 hexadecimal digits that change with what is measured for an op.
        run: outputs of such a model, computed on this machine.
        opened: the same for more inputs than fit into memory at once.
        check: raises ExportError where the file breaks a rule of its format.
        metadata: what `model` was given; raises ExportError where the file is damaged.
        quantize: what is done to a model in the end, if it is not to stay float32.
    """

    suffix: str
    layout: str
    model: WriteModel
    fingerprint: Callable[[OpSpec], str]
    run: Run
    opened: Opened
    check: Callable[[bytes], None]
    metadata: Callable[[bytes], Mapping[str, str]]
    quantize: Quantize | None = None

    def random_model(self, network: Network) -> bytes:
        """The network with random weights, as its latency is measured: quantised with random inputs, if at all."""
        content = self.model(network, random_weights(network.graph, 0))
        if self.quantize is None:
            return content
        shape = (_SAMPLES, *network.input_shape)
        return self.quantize(content, np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def format_of(runtime: str, precision: str = "fp32") -> ModelFormat:
    """The format of a runtime; what runs its models here is the runtime itself.

    Raises:
        InputError: there is no such runtime, or what writes needs is not installed.
    """
    found = runtime_named(runtime)
    model_format = _FLOAT[found.suffix](found)
    return model_format if precision == "fp32" else _int8(model_format, found)


def _onnx(runtime: Runtime) -> ModelFormat:
    from hwnas.backends import onnx, onnx_runtime
    from hwnas.backends.ort_web_runtime import open_ort_web, run_ort_web

    return ModelFormat(
        runtime.suffix,
        "nchw",
        onnx.onnx_model,
        onnx.fingerprint,
        run_ort_web if runtime.in_node else onnx_runtime.run_onnx,
        open_ort_web if runtime.in_node else onnx_runtime.open_onnx,
        onnx.check,
        onnx_runtime.metadata_of,
    )


def _tflite(runtime: Runtime) -> ModelFormat:
    try:
        from hwnas.backends import litert, litert_runtime
    except ImportError as error:
        raise InputError("models for LiteRT need ai-edge-litert", hint="pip install 'hwnas[litert]'") from error
    return ModelFormat(
        runtime.suffix,
        "nhwc",
        litert.litert_model,
        litert.fingerprint,
        litert_runtime.run_litert,
        litert_runtime.open_litert,
        litert_runtime.check,
        litert_runtime.metadata_of,
    )


_FLOAT: dict[str, Callable[[Runtime], ModelFormat]] = {".onnx": _onnx, ".tflite": _tflite}


def _int8(model_format: ModelFormat, runtime: Runtime) -> ModelFormat:
    """A model is written in float32 and then quantised, so an op is known by its float model and the quantiser."""
    from hwnas.backends.quantize import quantiser, quantize_litert, quantize_onnx

    def fingerprint(spec: OpSpec) -> str:
        return sha256(f"{model_format.fingerprint(spec)} int8 {quantiser(runtime)}".encode())[:16]

    quantize = {".onnx": quantize_onnx, ".tflite": quantize_litert}[model_format.suffix]
    return replace(model_format, fingerprint=fingerprint, quantize=quantize)
