"""`result.json` of a finished run as whoever looks at it reads it: others may have edited it, so it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from hwnas.errors import InputError
from hwnas.metric_names import METRICS
from hwnas.report.earlier_results import current
from hwnas.schema import POSITIVE, Rule, at_least, between, checked, one_of, read_json

VERDICTS = ("met", "missed", "too close", "unstable", "not measured")
ABSENT: Any = None
"""Stands for what earlier versions did not tell: null is no value of it."""
_LONGEST = 200
_AGAIN = "run the same hwnas search command again with --force, or delete the run: hwnas runs rm RUN"

Share = Annotated[float, Rule("a number of at least 0 and at most 1", lambda value: 0 <= value <= 1)]
Count = Annotated[int, at_least(0)]
Words = Annotated[
    str, Rule(f"printable text of at most {_LONGEST} letters", lambda one: one.isprintable() and len(one) <= _LONGEST)
]
FileName = Annotated[
    str,
    Rule(
        "the name of a file, without a folder",
        lambda one: one.isprintable() and 0 < len(one) <= _LONGEST and one.strip(".") != "" and not {*"/\\"} & {*one},
    ),
]


@dataclass(frozen=True)
class Measured:
    """Latency on the device in milliseconds; `bounds` are what its median is at least and at most."""

    median: Annotated[float, POSITIVE]
    p90: Annotated[float, POSITIVE]
    bounds: tuple[float | None, float | None]
    n: Count
    rejected: Share
    judged: Annotated[float, POSITIVE] = ABSENT
    cold: float | None = None
    all_rounds_median: float = ABSENT
    processes: Count = 0

    @property
    def judged_ms(self) -> float:
        """The latency that the budget is about."""
        return self.median if self.judged is None else self.judged


@dataclass(frozen=True)
class Accuracy:
    """Shares of the images that are classified rightly; results of earlier versions do not tell the test images."""

    test: Share
    val: Share
    test_images: Annotated[int, between(0, 10**9)] | None = None


@dataclass(frozen=True)
class Score:
    """The metric that the search was after."""

    test: float
    val: float


@dataclass(frozen=True)
class Rival:
    """The random network; results of earlier versions lack its sizes."""

    accuracy: Share
    predicted_ms: float
    measured_ms: Measured | None
    score: float = ABSENT
    macs: Count = ABSENT
    params: Count = ABSENT
    file_bytes: Count = ABSENT
    peak_bytes: Count = ABSENT


@dataclass(frozen=True)
class ParentHead:
    """A head on the frozen features of the parent."""

    score: float


@dataclass(frozen=True)
class ParentFacts:
    """The network that the search began with."""

    name: Words
    head: ParentHead | None
    pixels: Any = None
    predicted_ms: float | None = None


@dataclass(frozen=True)
class Limits:
    """In KiB."""

    max_size_kb: float | None = None
    max_peak_kb: float | None = None


@dataclass(frozen=True)
class KeptResult:
    """The result for one budget on one device; results of earlier versions lack what has a default.

    Attributes:
        folder: of a part of a run for several budgets, its folder in the run.
        target: of a part of a run for several devices, what it was asked for.
    """

    budget_ms: Annotated[float, POSITIVE]
    predicted_ms: float
    measured_ms: Measured | None
    budget_met: bool | None
    verdict: Annotated[str, one_of(*VERDICTS)]
    device: Words
    accuracy: Accuracy
    macs: Count
    params: Count
    file_bytes: Count
    trained: bool
    seconds: Annotated[float, at_least(0)]
    baseline_random: Rival | None
    budget_binds: bool | None
    unbudgeted_ms: float = ABSENT
    peak_bytes: Count = ABSENT
    model: FileName = "model.onnx"
    metric: Annotated[str, one_of(*METRICS)] = "accuracy"
    score: Score = ABSENT
    condition: Words = ""
    space: Words = ""
    strategy: Words = ""
    seed: int | None = None
    data: str = ""
    folder: FileName | None = None
    target: Words | None = None
    parent: ParentFacts | None = None
    limits: Limits = ABSENT

    def __post_init__(self) -> None:
        if self.budget_met is not None and self.measured_ms is None:
            raise ValueError("a budget that is met or missed was measured, but measured_ms is null")
        if self.verdict in ("met", "missed", "too close", "unstable") and self.measured_ms is None:
            raise ValueError(f"a verdict of {self.verdict!r} is on a measurement, but measured_ms is null")
        if self.budget_binds is False and self.unbudgeted_ms is None:
            raise ValueError("a budget that does not bind has an unbudgeted_ms")
        if self.baseline_random is not None and self.metric != "accuracy" and self.baseline_random.score is None:
            raise ValueError(f"the random network has a score, as the metric is {self.metric}")

    @property
    def test_score(self) -> float:
        """What the search was after, on the test images."""
        return self.accuracy.test if self.score is None else self.score.test


@dataclass(frozen=True)
class LeftOut:
    """A device of a run for several that could not be reached."""

    target: Words
    error: str


def read_kept(path: Path) -> tuple[dict[str, Any], tuple[KeptResult, ...]]:
    """The content of a `result.json`, and its results: one, or those of a front.

    Raises:
        InputError: it cannot be read, or is not as `hwnas search` writes it.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object, not a {type(content).__name__}", hint=_AGAIN)
    content = current(content)
    if "front" not in content:
        return content, (_result(content, path),)
    front = content["front"]
    if not isinstance(front, list) or not front or not all(isinstance(one, dict) for one in front):
        raise InputError(f"{path}: front must be a list of the results for several budgets", hint=_AGAIN)
    found = tuple(_result(one, f"{path}: front[{place}]") for place, one in enumerate(front))
    if any(one.folder is None for one in found):
        raise InputError(f"{path}: each result of a front must name its folder", hint=_AGAIN)
    checked({name: content.get(name) for name in ("seconds", "budget_met")}, _Whole, path, hint=_AGAIN)
    return content, found


def left_out(content: Mapping[str, Any], path: Path) -> list[LeftOut]:
    """The devices that a result names as left out.

    Raises:
        InputError: it names them in another way than `hwnas search`.
    """
    return checked(content.get("left_out") or [], list[LeftOut], path, hint=_AGAIN)


@dataclass(frozen=True)
class _Whole:
    """What the result of a front holds beside the results."""

    seconds: Annotated[float, at_least(0)]
    budget_met: bool | None


def _result(content: Mapping[str, Any], source: Path | str) -> KeptResult:
    """Only what is looked at is checked: a confusion matrix of 1,000 classes would take a second."""
    names = {field.name for field in fields(KeptResult)}
    taken = {name: value for name, value in content.items() if name in names}
    return checked(taken, KeptResult, source, hint=_AGAIN)
