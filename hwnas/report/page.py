"""A run as one self-contained page. It shows what the run's files hold, and says less where they hold less."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from hwnas.errors import InputError
from hwnas.files import write_bytes
from hwnas.report.asked_for import asked_words
from hwnas.report.classes import class_table, metric_name
from hwnas.report.disturbed import in_spite_text
from hwnas.report.filters import FILTERS, place_of
from hwnas.report.parent_section import parent_of, read_blocks
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
from hwnas.report.untrained import is_untrained, never_predicted_text
from hwnas.schema import read_json


def write_report(files: RunFiles) -> None:
    """Write `report.html` of a finished run: one file that loads nothing else, in light or dark as the reader's system.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    from hwnas.report.plots import candidates_plot, epochs_plot  # matplotlib, which only a page needs

    result = read_result(files)
    architecture = optional(read_json, files.architecture)
    events = read_events(files.log_file)
    budget_ms = number(result, "budget_ms")
    config = optional(asked, files.config)
    _write(
        files,
        "report.html.j2",
        result=result,
        metric=metric_name(result),
        classes=class_table(result),
        never_predicted=never_predicted_text(result),
        weights=weights_text(result),
        untrained=is_untrained(result),
        in_spite=in_spite_text(number(result, "measured_ms", "rejected")),
        parent=parent_of(result),
        blocks=read_blocks(parent_of(result)),
        config=config,
        asked=asked_words(config),
        machine=optional(read_json, files.environment),
        layers=read_slots(architecture),
        stages=seconds_of_stages(events),
        candidates=candidates_plot(*read_candidates(files.evaluated), winner(architecture), budget_ms),
        epochs=epochs_plot(events, budget_ms),
    )


def write_front(files: RunFiles) -> None:
    """Write the `report.html` of a finished run with several budgets; each of them has a page of its own.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    from hwnas.report.plots import front_plot

    result = read_result(files)
    parts = [one for one in result["front"] if isinstance(one, dict)]
    _write(
        files,
        "front.html.j2",
        result=result,
        metric=metric_name(result),
        plot=front_plot(result["front"], metric_name(result)),
        never_predicted=[(one.get("folder"), never_predicted_text(one)) for one in parts],
        untrained=any(map(is_untrained, parts)),
        places=list(dict.fromkeys(filter(None, map(place_of, parts)))),
    )


def is_front(files: RunFiles) -> bool:
    """Whether a finished run has several budgets."""
    try:
        result = read_json(files.result)
    except InputError:
        return False
    return isinstance(result, dict) and isinstance(result.get("front"), list)


@cache
def environment() -> jinja2.Environment:
    """Of the templates, with the filters that turn file contents into text; it keeps what it compiled of them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hwnas.report", ""),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def _write(files: RunFiles, template: str, **content: Any) -> None:
    page = environment().get_template(template).render(name=files.path.resolve().name, **content)
    write_bytes(files.report, page.encode("utf-8", "replace"))
