"""The ops of DARTS and NAS-Bench-201 against modules written from the papers' definitions, in plain torch and loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from networks import chain
from torch import Tensor, nn

from hwnas.arch import OpSpec
from hwnas.backends.torch import load_weights, network_module
from hwnas.backends.weights import random_weights

SIZES = [(7, 7), (8, 8), (7, 8)]
STRIDES = (1, 2)


def ours(spec: OpSpec, seed: int = 0) -> nn.Module:
    """The op with random weights and statistics, training or not as torch leaves it."""
    network = chain(spec)
    module = network_module(network)
    load_weights(module, random_weights(network.graph, seed))
    return module


def images(spec: OpSpec, seed: int = 0) -> Tensor:
    return torch.randn(3, *spec.input_shape, generator=torch.Generator().manual_seed(seed))


def agree(spec: OpSpec, reference: nn.Module, *, copied: bool = True) -> None:
    """In evaluation, and in training with batch statistics; `copied` weights go over in order of definition."""
    module = ours(spec)
    if copied:
        state = [tensor for name, tensor in reference.state_dict().items() if not name.endswith("num_batches_tracked")]
        for target, source in zip(state, module.state_dict().values(), strict=True):
            target.copy_(source)
    x = images(spec)
    with torch.no_grad():
        for training in (False, True):
            expected, actual = reference.train(training)(x), module.train(training)(x)
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)


def pointwise(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 1, bias=False)


def relu_conv_bn(cin: int, cout: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(cout))


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_separable_convolution_of_darts(size: tuple[int, int], kernel: int, stride: int) -> None:
    """ReLU, depthwise, pointwise, BN, twice: the first with the stride, between them the channels of the input."""
    reference = nn.Sequential(
        nn.ReLU(),
        depthwise(6, kernel, stride),
        pointwise(6, 6),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        depthwise(6, kernel, 1),
        pointwise(6, 10),
        nn.BatchNorm2d(10),
    )
    agree(OpSpec("sepconv", 6, 10, *size, kernel=kernel, stride=stride), reference)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_dilated_convolution_of_darts(size: tuple[int, int], kernel: int, stride: int) -> None:
    """ReLU, depthwise with dilation 2 and padding 2 (3 x 3) or 4 (5 x 5), pointwise, BN."""
    reference = nn.Sequential(nn.ReLU(), depthwise(6, kernel, stride, 2), pointwise(6, 10), nn.BatchNorm2d(10))
    assert reference[1].padding == ({3: 2, 5: 4}[kernel],) * 2
    agree(OpSpec("dilconv", 6, 10, *size, kernel=kernel, stride=stride, dilation=2), reference)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_relu_convolution_norm(size: tuple[int, int], kernel: int, stride: int) -> None:
    reference = relu_conv_bn(6, 10, kernel, stride)
    agree(OpSpec("reluconv", 6, 10, *size, kernel=kernel, stride=stride), reference)


def pooled(x: Tensor, kernel: int, stride: int, largest: bool) -> Tensor:
    """Pixel by pixel: the largest, or the mean, of those that the window finds in the map."""
    height, width = x.shape[2:]

    def span(index: int, size: int) -> slice:
        start = index * stride - kernel // 2
        return slice(max(start, 0), min(start + kernel, size))

    rows = [
        [x[:, :, span(i, height), span(j, width)].flatten(2) for j in range(math.ceil(width / stride))]
        for i in range(math.ceil(height / stride))
    ]
    return torch.stack([torch.stack([w.amax(2) if largest else w.mean(2) for w in row], dim=2) for row in rows], dim=2)


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_pools_see_only_what_is_in_the_map(kernel: int, stride: int, kind: str) -> None:
    for size in (*SIZES, (1, 2)):
        spec = OpSpec(kind, 4, 4, *size, kernel=kernel, stride=stride)
        x = images(spec) - 3.0  # so that a zero from outside would be the largest
        expected = pooled(x, kernel, stride, kind == "maxpool")
        torch.testing.assert_close(ours(spec)(x), expected)
        if stride < 3:  # the pools of DARTS and NAS-Bench-201
            own = nn.MaxPool2d(kernel, stride, kernel // 2) if kind == "maxpool" else None
            own = own or nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
            torch.testing.assert_close(own(x), expected)


class FactorizedReduce(nn.Module):
    """DARTS on even sizes; on odd ones with the zero behind each axis that NAS-Bench-201 adds. One norm behind both."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(cin, half, 1, stride=2, bias=False) for half in (cout // 2, cout - cout // 2)
        )
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        even = all(size % 2 == 0 for size in x.shape[2:])
        other = x[:, :, 1:, 1:] if even else nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        first, second = self.convs
        return self.norm(torch.cat([first(x), second(other)], dim=1))


