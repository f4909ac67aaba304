"""Runs side by side: the options in which they differ, their results, and which differences are more than errors.

Runs keep no predictions, so nobody can count the images on which two networks differ (McNemar, 1947). The accuracies
are compared as two shares of independent images, by Fisher's exact test (Fisher, 1935); where both are on the same
images, it errs on the side of no difference. Latencies are compared by their bounds (docs/decisions/0090).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hwnas.config import Configuration
from hwnas.display import ms
from hwnas.errors import InputError
from hwnas.kept_runs.kept_result import KeptResult
from hwnas.kept_runs.run_summary import RunSummary, configured, run_summary
from hwnas.report.filters import binomial
from hwnas.run.run_folder import RunFolder

LEVEL = 0.05
"""Of all tests of one comparison together: each of n takes an n-th of it (Bonferroni; Dunn, 1961)."""


@dataclass(frozen=True)
class ComparedResult:
    """A network of one of the runs that are compared.

    Attributes:
        name: the folder of the run as it was named, with that of the part where there are several budgets.
        summary: of the run.
        result: None unless the run is finished.
        options: of the run, by place; those of older versions may lack some.
        images: checksum of images and labels; '' where it is not known.
        accuracy_ci95: exact 95 % interval of the test accuracy (Clopper and Pearson, 1934); None where the result
            does not tell the number of test images.
    """

    name: str
    summary: RunSummary
    result: KeptResult | None
    options: Mapping[str, Any]
    images: str = ""
    accuracy_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Difference:
    """A number of one network beside that of the first one.

    Attributes:
        name: of the network.
        of: `accuracy`, a share, or `latency`, in milliseconds.
        change: its number less that of the first; None where they are not compared.
        p: of Fisher's exact test; None for latencies.
        real: whether the difference is more than its error; None where that cannot be told.
        words: all this, in a sentence without a full stop.
    """

    name: str
    of: str
    change: float | None
    p: float | None
    real: bool | None
    words: str


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        results: the networks in the order in which the runs were named; one without a result for other runs.
        options: by flag, or by place where there is none: the values of all networks in that order, where they differ.
        differences: between the first network that has a result and each of the others.
    """

    results: tuple[ComparedResult, ...]
    options: Mapping[str, tuple[Any, ...]]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        shown = [
            {
                "name": one.name,
                "run": str(one.summary.run),
                "state": one.summary.state,
                "note": one.summary.note or None,
                "result": None if one.result is None else asdict(one.result),
                "accuracy_ci95": one.accuracy_ci95,
            }
            for one in self.results
        ]
        options = {name: list(values) for name, values in self.options.items()}
        return {"results": shown, "options": options, "differences": [asdict(one) for one in self.differences]}


def compared(folders: Sequence[RunFolder]) -> RunComparison:
    """Runs side by side, damaged and unfinished ones as well.

    Raises:
        InputError: one of the folders is no run.
    """
    found = [one for folder in folders for one in _results_of(folder)]
    with_result = [one for one in found if one.result is not None]
    differences: list[Difference] = []
    for other in with_result[1:]:
        differences.append(_accuracy(with_result[0], other, tests=len(with_result) - 1))
        differences.append(_latency(with_result[0], other))
    return RunComparison(tuple(found), _differing([one.options for one in found]), tuple(differences))


def _results_of(folder: RunFolder) -> list[ComparedResult]:
    summary, options = run_summary(folder.path), configured(folder)
    plain = ComparedResult(str(folder.path), summary, None, options)
    if not summary.results:
        return [plain]
    try:
        images = folder.data_digest() or ""
    except InputError:
        images = ""
    return [
        replace(
            plain,
            name=f"{folder.path}/{one.folder}" if one.folder else str(folder.path),
            result=one,
            images=images,
            accuracy_ci95=binomial(one.accuracy.test, one.accuracy.test_images),
        )
        for one in summary.results
    ]


def _differing(options: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """The options whose values are not all alike; a run whose configuration cannot be read has None of each."""
    found = {}
    for one in Configuration.options():
        values = tuple(_plain(given.get(one.place, one.default)) if given else None for given in options)
        known = [value for value, given in zip(values, options, strict=True) if given]
        if one.option.settable and any(value != known[0] for value in known):
            found[(one.kind != "switch" and one.option.flag) or one.place] = values
    return found


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: somebody may have written dates or infinities."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    number = isinstance(value, int | float) and abs(value) < 1e18
    return value if number or value is None or isinstance(value, str) else str(value)


def _accuracy(first: ComparedResult, other: ComparedResult, *, tests: int) -> Difference:
    from scipy.stats import fisher_exact  # half a second that few commands need

    assert first.result is not None
    assert other.result is not None
    one, two = first.result.accuracy, other.result.accuracy
    if not _same_data(first, other):
        return _not_compared(other, "accuracy", "their test images are of other data")
    if not one.test_images or not two.test_images:
        return _not_compared(other, "accuracy", "a result does not tell its number of test images")
    right = [round(share.test * (share.test_images or 0)) for share in (one, two)]
    table = [[right[0], one.test_images - right[0]], [right[1], two.test_images - right[1]]]
    p = float(fisher_exact(np.array(table)).pvalue)
    change, real = two.test - one.test, p < LEVEL / tests
    what = _change(f"{abs(change) * 100:.2f} points", change, "higher", "lower")
    verdict = "" if change == 0 else ", more than its error" if real else ", no more than its error"
    same = "the same" if _same_images(first, other) else "maybe other"
    numbers = f"{one.test_images} and {two.test_images} test images, {same} ones, Fisher's exact test: p = {p:.2g}"
    return Difference(other.name, "accuracy", change, p, real, f"{what}{verdict} ({numbers})")


def _same_data(first: ComparedResult, other: ComparedResult) -> bool:
    """By the checksum, or by name: the same data have other checksums at other sizes and seeds."""
    named = first.summary.data != "" and first.summary.data == other.summary.data
    return named or _same_images(first, other)


def _same_images(first: ComparedResult, other: ComparedResult) -> bool:
    return first.images != "" and first.images == other.images


def _latency(first: ComparedResult, other: ComparedResult) -> Difference:
    assert first.result is not None
    assert other.result is not None
    one, two = first.result.measured_ms, other.result.measured_ms
    if one is None or two is None:
        return _not_compared(other, "latency", "one was not measured")
    if not first.result.condition or first.result.condition != other.result.condition:
        return _not_compared(other, "latency", "they were not measured under one condition: device, runtime, precision")
    change = two.judged_ms - one.judged_ms
    what = _change(f"{ms(abs(change))} ms", change, "slower", "faster")
    (low, high), (other_low, other_high) = one.bounds, two.bounds
    slower = _above(other_low, high)
    if slower or _above(low, other_high):
        return Difference(other.name, "latency", change, None, True, f"{what}, more than its error: their bounds part")
    if None in (low, high, other_low, other_high):
        words = f"{what}; nobody can tell whether that is more than its error, as a measurement ended with one bound"
        return Difference(other.name, "latency", change, None, None, words)
    return Difference(
        other.name, "latency", change, None, False, f"{what}, no more than its error: their bounds overlap"
    )


def _above(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


def _change(amount: str, change: float, more: str, less: str) -> str:
    return "equal" if change == 0 else f"{amount} {more if change > 0 else less}"


def _not_compared(other: ComparedResult, of: str, reason: str) -> Difference:
    return Difference(other.name, of, None, None, None, f"not compared: {reason}")
