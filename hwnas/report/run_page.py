"""The contents of the page of one run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hwnas.report import plots
from hwnas.report.answer import comparisons
from hwnas.report.asked_for import asked_words
from hwnas.report.classes import class_table, metric_name
from hwnas.report.disturbed import in_spite_text
from hwnas.report.images_section import image_facts, warnings_of
from hwnas.report.latency_marks import latency_marks
from hwnas.report.mistakes_section import read_pictures
from hwnas.report.parent_section import parent_of, read_blocks
from hwnas.report.points import points_of
from hwnas.report.run_files import (
    RunFiles,
    asked,
    number,
    optional,
    read_candidates,
    read_events,
    read_result,
    seconds_of_stages,
    winner,
)
from hwnas.report.shipped_weights import weights_text
from hwnas.report.slots import read_slots
from hwnas.report.table_section import facts_of, pairs_of, rows_us, table_of
from hwnas.report.untrained import is_untrained, never_predicted_text
from hwnas.report.use_section import command_of, scripts
from hwnas.schema import read_json


def content(files: RunFiles) -> dict[str, Any]:
    """By the names that its template uses.

    Raises:
        InputError: `result.json` is missing or damaged.
    """
    result = read_result(files)
    events = read_events(files.log_file)
    config = optional(asked, files.config)
    words = asked_words(config)
    return {
        "result": result,
        "metric": metric_name(result),
        "answers": comparisons(result),
        "never_predicted": never_predicted_text(result),
        "weights": weights_text(result),
        "untrained": is_untrained(result),
        "in_spite": in_spite_text(number(result, "measured_ms", "rejected")),
        "classes": class_table(result),
        "pictures": read_pictures(files.mistakes),
        "parent": parent_of(result),
        "blocks": read_blocks(parent_of(result)),
        "config": config,
        "asked": words,
        "command": command_of(words),
        "machine": optional(read_json, files.environment),
        "scripts": scripts(optional(read_json, files.description)),
        "stages": seconds_of_stages(events),
        **_images(files),
        **_charts(files, result, events),
    }


def _charts(files: RunFiles, result: dict[str, Any], events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What is drawn, with the table behind it."""
    architecture = optional(read_json, files.architecture)
    table, budget_ms = table_of(files, result), number(result, "budget_ms")
    candidates, metric = read_candidates(files.evaluated)
    points = points_of(result, candidates, winner(architecture))
    budgets = [] if budget_ms is None else [plots.Budget(budget_ms)]
    return {
        "points": points,
        "accuracy_chart": plots.accuracy_plot(points, budgets, metric_name(result) if "metric" in result else metric),
        "predicted_chart": plots.predicted_plot(pairs_of(table), latency_marks(result, candidates, events)),
        "curves": plots.curves(events, budget_ms),
        "layers": read_slots(architecture, rows_us(table)),
        "table": table,
        "table_facts": facts_of(table),
    }


def _images(files: RunFiles) -> dict[str, Any]:
    facts = optional(read_json, files.images)
    return {"images_facts": image_facts(facts), "warnings": warnings_of(facts)}
