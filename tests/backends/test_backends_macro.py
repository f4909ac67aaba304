"""Networks of the space `macro` in every backend, and against one 1 x 1 convolution of concatenated maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from networks import RUNTIMES, parity, random_network
from torch import Tensor, nn

from hwnas.arch import Network, OpSpec, SlotSpace, space_instance
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import runs_as_one_delegate
from hwnas.backends.parity import trained_like
from hwnas.backends.torch import NetworkModule, network_module
from hwnas.backends.weights import random_weights

DEPTH = 6


def macro(resolution: int, depth: int) -> SlotSpace:
    return space_instance("macro", width=0.25, depth=depth, resolution=resolution, channels=3, classes=10)


@pytest.mark.sample("resolution", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("resolution", [8, 9, 66])
@pytest.mark.parametrize("seed", range(3))
def test_random_networks_agree(seed: int, resolution: int, runtime: str) -> None:
    assert parity(random_network(macro(resolution, 5), seed), runtime, seed).ok


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_reduction_by_four_agrees(runtime: str) -> None:
    for size in (7, 8, 9, 10):
        assert parity(Network.single(OpSpec("shrink", 6, 8, size, 8, stride=4, act="relu")), runtime).agrees


def test_xnnpack_takes_every_node() -> None:
    network = random_network(macro(9, 6), 1)
    assert runs_as_one_delegate(litert_model(network, random_weights(network.graph, 0)))


def folded(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1 x 1 convolution with its batch norm in it."""
    norm = module.norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return module.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def by_the_paper(module: NetworkModule, taken: dict[str, str], x: Tensor) -> Tensor:
    """The network with one 1 x 1 convolution of each layer's concatenated maps, without reductions in between."""
    nodes = [module.get_submodule("stem")(x)]
    for layer in range(1, DEPTH + 1):
        before = nodes[-1]
        for part in ("half", "in", "op"):
            if f"l{layer}{part}" in dict(module.named_children()):
                before = module.get_submodule(f"l{layer}{part}")(before)
        joined, parts = [before], [folded(module.get_submodule(f"l{layer}out.conv"))]
        for index, node in enumerate(nodes[:-1]):
            if taken[f"l{layer}from{index}"] == "skip":
                skip = module.get_submodule(f"l{layer}s{index}")
                if hasattr(skip, "conv"):
                    joined.append(node)
                    parts.append(folded(skip.conv))
                else:  # its own reduction is the convolution of a reduced map
                    even, odd = folded(skip.even), folded(skip.odd)
                    height, width = node.shape[2] % 2, node.shape[3] % 2
                    joined += [node[:, :, ::2, ::2], F.pad(node, (0, width, 0, height))[:, :, 1::2, 1::2]]
                    none = [torch.zeros_like(weight) for weight, _ in (even, odd)]
                    parts.append((torch.cat([even[0], none[1]]), torch.cat([even[1], torch.zeros_like(odd[1])])))
                    parts.append((torch.cat([none[0], odd[0]]), torch.cat([torch.zeros_like(even[1]), odd[1]])))
        weight, bias = torch.cat([w for w, _ in parts], 1), sum(b for _, b in parts)
        nodes.append(torch.relu(F.conv2d(torch.cat(joined, 1), weight, bias)))
    return module.get_submodule("classifier")(nodes[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(6))
def test_sums_of_projections_are_the_projection_of_the_concatenation(seed: int) -> None:
    """Skips over one reduction included; those over two are its composition, and are left out here."""
    space = macro(9, DEPTH)
    torch.manual_seed(seed)
    choices = [int(torch.randint(count, ())) for count in space.options]
    for slot in space.slots:
        if slot.decision is not None and slot.ops[-1].stride == 4:
            choices[slot.decision] = 0
    architecture = space.architecture(choices)
    network = space.network(architecture)
    module = network_module(network)
    trained_like(module, network, seed)
    module.eval()
    images = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        expected = by_the_paper(module, space.describe(architecture), images)
        torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=1e-4)
        assert expected.std() > 0.1
