"""`result.json` as earlier versions wrote it, in the words of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def current(result: dict[str, Any]) -> dict[str, Any]:
    """A copy in which what straddled its budget is too close to tell, and 95 % intervals are bounds.

    Their latency is warm, and budgets were about its median. Whatever has another shape stays as it is.
    """
    result = dict(result)
    if result.get("verdict") == "straddles":
        result |= {"verdict": "too close", "budget_met": None}
    result |= {"measured_ms": _bounded(result["measured_ms"])} if "measured_ms" in result else {}
    if isinstance(rival := result.get("baseline_random"), dict) and "measured_ms" in rival:
        result["baseline_random"] = rival | {"measured_ms": _bounded(rival["measured_ms"])}
    if isinstance(front := result.get("front"), list):
        result["front"] = [current(one) if isinstance(one, dict) else one for one in front]
    return result


def judged_ms(measured: Mapping[str, Any]) -> float:
    """The latency that the budget is about, of `measured_ms`; in results that do not tell it, that is the median."""
    return float(measured.get("judged", measured["median"]))


def _bounded(measured: Any) -> Any:
    if not isinstance(measured, dict) or "ci95" not in measured:
        return measured
    return {"bounds": measured["ci95"], "judged": measured.get("median"), "statistic": "median"} | measured
