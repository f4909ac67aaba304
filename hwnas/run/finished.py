"""A run that ended, resumed: what it shipped is checked and mended, and a verdict that stayed open is sought again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from hwnas.backends.model_format import format_of
from hwnas.backends.torch import network_module
from hwnas.errors import DeviceError, ExportError, InputError
from hwnas.files import write_json
from hwnas.report.page import write_report
from hwnas.run import run_marker
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.export_stage import exported_file, save_weights
from hwnas.run.measured_check import verdicts_of
from hwnas.run.measured_runs import Absent
from hwnas.run.plan import Plan
from hwnas.run.result import judgement, read_architecture, read_result
from hwnas.run.run_folder import RunFolder
from hwnas.run.training_stage import kept_repair_recipe, kept_training, shared_recipe, trained_before
from hwnas.schema import lines_of, read_file
from hwnas.train import checkpoint

_HINT = (
    "put it back from a copy, start anew with --force, or delete it and result.json: --resume then ends the run again "
    "from its checkpoints"
)


def has_verdict(folder: RunFolder) -> bool:
    """Whether the run ended with all that can be said; an unstable verdict is measured again.

    Raises:
        InputError: its result is damaged.
    """
    if not folder.result.exists():
        return False
    return bool(read_result(folder.result)["verdict"] != "unstable")


def damaged(plan: Plan | None, folder: RunFolder) -> list[str]:
    """The names of files of a finished run that are missing, or not as it left them.

    Runs of versions that noted no checksums are checked by reading the files.

    Args:
        plan: None where the device is left out.

    Raises:
        InputError: one of them cannot be made again.
    """
    found = run_marker.holes(folder.path) or _unreadable(plan, folder)
    for path in (folder.result, folder.architecture, folder.evaluated):
        if path.name in found:
            raise InputError(f"{path} is missing, or was changed since the run ended", hint=_HINT)
    if not any("</html>" in line for line in lines_of(folder.report)[-1:]):
        found.append(folder.report.name)
    return found


def result_if_whole(plan: Plan | None, folder: RunFolder) -> dict[str, Any] | None:
    """The result of a finished run whose files are as it left them; a missing report is drawn again. Else None.

    Raises:
        InputError: a file is damaged, and cannot be made again.
    """
    if not has_verdict(folder):
        return None
    names = damaged(plan, folder)
    if names == [folder.report.name]:
        write_report(folder)
    elif names:
        return None
    if not run_marker.sealed(folder.path):
        run_marker.seal(folder.path, folder.shipped())
    return read_result(folder.result)


def results_again(context: SearchContext, absent: Absent) -> list[dict[str, Any]] | None:
    """The results of a run that has one for every budget, with what was damaged written again.

    What was measured while the device was too busy is measured again, and nothing is searched for that. None where a
    budget has no result, or is now missed, which only a search can mend. Of several devices, one that fails now is left
    out, and its results stay.

    Raises:
        InputError: a file is damaged, and cannot be made again.
        ExportError, DeviceError, StorageError: as their names say.
    """
    if not all(run.folder.result.exists() for run in context.runs):
        return None
    found = [(run, damaged(run.plan, run.folder)) for run in context.runs]
    chosen = [read_architecture(run.folder.architecture, run.plan.space) for run in context.runs]
    for (run, names), choices in zip(found, chosen, strict=True):
        mend(context, run, choices, chosen, names)
    results: list[dict[str, Any]] = []
    for run in context.runs:
        try:
            result = read_result(run.folder.result) if has_verdict(run.folder) else _measured_again(run)
        except DeviceError as error:
            absent.leave_out(run.plan, error)
            result = read_result(run.folder.result)
        if result is None:
            return None
        results.append(result)
    return results


def _unreadable(plan: Plan | None, folder: RunFolder) -> list[str]:
    """As `damaged`, for a run without checksums."""
    if run_marker.sealed(folder.path):
        return []
    result = read_result(folder.result)
    model = folder.path / result["model"]
    found = [path.name for path in (folder.labels, folder.weights, model) if not path.is_file()]
    for path in (folder.architecture, folder.evaluated):
        if not path.is_file():
            found.append(path.name)
    try:
        checkpoint.load(folder.weights)
    except InputError:
        found.append(folder.weights.name)
    try:
        if plan is not None:
            format_of(plan.device.runtime, plan.device.precision).check(read_file(model))
    except (ExportError, InputError):
        found.append(model.name)
    return list(dict.fromkeys(found))


def mend(
    context: SearchContext,
    run: RunContext,
    choices: tuple[int, ...],
    chosen: Sequence[tuple[int, ...]],
    names: Sequence[str],
) -> None:
    """Write the files of those names again, from the weights, or from the checkpoint of their training.

    Args:
        choices: the architecture of this budget; `chosen` are those of all.

    Raises:
        InputError: the weights are damaged, and there is no such checkpoint, or the run kept the weights that the
            training began with, which are not in it.
    """
    folder = run.folder
    if not names:
        return
    if set(names) != {folder.report.name}:
        module: nn.Module = network_module(run.network(choices))
        if folder.weights.name not in names:
            tensors, _ = checkpoint.load(folder.weights, hint=_HINT)
            checkpoint.copy_into(module.state_dict(), tensors, folder.weights)
        elif run.plan.config.train.enabled and kept_training(run, choices).is_file():
            with context.precision():
                recipe = kept_repair_recipe(run, choices) or shared_recipe(context, chosen)
                module = trained_before(run, choices, recipe)
            save_weights(run, module)
            if folder.weights.name in run_marker.holes(folder.path):  # it shipped what its training began with
                folder.weights.unlink()
                raise _lost(folder)
        else:
            raise _lost(folder)
        exported_file(run, choices, module)
    _ship(folder)
    run.progress.say(f"written again, as missing or damaged: {', '.join(names)}")


def _lost(folder: RunFolder) -> InputError:
    return InputError(f"{folder.weights} is missing, or was changed since the run ended", hint=_HINT)


def _measured_again(run: RunContext) -> dict[str, Any] | None:
    """The result after another measurement of the files; None if the model misses its budget, to be repaired."""
    result = read_result(run.folder.result)
    models = {"model": run.folder.path / result["model"]}
    if isinstance(result.get("baseline_random"), dict):
        models["baseline"] = run.folder.baseline(run.model_format.suffix)
    if not all(path.is_file() for path in models.values()):
        return None
    with run.progress.stage("export and verify"):
        verdicts = verdicts_of(run, models)
    if verdicts["model"].state in ("missed", "too close"):
        return None
    result |= judgement(verdicts["model"])
    if "baseline" in verdicts:
        result["baseline_random"] |= {"measured_ms": judgement(verdicts["baseline"])["measured_ms"]}
    write_json(run.folder.result, result | {"seconds": run.folder.seconds()})
    _ship(run.folder)
    return read_result(run.folder.result)


def _ship(folder: RunFolder) -> None:
    write_report(folder)
    run_marker.seal(folder.path, folder.shipped())
