from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from networks import SPECS, norms, random_network, space, trained
from numpy.typing import NDArray
from onnx import helper

from hwnas.arch import Network, OpSpec, mobilenet_v2
from hwnas.backends import weights as weights_module
from hwnas.backends.onnx import onnx_model
from hwnas.backends.parity import Parity, compare, random_inputs, run_model, trained_like
from hwnas.backends.torch import export_weights, load_weights, network_module
from hwnas.errors import ExportError


def parity(network: Network, seed: int = 0) -> Parity:
    weights = trained(network, seed)
    return compare(network, weights, onnx_model(network, weights), random_inputs(network, 4, seed))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_every_kind_agrees(spec: OpSpec) -> None:
    result = parity(Network.single(spec))
    assert result.agrees
    assert result.deviation > (0.2 if spec.act == "hsigmoid" else 0.5)


@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("resolution", [8, 33, 48])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_networks_agree(width: float, resolution: int, seed: int) -> None:
    assert parity(random_network(space(width, resolution), seed), seed).ok


def test_toy_and_mobilenet_v2_agree() -> None:
    assert parity(random_network(space(1.0, 9, "toy"), 0)).ok
    assert parity(mobilenet_v2(0.5, 64, classes=20)).ok


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
        for block in module[:-1]:
            x = block(x)
            assert 0.5 <= float(x.std()) <= 2.0
        assert float(module[-1](x).std()) >= 1.0


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


# Mutants: every single wrong node of a whole network must be caught.

Mutation = Callable[[onnx.NodeProto], bool]


def relu_for_relu6(node: onnx.NodeProto) -> bool:
    if node.op_type != "Clip":
        return False
    node.op_type = "Relu"
    del node.input[1:]
    return True


def shifted_padding(node: onnx.NodeProto) -> bool:
    for attribute in node.attribute:
        if attribute.name == "pads" and attribute.ints[0]:
            p = attribute.ints[0]
            attribute.CopyFrom(helper.make_attribute("pads", [p + 1, p + 1, p - 1, p - 1]))
            return True
    return False


def no_squeeze_excite(node: onnx.NodeProto) -> bool:
    return dropped(node, "Mul", keep=0)


def no_residual(node: onnx.NodeProto) -> bool:
    return dropped(node, "Add", keep=1)


def dropped(node: onnx.NodeProto, kind: str, keep: int) -> bool:
    if node.op_type != kind:
        return False
    node.op_type = "Identity"
    kept = node.input[keep]
    del node.input[:]
    node.input.append(kept)
    return True


@cache
def subject() -> tuple[Network, dict[str, NDArray[np.float32]], NDArray[np.float32], onnx.ModelProto]:
    """A network with every kind of option: squeeze-excite in half of its blocks, and two skips."""
    instance = space(0.5, 32)
    choices = [index % len(decision.options) for index, decision in enumerate(instance.decisions, 1)]
    network = instance.network(instance.architecture([*choices[:-2], 1, len(instance.decisions[-1].options) - 1]))
    weights = trained(network)
    return network, weights, random_inputs(network, 4, 0), onnx.load_from_string(onnx_model(network, weights))


@pytest.mark.parametrize("mutation", [relu_for_relu6, shifted_padding, no_squeeze_excite, no_residual])
def test_one_wrong_node_is_caught(mutation: Mutation) -> None:
    network, weights, inputs, model = subject()
    assert compare(network, weights, model.SerializeToString(), inputs).ok
    module = network_module(network).eval()
    load_weights(module, weights)
    with torch.inference_mode():
        expected = module(torch.from_numpy(inputs)).numpy()
    limit = compare(network, weights, model.SerializeToString(), inputs).limit
    mutants = 0
    for index in range(len(model.graph.node)):
        mutant = onnx.ModelProto()
        mutant.CopyFrom(model)
        if mutation(mutant.graph.node[index]):
            mutants += 1
            actual = run_model(mutant.SerializeToString(), inputs)
            assert np.abs(actual - expected).max() > limit, f"{mutation.__name__} of {model.graph.node[index].name}"
    assert mutants >= 3


@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
def test_a_wrong_epsilon_is_caught(epsilon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    network, weights, inputs, _ = subject()
    monkeypatch.setattr(weights_module, "NORM_EPSILON", epsilon)
    assert not compare(network, weights, onnx_model(network, weights), inputs).ok


@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.kind in ("conv", "mbconv")], ids=lambda spec: spec.key)
def test_a_wrong_epsilon_is_caught_in_a_single_op(
    spec: OpSpec, epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network.single(spec)
    weights = trained(network)
    monkeypatch.setattr(weights_module, "NORM_EPSILON", epsilon)
    assert not compare(network, weights, onnx_model(network, weights), random_inputs(network, 4, 0)).agrees
