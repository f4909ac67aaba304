"""The whole job: a plan, and its run; by one process, or by several that train together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hwnas.config import Configuration
from hwnas.data import Dataset
from hwnas.errors import InfeasibleBudgetError
from hwnas.events import Events, OnEvent
from hwnas.executors.place import HERE, Place
from hwnas.run.clock import Clock
from hwnas.run.feasible_plan import Make, feasible_plan, refusal
from hwnas.run.followers import followed
from hwnas.run.instance_choice import AS_ASKED
from hwnas.run.plan import Plan, make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_of_plan import Asked, run_of_plan
from hwnas.trackers import check_tracker
from hwnas.train import resolve
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
    place: Place = HERE,
    dataset: Dataset | None = None,
    began: float | None = None,
    instance_of: str = "",
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
        place: where candidates are trained, if scores come from training; the result is the same anywhere.
        dataset: takes the place of `config.data.source`, which becomes its name.
        began: as for `Clock`.
        instance_of: the run whose instance of the space this is, where the user did not name it.

    Raises:
        InputError: bad input, or `out` holds another run.
        InfeasibleBudgetError, InfeasibleLimitError: no network of the space is that fast or small; nothing was trained.
        DeviceError, ExportError, DivergedError, StorageError, ClusterError: as their names say.
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
            place=place,
            dataset=dataset,
            began=began,
            instance_of=instance_of,
        )
        ranks.tell({"result": result})
        return result


def checked_start(config: Configuration, folder: RunFolder, *, resume: bool, force: bool) -> Configuration:
    """The configuration that a run goes on with, which is `config` where it is new; nothing is written.

    Raises:
        InputError: the folder or the tracker is refused, for a plan as for a run.
    """
    folder.check(config, resume=resume, force=force)
    check_tracker(config.compute.tracker)
    return folder.remembered(config) if resume else config


def settled_plan(make: Make, config: Configuration, settled: Configuration, instance_of: str = "") -> Plan:
    """The plan of a run that goes on with `settled`, where `config` is asked for; it says whose instance it takes.

    Raises:
        HwnasError: as `make`.
    """
    plan = feasible_plan(make, settled)
    if plan.reason == AS_ASKED and (instance_of or settled.space != config.space):
        return replace(plan, reason=f"the one that {instance_of or 'the run'} began with")
    return plan


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
    place: Place,
    dataset: Dataset | None,
    began: float | None,
    instance_of: str,
) -> dict[str, Any]:
    events = told.also(folder.on_event)
    settled = checked_start(config, folder, resume=resume, force=force)
    clock = Clock(settled.train.minutes, earlier_s=folder.all_seconds(config) if resume else 0.0, began=began)
    asked = Asked(folder, told, events, clock, ranks, resume=resume, force=force, place=place, dataset=dataset)
    make = partial(make_plan, tables=tables, dataset=dataset, any_table=any_table, progress=events)
    plan = settled_plan(make, config, settled, instance_of)
    while True:
        try:
            return run_of_plan(plan, asked)
        except InfeasibleBudgetError:  # as a table says that was measured just now: a smaller instance may do
            if folder.begun or (refusal(plan) is not None and not asked.resume):
                raise
            other = feasible_plan(make, config)
            if other.whole.signature == plan.whole.signature:
                raise
            plan, asked = other, replace(asked, resume=False)  # the folder was cleared
