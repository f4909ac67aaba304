"""Chains of MetaQNN in every backend."""

from __future__ import annotations

import pytest
from networks import RUNTIMES, parity

from hwnas.arch.spaces.chain import chain
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import runs_as_one_delegate
from hwnas.backends.weights import random_weights

CHAINS = [
    (8, "conv3_16 pool5_3 conv1_32 pool2_2 fc_64 fc_32"),
    (9, "conv5_16 conv3_32 pool3_2 conv3_16 pool2_2 conv1_16"),
    (11, "conv3_16 pool5_3 conv3_64 pool3_2"),
    (10, "conv1_16 pool5_3 fc_128 fc_128"),
    (32, "conv5_16 pool5_3 conv5_32 pool5_3 conv3_32 pool3_2 fc_32"),
]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("resolution", "layers"), CHAINS)
def test_chains_agree(resolution: int, layers: str, runtime: str) -> None:
    space = chain(0.25, resolution, 3, 10, layers=8)
    choices = [space.names.index(name) for name in layers.split()]
    network = space.network(space.architecture(choices + [0] * (8 - len(choices))))
    assert parity(network, runtime).ok
    if runtime == "litert":
        assert runs_as_one_delegate(litert_model(network, random_weights(network.graph, 0)))
