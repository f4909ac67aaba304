"""The writer against torch's own exporter."""

from __future__ import annotations

import io
import logging
import warnings

import numpy as np
import pytest
import torch
from networks import random_network, space, trained

from hwnas.arch import Network, OpSpec, space_instance
from hwnas.backends.onnx import onnx_model
from hwnas.backends.onnx_runtime import run_onnx
from hwnas.backends.parity import random_inputs
from hwnas.backends.torch import load_weights, network_module

SMALL = [
    Network.single(OpSpec("conv", 4, 6, 7, 8, kernel=5, stride=2, groups=2, dilation=2, act="hswish")),
    Network.single(OpSpec("mbconv", 4, 4, 6, 7, 3, 1, 2, se=2, act="relu6")),
    Network.single(OpSpec("mbconv", 4, 8, 7, 7, 5, 2, 1, act="hsigmoid")),
    random_network(space(1.0, 8, "toy"), 0),
    random_network(space_instance("nasbench201", width=0.5, resolution=9, channels=3, classes=10, depth=1), 3),
]


def exported_by_torch(network: Network, module: torch.nn.Module, *, dynamo: bool) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    x = torch.zeros(1, *network.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            program = torch.onnx.export(module, (x,), dynamo=True, verbose=False, opset_version=18)
            assert program is not None
            return program.model_proto.SerializeToString()
        buffer = io.BytesIO()
        torch.onnx.export(module, (x,), buffer, dynamo=False, opset_version=18)
        return buffer.getvalue()


BOTH = [
    *(pytest.param(network, False, id=f"{index}-False") for index, network in enumerate(SMALL)),
    *(
        # Dynamo takes seconds for each; what it makes of one block stays.
        pytest.param(network, True, id=f"{index}-True", marks=[pytest.mark.dear] if index != 1 else [])
        for index, network in enumerate(SMALL)
    ),
]


@pytest.mark.parametrize(("network", "dynamo"), BOTH)
def test_the_file_computes_what_torchs_export_computes(network: Network, dynamo: bool) -> None:
    weights = trained(network)
    module = network_module(network).eval()
    load_weights(module, weights)
    inputs = random_inputs(network, 3, 0)
    ours = run_onnx(onnx_model(network, weights), inputs)
    theirs = run_onnx(exported_by_torch(network, module, dynamo=dynamo), inputs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(1.0, float(np.abs(theirs).max())))
