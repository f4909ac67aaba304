"""The results of a run that has none yet: search, check, train, export and verify, for every budget."""

from __future__ import annotations

from typing import Any

from hwnas.errors import DeviceError
from hwnas.nas.engine import SearchOutcome
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.finished import damaged, has_verdict, mend
from hwnas.run.measured_check import checked
from hwnas.run.measured_runs import Absent
from hwnas.run.produce import produced
from hwnas.run.result import read_result
from hwnas.run.search_stage import searched
from hwnas.run.training_stage import shared_recipe


def new_results(context: SearchContext, absent: Absent) -> list[dict[str, Any] | None]:
    """The results for every budget, from one search; None for those on devices that are left out meanwhile."""
    with context.progress.stage("search"), context.precision():
        outcomes = searched(context)
    chosen = [_checked(run, outcome, absent) for run, outcome in zip(context.runs, outcomes, strict=True)]
    winners = [choices for choices in chosen if choices is not None]
    if not winners:
        return [None] * len(context.runs)
    with context.precision():
        recipe = shared_recipe(context, winners)
    results: list[dict[str, Any] | None] = []
    several = len(context.first.plan.config.budgets) > 1
    for run, outcome, choices in zip(context.runs, outcomes, chosen, strict=True):
        if several and has_verdict(run.folder) and choices is not None:
            mend(context, run, choices, winners, damaged(run.plan, run.folder))
            results.append(read_result(run.folder.result))
            continue
        if choices is None or run.plan.index in absent.errors:
            results.append(None)
            continue
        if several:
            run.progress.say(f"a network within {run.budget_ms:.4g} ms, in {run.folder.path}")
        try:
            results.append(produced(run, outcome, choices, recipe))
        except DeviceError as error:
            absent.leave_out(run.plan, error)
            results.append(None)
    return results


def _checked(run: RunContext, outcome: SearchOutcome, absent: Absent) -> tuple[int, ...] | None:
    """The architecture for a budget; None where the device is left out, now or before."""
    if run.plan.index in absent.errors:
        return None
    try:
        with run.progress.stage("check"):
            return checked(run, outcome)
    except DeviceError as error:
        absent.leave_out(run.plan, error)
        return None
