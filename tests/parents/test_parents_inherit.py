"""Slices of a parent against loops over single channels and pixels, and the supernet that is made of them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from block_tensors import output, tensors_of, through_relu6
from made_up_parents import CLASSES, SIZE, elastic_space, made_up

from hwnas.arch import Network, OpSpec, space_instance
from hwnas.arch.spaces import elastic, parent_network
from hwnas.errors import InputError
from hwnas.nas.supernet import Supernet, single_path
from hwnas.parents import find_parent, inherit, inherited_start
from hwnas.parents.inherit import module_with
from hwnas.parents.slices import importance, sliced

OWN = OpSpec("mbconv", 8, 12, 9, 9, 5, 1, 6, act="relu6")


def test_channels_are_kept_by_the_error_that_they_would_make() -> None:
    tensors = tensors_of(OWN)
    errors = []
    for channel in range(48):
        shift, scale = (float(tensors[f"depthwise.norm.{part}"][channel]) for part in ("bias", "weight"))
        first, second = (through_relu6(shift, abs(scale), power) for power in (1, 2))
        total = 0.0
        for out in range(12):
            factor = float(tensors["project.norm.weight"][out]) / math.sqrt(tensors["project.norm.running_var"][out])
            total += (factor * float(tensors["project.weight"][out, channel, 0, 0])) ** 2
        errors.append(total * (second - first**2))
    np.testing.assert_allclose(importance(OWN, tensors), errors, rtol=0.05)
    kept = sorted(sorted(range(48), key=lambda channel: -errors[channel])[:32])
    found = sliced(OWN, replace(OWN, expand=4), tensors)
    for name, value in found.items():
        if name.startswith(("expand.", "depthwise.")):
            assert torch.equal(value, tensors[name][kept])
    assert torch.equal(found["project.weight"], tensors["project.weight"][:, kept])
    lost = [channel for channel in range(48) if channel not in kept]
    means = torch.tensor(
        [
            through_relu6(*(float(tensors[f"depthwise.norm.{part}"][channel]) for part in ("bias", "weight")), 1)
            for channel in lost
        ]
    )
    gone = tensors["project.weight"][:, lost, 0, 0] @ means
    torch.testing.assert_close(
        found["project.norm.running_mean"], tensors["project.norm.running_mean"] - gone, rtol=0.01, atol=0.01
    )


@pytest.mark.parametrize(("own", "kernel"), [(5, 3), (7, 5), (7, 3)])
def test_a_smaller_kernel_takes_what_it_does_not_see_for_its_nearest_pixel(own: int, kernel: int) -> None:
    spec = replace(OWN, kernel=own)
    tensors = tensors_of(spec)
    found = sliced(spec, replace(spec, kernel=kernel), tensors)
    cut, expected = (own - kernel) // 2, torch.zeros(48, 1, kernel, kernel)
    for row, column in itertools.product(range(own), repeat=2):
        near = [min(max(place - cut, 0), kernel - 1) for place in (row, column)]
        expected[:, :, near[0], near[1]] += tensors["depthwise.weight"][:, :, row, column]
    torch.testing.assert_close(found["depthwise.weight"], expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors.keys() - {"depthwise.weight"})


@pytest.mark.parametrize("expand", [4, 3, 2])
def test_with_the_means_of_lost_channels_a_slice_is_closer_than_without(expand: int) -> None:
    tensors, wanted = tensors_of(OWN), replace(OWN, expand=expand)
    x = torch.randn(32, *OWN.input_shape)
    target, found = output(OWN, tensors, x), sliced(OWN, wanted, tensors)
    bare = found | {"project.norm.running_mean": tensors["project.norm.running_mean"]}
    off = [output(wanted, one, x) - target for one in (found, bare)]
    errors = [float(one.square().mean()) for one in off]
    shifts = [float(one.mean((0, 2, 3)).abs().mean()) for one in off]
    assert errors[0] < errors[1]
    assert shifts[0] < 0.3 * shifts[1]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (OWN, replace(OWN, kernel=7)),
        (OWN, replace(OWN, expand=1)),
        (OWN, replace(OWN, cout=8)),
        (OWN, replace(OWN, act="relu")),
        (replace(OWN, se=4), OWN),
        (OWN, replace(OWN, kind="fused")),
        (OpSpec("fused", 8, 12, 9, 9, 3, 1, 4), OpSpec("fused", 8, 12, 9, 9, 1, 1, 4)),
        (OpSpec("uib", 8, 12, 9, 9, 3, 1, 4), OpSpec("uib", 8, 12, 9, 9, 3, 1, 4, start=3)),
        (OpSpec("conv", 3, 8, 9, 9, 3), OpSpec("conv", 3, 8, 9, 9)),
    ],
)
def test_what_is_not_inside_of_the_parent_is_refused(own: OpSpec, wanted: OpSpec) -> None:
    with pytest.raises(InputError, match="not inside of"):
        sliced(own, wanted, tensors_of(own))


@pytest.mark.parametrize(
    "name",
    ["efficientnet-lite0", "mobilenet-v2", "mobilenet-v3-small", "mobilenet-v4-conv-small", "ofa-mobilenet-v3"],
)
def test_the_largest_member_is_the_parent_bit_for_bit(name: str) -> None:
    weights, space = made_up(name), elastic_space(name)
    largest = space.architecture([0] * len(space.decisions))
    costs = space.costs(lambda spec: float(sum(math.prod(shape) for shape in spec.graph.parameters().values())))
    assert space.network(largest) == weights.network(resolution=SIZE)
    assert costs.extreme(max) == largest.choices
    state = inherit(weights, space.network(largest))
    graph = weights.network().graph
    assert state.keys() == (graph.parameters() | graph.statistics()).keys()
    assert all(torch.equal(value, weights.tensors[key]) for key, value in state.items())
    supernet = Supernet(space)
    inherited_start(weights, space).apply(supernet, [])
    x = torch.randn(2, *space.input_shape)
    expected = module_with(weights.network(resolution=SIZE), weights.tensors).eval()(x)
    assert torch.equal(supernet.eval()(x, single_path(largest.choices)), expected)
    assert torch.equal(supernet.extract(largest).eval()(x), expected)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "mobilenet-v3-small", "mobilenet-v4-conv-small"])
def test_every_option_of_a_supernet_is_what_a_member_inherits(name: str) -> None:
    weights, space = made_up(name), elastic_space(name)
    supernet = Supernet(space)
    start = inherited_start(weights, space)
    assert start.weights.keys() == supernet.state_dict().keys()
    start.apply(supernet, [])
    for seed in range(3):
        member = space.drawn(random.Random(seed).randrange)
        state = supernet.extract(member).state_dict()
        found = inherit(weights, space.network(member))
        assert found.keys() == state.keys()
        assert all(torch.equal(value, found[key]) for key, value in state.items())


def test_other_classes_get_a_new_classifier_and_other_sizes_the_same_weights() -> None:
    weights, space = made_up(), elastic_space(resolution=48, classes=CLASSES + 2)
    state = inherit(weights, space.network(space.architecture([0] * len(space.decisions))))
    assert weights.tensors.keys() - state.keys() == {"classifier.linear.weight", "classifier.linear.bias"}
    assert not [name for name in inherited_start(weights, space).weights if name.startswith("classifier.")]


def test_grey_images_are_seen_as_colour_images_without_colour() -> None:
    weights, grey = made_up(), elastic_space(channels=1)
    network = grey.network(grey.architecture([0] * len(grey.decisions)))
    x = torch.randn(2, 1, SIZE, SIZE)
    own = module_with(weights.network(resolution=SIZE), weights.tensors).eval()
    found = module_with(network, inherit(weights, network)).eval()
    torch.testing.assert_close(found(x), own(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    other = elastic_space("mobilenet-v2", channels=1)
    with pytest.raises(InputError, match="reads colour images"):
        inherited_start(made_up("mobilenet-v2"), other)


def test_a_network_of_another_space_is_refused() -> None:
    with pytest.raises(InputError, match="no op called"):
        inherit(made_up(), Network((("other", OWN),)))
    wider = parent_network("efficientnet-lite0", width=0.2, resolution=SIZE)
    with pytest.raises(InputError, match="not inside of"):
        inherit(made_up(), wider)


def test_an_elastic_space_offers_what_is_inside_of_each_block() -> None:
    space = space_instance("efficientnet-lite0", width=1.0, resolution=SIZE, channels=3, classes=CLASSES)
    options = {one.name: one.options for one in space.decisions}
    assert "s0b0" not in options  # expansion 1, kernel 3, not residual: nothing is smaller
    assert options["s1b1"] == ("k3e6", "k3e4", "k3e3", "k3e2", "skip")
    assert options["s2b0"] == ("k5e6", "k5e4", "k5e3", "k5e2", "k3e6", "k3e4", "k3e3", "k3e2")
    network = space.network(space.architecture([0] * len(space.decisions)))
    assert sum(map(math.prod, network.graph.parameters().values())) == 4_652_008 - 995 * 1281  # for 1,000 classes
    reading = Network((("a", OWN), ("b", replace(OWN, cin=12))), (("b", ("a",)),))
    with pytest.raises(InputError, match="made from a chain"):
        elastic("other@w1-r9", reading)


def test_preprocessing_takes_the_place_of_the_train_images_statistics(dataset: Callable[..., object]) -> None:
    parent = find_parent("efficientnet-lite0")
    colour, grey = (parent.prepared(dataset(channels)) for channels in (3, 1))  # type: ignore[arg-type]
    assert colour.mean == (127 / 255,) * 3
    assert (grey.mean, grey.std) == ((127 / 255,), (128 / 255,))
