"""The result of a whole run, once every budget has its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwnas.files import write_json
from hwnas.report.page import write_front
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder

_SHARED = (
    *("range_ms", "device", "condition", "runtime", "precision", "data", "space", "strategy", "seed"),
    *("metric", "table_sha256", "init"),
)


def whole_result(plan: Plan, folder: RunFolder, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The one result of a single budget or, of several, the front, which is written with its page.

    Args:
        results: of each budget, the tightest first.
    """
    if len(plan.budgets) == 1:
        return results[0]
    states = [result["budget_met"] for result in results]
    front = [{"folder": budget.folder} | one for budget, one in zip(plan.budgets, results, strict=True)]
    result = {
        "front": front,
        "budget_met": False if False in states else None if None in states else True,
        **{name: results[0].get(name) for name in _SHARED},
        "seconds": round(folder.seconds() + sum(one["seconds"] for one in results), 1),
    }
    write_json(folder.result, result)
    write_front(folder)
    return result
