"""The file format that a runtime reads: what writes it, and what reads it here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.backends.weights import Weights
from hwnas.errors import InputError

if TYPE_CHECKING:
    from hwnas.backends.runtime import Run

SUFFIXES = {"onnxruntime": ".onnx", "litert": ".tflite"}
"""Of the files that each runtime reads."""


class WriteModel(Protocol):
    """Writes a whole network; raises ExportError where a weight is missing or has another shape."""

    def __call__(self, network: Network, weights: Weights, *, metadata: Mapping[str, str] | None = None) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """How a network becomes a file, and what is in it.

    Attributes:
        suffix: what names of such files end in.
        layout: of the input, 'nchw' or 'nhwc'.
        model: writes a whole network with its weights.
        micro_model: writes the one-op model that a latency table measures.
        fingerprint: 16 hexadecimal digits that change with what is measured for an op.
        run: outputs of such a model, computed on this machine.
        check: raises ExportError where the file breaks a rule of its format.
        metadata: what `model` was given; raises ExportError where the file is damaged.
    """

    suffix: str
    layout: str
    model: WriteModel
    micro_model: Callable[[OpSpec], bytes]
    fingerprint: Callable[[OpSpec], str]
    run: Run
    check: Callable[[bytes], None]
    metadata: Callable[[bytes], Mapping[str, str]]


def format_of(runtime: str) -> Format:
    """The format of a runtime.

    Raises:
        InputError: there is no writer for it, or what writes needs is not installed.
    """
    suffix = SUFFIXES.get(runtime)
    if suffix == ".onnx":
        from hwnas.backends import onnx
        from hwnas.backends import runtime as onnxruntime

        return Format(
            suffix,
            "nchw",
            onnx.onnx_model,
            onnx.micro_model,
            onnx.fingerprint,
            onnxruntime.run_onnx,
            onnx.check,
            onnxruntime.metadata_of,
        )
    if suffix == ".tflite":
        try:
            from hwnas.backends import litert, litert_runtime
        except ImportError as error:
            raise InputError("models for LiteRT need ai-edge-litert", hint="pip install 'hwnas[litert]'") from error
        return Format(
            suffix,
            "nhwc",
            litert.litert_model,
            litert.micro_model,
            litert.fingerprint,
            litert_runtime.run_litert,
            litert_runtime.check,
            litert_runtime.metadata_of,
        )
    raise InputError(f"no models are written for the runtime {runtime!r}", hint=f"use {' or '.join(SUFFIXES)}")
