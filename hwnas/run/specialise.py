"""Further targets from a finished run: another device or budget, without another training of the supernet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwnas.config import Configuration, load_configuration
from hwnas.errors import InputError
from hwnas.events import OnEvent
from hwnas.executors.place import HERE, Place
from hwnas.files import real_path, write_bytes
from hwnas.report.run_files import read_result
from hwnas.run import run_marker
from hwnas.run.late_targets import note_searched, searched_for
from hwnas.run.pipeline import run_search
from hwnas.run.run_folder import RunFolder, beside, plain
from hwnas.schema import read_json
from hwnas.train import checkpoint

_TAKEN = (
    *("search.json", "search.safetensors", "scored.safetensors", "scores.json", "recipe.json"),
    *("parent.safetensors", "adaptation.json", "head.json", "head.safetensors", "sampler.json", "learned.json"),
    "score-recipe.json",
)
"""Of the state of a run: what all its targets share, and what does not speak of a device."""
_WEIGHTS = ("search.safetensors", "parent.safetensors", "scores")
"""One of these is there: the supernet, what is left of a parent, or scores of trainings from scratch."""
_SEARCH_ANEW = "search anew, with --target for every device"


def specialised_config(run: RunFolder, targets: Sequence[str]) -> Configuration:
    """What a finished run was asked for, with other targets; limits on size and memory, and all else, stay.

    Raises:
        InputError: it is no finished run, is for one budget of a run for several, a file of its search is missing or
            damaged, or a target is wrong.
    """
    run_marker.check_run(run.path)
    if not run.config.is_file() and (whole := RunFolder(real_path(run.path).parent)).config.is_file():
        raise InputError(
            f"{run.path} is one part of a run, whose targets share its search", hint=f"name the run: {whole.path}"
        )
    read_result(run)
    if not run.search_settings.is_file():
        raise InputError(
            f"{run.path} keeps nothing of its search that another target could start from: there is no "
            f"{run.search_settings}",
            hint=_SEARCH_ANEW,
        )
    _check_kept(run)
    own = {"targets": tuple(targets), "budget": "", "device": "host", "runtime": "", "precision": "", "provider": ""}
    return load_configuration(run.config).changed(target=own)


def specialised(
    run: RunFolder,
    config: Configuration,
    out: RunFolder,
    *,
    on_event: OnEvent | Sequence[OnEvent] = (),
    tables: Path | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    place: Place = HERE,
) -> dict[str, Any]:
    """A network for each of other targets, from the weights and scores of a finished run, in a run of its own.

    No supernet is trained. Each target has its table, its exact decode, its check, training, export and verdict, all
    by the settings and the recipe of the run.

    Args:
        config: `specialised_config` of the run.
        out: where the new run goes; it holds all that it needs.

    Raises:
        HwnasError: as `run_search`, and where the images are not those of the run any more.
    """
    if real_path(out.path).is_relative_to(real_path(run.path)):
        where = "is the run itself" if real_path(out.path) == real_path(run.path) else f"is inside of {run.path}"
        raise InputError(f"{out.path} {where}, which is kept as it is", hint="choose another --out")
    if not resume:
        with out.claimed(config, resume=False, force=force):
            pass
    out.check(config, resume=True, force=False)
    if not out.search_settings.is_file():
        _take_over(run, out)
    return run_search(
        config,
        out.path,
        on_event=on_event,
        tables=tables,
        resume=True,
        any_table=any_table,
        place=place,
        instance_of=str(run.path),
    )


def _check_kept(run: RunFolder) -> None:
    """Refuse a run whose search is not whole, before anything of it is copied."""
    if not any((run.state / name).exists() for name in _WEIGHTS):
        raise InputError(f"the weights of the search are gone from {run.state}", hint=_SEARCH_ANEW)
    run.data_digest()
    searched_for(run, (), ())
    for path in (run.state / name for name in _TAKEN):
        if path.is_file() and path.suffix == ".safetensors":
            checkpoint.load(path, hint=_SEARCH_ANEW)
        elif path.is_file():
            read_json(path)


def specialised_folder(run: RunFolder, config: Configuration) -> Path:
    """The folder when none is named: beside the run, such as `runs/photos-20-s0-pi4-50ms`."""
    names = [f"{one.folder}-{budget.folder}" for one in config.targets for budget in one.budgets]
    return beside(run.path, "-".join([plain(run.path).name, *names])[:200])


def _take_over(run: RunFolder, out: RunFolder) -> None:
    """Copy what targets share from one run to another; the settings of the search come last, and say that all is there.

    Raises:
        StorageError: it cannot be written.
    """
    config = load_configuration(run.config)
    names = [name for target in config.targets for name in target.names]
    note_searched(out, searched_for(run, names, names))
    out.same_data_as(run)
    scores = [f"scores/{path.name}" for path in sorted((run.state / "scores").glob("*.json"))]
    for name in sorted([*_TAKEN, *scores], key=lambda name: name == out.search_settings.name):
        if (run.state / name).is_file():
            write_bytes(out.state / name, (run.state / name).read_bytes())
