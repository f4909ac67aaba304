"""Architectures that the authors of DARTS published (cnn/genotypes.py of their code): ops with the states they read."""

from __future__ import annotations

from hwnas.arch.spaces.darts_cells import CELLS, EDGES, OPTIONS

_SHORT = {
    "none": "none",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}
_SHORT |= {"max": "max_pool_3x3", "avg": "avg_pool_3x3", "skip": "skip_connect"}

DARTS_V1 = {
    "normal": "sep3~1 sep3~0 skip~0 sep3~1 skip~0 sep3~1 sep3~0 skip~2",
    "reduce": "max~0 max~1 skip~2 max~0 max~0 skip~2 skip~2 avg~0",
}
DARTS_V2 = {
    "normal": "sep3~0 sep3~1 sep3~0 sep3~1 sep3~1 skip~0 skip~0 dil3~2",
    "reduce": "max~0 max~1 skip~2 max~1 max~0 skip~2 skip~2 max~1",
}


def pairs_of(cell: str) -> list[tuple[str, int]]:
    """(op, state) of the eight kept edges of a cell, two for each node."""
    parts = (pair.split("~") for pair in cell.split())
    return [(_SHORT[op], int(state)) for op, state in parts]


def choices_of(genotype: dict[str, str]) -> tuple[int, ...]:
    """As the space has them."""
    choices = []
    for name in CELLS:
        ops = {(state, 2 + k // 2): op for k, (op, state) in enumerate(pairs_of(genotype[name]))}
        choices += [OPTIONS.index(ops.get(edge, "none")) for edge in EDGES]
    return tuple(choices)
