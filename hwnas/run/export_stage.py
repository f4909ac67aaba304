"""Stage `export`: the model file of a trained network, with labels, metadata, model.json and its weights beside it."""

from __future__ import annotations

import json
import math

from torch import nn

from hwnas.arch.costs import peak_bytes
from hwnas.backends.torch import export_weights
from hwnas.backends.weights import Weights
from hwnas.errors import ExportError
from hwnas.exporting.description import description
from hwnas.exporting.int8 import Allowed, Quantising, Source, int8_file
from hwnas.exporting.model_file import Exported, export_model
from hwnas.files import write_json
from hwnas.run.context import RunContext
from hwnas.train import checkpoint


def save_weights(run: RunContext, module: nn.Module) -> None:
    """Write `weights.safetensors`.

    Raises:
        StorageError: it cannot be written.
    """
    checkpoint.save(run.folder.weights, module.state_dict(), {"space": run.plan.space.name})


def baseline_file(run: RunContext, choices: tuple[int, ...], module: nn.Module) -> bytes:
    """The file of the random network, quantised as that of the winner is, whatever that costs.

    Raises:
        ExportError: it cannot be quantised.
    """
    network, weights, model_format = run.network(choices), export_weights(module), run.model_format

    def write(weights: Weights) -> bytes:
        return model_format.model(network, weights, interface=run.interface)

    content = write(weights)
    if model_format.calibrate is None:
        return content
    how = _quantising(run, "the random network")
    return int8_file(Source(model_format, network, weights, content, write), how)[0]


def exported_file(run: RunContext, choices: tuple[int, ...], module: nn.Module) -> Exported:
    """The exported file, compared with the trained network on real images.

    Raises:
        ExportError: it computes something else, quantising costs too much, or it breaks a constraint.
        StorageError: it cannot be written.
    """
    facts = {
        "architecture": json.dumps(run.network(choices).to_json()),
        "device": run.plan.device.id,
        "condition": str(run.plan.condition.folder),
        "budget_ms": f"{run.budget_ms:.6g}",
        "predicted_ms": f"{run.model.predict_ms(choices):.6g}",
    }
    network, path = run.network(choices), run.folder.model(run.model_format.suffix)
    exported = export_model(
        path,
        run.model_format,
        network,
        export_weights(module),
        _quantising(run, path.name),
        facts,
        labels=run.folder.labels,
        interface=run.interface,
    )
    quantised = {} if exported.int8 is None else {exported.path.name: exported.int8.to_json()}
    write_json(run.folder.description, description([exported.path], quantised))
    broken = run.plan.constrained.broken(exported.size_bytes, peak_bytes(network.graph))
    if broken:
        raise ExportError(broken, hint="this is a defect of hwnas: please report it with the run's architecture.json")
    return exported


def _quantising(run: RunContext, label: str) -> Quantising:
    target = run.plan.config.target
    allowed = Allowed(target.max_drop, run.plan.config.search.metric, target.max_size_kb * 1024 or math.inf)
    return Quantising(run.dataset, allowed, run.plan.config.compute.seed, run.device, run.progress, label)
