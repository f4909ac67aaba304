from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from hwnas.arch import Architecture, Network, OpSpec, mobilenet_v2, space_instance
from hwnas.arch.spaces.nasbench201 import EDGES, OPTIONS, nasbench201
from hwnas.errors import InputError

PATHS = (((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)))
"""All ways through a cell of NAS-Bench-201."""

CONV = OpSpec("conv", 3, 4, 8, 8, kernel=3, stride=2, act="relu")
HEAD = OpSpec("classifier", 4, 10, 4, 4)


def test_shapes_are_those_of_the_ends() -> None:
    network = Network((("a", CONV), ("b", HEAD)))
    assert network.input_shape == (3, 8, 8)
    assert network.output_shape == (10, 1, 1)
    assert network.graph.output_shape == (10, 1, 1)


def test_parameters_carry_the_names_of_their_ops() -> None:
    names = set(Network((("a", CONV), ("b", HEAD))).graph.parameters())
    assert names == {"a.conv.weight", "a.conv.norm.weight", "a.conv.norm.bias", "b.linear.weight", "b.linear.bias"}


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((), "at least one op"),
        ((("a", CONV), ("a", HEAD)), "distinct names"),
        ((("a.b", CONV),), "without dots"),
        ((("", CONV),), "distinct names"),
        ((("a", HEAD), ("b", CONV)), r"b reads \(3, 8, 8\), but a writes"),
    ],
)
def test_what_is_no_network_is_refused(ops: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Network(ops)


def test_json_round_trip() -> None:
    space = space_instance("mobile", width=0.5, resolution=32, channels=3, classes=10)
    rng = random.Random(0)
    networks = [mobilenet_v2(0.5, 96)] + [
        space.network(space.architecture([rng.randrange(len(d.options)) for d in space.decisions])) for _ in range(5)
    ]
    for network in networks:
        assert Network.from_json(json.loads(json.dumps(network.to_json()))) == network


CELL = (
    ("stem", OpSpec("conv", 3, 4, 8, 8, kernel=3)),
    ("left", OpSpec("reluconv", 4, 4, 8, 8)),
    ("right", OpSpec("avgpool", 4, 4, 8, 8, kernel=3)),
    ("sum", OpSpec("add", 4, 4, 8, 8, inputs=3)),
    ("join", OpSpec("concat", 4, 8, 8, 8, inputs=2)),
    ("head", OpSpec("classifier", 8, 10, 8, 8)),
)
READS = (("right", ("stem",)), ("sum", ("stem", "left", "right")), ("join", ("sum", "left")))


def test_ops_read_what_the_network_says() -> None:
    network = Network(CELL, READS)
    assert network.sources == ((-1,), (0,), (0,), (0, 1, 2), (3, 1), (4,))
    assert network != Network(CELL[:3])
    assert Network.from_json(json.loads(json.dumps(network.to_json()))) == network
    names = [node.name for node in network.graph.nodes]
    assert names[:4] == ["stem.conv", "left.relu", "left.conv", "right.pool"]
    assert names[4:] == ["sum.add1", "sum.add2", "join.concat", "head.pool", "head.linear"]
    read = dict(zip(names, (node.inputs for node in network.graph.nodes), strict=True))
    assert (read["sum.add1"], read["sum.add2"], read["join.concat"]) == ((1, 3), (5, 4), (6, 3))


def test_a_sum_drops_what_is_zero() -> None:
    ops = tuple((name, OpSpec("none", 4, 4, 8, 8) if name == "left" else spec) for name, spec in CELL[:4])
    graph = Network(ops, READS[:2]).graph
    assert [node.name for node in graph.nodes] == ["stem.conv", "right.pool", "sum.add2"]


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        ((("right", ("nobody",)),), "right reads 'nobody', which is not before it"),
        ((("left", ("right",)),), "left reads 'right', which is not before it"),
        ((("left", ("left",)),), "left reads 'left', which is not before it"),
        ((*READS, ("nobody", ("stem",))), "nothing is called 'nobody'"),
        (READS[:1], "sum reads 3 maps, not 1"),
        ((*READS[:2], ("join", ("sum", "input"))), r"join reads \(4, 8, 8\), but input writes \(3, 8, 8\)"),
        (READS[1:], None),
    ],
)
def test_reads_that_make_no_network_are_refused(reads: Any, message: str | None) -> None:
    if message is None:
        assert Network(CELL, reads).sources[2] == (1,)
        return
    with pytest.raises(InputError, match=message):
        Network(CELL, reads)


@pytest.mark.parametrize("kind", ["add", "concat"])
def test_the_micro_model_of_an_op_that_joins_has_an_input_for_each_map(kind: str) -> None:
    network = Network.single(OpSpec(kind, 4, 4 if kind == "add" else 12, 8, 8, inputs=3))
    assert (network.inputs, network.input_shape) == (3, (12, 8, 8))
    assert network.graph.inputs == ((4, 8, 8),) * 3


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        3,
        "conv",
        [1],
        ["a"],
        [{}],
        [{"name": "a"}],
        [{"op": CONV.key}],
        [{"name": "a", "op": CONV.key, "reads": ["b"]}],
        [{"name": "a", "op": CONV.key, "reads": 3}],
        [{"name": "a", "op": "b"}],
        {"a": 1},
    ],
)
def test_malformed_json_raises_input_error(content: Any) -> None:
    with pytest.raises(InputError):
        Network.from_json(content)


def test_idle_ops_are_those_without_a_path_of_ops_from_the_input_to_the_output() -> None:
    space = nasbench201(resolution=8, cells=1)
    for seed in range(200):
        choices = tuple(np.random.default_rng(seed).integers(5, size=len(EDGES)).tolist())
        on = {edge for edge, choice in zip(EDGES, choices, strict=True) if OPTIONS[choice] != "none"}
        whole = [path for path in PATHS if on.issuperset(path)]
        network = space.network(Architecture(space.name, choices))
        computing = {edge for edge, choice in zip(EDGES, choices, strict=True) if choice > 1}  # a skip takes nothing
        live = {edge for path in whole for edge in path} & computing
        in_cells = {name for name in network.idle if "c0e" in name}
        expected = {f"s{stage}c0e{a}{b}" for stage in range(3) for a, b in (computing - live if whole else computing)}
        assert in_cells == expected
        assert ("stem" in network.idle) == (not whole)
