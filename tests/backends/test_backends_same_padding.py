"""TensorFlow's padding in all backends, against explicit zeros around the map before a convolution without padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ai_edge_litert import schema_py_generated as schema
from networks import RUNTIMES, parity, trained

from hwnas.arch import Network, OpSpec
from hwnas.backends.litert import litert_model
from hwnas.backends.onnx import fingerprint
from hwnas.backends.parity import random_inputs
from hwnas.backends.torch import Convolution, GraphModule, load_weights, network_module

CASES = list(itertools.product((1, 3, 5, 7), (1, 2, 3), (1, 2)))


def zeros_around(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Before and behind, as TensorFlow's documentation of SAME says."""
    reach = (kernel - 1) * dilation + 1
    total = max(reach - (size % stride or stride), 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize(("kernel", "stride", "dilation"), CASES)
def test_a_convolution_reads_the_zeros_that_tensorflow_puts_there(kernel: int, stride: int, dilation: int) -> None:
    for size in ((6, 7), (8, 8), (9, 5)):
        spec = OpSpec("conv", 3, 4, *size, kernel, stride, dilation=dilation, pad="same")
        module = GraphModule(spec.graph).eval()
        conv = module.get_submodule("conv")
        assert isinstance(conv, Convolution)
        conv.norm = torch.nn.Identity()
        x = torch.randn(2, *spec.input_shape)
        top, left = (zeros_around(one, kernel, stride, dilation) for one in size)
        expected = F.conv2d(F.pad(x, (*left, *top)), conv.weight, None, stride, 0, dilation)
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("size", [(8, 8), (8, 9), (7, 7)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("kind", ["conv", "mbconv"])
def test_files_compute_the_same(kind: str, kernel: int, size: tuple[int, int], runtime: str) -> None:
    assert parity(Network.single(OpSpec(kind, 8, 12, *size, kernel, 2, act="relu6", pad="same")), runtime).agrees


@pytest.mark.parametrize("size", [7, 8])
def test_gradients_of_own_depthwise_convolutions_are_those_of_the_library(size: int) -> None:
    spec = OpSpec("mbconv", 6, 8, size, size, 5, 2, 1, pad="same")
    module = network_module(Network.single(spec)).double()
    x = torch.randn(2, *spec.input_shape, dtype=torch.float64, requires_grad=True)
    conv = module.get_submodule("op.depthwise")
    assert isinstance(conv, Convolution)
    found = conv._conv_forward(x, conv.weight, None)
    top = zeros_around(size, 5, 2, 1)
    expected = F.conv2d(F.pad(x, (*top, *top)), conv.weight, None, 2, 0, 1, 6)
    g = torch.randn_like(expected)
    pairs = (torch.autograd.grad(y, (x, conv.weight), g) for y in (found, expected))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_litert_needs_no_op_for_it() -> None:
    def kinds(pad: str) -> list[int]:
        network = Network.single(OpSpec("mbconv", 4, 8, 8, 8, 3, 2, 6, act="relu6", pad=pad))
        model = schema.ModelT.InitFromPackedBuf(litert_model(network, trained(network)))
        return [model.operatorCodes[one.opcodeIndex].builtinCode for one in model.subgraphs[0].operators]

    pad = schema.BuiltinOperator.PAD
    assert pad in kinds("centred")
    assert pad not in kinds("same")
    assert len(kinds("same")) == 3


def test_where_the_two_paddings_are_one_so_are_the_graphs_and_the_fingerprints() -> None:
    for stride, size in [(1, 8), (2, 7)]:
        same, centred = (OpSpec("conv", 3, 4, size, size, 3, stride, pad=pad) for pad in ("same", "centred"))
        assert same.graph == centred.graph
        assert fingerprint(same) == fingerprint(centred)
    same, centred = (OpSpec("conv", 3, 4, 8, 8, 3, 2, pad=pad) for pad in ("same", "centred"))
    assert fingerprint(same) != fingerprint(centred)


def test_it_differs_from_the_centred_one_where_a_stride_meets_an_even_size() -> None:
    same, centred = (Network.single(OpSpec("conv", 3, 4, 8, 8, 3, 2, pad=pad)) for pad in ("same", "centred"))
    x = torch.from_numpy(random_inputs(same, 2, 0))
    outputs = []
    for network in (same, centred):
        module = network_module(network).eval()
        load_weights(module, trained(same))
        outputs.append(module(x).detach().numpy())
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1
