"""The file format that a runtime reads, and what writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.backends.weights import Weights
from hwnas.errors import InputError


@dataclass(frozen=True)
class Format:
    """How a network becomes a file.

    Attributes:
        suffix: what names of such files end in.
        model: writes a whole network with its weights.
        micro_model: writes the one-op model that a latency table measures.
        fingerprint: 16 hexadecimal digits that change with what is measured for an op.
    """

    suffix: str
    model: Callable[[Network, Weights], bytes]
    micro_model: Callable[[OpSpec], bytes]
    fingerprint: Callable[[OpSpec], str]


def format_of(runtime: str) -> Format:
    """The format of a runtime.

    Raises:
        InputError: there is no writer for it, or what writes needs is not installed.
    """
    if runtime in ("onnxruntime", "ort-web"):
        from hwnas.backends import onnx

        return Format(".onnx", onnx.onnx_model, onnx.micro_model, onnx.fingerprint)
    if runtime == "litert":
        try:
            from hwnas.backends import litert
        except ImportError as error:
            raise InputError("models for LiteRT need ai-edge-litert", hint="pip install 'hwnas[litert]'") from error
        return Format(".tflite", litert.litert_model, litert.micro_model, litert.fingerprint)
    raise InputError(f"no models are written for the runtime {runtime!r}", hint="use onnxruntime, litert or ort-web")
