from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from mutants import MUTATIONS, mutants
from networks import RUNTIMES, SPECS, cells, chain, norms, parity, random_network, space, trained
from op_specs import EVERY_KIND

from hwnas.arch import Network, OpSpec, mobilenet_v2, space_instance
from hwnas.backends import weights as weights_module
from hwnas.backends.litert_runtime import run_litert
from hwnas.backends.onnx import onnx_model
from hwnas.backends.parity import Parity, compare, random_inputs, trained_like
from hwnas.backends.torch import export_weights, load_weights, network_module
from hwnas.errors import ExportError

# The smallest standard deviation of outputs for which agreement means something, where it is not 0.5.
SMALLEST = {"avgpool": 0.2, "dense": 0.1, "hidden": 0.1, "maxpool": 0.4, "none": 0.0}


@pytest.mark.sample("spec.kind", "spec.stride", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_every_kind_agrees(spec: OpSpec, runtime: str) -> None:
    result = parity(Network.single(spec), runtime)
    assert result.agrees
    assert result.deviation >= (0.2 if spec.act == "hsigmoid" else SMALLEST.get(spec.kind, 0.5))


@pytest.mark.sample("resolution", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("resolution", [8, 33, 48])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_networks_agree(width: float, resolution: int, seed: int, runtime: str) -> None:
    assert parity(random_network(space(width, resolution), seed), runtime, seed).ok


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_toy_mobilenet_v2_and_cells_agree(runtime: str) -> None:
    for seed in range(5):
        assert parity(random_network(space(1.0, 9, "toy"), seed), runtime, seed).ok
    assert parity(mobilenet_v2(0.5, 64, classes=20), runtime).ok
    assert parity(cells(15), runtime).ok
    assert parity(cells(16), runtime).ok


@pytest.mark.parametrize(
    "network",
    [random_network(space(0.5, 32), seed) for seed in range(3)]
    + [random_network(space(1.0, 8, "toy"), 1), mobilenet_v2(0.5, 64)],
)
def test_trained_like_weights_keep_every_block_alive(network: Network) -> None:
    module = network_module(network)
    trained_like(module, network, 3)
    assert not any(part.training for part in module.modules())
    x = torch.from_numpy(random_inputs(network, 16, 4))
    with torch.no_grad():
        *blocks, last = module.children()
        for block in blocks:
            x = block(x)
            assert 0.5 <= float(x.std()) <= 2.0
        assert float(last(x).std()) >= 1.0


def test_trained_like_norms_are_random_and_their_variances_spread() -> None:
    weights = trained(random_network(space(), 0))
    for prefix in norms(weights):
        for name in ("weight", "bias", "running_mean", "running_var"):
            assert len(np.unique(weights[f"{prefix}.{name}"])) > 1
    variances = np.concatenate([weights[f"{prefix}.running_var"] for prefix in norms(weights)])
    assert 1e-3 <= variances.min() < 2e-3
    assert 0.5 < variances.max() <= 1.0


def test_trained_like_is_a_function_of_the_seed() -> None:
    network = random_network(space(), 0)
    start = export_weights(network_module(network))
    runs = []
    for seed in (1, 1, 2):
        module = network_module(network)
        load_weights(module, start)
        trained_like(module, network, seed)
        runs.append(export_weights(module))
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in start)
    assert not np.array_equal(runs[0]["stem.conv.norm.weight"], runs[2]["stem.conv.norm.weight"])


def test_an_untrained_network_does_not_pass() -> None:
    network = random_network(space(), 0)
    module = network_module(network)
    weights = export_weights(module)
    result = compare(network, weights, onnx_model(network, weights), random_inputs(network, 4, 0))
    assert result.agrees
    assert not result.ok


@pytest.mark.parametrize(
    ("result", "ok"),
    [
        (Parity(1e-4, 1e-4, 1.0), True),
        (Parity(1.1e-4, 1e-4, 1.0), False),
        (Parity(0.0, 1e-4, 0.99), False),
        (Parity(float("nan"), 1e-4, 2.0), False),
        (Parity(0.0, float("nan"), float("nan")), False),
        (Parity(float("inf"), float("inf"), 2.0), False),
    ],
)
def test_when_a_comparison_passes(result: Parity, ok: bool) -> None:
    assert result.ok is ok


def test_a_model_of_another_shape_or_no_model_is_refused() -> None:
    network, other = (Network.single(OpSpec("classifier", 4, classes, 3, 3)) for classes in (5, 6))
    weights, inputs = trained(network), random_inputs(network, 2, 0)
    with pytest.raises(ExportError, match="shape"):
        compare(network, weights, onnx_model(other, trained(other)), inputs)
    with pytest.raises(ExportError, match="refuses"):
        compare(network, weights, b"not a model", inputs)
    with pytest.raises(ExportError, match="refuses"):
        compare(network, weights, b"not a model", inputs, run_litert)


@pytest.mark.sample("resolution", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("resolution", [8, 9, 66])
@pytest.mark.parametrize("seed", range(3))
def test_random_networks_of_darts_agree(seed: int, resolution: int, runtime: str) -> None:
    instance = space_instance("darts", width=0.25, depth=5, resolution=resolution, channels=3, classes=10)
    assert parity(random_network(instance, seed), runtime, seed).ok


# Mutants: every single wrong node must be caught.


def survivors(network: Network, runtime: str, count: Counter[str]) -> list[str]:
    """Mutants of the written network that a comparison does not tell from torch; counts all of them by mutation."""
    write, run = RUNTIMES[runtime]
    weights, inputs = trained(network), random_inputs(network, 8, 0)
    model = write(network, weights)
    assert compare(network, weights, model, inputs, run).agrees
    found = []
    for name, mutant in mutants(model, runtime):
        count[name.partition(" of ")[0]] += 1
        if compare(network, weights, mutant, inputs, run).agrees:
            found.append(name)
    return found


@cache
def subject() -> Network:
    """A network with every kind of option: squeeze-excite in half of its blocks, and two skips."""
    instance = space(0.5, 32)
    choices = [index % len(decision.options) for index, decision in enumerate(instance.decisions, 1)]
    return instance.network(instance.architecture([*choices[:-2], 1, len(instance.decisions[-1].options) - 1]))


@pytest.mark.sample("spec.kind", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("spec", EVERY_KIND, ids=lambda spec: spec.key)
def test_one_wrong_node_of_a_kind_is_caught(spec: OpSpec, runtime: str) -> None:
    assert survivors(Network.single(spec), runtime, Counter()) == []


@pytest.mark.sample
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_wrong_node_of_a_network_is_caught(runtime: str) -> None:
    count: Counter[str] = Counter()
    for network in (subject(), cells(15), cells(16), chain(OpSpec("conv", 4, 4, 5, 5, act="hswish"))):
        assert survivors(network, runtime, count) == []
    assert set(count) == {mutation.__name__ for mutation in MUTATIONS[runtime]}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
@pytest.mark.parametrize("network", [subject(), cells()], ids=["mobile", "cells"])
def test_a_wrong_epsilon_is_caught(
    network: Network, epsilon: float, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "NORM_EPSILON", epsilon)
    assert not parity(network, runtime).agrees


@pytest.mark.sample("spec.kind", "epsilon", "runtime")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.graph.statistics()], ids=lambda spec: spec.key)
def test_a_wrong_epsilon_is_caught_in_a_single_op(
    spec: OpSpec, epsilon: float, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "NORM_EPSILON", epsilon)
    assert not parity(Network.single(spec), runtime).agrees
