"""LiteRT models to int8, by ai-edge-quantizer."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.backends.interface import Interface
from hwnas.backends.litert import INPUT, SIGNATURE
from hwnas.backends.litert_metadata import archived, metadata_of
from hwnas.backends.litert_runtime import interpreter
from hwnas.backends.quantize import Setting, Tell, ignore, layers_of, quiet, settings_of, told
from hwnas.backends.tflite_tables import packed, schema, unpacked, with_named_output, with_uint8_input
from hwnas.errors import ExportError, InputError

_Ranges: TypeAlias = dict[str, dict[str, Any]]
"""`min` and `max` of each activation, by name."""

_DEAD = 1e-6  # the largest value of an activation that is taken for zero
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_AVERAGE, _MIN_MAX, _PERCENTILE = "average", "min-max", "percentile"
_KEPT_SHARE = 98.0  # percent of the samples whose smallest or largest value a range holds
_FLOAT_SCORES = [
    {"regex": ".*", "operation": operation, "algorithm_key": "no_quantize"} for operation in ("SOFTMAX", "OUTPUT")
]
"""Rules of ai-edge-quantizer's: eight bits of a probability would be steps of 1/256."""


class CalibratedLitert:
    """A LiteRT model with samples of its inputs, for int8 activations and weights.

    Input and output are int8, too; of a model that reads pixels they are uint8, and the output stays float. The range
    of an activation holds the smallest and largest values of all samples (`min-max`), or of 98 % of them
    (`percentile`), or is a moving average of them (`average`, which ai-edge-quantizer does by itself). The average
    comes last: it cuts off the peaks of every other sample.

    Raises:
        InputError: LiteRT's quantiser is not installed.
        ExportError: the model is damaged.
    """

    settings = settings_of(_MIN_MAX, _PERCENTILE, _AVERAGE)

    def __init__(self, model: bytes, samples: NDArray[Any]) -> None:
        """Take them.

        Args:
            samples: inputs of the model (n, C, H, W) that the ranges of the activations are taken from.
        """
        try:
            import ai_edge_quantizer  # noqa: F401
        except ImportError as error:
            hint = "pip install 'hwnas[litert]'"
            raise InputError("int8 models for LiteRT need ai-edge-quantizer", hint=hint) from error
        self._model, self._metadata = model, metadata_of(model)
        self._pixels = Interface.of_metadata(self._metadata).pixels
        names = sorted(interpreter(model).get_signature_runner(SIGNATURE).get_input_details())
        maps = np.split(np.ascontiguousarray(samples.transpose(0, 2, 3, 1), np.float32), len(names), axis=3)
        self._feeds = [{name: one[[k]] for name, one in zip(names, maps, strict=True)} for k in range(len(samples))]
        self._nodes = layers_of(_operators(model))
        self.layers = tuple(self._nodes)
        self._ranges: dict[str, _Ranges] = {}

    def quantised(self, setting: Setting, floats: Collection[str] = (), tell: Tell = ignore) -> bytes:
        """The model in int8; see `Calibrated`.

        Raises:
            ExportError: ai-edge-quantizer refuses the model.
        """
        from ai_edge_quantizer import quantizer

        metadata = self._metadata
        with quiet():
            try:
                own = quantizer.Quantizer(bytearray(self._model))
                own.load_quantization_recipe([*self._recipe(setting), *self._left_out(floats)])
                ranges = copy.deepcopy(self._calibrated(setting.calibration, tell))
                small = unpacked(bytes(own.quantize(ranges).quantized_model))
            except (RuntimeError, ValueError, TypeError, KeyError) as error:
                raise ExportError(f"LiteRT's quantiser refuses the model: {error}") from error
        if self._pixels:
            with_uint8_input(small)
            with_named_output(small)
            metadata = metadata | {"hwnas.input": "uint8"}
        return packed(small) + archived(metadata)

    def _recipe(self, setting: Setting) -> list[dict[str, Any]]:
        """Rules of ai-edge-quantizer for the whole model."""
        from ai_edge_quantizer import qtyping, recipe_manager

        manager, every = recipe_manager.RecipeManager(), qtyping.TFLOperationName.ALL_SUPPORTED
        if setting.per_channel:
            manager.add_static_config(".*", every, 8, 8)
        else:
            manager.add_static_config(".*", every, 8, 8, weight_granularity=qtyping.QuantGranularity.TENSORWISE)
        return [*manager.get_quantization_recipe(), *(_FLOAT_SCORES if self._pixels else ())]

    def _left_out(self, floats: Collection[str]) -> list[dict[str, Any]]:
        """Rules for layers that stay float; an operator goes by the name of its output, and a semicolon."""
        names = [re.escape(name) for layer in floats for name in self._nodes[layer]]
        if not names:
            return []
        return [{"regex": f"^({'|'.join(names)});$", "operation": "*", "algorithm_key": "no_quantize"}]

    def _calibrated(self, calibration: str, tell: Tell) -> _Ranges:
        """Ranges of all activations, whatever stays float."""
        if calibration not in self._ranges:
            self._calibrate(tell, averaged=calibration == _AVERAGE)
        return self._ranges[calibration]

    def _calibrate(self, tell: Tell, *, averaged: bool) -> None:
        """Run the samples; the extremes of each give both of the other calibrations."""
        from ai_edge_quantizer import calibrator, quantizer, recipe_manager

        recipe, data = self._recipe(self.settings[0]), {SIGNATURE: _Feeds(self._feeds, tell)}
        if averaged:
            own = quantizer.Quantizer(bytearray(self._model))
            own.load_quantization_recipe(recipe)
            found = {_AVERAGE: own.calibrate(data)}
        else:
            manager = recipe_manager.RecipeManager()
            manager.load_quantization_recipe(recipe)
            every = calibrator.Calibrator(self._model, num_threads=1, qsv_update_func=_collected)
            every.calibrate(data, manager)
            seen = every.get_model_qsvs()
            outside = (100.0 - _KEPT_SHARE) / 2
            found = {
                name: {key: _held(one, share) for key, one in seen.items()}
                for name, share in ((_MIN_MAX, 0.0), (_PERCENTILE, outside))
            }
        for name, ranges in found.items():
            ranges = _without_dead(ranges)
            if self._pixels:
                ranges[INPUT] |= {
                    key: np.full_like(ranges[INPUT][key], value) for key, value in (("min", 0.0), ("max", 255.0))
                }
            self._ranges[name] = ranges


