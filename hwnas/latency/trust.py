"""What a table says of itself: its heaviest rows, its age, and how far it can be trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import parse_instance
from hwnas.errors import InputError
from hwnas.latency.calibrate import too_far_off
from hwnas.latency.model import margin
from hwnas.latency.table import LatencyTable, Row


def instances(table: LatencyTable, name: str = "") -> list[str]:
    """Signatures of the space instances that the table is calibrated for, sorted.

    Args:
        name: only those of this space, instance or signature: `mobile`, `mobile@w0.25-r32`, `mobile@w0.25-r32-i3-o10`.

    Raises:
        InputError: there are none of that name.
    """
    known = sorted(table.calibrations)
    found = [one for one in known if not name or name in (one, one.partition("@")[0], re.sub(r"-i\d+-o\d+$", "", one))]
    if name and not found:
        hint = f"it is calibrated for {', '.join(known)}" if known else "it is calibrated for no space"
        raise InputError(f"the table {table.device}/{table.condition} holds nothing of {name}", hint=hint)
    return found


def space_of(signature: str) -> SearchSpace:
    """The space instance of a signature.

    Raises:
        InputError: this version of hwnas has no such space.
    """
    match = re.fullmatch(r"(.+)-i(\d{1,6})-o(\d{1,6})", signature)
    if match is None:
        raise InputError(f"{signature!r} does not name an instance of a space with its channels and classes")
    return parse_instance(match[1], channels=int(match[2]), classes=int(match[3]))


def heaviest(table: LatencyTable, signatures: Sequence[str] | None = None) -> list[Row]:
    """Rows by latency, the largest first; those of these space instances only, unless None."""
    kept = None if signatures is None else {spec.key for name in signatures for spec in space_of(name).ops}
    rows = [row for row in table.rows.values() if kept is None or row.key in kept]
    return sorted(rows, key=lambda row: (-row.median_us, row.key))


def trust(table: LatencyTable, signature: str) -> dict[str, Any]:
    """How far the table can be trusted for one space instance.

    Returns:
        `calibration`, `validation`, `noise` and `cold` as dictionaries, `margin` (share of a budget that searches
        leave), `too_far_off` (why they refuse it, or None), `loaded` (whether other work kept the machine busy) and
        `pairs`; None where the table does not know.
    """
    validation, noise = table.validations.get(signature), table.noise.get(signature)
    return {
        "calibration": asdict(table.calibrations[signature]),
        "validation": None if validation is None else asdict(validation),
        "noise": None if noise is None else asdict(noise),
        "cold": asdict(table.cold[signature]) if signature in table.cold else None,
        "margin": None if validation is None else margin(validation.sigma),
        "too_far_off": (too_far_off(validation) if validation else "") or None,
        "loaded": noise is not None and noise.loaded,
        "pairs": table.pairs.get(signature),
    }
