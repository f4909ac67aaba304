"""Blocks of MobileNetV3 and V4, in torch and in files, against plain functions written out here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import RUNTIMES, chain, trained
from torch import Tensor

from hwnas.arch import Network, OpSpec, costs
from hwnas.backends.parity import random_inputs
from hwnas.errors import InputError

Weights = Mapping[str, Tensor]


def hard_swish(x: Tensor) -> Tensor:
    return x * (x + 3).clamp(0, 6) / 6


def normed(w: Weights, name: str, x: Tensor) -> Tensor:
    """Batch norm as its formula says."""
    mean, variance, scale, shift = (
        w[f"{name}.norm.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def pointwise(w: Weights, name: str, x: Tensor) -> Tensor:
    return normed(w, name, torch.einsum("nchw,oc->nohw", x, w[f"{name}.weight"][:, :, 0, 0]))


def depthwise(w: Weights, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    return normed(w, name, F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight)))


def squeeze_excite(w: Weights, x: Tensor) -> Tensor:
    pooled = x.mean((2, 3))
    squeezed = (pooled @ w["squeeze.weight"][:, :, 0, 0].T + w["squeeze.bias"]).clamp(min=0)
    gate = squeezed @ w["excite.weight"][:, :, 0, 0].T + w["excite.bias"]
    return x * ((gate + 3).clamp(0, 6) / 6)[:, :, None, None]


def v3_block(w: Weights, x: Tensor) -> Tensor:
    y = hard_swish(pointwise(w, "expand", x))
    y = squeeze_excite(w, hard_swish(depthwise(w, "depthwise", y, 2)))
    return pointwise(w, "project", y)


def extra_depthwise(w: Weights, x: Tensor) -> Tensor:
    y = pointwise(w, "expand", depthwise(w, "start", x)).relu()
    return pointwise(w, "project", depthwise(w, "depthwise", y, 2).relu())


def convnext(w: Weights, x: Tensor) -> Tensor:
    return pointwise(w, "project", pointwise(w, "expand", depthwise(w, "start", x, 2)).relu())


def feed_forward(w: Weights, x: Tensor) -> Tensor:
    return x + pointwise(w, "project", pointwise(w, "expand", x).relu())


def inverted(w: Weights, x: Tensor) -> Tensor:
    y = depthwise(w, "depthwise", pointwise(w, "expand", x).relu()).relu()
    return x + pointwise(w, "project", y)


def fused(w: Weights, x: Tensor) -> Tensor:
    y = normed(w, "expand", F.conv2d(x, w["expand.weight"], None, 2, 1)).relu()
    return pointwise(w, "project", y)


def hidden(w: Weights, x: Tensor) -> Tensor:
    y = x.mean((2, 3)) @ w["hidden.weight"][:, :, 0, 0].T + w["hidden.bias"]
    return hard_swish(y)[:, :, None, None]


def normhidden(w: Weights, x: Tensor) -> Tensor:
    return pointwise(w, "hidden", x.mean((2, 3), keepdim=True)).relu()


def flatclassifier(w: Weights, x: Tensor) -> Tensor:
    return x[:, :, 0, 0] @ w["linear.weight"].T + w["linear.bias"]


CASES = [
    (OpSpec("mbconv", 8, 12, 8, 7, 5, 2, se=4, act="hswish", mid=20), v3_block),
    (OpSpec("uib", 8, 12, 8, 7, 3, 2, 3, act="relu", start=5), extra_depthwise),
    (OpSpec("uib", 8, 12, 8, 7, 1, 2, 4, act="relu", start=3), convnext),
    (OpSpec("uib", 8, 8, 6, 6, 1, 1, 2, act="relu"), feed_forward),
    (OpSpec("uib", 8, 8, 6, 6, 3, 1, 2, act="relu"), inverted),
    (OpSpec("fused", 8, 12, 8, 7, 3, 2, act="relu", mid=20), fused),
    (OpSpec("hidden", 8, 12, 5, 4, act="hswish"), hidden),
    (OpSpec("normhidden", 8, 12, 5, 4, act="relu"), normhidden),
    (OpSpec("flatclassifier", 8, 12, 1, 1), flatclassifier),
]


@pytest.mark.parametrize(("spec", "reference"), CASES, ids=[spec.key for spec, _ in CASES])
def test_a_block_computes_what_is_written_out(spec: OpSpec, reference: object) -> None:
    network = Network.single(spec)
    weights, inputs = trained(network), random_inputs(network, 3, 0)
    tensors = {name.removeprefix("op."): torch.from_numpy(value).double() for name, value in weights.items()}
    expected = reference(tensors, torch.from_numpy(inputs).double()).numpy()  # type: ignore[operator]
    assert expected.std() > 0.1
    for write, run in RUNTIMES.values():
        np.testing.assert_allclose(
            run(write(network, weights), inputs), expected, rtol=0, atol=1e-4 * abs(expected).max()
        )


def test_costs_by_hand() -> None:
    both = OpSpec("uib", 8, 12, 8, 8, 3, 2, 3, act="relu", start=5)
    assert costs(both.graph).macs == 64 * 8 * 25 + 64 * 8 * 24 + 16 * 24 * 9 + 16 * 24 * 12
    front = OpSpec("uib", 8, 12, 8, 8, 1, 2, 3, act="relu", start=5)
    assert costs(front.graph).macs == 16 * 8 * 25 + 16 * 8 * 24 + 16 * 24 * 12
    whole = OpSpec("fused", 8, 12, 8, 8, 3, 2, 3, act="relu")
    assert costs(whole.graph).macs == 16 * 8 * 24 * 9 + 16 * 24 * 12
    odd = OpSpec("mbconv", 8, 12, 8, 8, 3, se=4, mid=20)
    assert costs(odd.graph).params == 8 * 20 + 20 * 9 + 2 * 20 * 8 + 28 + 20 * 12 + 2 * (20 + 20 + 12)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="stride of 2 takes a depthwise convolution"):
        _ = OpSpec("uib", 8, 12, 8, 8, 1, 2, 3).graph
    with pytest.raises(InputError, match="maps of one pixel"):
        _ = OpSpec("flatclassifier", 8, 12, 2, 1).graph
    with pytest.raises(InputError, match="a linear layer ends a network"):
        _ = chain(OpSpec("flatclassifier", 8, 4, 1, 1), OpSpec("relu", 4, 4, 1, 1)).graph
