"""The file format that a runtime reads: what writes it, and what reads it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.backends.interface import BARE, Input, Interface, Layout
from hwnas.backends.kept_fingerprints import KeptFingerprints
from hwnas.backends.weights import Weights, random_weights
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.runtimes import Runtime, runtime_named

if TYPE_CHECKING:
    from hwnas.backends.onnx_runtime import Opened, Run
    from hwnas.backends.quantize import Calibrated

_SAMPLES = 4  # random inputs that a random model is quantised with

Quantize: TypeAlias = Callable[[bytes, NDArray[Any]], bytes]
"""Quantises a model, given inputs of it (n, C, H, W): pixels where it reads pixels."""

Calibrate: TypeAlias = "Callable[[bytes, NDArray[Any]], Calibrated]"
"""The same in several ways."""


class WriteModel(Protocol):
    """Writes a whole network; raises ExportError where a weight is missing or has another shape.

    What the file computes around the network, its metadata say as well.
    """

    def __call__(
        self,
        network: Network,
        weights: Weights,
        *,
        metadata: Mapping[str, str] | None = None,
        interface: Interface = BARE,
    ) -> bytes: ...


@dataclass(frozen=True)
class ModelFormat:
    """How a network becomes a file, and what is in it.

    Attributes:
        suffix: what names of such files end in.
        layout: of the input, 'nchw' or 'nhwc'.
        model: writes a whole network with its weights, in float32.
        fingerprints: of ops, by their keys: 16 hexadecimal digits that change with what is measured for an op.
        run: outputs of such a model, computed on this machine.
        opened: the same for more inputs than fit into memory at once.
        check: raises ExportError where the file breaks a rule of its format.
        metadata: what `model` was given; raises ExportError where the file is damaged.
        calibrate: what quantises a model in the end, if it is not to stay float32.
    """

    suffix: str
    layout: Layout
    model: WriteModel
    fingerprints: Callable[[Iterable[OpSpec]], dict[str, str]]
    run: Run
    opened: Opened
    check: Callable[[bytes], None]
    metadata: Callable[[bytes], Mapping[str, str]]
    calibrate: Calibrate | None = None

    @property
    def quantize(self) -> Quantize | None:
        """Quantises in the first of the ways, by which tables are measured; None where nothing is quantised."""
        return None if self.calibrate is None else partial(_quantised, self.calibrate)

    def fingerprint(self, spec: OpSpec) -> str:
        """That of one op."""
        return self.fingerprints([spec])[spec.key]

    def app_interface(self, mean: Sequence[float], std: Sequence[float]) -> Interface:
        """Of the files that ship: pixels from 0 to 255 to probabilities; in int8 pixels are bytes.

        Args:
            mean, std: per channel, of pixels scaled to 0..1.
        """
        pixels: Input = "float" if self.quantize is None else "uint8"
        return Interface(pixels, "probabilities", self.layout, tuple(mean), tuple(std))

    def random_model(self, network: Network, interface: Interface = BARE) -> bytes:
        """The network with random weights, as its latency is measured: quantised with random inputs, if at all."""
        content = self.model(network, random_weights(network.graph, 0), interface=interface)
        if self.quantize is None:
            return content
        shape, rng = (_SAMPLES, *network.input_shape), np.random.default_rng(0)
        samples = rng.integers(0, 256, shape) if interface.pixels else rng.standard_normal(shape, dtype=np.float32)
        return self.quantize(content, samples)


def format_of(runtime: str, precision: str = "fp32") -> ModelFormat:
    """The format of a runtime; what runs its models here is the runtime itself.

    Args:
        precision: fp32, fp16 or int8; a file in fp16 is exported, and not searched for.

    Raises:
        InputError: there is no such runtime, or what writes needs is not installed.
    """
    found = runtime_named(runtime)
    model_format = _FLOAT[found.suffix](found)
    if precision == "fp16":
        write: Any = model_format.model
        return replace(model_format, model=partial(write, half=True))
    return model_format if precision == "fp32" else _int8(model_format, found)


def _onnx(runtime: Runtime) -> ModelFormat:
    from hwnas.backends import onnx, onnx_runtime
    from hwnas.backends.ort_web_runtime import open_ort_web, run_ort_web

    return ModelFormat(
        runtime.suffix,
        "nchw",
        onnx.onnx_model,
        KeptFingerprints(onnx.fingerprint, "onnx"),
        run_ort_web if runtime.in_node else onnx_runtime.run_onnx,
        open_ort_web if runtime.in_node else onnx_runtime.open_onnx,
        onnx.check,
        onnx_runtime.metadata_of,
    )


def _tflite(runtime: Runtime) -> ModelFormat:
    try:
        from hwnas.backends import litert, litert_metadata, litert_runtime
    except ImportError as error:
        raise InputError("models for LiteRT need ai-edge-litert", hint="pip install 'hwnas[litert]'") from error
    return ModelFormat(
        runtime.suffix,
        "nhwc",
        litert.litert_model,
        KeptFingerprints(litert.fingerprint, "litert"),
        litert_runtime.run_litert,
        litert_runtime.open_litert,
        litert_runtime.check,
        litert_metadata.metadata_of,
    )


_FLOAT: dict[str, Callable[[Runtime], ModelFormat]] = {".onnx": _onnx, ".tflite": _tflite}


def _int8(model_format: ModelFormat, runtime: Runtime) -> ModelFormat:
    """A model is written in float32 and then quantised, so an op is known by its float model and the quantiser."""
    from hwnas.backends.quantize import quantiser

    def fingerprints(specs: Iterable[OpSpec]) -> dict[str, str]:
        by = f"int8 {quantiser(runtime)}"
        return {key: sha256(f"{own} {by}".encode())[:16] for key, own in model_format.fingerprints(specs).items()}

    litert = model_format.suffix == ".tflite"
    model = _float_input(model_format.model) if litert else model_format.model
    calibrate = _calibrated_litert if litert else _calibrated_onnx
    return replace(model_format, model=model, fingerprints=fingerprints, calibrate=calibrate)


def _calibrated_onnx(model: bytes, samples: NDArray[Any]) -> Calibrated:
    from hwnas.backends.quantize_onnx import CalibratedOnnx

    return CalibratedOnnx(model, samples)


def _calibrated_litert(model: bytes, samples: NDArray[Any]) -> Calibrated:
    from hwnas.backends.quantize_litert import CalibratedLitert

    return CalibratedLitert(model, samples)


def _quantised(calibrate: Calibrate, model: bytes, samples: NDArray[Any]) -> bytes:
    calibrated = calibrate(model, samples)
    return calibrated.quantised(calibrated.settings[0])


def _float_input(write: WriteModel) -> WriteModel:
    """The same writer, whose files read pixels as float: what quantises them for LiteRT makes that uint8."""

    def model(
        network: Network,
        weights: Weights,
        *,
        metadata: Mapping[str, str] | None = None,
        interface: Interface = BARE,
    ) -> bytes:
        interface = replace(interface, input="float") if interface.pixels else interface
        return write(network, weights, metadata=metadata, interface=interface)

    return model
