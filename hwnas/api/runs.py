"""`hwnas.list_runs`, `hwnas.show_run`, `hwnas.compare_runs`, `hwnas.remove_runs` and `hwnas.where`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

from hwnas.api.arguments import PathArgument, checked
from hwnas.api.outcomes import SearchResult
from hwnas.errors import InputError
from hwnas.kept_runs.differences import RunComparison, compared
from hwnas.kept_runs.latencies import NetworkLatencies, network_latencies
from hwnas.kept_runs.removal import check_removable, remove_run
from hwnas.kept_runs.run_summary import RunSummary, is_run, run_summary
from hwnas.run.run_folder import RunFolder

Order = Literal["name", "when", "accuracy", "latency", "size"]
ORDERS: tuple[Order, ...] = get_args(Order)
Runs = Sequence[str | PathLike[str]] | str | PathLike[str]

_KEYS: dict[Order, Callable[[RunSummary], tuple[bool, float]]] = {
    "accuracy": lambda run: (not run.results, -max((one.test_score for one in run.results), default=0.0)),
    "latency": lambda run: _fastest(run),
    "size": lambda run: (not run.results, min((one.file_bytes for one in run.results), default=0)),
}


@checked
def list_runs(folder: PathArgument = "runs", *, sort: Order = "name") -> tuple[RunSummary, ...]:
    """The runs in a folder, finished or not, damaged ones as well; a folder that is a run itself is the only one.

    >>> hwnas.list_runs("runs", sort="accuracy")  # doctest: +SKIP

    Args:
        folder: where they are; folders in it that are no runs are left out.
        sort: by name; by when they changed, the newest first; by test accuracy, or the metric that a search was after,
            the best first; by measured latency or size of the model file, the smallest first. Of several networks the
            best one counts, and runs without a result come last.

    Raises:
        InputError: the folder cannot be listed.
    """
    path = Path(folder)
    found = [run_summary(path)] if is_run(path) else [run_summary(one) for one in _folders(path) if is_run(one)]
    if sort == "when":
        return tuple(sorted(found, key=lambda run: run.changed_at, reverse=True))
    return tuple(sorted(found, key=_KEYS[sort]) if sort in _KEYS else found)


@checked
def show_run(run: PathArgument) -> SearchResult:
    """The result of a finished run, as its search gave it.

    Raises:
        InputError: the folder is no run, or the run is unfinished or damaged.
    """
    found = run_summary(Path(run))
    if found.state == "damaged":
        raise InputError(f"the run {found.run} is damaged: {found.note}", hint="search again with --force")
    if found.state != "finished":
        hint = "wait for it" if found.state == "running" else f"go on with it: {found.next}"
        raise InputError(f"the run {found.run} is not finished: it is {found.state}, {found.note}", hint=hint)
    from hwnas.kept_runs.kept_result import read_kept

    file = RunFolder(found.run).result
    content, _ = read_kept(file)
    try:
        return SearchResult.of(found.run, content)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, MemoryError) as error:
        raise InputError(f"the run {found.run} is damaged: {file}: its metrics are none: {error}") from error


@checked
def compare_runs(runs: Runs) -> RunComparison:
    """Runs side by side: options that differ, results, and which differences are more than their errors.

    Args:
        runs: folders of runs; one is enough where it holds networks for several budgets.

    Raises:
        InputError: a folder is no run, or there is only one network.
    """
    found = compared([RunFolder(path) for path in _paths(runs)])
    if len(found.results) < 2:
        raise InputError("a comparison needs two runs or more, or one for several budgets, not one network")
    return found


@checked
def remove_runs(runs: Runs) -> tuple[Path, ...]:
    """Remove runs: what hwnas wrote in their folders, and the folders where nothing else is in them.

    Nothing is removed before all of them are checked. Symbolic links are not followed.

    Returns:
        the folders that are still there, because others have files in them.

    Raises:
        InputError: a folder carries no marker of a run, is a symbolic link or one part of a run, or a process works in
            it.
        StorageError: a file cannot be removed.
    """
    paths = list(dict.fromkeys(_paths(runs)))
    for path in paths:
        check_removable(path)
    return tuple([path for path in paths if not remove_run(path)])


@checked
def where(run: PathArgument, *, tables: PathArgument | None = None) -> NetworkLatencies:
    """What the network of a finished run is predicted to take by every latency table that is known.

    >>> hwnas.where("runs/photos-20-s0").tables  # doctest: +SKIP

    A table that lacks a row of the network, or holds a stale one, gives no prediction: its note says so.

    Args:
        run: the folder of a run; of one for several budgets, that of a budget.
        tables: a folder of latency tables, beside the user's own, those of the package and `./latency_tables`.

    Raises:
        InputError: the folder is no finished run, is damaged, or holds several networks.
    """
    return network_latencies(Path(run), None if tables is None else Path(tables))


def _paths(runs: Runs) -> list[Path]:
    named = [runs] if isinstance(runs, str | PathLike) else runs
    if not named:
        raise InputError("no run is named", hint="hwnas runs list tells what there is")
    return [Path(one) for one in named]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if one.is_dir())
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(
            f"there are no runs in {path}: {reason}", hint="hwnas search makes one; or name the folder that holds them"
        ) from error


def _fastest(run: RunSummary) -> tuple[bool, float]:
    times = [one.measured_ms.judged_ms for one in run.results if one.measured_ms is not None]
    return not times, min(times, default=0.0)
