from __future__ import annotations

import logging
import random
import warnings

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from op_specs import EVERY_KIND

from hwnas.arch import Network, OpSpec, costs, mobilenet_v2, space_instance
from hwnas.arch.costs import macs, params, peak_bytes
from hwnas.arch.primitives import Builder
from hwnas.backends.torch import network_module


def fvcore_macs(network: Network) -> int:
    """Multiply-adds of convolutions and linear layers as fvcore counts them on the torch module."""
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = FlopCountAnalysis(network_module(network).eval(), torch.zeros(1, *network.input_shape))
        by_operator = counts.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    return int(by_operator["conv"] + by_operator["linear"])


def random_networks(name: str, width: float, resolution: int, count: int) -> list[Network]:
    space = space_instance(name, width=width, resolution=resolution, channels=3, classes=10)
    rng = random.Random(f"{width} {resolution}")
    return [
        space.network(space.architecture([rng.randrange(len(decision.options)) for decision in space.decisions]))
        for _ in range(count)
    ]


def test_mobilenet_v2_has_the_counts_of_its_paper() -> None:
    network = mobilenet_v2()
    assert costs(network.graph).macs == 300_774_272
    assert costs(network.graph).params == 3_504_872
    assert fvcore_macs(network) == 300_774_272
    assert sum(p.numel() for p in network_module(network).parameters()) == 3_504_872


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("resolution", [8, 31, 96])
@pytest.mark.parametrize("name", ["mobile", "toy"])
def test_counts_of_random_networks_are_those_of_torch_and_fvcore(name: str, width: float, resolution: int) -> None:
    for network in random_networks(name, width, resolution, 2):
        assert params(network.graph) == sum(p.numel() for p in network_module(network).parameters())
        assert macs(network.graph) == fvcore_macs(network)


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", EVERY_KIND, ids=lambda spec: spec.key)
def test_counts_of_every_kind_are_those_of_torch_and_fvcore(spec: OpSpec) -> None:
    network = Network.single(spec)
    assert params(network.graph) == sum(p.numel() for p in network_module(network).parameters())
    assert macs(network.graph) == fvcore_macs(network)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_macs_of_a_convolution_in_closed_form(groups: int, size: int, stride: int) -> None:
    spec = OpSpec("conv", 8, 12, size, size, kernel=3, stride=stride, groups=groups)
    out = -(-size // stride)
    assert macs(spec.graph) == out * out * 12 * (8 // groups) * 9


def test_an_op_that_lowers_to_nothing_costs_only_its_input() -> None:
    counted = costs(OpSpec("skip", 2, 2, 3, 3).graph)
    assert (counted.macs, counted.params, counted.peak_bytes) == (0, 0, 2 * 9 * 4)


def test_peak_bytes_of_a_residual_by_hand() -> None:
    b = Builder((2, 4, 4))  # 32 values
    x = b.input()
    y = b.conv(x, "wide", 6, act="relu")  # 32 + 96; the activation works in place
    y = b.conv(y, "narrow", 2)  # 32 + 96 + 32: the shortcut is alive
    graph = b.graph(b.add(x, y))  # 32 + 32 + 32
    assert peak_bytes(graph) == (32 + 96 + 32) * 4
    assert peak_bytes(graph, bytes_per_value=1) == 32 + 96 + 32


def test_peak_bytes_without_the_shortcut_frees_the_input() -> None:
    b = Builder((2, 4, 4))
    y = b.conv(b.input(), "wide", 6)
    graph = b.graph(b.conv(y, "narrow", 3))
    assert peak_bytes(graph) == max(32 + 96, 96 + 48) * 4


def test_an_activation_whose_input_is_read_again_needs_memory() -> None:
    b = Builder((2, 4, 4))
    x = b.input()
    graph = b.graph(b.add(b.activation(x, "act", "relu"), x))
    assert peak_bytes(graph) == 3 * 32 * 4


@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("resolution", [8, 31, 96])
@pytest.mark.parametrize("name", ["mobile", "toy"])
def test_the_peak_of_a_chain_is_the_largest_of_its_ops(name: str, width: float, resolution: int) -> None:
    for network in random_networks(name, width, resolution, 20):
        assert peak_bytes(network.graph) == max(peak_bytes(spec.graph) for _, spec in network.ops)
