"""int8 that recovers: the first of all ways to quantise a network that costs no more than it may."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from hwnas.arch.network import Network
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import ModelFormat
from hwnas.backends.quantize import Setting
from hwnas.backends.weights import Weights
from hwnas.data import Dataset
from hwnas.errors import ExportError
from hwnas.exporting.file_images import calibration_inputs, file_metrics
from hwnas.exporting.int8_ways import Attempt, attempts, divergence, ranking
from hwnas.exporting.quantise_aware import tuned_weights
from hwnas.metric_names import NAMES, Metric
from hwnas.metrics import Metrics
from hwnas.progress import Progress, Silent

_RANKED_ON = 64  # calibration images that layers are ranked on
_REFUSED = "stay with --precision fp32"
_CPU, _SILENT = torch.device("cpu"), Silent()


@dataclass(frozen=True)
class Source:
    """A trained network that is to be quantised.

    Attributes:
        model_format: of int8 files.
        content: the float file.
        write: the float file with other weights, compared with the network that has them; raises ExportError.
    """

    model_format: ModelFormat
    network: Network
    weights: Weights
    content: bytes
    write: Callable[[Weights], bytes]


@dataclass(frozen=True)
class Allowed:
    """What an int8 file may cost.

    Attributes:
        max_drop: percentage points of `metric` on the validation images.
        max_bytes: its size.
    """

    max_drop: float = 1.0
    metric: Metric = "accuracy"
    max_bytes: float = math.inf

    def takes(self, one: Attempt) -> bool:
        """Whether it costs no more."""
        return 100 * one.drop <= self.max_drop and one.size_bytes <= self.max_bytes

    def badness(self, one: Attempt) -> tuple[bool, float]:
        """What files are compared by where none will do: those that are too large come last."""
        return one.size_bytes > self.max_bytes, one.drop


@dataclass(frozen=True)
class Quantising:
    """How a network is quantised.

    Attributes:
        dataset: its train images calibrate, its validation images judge, and its test images choose nothing.
        seed, device: of a training for int8, where it comes to that.
        progress: is told every attempt, and the one that is taken.
        label: what it is told that it is of.
    """

    dataset: Dataset
    allowed: Allowed = Allowed()
    seed: int = 0
    device: torch.device = _CPU
    progress: Progress = _SILENT
    label: str = "int8"


@dataclass(frozen=True)
class Int8:
    """How an int8 file came to be.

    Attributes:
        tried: in order; the one that was taken is among them.
        test: what the file makes of the test images; None where they were not read.
        test_drop: what it costs of the metric on them, 0..1.
    """

    tried: tuple[Attempt, ...]
    taken: Attempt
    test: Metrics | None = None
    test_drop: float | None = None

    @property
    def drop(self) -> float:
        """What it costs of the metric on the validation images, 0..1."""
        return self.taken.drop

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**self.taken.to_json(), "test_drop": self.test_drop, "tried": [one.to_json() for one in self.tried]}

    def check(self, allowed: Allowed, hint: str) -> None:
        """Refuse a file that costs more than it may, and say what was tried.

        Raises:
            ExportError: it does.
        """
        if allowed.takes(self.taken):
            return
        limit = f" and {allowed.max_bytes / 1024:g} KiB" if allowed.max_bytes < math.inf else ""
        tried = "; ".join(f"{one}{' (too large)' * (one.size_bytes > allowed.max_bytes)}" for one in self.tried)
        raise ExportError(
            f"quantising costs {100 * self.drop:.2g} points of {NAMES[allowed.metric]} on the validation images at "
            f"best; at most {allowed.max_drop:g}{limit} are allowed. Tried: {tried}",
            hint=hint,
        )


def int8_file(source: Source, how: Quantising) -> tuple[bytes, Int8]:
    """The network in int8: the first file that costs no more than it may, or else the best that there is.

    First the settings of the quantiser are tried, then with the best of them the costliest layers stay float, one after
    the other. Where that does not do either, the weights are trained for int8 for a short while, and all is tried once
    more.

    Raises:
        ExportError: the quantiser or the runtime refuses every file.
        DivergedError: the loss of the training is no number.
    """
    allowed, dataset, progress = how.allowed, how.dataset, how.progress

    def value(content: bytes) -> float:
        return file_metrics(source.model_format, content, dataset, dataset.val).value(allowed.metric)

    before = value(source.content)
    tried: list[Attempt] = []
    taken, content = None, b""
    for one, made in _every(source, how, lambda made: before - value(made)):
        progress.record({"event": "int8", "of": how.label, **one.to_json()})
        tried.append(one)
        if taken is None or allowed.takes(one) or allowed.badness(one) < allowed.badness(taken):
            taken, content = one, made
        if allowed.takes(one):
            break
    if taken is None or taken.refused:
        raise ExportError(f"no int8 file of the network runs. Tried: {'; '.join(map(str, tried))}", hint=_REFUSED)
    progress.say(f"{how.label}: {taken}")
    return content, Int8(tuple(tried), taken)


def with_test_images(source: Source, content: bytes, how: Quantising, found: Int8) -> Int8:
    """The same, with what the chosen file makes of the test images."""
    before, after = (
        file_metrics(source.model_format, one, how.dataset, how.dataset.test) for one in (source.content, content)
    )
    return replace(found, test=after, test_drop=before.value(how.allowed.metric) - after.value(how.allowed.metric))


def _every(source: Source, how: Quantising, drop: Callable[[bytes], float]) -> Iterator[tuple[Attempt, bytes]]:
    """All ways with their files: with the weights as they are, then with tuned ones."""
    yield from _ways(source, source.content, how, drop, tuned=False)
    weights = tuned_weights(
        source.network,
        source.weights,
        how.dataset,
        metric=how.allowed.metric,
        seed=how.seed,
        device=how.device,
        progress=how.progress,
    )
    yield from _ways(source, source.write(weights), how, drop, tuned=True)


def _ways(
    source: Source, content: bytes, how: Quantising, drop: Callable[[bytes], float], *, tuned: bool
) -> Iterator[tuple[Attempt, bytes]]:
    """Those of one float file."""
    model_format = source.model_format
    assert model_format.calibrate is not None
    interface = Interface.of_metadata(model_format.metadata(content))
    samples = calibration_inputs(how.dataset, interface)
    calibrated, few = model_format.calibrate(content, samples), samples[:_RANKED_ON]

    def rank(setting: Setting) -> list[str]:
        scores = model_format.run(content, few)

        def cost(made: bytes) -> float:
            return divergence(scores, model_format.run(made, few), interface.output)

        with how.progress.track("ranking layers by their cost in int8", len(calibrated.layers)) as advance:
            return ranking(calibrated, setting, cost, advance)

    return attempts(calibrated, drop, rank, tuned=tuned)
