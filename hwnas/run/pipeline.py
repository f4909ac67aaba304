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
from hwnas.run.all_results import all_results, whole_results
from hwnas.run.clock import Clock
from hwnas.run.data_stage import foreseen, images, tell_of_images
from hwnas.run.environment import write_environment
from hwnas.run.feasible_plan import feasible_plan, refusal
from hwnas.run.followers import followed, tell_run
from hwnas.run.measured_runs import Absent, measured_models, measured_runs
from hwnas.run.plan import Plan, make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_parts import parts_of
from hwnas.run.whole_result import whole_result
from hwnas.train import resolve, training_session
from hwnas.train.joined_ranks import joined
from hwnas.train.ranks import Ranks


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

    Where the configuration has several budgets, on one device or on several, one search serves them all. The results
    for each are in a folder of its own in `out`, such as `5ms` or `pi4-5ms`, and the result is the front of all. Of
    several devices, one that cannot be reached or fails is left out; `resume` finishes it.

    Processes that torchrun started train together, each with a part of every batch. All else is done by the first of
    them, for which the others wait (docs/decisions/0083); all have the result.

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
        LostRankError: one of several processes is gone.
    """
    device = resolve(config.compute.accelerator)
    with joined(device) as ranks:
        if ranks.index:
            return followed(ranks, device, dataset)
        result = _first_rank(
            config,
            RunFolder(out),
            Events.of(on_event),
            ranks,
            tables=tables,
            resume=resume,
            force=force,
            any_table=any_table,
            workers=workers,
            dataset=dataset,
            began=began,
        )
        ranks.tell({"result": result})
        return result


def _first_rank(
    config: Configuration,
    folder: RunFolder,
    told: Events,
    ranks: Ranks,
    *,
    tables: Path | None,
    resume: bool,
    force: bool,
    any_table: bool,
    workers: int,
    dataset: Dataset | None,
    began: float | None,
) -> dict[str, Any]:
    events = told.also(folder.on_event)
    folder.check(config, resume=resume, force=force)
    settled = folder.remembered(config) if resume else config
    clock = Clock(settled.train.minutes, earlier_s=folder.all_seconds(config) if resume else 0.0, began=began)
    asked = _Asked(folder, told, events, clock, ranks, resume=resume, force=force, workers=workers, dataset=dataset)
    make = partial(make_plan, tables=tables, dataset=dataset, any_table=any_table, progress=events)
    plan = feasible_plan(make, settled)
    while True:
        try:
            return _run(plan, asked)
        except InfeasibleBudgetError:  # as a table says that was measured just now: a smaller instance may do
            if folder.begun or (refusal(plan) is not None and not asked.resume):
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
    ranks: Ranks
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
        parts = parts_of(plan, folder)
        absent = Absent(events, {one.index: one.error for one in plan.left_out})
        results = whole_results(parts) if resume else None
        if results is None:
            with training_session(config.compute.seed, config.compute.threads):
                write_environment(plan, folder.environment)
                with events.stage("data"):
                    dataset = images(plan, dataset, folder, events)
                tell_of_images(plan, dataset, folder, events, expected)
                with events.stage("measure"):
                    models = measured_models(plan, folder, absent, clock)
                runs = measured_runs(parts, models, dataset, folder, told, clock, asked.ranks)
                tell_run(asked.ranks, plan, dataset)
                results = all_results(parts, runs, folder, events, absent, workers=asked.workers, resume=resume)
        return whole_result(folder, parts, results, absent.errors)
