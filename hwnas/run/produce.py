"""From a chosen architecture to a verdict: train, export, measure, and repair what is too slow."""

from __future__ import annotations

from typing import Any

from hwnas.files import write_json
from hwnas.nas.engine import SearchOutcome
from hwnas.report.page import write_report
from hwnas.run import run_marker
from hwnas.run.context import RunContext
from hwnas.run.export_stage import exported_file, save_weights
from hwnas.run.measured_check import faster, measured_verdicts
from hwnas.run.pace import keeping_time
from hwnas.run.result import result_of, write_architecture
from hwnas.run.rival import rival_of
from hwnas.run.training_stage import kept_repair_recipe, repair_recipe, trained
from hwnas.train import Recipe, mixed_precision

_REPAIRS = 2


def produced(run: RunContext, found: SearchOutcome, choices: tuple[int, ...], recipe: Recipe) -> dict[str, Any]:
    """The result for one budget, with its model file and report; a file that misses its budget is repaired.

    Args:
        found: the outcome of the search, whose supernet the network inherits its weights from.
        choices: the architecture, which measured within the budget with random weights.

    Raises:
        DeviceError, DivergedError, ExportError, StorageError: as their names say.
    """
    config, on = run.plan.config, run.plan.config.compute.mixed_precision
    own = kept_repair_recipe(run, choices) or recipe
    keeping = keeping_time(run, 1 + config.train.baseline) if own is recipe else None
    for repair in range(_REPAIRS + 1):
        rival, baseline = None, None
        if config.train.baseline:
            rival = rival_of(run, choices)
            with run.progress.stage("train baseline"), mixed_precision(run.device, on=on):
                baseline = trained(run, found, rival.choices, own, "train random baseline", choices, shorten=keeping)
                own, keeping = baseline.recipe, None
        with run.progress.stage("train"), mixed_precision(run.device, on=on):
            final = trained(run, found, choices, own, "train", shorten=keeping)
            save_weights(run, final.module)
        with run.progress.stage("export and verify"):
            exported = exported_file(run, choices, final.module)
            random = baseline.module if baseline else None
            verdicts = measured_verdicts(run, exported, rival.choices if rival else (), random)
        verdict = verdicts.get("model")
        repaired = faster(run, found, choices, verdict) if verdict is not None and repair < _REPAIRS else None
        if verdict is None or repaired is None:
            break
        run.progress.say(f"measured {verdict.judged_ms:.4g} ms against {run.budget_ms:.4g} ms: repairing")
        choices, keeping = repaired, None
        own = repair_recipe(run, choices, recipe)
        write_architecture(run, choices)
    beside = None if rival is None or baseline is None else (rival, baseline)
    result = result_of(run, found, choices, final, exported, verdicts, beside)
    write_json(run.folder.result, result)
    write_report(run.folder)
    run_marker.seal(run.folder.path, run.folder.shipped())
    return result
