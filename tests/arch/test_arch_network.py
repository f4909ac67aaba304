from __future__ import annotations

import json
import random
from typing import Any

import pytest

from hwnas.arch import Network, OpSpec, mobilenet_v2, space_instance
from hwnas.errors import InputError

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


@pytest.mark.parametrize(
    "content",
    [[], None, 3, "conv", [1], ["a"], [{}], [{"name": "a"}], [{"op": CONV.key}], [{"name": "a", "op": "b"}], {"a": 1}],
)
def test_malformed_json_raises_input_error(content: Any) -> None:
    with pytest.raises(InputError):
        Network.from_json(content)
