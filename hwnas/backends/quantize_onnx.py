"""ONNX models to int8, by ONNX Runtime's quantiser."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hwnas.backends.onnx import around
from hwnas.backends.onnx_runtime import fed
from hwnas.backends.quantize import Setting, Tell, ignore, layers_of, quiet, settings_of, told
from hwnas.errors import ExportError

_WEIGHTED = ("Conv", "Gemm")
_MIN_MAX, _PERCENTILE = "min-max", "percentile"
_KEPT_SHARE = 99.99  # percent of the values of an activation that its range holds
_AT_ONCE = 8  # samples whose activations are all in memory, for a percentile


class CalibratedOnnx:
    """An ONNX model with samples of its inputs, for QDQ form: uint8 activations, int8 weights.

    Input and output stay what they are, and what the file computes around the network stays float. Activations of int8
    are three times slower on x86. The range of an activation holds all values of the samples (`min-max`), or 99.99 % of
    them (`percentile`).

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """

    settings = settings_of(_MIN_MAX, _PERCENTILE)

    def __init__(self, model: bytes, samples: NDArray[Any]) -> None:
        """Take them.

        Args:
            samples: inputs of the model (n, C, H, W) that the ranges of the activations are taken from.
        """
        self._model, self._samples, self._fed = model, samples, fed(model)
        nodes = onnx.load_from_string(model).graph.node
        self._around = [node.name for node in nodes if around(node)]
        self._nodes = layers_of((node.name, node.op_type in _WEIGHTED) for node in nodes if not around(node))
        self.layers = tuple(self._nodes)
        self._ranges: dict[str, bytes] = {}  # by calibration, as ONNX Runtime keeps them

    def quantised(self, setting: Setting, floats: Collection[str] = (), tell: Tell = ignore) -> bytes:
        """The model in int8; see `Calibrated`.

        Raises:
            ExportError: ONNX Runtime's quantiser refuses the model.
        """
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
        from onnxruntime.quantization import quantize_static as quantise

        class Samples(CalibrationDataReader):  # type: ignore[misc]
            """Read once, a few at a time where ONNX Runtime asks for that."""

            def __init__(self, form: Any, samples: NDArray[Any]) -> None:
                self._form, self._samples = form, samples
                self.set_range(0, len(samples))

            def __len__(self) -> int:
                return len(self._samples)

            def set_range(self, start_index: int, end_index: int) -> None:
                self._left = told(map(self._form, self._samples[start_index:end_index]), tell)

            def get_next(self) -> dict[str, NDArray[Any]] | None:
                return next(self._left, None)

        percentile = setting.calibration == _PERCENTILE
        options: dict[str, Any] = {}
        if percentile:
            count = len(self._samples)
            stride = max(k for k in range(1, _AT_ONCE + 1) if count % k == 0)  # it must divide their number
            options = {"CalibTensorRangeSymmetric": False, "CalibPercentile": _KEPT_SHARE, "CalibStridedMinMax": stride}
        excluded = [*self._around, *(name for layer in floats for name in self._nodes[layer])]
        proto = onnx.load_from_string(self._model)
        excluded += _kept_float(proto, {*excluded})
        with tempfile.TemporaryDirectory(prefix="hwnas-") as folder, quiet():
            path, ranges = Path(folder, "int8.onnx"), Path(folder, "ranges.json")
            kept: dict[str, Any] = {}
            if "calibration_cache_path" in inspect.signature(quantise).parameters:  # before 1.32 each call calibrates
                kept = {"calibration_cache_path": ranges}
                if setting.calibration in self._ranges:
                    ranges.write_bytes(self._ranges[setting.calibration])
            try:
                quantise(
                    proto,
                    path,
                    Samples(self._fed, self._samples),
                    quant_format=QuantFormat.QDQ,
                    per_channel=setting.per_channel,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=excluded,
                    calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
                    extra_options=options,
                    **kept,
                )
            except (RuntimeError, ValueError, TypeError, KeyError, IndexError, MemoryError) as error:
                raise ExportError(f"ONNX Runtime cannot quantise the model: {error}") from error
            if kept and setting.calibration not in self._ranges:
                self._ranges[setting.calibration] = ranges.read_bytes()
            return path.read_bytes()


def _kept_float(proto: onnx.ModelProto, excluded: set[str]) -> list[str]:
    """Put a Clip that changes nothing before every float layer whose input is quantised; returns their names.

    ONNX Runtime quantises the weights of a convolution between a DequantizeLinear and a QuantizeLinear when it loads a
    file, whatever the file says. The Clip keeps it from that.
    """
    nodes, names = list(proto.graph.node), list[str]()
    quantised = {name for node in nodes if node.name not in excluded for name in (*node.input, *node.output)}
    for node in nodes:
        if node.op_type in _WEIGHTED and node.name in excluded and node.input[0] in quantised:
            name = f"{node.name}.float"
            read = [node.input[0], "float_least", "float_most"]
            node.input[0] = name
            proto.graph.node.insert(list(proto.graph.node).index(node), helper.make_node("Clip", read, [name], name))
            names.append(name)
    if names:
        least, most = np.finfo(np.float32).min, np.finfo(np.float32).max
        for name, value in (("float_least", least), ("float_most", most)):
            proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return names
