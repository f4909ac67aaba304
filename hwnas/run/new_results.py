"""The results of a run that has none yet: search, check, train, export and verify, for every budget."""

from __future__ import annotations

from typing import Any

from hwnas.run.context import SearchContext
from hwnas.run.finished import damaged, has_verdict, mend
from hwnas.run.measured_check import checked
from hwnas.run.produce import produced
from hwnas.run.result import read_result
from hwnas.run.search_stage import searched
from hwnas.run.training_stage import shared_recipe


def new_results(context: SearchContext) -> list[dict[str, Any]]:
    """The results for every budget, from one search."""
    with context.progress.stage("search"), context.precision():
        outcomes = searched(context)
    chosen = []
    for run, outcome in zip(context.runs, outcomes, strict=True):
        with run.progress.stage("check"):
            chosen.append(checked(run, outcome))
    with context.precision():
        recipe = shared_recipe(context, chosen)
    results = []
    for run, outcome, choices in zip(context.runs, outcomes, chosen, strict=True):
        if len(context.runs) > 1 and has_verdict(run.folder):
            mend(context, run, choices, chosen, damaged(run.plan, run.folder))
            results.append(read_result(run.folder.result))
            continue
        if len(context.runs) > 1:
            run.progress.say(f"within {run.budget_ms:.4g} ms: {run.folder.path}")
        results.append(produced(run, outcome, choices, recipe))
    return results
