"""What a found network is compared with: MobileNetV2 of equal measured latency, trained alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.arch import mobilenet_v2
from hwnas.arch.network import Network
from hwnas.backends.torch import network_module
from hwnas.data import Dataset
from hwnas.devices.device import Device
from hwnas.devices.verdict import measure_verdict
from hwnas.files import write_json
from hwnas.image_size import Size
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.progress import Progress
from hwnas.run.instance import floor_ms
from hwnas.schema import read_json
from hwnas.train import Recipe, evaluate, train

WIDTHS = np.geomspace(0.05, 2.0, 75)
_NEAR = 4  # widths around the right one that are measured again, in rounds of several processes


@dataclass(frozen=True)
class Rival:
    """A MobileNetV2-like network and what it took, beside the found model, in milliseconds."""

    width: float
    network: Network
    median_ms: float
    found_ms: float


def mobilenet_of_equal_latency(
    model: Path, device: Device, *, size: Size, channels: int, classes: int, progress: Progress
) -> Rival:
    """The MobileNetV2-like network whose measured latency is nearest to that of the file `model`.

    All distinct widths are measured once, then those around the right one again, side by side with `model`.
    """
    networks: dict[str, Network] = {}
    for width in WIDTHS:
        network = mobilenet_v2(float(width), size, channels, classes, small=size.short <= 64)
        if network not in networks.values():
            networks[f"{width:.3f}"] = network
    floors = floor_ms(networks, device, progress=progress)
    with tempfile.TemporaryDirectory() as temporary:
        reference = write_reference_model(Path(temporary), device)
        own = measure_verdict(device, {"found": model}, reference, budget_ms=None, progress=progress)["found"].median_ms
        near = sorted(floors, key=lambda name: abs(floors[name] / own - 1.0))[:_NEAR]
        models = write_models(Path(temporary), {name: networks[name] for name in near}, device)
        verdicts = measure_verdict(device, models | {"found": model}, reference, budget_ms=None, progress=progress)
    found_ms = verdicts["found"].median_ms
    best = min(near, key=lambda name: abs(verdicts[name].median_ms / found_ms - 1.0))
    return Rival(float(best), networks[best], verdicts[best].median_ms, found_ms)


def trained_accuracy(
    network: Network,
    dataset: Callable[[], Dataset],
    recipe: Recipe,
    folder: Path,
    label: str,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """Test accuracy of a network after `recipe`, from scratch; what `folder` holds already is not trained again."""
    done = folder / f"{label}.json"
    if done.exists():
        result: dict[str, Any] = read_json(done)
        return result
    images = dataset()
    torch.manual_seed(seed)
    module = network_module(network)
    checkpoint = folder / f"{label}.safetensors"
    train(module, images, recipe, seed=seed, device=device, checkpoint=checkpoint, progress=progress, label=label)
    accuracy = evaluate(module, images.test, images, device=device).accuracy
    result = {"accuracy": accuracy, "epochs": recipe.epochs}
    write_json(done, result)
    return result
