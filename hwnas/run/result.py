"""The files that tell what a run found: result.json, architecture.json, evaluated.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hwnas.arch.costs import costs
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.devices.verdict import Verdict
from hwnas.errors import BudgetMissedError, InputError
from hwnas.export.model_file import Exported, accuracy
from hwnas.files import write_json, write_text
from hwnas.nas.engine import SearchOutcome
from hwnas.run.context import RunContext
from hwnas.schema import checked, read_json_as
from hwnas.train import Recipe, evaluate

_SHARED_BY_FRONT = ("range_ms", "device", "condition", "runtime", "precision", "data", "space", "strategy", "seed")


def result_of(
    run: RunContext,
    found: SearchOutcome,
    choices: tuple[int, ...],
    module: nn.Module,
    exported: Exported,
    verdicts: Mapping[str, Verdict],
    random_choices: tuple[int, ...],
    baseline: nn.Module | None,
    recipe: Recipe,
) -> dict[str, Any]:
    """What `result.json` holds, once everything is trained, exported and judged.

    Args:
        verdicts: on the model and the baseline; empty where there is no way to the device.
    """
    config, verdict = run.plan.config, verdicts.get("model")
    state = "not measured" if verdict is None else verdict.state
    test = evaluate(module, run.dataset.test, run.dataset, device=run.device)
    val = evaluate(module, run.dataset.val, run.dataset, device=run.device)
    quantised: dict[str, float] = {}
    if exported.drop is not None:
        own = _file_accuracy(run, exported.path)
        quantised = {"test": own, "float_test": test.accuracy, "val_drop": exported.drop}
    rival = None
    if baseline is not None:
        trained = evaluate(baseline, run.dataset.test, run.dataset, device=run.device).accuracy
        rival = {
            "accuracy": _file_accuracy(run, run.folder.baseline(run.model_format.suffix)) if quantised else trained,
            "predicted_ms": run.model.predict_ms(random_choices),
            "measured_ms": _milliseconds(verdicts.get("baseline")),
        }
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
        "measured_ms": _milliseconds(verdict),
        "budget_met": {"met": True, "missed": False, "straddles": False}.get(state),
        "verdict": state,
        "device": run.plan.device.id,
        "condition": str(run.plan.condition.folder),
        "runtime": run.plan.device.runtime,
        "precision": run.plan.device.precision,
        "model": exported.path.name,
        "accuracy": {"test": test.accuracy, "val": val.accuracy, "test_images": test.n} | quantised,
        "baseline_random": rival,
        "trained": config.train.enabled,
        "epochs": recipe.epochs if config.train.enabled else 0,
        "macs": size.macs,
        "params": size.params,
        "peak_bytes": size.peak_bytes,
        "file_bytes": exported.size_bytes,
        "parity": {"max_difference": exported.parity.max_difference, "images": exported.images},
        "architecture": run.plan.space.describe(Architecture(run.plan.space.name, choices)),
        "data": config.data.source,
        "space": run.plan.space.name,
        "strategy": config.search.strategy,
        "init": None if run.plan.reused is None else run.plan.reused.to_json(config.search.init),
        "seed": config.compute.seed,
        "seconds": run.folder.seconds(),
    }


def _binds(run: RunContext, found: SearchOutcome) -> bool | None:
    """Whether a slower network would have been chosen without the budget; None where the candidates are all alike."""
    if run.budget_ms >= run.model.largest_ms:
        return False
    return run.model.predict_ms(found.unbudgeted) > run.budget_ms if found.told_apart else None


def _file_accuracy(run: RunContext, model: Path) -> float:
    return accuracy(run.model_format, model.read_bytes(), run.dataset, run.dataset.test)


def _milliseconds(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "median": verdict.median_ms,
        "p90": verdict.p90_ms,
        "ci95": list(verdict.ci95_ms),
        "n": verdict.n,
        "rejected": verdict.rejected,
        "all_rounds_median": verdict.all_rounds_median_ms,
    }


def missed(result: dict[str, Any]) -> BudgetMissedError:
    """The error of a run with files that are too slow, from its result."""
    said = []
    for one in result.get("front", [result]):
        if one["budget_met"] is False:
            measured = one["measured_ms"]
            name = f"{one['folder']}/{one['model']}" if "folder" in one else "the exported model"
            said.append(
                f"{name} runs in {measured['median']:.4g} ms (95 % interval {measured['ci95'][0]:.4g} to "
                f"{measured['ci95'][1]:.4g}), above the budget of {one['budget_ms']:.4g} ms"
            )
    return BudgetMissedError(
        "; ".join(said),
        hint="the device is slower than when its table was made: run hwnas profile-device --again with the --width and "
        "--resolution of this space, then search with --force",
    )


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
    """Latency on the device, in milliseconds: the median and its 95 % interval."""

    median: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class _Result:
    """Of `result.json`: what a resumed run needs."""

    budget_ms: float
    measured_ms: _Measured | None
    budget_met: bool | None
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
    content = read_json_as(path, dict[str, Any], hint=hint)
    checked(content, _Result, path, hint=hint)
    return content


def write_evaluated(run: RunContext, found: SearchOutcome) -> None:
    """Write `evaluated.csv`: the candidates that were compared."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["choices", "predicted_ms", "val_accuracy", "val_loss"])
    for one in found.evaluated:
        choices = one.architecture.choices
        predicted_ms = run.model.predict_ms(choices)
        writer.writerow(["-".join(map(str, choices)), f"{predicted_ms:.6f}", f"{one.accuracy:.6f}", f"{one.loss:.6f}"])
    write_text(run.folder.evaluated, buffer.getvalue())


def front_of(folders: Sequence[str], results: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What the `result.json` over several budgets holds.

    Args:
        folders, results: of each budget, the tightest first.
        seconds: that all of it took.
    """
    states = [result["budget_met"] for result in results]
    return {
        "front": [{"folder": name} | result for name, result in zip(folders, results, strict=True)],
        "budget_met": False if False in states else None if None in states else True,
        **{name: results[0][name] for name in _SHARED_BY_FRONT},
        "seconds": round(seconds, 1),
    }
