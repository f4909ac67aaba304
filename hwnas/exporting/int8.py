"""int8 that recovers: the first of all ways to quantise a network that costs no more than it may."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from hwnas.arch.network import Network
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import ModelFormat
from hwnas.backends.quantize import Calibrated, Setting
from hwnas.backends.weights import Weights
from hwnas.data import Dataset, Images
from hwnas.display import counted
from hwnas.errors import ExportError
from hwnas.exporting.file_images import FileOutcome, calibration_inputs, file_outcome
from hwnas.exporting.int8_ways import Attempt, Drop, attempts, divergence, ranking, ways
from hwnas.exporting.quantise_aware import tuned_weights
from hwnas.metric_names import NAMES, Metric, class_balanced
from hwnas.metrics import Metrics, difference_error, image_weights
from hwnas.progress import Progress, Silent

_RANKED_ON = 64  # calibration images that layers are ranked on
_SURE = 1.96  # standard errors; 95 % of what chance does lie within
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
        label: what it is told that it is of: the name of the file, say.
    """

    dataset: Dataset
    allowed: Allowed = Allowed()
    seed: int = 0
    device: torch.device = _CPU
    progress: Progress = _SILENT
    label: str = "the network"


@dataclass(frozen=True)
class Int8:
    """How an int8 file came to be.

    Attributes:
        tried: in order; the one that was taken is among them.
        test: what the file makes of the test images; None where they were not read.
        test_drop: what it costs of the metric on them, 0..1.
        test_drop_error: the standard error of that.
    """

    tried: tuple[Attempt, ...]
    taken: Attempt
    test: Metrics | None = None
    test_drop: float | None = None
    test_drop_error: float | None = None

    @property
    def drop(self) -> float:
        """What it costs of the metric on the validation images, 0..1."""
        return self.taken.drop

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        test = {"test_drop": self.test_drop, "test_drop_error": self.test_drop_error}
        return {**self.taken.to_json(), **test, "tried": [one.to_json() for one in self.tried]}

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
            f"quantising costs {self.taken.points} points of {NAMES[allowed.metric]} on the validation images at "
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
    progress = how.progress
    tried: list[Attempt] = []
    taken, content = None, b""
    with contextlib.closing(_every(source, how, _Judge(source, how))) as every:
        for one, made in every:
            progress.record({"event": "int8", "of": how.label, **one.to_json()})
            tried.append(one)
            if taken is None or how.allowed.takes(one) or how.allowed.badness(one) < how.allowed.badness(taken):
                taken, content = one, made
            if how.allowed.takes(one):
                break
    if taken is None or taken.refused:
        raise ExportError(f"no int8 file of the network runs. Tried: {'; '.join(map(str, tried))}", hint=_REFUSED)
    progress.say(f"{how.label}, int8: {taken}{_too_few(taken, how)}")
    return content, Int8(tuple(tried), taken)


def _too_few(taken: Attempt, how: Quantising) -> str:
    """Where the images cannot tell a drop as small as the one that is allowed: that they cannot."""
    told = 100 * _SURE * taken.error
    images = counted(len(how.dataset.val), "validation image is", "validation images are")
    return f"; {images} too few to tell less than {told:.2g} points" if told > how.allowed.max_drop else ""


class _Judge:
    """What files cost of the metric on the validation images, against the float file."""

    def __init__(self, source: Source, how: Quantising) -> None:
        self._source, self._how, self._images = source, how, how.dataset.val
        with how.progress.track(f"judging the float file of {how.label}", len(self._images)) as advance:
            self._before = self._outcome(source.content, advance)

    def judged(
        self, calibrated: Calibrated, samples: int, setting: Setting, floats: Collection[str]
    ) -> tuple[bytes, Drop]:
        """A file with what it costs, which is infinite where the quantiser or the runtime refuse it.

        Args:
            samples: that ranges are taken from, as far as no file before had the same ones.
        """
        made, lost, left = b"", Drop(math.inf), samples
        with self._how.progress.track(f"judging {self._how.label}", samples + len(self._images)) as advance:

            def calibrating(count: int) -> None:
                nonlocal left
                count = min(count, left)  # some calibrations read the samples twice
                left -= count
                advance(count, "calibrating")

            with contextlib.suppress(ExportError):
                made = calibrated.quantised(setting, floats, calibrating)
                advance(left, "classifying")
                after = self._outcome(made, advance)
                lost = drop_of(self._before, after, self._images, self._how.allowed.metric)
        return made, lost

    def _outcome(self, content: bytes, tell: Callable[[int], None]) -> FileOutcome:
        return file_outcome(self._source.model_format, content, self._how.dataset, self._images, tell)


def drop_of(before: FileOutcome, after: FileOutcome, images: Images, metric: Metric) -> Drop:
    """How much less one file has of a metric than another. The error is that of a share, of the classes' means where
    the metric weighs them alike."""
    weights = image_weights(images.labels) if class_balanced(metric) else np.ones(len(images))
    error = difference_error(before.right, after.right, weights)
    return Drop(before.metrics.value(metric) - after.metrics.value(metric), error)


def with_test_images(source: Source, content: bytes, how: Quantising, found: Int8) -> Int8:
    """The same, with what the chosen file makes of the test images."""
    images = how.dataset.test
    with how.progress.track(f"classifying the test images by {how.label}", 2 * len(images)) as advance:
        before, after = (
            file_outcome(source.model_format, one, how.dataset, images, advance) for one in (source.content, content)
        )
    drop = drop_of(before, after, images, how.allowed.metric)
    return replace(found, test=after.metrics, test_drop=drop.value, test_drop_error=drop.error)


def _every(source: Source, how: Quantising, judge: _Judge) -> Generator[tuple[Attempt, bytes], None, None]:
    """All ways with their files: with the weights as they are, then with tuned ones."""
    yield from _ways(source, source.content, how, judge, tuned=False)
    weights = tuned_weights(
        source.network,
        source.weights,
        how.dataset,
        metric=how.allowed.metric,
        seed=how.seed,
        device=how.device,
        progress=how.progress,
        label=f"fine-tuning {how.label} for int8",
    )
    yield from _ways(source, source.write(weights), how, judge, tuned=True)


def _ways(
    source: Source, content: bytes, how: Quantising, judge: _Judge, *, tuned: bool
) -> Generator[tuple[Attempt, bytes], None, None]:
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

        with how.progress.track(f"ranking the layers of {how.label}", len(calibrated.layers)) as advance:
            return ranking(calibrated, setting, cost, advance)

    total, label = ways(calibrated), f"quantising {how.label}{', fine-tuned' * tuned}"
    with how.progress.track(label, total) as advance:
        advance(0, f"attempt 1 of {total}")
        judged = partial(judge.judged, calibrated, len(samples))
        for number, made in enumerate(attempts(calibrated, judged, rank, tuned=tuned), 2):
            yield made
            advance(1, f"attempt {min(number, total)} of {total}")