class _Feeds:
    """Samples that are told as they are read; the quantiser counts them first, which is no reading."""

    def __init__(self, feeds: Sequence[Mapping[str, Any]], tell: Tell) -> None:
        self._feeds, self._passes = feeds, iter((ignore, tell))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return told(self._feeds, next(self._passes, ignore))


def _operators(model: bytes) -> list[tuple[str, bool]]:
    """Of a model, in order: the name of what an operator writes, and whether it has weights."""
    loaded = schema.ModelT.InitFromPackedBuf(model)
    (graph,) = loaded.subgraphs
    weighted = {getattr(schema.BuiltinOperator, name) for name in _WEIGHTED}
    return [
        (graph.tensors[one.outputs[0]].name.decode(), loaded.operatorCodes[one.opcodeIndex].builtinCode in weighted)
        for one in graph.operators
    ]


def _collected(seen: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest and the largest values of one sample more, along the first axis."""
    return {key: np.concatenate([np.atleast_1d(one[key]) for one in (seen, new)]) for key in ("min", "max")}


def _held(extremes: Mapping[str, Any], outside: float) -> dict[str, Any]:
    """The range of one activation that leaves out `outside` percent of the samples' extremes, at each end."""
    return {
        key: np.percentile(np.atleast_1d(extremes[key]), share, axis=0, keepdims=True).astype(np.float32)
        for key, share in (("min", outside), ("max", 100.0 - outside))
    }


def _without_dead(ranges: _Ranges) -> _Ranges:
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
