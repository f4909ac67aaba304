"""How each class fared, as a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwnas.metric_names import NAMES
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
    classes, confusion = content.get("classes"), content.get("confusion")
    if not isinstance(classes, list) or not isinstance(confusion, list) or not _fits(classes, confusion):
        return None
    names = [str(one.get("name")) for one in classes]
    rows = []
    for index, (one, taken) in enumerate(zip(classes, confusion, strict=True)):
        others = [(count, name) for at, (count, name) in enumerate(zip(taken, names, strict=True)) if at != index]
        most, name = max(others, key=lambda pair: pair[0], default=(0, ""))
        numbers = {key: number(one, key) for key in ("images", "recall", "precision", "f1")}
        rows.append({"name": names[index]} | numbers | {"taken_for": f"{name}: {most}" if most else ""})
    matrix: list[tuple[str, list[tuple[int, float]]]] = []
    if len(rows) <= _MOST_COLUMNS:
        shares = ([(count, count / max(1, sum(taken))) for count in taken] for taken in confusion)
        matrix = list(zip(names, shares, strict=True))
    else:
        rows = sorted(rows, key=lambda row: row["recall"] or 0.0)[:_MOST_ROWS]
    return ClassTable(rows, len(names), matrix)


def metric_name(result: dict[str, Any]) -> str:
    """What the search maximised, in words."""
    return NAMES.get(str(result.get("metric")), NAMES["accuracy"])


def _fits(classes: list[Any], confusion: list[Any]) -> bool:
    """Whether there is a row of whole numbers for each class."""
    return (
        len(classes) == len(confusion) > 0
        and all(isinstance(one, dict) for one in classes)
        and all(isinstance(row, list) and len(row) == len(classes) for row in confusion)
        and all(type(count) is int and 0 <= count < 1e18 for row in confusion for count in row)
    )
