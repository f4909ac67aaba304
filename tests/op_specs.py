"""A few specs of every registered kind of op, for tests that a new kind meets by itself."""

from __future__ import annotations

import itertools
from typing import Any

from hwnas.arch import OpSpec
from hwnas.arch.op import _kinds, kinds
from hwnas.arch.primitives import ACTIVATIONS, PADDINGS
from hwnas.errors import InputError

CHANNELS = ((8, 8), (8, 12))
JOINED = ((4, 8), (4, 12))
MAPS = ((7, 8), (8, 7))  # odd and even, high and wide
PIXEL = ((1, 1),)  # for kinds that read nothing else
STRIDES = (1, 2)
VALUES: dict[str, tuple[Any, ...]] = {
    "kernel": (3, 5, 1),
    "expand": (3, 1),
    "groups": (1, 2),
    "dilation": (1, 2),
    "se": (0, 4),
    "act": ("relu6", *ACTIVATIONS),
    "pad": (*PADDINGS, *PADDINGS[::-1]),
    "mid": (0, 0, 0, 20),  # where the expansion is 1
    "start": (1, 3, 3, 5, 5, 1),
}


def specs_of(kind: str) -> list[OpSpec]:
    """Every stride on odd and even sizes; all other values that the kind uses come up in turn, at least once each.

    Leaves out what the kind refuses, such as other channels out than in.
    """
    found = list(_specs(kind, MAPS)) or list(_specs(kind, PIXEL))
    assert found, f"{kind} refuses every spec"
    return found


def _specs(kind: str, maps: tuple[tuple[int, int], ...]) -> dict[OpSpec, None]:
    used = {field: values for field, values in VALUES.items() if field in _kinds[kind].uses}
    strides = STRIDES if "stride" in _kinds[kind].uses else (1,)
    channels = CHANNELS
    if "inputs" in _kinds[kind].uses:
        used["inputs"] = (2, 3)
        channels += JOINED
    turns = range(max(map(len, used.values()), default=1))
    found: dict[OpSpec, None] = {}
    for (cin, cout), (height, width), stride, turn in itertools.product(channels, maps, strides, turns):
        fields = {field: values[turn % len(values)] for field, values in used.items()}
        if stride > 1:
            fields["stride"] = stride
        spec = OpSpec(kind, cin, cout, height, width, **fields)
        try:
            _ = spec.graph
        except InputError:
            continue
        found[spec] = None
    return found


EVERY_KIND = [spec for kind in kinds() for spec in specs_of(kind)]
