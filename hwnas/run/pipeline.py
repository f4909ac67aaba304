"""The whole job: measure, search, check, train, export, verify. Each stage leaves a file that `--resume` builds on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import nn

from hwnas.arch.costs import peak_bytes
from hwnas.arch.space import Architecture
from hwnas.backends.torch import export_weights, network_module
from hwnas.config import Configuration
from hwnas.data import Dataset, load_dataset, resized
from hwnas.devices.host import host_facts
from hwnas.errors import ExportError, InfeasibleBudgetError
from hwnas.export.model_file import Exported, export_model
from hwnas.files import write_json
from hwnas.meta.earlier import write_sampler_state
from hwnas.nas.engine import SearchOutcome, make_loop, search, seconds_an_epoch
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.nas.search_settings import SearchSettings
from hwnas.progress import Progress
from hwnas.report.page import write_front, write_report
from hwnas.run.context import RunContext
from hwnas.run.measured_check import checked, faster, measured_verdicts
from hwnas.run.plan import Plan, make_plan, ready_model
from hwnas.run.result import front_of, missed, read_result, result_of, write_architecture, write_evaluated
from hwnas.run.run_folder import RunFolder
from hwnas.run.schedule import final_recipe, hurried, kept_recipe, kept_settings, score_recipe, search_settings
from hwnas.train import Recipe, deterministic, keep_freed_memory, mixed_precision, recalibrate, train
from hwnas.train import checkpoint as store
from hwnas.train.timing import seconds_an_epoch as train_seconds_an_epoch

_REPAIRS = 2


def run_search(
    config: Configuration,
    out: Path,
    *,
    progress: Progress,
    tables: Path | None = None,
    resume: bool = False,
    force: bool = False,
    any_table: bool = False,
    workers: int = 1,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """Search, train, export and verify; the result is what `result.json` then holds.

    Where the configuration has several budgets, one search serves them all. What each of them leads to is in a folder
    of its own in `out`, such as `5ms`, and the result is the front of all (`hwnas.run.result.front_of`).

    Args:
        any_table: search even with a latency table whose error is too large.
        workers: processes that train candidates, where scores come from training; the result is the same with any.
        dataset: takes the place of `config.data.source`, which becomes its name.

    Raises:
        InputError: bad input, or `out` holds another run.
        InfeasibleBudgetError, InfeasibleLimitError: no network of the space is that fast or small; nothing was trained.
        BudgetMissedError: an exported file is slower than its budget on the device, after repairs.
        DeviceError, ExportError, DivergedError, StorageError: as their names say.
    """
    folder = RunFolder(out)
    settled = folder.remembered(config) if resume else config
    plan = make_plan(settled, tables, dataset, any_table=any_table, progress=progress)
    with folder.claimed(plan.config, resume=resume, force=force):
        if dataset is not None:
            folder.same_data(dataset.digest())
        parts = _parts(plan, folder)
        if resume and all(map(_has_verdict, parts)):
            return _ended(plan, folder, list(map(_kept_result, parts)))
        deterministic(config.compute.seed, config.compute.threads)
        keep_freed_memory()
        write_json(
            folder.environment, host_facts() | {"accelerator": str(plan.accelerator), "threads": config.compute.threads}
        )
        with folder.stage("data"):
            resolution = plan.space.input_shape[1]
            if dataset is None:
                dataset = load_dataset(config.data.source, resolution=resolution, seed=config.compute.seed)
                folder.same_data(dataset.digest())
            dataset = resized(dataset, resolution)
        with folder.stage("measure"):
            try:
                whole = ready_model(plan, progress=progress, kept=folder.state / "latency.json")
            except InfeasibleBudgetError:
                folder.free_unless_started()
                raise
        model, range_ms = whole.restricted(plan.constrained.kept), (whole.smallest_ms, whole.largest_ms)
        runs = [
            RunContext(plan, part, model, range_ms, budget.ms(whole), dataset, plan.accelerator, progress)
            for budget, part in zip(plan.budgets, parts, strict=True)
        ]
        return _ended(plan, folder, _finish(runs, folder, workers))


def _parts(plan: Plan, folder: RunFolder) -> list[RunFolder]:
    """Where the results for each budget go: into folders of their own, if there are several."""
    return [folder.part(budget.folder) for budget in plan.budgets] if len(plan.budgets) > 1 else [folder]


def _finish(runs: Sequence[RunContext], folder: RunFolder, workers: int) -> list[dict[str, Any]]:
    """The results for every budget, from one search; `folder` holds what they share."""
    with folder.stage("search"), _precision(runs[0]):
        found = _searched(runs, folder, workers)
    chosen = []
    for run, one in zip(runs, found, strict=True):
        with run.folder.stage("check"):
            chosen.append(checked(run, one))
    with _precision(runs[0]):
        recipe = _recipe(runs, folder, chosen)
    if said := hurried(runs[0].plan.config, recipe, len(runs[0].dataset.train)):
        runs[0].progress.say(said)
    results = []
    for run, one, choices in zip(runs, found, chosen, strict=True):
        if len(runs) > 1 and _has_verdict(run.folder):
            results.append(_kept_result(run.folder))
            continue
        if len(runs) > 1:
            run.progress.say(f"within {run.budget_ms:.4g} ms: {run.folder.path}")
        results.append(_produced(run, one, choices, recipe))
    return results


def _precision(run: RunContext) -> torch.autocast:
    """The context that a run trains in."""
    return mixed_precision(run.device, on=run.plan.config.compute.mixed_precision)


def _searched(runs: Sequence[RunContext], folder: RunFolder, workers: int) -> tuple[SearchOutcome, ...]:
    first = runs[0]
    feasible = [run.feasible_set() for run in runs]
    with _evaluator(first, folder, workers) as evaluator:
        found = search(
            first.plan.space,
            feasible,
            first.plan.strategy,
            first.dataset,
            _settings(runs, folder, feasible),
            seed=first.plan.config.compute.seed,
            device=first.device,
            checkpoint=folder.search_state,
            progress=first.progress,
            log=folder.log,
            evaluator=evaluator,
            reward=first.plan.config.search.reward,
            start=first.plan.start,
        )
    for run, one in zip(runs, found, strict=True):
        write_evaluated(run, one)
    config, sampler_state = (
        first.plan.config,
        found[-1].sampler_state,
    )  # of the loosest budget, within which the most was proposed
    if sampler_state is not None:
        write_sampler_state(
            folder.sampler_state, first.plan.space, config.search.strategy, config.search.reward, sampler_state
        )
    return found


def _evaluator(run: RunContext, folder: RunFolder, workers: int) -> AbstractContextManager[FromScratchEvaluator | None]:
    """What scores the candidates, if not the supernet."""
    config = run.plan.config
    if config.search.evaluator != "from-scratch":
        return nullcontext()
    return FromScratchEvaluator(
        run.plan.space,
        run.dataset,
        kept_recipe(folder.state / "score-recipe.json", lambda: score_recipe(config, len(run.dataset.train))),
        seed=config.compute.seed,
        threads=config.compute.threads,
        device=run.device,
        workers=workers,
        folder=folder.state / "scores",
    )


def _produced(run: RunContext, found: SearchOutcome, choices: tuple[int, ...], recipe: Recipe) -> dict[str, Any]:
    """Train, export and judge; what misses its budget is repaired."""
    folder, config = run.folder, run.plan.config
    random_choices = run.feasible_set().sample(np.random.default_rng([config.compute.seed, 2]))
    baseline = None
    if config.train.baseline:
        with folder.stage("train baseline"), _precision(run):
            baseline = _trained(run, found, random_choices, recipe, "train random baseline")
    for repair in range(_REPAIRS + 1):
        with folder.stage("train"), _precision(run):
            module = _trained(run, found, choices, recipe, "train")
            _save_weights(run, module)
        with folder.stage("export and verify"):
            exported = _export(run, choices, module)
            verdicts = measured_verdicts(run, exported, random_choices, baseline)
        verdict = verdicts.get("model")
        repaired = faster(run, found, choices, verdict) if verdict is not None and repair < _REPAIRS else None
        if verdict is None or repaired is None:
            break
        run.progress.say(f"measured {verdict.median_ms:.4g} ms against {run.budget_ms:.4g} ms: repairing")
        choices = repaired
        write_architecture(run, choices)
    result = result_of(run, found, choices, module, exported, verdicts, random_choices, baseline, recipe)
    write_json(folder.result, result)
    write_report(folder)
    return result


def _settings(runs: Sequence[RunContext], folder: RunFolder, feasible: Sequence[FeasibleSet]) -> SearchSettings:
    """How long the search runs; decided once a run."""
    run = runs[0]
    plan = run.plan

    def epoch_s(settings: SearchSettings) -> tuple[float, float]:
        seed = plan.config.compute.seed
        loop = make_loop(plan.space, feasible, plan.strategy, run.dataset, settings, seed=seed, device=run.device)
        return seconds_an_epoch(loop)

    return kept_settings(
        folder.state / "search.json",
        lambda: search_settings(
            plan.config,
            len(run.dataset.train),
            plan.strategy,
            val_images=len(run.dataset.val),
            spent_s=folder.seconds(),
            epoch_s=epoch_s,
            budgets=len(runs),
        ),
    )


def _recipe(runs: Sequence[RunContext], folder: RunFolder, chosen: Sequence[tuple[int, ...]]) -> Recipe:
    """How the winners and the baselines are trained; decided once a run."""
    dataset, device = runs[0].dataset, runs[0].device

    def epoch_s(recipe: Recipe) -> float:
        modules = (network_module(runs[0].network(choices)) for choices in chosen)
        return mean(train_seconds_an_epoch(module, dataset, recipe, device=device) for module in modules)

    return kept_recipe(
        folder.state / "recipe.json",
        lambda: final_recipe(
            runs[0].plan.config,
            len(dataset.train),
            spent_s=_seconds(folder, runs),
            epoch_s=epoch_s,
            budgets=len(runs),
        ),
    )


def _seconds(folder: RunFolder, runs: Sequence[RunContext]) -> float:
    """Of the run and of its parts, where it has any."""
    return sum(one.seconds() for one in {one.path: one for one in (folder, *(run.folder for run in runs))}.values())


def _trained(run: RunContext, found: SearchOutcome, choices: tuple[int, ...], recipe: Recipe, label: str) -> nn.Module:
    """The network with its final weights: trained from those that the supernet gives it (docs/decisions/0010).

    Where there is no supernet, it is trained from random ones.
    """
    config = run.plan.config
    if found.supernet is None:
        torch.manual_seed(config.compute.seed)
        module: nn.Module = network_module(run.network(choices))
    else:
        module = found.supernet.extract(Architecture(run.plan.space.name, choices))
    if not config.train.enabled:
        recalibrate(module, run.dataset.train, run.dataset, device=run.device)
        return module
    name = "-".join(map(str, choices))
    train(
        module,
        run.dataset,
        recipe,
        seed=config.compute.seed,
        device=run.device,
        checkpoint=run.folder.state / f"train-{name}.safetensors",
        progress=run.progress,
        label=label,
    )
    return module


def _save_weights(run: RunContext, module: nn.Module) -> None:
    store.save(run.folder.weights, module.state_dict(), {"space": run.plan.space.name})


def _export(run: RunContext, choices: tuple[int, ...], module: nn.Module) -> Exported:
    facts = {
        "architecture": json.dumps(run.network(choices).to_json()),
        "device": run.plan.device.id,
        "condition": str(run.plan.condition.folder),
        "budget_ms": f"{run.budget_ms:.6g}",
        "predicted_ms": f"{run.model.predict_ms(choices):.6g}",
    }
    network = run.network(choices)
    exported = export_model(
        run.folder.model(run.model_format.suffix),
        run.model_format,
        network,
        export_weights(module),
        run.dataset,
        facts,
        labels=run.folder.labels,
        max_drop=run.plan.config.target.max_drop,
    )
    broken = run.plan.constrained.broken(exported.size_bytes, peak_bytes(network.graph))
    if broken:
        raise ExportError(broken, hint="this is a defect of hwnas: please report it with the run's architecture.json")
    return exported


def _has_verdict(folder: RunFolder) -> bool:
    """Whether the run ended with all that can be said; an unstable verdict is measured again."""
    if not folder.result.exists():
        return False
    result = read_result(folder.result)
    return result["budget_met"] is not None or result["measured_ms"] is None


def _kept_result(folder: RunFolder) -> dict[str, Any]:
    result = read_result(folder.result)
    if not folder.report.exists():
        write_report(folder)
    return result


def _ended(plan: Plan, folder: RunFolder, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The result of the whole run, once every budget has its own.

    Raises:
        BudgetMissedError: a file is slower than its budget.
    """
    result = results[0]
    if len(plan.budgets) > 1:
        seconds = folder.seconds() + sum(one["seconds"] for one in results)
        result = front_of([budget.folder for budget in plan.budgets], results, seconds)
        write_json(folder.result, result)
        write_front(folder)
    if result["budget_met"] is False:
        raise missed(result)
    return result
