"""Networks on inputs that are no squares, with any number of channels: description, torch and both files agree."""

from __future__ import annotations

import random

import pytest
import torch
from networks import RUNTIMES, parity

from hwnas.arch import mobilenet_v2, space_instance
from hwnas.arch.spaces import space_names
from hwnas.backends.torch import network_module
from hwnas.image_size import Size

ALIKE = {
    *(f"efficientnet-lite{model}" for model in range(1, 5)),
    *("mobilenet-v3-small", "tf-mobilenet-v3-large", "ofa-mobilenet-v3", "mobilenet-v4-conv-small"),
}  # spaces that have the ops of others
DEPTHS = {"chain": 6, "darts": 3, "macro": 3, "nasbench201": 1, "mobile": 2}


@pytest.mark.parametrize(
    ("size", "channels"), [(Size(49, 10), 1), (Size(24, 40), 4), (Size(5, 17), 12)], ids=lambda value: str(value)
)
@pytest.mark.sample("name")
@pytest.mark.parametrize("name", sorted({*space_names()} - ALIKE))
def test_random_networks_agree(name: str, size: Size, channels: int) -> None:
    space = space_instance(name, width=0.25, depth=DEPTHS.get(name, 0), resolution=size, channels=channels, classes=4)
    network = space.network(space.drawn(random.Random(f"{name} {size}").randrange))
    made = network_module(network).eval()(torch.zeros(2, channels, *size))
    assert made.shape == (2, 4)
    for runtime in RUNTIMES:
        assert parity(network, runtime).agrees


def test_every_map_has_the_shape_that_is_described() -> None:
    network, seen = mobilenet_v2(0.1, "24x72", 2, 3, small=True), []
    module = network_module(network).eval()
    for part in module.children():
        part.register_forward_hook(lambda _, __, made: seen.append(tuple(made.shape[1:])))
    module(torch.zeros(1, 2, 24, 72))
    assert seen == [spec.output_shape for _, spec in network.ops[:-1]] + [(3,)]
    for runtime in RUNTIMES:
        assert parity(network, runtime).agrees
