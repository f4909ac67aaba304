"""Slices of blocks with squeeze-excite, of universal inverted bottlenecks, and of a supernet that knows its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from block_tensors import output, tensors_of, through_relu6
from made_up_parents import elastic_space, made_up

from hwnas.arch import OpSpec
from hwnas.parents import inherit
from hwnas.parents.slices import importance, sliced

GATED = OpSpec("mbconv", 8, 12, 9, 9, 5, 1, 6, se=4, act="relu6")
BLOCKS = [
    GATED,
    OpSpec("mbconv", 8, 8, 9, 9, 3, 1, se=4, act="hswish", mid=36),
    OpSpec("uib", 8, 12, 9, 9, 5, 2, 6, act="relu", start=3),
    OpSpec("uib", 8, 8, 9, 9, 1, 1, 6, act="relu"),
    OpSpec("fused", 8, 12, 9, 9, 3, 2, 6, act="relu"),
]


@pytest.mark.parametrize("own", BLOCKS, ids=lambda spec: spec.key)
@pytest.mark.parametrize("expand", [3, 2])
def test_channels_that_are_constant_go_without_a_trace(own: OpSpec, expand: int) -> None:
    tensors, wanted = tensors_of(own), own.with_inner(expand * own.cin)
    last = "depthwise" if "depthwise.weight" in tensors else "expand"
    constant = torch.randperm(own.inner)[: own.inner - wanted.inner]
    tensors[f"{last}.norm.weight"][constant] = 0.0
    if own.se:
        squeezed, left = (spec.graph.parameters()["squeeze.bias"][0] for spec in (own, wanted))
        tensors["squeeze.weight"][torch.randperm(squeezed)[: squeezed - left]] = 0.0
        tensors["squeeze.bias"].normal_()
        tensors["excite.weight"][constant] = 0.0
    x = torch.randn(4, *own.input_shape)
    expected = output(own, tensors, x)
    found = sliced(own, wanted, tensors)
    assert found["expand.weight"].shape[0] == wanted.inner
    torch.testing.assert_close(output(wanted, found, x), expected, rtol=1e-4, atol=1e-4)


def test_a_gated_channel_is_worth_what_its_gate_lets_through() -> None:
    tensors = tensors_of(GATED)
    moments = np.array(
        [
            [through_relu6(float(shift), abs(float(scale)), power) for power in (1, 2)]
            for shift, scale in zip(tensors["depthwise.norm.bias"], tensors["depthwise.norm.weight"], strict=True)
        ]
    )
    squeeze, excite = (tensors[f"{one}.weight"].double().numpy()[:, :, 0, 0] for one in ("squeeze", "excite"))
    squeezed = np.maximum(squeeze @ moments[:, 0] + tensors["squeeze.bias"].numpy(), 0)
    gates = np.clip(excite @ squeezed + tensors["excite.bias"].numpy() + 3, 0, 6) / 6
    scale = (tensors["project.norm.weight"] / tensors["project.norm.running_var"].sqrt()).numpy()
    read = ((scale[:, None] * tensors["project.weight"].numpy()[:, :, 0, 0]) ** 2).sum(0)
    expected = (moments[:, 1] - moments[:, 0] ** 2) * gates**2 * read
    np.testing.assert_allclose(importance(GATED, tensors), expected, rtol=0.05, atol=1e-6)
    kept = np.sort(np.argsort(-expected, kind="stable")[:24])
    found = sliced(GATED, replace(GATED, expand=3), tensors)
    assert torch.equal(found["depthwise.weight"], tensors["depthwise.weight"][kept])
    assert found["excite.weight"].shape == (24, 8, 1, 1)


@pytest.mark.parametrize("start", [3, 1])
@pytest.mark.parametrize("kernel", [3, 1])
def test_a_smaller_start_or_none_is_exact_inside_of_constant_maps(start: int, kernel: int) -> None:
    own = OpSpec("uib", 8, 12, 13, 13, kernel, 1, 4, act="relu", start=5)
    tensors, wanted = tensors_of(own), replace(own, start=start)
    x = torch.randn(3, 8, 1, 1).expand(-1, -1, 13, 13)
    found = sliced(own, wanted, tensors)
    assert ("start.weight" in found) is (start > 1)
    inside = [output(*pair, x)[..., 6, 6] for pair in ((own, tensors), (wanted, found))]
    assert float(inside[0].std()) > 0.1
    torch.testing.assert_close(inside[1], inside[0], rtol=1e-4, atol=1e-4)


def test_without_its_depthwise_convolution_a_block_keeps_means_deviations_and_signs() -> None:
    """Where each channel is only scaled in between, and the norm's statistics say so, that is the same function."""
    own = OpSpec("uib", 8, 12, 7, 7, 3, 1, 4)
    tensors, wanted = tensors_of(own), replace(own, kernel=1)
    factor = torch.randn(32).sign() * torch.empty(32).uniform_(0.5, 2.0)
    scale = tensors["expand.norm.weight"] = tensors["expand.norm.weight"] * torch.randn(32).sign()
    tensors["depthwise.norm.weight"] *= torch.randn(32).sign()
    tensors["depthwise.weight"] = torch.zeros(32, 1, 3, 3)
    tensors["depthwise.weight"][:, 0, 1, 1] = factor
    tensors["depthwise.norm.running_mean"] = factor * tensors["expand.norm.bias"]
    tensors["depthwise.norm.running_var"] = (factor * scale).square() - 1e-5  # the epsilon
    x = torch.randn(4, *own.input_shape)
    expected = output(own, tensors, x)
    assert float(expected.std()) > 0.3
    torch.testing.assert_close(output(wanted, sliced(own, wanted, tensors), x), expected, rtol=1e-4, atol=1e-4)