@pytest.mark.parametrize("cout", [8, 9])
@pytest.mark.parametrize("size", [*SIZES, (1, 1), (2, 5)])
def test_factorised_reduction_of_darts(size: tuple[int, int], cout: int) -> None:
    spec = OpSpec("reduce", 6, cout, *size)
    reference, state = FactorizedReduce(6, cout), ours(spec).state_dict()
    with torch.no_grad():
        for conv, half in zip(reference.convs, ("even", "odd"), strict=True):
            conv.weight.copy_(state[f"op0.{half}.weight"])
        names = ("weight", "bias", "running_mean", "running_var")
        joined = {name: torch.cat([state[f"op0.{half}.norm.{name}"] for half in ("even", "odd")]) for name in names}
        reference.norm.load_state_dict(joined, strict=False)
    agree(spec, reference, copied=False)


class BasicBlock(nn.Module):
    """The reduction block of NAS-Bench-201: two ReLU-Conv-BN beside an average pool and a 1 x 1 convolution."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.a, self.b = relu_conv_bn(cin, cout, 3, stride), relu_conv_bn(cout, cout, 3, 1)
        pool = [nn.AvgPool2d(2, 2)] if stride == 2 else []
        self.beside = nn.Sequential(*pool, *([pointwise(cin, cout)] if stride == 2 or cin != cout else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.beside(x) + self.b(self.a(x))


@pytest.mark.parametrize(("cin", "cout", "stride"), [(6, 6, 1), (6, 10, 1), (6, 12, 2), (6, 6, 2)])
def test_residual_block_of_nasbench201(cin: int, cout: int, stride: int) -> None:
    agree(OpSpec("resblock", cin, cout, 8, 8, stride=stride), BasicBlock(cin, cout, stride))


def test_the_shortcut_of_an_odd_size_takes_the_mean_of_the_pixels_there_are() -> None:
    spec = OpSpec("resblock", 2, 2, 3, 3, stride=2)
    module = ours(spec).eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.zero_()
                part.bias.zero_()
        module.get_submodule("op0.shortcut").weight.copy_(torch.eye(2)[:, :, None, None])
        x = torch.arange(18.0).reshape(1, 2, 3, 3)
        expected = torch.tensor([[2.0, 3.5], [6.5, 8.0]])
        torch.testing.assert_close(module(x), torch.stack([expected, expected + 9])[None])


def test_head_of_nasbench201() -> None:
    reference = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    agree(OpSpec("normclassifier", 6, 4, 5, 6), reference)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("size", SIZES)
def test_none_is_zero_in_the_shape_of_the_others(size: Sequence[int], stride: int) -> None:
    height, width = size
    spec = OpSpec("none", 6, 8, height, width, stride=stride)
    x = images(spec)
    result = ours(spec)(x)
    assert result.shape == (3, *OpSpec("sepconv", 6, 8, height, width, kernel=3, stride=stride).output_shape)
    assert not result.any()
    assert ours(spec)(x.double()).dtype == torch.float64
