"""The results of a run for all its targets: those of its search, and those that come late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwnas.events import Events
from hwnas.executors.place import Place
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.finished import result_if_whole, results_again
from hwnas.run.late_targets import searched_for
from hwnas.run.measured_runs import Absent
from hwnas.run.new_results import new_results
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_parts import RunPart

Results = dict[str, dict[str, Any]]
"""By the name of the part."""


def whole_results(parts: Sequence[RunPart]) -> Results | None:
    """The results of a run that has all that it can have without the devices that are left out; else None.

    Raises:
        InputError: a file is damaged, and cannot be made again.
    """
    found = {part.name: result_if_whole(part.plan, part.folder) for part in parts}
    if any(found[part.name] is None for part in parts if part.plan is not None):
        return None
    return {name: result for name, result in found.items() if result is not None}


def all_results(
    parts: Sequence[RunPart],
    runs: Mapping[str, RunContext],
    folder: RunFolder,
    events: Events,
    absent: Absent,
    *,
    place: Place,
    resume: bool,
) -> Results:
    """The results for all parts that are in reach, and those that others have from before.

    The search is for the parts that are there when it begins. Parts that come later, and those of a search that lost a
    device before it had ended for them, inherit its weights and scores.

    Raises:
        InputError, DivergedError, ExportError, DeviceError, StorageError: as the stages.
    """
    found: Results = {}
    for part in parts:
        if part.name not in runs and (result := result_if_whole(part.plan, part.folder)) is not None:
            found[part.name] = result
    begun = searched_for(folder, [part.name for part in parts], list(runs))
    for names, late in _groups(runs, begun):
        context = SearchContext(folder, [runs[name] for name in names], events, place, late)
        before = results_again(context, absent) if resume else None
        results = new_results(context, absent) if before is None else before
        found |= {name: one for name, one in zip(names, results, strict=True) if one is not None}
    return found


def _groups(runs: Mapping[str, RunContext], begun: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """The parts that are worked on together, and whether they come late; none of them is empty.

    Those that have a result are apart from those that come late, as they stay as they are.
    """
    early = [name for name in runs if name in begun]
    if len(early) < len(begun):
        early = []
    late = [name for name in runs if name not in early]
    ended = [name for name in late if runs[name].folder.result.exists()]
    for names in (early, ended, [name for name in late if name not in ended]):
        if names:
            yield names, names is not early
