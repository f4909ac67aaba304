"""What a result says of its budgets that a command has to fail for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwnas.errors import BudgetMissedError, DeviceError, UndecidedError
from hwnas.report.earlier_results import judged_ms


def failure(result: dict[str, Any]) -> BudgetMissedError | DeviceError | UndecidedError | None:
    """The error of a run with files that are too slow, devices that were left out, or files that are too close to their
    budget to tell; None without any."""
    runs = result.get("front", [result])
    if any(one["budget_met"] is False for one in runs):
        return _missed(runs)
    if left_out := result.get("left_out"):
        return DeviceError(
            "; ".join(f"{one['target']} is left out: {one['error']}" for one in left_out),
            hint="the same command with --resume finishes what was left out, once the device is in reach",
        )
    close = [one for one in runs if one["verdict"] == "too close"]
    if not close:
        return None
    return UndecidedError(
        "; ".join(
            f"{_name(one)} runs in {judged_ms(one['measured_ms']):.4g} ms, too close to the budget of "
            f"{one['budget_ms']:.4g} ms to tell{_processes(one['measured_ms'])}"
            for one in close
        ),
        hint="ask for a slightly larger budget, or search again for a slightly smaller one",
    )


def _name(one: dict[str, Any]) -> str:
    return f"{one['folder']}/{one['model']}" if "folder" in one else "the exported model"


def _processes(measured: dict[str, Any]) -> str:
    """What results of earlier versions do not tell."""
    return f", after {measured['processes']} processes" if "processes" in measured else ""


def _missed(runs: Sequence[dict[str, Any]]) -> BudgetMissedError:
    said = []
    for one in runs:
        if one["budget_met"] is False:
            measured = one["measured_ms"]
            said.append(
                f"{_name(one)} runs in {judged_ms(measured):.4g} ms, at least "
                f"{measured['bounds'][0]:.4g} ms with 95 % confidence, above the budget of {one['budget_ms']:.4g} ms"
            )
    return BudgetMissedError(
        "; ".join(said),
        hint="the device is slower than when its table was made: run hwnas profile-device --again with the --width and "
        "--resolution of this space, then search with --force",
    )
