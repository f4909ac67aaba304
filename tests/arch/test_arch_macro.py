"""ENAS's macro space: its size, its costs by hand, and what belongs to which decision."""

from __future__ import annotations

import random

import pytest

from hwnas.arch import OpSpec, SlotSpace, costs, space_instance
from hwnas.arch.spaces.macro import OPTIONS
from hwnas.errors import InputError


def macro(width: float = 1.0, resolution: int = 32, depth: int = 0) -> SlotSpace:
    return space_instance("macro", width=width, resolution=resolution, channels=3, classes=10, depth=depth)


def test_the_space_is_as_large_as_the_papers() -> None:
    space = macro()
    assert space.size == 6**12 * 2**66  # 1.6 · 10^29 (section 2.3)
    assert len(space.decisions) == 12 + 66
    assert [spec.cout for spec in dict(space.network(space.drawn(lambda _: 0)).ops).values()][-2:] == [128, 10]


def conv(cin: int, cout: int, pixels: int, kernel: int = 1) -> tuple[int, int]:
    """Multiply-adds and parameters of a convolution with batch norm."""
    weights = cin * cout * kernel**2
    return weights * pixels, weights + 2 * cout


def test_costs_of_a_small_network_by_hand() -> None:
    """Three layers of 8, 16 and 32 channels on 8, 4 and 2 pixels; the last one skips to the stem, over two halvings."""
    space = macro(0.25, 8, depth=3)
    names = [decision.name for decision in space.decisions]
    assert names == ["l1", "l2", "l2from0", "l3", "l3from0", "l3from1"]
    picked = {"l1": "conv_3x3", "l2": "sep_conv_5x5", "l3": "max_pool_3x3", "l2from0": "no", "l3from1": "no"}
    choices = [one.options.index(picked.get(one.name, "skip")) for one in space.decisions]
    parts = [
        conv(3, 8, 64, 3),  # stem
        conv(8, 8, 64),
        conv(8, 8, 64, 3),
        conv(8, 8, 64),
        conv(8, 16, 16),  # both halves of the reduction together
        conv(16, 16, 16),
        (16 * 25 * 16, 16 * 25),  # depthwise
        conv(16, 16, 16),  # pointwise
        conv(16, 16, 16),
        conv(16, 32, 4),
        conv(32, 32, 4),  # before the pool
        conv(32, 32, 4),  # behind it
        conv(8, 8, 16),  # the skip, first halving
        conv(8, 32, 4),  # and the second
        (32 * 10, 32 * 10 + 10),
    ]
    found = costs(space.network(space.architecture(choices)).graph)
    assert found.macs == sum(macs for macs, _ in parts)
    assert found.params == sum(params for _, params in parts)


@pytest.mark.parametrize(("resolution", "depth"), [(9, 5), (8, 12), (100, 4)])
def test_costs_are_sums_over_decisions(resolution: int, depth: int) -> None:
    """Every op of the chosen options counts, and nothing else: no work is shared or dropped when ops join."""
    space = macro(0.25, resolution, depth)
    for seed in range(5):
        network = space.network(space.drawn(random.Random(seed).randrange))
        whole = costs(network.graph)
        parts = [costs(spec.graph) for _, spec in network.ops]
        assert whole.macs == sum(part.macs for part in parts)
        assert whole.params == sum(part.params for part in parts)
        assert len(network.graph.nodes) == sum(len(spec.graph.nodes) for _, spec in network.ops)


@pytest.mark.parametrize(
    ("resolution", "sizes"), [(32, [32, 16, 8]), (9, [9, 5, 3]), (4, [4, 2, 1]), (224, [56, 28, 14])]
)
@pytest.mark.parametrize("depth", [3, 5, 12])
def test_maps_are_halved_twice(resolution: int, sizes: list[int], depth: int) -> None:
    space = macro(1.0, resolution, depth)
    layers = [slot.ops[0] for slot in space.slots if slot.name.endswith("op")]
    assert len(layers) == depth
    assert [spec.height for spec in layers] == [
        sizes[(layer >= depth // 3) + (layer >= 2 * depth // 3)] for layer in range(depth)
    ]
    assert {decision.options for decision in space.decisions if "from" not in decision.name} == {OPTIONS}


def test_a_reduction_halves() -> None:
    assert OpSpec("shrink", 4, 6, 9, 10, stride=4).output_shape == (6, 3, 3)
    for stride in (1, 3, 6):
        with pytest.raises(InputError, match="halves"):
            _ = OpSpec("shrink", 4, 6, 9, 9, stride=stride).graph
