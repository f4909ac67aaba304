"""Networks of the space `darts` against modules written from the paper: multiply-adds, parameters, outputs."""

from __future__ import annotations

import pytest
import torch
from genotypes import DARTS_V1, DARTS_V2, choices_of, pairs_of
from torch import Tensor, nn

from hwnas.arch import costs, space_instance
from hwnas.backends.torch import network_module


def relu_conv_bn(cin: int, cout: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout))


class FactorizedReduce(nn.Module):
    """Half of the channels from the even pixels, half from the odd ones, one norm behind both; for even sizes."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.even, self.odd = (nn.Conv2d(cin, cout // 2, 1, 2, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))  # type: ignore[no-any-return]


def separable(c: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.ReLU(),
        nn.Conv2d(c, c, kernel, stride, padding, dilation, groups=c, bias=False),
        nn.Conv2d(c, c, 1, bias=False),
        nn.BatchNorm2d(c),
    ]


def op(name: str, c: int, stride: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    kernel = int(name[-1])
    if name.startswith("max"):
        return nn.MaxPool2d(kernel, stride, 1)
    if name.startswith("avg"):
        return nn.AvgPool2d(kernel, stride, 1, count_include_pad=False)
    if name.startswith("dil"):
        return nn.Sequential(*separable(c, kernel, stride, 2))
    return nn.Sequential(*separable(c, kernel, stride), *separable(c, kernel, 1))


class Cell(nn.Module):
    def __init__(self, text: str, cpp: int, cp: int, c: int, *, reducing: bool, after_reduction: bool) -> None:
        super().__init__()
        self.pre0 = FactorizedReduce(cpp, c) if after_reduction else relu_conv_bn(cpp, c)
        self.pre1 = relu_conv_bn(cp, c)
        self.edges = pairs_of(text)
        self.ops = nn.ModuleList([op(name, c, 2 if reducing and state < 2 else 1) for name, state in self.edges])

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.pre0(before), self.pre1(last)]
        for node in range(4):
            first, second = (self.ops[k](states[self.edges[k][1]]) for k in (2 * node, 2 * node + 1))
            states.append(first + second)
        return torch.cat(states[2:], 1)


class Reference(nn.Module):
    """The authors' networks for CIFAR-10 and for ImageNet, without auxiliary head and drop path."""

    def __init__(self, genotype: dict[str, str], c: int, layers: int, *, large: bool = False) -> None:
        super().__init__()
        cpp = cp = c if large else 3 * c
        self.stem = nn.Sequential(nn.Conv2d(3, cp, 3, padding=1, bias=False), nn.BatchNorm2d(cp))
        self.stem1: nn.Module = nn.Identity()
        if large:
            first = [nn.Conv2d(3, c // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(c // 2), nn.ReLU()]
            self.stem = nn.Sequential(*first, nn.Conv2d(c // 2, c, 3, 2, 1, bias=False), nn.BatchNorm2d(c))
            self.stem1 = relu_conv_bn(c, c, 3, 2)
        cells, was_reducing = [], large
        for layer in range(layers):
            reducing = layer in (layers // 3, 2 * layers // 3)
            c *= 2 if reducing else 1
            text = genotype["reduce" if reducing else "normal"]
            cells.append(Cell(text, cpp, cp, c, reducing=reducing, after_reduction=was_reducing))
            cpp, cp, was_reducing = cp, 4 * c, reducing
        self.cells = nn.ModuleList(cells)
        self.classifier = nn.Linear(cp, 10)

    def forward(self, x: Tensor) -> Tensor:
        before = self.stem(x)
        last = self.stem1(before)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return self.classifier(last.mean((2, 3)))  # type: ignore[no-any-return]


def macs_of(module: nn.Module, size: int) -> int:
    """Multiply-adds of convolutions and linear layers, counted as they run."""
    counted = []

    def count(part: nn.Module, _: object, made: Tensor) -> None:
        counted.append(made[0].numel() * part.weight[0].numel())  # type: ignore[operator, index]

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(count)
    module(torch.zeros(1, 3, size, size, device="meta"))
    return sum(counted)


@pytest.mark.sample("c")
@pytest.mark.parametrize("genotype", [DARTS_V1, DARTS_V2], ids=["first order", "second order"])
@pytest.mark.parametrize(("c", "layers", "size"), [(36, 20, 32), (16, 8, 32), (4, 3, 64), (48, 14, 224)])
def test_costs_are_those_of_the_paper_s_network(genotype: dict[str, str], c: int, layers: int, size: int) -> None:
    with torch.device("meta"):
        reference = Reference(genotype, c, layers, large=size == 224)
    space = space_instance("darts", width=c / 16, depth=layers, resolution=size, channels=3, classes=10)
    found = costs(space.network(space.architecture(choices_of(genotype))).graph)
    assert found.macs == macs_of(reference, size)
    assert found.params == sum(parameter.numel() for parameter in reference.parameters())


@pytest.mark.parametrize("genotype", [DARTS_V1, DARTS_V2], ids=["first order", "second order"])
def test_what_comes_out_is_what_comes_out_of_the_paper_s_network(genotype: dict[str, str]) -> None:
    torch.manual_seed(0)
    reference = Reference(genotype, 4, 5)
    for norm in (part for part in reference.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
    space = space_instance("darts", width=0.25, depth=5, resolution=16, channels=3, classes=10)
    module = network_module(space.network(space.architecture(choices_of(genotype))))
    copy(reference, module, genotype)
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        for training in (True, False):  # first, so that the running statistics are learned alike
            expected = reference.train(training)(images)
            torch.testing.assert_close(module.train(training)(images), expected, rtol=1e-4, atol=1e-4)
            assert expected.std() > 0.05


def copy(reference: Reference, module: nn.Module, genotype: dict[str, str]) -> None:
    """Weights of the reference into the module, by their places in the paper's figure."""
    put(reference.stem, module.get_submodule("stem"))
    module.get_submodule("classifier.linear").load_state_dict(reference.classifier.state_dict())
    for index, cell in enumerate(reference.cells):
        assert isinstance(cell, Cell)
        put(cell.pre0, module.get_submodule(f"c{index}in0"))
        put(cell.pre1, module.get_submodule(f"c{index}in1"))
        for k, (_, state) in enumerate(cell.edges):
            put(cell.ops[k], module.get_submodule(f"c{index}e{state}{2 + k // 2}"))


@torch.no_grad()
def put(reference: nn.Module, part: nn.Module) -> None:
    """Convolutions and norms in order; a norm behind two halves is split into theirs."""
    if isinstance(reference, FactorizedReduce):
        half = reference.even.out_channels
        for name, conv, rows in (("even", reference.even, slice(half)), ("odd", reference.odd, slice(half, None))):
            own = part.get_submodule(name)
            own.weight.copy_(conv.weight)
            own.norm.weight.copy_(reference.norm.weight[rows])  # type: ignore[union-attr, operator]
            own.norm.bias.copy_(reference.norm.bias[rows])  # type: ignore[union-attr, operator]
        return
    theirs = list(reference.parameters())
    for target, source in zip(part.parameters(), theirs, strict=True):
        target.copy_(source)
