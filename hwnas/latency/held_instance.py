"""For which instances of a space a table holds: those that it is calibrated for, and of an imported table smaller ones.

What the file behind an imported table does not tell apart, such as stem and classifier, is in the constant of the
instance that it was made for. An instance that differs from it in having fewer channels or classes alone takes no
longer for these, so the same constant keeps its budgets (docs/decisions/0082). More of them are another table.
"""

from __future__ import annotations

import re

from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import SearchSpace
from hwnas.latency.table import LatencyTable
from hwnas.latency.trust import space_of


def held_as(table: LatencyTable, space: SearchSpace) -> str | None:
    """Signature of the instance whose calibration holds for `space`; None where there is none."""
    return held_instance(table, space.name, space.input_shape[0], space.classes)


def held_instance(table: LatencyTable, name: str, channels: int, classes: int) -> str | None:
    """The same for images of so many channels and classes.

    Args:
        name: of an instance; or of a space, which stands for any instance of it.
    """
    own = f"{name}-i{channels}-o{classes}"
    if own in table.calibrations:
        return own
    found: list[tuple[int, int, str]] = []
    for signature in table.calibrations:
        match = re.fullmatch(r"(.+)-i(\d{1,6})-o(\d{1,6})", signature)
        if match is None or name not in (match[1], match[1].partition("@")[0]):
            continue
        room = (int(match[3]) - classes, int(match[2]) - channels)
        if room == (0, 0) or (table.kind == "imported" and min(room) >= 0):
            found.append((*room, signature))
    return min(found)[2] if found else None


def folded_keys(table: LatencyTable, space: SearchSpace) -> set[str]:
    """Keys of the ops of `space` whose latency is in the constant of the calibration."""
    signature = held_as(table, space)
    folded = set() if signature is None else set(table.folded.get(signature, ()))
    if not folded or signature is None or signature == space.signature:
        return folded
    made_for, whole = space_of(signature), space_of(space.signature)
    assert isinstance(made_for, SlotSpace)
    assert isinstance(whole, SlotSpace)
    pairs = (
        (before, now)
        for one, other in zip(made_for.slots, whole.slots, strict=True)
        for before, now in zip(one.ops, other.ops, strict=True)
    )
    return {now.key for before, now in pairs if before.key in folded}
