"""The kinds of files that a network is exported to: format, precision, and what a file computes around the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hwnas.backends import onnx_versions
from hwnas.backends.interface import LAYOUTS, OUTPUTS, Input, Interface, Layout, Output
from hwnas.backends.model_format import ModelFormat, format_of
from hwnas.backends.ort_format import ort_model
from hwnas.backends.parity import HALF_TOLERANCE, TOLERANCE
from hwnas.errors import ExportError, InputError
from hwnas.near_names import did_you_mean

FORMATS: Mapping[str, str] = {"onnx": "onnxruntime", "tflite": "litert", "ort": "onnxruntime"}
"""The runtime that reads each."""
COREML = "coreml"  # which `run/export_coreml.py` writes, as it is a folder
PRECISIONS = ("fp32", "fp16", "int8")
UNWRITTEN: Mapping[tuple[str, str], str] = {
    ("ort", "fp16"): "an .ort file is fp32 or int8, not fp16: ONNX Runtime, which writes it, expands fp16 for its CPU"
}
"""The formats and precisions that do not go together, and why."""
PIXELS = ("float", "uint8")
PROVIDERS = ("nnapi", "coreml")
_HINTS: Mapping[str, str] = {
    "format": "onnx is for ONNX Runtime, ort for its reduced builds, tflite for LiteRT and MediaPipe",
    "precision": "of 8 bits there is int8, of 16 bits fp16",
}
"""What to choose, where a value is wrong."""
_WHOLE_NUMBERS = "int8 files for LiteRT take uint8 pixels"


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes:
        format: one of `FORMATS`.
        precision: of weights and activations, one of `PRECISIONS`.
        input: type of the pixels; '' is uint8 for int8 and else float.
        output: logits or probabilities.
        layout: order of the input's axes; '' is the format's own.
        providers: of ONNX Runtime, which are to take the whole graph.
        opset, ir_version: of ONNX, which .tflite files have not; an IR version of 0 follows the opset.

    Raises:
        InputError: there is no such kind.
    """

    format: str
    precision: str = "fp32"
    input: str = ""
    output: str = "probabilities"
    layout: str = ""
    providers: tuple[str, ...] = ()
    opset: int = onnx_versions.OPSET
    ir_version: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format", self.format, tuple(FORMATS)),
            ("precision", self.precision, PRECISIONS),
            ("input", self.input, ("", *PIXELS)),
            ("output", self.output, OUTPUTS),
            ("layout", self.layout, ("", *LAYOUTS)),
            *(("provider", one, PROVIDERS) for one in self.providers),
        ):
            if value not in known:
                beside = (COREML,) if name == "format" else ()
                raise InputError(
                    f"the {name} of an exported file must be one of {', '.join(filter(None, (*known, *beside)))}, not "
                    f"{value!r}",
                    hint=_HINTS.get(name) or did_you_mean(value, known).rstrip(),
                )
        if self.format == "tflite" and self.layout == "nchw":
            raise InputError("a .tflite file reads nhwc, not nchw", hint="leave out --layout, or ask for --format onnx")
        if self.format == "tflite" and (self.precision, self.input) == ("int8", "float"):
            raise InputError(f"{_WHOLE_NUMBERS}, not float", hint="leave out --input, or ask for --precision fp32")
        if reason := UNWRITTEN.get((self.format, self.precision)):
            raise InputError(reason, hint="ask for --format onnx with --precision fp16")
        if self.format != "tflite":
            _ = self.versions

    @property
    def name(self) -> str:
        """Of the file, such as `model.onnx` or `model-int8.tflite`."""
        return f"model{'' if self.precision == 'fp32' else f'-{self.precision}'}.{self.format}"

    @property
    def versions(self) -> tuple[int, int]:
        """Opset and IR version."""
        return onnx_versions.versions(self.opset, self.ir_version)

    @property
    def tolerance(self) -> float:
        """How far outputs may be from those of the network, as a share of the largest; see `Parity.limit`."""
        return HALF_TOLERANCE if self.precision == "fp16" else TOLERANCE

    def interface(self, mean: Sequence[float], std: Sequence[float]) -> Interface:
        """For a network with this mean and deviation per channel, of pixels scaled to 0..1."""
        pixels = self.input or ("uint8" if self.precision == "int8" else "float")
        layout = self.layout or ("nhwc" if self.format == "tflite" else "nchw")
        return Interface(cast(Input, pixels), cast(Output, self.output), cast(Layout, layout), tuple(mean), tuple(std))

    def model_format(self) -> ModelFormat:
        """What writes such files, all but the last step to .ort.

        Raises:
            InputError: what it needs is not installed.
        """
        found = format_of(FORMATS[self.format], self.precision)
        if self.format == "tflite":
            return found
        opset, ir_version = self.versions
        write: Any = found.model
        model = partial(write, opset=opset, ir_version=ir_version, plain_gates=bool(self.providers))
        return replace(found, model=model)

    def finished(self, content: bytes, images: NDArray[np.uint8]) -> bytes:
        """The file, checked against the rules of its format.

        Args:
            images: pixels (n, C, H, W) that an .ort file is compared on with the ONNX file that it is made of.

        Raises:
            ExportError: it breaks a rule, or computes something else.
        """
        model_format = self.model_format()
        model_format.check(content)
        if self.format == "tflite":
            return content
        onnx_versions.check_versions(content, *self.versions)
        if self.format == "onnx":
            return content
        own = ort_model(content)
        difference = float(np.abs(model_format.run(own, images) - model_format.run(content, images)).max())
        if not difference <= TOLERANCE * 10 ** (self.precision != "fp32"):
            raise ExportError(f"the .ort file differs by {difference:.3g} from the ONNX file that it is made of")
        return own
