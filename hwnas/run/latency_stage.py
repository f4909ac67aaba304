"""Stage `measure`: the latency model of a run, measured as far as the table of the device lacks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwnas.arch.costs import macs
from hwnas.devices.measure import ROUND_MS
from hwnas.display import counted, duration, slower
from hwnas.errors import InfeasibleBudgetError, MissingRowsError
from hwnas.files import write_json
from hwnas.latency.build import complete, drifted
from hwnas.latency.calibrate import CALIBRATION_NETWORKS, VALIDATION_NETWORKS
from hwnas.latency.cold import calibrate_cold, measuring_cold_s
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.latency.model import LatencyModel
from hwnas.latency.noise import load_warning
from hwnas.latency.space_latency import kept_model
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_facts import table_facts
from hwnas.latency.table_files import load_table
from hwnas.latency.table_model import model_of, used_sha256
from hwnas.progress import Progress
from hwnas.run.instance import HOPELESS, extreme, floor_ms
from hwnas.run.plan import Plan
from hwnas.schema import read_json_as

_MODEL_S, _ROUNDS, _CALLS = 0.15, 10, 5  # to write a model; its rounds, and the calls of each at least
_MACS_A_MS = 1e7  # multiply-adds; what a core of a common machine does, about


@dataclass(frozen=True)
class _KeptModel:
    """A latency model on disk, its origin, and the facts of its table; runs of earlier versions lack the last two."""

    origin: dict[str, str]
    model: dict[str, Any]
    table_sha256: str | None = None
    table: dict[str, Any] | None = None


def ready_model(plan: Plan, *, progress: Progress, kept: Path | None = None, left_s: float = 0.0) -> LatencyModel:
    """The latency model of the plan's whole space, after measuring what the table lacks.

    Args:
        kept: where a run keeps the model that it began with. Resumed, it goes on with the same numbers, even if the
            device drifts, or its table is lost or measured anew in between.
        left_s: of the minutes of the run, where they are limited. Measuring takes half of it at most, or as long as two
            passes over all that is missing take on a quiet machine, if that is longer.

    Raises:
        InfeasibleBudgetError: the budget is below the fastest network, or the fastest under the other constraints.
        TableError: the error of the table is too large to search with.
        DeviceError: the device cannot measure.
    """
    origin = {"space": plan.space.name, "condition": plan.condition.folder.as_posix()}
    if plan.cold:
        origin["latency"] = "cold"
    if kept is not None and kept.exists():
        content = read_json_as(kept, _KeptModel, hint="start the run anew, with --force")
        if content.origin == origin:
            return kept_model(plan.whole, content.model, kept)
    model, table = _measured_model(plan, progress, left_s)
    check_budget(plan, model)
    if kept is not None:
        checksum = used_sha256(table, plan.whole, cold=plan.cold)
        facts = {"table_sha256": checksum, "table": table_facts(table, plan.whole)}
        write_json(kept, {"origin": origin, "model": model.to_json(), **facts})
    return model


def kept_table(kept: Path) -> str | None:
    """The checksum of what the model that `ready_model` kept was made of; None in runs of earlier versions.

    Raises:
        InputError: the file is damaged.
    """
    return read_json_as(kept, _KeptModel, hint="start the run anew, with --force").table_sha256


def measuring_s(plan: Plan) -> float:
    """About how long it takes to measure all that the search takes from the table and it lacks, on a quiet device."""
    if not plan.cold or plan.complete:
        return _completing_s(plan)
    return _completing_s(plan) + measuring_cold_s(_round_ms(_network_macs(plan)), _MODEL_S)


def _completing_s(plan: Plan) -> float:
    """Of that, two passes over the rows, and over whole networks."""
    if not plan.missing:
        return 0.0
    networks = CALIBRATION_NETWORKS + VALIDATION_NETWORKS
    work = [macs(spec.graph) for spec in plan.missing.rows] + [_network_macs(plan)] * networks
    return sum(_MODEL_S + _ROUNDS * _round_ms(one) / 1e3 for one in work)


def _network_macs(plan: Plan) -> float:
    """Between the smallest and the largest network."""
    return sum(macs(extreme(plan.whole, pick).graph) for pick in (min, max)) / 2


def _round_ms(work: float) -> float:
    """A round of so many multiply-adds."""
    return max(ROUND_MS, _CALLS * work / _MACS_A_MS)


def check_budget(plan: Plan, model: LatencyModel) -> None:
    """Whether every budget can be met, first alone and then with the other constraints.

    Raises:
        InfeasibleBudgetError: one cannot; it is named.
    """
    for budget, target_ms in zip(plan.budgets, plan.targets_ms(model), strict=True):
        try:
            model.raw_budget_ms(target_ms)
            plan.constrained.check(model.restricted(plan.constrained.kept), target_ms)
        except InfeasibleBudgetError as error:
            if len(plan.config.budgets) == 1:
                raise
            asked = f"budgets {plan.config.target.budget}, {budget}"
            if plan.several:
                asked = f"targets {' '.join(map(str, plan.config.targets))}, {plan.target.place}:{budget.text}"
            message = f"of the {asked} cannot be met: {error}"
            hint = f"leave it out, or {error.hint.replace('--budget-ms ', '')}"
            raise InfeasibleBudgetError(message, smallest_ms=error.smallest_ms, hint=hint) from error


def _measured_model(plan: Plan, progress: Progress, left_s: float) -> tuple[LatencyModel, LatencyTable]:
    missing = plan.missing
    if not plan.device.reachable:
        return model_of(plan.table, plan.whole, any_table=plan.any_table), plan.table
    lacks = len(missing.rows)
    if lacks < len(plan.whole.ops):
        again, changed = drifted(plan.table, plan.whole, plan.device)
        if again and plan.table.kind == "adapted":  # what was predicted is not completed: a measured table replaces it
            plan = replace(plan, table=open_table(plan.device, plan.folder))
            again = lacking(plan.table, plan.whole)
        if again:
            progress.say(
                f"the reference model runs {slower(changed)} than when the table was measured: measuring "
                f"{len(again.rows)} of {len(plan.whole.ops)} rows and whole networks again"
            )
        missing = MissingRows((*missing.rows, *again.rows), missing.calibration or again.calibration)
    if missing:
        if not plan.budgets[0].relative:
            _refuse_hopeless(plan, progress)
        if lacks:
            progress.say(f"measuring {counted(lacks, 'row')} that the latency table lacks")
        _complete(replace(plan, missing=missing), left_s, progress)
        plan = replace(plan, table=open_table(plan.device, plan.folder))
        if warning := load_warning(plan.table, plan.whole):
            progress.say(warning)
    table = plan.table
    if plan.cold and plan.whole.signature not in table.cold:
        progress.say(f"measuring whole networks of {plan.space.name} cold, for about a minute")
        table = calibrate_cold(table, plan.whole, plan.device, plan.folder, progress=progress)
    return model_of(table, plan.whole, any_table=plan.any_table, cold=plan.cold), table


def _complete(plan: Plan, left_s: float, progress: Progress) -> None:
    """Measure what the plan lacks, with a limit where the minutes of the run have one."""
    table, whole, device, folder, missing = plan.table, plan.whole, plan.device, plan.folder, plan.missing
    if plan.config.train.minutes:
        try:
            minutes = max(left_s / 2, _completing_s(plan)) / 60
            complete(table, whole, device, folder, missing, progress=progress, max_minutes=minutes)
        except MissingRowsError:
            progress.say(
                f"measuring takes longer than the {duration(60 * minutes)} that the run had for it, and without it "
                "there is no table: it goes on, and less is left of the minutes"
            )
        else:
            return
    complete(table, whole, device, folder, missing, progress=progress)


def reference_us(plan: Plan) -> float | None:
    """What the reference model takes undisturbed, by the table as it is now; None where no table knows."""
    table = load_table(plan.folder) if (plan.folder / "meta.toml").is_file() else plan.table
    if plan.table.kind == "adapted" and plan.whole.signature not in table.calibrations:
        table = plan.table
    return table.reference_of(plan.whole.signature) or None


def _refuse_hopeless(plan: Plan, progress: Progress) -> None:
    """Measure the smallest network before a whole table: a budget far below it is refused at once."""
    progress.say(f"measuring the smallest network of {plan.space.name} on {plan.device.id}, for about a second")
    smallest = {"smallest": extreme(plan.whole, min)}
    smallest_ms = floor_ms(smallest, plan.device, progress=progress, label="measuring the smallest network")["smallest"]
    tightest_ms = plan.budgets[0].value
    if tightest_ms < HOPELESS * smallest_ms:
        raise InfeasibleBudgetError(
            f"no network of {plan.space.name} runs within {tightest_ms:g} ms on {plan.device.id}: the smallest "
            f"one was just measured at {smallest_ms:.3g} ms",
            smallest_ms=smallest_ms,
            hint=f"ask for at least --budget-ms {smallest_ms * 1.1:.2g}, or use a smaller --width or --resolution",
        )
