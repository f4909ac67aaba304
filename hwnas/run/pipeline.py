"""The whole job: measure, search, check, train, export, verify. Each stage leaves a file that `--resume` builds on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hwnas.config import Configuration
from hwnas.data import Dataset
from hwnas.errors import InfeasibleBudgetError
from hwnas.events import Events, OnEvent
from hwnas.latency.model import LatencyModel
from hwnas.run.clock import Clock
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.data_stage import foreseen, images, tell_of_images
from hwnas.run.environment import write_environment
from hwnas.run.feasible_plan import feasible_plan, refusal
from hwnas.run.finished import result_if_whole, results_again
from hwnas.run.latency_stage import kept_table, ready_model
from hwnas.run.new_results import new_results
from hwnas.run.plan import Plan, make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.whole_result import whole_result
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
    began: float | None = None,
) -> dict[str, Any]:
    """Search, train, export and verify; the result is what `result.json` then holds, a missed budget included.

    Where the configuration has several budgets, one search serves them all. The results for each are in a folder of its
    own in `out`, such as `5ms`, and the result is the front of all.

    Args:
        on_event: callbacks for progress, messages and records.
        any_table: search even with a latency table whose error is too large.
        workers: processes that train candidates, where scores come from training; the result is the same with any.
        dataset: takes the place of `config.data.source`, which becomes its name.
        began: as for `Clock`.

    Raises:
        InputError: bad input, or `out` holds another run.
        InfeasibleBudgetError, InfeasibleLimitError: no network of the space is that fast or small; nothing was trained.
        DeviceError, ExportError, DivergedError, StorageError: as their names say.
    """
    folder, told = RunFolder(out), Events.of(on_event)
    events = told.also(folder.on_event)
    folder.check(config, resume=resume, force=force)
    settled = folder.remembered(config) if resume else config
    clock = Clock(settled.train.minutes, earlier_s=folder.all_seconds(config) if resume else 0.0, began=began)
    asked = _Asked(folder, told, events, clock, resume=resume, force=force, workers=workers, dataset=dataset)
    make = partial(make_plan, tables=tables, dataset=dataset, any_table=any_table, progress=events)
    plan = feasible_plan(make, settled)
    while True:
        try:
            return _run(plan, asked)
        except InfeasibleBudgetError:  # as a table says that was measured just now: a smaller instance may do
            if refusal(plan) is not None and not asked.resume:
                raise
            other = feasible_plan(make, config)
            if other.whole.signature == plan.whole.signature:
                raise
            plan, asked = other, replace(asked, resume=False)  # the folder was cleared


@dataclass(frozen=True)
class _Asked:
    """What a run is beside its plan; see `run_search`."""

    folder: RunFolder
    told: Events
    events: Events
    clock: Clock
    resume: bool
    force: bool
    workers: int
    dataset: Dataset | None


def _run(plan: Plan, asked: _Asked) -> dict[str, Any]:
    """The run of one plan."""
    folder, events, told, dataset, resume = asked.folder, asked.events, asked.told, asked.dataset, asked.resume
    # Before the folder is claimed, which clears it: a run that is refused leaves what is there.
    plan, expected = foreseen(plan, dataset, asked.clock, resume=resume)
    config, clock = plan.config, Clock(plan.config.train.minutes, earlier_s=asked.clock.spent_s())
    with folder.claimed(config, resume=resume, force=asked.force):
        if dataset is not None:
            folder.same_data(dataset.digest())
        parts = _parts(plan, folder)
        if resume:
            kept = [result_if_whole(plan, part) for part in parts]
            if None not in kept:
                return whole_result(plan, folder, [one for one in kept if one is not None])
        with training_session(config.compute.seed, config.compute.threads):
            write_environment(plan, folder.environment)
            with events.stage("data"):
                dataset = images(plan, dataset, folder, events)
            tell_of_images(plan, dataset, folder, events, expected)
            with events.stage("measure"):
                whole = _latencies(plan, folder, events, clock)
            model, range_ms = whole.restricted(plan.constrained.kept), (whole.smallest_ms, whole.largest_ms)
            table = kept_table(_kept_latencies(folder))
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
                    table,
                    clock,
                    whole,
                    folder,
                )
                for budget, part in zip(plan.budgets, parts, strict=True)
            ]
            context = SearchContext(folder, runs, events, asked.workers)
            return whole_result(plan, folder, (results_again(context) if resume else None) or new_results(context))


def _parts(plan: Plan, folder: RunFolder) -> list[RunFolder]:
    """Where the results for each budget go: into folders of their own, if there are several."""
    return [folder.part(budget.folder) for budget in plan.budgets] if len(plan.budgets) > 1 else [folder]


def _latencies(plan: Plan, folder: RunFolder, events: Events, clock: Clock) -> LatencyModel:
    """The latency model of the whole space, measured as far as the table lacks it."""
    try:
        return ready_model(plan, progress=events, kept=_kept_latencies(folder), left_s=clock.left_s())
    except InfeasibleBudgetError:
        folder.free_unless_started()
        raise


def _kept_latencies(folder: RunFolder) -> Path:
    return folder.state / "latency.json"
