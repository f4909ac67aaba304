"""The space against figures that the benchmark publishes."""

from __future__ import annotations

import pytest

from hwnas.arch import costs, space_instance
from hwnas.arch.spaces.nasbench201 import EDGES, OPTIONS
from hwnas.errors import InputError

SPACE = space_instance("nasbench201", width=1.0, resolution=32, channels=3, classes=10)


def choices(architecture: str) -> list[int]:
    """Of a string such as |nor_conv_3x3~0|+|skip_connect~0|none~1|+|..., which names the edges in their order."""
    names = [edge.split("~")[0] for node in architecture.split("+") for edge in node.strip("|").split("|")]
    return [OPTIONS.index(name) for name in names]


# The benchmark's own numbers for CIFAR-10: millions of multiply-adds and of parameters.
@pytest.mark.parametrize(
    ("architecture", "mega_macs", "mega_params"),
    [
        ("3|33|333", 220.12, 1.531546),
        ("1|11|111", 7.78, 0.073306),
        ("3|33|132", 153.27, 1.073466),
    ],
)
def test_costs_are_those_of_the_benchmark(architecture: str, mega_macs: float, mega_params: float) -> None:
    network = SPACE.network(SPACE.architecture([int(option) for option in architecture.replace("|", "")]))
    found = costs(network.graph)
    assert found.macs / 1e6 == pytest.approx(mega_macs, abs=0.006)
    assert found.params / 1e6 == pytest.approx(mega_params, abs=1e-6)


def test_six_decisions_of_five_options_are_shared_by_fifteen_cells() -> None:
    assert SPACE.size == 5**6 == 15_625
    for decision, (source, target) in enumerate(EDGES):
        slots = [slot for slot in SPACE.slots if slot.decision == decision]
        assert len(slots) == 15
        assert all(slot.name.endswith(f"e{source}{target}") for slot in slots)


def test_sums_drop_edges_that_are_zero() -> None:
    alone = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    graph = SPACE.network(SPACE.architecture(choices(alone))).graph
    assert {node.name for node in graph.nodes if node.name.startswith("s0c0")} == {"s0c0e03.relu", "s0c0e03.conv"}
    assert not graph.constant
    assert SPACE.network(SPACE.architecture([0] * 6)).graph.constant


def test_fewer_cells_and_other_widths_are_other_instances() -> None:
    small = space_instance("nasbench201", width=0.5, resolution=16, channels=1, classes=4, depth=1)
    assert small.name == "nasbench201@w0.5-d1-r16"
    assert len([slot for slot in small.slots if slot.decision == 0]) == 3
    with pytest.raises(InputError, match="blocks per stage, not 21"):
        space_instance("nasbench201", width=0.5, resolution=16, channels=1, classes=4, depth=21)
