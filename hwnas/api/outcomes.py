"""Results of the front door, frozen and typed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hwnas.devices.statistic import Statistic
from hwnas.devices.verdict import State, Verdict
from hwnas.display import table_html
from hwnas.latency.calibrate import too_far_off
from hwnas.latency.table import LatencyTable, Noise, Validation
from hwnas.latency.trust import trust
from hwnas.metric_names import NAMES
from hwnas.metrics import Metrics
from hwnas.report.earlier_results import judged_ms

_STATES: tuple[State, ...] = ("met", "missed", "too close", "unstable")


@dataclass(frozen=True)
class SearchResult:
    """A finished search: the model file, its accuracy, and the verdict on its latency.

    Of a search for several budgets it is the result for the tightest one, and `front` has one for each. Of several
    devices it is the result for the first one; `facts["left_out"]` names those that could not be reached.

    Attributes:
        run: the run directory.
        model: the exported file.
        labels: names of the classes, one a line.
        report: `report.html`.
        budget_ms: what was asked for, in milliseconds of one call.
        predicted_ms: latency by the table.
        verdict: the measurement of the exported file; None where the device is known by an imported table alone.
        budget_met: True or False where the measurement decides it, else None.
        accuracy: share of the test images that are classified rightly, 0 to 1.
        metric: what the search was after: `accuracy`, `balanced` or `macro-f1`.
        score: that metric on the test images, 0 to 1.
        metrics: of the test images, class by class, with the confusion matrix; None in runs of earlier versions.
        front: results by budget, the tightest first, one device after the other; empty for one budget.
        facts: all of `result.json`.
    """

    run: Path
    model: Path
    labels: Path
    report: Path
    budget_ms: float
    predicted_ms: float
    verdict: Verdict | None
    budget_met: bool | None
    accuracy: float
    front: tuple[SearchResult, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    metric: str = "accuracy"
    score: float = math.nan
    metrics: Metrics | None = field(default=None, repr=False)

    @classmethod
    def of(cls, run: Path, facts: Mapping[str, Any]) -> SearchResult:
        """The result that a run directory with this `result.json` holds."""
        if "front" in facts:
            front = tuple(cls.of(run / one["folder"], one) for one in facts["front"])
            first = front[0]
            return cls(
                run,
                first.model,
                first.labels,
                run / "report.html",
                first.budget_ms,
                first.predicted_ms,
                first.verdict,
                facts["budget_met"],
                first.accuracy,
                front,
                facts,
                first.metric,
                first.score,
                first.metrics,
            )
        return cls(
            run,
            run / facts.get("model", "model.onnx"),
            run / "labels.txt",
            run / "report.html",
            facts["budget_ms"],
            facts["predicted_ms"],
            _verdict(facts),
            facts["budget_met"],
            facts["accuracy"]["test"],
            (),
            facts,
            facts.get("metric", "accuracy"),
            facts.get("score", facts["accuracy"])["test"],
            Metrics.from_json(facts["metrics"]) if "metrics" in facts else None,
        )

    def to_json(self) -> dict[str, Any]:
        """All of `result.json`."""
        return dict(self.facts)

    def _repr_html_(self) -> str:
        if self.front:
            shown = {one.facts.get("target") or f"{one.budget_ms:.4g} ms": one._measured() for one in self.front}
            return table_html(f"hwnas search: {self.run}", shown | {"report": self.report})
        facts = {"budget": f"{self.budget_ms:.4g} ms", "measured": self._measured(), "model": self.model}
        return table_html(f"hwnas search: {self.run}", facts | {"report": self.report})

    def _measured(self) -> str:
        took = "not measured" if self.verdict is None else f"{self.verdict.judged_ms:.4g} ms: {self.verdict.state}"
        return f"{took}, test {NAMES[self.metric]} {self.score:.4f}"


def _verdict(facts: Mapping[str, Any]) -> Verdict | None:
    measured = facts["measured_ms"]
    if measured is None:
        return None
    return Verdict(
        median_ms=measured["median"],
        p90_ms=measured["p90"],
        bounds_ms=(measured["bounds"][0], measured["bounds"][1]),
        n=measured["n"],
        rejected=measured["rejected"],
        all_rounds_median_ms=measured.get("all_rounds_median", measured["median"]),
        state=next(state for state in _STATES if state == facts["verdict"]),
        cold_ms=measured.get("cold"),
        processes=measured.get("processes", 0),
        judged_ms=judged_ms(measured),
        statistic=Statistic("cold" if str(measured.get("statistic")).endswith("cold") else "warm"),
    )


@dataclass(frozen=True)
class SearchPlan:
    """A search before it is run.

    Attributes:
        lines: for people, by label: data, space, device, table, budget, start, strategy, time; the last has a
            line for each stage.
        facts: for programs, with the whole configuration.
    """

    lines: Mapping[str, str]
    facts: Mapping[str, Any] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The facts."""
        return dict(self.facts)

    def _repr_html_(self) -> str:
        return table_html("plan of a search", self.lines)


@dataclass(frozen=True)
class TableResult:
    """A latency table that was measured or predicted for an instance of a space on a device.

    Attributes:
        folder: where it lies.
        table: the table.
        space: name of the instance, such as `mobile@w0.25-r32`.
        signature: that with channels and classes, by which the table names it.
        rows: how many ops of the space the table holds.
        measured: how many rows, or whole networks of an adapted table, were measured for it.
        seconds: that it took.
        stopped: whether a limit on the minutes ended the measurement early.
        sources: tables that an adapted one was predicted from.
    """

    folder: Path
    table: LatencyTable = field(repr=False)
    space: str
    signature: str
    rows: int
    measured: int
    seconds: float
    stopped: bool = False
    sources: tuple[str, ...] = ()

    @property
    def validation(self) -> Validation:
        """How far predictions are from networks that took no part in them."""
        return self.table.validations[self.signature]

    @property
    def too_far_off(self) -> str:
        """Why searches refuse the table; empty where they do not."""
        return too_far_off(self.validation)

    @property
    def noise(self) -> Noise | None:
        """How much other work disturbed the measurement; None where it is not known."""
        return self.table.noise.get(self.signature)

    @property
    def margin(self) -> float:
        """Share of a budget that searches leave, 0 to 1."""
        return float(trust(self.table, self.signature)["margin"])

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; the rows stay in their file."""
        return {
            "table": str(self.folder),
            "kind": self.table.kind,
            "space": self.space,
            "rows": self.rows,
            "measured": self.measured,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "sources": list(self.sources),
            "margin": self.margin,
            "validation": asdict(self.validation),
            "too_far_off": self.too_far_off or None,
            "noise": None if self.noise is None else asdict(self.noise),
        }

    def _repr_html_(self) -> str:
        facts = {"space": self.space, "rows": self.rows, "error": f"{self.validation.mape:.1%}"}
        return table_html(f"latency table: {self.folder}", facts | {"margin": f"{self.margin:.1%}"})


@dataclass(frozen=True)
class MetaTrainResult:
    """A meta-learned initialisation on disk.

    Attributes:
        file: for `hwnas.search(..., init=FILE)`.
        facts: format version, space, method, tasks, devices and metrics.
    """

    file: Path
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Mean accuracy on tasks of held-out classes, 0 to 1."""
        return float(self.facts["metrics"]["accuracy"])

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"file": str(self.file)} | dict(self.facts)

    def _repr_html_(self) -> str:
        return table_html(f"initialisation: {self.file}", {"accuracy on held-out classes": f"{self.accuracy:.3f}"})
