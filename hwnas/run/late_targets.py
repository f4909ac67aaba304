"""Targets that come when the search of a run has ended: devices that could not be reached, and those of `specialise`.

The supernet took turns between the targets that were there when its training began; their names are noted. All others
inherit its weights, and the scores that were made with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwnas.files import write_json
from hwnas.meta.earlier import from_samplers
from hwnas.meta.samplers import sampler_start
from hwnas.nas.start import Start
from hwnas.run.context import SearchContext
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json_as


@dataclass(frozen=True)
class _Searched:
    """The targets that a search was for, each a device with one budget."""

    targets: tuple[str, ...]


def searched_for(folder: RunFolder, all_names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """The names of the targets that the search of a run is for; before it begins, those that are present.

    Args:
        all_names: of all targets of the run, in their order.

    Raises:
        InputError: what was noted of them is damaged.
        StorageError: it cannot be noted.
    """
    path = folder.state / "searched-for.json"
    if not folder.begun:
        note_searched(folder, present)
    if not path.exists():  # a run of an earlier version
        return tuple(all_names)
    return read_json_as(path, _Searched, hint=f"start {folder.path} anew, with --force").targets


def note_searched(folder: RunFolder, names: Sequence[str]) -> None:
    """Note which targets the search of a run is for.

    Raises:
        StorageError: it cannot be written.
    """
    write_json(folder.state / "searched-for.json", {"targets": list(names)})


def late_start(context: SearchContext, start: Start | None) -> Start | None:
    """The start of a search whose weights are there: with what the sampler learned, where it can be carried over."""
    plan, kept = context.first.plan, context.folder.sampler_state
    if start is not None and context.folder.search_state.exists():
        start = replace(start, weights={}, alpha=None)
    if plan.strategy.sampler is None or not kept.is_file():
        return start
    learned, _ = sampler_start(plan.space, from_samplers(kept), plan.strategy, plan.config.search.reward)
    return start if learned is None else replace(start or Start(), sampler_state=learned)
