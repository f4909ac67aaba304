"""`hwnas.specialise`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from hwnas.api.arguments import AtLeast1, PathArgument, checked
from hwnas.api.asked import Targets, texts_of
from hwnas.api.outcomes import SearchResult
from hwnas.events import OnEvent
from hwnas.executors.place import place_of
from hwnas.run.run_folder import RunFolder
from hwnas.run.specialise import specialised, specialised_config, specialised_folder


@checked
def specialise(
    run: PathArgument,
    targets: Targets,
    *,
    out: PathArgument | None = None,
    tables: PathArgument | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    on: str | None = None,
    workers: Annotated[int, AtLeast1] | None = None,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> SearchResult:
    """Find, train, export and verify networks for other devices or budgets from the search of a finished run.

    >>> result = hwnas.specialise("runs/photos-20-s0", "pi4:50ms")  # doctest: +SKIP

    No supernet is trained: its weights, and the scores that were made with them, are those of the run. The new run has
    a folder of its own, and needs that of the old one no more.

    Args:
        run: the folder of a finished run.
        targets: a device with its budgets, such as `"pi4:50ms"` or `"host@litert:5ms,10ms"`, or several.
        out: run directory; beside the old one by default, with the targets in its name.
        tables: folder of latency tables; by default the user's own, those of the package, `./latency_tables`.
        resume: continue an interrupted run in `out`, or finish devices that were left out.
        force: start anew, replacing the run in `out`.
        any_table: search even with a latency table whose error is too large.
        on: where candidates are trained for scores from scratch, as for `hwnas.search`.
        workers: the same as `on="local:N"`.
        on_event: a callback or several; each is called with every `hwnas.events.Event`.

    Raises:
        InputError: no finished run, a target is wrong, the images are others, or `out` holds another run.
        InfeasibleBudgetError: no network of the space of the run is that fast on the device; nothing was trained.
        DeviceError, ExportError, DivergedError, StorageError, ClusterError: as their names say.
    """
    place = place_of(on, workers)
    place.check()
    source = RunFolder(Path(run))
    config = specialised_config(source, texts_of(targets) or ())
    folder = specialised_folder(source, config) if out is None else Path(out)
    facts = specialised(
        source,
        config,
        RunFolder(folder),
        on_event=on_event,
        tables=None if tables is None else Path(tables),
        resume=resume,
        force=force,
        any_table=any_table,
        place=place,
    )
    return SearchResult.of(folder, facts)
