"""The whole job: measure, search, check, train, export, verify. Each stage leaves a file that `--resume` builds on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.config import Configuration
from hwnas.data import Dataset, resized
from hwnas.devices.host import host_facts
from hwnas.errors import InfeasibleBudgetError
from hwnas.events import Events, OnEvent
from hwnas.files import write_json
from hwnas.latency.model import LatencyModel
from hwnas.report.page import write_front, write_report
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.images import images_of, note_images
from hwnas.run.latency_stage import ready_model
from hwnas.run.measured_check import checked
from hwnas.run.plan import Plan, make_plan
from hwnas.run.produce import produced
from hwnas.run.result import front_of, read_result
from hwnas.run.run_folder import RunFolder
from hwnas.run.search_stage import searched
from hwnas.run.training_stage import shared_recipe
from hwnas.train import training_session


def run_search(
    config: Configuration,
    out: Path,
    *,
    on_event: OnEvent | Sequence[OnEvent] = (),
    tables: Path | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    workers: int = 1,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """Search, train, export and verify; the result is what `result.json` then holds, a missed budget included.

    Where the configuration has several budgets, one search serves them all. The results for each are in a folder of its
    own in `out`, such as `5ms`, and the result is the front of all.

    Args:
        on_event: callbacks for progress, messages and records.
        any_table: search even with a latency table whose error is too large.
        workers: processes that train candidates, where scores come from training; the result is the same with any.
        dataset: takes the place of `config.data.source`, which becomes its name.

    Raises:
        InputError: bad input, or `out` holds another run.
        InfeasibleBudgetError, InfeasibleLimitError: no network of the space is that fast or small; nothing was trained.
        DeviceError, ExportError, DivergedError, StorageError: as their names say.
    """
    folder, told = RunFolder(out), Events.of(on_event)
    events = told.also(folder.on_event)
    settled = folder.remembered(config) if resume else config
    plan = make_plan(settled, tables, dataset, any_table=any_table, progress=events)
    with folder.claimed(plan.config, resume=resume, force=force):
        if dataset is not None:
            folder.same_data(dataset.digest())
        parts = _parts(plan, folder)
        if resume and all(map(_has_verdict, parts)):
            return _ended(plan, folder, list(map(_kept_result, parts)))
        with training_session(config.compute.seed, config.compute.threads):
            threads = config.compute.threads
            write_json(folder.environment, host_facts() | {"accelerator": str(plan.accelerator), "threads": threads})
            with events.stage("data"):
                dataset = _images(plan, dataset, folder)
                if plan.survey is not None:
                    note_images(plan.survey, folder, events)
            with events.stage("measure"):
                whole = _latencies(plan, folder, events)
            model, range_ms = whole.restricted(plan.constrained.kept), (whole.smallest_ms, whole.largest_ms)
            runs = [
                RunContext(
                    plan,
                    part,
                    model,
                    range_ms,
                    budget.ms(whole),
                    dataset,
                    plan.accelerator,
                    told.also(part.on_event),
                )
                for budget, part in zip(plan.budgets, parts, strict=True)
            ]
            return _ended(plan, folder, _results(SearchContext(folder, runs, events, workers)))


def _parts(plan: Plan, folder: RunFolder) -> list[RunFolder]:
    """Where the results for each budget go: into folders of their own, if there are several."""
    return [folder.part(budget.folder) for budget in plan.budgets] if len(plan.budgets) > 1 else [folder]


def _images(plan: Plan, dataset: Dataset | None, folder: RunFolder) -> Dataset:
    """The images at the resolution of the space; a resumed run has the same as before."""
    config, resolution = plan.config, plan.space.input_shape[1]
    if dataset is None:
        dataset = images_of(config, resolution)
        folder.same_data(dataset.digest())
    return resized(dataset, resolution)


def _latencies(plan: Plan, folder: RunFolder, events: Events) -> LatencyModel:
    """The latency model of the whole space, measured as far as the table lacks it."""
    try:
        return ready_model(plan, progress=events, kept=folder.state / "latency.json")
    except InfeasibleBudgetError:
        folder.free_unless_started()
        raise


def _results(context: SearchContext) -> list[dict[str, Any]]:
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
        if len(context.runs) > 1 and _has_verdict(run.folder):
            results.append(_kept_result(run.folder))
            continue
        if len(context.runs) > 1:
            run.progress.say(f"within {run.budget_ms:.4g} ms: {run.folder.path}")
        results.append(produced(run, outcome, choices, recipe))
    return results


def _has_verdict(folder: RunFolder) -> bool:
    """Whether the run ended with all that can be said; an unstable verdict is measured again."""
    if not folder.result.exists():
        return False
    return bool(read_result(folder.result)["verdict"] != "unstable")


def _kept_result(folder: RunFolder) -> dict[str, Any]:
    result = read_result(folder.result)
    if not folder.report.exists():
        write_report(folder)
    return result


def _ended(plan: Plan, folder: RunFolder, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The result of the whole run, once every budget has its own."""
    if len(plan.budgets) == 1:
        return results[0]
    seconds = folder.seconds() + sum(one["seconds"] for one in results)
    result = front_of([budget.folder for budget in plan.budgets], results, seconds)
    write_json(folder.result, result)
    write_front(folder)
    return result
