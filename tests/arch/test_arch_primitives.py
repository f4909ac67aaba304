from __future__ import annotations

import pytest

from hwnas.arch import Network, OpSpec, costs
from hwnas.arch.primitives import Activation, Builder, Pool
from hwnas.errors import InputError

MAP = (4, 6, 5)


def test_sums_drop_zero_and_what_only_zero_read_is_gone() -> None:
    b = Builder(MAP)
    x = b.input()
    kept = b.conv(x, "kept", 4)
    dead = b.conv(x, "dead", 4)
    b.activation(dead, "dead_act", "relu")
    graph = b.graph(b.add(b.add(b.zero(MAP), kept), b.zero(MAP)))
    assert [node.name for node in graph.nodes] == ["kept"]
    assert graph.zeros == ()
    assert set(graph.parameters()) == {"kept.weight", "kept.norm.weight", "kept.norm.bias"}
    assert not graph.constant


def test_zero_alone_is_a_graph_without_nodes() -> None:
    graph = OpSpec("none", 4, 8, 6, 5, stride=2).graph
    assert (graph.nodes, graph.output_shape, graph.constant) == ((), (8, 3, 3), True)
    b = Builder(MAP)
    assert b.graph(b.add(b.zero(MAP), b.zero(MAP))).zeros == (MAP,)


def test_what_reads_zero_stays_and_is_constant() -> None:
    b = Builder(MAP)
    lost, kept = b.zero(MAP), b.zero((2, 6, 5))
    b.conv(lost, "lost", 3)
    graph = b.graph(b.conv(b.concat(kept, kept), "conv", 3))
    assert [(node.name, node.inputs) for node in graph.nodes] == [("concat", (-1, -1)), ("conv", (1,))]
    assert (graph.zeros, graph.constant) == (((2, 6, 5),), True)


def test_a_network_behind_none_depends_on_nothing() -> None:
    ops = (OpSpec("conv", 3, 4, 8, 8), OpSpec("none", 4, 4, 8, 8), OpSpec("normclassifier", 4, 2, 8, 8))
    network = Network(tuple((f"op{index}", spec) for index, spec in enumerate(ops)))
    assert network.graph.constant
    assert not any(name.startswith("op0.") for name in network.graph.parameters())
    assert network.output_shape == network.graph.output_shape == (2, 1, 1)
    assert not Network(network.ops[:1]).graph.constant


def test_nodes_are_taken_out_of_a_graph() -> None:
    b = Builder(MAP)
    y = b.conv(b.input(), "conv", 4)
    z = b.activation(y, "act", "relu")
    graph = b.graph(b.add(z, y)).pruned({z.index: y.index})
    assert [(node.name, node.inputs) for node in graph.nodes] == [("conv", (0,)), ("add", (1, 1))]
    assert graph.readers() == {0: 1, 1: 2, 2: 1}


def test_an_activation_of_one_value_is_computed_once() -> None:
    b = Builder(MAP)
    x = b.input()
    left, right, other = (b.activation(x, name, fn) for name, fn in (("a", "relu"), ("b", "relu"), ("c", "relu6")))
    graph = b.graph(b.add(b.add(left, right), b.activation(other, "d", "relu6"), name="sum"))
    assert [node.name for node in graph.nodes if isinstance(node.primitive, Activation)] == ["a", "c", "d"]


@pytest.mark.parametrize(("size", "out"), [(1, 1), (2, 1), (7, 4), (8, 4)])
def test_pools_have_the_sizes_of_convolutions(size: int, out: int) -> None:
    b = Builder((2, size, size))
    x = b.input()
    pools = [b.pool(x, f"{fn}{kernel}", fn, kernel=kernel, stride=2) for fn in ("max", "avg") for kernel in (2, 3, 5)]
    assert {pool.shape for pool in pools} == {(2, out, out)}
    assert b.conv(x, "conv", 2, kernel=3, stride=2).shape == (2, out, out)
    assert [Pool("max", kernel, 2).borders(size) for kernel in (3, 2)] == [(1, 1), (0, size % 2)]


def test_what_cannot_be_built_is_refused() -> None:
    b = Builder(MAP)
    x = b.input()
    with pytest.raises(InputError, match="a pool is max or avg, not 'min'"):
        b.pool(x, "pool", "min", kernel=3, stride=1)
    for kernel, stride in ((1, 2), (2, 1), (4, 2)):
        with pytest.raises(InputError, match=f"not {kernel} with stride {stride}"):
            b.pool(x, "pool", "max", kernel=kernel, stride=stride)
    with pytest.raises(InputError, match="only maps of one size"):
        b.concat(x, b.slice(x))
    with pytest.raises(InputError, match="empty map"):
        b.slice(b.zero((4, 1, 5)), "thin")
    with pytest.raises(InputError, match="one shape"):
        b.add(b.zero((4, 6, 4)), x)


def test_shapes_of_pad_slice_and_concat() -> None:
    b = Builder(MAP)
    x = b.input()
    assert b.pad(x, 0, 0) is x
    padded = b.pad(x, 1, 0)
    assert padded.shape == (4, 7, 5)
    assert b.slice(padded).shape == (4, 6, 4)
    assert b.concat(x, x, x).shape == (12, 6, 5)


@pytest.mark.parametrize("kind", ["skip", "maxpool", "avgpool"])
def test_kinds_that_keep_their_channels(kind: str) -> None:
    with pytest.raises(InputError, match=f"{kind} keeps its channels, so it cannot turn 4 into 8"):
        _ = OpSpec(kind, 4, 8, 8, 8).graph


def test_a_reduction_needs_two_channels() -> None:
    with pytest.raises(InputError, match="at least 2"):
        _ = OpSpec("reduce", 4, 1, 8, 8).graph


def test_peak_of_a_reduction_by_hand() -> None:
    """ReLU in place (96 values), its slice (60) and both halves (24 each), then their concatenation (48)."""
    graph = OpSpec("reduce", 4, 8, 6, 4).graph
    assert costs(graph).peak_bytes == 4 * max(96 + 4 * 5 * 3, 96 + 60 + 24, 60 + 24 + 24, 24 + 24 + 48)
