"""What a search found, measured on the device: with random weights before any training, and as the exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import nn

from hwnas.devices.statistic import Statistic
from hwnas.devices.verdict import MAX_PROCESSES, Verdict, measure_verdict
from hwnas.exporting.model_file import Exported
from hwnas.files import write_bytes
from hwnas.latency.measured_models import write_reference_model
from hwnas.nas.engine import SearchOutcome
from hwnas.run.clock import verdict_s
from hwnas.run.context import RunContext
from hwnas.run.export_stage import baseline_file
from hwnas.run.latency_stage import reference_us
from hwnas.run.result import read_architecture, write_architecture

_CHECKS = 6
_CHECK_PROCESSES = 9
"""Of a candidate at most; one that is still too close then makes way for a faster one."""
_DRIFTED = 1.1
"""A runtime may have become so much slower since its table was made; what is beyond that, other work has done. A
network is too slow, though little was undisturbed, where nine of ten rounds missed the budget, and one by no more."""
_VERDICT_PROCESSES = MAX_PROCESSES


def checked(run: RunContext, found: SearchOutcome) -> tuple[int, ...]:
    """The winner, or the nearest architecture that measures within the budget: latency does not depend on weights.

    A candidate is measured with random weights, before any training. One that is too slow makes way for the best
    architecture under a target lowered by what it missed, which is the cheapest swap in preference there is.
    """
    path = run.folder.architecture
    if path.exists():
        return read_architecture(path, run.plan.space)
    choices = found.best.architecture.choices
    for _ in range(_CHECKS if run.plan.device.reachable else 0):
        network = run.network(choices)
        model = run.folder.state / f"candidate{run.model_format.suffix}"
        write_bytes(model, run.model_format.random_model(network, run.interface))
        reference = write_reference_model(run.folder.state, run.plan.device)
        with run.clock.watching(verdict_s(1, run.budget_ms)):
            verdict = measure_verdict(
                run.plan.device,
                {"model": model},
                reference,
                budget_ms=run.budget_ms,
                statistic=Statistic(run.plan.config.target.latency),
                reference_us=reference_us(run.plan),
                processes=_CHECK_PROCESSES,
                label="measuring the chosen network, before training,",
                progress=run.progress,
            )["model"]
        run.progress.record({"event": "check", "choices": choices, "verdict": asdict(verdict)})
        swapped = faster(run, found, choices, verdict)
        if swapped is None:
            break
        choices = swapped
    write_architecture(run, choices)
    return choices


def faster(run: RunContext, found: SearchOutcome, choices: tuple[int, ...], verdict: Verdict) -> tuple[int, ...] | None:
    """The best architecture whose prediction is lower by the share that this one missed the budget.

    None where it did not miss it, or no network of the space is that fast.
    """
    predicted_ms = run.model.predict_ms(choices)
    if verdict.state in ("missed", "too close"):
        slow_ms = max(verdict.judged_ms, verdict.bounds_ms[1] or 0.0)
    elif verdict.state == "unstable" and run.budget_ms < verdict.fast_ms <= _DRIFTED * predicted_ms:
        slow_ms = min(verdict.judged_ms, _DRIFTED * verdict.fast_ms)
    else:
        return None
    target_ms = predicted_ms * min(1.0, run.budget_ms / slow_ms) * 0.995
    if target_ms < run.model.smallest_ms:
        return None
    return found.within(run.feasible_set(target_ms))


def measured_verdicts(
    run: RunContext, exported: Exported, random_choices: tuple[int, ...], baseline: nn.Module | None
) -> dict[str, Verdict]:
    """The exported file and the baseline, measured side by side.

    Nothing where there is no way to the device.
    """
    models = {"model": exported.path}
    if baseline is not None:
        models["baseline"] = run.folder.baseline(run.model_format.suffix)
        write_bytes(models["baseline"], baseline_file(run, random_choices, baseline))
    return verdicts_of(run, models)


def verdicts_of(run: RunContext, models: Mapping[str, Path]) -> dict[str, Verdict]:
    """Files measured side by side, one of them `model`; nothing where there is no way to the device."""
    if not run.plan.device.reachable:
        return {}
    reference = write_reference_model(run.folder.state, run.plan.device)
    verdicts = measure_verdict(
        run.plan.device,
        models,
        reference,
        budget_ms=run.budget_ms,
        statistic=Statistic(run.plan.config.target.latency),
        judged=("model",),
        processes=_VERDICT_PROCESSES,
        reference_us=reference_us(run.plan),
        label=f"measuring the exported file{' and the random network' * (len(models) > 1)}, for the verdict,",
        progress=run.progress,
    )
    run.progress.record({"event": "verdict"} | {name: asdict(verdict) for name, verdict in verdicts.items()})
    return verdicts
