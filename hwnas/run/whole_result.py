"""The result of a whole run, once every budget has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwnas.errors import DeviceError
from hwnas.files import write_json
from hwnas.report.page import write_front
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_parts import RunPart

_SHARED = (
    *("range_ms", "device", "condition", "runtime", "precision", "data", "space", "strategy", "seed"),
    *("metric", "table_sha256", "init"),
)


def whole_result(
    folder: RunFolder,
    parts: Sequence[RunPart],
    results: Mapping[str, dict[str, Any]],
    errors: Mapping[int, DeviceError],
) -> dict[str, Any]:
    """The one result of a single budget or, of several, the front, which is written with its page.

    Args:
        results: by the names of the parts that have one.
        errors: by the index of the target, why a device is left out.

    Raises:
        DeviceError: no part has a result.
    """
    if not results:
        raise next(iter(errors.values()))
    if len(parts) == 1:
        return results[parts[0].name]
    found = [(part, results[part.name]) for part in parts if part.name in results]
    several = len({part.index for part in parts}) > 1
    front = [_place(part, several) | one for part, one in found]
    states = [one["budget_met"] for one in front] + [None] * (len(front) < len(parts))
    result = {
        "front": front,
        "budget_met": False if False in states else None if None in states else True,
        **{name: _shared([one.get(name) for one in front]) for name in _SHARED},
        "seconds": round(folder.seconds() + sum(one["seconds"] for one in front), 1),
    }
    if left_out := [_left_out(part, errors[part.index]) for part in parts if part.name not in results]:
        result["left_out"] = left_out
    write_json(folder.result, result)
    write_front(folder)
    return result


def _place(part: RunPart, several: bool) -> dict[str, str]:
    """Where the results of a part are and, of several devices, what it was asked for."""
    place = {"folder": part.folder.path.name}
    return place | {"target": part.name} if several else place


def _shared(values: Sequence[Any]) -> Any:
    """What holds for all devices of a front; None where they differ."""
    return values[0] if all(value == values[0] for value in values) else None


def _left_out(part: RunPart, error: DeviceError) -> dict[str, Any]:
    return {"target": part.name, "folder": part.folder.path.name, "error": str(error), "hint": error.hint}
