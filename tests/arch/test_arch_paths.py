"""Paths through cells against a walk over the edges of the benchmark, and where there are none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from hwnas.arch import Decision, OpSpec, Slot, SlotSpace, space_instance
from hwnas.arch.paths import paths_of
from hwnas.arch.spaces.nasbench201 import EDGES, OPTIONS, nasbench201


def walked(choices: tuple[int, ...], node: int = 0) -> Iterator[tuple[str, ...]]:
    """Every walk along edges from a node of the cell to the last one: its ops that do something."""
    if node == 3:
        yield ()
    for (source, target), choice in zip(EDGES, choices, strict=True):
        if source == node and OPTIONS[choice] != "none":
            own = () if OPTIONS[choice] == "skip_connect" else (OPTIONS[choice],)
            for rest in walked(choices, target):
                yield (*own, *rest)


@pytest.mark.parametrize("cells", [1, 2])
def test_paths_are_the_walks_along_the_edges(cells: int) -> None:
    paths = paths_of(nasbench201(cells=cells))
    assert paths is not None
    for choices in itertools.islice(itertools.product(range(5), repeat=6), 0, None, 31):
        walks = list(walked(choices))
        found, ops = paths(choices)
        assert found == Counter((0, *walk) for walk in walks)
        assert ops == Counter([*((0, name) for walk in walks for name in walk), *[(0,)] * len(walks)])


def test_equal_cells_have_equal_paths() -> None:
    paths = paths_of(nasbench201(cells=1))
    assert paths is not None
    dead = (3, 0, 4, 2, 0, 0)  # node 1 leads to node 2 only, and that nowhere
    one = Counter({(0, "nor_conv_1x1"): 1})
    assert paths(dead) == paths((0, 0, 0, 2, 0, 0)) == (one, one + Counter({(0,): 1}))
    assert paths((3, 0, 0, 0, 1, 0)) == paths((1, 0, 0, 0, 3, 0)) == paths((0, 1, 0, 0, 0, 3))
    assert paths((0,) * 6) == (Counter(), Counter())


def test_different_cells_are_told_apart() -> None:
    conv = OpSpec("conv", 8, 8, 4, 4)
    other = OpSpec("conv", 8, 8, 4, 4, kernel=3)
    total = OpSpec("add", 8, 8, 4, 4, inputs=2)
    slots = [Slot("stem", (conv,))]
    for cell, before in (("a", "stem"), ("b", "asum")):
        at = 2 * (cell == "b")
        slots += [
            Slot(f"{cell}1", (conv, other), at, (before,)),
            Slot(f"{cell}2", (conv, other), at + 1, (before,)),
            Slot(f"{cell}sum", (total,), reads=(f"{cell}1", f"{cell}2")),
        ]
    decisions = tuple(Decision(name, ("one", "three")) for name in ("a1", "a2", "b1", "b2"))
    paths = paths_of(SlotSpace("two", decisions, tuple(slots)))
    assert paths is not None
    assert paths((0, 1, 1, 1))[0] == Counter({(0, "one"): 1, (0, "three"): 1, (1, "three"): 2})


@pytest.mark.parametrize("name", ["toy", "mobile", "darts", "macro"])
def test_chains_groups_and_dense_layers_have_none(name: str) -> None:
    space = space_instance(name, width=1.0, resolution=32, channels=3, classes=10)
    assert paths_of(space) is None
