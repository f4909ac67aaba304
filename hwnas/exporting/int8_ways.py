"""Ways to quantise a network, from cheap to dear, and what each of them costs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwnas.backends.interface import Output
from hwnas.backends.quantize import Calibrated, Setting
from hwnas.errors import ExportError

_FLOAT_SHARE, _FEWEST_FLOATS = 4, 2  # one layer in so many stays float at most, or so many in all
_SMALLEST = 1e-9  # probability


class Drop(NamedTuple):
    """What a file costs of the metric, 0..1, and the standard error of that on so few images."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """One way to quantise a network, and what it costs.

    Attributes:
        floats: layers that stay float, the costliest first.
        layers: how many there are that could.
        tuned: whether the weights were trained for it.
        drop: of the metric on the validation images, 0..1; below 0 where the file is better than the float one, and
            infinite where the quantiser or the runtime refuses it.
        error: the standard error of that, 0..1.
    """

    setting: Setting
    floats: tuple[str, ...]
    layers: int
    tuned: bool
    drop: float
    size_bytes: int
    error: float = 0.0

    def __str__(self) -> str:
        """In words, such as `per-channel, percentile, 2 of 31 layers in float: drop 0.4 ± 0.3 points`."""
        words = [str(self.setting), *(["fine-tuned"] if self.tuned else ())]
        if self.floats:
            words.append(f"{len(self.floats)} of {self.layers} layers in float")
        return f"{', '.join(words)}: {'refused' if self.refused else f'drop {self.points} points'}"

    @property
    def points(self) -> str:
        """The drop in percentage points, with its standard error where that is known."""
        error = f" ± {100 * self.error:.2g}" if self.error else ""
        return f"{100 * self.drop:.2g}{error}"

    @property
    def refused(self) -> bool:
        """There is no such file."""
        return self.drop == math.inf

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "weights": self.setting.weights,
            "calibration": self.setting.calibration,
            "float_layers": list(self.floats),
            "layers": self.layers,
            "tuned": self.tuned,
            "val_drop": None if self.refused else self.drop,
            "val_drop_error": None if self.refused else self.error,
            "bytes": self.size_bytes,
        }


def attempts(
    calibrated: Calibrated,
    judged: Callable[[Setting, Collection[str]], tuple[bytes, Drop]],
    rank: Callable[[Setting], Sequence[str]],
    *,
    tuned: bool = False,
) -> Iterator[tuple[Attempt, bytes]]:
    """Every way with its file, made as it is asked for: the settings, then the best of them with layers in float.

    Args:
        judged: the file of a setting with layers in float, and what it costs, which is infinite where quantiser or
            runtime refuse it.
        rank: the layers, those that cost most with this setting first.
        tuned: whether the weights were trained for it.
    """

    layers = len(calibrated.layers)

    def attempt(setting: Setting, floats: tuple[str, ...]) -> tuple[Attempt, bytes]:
        made, lost = judged(setting, floats)
        return Attempt(setting, floats, layers, tuned, lost.value, len(made), lost.error), made

    whole: list[Attempt] = []
    for setting in calibrated.settings:
        one, made = attempt(setting, ())
        whole.append(one)
        yield one, made
    if most := most_floats(layers):
        best = min(whole, key=lambda one: one.drop).setting
        ranked = rank(best)
        for count in range(1, most + 1):
            yield attempt(best, tuple(ranked[:count]))


def ways(calibrated: Calibrated) -> int:
    """How many there are."""
    return len(calibrated.settings) + most_floats(len(calibrated.layers))


def most_floats(layers: int) -> int:
    """How many layers stay float at most: with a quarter of them there is little left to gain from int8.

    Of few layers there may be two, as what one writes and another reads is float only where both are.
    """
    return min(max(_FEWEST_FLOATS, layers // _FLOAT_SHARE), max(0, layers - 1))


def ranking(
    calibrated: Calibrated, setting: Setting, cost: Callable[[bytes], float], advance: Callable[[], None] = lambda: None
) -> list[str]:
    """The layers, the costliest first: each is quantised while all others stay float.

    Source: Wu et al., Integer Quantization for Deep Learning Inference, 2020, section 5 (partial quantization).

    Args:
        cost: of a file; raises ExportError where the runtime refuses it, which is the dearest.
        advance: is called after each layer.
    """
    costs: dict[str, float] = {}
    for layer in calibrated.layers:
        others = [other for other in calibrated.layers if other != layer]
        costs[layer] = math.inf
        with contextlib.suppress(ExportError):
            costs[layer] = cost(calibrated.quantised(setting, others))
        advance()
    return sorted(costs, key=lambda layer: -costs[layer])


def divergence(scores: NDArray[np.float32], others: NDArray[np.float32], output: Output) -> float:
    """Mean Kullback-Leibler divergence of one file's probabilities (n, classes) from another's, in nats.

    It tells layers apart that cost no image. Infinity where a score is no number.

    Args:
        output: what the scores are.
    """
    if not np.isfinite(others).all():
        return math.inf
    own, other = (_probabilities(one, output) for one in (scores, others))
    return float((own * np.log(own / other)).sum(1).mean())


def _probabilities(scores: NDArray[np.float32], output: Output) -> NDArray[np.float64]:
    exact = scores.astype(np.float64)
    if output == "logits":
        exact = np.exp(exact - exact.max(1, keepdims=True))
    exact = exact.clip(_SMALLEST)
    return np.asarray(exact / exact.sum(1, keepdims=True))
