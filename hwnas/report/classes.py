"""How each class fared, as a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwnas.metric_names import NAMES
from hwnas.metrics import confusion_of
from hwnas.report.run_files import number

_MOST_ROWS, _MOST_COLUMNS = 50, 20


@dataclass(frozen=True)
class ClassTable:
    """Rows for a page.

    Attributes:
        rows: name, images, recall, precision, f1, and `taken_for`: the class that it was mistaken for most, and how
            often; all classes in their order, or those with the lowest recall, the lowest first.
        count: number of classes.
        matrix: of few classes, by row the name of the class and (images, share of the row) of each column.
    """

    rows: list[dict[str, Any]]
    count: int
    matrix: list[tuple[str, list[tuple[int, float]]]]


def class_table(result: dict[str, Any]) -> ClassTable | None:
    """The classes of `result.json`; None where it does not tell them, as those of earlier versions."""
    metrics = result.get("metrics")
    content = metrics if isinstance(metrics, dict) else {}
    classes = content.get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(one, dict) for one in classes):
        return None
    try:
        confusion = confusion_of(content.get("confusion"), len(classes))
    except ValueError:
        return None
    names = [str(one.get("name")) for one in classes]
    rows = []
    for index, (one, taken) in enumerate(zip(classes, confusion, strict=True)):
        others = np.where(np.arange(len(taken)) == index, -1, taken)
        at = int(others.argmax())
        numbers = {key: number(one, key) for key in ("images", "recall", "precision", "f1")}
        mistaken = f"{names[at]}: {others[at]}" if others[at] > 0 else ""
        rows.append({"name": names[index]} | numbers | {"taken_for": mistaken})
    matrix: list[tuple[str, list[tuple[int, float]]]] = []
    if len(rows) <= _MOST_COLUMNS:
        shares = ([(count, count / max(1, sum(taken))) for count in taken] for taken in confusion.tolist())
        matrix = list(zip(names, shares, strict=True))
    else:
        rows = sorted(rows, key=lambda row: row["recall"] or 0.0)[:_MOST_ROWS]
    return ClassTable(rows, len(names), matrix)


def metric_name(result: dict[str, Any]) -> str:
    """What the search maximised, in words."""
    return NAMES.get(str(result.get("metric")), NAMES["accuracy"])
