"""The space of DARTS against figures that its authors published."""

from __future__ import annotations

import math
import random

import pytest
from genotypes import DARTS_V2, choices_of

from hwnas.arch import SlotSpace, costs, space_instance
from hwnas.arch.spaces.darts_cells import EDGES, OPTIONS
from hwnas.errors import InputError


def darts(width: float = 1.0, depth: int = 8, resolution: int = 32, classes: int = 10) -> SlotSpace:
    return space_instance("darts", width=width, depth=depth, resolution=resolution, channels=3, classes=classes)


# Parameters that the authors' train.py logs for their final networks, without the auxiliary head.
@pytest.mark.parametrize(
    ("genotype", "width", "depth", "resolution", "classes", "params"),
    [(DARTS_V2, 2.25, 20, 32, 10, 3_349_342), (DARTS_V2, 3.0, 14, 224, 1000, 4_718_752)],
)
def test_final_networks_have_the_published_parameters(
    genotype: dict[str, str], width: float, depth: int, resolution: int, classes: int, params: int
) -> None:
    space = darts(width, depth, resolution, classes)
    assert costs(space.network(space.architecture(choices_of(genotype))).graph).params == params


def test_the_final_network_for_cifar_has_the_published_multiply_adds() -> None:
    space = darts(2.25, 20)
    assert round(costs(space.network(space.architecture(choices_of(DARTS_V2))).graph).macs / 1e6) == 528


def test_the_space_is_as_large_as_the_paper_says() -> None:
    """Section 3.1: (k + 1) k / 2 · 7² for each of the four nodes of a cell, about 10^9, squared for two cells."""
    cell = math.prod((k + 1) * k // 2 * 7**2 for k in range(1, 5))
    assert darts().size == cell**2
    assert 1e9 < cell < 1.1e9
    assert len(darts().decisions) == 28


@pytest.mark.parametrize(("depth", "reducing"), [(8, (2, 5)), (20, (6, 13)), (3, (1, 2))])
@pytest.mark.parametrize("resolution", [32, 33, 7, 4])
def test_cells_share_decisions_and_reduce_at_a_third_and_two_thirds(
    depth: int, reducing: tuple[int, ...], resolution: int
) -> None:
    space = darts(0.25, depth, resolution)
    channels, size = 4, resolution
    shapes = {slot.name: slot.ops[0].output_shape for slot in space.slots}
    for cell in range(depth):
        if cell in reducing:
            channels, size = 2 * channels, (size + 1) // 2
        assert shapes[f"c{cell}out"] == (4 * channels, size, size)
        decisions = [slot.decision for slot in space.slots if slot.name.startswith(f"c{cell}e")]
        assert decisions == list(range(14, 28) if cell in reducing else range(14))
        assert dict(zip((s.name for s in space.slots), space.sources, strict=True))[f"c{cell}in0"] == (
            space.slots.index(next(s for s in space.slots if s.name == (f"c{cell - 2}out" if cell > 1 else "stem"))),
        )


def test_strides_are_on_the_edges_from_the_inputs_of_reduction_cells() -> None:
    for slot in darts().slots:
        if slot.decision is not None:
            strided = slot.decision >= 14 and EDGES[slot.decision - 14][0] < 2
            kinds = [spec.kind for spec in slot.ops]
            assert len(kinds) == len(OPTIONS) == 8
            assert kinds[3] == ("reduce" if strided else "skip")
            assert {spec.stride for spec in slot.ops if spec.kind not in ("skip", "reduce")} == {2 if strided else 1}


def test_every_node_adds_two_maps_and_every_cell_joins_four() -> None:
    space, rng = darts(0.25, 5, 9), random.Random(0)
    for _ in range(8):
        network = space.network(space.drawn(rng.randrange))
        names = [node.name for node in network.graph.nodes]
        assert sum(name.endswith(".add1") for name in names) == 5 * 4
        assert not any(name.endswith(".add2") for name in names)
        reads = {name: read for name, read in network.reads if name.endswith(("n2", "n3", "n4", "n5"))}
        assert {len(read) for read in reads.values()} == {2}
        assert len(reads) == 5 * 4
        used = {read for _, names in network.reads for read in names}
        dead = [name for name, spec in network.ops if name not in used and spec.kind != "none"]
        assert dead == ["classifier"]
        assert not network.graph.constant


def test_three_edges_into_a_node_are_refused() -> None:
    space = darts()
    choices = list(choices_of(DARTS_V2))
    free = next(k for k in range(2, 5) if choices[k] == 0)
    with pytest.raises(InputError, match="keeps 2 of normal3from0, normal3from1 and normal3from2, not 3"):
        space.architecture([*choices[:free], 4, *choices[free + 1 :]])
    with pytest.raises(InputError, match="between 3 and 20 cells, not 21"):
        darts(depth=21)
