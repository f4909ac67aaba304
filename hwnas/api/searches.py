"""`hwnas.search` and `hwnas.plan_search`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

from pydantic import InstanceOf

from hwnas.api.arguments import AtLeast1, PathArgument, checked
from hwnas.api.asked import BudgetMs, Targets, configuration, texts_of
from hwnas.api.outcomes import SearchPlan, SearchResult
from hwnas.config import Configuration, Target
from hwnas.data import Dataset, from_torch
from hwnas.events import Events, OnEvent
from hwnas.executors.place import place_of
from hwnas.run.clock import Clock
from hwnas.run.data_stage import foreseen
from hwnas.run.forecast import TIMING
from hwnas.run.pipeline import checked_start, run_search, settled_plan
from hwnas.run.plan import make_plan
from hwnas.run.plan_checks import check_gpus
from hwnas.run.plan_facts import plan_facts, plan_lines
from hwnas.run.run_folder import RunFolder, default_folder


@checked
def search(
    data: str | PathLike[str] | Dataset | Any = None,
    *,
    budget_ms: BudgetMs | None = None,
    target: InstanceOf[Target] | None = None,
    targets: Targets | None = None,
    config: InstanceOf[Configuration] | PathArgument | None = None,
    settings: Mapping[str, Any] | None = None,
    out: PathArgument | None = None,
    tables: PathArgument | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    on: str | None = None,
    workers: Annotated[int, AtLeast1] | None = None,
    on_event: OnEvent | Sequence[OnEvent] = (),
    began: float | None = None,
    **options: Any,
) -> SearchResult:
    """Find, train, export and verify the best network within a latency budget on a device.

    >>> result = hwnas.search("photos", budget_ms=20)  # doctest: +SKIP
    >>> result.model, result.verdict.state, result.accuracy  # doctest: +SKIP

    A budget that the exported file misses is no error: the verdict of the result says so. Of several devices, one that
    cannot be reached is none either: `facts["left_out"]` names it, and `resume` finishes it.

    Args:
        data: `digits`, `shapes`, `mnist`, `cifar10`, `omniglot`, a folder with one sub-folder of images a class, also
            inside of train, val and test, a CSV, .npz or Parquet file, a `Dataset`, or a map-style
            `torch.utils.data.Dataset` of (image, label). None is that of `config`, which is `digits` by default.
        budget_ms: milliseconds of one call, or a share of the space's latency range such as `"50%"`; several of one
            kind give one network each, from one search.
        target: device, runtime, precision and limits, in place of single options.
        targets: several devices, each with its budgets, in place of a device and a budget, such as
            `["pi4:50ms", "host@litert:5ms,10ms"]`; one search gives a network for each pair of them.
        config: a configuration or a TOML file of one, which the other arguments change.
        settings: any option by its place, such as `{"search.lr": 0.01}`; docs/configuration.md lists all of them.
        out: run directory; `runs/DATA-BUDGET-sSEED` by default.
        tables: folder of latency tables; by default the user's own, those of the package, `./latency_tables`.
        resume: continue an interrupted run in `out`.
        force: start anew, replacing the run in `out`.
        any_table: search even with a latency table whose error is too large.
        on: where candidates are trained for scores from scratch: "local:4" for so many processes of this machine,
            "ray" or "ray://head:10001" for a Ray cluster. It is "local:1" by default; results do not depend on it.
        workers: the same as `on="local:N"`.
        on_event: a callback or several; each is called with every `hwnas.events.Event`.
        began: `time.monotonic()` of when the minutes began to count; by default they do so now.
        options: any flag of `hwnas search` by its name, such as `minutes=5, space="fbnet", threads=2`.

    Raises:
        InputError: bad input, or `out` holds another run.
        InfeasibleBudgetError, InfeasibleLimitError: no network of the space is that fast or small; nothing was trained.
        DeviceError, ExportError, DivergedError, StorageError, ClusterError: as their names say.
    """
    place = place_of(on, workers)
    place.check()
    asked, dataset = _asked(data, budget_ms, target, targets, config, settings, options)
    check_gpus(asked, place)
    folder = Path(out) if out is not None else default_folder(asked)
    facts = run_search(
        asked,
        folder,
        on_event=on_event,
        tables=None if tables is None else Path(tables),
        resume=resume,
        force=force,
        any_table=any_table,
        place=place,
        dataset=dataset,
        began=began,
    )
    return SearchResult.of(folder, facts)


@checked
def plan_search(
    data: str | PathLike[str] | Dataset | Any = None,
    *,
    budget_ms: BudgetMs | None = None,
    target: InstanceOf[Target] | None = None,
    targets: Targets | None = None,
    config: InstanceOf[Configuration] | PathArgument | None = None,
    settings: Mapping[str, Any] | None = None,
    out: PathArgument | None = None,
    tables: PathArgument | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    on: str | None = None,
    workers: Annotated[int, AtLeast1] | None = None,
    on_event: OnEvent | Sequence[OnEvent] = (),
    began: float | None = None,
    **options: Any,
) -> SearchPlan:
    """The plan of `search` with the same arguments; nothing is trained, and nothing is written but caches.

    What the search refuses at its start, the plan refuses.

    A budget in milliseconds without a width has the ends of a few instances measured, for some seconds; a message says
    so before. Images are read and a few steps timed, and the plan says how long the run takes, or what its minutes are
    enough for.

    Raises:
        InputError, InfeasibleBudgetError, InfeasibleLimitError, TableError: as `search`, as far as is known already.
        DeviceError: the device cannot measure.
    """
    place = place_of(on, workers)
    place.check()
    asked, dataset = _asked(data, budget_ms, target, targets, config, settings, options)
    check_gpus(asked, place)
    folder = RunFolder(Path(out) if out is not None else default_folder(asked))
    settled = checked_start(asked, folder, resume=resume, force=force)
    earlier_s = folder.all_seconds(asked) if resume else 0.0
    events, clock = Events.of(on_event), Clock(settled.train.minutes, earlier_s=earlier_s, began=began)
    root = None if tables is None else Path(tables)
    make = partial(make_plan, tables=root, dataset=dataset, any_table=any_table, progress=events)
    plan = settled_plan(make, asked, settled)
    facts = plan_facts(plan)
    if resume:
        folder.check_same(plan.config)
    else:
        events.say(TIMING)
    plan, expected = foreseen(plan, dataset, clock, resume=resume)
    lines = plan_lines(plan, facts)
    if expected is not None:
        facts["minutes"] = expected.to_json()
        lines |= {"time": expected.table} | ({"advice": expected.advice} if expected.advice else {})
    return SearchPlan(lines, facts | {"config": plan.config.to_json()})


def _asked(
    data: object,
    budget_ms: BudgetMs | None,
    target: Target | None,
    targets: Targets | None,
    config: Configuration | str | PathLike[str] | None,
    settings: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[Configuration, Dataset | None]:
    """The configuration that the arguments describe, and the images where they are given themselves."""
    source = str(data) if isinstance(data, str | PathLike) else None
    asked = configuration(
        config,
        data=source,
        budget_ms=budget_ms,
        target=target,
        settings=settings or {},
        options=options,
        targets=texts_of(targets),
    )
    dataset = _dataset(data, asked)
    return asked if dataset is None else asked.changed(data={"source": dataset.name}), dataset


def _dataset(data: object, asked: Configuration) -> Dataset | None:
    """The images themselves, where they are given in place of a name or a path."""
    if data is None or isinstance(data, str | PathLike):
        return None
    if isinstance(data, Dataset):
        return data
    return from_torch(data, name=type(data).__name__, seed=asked.compute.seed, flip=asked.data.flip == "on")
