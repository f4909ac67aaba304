"""Gradients of depthwise convolutions against those of torch's own convolution."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from hwnas.arch import OpSpec
from hwnas.backends import depthwise as module
from hwnas.backends.depthwise import depthwise
from hwnas.backends.torch import GraphModule, initialise
from hwnas.train import mixed_precision

CASES = list(itertools.product((3, 5, 7), (1, 2, 3), (1, 2), (6, 7)))


@pytest.mark.parametrize(("kernel", "stride", "dilation", "size"), CASES)
def test_both_gradients_are_those_of_a_convolution(kernel: int, stride: int, dilation: int, size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, size, size + 1, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    expected = conv2d(x, weight, None, stride, dilation * (kernel - 1) // 2, dilation, 4)
    found = depthwise(x, weight, stride, dilation)
    assert torch.equal(found, expected)
    g = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), g), torch.autograd.grad(expected, (x, weight), g), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_mixed_precision_rounds_what_is_computed_and_not_the_gradients_of_weights() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, 9, 9, requires_grad=True), torch.randn(4, 1, 5, 5, requires_grad=True)
    expected = torch.autograd.grad(depthwise(x, weight, 1, 1).square().sum(), (x, weight))
    with mixed_precision(torch.device("cpu"), on=True):
        y = depthwise(x, weight, 1, 1)
    assert y.dtype == torch.bfloat16
    for ours, theirs in zip(torch.autograd.grad(y.float().square().sum(), (x, weight)), expected, strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - theirs).norm() / theirs.norm()) < 0.02


def test_gradients_of_gradients_are_right() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda *both: depthwise(*both, 2, 2), (x, weight))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_ops_are_trained_by_it(memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    """As close in float32 as the library's gradients are."""
    torch.manual_seed(0)
    calls = []

    def counted(*args: Tensor) -> Tensor:
        calls.append(args)
        return depthwise(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("hwnas.backends.torch.depthwise", counted)
    op = GraphModule(OpSpec("sepconv", 8, 8, 8, 8, kernel=5).graph)
    initialise(op)
    x = torch.randn(4, 8, 8, 8).to(memory_format=memory_format).requires_grad_()
    gradients = []
    for training in (True, False):  # in eval mode it is the library's convolution; statistics are those of the batch
        op.train(training)
        for part in op.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.train()
        gradients.append(torch.autograd.grad(op(x).square().sum(), [x, *op.parameters()]))
    assert len(calls) == 2
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_small_kernels_are_left_to_the_library() -> None:
    assert not module.pays(3, 1)
    assert module.pays(5, 1)
    assert module.pays(3, 2)
