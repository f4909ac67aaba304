"""Random networks of timm and torchvision, imported: in double precision, as random weights amplify what differs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwnas.parents import find_parent, import_weights
from hwnas.parents.inherit import module_with

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("timm", "torchvision"))),
    reason="pip install --no-deps timm torchvision",
)


@pytest.fixture(scope="module")
def libraries() -> tuple[Any, Any]:
    """timm and torchvision, whose compiled ops a torch for CPUs lacks."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("timm"), importlib.import_module("torchvision")


@pytest.mark.parametrize(
    ("name", "width", "made", "tolerance"),
    [
        ("mobilenet-v2", 1.0, "torchvision.mobilenet_v2", 1e-9),
        ("mobilenet-v2", 0.5, "torchvision.mobilenet_v2", 1e-9),
        ("mobilenet-v2", 0.5, "mobilenetv2_050", 1e-9),
        ("efficientnet-lite0", 1.0, "tf_efficientnet_lite0", 1e-3),  # variances are kept in single precision
        ("mobilenet-v3-large", 1.0, "torchvision.mobilenet_v3_large", 1e-4),
        ("mobilenet-v3-small", 1.0, "torchvision.mobilenet_v3_small", 1e-4),
        ("mobilenet-v3-large", 1.0, "mobilenetv3_large_100", 1e-9),
        ("mobilenet-v3-small", 0.5, "mobilenetv3_small_050", 1e-9),
        ("tf-mobilenet-v3-large", 1.0, "tf_mobilenetv3_large_100", 1e-4),
        ("tf-mobilenet-v3-small", 0.75, "tf_mobilenetv3_small_075", 1e-4),
        ("mobilenet-v4-conv-small", 1.0, "mobilenetv4_conv_small", 1e-9),
        ("mobilenet-v4-conv-small", 0.35, "mobilenetv4_conv_small_035", 1e-9),
        ("mobilenet-v4-conv-medium", 1.0, "mobilenetv4_conv_medium", 1e-9),
    ],
)
def test_an_imported_network_computes_what_the_librarys_does(
    name: str,
    width: float,
    made: str,
    tolerance: float,
    libraries: tuple[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path))
    timm, torchvision = libraries
    torch.manual_seed(0)
    model = made.removeprefix("torchvision.")
    narrowed = {"width_mult": width} if width < 1 else {}
    theirs = timm.create_model(made) if model == made else getattr(torchvision.models, model)(**narrowed)
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
            part.momentum = 1.0
    with torch.no_grad():
        for part in theirs.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=part.in_features**-0.5)
        theirs.train()(torch.randn(4, 3, 64, 64))  # statistics that keep what is behind them near 1
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    weights = import_weights(tmp_path / "a.pth", find_parent(name), width)
    ours = module_with(weights.network(resolution=64), weights.tensors)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, found = (module.eval().double()(x) for module in (theirs, ours))
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
