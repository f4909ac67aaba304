"""A plan as facts for programs and as lines for people."""

from __future__ import annotations

from typing import Any

from hwnas.display import counted, ms
from hwnas.latency.table_model import model_of, used_sha256
from hwnas.run.latency_stage import check_budget
from hwnas.run.parent_facts import parent_facts, parent_line
from hwnas.run.plan import Plan

_ROWS_A_MINUTE = 100  # on a machine that does nothing else
_OF_DEVICE = (
    *("device", "condition", "rows_needed", "rows_to_measure", "table_sha256", "range_ms", "budget_ms", "target_ms"),
    "limits",
)


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The plan, ready for JSON; nothing is measured for it.

    Of several devices it is that of the first one, with what is of each device under `devices` and `left_out`.

    Raises:
        InfeasibleBudgetError: no network of the space is that fast, as a complete table knows.
        TableError: the error of a table is too large to search with.
    """
    facts = _facts(plan)
    if plan.several:
        devices = [_facts(one) for one in plan.each]
        facts["devices"] = [
            {"target": str(one.target)} | {name: own[name] for name in _OF_DEVICE if name in own}
            for one, own in zip(plan.each, devices, strict=True)
        ]
        targets = plan.config.targets
        facts["left_out"] = [{"target": str(targets[one.index]), "error": str(one.error)} for one in plan.left_out]
    return facts


def _facts(plan: Plan) -> dict[str, Any]:
    """For one device."""
    facts: dict[str, Any] = {
        "space": plan.space.name,
        "reason": plan.reason,
        "architectures": plan.whole.size,
        "input": list(plan.space.input_shape),
        "classes": plan.space.classes,
        "device": plan.device.id,
        "condition": str(plan.condition.folder),
        "rows_needed": len(plan.whole.ops),
        "rows_to_measure": len(plan.missing.rows),
        "strategy": plan.strategy.name,
        "init": None if plan.reused is None else plan.reused.to_json(plan.config.search.init),
        "init_auto": None if plan.automatic is None else plan.automatic.to_json(),
    }
    facts["table_sha256"] = used_sha256(plan.table, plan.whole, cold=plan.cold) if plan.complete else None
    if plan.sizes:
        facts["input_sizes"] = list(plan.sizes)
    if plan.survey is not None:
        facts["data"] = plan.survey.to_json()
    feasible, model = None, None
    if plan.complete:
        model = model_of(plan.table, plan.whole, any_table=plan.any_table, cold=plan.cold)
        facts["range_ms"] = [model.smallest_ms, model.largest_ms]
        budgets_ms, targets_ms = [budget.ms(model) for budget in plan.budgets], plan.targets_ms(model)
        facts |= {"budget_ms": budgets_ms[0], "target_ms": targets_ms[0]}
        if len(plan.budgets) > 1:
            facts |= {"budget_ms": budgets_ms, "target_ms": list(targets_ms)}
        check_budget(plan, model)
        restricted = model.restricted(plan.constrained.kept)
        feasible = plan.constrained.feasible_set(restricted, targets_ms[-1])
    facts["parent"] = parent_facts(plan, model)
    facts["limits"] = {
        "max_size_kb": plan.constrained.max_size_kb or None,
        "max_peak_kb": plan.constrained.max_peak_kb or None,
        "options_removed": sum(len(decision.options) for decision in plan.whole.decisions) - plan.constrained.options,
        "architectures_left": plan.constrained.count(feasible),
    }
    return facts


def plan_lines(plan: Plan, facts: dict[str, Any]) -> dict[str, str]:
    """The plan for people, a line each by label.

    Args:
        facts: its `plan_facts`.
    """
    c, height, width = plan.space.input_shape
    lines = {
        "data": f"{plan.config.data.source}: {plan.space.classes} classes, {c} × {height} × {width} pixels",
        **({} if plan.survey is None else plan.survey.lines()),
        "space": f"{plan.whole.name}: {plan.whole.size:,} architectures; {plan.reason}",
        **_device_lines(plan, facts),
    }
    size, peak = plan.constrained.max_size_kb, plan.constrained.max_peak_kb
    if size or peak:
        asked = [f"file of at most {size:g} KiB"] * bool(size) + [f"peak of at most {peak:g} KiB"] * bool(peak)
        left, removed = facts["limits"]["architectures_left"], facts["limits"]["options_removed"]
        time = "with the budget, " if plan.complete else ""
        lines["limits"] = f"{', '.join(asked)}; {time}about {counted(f'{left:,.0f}', 'architecture')} left"
        if peak:
            lines["limits"] += f", {removed} of {removed + plan.constrained.options} options above the peak"
    lines["start"] = plan.start_text
    if facts["parent"] is not None:
        lines["parent"] = parent_line(facts["parent"])
    return lines | {"strategy": f"{plan.strategy.name}: {plan.strategy.summary}"}


def _device_lines(plan: Plan, facts: dict[str, Any]) -> dict[str, str]:
    """The lines of the device, its table and its budgets; of several devices each has a line under each of these."""
    if not plan.several:
        return {"device": f"{plan.device.id}, {_condition(plan)}"} | _table_lines(plan, facts)
    found: dict[str, list[str]] = {"device": [], "table": [], "budget": []}
    for one, own in zip(plan.each, facts["devices"], strict=True):
        place = one.target.place
        lines = {"device": _condition(one)} | _table_lines(one, own)
        for label, line in lines.items():
            found[label].append(f"{place}: {line}")
    found["device"] += [f"{plan.config.targets[one.index].place}: left out, {one.error}" for one in plan.left_out]
    return {label: "\n".join(lines) for label, lines in found.items()}


def _condition(plan: Plan) -> str:
    """What latencies hold under, and whether the file will be measured there."""
    unmeasured = "" if plan.device.reachable else "; nothing is measured there, and the verdict is 'not measured'"
    return f"{plan.condition.folder}{unmeasured}"


def _table_lines(plan: Plan, facts: dict[str, Any]) -> dict[str, str]:
    """The lines of the table of one device, and of its budgets."""
    lines = {}
    if not plan.complete:
        rows = len(plan.missing.rows)
        time = (
            "in under a minute"
            if rows <= _ROWS_A_MINUTE
            else f"in about {counted(f'{rows / _ROWS_A_MINUTE:.0f}', 'minute')}"
        )
        lines["table"] = f"{rows} of {len(plan.whole.ops)} rows to measure first, {time}"
        if not plan.missing:
            lines["table"] = "whole networks to measure cold first, in about a minute"
        asked = ",".join(budget.text.removesuffix("ms") for budget in plan.budgets)
        asked = asked if plan.several else plan.config.target.budget
        lines["budget"] = f"{asked}{' of the latency range' if plan.budgets[0].relative else ' ms'}"
    else:
        low, high = facts["range_ms"]
        ends = f"in {ms(low)} to {ms(high)} ms" if low > 0 else f"in up to {ms(high)} ms"
        lines["table"] = f"complete; the space runs {ends}"
        budgets, targets = (_several(facts[name]) for name in ("budget_ms", "target_ms"))
        lines["budget"] = f"{budgets} ms; predictions stay under {targets} ms"
    return lines


def _several(values_ms: float | list[float]) -> str:
    return ", ".join(map(ms, values_ms)) if isinstance(values_ms, list) else ms(values_ms)
