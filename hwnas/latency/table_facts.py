"""A table's facts that a run keeps: the rows of its space, where they came from, and how far off they are."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from hwnas.arch.space import SearchSpace
from hwnas.latency.table import LatencyTable


def table_facts(table: LatencyTable, space: SearchSpace) -> dict[str, Any]:
    """Ready for JSON, of one space instance.

    `rows_us` are microseconds by op key, of each op of the space that has a row of its own; `measured_at` the first and
    the last time of measuring them; `pairs` (predicted, measured) milliseconds of the networks of the validation;
    `validation` and `noise` None where the table does not tell.
    """
    rows = {spec.key: table.rows[spec.key] for spec in space.ops if spec.key in table.rows}
    times = sorted(row.measured_at for row in rows.values())
    validation, noise = table.validations.get(space.signature), table.noise.get(space.signature)
    return {
        "kind": table.kind,
        "device": table.device,
        "condition": table.condition,
        "provenance": json.loads(json.dumps(table.provenance, default=str)),  # TOML has dates as well
        "rows_us": {key: row.median_us for key, row in sorted(rows.items())},
        "measured_at": [times[0], times[-1]] if times else [],
        "validation": None if validation is None else asdict(validation),
        "noise": None if noise is None else asdict(noise),
        "pairs": [list(pair) for pair in table.pairs.get(space.signature, [])],
    }
