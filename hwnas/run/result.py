"""The files that tell what a run found: result.json, architecture.json, evaluated.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.arch.costs import costs
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.devices.verdict import Verdict
from hwnas.errors import InputError
from hwnas.exporting.file_images import file_metrics
from hwnas.exporting.model_file import Exported
from hwnas.files import write_json, write_text
from hwnas.metric_names import METRICS
from hwnas.nas.engine import SearchOutcome
from hwnas.report.earlier_results import current
from hwnas.run.context import RunContext
from hwnas.run.mistakes import Mistakes
from hwnas.run.parent_facts import parent_result
from hwnas.run.rival import Rival
from hwnas.run.schedule import starts
from hwnas.run.training_stage import Final, trained_from
from hwnas.schema import checked, read_json_as
from hwnas.train import evaluate


def result_of(
    run: RunContext,
    found: SearchOutcome,
    choices: tuple[int, ...],
    final: Final,
    exported: Exported,
    verdicts: Mapping[str, Verdict],
    rival: tuple[Rival, Final] | None,
) -> dict[str, Any]:
    """What `result.json` holds, once everything is trained, exported and judged.

    Args:
        verdicts: on the model and the baseline; empty where there is no way to the device.
        rival: the random network with its final weights; None where there is none.
    """
    config, verdict, metric = run.plan.config, verdicts.get("model"), run.plan.config.search.metric
    started = starts(config, final.recipe, len(run.dataset.train))
    mistakes = Mistakes()
    test = evaluate(final.module, run.dataset.test, run.dataset, device=run.device, watch=mistakes.add)
    val = evaluate(final.module, run.dataset.val, run.dataset, device=run.device)
    mistakes.write(run.folder, run.dataset)
    found_metrics, quantised = test.metrics, {}
    if exported.int8 is not None and exported.int8.test is not None:
        found_metrics = exported.int8.test
        quantised = {"float_test": test.accuracy, "val_drop": exported.int8.taken.drop}
    size = costs(run.network(choices).graph)
    unbudgeted_ms = run.model.predict_ms(found.unbudgeted)
    return {
        "budget_ms": run.budget_ms,
        "limits": {"max_size_kb": config.target.max_size_kb or None, "max_peak_kb": config.target.max_peak_kb or None},
        "budget_binds": _binds(run, found),
        "candidates_told_apart": found.told_apart,
        "unbudgeted_ms": unbudgeted_ms,
        "range_ms": list(run.range_ms),
        "predicted_ms": run.model.predict_ms(choices),
        **judgement(verdict),
        "device": run.plan.device.id,
        "condition": str(run.plan.condition.folder),
        "runtime": run.plan.device.runtime,
        "precision": run.plan.device.precision,
        **({} if run.plan.device.provider is None else {"provider": run.plan.device.provider}),
        "model": exported.path.name,
        "metric": metric,
        "score": {"test": found_metrics.value(metric), "val": val.metrics.value(metric)},
        "accuracy": {"test": found_metrics.accuracy, "val": val.accuracy, "test_images": test.n} | quantised,
        "metrics": found_metrics.to_json(run.dataset.classes),
        "baseline_random": _rival_result(run, found, *rival, verdicts.get("baseline")) if rival else None,
        "trained": started,
        "trained_from": trained_from(found),
        "weights": final.weights,
        "epochs": final.recipe.epochs if started else 0,
        "macs": size.macs,
        "params": size.params,
        "peak_bytes": size.peak_bytes,
        "file_bytes": exported.size_bytes,
        "parity": {"max_difference": exported.parity.max_difference, "images": exported.images},
        "int8": None if exported.int8 is None else exported.int8.to_json(),
        "architecture": run.plan.space.describe(Architecture(run.plan.space.name, choices)),
        "data": config.data.source,
        "space": run.plan.space.name,
        "strategy": config.search.strategy,
        "init": None if run.plan.reused is None else run.plan.reused.to_json(config.search.init),
        "parent": parent_result(run, choices),
        "seed": config.compute.seed,
        "table_sha256": run.table_sha256,
        "seconds": round(run.clock.spent_s(), 1) if len(run.plan.config.budgets) == 1 else run.folder.seconds(),
    }


def _binds(run: RunContext, found: SearchOutcome) -> bool | None:
    """Whether a slower network would have been chosen without the budget; None where the candidates are all alike."""
    if run.budget_ms >= run.model.largest_ms:
        return False
    return run.model.predict_ms(found.unbudgeted) > run.budget_ms if found.told_apart else None


def _rival_result(
    run: RunContext, found: SearchOutcome, rival: Rival, final: Final, verdict: Verdict | None
) -> dict[str, Any]:
    """Of the random network; as a file where that was quantised."""
    if run.model_format.calibrate is None:
        metrics = evaluate(final.module, run.dataset.test, run.dataset, device=run.device).metrics
    else:
        content = run.folder.baseline(run.model_format.suffix).read_bytes()
        metrics = file_metrics(run.model_format, content, run.dataset, run.dataset.test)
    size = costs(run.network(rival.choices).graph)
    return {
        "accuracy": metrics.accuracy,
        "score": metrics.value(run.plan.config.search.metric),
        "metrics": {name: metrics.value(name) for name in METRICS} | {"top5": metrics.top5},
        "predicted_ms": run.model.predict_ms(rival.choices),
        "predicted_faster": rival.faster,
        "matched": rival.near,
        "measured_ms": _milliseconds(verdict),
        "trained_from": trained_from(found),
        "weights": final.weights,
        "macs": size.macs,
        "params": size.params,
        "peak_bytes": size.peak_bytes,
        "file_bytes": run.folder.baseline(run.model_format.suffix).stat().st_size,
        "choices": list(rival.choices),
    }


def judgement(verdict: Verdict | None) -> dict[str, Any]:
    """What `result.json` says of the measurement of the exported file; None where it could not be measured."""
    state = "not measured" if verdict is None else verdict.state
    return {
        "measured_ms": _milliseconds(verdict),
        "budget_met": {"met": True, "missed": False}.get(state),
        "verdict": state,
    }


def _milliseconds(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "median": verdict.median_ms,
        "judged": verdict.judged_ms,
        "statistic": verdict.statistic.label,
        "p90": verdict.p90_ms,
        "cold": verdict.cold_ms,
        "bounds": list(verdict.bounds_ms),
        "processes": verdict.processes,
        "n": verdict.n,
        "rejected": verdict.rejected,
        "all_rounds_median": verdict.all_rounds_median_ms,
    }


def write_architecture(run: RunContext, choices: tuple[int, ...]) -> None:
    """Write `architecture.json`."""
    architecture = Architecture(run.plan.space.name, choices)
    write_json(
        run.folder.architecture,
        {
            "space": run.plan.space.name,
            "choices": list(choices),
            "options": run.plan.space.describe(architecture),
            "network": run.plan.space.network(architecture).to_json(),
            "predicted_ms": run.model.predict_ms(choices),
        },
    )


@dataclass(frozen=True)
class _Architecture:
    """Of `architecture.json`."""

    choices: tuple[int, ...]


def read_architecture(path: Path, space: SearchSpace) -> tuple[int, ...]:
    """The choices that `write_architecture` wrote.

    Raises:
        InputError: the file is damaged, or of another space.
    """
    choices = read_json_as(path, _Architecture, hint="start the run anew, with --force").choices
    counts = [len(decision.options) for decision in space.decisions]
    if len(choices) != len(counts) or not all(0 <= one < count for one, count in zip(choices, counts, strict=True)):
        raise InputError(
            f"{path}: choices must be options of the {len(counts)} decisions of {space.name}, not {choices[:50]}",
            hint="start the run anew, with --force",
        )
    return choices


@dataclass(frozen=True)
class _Measured:
    """Latency on the device, in milliseconds: the median, and what it is at least and at most."""

    median: float
    bounds: tuple[float | None, float | None]


@dataclass(frozen=True)
class _Result:
    """Of `result.json`: what a resumed run needs."""

    budget_ms: float
    measured_ms: _Measured | None
    budget_met: bool | None
    verdict: str
    model: str
    seconds: float
    range_ms: tuple[float, float]
    device: str
    condition: str
    runtime: str
    precision: str
    data: str
    space: str
    strategy: str
    seed: int

    def __post_init__(self) -> None:
        if self.budget_met is False and self.measured_ms is None:
            raise ValueError("a budget that is missed was measured, but measured_ms is null")


def read_result(path: Path) -> dict[str, Any]:
    """The result of a run for one budget, as `result_of` gave it.

    Raises:
        InputError: the file is damaged.
    """
    hint = "start the run anew, with --force"
    content = current(read_json_as(path, dict[str, Any], hint=hint))
    checked(content, _Result, path, hint=hint)
    return content


def write_evaluated(run: RunContext, found: SearchOutcome) -> None:
    """Write `evaluated.csv`: the candidates that were compared."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["choices", "predicted_ms", "val_accuracy", "val_loss", "metric", "val_score"])
    for one in found.evaluated:
        choices = one.architecture.choices
        numbers = (f"{value:.6f}" for value in (run.model.predict_ms(choices), one.accuracy, one.loss))
        name = run.plan.config.search.metric
        writer.writerow(["-".join(map(str, choices)), *numbers, name, f"{one.score:.6f}"])
    write_text(run.folder.evaluated, buffer.getvalue())
