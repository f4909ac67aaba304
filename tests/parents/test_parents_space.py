"""An elastic space behind everything that asks a space: files of its members, costs, exact decoding, names."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from made_up_parents import CLASSES, elastic_space

from hwnas.arch import Network, SlotSpace, parse_instance, space_names
from hwnas.arch.spaces import parent_names, space_rungs
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import run_litert
from hwnas.backends.onnx import onnx_model
from hwnas.backends.onnx_runtime import Run, run_onnx
from hwnas.backends.parity import compare, random_inputs, trained_like
from hwnas.backends.quantize import Calibrated
from hwnas.backends.quantize_litert import CalibratedLitert
from hwnas.backends.quantize_onnx import CalibratedOnnx
from hwnas.backends.torch import export_weights, network_module
from hwnas.backends.weights import Weights
from hwnas.latency.trust import space_of
from hwnas.nas.decode import decode
from hwnas.parents import PARENTS

SPACE = elastic_space(resolution=40)
FAMILIES = ["efficientnet-lite0", "mobilenet-v3-small", "mobilenet-v4-conv-small"]


def member(seed: int, space: SlotSpace = SPACE) -> tuple[Network, Weights]:
    network = space.network(space.drawn(random.Random(seed).randrange))
    torch.manual_seed(seed)
    module = network_module(network)
    trained_like(module, network, seed)
    return network, export_weights(module)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_files_of_members_compute_what_torch_computes(name: str, seed: int) -> None:
    network, weights = member(seed, elastic_space(name, resolution=40))
    inputs = random_inputs(network, 3, seed)
    assert compare(network, weights, onnx_model(network, weights), inputs).agrees
    assert compare(network, weights, litert_model(network, weights), inputs, run_litert).agrees


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
@pytest.mark.parametrize("name", FAMILIES)
def test_int8_files_of_members_are_close(name: str, runtime: str) -> None:
    network, weights = member(2, elastic_space(name, resolution=40))
    samples = random_inputs(network, 12, 0)
    run: Run
    made: Calibrated
    if runtime == "onnxruntime":
        made, run = CalibratedOnnx(onnx_model(network, weights), samples), run_onnx
    else:
        made, run = CalibratedLitert(litert_model(network, weights), samples), run_litert
    model = made.quantised(made.settings[0])
    result = compare(network, weights, model, samples[:4], run)
    assert 0 < result.max_difference < 3 * result.deviation


def test_the_best_network_within_a_budget_is_found_exactly() -> None:
    space = SPACE.restricted([range(count) if place < 4 else (0,) for place, count in enumerate(SPACE.options)])
    costs = space.costs(lambda spec: float(np.sqrt(spec.kernel * 7.0 + spec.expand * 3.0 + spec.cout / 11.0)))
    budget, rng = 0.5 * (costs.smallest + costs.largest), np.random.default_rng(0)
    scores = [rng.normal(size=count).tolist() for count in space.options]

    def score(choices: tuple[int, ...]) -> float:
        return float(sum(row[choice] for row, choice in zip(scores, choices, strict=True)))

    best = decode(scores, costs.table, budget)
    assert best is not None
    every = [one.choices for one in space.enumerate()]
    feasible = [choices for choices in every if costs.cost(choices) <= budget]
    assert 0 < len(feasible) < len(every) == space.size
    assert score(best) == pytest.approx(max(map(score, feasible)))


def test_its_names_are_those_of_the_parents_and_lead_back_to_it() -> None:
    assert set(parent_names()) == set(PARENTS) <= set(space_names())
    for name in PARENTS:
        assert space_rungs(name) == ((1.0, 0),)
    assert parse_instance(SPACE.name, channels=3, classes=CLASSES) == SPACE
    assert space_of(SPACE.signature) == SPACE


def test_the_input_size_is_a_constant_of_the_instance() -> None:
    small = elastic_space(resolution=33)
    network = small.network(small.drawn(random.Random(0).randrange))
    assert network.input_shape == (3, 33, 33)
    assert small.name == "efficientnet-lite0@w0.1-r33"
    assert [one.options for one in small.decisions] == [one.options for one in SPACE.decisions]