def test_a_stride_moves_to_the_convolution_that_is_left() -> None:
    own = OpSpec("uib", 8, 12, 8, 8, 5, 2, 4, act="relu", start=3)
    tensors = tensors_of(own)
    for wanted in (replace(own, kernel=1), replace(own, start=1)):
        assert output(wanted, sliced(own, wanted, tensors), torch.randn(2, *own.input_shape)).shape == (2, 12, 4, 4)


@pytest.mark.parametrize("kernel", [5, 3])
def test_a_supernet_shrinks_by_its_own_transforms_and_keeps_its_first_channels(kernel: int) -> None:
    weights, space = made_up("ofa-mobilenet-v3"), elastic_space("ofa-mobilenet-v3")
    name = "s4b2"  # with squeeze-excite
    (slot,) = (slot for slot in space.slots if slot.name == name)
    option = space.decisions[slot.decision or 0].options.index(f"k{kernel}e3")
    choices = [option if one.name == name else 0 for one in space.decisions]
    found = inherit(weights, space.network(space.architecture(choices)))
    own = {key: value.double().numpy() for key, value in weights.tensors.items() if key.startswith(name)}
    inner = slot.ops[option].inner
    assert inner < slot.ops[0].inner
    for channel in range(inner):
        small = own[f"{name}.depthwise.weight"][channel, 0]
        for size in range(7, kernel, -2):
            matrix = own[f"{name}.depthwise.{size}to{size - 2}"]
            seen = [small[row, column] for row in range(1, size - 1) for column in range(1, size - 1)]
            made = [sum(row[k] * seen[k] for k in range(len(seen))) for row in matrix]
            small = np.array(made).reshape(size - 2, size - 2)
        np.testing.assert_allclose(found[f"{name}.depthwise.weight"][channel, 0], small, rtol=1e-4, atol=1e-5)
    for part in ("expand.weight", "expand.norm.weight", "depthwise.norm.running_var"):
        assert np.array_equal(found[f"{name}.{part}"], own[f"{name}.{part}"][:inner].astype(np.float32))
    count = len(found[f"{name}.squeeze.bias"])
    for part, kept in (("squeeze", np.s_[:count, :inner]), ("excite", np.s_[:inner, :count])):
        assert np.array_equal(found[f"{name}.{part}.weight"], own[f"{name}.{part}.weight"][kept].astype(np.float32))
