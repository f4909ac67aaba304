from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import RUNTIMES, SPECS, chain, parity, random_network, space, trained

from hwnas.arch import Network, OpSpec
from hwnas.arch.op import Kind, _kinds
from hwnas.arch.primitives import Builder, Value
from hwnas.backends.torch import export_weights, load_weights, network_module
from hwnas.backends.weights import fold, random_weights
from hwnas.errors import ExportError, InputError


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_names_and_shapes_are_those_of_the_graph(spec: OpSpec) -> None:
    check_names_and_shapes(Network.single(spec))


def test_names_and_shapes_of_a_whole_network() -> None:
    check_names_and_shapes(random_network(space(), 0))


def check_names_and_shapes(network: Network) -> None:
    module = network_module(network)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert shapes == network.graph.parameters() | network.graph.statistics()
    assert {name for name, _ in module.named_parameters()} == set(network.graph.parameters())
    assert tuple(module.eval()(torch.zeros(2, *network.input_shape)).shape) in {
        (2, *network.output_shape),
        (2, network.output_shape[0]),
    }


def test_weights_survive_the_way_out_and_in() -> None:
    network = random_network(space(), 1)
    weights = random_weights(network.graph, 3)
    module = network_module(network)
    load_weights(module, weights)
    back = export_weights(module)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)
    assert all(value.flags.c_contiguous and value.dtype == np.float32 for value in back.values())
    load_weights(module, random_weights(network.graph, 4))
    assert all(np.array_equal(back[name], weights[name]) for name in weights), "the copy is no view"


def test_weights_that_do_not_fit_are_refused() -> None:
    network = Network.single(OpSpec("conv", 3, 4, 5, 5))
    module, weights = network_module(network), random_weights(network.graph, 0)
    with pytest.raises(ExportError, match="1 names differ, the first is extra"):
        load_weights(module, weights | {"extra": np.zeros(1, np.float32)})
    with pytest.raises(ExportError, match=r"op\.conv\.weight must have shape \(4, 3, 1, 1\)"):
        load_weights(module, weights | {"op.conv.weight": np.zeros((4, 3), np.float32)})


@pytest.mark.parametrize("stride", [1, 2])
def test_folding_is_the_convolution_with_its_norm_in_closed_form(stride: int) -> None:
    network = Network.single(OpSpec("conv", 4, 6, 7, 7, kernel=3, stride=stride, groups=2))
    weights = random_weights(network.graph, 0)
    weights["op.conv.norm.running_var"] *= 1e-3
    weight, bias = fold(network.graph, weights)[1]["op.conv"]
    assert bias is not None
    x = torch.randn(2, 4, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = {name: torch.from_numpy(value).double() for name, value in weights.items()}
    raw = torch.nn.functional.conv2d(x, t["op.conv.weight"], None, stride, 1, 1, 2)
    mean, var, gamma, beta = (
        t[f"op.conv.norm.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    expected = (raw - mean) / (var + 1e-5).sqrt() * gamma + beta
    actual = torch.nn.functional.conv2d(
        x, torch.from_numpy(weight).double(), torch.from_numpy(bias).double(), stride, 1, 1, 2
    )
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_norm_is_folded_only_into_a_convolution_that_it_alone_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(b: Builder, spec: OpSpec, x: Value) -> Value:
        return b.scale_shift(b.scale_shift(x, "first"), "second")

    def shared(b: Builder, spec: OpSpec, x: Value) -> Value:
        return b.add(x, b.scale_shift(x, "scale"))

    monkeypatch.setitem(_kinds, "twice", Kind("twice", frozenset(), twice))
    monkeypatch.setitem(_kinds, "shared", Kind("shared", frozenset(), shared))
    conv, plain = OpSpec("conv", 4, 4, 6, 6, kernel=3), OpSpec("skip", 4, 4, 6, 6)
    two, one = OpSpec("twice", 4, 4, 6, 6), OpSpec("shared", 4, 4, 6, 6)
    for specs, names in [
        ((conv, two), ["op0.conv"]),
        ((plain, two), ["op1.first"]),
        ((conv, one), ["op0.conv", "op1.scale", "op1.add"]),
        ((conv, one, two), ["op0.conv", "op1.scale", "op1.add", "op2.first"]),
    ]:
        network = chain(*specs)
        graph, constants = fold(network.graph, trained(network))
        assert [node.name for node in graph.nodes] == names
        assert set(constants) == set(names) - {"op1.add"}
        assert all(parity(network, runtime).agrees for runtime in RUNTIMES)


def test_a_residual_branch_adds_nothing_before_training() -> None:
    network = Network.single(OpSpec("mbconv", 4, 4, 6, 6, 3, expand=2, act="relu"))
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network_module(network).eval()(x), x)
    without = Network.single(OpSpec("mbconv", 4, 8, 6, 6, 3, expand=2, act="relu"))
    assert network_module(without).eval()(x).abs().max() > 0


def test_random_weights_keep_activations_of_order_one() -> None:
    network = random_network(space(), 2)
    module = network_module(network).eval()
    load_weights(module, random_weights(network.graph, 0))
    x = torch.randn(8, *network.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in module.children():
            x = block(x)
            assert 1e-2 < float(x.std()) < 1e2


def test_a_linear_layer_ends_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(b: Builder, spec: OpSpec, x: Value) -> Value:
        return b.mul(x, b.linear(b.global_pool(x), "linear", spec.cin))

    monkeypatch.setitem(_kinds, "gated", Kind("gated", frozenset(), lower))
    with pytest.raises(InputError, match="a linear layer ends a network"):
        Network.single(OpSpec("gated", 4, 4, 4, 4)).graph  # noqa: B018
